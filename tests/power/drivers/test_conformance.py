"""Every instrument of the catalogue keeps the house rules: documented, checked settings, a full life cycle on its simulator."""

from __future__ import annotations

import importlib
import re
from contextlib import ExitStack

import numpy as np
import pytest

from power.catalogue import COMMON, DRIVERS, Driver, driver_names, make_meter
from power.drivers.common.base import Instrument
from power.drivers.common.scope import Oscilloscope
from power.errors import MeterStateError, OptionInvalid
from power.meters.scope import ScopeSetup
from power.options import Options
from power.sim.common.clock import VirtualTime
from power.sim.common.load import Load
from power.sim.common.waveforms import Constant
from power.timebase import HOST_TIME
from power.trace import Window

INSTRUMENTS = [name for name in driver_names() if DRIVERS[name].is_instrument]
LEVEL_W = 3.0
CITED = r'"[^"]+"|[A-Z]*\d{3,}-\d{3,}|\d{4}\.\d{4}|RFC \d+|SBOS\d+|SCPI-1999|rdserialtool|\.rst\b'
"""A title, or a number: of a manual, a standard, a chip's data sheet; one maker publishes nothing."""


def entry_of(name: str) -> Driver:
    return DRIVERS[name]


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_the_catalogue_and_the_driver_agree(name: str) -> None:
    entry = entry_of(name)
    found = entry.instrument()
    assert issubclass(found, Instrument)
    assert found.driver == name
    assert entry.simulated().driver == name
    assert found.__doc__
    assert entry.summary


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_a_driver_names_its_source(name: str) -> None:
    told = importlib.import_module(entry_of(name).module).__doc__ or ""
    source = re.search(r"^Sources?: (.+?)(?:\n\n|\Z)", told, re.MULTILINE | re.DOTALL)
    assert source is not None, f"{name} cites no manual"
    cited = re.search(CITED, source[1])
    assert cited is not None, f"{name} cites no title and no number of a manual: {source[1]}"


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_settings_that_nobody_knows_are_refused(name: str) -> None:
    with entry_of(name).simulated()(Load(Constant(LEVEL_W))) as simulator:
        settings = dict(simulator.options)
    assert set(settings) <= entry_of(name).options
    with pytest.raises(OptionInvalid, match="nonsense"):
        make_meter("m", name, {**settings, "nonsense": 1})
    # Whatever the driver takes stands in the catalogue, which the inventory checks keys by.
    options = Options(settings, "m")
    instrument = entry_of(name).instrument().from_options(options, HOST_TIME)
    if isinstance(instrument, Oscilloscope):
        ScopeSetup.from_options(options)  # what the probes are on is the meter's
    assert options.known == entry_of(name).options - COMMON


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_life_cycle_on_the_simulator(name: str) -> None:
    time = VirtualTime()
    simulated = entry_of(name).simulated()
    with ExitStack() as stack:
        simulator = stack.enter_context(simulated(Load(Constant(LEVEL_W), simulated.supply_v), timebase=time))
        meter = make_meter("m", name, {**simulator.options, "simulated": True}, scope="module", timebase=time)
        assert meter.driver == name
        with pytest.raises(MeterStateError, match="cannot start while it is new"):
            meter.start()
        stack.callback(meter.close)
        meter.open()
        assert meter.capabilities.kind == "simulated"
        assert meter.capabilities.scope == "module"
        for _ in range(2):
            meter.plan(20.0)
            meter.start()
            begin_s = time.now_ns() / 1e9
            time.sleep(14.0 + meter.tail_s)
            trace = meter.stop()
            assert trace.reading == meter.capabilities.reading
            window = Window(begin_s + 3.0, begin_s + 13.0)
            assert trace.t_s[0] <= window.start_s + 2.0
            if trace.power_w is not None:
                assert float(np.mean(trace.power_w)) == pytest.approx(LEVEL_W, rel=0.05)
        meter.close()
        meter.close()
        with pytest.raises(MeterStateError, match="while it is closed"):
            meter.open()
        # Whoever comes next finds it as it was.
        with make_meter("n", name, {**simulator.options, "simulated": True}, timebase=time) as again:
            assert again.capabilities.kind == "simulated"


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_what_a_broken_off_run_saw_is_kept(name: str) -> None:
    time = VirtualTime()
    simulated = entry_of(name).simulated()
    with simulated(Load(Constant(LEVEL_W), simulated.supply_v), timebase=time) as simulator:
        meter = make_meter("m", name, {**simulator.options, "simulated": True}, timebase=time)
        with meter:
            meter.plan(3600.0 if entry_of(name).link == "serial" else 20.0)
            meter.start()
            time.sleep(8.0)
            before_s = time.now_ns() / 1e9
            trace = meter.salvage()
            # Nobody who pressed Ctrl-C waits for the end of a record.
            assert time.now_ns() / 1e9 - before_s < 2.0
            assert meter.salvage() is None
        if trace is None:  # an oscilloscope that keeps finished records only
            assert issubclass(entry_of(name).instrument(), Oscilloscope)
            return
        assert trace.t_s[-1] > before_s - 2.0 - meter.tail_s
        if trace.power_w is not None:
            assert float(np.mean(trace.power_w)) == pytest.approx(LEVEL_W, rel=0.05)


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_closing_in_mid_run_leaves_nothing_running(name: str) -> None:
    time = VirtualTime()
    simulated = entry_of(name).simulated()
    with simulated(Load(Constant(LEVEL_W), simulated.supply_v), timebase=time) as simulator:
        meter = make_meter("m", name, dict(simulator.options), timebase=time).open()
        meter.plan(5.0)
        meter.start()
        time.sleep(0.5)
        meter.close()
        meter.close()

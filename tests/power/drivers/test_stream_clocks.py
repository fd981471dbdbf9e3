"""Instruments that sample on their own clock: where their samples land on the host's, and clocks that are too wrong."""

from __future__ import annotations

import numpy as np
import pytest

from power.catalogue import driver, make_meter
from power.drivers import keysight_34465a, keysight_n6705, rs_ngu
from power.drivers.common.scpi_instrument import out_of_step
from power.errors import ClockError
from power.sim.common.clock import VirtualTime
from power.sim.common.faults import Faults
from power.sim.common.load import Load
from power.sim.common.waveforms import Constant, During
from tests.power.scpi_trouble import one_sentence

STREAMS = {
    "keysight-34465a": {"rate_hz": 500.0},
    "keysight-n6705": {"period_s": 0.002048},
    "rs-ngu": {"rate_hz": 1000.0},
}


@pytest.mark.parametrize("ppm", [-80.0, 80.0])
@pytest.mark.parametrize("delay_s", [0.0, 0.005])
@pytest.mark.parametrize("name", sorted(STREAMS))
@pytest.mark.parametrize("in_step", [False, True])
def test_an_edge_lands_where_it_was(
    name: str, ppm: float, delay_s: float, in_step: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if in_step:
        monkeypatch.setattr(keysight_34465a, "out_of_step", lambda period_s, about_s: about_s)
        monkeypatch.setattr(keysight_n6705, "out_of_step", lambda period_s, about_s: about_s)
        monkeypatch.setattr(rs_ngu.RsNgu, "fetch_s", 0.05)
    time, found = VirtualTime(), driver(name).simulated()
    edge_s = time.now_ns() / 1e9 + 41.2345
    power = During(edge_s, edge_s + 10.0, Constant(8.0), Constant(2.0))
    faults = Faults(clock_ppm=ppm, delay_s=delay_s)
    with (
        found(Load(power, found.supply_v), timebase=time, faults=faults) as simulator,
        make_meter("m", name, {**simulator.options, **STREAMS[name]}, timebase=time) as meter,
    ):
        meter.plan(60.0)
        meter.start()
        time.sleep(45.0)
        trace = meter.stop()
    assert trace.power_w is not None
    assert trace.interval_s is not None
    seen_s = float(trace.t_s[int(np.argmax(trace.power_w > 5.0))])
    if (
        trace.averaging_s is not None
    ):  # the sample that the edge is in reaches half of the step, or it does not
        seen_s -= 0.5 * trace.averaging_s
    assert abs(seen_s - edge_s) <= trace.clock_bound_s + trace.interval_s
    assert trace.clock_bound_s < 0.08
    assert trace.lost == 0


@pytest.mark.parametrize("name", sorted(STREAMS))
def test_a_clock_that_runs_much_too_fast_is_refused(name: str) -> None:
    time, found = VirtualTime(), driver(name).simulated()
    with (
        found(
            Load(Constant(3.0), found.supply_v), timebase=time, faults=Faults(clock_ppm=5000.0)
        ) as simulator,
        make_meter("m", name, {**simulator.options, **STREAMS[name]}, timebase=time) as meter,
    ):
        meter.plan(60.0)
        meter.start()
        time.sleep(45.0)
        with pytest.raises(ClockError, match="before they can have been taken") as caught:
            meter.stop()
    one_sentence(caught.value)


@pytest.mark.parametrize("name", ["keysight-n6705", "rs-ngu"])
def test_a_clock_that_runs_much_too_slow_looks_like_lost_samples(name: str) -> None:
    time, found = VirtualTime(), driver(name).simulated()
    with (
        found(
            Load(Constant(3.0), found.supply_v), timebase=time, faults=Faults(clock_ppm=-50000.0)
        ) as simulator,
        make_meter("m", name, {**simulator.options, **STREAMS[name]}, timebase=time) as meter,
    ):
        meter.plan(60.0)
        meter.start()
        time.sleep(45.0)
        with pytest.raises(Exception, match="behind with its samples") as caught:
            meter.stop()
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("period_s", [2e-5, 1e-3, 0.25, 0.3, 60.0])
def test_questions_keep_out_of_step(period_s: float) -> None:
    asked_s = out_of_step(period_s, 0.25)
    assert 0.1 < asked_s < 0.6
    ages = np.sort(np.mod(asked_s / period_s * np.arange(50), 1.0))
    assert np.diff(ages).max() < 0.05  # they fill the period evenly

"""Rigol oscilloscopes against the simulated ones: energies, the marker, trouble on the line."""

from __future__ import annotations

from contextlib import AbstractContextManager

import numpy as np
import pytest

from power.catalogue import make_meter
from power.drivers.scope import Mode
from power.errors import LinkLost, OptionInvalid
from power.sim.base import Simulator
from power.sim.clock import VirtualTime
from power.sim.faults import Faults
from power.sim.load import Load
from power.sim.rigol import SimulatedRigol
from power.sim.rigol_ds1000z import SimulatedRigolDs1000z
from power.sim.rigol_mso5000 import SimulatedRigolMso5000
from power.sim.scope import Wiring
from power.sim.waveforms import Constant
from power.timebase import Timebase
from tests.power.scpi_trouble import (
    TROUBLE,
    check_refusal,
    check_trouble,
    impatient,
    one_sentence,
    recorded,
)
from tests.power.trials import Levels, Timing, check_coverage, run_trial

__all__ = ["impatient"]


def made_by(
    kind: type[SimulatedRigol], load: Load, timebase: Timebase, seed: int
) -> AbstractContextManager[Simulator]:
    return kind(load, timebase=timebase, seed=seed)


@pytest.mark.parametrize(
    ("kind", "timing", "acquisition", "rate_hz"),
    [
        (SimulatedRigolDs1000z, Timing(3.0, 12.0, 1.0), "hires", 2500.0),
        (SimulatedRigolDs1000z, Timing(3.0, 12.0, 1.0), "sample", 2500.0),
        (SimulatedRigolMso5000, Timing(2.5, 10.0, 1.0), "hires", 5000.0),
    ],
)
def test_energies_lie_within_their_uncertainty(
    kind: type[SimulatedRigol], timing: Timing, acquisition: Mode, rate_hz: float
) -> None:
    check_coverage(
        kind.driver,
        lambda load, timebase, seed: made_by(kind, load, timebase, seed),
        timing=timing,
        options={"acquisition": acquisition, "rate_hz": rate_hz},
    )


@pytest.mark.parametrize("kind", [SimulatedRigolDs1000z, SimulatedRigolMso5000])
def test_energy_in_real_time(kind: type[SimulatedRigol]) -> None:
    outcome = run_trial(
        kind.driver,
        lambda load, timebase, seed: made_by(kind, load, timebase, seed),
        3,
        levels=Levels(),
        timing=Timing(0.6, 1.0, 0.2),
        options={"rate_hz": 10_000.0},
        is_real=True,
    )
    assert abs(outcome.gross_error_j) <= 2 * outcome.gross_u_j
    assert abs(outcome.net_error_j) <= 2 * outcome.net_u_j


def test_the_marker_is_where_it_was() -> None:
    time = VirtualTime()
    wiring = Wiring(high_s=((1003.0, 1005.0),))
    with SimulatedRigolDs1000z(Load(Constant(4.0)), timebase=time, wiring=wiring, seed=5) as simulator:
        options = {**simulator.options, "marker": {"channel": 4, "level_v": 1.5}, "rate_hz": 1000.0}
        with make_meter("m", "rigol-ds1000z", options, timebase=time) as meter:
            meter.plan(10.0)
            meter.start()
            time.sleep(10.0)
            trace = meter.stop()
    assert trace.marker is not None
    edges = trace.t_s[np.flatnonzero(np.diff(trace.marker.astype(int)))]
    assert edges == pytest.approx([1003.0, 1005.0], abs=trace.clock_bound_s + 2e-3)
    assert trace.interval_s == pytest.approx(12.0 / 30_000)


@pytest.mark.parametrize("kind", [SimulatedRigolDs1000z, SimulatedRigolMso5000])
@pytest.mark.parametrize("trouble", TROUBLE)
@pytest.mark.usefixtures("impatient")
def test_trouble_in_mid_run(kind: type[SimulatedRigol], trouble: str) -> None:
    check_trouble(kind, {}, TROUBLE[trouble], after_s=120.0)


@pytest.mark.parametrize("faults", [Faults(wrong_length=True), Faults(truncate_at=5000)], ids=str)
@pytest.mark.usefixtures("impatient")
def test_a_block_that_is_spoiled_is_noticed(faults: Faults, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("power.drivers.single_shot.READ_S", 0.2)
    check_trouble(SimulatedRigolDs1000z, {}, faults, after_s=120.0)


@pytest.mark.parametrize("kind", [SimulatedRigolDs1000z, SimulatedRigolMso5000])
@pytest.mark.usefixtures("impatient")
def test_switched_off_in_mid_run(kind: type[SimulatedRigol]) -> None:
    time = VirtualTime()
    with kind(Load(Constant(3.0)), timebase=time) as simulator:
        meter = make_meter("m", kind.driver, simulator.options, timebase=time).open()
        meter.plan(10.0)
        meter.start()
        time.sleep(5.0)
        simulator.stop()
        time.sleep(10.0)
        with pytest.raises(LinkLost, match=r"broke|did not answer") as caught:
            meter.stop()
        meter.close()
    one_sentence(caught.value)


def test_an_instrument_that_reports_errors_is_not_used() -> None:
    check_refusal(SimulatedRigolDs1000z, {})


def test_what_is_over_the_range_is_marked() -> None:
    trace, _ = recorded(SimulatedRigolDs1000z, {}, Faults(clip_w=2.0), duration_s=120.0)
    assert trace.clipped_count == len(trace)


def test_a_run_that_is_given_up_leaves_it_stopped() -> None:
    time = VirtualTime()
    with SimulatedRigolDs1000z(Load(Constant(3.0)), timebase=time) as simulator:
        meter = make_meter("m", "rigol-ds1000z", simulator.options, timebase=time).open()
        meter.plan(10.0)
        meter.start()
        time.sleep(1.0)
        meter.close()
        with make_meter("m", "rigol-ds1000z", simulator.options, timebase=time):
            assert simulator.received.count("STOP") + simulator.received.count(":STOP") >= 1
            assert simulator.state == "stopped"


def test_a_recording_that_fits_no_record_says_what_would() -> None:
    time = VirtualTime()
    with SimulatedRigolDs1000z(Load(Constant(3.0)), timebase=time) as simulator:
        settings = {**simulator.options, "rate_hz": 1e6}
        meter = make_meter("m", "rigol-ds1000z", settings, timebase=time).open()
        with pytest.raises(OptionInvalid, match="a DS1104Z holds 6000000: set rate_hz to") as caught:
            meter.plan(60.0)
        one_sentence(caught.value)
        with pytest.raises(OptionInvalid, match="600 s"):
            meter.plan(700.0)
        meter.close()

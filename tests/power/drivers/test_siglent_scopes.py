"""Siglent oscilloscopes of both generations against the simulated ones: energies, batches, trouble on the line."""

from __future__ import annotations

from contextlib import AbstractContextManager

import numpy as np
import pytest

from power.catalogue import make_meter
from power.errors import LinkLost, OptionInvalid
from power.sim.base import Simulator
from power.sim.clock import VirtualTime
from power.sim.faults import Faults
from power.sim.load import Load
from power.sim.scope import Wiring
from power.sim.siglent_sds import SimulatedSds2000xPlus, SimulatedSiglentSds
from power.sim.siglent_sds_legacy import SimulatedSiglentSdsLegacy
from power.sim.waveforms import Constant, Square
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
Kind = type[SimulatedSiglentSds] | type[SimulatedSiglentSdsLegacy]
BOTH = [SimulatedSiglentSds, SimulatedSiglentSdsLegacy]
SAMPLES: dict[str, object] = {"acquisition": "sample", "rate_hz": 2000.0}
LATE_S = 300.0
"""After the end of any record of these tests."""


@pytest.mark.parametrize(
    ("kind", "timing"),
    [
        (SimulatedSiglentSds, Timing(2.5, 10.0, 1.0)),
        (SimulatedSds2000xPlus, Timing(2.5, 10.0, 1.0)),
        (SimulatedSiglentSdsLegacy, Timing(3.0, 17.0, 1.0)),
    ],
)
def test_energies_lie_within_their_uncertainty(kind: Kind, timing: Timing) -> None:
    def made(load: Load, timebase: Timebase, seed: int) -> AbstractContextManager[Simulator]:
        return kind(load, timebase=timebase, seed=seed)

    check_coverage(kind.driver, made, timing=timing, options=SAMPLES)


@pytest.mark.parametrize("kind", BOTH)
def test_energy_in_real_time(kind: Kind) -> None:
    def made(load: Load, timebase: Timebase, seed: int) -> AbstractContextManager[Simulator]:
        return kind(load, timebase=timebase, seed=seed)

    outcome = run_trial(
        kind.driver,
        made,
        3,
        levels=Levels(),
        timing=Timing(0.6, 1.0, 0.2),
        options={**SAMPLES, "rate_hz": 10_000.0},
        is_real=True,
    )
    assert abs(outcome.gross_error_j) <= 2 * outcome.gross_u_j
    assert abs(outcome.net_error_j) <= 2 * outcome.net_u_j


@pytest.mark.parametrize("most", [100_000, 99_999, 30_000])
def test_batches_join_without_a_seam(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SimulatedSiglentSds, "most_points", most)
    monkeypatch.setattr("power.drivers.siglent_sds_legacy.BATCH_POINTS", most)
    for kind, length in ((SimulatedSiglentSds, 100_000), (SimulatedSiglentSdsLegacy, 70_000)):
        time = VirtualTime()
        with kind(Load(Square(2.0, 6.0, 0.7)), timebase=time) as simulator:
            options = {**simulator.options, "rate_hz": 2000.0}
            with make_meter("m", kind.driver, options, timebase=time) as meter:
                meter.plan(19.0)
                meter.start()
                time.sleep(19.0)
                trace = meter.stop()
        assert len(trace) == length
        assert trace.power_w is not None
        true_w = np.where(np.mod(0.7 * trace.t_s, 1.0) < 0.5, 6.0, 2.0)
        assert np.mean(np.abs(trace.power_w - true_w) < 0.5) > 0.999


def test_averages_are_refused() -> None:
    time = VirtualTime()
    with SimulatedSiglentSds(Load(Constant(3.0)), timebase=time) as simulator:
        settings = {**simulator.options, "acquisition": "hires"}
        meter = make_meter("m", "siglent-sds", settings, timebase=time).open()
        with pytest.raises(OptionInvalid, match='set acquisition = "sample"') as caught:
            meter.plan(10.0)
        meter.close()
    one_sentence(caught.value)


def test_the_marker_is_where_it_was() -> None:
    time = VirtualTime()
    wiring = Wiring(high_s=((1003.0, 1005.0),))
    with SimulatedSiglentSdsLegacy(Load(Constant(4.0)), timebase=time, wiring=wiring, seed=5) as simulator:
        options = {**simulator.options, "marker": {"channel": 4, "level_v": 1.5}, "rate_hz": 1000.0}
        with make_meter("m", "siglent-sds-legacy", options, timebase=time) as meter:
            meter.plan(10.0)
            meter.start()
            time.sleep(10.0)
            trace = meter.stop()
    assert trace.marker is not None
    edges = trace.t_s[np.flatnonzero(np.diff(trace.marker.astype(int)))]
    assert edges == pytest.approx([1003.0, 1005.0], abs=trace.clock_bound_s + 2e-3)


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("trouble", TROUBLE)
@pytest.mark.usefixtures("impatient")
def test_trouble_in_mid_run(kind: Kind, trouble: str) -> None:
    check_trouble(kind, {}, TROUBLE[trouble], after_s=LATE_S)


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("faults", [Faults(wrong_length=True), Faults(truncate_at=5000)], ids=str)
@pytest.mark.usefixtures("impatient")
def test_a_block_that_is_spoiled_is_noticed(
    kind: Kind, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("power.drivers.single_shot.READ_S", 0.2)
    check_trouble(kind, {}, faults, after_s=LATE_S)


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.usefixtures("impatient")
def test_switched_off_in_mid_run(kind: Kind) -> None:
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
    check_refusal(SimulatedSiglentSds, {})


@pytest.mark.parametrize("kind", BOTH)
def test_what_is_over_the_range_is_marked(kind: Kind) -> None:
    trace, _ = recorded(kind, {}, Faults(clip_w=2.0), duration_s=LATE_S)
    assert trace.clipped_count == len(trace)


@pytest.mark.parametrize("kind", BOTH)
def test_a_run_that_is_given_up_leaves_it_stopped(kind: Kind) -> None:
    time = VirtualTime()
    with kind(Load(Constant(3.0)), timebase=time) as simulator:
        meter = make_meter("m", kind.driver, simulator.options, timebase=time).open()
        meter.plan(10.0)
        meter.start()
        time.sleep(1.0)
        meter.close()
        with make_meter("m", kind.driver, simulator.options, timebase=time):
            assert simulator.state == "stopped"

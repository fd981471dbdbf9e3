"""From a trace to energies with their budget: by hand, and against the truth in seeded trials."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from power.errors import TraceInvalid, WindowInvalid
from power.reduction.energy import energy
from power.reduction.idle import IdleModel, idle_power
from power.reduction.report import EnergyReport, Limits, energy_report
from power.trace import Floats, Trace, Window, chunks
from power.uncertainty import Between, GainOffset, Quantity

BEFORE, RUN, AFTER = Window(0.5, 4.5), Window(5.0, 15.0), Window(15.5, 19.5)
METER = GainOffset.from_limits(0.001, 0.03)


def load(t_s: Floats, idle_w: Floats | float = 4.0, run_w: float = 10.0) -> Floats:
    return np.where((t_s >= 5.0) & (t_s <= 15.0), run_w, idle_w)


def trace(step_s: float = 0.01, *, noise_w: float = 0.0, drift_w: float = 0.0, run_w: float = 10.0) -> Trace:
    t_s = np.linspace(0.0, 20.0, round(20 / step_s) + 1)
    idle_w = 4.0 + drift_w * (t_s - 2.5) / 15.0  # `drift_w` from the middle of BEFORE to that of AFTER
    power_w = load(t_s, idle_w, run_w) + np.random.default_rng(1).normal(0.0, noise_w, len(t_s))
    return Trace(t_s, power_w=power_w, interval_s=step_s)


def report(source: Trace, **options: object) -> EnergyReport:
    given: dict[str, object] = {
        "accuracy": METER,
        "clock_bound_s": 0.0,
        "idle_before": BEFORE,
        "idle_after": AFTER,
    }
    return energy_report(source, RUN, **{**given, **options})  # type: ignore[arg-type]


def codes(found: EnergyReport) -> set[str]:
    return {flag.code for flag in found.flags}


def part(quantity: Quantity | None, name: str) -> float:
    assert quantity is not None
    value = quantity.parts[name]
    assert value is not None
    return value


def test_gross_and_net_of_a_clean_run() -> None:
    found = report(trace())
    assert found.gross_j.value == pytest.approx(100.0)
    assert found.power_w.value == pytest.approx(10.0)
    assert found.net_j is not None
    assert found.net_j.value == pytest.approx(60.0)
    assert found.idle_power_w is not None
    assert found.idle_power_w.value == pytest.approx(4.0)
    assert found.net_power_w is not None
    assert found.flags == ()
    assert (found.samples, found.gaps, found.kind, found.idle_model) == (1001, 0, "measured", "linear")
    # The specification limits the gross energy to 0.4 %, and the offset cancels in the net energy.
    assert found.gross_j.u_std == pytest.approx(10 * 0.040 / math.sqrt(3), rel=1e-3)
    assert found.net_j.u_std == pytest.approx(10 * 0.006 / math.sqrt(3), rel=1e-3)


def test_values_agree_with_one_another() -> None:
    found = report(trace(noise_w=0.3, drift_w=0.1))
    assert found.net_j is not None
    assert found.idle_power_w is not None
    assert found.net_power_w is not None
    assert found.gross_j.value == found.power_w.value * RUN.duration_s
    assert found.net_power_w.value == found.power_w.value - found.idle_power_w.value
    assert found.net_j.value == found.net_power_w.value * RUN.duration_s
    for quantity in (found.gross_j, found.net_j, found.power_w, found.idle_power_w):
        assert quantity.u_std == pytest.approx(
            math.sqrt(sum((p or 0.0) ** 2 for p in quantity.parts.values()))
        )


def test_another_range_for_idle_adds_both_errors() -> None:
    found = report(trace(), same_range=False)
    assert found.net_power_w is not None
    assert part(found.net_power_w, "meter") == pytest.approx(0.0303, abs=1e-4)


def test_an_unknown_accuracy_is_not_zero() -> None:
    found = report(trace(), accuracy=None)
    assert found.gross_j.value == pytest.approx(100.0)
    assert found.gross_j.u_std is None
    assert found.net_j is not None
    assert found.net_j.expanded is None
    assert found.net_j.unknown_parts == ("meter",)
    assert not found.accuracy_known
    assert codes(found) == {"ACCURACY_UNKNOWN"}


def test_an_unknown_clock_is_not_exact() -> None:
    found = report(trace(), clock_bound_s=None)
    assert found.gross_j.u_std is None
    assert "CLOCK_BOUND_TOO_WIDE" in codes(found)


def test_the_clock_costs_what_a_shift_of_the_edges_would() -> None:
    found = report(trace(), clock_bound_s=0.02)
    assert part(found.net_j, "clock") == pytest.approx(math.sqrt(2) * 0.02 * 6.0 / math.sqrt(3))
    assert "CLOCK_BOUND_TOO_WIDE" not in codes(found)
    assert "CLOCK_BOUND_TOO_WIDE" in codes(report(trace(), clock_bound_s=0.06))


def test_noise_is_of_the_mean_of_run_and_idle() -> None:
    found = report(trace(noise_w=0.5))
    assert part(found.net_power_w, "noise") == pytest.approx(0.5 / math.sqrt(1000), rel=0.4)
    assert part(found.net_power_w, "idle") == pytest.approx(0.5 / math.sqrt(800), rel=0.4)


@pytest.mark.parametrize(
    ("model", "idle_w", "u_drift_w"),
    [
        ("before", 4.0, 1.0 / math.sqrt(3)),
        ("after", 5.0, 1.0 / math.sqrt(3)),
        ("linear", 4.5, 1.0 / math.sqrt(12)),
    ],
)
def test_idle_models_and_drift(model: IdleModel, idle_w: float, u_drift_w: float) -> None:
    found = report(trace(drift_w=1.0), idle_model=model)
    assert found.idle_power_w is not None
    assert found.idle_power_w.value == pytest.approx(idle_w, abs=1e-6)
    assert part(found.net_power_w, "drift") == pytest.approx(u_drift_w, rel=1e-3)
    assert found.idle_drift_w == pytest.approx(1.0, rel=1e-3)
    assert codes(found) == {"IDLE_DRIFT"}


def test_linear_takes_the_middle_of_the_run_in_time() -> None:
    """Windows that do not lie evenly about the run: 2 W at 2 s, 8 W at 20 s, the run in the middle at 8 s."""
    t_s = np.arange(0.0, 22.0, 0.5)
    ramp = Trace(t_s, power_w=2.0 + (t_s - 2.0) / 3.0, interval_s=0.5)
    before, after = energy(ramp, Window(1.0, 3.0)), energy(ramp, Window(19.0, 21.0))
    assert idle_power("linear", Window(6.0, 10.0), before, after).mean_w == pytest.approx(4.0)


def test_a_given_idle_power_brings_its_own_uncertainty() -> None:
    found = report(trace(), idle_model="fixed", idle_fixed=Quantity.of(3.0, {"given": 0.2}))
    assert found.net_power_w is not None
    assert found.net_power_w.value == pytest.approx(7.0)
    assert part(found.net_power_w, "idle") == 0.2
    assert part(found.net_power_w, "meter") == pytest.approx(METER.u_power_w(10.0), rel=1e-3)
    assert report(trace(), idle_model="fixed", idle_fixed=Quantity(3.0, None)).net_j.u_std is None  # type: ignore[union-attr]


def test_without_an_idle_model_there_is_no_net_energy() -> None:
    found = report(trace(), idle_model=None, idle_before=None, idle_after=None)
    assert found.gross_j.value == pytest.approx(100.0)
    assert (found.net_j, found.net_power_w, found.idle_power_w, found.idle_drift_w) == (
        None,
        None,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"idle_after": None}, "needs an idle window after"),
        ({"idle_before": None}, "needs an idle window before"),
        ({"idle_model": "fixed"}, "needs an idle power"),
        ({"idle_model": "median"}, "is one of before, after"),
        ({"idle_before": Window(0.5, 5.5)}, "ends after the run has begun"),
        ({"idle_after": Window(14.0, 19.0)}, "begins before the run has ended"),
        ({"idle_after": Window(15.5, 25.0)}, "stop the meter later"),
    ],
)
def test_windows_that_do_not_fit(options: dict[str, object], words: str) -> None:
    with pytest.raises(WindowInvalid, match=words):
        report(trace(), **options)


def test_a_meter_that_yields_nothing_has_no_energy() -> None:
    with pytest.raises(TraceInvalid, match="yielded none"):
        energy_report([], RUN, accuracy=METER, clock_bound_s=0.0, idle_model=None)


def test_pieces_give_the_same_report() -> None:
    whole, pieces = report(trace(noise_w=0.2)), report(chunks(trace(noise_w=0.2), 77))  # type: ignore[arg-type]
    assert pieces.net_j is not None
    assert whole.net_j is not None
    assert pieces.net_j.value == pytest.approx(whole.net_j.value, rel=1e-12)
    assert pieces.net_j.u_std == pytest.approx(whole.net_j.u_std, rel=1e-9)


def cut(source: Trace, begin_s: float, end_s: float) -> Trace:
    keep = (source.t_s <= begin_s) | (source.t_s >= end_s)
    assert source.power_w is not None
    return Trace(source.t_s[keep], power_w=source.power_w[keep], interval_s=source.interval_s)


@pytest.mark.parametrize("hole", [(7.0, 8.0), (1.0, 1.2), (16.0, 16.1)])
def test_a_hole_in_any_window_is_flagged(hole: tuple[float, float]) -> None:
    found = report(cut(trace(), *hole))
    assert codes(found) == {"TRACE_GAPS"}
    assert found.gaps == 1
    assert found.gap_s == pytest.approx(hole[1] - hole[0])


def test_clipped_samples_are_counted_in_the_windows() -> None:
    source = trace()
    assert source.power_w is not None
    clipped = (source.t_s > 6.0) & (source.t_s < 6.055)
    clipped |= source.t_s == 0.0  # outside of every window
    found = report(Trace(source.t_s, power_w=source.power_w, interval_s=0.01, clipped=clipped))
    assert found.clipped == 5
    assert codes(found) == {"CLIPPED_SAMPLES"}


def test_a_slow_meter_is_flagged() -> None:
    slow = trace(0.9)
    assert {"EDGES_BLURRED"} <= codes(report(slow))
    assert "EDGES_BLURRED" not in codes(report(slow, limits=Limits(edges=0.2)))
    slower = trace(5.0)
    assert "TOO_FEW_SAMPLES" in codes(report(slower))
    assert report(slower).gross_j.u_std is None


def test_a_run_that_draws_no_more_than_idle() -> None:
    found = report(trace(run_w=3.0))
    assert found.net_j is not None
    assert found.net_j.value < 0
    assert "NET_NOT_POSITIVE" in codes(found)


def test_a_run_that_draws_too_little_above_idle_to_tell() -> None:
    def of(run_w: float) -> tuple[EnergyReport, float, float]:
        found = report(trace(0.001, run_w=run_w, noise_w=0.05), idle_model="before")
        assert found.net_power_w is not None
        assert found.net_power_w.u_std is not None
        return found, found.net_power_w.value, found.net_power_w.u_std

    _, by_chance_w, u_w = of(4.0)
    too_little, net_w, _ = of(4.0 - by_chance_w + 0.5 * u_w)
    assert 0.0 < net_w < u_w
    assert "NET_NOT_POSITIVE" in codes(too_little)
    enough, net_w, _ = of(4.0 - by_chance_w + 2.0 * u_w)
    assert net_w > u_w
    assert "NET_NOT_POSITIVE" not in codes(enough)


def counter(marks: Sequence[float], update_s: float | None = None) -> Trace:
    t_s = np.array(marks)
    work_j = 4.0 * t_s + 6.0 * (np.clip(t_s, 5.0, 15.0) - 5.0)
    return Trace(t_s, energy_j=work_j, reading="counter", update_s=update_s)


def test_a_counter_read_at_the_edges_only() -> None:
    found = report(counter([0.0, 0.5, 4.5, 5.0, 15.0, 15.5, 19.5, 20.0], update_s=0.001))
    assert found.net_j is not None
    assert found.net_j.value == pytest.approx(60.0)
    assert found.flags == ()
    assert part(found.gross_j, "noise") == 0.0
    assert part(found.gross_j, "edges") == pytest.approx(10.0 * 0.001 / math.sqrt(6))


def test_a_counter_with_one_idle_window_does_not_know_how_idle_scatters() -> None:
    found = report(counter([0.0, 0.5, 4.5, 5.0, 15.0, 20.0]), idle_after=None, idle_model="before")
    assert found.net_j is not None
    assert found.net_j.u_std is None
    assert "TOO_FEW_SAMPLES" in codes(found)


def test_an_estimate_says_so_and_is_as_uncertain_as_its_bounds() -> None:
    found = report(
        counter([0.0, 5.0, 15.0, 20.0]),
        accuracy=Between(4.0, 20.0),
        kind="estimated",
        idle_before=Window(0.0, 5.0),
        idle_after=Window(15.0, 20.0),
    )
    assert codes(found) == {"ENERGY_ESTIMATED"}
    assert found.power_w.value == pytest.approx(10.0)
    assert found.power_w.u_std == pytest.approx(math.sqrt(16**2 / 12 + 2**2))
    assert found.net_power_w is not None
    assert found.net_power_w.u_std == pytest.approx(math.sqrt(16**2 / 12 + 2**2))


def trial(rng: np.random.Generator, reading: str) -> tuple[float, float, float, float]:
    """One measurement with every kind of error; return errors and stated standard uncertainties, gross and net (J)."""
    step_s, bound_s, drift_w = 0.02, 0.03, rng.uniform(-0.1, 0.1)
    gain, offset_w = rng.uniform(-0.005, 0.005), rng.uniform(-0.05, 0.05)
    t_s = np.linspace(0.0, 40.0, 2001)
    fine_s = np.linspace(0.0, 40.0, 40_001)
    shift_s = rng.uniform(-bound_s, bound_s)
    begin_s, end_s = 10.0 + rng.uniform(0, 0.05), 30.0 + rng.uniform(0, 0.05)
    idle_w = 3.0 + drift_w * (fine_s - 5.0) / 30.0
    active = (fine_s >= begin_s) & (fine_s <= end_s)
    power_w = np.where(active, 8.0 + np.sin(2 * math.pi * 7.3 * fine_s), idle_w)
    work_j = np.concatenate([[0.0], np.cumsum(0.5 * (power_w[1:] + power_w[:-1]) * np.diff(fine_s))])
    noise_w = rng.normal(0.0, 0.3, len(t_s))
    if reading == "average":
        seen_w = np.diff(np.interp(t_s, fine_s, work_j)) / step_s
        times_s, values = t_s[1:], seen_w * (1 + gain) + offset_w + noise_w[1:]
        source = Trace(times_s, power_w=values, reading="average", averaging_s=step_s)
    else:
        values = np.interp(t_s, fine_s, power_w) * (1 + gain) + offset_w + noise_w
        source = Trace(t_s, power_w=values, interval_s=step_s)
    true_gross_j = float(np.interp(end_s, fine_s, work_j) - np.interp(begin_s, fine_s, work_j))
    true_idle_w = 3.0 + drift_w * (0.5 * (begin_s + end_s) - 5.0) / 30.0
    found = energy_report(
        source,
        Window(begin_s + shift_s, end_s + shift_s),
        accuracy=GainOffset.from_limits(0.005, 0.05),
        clock_bound_s=bound_s,
        idle_before=Window(1.0, 9.0),
        idle_after=Window(31.0, 39.0),
    )
    assert found.net_j is not None
    assert found.gross_j.u_std is not None
    assert found.net_j.u_std is not None
    true_net_j = true_gross_j - true_idle_w * (end_s - begin_s)
    return (
        found.gross_j.value - true_gross_j,
        found.gross_j.u_std,
        found.net_j.value - true_net_j,
        found.net_j.u_std,
    )


@pytest.mark.parametrize("reading", ["instantaneous", "average"])
def test_the_truth_lies_within_the_stated_uncertainty(reading: str) -> None:
    rng = np.random.default_rng(20240607)
    trials = np.array([trial(rng, reading) for _ in range(200)])
    for error, stated in ((trials[:, 0], trials[:, 1]), (trials[:, 2], trials[:, 3])):
        assert np.mean(np.abs(error) <= 2.0 * stated) >= 0.95
        assert np.mean(stated) <= 3.0 * np.std(error)


def test_a_counter_that_counts_in_steps_is_uncertain_by_them() -> None:
    marks = [0.0, 0.5, 4.5, 5.0, 15.0, 15.5, 19.5, 20.0]
    plain, stepped = report(counter(marks)), report(replace(counter(marks), step_j=36.0))
    steps_j = math.hypot(part(plain.gross_j, "edges"), 36.0 / math.sqrt(6.0))
    assert part(stepped.gross_j, "edges") == pytest.approx(steps_j)
    assert stepped.parts.idle is not None
    assert stepped.parts.idle.u_noise_w is not None
    # Idle over two windows of 4 s, weighted a half each.
    assert stepped.parts.idle.u_noise_w == pytest.approx(
        36.0 / math.sqrt(6.0) / 4.0 / math.sqrt(2.0), rel=0.2
    )

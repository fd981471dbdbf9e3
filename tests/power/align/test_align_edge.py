"""GPIO edges in a trace, and how late a meter is: against lines and loads whose times are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from power.align.edge import Edges, align_edges, analogue_edges, logic_edges, trace_edges
from power.align.latency import advanced, fit_latency
from power.errors import AlignmentError
from power.trace import Floats, Trace

START_S, END_S = 50.0, 60.0


def line(interval_s: float, rise_s: float, fall_s: float, phase: float = 0.0) -> tuple[Floats, Floats]:
    t_s = np.arange(40.0 + phase * interval_s, 75.0, interval_s)
    return t_s, ((t_s >= rise_s) & (t_s < fall_s)).astype(np.float64)


@given(
    st.floats(-5e4, 5e4), st.floats(-200e-6, 200e-6), st.sampled_from([1e-3, 0.01, 0.1]), st.floats(0, 1),
    st.floats(0, 200e-6), st.floats(0, 200e-6),
)  # fmt: skip
def test_a_pulse_places_the_window(
    offset_s: float, skew: float, interval_s: float, phase: float, late_rise_s: float, late_fall_s: float
) -> None:
    rise_s = START_S + late_rise_s
    t_s, level = line(interval_s, rise_s, END_S + late_fall_s, phase)
    moved_s = t_s * (1 + skew) + offset_s
    found = align_edges(logic_edges(moved_s, level > 0.5), START_S, END_S)
    for edge_s in (START_S, END_S):
        assert (
            abs(found.to_trace_s(edge_s) - (edge_s * (1 + skew) + offset_s))
            <= found.bound_at_s(edge_s) + 1e-9
        )
    assert found.bound_s <= 0.5 * interval_s * (1 + 1e-3) + 100e-6
    assert found.residual_s is not None
    assert found.residual_s <= interval_s + 200e-6 + 10 * 200e-6 + 1e-9


@given(st.floats(0.0, 8e-3), st.sampled_from([1e-4, 1e-3, 0.01]), st.floats(0, 1), st.floats(-1e-5, 1e-5))
def test_a_line_that_falls_late_moves_nothing_where_the_drift_is_known(
    late_s: float, interval_s: float, phase: float, drift_error: float
) -> None:
    """A board whose processors are all busy gets to its line late; with a known drift that only shows in the residual."""
    t_s, level = line(interval_s, START_S + 1e-4, END_S + late_s, phase)
    moved_s = t_s * (1 + 50e-6)
    found = align_edges(logic_edges(moved_s, level > 0.5), START_S, END_S, drift=(50e-6 + drift_error, 1e-5))
    for edge_s in (START_S, END_S):
        assert abs(found.to_trace_s(edge_s) - edge_s * (1 + 50e-6)) <= found.bound_at_s(edge_s) + 1e-9
    assert found.residual_s is not None
    assert found.residual_s == pytest.approx(abs(late_s - 1e-4), abs=interval_s * 1.001 + 1e-4)
    assert found.bound_s <= 0.5 * interval_s * 1.001 + 1e-4 + 1e-4


def test_a_sloping_line_is_found_between_samples() -> None:
    t_s = np.arange(0.0, 10.0, 0.01)
    # 3.3 V with edges of 50 ms: it crosses its middle at 2.0123 s and 7.0456 s.
    level = 3.3 * np.clip((t_s - 2.0123) / 0.05 + 0.5, 0, 1) - 3.3 * np.clip(
        (t_s - 7.0456) / 0.05 + 0.5, 0, 1
    )
    edges = analogue_edges(t_s, level + np.random.default_rng(1).normal(0, 0.005, len(t_s)))
    assert edges.rising_s == pytest.approx([2.0123], abs=2e-4)
    assert edges.falling_s == pytest.approx([7.0456], abs=2e-4)


def test_noise_on_a_slow_edge_makes_one_edge() -> None:
    t_s = np.arange(0.0, 2.0, 1e-4)
    level = 3.3 * np.clip((t_s - 1.0) / 0.5 + 0.5, 0, 1)
    edges = analogue_edges(t_s, level + np.random.default_rng(2).normal(0, 0.05, len(t_s)))
    assert len(edges.rising_s) == 1
    assert len(edges.falling_s) == 0
    assert edges.rising_s[0] == pytest.approx(1.0, abs=0.01)


def test_a_given_threshold() -> None:
    t_s = np.arange(0.0, 2.0, 0.1)
    edges = analogue_edges(t_s, 5.0 * np.clip(t_s - 0.5, 0, 1), threshold=1.0)
    assert edges.rising_s == pytest.approx([0.7])


def test_pulses_cut_off_by_the_record_are_none() -> None:
    level = np.array([1, 0, 0, 1, 1, 0, 1, 1], np.bool_)
    edges = logic_edges(np.arange(8.0), level)
    assert edges.pulses_s().tolist() == [[2.5, 4.5]]
    assert Edges(np.empty(0), np.array([0.5]), 1.0).pulses_s().shape == (0, 2)


def test_several_pulses_need_the_clock_to_choose() -> None:
    t_s = np.arange(0.0, 100.0, 0.01)
    level = ((t_s >= 10) & (t_s < 20)) | ((t_s >= 50) & (t_s < 60)) | ((t_s >= 70) & (t_s < 75))
    edges = logic_edges(t_s, level)
    with pytest.raises(AlignmentError, match="Of 3 pulses on the spare channel 2 can be"):
        align_edges(edges, START_S, END_S)
    assert align_edges(edges, START_S, END_S, within_s=(-1.0, 1.0)).offset_s == pytest.approx(0.0, abs=0.006)
    with pytest.raises(AlignmentError, match="3 pulses on the spare channel none can be the window of 3 s"):
        align_edges(edges, 0.0, 3.0)


def test_a_line_that_does_nothing() -> None:
    t_s = np.arange(0.0, 10.0, 0.01)
    with pytest.raises(AlignmentError, match="no two levels"):
        analogue_edges(t_s, np.random.default_rng(1).normal(0, 0.1, len(t_s)))
    power_w = np.ones(len(t_s))
    with pytest.raises(AlignmentError, match="no spare channel"):
        trace_edges(Trace(t_s, power_w=power_w))
    with pytest.raises(AlignmentError, match="never changed"):
        trace_edges(Trace(t_s, power_w=power_w, marker=np.zeros(len(t_s), np.bool_)))


STEPS_S: Floats = np.linspace(5.0, 23.0, 10)


def late_trace(interval_s: float, latency_s: float, noise_w: float = 0.0, reading: str = "average") -> Trace:
    """A load that changes between 3 W and 9 W at STEPS_S, seen by a meter whose times are late."""
    t_s = np.arange(0.0, 30.0, interval_s)
    edges_s = STEPS_S.reshape(5, 2)
    heights = np.repeat(np.concatenate([[0.0], np.cumsum(np.diff(edges_s, axis=1).ravel())]), 2)[1:-1]
    work_j = 3.0 * t_s + 6.0 * np.interp(t_s, STEPS_S, heights)
    if reading == "counter":
        return Trace(t_s + latency_s, energy_j=work_j, reading="counter", interval_s=interval_s)
    power_w = np.diff(work_j) / interval_s + np.random.default_rng(4).normal(0, noise_w, len(t_s) - 1)
    return Trace(t_s[1:] + latency_s, power_w=power_w, reading="average", interval_s=interval_s)


@pytest.mark.parametrize("reading", ["average", "counter"])
@pytest.mark.parametrize("latency_s", [0.0, 0.137, 0.42, -0.05])
def test_the_latency_of_a_clean_meter(reading: str, latency_s: float) -> None:
    found = fit_latency(late_trace(0.07, latency_s, reading=reading), STEPS_S)
    # The trace's cells are exact averages, so even a slow meter's latency is.
    assert found.latency_s == pytest.approx(latency_s, abs=1e-6 + 3 * found.u_s)
    assert found.u_s < 2e-3
    assert found.steps == 10


def test_the_latency_of_a_noisy_meter_is_within_its_uncertainty() -> None:
    errors = []
    for seed in range(60):
        clean = late_trace(0.01, 0.2)
        assert clean.power_w is not None
        noisy = clean.power_w + np.random.default_rng(seed).normal(0, 0.5, len(clean))
        found = fit_latency(Trace(clean.t_s, power_w=noisy, reading="average", interval_s=0.01), STEPS_S)
        errors.append((found.latency_s - 0.2) / found.u_s)
    assert np.std(errors) < 1.5
    assert np.mean(np.abs(errors) < 2.0) >= 0.9


def test_a_meter_with_inertia_is_late_by_its_time_constant() -> None:
    """The first moment of 1 − exp(−t/τ) is τ: what a window's energy is off by."""
    t_s, tau_s = np.arange(0.0, 30.0, 0.001), 0.08
    power_w = np.full(len(t_s), 3.0)
    for sign, step_s in zip([1, -1] * 5, STEPS_S, strict=True):
        power_w += (
            sign * 6.0 * np.where(t_s >= step_s, 1 - np.exp(-np.clip(t_s - step_s, 0, None) / tau_s), 0.0)
        )
    found = fit_latency(Trace(t_s, power_w=power_w, interval_s=0.001), STEPS_S)
    assert found.latency_s == pytest.approx(tau_s, rel=0.01)


def test_a_common_error_of_the_steps_does_not_average_out() -> None:
    found = fit_latency(late_trace(0.01, 0.1), STEPS_S, u_steps_s=0.01)
    assert found.u_s == pytest.approx(0.01, rel=0.01)


@pytest.mark.parametrize(
    ("steps_s", "words"),
    [
        (STEPS_S[:3], "4 load steps at least, not 3"),
        (STEPS_S + 25.0, "does not hold all load steps"),
        (STEPS_S, "does not stand out"),
    ],
)
def test_steps_that_tell_no_latency(steps_s: Floats, words: str) -> None:
    source = late_trace(0.01, 0.1)
    if "stand out" in words:
        assert source.power_w is not None
        source = Trace(source.t_s, power_w=np.full(len(source), 3.0), interval_s=0.01)
    with pytest.raises(AlignmentError, match=words):
        fit_latency(source, steps_s)


def test_a_trace_is_advanced_by_a_latency() -> None:
    source = late_trace(0.01, 0.2)
    found = advanced(source, 0.2, 0.005)
    assert found.t_s[0] == pytest.approx(source.t_s[0] - 0.2)
    assert found.clock_bound_s == pytest.approx(0.01)
    assert fit_latency(found, STEPS_S).latency_s == pytest.approx(0.0, abs=1e-3)
    with pytest.raises(AlignmentError, match="latency_u_s"):
        advanced(source, 0.2, -1.0)

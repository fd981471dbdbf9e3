"""Sample times from arrivals: whatever the latency, no sample is further from the truth than the bound."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from power.align.arrivals import SampleClock, fit_arrivals
from power.errors import ClockError


def arrivals(
    seed: int, *, interval_s: float = 1e-5, off_ppm: float = 30.0, blocks: int = 2000, scale_s: float = 1e-3
) -> tuple[np.ndarray, np.ndarray, float]:
    """Blocks of 100 samples over an instrument's own clock, delayed by 0.3 ms and an exponential rest, in order."""
    rng = np.random.default_rng(seed)
    index = 100 * np.arange(1, blocks + 1) - 1
    t0_s = 86_400.0 + rng.uniform(0.0, 0.01)
    taken_s = t0_s + index * interval_s * (1 + off_ppm * 1e-6)
    arrival_s = np.maximum.accumulate(taken_s + 3e-4 + rng.exponential(scale_s, blocks))
    return index, arrival_s, t0_s


def worst_error_s(found: SampleClock, index: np.ndarray, t0_s: float, interval_s: float) -> float:
    return float(np.max(np.abs(found.times_s(index) - (t0_s + index * interval_s))))


@settings(deadline=None)
@given(
    st.integers(0, 2**32),
    st.floats(-100.0, 100.0),
    st.sampled_from([2, 50, 80, 500, 5000]),
    st.floats(0.0, 0.02),
)
def test_no_sample_is_further_off_than_the_bound(
    seed: int, off_ppm: float, blocks: int, scale_s: float
) -> None:
    index, arrival_s, t0_s = arrivals(seed, off_ppm=off_ppm, blocks=blocks, scale_s=scale_s)
    found = fit_arrivals(index, arrival_s, 1e-5, 100.0, (86_400.0, 86_400.02))
    assert worst_error_s(found, index, t0_s, 1e-5 * (1 + off_ppm * 1e-6)) <= found.bound_s + 1e-9


def test_the_rate_is_found_better_than_the_crystal_is_specified() -> None:
    index, arrival_s, t0_s = arrivals(1, blocks=60_000)
    found = fit_arrivals(index, arrival_s, 1e-5, 100.0, (t0_s - 1e-3, t0_s + 1e-3))
    # A minute at ±100 ppm would be ±6 ms; the start is known within 1 ms each way.
    assert found.bound_s < 1.5e-3
    assert found.interval_s == pytest.approx(1e-5 * (1 + 30e-6), rel=1.5e-5)


def test_a_host_that_falls_asleep_does_not_move_the_samples() -> None:
    index, arrival_s, t0_s = arrivals(2)
    stalled = arrival_s.copy()
    stalled[700:900] = np.maximum(stalled[700:900], stalled[899])
    found = fit_arrivals(index, stalled, 1e-5, 100.0, (t0_s - 1e-3, t0_s + 1e-3))
    assert worst_error_s(found, index, t0_s, 1e-5 * (1 + 30e-6)) <= found.bound_s


def test_exact_arrivals_leave_the_start_as_it_is_known() -> None:
    index = np.arange(1000)
    found = fit_arrivals(index, np.linspace(5.0, 14.99, 1000), 0.01, 0.0, (4.9, 5.2))
    assert (found.t0_s, found.interval_s, found.bound_s) == pytest.approx((4.95, 0.01, 0.05))


def test_one_arrival_says_when_it_was_at_the_latest() -> None:
    found = fit_arrivals(np.array([0]), np.array([10.3]), 0.1, 100.0, (10.0, 11.0))
    assert (found.t0_s, found.bound_s) == pytest.approx((10.15, 0.15))


@pytest.mark.parametrize(
    ("index", "arrival_s", "interval_s", "start", "words"),
    [
        ([], [], 0.1, (0.0, 1.0), "No arrival"),
        ([0, 1], [0.0], 0.1, (0.0, 1.0), "No arrival"),
        ([0, 100], [0.1, 5.0], 0.1, (0.0, 1.0), "5 s before they can have been taken"),
        ([0], [0.0], 0.0, (0.0, 1.0), "mend its driver"),
        ([0], [0.0], 0.1, (1.0, 0.0), "mend its driver"),
    ],
)
def test_what_no_instrument_does(
    index: list[int], arrival_s: list[float], interval_s: float, start: tuple[float, float], words: str
) -> None:
    with pytest.raises(ClockError, match=words):
        fit_arrivals(np.array(index, np.int64), np.array(arrival_s), interval_s, 100.0, start)


def test_a_million_arrivals() -> None:
    index, arrival_s, t0_s = arrivals(3, blocks=1_000_000)
    found = fit_arrivals(index, arrival_s, 1e-5, 100.0, (t0_s - 1e-3, t0_s + 1e-3))
    assert worst_error_s(found, index, t0_s, 1e-5 * (1 + 30e-6)) <= found.bound_s

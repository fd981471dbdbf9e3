"""The bound of sample times under delays made to mislead: in step, drifting, in bursts, few, scattered in any way."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from power.align.arrivals import SampleClock, fit_arrivals

BEGUN_S = 86_400.0
ROUNDING_S = 2e-10
"""Of times a day from zero, in doubles."""
INTERVAL_S = 1e-5
FLOORS = ("steady", "sine", "saw", "triangle", "ramp", "step", "walk")
SCATTERS = ("none", "uniform", "exponential", "rayleigh", "normal")
PPM = (10.0, 100.0, 1000.0)


def floor_of(kind: str, rng: np.random.Generator, t_s: np.ndarray) -> np.ndarray:
    """A change of the shortest delay, from 0 to 1, of any period from a few arrivals to a hundred records."""
    length_s = float(t_s[-1] - t_s[0])
    period_s = np.exp(rng.uniform(np.log(4.0 * length_s / len(t_s)), np.log(100.0 * length_s)))
    turns = t_s / period_s + rng.uniform()
    since = (t_s - t_s[0]) / length_s
    walk = np.cumsum(rng.normal(size=len(t_s)))
    kinds: dict[str, Callable[[], np.ndarray]] = {
        "steady": lambda: np.zeros(len(t_s)),
        "sine": lambda: 0.5 + 0.5 * np.sin(2.0 * np.pi * turns),
        "saw": lambda: np.mod(turns, 1.0),
        "triangle": lambda: np.abs(2.0 * np.mod(turns, 1.0) - 1.0),
        "ramp": lambda: since,
        "step": lambda: (since > rng.uniform()).astype(float),
        "walk": lambda: (walk - walk.min()) / np.ptp(walk),
    }
    found = kinds[kind]()
    return found if rng.random() < 0.5 else 1.0 - found


def scatter_of(kind: str, rng: np.random.Generator, count: int, scale_s: float) -> np.ndarray:
    """Delays that know nothing of each other."""
    kinds: dict[str, Callable[[], np.ndarray]] = {
        "none": lambda: np.zeros(count),
        "uniform": lambda: rng.uniform(0.0, scale_s, count),
        "exponential": lambda: rng.exponential(scale_s, count),
        "rayleigh": lambda: rng.rayleigh(scale_s, count),
        "normal": lambda: np.abs(rng.normal(5.0 * scale_s, scale_s, count)),
    }
    return kinds[kind]()


def burst_s(rng: np.random.Generator, count: int, apart_s: float) -> np.ndarray:
    """Up to five stretches, each of up to a fifth of the record, that are late by up to 100 arrivals."""
    found = np.zeros(count)
    for begin in rng.integers(0, count, rng.integers(1, 6)):
        found[begin : begin + 1 + int(count * rng.uniform(0.0, 0.2))] += apart_s * 10 ** rng.uniform(0.0, 2.0)
    return found


def share_of_bound(found: SampleClock, index: np.ndarray, taken_s: np.ndarray) -> float:
    return float(np.max(np.abs(found.times_s(index) - taken_s)) / (found.bound_s + ROUNDING_S))


def delayed(seed: int, floor: str, scatter: str, count: int) -> float:
    """Return the worst error over the bound, for delays whose shortest changes by no more than the time between arrivals."""
    rng = np.random.default_rng(seed)
    ppm, block = float(rng.choice(PPM)), int(rng.choice([1, 100, 1000]))
    off_ppm = ppm * float(rng.choice([-1.0, 1.0, rng.uniform(-1.0, 1.0)]))
    index, apart_s = block * np.arange(1, count + 1) - 1, block * INTERVAL_S
    start_s = apart_s * 10 ** rng.uniform(-2.0, 2.0)
    taken_s = BEGUN_S + rng.uniform(0.0, start_s) + index * INTERVAL_S * (1.0 + off_ppm * 1e-6)
    delay_s = rng.uniform(0.0, 2.0) * apart_s
    delay_s = delay_s + apart_s * rng.choice([1.0, rng.uniform()]) * floor_of(floor, rng, taken_s)
    delay_s += scatter_of(scatter, rng, count, apart_s * 10 ** rng.uniform(-2.0, 1.5))
    if rng.random() < 0.3:
        delay_s += burst_s(rng, count, apart_s)
    arrival_s = taken_s + delay_s
    if rng.random() < 0.5:
        arrival_s = np.maximum.accumulate(arrival_s)
    found = fit_arrivals(index, arrival_s, INTERVAL_S, ppm, (BEGUN_S, BEGUN_S + start_s))
    return share_of_bound(found, index, taken_s)


def asked(seed: int) -> float:
    """Return the worst error over the bound, for a host that asks, mostly in step, for pieces that the instrument fills."""
    rng = np.random.default_rng(seed)
    ppm, piece = float(rng.choice(PPM)), int(rng.choice([1, 7, 100]))
    interval_s = INTERVAL_S * (1.0 + 1e-6 * ppm * float(rng.choice([-1.0, 1.0, rng.uniform(-1.0, 1.0)])))
    piece_s = piece * INTERVAL_S
    apart_s = piece_s * np.exp(rng.uniform(np.log(0.1), np.log(20.0)))
    if rng.random() < 0.6:
        apart_s = (
            piece_s * rng.choice([0.2, 0.5, 1.0, 2.0, 5.0]) * (1.0 + rng.normal() * 10 ** rng.uniform(-7, -3))
        )
    count = int(rng.choice([10, 1000, 30_000]))
    asked_s = BEGUN_S + apart_s * np.arange(1, count + 1)
    asked_s = np.sort(asked_s + rng.choice([0.0, 1e-4, 0.01, 0.3, 1.0]) * apart_s * rng.uniform(size=count))
    start_s = apart_s * 10 ** rng.uniform(-2.0, 1.0)
    t0_s = BEGUN_S + rng.uniform(0.0, start_s)
    # Pieces are of one length, or of a length of time that holds no whole number of samples.
    filled = piece * float(rng.choice([1.0, 1.013]))
    pieces = np.floor((asked_s - rng.uniform() * piece_s - t0_s) / (filled * interval_s))
    index = np.floor(pieces * filled).astype(np.int64) - 1
    arrival_s = asked_s + rng.choice([0.0, 0.01, 0.3, 3.0]) * apart_s * rng.exponential(size=count)
    new = (index >= 0) & (np.diff(index, prepend=-1) > 0)
    index, arrival_s = index[new], np.maximum.accumulate(arrival_s)[new]
    if len(index) == 0:
        return 0.0
    found = fit_arrivals(index, arrival_s, INTERVAL_S, ppm, (BEGUN_S, BEGUN_S + start_s))
    return share_of_bound(found, index, t0_s + index * interval_s)


@settings(deadline=None, max_examples=300)
@given(
    st.integers(0, 2**32),
    st.sampled_from(FLOORS),
    st.sampled_from(SCATTERS),
    st.sampled_from([2, 30, 640, 5000, 20_000]),
)
@pytest.mark.slow
def test_no_pattern_of_delays_breaks_the_bound(seed: int, floor: str, scatter: str, count: int) -> None:
    assert delayed(seed, floor, scatter, count) <= 1.0


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 2**32))
@pytest.mark.slow
def test_no_way_of_asking_breaks_the_bound(seed: int) -> None:
    assert asked(seed) <= 1.0


@pytest.mark.slow
@pytest.mark.parametrize("floor", FLOORS)
@pytest.mark.parametrize("scatter", SCATTERS)
def test_the_bound_holds_in_thousands_of_records(floor: str, scatter: str) -> None:
    counts = (2, 100, 1000, 20_000, 60_000)
    assert [seed for seed in range(400) if delayed(seed, floor, scatter, counts[seed % 5]) > 1.0] == []


@pytest.mark.parametrize("scatter", ["uniform", "exponential"])
@pytest.mark.parametrize("scale", [0.03, 0.3, 3.0])
def test_white_delays_keep_the_bound_small(scatter: str, scale: float) -> None:
    rng = np.random.default_rng(7)
    index, apart_s, start_s = 100 * np.arange(1, 60_001) - 1, 1e-3, 2e-4
    taken_s = BEGUN_S + 0.5 * start_s + index * INTERVAL_S * (1.0 + 30e-6)
    arrival_s = taken_s + 3e-4 + scatter_of(scatter, rng, len(index), scale * apart_s)
    found = fit_arrivals(
        index, np.maximum.accumulate(arrival_s), INTERVAL_S, 100.0, (BEGUN_S, BEGUN_S + start_s)
    )
    # A minute of ±100 ppm is ±6 ms.
    assert share_of_bound(found, index, taken_s) <= 1.0
    assert found.bound_s < 2.0 * (0.5 * start_s + apart_s)


def test_what_two_clocks_explain_is_within_the_bound_of_both() -> None:
    """Delays that grow by the time between arrivals look like a slower clock: nothing smaller could be stated."""
    rng = np.random.default_rng(8)
    index, off = 100 * np.arange(1, 60_001) - 1, 0.9e-3 / 60.0
    steady_s = BEGUN_S + 1e-4 + index * INTERVAL_S
    arrival_s = steady_s + 1e-3 + rng.exponential(1e-4, len(index))
    found = fit_arrivals(index, arrival_s, INTERVAL_S, 100.0, (BEGUN_S, BEGUN_S + 2e-4))
    for slower in (-off, off):
        taken_s = BEGUN_S + 1e-4 + index * INTERVAL_S * (1.0 + slower)
        delay_s = arrival_s - taken_s
        assert delay_s.min() > 0.0
        assert share_of_bound(found, index, taken_s) <= 1.0
    assert found.bound_s < 2.0 * 0.9e-3


def test_a_shortest_delay_that_jumps_leaves_the_crystal_alone() -> None:
    rng = np.random.default_rng(9)
    index = 100 * np.arange(1, 60_001) - 1
    taken_s = BEGUN_S + 1e-4 + index * INTERVAL_S * (1.0 + 80e-6)
    arrival_s = taken_s + 1e-3 + rng.exponential(1e-4, len(index)) + 4e-3 * (index > 0.5 * index[-1])
    found = fit_arrivals(index, arrival_s, INTERVAL_S, 100.0, (BEGUN_S, BEGUN_S + 2e-4))
    assert share_of_bound(found, index, taken_s) <= 1.0
    assert found.bound_s > 5e-3

"""A board whose clock is hours off, runs 200 ppm wrong and is reached over a link with 5 ms of jitter: where windows land."""

from __future__ import annotations

import numpy as np
import pytest

from power.align.pattern import Pattern, fit_pattern
from power.align.relation import by_round_trip, same_clock
from power.clock import ClockFit, ClockProbe, fit
from power.trace import Floats, Trace

OFFSET_S, SKEW, JITTER_S = 7 * 3600.0, 200e-6, 5e-3
WINDOW_S = (60.0, 90.0)
"""On the board's clock."""
INTERVAL_S = 2e-3


def host_s(board_s: float) -> float:
    return board_s / (1.0 + SKEW) + OFFSET_S


def board_ns(host_ns: float) -> int:
    return round((host_ns - OFFSET_S * 1e9) * (1.0 + SKEW))


def clock(rng: np.random.Generator) -> ClockFit:
    """16 round trips before and 16 after the run, each way delayed by up to 5 ms more than the least."""
    probes = []
    for begin_s in (host_s(40.0), host_s(110.0)):
        for index in range(16):
            sent_ns = round((begin_s + 0.02 * index) * 1e9)
            there_ns, back_ns = (int(delay) for delay in 1e5 + rng.uniform(0, JITTER_S * 1e9, 2))
            arrived_ns, left_ns = sent_ns + there_ns, sent_ns + there_ns + 10_000
            probes.append(ClockProbe(sent_ns, board_ns(arrived_ns), board_ns(left_ns), left_ns + back_ns))
    return fit(probes)


def spans(start_s: float, rng: np.random.Generator) -> Floats:
    return start_s + np.cumsum(0.15 * rng.integers(1, 5, 14)).reshape(7, 2)


def trace(busy: Floats, rng: np.random.Generator) -> Trace:
    """What a meter on the host's clock sees: 4 W, 9 W while busy, and 1 W of noise."""
    t_s = np.arange(host_s(40.0), host_s(112.0), INTERVAL_S)
    seen_s = np.array([[host_s(start_s), host_s(end_s)] for start_s, end_s in busy])
    state = np.searchsorted(seen_s.ravel(), t_s, "right") % 2
    return Trace(t_s, power_w=4.0 + 5.0 * state + rng.normal(0.0, 1.0, len(t_s)), interval_s=INTERVAL_S)


@pytest.mark.parametrize("seed", range(20))
def test_by_round_trip_edges_land_within_the_stated_bound(seed: int) -> None:
    relation = by_round_trip(clock(np.random.default_rng(seed)))
    window, bound_s = relation.window(*WINDOW_S)
    # Half of what the quickest of 16 round trips takes, and doubles that know 8 ns.
    assert bound_s <= 0.5 * (2 * 1e-4 + 2 * JITTER_S)
    assert abs(window.start_s - host_s(WINDOW_S[0])) <= bound_s + 1e-8
    assert abs(window.end_s - host_s(WINDOW_S[1])) <= bound_s + 1e-8
    assert relation.to_board_s(window.start_s) == pytest.approx(WINDOW_S[0], abs=1e-7)


@pytest.mark.parametrize("seed", range(20))
def test_by_correlation_edges_land_within_two_sample_intervals(seed: int) -> None:
    rng = np.random.default_rng(seed)
    before, after = spans(45.0, rng), spans(95.0, rng)
    source = trace(np.concatenate([before, [WINDOW_S], after]), rng)
    coarse = clock(rng)
    for within_s in (None, tuple(OFFSET_S + np.array([-0.5, 0.5]))):
        relation = fit_pattern(source, [Pattern(before), Pattern(after)], within_s)
        window, bound_s = relation.window(*WINDOW_S)
        assert abs(window.start_s - host_s(WINDOW_S[0])) <= min(bound_s, 2 * INTERVAL_S)
        assert abs(window.end_s - host_s(WINDOW_S[1])) <= min(bound_s, 2 * INTERVAL_S)
        assert (
            abs(relation.offset_s - (host_s(relation.reference_s) - relation.reference_s)) <= 2 * INTERVAL_S
        )
    # The round trip, as wide as the link is, does not contradict it.
    assert abs(coarse.to_host_s(round(WINDOW_S[0] * 1e9)) - window.start_s) <= coarse.bound_ns / 1e9 + bound_s


def test_a_trace_on_the_boards_clock_is_where_it_is() -> None:
    window, bound_s = same_clock().window(*WINDOW_S)
    assert (window.start_s, window.end_s, bound_s) == (*WINDOW_S, 0.0)

"""The busy/idle pattern as a session makes it: lengths, and what a spell was in the board's words."""

from __future__ import annotations

import pytest
from farm.v1 import device_service_pb2 as pb
from farm.v1 import stats_pb2
from hypothesis import given
from hypothesis import strategies as st

from hostctl.session.pattern import LONGEST, SPELLS, drive, duration_s, lengths, timed, unit_s
from power.meter import Capabilities


@given(st.integers(-(2**31), 2**31), st.integers(0, 1))
def test_lengths_are_drawn_by_seed_and_never_all_alike(seed: int, which: int) -> None:
    found = lengths(which, seed)
    assert found == lengths(which, seed)
    assert len(found) == SPELLS
    assert {1, LONGEST} <= {busy for _, busy in found}
    assert all(1 <= part <= LONGEST for pair in found for part in pair)


def test_the_two_patterns_of_a_run_differ() -> None:
    assert all(lengths(0, seed) != lengths(1, seed) for seed in range(100))


@pytest.mark.parametrize(("rate_hz", "unit"), [(1e6, 0.1), (10.0, 0.4), (1.0, 4.0), (None, 0.4)])
def test_a_slow_meter_needs_long_spells(rate_hz: float | None, unit: float) -> None:
    assert unit_s(Capabilities("average", "wall", rate_hz)) == pytest.approx(unit)


def test_a_slow_model_needs_long_spells_too() -> None:
    assert unit_s(Capabilities("average", "wall", 1e6), 0.2) == pytest.approx(0.8)


def result(start_ns: int, end_ns: int, lead_ns: int, tail_ns: int) -> pb.BenchmarkResult:
    return pb.BenchmarkResult(
        window_start_ns=start_ns,
        window_end_ns=end_ns,
        stats_before=stats_pb2.BoardStats(monotonic_ns=start_ns - lead_ns),
        stats_after=stats_pb2.BoardStats(monotonic_ns=end_ns + tail_ns),
    )


def test_a_spell_has_requests_around_its_window() -> None:
    # 40 ms from the board's state to the window, of which two requests take 30 ms; 18 ms after it, one takes 15.
    found = timed(result(1_000_000_000, 1_300_000_000, 40_000_000, 18_000_000), 0.015)
    assert (found.start_s, found.end_s) == pytest.approx((0.97, 1.315))
    assert found.slack_s == pytest.approx(0.010)
    # They take no more time than there was.
    found = timed(result(1_000_000_000, 1_300_000_000, 4_000_000, 3_000_000), 0.015)
    assert (found.start_s, found.end_s, found.slack_s) == pytest.approx((0.996, 1.303, 0.0))


def test_a_pattern_is_driven_by_spells_and_rests() -> None:
    now_s, calls = 100.0, []

    def sleep(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds

    def spell(busy_s: float) -> tuple[pb.BenchmarkResult, float]:
        nonlocal now_s
        start_ns = round(now_s * 1e9)
        now_s += busy_s
        calls.append(busy_s)
        return result(start_ns, round(now_s * 1e9), 1_000_000, 1_000_000), 0.0

    pattern = drive(spell, sleep, 0.1, 0, 7)
    assert calls == [pytest.approx(0.1 * busy) for _, busy in lengths(0, 7)]
    assert pattern.spans_s.shape == (SPELLS, 2)
    assert pattern.start_s == pytest.approx(100.0 + 0.1 * lengths(0, 7)[0][0])
    assert pattern.slack_s == pytest.approx(0.001)
    assert now_s - pattern.spans_s[-1, 1] == pytest.approx(0.2)
    assert now_s - 100.0 <= duration_s(0.1)

"""The timed loops against a clock that only moves when we say so, and against threads."""

import gc
import threading
import time
from typing import Any

import pytest

from targets import loop


class Clock:
    """A clock that each request moves by a known time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_ns = 1_000
        monkeypatch.setattr(loop, "monotonic_ns", lambda: self.now_ns)

    def request(self) -> None:
        self.now_ns += 10


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_window_covers_the_duration_exactly(clock: Clock) -> None:
    window = loop.measure([clock.request], loop.Limits(95, 1), [], 10.0)
    assert window.requests == 10
    assert list(window.starts_ns) == list(range(1000, 1100, 10))
    assert list(window.ends_ns) == list(range(1010, 1110, 10))
    assert (window.start_ns, window.end_ns) == (1000, 1100)


def test_minimum_count_outlasts_the_duration_and_maximum_ends_it(clock: Clock) -> None:
    assert loop.measure([clock.request], loop.Limits(0, 7), [], 10.0).requests == 7
    assert loop.measure([clock.request], loop.Limits(20, 1000, 50), [], 10.0).requests == 5
    assert loop.measure([clock.request], loop.Limits(1000, 1, 50), [], 10.0).requests == 5


def test_a_wrong_forecast_only_adds_chunks(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_MAX_CHUNK", 4)
    window = loop.measure([clock.request], loop.Limits(1000, 1), [], 1e9)
    assert window.requests == 100
    assert list(window.starts_ns) == list(range(1000, 2000, 10))
    assert loop.measure([clock.request], loop.Limits(0, 4), [], 1e9).requests == 4


def test_stop_ends_the_loop_after_the_request_that_runs(clock: Clock) -> None:
    stop: list[Any] = []

    def request() -> None:
        clock.request()
        if clock.now_ns == 1050:
            stop.append("cancelled")

    assert loop.measure([request], loop.Limits(10**9, 1), stop, 10.0).requests == 5
    assert loop.measure([request], loop.Limits(10**9, 1), stop, 10.0).requests == 0


def test_warm_up_runs_every_slot_at_least_once(clock: Clock) -> None:
    counts = [0, 0, 0]

    def count(slot: int) -> None:
        counts[slot] += 1

    loop.warm_up([lambda s=s: count(s) for s in range(3)], loop.Limits(0, 0), [])  # type: ignore[misc]
    assert counts == [1, 1, 1]
    assert loop.warm_up([clock.request], loop.Limits(95, 0), []) == 10.0


def test_slots_really_run_at_the_same_time() -> None:
    """Three requests that wait for one another can only end if all are in flight."""
    together = threading.Barrier(3, timeout=20)
    window = loop.measure([lambda: together.wait()] * 3, loop.Limits(0, 12), [], 1e6)
    assert window.requests == 12
    assert list(window.starts_ns) == sorted(window.starts_ns)
    assert all(end >= start for start, end in zip(window.starts_ns, window.ends_ns, strict=True))


def test_window_of_several_slots_starts_together_and_completes_all() -> None:
    window = loop.measure([lambda: time.sleep(0.01)] * 4, loop.Limits(50_000_000, 1), [], 1e7)
    assert window.requests >= 4
    assert window.end_ns - window.start_ns >= 50_000_000
    assert min(window.starts_ns) >= window.start_ns


def test_an_error_in_one_slot_stops_all() -> None:
    def fails() -> None:
        raise ValueError("vendor")

    started = time.monotonic()
    with pytest.raises(ValueError, match="vendor"):
        loop.measure([lambda: time.sleep(0.001), fails], loop.Limits(60 * 10**9, 1), [], 1e6)
    assert time.monotonic() - started < 30


def test_garbage_collector_is_off_in_the_window_and_on_after_it() -> None:
    seen = []
    loop.measure([lambda: seen.append(gc.isenabled())], loop.Limits(0, 3), [], 1e6)
    assert seen == [False, False, False]
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError):
        loop.measure([lambda: 1 / 0], loop.Limits(0, 3), [], 1e6)
    assert gc.isenabled()


def test_cpu_time_is_of_the_window() -> None:
    busy = loop.measure([lambda: sum(range(200_000))], loop.Limits(0, 20), [], 1e6)
    idle = loop.measure([lambda: time.sleep(0.05)], loop.Limits(0, 2), [], 1e6)
    length_ns = idle.end_ns - idle.start_ns
    assert 0 < idle.cpu_time_ns < length_ns / 2
    assert busy.cpu_time_ns > 0

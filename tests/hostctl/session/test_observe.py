"""What the board's states around the window say."""

from __future__ import annotations

import pytest
from farm.v1 import device_service_pb2 as pb
from farm.v1 import stats_pb2

from hostctl.session.observe import background_cpu_fraction, cpu_readings, throttle_event_count

MS = 1_000_000


def stats(at_ms: int, busy_ms: int, worker_ms: int, daemon_ms: int = 0) -> stats_pb2.BoardStats:
    return stats_pb2.BoardStats(
        monotonic_ns=at_ms * MS,
        cpu_count=2,
        cpu_busy_ns=busy_ms * MS,
        daemon_cpu_ns=daemon_ms * MS,
        workers=[stats_pb2.WorkerStats(model_id="m", cpu_time_ns=worker_ms * MS)],
    )


def result(**changes: object) -> pb.BenchmarkResult:
    """Two processors for 3 s: 1 s of warm-up and 2 s of window, the worker busy all the time, others half of one."""
    fields = {
        "window_start_ns": 1000 * MS,
        "window_end_ns": 3000 * MS,
        "worker_cpu_ns": 2000 * MS,
        "stats_before": stats(0, 0, 0),
        "stats_after": stats(3000, 4500, 3000),
        **changes,
    }
    return pb.BenchmarkResult(**fields)  # type: ignore[arg-type]


def test_background_is_what_worker_and_daemon_did_not_use() -> None:
    assert background_cpu_fraction(result()) == pytest.approx(1500 / 6000)
    busy_daemon = result(stats_after=stats(3000, 4500, 3000, daemon_ms=900))
    assert background_cpu_fraction(busy_daemon) == pytest.approx(600 / 6000)
    assert background_cpu_fraction(result(), own_cpu_ns=1500 * MS) == 0.0


def test_background_is_never_negative() -> None:
    assert background_cpu_fraction(result(stats_after=stats(3000, 2990, 3000))) == 0.0


@pytest.mark.parametrize(
    "changes",
    [
        {"stats_before": stats_pb2.BoardStats(monotonic_ns=0)},
        {"stats_after": stats_pb2.BoardStats(monotonic_ns=3000 * MS)},
        {"stats_after": stats(0, 4500, 3000)},
        {"stats_after": stats_pb2.BoardStats(monotonic_ns=1, cpu_count=2, cpu_busy_ns=5, daemon_cpu_ns=0)},
    ],
)
def test_background_is_unknown_where_the_board_does_not_tell(changes: dict[str, object]) -> None:
    assert background_cpu_fraction(result(**changes)) is None


def test_the_edges_follow_from_the_workers_own_time() -> None:
    first, start, end, last = cpu_readings(result(stats_after=stats(3001, 4500, 3000)))
    assert [reading.time_ns for reading in (first, start, end, last)] == [0, 1000 * MS, 3000 * MS, 3001 * MS]
    # In the window: the worker's 2 s and two thirds of the others' 1.5 s.
    assert end.busy_ns - start.busy_ns == pytest.approx((2000 + 1000) * MS, rel=1e-3)
    assert first.busy_ns <= start.busy_ns <= end.busy_ns <= last.busy_ns


def test_edges_beyond_the_states_are_left_out() -> None:
    readings = cpu_readings(result(window_end_ns=3000 * MS))
    times = [reading.time_ns for reading in readings]
    assert times == sorted(set(times))


def test_without_the_workers_time_only_the_states_are_known() -> None:
    bare = result(stats_before=stats_pb2.BoardStats(monotonic_ns=0, cpu_count=2, cpu_busy_ns=0))
    assert len(cpu_readings(bare)) == 2


def test_throttling_is_unknown_without_counters() -> None:
    assert throttle_event_count(result()) is None
    assert throttle_event_count(result(throttling_observed=True)) == 0
    events = [pb.ThrottleEvents(name="cpu0", event_count=2), pb.ThrottleEvents(name="cpu1", event_count=3)]
    assert throttle_event_count(result(throttling_observed=True, throttle_events=events)) == 5

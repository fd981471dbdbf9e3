"""What happened on the board besides our loop: other processes' load and throttling, from the states around the window."""

from __future__ import annotations

from farm.v1 import device_service_pb2 as pb


def background_cpu_fraction(result: pb.BenchmarkResult, own_cpu_ns: int = 0) -> float | None:
    """Return the CPU time that neither the worker nor the daemon used, over all processors' time, 0 to 1.

    `own_cpu_ns` is CPU time of hostctl itself between the two states, where the board is this machine. None where the board
    does not tell its load. Counters of different clocks make tiny negative values possible: they are 0.
    """
    before, after = result.stats_before, result.stats_after
    needed = ("cpu_busy_ns", "cpu_count")
    if not all(stats.HasField(field) for stats in (before, after) for field in needed):  # type: ignore[arg-type]
        return None
    elapsed_ns = after.monotonic_ns - before.monotonic_ns
    if elapsed_ns <= 0 or not result.HasField("worker_cpu_ns"):
        return None
    busy_ns = after.cpu_busy_ns - before.cpu_busy_ns
    daemon_ns = after.daemon_cpu_ns - before.daemon_cpu_ns
    foreign_ns = busy_ns - result.worker_cpu_ns - daemon_ns - own_cpu_ns
    return max(0.0, foreign_ns / (elapsed_ns * after.cpu_count))


def throttle_event_count(result: pb.BenchmarkResult) -> int | None:
    """Return the throttle events in the window, None where the board has no counters."""
    if not result.throttling_observed:
        return None
    return sum(event.event_count for event in result.throttle_events)

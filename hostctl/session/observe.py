"""What happened on the board besides our loop, and when: from its states before the warm-up and after the window. Pure.

farmd reads its state outside of the window only, so that nothing polls in it. The worker tells the processor time of the
window itself; with it the state at both edges follows, if the rest of the board is taken to have worked evenly.
"""

from __future__ import annotations

from dataclasses import dataclass

from farm.v1 import device_service_pb2 as pb
from farm.v1 import stats_pb2

from power.meters.estimate import CpuTimeReading


@dataclass(frozen=True, slots=True)
class CpuShares:
    """Processor time between the two states, ns: of all, of the workers, of the daemon; and the length of that time."""

    elapsed_ns: int
    busy_ns: int
    workers_ns: int
    daemon_ns: int
    cpu_count: int

    @property
    def others_ns(self) -> int:
        """What neither the workers nor the daemon used. Counters tick differently, so it may be slightly negative."""
        return self.busy_ns - self.workers_ns - self.daemon_ns


def cpu_shares(result: pb.BenchmarkResult) -> CpuShares | None:
    """Return who used the processors, None where the board does not tell."""
    before, after = result.stats_before, result.stats_after
    workers = {worker.model_id: worker for worker in after.workers}
    known = all(_tells_load(stats) for stats in (before, after))
    elapsed_ns = after.monotonic_ns - before.monotonic_ns
    if not known or elapsed_ns <= 0 or any(w.model_id not in workers for w in before.workers):
        return None
    grown_ns = sum(workers[w.model_id].cpu_time_ns - w.cpu_time_ns for w in before.workers)
    return CpuShares(
        elapsed_ns=elapsed_ns,
        busy_ns=after.cpu_busy_ns - before.cpu_busy_ns,
        workers_ns=grown_ns,
        daemon_ns=after.daemon_cpu_ns - before.daemon_cpu_ns,
        cpu_count=after.cpu_count,
    )


def _tells_load(stats: stats_pb2.BoardStats) -> bool:
    told = stats.HasField("cpu_busy_ns") and stats.HasField("cpu_count") and stats.HasField("daemon_cpu_ns")
    return told and len(stats.workers) > 0 and all(w.HasField("cpu_time_ns") for w in stats.workers)


def background_cpu_fraction(result: pb.BenchmarkResult, own_cpu_ns: int = 0) -> float | None:
    """Return the processor time of everybody else on the board, over all processors' time, 0 to 1; None if unknown.

    `own_cpu_ns` is what hostctl itself used between the two states, where the board is this machine.
    """
    shares = cpu_shares(result)
    if shares is None:
        return None
    return max(0.0, (shares.others_ns - own_cpu_ns) / (shares.elapsed_ns * shares.cpu_count))


def cpu_readings(result: pb.BenchmarkResult) -> list[CpuTimeReading]:
    """Return the board's processor time before the warm-up, at both edges of the window, and after it.

    The edges are left out where the board does not tell what its workers used.
    """
    before, after = result.stats_before, result.stats_after
    first = CpuTimeReading(before.monotonic_ns, before.cpu_busy_ns, before.cpu_count)
    last = CpuTimeReading(after.monotonic_ns, after.cpu_busy_ns, after.cpu_count)
    shares = cpu_shares(result)
    if shares is None or not result.HasField("worker_cpu_ns"):
        return [first, last]
    rest = max(0.0, (shares.busy_ns - shares.workers_ns) / shares.elapsed_ns)
    start_ns, end_ns = result.window_start_ns, result.window_end_ns
    end_busy_ns = last.busy_ns - round(rest * (last.time_ns - end_ns))
    start_busy_ns = end_busy_ns - result.worker_cpu_ns - round(rest * (end_ns - start_ns))
    edges = [
        CpuTimeReading(start_ns, max(start_busy_ns, first.busy_ns), first.cpu_count),
        CpuTimeReading(end_ns, max(end_busy_ns, first.busy_ns), first.cpu_count),
    ]
    return [first, *(edge for edge in edges if first.time_ns < edge.time_ns < last.time_ns), last]


def throttle_event_count(result: pb.BenchmarkResult) -> int | None:
    """Return the throttle events in the window, None where the board has no counters."""
    if not result.throttling_observed:
        return None
    return sum(event.event_count for event in result.throttle_events)

"""The timed loops: what is measured, and nothing else in the window.

A request starts just before the call and ends just after it, both on the monotonic clock. Times go into arrays that are
allocated before the window; the garbage collector is off; nothing is read, written or logged. In the throughput
scenario every slot has a thread with a loop of its own, so that no request waits for a hand-off between threads.
"""

import gc
import threading
from array import array
from typing import Any, Callable, List, Optional, Sequence, Tuple

from targets.marker import Marker
from targets.process import monotonic_ns, process_time_ns

Call = Callable[[], Any]
_FOREVER_NS = 2**63 - 1
_MAX_CHUNK = 4 * 1024 * 1024


class Limits:
    """When a loop ends: after ``duration_ns`` and at least ``count`` requests, but at ``max_duration_ns`` anyway."""

    def __init__(self, duration_ns: int, count: int, max_duration_ns: Optional[int] = None) -> None:
        self.duration_ns = duration_ns
        self.count = count
        self.max_duration_ns = _FOREVER_NS if max_duration_ns is None else max_duration_ns

    def share(self, slots: int) -> "Limits":
        """Return the limits of one of several slots that work at the same time."""
        return Limits(self.duration_ns, -(-self.count // slots), self.max_duration_ns)


class Window:
    """What a loop measured: start and end of each request in order of their starts (ns), and the CPU time of the process.

    ``start_ns`` is the instant at which all slots were let go, a few microseconds before the first request: the window
    lasts at least as long as it was asked to.
    """

    def __init__(
        self, start_ns: int, starts_ns: "array[int]", ends_ns: "array[int]", cpu_time_ns: int
    ) -> None:
        self.start_ns = start_ns
        self.starts_ns = starts_ns
        self.ends_ns = ends_ns
        self.cpu_time_ns = cpu_time_ns

    @property
    def requests(self) -> int:
        """How many requests completed."""
        return len(self.starts_ns)

    @property
    def end_ns(self) -> int:
        """The end of the last request."""
        return max(self.ends_ns)


def warm_up(calls: Sequence[Call], limits: Limits, stop: List[Any]) -> float:
    """Run every slot at least once and until the limits are met; return the mean time of a request in ns.

    Anything put into ``stop`` by another thread ends the loop after the request that runs.
    """
    share = limits.share(len(calls))
    counts = [0] * len(calls)
    begin = monotonic_ns()

    def run(slot: int) -> None:
        call, deadline = calls[slot], begin + share.duration_ns
        last = begin + share.max_duration_ns
        while not stop:
            call()
            counts[slot] += 1
            now = monotonic_ns()
            if (now >= deadline and counts[slot] >= share.count) or now >= last:
                break

    _each(len(calls), run, stop)
    slowest = max(1, min(counts))
    return (monotonic_ns() - begin) / slowest


def measure(
    calls: Sequence[Call],
    limits: Limits,
    stop: List[Any],
    expected_ns: float,
    marker: Optional[Marker] = None,
) -> Window:
    """Run the timed window and return what it measured.

    One call is the latency scenario: this thread runs it again and again. Several are in flight at the same time, one
    thread each, started together; when the time is over, requests in flight are still completed and counted.
    ``expected_ns`` is the time of a request as the warm-up saw it; it only sizes the arrays. ``marker`` is raised just after
    the window began and lowered just after it ended.
    """
    share = limits.share(len(calls))
    capacity = int(1.5 * share.duration_ns / max(expected_ns, 100.0)) + share.count + 1024
    tracks = [_Track(min(capacity, _MAX_CHUNK)) for _ in calls]
    gate = _Gate(len(calls), marker)
    gc.collect()
    was_enabled = gc.isenabled()
    gc.disable()
    cpu_ns = process_time_ns()
    try:
        _each(len(calls), lambda slot: tracks[slot].run(calls[slot], share, stop, gate), stop)
    finally:
        cpu_ns = process_time_ns() - cpu_ns
        if was_enabled:
            gc.enable()
        if marker is not None:
            marker.low()
    return _merge(tracks, gate.begin_ns, cpu_ns)


class _Gate:
    """Lets all slots start at one instant and tells them which."""

    def __init__(self, slots: int, marker: Optional[Marker] = None) -> None:
        self.begin_ns = 0
        self._marker = marker
        self._barrier = threading.Barrier(slots, action=self._open)

    def _open(self) -> None:
        self.begin_ns = monotonic_ns()
        if self._marker is not None:
            self._marker.high()

    def wait(self) -> int:
        self._barrier.wait()
        return self.begin_ns


class _Track:
    """The times of one slot, in preallocated chunks."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self.chunks: List[Tuple[Any, Any, int]] = []
        self._next = self._new()

    def _new(self) -> Tuple[Any, Any]:
        zeros = bytes(8 * self._capacity)
        return array("q", zeros), array("q", zeros)

    def run(self, call: Call, limits: Limits, stop: List[Any], gate: _Gate) -> None:
        begin = gate.wait()
        last = begin + limits.max_duration_ns
        deadline = min(begin + limits.duration_ns, last)
        done = 0
        while True:
            starts, ends = self._next
            used = _fill(call, starts, ends, deadline, last, limits.count - done, stop)
            self.chunks.append((starts, ends, used))
            done += used
            if used < self._capacity or stop:
                return
            end = ends[used - 1]
            if end >= last or (end >= deadline and done >= limits.count):
                return
            # Faster than the warm-up foretold: one more chunk. The pause lies between two requests.
            self._next = self._new()


def _fill(call: Call, starts: Any, ends: Any, deadline: int, last: int, count: int, stop: List[Any]) -> int:
    """The loop itself: fill the two arrays until time or space is over; return how many requests ran."""
    clock = monotonic_ns
    at = 0
    for at in range(len(starts)):
        if stop:
            return at
        starts[at] = clock()
        call()
        end = ends[at] = clock()
        if end >= deadline and (at + 1 >= count or end >= last):
            break
    return at + 1


def _each(slots: int, run: Callable[[int], None], stop: List[Any]) -> None:
    """Run each slot: one in this thread, several in a thread each. The first error stops all and is raised."""
    if slots == 1:
        run(0)
        return
    errors: List[BaseException] = []

    def guarded(slot: int) -> None:
        try:
            run(slot)
        except BaseException as error:
            errors.append(error)
            stop.append(error)

    threads = [threading.Thread(target=guarded, args=(slot,), daemon=True) for slot in range(slots)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def _merge(tracks: List[_Track], start_ns: int, cpu_ns: int) -> Window:
    starts, ends = array("q"), array("q")
    for track in tracks:
        for chunk_starts, chunk_ends, used in track.chunks:
            starts.extend(chunk_starts[:used])
            ends.extend(chunk_ends[:used])
    if len(tracks) > 1:
        order = sorted(range(len(starts)), key=starts.__getitem__)
        starts, ends = array("q", (starts[i] for i in order)), array("q", (ends[i] for i in order))
    return Window(start_ns, starts, ends, cpu_ns)

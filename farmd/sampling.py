"""Samples the board's power rails for one stream, in a thread of its own that sleeps between samples.

The thread never waits for the network: a slow client can't disturb the sampling, it only falls behind.
"""

from __future__ import annotations

import errno
import math
import threading
import time
from collections.abc import Iterator, Sequence
from types import TracebackType

from farm.v1 import device_service_pb2 as pb

from farmd.errors import FarmdError, RailLost, ResourceExhausted
from power.errors import RailUnreadable
from power.rails import Rail, RailReader
from power.sample import Sample

NS_PER_S = 1_000_000_000
SHORTEST_OWN_NS = 10_000_000
"""Fastest sampling nobody asked for: more would load the board that is being measured."""
UNKNOWN_RATE_NS = 100_000_000
"""Interval of a rail whose driver does not tell its rate."""
BATCH_NS = 100_000_000
MAX_BUFFERED = 100_000
MAX_FAILURES = 20
"""So many samples in a row that cannot be read are a lost rail."""
PASSING = frozenset(
    (errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.EIO, errno.ENODATA, errno.ETIMEDOUT, errno.EREMOTEIO)
)
"""What a sensor on a shared bus answers now and then without being gone."""


def own_interval_ns(rail: Rail) -> int:
    """Return the time between two useful samples of a rail."""
    if not rail.rate_hz:
        return UNKNOWN_RATE_NS
    return max(SHORTEST_OWN_NS, round(NS_PER_S / rail.rate_hz))


class _RailSampling:
    """One rail of a stream: when it is due, and what was read since the last answer."""

    def __init__(self, rail: Rail, interval_ns: int, start_ns: int) -> None:
        self.rail = rail
        self.due_ns = start_ns
        self._interval_ns = interval_ns
        self._reader = RailReader(rail)
        self._failures = 0
        self._samples: list[Sample] = []

    def sample(self) -> None:
        """Read once and set the next due time on the grid. Raises RailUnreadable if the rail is lost."""
        try:
            self._samples.append(self._reader.read())
            self._failures = 0
        except RailUnreadable as error:
            self._failures += 1
            if not _is_passing(error) or self._failures >= MAX_FAILURES:
                raise
            if self.rail.energy is None:  # a counter needs no mark: the next reading covers the gap
                self._samples.append(_unread(self.rail))
        late_ns = time.monotonic_ns() - self.due_ns
        self.due_ns += self._interval_ns * (1 + max(0, late_ns) // self._interval_ns)

    @property
    def buffered(self) -> int:
        """How many samples wait for the client."""
        return len(self._samples)

    def take(self) -> pb.RailSamples:
        """Return what was read since the last call."""
        samples, self._samples = self._samples, []
        return pb.RailSamples(
            rail=self.rail.name,
            time_ns=[sample.time_ns for sample in samples],
            power_w=[sample.power_w for sample in samples if sample.power_w is not None],
            voltage_v=[sample.voltage_v for sample in samples if sample.voltage_v is not None],
            current_a=[sample.current_a for sample in samples if sample.current_a is not None],
            energy_j=[sample.energy_j for sample in samples if sample.energy_j is not None],
        )


def _is_passing(error: RailUnreadable) -> bool:
    return isinstance(error.__cause__, OSError) and error.__cause__.errno in PASSING


def _unread(rail: Rail) -> Sample:
    return Sample(
        time.monotonic_ns(),
        power_w=math.nan,
        voltage_v=math.nan if rail.has_voltage else None,
        current_a=math.nan if rail.has_current else None,
    )


class RailSampler:
    """Samples rails from `with` until its end; `batches()` yields what came in, about ten times a second."""

    def __init__(self, rails: Sequence[Rail], interval_ns: int | None = None) -> None:
        start_ns = time.monotonic_ns()
        self._rails = [_RailSampling(rail, interval_ns or own_interval_ns(rail), start_ns) for rail in rails]
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._news = threading.Event()
        self._failure: FarmdError | None = None
        self._thread = threading.Thread(target=self._run, name="rails", daemon=True)

    def __enter__(self) -> RailSampler:
        """Begin to sample."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop sampling and wait until the thread has ended."""
        self.stop()
        self._thread.join()

    def stop(self) -> None:
        """End `batches()`. Callable from any thread, and more than once."""
        self._stop.set()
        self._news.set()

    def batches(self) -> Iterator[pb.PowerResponse]:
        """Yield the samples taken since the last batch, until stopped.

        Raises RailLost when a rail vanishes (after the samples until then), ResourceExhausted when the client
        falls behind by MAX_BUFFERED samples.
        """
        while not self._stop.is_set():
            self._news.wait()
            self._news.clear()
            failure = self._failure  # before the samples are taken: those until the failure still go out
            batch = self._take()
            if batch.rails:
                yield batch
            if failure is not None:
                raise failure
            self._stop.wait(BATCH_NS / NS_PER_S)

    def _take(self) -> pb.PowerResponse:
        with self._lock:
            return pb.PowerResponse(rails=[rail.take() for rail in self._rails if rail.buffered])

    def _run(self) -> None:
        while self._failure is None and not self._stop.is_set():
            due_ns = min(rail.due_ns for rail in self._rails)
            if self._stop.wait(max(0, due_ns - time.monotonic_ns()) / NS_PER_S):
                return
            try:
                self._sample_due()
            except RailUnreadable as error:
                self._failure = RailLost(str(error), metadata={"rail": error.rail, "path": error.path})
            self._news.set()

    def _sample_due(self) -> None:
        now_ns = time.monotonic_ns()
        for rail in self._rails:
            if rail.due_ns > now_ns:
                continue
            with self._lock:
                rail.sample()
            if rail.buffered > MAX_BUFFERED:
                self._failure = ResourceExhausted(
                    f"The client reads the samples of rail '{rail.rail.name}' too slowly; ask for a longer interval.",
                    metadata={"rail": rail.rail.name, "limit": MAX_BUFFERED},
                )

"""One timed loop on the board: limits, the worker's loop, and its samples and result as messages.

Nothing of the daemon runs in the window but one blocked thread: the loop is in the worker (targets/loop.py).
"""

from __future__ import annotations

import os
import sys
from array import array
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from farm.v1 import device_service_pb2 as pb
from farm.v1 import stats_pb2
from google.protobuf import duration_pb2

from farmd import errors, tensors
from farmd.config import Config
from farmd.dialogue import Deadline
from farmd.models import worker_memory
from farmd.waiting import Cancel
from farmd.worker import Worker

# Two arrays of 8 bytes a request, below 1 MiB with the message around them.
SAMPLES_PER_MESSAGE = 60_000
_INT64_MAX = (1 << 63) - 1
_SCENARIOS = {
    pb.BenchmarkRequest.SCENARIO_LATENCY: "latency",
    pb.BenchmarkRequest.SCENARIO_THROUGHPUT: "throughput",
}
_PHASES = {
    "warmup": pb.BenchmarkProgress.PHASE_WARMUP,
    "running": pb.BenchmarkProgress.PHASE_RUNNING,
}


@dataclass(frozen=True)
class Plan:
    """A checked request. Times in ns."""

    scenario: str
    in_flight: int | None
    duration_ns: int
    min_count: int
    max_duration_ns: int
    warmup_ns: int
    warmup_count: int
    seed: int
    inputs: list[tensors.TensorValue]


def duration_ns(message: duration_pb2.Duration, field: str) -> int:
    """Return a duration in ns. RequestInvalid if it is negative, malformed or does not fit in an int64."""
    total = message.seconds * 1_000_000_000 + message.nanos
    if not (0 <= message.nanos < 1_000_000_000 and 0 <= total <= _INT64_MAX):
        raise errors.RequestInvalid.of_field(
            field, f"'{field}' must be a duration from 0 to 292 years, with nanos from 0 to 999999999."
        )
    return total


def checked(request: pb.BenchmarkRequest, config: Config) -> Plan:
    """Check a request; RequestInvalid names the field."""
    scenario = _SCENARIOS.get(request.scenario)
    if scenario is None:
        raise errors.RequestInvalid.of_field("scenario", "'scenario' must be latency or throughput.")
    in_flight = request.in_flight if request.HasField("in_flight") else None
    if in_flight is not None and in_flight < 1:
        raise errors.RequestInvalid.of_field("in_flight", f"'in_flight' must be at least 1, not {in_flight}.")
    if in_flight not in (None, 1) and scenario == "latency":
        message = f"The latency scenario has one request in flight, not {in_flight}; leave 'in_flight' out."
        raise errors.RequestInvalid.of_field("in_flight", message)
    for field, value in (
        ("min_request_count", request.min_request_count),
        ("min_warmup_count", request.min_warmup_count),
        ("seed", request.seed),
    ):
        if value < 0:
            raise errors.RequestInvalid.of_field(field, f"'{field}' must not be negative, but is {value}.")
    limit_ns = _limit_ns(request, config)
    return Plan(
        scenario=scenario,
        in_flight=in_flight,
        duration_ns=_within(request.duration, "duration", limit_ns),
        min_count=request.min_request_count,
        max_duration_ns=limit_ns,
        warmup_ns=_within(request.warmup, "warmup", round(config.benchmark_max_s * 1e9)),
        warmup_count=request.min_warmup_count,
        seed=request.seed,
        inputs=tensors.values(request.inputs),
    )


def _limit_ns(request: pb.BenchmarkRequest, config: Config) -> int:
    own_ns = round(config.benchmark_max_s * 1e9)
    if not request.HasField("max_duration"):
        return own_ns
    limit_ns = _within(request.max_duration, "max_duration", own_ns)
    if limit_ns == 0:
        raise errors.RequestInvalid.of_field(
            "max_duration", "'max_duration' must be longer than 0; leave it out for the board's own limit."
        )
    return limit_ns


def _within(message: duration_pb2.Duration, field: str, limit_ns: int) -> int:
    asked_ns = duration_ns(message, field)
    if asked_ns > limit_ns:
        raise errors.RequestInvalid.of_field(
            field, f"'{field}' is {asked_ns / 1e9:g} s; at most {limit_ns / 1e9:g} s are allowed here."
        )
    return asked_ns


def run(
    worker: Worker, plan: Plan, config: Config, cancel: Cancel
) -> Generator[pb.BenchmarkResponse, None, tuple[dict[str, Any], Samples]]:
    """Run the loop in a worker whose turn we hold: yields the phases, returns the worker's reply and the samples.

    When the caller goes the loop is stopped and the worker stays. Raises as Worker.converse does.
    """
    patience_s = config.infer_timeout_s
    times_path = worker.directory / "times"
    members = {
        "scenario": plan.scenario,
        "in_flight": plan.in_flight,
        "duration_ns": plan.duration_ns,
        "min_count": plan.min_count,
        "max_duration_ns": plan.max_duration_ns,
        "warmup_ns": plan.warmup_ns,
        "warmup_count": plan.warmup_count,
        "inputs": worker.place_inputs(plan.inputs) if plan.inputs else None,
        "seed": plan.seed,
        "times_path": str(times_path),
    }
    worker.stage = "benchmark"
    # Before the warm-up runs the first inference of all, which may build or tune the model.
    deadline = Deadline(config.load_timeout_s)
    talk = worker.converse("benchmark", members, deadline=deadline, cancel=cancel, grace_s=patience_s)
    try:
        while True:
            event = next(talk)
            phase = str(event.members.get("phase"))
            if event.kind == "progress" and phase in _PHASES:
                deadline.restart(_phase_limit_s(plan, phase, config))
                yield pb.BenchmarkResponse(progress=pb.BenchmarkProgress(phase=_PHASES[phase]))
    except StopIteration as stop:
        reply: dict[str, Any] = stop.value
    finally:
        talk.close()  # a reader that has gone leaves through here, and the worker has to be brought to rest
        worker.stage = "idle"
    return reply, Samples.take(times_path, reply, worker)


def _phase_limit_s(plan: Plan, phase: str, config: Config) -> float:
    """Return after how long a phase must have hung: no single inference takes longer than the limit of one."""
    if phase == "warmup":
        needed_s = plan.warmup_ns / 1e9 + config.infer_timeout_s * (1 + plan.warmup_count)
        return min(needed_s, config.benchmark_max_s + config.infer_timeout_s)
    needed_s = plan.duration_ns / 1e9 + config.infer_timeout_s * (1 + plan.min_count)
    return min(needed_s, plan.max_duration_ns / 1e9 + config.infer_timeout_s)


Measuring = Generator[pb.BenchmarkResponse, None, "tuple[pb.BenchmarkResult, Samples]"]
"""The phases of a benchmark as answers; it returns the last answer and the samples that go before it."""


class Samples:
    """The start and end of every request, in a file without a name: nothing is left of it once it is closed."""

    def __init__(self, file: BinaryIO, count: int) -> None:
        self._file = file
        self._count = count

    @classmethod
    def take(cls, path: Path, reply: Mapping[str, Any], worker: Worker) -> Samples:
        """Open and unlink the worker's file. WorkerGarbage if it does not hold what the reply says."""
        try:
            file = path.open("rb")
            path.unlink()
            count, size_bytes = reply["requests"], os.fstat(file.fileno()).st_size
            if type(count) is not int or count < 1 or size_bytes != 16 * count:
                file.close()
                raise ValueError(f"{size_bytes} bytes of times for {count!r} requests")
        except (OSError, KeyError, ValueError) as error:
            raise worker.ended(
                errors.WorkerGarbage, f"left no usable times of the benchmark ({error})"
            ) from None
        return cls(file, count)

    def messages(self) -> Iterator[pb.BenchmarkResponse]:
        """Yield the samples in order, a few at a time."""
        for first in range(0, self._count, SAMPLES_PER_MESSAGE):
            count = min(SAMPLES_PER_MESSAGE, self._count - first)
            samples = pb.BenchmarkSamples(
                start_ns=self._read(first, count), end_ns=self._read(self._count + first, count)
            )
            yield pb.BenchmarkResponse(samples=samples)

    def _read(self, first: int, count: int) -> array[int]:
        times = array("q")
        self._file.seek(8 * first)
        times.fromfile(self._file, count)
        if sys.byteorder == "big":
            times.byteswap()
        return times

    def close(self) -> None:
        """Close the file, and with it remove it. Harmless twice."""
        self._file.close()


def result(
    reply: Mapping[str, Any], before: stats_pb2.BoardStats, after: stats_pb2.BoardStats
) -> pb.BenchmarkResult:
    """Return the last answer. KeyError, TypeError or ValueError: the worker's reply is garbage."""
    return pb.BenchmarkResult(
        request_count=reply["requests"],
        batch=reply["batch"],
        in_flight=reply["in_flight"],
        window_start_ns=reply["window_start_ns"],
        window_end_ns=reply["window_end_ns"],
        first_inference_ns=reply["first_ns"],
        outputs_finite=reply["outputs_finite"],
        memory=worker_memory(reply["memory"]),
        worker_cpu_ns=reply["cpu_time_ns"],
        throttle_events=_throttle_events(before, after),
        stats_before=before,
        stats_after=after,
        device_time_ns=reply.get("device_time_ns"),
        throttling_observed=any(counter.HasField("event_count") for counter in before.throttling),
    )


def _throttle_events(before: stats_pb2.BoardStats, after: stats_pb2.BoardStats) -> list[pb.ThrottleEvents]:
    """Return the counters that grew; one that cannot be read at both ends says nothing."""
    start = {c.name: c.event_count for c in before.throttling if c.HasField("event_count")}
    return [
        pb.ThrottleEvents(name=c.name, event_count=c.event_count - start[c.name])
        for c in after.throttling
        if c.HasField("event_count") and c.name in start and c.event_count > start[c.name]
    ]

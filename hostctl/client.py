"""One board, as a Python object: every call of farm.v1.DeviceService with a deadline and errors in one sentence."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TypeVar, cast

import grpc
import numpy as np
import numpy.typing as npt
from farm.v1 import board_pb2, model_pb2, stats_pb2
from farm.v1 import device_service_pb2 as pb
from farm.v1.device_service_pb2_grpc import DeviceServiceStub
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from hostctl.errors import DeviceError, DeviceUnreachable, HostctlError
from hostctl.inventory import Tls
from hostctl.rpc import RETRY_DELAYS_S, code_of, open_channel, retrying, translate, translated
from hostctl.tensors import Array, to_arrays, to_tensors
from hostctl.upload import LoadProgress, LogLine, Upload, read_model_file
from power.clock import ClockProbe

CALL_TIMEOUT_S = 10.0
INFER_TIMEOUT_S = 120.0
LOAD_TIMEOUT_S = 600.0
UPLOAD_BYTES_PER_S = 1e6
"""Slowest link an upload is given time for."""
BENCHMARK_MARGIN_S = 60.0
BENCHMARK_MAX_S = 3600.0

R = TypeVar("R", bound=Message)


class LeaseTag(Protocol):
    """What a call shows to the board: the lease and its fence."""

    @property
    def id(self) -> str: ...

    @property
    def fence(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class InferResult:
    """One inference: outputs by name; times in ns, None where the board does not tell.

    `start_ns` is on the board's monotonic clock.
    """

    outputs: dict[str, Array]
    queue_ns: int | None
    compute_ns: int | None
    start_ns: int | None
    round_trip_ns: int


@dataclass(frozen=True, slots=True)
class BenchmarkRun:
    """A timed loop: start and end of every request (int64 ns, board's monotonic clock), and the board's summary."""

    start_ns: npt.NDArray[np.int64]
    end_ns: npt.NDArray[np.int64]
    result: pb.BenchmarkResult


@dataclass(frozen=True, slots=True)
class BenchmarkOptions:
    """What a timed loop is asked to do. Durations in s; `in_flight` None is the runtime's optimum."""

    scenario: str
    duration_s: float
    warmup_s: float
    min_requests: int = 1
    min_warmup: int = 1
    in_flight: int | None = None
    seed: int = 0
    max_duration_s: float = BENCHMARK_MAX_S


Phase = Callable[[str], None]
"""Called with "warmup", "running" and "done" as they begin."""


def _no_progress(*_: object) -> None:
    """Tell nobody."""


def duration(seconds: float) -> Duration:
    """Return seconds as the protocol's Duration."""
    return Duration(seconds=int(seconds), nanos=round((seconds - int(seconds)) * 1e9))


class Board:
    """A connection to one board's farmd.

    `lease` (anything with `id` and `fence`) is shown on every call; `device` is the name used in error sentences.
    Errors: DeviceUnreachable (nobody answers), Refused (lease, permission), DeviceError (anything else the board says).
    Closing twice is harmless. The connection is made by the first call.
    """

    def __init__(
        self, address: str, lease: LeaseTag | None = None, tls: Tls | None = None, device: str | None = None
    ) -> None:
        self.address = address
        self.device = device or address
        self._metadata = (
            () if lease is None else (("wattfarm-lease", lease.id), ("wattfarm-fence", str(lease.fence)))
        )
        self._channel = open_channel(address, tls)
        self._stub = DeviceServiceStub(self._channel)

    def __enter__(self) -> Board:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Break off what runs and end the connection."""
        self._channel.close()

    def info(self, timeout_s: float = CALL_TIMEOUT_S) -> pb.GetInfoResponse:
        """Describe the board."""
        return self._ask(self._stub.GetInfo, pb.GetInfoRequest(), timeout_s)

    def stats(self) -> stats_pb2.BoardStats:
        """Tell the board's state now."""
        return self._ask(self._stub.Stats, pb.StatsRequest()).stats

    def rails(self) -> list[board_pb2.Rail]:
        """List the rails and meters attached to the board, unreadable ones included."""
        return list(self._ask(self._stub.ListRails, pb.ListRailsRequest()).rails)

    def models(self) -> list[model_pb2.LoadedModel]:
        """List the models that are loaded."""
        found: list[model_pb2.LoadedModel] = []
        token = ""
        while True:
            page = self._ask(self._stub.ListModels, pb.ListModelsRequest(page_token=token))
            found.extend(page.models)
            token = page.next_page_token
            if not token:
                return found

    def probe_clock(self, count: int = 16) -> list[ClockProbe]:
        """Exchange four timestamps `count` times. Raises DeviceError if farmd was restarted in between."""
        self._ask(
            self._stub.SyncClock, pb.SyncClockRequest()
        )  # opens the connection; its round trip says nothing
        probes, instances = [], set()
        for _ in range(count):
            with translated(self.device, self.address):
                sent_ns = time.monotonic_ns()
                answer = self._stub.SyncClock(
                    pb.SyncClockRequest(), timeout=CALL_TIMEOUT_S, metadata=self._metadata
                )
                received_ns = time.monotonic_ns()
            probes.append(ClockProbe(sent_ns, answer.receive_ns, answer.send_ns, received_ns))
            instances.add(answer.instance_id)
        if len(instances) > 1:
            raise DeviceError(f"farmd on '{self.device}' was restarted during the measurement; run it again.")
        return probes

    def load(
        self,
        path: Path,
        *,
        format: str,  # noqa: A002 (the protocol's word)
        runtime: str,
        name: str = "",
        precision: str = "",
        batch: int | None = None,
        options: Mapping[str, str] | None = None,
        progress: LoadProgress = _no_progress,
        log: LogLine = _no_progress,
        timeout_s: float = LOAD_TIMEOUT_S,
    ) -> model_pb2.LoadedModel:
        """Upload and load a model file; bytes that are on the board already are not sent again.

        `precision` "" leaves the file's own; `batch` None leaves the file's own, or 1 where it is dynamic; `timeout_s` is the
        time the runtime may take to build, uploading not counted. A connection lost during the upload is taken up again
        where it broke off. Raises ModelFileError for a file that cannot be read.
        """
        model = read_model_file(path)
        header = pb.LoadModelHeader(
            name=name or path.name,
            format=format,
            sha256=model.sha256,
            size_bytes=model.size_bytes,
            runtime=runtime,
            precision=precision,
            batch=batch,
            options=dict(options or {}),
            load_timeout=duration(timeout_s),
        )
        for pause_s in (*RETRY_DELAYS_S, None):
            upload = Upload(model, header)
            try:
                return self._load_once(
                    upload, progress, log, timeout_s + model.size_bytes / UPLOAD_BYTES_PER_S
                )
            except DeviceUnreachable:
                # Once all bytes are there a second try might load the model twice.
                if pause_s is None or upload.received_bytes >= model.size_bytes:
                    raise
                time.sleep(pause_s)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _load_once(
        self, upload: Upload, progress: LoadProgress, log: LogLine, timeout_s: float
    ) -> model_pb2.LoadedModel:
        call = self._stub.LoadModel(
            upload.requests(), timeout=timeout_s + CALL_TIMEOUT_S, metadata=self._metadata
        )
        try:
            with translated(self.device, self.address):
                return upload.follow(call, progress, log)
        finally:
            upload.close()
            call.cancel()

    def unload(self, model_id: str) -> None:
        """End a loaded model's worker."""
        self._call(self._stub.UnloadModel, pb.UnloadModelRequest(model_id=model_id), CALL_TIMEOUT_S)

    def infer(
        self, model_id: str, inputs: Mapping[str, Array], timeout_s: float = INFER_TIMEOUT_S
    ) -> InferResult:
        """Run one inference. Raises UsageError for a dtype the protocol does not know."""
        request = pb.InferRequest(model_id=model_id, inputs=to_tensors(inputs))
        sent_ns = time.monotonic_ns()
        answer = self._call(self._stub.Infer, request, timeout_s)
        round_trip_ns = time.monotonic_ns() - sent_ns
        return InferResult(
            outputs=to_arrays(answer.outputs),
            queue_ns=_optional(answer, "queue_ns"),
            compute_ns=_optional(answer, "compute_ns"),
            start_ns=_optional(answer, "start_ns"),
            round_trip_ns=round_trip_ns,
        )

    def benchmark(
        self,
        model_id: str,
        options: BenchmarkOptions,
        inputs: Mapping[str, Array] | None = None,
        phase: Phase = _no_progress,
    ) -> BenchmarkRun:
        """Run a timed loop on the board and sleep meanwhile. `inputs` None takes random ones from the seed.

        Any exception, KeyboardInterrupt included, cancels the loop on the board.
        """
        request = _benchmark_request(model_id, options, inputs or {})
        limit_s = options.max_duration_s + options.warmup_s + BENCHMARK_MARGIN_S
        call = self._stub.Benchmark(request, timeout=limit_s, metadata=self._metadata)
        ended = threading.Event()
        cast(grpc.Future, call).add_done_callback(lambda _: ended.set())  # type: ignore[type-arg]
        starts: list[npt.NDArray[np.int64]] = []
        ends: list[npt.NDArray[np.int64]] = []
        result = None
        try:
            with translated(self.device, self.address):
                for answer in call:
                    event = answer.WhichOneof("event")
                    if event == "progress":
                        self._phase(answer.progress.phase, options, phase, ended)
                    elif event == "samples":
                        starts.append(np.array(answer.samples.start_ns, dtype=np.int64))
                        ends.append(np.array(answer.samples.end_ns, dtype=np.int64))
                    elif event == "result":
                        result = answer.result
        finally:
            call.cancel()
        if result is None:
            raise DeviceError(
                f"Device '{self.device}' ended the benchmark without a result; see farmd's log."
            )
        return BenchmarkRun(_joined(starts), _joined(ends), result)

    @staticmethod
    def _phase(number: int, options: BenchmarkOptions, phase: Phase, ended: threading.Event) -> None:
        name = pb.BenchmarkProgress.Phase.Name(number)  # type: ignore[arg-type]
        phase(name.removeprefix("PHASE_").lower())
        # gRPC wakes ten times a second to look for signals while it waits. Sleep on an event instead for as long as the
        # part must last, unless the call ends before: the measured board may be this very machine.
        if number == pb.BenchmarkProgress.PHASE_WARMUP:
            ended.wait(options.warmup_s)
        elif number == pb.BenchmarkProgress.PHASE_RUNNING:
            ended.wait(options.duration_s)

    def watch_stats(self, interval_s: float = 1.0) -> Iterator[stats_pb2.BoardStats]:
        """Yield the board's state every `interval_s` until the iterator is closed."""
        call = self._stub.WatchStats(
            pb.WatchStatsRequest(interval=duration(interval_s)), metadata=self._metadata
        )
        try:
            with translated(self.device, self.address):
                for answer in call:
                    yield answer.stats
        finally:
            call.cancel()

    def power(self, rails: Iterable[str] = (), interval_s: float | None = None) -> PowerStream:
        """Stream samples of rails (none named: all that can be read). `interval_s` None is each rail's own rate."""
        request = pb.PowerRequest(rails=list(rails))
        if interval_s is not None:
            request.interval.CopyFrom(duration(interval_s))
        return PowerStream(self._stub.Power(request, metadata=self._metadata), self.device, self.address)

    def _ask(self, method: Callable[..., R], request: Message, timeout_s: float = CALL_TIMEOUT_S) -> R:
        """Make an idempotent call: again if nobody answered."""
        with translated(self.device, self.address):
            return retrying(lambda: method(request, timeout=timeout_s, metadata=self._metadata))

    def _call(self, method: Callable[..., R], request: Message, timeout_s: float) -> R:
        with translated(self.device, self.address):
            return method(request, timeout=timeout_s, metadata=self._metadata)


class PowerStream:
    """Samples as they come; iterate in one thread, `close` from any."""

    def __init__(self, call: Any, device: str, address: str) -> None:
        self._call = call
        self._device = device
        self._address = address
        self._closed = False

    def __iter__(self) -> Iterator[pb.PowerResponse]:
        """Yield answers until closed. Raises HostctlError if the board ends the stream with an error."""
        try:
            yield from self._call
        except grpc.RpcError as error:
            if not (self._closed and code_of(error) is grpc.StatusCode.CANCELLED):
                raise self._translated(error) from error

    def _translated(self, error: grpc.RpcError) -> HostctlError:
        return translate(error, self._device, self._address)

    def close(self) -> None:
        """End the stream."""
        self._closed = True
        self._call.cancel()


def _benchmark_request(
    model_id: str, options: BenchmarkOptions, inputs: Mapping[str, Array]
) -> pb.BenchmarkRequest:
    return pb.BenchmarkRequest(
        model_id=model_id,
        scenario=pb.BenchmarkRequest.Scenario.Value(f"SCENARIO_{options.scenario.upper()}"),
        in_flight=options.in_flight,
        duration=duration(options.duration_s),
        min_request_count=options.min_requests,
        max_duration=duration(options.max_duration_s),
        warmup=duration(options.warmup_s),
        min_warmup_count=options.min_warmup,
        inputs=to_tensors(inputs),
        seed=options.seed,
    )


def _joined(parts: list[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def _optional(message: Message, field: str) -> Any:
    """Return a field, or None where it was not sent."""
    return getattr(message, field) if message.HasField(field) else None

"""One board, as a Python object: every call of farm.v1.DeviceService with a deadline and errors in one sentence."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, cast

import grpc
import numpy as np
import numpy.typing as npt
from farm.v1 import board_pb2, model_pb2, stats_pb2
from farm.v1 import device_service_pb2 as pb
from farm.v1.device_service_pb2_grpc import DeviceServiceStub
from google.protobuf.message import Message

from hostctl.calls import (
    BenchmarkOptions,
    BenchmarkRun,
    InferResult,
    LeaseTag,
    PowerStream,
    benchmark_request,
    duration,
    joined,
)
from hostctl.errors import DeviceError, ModelFileError
from hostctl.inventory import Tls
from hostctl.rpc import code_of, details_of, open_channel, retrying, translate, translated
from hostctl.tensors import Array, infer_message, to_arrays
from hostctl.upload import LoadProgress, LogLine, Upload, read_model_file
from power.clock import ClockProbe

CALL_TIMEOUT_S = 10.0
INFER_TIMEOUT_S = 120.0
LOAD_TIMEOUT_S = 600.0
UPLOAD_BYTES_PER_S = 1e6
"""Slowest link an upload is given time for."""
LOAD_PAUSES_S = (0.2, 0.5, 1.0, 2.0)
LONGEST_TOLD_PAUSE_S = 65.0
"""Longest wait before another load that a board may ask for."""
BENCHMARK_MARGIN_S = 60.0

_INFER = f"/{pb.DESCRIPTOR.services_by_name['DeviceService'].full_name}/Infer"

R = TypeVar("R", bound=Message)


Phase = Callable[[str], None]
"""Called with "warmup", "running" and "done" as they begin."""


def _no_progress(*_: object) -> None:
    """Tell nobody."""


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
        self._infer: grpc.UnaryUnaryMultiCallable[bytes, pb.InferResponse] = self._channel.unary_unary(
            _INFER, response_deserializer=pb.InferResponse.FromString
        )

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
        limit_s = timeout_s + model.size_bytes / UPLOAD_BYTES_PER_S + CALL_TIMEOUT_S
        pauses_s = iter(LOAD_PAUSES_S)
        while True:
            upload = Upload(model, header)
            try:
                return self._load_once(upload, progress, log, limit_s)
            except grpc.RpcError as error:
                pause_s = _pause_before_next_load(error, upload.received_bytes < model.size_bytes, pauses_s)
                if pause_s is None:
                    raise translate(error, self.device, self.address) from error
            time.sleep(pause_s)

    def _load_once(
        self, upload: Upload, progress: LoadProgress, log: LogLine, limit_s: float
    ) -> model_pb2.LoadedModel:
        call = self._stub.LoadModel(upload.requests(), timeout=limit_s, metadata=self._metadata)
        try:
            return upload.follow(call, progress, log)
        except grpc.RpcError:
            if upload.file_error is not None:  # the sending side broke off, and the call with it
                raise ModelFileError(
                    f"The model could not be read to its end ({upload.file_error})."
                ) from None
            raise
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
        request = infer_message(model_id, inputs)
        sent_ns = time.monotonic_ns()
        with translated(self.device, self.address):
            answer = self._infer(request, timeout=timeout_s, metadata=self._metadata)
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
        request = benchmark_request(model_id, options, inputs or {})
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
        return BenchmarkRun(joined(starts), joined(ends), result)

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


def _pause_before_next_load(
    error: grpc.RpcError, incomplete: bool, pauses_s: Iterator[float]
) -> float | None:
    """Return how long to wait before a load is tried again, None if it must not be.

    The board may say when (a runtime whose workers died starts the next one later). A broken connection is taken up again
    while bytes are missing; once all are there a second try might load the model twice.
    """
    if code_of(error) is not grpc.StatusCode.UNAVAILABLE:
        return None
    told_s = details_of(error).retry_s
    if told_s is None and not incomplete:
        return None
    own_s = next(pauses_s, None)
    if own_s is None or told_s is None:
        return own_s
    return told_s if told_s <= LONGEST_TOLD_PAUSE_S else None


def _optional(message: Message, field: str) -> Any:
    """Return a field, or None where it was not sent."""
    return getattr(message, field) if message.HasField(field) else None

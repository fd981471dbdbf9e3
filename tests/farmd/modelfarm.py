"""Serves the model half of the daemon on a real socket, with real workers, and speaks to it as a client does."""

from __future__ import annotations

import hashlib
import queue
import struct
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, cast

import grpc
import pytest
from farm.v1 import device_service_pb2 as pb
from farm.v1 import device_service_pb2_grpc as pb_grpc
from farm.v1 import model_pb2, stats_pb2, tensor_pb2
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from farmd.cache import ModelCache
from farmd.config import Config
from farmd.services.models import ModelCalls
from farmd.status import StatusInterceptor
from farmd.storage import FileSystem
from farmd.supervisor import Supervisor

TESTS = Path(__file__).resolve().parents[1]
FAKES = (TESTS / "targets" / "fakes", TESTS / "farmd" / "fakes")
RUNNERS = "fake=wattfarm_fakes:FakeRunner,rogue=wattfarm_rogues:RogueRunner"
EIGHT = [float(n) for n in range(8)]
DOUBLE = b"2.0"  # the fakes' model file: y = 2 x


def config_of(state_dir: Path, **changes: Any) -> Config:
    """A configuration with short limits and the fake runners."""
    settings = {
        "state_dir": state_dir,
        "default_interpreter": Path(sys.executable),
        "extra_worker_paths": FAKES,
        "worker_env": MappingProxyType({"WATTFARM_RUNNERS": RUNNERS}),
        "load_timeout_s": 30.0,
        "infer_timeout_s": 10.0,
        "benchmark_max_s": 60.0,
        **changes,
    }
    return replace(Config(), **settings)


class Failure(NamedTuple):
    """A rich status, taken apart."""

    code: grpc.StatusCode
    reason: str
    message: str
    metadata: dict[str, str]
    fields: list[str]
    retry_delay_s: float | None


def failure_of(error: grpc.RpcError) -> Failure:
    """Read the google.rpc.Status of a failed call."""
    status = rpc_status.from_call(error)
    assert status is not None, error
    info, bad, retry = (
        error_details_pb2.ErrorInfo(),
        error_details_pb2.BadRequest(),
        error_details_pb2.RetryInfo(),
    )
    has_retry = False
    for detail in status.details:
        for message in (info, bad, retry):
            if detail.Is(message.DESCRIPTOR):
                detail.Unpack(message)
                has_retry = has_retry or message is retry
    return Failure(
        error.code(),
        info.reason,
        status.message,
        dict(info.metadata),
        [violation.field for violation in bad.field_violations],
        retry.retry_delay.ToNanoseconds() / 1e9 if has_retry else None,
    )


def failed(call: Callable[..., Any], *arguments: Any, **named: Any) -> Failure:
    """Call, expect it to fail, and return its status."""
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **named)
    return failure_of(caught.value)


def header_of(data: bytes, **fields: Any) -> pb.LoadModelHeader:
    """A header for the fakes' runtime."""
    options = {key: str(value) for key, value in fields.pop("options", {}).items()}
    values = {
        "name": "double",
        "format": "fake",
        "runtime": "fake",
        "sha256": hashlib.sha256(data).hexdigest(),
        "size_bytes": len(data),
        **fields,
    }
    return pb.LoadModelHeader(options=options, **values)


def x_of(*values: float, name: str = "x") -> tensor_pb2.Tensor:
    """An input of the fakes: float32 of shape [n, 8]."""
    data = struct.pack(f"<{len(values)}f", *values)
    return tensor_pb2.Tensor(name=name, dtype="float32", shape=[len(values) // 8, 8], data=data)


def floats(tensor: tensor_pb2.Tensor) -> list[float]:
    """The elements of a float32 tensor."""
    return list(struct.unpack(f"<{len(tensor.data) // 4}f", tensor.data))


class _Servicer(ModelCalls, pb_grpc.DeviceServiceServicer):
    """The model half alone; the rest is unimplemented."""


class Farm:
    """A served daemon half and a client of it."""

    def __init__(
        self,
        config: Config,
        file_system: FileSystem | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = config
        self.supervisor = Supervisor(config, clock=clock)
        self.supervisor.start()
        self.cache = ModelCache(
            config.state_dir / "models",
            limit_bytes=config.cache_bytes,
            max_model_bytes=config.max_model_bytes,
            file_system=file_system,
        )
        self.stats = stats_pb2.BoardStats(monotonic_ns=1)
        self.calls = calls = cast(Any, _Servicer)(config, self.supervisor, self.cache, self.read_stats)
        self.server = grpc.server(ThreadPoolExecutor(16), interceptors=[StatusInterceptor()])
        pb_grpc.add_DeviceServiceServicer_to_server(calls, self.server)
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()
        self.channel = grpc.insecure_channel(self.address)
        self.stub = pb_grpc.DeviceServiceStub(self.channel)

    def read_stats(self) -> stats_pb2.BoardStats:
        """The board's state; a test may put another in `stats`."""
        return self.stats

    def close(self) -> None:
        """Stop serving, end all workers."""
        self.channel.close()
        self.server.stop(0).wait()
        self.supervisor.stop()

    # A client.

    def load(
        self, data: bytes = DOUBLE, *, chunk_bytes: int = 1 << 20, **fields: Any
    ) -> list[pb.LoadModelResponse]:
        """Load as a client does: header, wait for the offset, chunks from there. Returns all answers."""
        return list(self.loading(data, header_of(data, **fields), chunk_bytes))

    def loading(
        self, data: bytes, header: pb.LoadModelHeader, chunk_bytes: int = 1 << 20
    ) -> Iterator[pb.LoadModelResponse]:
        """The answers of a load as they come."""
        requests = _Requests(data, header, chunk_bytes)
        answers = self.stub.LoadModel(iter(requests), timeout=60)
        for answer in answers:
            if answer.WhichOneof("event") == "upload":
                requests.start(answer.upload.offset_bytes)
            yield answer

    def model(self, data: bytes = DOUBLE, **fields: Any) -> model_pb2.LoadedModel:
        """Load and return the model."""
        return self.load(data, **fields)[-1].model

    def infer(self, model_id: str, *tensors: tensor_pb2.Tensor, timeout: float = 60) -> pb.InferResponse:
        """One inference."""
        return self.stub.Infer(
            pb.InferRequest(model_id=model_id, inputs=tensors, request_id="r"), timeout=timeout
        )

    def benchmark(self, model_id: str, **fields: Any) -> list[pb.BenchmarkResponse]:
        """A benchmark to its end."""
        return list(self.stub.Benchmark(benchmark_of(model_id, **fields), timeout=60))

    def model_ids(self) -> list[str]:
        """The loaded models."""
        return [model.model_id for model in self.stub.ListModels(pb.ListModelsRequest()).models]


class _Requests:
    """The client's side of an upload: sends nothing but the header before it knows from where on."""

    def __init__(self, data: bytes, header: pb.LoadModelHeader, chunk_bytes: int) -> None:
        self._data = data
        self._header = header
        self._chunk_bytes = chunk_bytes
        self._offset: queue.Queue[int] = queue.Queue()

    def start(self, offset_bytes: int) -> None:
        self._offset.put(offset_bytes)

    def __iter__(self) -> Iterator[pb.LoadModelRequest]:
        yield pb.LoadModelRequest(header=self._header)
        for at in range(self._offset.get(timeout=60), len(self._data), self._chunk_bytes):
            yield pb.LoadModelRequest(chunk=self._data[at : at + self._chunk_bytes])


def benchmark_of(model_id: str, **fields: Any) -> pb.BenchmarkRequest:
    """A short benchmark; `duration_s` and the other fields of the request."""
    values: dict[str, Any] = {"scenario": pb.BenchmarkRequest.SCENARIO_LATENCY, "min_request_count": 1}
    for name in ("duration", "max_duration", "warmup"):
        seconds = fields.pop(f"{name}_s", 0.2 if name == "duration" else None)
        if seconds is not None:
            values[name] = {"seconds": int(seconds), "nanos": round(seconds % 1 * 1e9)}
    return pb.BenchmarkRequest(model_id=model_id, **{**values, **fields})


@contextmanager
def farm(
    state_dir: Path,
    *,
    file_system: FileSystem | None = None,
    clock: Callable[[], float] = time.monotonic,
    **changes: Any,
) -> Iterator[Farm]:
    """Serve for the length of a block. `clock` is the supervisor's, which counts the pauses after deaths."""
    served = Farm(config_of(state_dir, **changes), file_system, clock)
    try:
        yield served
    finally:
        served.close()


class Gate:
    """Holds up inferences of a fake model until a test lets them go on."""

    def __init__(self, directory: Path, after: int = 0) -> None:
        directory.mkdir(exist_ok=True)
        self._path = directory / "gate"
        self.options = {"gate": self._path, "after": after}

    def is_reached(self) -> bool:
        """Whether an inference has come to it since it was last asked."""
        mark = self._path.with_name("gate.reached")
        was_there = mark.exists()
        mark.unlink(missing_ok=True)
        return was_there

    def open(self) -> None:
        """Let all inferences pass."""
        self._path.touch()


def until(condition: Callable[[], bool], timeout_s: float = 30.0) -> bool:
    """Wait until something becomes true; whether it did."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return condition()

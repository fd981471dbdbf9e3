"""What goes into a board's calls and comes out of them, and the stream that one of them is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
import numpy as np
import numpy.typing as npt
from farm.v1 import device_service_pb2 as pb
from google.protobuf.duration_pb2 import Duration

from hostctl.errors import HostctlError
from hostctl.rpc import code_of, translate
from hostctl.tensors import Array, to_tensors

BENCHMARK_MAX_S = 3600.0


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


def duration(seconds: float) -> Duration:
    """Return seconds as the protocol's Duration."""
    return Duration(seconds=int(seconds), nanos=round((seconds - int(seconds)) * 1e9))


def benchmark_request(
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


def joined(parts: list[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


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

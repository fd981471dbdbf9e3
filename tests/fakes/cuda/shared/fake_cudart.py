"""The CUDA runtime API as cuda-python and cuda-bindings have it: ``(error, *results)``, and never an exception.

The two packages name the same functions at different places. Source: https://nvidia.github.io/cuda-python/cuda-bindings/latest/.
"""

# The names are the vendor's.
# ruff: noqa: N801, N802, N803, N815, N816

import enum
from typing import Any, Callable, Tuple

import fake_gpu

cudaError_t = enum.IntEnum("cudaError_t", {name: code for code, (name, _) in fake_gpu.ERRORS.items()})  # type: ignore[misc]


class cudaMemcpyKind(enum.IntEnum):
    """Between which memories a copy goes."""

    cudaMemcpyHostToHost = 0
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2


class cudaStreamCaptureMode(enum.IntEnum):
    """What a capture forbids."""

    cudaStreamCaptureModeGlobal = 0
    cudaStreamCaptureModeThreadLocal = 1


class _Handle:
    """A handle has a type of its own; int() gives its number."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __int__(self) -> int:
        return self._number


class cudaStream_t(_Handle):
    """A stream."""


class cudaEvent_t(_Handle):
    """An event."""


class cudaGraph_t(_Handle):
    """A graph as it was captured."""


class cudaGraphExec_t(_Handle):
    """A graph that can be launched."""


class cudaDeviceProp:
    """What a device is; the name is bytes."""

    def __init__(self, name: bytes, major: int, minor: int, total: int) -> None:
        self.name = name
        self.major = major
        self.minor = minor
        self.totalGlobalMem = total


def _try(call: Callable[..., Any], *args: Any) -> Tuple[Any, ...]:
    """Return (error,) for a call without a result, else (error, result), with None in the place of a result that is not there."""
    try:
        return cudaError_t(0), call(*args)
    except fake_gpu.GpuError as error:
        return cudaError_t(error.code), None


def _done(call: Callable[..., Any], *args: Any) -> Tuple[Any]:
    return (_try(call, *args)[0],)


def _need(value: Any, kind: type) -> int:
    """Handles of another type are refused, as Cython's typed arguments refuse them."""
    if not isinstance(value, kind):
        raise TypeError(
            "Argument 'stream' has incorrect type (expected {}, got {})".format(
                kind.__name__, type(value).__name__
            )
        )
    return int(value)  # type: ignore[call-overload, no-any-return]


def cudaGetErrorString(error: Any) -> Tuple[Any, bytes]:
    return cudaError_t(0), fake_gpu.ERRORS[int(error)][1].encode()


def cudaGetDeviceCount() -> Tuple[Any, ...]:
    return _try(fake_gpu.device_count)


def cudaSetDevice(device: int) -> Tuple[Any]:
    return _done(fake_gpu.set_device, device)


def cudaGetDeviceProperties(device: int) -> Tuple[Any, ...]:
    error, found = _try(fake_gpu.properties, device)
    if found is None:
        return error, None
    return error, cudaDeviceProp(
        found["name"].encode(), found["major"], found["minor"], found["totalGlobalMem"]
    )


def cudaMalloc(size: int) -> Tuple[Any, ...]:
    return _try(fake_gpu.malloc, size)


def cudaFree(devPtr: int) -> Tuple[Any]:
    return _done(fake_gpu.free, devPtr)


def cudaMallocHost(size: int) -> Tuple[Any, ...]:
    return _try(fake_gpu.host_alloc, size)


def cudaFreeHost(ptr: int) -> Tuple[Any]:
    return _done(fake_gpu.host_free, ptr)


def cudaMemcpyAsync(dst: int, src: int, count: int, kind: Any, stream: Any) -> Tuple[Any]:
    if not isinstance(kind, cudaMemcpyKind):
        raise TypeError("Argument 'kind' has incorrect type (expected cudaMemcpyKind)")
    is_upload = kind == cudaMemcpyKind.cudaMemcpyHostToDevice
    return _done(fake_gpu.copy, dst, src, count, is_upload, _need(stream, cudaStream_t))


def cudaStreamCreateWithFlags(flags: int) -> Tuple[Any, ...]:
    error, number = _try(fake_gpu.stream_create)
    return error, None if number is None else cudaStream_t(number)


def cudaStreamSynchronize(stream: Any) -> Tuple[Any]:
    return _done(fake_gpu.synchronize, _need(stream, cudaStream_t))


def cudaStreamDestroy(stream: Any) -> Tuple[Any]:
    return _done(fake_gpu.destroy, _need(stream, cudaStream_t))


def cudaEventCreateWithFlags(flags: int) -> Tuple[Any, ...]:
    error, number = _try(fake_gpu.event_create)
    return error, None if number is None else cudaEvent_t(number)


def cudaEventRecord(event: Any, stream: Any) -> Tuple[Any]:
    return _done(fake_gpu.event_record, _need(event, cudaEvent_t), _need(stream, cudaStream_t))


def cudaEventSynchronize(event: Any) -> Tuple[Any]:
    return _done(fake_gpu.event_synchronize, _need(event, cudaEvent_t))


def cudaEventElapsedTime(start: Any, end: Any) -> Tuple[Any, ...]:
    return _try(fake_gpu.elapsed_ms, _need(start, cudaEvent_t), _need(end, cudaEvent_t))


def cudaEventDestroy(event: Any) -> Tuple[Any]:
    return _done(fake_gpu.destroy, _need(event, cudaEvent_t))


def cudaStreamBeginCapture(stream: Any, mode: Any) -> Tuple[Any]:
    if not isinstance(mode, cudaStreamCaptureMode):
        raise TypeError("Argument 'mode' has incorrect type (expected cudaStreamCaptureMode)")
    return _done(fake_gpu.begin_capture, _need(stream, cudaStream_t))


def cudaStreamEndCapture(stream: Any) -> Tuple[Any, ...]:
    error, number = _try(fake_gpu.end_capture, _need(stream, cudaStream_t))
    return error, None if number is None else cudaGraph_t(number)


def cudaGraphInstantiateWithFlags(graph: Any, flags: int) -> Tuple[Any, ...]:
    error, number = _try(fake_gpu.instantiate, _need(graph, cudaGraph_t))
    return error, None if number is None else cudaGraphExec_t(number)


def cudaGraphLaunch(graphExec: Any, stream: Any) -> Tuple[Any]:
    return _done(fake_gpu.launch, _need(graphExec, cudaGraphExec_t), _need(stream, cudaStream_t))


def cudaGraphDestroy(graph: Any) -> Tuple[Any]:
    return _done(fake_gpu.destroy, _need(graph, cudaGraph_t))


def cudaGraphExecDestroy(graphExec: Any) -> Tuple[Any]:
    return _done(fake_gpu.destroy, _need(graphExec, cudaGraphExec_t))


def cudaMemGetInfo() -> Tuple[Any, ...]:
    error, found = _try(fake_gpu.memory)
    return (error, None, None) if found is None else (error, found[0], found[1])

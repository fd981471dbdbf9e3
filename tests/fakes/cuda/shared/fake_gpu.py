"""A simulated GPU under the fakes of CUDA's Python bindings and of TensorRT, which so share device memory, as the real ones do.

Device memory has addresses of its own: what is computed there got there by a copy, and nothing else. Work queued in a stream
runs when the stream is waited for, so that who reads too early reads what was there before. Errors are sticky where CUDA's are.
A stream belongs to the device that was current when it was made; using it with another one current is an error.
WATTFARM_FAKE may hold: gpus (1), gpu_name, capability ([8, 7]), gpu_memory_bytes (8 GiB); fault "no_driver", "no_gpu" or
"gpu_memory" (allocations fail after ``after`` of them) with at "cuda", and "illegal" (an inference reads outside its memory).
"""

import bisect
import ctypes
import threading
import time
from typing import Any, Callable, Dict, List, Optional, Tuple

import faking

ERRORS = {
    0: ("cudaSuccess", "no error"),
    1: ("cudaErrorInvalidValue", "invalid argument"),
    2: ("cudaErrorMemoryAllocation", "out of memory"),
    35: ("cudaErrorInsufficientDriver", "CUDA driver version is insufficient for CUDA runtime version"),
    100: ("cudaErrorNoDevice", "no CUDA-capable device is detected"),
    101: ("cudaErrorInvalidDevice", "invalid device ordinal"),
    400: ("cudaErrorInvalidResourceHandle", "invalid resource handle"),
    700: ("cudaErrorIllegalAddress", "an illegal memory access was encountered"),
    900: ("cudaErrorStreamCaptureUnsupported", "operation not permitted when stream is capturing"),
    901: ("cudaErrorStreamCaptureInvalidated", "operation failed due to a previous error during capture"),
}
_FIRST_ADDRESS = 0x7F0000000000
_ALIGNMENT = 512


class GpuError(Exception):
    """A CUDA call failed with a code."""

    def __init__(self, code: int) -> None:
        super().__init__("{}: {}".format(*ERRORS[code]))
        self.code = code


class Stream:
    """Work that waits to be run, or to become a graph."""

    def __init__(self, device: int) -> None:
        self.device = device
        self.work: List[Callable[[], None]] = []
        self.captured: Optional[List[Callable[[], None]]] = None


class Event:
    """When the work before it was done."""

    def __init__(self) -> None:
        self.stream: Optional[Stream] = None
        self.at: Optional[float] = None


_lock = threading.RLock()
_thread = threading.local()
_blocks: Dict[int, bytearray] = {}
_starts: List[int] = []
_pinned: Dict[int, Any] = {}
_handles: Dict[int, Any] = {}
_state = {"next": _FIRST_ADDRESS, "used": 0, "sticky": 0, "handle": 0x1000, "allocations": 0}


def told(name: str, default: Any) -> Any:
    """Return a setting."""
    return faking.settings().get(name, default)


def fault_at(place: str) -> Any:
    """Return the name of the fault that is set for a place, which this module does itself."""
    settings = faking.settings()
    return settings.get("fault") if settings.get("at") == place else None


def driver_error() -> int:
    """Return what the driver says before anything else."""
    return {"no_driver": 35, "no_gpu": 100}.get(fault_at("cuda"), 0)


def check() -> None:
    """Raise what every call raises: no driver, or the error that has stuck."""
    code = driver_error() or _state["sticky"]
    if code:
        raise GpuError(code)


def stick(code: int) -> None:
    """Lose the context, as after an illegal access: nothing works any more in this process."""
    _state["sticky"] = code
    raise GpuError(code)


def device_count() -> int:
    check()
    return int(told("gpus", 1))


def set_device(index: int) -> None:
    if not 0 <= index < device_count():
        raise GpuError(101)
    _thread.device = index


def current_device() -> int:
    return int(getattr(_thread, "device", 0))


def properties(index: int) -> Dict[str, Any]:
    if not 0 <= index < device_count():
        raise GpuError(101)
    major, minor = told("capability", [8, 7])
    return {
        "name": told("gpu_name", "Orin"),
        "major": major,
        "minor": minor,
        "totalGlobalMem": told("gpu_memory_bytes", 8 << 30),
    }


def malloc(size: int) -> int:
    check()
    with _lock:
        _state["allocations"] += 1
        is_due = fault_at("cuda") == "gpu_memory" and _state["allocations"] > told("after", 0)
        if size < 1 or is_due or _state["used"] + size > told("gpu_memory_bytes", 8 << 30):
            raise GpuError(2)
        address = _state["next"]
        _state["next"] += -(-size // _ALIGNMENT) * _ALIGNMENT + _ALIGNMENT
        _state["used"] += size
        _blocks[address] = bytearray(b"\xa5" * size)
        _starts.append(address)  # addresses only grow
        return address


def free(address: int) -> None:
    check()
    with _lock:
        if address not in _blocks:
            raise GpuError(1)
        _state["used"] -= len(_blocks.pop(address))
        _starts.remove(address)


def memory() -> Tuple[int, int]:
    check()
    total = int(told("gpu_memory_bytes", 8 << 30))
    return total - _state["used"], total


def host_alloc(size: int) -> int:
    check()
    memory_ = (ctypes.c_uint8 * size)()
    with _lock:
        _pinned[ctypes.addressof(memory_)] = memory_
    return ctypes.addressof(memory_)


def host_free(address: int) -> None:
    check()
    with _lock:
        if _pinned.pop(address, None) is None:
            raise GpuError(1)


def _place(address: int, size: int) -> Tuple[bytearray, int]:
    """Return the block of device memory that a range lies in; anywhere else is an illegal access."""
    with _lock:
        at = bisect.bisect_right(_starts, address) - 1
        start = _starts[at] if at >= 0 else 0
        block = _blocks.get(start, bytearray())
    if at < 0 or address + size > start + len(block):
        stick(700)
    return block, address - start


def read(address: int, size: int) -> bytes:
    """Return device memory: what a kernel does."""
    block, offset = _place(address, size)
    return bytes(block[offset : offset + size])


def write(address: int, data: bytes) -> None:
    """Write device memory: what a kernel does."""
    block, offset = _place(address, len(data))
    block[offset : offset + len(data)] = data


def handle_of(thing: Any) -> int:
    """Return a new handle of a stream, an event or a graph."""
    with _lock:
        _state["handle"] += 0x10
        _handles[_state["handle"]] = thing
        return _state["handle"]


def by_handle(handle: int, kind: type) -> Any:
    """Return what a handle stands for. GpuError for any other number."""
    found = _handles.get(handle)
    if not isinstance(found, kind):
        raise GpuError(400)
    return found


def destroy(handle: int) -> None:
    check()
    if _handles.pop(handle, None) is None:
        raise GpuError(400)


def stream_create() -> int:
    check()
    return handle_of(Stream(current_device()))


def queue(handle: int, work: Callable[[], None]) -> None:
    """Put work into a stream, or into the graph that is being captured from it."""
    check()
    stream = by_handle(handle, Stream)
    if stream.device != current_device():
        raise GpuError(400)
    (stream.work if stream.captured is None else stream.captured).append(work)


def synchronize(handle: int) -> None:
    check()
    stream = by_handle(handle, Stream)
    if stream.captured is not None:
        stream.captured = None
        raise GpuError(900)
    work, stream.work = stream.work, []
    for each in work:
        each()


def copy(target: int, source: int, size: int, is_upload: bool, handle: int) -> None:
    if is_upload:
        queue(handle, lambda: write(target, ctypes.string_at(source, size)))
    else:
        queue(handle, lambda: _to_host(target, read(source, size)))


def _to_host(target: int, data: bytes) -> None:
    ctypes.memmove(target, data, len(data))


def event_create() -> int:
    check()
    return handle_of(Event())


def event_record(event: int, stream: int) -> None:
    found = by_handle(event, Event)
    found.stream, found.at = by_handle(stream, Stream), None

    def pass_by() -> None:
        found.at = time.perf_counter()

    queue(stream, pass_by)


def event_synchronize(event: int) -> None:
    found = by_handle(event, Event)
    for handle, thing in list(_handles.items()):
        if thing is found.stream:
            synchronize(handle)


def elapsed_ms(start: int, end: int) -> float:
    check()
    begin, finish = by_handle(start, Event).at, by_handle(end, Event).at
    if begin is None or finish is None:
        raise GpuError(400)
    return float(finish - begin) * 1e3


def begin_capture(handle: int) -> None:
    check()
    stream = by_handle(handle, Stream)
    if stream.captured is not None or stream.work:
        raise GpuError(900)
    stream.captured = []


def is_capturing(handle: int) -> bool:
    """Whether what is queued in a stream becomes a graph."""
    return by_handle(handle, Stream).captured is not None


def end_capture(handle: int) -> int:
    check()
    stream = by_handle(handle, Stream)
    work, stream.captured = stream.captured, None
    if work is None:
        raise GpuError(901)
    return handle_of(tuple(work))


def instantiate(graph: int) -> int:
    check()
    return handle_of(list(by_handle(graph, tuple)))


def launch(executable: int, stream: int) -> None:
    for each in by_handle(executable, list):
        queue(stream, each)

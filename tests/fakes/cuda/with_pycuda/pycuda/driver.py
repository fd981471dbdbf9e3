"""A fake of pycuda.driver: the driver API as classes; see fake_gpu.py for its settings.

Each thread has a stack of contexts. Without one, calls raise LogicError; a thread that ends with a context on its stack ends the
process (PyCUDA, cuda.hpp, ~context_stack). Source: https://documen.tician.de/pycuda/driver.html.
"""

import os
import sys
import threading
from typing import Any, Callable, List, Optional, Tuple

import fake_gpu
import numpy as np


class Error(Exception):
    """Base of PyCUDA's errors."""


class LogicError(Error):
    """A call that cannot be."""


class MemoryError(Error):  # noqa: A001 - the vendor's name
    """No memory."""


class LaunchError(Error):
    """Work failed on the device."""


class _Stack:
    """The contexts of one thread."""

    def __init__(self) -> None:
        self.contexts: List["Context"] = []

    def __del__(self) -> None:
        if self.contexts:
            sys.stderr.write("PyCUDA ERROR: The context stack was not empty upon module cleanup.\n")
            sys.stderr.flush()
            os.abort()


class _Thread(threading.local):
    def __init__(self) -> None:
        self.stack = _Stack()


_thread = _Thread()
_state = {"is_initialised": False}


def _call(name: str, call: Callable[..., Any], *args: Any, **needs: bool) -> Any:
    if not _state["is_initialised"] and name != "cuInit":
        raise LogicError("{} failed: initialization error".format(name))
    if needs.get("context", True) and not _thread.stack.contexts:
        raise LogicError("{} failed: invalid device context".format(name))
    try:
        return call(*args)
    except fake_gpu.GpuError as error:
        kind = {2: MemoryError, 700: LaunchError}.get(error.code, LogicError)
        raise kind("{} failed: {}".format(name, fake_gpu.ERRORS[error.code][1]))


def init() -> None:
    _call("cuInit", fake_gpu.check, context=False)
    _state["is_initialised"] = True


class Context:
    """A context; ``push`` makes it current in the calling thread."""

    def __init__(self, device: int) -> None:
        self._device = device
        self._is_valid = True

    def push(self) -> None:
        if not self._is_valid:
            raise LogicError("cuCtxPushCurrent failed: invalid device context")
        _call("cuCtxPushCurrent", fake_gpu.set_device, self._device, context=False)
        _thread.stack.contexts.append(self)

    @staticmethod
    def pop() -> None:
        if not _thread.stack.contexts:
            raise LogicError("context::pop failed: invalid device context - cannot pop non-current context")
        _thread.stack.contexts.pop()

    def detach(self) -> None:
        if not self._is_valid:
            raise LogicError(
                "context::detach failed: invalid device context - cannot detach from invalid context"
            )
        self._is_valid = False


class Device:
    """A device by its number."""

    def __init__(self, number: int) -> None:
        self._found = _call("cuDeviceGet", fake_gpu.properties, number, context=False)
        self._number = number

    @staticmethod
    def count() -> int:
        return int(_call("cuDeviceGetCount", fake_gpu.device_count, context=False))

    def name(self) -> str:
        return str(self._found["name"])

    def compute_capability(self) -> Tuple[int, int]:
        return self._found["major"], self._found["minor"]

    def total_memory(self) -> int:
        return int(self._found["totalGlobalMem"])

    def retain_primary_context(self) -> Context:
        return Context(self._number)


class DeviceAllocation:
    """Device memory; int() gives its address."""

    def __init__(self, size: int) -> None:
        self._address: Optional[int] = _call("cuMemAlloc", fake_gpu.malloc, size)

    def __int__(self) -> int:
        return self._address or 0

    def free(self) -> None:
        address, self._address = self._address, None
        if address is None:
            raise LogicError("device_allocation::free failed: invalid argument")
        fake_gpu.free(address)  # activates the context of the allocation by itself

    def __del__(self) -> None:
        if getattr(self, "_address", None) is not None:
            try:
                self.free()
            except fake_gpu.GpuError:
                sys.stderr.write("PyCUDA WARNING: a clean-up operation failed (dead context maybe?)\n")


def mem_alloc(size: int) -> DeviceAllocation:
    return DeviceAllocation(size)


class PagelockedHostAllocation(object):
    """Page-locked memory under an array."""

    def __init__(self, size: int) -> None:
        self._address: Optional[int] = _call("cuMemHostAlloc", fake_gpu.host_alloc, size)
        self.__array_interface__ = {
            "shape": (size,),
            "typestr": "|u1",
            "data": (self._address, False),
            "version": 3,
        }

    def free(self) -> None:
        address, self._address = self._address, None
        if address is None:
            raise LogicError("pagelocked_host_allocation::free failed: invalid argument")
        fake_gpu.host_free(address)


def pagelocked_empty(shape: int, dtype: Any, order: str = "C", mem_flags: int = 0) -> Any:
    if np.dtype(dtype) != np.uint8:
        raise TypeError("this fake has bytes only")
    return np.asarray(PagelockedHostAllocation(shape))


class Stream:
    """A stream; ``handle`` is its number."""

    def __init__(self, flags: int = 0) -> None:
        self._number = _call("cuStreamCreate", fake_gpu.stream_create)

    @property
    def handle(self) -> int:
        return int(self._number)

    def synchronize(self) -> None:
        _call("cuStreamSynchronize", fake_gpu.synchronize, self._number)


class Event:
    """An event that keeps the time."""

    def __init__(self, flags: int = 0) -> None:
        self._number = _call("cuEventCreate", fake_gpu.event_create)

    def record(self, stream: Stream) -> "Event":
        _call("cuEventRecord", fake_gpu.event_record, self._number, stream.handle)
        return self

    def synchronize(self) -> "Event":
        _call("cuEventSynchronize", fake_gpu.event_synchronize, self._number)
        return self

    def time_till(self, event: "Event") -> float:
        return float(_call("cuEventElapsedTime", fake_gpu.elapsed_ms, self._number, event._number))


def memcpy_htod_async(dest: Any, src: Any, stream: Optional[Stream] = None) -> None:
    array = np.asarray(src)
    _call("cuMemcpyHtoDAsync", fake_gpu.copy, int(dest), array.ctypes.data, array.nbytes, True, _of(stream))


def memcpy_dtoh_async(dest: Any, src: Any, stream: Optional[Stream] = None) -> None:
    array = np.asarray(dest)
    _call("cuMemcpyDtoHAsync", fake_gpu.copy, array.ctypes.data, int(src), array.nbytes, False, _of(stream))


def _of(stream: Optional[Stream]) -> int:
    if stream is None:
        raise LogicError("this fake has no default stream")
    return stream.handle


def mem_get_info() -> Tuple[int, int]:
    found = _call("cuMemGetInfo", fake_gpu.memory)
    return int(found[0]), int(found[1])

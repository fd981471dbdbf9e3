"""CUDA as TensorRT needs it, behind one small interface, whichever Python binding the board has.

The bindings are tried by what is there: cuda-bindings (``cuda.bindings.runtime``), the older cuda-python (``from cuda import
cudart``), CuPy and PyCUDA. Semantics are those of the CUDA Runtime API; a call that fails raises CudaError with one sentence.
"""

import importlib
from contextlib import contextmanager
from typing import Any, Callable, Iterator, List, Optional, Tuple

import numpy as np

from targets.tensors import Array

# CUDA Runtime API, cudaError_t. After these the process's context is lost: every later call fails until the process ends.
_STICKY = (700, 702, 710, 714, 715, 716, 717, 718, 719, 721)


class CudaError(RuntimeError):
    """A CUDA call failed. ``code`` is the cudaError_t, None where the binding hides it."""

    def __init__(self, call: str, text: str, code: Optional[int] = None) -> None:
        sticky = code in _STICKY
        super().__init__(
            "{} failed: {}{}{}".format(
                call,
                text,
                "" if code is None else " ({})".format(code),
                "; the CUDA context of this process is lost, so load the model again." if sticky else ".",
            )
        )
        self.call = call
        self.code = code
        self.is_sticky = sticky


class CudaMissingError(RuntimeError):
    """There is no Python binding of CUDA. The text names those that were tried, and why each failed."""


class Device:
    """What a GPU is: name, compute capability as (major, minor), memory in bytes."""

    def __init__(self, name: str, capability: Tuple[int, int], memory_bytes: int) -> None:
        self.name = name
        self.capability = capability
        self.memory_bytes = memory_bytes

    @property
    def capability_text(self) -> str:
        """The compute capability as NVIDIA writes it, for example '8.7'."""
        return "{}.{}".format(*self.capability)


class HostBuffer:
    """Page-locked host memory: only from and to such memory does a copy run beside the host, and in a graph."""

    def __init__(self, array: Array, pointer: int, owner: Any = None) -> None:
        self.array = array  # flat, uint8
        self.pointer = pointer
        self.owner = owner  # what keeps or frees the memory, as the binding likes it

    def typed(self, dtype: str, shape: Tuple[int, ...]) -> Array:
        """Return the beginning of the memory as an array of that dtype and shape, without a copy."""
        kind = np.dtype(dtype)
        count = 1
        for size in shape:
            count *= size
        found: Array = self.array[: count * kind.itemsize].view(kind).reshape(shape)
        return found


class Cuda:
    """One device through one binding. Streams, events and graphs are the binding's own objects: pass them back only.

    ``enter`` makes the device current in the calling thread and ``leave`` undoes it; every other call needs it.
    """

    name = ""
    has_graphs = True

    def device_count(self) -> int:
        """Return how many devices there are; CudaError where the driver is missing or sees none."""
        raise NotImplementedError

    def device(self, index: int) -> Device:
        """Return what a device is, without taking it."""
        raise NotImplementedError

    def use(self, index: int) -> None:
        """Choose the device of this object."""
        raise NotImplementedError

    def enter(self) -> None:
        """Make the device current in this thread."""
        raise NotImplementedError

    def leave(self) -> None:
        """Undo ``enter``."""
        raise NotImplementedError

    @contextmanager
    def current(self) -> Iterator[None]:
        """Enter and leave around a block."""
        self.enter()
        try:
            yield
        finally:
            self.leave()

    def close(self) -> None:
        """Give back what the binding holds of the device."""
        raise NotImplementedError

    def malloc(self, size: int) -> int:
        """Return the address of new device memory."""
        raise NotImplementedError

    def free(self, pointer: int) -> None:
        """Free device memory."""
        raise NotImplementedError

    def host_buffer(self, size: int) -> HostBuffer:
        """Return new page-locked host memory."""
        raise NotImplementedError

    def free_host(self, buffer: HostBuffer) -> None:
        """Free page-locked host memory; its arrays must not be used any more."""
        raise NotImplementedError

    def copy_to_device(self, device: int, host: HostBuffer, size: int, stream: Any) -> None:
        """Queue a copy of the first ``size`` bytes in a stream."""
        raise NotImplementedError

    def copy_to_host(self, host: HostBuffer, device: int, size: int, stream: Any) -> None:
        """Queue a copy of ``size`` bytes in a stream."""
        raise NotImplementedError

    def stream(self) -> Any:
        """Return a new stream that does not wait for the default stream."""
        raise NotImplementedError

    def stream_handle(self, stream: Any) -> int:
        """Return a stream as the number that TensorRT takes."""
        raise NotImplementedError

    def synchronize(self, stream: Any) -> None:
        """Wait for everything queued in a stream; errors of queued work come out here."""
        raise NotImplementedError

    def free_stream(self, stream: Any) -> None:
        """Destroy a stream."""
        raise NotImplementedError

    def event(self, is_blocking: bool = False) -> Any:
        """Return a new event that keeps the time; a thread that waits for a blocking one sleeps."""
        raise NotImplementedError

    def wait(self, event: Any) -> None:
        """Wait for the work before a recorded event; errors of that work come out here."""
        raise NotImplementedError

    def record(self, event: Any, stream: Any) -> None:
        """Queue an event in a stream."""
        raise NotImplementedError

    def elapsed_ns(self, start: Any, end: Any) -> int:
        """Return the time between two events that have passed; the device's clock resolves about 0.5 µs."""
        raise NotImplementedError

    def free_event(self, event: Any) -> None:
        """Destroy an event."""
        raise NotImplementedError

    def capture(self, stream: Any, work: Callable[[], None]) -> Any:
        """Record what ``work`` queues in a stream instead of running it; return the executable graph."""
        raise NotImplementedError

    def launch(self, graph: Any, stream: Any) -> None:
        """Queue a graph in a stream."""
        raise NotImplementedError

    def free_graph(self, graph: Any) -> None:
        """Destroy a graph."""
        raise NotImplementedError

    def memory(self) -> Tuple[int, int]:
        """Return free and total memory of the device in bytes."""
        raise NotImplementedError


# Module of the binding, module and class that drives it. In order of preference: the first two bind the runtime API that TensorRT
# itself uses; PyCUDA, which JetPack 4 has, binds the driver API.
_BINDINGS = (
    ("cuda.bindings.runtime", "runtime", "RuntimeApi"),
    ("cuda.cudart", "runtime", "RuntimeApi"),
    ("cupy.cuda.runtime", "cupy", "CupyApi"),
    ("pycuda.driver", "pycuda", "PyCudaApi"),
)


def open_cuda() -> Cuda:
    """Return CUDA through the first binding that can be imported; CudaMissingError if there is none."""
    reasons: List[str] = []
    for module, driver, cls in _BINDINGS:
        try:
            api = importlib.import_module(module)
        except Exception as error:  # CuPy and PyCUDA raise more than ImportError without their libraries
            reasons.append("{}: {}".format(module, " ".join(str(error).split())))
            continue
        found: Cuda = getattr(importlib.import_module("targets.runners.parts.cuda." + driver), cls)(
            module, api
        )
        return found
    raise CudaMissingError("; ".join(reasons))

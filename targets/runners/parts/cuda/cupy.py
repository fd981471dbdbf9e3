"""CUDA through CuPy's thin layer over the runtime API. Source: https://docs.cupy.dev/en/stable/reference/cuda.html, runtime."""

import ctypes
import threading
from typing import Any, Callable, Tuple

import numpy as np

from targets.runners.parts.cuda import Cuda, CudaError, Device, HostBuffer

_TO_DEVICE, _TO_HOST = 1, 2  # cudaMemcpyKind
_NON_BLOCKING = 1
_THREAD_LOCAL = 1  # cudaStreamCaptureModeThreadLocal


class CupyApi(Cuda):
    """Functions without the prefix "cuda" that take and return plain numbers and raise CUDARuntimeError."""

    def __init__(self, name: str, api: Any) -> None:
        self.name = name
        self._api = api
        self._index = 0
        self._thread = threading.local()
        self.has_graphs = hasattr(api, "streamBeginCapture") and hasattr(api, "graphLaunch")

    def _call(self, name: str, *args: Any) -> Any:
        try:
            return getattr(self._api, name)(*args)
        except self._api.CUDARuntimeError as error:
            text = str(error).split(": ", 1)[-1]  # "cudaErrorMemoryAllocation: out of memory"
            raise CudaError(name, text, int(error.status))

    def device_count(self) -> int:
        return int(self._call("getDeviceCount"))

    def device(self, index: int) -> Device:
        found = self._call("getDeviceProperties", index)
        return Device(
            bytes(found["name"]).decode(),
            (int(found["major"]), int(found["minor"])),
            int(found["totalGlobalMem"]),
        )

    def use(self, index: int) -> None:
        self._index = index
        self._thread = threading.local()

    def enter(self) -> None:
        if not getattr(self._thread, "entered", False):  # the current device belongs to a thread
            self._call("setDevice", self._index)
            self._thread.entered = True

    def leave(self) -> None:
        return

    def close(self) -> None:
        return

    def malloc(self, size: int) -> int:
        return int(self._call("malloc", size))

    def free(self, pointer: int) -> None:
        self._call("free", pointer)

    def host_buffer(self, size: int) -> HostBuffer:
        pointer = int(self._call("hostAlloc", size, 0))
        return HostBuffer(np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(pointer)), pointer)

    def free_host(self, buffer: HostBuffer) -> None:
        self._call("freeHost", buffer.pointer)

    def copy_to_device(self, device: int, host: HostBuffer, size: int, stream: Any) -> None:
        self._call("memcpyAsync", device, host.pointer, size, _TO_DEVICE, stream)

    def copy_to_host(self, host: HostBuffer, device: int, size: int, stream: Any) -> None:
        self._call("memcpyAsync", host.pointer, device, size, _TO_HOST, stream)

    def stream(self) -> Any:
        return self._call("streamCreateWithFlags", _NON_BLOCKING)

    def stream_handle(self, stream: Any) -> int:
        return int(stream)

    def synchronize(self, stream: Any) -> None:
        self._call("streamSynchronize", stream)

    def free_stream(self, stream: Any) -> None:
        self._call("streamDestroy", stream)

    def event(self, is_blocking: bool = False) -> Any:
        return self._call("eventCreateWithFlags", int(is_blocking))  # cudaEventBlockingSync is 1

    def wait(self, event: Any) -> None:
        self._call("eventSynchronize", event)

    def record(self, event: Any, stream: Any) -> None:
        self._call("eventRecord", event, stream)

    def elapsed_ns(self, start: Any, end: Any) -> int:
        self.wait(end)
        return int(float(self._call("eventElapsedTime", start, end)) * 1e6)

    def free_event(self, event: Any) -> None:
        self._call("eventDestroy", event)

    def capture(self, stream: Any, work: Callable[[], None]) -> Any:
        self._call("streamBeginCapture", stream, _THREAD_LOCAL)
        try:
            work()
        except Exception:
            try:
                self._call("streamEndCapture", stream)  # leaves the state of capture
            except CudaError:
                pass  # the first error is the one to tell
            raise
        graph = self._call("streamEndCapture", stream)
        try:
            return self._call("graphInstantiate", graph)
        finally:
            self._call("graphDestroy", graph)

    def launch(self, graph: Any, stream: Any) -> None:
        self._call("graphLaunch", graph, stream)

    def free_graph(self, graph: Any) -> None:
        self._call("graphExecDestroy", graph)

    def memory(self) -> Tuple[int, int]:
        free, total = self._call("memGetInfo")
        return int(free), int(total)

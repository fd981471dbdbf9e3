"""CUDA through cuda-bindings or the older cuda-python: the runtime API as functions that return ``(error, *results)``.

Source: https://nvidia.github.io/cuda-python/cuda-bindings/latest/module/runtime.html.
"""

import ctypes
import threading
from typing import Any, Callable, Tuple

import numpy as np

from targets.runners.parts.cuda import Cuda, CudaError, Device, HostBuffer


class RuntimeApi(Cuda):
    """Both packages have the same functions; none raises, each returns its error first."""

    def __init__(self, name: str, api: Any) -> None:
        self.name = name
        self._api = api
        self._index = 0
        self._thread = threading.local()
        kinds = api.cudaMemcpyKind
        self._to_device, self._to_host = kinds.cudaMemcpyHostToDevice, kinds.cudaMemcpyDeviceToHost

    def _call(self, name: str, *args: Any) -> Any:
        """Call a function; return its results without the error: None, the only one, or a tuple."""
        result = getattr(self._api, name)(*args)
        if int(result[0]):
            self._fail(name, result[0])
        return result[1] if len(result) == 2 else result[1:] or None

    def _fail(self, name: str, error: Any) -> None:
        text = self._api.cudaGetErrorString(error)[1]
        raise CudaError(name, text.decode() if isinstance(text, bytes) else str(text), int(error))

    def device_count(self) -> int:
        return int(self._call("cudaGetDeviceCount"))

    def device(self, index: int) -> Device:
        found = self._call("cudaGetDeviceProperties", index)
        name = found.name.decode() if isinstance(found.name, bytes) else str(found.name)
        return Device(name.rstrip("\0"), (int(found.major), int(found.minor)), int(found.totalGlobalMem))

    def use(self, index: int) -> None:
        self._index = index
        self._thread = threading.local()

    def enter(self) -> None:
        if not getattr(self._thread, "entered", False):  # the current device belongs to a thread
            self._call("cudaSetDevice", self._index)
            self._thread.entered = True

    def leave(self) -> None:
        return

    def close(self) -> None:
        return

    def malloc(self, size: int) -> int:
        return int(self._call("cudaMalloc", size))

    def free(self, pointer: int) -> None:
        self._call("cudaFree", pointer)

    def host_buffer(self, size: int) -> HostBuffer:
        pointer = int(self._call("cudaMallocHost", size))
        return HostBuffer(np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(pointer)), pointer)

    def free_host(self, buffer: HostBuffer) -> None:
        self._call("cudaFreeHost", buffer.pointer)

    def copy_to_device(self, device: int, host: HostBuffer, size: int, stream: Any) -> None:
        error = self._api.cudaMemcpyAsync(device, host.pointer, size, self._to_device, stream)[0]
        if int(error):
            self._fail("cudaMemcpyAsync", error)

    def copy_to_host(self, host: HostBuffer, device: int, size: int, stream: Any) -> None:
        error = self._api.cudaMemcpyAsync(host.pointer, device, size, self._to_host, stream)[0]
        if int(error):
            self._fail("cudaMemcpyAsync", error)

    def stream(self) -> Any:
        return self._call("cudaStreamCreateWithFlags", 1)  # cudaStreamNonBlocking

    def stream_handle(self, stream: Any) -> int:
        return int(stream)

    def synchronize(self, stream: Any) -> None:
        error = self._api.cudaStreamSynchronize(stream)[0]
        if int(error):
            self._fail("cudaStreamSynchronize", error)

    def free_stream(self, stream: Any) -> None:
        self._call("cudaStreamDestroy", stream)

    def event(self, is_blocking: bool = False) -> Any:
        return self._call("cudaEventCreateWithFlags", int(is_blocking))  # cudaEventBlockingSync is 1

    def wait(self, event: Any) -> None:
        self._call("cudaEventSynchronize", event)

    def record(self, event: Any, stream: Any) -> None:
        self._call("cudaEventRecord", event, stream)

    def elapsed_ns(self, start: Any, end: Any) -> int:
        self.wait(end)
        return int(float(self._call("cudaEventElapsedTime", start, end)) * 1e6)

    def free_event(self, event: Any) -> None:
        self._call("cudaEventDestroy", event)

    def capture(self, stream: Any, work: Callable[[], None]) -> Any:
        # Thread-local: other slots go on calling CUDA in their threads while this one captures.
        modes = self._api.cudaStreamCaptureMode
        self._call("cudaStreamBeginCapture", stream, modes.cudaStreamCaptureModeThreadLocal)
        try:
            work()
        except Exception:
            self._api.cudaStreamEndCapture(
                stream
            )  # leaves the state of capture; the first error is the one to tell
            raise
        graph = self._call("cudaStreamEndCapture", stream)
        try:
            # The plain name changed its arguments from CUDA 11 to 12; this one, since 11.4, did not.
            return self._call("cudaGraphInstantiateWithFlags", graph, 0)
        finally:
            self._call("cudaGraphDestroy", graph)

    def launch(self, graph: Any, stream: Any) -> None:
        error = self._api.cudaGraphLaunch(graph, stream)[0]
        if int(error):
            self._fail("cudaGraphLaunch", error)

    def free_graph(self, graph: Any) -> None:
        self._call("cudaGraphExecDestroy", graph)

    def memory(self) -> Tuple[int, int]:
        free, total = self._call("cudaMemGetInfo")
        return int(free), int(total)

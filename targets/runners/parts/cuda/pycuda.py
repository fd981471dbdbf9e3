"""CUDA through PyCUDA, which binds the driver API. Source: https://documen.tician.de/pycuda/driver.html."""

from typing import Any, Callable, Dict, Tuple

import numpy as np

from targets.runners.parts.cuda import Cuda, CudaError, Device, HostBuffer


class PyCudaApi(Cuda):
    """The device's primary context, which is the one that TensorRT uses through the runtime API.

    The context is pushed and popped around every use: PyCUDA keeps a stack of contexts for each thread and ends the process if a
    thread ends while its stack is not empty (PyCUDA, cuda.hpp, ~context_stack).
    """

    has_graphs = False

    def __init__(self, name: str, api: Any) -> None:
        self.name = name
        self._api = api
        self._index = 0
        self._context: Any = None
        self._held: Dict[int, Any] = {}

    def _call(self, name: str, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except self._api.Error as error:
            raise CudaError(name, " ".join(str(error).split()).split(" failed: ")[-1])

    def device_count(self) -> int:
        self._call("cuInit", self._api.init)
        return int(self._call("cuDeviceGetCount", self._api.Device.count))

    def device(self, index: int) -> Device:
        found = self._call("cuDeviceGet", lambda: self._api.Device(index))
        major, minor = found.compute_capability()
        return Device(str(found.name()), (int(major), int(minor)), int(found.total_memory()))

    def use(self, index: int) -> None:
        self._index = index

    def enter(self) -> None:
        if self._context is None:
            self._context = self._call("cuDevicePrimaryCtxRetain", self._retain)
        self._call("cuCtxPushCurrent", self._context.push)

    def _retain(self) -> Any:
        device = self._api.Device(self._index)
        if hasattr(device, "retain_primary_context"):  # since PyCUDA 2020.1
            return device.retain_primary_context()
        context = device.make_context()  # current at once, and then the one that the runtime API uses
        self._api.Context.pop()
        return context

    def leave(self) -> None:
        self._api.Context.pop()

    def close(self) -> None:
        self._held = {}
        if self._context is not None:
            self._context.detach()
        self._context = None

    def malloc(self, size: int) -> int:
        memory = self._call("cuMemAlloc", lambda: self._api.mem_alloc(size))
        self._held[int(memory)] = memory  # freed with its object
        return int(memory)

    def free(self, pointer: int) -> None:
        self._call("cuMemFree", self._held.pop(pointer).free)

    def host_buffer(self, size: int) -> HostBuffer:
        array = self._call("cuMemHostAlloc", lambda: self._api.pagelocked_empty(size, np.uint8))
        return HostBuffer(array, int(array.ctypes.data), array.base)

    def free_host(self, buffer: HostBuffer) -> None:
        self._call("cuMemFreeHost", buffer.owner.free)

    def copy_to_device(self, device: int, host: HostBuffer, size: int, stream: Any) -> None:
        self._call(
            "cuMemcpyHtoDAsync", lambda: self._api.memcpy_htod_async(device, host.array[:size], stream)
        )

    def copy_to_host(self, host: HostBuffer, device: int, size: int, stream: Any) -> None:
        self._call(
            "cuMemcpyDtoHAsync", lambda: self._api.memcpy_dtoh_async(host.array[:size], device, stream)
        )

    def stream(self) -> Any:
        return self._call("cuStreamCreate", lambda: self._api.Stream(1))  # CU_STREAM_NON_BLOCKING

    def stream_handle(self, stream: Any) -> int:
        return int(stream.handle)

    def synchronize(self, stream: Any) -> None:
        self._call("cuStreamSynchronize", stream.synchronize)

    def free_stream(self, stream: Any) -> None:
        return  # destroyed with its object

    def event(self, is_blocking: bool = False) -> Any:
        return self._call(
            "cuEventCreate", lambda: self._api.Event(int(is_blocking))
        )  # CU_EVENT_BLOCKING_SYNC is 1

    def wait(self, event: Any) -> None:
        self._call("cuEventSynchronize", event.synchronize)

    def record(self, event: Any, stream: Any) -> None:
        self._call("cuEventRecord", lambda: event.record(stream))

    def elapsed_ns(self, start: Any, end: Any) -> int:
        self.wait(end)
        return int(float(self._call("cuEventElapsedTime", lambda: start.time_till(end))) * 1e6)

    def free_event(self, event: Any) -> None:
        return  # destroyed with its object

    def memory(self) -> Tuple[int, int]:
        free, total = self._call("cuMemGetInfo", self._api.mem_get_info)
        return int(free), int(total)

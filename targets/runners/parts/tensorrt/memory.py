"""Memory of an engine's tensors: on both sides, and given to TensorRT while it runs."""

from typing import Any

from targets.runners.parts.cuda import Cuda, CudaError
from targets.runners.parts.tensorrt.shapes import Shape


class Buffer:
    """Memory of one tensor on the host and on the device; it grows when a shape needs more."""

    def __init__(self, cuda: Cuda, is_host_only: bool) -> None:
        self._cuda = cuda
        self._is_host_only = is_host_only
        self._size = 0
        self.host: Any = None
        self.device = 0

    def reserve(self, size: int) -> None:
        """Make room for that many bytes; the addresses may change."""
        if size <= self._size:
            return
        self.free()
        self.host = self._cuda.host_buffer(size)
        if not self._is_host_only:
            self.device = self._cuda.malloc(size)
        self._size = size

    @property
    def address(self) -> int:
        """Where TensorRT finds the tensor."""
        pointer: int = self.host.pointer if self._is_host_only else self.device
        return pointer

    @property
    def device_bytes(self) -> int:
        """What it takes on the device."""
        return self._size if self.device else 0

    def free(self) -> None:
        """Give the memory back."""
        if self.host is not None:
            self._cuda.free_host(self.host)
        if self.device:
            self._cuda.free(self.device)
        self.host, self.device, self._size = None, 0, 0


def make_allocator(trt: Any, cuda: Cuda) -> Any:
    """Return what TensorRT asks for the memory of an output of unknown size. Source: TensorRT Python API, IOutputAllocator."""

    class Allocator(trt.IOutputAllocator):  # type: ignore[misc]  # the vendor's package has no types
        def __init__(self) -> None:
            trt.IOutputAllocator.__init__(self)
            self.pointer = 0
            self.shape: Shape = ()
            self._size = 0

        def reallocate_output(self, tensor_name: str, memory: int, size: int, alignment: int) -> int:
            if size > self._size:
                self.free()
                try:
                    self.pointer = cuda.malloc(size)  # aligned to 256 bytes, the most TensorRT asks for
                except CudaError:
                    return (
                        0  # TensorRT fails the inference and logs why; an exception may not pass through it
                    )
                self._size = size
            return self.pointer

        def reallocate_output_async(
            self, tensor_name: str, memory: int, size: int, alignment: int, stream: int
        ) -> int:
            return self.reallocate_output(tensor_name, memory, size, alignment)  # what 10 and later call

        def notify_shape(self, tensor_name: str, shape: Any) -> None:
            self.shape = tuple(int(size) for size in shape)

        def free(self) -> None:
            if self.pointer:
                cuda.free(self.pointer)
            self.pointer, self._size = 0, 0

    return Allocator()

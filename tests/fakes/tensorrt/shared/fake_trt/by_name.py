"""The interface by the name of the tensor: TensorRT 8.5 and later."""

import ctypes
from typing import Any, List, Sequence, Tuple

import fake_gpu
import numpy as np

from fake_trt.base import DataType, TensorFormat, TensorIOMode, TensorLocation
from fake_trt.engine import ContextCore, EngineCore


class IOutputAllocator:
    """The base of what gives memory to outputs of unknown size; a subclass has to call this __init__."""

    def __init__(self) -> None:
        self._is_made = True


class NamedEngine(EngineCore):
    """Tensors by name."""

    @property
    def num_io_tensors(self) -> int:
        return len(self._tensors)

    def get_tensor_name(self, index: int) -> str:
        return self._tensors[index].name

    def _named(self, name: str) -> Any:
        for tensor in self._tensors:
            if tensor.name == name:
                return tensor
        raise KeyError(name)

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if self._named(name).is_input else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> DataType:
        return self._named(name).dtype  # type: ignore[no-any-return]

    def get_tensor_shape(self, name: str) -> Tuple[int, ...]:
        return tuple(self._named(name).shape)

    def get_tensor_location(self, name: str) -> TensorLocation:
        return TensorLocation.HOST if self._named(name).is_host else TensorLocation.DEVICE

    def get_tensor_format(self, name: str) -> TensorFormat:
        return TensorFormat.LINEAR

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> List[Tuple[int, ...]]:
        return [self._profile(profile_index, end)[name] for end in range(3)]


class NamedContext(ContextCore):
    """Addresses are set once and stay."""

    def set_input_shape(self, name: str, shape: Sequence[int]) -> bool:
        return self._set_shape(name, tuple(shape))

    def get_tensor_shape(self, name: str) -> Tuple[int, ...]:
        return self._shape(name)

    def set_tensor_address(self, name: str, memory: int) -> bool:
        if name not in [tensor.name for tensor in self._engine._tensors]:
            return self._log("3: no tensor {}".format(name))
        self._addresses[name] = int(memory)
        return True

    def _host_values(self, tensor: Any) -> Any:
        address = self._addresses.get(tensor.name)
        if not address:
            return None
        kind = np.dtype(tensor.numpy)
        count = int(np.prod(tensor.shape))
        return np.frombuffer(ctypes.string_at(address, count * kind.itemsize), kind).reshape(tensor.shape)

    def infer_shapes(self) -> List[str]:
        return [
            t.name
            for t in self._engine._tensors
            if t.is_input
            and ((t.is_host and self._host_values(t) is None) or -1 in self._shapes.get(t.name, t.shape))
        ]

    def set_output_allocator(self, name: str, output_allocator: Any) -> bool:
        if not hasattr(output_allocator, "_is_made"):
            raise TypeError("IOutputAllocator.__init__() must be called when overriding __init__")
        self._allocators[name] = output_allocator
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        for tensor in self._engine._tensors:
            if not self._addresses.get(tensor.name) and tensor.name not in self._allocators:
                return self._log(
                    "3: [executionContext.cpp::enqueueV3::2666] Error Code 3: API Usage Error (Parameter check failed, "
                    "condition: mContext.profileObliviousBindings.at(profileObliviousIndex) || getPtrOrNull(mOutputAllocators, "
                    "profileObliviousIndex). Neither address or allocator is set for tensor {})".format(
                        tensor.name
                    )
                )
        return self._enqueue(stream_handle)

    asks_async = False

    def _allocate(self, name: str, array: Any) -> int:
        allocator = self._allocators[name]
        size = max(int(array.nbytes), 1)
        if self.asks_async:
            address = allocator.reallocate_output_async(name, 0, size, 256, 0)
        else:
            address = allocator.reallocate_output(name, 0, size, 256)
        if not address:
            fake_gpu.stick(2)
        allocator.notify_shape(name, array.shape)
        return int(address)

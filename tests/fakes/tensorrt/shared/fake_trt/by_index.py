"""The interface by the index of the binding: TensorRT 8 and 9."""

from typing import Any, Dict, List, Sequence, Tuple

from fake_trt.base import DataType, TensorFormat, TensorLocation
from fake_trt.engine import ContextCore, EngineCore


class BindingsEngine(EngineCore):
    """Bindings of the first profile, then those of the next."""

    @property
    def num_bindings(self) -> int:
        return len(self._tensors) * self.num_optimization_profiles

    def _at(self, index: int) -> Any:
        if not 0 <= index < self.num_bindings:
            raise IndexError("Out of bounds")
        return self._tensors[index % len(self._tensors)]

    def get_binding_name(self, index: int) -> str:
        profile = index // len(self._tensors)
        return str(self._at(index).name) + (" [profile {}]".format(profile) if profile else "")

    def binding_is_input(self, index: int) -> bool:
        return bool(self._at(index).is_input)

    def get_binding_dtype(self, index: int) -> DataType:
        return self._at(index).dtype  # type: ignore[no-any-return]

    def get_binding_shape(self, index: int) -> Tuple[int, ...]:
        return tuple(self._at(index).shape)

    def get_binding_format(self, index: int) -> TensorFormat:
        return TensorFormat.LINEAR

    def get_location(self, index: int) -> TensorLocation:
        return TensorLocation.HOST if self._at(index).is_host else TensorLocation.DEVICE

    def get_profile_shape(self, profile_index: int, binding: int) -> List[Tuple[int, ...]]:
        if binding // len(self._tensors) != profile_index:
            raise RuntimeError("binding {} is not one of profile {}".format(binding, profile_index))
        name = self._at(binding).name
        return [self._profile(profile_index, end)[name] for end in range(3)]


class BindingsContext(ContextCore):
    """Addresses come as a list with each enqueue."""

    def set_binding_shape(self, binding: int, shape: Sequence[int]) -> bool:
        tensors = self._engine._tensors
        if binding // len(tensors) != self._profile:
            return self._log(
                "3: binding {} is not one of the chosen profile {}".format(binding, self._profile)
            )
        return self._set_shape(tensors[binding % len(tensors)].name, tuple(shape))

    def get_binding_shape(self, binding: int) -> Tuple[int, ...]:
        return self._shape(self._engine._tensors[binding % len(self._engine._tensors)].name)

    def set_shape_input(self, binding: int, shape: Sequence[int]) -> bool:
        tensor = self._engine._tensors[binding % len(self._engine._tensors)]
        if not tensor.is_host:
            return self._log("3: binding {} is no shape".format(binding))
        self._inputs[tensor.name] = [int(size) for size in shape]
        return True

    @property
    def _inputs(self) -> Dict[str, List[int]]:
        found: Dict[str, List[int]] = self.__dict__.setdefault("_shape_values", {})
        return found

    def _host_values(self, tensor: Any) -> Any:
        return self._inputs.get(tensor.name)

    @property
    def all_binding_shapes_specified(self) -> bool:
        return self._input_shapes() is not None

    @property
    def all_shape_inputs_specified(self) -> bool:
        return all(t.name in self._inputs for t in self._engine._tensors if t.is_host)

    def execute_async_v2(self, bindings: List[int], stream_handle: int) -> bool:
        if len(bindings) != len(self._engine._tensors) * self._engine.num_optimization_profiles:
            return self._log("3: {} bindings given".format(len(bindings)))
        first = max(self._profile, 0) * len(self._engine._tensors)
        mine = bindings[first : first + len(self._engine._tensors)]
        self._addresses = {tensor.name: address for tensor, address in zip(self._engine._tensors, mine)}
        return self._enqueue(stream_handle)

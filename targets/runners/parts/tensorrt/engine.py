"""An engine's inputs and outputs, and one execution context, over the two interfaces that TensorRT has had.

8.0 to 8.4 know tensors by the index of their binding, 10 and later by name, 8.5 to 9 either way. By name is taken where it is
there. Sources: TensorRT Python API, ICudaEngine and IExecutionContext, of 8.2 and of 10.
"""

from typing import Any, List, Optional, Sequence, Tuple

from targets.errors import ModelInvalid
from targets.runners.parts.tensorrt.shapes import Range, Shape

# DataType by its name. The others cannot be carried: numpy has no such types.
_DTYPES = {
    "FLOAT": "float32", "HALF": "float16", "INT8": "int8", "INT32": "int32", "INT64": "int64", "BOOL": "bool",
    "UINT8": "uint8",
}  # fmt: skip


class EngineTensor:
    """An input or output: name, dtype by numpy's name, shape (-1 = free), whether it is on the host, index of its binding.

    ``range`` is what the profile allows an input; None for outputs, and for inputs whose values are shapes.
    """

    def __init__(
        self, name: str, is_input: bool, dtype: str, shape: Shape, is_host: bool, index: int
    ) -> None:
        self.name = name
        self.is_input = is_input
        self.dtype = dtype
        self.shape = shape
        self.is_host = is_host
        self.index = index
        self.range: Optional[Range] = None


def has_names(engine: Any) -> bool:
    """Whether an engine knows its tensors by name."""
    return hasattr(engine, "num_io_tensors")


def tensors_of(trt: Any, engine: Any, profile: int) -> List[EngineTensor]:
    """Return inputs and outputs in the engine's order. ModelInvalid for a type or a layout that cannot be carried."""
    found = _by_name(trt, engine, profile) if has_names(engine) else _by_index(trt, engine, profile)
    for tensor in found:
        if tensor.dtype not in _DTYPES:
            raise ModelInvalid(
                "The tensor '{}' has the type {}, which cannot be carried; build the engine with one of {} for its "
                "inputs and outputs.".format(tensor.name, tensor.dtype, ", ".join(sorted(_DTYPES)))
            )
        tensor.dtype = _DTYPES[tensor.dtype]
    return found


def profile_ranges(trt: Any, engine: Any, profile: int) -> List[Tuple[Shape, Shape]]:
    """Return smallest and largest shape of each input of a profile, to tell whether two profiles are alike."""
    found = _by_name(trt, engine, profile) if has_names(engine) else _by_index(trt, engine, profile)
    return [tensor.range.key() for tensor in found if tensor.range is not None]


def _by_name(trt: Any, engine: Any, profile: int) -> List[EngineTensor]:
    found = []
    for at in range(int(engine.num_io_tensors)):
        name = engine.get_tensor_name(at)
        tensor = EngineTensor(
            str(name),
            engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT,
            str(engine.get_tensor_dtype(name).name),
            _dims(engine.get_tensor_shape(name)),
            engine.get_tensor_location(name) == trt.TensorLocation.HOST,
            at,
        )
        _check_layout(tensor.name, engine.get_tensor_format(name))
        if tensor.is_input and not tensor.is_host:
            tensor.range = _range(tensor, lambda name=name: engine.get_tensor_profile_shape(name, profile))
        found.append(tensor)
    return found


def _by_index(trt: Any, engine: Any, profile: int) -> List[EngineTensor]:
    found = []
    count = bindings_per_profile(engine)
    for at in range(count):
        index = profile * count + at
        tensor = EngineTensor(
            str(engine.get_binding_name(at)),  # those of further profiles have " [profile 1]" behind
            bool(engine.binding_is_input(at)),
            str(engine.get_binding_dtype(at).name),
            _dims(engine.get_binding_shape(at)),
            engine.get_location(at) == trt.TensorLocation.HOST,
            at,
        )
        _check_layout(tensor.name, engine.get_binding_format(at))
        if tensor.is_input and not tensor.is_host:
            tensor.range = _range(tensor, lambda index=index: engine.get_profile_shape(profile, index))
        found.append(tensor)
    return found


def bindings_per_profile(engine: Any) -> int:
    """Return how many bindings one profile has; those of the next follow."""
    return int(engine.num_bindings) // int(engine.num_optimization_profiles)


def _range(tensor: EngineTensor, ask: Any) -> Range:
    if -1 not in tensor.shape:
        return Range(tensor.name, tensor.shape, tensor.shape, tensor.shape)
    smallest, optimal, largest = [_dims(dims) for dims in ask()]
    return Range(tensor.name, smallest, optimal, largest)


def _dims(dims: Sequence[int]) -> Shape:
    return tuple(int(size) for size in dims)


def _check_layout(name: str, layout: Any) -> None:
    if str(layout.name) != "LINEAR":
        raise ModelInvalid(
            "The tensor '{}' has the layout {}; build the engine with linear inputs and outputs.".format(
                name, layout.name
            )
        )


class Context:
    """One execution context: shapes and addresses in, one enqueue out."""

    def __init__(self, engine: Any, context: Any, profile: int) -> None:
        self._engine = engine
        self.native = context
        self.profile = profile

    def select_profile(self, stream: int) -> bool:
        """Choose the profile; shapes have to be set after it. False: another context has it."""
        try:
            return bool(self.native.set_optimization_profile_async(self.profile, stream))
        except RuntimeError:  # what the bindings of every version make of False (TensorRT, pyCore.cpp)
            return False

    def set_shape(self, tensor: EngineTensor, shape: Shape) -> bool:
        """Set the shape of an input; False where the engine does not take it."""
        raise NotImplementedError

    def shape(self, tensor: EngineTensor) -> Shape:
        """Return the shape of a tensor as the inputs make it; -1 where only the run itself can tell."""
        raise NotImplementedError

    def set_address(self, tensor: EngineTensor, pointer: int) -> bool:
        """Say where a tensor is: in device memory, or on the host where it is a shape."""
        raise NotImplementedError

    def set_values(self, tensor: EngineTensor, values: Sequence[int]) -> bool:
        """Tell the values of an input that decides about shapes; a context by names reads them at its address."""
        return True

    def unset(self) -> List[str]:
        """Return the inputs that are still not said enough about."""
        raise NotImplementedError

    def enqueue(self, stream: int) -> bool:
        """Queue one inference; False where that failed."""
        raise NotImplementedError

    def set_allocator(self, tensor: EngineTensor, allocator: Any) -> bool:
        """Let an output of unknown size be allocated while the engine runs; False where this TensorRT cannot."""
        return False


class NamedContext(Context):
    """By name: TensorRT 8.5 and later."""

    def set_shape(self, tensor: EngineTensor, shape: Shape) -> bool:
        return bool(self.native.set_input_shape(tensor.name, shape))

    def shape(self, tensor: EngineTensor) -> Shape:
        return _dims(self.native.get_tensor_shape(tensor.name))

    def set_address(self, tensor: EngineTensor, pointer: int) -> bool:
        return bool(self.native.set_tensor_address(tensor.name, pointer))

    def unset(self) -> List[str]:
        return [str(name) for name in self.native.infer_shapes()]

    def enqueue(self, stream: int) -> bool:
        return bool(self.native.execute_async_v3(stream))

    def set_allocator(self, tensor: EngineTensor, allocator: Any) -> bool:
        return bool(self.native.set_output_allocator(tensor.name, allocator))


class IndexedContext(Context):
    """By the index of the binding: TensorRT 8.0 to 8.4."""

    def __init__(self, engine: Any, context: Any, profile: int) -> None:
        super().__init__(engine, context, profile)
        self._addresses = [0] * int(engine.num_bindings)
        self._first = profile * bindings_per_profile(engine)

    def set_shape(self, tensor: EngineTensor, shape: Shape) -> bool:
        return bool(self.native.set_binding_shape(self._first + tensor.index, shape))

    def shape(self, tensor: EngineTensor) -> Shape:
        return _dims(self.native.get_binding_shape(self._first + tensor.index))

    def set_address(self, tensor: EngineTensor, pointer: int) -> bool:
        self._addresses[self._first + tensor.index] = pointer
        return True

    def set_values(self, tensor: EngineTensor, values: Sequence[int]) -> bool:
        return bool(self.native.set_shape_input(self._first + tensor.index, list(values)))

    def unset(self) -> List[str]:
        complete = self.native.all_binding_shapes_specified and self.native.all_shape_inputs_specified
        return [] if complete else ["some input"]

    def enqueue(self, stream: int) -> bool:
        return bool(self.native.execute_async_v2(self._addresses, stream))


def context_of(engine: Any, context: Any, profile: int) -> Context:
    """Return a native context behind the interface that its engine has."""
    return (NamedContext if has_names(engine) else IndexedContext)(engine, context, profile)

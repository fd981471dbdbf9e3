"""Tensors inside a worker: specifications, views of the mapped file, seeded random inputs."""

from typing import TYPE_CHECKING, Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from targets.errors import InputInvalid, ModelInvalid, OptionInvalid
from targets.options import nearest
from targets.wire import ITEM_BYTES

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]
else:
    Array = np.ndarray

Tensors = Dict[str, Array]

_NAMES = {np.dtype(name): name for name in ITEM_BYTES}


class TensorSpec:
    """Name, dtype and shape (-1 = dynamic) of one input or output; scale and zero point if it is quantised."""

    def __init__(
        self,
        name: str,
        dtype: str,
        shape: Sequence[int],
        scale: Optional[float] = None,
        zero_point: Optional[int] = None,
    ) -> None:
        if dtype not in ITEM_BYTES:
            raise ModelInvalid(
                "The tensor '{}' has the element type {}, which cannot be carried; use a model with {}.".format(
                    name, dtype, ", ".join(sorted(ITEM_BYTES))
                )
            )
        self.name = name
        self.dtype = dtype
        self.shape = tuple(int(size) for size in shape)
        self.scale = scale
        self.zero_point = zero_point

    def with_shape(self, shape: Sequence[int]) -> "TensorSpec":
        """Return the same tensor with another shape."""
        return TensorSpec(self.name, self.dtype, shape, self.scale, self.zero_point)

    def to_json(self) -> Dict[str, Any]:
        """Return the wire's form."""
        return {
            "name": self.name,
            "dtype": self.dtype,
            "shape": list(self.shape),
            "scale": self.scale,
            "zero_point": self.zero_point,
        }


class ModelSpec:
    """Inputs and outputs of a model, in the order of the file."""

    def __init__(self, inputs: List[TensorSpec], outputs: List[TensorSpec]) -> None:
        self.inputs = inputs
        self.outputs = outputs

    def to_json(self) -> Dict[str, Any]:
        """Return the wire's form."""
        return {"inputs": [t.to_json() for t in self.inputs], "outputs": [t.to_json() for t in self.outputs]}


def unique_names(names: Sequence[str]) -> List[str]:
    """Return the names with ':1', ':2', ... after repeated ones, and 'tensor' for empty ones."""
    seen: Dict[str, int] = {}
    found = []
    for name in names:
        base = name or "tensor"
        count = seen.get(base, 0)
        seen[base] = count + 1
        found.append("{}:{}".format(base, count) if count else base)
    return found


def check_inputs(specs: Sequence[TensorSpec], inputs: Tensors) -> None:
    """InputInvalid unless the arrays are exactly what the model takes: names, dtypes, shapes, C order."""
    names = [spec.name for spec in specs]
    for name in inputs:
        if name not in names:
            raise InputInvalid(
                "The model has no input '{}'{} Its inputs are {}.".format(
                    name, nearest(name, names) or ".", ", ".join(names)
                ),
                field="name",
                name=name,
            )
    for spec in specs:
        if spec.name not in inputs:
            raise InputInvalid(
                "The input '{}' is missing; the model takes {}.".format(spec.name, ", ".join(names)),
                field="name",
                name=spec.name,
            )
        _check_one(spec, inputs[spec.name])


def _check_one(spec: TensorSpec, array: Array) -> None:
    if dtype_name(array) != spec.dtype:
        raise InputInvalid(
            "The input '{}' is {}, but the model takes {}.".format(spec.name, array.dtype.name, spec.dtype),
            field="dtype",
            name=spec.name,
        )
    fits = len(array.shape) == len(spec.shape) and all(
        want in (-1, have) for want, have in zip(spec.shape, array.shape)
    )
    if not fits:
        raise InputInvalid(
            "The input '{}' has the shape {}, but the model takes {}{}.".format(
                spec.name,
                list(array.shape),
                list(spec.shape),
                " (-1 = any)" if -1 in spec.shape else "",
            ),
            field="shape",
            name=spec.name,
        )
    if array.size == 0:
        raise InputInvalid("The input '{}' is empty.".format(spec.name), field="shape", name=spec.name)
    if not array.flags["C_CONTIGUOUS"]:
        raise InputInvalid(
            "The input '{}' is not in C order.".format(spec.name), field="data", name=spec.name
        )


def dtype_name(array: Array) -> str:
    """Return the name of an array's dtype; numpy's own takes longer than many an inference."""
    return _NAMES.get(array.dtype) or str(array.dtype.name)


def view(buffer: Any, ref: Dict[str, Any]) -> Array:
    """Return the array that a checked tensor reference names in the mapped file, without a copy."""
    count = ref["nbytes"] // ITEM_BYTES[ref["dtype"]]
    flat = np.frombuffer(buffer, dtype=ref["dtype"], count=count, offset=ref["offset"])
    return flat.reshape(ref["shape"])


def concrete_shape(spec: TensorSpec) -> Tuple[int, ...]:
    """Return a shape to run with: a dynamic first dimension becomes 1, any other one is OptionInvalid."""
    shape = tuple(1 if size == -1 and at == 0 else size for at, size in enumerate(spec.shape))
    if -1 in shape:
        raise OptionInvalid(
            "The input '{}' has the shape {} with a dynamic dimension; load the model with the option "
            "shape.{}=... that says its sizes.".format(spec.name, list(spec.shape), spec.name),
            option="shape." + spec.name,
        )
    return shape


def random_inputs(specs: Sequence[TensorSpec], seed: int) -> Tensors:
    """Return inputs drawn from a seed: the same for the same model and seed on every machine.

    Floats are standard normal; int8 and uint8 take their full range; wider integers, which are mostly indices, and
    booleans are 0 or 1. Drawn by numpy's MT19937 (RandomState), whose stream is frozen.
    """
    random: Any = np.random.RandomState(seed % 2**32)
    found = {}
    for spec in specs:
        shape = concrete_shape(spec)
        if spec.dtype.startswith("float"):
            drawn = random.standard_normal(shape)
        elif spec.dtype in ("int8", "uint8"):
            low = -128 if spec.dtype == "int8" else 0
            drawn = random.randint(low, low + 256, size=shape, dtype=spec.dtype)
        else:
            drawn = random.randint(0, 2, size=shape, dtype="int64")  # the default differs between platforms
        found[spec.name] = np.asarray(drawn).astype(spec.dtype).reshape(shape)
    return found


def all_finite(outputs: Tensors) -> Optional[bool]:
    """Return whether every floating-point output is finite; None if no output is floating point."""
    floats = [array for array in outputs.values() if array.dtype.kind == "f"]
    return all(bool(np.isfinite(array).all()) for array in floats) if floats else None

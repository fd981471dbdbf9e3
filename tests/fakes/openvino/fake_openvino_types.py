"""What both versions of the fake OpenVINO have in common: types, ports, tensors, models.

Sources: the Python API of openvino 2022.3.2 and 2026.4.1.
"""

from typing import Any, Dict, Iterator, List, Sequence

import numpy as np
import onnx_net

_TYPES = {"float32": "f32", "float16": "f16", "bfloat16": "bf16", "int8": "i8", "uint8": "u8"}


class Type:
    """An element type."""

    def __init__(self, numpy_name: str) -> None:
        self._name = _TYPES[numpy_name]

    def get_type_name(self) -> str:
        """Return f32, i8 and the like."""
        return self._name


class Dimension:
    """A size, or none."""

    def __init__(self, size: Any) -> None:
        self._size = size
        self.is_dynamic = not isinstance(size, int)

    def get_length(self) -> int:
        """Return the size. RuntimeError if there is none."""
        if self.is_dynamic:
            raise RuntimeError("Cannot get length of dynamic dimension")
        return int(self._size)


class PartialShape:
    """The sizes of a tensor."""

    def __init__(self, sizes: Sequence[Any]) -> None:
        self._dimensions = [Dimension(size) for size in sizes]
        self.rank = Dimension(len(self._dimensions))

    def __iter__(self) -> Iterator[Dimension]:
        return iter(self._dimensions)


class Port:
    """An input or output."""

    def __init__(self, port: onnx_net.Port) -> None:
        self._port = port
        self.any_name = port.name
        self.partial_shape = PartialShape(port.shape)

    def get_names(self) -> Any:
        """Return the names."""
        return {self._port.name}

    def get_element_type(self) -> Type:
        """Return the element type."""
        return Type(self._port.dtype)


class Op:
    """An operator of a model, or a layer of an executed graph with its notes."""

    def __init__(self, type_name: str, array: Any = None, notes: Any = None) -> None:
        self._type_name = type_name
        self._array = array
        self._notes = notes

    def get_type_name(self) -> str:
        """Return MatMul, Constant and the like."""
        return self._type_name

    def get_element_type(self) -> Type:
        """Return the type of a constant."""
        return Type(str(self._array.dtype))

    def get_output_shape(self, index: int) -> Any:
        """Return the shape of a constant."""
        return list(self._array.shape)

    def get_rt_info(self) -> Any:
        """Return the notes of an executed layer."""
        return self._notes


class Model:
    """A model that was read."""

    def __init__(self, net: onnx_net.Net) -> None:
        self.net = net

    @property
    def inputs(self) -> List[Port]:
        """Return the inputs."""
        return [Port(port) for port in self.net.inputs]

    @property
    def outputs(self) -> List[Port]:
        """Return the outputs."""
        return [Port(port) for port in self.net.outputs]

    def get_ops(self) -> List[Op]:
        """Return the operators; quantisation is a FakeQuantize, as the ONNX reader makes it."""
        names = {"QuantizeLinear": "FakeQuantize", "DequantizeLinear": "Convert"}
        floats = [c for c in self.net.constants.values() if c.dtype.kind == "f"]
        nodes = [Op(names.get(node.op, node.op)) for node in self.net.nodes]
        return nodes + [Op("Constant", constant) for constant in floats]

    def is_dynamic(self) -> bool:
        """Whether a size is open."""
        return self.net.has_open_shapes

    def reshape(self, shapes: Dict[int, List[int]]) -> None:
        """Give the inputs other shapes; -1 leaves a size open."""
        for at, shape in shapes.items():
            port = self.net.inputs[at]
            if len(shape) != len(port.shape) or shape[-1] != port.shape[-1]:
                raise RuntimeError("Exception from src/core/src/model.cpp:900:\nShape is incompatible.")
            port.shape = ["?" if size == -1 else size for size in shape]
            for output in self.net.outputs:
                output.shape = [port.shape[0]] + list(output.shape[1:])


class Tensor:
    """An array, shared with the caller or a copy."""

    def __init__(self, array: Any, shared_memory: bool = False) -> None:
        if shared_memory and not array.flags["C_CONTIGUOUS"]:
            raise RuntimeError("Tensor with shared memory must be C contiguous!")
        self.data = array if shared_memory else np.array(array)

"""One node as a formula sees it: shapes of its inputs and outputs, and its attributes."""

from collections.abc import Mapping
from math import prod
from typing import Any

import onnx

Shape = tuple[int, ...]


class ShapeUnknownError(Exception):
    """A formula asked for the shape of a tensor that nobody could infer. Never leaves this package."""

    def __init__(self, tensor: str) -> None:
        super().__init__(tensor)
        self.tensor = tensor


class RuleError(Exception):
    """A formula does not apply to this form of the node. Never leaves this package."""


class NodeView:
    """Read access to one node. Indexes past the end and empty names are absent inputs."""

    def __init__(self, node: onnx.NodeProto, shapes: Mapping[str, Shape]) -> None:
        self._node = node
        self._shapes = shapes
        self._attributes = {attribute.name: attribute for attribute in node.attribute}

    def has(self, index: int) -> bool:
        """Whether input `index` is given."""
        return index < len(self._node.input) and bool(self._node.input[index])

    def inp(self, index: int) -> Shape:
        """Shape of input `index`; ShapeUnknownError if nobody could infer it."""
        if not self.has(index):
            raise RuleError(f"input {index} is missing")
        return self._shape(self._node.input[index])

    def inputs(self) -> list[Shape]:
        """Shapes of all given inputs."""
        return [self._shape(name) for name in self._node.input if name]

    def out(self, index: int = 0) -> Shape:
        """Shape of output `index`, of the first output that is given where that one is not."""
        names = list(self._node.output)
        name = names[index] if index < len(names) and names[index] else next(filter(None, names))
        return self._shape(name)

    def has_out(self, index: int) -> bool:
        """Whether output `index` is given."""
        return index < len(self._node.output) and bool(self._node.output[index])

    def attr(self, name: str, default: Any = None) -> Any:
        """Value of an attribute, or the default."""
        attribute = self._attributes.get(name)
        return default if attribute is None else onnx.helper.get_attribute_value(attribute)

    def _shape(self, name: str) -> Shape:
        try:
            return self._shapes[name]
        except KeyError:
            raise ShapeUnknownError(name) from None


def label(node: onnx.NodeProto) -> str:
    """Name a node for people: its own name, else what it produces."""
    return node.name or next(filter(None, node.output), node.op_type)


def key_of(node: onnx.NodeProto) -> tuple[str, str]:
    """Domain and operator, with the two spellings of the ONNX domain made one."""
    return ("" if node.domain == "ai.onnx" else node.domain, node.op_type)


def elements(shape: Shape) -> int:
    """Number of elements of a tensor."""
    return prod(shape)

"""MACs of the TFLite operators that count, from the shapes stored in the file (layouts of the TFLite schema)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Final

from hostctl.models.count.onnx_node import RuleError, Shape
from hostctl.models.count.tflite_read import Operator, Subgraph, Tensor


@dataclass(frozen=True, slots=True)
class OperatorView:
    """An operator with the tensors around it."""

    operator: Operator
    graph: Subgraph

    def tensor(self, position: int) -> Tensor | None:
        """Input tensor at a position, or None where it is left out."""
        if position >= len(self.operator.inputs) or self.operator.inputs[position] < 0:
            return None
        return self.graph.tensors[self.operator.inputs[position]]

    def inp(self, position: int) -> Shape:
        """Shape of an input; RuleError where it is left out or not known."""
        tensor = self.tensor(position)
        if tensor is None:
            raise RuleError(f"input {position} is missing")
        return _known(tensor)

    def out(self) -> Shape:
        """Shape of the first output."""
        return _known(self.graph.tensors[self.operator.outputs[0]])

    def size(self, position: int) -> int:
        """Number of elements of an input; 0 where it is left out."""
        return 0 if self.tensor(position) is None else prod(self.inp(position))


def _known(tensor: Tensor) -> Shape:
    """The batch may be open (the file then stores 1); any other open size leaves the count open."""
    if any(size < 0 for size in tensor.dims[1:]) or any(size < 0 for size in tensor.shape):
        raise RuleError(
            f"the shape of its tensor '{tensor.name}' is open; convert the model with fixed shapes or give --ops"
        )
    return tensor.shape


Formula = Callable[[OperatorView], int]


def conv_2d(view: OperatorView) -> int:
    """Convolution: weights (Cout, height, width, Cin/groups)."""
    return prod(view.out()) * prod(view.inp(1)[1:])


def depthwise_conv_2d(view: OperatorView) -> int:
    """Depthwise convolution: weights (1, height, width, Cout)."""
    return prod(view.out()) * prod(view.inp(1)[1:3])


def transpose_conv(view: OperatorView) -> int:
    """Transposed convolution: inputs are output shape, weights (Cout, height, width, Cin), data."""
    weights = view.inp(1)
    return prod(view.inp(2)) * prod(weights[:3])


def conv_3d(view: OperatorView) -> int:
    """3-D convolution: weights (depth, height, width, Cin/groups, Cout)."""
    return prod(view.out()) * prod(view.inp(1)[:4])


def conv_3d_transpose(view: OperatorView) -> int:
    """Transposed 3-D convolution: inputs are output shape, weights (depth, height, width, Cout, Cin), data."""
    return prod(view.inp(2)) * prod(view.inp(1)[:4])


def fully_connected(view: OperatorView) -> int:
    """Dense layer: weights (outputs, inputs)."""
    return prod(view.out()) * view.inp(1)[-1]


def batch_matmul(view: OperatorView) -> int:
    """Matrix product with broadcasting; `adj_x` transposes the left side."""
    left = view.inp(0)
    return prod(view.out()) * left[-2 if view.operator.options.get("AdjX") else -1]


def recurrent(positions: Sequence[int]) -> Formula:
    """Recurrent layer: steps × batch × the elements of all its weight matrices, at these input positions."""

    def macs(view: OperatorView) -> int:
        return prod(view.inp(0)[:-1]) * sum(view.size(position) for position in positions)

    return macs


def lstm(view: OperatorView) -> int:
    """One LSTM step: the basic kernel has five inputs and one joint matrix, the full one a matrix a gate."""
    if len(view.operator.inputs) == 5:
        return recurrent([2])(view)
    return recurrent(_LSTM_MATRICES)(view)


_LSTM_MATRICES: Final = (*range(1, 9), 16)
_BIDIRECTIONAL_LSTM_MATRICES: Final = (*range(1, 9), 16, *range(18, 26), 33, *range(40, 48))

FORMULAS: Final[dict[str, Formula]] = {
    "CONV_2D": conv_2d,
    "DEPTHWISE_CONV_2D": depthwise_conv_2d,
    "TRANSPOSE_CONV": transpose_conv,
    "CONV_3D": conv_3d,
    "CONV_3D_TRANSPOSE": conv_3d_transpose,
    "FULLY_CONNECTED": fully_connected,
    "BATCH_MATMUL": batch_matmul,
    "LSTM": lstm,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": recurrent(_LSTM_MATRICES),
    "BIDIRECTIONAL_SEQUENCE_LSTM": recurrent(_BIDIRECTIONAL_LSTM_MATRICES),
    "RNN": recurrent((1, 2)),
    "UNIDIRECTIONAL_SEQUENCE_RNN": recurrent((1, 2)),
    "BIDIRECTIONAL_SEQUENCE_RNN": recurrent((1, 2, 5, 6, 10, 11)),
    "SVDF": recurrent((1, 2)),
}
SEQUENCES: Final = frozenset(name for name in FORMULAS if "SEQUENCE" in name)

BIAS_POSITIONS: Final[dict[str, frozenset[int]]] = {
    "CONV_2D": frozenset({2}),
    "DEPTHWISE_CONV_2D": frozenset({2}),
    "FULLY_CONNECTED": frozenset({2}),
    "CONV_3D": frozenset({2}),
    "TRANSPOSE_CONV": frozenset({3}),
    "CONV_3D_TRANSPOSE": frozenset({3}),
    "SVDF": frozenset({3}),
    "LSTM": frozenset({3, *range(12, 16), 17}),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": frozenset({*range(12, 16), 17}),
    "BIDIRECTIONAL_SEQUENCE_LSTM": frozenset({*range(12, 16), 17, *range(29, 33), 34}),
    "RNN": frozenset({3}),
    "UNIDIRECTIONAL_SEQUENCE_RNN": frozenset({3}),
    "BIDIRECTIONAL_SEQUENCE_RNN": frozenset({3, 7}),
}


def other_operations(kind: str, view: OperatorView) -> int:
    """Operations outside the convention: 2 per normalised element, window elements of a pooling, else 1 each."""
    if kind == "normalisation":
        return 2 * prod(view.out())
    if kind == "reduction":
        return prod(view.inp(0))
    if kind == "pooling":
        options = view.operator.options
        return prod(view.out()) * options.get("FilterHeight", 1) * options.get("FilterWidth", 1)
    return prod(view.out())

"""MACs of the ONNX operators that count, from the shapes of their tensors (ONNX operator documentation)."""

from collections.abc import Callable
from typing import Final

from hostctl.models.count.einsum import einsum_macs
from hostctl.models.count.onnx_attention import (
    grouped_query_macs,
    microsoft_attention_macs,
    multi_head_macs,
    onnx_attention_macs,
)
from hostctl.models.count.onnx_kinds import GLOBAL_POOLING, MICROSOFT, ONNX, POOLING
from hostctl.models.count.onnx_node import NodeView, RuleError, Shape, elements

Formula = Callable[[NodeView], int]


def conv(weight_index: int) -> Formula:
    """Convolution: each output element takes Cin/groups × kernel MACs. Weights are (Cout, Cin/groups, *kernel)."""

    def macs(node: NodeView) -> int:
        return elements(node.out()) * elements(node.inp(weight_index)[1:])

    return macs


def conv_transpose(node: NodeView) -> int:
    """Transposed convolution: each INPUT element feeds Cout/groups × kernel. Weights (Cin, Cout/groups, *kernel)."""
    return elements(node.inp(0)) * elements(node.inp(1)[1:])


def nhwc_conv(node: NodeView) -> int:
    """Convolution of the NHWC form: weights stay (Cout, Cin/groups, *kernel) whatever the layout of the data."""
    return elements(node.out()) * elements(node.inp(1)[1:])


def gemm(b_index: int) -> Formula:
    """General matrix product; the inner size is the one of A that `transA` leaves."""

    def macs(node: NodeView) -> int:
        a, b = node.inp(0), node.inp(b_index)
        k, m = (a[0], a[1]) if node.attr("transA", 0) else (a[1], a[0])
        n, b_k = (b[0], b[1]) if node.attr("transB", 0) else (b[1], b[0])
        if k != b_k:
            raise RuleError(f"inner sizes {k} and {b_k} differ")
        return m * n * k

    return macs


def matmul(node: NodeView) -> int:
    """Matrix product with broadcasting: every output element takes the inner size."""
    return elements(node.out()) * node.inp(0)[-1]


def fused_matmul(node: NodeView) -> int:
    """com.microsoft FusedMatMul: A may be transposed, and with `transBatchA` its batch axes are rotated too."""
    a = node.inp(0)
    if len(a) < 2 or not node.attr("transA", 0):
        return elements(node.out()) * a[-1]
    return elements(node.out()) * (a[0] if node.attr("transBatchA", 0) else a[-2])


def packed_matmul(node: NodeView) -> int:
    """Matrix product with packed weights: the inner size is the attribute K."""
    return elements(node.out()) * int(node.attr("K"))


def recurrent(node: NodeView) -> int:
    """RNN, LSTM, GRU: steps × batch × (|W| + |R|); W and R already hold gates and directions."""
    x = node.inp(0)
    return x[0] * x[1] * (elements(node.inp(1)) + elements(node.inp(2)))


def einsum(node: NodeView) -> int:
    """Einsum: the product of all distinct index sizes where two or more operands meet, else nothing."""
    return einsum_macs(node.attr("equation").decode(), node.inputs())


def _pool(node: NodeView) -> int:
    kernel: list[int] = list(node.attr("kernel_shape", []))
    if kernel:
        return elements(node.out()) * elements(tuple(kernel))
    return elements(node.out())


def other_operations(key: tuple[str, str], kind: str, node: NodeView) -> int:
    """Operations of a node outside the convention: 2 per normalised element, 1 per element or window element."""
    if kind == "normalisation":
        return 2 * elements(node.out())
    if key in GLOBAL_POOLING or kind == "reduction":
        return elements(node.inp(0))
    if key in POOLING:
        return _pool(node)
    return elements(node.out())


def sequence_length(node: NodeView) -> int:
    """Time steps of a recurrent layer; `layout` 1 puts the batch first."""
    x: Shape = node.inp(0)
    return x[1] if node.attr("layout", 0) else x[0]


RECURRENT: Final = frozenset(
    {(ONNX, "RNN"), (ONNX, "LSTM"), (ONNX, "GRU"), (MICROSOFT, "DynamicQuantizeLSTM")}
)

FORMULAS: Final[dict[tuple[str, str], Formula]] = {
    (ONNX, "Conv"): conv(1),
    (ONNX, "ConvInteger"): conv(1),
    (ONNX, "QLinearConv"): conv(3),
    (ONNX, "DeformConv"): conv(1),
    (ONNX, "CausalConvWithState"): conv(1),
    (ONNX, "ConvTranspose"): conv_transpose,
    (ONNX, "Gemm"): gemm(1),
    (ONNX, "MatMul"): matmul,
    (ONNX, "MatMulInteger"): matmul,
    (ONNX, "QLinearMatMul"): matmul,
    (ONNX, "Einsum"): einsum,
    (ONNX, "RNN"): recurrent,
    (ONNX, "LSTM"): recurrent,
    (ONNX, "GRU"): recurrent,
    (ONNX, "Attention"): onnx_attention_macs,
    (MICROSOFT, "FusedConv"): conv(1),
    (MICROSOFT, "NhwcConv"): nhwc_conv,
    (MICROSOFT, "NhwcFusedConv"): nhwc_conv,
    (MICROSOFT, "QLinearConv"): conv(3),
    (MICROSOFT, "CausalConvWithState"): conv(1),
    (MICROSOFT, "ConvTransposeWithDynamicPads"): conv_transpose,
    (MICROSOFT, "QGemm"): gemm(3),
    (MICROSOFT, "FusedGemm"): gemm(1),
    (MICROSOFT, "GemmFastGelu"): matmul,
    (MICROSOFT, "GemmFloat8"): gemm(1),
    (MICROSOFT, "FusedMatMul"): fused_matmul,
    (MICROSOFT, "TransposeMatMul"): fused_matmul,
    (MICROSOFT, "FusedMatMulActivation"): fused_matmul,
    (MICROSOFT, "MatMulInteger16"): matmul,
    (MICROSOFT, "MatMulIntegerToFloat"): matmul,
    (MICROSOFT, "DynamicQuantizeMatMul"): matmul,
    (MICROSOFT, "QOrderedMatMul"): matmul,
    (MICROSOFT, "MatMulNBits"): packed_matmul,
    (MICROSOFT, "MatMulBnb4"): packed_matmul,
    (MICROSOFT, "DynamicQuantizeLSTM"): recurrent,
    (MICROSOFT, "Attention"): microsoft_attention_macs(past_index=4),
    (MICROSOFT, "QAttention"): microsoft_attention_macs(past_index=8),
    (MICROSOFT, "MultiHeadAttention"): multi_head_macs,
    (MICROSOFT, "GroupQueryAttention"): grouped_query_macs,
}

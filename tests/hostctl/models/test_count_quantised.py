"""Counts of quantised and fused forms: the same products as in the plain ones."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from hostctl.models.count import count_operations
from tests.hostctl.models.onnx_build import MICROSOFT, Dims, const, macs_of, one, save, tensor, weight


def test_quantise_dequantise_mlp_counts_like_the_float_one(tmp_path: Path) -> None:
    node = helper.make_node
    nodes, weights, last = [], [const("s", 0.1, np.float32), const("z", 0, np.int8)], "x"
    for index, (inputs, outputs) in enumerate([(64, 32), (32, 10)]):
        weights += [
            weight(f"w{index}", outputs, inputs, dtype=np.int8),
            weight(f"b{index}", outputs, dtype=np.int32),
        ]
        weights.append(const(f"bz{index}", 0, np.int32))
        nodes += [
            node("QuantizeLinear", [last, "s", "z"], [f"q{index}"]),
            node("DequantizeLinear", [f"q{index}", "s", "z"], [f"d{index}"]),
            node("DequantizeLinear", [f"w{index}", "s", "z"], [f"wd{index}"]),
            node("DequantizeLinear", [f"b{index}", "s", f"bz{index}"], [f"bd{index}"]),
            node("Gemm", [f"d{index}", f"wd{index}", f"bd{index}"], [f"g{index}"], transB=1),
        ]
        last = f"g{index}"
    count = count_operations(save(tmp_path / "m.onnx", nodes, [tensor("x", ["N", 64])], [last], weights))
    assert count.macs == 2_368
    assert count.params == 2_410
    assert count.other_ops == {"quantisation": 2 * (64 + 32)}


def quantised(name: str, *dims: int) -> onnx.TensorProto:
    return weight(name, *dims, dtype=np.uint8)


SCALE = const("s", 0.1, np.float32)


ZERO = const("z", 0, np.uint8)


@pytest.mark.parametrize(
    ("operator", "order", "kernel", "shape", "domain", "expected", "params"),
    [
        ("QLinearConv", "x s z w s z s z", (8, 3, 3, 3), [1, 3, 10, 10], "", 8 * 64 * 27, 216),
        ("ConvInteger", "x w z z", (8, 3, 3, 3), [1, 3, 10, 10], "", 8 * 64 * 27, 216),
        ("QLinearMatMul", "x s z w s z s z", (12, 7), [1, 5, 12], "", 5 * 12 * 7, 84),
        ("MatMulInteger", "x w z z", (12, 7), [1, 5, 12], "", 5 * 12 * 7, 84),
        ("QGemm", "x s z w s z  s z", (12, 7), ["N", 12], MICROSOFT, 12 * 7, 84),
    ],
)
def test_quantised_forms(
    tmp_path: Path,
    operator: str,
    order: str,
    kernel: tuple[int, ...],
    shape: list[int | str],
    domain: str,
    expected: int,
    params: int,
) -> None:
    node = helper.make_node(operator, order.split(" "), ["y"], domain=domain)
    path = save(
        tmp_path / "m.onnx",
        [node],
        [tensor("x", shape, TensorProto.UINT8)],
        ["y"],
        [quantised("w", *kernel), SCALE, ZERO],
        domains={domain: 1} if domain else {},
    )
    model = onnx.load(path)
    model.graph.output[0].type.tensor_type.elem_type = (
        TensorProto.INT32 if operator.endswith("Integer") else TensorProto.UINT8
    )
    onnx.save(model, path)
    count = count_operations(path)
    assert count.macs == expected
    assert count.params == params


def test_microsoft_fused_forms(tmp_path: Path) -> None:
    fused = one(
        tmp_path / "c.onnx",
        "FusedConv",
        {"x": [1, 3, 10, 10]},
        [weight("w", 8, 3, 3, 3)],
        domain=MICROSOFT,
        activation="Relu",
    )
    assert macs_of(fused) == 8 * 64 * 27
    product = one(
        tmp_path / "m.onnx",
        "FusedMatMul",
        {"a": [1, 12, 5], "b": [1, 7, 12]},
        domain=MICROSOFT,
        transA=1,
        transB=1,
    )
    assert macs_of(product) == 5 * 12 * 7


def test_attention_of_every_dialect_counts_as_its_products(tmp_path: Path) -> None:
    s, d = 16, 32
    inner = 2 * s * s * d
    microsoft = one(
        tmp_path / "a.onnx",
        "Attention",
        {"x": ["N", s, d]},
        [weight("w", d, 3 * d), weight("b", 3 * d)],
        domain=MICROSOFT,
        num_heads=4,
    )
    assert macs_of(microsoft) == s * d * 3 * d + inner
    three: dict[str, Dims] = {name: ["N", s, d] for name in "qkv"}
    assert (
        macs_of(one(tmp_path / "m.onnx", "MultiHeadAttention", three, domain=MICROSOFT, num_heads=4)) == inner
    )
    standard = one(tmp_path / "s.onnx", "Attention", three, opset=23, q_num_heads=4, kv_num_heads=4)
    assert macs_of(standard) == inner
    four = {"q": [1, 4, s, 8], "k": [1, 2, 20, 8], "v": [1, 2, 20, 6]}
    grouped = one(tmp_path / "g.onnx", "Attention", four, opset=23)
    assert macs_of(grouped) == 4 * s * 20 * (8 + 6)

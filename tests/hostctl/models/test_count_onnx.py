"""Operation counts of ONNX models against hand formulas: one operator at a time, then whole nets."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper

from hostctl.models.count import count_operations
from tests.hostctl.models.onnx_build import const, macs_of, mlp, one, save, tensor, weight

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"

# MACs and parameters of the onnx package's light models at 1x3x224x224. DenseNet-121 holds six vectors a
# normalisation (BatchNormalization's four and a separate scale and shift), so more than the usual 8.06 M.
LIGHT_MODELS = {
    "bvlc_alexnet": (0.6546e9, 60.97e6),
    "densenet121": (2.8342e9, 8.146e6),
    "inception_v1": (1.4316e9, 7.00e6),
    "inception_v2": (2.0189e9, 11.23e6),
    "resnet50": (4.0892e9, 25.61e6),
    "shufflenet": (0.1247e9, 1.42e6),
    "squeezenet": (0.3492e9, 1.24e6),
    "vgg19": (19.6321e9, 143.67e6),
    "zfnet512": (1.4817e9, 87.25e6),
}

quick = settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
size = st.integers(1, 6)


@pytest.mark.parametrize("name", LIGHT_MODELS)
@pytest.mark.slow
def test_light_models_of_the_onnx_package(name: str) -> None:
    macs, params = LIGHT_MODELS[name]
    count = count_operations(LIGHT / f"light_{name}.onnx")
    assert count.macs == pytest.approx(macs, abs=0.5e5)
    assert count.params == pytest.approx(params, rel=5e-3)
    assert count.uncounted == ()
    assert count.other_ops["activation"] > 0


def test_grouped_convolution(tmp_path: Path) -> None:
    path = one(
        tmp_path / "m.onnx",
        "Conv",
        {"x": [1, 64, 28, 28]},
        [weight("w", 32, 16, 3, 3)],
        group=4,
        pads=[1] * 4,
    )
    assert macs_of(path) == 32 * 28 * 28 * 16 * 9


def test_transposed_convolution(tmp_path: Path) -> None:
    path = one(
        tmp_path / "m.onnx",
        "ConvTranspose",
        {"x": [1, 32, 14, 14]},
        [weight("w", 32, 16, 4, 4)],
        strides=[2, 2],
        pads=[1] * 4,
    )
    assert macs_of(path) == 32 * 14 * 14 * 16 * 16


@pytest.mark.parametrize(
    ("operator", "gates", "expected"), [("LSTM", 4, 491_520), ("GRU", 3, 368_640), ("RNN", 1, 122_880)]
)
def test_recurrent_layers_count_every_step_and_take_time_for_no_batch(
    tmp_path: Path, operator: str, gates: int, expected: int
) -> None:
    weights = [weight("w", 1, gates * 64, 128), weight("r", 1, gates * 64, 64)]
    path = one(tmp_path / "m.onnx", operator, {"x": [10, 1, 128]}, weights, hidden_size=64)
    assert macs_of(path) == expected


def test_bidirectional_lstm_counts_both_directions(tmp_path: Path) -> None:
    weights = [weight("w", 2, 256, 128), weight("r", 2, 256, 64)]
    path = one(
        tmp_path / "m.onnx", "LSTM", {"x": [10, 1, 128]}, weights, hidden_size=64, direction="bidirectional"
    )
    assert macs_of(path) == 2 * 491_520


@pytest.mark.parametrize(
    ("equation", "left", "right", "expected"),
    [
        ("bhid,bhjd->bhij", [1, 4, 64, 32], [1, 4, 64, 32], 524_288),
        ("ij,jk->ik", [64, 64], [64, 128], 524_288),
        ("...ij,...jk->...ik", [1, 5, 6, 7], [1, 1, 7, 8], 5 * 6 * 7 * 8),
        ("i,i->", [9], [9], 9),
        ("bhid , bhjd -> bhij", [2, 4, 64, 32], [2, 4, 64, 32], 524_288),
    ],
)
def test_einsum_is_the_product_of_its_indexes(
    tmp_path: Path, equation: str, left: list[int], right: list[int], expected: int
) -> None:
    assert macs_of(one(tmp_path / "m.onnx", "Einsum", {"a": left, "b": right}, equation=equation)) == expected


def test_einsum_of_one_operand_multiplies_nothing(tmp_path: Path) -> None:
    assert macs_of(one(tmp_path / "m.onnx", "Einsum", {"a": [1, 64, 32]}, equation="bij->bji")) == 0


def test_transformer_block(tmp_path: Path) -> None:
    s, d, h, f = 64, 128, 4, 512
    node = helper.make_node
    split = const("split", [0, s, h, d // h], np.int64)
    nodes = []
    for part in "qkv":
        nodes += [
            node("MatMul", ["x", f"w{part}"], [f"{part}0"]),
            node("Reshape", [f"{part}0", "split"], [f"{part}1"]),
        ]
    nodes += [
        node("Transpose", ["q1"], ["q2"], perm=[0, 2, 1, 3]),
        node("Transpose", ["k1"], ["k2"], perm=[0, 2, 3, 1]),
        node("Transpose", ["v1"], ["v2"], perm=[0, 2, 1, 3]),
        node("MatMul", ["q2", "k2"], ["scores"]),
        node("Softmax", ["scores"], ["p"]),
        node("MatMul", ["p", "v2"], ["c0"]),
        node("Transpose", ["c0"], ["c1"], perm=[0, 2, 1, 3]),
        node("Reshape", ["c1", "join"], ["c2"]),
        node("MatMul", ["c2", "wo"], ["o"]),
        node("Add", ["o", "x"], ["r"]),
        node("MatMul", ["r", "w1"], ["f1"]),
        node("Relu", ["f1"], ["f2"]),
        node("MatMul", ["f2", "w2"], ["y"]),
    ]
    weights = [weight(f"w{part}", d, d) for part in "qkvo"] + [weight("w1", d, f), weight("w2", f, d)]
    weights += [split, const("join", [0, s, d], np.int64)]
    path = save(tmp_path / "m.onnx", nodes, [tensor("x", ["N", s, d])], ["y"], weights)
    assert macs_of(path) == s * (4 * d * d + 2 * d * f) + 2 * s * s * d == 13_631_488


@quick
@given(
    batch=size,
    cin=size,
    cout=size,
    groups=st.integers(1, 3),
    kernel=st.integers(1, 3),
    side=st.integers(4, 9),
    stride=st.integers(1, 2),
    pad=st.integers(0, 1),
)
def test_convolution_equals_its_closed_form_whatever_the_static_batch(
    tmp_path: Path,
    batch: int,
    cin: int,
    cout: int,
    groups: int,
    kernel: int,
    side: int,
    stride: int,
    pad: int,
) -> None:
    path = one(
        tmp_path / "m.onnx",
        "Conv",
        {"x": [batch, cin * groups, side, side]},
        [weight("w", cout * groups, cin, kernel, kernel)],
        group=groups,
        strides=[stride] * 2,
        pads=[pad] * 4,
    )
    out = (side + 2 * pad - kernel) // stride + 1
    count = count_operations(path)
    assert count.macs == cout * groups * out * out * cin * kernel * kernel
    assert count.params == cout * groups * cin * kernel * kernel


@quick
@given(m=st.integers(1, 6), k=size, n=size, trans_a=st.booleans(), trans_b=st.booleans())
def test_gemm_equals_its_closed_form(
    tmp_path: Path, m: int, k: int, n: int, trans_a: bool, trans_b: bool
) -> None:
    left = [k, m] if trans_a else [m, k]
    path = one(
        tmp_path / "m.onnx",
        "Gemm",
        {"a": left},
        [weight("b", *([n, k] if trans_b else [k, n]))],
        transA=int(trans_a),
        transB=int(trans_b),
    )
    # Without transA the rows of A are samples; with it the first axis is summed over and is no batch.
    assert macs_of(path) == (m * n * k if trans_a else n * k)


@quick
@given(lead=st.lists(size, max_size=2), m=size, k=size, n=size)
def test_matmul_broadcasts(tmp_path: Path, lead: list[int], m: int, k: int, n: int) -> None:
    path = one(tmp_path / "m.onnx", "MatMul", {"a": [1, *lead, m, k], "b": [k, n]})
    expected = n * k * m
    for axis in lead:
        expected *= axis
    assert macs_of(path) == expected


def test_local_functions_are_looked_into(tmp_path: Path) -> None:
    body = [helper.make_node("MatMul", ["a", "b"], ["c"]), helper.make_node("Relu", ["c"], ["d"])]
    function = helper.make_function("local", "Dense", ["a", "b"], ["d"], body, [helper.make_opsetid("", 17)])
    node = helper.make_node("Dense", ["x", "w"], ["y"], domain="local")
    path = save(
        tmp_path / "m.onnx",
        [node],
        [tensor("x", ["N", 16])],
        ["y"],
        [weight("w", 16, 8)],
        domains={"local": 1},
        functions=[function],
    )
    assert macs_of(path) == 128


def test_nodes_that_no_output_needs_are_not_counted(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["y"]),
        helper.make_node("MatMul", ["x", "v"], ["unused"]),
    ]
    count = count_operations(
        save(
            tmp_path / "m.onnx",
            nodes,
            [tensor("x", ["N", 16])],
            ["y"],
            [weight("w", 16, 8), weight("v", 16, 99)],
        )
    )
    assert count.macs == 128
    assert count.params == 128


def test_products_of_constants_are_not_counted_and_equal_nodes_are_counted_each(tmp_path: Path) -> None:
    node = helper.make_node
    nodes = [
        node("MatMul", ["a", "b"], ["w"]),
        node("MatMul", ["x", "w"], ["y0"]),
        node("MatMul", ["x", "w"], ["y1"]),
        node("Add", ["y0", "y1"], ["y"]),
    ]
    path = save(
        tmp_path / "m.onnx",
        nodes,
        [tensor("x", ["N", 64])],
        ["y"],
        [weight("a", 64, 64), weight("b", 64, 64)],
    )
    assert macs_of(path) == 2 * 64 * 64


def test_a_custom_operator_makes_the_value_null(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Warp", ["h"], ["y"], name="warp", domain="acme"),
    ]
    count = count_operations(
        save(
            tmp_path / "m.onnx",
            nodes,
            [tensor("x", ["N", 16])],
            ["y"],
            [weight("w", 16, 8)],
            domains={"acme": 1},
        )
    )
    assert count.ops_per_inference.value is None
    assert [entry.to_dict() for entry in count.uncounted] == [
        {"node": "warp", "operator": "acme.Warp", "reason": "a custom operator, which may compute anything"}
    ]
    assert count.params == 128


def test_a_custom_operator_that_no_output_needs_does_no_harm(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["y"]),
        helper.make_node("Warp", ["y"], ["unused"], domain="acme"),
    ]
    path = save(
        tmp_path / "m.onnx", nodes, [tensor("x", ["N", 16])], ["y"], [weight("w", 16, 8)], domains={"acme": 1}
    )
    assert macs_of(path) == 128


def test_every_operator_of_onnx_is_known() -> None:
    from hostctl.models.count.onnx_formulas import FORMULAS
    from hostctl.models.count.onnx_kinds import CONTROL_FLOW, KIND_OF, MOVES_DATA, NO_RULE

    known = set(FORMULAS) | set(KIND_OF) | MOVES_DATA | CONTROL_FLOW | set(NO_RULE)
    schemas = {(schema.domain, schema.name) for schema in onnx.defs.get_all_schemas() if schema.domain == ""}
    assert schemas - known == set()
    groups = [set(FORMULAS), set(KIND_OF), set(MOVES_DATA), set(CONTROL_FLOW), set(NO_RULE)]
    assert sum(map(len, groups)) == len(known), "an operator stands in two groups"


def test_importing_the_package_loads_no_runtime() -> None:
    import subprocess
    import sys

    code = (
        "import sys, hostctl.models, hostctl.models.count, hostctl.models.zoo; "
        "print([m for m in ('onnx', 'onnxruntime', 'numpy', 'tflite') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_tied_weights_are_parameters_once(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Transpose", ["w"], ["t"]),
        helper.make_node("MatMul", ["h", "t"], ["y"]),
    ]
    path = save(tmp_path / "m.onnx", nodes, [tensor("x", ["N", 64])], ["y"], [weight("w", 64, 32)])
    count = count_operations(path)
    assert (count.macs, count.params) == (2 * 64 * 32, 64 * 32)


def test_models_newer_than_the_runtime_count_all_the_same(tmp_path: Path) -> None:
    path = mlp(tmp_path / "m.onnx", "N")
    model = onnx.load(path)
    model.ir_version = onnx.IR_VERSION
    model.opset_import[0].version = onnx.defs.onnx_opset_version()
    onnx.save(model, path)
    assert macs_of(path) == 25_408


def test_counting_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The runtime refuses this model; its complaints must not mix with `--json`."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Warp", ["h"], ["y"], domain="acme"),
    ]
    path = save(
        tmp_path / "m.onnx", nodes, [tensor("x", [4, 15])], ["y"], [weight("w", 16, 8)], domains={"acme": 1}
    )
    count_operations(path)
    assert capfd.readouterr() == ("", "")

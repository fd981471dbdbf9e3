"""Operation counts of TFLite files: public models with known counts, and small files of each operator."""

from pathlib import Path

import pytest
import tflite

from hostctl.errors import ModelFileError, UsageError
from hostctl.models.count import ModelCount, count_operations
from tests.hostctl.models.tflite_build import G, Op, T, weights, write

SHARED = Path(__file__).resolve().parents[4] / "shared" / "models"


def dw_separable(side: int, inputs: int, outputs: int, stride: int) -> int:
    """MACs of a 3x3 depthwise and a 1x1 convolution."""
    out = -(-side // stride)
    return out * out * (9 * inputs + inputs * outputs)


def mobilenet_v1(side: int, alpha: float, classes: int) -> int:
    """MACs of MobileNetV1 (Howard et al. 2017, table 1)."""
    widths = [int(width * alpha) for width in (32, 64, 128, 128, 256, 256, *[512] * 6, 1024, 1024)]
    strides = (1, 2, 1, 2, 1, 2, *[1] * 5, 2, 1)
    side //= 2
    macs = side * side * 27 * widths[0]
    for inputs, outputs, stride in zip(widths, widths[1:], strides, strict=False):
        macs += dw_separable(side, inputs, outputs, stride)
        side = -(-side // stride)
    return macs + widths[-1] * classes


def resnet8() -> int:
    """MACs of MLPerf Tiny's ResNet8 for CIFAR-10: 16, 32 and 64 channels at 32, 16 and 8 pixels."""
    stem = 32 * 32 * 27 * 16
    first = 2 * 32 * 32 * 9 * 16 * 16
    second = 16 * 16 * (9 * 16 * 32 + 9 * 32 * 32 + 16 * 32)
    third = 8 * 8 * (9 * 32 * 64 + 9 * 64 * 64 + 32 * 64)
    return stem + first + second + third + 64 * 10


KWS = 25 * 5 * (10 * 4 * 64 + 4 * (9 * 64 + 64 * 64)) + 64 * 12
AUTOENCODER = 640 * 128 + 3 * 128 * 128 + 128 * 8 + 8 * 128 + 3 * 128 * 128 + 128 * 640

PUBLIC = {
    "mlperf_tiny/pretrainedResnet": (resnet8(), 77_706),
    "mlperf_tiny/pretrainedResnet_quant": (resnet8(), 77_706),
    "mlperf_tiny/kws_ref_model": (KWS, 22_604),
    "mlperf_tiny/kws_ref_model_float32": (KWS, 22_604),
    "mlperf_tiny/vww_96_int8": (mobilenet_v1(96, 0.25, 2), 210_850),
    "mlperf_tiny/ad01_int8": (AUTOENCODER, 265_864),
    "coral/mobilenet_v1_0.25_128_quant": (mobilenet_v1(128, 0.25, 1001), 467_593),
    "coral/mobilenet_v2_1.0_224_quant": (300_775_552, 3_489_097),
}


@pytest.mark.parametrize("name", PUBLIC)
def test_public_models_count_as_their_papers_say(name: str) -> None:
    path = SHARED / f"{name}.tflite"
    if not path.is_file():
        pytest.skip(f"{path} is not on this machine")
    macs, params = PUBLIC[name]
    count = count_operations(path)
    assert (count.macs, count.params) == (macs, params)
    assert count.uncounted == ()


def test_a_model_compiled_for_the_edge_tpu_gives_null() -> None:
    path = SHARED / "coral" / "mobilenet_v1_0.25_128_quant_edgetpu.tflite"
    if not path.is_file():
        pytest.skip(f"{path} is not on this machine")
    count = count_operations(path)
    assert count.ops_per_inference.value is None
    assert count.uncounted[0].operator == "edgetpu-custom-op"


def single(
    path: Path, kind: str, tensors: list[T], output: T, options: str = "", **values: int
) -> ModelCount:
    """Count a model of one operator; tensors without data are its inputs."""
    operator = Op(kind, [tensor.name for tensor in tensors], [output.name], options, values)
    inputs = [tensor.name for tensor in tensors if tensor.data is None]
    return count_operations(write(path, G([*tensors, output], [operator], inputs, [output.name])))


def x(*shape: int) -> T:
    return T("x", shape, "INT8")


def y(*shape: int) -> T:
    return T("y", shape, "INT8")


@pytest.mark.parametrize(
    ("kind", "tensors", "output", "expected"),
    [
        ("CONV_2D", [x(1, 8, 8, 6), weights("w", 4, 3, 3, 3)], y(1, 8, 8, 4), 64 * 4 * 27),
        ("DEPTHWISE_CONV_2D", [x(1, 8, 8, 3), weights("w", 1, 3, 3, 6)], y(1, 8, 8, 6), 64 * 6 * 9),
        (
            "TRANSPOSE_CONV",
            [weights("s", 4, type_name="INT32"), weights("w", 5, 3, 3, 6), x(1, 4, 4, 6)],
            y(1, 8, 8, 5),
            16 * 6 * 5 * 9,
        ),
        ("CONV_3D", [x(1, 4, 4, 4, 3), weights("w", 2, 2, 2, 3, 5)], y(1, 3, 3, 3, 5), 27 * 5 * 8 * 3),
        ("FULLY_CONNECTED", [x(1, 7, 12), weights("w", 5, 12)], y(1, 7, 5), 7 * 60),
        ("BATCH_MATMUL", [x(1, 3, 4, 5), weights("w", 1, 3, 5, 6)], y(1, 3, 4, 6), 3 * 4 * 5 * 6),
        ("SVDF", [x(1, 10), weights("w", 4, 10), weights("t", 4, 6)], y(1, 4), 4 * 10 + 4 * 6),
    ],
)
def test_operators_equal_their_closed_forms(
    tmp_path: Path, kind: str, tensors: list[T], output: T, expected: int
) -> None:
    assert single(tmp_path / "m.tflite", kind, tensors, output).macs == expected


def test_batch_matmul_may_transpose_the_left_side(tmp_path: Path) -> None:
    count = single(
        tmp_path / "m.tflite",
        "BATCH_MATMUL",
        [x(1, 5, 4), weights("w", 1, 5, 6)],
        y(1, 4, 6),
        "BatchMatMulOptions",
        AdjX=1,
    )
    assert count.macs == 4 * 5 * 6


@pytest.mark.parametrize("time_major", [0, 1])
def test_a_sequence_lstm_counts_every_step_and_gate(tmp_path: Path, time_major: int) -> None:
    gates = [weights(f"i{gate}", 8, 5) for gate in range(4)] + [
        weights(f"r{gate}", 8, 8) for gate in range(4)
    ]
    shape = (10, 1) if time_major else (1, 10)
    count = single(
        tmp_path / "m.tflite",
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        [x(*shape, 5), *gates],
        y(*shape, 8),
        "UnidirectionalSequenceLSTMOptions",
        TimeMajor=time_major,
    )
    assert count.macs == 10 * 4 * (8 * 5 + 8 * 8)


def test_a_static_batch_is_divided_out_and_biases_are_parameters(tmp_path: Path) -> None:
    tensors = [x(4, 12), weights("w", 5, 12), weights("b", 5, type_name="INT32")]
    count = single(
        tmp_path / "m.tflite",
        "FULLY_CONNECTED",
        tensors,
        y(4, 5),
        "FullyConnectedOptions",
        FusedActivationFunction=1,
    )
    assert (count.macs, count.params) == (60, 65)
    assert count.other_ops == {"activation": 5}


def test_an_open_batch_counts_as_one_and_other_open_sizes_give_null(tmp_path: Path) -> None:
    def count(signature: tuple[int, ...]) -> ModelCount:
        image = T("x", (1, 8, 8, 3), "INT8", signature=signature)
        return single(tmp_path / "m.tflite", "CONV_2D", [image, weights("w", 4, 3, 3, 3)], y(1, 8, 8, 4))

    assert count((-1, 8, 8, 3)).macs == 64 * 4 * 27
    # The output says nothing of its own, so only the formula's own tensors decide: weights and output are known.
    image = T("x", (1, 8, 8, 3), "INT8", signature=(-1, -1, -1, 3))
    output = T("y", (1, 8, 8, 4), "INT8", signature=(-1, -1, -1, 4))
    opened = single(tmp_path / "o.tflite", "CONV_2D", [image, weights("w", 4, 3, 3, 3)], output)
    assert opened.ops_per_inference.value is None
    assert "open" in opened.uncounted[0].reason


def dense(name: str) -> Op:
    return Op("FULLY_CONNECTED", ["x", f"w{name}"], [f"y{name}"])


def body(*sizes: int) -> G:
    """A subgraph of dense layers in a row."""
    tensors, operators, last = [x(1, 8)], [], "x"
    for index, size in enumerate(sizes):
        tensors += [weights(f"w{index}", size, tensors[-1].shape[-1]), T(f"h{index}", (1, size), "INT8")]
        operators.append(Op("FULLY_CONNECTED", [last, f"w{index}"], [f"h{index}"]))
        last = f"h{index}"
    return G(tensors, operators, ["x"], [last])


def branching(path: Path, then: G, other: G) -> ModelCount:
    flag = T("flag", (1,), "BOOL")
    node = Op("IF", ["flag", "x"], ["y"], "IfOptions", {"ThenSubgraphIndex": 1, "ElseSubgraphIndex": 2})
    return count_operations(
        write(path, G([flag, x(1, 8), y(1, 8)], [node], ["flag", "x"], ["y"]), then, other)
    )


def test_branches(tmp_path: Path) -> None:
    equal = branching(tmp_path / "m.tflite", body(8), body(8))
    assert (equal.macs, equal.params) == (64, 128)
    unequal = branching(tmp_path / "m.tflite", body(8), body(8, 8))
    assert unequal.ops_per_inference.value is None
    assert "64 and 128 MACs" in unequal.uncounted[0].reason


def test_a_while_gives_null_if_its_body_computes(tmp_path: Path) -> None:
    condition = G([x(1, 8), T("go", (1,), "BOOL")], [Op("REDUCE_ANY", ["x"], ["go"])], ["x"], ["go"])
    node = Op("WHILE", ["x"], ["y"], "WhileOptions", {"CondSubgraphIndex": 1, "BodySubgraphIndex": 2})
    main = G([x(1, 8), y(1, 8)], [node], ["x"], ["y"])
    count = count_operations(write(tmp_path / "m.tflite", main, condition, body(8)))
    assert count.ops_per_inference.value is None
    idle = G([x(1, 8), y(1, 8)], [Op("ABS", ["x"], ["y"])], ["x"], ["y"])
    assert count_operations(write(tmp_path / "m.tflite", main, condition, idle)).macs == 0


def test_what_is_called_once_is_not_part_of_an_inference(tmp_path: Path) -> None:
    once = Op("CALL_ONCE", [], [], "CallOnceOptions", {"InitSubgraphIndex": 1})
    main = body(8)
    path = write(
        tmp_path / "m.tflite", G(main.tensors, [once, *main.operators], ["x"], ["h0"]), body(8, 8, 8)
    )
    assert count_operations(path).macs == 64


def test_operators_that_no_output_needs_are_not_counted(tmp_path: Path) -> None:
    main = body(8)
    extra = [weights("w9", 99, 8), T("unused", (1, 99), "INT8")]
    operators = [*main.operators, Op("FULLY_CONNECTED", ["x", "w9"], ["unused"])]
    count = count_operations(
        write(tmp_path / "m.tflite", G([*main.tensors, *extra], operators, ["x"], ["h0"]))
    )
    assert (count.macs, count.params) == (64, 64)


def test_a_state_kept_for_the_next_call_is_needed(tmp_path: Path) -> None:
    main = body(8, 8)
    handle = T("state", (), "RESOURCE")
    operators = [Op("VAR_HANDLE", [], ["state"]), *main.operators, Op("ASSIGN_VARIABLE", ["state", "h1"], [])]
    count = count_operations(
        write(tmp_path / "m.tflite", G([*main.tensors, handle], operators, ["x"], ["h0"]))
    )
    assert count.macs == 128


def test_custom_operators_give_null_but_known_post_processing_does_not(tmp_path: Path) -> None:
    unknown = single(tmp_path / "m.tflite", "CUSTOM:Warp", [x(1, 8)], y(1, 8))
    assert unknown.ops_per_inference.value is None
    assert unknown.uncounted[0].to_dict() == {
        "node": "y",
        "operator": "Warp",
        "reason": "a custom operator, which may compute anything",
    }
    assert single(tmp_path / "m.tflite", "CUSTOM:TFLite_Detection_PostProcess", [x(1, 8)], y(1, 8)).macs == 0


def test_shapes_may_only_name_the_batch(tmp_path: Path) -> None:
    image = T("x", (1, 8), "INT8", signature=(-1, 8))
    graph = G([image, weights("w", 4, 8), y(1, 4)], [Op("FULLY_CONNECTED", ["x", "w"], ["y"])], ["x"], ["y"])
    path = write(tmp_path / "m.tflite", graph)
    assert count_operations(path, {"x": [16, 8]}).macs == 32
    with pytest.raises(UsageError, match="does not fit"):
        count_operations(path, {"x": [1, 9]})
    with pytest.raises(UsageError, match="no input 'z'"):
        count_operations(path, {"z": [1, 8]})


def test_every_truncation_is_refused_or_counts_the_same(tmp_path: Path) -> None:
    path = write(tmp_path / "m.tflite", body(64, 64, 64))
    content = path.read_bytes()
    cut = tmp_path / "cut.tflite"
    for part in range(1, 64):
        cut.write_bytes(content[: len(content) * part // 64])
        with pytest.raises(ModelFileError):
            count_operations(cut)


def test_graphs_that_call_one_another_for_ever_are_refused(tmp_path: Path) -> None:
    node = Op("CALL", ["x"], ["y"], "CallOptions", {"Subgraph": 0})
    path = write(tmp_path / "m.tflite", G([x(1, 8), y(1, 8)], [node], ["x"], ["y"]))
    with pytest.raises(ModelFileError, match="without end"):
        count_operations(path)


def test_every_builtin_operator_is_known() -> None:
    from hostctl.models.count.tflite_formulas import FORMULAS
    from hostctl.models.count.tflite_kinds import CONTROL_FLOW, KIND_OF, MOVES_DATA, NO_RULE

    builtin = {name for name, value in vars(tflite.BuiltinOperator).items() if isinstance(value, int)} - {
        "CUSTOM"
    }
    groups = [set(FORMULAS), set(KIND_OF), set(MOVES_DATA), set(CONTROL_FLOW), set(NO_RULE)]
    assert builtin - set().union(*groups) == set()
    assert sum(map(len, groups)) == len(set().union(*groups)), "an operator stands in two groups"

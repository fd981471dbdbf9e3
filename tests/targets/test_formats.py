"""Judging model files before a vendor runtime sees them."""

import contextlib
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from targets.errors import ModelInvalid
from targets.formats import ir_file, onnx_file, tflite_file
from tests.targets.helpers import MODELS, build_onnx, build_quantised_onnx

needs_models = pytest.mark.skipif(not MODELS.is_dir(), reason=f"needs the trained models at {MODELS}")


def test_onnx_facts(tmp_path: Path) -> None:
    facts = onnx_file.read(str(build_onnx(tmp_path / "a.onnx")))
    assert facts.ops == {"MatMul": 1, "Add": 1, "Relu": 1}
    assert facts.precision == "float32"
    assert set(facts.weight_bytes) == {"float32"}
    assert onnx_file.read(str(build_onnx(tmp_path / "b.onnx", dtype="float16"))).precision == "float16"
    assert onnx_file.read(str(build_quantised_onnx(tmp_path / "c.onnx"))).precision == "int8"


def test_onnx_operators_inside_branches_count(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [])
    one = helper.make_node("Constant", [], ["y"], value_float=1.0)
    branch = helper.make_graph([one], "branch", [], [y])
    choose = helper.make_node("If", ["c"], ["z"], then_branch=branch, else_branch=branch)
    graph = helper.make_graph(
        [choose], "g", [helper.make_tensor_value_info("c", TensorProto.BOOL, [])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [])],
    )  # fmt: skip
    path = tmp_path / "if.onnx"
    path.write_bytes(helper.make_model(graph).SerializeToString())
    assert onnx_file.read(str(path)).ops == {"If": 1, "Constant": 2}


@pytest.mark.parametrize("content", [b"\x00", b"hello world " * 50, b"\x08\x08", b"\xff" * 64, b"\x3a\x7f"])
def test_onnx_refuses_what_is_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelInvalid, match=r"m\.onnx"):
        onnx_file.read(str(path))


def test_onnx_refuses_every_cut_inside_the_graph(tmp_path: Path) -> None:
    whole = build_onnx(tmp_path / "a.onnx").read_bytes()
    path = tmp_path / "cut.onnx"
    for size in range(1, len(whole) - 8, 7):
        path.write_bytes(whole[:size])
        with pytest.raises(ModelInvalid, match="cut or damaged"):
            onnx_file.read(str(path))


def test_onnx_refuses_more_than_two_gigabytes(tmp_path: Path) -> None:
    path = tmp_path / "huge.onnx"
    with path.open("wb") as file:
        file.truncate(2**31 + 10)  # a sparse file: takes no space
    with pytest.raises(ModelInvalid, match="at most 2 GiB"):
        onnx_file.read(str(path))


@settings(max_examples=200)
@given(st.binary(min_size=1, max_size=300))
def test_scanners_end_on_any_bytes(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    """Whatever the bytes are: facts or ModelInvalid, nothing else and no endless loop."""
    path = tmp_path_factory.getbasetemp() / "any"
    for content in (data, b"\x1c\x00\x00\x00TFL3" + data):
        path.write_bytes(content)
        for read in (onnx_file.read, tflite_file.read):
            with contextlib.suppress(ModelInvalid):
                read(str(path))


@needs_models
@pytest.mark.parametrize(
    ("name", "precision", "operators", "compiled"),
    [
        ("mlperf_tiny/pretrainedResnet.tflite", "float32", 16, None),
        ("mlperf_tiny/pretrainedResnet_quant.tflite", "int8", 16, None),
        ("mlperf_tiny/vww_96_int8.tflite", "int8", 31, None),
        ("coral/mobilenet_v2_1.0_224_quant.tflite", "int8", 66, None),
        ("coral/mobilenet_v1_0.25_128_quant_edgetpu.tflite", "int8", 1, "edgetpu-custom-op"),
    ],
)
def test_tflite_facts(name: str, precision: str, operators: int, compiled: str | None) -> None:
    facts = tflite_file.read(str(MODELS / name))
    assert facts.precision == precision
    assert facts.operators == operators
    assert facts.custom_ops == ({compiled: 1} if compiled else {})
    assert facts.compiled_op == compiled


@needs_models
def test_tflite_wrong_format_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelInvalid, match="format 'tflite'"):
        onnx_file.read(str(MODELS / "mlperf_tiny/vww_96_int8.tflite"))
    with pytest.raises(ModelInvalid, match="TFL3"):
        tflite_file.read(str(build_onnx(tmp_path / "a.onnx")))


def test_deep_nesting_ends(tmp_path: Path) -> None:
    """A graph in a node in a graph, 3000 times: refused, not a crash of the worker."""
    inner = b""
    for _ in range(3000):
        attribute = b"\x32" + _size(inner) + inner
        node = b"\x2a" + _size(attribute) + attribute
        inner = b"\x0a" + _size(node) + node
    path = tmp_path / "deep.onnx"
    path.write_bytes(b"\x3a" + _size(inner) + inner)
    with pytest.raises(ModelInvalid):
        onnx_file.read(str(path))


def _size(body: bytes) -> bytes:
    """Length of a protobuf part as a varint."""
    number, out = len(body), bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def test_ir_archive(tmp_path: Path) -> None:
    xml, weights = tmp_path / "n.xml", tmp_path / "n.bin"
    xml.write_bytes(b"<?xml version='1.0'?><net/>")
    weights.write_bytes(np.arange(4, dtype=np.float32).tobytes())
    ir_file.pack(str(xml), str(weights), str(tmp_path / "n.zip"))
    expected = (xml.read_bytes(), weights.read_bytes())
    assert ir_file.read(str(tmp_path / "n.zip")) == expected
    assert ir_file.read(str(xml)) == expected
    weights.unlink()
    assert ir_file.read(str(xml)) == (expected[0], b"")


def test_ir_refuses_other_archives(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    for names in (["a.bin"], ["a.xml", "b.xml"], ["a.xml", "a.bin", "b.bin"]):
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, "<net/>")
        with pytest.raises(ModelInvalid, match="an OpenVINO model has one"):
            ir_file.read(str(path))
    path.write_bytes(b"neither")
    with pytest.raises(ModelInvalid, match="no OpenVINO IR"):
        ir_file.read(str(path))


def test_ir_refuses_a_damaged_archive(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.xml", "<net>" + "x" * 1000 + "</net>")
    data = bytearray(path.read_bytes())
    data[100:200] = bytes(100)
    path.write_bytes(data)
    with pytest.raises(ModelInvalid, match="damaged archive"):
        ir_file.read(str(path))

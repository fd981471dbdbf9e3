"""Which file, which format, which runtime."""

from __future__ import annotations

from pathlib import Path

import pytest
from farm.v1.board_pb2 import RuntimeInfo

from hostctl.errors import DeviceError, HostctlError, ModelFileError, UsageError
from hostctl.session.modelchoice import ModelChoice, default_runtime, model_choice, named_runtime

ONNX = ModelChoice(Path("net.onnx"), "onnx")
TFLITE = ModelChoice(Path("net.tflite"), "tflite")
RUNTIMES = (
    RuntimeInfo(
        name="litert",
        available=False,
        reason="Install it with 'pip install ai-edge-litert'.",
        formats=["tflite"],
    ),
    RuntimeInfo(name="onnxruntime", available=True, formats=["onnx"]),
    RuntimeInfo(name="openvino", available=True, formats=["onnx", "tflite", "openvino"]),
)


def test_a_device_without_a_runtime_for_the_file_says_how_to_get_one() -> None:
    with pytest.raises(DeviceError, match="pip install ai-edge-litert"):
        default_runtime(TFLITE, RUNTIMES[:1])
    with pytest.raises(DeviceError, match="None of its runtimes takes it"):
        default_runtime(TFLITE, RUNTIMES[1:2])


@pytest.mark.parametrize(
    ("name", "model", "error", "words"),
    [
        ("openvno", ONNX, UsageError, "did you mean 'openvino'"),
        ("tensorrt", ONNX, UsageError, "has litert, onnxruntime, openvino"),
        ("litert", TFLITE, DeviceError, "pip install ai-edge-litert"),
        ("onnxruntime", TFLITE, UsageError, "it takes onnx"),
    ],
)
def test_a_runtime_that_cannot_do_it(
    name: str, model: ModelChoice, error: type[HostctlError], words: str
) -> None:
    with pytest.raises(error, match=words):
        named_runtime(name, model, RUNTIMES)


def test_formats_by_name_and_content(tmp_path: Path, model: Path) -> None:
    assert model_choice(model).format == "onnx"
    xml = tmp_path / "net.xml"
    xml.write_text("<net/>")
    assert model_choice(xml).format == "openvino"
    other = tmp_path / "net.bin"
    other.write_bytes(b"\x7fELF" * 10)
    with pytest.raises(UsageError, match="not known"):
        model_choice(other)
    with pytest.raises(ModelFileError, match="no model file"):
        model_choice(tmp_path / "missing.onnx")


def test_a_compiled_file_goes_to_the_runtime_it_was_made_for(tmp_path: Path) -> None:
    for name, found in (
        ("a.plan", "tensorrt"),
        ("a.HEF", "hef"),
        ("a.xmodel", "xmodel"),
        ("a.fbz", "akida"),
        ("a.so", "tvm"),
    ):
        (tmp_path / name).write_bytes(b"compiled")
        assert model_choice(tmp_path / name).format == found
    coral = tmp_path / "coral.tflite"
    coral.write_bytes(b"\x1c\x00\x00\x00TFL3" + bytes(300) + b"edgetpu-custom-op" + bytes(9))
    chosen = model_choice(coral)
    assert (chosen.format, chosen.made_for) == ("tflite", "edgetpu")
    litert = RuntimeInfo(name="litert", available=True, formats=["tflite"])
    tpu = RuntimeInfo(name="edgetpu", available=True, formats=["tflite"])
    assert default_runtime(chosen, [litert, tpu]) == "edgetpu"
    with pytest.raises(DeviceError, match="None of its runtimes takes it"):
        default_runtime(chosen, [litert])


def test_a_wrong_format_is_told_with_the_vendors_command() -> None:
    hailo = RuntimeInfo(name="hailort", available=True, formats=["hef"], conversion="use 'hailo compiler'")
    with pytest.raises(UsageError, match=r"does not take onnx .*; it takes hef; use 'hailo compiler'"):
        named_runtime("hailort", ONNX, [hailo])


def test_a_format_of_the_farms_own_is_named(tmp_path: Path) -> None:
    own = tmp_path / "net.mine"
    own.write_bytes(b"x")
    with pytest.raises(UsageError, match="--format"):
        model_choice(own)
    assert model_choice(own, form="mine").format == "mine"
    with pytest.raises(ModelFileError, match="no model file"):
        model_choice(tmp_path / "missing", form="mine")


def test_the_source_of_a_compiled_file(tmp_path: Path, model: Path) -> None:
    plan = tmp_path / "net.plan"
    plan.write_bytes(b"compiled")
    chosen = model_choice(plan, model)
    assert (chosen.format, chosen.readable.path, chosen.readable.format) == ("tensorrt", model, "onnx")
    with pytest.raises(UsageError, match="leave it out"):
        model_choice(model, model)
    with pytest.raises(UsageError, match="ONNX or a TFLite"):
        model_choice(plan, plan)
    with pytest.raises(ModelFileError, match="no model file"):
        model_choice(plan, tmp_path / "missing.onnx")

"""The build half against a real builder and ONNX parser: TensorRT-RTX, whose Python API is shaped like TensorRT 11's and which
builds without a GPU. It runs where tensorrt-rtx-cu12-libs and tensorrt-rtx-cu12-bindings are installed.
"""

from pathlib import Path
from typing import Any

import pytest

from targets.errors import ModelInvalid, PrecisionUnsupported
from targets.options import LoadOptions
from targets.runners.parts.cuda import Device
from targets.runners.parts.tensorrt.build import Builder
from targets.runners.parts.tensorrt.cache import NoCache
from tests.targets.helpers import build_onnx, build_quantised_onnx
from tests.targets.runners.tensorrt_workers import reshape_onnx, symmetric_onnx

trt = pytest.importorskip("tensorrt_rtx_bindings", reason="needs TensorRT-RTX's wheels")
# It has deprecated what TensorRT 11 has not, such as the timing cache.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
AMPERE = Device("RTX", (8, 6), 8 << 30)


def build(
    path: Path, precision: str | None = None, batch: int | None = None, **options: Any
) -> tuple[bytes, Any]:
    builder = Builder(trt, None, AMPERE, LoadOptions("onnx", precision, batch, options), NoCache())  # type: ignore[arg-type]
    builder.facts["model"] = "0" * 64
    return builder.build(str(path), None), builder.facts


def test_models_are_built(tmp_path: Path) -> None:
    model = build_onnx(tmp_path / "m")
    fixed, facts = build(model, batch=2)
    assert facts["is_strong"]
    options: dict[str, Any] = {
        "shape_min.x": "1,8",
        "shape_max.x": "64,8",
        "workspace_mib": "64",
        "tf32": "1",
    }
    ranged, _ = build(model, **options)
    assert len(fixed) > 1000
    assert fixed != ranged
    for path, precision in (
        (build_onnx(tmp_path / "h", dtype="float16"), "float16"),
        (symmetric_onnx(tmp_path / "q"), "int8"),
    ):
        assert len(build(path, precision)[0]) > 1000


def test_refusals_carry_what_the_parser_says(tmp_path: Path) -> None:
    model = build_onnx(tmp_path / "m")
    with pytest.raises(PrecisionUnsupported, match="takes the precision from the graph"):
        build(model, "float16")
    with pytest.raises(ModelInvalid, match="Non-zero zero point is not supported"):
        build(build_quantised_onnx(tmp_path / "a"))
    with pytest.raises(ModelInvalid, match="decide about shapes"):
        build(reshape_onnx(tmp_path / "r"))
    model.write_bytes(model.read_bytes().replace(b"Relu", b"Rely"))
    with pytest.raises(ModelInvalid, match=r"Plugin not found.*of type Rely"):
        build(model)

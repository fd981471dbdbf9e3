"""In which precision OpenVINO executes: from the executed graph where the plugin gives one, else from hints and capabilities."""

from typing import Any, Dict, Optional, Sequence, Tuple

from targets.runners.parts.openvino.api import DTYPES, info
from targets.runners.parts.openvino.config import HINTS

_ITEM_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
_CAPABILITIES = {"float32": "FP32", "float16": "FP16", "bfloat16": "BF16", "int8": "INT8"}
# Layers whose arithmetic is what "the precision of the inference" means; names as the plugins' graphs have them.
_COMPUTE = (
    "convolution", "deconvolution", "fullyconnected", "fully_connected", "matmul", "gemm", "rnn", "lstm", "gru",
)  # fmt: skip


def of_model(model: Any) -> str:
    """Return int8 if the model quantises, else the floating type of most of its weights."""
    counts: Dict[str, int] = {}
    for op in model.get_ops():
        kind = op.get_type_name()
        if kind == "FakeQuantize":
            return "int8"
        if kind == "Constant":
            name = DTYPES.get(str(op.get_element_type().get_type_name()), "")
            if name in HINTS:
                counts[name] = counts.get(name, 0) + _elements(op.get_output_shape(0)) * _ITEM_BYTES[name]
    return max(counts, key=lambda name: counts[name]) if counts else "float32"


def _elements(shape: Sequence[int]) -> int:
    count = 1
    for size in shape:
        count *= int(size)
    return count


def of_layers(compiled: Any) -> Dict[str, int]:
    """Return how many layers that compute run in which precision; empty where the plugin (NPU, Myriad) does not tell."""
    try:
        layers = compiled.get_runtime_model().get_ordered_ops()
    except RuntimeError:
        return {}
    counts: Dict[str, int] = {}
    for op in layers:
        notes = op.get_rt_info()
        layer, kind = info(notes, "layerType"), info(notes, "runtimePrecision")
        if kind and any(word in layer for word in _COMPUTE):
            name = "int8" if kind in ("i8", "u8") else DTYPES.get(kind, kind)
            counts[name] = counts.get(name, 0) + 1
    return counts


def executed(counts: Dict[str, int], hinted: Optional[str], can: Sequence[str], of_file: str) -> str:
    """Return the precision of the inference: of most layers, else the hint in effect, else what the device can do at all.

    ``hinted`` is the property INFERENCE_PRECISION_HINT as it was read back, ``can`` OPTIMIZATION_CAPABILITIES.
    """
    if counts:
        return max(counts, key=lambda name: counts[name])
    if of_file == "int8" and "INT8" in can:
        return "int8"  # the hint is for the floating-point layers
    for name in (hinted, of_file):
        if name in HINTS and (not can or _CAPABILITIES[str(name)] in can):
            return str(name)
    return "float16" if "FP16" in can else of_file  # NPU and Myriad compute in nothing wider


def verdict(of_file: str, asked: Optional[str], got: str) -> Tuple[Optional[str], Optional[str]]:
    """Return a refusal, or a fallback, as a sentence; None where there is none."""
    if asked is not None and asked != got:
        if asked == "int8" and of_file == "int8":
            return "int8 was asked for, but OpenVINO executes {} on this device.".format(got), None
        if "int8" in (asked, of_file):
            state = "this file is quantised" if of_file == "int8" else "this file is not quantised"
            return "{} was asked for, but {}; OpenVINO executes in 8 bits what is quantised.".format(
                asked, state
            ), None
        return None, "{} requested, but OpenVINO executes {} on this device.".format(asked, got)
    if asked is None and of_file != got:
        return None, "The file is {}, but OpenVINO executes {}.".format(of_file, got)
    return None, None

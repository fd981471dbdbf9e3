"""What precision an engine is to have, and which it got.

Before TensorRT 11 a builder flag allows a precision, and the builder takes it where it is faster: so what was built is read back
from the engine inspector. In 11 the flags are gone and the types of the ONNX graph decide (strong typing).
Sources: TensorRT documentation, "Reduced Precision", "Strong Typing vs Weak Typing", "Engine Inspector".
"""

import json
import re
from typing import Any, Dict, List, Optional

from targets.errors import OptionInvalid, PrecisionUnsupported
from targets.options import LoadOptions

_FLAGS = {"float16": "FP16", "bfloat16": "BF16", "int8": "INT8"}
# A builder of a GPU (or of 11) may lack the property; then there is nothing to ask.
_FAST = {"float16": "platform_has_fast_fp16", "int8": "platform_has_fast_int8"}
# How the inspector writes types: "Row major linear FP16 format", "Half", "Thirty-two wide channel vectorized row major Int8".
_TYPES = (
    ("bfloat16", re.compile(r"bf16|bfloat16", re.IGNORECASE)),
    ("float8", re.compile(r"fp8", re.IGNORECASE)),
    ("int8", re.compile(r"\bint8\b|\bi8\b", re.IGNORECASE)),
    ("float16", re.compile(r"\bfp16\b|\bhalf\b|\bfloat16\b", re.IGNORECASE)),
    ("float32", re.compile(r"\bfp32\b|\bfloat\b|\bfloat32\b|\btf32\b", re.IGNORECASE)),
)
# Layers whose arithmetic is what "the precision of the inference" means.
_COMPUTE = re.compile(
    r"conv|gemm|matmul|matrixmultiply|matrix_multiply|fullyconnected|rnn|einsum|dla", re.IGNORECASE
)
_NO_COMPUTE = ("Reformat", "NoOp", "Shuffle", "Constant", "Identity", "Cast")


class Choice:
    """What the builder is told: the flags by their names, whether the graph's own types decide, and what should come out."""

    def __init__(self, precision: str, flags: List[str], is_strong: bool) -> None:
        self.precision = precision
        self.flags = flags
        self.is_strong = is_strong


def choose(trt: Any, builder: Any, of_file: str, options: LoadOptions) -> Choice:
    """Decide how to give the requested precision (None: the file's). PrecisionUnsupported, OptionInvalid where it cannot be."""
    asked = options.precision or of_file
    _check_side_options(asked, options)
    is_by_graph = not hasattr(trt.BuilderFlag, "FP16")
    if options.flag("strongly_typed") and not hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
        raise OptionInvalid(
            "TensorRT {} has no strongly typed networks; leave strongly_typed out.".format(trt.__version__),
            option="strongly_typed",
        )
    if is_by_graph or options.flag("strongly_typed"):
        return _by_graph(trt, asked, of_file)
    _check_file(trt, asked, of_file, options)
    flags = [asked] if asked != "float32" else []
    if options.flag("float16_beside_int8"):
        flags.append("float16")
    for precision in flags:
        _check_flag(trt, builder, precision)
    return Choice(asked, [_FLAGS[precision] for precision in flags], False)


def _check_side_options(asked: str, options: LoadOptions) -> None:
    for key in ("calibration", "float16_beside_int8"):
        if options.text(key) is not None and asked != "int8":
            raise OptionInvalid(
                "The option {} is for the precision int8, not {}.".format(key, asked), option=key
            )


def _by_graph(trt: Any, asked: str, of_file: str) -> Choice:
    if asked == of_file:
        return Choice(asked, [], True)
    raise PrecisionUnsupported(
        "TensorRT {} takes the precision from the graph, and this file is {}, not {}: convert or quantise the model "
        "first, for example with NVIDIA's modelopt.onnx.".format(trt.__version__, of_file, asked),
        precision=asked,
        supported=[of_file],
    )


def _check_file(trt: Any, asked: str, of_file: str, options: LoadOptions) -> None:
    is_calibrated = options.text("calibration") is not None
    if asked == of_file:
        if is_calibrated:
            raise OptionInvalid(
                "This file is quantised already; leave calibration out.", option="calibration"
            )
        return
    if of_file != "float32":
        raise PrecisionUnsupported(
            "This file is {}, not {}; TensorRT can lower the precision of a float32 file only.".format(
                of_file, asked
            ),
            precision=asked,
            supported=[of_file],
        )
    if asked != "int8":
        return
    if not is_calibrated:
        raise PrecisionUnsupported(
            "This file is float32, and int8 needs scales: quantise the model (QuantizeLinear and DequantizeLinear), or "
            "give calibration=<file of samples on the board>.",
            precision=asked,
            supported=["float32", "float16"],
        )
    if not hasattr(trt, "IInt8EntropyCalibrator2"):
        raise PrecisionUnsupported(
            "TensorRT {} cannot calibrate; quantise the model first.".format(trt.__version__),
            precision=asked,
            supported=["float32", "float16"],
        )


def _check_flag(trt: Any, builder: Any, precision: str) -> None:
    if not hasattr(trt.BuilderFlag, _FLAGS[precision]):
        raise PrecisionUnsupported(
            "TensorRT {} does not build {}.".format(trt.__version__, precision),
            precision=precision,
            supported=[name for name, flag in _FLAGS.items() if hasattr(trt.BuilderFlag, flag)] + ["float32"],
        )
    if precision in _FAST and not getattr(builder, _FAST[precision], True):
        raise PrecisionUnsupported(
            "This GPU has no fast {}: TensorRT would compute in float32 instead.".format(precision),
            precision=precision,
            supported=["float32"],
        )


def layer_precisions(trt: Any, engine: Any, context: Any) -> Optional[Dict[str, int]]:
    """Return how many layers that compute run in which precision; None where the engine does not tell.

    The shapes of the context should be set: without them the inspector says "N/A due to dynamic shapes".
    """
    if not hasattr(engine, "create_engine_inspector"):  # since 8.2
        return None
    inspector = engine.create_engine_inspector()
    if hasattr(inspector, "execution_context"):
        inspector.execution_context = context
    text = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
    try:
        layers = json.loads(text).get("Layers", [])
    except (ValueError, AttributeError):
        return None
    counts: Dict[str, int] = {}
    for layer in layers:
        name = (
            _precision_of(layer) if isinstance(layer, dict) else None
        )  # only a name: built without the details
        if name is not None:
            counts[name] = counts.get(name, 0) + 1
    return counts or None


def _precision_of(layer: Dict[str, Any]) -> Optional[str]:
    kind = str(layer.get("LayerType", ""))
    words = " ".join(str(layer.get(key, "")) for key in ("LayerType", "ParameterType", "TacticName"))
    if kind in _NO_COMPUTE or not _COMPUTE.search(words):
        return None
    weights = layer.get("Weights")
    tensors = layer.get("Inputs") or []
    first = tensors[0] if tensors and isinstance(tensors[0], dict) else {}
    # Weights first: a convolution in 8 bits may take its input from a layer in float.
    for text in (
        str(weights.get("Type", "")) if isinstance(weights, dict) else "",
        " ".join(str(first.get(key, "")) for key in ("Format/Datatype", "Datatype", "Format")),
    ):
        for name, pattern in _TYPES:
            if pattern.search(text):
                return name
    return None


def majority(counts: Dict[str, int]) -> str:
    """Return the precision of most layers that compute; of two alike the one that sorts first."""
    return min(counts, key=lambda name: (-counts[name], name))


def counts_text(counts: Dict[str, int]) -> str:
    """Return the counts as the effective settings show them."""
    return ",".join("{}:{}".format(name, count) for name, count in sorted(counts.items()))

"""In which precision an execution provider computes: what it has to be told, and what comes of it.

A provider computes in the precision of the file, but for these: TensorRT, MIGraphX and ACL have flags that allow less; the HTP
of QNN runs float32 in float16 unless that is switched off; OpenVINO's GPU and NPU take float16 unless told otherwise, and the NPU
has nothing wider; VitisAI turns float32 into bfloat16. Sources: the pages of https://onnxruntime.ai/docs/execution-providers/
(TensorRT "trt_fp16_enable", QNN "enable_htp_fp16_precision", OpenVINO "precision"); Ryzen AI Software, "Overview".
"""

import json
from typing import Any, Dict, List, NamedTuple, Optional

from targets.errors import OptionInvalid, PrecisionUnsupported
from targets.runners.parts.onnxruntime.providers import PREFIX
from targets.runners.parts.vendor import keep_precision

# provider -> precision -> the flag that allows it
_FLAGS: Dict[str, Dict[str, str]] = {
    "TensorrtExecutionProvider": {
        "int8": "trt_int8_enable", "float16": "trt_fp16_enable", "bfloat16": "trt_bf16_enable",
    },
    "MIGraphXExecutionProvider": {
        "int8": "migraphx_int8_enable", "float16": "migraphx_fp16_enable", "bfloat16": "migraphx_bf16_enable",
    },
    "ACLExecutionProvider": {"bfloat16": "enable_fast_math"},
    "QNNExecutionProvider": {"float16": "enable_htp_fp16_precision", "bfloat16": "htp_bf16_enable"},
}  # fmt: skip
_CALIBRATION = {
    "TensorrtExecutionProvider": "trt_int8_calibration_table_name",
    "MIGraphXExecutionProvider": "migraphx_int8_calibration_table_name",
}
_OPENVINO = "OpenVINOExecutionProvider"
_OPENVINO_NAMES = {"FP32": "float32", "FP16": "float16"}
_OPENVINO_HINTS = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}
_OPENVINO_DEVICES = ("CPU", "GPU", "NPU")


class Plan(NamedTuple):
    """What a provider is told, the precision in which it then computes, and a sentence if nobody asked for that one."""

    options: Dict[str, str]
    precision: str
    fallback: Optional[str]


def plan(provider: str, of_file: str, asked: Optional[str], given: Dict[str, str]) -> Plan:
    """Return what to tell a provider so that it computes as asked (None: as the file is).

    PrecisionUnsupported if it cannot; OptionInvalid if its given options say something else.
    """
    if of_file == "int8" or asked == "int8":
        _check_int8(provider, of_file, asked, given)
    if provider == _OPENVINO:
        return _openvino(of_file, asked, given)
    if provider == "VitisAIExecutionProvider" and of_file == "float32":
        return _vitisai(asked, given)
    if provider in _FLAGS:
        return _by_flags(provider, of_file, asked, given)
    keep_precision(provider, of_file, asked)
    return Plan(given, of_file, None)


def _check_int8(provider: str, of_file: str, asked: Optional[str], given: Dict[str, str]) -> None:
    if of_file == "int8":
        keep_precision(provider, of_file, asked)
    elif _CALIBRATION.get(provider, "") not in given:
        table = _CALIBRATION.get(provider)
        raise PrecisionUnsupported(
            "{} runs in int8 what is quantised, and this file is {}: quantise the model first{}.".format(
                provider, of_file, ", or give {}{}".format(PREFIX, table) if table else ""
            ),
            precision=asked,
            supported=[of_file],
        )


def _by_flags(provider: str, of_file: str, asked: Optional[str], given: Dict[str, str]) -> Plan:
    flags = _FLAGS[provider]
    told = dict(given)
    allowed = [precision for precision, flag in flags.items() if _is_on(told.get(flag, "0"))]
    wanted = asked or (allowed[0] if allowed and of_file == "float32" else of_file)
    if wanted != of_file and (wanted not in flags or of_file != "float32"):
        raise PrecisionUnsupported(
            "{} cannot give {} for this file, which is {}.".format(provider, wanted, of_file),
            precision=wanted,
            supported=[of_file] + (sorted(set(flags) - {"int8"}) if of_file == "float32" else []),
        )
    for precision, flag in flags.items():
        if precision == wanted:
            _tell(told, flag, _on(flag), "precision={}".format(wanted))
        elif precision in allowed and asked not in (None, "int8"):  # beside int8 it is what else is allowed
            raise _contradiction(flag, given[flag], "precision={}".format(asked))
        elif flag == "enable_htp_fp16_precision" and of_file == "float32":
            told.setdefault(flag, "0")  # on by default: it would run float32 in float16 without a word
    return Plan(told, wanted, None)


def _on(flag: str) -> str:
    return "true" if flag == "enable_fast_math" else "1"


def _is_on(value: str) -> bool:
    return value.strip().lower() in ("1", "true")


def _tell(told: Dict[str, str], key: str, value: str, because: str) -> None:
    if key in told and _is_on(told[key]) != _is_on(value):
        raise _contradiction(key, told[key], because)
    told.setdefault(key, value)


def _contradiction(key: str, value: str, because: str) -> OptionInvalid:
    return OptionInvalid(
        "{}{}={} contradicts {}; leave one out.".format(PREFIX, key, value, because),
        option=PREFIX + key,
        value=value,
    )


def _vitisai(asked: Optional[str], given: Dict[str, str]) -> Plan:
    if asked not in (None, "float32", "bfloat16"):
        keep_precision("VitisAIExecutionProvider", "float32", asked)
    said = None
    if asked != "bfloat16":
        said = "{}, but VitisAIExecutionProvider converts it to bfloat16.".format(
            "float32 requested" if asked else "The file is float32"
        )
    return Plan(given, "bfloat16", said)


def _openvino(of_file: str, asked: Optional[str], given: Dict[str, str]) -> Plan:
    device = given.get("device_type", "CPU")
    base = device.split(".")[0]
    if base not in _OPENVINO_DEVICES:
        raise OptionInvalid(
            "{}device_type={} lets OpenVINO choose what executes; name one of {}.".format(
                PREFIX, device, ", ".join(_OPENVINO_DEVICES)
            ),
            option=PREFIX + "device_type",
            value=device,
        )
    told = dict(given)
    stated = _stated(given, base)
    if of_file == "int8":
        return Plan(told, "int8", None)
    wanted = asked or stated or of_file
    if stated is not None and stated != wanted:
        raise _contradiction("precision", stated, "precision={}".format(asked))
    can = _openvino_precisions(base)
    if wanted not in can and asked is not None:
        raise PrecisionUnsupported(
            "OpenVINOExecutionProvider has no {} on {}.".format(asked, device), precision=asked, supported=can
        )
    got = wanted if wanted in can else can[0]
    if stated is None and base != "CPU":  # the CPU has only one; saying so is refused by some versions
        told["precision"] = {"float32": "FP32", "float16": "FP16"}[got]
    said = None
    if got != wanted:
        said = "The file is {}, but OpenVINOExecutionProvider executes {} on {}.".format(wanted, got, device)
    return Plan(told, got, said)


def _openvino_precisions(base: str) -> List[str]:
    return {"CPU": ["float32"], "GPU": ["float32", "float16"], "NPU": ["float16"]}[base]


def _stated(given: Dict[str, str], base: str) -> Optional[str]:
    """Return the precision that the options name: ``precision``, or the hint in ``load_config``; None if neither does."""
    text = given.get("precision")
    if text is not None:
        return _OPENVINO_NAMES.get(text.upper())  # ACCURACY: as the file is
    if "load_config" not in given:
        return None
    try:
        config: Any = json.loads(given["load_config"])
        hint = config.get(base, {}).get("INFERENCE_PRECISION_HINT")
    except (ValueError, AttributeError):
        raise OptionInvalid(
            '{}load_config must be JSON such as {{"{}": {{"PERFORMANCE_HINT": "LATENCY"}}}}.'.format(
                PREFIX, base
            ),
            option=PREFIX + "load_config",
        )
    return _OPENVINO_HINTS.get(str(hint))

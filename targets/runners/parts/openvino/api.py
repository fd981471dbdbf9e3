"""OpenVINO's Python API across versions, by what is there: 2022.1 to 2023 keep it in openvino.runtime, later ones in openvino.

Sources: https://docs.openvino.ai (2022.3 and 2026), the packages openvino 2022.3.2 and 2026.4.1.
"""

import importlib
import inspect
from functools import partial
from typing import Any, Callable, Dict, Optional

from targets.errors import FormatUnsupported
from targets.runner import one_line
from targets.runners.parts.vendor import import_vendor

DTYPES = {
    "f64": "float64", "f32": "float32", "f16": "float16", "bf16": "bfloat16", "boolean": "bool",
    "i8": "int8", "u8": "uint8", "i16": "int16", "u16": "uint16", "i32": "int32", "u32": "uint32",
    "i64": "int64", "u64": "uint64",
    "fp32": "float32", "fp16": "float16",  # as executed graphs of 2022 and of the GPU name them
}  # fmt: skip
_FRONTENDS = {"openvino": "ir"}


def vendor() -> Any:
    """Return the module with Core and Tensor. RuntimeUnavailable if there is none."""
    found = import_vendor(
        "openvino",
        "OpenVINO",
        "openvino",
        ["openvino"],
        "; a Myriad X stick needs the archive of OpenVINO 2022.3 in its place",
    )
    if hasattr(found, "Core"):
        return found
    return import_vendor("openvino", "OpenVINO", "openvino", ["openvino.runtime"])


def version() -> str:
    """Return the version of the package, with the vendor's build number."""
    return str(vendor().get_version())


def release() -> str:
    """Return the version as a person calls it: 2022.3.2."""
    return version().split("-")[0]


def reason(error: BaseException) -> str:
    """Return the sentence of an OpenVINO message without its trail of source files."""
    lines = [line.strip() for line in str(error).splitlines()]
    kept = [line for line in lines if line and not line.startswith("Exception from ")]
    return one_line(RuntimeError(" ".join(kept) or str(error)))


def read_property(source: Any, *key: str) -> Optional[Any]:
    """Return a property of a core (device and name) or a compiled model (name); None where there is no such property."""
    try:
        return source.get_property(*key)
    except RuntimeError:
        return None


def access_of(core: Any, device: str) -> Dict[str, str]:
    """Return the properties of a device with their access (RO, RW, WO); none for a device that is not there."""
    found: Dict[str, str] = read_property(core, device.split(":")[0], "SUPPORTED_PROPERTIES") or {}
    return found


def words(value: Any) -> str:
    """Return a property in our words: types by numpy's names, enumerations and lists as plain text."""
    if hasattr(value, "get_type_name"):
        kind = str(value.get_type_name())
        return DTYPES.get(kind, kind)
    if isinstance(value, (list, tuple, set)):
        return ",".join(words(item) for item in value)
    if isinstance(value, bool):
        return "1" if value else "0"
    return str(getattr(value, "name", value)).lower() if not isinstance(value, str) else value.strip()


def info(notes: Any, key: str) -> str:
    """Return a note of an executed layer in lower case, "" if it has none: text in 2022, an OVAny later."""
    if key not in notes:
        return ""
    value = notes[key]
    return str(value.astype(str) if hasattr(value, "astype") else value).lower()


def call_of(request: Any) -> Callable[[], Any]:
    """Return the call that runs a request synchronously, without a copy of its outputs where the version can do without."""
    if "share_outputs" in inspect.signature(request.infer).parameters:  # since 2023.2
        return partial(request.infer, share_outputs=True)
    call: Callable[[], Any] = request.infer
    return call


def check_frontend(format: str) -> None:  # noqa: A002 - the word of the protocol
    """FormatUnsupported if this build of OpenVINO has no reader for the format."""
    name = _FRONTENDS.get(format, format)
    known = list(importlib.import_module("openvino.frontend").FrontEndManager().get_available_front_ends())
    if name not in known:
        raise FormatUnsupported(
            "OpenVINO {} cannot read the format '{}'; convert the model to IR with 'ovc' of a newer version.".format(
                release(), format
            ),
            format=format,
            supported=[key for key in ("onnx", "tflite", "openvino") if _FRONTENDS.get(key, key) in known],
        )

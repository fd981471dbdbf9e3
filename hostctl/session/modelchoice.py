"""Which file is measured, in which format, and on which of a board's runtimes."""

from __future__ import annotations

import difflib
import mmap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from farm.v1 import board_pb2

from hostctl.errors import DeviceError, UsageError
from hostctl.models.count import detect_format
from hostctl.models.count.files import require_file

COMPILED: Mapping[str, str] = {
    ".xml": "openvino",
    ".zip": "openvino",
    ".plan": "tensorrt",
    ".engine": "tensorrt",
    ".trt": "tensorrt",
    ".hef": "hef",
    ".xmodel": "xmodel",
    ".so": "tvm",
    ".fbz": "akida",
    ".param": "ncnn",
}
"""Suffixes of files that a vendor's compiler made, and their formats in the protocol's words."""
RUNTIME_ORDER: Mapping[str, tuple[str, ...]] = {
    "onnx": ("tensorrt", "onnxruntime", "openvino"),
    "tflite": ("litert", "openvino"),
    "openvino": ("openvino",),
}
"""Which runtime a format is run with where the user names none: the first of these that the board has."""
_READABLE = ("onnx", "tflite")
_EDGE_TPU_OPERATOR = b"edgetpu-custom-op"


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model file on this machine and its format in the protocol's words.

    made_for  the only runtime that can run it, where its content tells; None: whichever takes its format
    source    the ONNX or TFLite file it was compiled from: operations are counted in it and its outputs are the reference;
              None: the file itself, where it is one of these
    """

    path: Path
    format: str
    made_for: str | None = None
    source: ModelChoice | None = None

    @property
    def name(self) -> str:
        """The name it gets in results."""
        return self.path.stem

    @property
    def readable(self) -> ModelChoice:
        """The file whose operators can be read."""
        return self.source or self


def model_choice(path: Path, source: Path | None = None, form: str | None = None) -> ModelChoice:
    """Return a model file with its format, and that of the file it was compiled from.

    `form` names the format where neither suffix nor content tells it, as of a runtime of the farm's own. Raises ModelFileError if
    a file is missing or empty, UsageError if it is of no known format.
    """
    if form is not None:
        require_file(path)
    choice = _choice(path) if form is None else ModelChoice(path, form)
    if source is None:
        return choice
    if choice.format in _READABLE and choice.made_for is None:
        raise UsageError(
            f"--source names what a compiled model was made of, and '{path}' is none; leave it out."
        )
    origin = _choice(source)
    if origin.format not in _READABLE or origin.made_for is not None:
        raise UsageError(f"--source must be an ONNX or a TFLite file, not '{source}'.")
    return replace(choice, source=origin)


def _choice(path: Path) -> ModelChoice:
    found = _format(path)
    return ModelChoice(path, found, "edgetpu" if found == "tflite" and _is_for_edge_tpu(path) else None)


def _is_for_edge_tpu(path: Path) -> bool:
    """Whether edgetpu_compiler made the file: its custom operator's name stands in it as text."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(_EDGE_TPU_OPERATOR) >= 0


def _format(path: Path) -> str:
    compiled = COMPILED.get(path.suffix.lower())
    if compiled is not None:
        require_file(path)
        return compiled
    found = detect_format(path)
    if found is None:
        raise UsageError(
            f"The format of '{path}' is not known; give an ONNX (.onnx), a TFLite (.tflite), an OpenVINO file (.xml beside "
            f"its .bin), one that a vendor's compiler made ({', '.join(sorted(set(COMPILED) - {'.xml', '.zip'}))}), or its "
            "format with --format."
        )
    return found


def default_runtime(model: ModelChoice, runtimes: Iterable[board_pb2.RuntimeInfo]) -> str:
    """Return the runtime for a format. Raises DeviceError with the reasons if the board has none."""
    known = {runtime.name: runtime for runtime in runtimes}
    order = (model.made_for,) if model.made_for else (*RUNTIME_ORDER.get(model.format, ()), *sorted(known))
    able = [name for name in order if name in known and model.format in known[name].formats]
    for name in able:
        if known[name].available:
            return name
    reasons = " ".join(dict.fromkeys(f"{name}: {known[name].reason}" for name in able))
    raise DeviceError(
        f"The device has no runtime for '{model.path}' ({model.format}). {reasons or 'None of its runtimes takes it.'}",
        reason="RUNTIME_UNAVAILABLE",
    )


def named_runtime(name: str, model: ModelChoice, runtimes: Iterable[board_pb2.RuntimeInfo]) -> str:
    """Return the runtime the user asked for, if the board can run this model with it."""
    known = {runtime.name: runtime for runtime in runtimes}
    if name not in known:
        raise UsageError(f"The device has no runtime '{name}'; {_nearest(name, known)}")
    runtime = known[name]
    if not runtime.available:
        raise DeviceError(f"The device cannot run {name}: {runtime.reason}", reason="RUNTIME_UNAVAILABLE")
    if model.format not in runtime.formats:
        raise UsageError(
            f"{name} does not take {model.format} files such as '{model.path}'; it takes "
            f"{', '.join(runtime.formats)}{f'; {runtime.conversion}' if runtime.conversion else ''}."
        )
    return name


def _nearest(word: str, known: Iterable[str]) -> str:
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.7)
    return f"did you mean '{close[0]}'?" if close else f"it has {', '.join(names) or 'none'}."

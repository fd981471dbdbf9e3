"""Whether a board computes what the model says: its outputs against ONNX Runtime or LiteRT on this machine.

A fast wrong answer is worthless, and quantised kernels differ between processors, so every run carries this comparison.
The comparison is pure; only `reference_outputs` runs a model.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hostctl.errors import MeasurementInvalid

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Tolerance:
    """Largest difference that the precision itself explains.

    `relative_rms` is the root mean square of the difference ÷ that of the reference, `cosine` the smallest accepted cosine
    similarity; both are dimensionless.
    """

    relative_rms: float
    cosine: float


# Rounding to 24, 11 and 8 significant bits gives a relative error of 6e-8, 5e-4 and 4e-3 a value; through the depth of an
# image classifier these grow by one to two orders of magnitude, and by more through an ill-conditioned net: MLPerf Tiny's
# float32 keyword spotter gives a relative RMS of 1.4e-2 between LiteRT's own two sets of float32 kernels. A wrong
# activation or layout is far beyond all of these. Eight-bit integer kernels differ by whole steps.
TOLERANCES = {
    "float32": Tolerance(relative_rms=2e-2, cosine=0.9995),
    "float16": Tolerance(relative_rms=5e-2, cosine=0.998),
    "bfloat16": Tolerance(relative_rms=1e-1, cosine=0.99),
    "int8": Tolerance(relative_rms=3e-1, cosine=0.95),
}


@dataclass(frozen=True)
class Fidelity:
    """The comparison of all outputs of one request. A number is None where it is undefined.

    `max_abs_error` in units of the output; `max_rel_error` relative to the largest absolute reference value;
    `relative_rms` and `cosine` over all outputs, the worst one; `top1_agreement` is the fraction of samples whose largest
    element is at the same place, None where no output looks like class scores (two dimensions, two classes or more).
    """

    reference: str
    max_abs_error: float | None
    max_rel_error: float | None
    relative_rms: float | None
    cosine: float | None
    top1_agreement: float | None
    finite: bool
    within_tolerance: bool | None
    tolerance: Tolerance | None
    reason: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the `fidelity` object of a result."""
        return asdict(self)


def unavailable(reason: str) -> Fidelity:
    """Return the fidelity of a run for which no reference could be had."""
    return Fidelity("none", None, None, None, None, None, True, None, None, reason)


def compare(outputs: Tensors, reference: Tensors, *, precision: str, source: str) -> Fidelity:
    """Compare a board's outputs with the reference's, by name.

    `precision` is the effective one; a precision without a tolerance gives `within_tolerance` None. Raises MeasurementInvalid
    where names or shapes differ, since then the board ran another model.
    """
    import numpy as np

    _check_alike(outputs, reference)
    pairs = [(outputs[name].astype(np.float64), reference[name].astype(np.float64)) for name in reference]
    finite = all(bool(np.isfinite(ours).all()) for ours, _ in pairs)
    tolerance = TOLERANCES.get(precision)
    if not finite:
        return Fidelity(
            source, None, None, None, None, None, False, False, tolerance, "outputs are not finite"
        )
    reason = _undecidable(pairs, tolerance, precision)
    rms = _worst(_relative_rms(a, b) for a, b in pairs)
    cosine = _worst((_cosine(a, b) for a, b in pairs), smallest=True)
    return Fidelity(
        reference=source,
        max_abs_error=_worst(_max_abs(a, b) for a, b in pairs),
        max_rel_error=_worst(_max_rel(a, b) for a, b in pairs),
        relative_rms=rms,
        cosine=cosine,
        top1_agreement=_worst((_top1(a, b) for a, b in pairs), smallest=True),
        finite=True,
        within_tolerance=_within(rms, cosine, tolerance) if reason is None else None,
        tolerance=tolerance,
        reason=reason,
    )


def reference_outputs(model: Path, model_format: str, inputs: Tensors) -> tuple[str, Tensors] | str:
    """Run the model on this machine; return (name and version of the reference, outputs), or why there is none."""
    try:
        if model_format == "onnx":
            return _onnxruntime_outputs(model, inputs)
        if model_format == "tflite":
            return _litert_outputs(model, inputs)
    except ImportError as error:
        return f"the reference runtime is not installed on this machine ({error})"
    except Exception as error:
        return f"the reference runtime refused the model: {str(error).splitlines()[0]}"
    return f"there is no reference runtime for the format {model_format!r}"


def _onnxruntime_outputs(model: Path, inputs: Tensors) -> tuple[str, Tensors]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    values = session.run(names, dict(inputs))
    return f"onnxruntime {onnxruntime.__version__} CPU", dict(zip(names, values, strict=True))


def _litert_outputs(model: Path, inputs: Tensors) -> tuple[str, Tensors]:
    import ai_edge_litert
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    # The reference kernels of the built-in operators, without XNNPACK: what the board's delegate is held against.
    interpreter = Interpreter(
        model_path=str(model),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    details = {entry["name"]: entry for entry in interpreter.get_input_details()}
    for name, value in inputs.items():
        interpreter.resize_tensor_input(details[name]["index"], value.shape)
    interpreter.allocate_tensors()
    for name, value in inputs.items():
        interpreter.set_tensor(details[name]["index"], value)
    interpreter.invoke()
    outputs = {d["name"]: interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()}
    return f"litert {ai_edge_litert.__version__} built-in kernels", outputs


def _check_alike(outputs: Tensors, reference: Tensors) -> None:
    if set(outputs) != set(reference):
        raise MeasurementInvalid(
            f"The board returned the outputs {sorted(outputs)} but the model has {sorted(reference)}; "
            "check that the board loaded this file."
        )
    for name, expected in reference.items():
        if outputs[name].shape != expected.shape:
            raise MeasurementInvalid(
                f"The board's output {name!r} has shape {list(outputs[name].shape)} but the reference gives "
                f"{list(expected.shape)}; check that the board loaded this file with the same batch."
            )


def _undecidable(
    pairs: list[tuple[NDArray[np.float64], NDArray[np.float64]]], tolerance: Tolerance | None, precision: str
) -> str | None:
    """Say why a relative tolerance cannot decide; None where it can."""
    import numpy as np

    if tolerance is None:
        return f"there is no tolerance for the precision {precision!r}"
    if not all(bool(np.isfinite(expected).all()) for _, expected in pairs):
        return "the reference itself is not finite"
    if not any(expected.size for _, expected in pairs):
        return "the outputs are empty"
    if any(not expected.any() and ours.any() for ours, expected in pairs):
        return "the reference is all zeros where the board's output is not"
    return None


def _worst(values: Iterable[float | None], *, smallest: bool = False) -> float | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return min(known) if smallest else max(known)


def _max_abs(ours: NDArray[np.float64], expected: NDArray[np.float64]) -> float | None:
    return float(abs(ours - expected).max()) if ours.size else None


def _max_rel(ours: NDArray[np.float64], expected: NDArray[np.float64]) -> float | None:
    scale = float(abs(expected).max()) if expected.size else 0.0
    return float(abs(ours - expected).max() / scale) if scale > 0 else None


def _relative_rms(ours: NDArray[np.float64], expected: NDArray[np.float64]) -> float | None:
    power = float((expected**2).mean()) if expected.size else 0.0
    if power == 0:
        return None
    return math.sqrt(float(((ours - expected) ** 2).mean()) / power)


def _cosine(ours: NDArray[np.float64], expected: NDArray[np.float64]) -> float | None:
    norms = math.sqrt(float((ours**2).sum()) * float((expected**2).sum()))
    return float((ours * expected).sum() / norms) if norms > 0 else None


def _top1(ours: NDArray[np.float64], expected: NDArray[np.float64]) -> float | None:
    if expected.ndim != 2 or expected.shape[1] < 2 or expected.shape[0] == 0:
        return None
    return float((ours.argmax(axis=1) == expected.argmax(axis=1)).mean())


def _within(rms: float | None, cosine: float | None, tolerance: Tolerance | None) -> bool | None:
    if tolerance is None or rms is None:
        return None
    return rms <= tolerance.relative_rms and (cosine is None or cosine >= tolerance.cosine)

"""What the board computed, and whether that is right: seeded inputs, one inference, the reference on this host."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from farm.v1 import model_pb2

from hostctl.fidelity import Fidelity, compare, reference_outputs, unavailable
from hostctl.tensors import Array, random_inputs

LARGEST_SENT_BYTES = 32 << 20
"""Inputs beyond this are not sent for the timed loop (a daemon takes messages up to 64 MiB): the board makes its own."""


def inputs_for(model: model_pb2.LoadedModel, seed: int, batch: int | None) -> dict[str, Array]:
    """Return seeded inputs for a loaded model; an open first dimension gets the batch, or 1."""
    return random_inputs(model.spec.inputs, seed, batch or 1)


def sendable(inputs: Mapping[str, Array]) -> Mapping[str, Array] | None:
    """Return the inputs if they fit into one request, else None."""
    return inputs if sum(array.nbytes for array in inputs.values()) <= LARGEST_SENT_BYTES else None


def effective_precision(model: model_pb2.LoadedModel) -> str:
    """Return the precision the runtime says it computes in; "" where it does not tell."""
    return model.execution.effective.get("precision", "")


def check(
    path: Path,
    model_format: str,
    model: model_pb2.LoadedModel,
    inputs: Mapping[str, Array],
    outputs: Mapping[str, Array],
) -> Fidelity:
    """Compare the board's outputs with those of the reference runtime here; without one the Fidelity says why.

    Raises MeasurementInvalid where the outputs are not those of this model at all.
    """
    found = reference_outputs(path, model_format, inputs)
    if isinstance(found, str):
        return unavailable(found)
    source, reference = found
    return compare(outputs, reference, precision=_judged_as(model, outputs), source=source)


def _judged_as(model: model_pb2.LoadedModel, outputs: Mapping[str, Array]) -> str:
    """Return the precision whose tolerance holds: outputs of 8 bits differ by whole steps, however they were computed."""
    if any(output.dtype.kind in "iu" and output.dtype.itemsize == 1 for output in outputs.values()):
        return "int8"
    return effective_precision(model)

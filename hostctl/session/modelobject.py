"""The `model` object of a result: what the file is, and how many operations an inference takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hostctl.models.count import count_operations
from hostctl.models.count.result import CONVENTION
from hostctl.models.zoo.store import PRODUCER
from hostctl.session.modelchoice import ModelChoice
from hostctl.session.plan import Plan
from hostctl.upload import read_model_file

COUNTED_FORMATS = ("onnx", "tflite")


_HEAD_BYTES = 64


def has_random_weights(path: Path) -> bool:
    """Whether a file is one of the zoo's untrained nets: their producer stands in the first bytes of the ONNX file."""
    with path.open("rb") as file:
        return PRODUCER.encode() in file.read(_HEAD_BYTES)


def model_object(model: ModelChoice, plan: Plan) -> dict[str, Any]:
    """Return name, sha256, format, params and ops_per_inference of a model file, the last two from its source if one is named.

    Operations given by hand stand before counted ones; what cannot be counted is null. Raises ModelFileError for a file that
    is missing, empty or corrupt, UsageError for shapes that do not fit it.
    """
    readable = model.readable
    if readable.format in COUNTED_FORMATS:
        shapes = {name: tuple(int(size) for size in sizes.split(",")) for name, sizes in plan.shapes.items()}
        found = count_operations(readable.path, shapes, name=model.name).model_object()
        if readable is not model:  # its operations and parameters; the file that runs is another
            found.update(sha256=read_model_file(model.path).sha256, format=model.format)
    else:
        found = {
            "name": model.name,
            "sha256": read_model_file(model.path).sha256,
            "format": model.format,
            "params": None,
            "ops_per_inference": {"value": None, "convention": CONVENTION, "source": "counted"},
        }
    if plan.ops_per_inference is not None:
        given = {"value": plan.ops_per_inference, "convention": CONVENTION, "source": "given"}
        found["ops_per_inference"] = given
    return found

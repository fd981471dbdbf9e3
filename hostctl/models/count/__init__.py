"""How many operations one inference of a model takes, and what could not be counted.

Convention `mac2`: 1 MAC = 2 operations; convolutions, transposed convolutions, matrix products, einsum and
recurrent layers and their quantised forms count. Everything else is listed apart, in `other_ops`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from hostctl.errors import ModelFileError
from hostctl.models.count.files import detect_format
from hostctl.models.count.result import ModelCount, Operations, Uncounted

__all__ = ["ModelCount", "Operations", "Uncounted", "count_operations", "detect_format"]


def count_operations(
    path: str | Path, shapes: Mapping[str, Sequence[int]] | None = None, *, name: str | None = None
) -> ModelCount:
    """Count the operations of one inference (one sample) of an ONNX or TFLite file.

    `shapes` gives full shapes of inputs, by input name, to bind dimensions that the file leaves open. A symbolic
    or unset first dimension that stays unbound counts as 1; a static leading batch is divided out. `name`
    replaces the file's stem as the model's name. Raises ModelFileError for a file that cannot be read and
    UsageError for `shapes` that do not fit the model.
    """
    path = Path(path)
    model_format = detect_format(path)
    if model_format == "onnx":
        from hostctl.models.count.onnx_count import count_onnx

        return count_onnx(path, dict(shapes or {}), name or path.stem)
    if model_format == "tflite":
        from hostctl.models.count.tflite_count import count_tflite

        return count_tflite(path, dict(shapes or {}), name or path.stem)
    raise ModelFileError(
        f"Operations of '{path}' cannot be counted because it is neither ONNX nor TFLite; "
        "give them by hand with --ops."
    )

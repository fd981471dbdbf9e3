"""digits-dscnn: a really trained net of 40 kB, its test set and its measured accuracy.

Data: Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI Machine Learning Repository (1998),
doi 10.24432/C50P49, CC BY 4.0; the 360 test images of the split described in `accuracy.json`. `train.py` beside this
file made all of it.
"""

import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

INPUT_NAME = "image"
OUTPUT_NAME = "scores"
_FULL_SCALE = 16.0


def model_bytes(*, int8: bool = False) -> bytes:
    """Return the ONNX file, float32 or int8 (QDQ): input `image` (N, 1, 8, 8) in 0..1, output `scores` (N, 10)."""
    name = "digits-dscnn-int8.onnx" if int8 else "digits-dscnn.onnx"
    return files(__package__).joinpath(name).read_bytes()


def accuracy() -> dict[str, Any]:
    """Return the accuracy measured when the model was trained, with split, seed and versions."""
    report: dict[str, Any] = json.loads(files(__package__).joinpath("accuracy.json").read_text())
    return report


def test_set() -> "tuple[NDArray[np.float32], NDArray[np.int64]]":
    """Return the 360 test images, (360, 1, 8, 8) float32 in 0..1, and their labels, (360,) int64."""
    import numpy as np

    with files(__package__).joinpath("digits-test.npz").open("rb") as file, np.load(file) as stored:
        images = stored["images"][:, None].astype(np.float32) / np.float32(_FULL_SCALE)
        return images, stored["labels"].astype(np.int64)

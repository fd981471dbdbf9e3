"""Train digits-dscnn and write what is committed beside this file: float and int8 ONNX, test set, accuracy.

Not a part of the installed command: it needs torch and scikit-learn, which wattfarm does not depend on. Run it in an
environment of its own:

    python3 -m venv /tmp/train
    /tmp/train/bin/pip install torch==2.13.0 scikit-learn==1.9.1 onnx==1.23.2 onnxruntime==1.31.1
    OMP_NUM_THREADS=1 /tmp/train/bin/python hostctl/models/zoo/digits/train.py

Data: Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI Machine Learning Repository (1998),
doi 10.24432/C50P49, CC BY 4.0, as packaged in scikit-learn (`load_digits`: 1797 images of 8x8, values 0 to 16).
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import sklearn
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

HERE = Path(__file__).parent
SEED = 0
EPOCHS = 30
BATCH = 32
TEST_SHARE = 0.2
CALIBRATION_SAMPLES = 100
OPSET = 17
FULL_SCALE = 16.0

Images = NDArray[np.float32]
Labels = NDArray[np.int64]


def block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """A depthwise-separable convolution: 3x3 a channel, then 1x1 across channels."""
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False),
        nn.BatchNorm2d(inputs),
        nn.ReLU(),
        nn.Conv2d(inputs, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def network() -> nn.Sequential:
    """DS-CNN 16-32-64-64 for 1x8x8 images: 9 034 trained parameters, 107 904 MACs."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, 1, 1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        block(16, 32, 1),
        block(32, 64, 2),
        block(64, 64, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


def split() -> tuple[NDArray[np.uint8], NDArray[np.uint8], Labels, Labels]:
    """Return train and test images (n, 1, 8, 8) of 0 to 16, and their labels; stratified by digit."""
    digits = load_digits()
    images = digits.images.astype(np.uint8)[:, None]
    train_x, test_x, train_y, test_y = train_test_split(
        images,
        digits.target.astype(np.int64),
        test_size=TEST_SHARE,
        stratify=digits.target,
        random_state=SEED,
    )
    return train_x, test_x, train_y, test_y


def scaled(images: NDArray[np.uint8]) -> Images:
    """Scale pixels to 0..1, the range of the model's input."""
    return images.astype(np.float32) / np.float32(FULL_SCALE)


def fit(images: Images, labels: Labels) -> nn.Sequential:
    """Train with Adam and a one-cycle learning rate."""
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    steps = EPOCHS * -(-len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=steps)
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    model.train()
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x)).split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def export(model: nn.Sequential, path: Path) -> None:
    """Write the float model with a symbolic batch; normalisation is folded into the convolutions."""
    torch.onnx.export(
        model,
        (torch.zeros(1, 1, 8, 8),),
        str(path),
        opset_version=OPSET,
        dynamo=False,
        input_names=["image"],
        output_names=["scores"],
        dynamic_axes={"image": {0: "N"}, "scores": {0: "N"}},
    )
    onnx.checker.check_model(str(path), full_check=True)


class Calibration(CalibrationDataReader):  # type: ignore[misc]
    """The first training images, one at a time."""

    def __init__(self, images: Images) -> None:
        self._rows = iter(images[:CALIBRATION_SAMPLES])

    def get_next(self) -> dict[str, Images] | None:
        """Return the next image, or None at the end."""
        row = next(self._rows, None)
        return None if row is None else {"image": row[None]}


def quantise(source: Path, target: Path, images: Images) -> None:
    """Write the int8 model: QDQ, unsigned activations, signed 7-bit weights by channel.

    Weights keep to 7 bits (`reduce_range`) because CPUs without VNNI add pairs of u8 x s8 products in 16 bits, which
    saturates with 8: the model would then score differently from machine to machine.
    """
    with tempfile.TemporaryDirectory() as directory:
        ready = Path(directory) / "ready.onnx"
        quant_pre_process(str(source), str(ready))
        quantize_static(
            str(ready),
            str(target),
            Calibration(images),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
        )


def accuracy(path: Path, images: Images, labels: Labels) -> dict[str, Any]:
    """Return top-1 and top-5 of a model file on ONNX Runtime, as fractions."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    scores = session.run(None, {"image": images})[0]
    order = np.argsort(-scores, axis=1)
    return {
        "top1": round(float((order[:, 0] == labels).mean()), 4),
        "top5": round(float((order[:, :5] == labels[:, None]).any(axis=1).mean()), 4),
    }


def main() -> None:
    """Train, export, quantise, measure, and write all five files."""
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    train_x, test_x, train_y, test_y = split()
    model = fit(scaled(train_x), train_y)
    export(model, HERE / "digits-dscnn.onnx")
    quantise(HERE / "digits-dscnn.onnx", HERE / "digits-dscnn-int8.onnx", scaled(train_x))
    np.savez_compressed(HERE / "digits-test.npz", images=test_x[:, 0], labels=test_y.astype(np.uint8))
    report = {
        "data": "Optical Recognition of Handwritten Digits, UCI, doi 10.24432/C50P49, CC BY 4.0 (scikit-learn)",
        "split": "stratified 80/20, train_test_split(random_state=seed)",
        "seed": SEED,
        "epochs": EPOCHS,
        "train_n": len(train_x),
        "test_n": len(test_x),
        "runtime": "onnxruntime CPU",
        "float32": accuracy(HERE / "digits-dscnn.onnx", scaled(test_x), test_y),
        "int8": accuracy(HERE / "digits-dscnn-int8.onnx", scaled(test_x), test_y),
        "versions": {
            "torch": torch.__version__,
            "scikit-learn": sklearn.__version__,
            "onnx": onnx.__version__,
            "onnxruntime": onnxruntime.__version__,
            "numpy": np.__version__,
        },
    }
    (HERE / "accuracy.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()

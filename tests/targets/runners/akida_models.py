"""Small Akida models: real ones built with the akida package, and files that the fake of a chip reads."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest


def image_model() -> Any:
    """An image network of two convolutions, 8 bits, uint8 [8, 8, 3] to float32 [8, 8, 3]."""
    akida = pytest.importorskip("akida")
    model = akida.Model()
    model.add(akida.InputConv2D(input_shape=(8, 8, 3), filters=4, kernel_size=3, name="image"))
    model.add(akida.Conv2D(filters=3, kernel_size=3, name="features"))
    model.add(akida.Dequantizer(name="scores"))
    _fill(model.layers[:2], 2)
    return model


def dense_model(bits: int = 4) -> Any:
    """y = x @ w: uint8 [1, 1, 8] of so many bits to int32 [1, 1, 4], weights of 4 bits."""
    akida = pytest.importorskip("akida")
    model = akida.Model()
    model.add(akida.InputData(input_shape=(1, 1, 8), input_bits=bits, name="x"))
    model.add(akida.FullyConnected(units=4, weights_bits=4, activation=False, name="y"))
    _fill(model.layers[1:], 7)
    return model


def _fill(layers: Any, largest: int) -> None:
    rng = np.random.default_rng(3)
    for layer in layers:
        shape = layer.get_variable("weights").shape
        layer.set_variable("weights", rng.integers(-largest, largest + 1, shape).astype("int8"))


def akida_model(folder: Path) -> tuple[Path, str]:
    """Write the image network."""
    path = folder / "image.fbz"
    image_model().save(str(path))
    return path, "akida"


def fake_model(folder: Path, **told: Any) -> tuple[Path, str]:
    """Write what the fake reads: JSON in the one frame all Akida files have, a Snappy stream."""
    model = {
        "fake": "fbz",
        "layers": ["features", "classes"],
        "input_shape": [4, 4, 3],
        "units": 5,
        **told,
    }
    path = folder / "fake.fbz"
    path.write_bytes(snappy(json.dumps(model).encode()))
    return path, "akida"


def snappy(data: bytes) -> bytes:
    """Return the Snappy stream of some bytes, as literals, in the buffer that the vendor's writer writes whole."""
    length, prefix = len(data), b""
    while length >= 128:
        prefix, length = prefix + bytes([length & 127 | 128]), length >> 7
    literals = b"".join(
        bytes([60 << 2, len(part) - 1]) + part
        for part in (data[at : at + 256] for at in range(0, len(data), 256))
    )
    return (prefix + bytes([length]) + literals).ljust(32 + len(data) + len(data) // 6, b"\0")

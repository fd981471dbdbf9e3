"""xmodels for the fake of Vitis AI: a protocol buffer with a graph's name, and a JSON description where the operators would be.

tests/fakes/vitisai reads it, and says what the JSON may hold.
"""

import json
from pathlib import Path
from typing import Any

FINGERPRINT = 0x101000056010407


def tensor(dims: list[int], dtype: str = "xint8", fix_point: int | None = 4) -> dict[str, Any]:
    """Return the description of a tensor."""
    return {"dims": dims, "dtype": dtype, "fix_point": fix_point}


def part(device: str, ops: list[str], **members: Any) -> dict[str, Any]:
    """Return the description of a child of the root: the tensors of the whole graph unless told."""
    return {"device": device, "ops": ops, "inputs": ["image"], "outputs": ["fc_fix"], **members}


def graph(**members: Any) -> dict[str, Any]:
    """Return one DPU part from an image to ten levels, with the data movement that every compiled model has."""
    usual = {
        "name": "small",
        "tensors": {"image": tensor([1, 6, 6, 3]), "fc_fix": tensor([1, 10], fix_point=3)},
        "inputs": ["image"],
        "outputs": ["fc_fix"],
        "children": [
            part("USER", ["data-fix"]),
            part("DPU", ["conv2d-fix", "conv2d-fix"], dpu_fingerprint=FINGERPRINT),
            part("CPU", ["fix2float"]),
        ],
    }
    return {**usual, **members}


def with_softmax(**members: Any) -> dict[str, Any]:
    """Return the same with a softmax on the CPU, whose result is float32."""
    usual = graph()
    return {
        **usual,
        "tensors": {**usual["tensors"], "softmax": tensor([1, 10], "float32", None)},
        "outputs": ["softmax"],
        "children": [*usual["children"][:2], part("CPU", ["fix2float", "softmax"])],
        **members,
    }


def pack(model: dict[str, Any]) -> bytes:
    """Return the bytes of an xmodel."""
    return _field(1, model["name"].encode()) + _field(2, json.dumps(model).encode())


def write(folder: Path, model: dict[str, Any] | None = None) -> Path:
    """Write an xmodel and return its path."""
    path = folder / "model.xmodel"
    path.write_bytes(pack(model or graph()))
    return path


def xmodel(folder: Path) -> tuple[Path, str]:
    """The small model for the fake's DPU."""
    return write(folder), "xmodel"


def firmware(folder: Path) -> str:
    """Write what stands for a DPU's firmware and return its path, for XLNX_VART_FIRMWARE."""
    path = folder / "dpu.xclbin"
    path.write_bytes(b"xclbin2\0")
    return str(path)


def _field(number: int, data: bytes) -> bytes:
    size, length = len(data), b""
    while size > 0x7F:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + data

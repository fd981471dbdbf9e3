"""The file itself: its format, its hash, and whether it is there at all."""

import hashlib
from pathlib import Path

from hostctl.errors import ModelFileError

_SUFFIXES = {".onnx": "onnx", ".tflite": "tflite", ".lite": "tflite"}
_TFLITE_IDENTIFIER = b"TFL3"


def require_file(path: Path) -> int:
    """Return the size in bytes of a model file; ModelFileError if it is missing, unreadable or empty."""
    try:
        if path.is_dir():
            raise ModelFileError(f"'{path}' is a directory; give the model file inside it.")
        size_bytes = path.stat().st_size
        with path.open("rb"):
            pass
    except FileNotFoundError:
        raise ModelFileError(f"There is no model file '{path}'; check the path.") from None
    except OSError as error:
        raise ModelFileError(
            f"Cannot read '{path}': {error.strerror or error}; check its permissions."
        ) from None
    if size_bytes == 0:
        raise ModelFileError(f"'{path}' is empty; copy or build the model again.")
    return size_bytes


def detect_format(path: Path) -> str | None:
    """Return "onnx", "tflite" or None, by the file's suffix and else by its first bytes."""
    require_file(path)
    known = _SUFFIXES.get(path.suffix.lower())
    if known is not None:
        return known
    with path.open("rb") as file:
        head = file.read(8)
    if head[4:8] == _TFLITE_IDENTIFIER:
        return "tflite"
    # An ONNX file starts with field 1, ir_version, a small varint.
    return "onnx" if len(head) > 2 and head[0] == 0x08 and 3 <= head[1] < 64 else None


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def corrupt(path: Path, detail: str) -> ModelFileError:
    """Return the error for a file whose content is not a whole model; `detail` is a clause without full stop."""
    return ModelFileError(f"'{path}' is not a valid model ({detail}); copy or build it again.")

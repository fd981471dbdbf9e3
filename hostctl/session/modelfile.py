"""The one file that goes to the board. OpenVINO's two files travel as one ZIP (model.xml, model.bin; stored)."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hostctl.errors import ModelFileError
from hostctl.session.plan import ModelChoice


@contextmanager
def sendable_file(model: ModelChoice) -> Iterator[Path]:
    """Yield the file to send; a packed copy is removed afterwards. Raises ModelFileError if one of two files is missing."""
    if model.path.suffix.lower() != ".xml":
        yield model.path
        return
    weights = model.path.with_suffix(".bin")
    if not weights.is_file():
        raise ModelFileError(f"{model.path} needs its weights beside it; copy {weights.name} there.")
    with tempfile.TemporaryDirectory(prefix="wattfarm-model-") as directory:
        archive = Path(directory) / f"{model.name}.zip"
        _pack(archive, {"model.xml": model.path, "model.bin": weights})
        yield archive


def _pack(archive: Path, members: dict[str, Path]) -> None:
    """Write a ZIP whose bytes depend on the members' contents alone, so that the board knows it by its hash again."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED, allowZip64=True) as file:
        for name, path in members.items():
            info = zipfile.ZipInfo(name)
            info.file_size = path.stat().st_size  # decides whether the entry needs 64-bit sizes
            with path.open("rb") as source, file.open(info, "w") as target:
                shutil.copyfileobj(source, target, 1 << 20)

"""The one file that goes to the board. Where a model is two files they travel as one ZIP, stored: OpenVINO's model.xml and
model.bin (ncnn's model.param too), and TVM's model.so with the model.json that tells its inputs and outputs."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hostctl.errors import ModelFileError
from hostctl.session.modelchoice import ModelChoice

_COMPANIONS = {
    ".xml": (".bin", "weights"),
    ".so": (".json", "description of inputs and outputs"),
    ".param": (".bin", "weights"),
}


@contextmanager
def sendable_file(model: ModelChoice) -> Iterator[Path]:
    """Yield the file to send; a packed copy is removed afterwards. Raises ModelFileError if one of two files is missing."""
    suffix = model.path.suffix.lower()
    if suffix not in _COMPANIONS:
        yield model.path
        return
    companion_suffix, what = _COMPANIONS[suffix]
    companion = model.path.with_suffix(companion_suffix)
    if not companion.is_file():
        raise ModelFileError(f"{model.path} needs its {what} beside it; copy {companion.name} there.")
    with tempfile.TemporaryDirectory(prefix="wattfarm-model-") as directory:
        archive = Path(directory) / f"{model.name}.zip"
        _pack(archive, {f"model{suffix}": model.path, f"model{companion_suffix}": companion})
        yield archive


def _pack(archive: Path, members: dict[str, Path]) -> None:
    """Write a ZIP whose bytes depend on the members' contents alone, so that the board knows it by its hash again."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED, allowZip64=True) as file:
        for name, path in members.items():
            info = zipfile.ZipInfo(name)
            info.file_size = path.stat().st_size  # decides whether the entry needs 64-bit sizes
            with path.open("rb") as source, file.open(info, "w") as target:
                shutil.copyfileobj(source, target, 1 << 20)

"""Writing a generated model into a cache: whole or not at all."""

import errno
import os
import tempfile
from pathlib import Path
from typing import Final

from hostctl.errors import HostctlError
from hostctl.models.zoo.catalogue import find

PRODUCER: Final = "wattfarm-zoo"
REVISION: Final = "1"
"""Raise it when a generator changes, so that cached files of the old one are built anew."""

_HEAD_BYTES: Final = 64


def build(name: str, cache_dir: str | Path, *, force: bool = False) -> Path:
    """Return the path of the named model in `cache_dir`, generating it if it is not there yet.

    The file is `<name>.onnx`; the same name gives the same bytes on every machine. `force` generates it anew.
    Raises UsageError for an unknown name and HostctlError if the file cannot be written.
    """
    entry = find(name)
    target = Path(cache_dir) / f"{entry.name}.onnx"
    if force or not _is_current(target, trained=entry.trained):
        _write_atomically(target, entry.make())
    return target


def _is_current(path: Path, *, trained: bool) -> bool:
    """Whether a cached file is of this revision: the producer stands in the first bytes of an ONNX file."""
    if trained:  # Tens of kilobytes from the package: copying them is as quick as comparing.
        return False
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return False
    return PRODUCER.encode() in head and f"\x1a{chr(len(REVISION))}{REVISION}".encode() in head


def _write_atomically(target: Path, content: bytes) -> None:
    temporary: str | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise _write_error(target, len(content), error) from error
    except BaseException:  # Ctrl-C in the middle of a large file.
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise


def _write_error(target: Path, size_bytes: int, error: OSError) -> HostctlError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        need = f"{size_bytes / 1e6:.1f} MB"
        return HostctlError(f"No space left for '{target}' ({need}); free some or choose another directory.")
    return HostctlError(f"Cannot write '{target}': {error.strerror or error}; choose another directory.")

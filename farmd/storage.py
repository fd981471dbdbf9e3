"""What the model cache asks of the file system."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path


class FileSystem:
    """The calls that can fail for want of room; a test puts its own in their place."""

    def write(self, descriptor: int, data: memoryview) -> int:
        """Write some of the bytes, at least one, and return how many."""
        return os.write(descriptor, data)

    def fsync(self, descriptor: int) -> None:
        """Return when the file is on the disk."""
        os.fsync(descriptor)

    def free_bytes(self, directory: Path) -> int:
        """Return how many bytes an unprivileged process may still write there."""
        state = os.statvfs(directory)
        return state.f_bavail * state.f_frsize


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in lower-case hexadecimal. OSError as it comes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_directory(directory: Path) -> None:
    """Return when a rename in this directory is on the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):  # some file systems cannot
            os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""The file through which tensors go to a worker and come back: mapped by both, copied into once, never pickled."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path

from farmd import errors

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - tmpfs by definition; files in it are created exclusively, mode 0600
PREFIX = "wattfarm-"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM)


class TensorFile:
    """A mapped file of a fixed size in the first directory that has room for it.

    Every page is allocated before it is mapped: a write to a hole in a full tmpfs would kill the daemon with SIGBUS.
    Raises DiskFull if no directory has room.
    """

    def __init__(self, directories: Sequence[Path], size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.path = Path()
        self._linked = False
        for directory in directories:
            if self._open(directory / f"{PREFIX}{os.getpid()}-{secrets.token_hex(8)}"):
                return
        places = " and ".join(map(str, directories))
        raise errors.DiskFull(
            f"There is no room for {size_bytes} bytes of tensors in {places}; free space there or send smaller tensors.",
            metadata={"needed_bytes": size_bytes},
        )

    def _open(self, path: Path) -> bool:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if error.errno in (*_NO_ROOM, errno.ENOENT, errno.EACCES, errno.EROFS, errno.EPERM):
                return False
            raise
        try:
            os.posix_fallocate(descriptor, 0, self.size_bytes)
            self.map = mmap.mmap(descriptor, self.size_bytes)
        except OSError as error:
            path.unlink()
            if error.errno in _NO_ROOM:
                return False
            raise
        finally:
            os.close(descriptor)
        self.path, self._linked = path, True
        return True

    def unlink(self) -> None:
        """Remove the name; the mappings stay. Call it once the worker has mapped the file."""
        if self._linked:
            self._linked = False
            self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Remove the name and the mapping; closing twice is harmless."""
        self.unlink()
        self.map.close()


def remove_leftovers(directories: Sequence[Path]) -> None:
    """Remove what daemons that died had there: tensors not yet unlinked, and directories of sensors."""
    for directory in directories:
        for path in directory.glob(f"{PREFIX}*-*"):
            owner = path.name[len(PREFIX) :].partition("-")[0]
            if owner.isdecimal() and not Path("/proc", owner).exists():
                with contextlib.suppress(OSError):  # another user's
                    shutil.rmtree(path) if path.is_dir() else path.unlink()

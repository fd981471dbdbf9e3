"""Model files by the SHA-256 of their content: uploads that resume, a size limit, eviction of what was used longest ago.

`<root>/<sha256>` is a complete, verified file; `<root>/partial/<sha256>` is one that is still arriving. A file becomes
complete by fsync, verification and one rename, so that a crash at any point leaves either; both survive a restart.
The time of last use is the file's modification time.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from farmd import errors
from farmd.storage import FileSystem, sha256_of, sync_directory
from farmd.waiting import Cancel

_SHA256 = re.compile(r"[0-9a-f]{64}")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Left free on the file system: the daemon's own files, journals, other programs of the board.
MARGIN_BYTES = 16 << 20


@dataclass
class _File:
    """A complete or partial file. `pins`: loaded models that use it, or the upload that writes it."""

    path: Path
    size_bytes: int
    used_ns: int = 0
    pins: int = 0
    is_verified: bool = False


class CachedModel:
    """A complete file that stays as long as it is not released."""

    def __init__(self, path: Path, release: Callable[[], None]) -> None:
        self.path = path
        self._release: Callable[[], None] | None = release

    def release(self) -> None:
        """Allow eviction again; harmless twice."""
        release, self._release = self._release, None
        if release is not None:
            release()


class ModelCache:
    """The files of one state directory. All methods may be called from any thread."""

    def __init__(
        self, root: Path, *, limit_bytes: int, max_model_bytes: int, file_system: FileSystem | None = None
    ) -> None:
        """Take over what an earlier daemon left in `root`. OSError if the directory cannot be made or read."""
        self._root = root
        self._partial = root / "partial"
        self._limit_bytes = limit_bytes
        self._max_model_bytes = max_model_bytes
        self._system = file_system or FileSystem()
        self._condition = threading.Condition()
        self._promised: dict[str, int] = {}
        self.fault: str | None = None
        self._partial.mkdir(parents=True, exist_ok=True)
        self._complete = _scan(root)
        self._arriving = _scan(self._partial)

    def check(self, sha256: str, size_bytes: int) -> None:
        """Refuse what could never be stored: a malformed hash, an empty or a too large file."""
        if not _SHA256.fullmatch(sha256):
            raise errors.RequestInvalid.of_field(
                "header.sha256",
                "The model's SHA-256 must be 64 lower-case hexadecimal digits; send the hash of the whole file.",
            )
        if size_bytes <= 0:
            message = f"The model file has {size_bytes} bytes; send a file that is not empty."
            violation = errors.FieldViolation("header.size_bytes", message)
            raise errors.ModelInvalid(message, violations=[violation])
        limit = min(self._max_model_bytes, self._limit_bytes)
        if size_bytes > limit:
            raise errors.ModelTooLarge(
                f"The model has {size_bytes} bytes; this board takes at most {limit}. Send a smaller model or raise "
                "max_model_bytes in its farmd.toml.",
                metadata={"size_bytes": size_bytes, "limit_bytes": limit},
                violations=[errors.FieldViolation("header.size_bytes", f"at most {limit}")],
            )

    @contextmanager
    def upload(self, sha256: str, size_bytes: int, cancel: Cancel) -> Iterator[Upload]:
        """Hold this hash for one upload; another upload of it waits here. The file may be complete already.

        Raises what `check` does, RequestInvalid if the size is not that of the known file, DiskFull, CacheFull,
        CallCancelled.
        """
        self.check(sha256, size_bytes)
        self._hold(sha256, cancel)
        try:
            with self._condition:
                upload = self._begin(sha256, size_bytes)
            try:
                yield upload
            finally:
                upload.close()
        finally:
            with self._condition:
                del self._promised[sha256]
                if sha256 in self._arriving:
                    self._arriving[sha256].pins = 0
                self._condition.notify_all()

    def total_bytes(self) -> int:
        """Return the bytes of all files, partial ones included."""
        with self._condition:
            return sum(file.size_bytes for file in self._files())

    def _hold(self, sha256: str, cancel: Cancel) -> None:
        with cancel.calling(self._notify), self._condition:
            self._condition.wait_for(lambda: sha256 not in self._promised or cancel.is_set)
            cancel.check()
            self._promised[sha256] = 0

    def _notify(self) -> None:
        with self._condition:
            self._condition.notify_all()

    def _begin(self, sha256: str, size_bytes: int) -> Upload:
        known = self._known(sha256)
        if known is not None:
            if known.size_bytes == size_bytes:
                return Upload(self, sha256, size_bytes, size_bytes, anchor=self._pinned(known))
            message = (
                f"A model of this SHA-256 has {known.size_bytes} bytes, not {size_bytes}; send its true size."
            )
            raise errors.RequestInvalid.of_field("header.size_bytes", message)
        partial = self._arriving.get(sha256)
        if partial is not None and partial.size_bytes > size_bytes:
            partial.path.unlink(missing_ok=True)
            partial = None
        if partial is None:
            partial = _File(self._partial / sha256, 0)
        partial.pins, partial.used_ns = 1, time.time_ns()
        self._arriving[sha256] = partial
        try:
            self._make_room(size_bytes - partial.size_bytes)
        except errors.FarmdError:
            if partial.size_bytes == 0:
                del self._arriving[sha256]
            raise
        self._promised[sha256] = size_bytes
        return Upload(self, sha256, size_bytes, partial.size_bytes, path=partial.path)

    def _known(self, sha256: str) -> _File | None:
        """Return the complete file, unless somebody has cut or removed it behind our back."""
        file = self._complete.get(sha256)
        if file is None:
            return None
        with contextlib.suppress(FileNotFoundError):
            if file.path.stat().st_size == file.size_bytes:
                return file
        self._forget(file)
        return None

    def _pinned(self, file: _File) -> CachedModel:
        """Keep a file until it is released. Needs the condition's lock."""
        file.pins += 1
        return CachedModel(file.path, lambda: self._unpin(file))

    def _files(self) -> list[_File]:
        return [*self._complete.values(), *self._arriving.values()]

    def _make_room(self, needed_bytes: int) -> None:
        """Evict what was used longest ago until so many bytes fit, beside what other uploads were promised.

        Refuses before anything is deleted if that would not be enough.
        """
        promised = sum(
            size - self._arriving[sha256].size_bytes for sha256, size in self._promised.items() if size
        )
        wanted = needed_bytes + promised
        taken = sum(file.size_bytes for file in self._files())
        excess = taken + wanted - self._limit_bytes
        lack = wanted + MARGIN_BYTES - self._system.free_bytes(self._root)
        idle = sorted((file for file in self._files() if not file.pins), key=lambda file: file.used_ns)
        evictable = sum(file.size_bytes for file in idle)
        if lack > evictable:
            raise self.disk_full(needed_bytes)
        if excess > evictable:
            raise errors.CacheFull(
                f"The model cache of {self._limit_bytes} bytes is taken by loaded models and running uploads; unload "
                "a model or raise cache_bytes in the board's farmd.toml.",
                metadata={"needed_bytes": needed_bytes, "limit_bytes": self._limit_bytes},
            )
        goal = max(excess, lack)
        for file in idle:
            if goal <= 0:
                break
            self._forget(file)
            goal -= file.size_bytes

    def _forget(self, file: _File) -> None:
        file.path.unlink(missing_ok=True)
        for table in (self._complete, self._arriving):
            if table.get(file.path.name) is file:
                del table[file.path.name]

    def disk_full(self, needed_bytes: int) -> errors.DiskFull:
        """Return the error that names the directory and what it lacks."""
        return errors.DiskFull(
            f"The board's disk has no room for {needed_bytes} more bytes in {self._root}; free space there and send the "
            "model again: what has arrived is kept.",
            metadata={"needed_bytes": needed_bytes, "free_bytes": self._system.free_bytes(self._root)},
        )

    # What an upload calls.

    def append(self, sha256: str, descriptor: int, data: bytes) -> None:
        """Write the next bytes. DiskFull keeps what was written before."""
        file = self._arriving[sha256]
        view = memoryview(data)
        while view:
            try:
                written = self._system.write(descriptor, view)
            except OSError as error:
                raise self._failure(error, len(view)) from error
            file.size_bytes += written
            view = view[written:]

    def complete(self, sha256: str, descriptor: int) -> CachedModel:
        """Make the partial file a complete one, verified and on the disk. HashMismatch deletes it."""
        file = self._arriving[sha256]
        try:
            self._system.fsync(descriptor)
        except OSError as error:
            raise self._failure(error, 0) from error
        found = sha256_of(file.path)
        if found != sha256:
            with self._condition:
                self._forget(file)
            raise errors.HashMismatch(
                f"The uploaded file has the SHA-256 {found}, not {sha256} as announced, and was deleted; send it again.",
                metadata={"expected": sha256, "found": found},
                violations=[errors.FieldViolation("header.sha256", f"the bytes sent have {found}")],
            )
        os.fchmod(descriptor, 0o444)
        os.utime(descriptor)
        with self._condition:
            os.replace(file.path, self._root / sha256)
            sync_directory(self._root)
            del self._arriving[sha256]
            complete = _File(self._root / sha256, file.size_bytes, time.time_ns(), is_verified=True)
            self._complete[sha256] = complete
            self.fault = None
            return self._pinned(complete)

    def pin(self, sha256: str) -> CachedModel:
        """Return a complete file, kept until released; verified at its first use after a start of the daemon."""
        with self._condition:
            file = self._complete[sha256]
            pinned = self._pinned(file)
        try:
            self._verify(sha256, file)
            os.utime(file.path)
            file.used_ns = time.time_ns()
        except BaseException:
            pinned.release()
            raise
        return pinned

    def _unpin(self, file: _File) -> None:
        with self._condition:
            file.pins -= 1

    def _verify(self, sha256: str, file: _File) -> None:
        if file.is_verified:
            return
        if sha256_of(file.path) != sha256:
            with self._condition:
                self._forget(file)
            raise errors.UploadIncomplete(
                f"The board's copy of the model {sha256} was damaged and is deleted; send the model again."
            )
        file.is_verified = True

    def _failure(self, error: OSError, needed_bytes: int) -> errors.FarmdError:
        if error.errno in _NO_ROOM:
            return self.disk_full(needed_bytes)
        self.fault = f"The model cache cannot be written: {error.strerror}."
        return errors.FarmdError(
            f"The board's model cache in {self._root} cannot be written ({error.strerror}); look after its disk.",
            metadata={"errno": errno.errorcode.get(error.errno or 0, str(error.errno))},
        )


class Upload:
    """The bytes of one file on their way in; from ModelCache.upload."""

    def __init__(
        self,
        cache: ModelCache,
        sha256: str,
        size_bytes: int,
        offset_bytes: int,
        *,
        path: Path | None = None,
        anchor: CachedModel | None = None,
    ) -> None:
        """Give `path` for a file that is arriving, or `anchor` for one that is complete."""
        self.size_bytes = size_bytes
        self.offset_bytes = offset_bytes
        self._cache = cache
        self._sha256 = sha256
        self._anchor = anchor
        self._descriptor: int | None = None
        if path is not None:
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            self._descriptor = os.open(path, flags, 0o600)

    @property
    def is_complete(self) -> bool:
        """Whether no byte is missing."""
        return self.offset_bytes == self.size_bytes

    def write(self, data: bytes) -> None:
        """Take the next bytes. RequestInvalid if they are more than announced; DiskFull."""
        if self.offset_bytes + len(data) > self.size_bytes:
            raise errors.RequestInvalid.of_field(
                "chunk",
                f"More than the announced {self.size_bytes} bytes arrived; announce the size of the file.",
            )
        if self._descriptor is None:  # the file is complete: only empty chunks come here
            return
        try:
            self._cache.append(self._sha256, self._descriptor, data)
        finally:
            self.offset_bytes = os.fstat(self._descriptor).st_size

    def finish(self) -> CachedModel:
        """Verify the file and keep it. UploadIncomplete, HashMismatch, DiskFull."""
        if not self.is_complete:
            raise errors.UploadIncomplete(
                f"The upload ended after {self.offset_bytes} of {self.size_bytes} bytes; send the model again, it goes "
                "on from there.",
                metadata={"received_bytes": self.offset_bytes, "size_bytes": self.size_bytes},
            )
        if self._descriptor is not None:
            return self._cache.complete(self._sha256, self._descriptor)
        return self._cache.pin(self._sha256)

    def close(self) -> None:
        """Close the file; what has arrived stays. Harmless twice."""
        if self._anchor is not None:
            self._anchor.release()
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _scan(directory: Path) -> dict[str, _File]:
    found = {}
    for entry in os.scandir(directory):
        if _SHA256.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
            state = entry.stat(follow_symlinks=False)
            found[entry.name] = _File(Path(entry.path), state.st_size, state.st_mtime_ns)
    return found

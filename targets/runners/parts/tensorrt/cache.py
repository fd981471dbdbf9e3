"""What a board keeps of TensorRT's work between loads: engines, timing caches and calibration tables.

A build takes minutes on a small board, so its plan is kept under a key made of everything that decides it: the model's bytes,
the options, the versions, the GPU. A file that is damaged or says another key counts as absent. Files are written beside
their place and moved there, so that a reader never meets half of one.
"""

import hashlib
import json
import os
import struct
import tempfile
from typing import Any, Dict, List, Optional, Tuple

_MAGIC = b"wattfarm-trt-1\n"
_SUFFIX = ".engine"
_LENGTH = struct.Struct(">I")


def default_folder() -> str:
    """Return where engines are kept unless told: in a service's own directory, else in the user's cache.

    Sources: systemd.exec(5), CacheDirectory and StateDirectory; XDG base directories.
    """
    service = os.environ.get("CACHE_DIRECTORY") or os.environ.get("STATE_DIRECTORY")
    if service:
        return os.path.join(service.split(":")[0], "tensorrt")
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "wattfarm", "tensorrt")


def file_hash(path: str) -> str:
    """Return the SHA-256 of a file."""
    found = hashlib.sha256()
    with open(path, "rb") as file:
        for chunk in iter(lambda: file.read(1 << 20), b""):
            found.update(chunk)
    return found.hexdigest()


def key_of(facts: Dict[str, Any]) -> str:
    """Return the key of a set of facts; equal facts give equal keys on every Python."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


class Cache:
    """One folder. Nothing here fails a load: what cannot be read is absent, what cannot be written is not kept.

    ``notes`` tells, in a few words each, what went wrong.
    """

    def __init__(self, folder: str, limit_bytes: int) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        self.notes: List[str] = []

    def engine(self, key: str) -> Optional[Tuple[bytes, Dict[str, Any]]]:
        """Return the plan of a key and what was noted at its build; None if there is none that is whole."""
        data = self.read(key + _SUFFIX)
        if data is None:
            return None
        found = _unpack(data, key)
        if found is None:
            self.notes.append("the cached plan was damaged or foreign")
            self.remove(key + _SUFFIX)
        return found

    def keep_engine(self, key: str, plan: bytes, facts: Dict[str, Any]) -> None:
        """Keep a plan and what was noted at its build; the longest unused plans make room for it."""
        if self.write(key + _SUFFIX, _pack(plan, key, facts)):
            self._evict(key + _SUFFIX)

    def forget_engine(self, key: str, why: str) -> None:
        """Remove a plan that TensorRT does not take."""
        self.notes.append(why)
        self.remove(key + _SUFFIX)

    def read(self, name: str) -> Optional[bytes]:
        """Return the content of a file and mark it as used; None if it cannot be read."""
        path = os.path.join(self._folder, name)
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError:
            return None
        try:
            os.utime(path, None)
        except OSError:
            pass  # somebody else's file: it only looks older than it is
        return data

    def write(self, name: str, data: bytes) -> bool:
        """Write a file whole or not at all; tell whether it is there."""
        temporary = None
        try:
            os.makedirs(
                self._folder, mode=0o700, exist_ok=True
            )  # a plan is code: nobody else may put one here
            handle, temporary = tempfile.mkstemp(dir=self._folder, prefix=".new-")
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, os.path.join(self._folder, name))
        except OSError as error:
            self.notes.append("{} was not kept: {}".format(name.rsplit(".", 1)[-1], error.strerror))
            if temporary is not None and os.path.exists(temporary):
                os.unlink(temporary)
            return False
        return True

    def remove(self, name: str) -> None:
        """Remove a file if that is possible."""
        try:
            os.unlink(os.path.join(self._folder, name))
        except OSError:
            return

    def _evict(self, newest: str) -> None:
        found = []
        for entry in os.scandir(self._folder):
            if entry.name.endswith(_SUFFIX) and entry.name != newest:
                try:
                    status = entry.stat()
                except OSError:
                    continue  # another worker removed it
                found.append((status.st_mtime, status.st_size, entry.name))
        room = self._limit_bytes - os.path.getsize(os.path.join(self._folder, newest))
        for _, size, name in sorted(found, reverse=True):
            room -= size
            if room < 0:
                self.remove(name)


class NoCache(Cache):
    """Keeps nothing."""

    def __init__(self) -> None:
        super().__init__("", 0)

    def read(self, name: str) -> Optional[bytes]:
        return None

    def write(self, name: str, data: bytes) -> bool:
        return False


def _pack(plan: bytes, key: str, facts: Dict[str, Any]) -> bytes:
    head = json.dumps({"key": key, "sha256": hashlib.sha256(plan).hexdigest(), "facts": facts}).encode()
    return _MAGIC + _LENGTH.pack(len(head)) + head + plan


def _unpack(data: bytes, key: str) -> Optional[Tuple[bytes, Dict[str, Any]]]:
    begin = len(_MAGIC) + _LENGTH.size
    if not data.startswith(_MAGIC) or len(data) < begin:
        return None
    (size,) = _LENGTH.unpack(data[len(_MAGIC) : begin])
    plan = data[begin + size :]
    try:
        head = json.loads(data[begin : begin + size].decode())
        is_whole = head["key"] == key and head["sha256"] == hashlib.sha256(plan).hexdigest()
        return (plan, dict(head["facts"])) if is_whole else None
    except (ValueError, KeyError, TypeError):
        return None

"""Collects on the workstation the wheels that a board needs: for its Python, its architecture and its C library.

What pip resolved once is kept in the user's cache and used again for every board of the kind: the same deployment twice
installs the same versions, and needs no package index the second time. `refresh` resolves anew.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

from hostctl.deploy import piprun
from hostctl.deploy.errors import WheelMissing
from hostctl.deploy.facts import BoardPython, Facts
from hostctl.deploy.tags import architecture

PIP_TIMEOUT_S = 1800.0
_LOCK = "lock.json"
_NO_WHEEL = re.compile(
    r"(?:No matching distribution found for|satisfies the requirement) ([^\s;(]+(?:\[[^\]]*\])?[^\s;(]*)"
)
_OFFLINE = (
    "NewConnectionError",
    "ConnectTimeout",
    "Max retries exceeded",
    "name resolution",
    "Network is unreachable",
)


@dataclass(frozen=True)
class Wheel:
    """A wheel file here. `unpacked_bytes` is what its content takes on the board, compiled modules included."""

    path: Path
    sha256: str
    unpacked_bytes: int

    @property
    def name(self) -> str:
        """Return the file's name."""
        return self.path.name

    @property
    def size_bytes(self) -> int:
        """Return the file's size."""
        return self.path.stat().st_size


@dataclass(frozen=True)
class Bundle:
    """Everything a board needs: wattfarm's own wheel, and those of its dependencies and of pip."""

    version: str
    extras: tuple[str, ...]
    wheels: tuple[Wheel, ...]

    @property
    def requirement(self) -> str:
        """Return what pip is asked for on the board."""
        return f"wattfarm[{','.join(self.extras)}]=={self.version}"


@dataclass(frozen=True)
class Target:
    """For what wheels are chosen: an interpreter, its platform tags (best first), and a name of it for sentences."""

    python: str
    full_version: str
    abi: str
    tags: tuple[str, ...]
    machine: str
    title: str

    def options(self) -> list[str]:
        """Return pip's options."""
        platforms = [part for tag in self.tags for part in ("--platform", tag)]
        return [
            "--only-binary=:all:",
            "--implementation",
            "cp",
            "--python-version",
            self.python,
            "--abi",
            self.abi,
            *platforms,
        ]

    def markers(self) -> dict[str, str]:
        """Return the values of environment markers there (PEP 508)."""
        return {
            "implementation_name": "cpython",
            "implementation_version": self.full_version,
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": self.full_version,
            "platform_python_implementation": "CPython",
            "python_version": self.python,
            "sys_platform": "linux",
        }


def target_of(facts: Facts, python: BoardPython) -> Target:
    """Return what wheels are chosen for on this board. Raises BoardUnfit."""
    machine = architecture(facts.machine, python.bits)
    title = f"CPython {python.short} on {machine} with {facts.libc}"
    version = ".".join(map(str, python.version))
    return Target(python.short, version, python.abi, facts.tags(python), machine, title)


def collect(
    own: Path, extras: Sequence[str], target: Target, cache: Path, *, refresh: bool = False
) -> Bundle:
    """Return wattfarm's wheel with its dependencies. Raises WheelMissing in one sentence."""
    metadata = _metadata(own)
    unknown = sorted(set(extras) - set(metadata.get_all("Provides-Extra", [])))
    if unknown:
        known = ", ".join(sorted(metadata.get_all("Provides-Extra", [])))
        raise WheelMissing(f"wattfarm has no extra '{unknown[0]}'; --extra takes one of {known}.")
    wanted = sorted(extras)
    place = cache / "wheels" / _key(sorted(metadata.get_all("Requires-Dist", [])), wanted, target)
    wheels = None if refresh else _kept(place)
    if wheels is None:
        wheels = _download(own, wanted, target, place)
    own_wheel = Wheel(own, _sha256(own), _unpacked(own))
    return Bundle(metadata["Version"], tuple(wanted), (own_wheel, *wheels))


def _metadata(wheel: Path) -> Message:
    try:
        with zipfile.ZipFile(wheel) as archive:
            name = next(
                name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name)
            )
            metadata = HeaderParser().parsestr(archive.read(name).decode())
    except (OSError, zipfile.BadZipFile, StopIteration):
        raise WheelMissing(
            f"{wheel} is no wheel that can be read; give --wheel a file made by 'pip wheel'."
        ) from None
    if metadata["Name"] != "wattfarm":
        raise WheelMissing(
            f"{wheel} is a wheel of {metadata['Name']}, not of wattfarm; name another file with --wheel."
        )
    return metadata


def _key(requirements: list[str], extras: list[str], target: Target) -> str:
    text = json.dumps([requirements, extras, target.python, target.abi, target.tags])
    return f"cp{target.python}-{target.machine}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _kept(place: Path) -> tuple[Wheel, ...] | None:
    """Return what the cache holds; None if it holds nothing, or not what it should."""
    try:
        locked = json.loads((place / _LOCK).read_text(encoding="utf-8"))
        wheels = tuple(
            Wheel(place / name, _sha256(place / name), _unpacked(place / name)) for name in sorted(locked)
        )
    except (OSError, ValueError, zipfile.BadZipFile):
        return None
    return wheels if all(locked[wheel.name] == wheel.sha256 for wheel in wheels) else None


def _download(own: Path, extras: list[str], target: Target, place: Path) -> tuple[Wheel, ...]:
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".fresh-") as folder:
        fresh = Path(folder) / "wheels"
        fresh.mkdir()
        markers = Path(folder) / "markers.json"
        markers.write_text(json.dumps(target.markers()), encoding="utf-8")
        own_requirement = f"{own}[{','.join(extras)}]" if extras else str(own)
        command = [sys.executable, str(piprun.__file__), str(markers)]
        command += [
            "download",
            "--disable-pip-version-check",
            "--dest",
            str(fresh),
            *target.options(),
            own_requirement,
            "pip",
        ]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
            timeout=PIP_TIMEOUT_S,
        )
        if done.returncode:
            raise WheelMissing(explain(done.stderr, target))
        (fresh / own.name).unlink(missing_ok=True)
        lock = {path.name: _sha256(path) for path in sorted(fresh.glob("*.whl"))}
        (fresh / _LOCK).write_text(json.dumps(lock, indent=1), encoding="utf-8")
        shutil.rmtree(place, ignore_errors=True)
        fresh.replace(place)
    return _kept(place) or ()


def explain(errors: str, target: Target) -> str:
    """Turn what pip said into one sentence: what has no wheel for what, and the nearest remedy."""
    if "No module named pip" in errors or "No module named 'pip" in errors:
        return f"{sys.executable} has no pip, which collects the wheels; run '{sys.executable} -m ensurepip'."
    if any(sign in errors for sign in _OFFLINE):
        return (
            "The package index cannot be reached from this workstation; connect it, or name a folder of wheels with "
            "PIP_NO_INDEX=1 and PIP_FIND_LINKS."
        )
    missing = _NO_WHEEL.findall(errors)
    if missing:
        return (
            f"There is no wheel of '{missing[-1]}' for {target.title}; leave out the extra that needs it, choose another "
            "interpreter with --python, or build one on such a board and name its folder with PIP_FIND_LINKS."
        )
    lines = [line.removeprefix("ERROR:").strip() for line in errors.splitlines() if line.startswith("ERROR:")]
    last = (lines or [line for line in errors.splitlines() if line.strip()] or ["pip said nothing"])[-1]
    return f"pip could not collect the wheels for {target.title} ({last.rstrip('.')}); mend that and deploy again."


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unpacked(path: Path) -> int:
    """Return the size of a wheel's content, with as much again for every module that is compiled."""
    with zipfile.ZipFile(path) as archive:
        return sum(
            info.file_size * (2 if info.filename.endswith(".py") else 1) for info in archive.infolist()
        )

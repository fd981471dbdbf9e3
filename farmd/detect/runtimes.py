"""Which runtimes the machine's interpreters have. Each is asked in a worker of its own: nothing of a vendor is imported here."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from farmd import errors, launch, probe
from farmd.config import Config
from targets.boards import Board

OLDEST = (3, 6)
"""What the workers need; see docs/farmd.md."""


@dataclass(frozen=True)
class Runtime:
    """One runtime in one interpreter; `reason` says why it is not available."""

    name: str
    version: str
    is_available: bool
    reason: str


@dataclass(frozen=True)
class Interpreter:
    """One interpreter and what it answered; `problem` is why it did not."""

    path: Path
    runtimes: tuple[Runtime, ...] = ()
    problem: str = ""

    def runtime(self, name: str) -> Runtime | None:
        """Return what it says about a runtime; None if it said nothing."""
        return next((runtime for runtime in self.runtimes if runtime.name == name), None)


def candidates(root: Path, hints: Iterable[str], named: Sequence[Path]) -> list[Path]:
    """List the interpreters to ask: farmd's own, those somebody named, the board's, and the system's."""
    own = Path(sys.executable)
    found = [own, *named]
    taken = {_real(path) for path in found if not _in_environment(path)}
    for path in (*_hinted(root, hints), *_installed(root)):
        if _real(path) not in taken:
            taken.add(_real(path))
            found.append(path)
    return list(dict.fromkeys(found))


def _hinted(root: Path, hints: Iterable[str]) -> Iterator[Path]:
    for hint in hints:
        path = root / hint.lstrip("/")
        if path.is_file() and os.access(path, os.X_OK):
            yield path


def _installed(root: Path) -> Iterator[Path]:
    for folder in ("usr/bin", "usr/local/bin"):
        for path in sorted((root / folder).glob("python3.*")):
            version = re.fullmatch(r"python3\.(\d+)", path.name)
            if version and (3, int(version[1])) >= OLDEST and os.access(path, os.X_OK):
                yield path


def _in_environment(path: Path) -> bool:
    """Whether it belongs to a virtual environment: it then has packages that the one it links to has not."""
    return (path.parent.parent / "pyvenv.cfg").is_file()


def _real(path: Path) -> Path:
    return path.resolve()


def hints_of(board: Board | None) -> list[str]:
    """Return the interpreters that the catalogue names for a board, those of the newest image first."""
    if board is None:
        return []
    return [path for hint in board.runtimes for path in reversed(list(hint.interpreters.values()))]


def ask_all(interpreters: Iterable[Path]) -> list[Interpreter]:
    """Ask each interpreter for all runtimes, in a state directory that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="farmd-detect-") as folder:
        config = Config(state_dir=Path(folder))
        launch.prepare(config)
        return [ask(replace(config, default_interpreter=path), path) for path in interpreters]


def ask(config: Config, path: Path) -> Interpreter:
    """Ask one interpreter; one that fails to answer is a finding, not an error."""
    try:
        infos = probe.ask(config, path)
    except errors.FarmdError as error:
        return Interpreter(path, problem=_why(error))
    return Interpreter(
        path, tuple(Runtime(info.name, info.version, info.available, info.reason) for info in infos)
    )


def _why(error: errors.FarmdError) -> str:
    """Return the worker's own last words where it had some: they name the package that the interpreter lacks."""
    words = error.metadata.get("output", "").splitlines()
    return words[-1].removeprefix("worker: ") if words else error.message


def chosen(interpreters: Sequence[Interpreter]) -> dict[str, tuple[Path, Runtime]]:
    """Return for each runtime that works the first interpreter that has it; farmd's own is the first of all."""
    found: dict[str, tuple[Path, Runtime]] = {}
    for interpreter in interpreters:
        for runtime in interpreter.runtimes:
            if runtime.is_available:
                found.setdefault(runtime.name, (interpreter.path, runtime))
    return dict(sorted(found.items()))

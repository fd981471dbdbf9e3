"""Finds old interpreters with numpy: targets/ runs in whatever Python a board's vendor ships."""

import fcntl
import functools
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.targets.helpers import ROOT

CACHE = ROOT / "build" / "old-pythons"
VERSIONS = ("3.6", "3.7", "3.8")


def find_interpreter(version: str) -> str:
    """Return an interpreter of that version from PATH or pyenv, or skip."""
    pyenv = sorted(str(path) for path in Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    on_path = shutil.which(f"python{version}")
    for candidate in [*pyenv, *([on_path] if on_path else [])]:
        # pyenv puts commands on PATH that only say that the version is not selected.
        if subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode == 0:
            return candidate
    pytest.skip(f"no python{version} on PATH or in ~/.pyenv/versions")


def has_numpy(interpreter: str) -> bool:
    """Whether it can import numpy."""
    return (
        subprocess.run([interpreter, "-c", "import numpy"], capture_output=True, check=False).returncode == 0
    )


def with_numpy(version: str) -> str:
    """Return an interpreter of that version that has numpy, made once in build/; skip if that cannot be."""
    interpreter = find_interpreter(version)
    if has_numpy(interpreter):
        return interpreter
    python = CACHE / version / "bin" / "python"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{version}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests of several processes want it
        if not (python.exists() and has_numpy(str(python))):
            _make(interpreter, python, version)
    return str(python)


def _make(interpreter: str, python: Path, version: str) -> None:
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "numpy"]
    for command in ([interpreter, "-m", "venv", "--clear", str(python.parents[1])], pip):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
        if done.returncode:
            pytest.skip(f"no numpy for python{version}: {(done.stderr or done.stdout).strip()[-200:]}")


@functools.cache
def oldest() -> str:
    """Return the oldest interpreter with numpy that this machine has; this one if there is no older."""
    for version in VERSIONS:
        try:
            return with_numpy(version)
        except pytest.skip.Exception:
            continue
    return sys.executable

"""The example worker in C, compiled once a process."""

import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

from tests.targets.helpers import ROOT

SOURCE = ROOT / "examples" / "external"


@cache
def _built() -> bytes:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler, called cc")
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "worker")
        command = [compiler, "-std=gnu99", "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(program)]
        subprocess.run([*command, str(SOURCE / "worker.c")], check=True)
        return program.read_bytes()


def example_worker(folder: Path) -> Path:
    """Write the example's executable into a folder."""
    path = folder / "worker"
    path.write_bytes(_built())
    path.chmod(0o755)
    return path

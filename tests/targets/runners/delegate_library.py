"""Compiles the fake delegate (tests/fakes/tflite/delegate.c) into libraries that a real Interpreter loads."""

import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from targets import catalogue
from targets.errors import RuntimeUnavailable
from tests.targets.helpers import WorkerClient
from tests.targets.runners.cases import FAKES

_SOURCE = FAKES / "tflite" / "delegate.c"


@functools.cache
def _folder() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="wattfarm-delegates-")


def worker_with(library: str, *flags: str, **variables: str) -> WorkerClient:
    """Start a worker of this interpreter that finds a library of that name; skips without a compiler or LiteRT."""
    try:
        catalogue.runner_class("litert").version()
    except RuntimeUnavailable as error:
        pytest.skip(str(error))
    return WorkerClient(
        interpreter=sys.executable, env={"LD_LIBRARY_PATH": _compiled(library, flags), **variables}
    )


@functools.cache
def _compiled(library: str, flags: tuple[str, ...]) -> str:
    compiler = (
        os.environ.get("CC") or shutil.which("cc") or pytest.skip("needs a C compiler, cc on PATH or in CC")
    )
    folder = Path(_folder().name) / "-".join((library, *flags))
    folder.mkdir(parents=True)
    command = [compiler, "-shared", "-fPIC", "-O1", *flags, "-o", str(folder / library), str(_SOURCE)]
    subprocess.run(command, check=True, timeout=60)
    return str(folder)

"""A farm for tests: a home of its own, boards that are real farmd processes, and hostctl as a user runs it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from hostctl import main
from hostctl.models.zoo import build
from tests.serving import ROOT, serve_farmd
from tests.waiting import alive as alive
from tests.waiting import wait_until as wait_until

FAKES = Path(__file__).parent / "fakes"
QUICK = ("--duration", "200ms", "--warmup", "50ms", "--idle", "100ms")
"""Options of a run that is over soon."""
BOARD_MOODS = {"BACKGROUND_LOAD", "IDLE_DRIFT", "CLOCK_BOUND_TOO_WIDE", "THROTTLED"}
"""Flags that a busy test machine may earn; a test of something else must not fail for them."""


class Done(NamedTuple):
    """What came of a call."""

    returncode: int
    stdout: str
    stderr: str


class Hostctl:
    """Runs `hostctl` with a home and an inventory of the test's."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.config = home / "farm.toml"
        self.config.write_text("")
        self.environment = {**os.environ, "WATTFARM_HOME": str(home), "TMPDIR": str(home / "tmp")}
        (home / "tmp").mkdir()

    def add_device(self, name: str, address: str, **keys: str) -> None:
        """Write a device into the inventory."""
        lines = [f"[devices.{name}]", f'address = "{address}"', 'board = "generic-x86_64"']
        lines += [f'{key} = "{value}"' for key, value in keys.items()]
        with self.config.open("a") as file:
            file.write("\n".join(lines) + "\n")

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start it; stdout and stderr are pipes."""
        return subprocess.Popen(
            [sys.executable, "-m", "hostctl", "--config", str(self.config), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
            cwd=ROOT,
        )

    def run(self, *arguments: str) -> Done:
        """Run it within this process, which saves its start, to its end."""
        stdout, stderr = io.StringIO(), io.StringIO()
        with (
            patch.dict(os.environ, self.environment),
            contextlib.redirect_stdout(stdout),
            contextlib.redirect_stderr(stderr),
        ):
            code = main.run(["--config", str(self.config), *arguments])
        return Done(code, stdout.getvalue(), stderr.getvalue())

    def spawn(self, *arguments: str, timeout_s: float = 60.0) -> Done:
        """Run it in a process of its own to its end."""
        process = self.start(*arguments)
        try:
            stdout, stderr = process.communicate(timeout=timeout_s)
        finally:
            process.kill()
            process.wait()
        return Done(process.returncode, stdout, stderr)

    def results(self, *arguments: str) -> list[dict[str, Any]]:
        """Run with --json and return the results, whatever the exit code."""
        return [json.loads(line) for line in self.run(*arguments, "--json").stdout.splitlines()]

    def leases(self) -> list[dict[str, Any]]:
        """Return the leases that are alive."""
        listed = self.run("leases", "--json")
        assert listed.returncode == 0, listed.stderr
        return [json.loads(line) for line in listed.stdout.splitlines()]

    def stored(self) -> list[dict[str, Any]]:
        """Return the results that were kept."""
        listed = self.run("results", "list", "--json")
        assert listed.returncode == 0, listed.stderr
        return [json.loads(line) for line in listed.stdout.splitlines()]


@contextmanager
def serve_board(directory: Path, **config: Any) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Serve a board that also has the runtime "faulty"; yields its address and process."""
    values: dict[str, Any] = {
        "device": "bench",
        "extra_worker_paths": [str(FAKES)],
        "worker_env": {"WATTFARM_RUNNERS": "faulty=wattfarm_faulty:FaultyRunner"},
        "infer_timeout_s": 2.0,
        **config,
    }
    with serve_farmd(directory, **values) as (address, process):
        yield address, process


def small_model(directory: Path) -> Path:
    """Return an ONNX file of 33 parameters with an open batch."""
    return build("think-ch1", directory)


def codes(result: dict[str, Any]) -> set[str]:
    """Return the codes of a result's flags."""
    return {flag["code"] for flag in result["flags"]}


def processes_with(text: str) -> list[int]:
    """Return the processes whose command line holds a text."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if text in command and alive(int(entry.name)):
                found.append(int(entry.name))
    return found


def lines_of(text: str) -> Sequence[str]:
    """Return the lines that hold something."""
    return [line for line in text.splitlines() if line.strip()]

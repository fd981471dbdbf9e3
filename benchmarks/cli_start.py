"""What starting the command line costs: `hostctl --help` beside a Python that does nothing."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import Row

STARTS = 15
MAX_HELP_S = 0.25
_BARE = (sys.executable, "-c", "pass")


def _hostctl() -> tuple[str, ...]:
    """Return the installed script, as users start it; where there is none, the module."""
    script = Path(sys.executable).with_name("hostctl")
    return (str(script),) if script.exists() else (sys.executable, "-m", "hostctl")


def _seconds(command: Sequence[str]) -> float:
    began_s = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began_s


def run() -> list[Row]:
    """Return the median start of each, taken in turns so that a busy moment of the machine meets both."""
    script = _hostctl()
    commands = {"bare": _BARE, "help": (*script, "--help"), "version": (*script, "--version")}
    times: dict[str, list[float]] = {name: [] for name in commands}
    for command in commands.values():
        _seconds(command)  # the first start compiles and fills the page cache
    for _ in range(STARTS):
        for name, command in commands.items():
            times[name].append(_seconds(command))
    median_s = {name: statistics.median(values) for name, values in times.items()}
    return [
        Row("hostctl --help", median_s["help"], "s", None, MAX_HELP_S, "at most"),
        Row("hostctl --version", median_s["version"], "s", None, MAX_HELP_S, "at most"),
        Row("hostctl --help ÷ bare python -c pass", median_s["help"], "s", median_s["bare"], 15.0, "at most"),
    ]

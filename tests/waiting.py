"""Waiting for what other processes do."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any


def wait_until(condition: Any, timeout_s: float = 20.0, what: str = "the condition") -> None:
    """Wait until something is true; fails the test after `timeout_s`."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"{what} did not come true within {timeout_s:g} s"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

"""Fixtures of all tests of power."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def pyvisa_py() -> Iterator[None]:
    """Let pyvisa take pyvisa-py at once: its search for a vendor's library takes 80 ms each time, and may find one."""
    before = os.environ.get("PYVISA_LIBRARY")
    os.environ["PYVISA_LIBRARY"] = "@py"
    yield
    if before is None:
        del os.environ["PYVISA_LIBRARY"]
    else:
        os.environ["PYVISA_LIBRARY"] = before

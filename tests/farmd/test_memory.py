"""Freed memory stays with the process, so that large messages do not cost page faults again and again."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# What a call does: three copies of a message of 600 kB live at the same time in a thread, and are then freed.
PROGRAM = """
import resource, sys, threading
from farmd import memory
if sys.argv[1] == "keep":
    assert memory.keep_freed_memory()
def calls(count):
    for _ in range(count):
        copies = [bytes(600_000) for _ in range(3)]
        del copies
def run():
    calls(20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    calls(200)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
thread = threading.Thread(target=run)
thread.start()
thread.join()
"""


def page_faults(how: str) -> int:
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True, timeout=60
    )
    return int(found.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives memory back so eagerly")
def test_large_messages_cost_no_page_faults_after_the_first() -> None:
    assert page_faults("keep") < 200
    assert page_faults("leave") > 20_000

"""A process killed while it saves: the result is there or it isn't, and the next one is kept."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hostctl.results.store import ResultStore
from tests.hostctl.results.results_data import a_result

SAVE_AND_DIE = """
import os, signal, sys
from pathlib import Path
import numpy as np
from hostctl.results import store as module
from tests.hostctl.results.results_data import a_result

def die(*_args, **_options):
    os.kill(os.getpid(), signal.SIGKILL)

store = module.ResultStore(Path(sys.argv[1]))
setattr(module, sys.argv[2], die)
times = np.array([1, 5], np.int64)
store.save(a_result(id="deadbeefdeadbeef"), module.Raw(times, times + 3))
"""


@pytest.mark.parametrize("step", ["_write_raw", "_sync", "writing", "_row"])
@pytest.mark.slow
def test_a_result_whose_writer_was_killed_is_not_found(tmp_path: Path, step: str) -> None:
    store = ResultStore(tmp_path)
    kept = a_result(id="aaaa000000000000")
    store.save(kept)
    killed = subprocess.run(
        [sys.executable, "-c", SAVE_AND_DIE, str(tmp_path), step], timeout=60, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert store.list() == [kept]
    after = a_result(id="bbbb000000000000")
    store.save(after)
    assert {found["id"] for found in store.list()} == {kept["id"], after["id"]}
    store.close()
    reopened = ResultStore(tmp_path)
    assert reopened.get("bbbb") == after
    assert len(reopened.list()) == 2
    reopened.close()

"""The device `local`: there for the call, and nothing of it left afterwards, however the call ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from hostctl.client import Board
from hostctl.local import LocalDeviceError, local_device
from tests.hostctl.farm import processes_with, wait_until
from tests.serving import ROOT

_HOLDER = """
import sys, time
from hostctl.local import local_device
with local_device() as address:
    print(address, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go in this test."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_serves_this_machine_and_leaves_nothing(temporary: Path) -> None:
    with local_device() as address:
        assert address.startswith("127.0.0.1:")
        assert len(list(temporary.iterdir())) == 1
        assert processes_with(str(temporary))
        with Board(address) as board:
            assert board.info().device == "local"
    assert list(temporary.iterdir()) == []
    assert processes_with(str(temporary)) == []


def test_an_error_in_the_block_leaves_nothing_either(temporary: Path) -> None:
    with pytest.raises(KeyboardInterrupt), local_device():
        raise KeyboardInterrupt
    assert list(temporary.iterdir()) == []
    assert processes_with(str(temporary)) == []


@pytest.mark.slow
def test_two_at_once_do_not_meet(temporary: Path) -> None:
    with local_device() as first, local_device() as second:
        assert first != second
        with Board(first) as one, Board(second) as two:
            assert one.info().instance_id != two.info().instance_id


def test_settings_of_the_machines_own_daemon_are_left_alone(
    temporary: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path_factory.mktemp("operator")
    (directory / "farmd.toml").write_text('device = "production"\nlisten = "127.0.0.1:50051"\n')
    monkeypatch.chdir(directory)
    with local_device() as address, Board(address) as board:
        assert board.info().device == "local"


@pytest.mark.parametrize("victim", ["hostctl", "both"])
def test_kill_9_leaves_nothing(temporary: Path, victim: str) -> None:
    holder = subprocess.Popen([sys.executable, "-c", _HOLDER], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert holder.stdout is not None
    assert holder.stdout.readline().startswith("127.0.0.1:")
    (daemon,) = (pid for pid in processes_with(str(temporary)) if pid != holder.pid and _is_farmd(pid))
    if victim == "both":
        os.kill(daemon, signal.SIGKILL)
    holder.kill()
    holder.wait()
    holder.stdout.close()
    wait_until(lambda: not processes_with(str(temporary)), what="the end of farmd and the janitor")
    assert list(temporary.iterdir()) == []


def _is_farmd(pid: int) -> bool:
    return b"farmd" in (Path("/proc") / str(pid) / "cmdline").read_bytes().split(b"\0")


def test_a_full_or_missing_temporary_directory_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(LocalDeviceError, match="TMPDIR"), local_device():
        pass


def test_a_farmd_that_does_not_start_is_told_with_its_last_words(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["/bin/sh", "-c", "echo out of luck >&2; exit 3"]
    monkeypatch.setattr("hostctl.local._command", lambda *_: command)
    with pytest.raises(LocalDeviceError, match=r"exit code 3 \(last words: out of luck\)"), local_device():
        pass
    assert list(temporary.iterdir()) == []

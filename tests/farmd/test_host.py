"""What the daemon asks of its host."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from farmd import host
from farmd.errors import StartRefused
from tests.serving import ROOT


def test_the_state_directory_is_held_alone_and_given_back(tmp_path: Path) -> None:
    with host.state_directory(tmp_path / "a/b") as path:
        assert (path / "farmd.lock").read_text() == f"{os.getpid()}\n"
        with pytest.raises(StartRefused, match=f"process {os.getpid()}"), host.state_directory(path):
            pytest.fail("two daemons on one state directory")
    with host.state_directory(tmp_path / "a/b"):
        pass


def test_a_file_is_written_whole_or_refused(tmp_path: Path) -> None:
    host.write_whole(tmp_path / "address", "one\n")
    host.write_whole(tmp_path / "address", "two\n")
    assert (tmp_path / "address").read_text() == "two\n"
    assert [path.name for path in tmp_path.iterdir()] == ["address"]
    with pytest.raises(StartRefused, match="cannot be written"):
        host.write_whole(tmp_path / "absent/address", "x")


def test_the_end_of_the_parent_is_noticed() -> None:
    ended = threading.Event()
    parent = subprocess.Popen(["sleep", "600"])
    try:
        host.on_parent_exit(os.getppid(), ended.set)
        assert not ended.is_set()
    finally:
        parent.kill()
        parent.wait()
    host.on_parent_exit(parent.pid, ended.set)
    assert ended.is_set()


def test_an_old_kernel_ends_the_daemon_by_signal(tmp_path: Path) -> None:
    """Without pidfds (before Linux 5.3) the kernel itself signals, as soon as the parent dies."""
    child = (
        "import os, signal, sys, time; from farmd import host; del os.pidfd_open; "
        "signal.signal(signal.SIGTERM, lambda *_: (open(sys.argv[1], 'w').write('told'), os._exit(0))); "
        "host.on_parent_exit(os.getppid(), lambda: None); print('ready', flush=True); time.sleep(600)"
    )
    parent = (
        "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', *sys.argv[1:]], stdout=-1); "
        "p.stdout.readline(); print('ready', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", parent, child, str(tmp_path / "told")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.kill()
    process.communicate()
    ended = threading.Event()
    for _ in range(200):
        if (tmp_path / "told").exists():
            break
        ended.wait(0.05)
    assert (tmp_path / "told").read_text() == "told"


def test_systemd_is_told_also_through_an_abstract_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"wattfarm-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0{name}")
        listener.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        host.notify("READY=1")
        assert listener.recv(100) == b"READY=1"
    host.notify("READY=1")  # nobody listens any more: not our problem
    monkeypatch.delenv("NOTIFY_SOCKET")
    host.notify("READY=1")

"""The real thing as far as this machine has it: real wheels from the package index, and a real sshd."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from farm.v1 import device_service_pb2 as pb

from hostctl.deploy.errors import WheelMissing
from hostctl.deploy.ownwheel import own_wheel
from tests.hostctl.deploy.board import FAKES, Workstation, workstation
from tests.serving import device_service, write_config
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
NO_INDEX = "The package index cannot be reached"


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Workstation]:
    """A workstation, and a board with nothing on it."""
    yield from workstation(tmp_path)


def free_port() -> int:
    """Return a port that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.timeout(600)
def test_this_wattfarm_under_another_python(station: Workstation) -> None:
    board, address = station.board, f"127.0.0.1:{free_port()}"
    for key in ("PIP_NO_INDEX", "PIP_FIND_LINKS", "PIP_CONFIG_FILE"):
        del station.environment[key]
    state = board.directory / "root/var/lib/wattfarm"
    mine = write_config(
        station.home / "mine.toml", {"device": "orin-1", "listen": address, "state_dir": state}
    )
    try:
        wheel = own_wheel(station.home / "own")
    except WheelMissing as error:
        pytest.skip(error.message)  # building it takes the index
    alone = [
        "deploy",
        "orin-1",
        "--ssh",
        "lab@board",
        "--python",
        station.python,
        "--wheel",
        str(wheel),
        "--yes",
        "--json",
    ]
    words = [*alone, "--config", str(mine)]
    done = station.spawn(*words, timeout_s=500.0)
    if NO_INDEX in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["state"], told["listen"], told["python"]) == ("installed", address, station.python)
    with device_service(address) as service:
        info = service.GetInfo(pb.GetInfoRequest(), timeout=30)
    assert (info.device, info.farmd_version) == ("orin-1", told["version"])
    interpreter = (board.prefix / "current/venv/bin/python").resolve()
    assert interpreter == Path(station.python).resolve()

    again = station.spawn(*words, timeout_s=500.0)
    assert json.loads(again.stdout)["state"] == "unchanged"
    board.config.write_text(board.config.read_text() + "devise = 1\n")
    refused = station.spawn(*words, timeout_s=500.0)
    assert refused.returncode == 1
    assert "has an unknown key 'devise'; did you mean 'device'?" in refused.stderr

    here = station.spawn(*alone, "--no-service", timeout_s=500.0)
    assert here.returncode == 0, here.stderr
    told = json.loads(here.stdout)
    assert [note for note in told["notes"] if note.startswith("Board: ")]
    assert "Proposed by farmd --detect" in Path(told["config"]).read_text()


@contextmanager
def serve_ssh(station: Workstation, directory: Path) -> Iterator[list[str]]:
    """Serve ssh on the loopback for the board of a test; yields the arguments that lead there. Skips without a sshd."""
    sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if sshd is None:
        pytest.skip("no sshd on this machine (Debian: openssh-server)")
    directory.mkdir()
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / name], check=True)
    forced = directory / "board.sh"
    there = station.board.directory
    forced.write_text(
        f'#!/bin/sh\nexec env -i HOME="{there}/home" WATTFARM_ROOT="{there}/root" FAKE_BOARD="{there}" '
        f'PATH="{there}/bin:/usr/bin:/bin" sh -c "$SSH_ORIGINAL_COMMAND"\n'
    )
    forced.chmod(0o755)
    port = free_port()
    config = directory / "sshd_config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {directory}/host\nAuthorizedKeysFile {directory}/user.pub\n"
        f"PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nForceCommand {forced}\n"
    )
    log = directory / "sshd.log"
    server = subprocess.Popen([sshd, "-D", "-f", config, "-E", log], stdin=subprocess.DEVNULL)
    try:
        wait_until(lambda: server.poll() is not None or "Server listening" in _text(log))
        if server.poll() is not None:
            pytest.skip(f"sshd does not start for this user: {_text(log).strip()[-200:]}")
        options = [
            f"Port={port}",
            f"IdentityFile={directory}/user",
            "IdentitiesOnly=yes",
            "StrictHostKeyChecking=no",
        ]
        options.append(f"UserKnownHostsFile={directory}/known")
        yield [
            "--ssh",
            f"{getpass.getuser()}@127.0.0.1",
            *(word for option in options for word in ("--ssh-option", option)),
        ]
    finally:
        server.terminate()
        server.wait()


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_over_a_real_sshd(station: Workstation, tmp_path: Path) -> None:
    station.environment["PATH"] = station.environment["PATH"].removeprefix(f"{FAKES / 'client'}:")
    board = station.board
    with serve_ssh(station, tmp_path / "ssh") as destination:
        for version, fault, state in (
            ("1.0", "none", "installed"),
            ("1.0", "none", "unchanged"),
            ("1.1", "none", "upgraded"),
        ):
            done = station.spawn(*station.arguments(version, fault, *destination, "--json"))
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)["state"] == state
        failed = station.spawn(*station.arguments("1.2", "unhealthy", *destination))
        assert (failed.returncode, board.serves) == (1, "1.1 none")
    gone = station.spawn(*station.arguments("1.2", "none", *destination))
    assert gone.returncode == 4
    assert "cannot be reached over ssh" in gone.stderr

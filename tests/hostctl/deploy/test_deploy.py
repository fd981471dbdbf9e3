"""Deployments to a board that is a directory of this machine: first, again, upgrade, and what is asked and told."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hostctl.leases.model import Claim, State
from hostctl.leases.store import LeaseStore
from tests.hostctl.deploy.board import FAKES, Workstation, workstation


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Workstation]:
    """A workstation, and a board with nothing on it."""
    yield from workstation(tmp_path)


@pytest.mark.slow
def test_first_again_and_upgrade(station: Workstation) -> None:
    board = station.board
    done = station.deploy("1.0")
    assert done.returncode == 0, done.stderr
    assert board.serves == "1.0 none"
    assert board.steps() == ["facts", "lock", "prepare", "send", "install", "configure", "service"]
    assert (board.directory / "enabled").exists()
    assert (
        f"ExecStart={board.prefix}/current/venv/bin/farmd --config {board.config}\n" in board.unit.read_text()
    )
    assert 'device = "orin-1"' in board.config.read_text()
    assert "--user-group" in (board.directory / "accounts/wattfarm").read_text()

    first_pid, first = board.pid, board.current
    board.systemctl_calls()
    again = json.loads(station.deploy("1.0", "none", "--json").stdout)
    assert (again["state"], again["sent"], again["notes"]) == ("unchanged", 0, [])
    assert (board.pid, set(board.systemctl_calls())) == (first_pid, {"is-active"})
    assert "send" not in board.steps()

    upgrade = json.loads(station.deploy("1.1", "none", "--json").stdout)
    assert (upgrade["state"], upgrade["previous"], upgrade["release"]) == ("upgraded", first, board.current)
    assert upgrade["sent"] == 1  # the wheels that did not change are those of the last release
    pip = next(board.prefix.glob(f"releases/{first}/wheels/pip-*.whl"))
    assert pip.samefile(board.prefix / "current/wheels" / pip.name)
    assert board.serves == "1.1 none"


@pytest.mark.slow
def test_three_releases_are_kept(station: Workstation) -> None:
    for version in ("1.0", "1.1", "1.2", "1.3"):
        assert station.deploy(version).returncode == 0
        for marker in station.board.prefix.glob("releases/*/.good"):  # a clock that begins anew at each start
            os.utime(marker, (marker.stat().st_mtime + 1000.0,) * 2)
    assert station.board.releases() == {"1.1", "1.2", "1.3"}
    assert station.deploy("1.2").returncode == 0  # back by hand: it is there, nothing is installed
    assert station.board.serves == "1.2 none"
    assert station.board.releases() == {"1.1", "1.2", "1.3"}


@pytest.mark.slow
def test_a_service_that_stands_still_is_started(station: Workstation) -> None:
    assert station.deploy().returncode == 0
    station.board.close()
    assert station.board.serves == ""
    done = json.loads(station.deploy("1.0", "none", "--json").stdout)
    assert (done["state"], station.board.serves) == ("installed", "1.0 none")


@pytest.mark.slow
def test_settings_of_the_user(station: Workstation) -> None:
    board = station.board
    mine = station.home / "mine.toml"
    state = board.directory / "root/var/lib/wattfarm"
    mine.write_text("devise = 1\n")
    bad = station.deploy("1.0", "none", "--config", str(mine))
    assert bad.returncode == 1
    assert (
        f"refuses its settings: {board.config} has an unknown key 'devise'; did you mean 'device'?"
        in bad.stderr
    )
    assert not board.config.exists()
    assert list(board.config.parent.iterdir()) == []
    assert board.current == ""

    mine.write_text(f'listen = "127.0.0.1:50999"\nstate_dir = "{state}"\n')
    good = json.loads(station.deploy("1.0", "none", "--config", str(mine), "--json").stdout)
    assert (good["listen"], board.config.read_text()) == ("127.0.0.1:50999", mine.read_text())

    mine.write_text('listen = "127.0.0.1:51000"\n')
    kept = json.loads(station.deploy("1.0", "none", "--config", str(mine), "--json").stdout)
    assert (kept["state"], kept["listen"]) == ("unchanged", "127.0.0.1:50999")
    assert kept["notes"] == [
        f"Kept the {board.config} that is there; it differs from yours. Move it away to have yours installed."
    ]


def test_a_plan_changes_nothing(station: Workstation) -> None:
    board = station.board
    plan = station.deploy("1.0", "none", "--dry-run")
    assert plan.returncode == 0
    assert "send up to 4 wheels" in plan.stdout
    planned = json.loads(station.deploy("1.0", "none", "--dry-run", "--json").stdout)
    assert planned["state"] == "planned"
    assert planned["release"] in plan.stdout
    assert board.steps() == ["facts", "facts"]
    assert not board.prefix.exists()


def test_without_a_terminal_somebody_has_to_say_yes(
    station: Workstation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", open(FAKES / "systemctl.py"))  # noqa: SIM115 (closed below)
    try:
        done = station.run(*(word for word in station.arguments("1.0", "none") if word != "--yes"))
    finally:
        sys.stdin.close()
    assert done.returncode == 2
    assert "give --yes" in done.stderr
    assert not station.board.prefix.exists()


@pytest.mark.slow
def test_without_a_service(station: Workstation) -> None:
    board = station.board
    prefix = board.directory / "home/.local/share/wattfarm"
    done = json.loads(station.deploy("1.0", "none", "--no-service", "--json").stdout)
    assert (done["state"], done["unit"]) == ("installed", None)
    assert done["start_command"] == f"{prefix}/current/venv/bin/farmd --config {prefix}/farmd.toml"
    assert (prefix / "current/venv/bin/farmd").is_file()
    assert board.systemctl_calls() == []
    assert json.loads(station.deploy("1.0", "none", "--no-service", "--json").stdout)["state"] == "unchanged"

    first = (prefix / "current").readlink()
    failed = station.deploy("1.1", "crash", "--no-service")
    assert failed.returncode == 1
    assert f"{first.name} stays switched on" in failed.stderr
    assert "  farmd: The accelerator's library is not there." in failed.stderr
    assert (prefix / "current").readlink() == first


@pytest.mark.slow
def test_a_board_with_busybox(station: Workstation) -> None:
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("no busybox on this machine (Debian: busybox-static)")
    station.board.take_tools_of(busybox)
    # Without a service: busybox's shell runs a su of its own, whatever the PATH says.
    assert station.deploy("1.0", "none", "--no-service").returncode == 0
    assert "stays switched on" in station.deploy("1.1", "unhealthy", "--no-service").stderr
    upgrade = station.deploy("1.1", "none", "--no-service", "--json")
    assert json.loads(upgrade.stdout)["state"] == "upgraded", upgrade.stderr


@pytest.mark.slow
def test_sudo(station: Workstation) -> None:
    board = station.board
    board.say("not-root")
    password = board.say("wants-password")
    refused = station.deploy()
    assert refused.returncode == 1
    assert "'lab' on" in refused.stderr
    assert "'sudo -n' asks for a password" in refused.stderr
    password.unlink()
    assert station.deploy().returncode == 0
    assert board.serves == "1.0 none"


def test_another_command_than_ssh(station: Workstation) -> None:
    command = f"{FAKES / 'client/ssh'} -o Port=22"
    arguments = ("--ssh-command", command, "--ssh-option", "User=lab", "--dry-run")
    assert station.deploy("1.0", "none", *arguments).returncode == 0
    missing = station.deploy("1.0", "none", "--ssh-command", "no-such-ssh")
    assert missing.returncode == 2
    assert "'no-such-ssh' cannot be run here (No such file or directory)" in missing.stderr


def test_who_cannot_be_reached(station: Workstation) -> None:
    done = station.run("deploy", "orin-1", "--ssh", "lab@nowhere", "--yes")
    assert done.returncode == 4
    assert (
        "lab@nowhere cannot be reached over ssh (ssh: connect to host nowhere port 22: No route to host)"
        in done.stderr
    )


@pytest.mark.slow
def test_a_board_that_somebody_measures_on_is_left_alone(station: Workstation) -> None:
    station.add_device("orin-1", "127.0.0.1:50051")
    with closing(LeaseStore(station.home / "data/leases.sqlite")) as store:
        lease = store.request("anna@desk", [Claim("orin-1")], ttl_s=600.0)
        done = station.deploy()
        assert done.returncode == 3
        assert "anna@desk" in done.stderr
        assert not station.board.prefix.exists()
        store.release(lease.id)
        assert station.deploy().returncode == 0
        assert [lease.state for lease in store.list() if lease.state is State.ACTIVE] == []
    assert 'board = "generic-x86_64"' in station.board.config.read_text()


def test_wrong_words(station: Workstation) -> None:
    for words, said in (
        (("bad name", "--ssh", "lab@board"), "is no name for a board"),
        (("orin-1", "--ssh", "-oProxyCommand=x"), "is no ssh destination"),
        (
            ("orin-1", "--ssh", "lab@board", "--prefix", "/opt/my farm"),
            "must be an absolute path without blanks",
        ),
        (("orin-1", "--ssh", "lab@board", "--user", "Wat Farm"), "is no name for an account"),
        (("orin-1", "--ssh", "lab@board", "--config", "absent.toml"), "absent.toml cannot be read"),
    ):
        done = station.run("deploy", *words, "--yes")
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert said in done.stderr
    assert station.board.steps() == []


def test_a_python_that_is_none_or_too_old(station: Workstation) -> None:
    done = station.deploy("1.0", "none", "--python", "/bin/true")
    assert done.returncode == 1
    assert "/bin/true on" in done.stderr
    assert "is no Python that runs" in done.stderr


def test_wheels_that_are_not_there(station: Workstation) -> None:
    absent = station.deploy("1.0", "none", "--extra", "absent")
    assert absent.returncode == 1
    assert "There is no wheel of 'nowheel' for CPython 3." in absent.stderr
    unknown = station.deploy("1.0", "none", "--extra", "absnt")
    assert "wattfarm has no extra 'absnt'; --extra takes one of absent, board." in unknown.stderr
    broken = station.home / "broken.whl"
    broken.write_text("no zip")
    done = station.run(
        "deploy", "orin-1", "--ssh", "lab@board", "--python", station.python, "--yes", "--wheel", str(broken)
    )
    assert f"{broken} is no wheel that can be read" in done.stderr
    assert set(station.board.steps()) == {"facts"}


def test_too_little_room(station: Workstation) -> None:
    board = station.board
    board.say("free_kib", "10240")
    done = station.deploy()
    assert done.returncode == 1
    assert f"has 10 MB free at {board.prefix}, but the release takes" in done.stderr
    assert board.steps() == ["facts"]

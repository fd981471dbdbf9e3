"""What goes wrong in the middle of a deployment: the board serves what it served before, and the next one repairs."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostctl.deploy import lock
from hostctl.deploy.facts import with_settings
from hostctl.deploy.install import read_answer
from tests.hostctl.deploy.board import Workstation, workstation
from tests.waiting import wait_until


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Workstation]:
    """A workstation, and a board with version 1.0 on it."""
    for station in workstation(tmp_path):
        assert station.deploy("1.0").returncode == 0
        station.board.steps()
        yield station


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Workstation]:
    """A workstation, and a board with nothing on it."""
    yield from workstation(tmp_path)


def assert_rolled_back(station: Workstation, fault: str, said: str) -> None:
    """Deploy a version with that fault and see that nothing has changed."""
    board, first = station.board, station.board.current
    done = station.deploy("1.1", fault)
    assert done.returncode == 1
    assert said in done.stderr
    assert (board.current, board.serves) == (first, "1.0 none")
    assert (board.prefix / "current/venv/bin/farmd").exists()


@pytest.mark.slow
def test_a_version_that_says_it_does_not_serve_is_rolled_back(station: Workstation) -> None:
    assert_rolled_back(station, "unhealthy", "it says NOT_SERVING")


@pytest.mark.slow
def test_versions_that_fail_are_rolled_back_and_go_with_the_next(station: Workstation) -> None:
    board, first = station.board, station.board.current
    assert_rolled_back(station, "start", "The new farmd does not start (farmd: ImportError: libwrong.so.1).")
    assert_rolled_back(
        station, "settings", f"refuses its settings: {board.config} has an unknown key 'devise'"
    )
    assert_rolled_back(station, "crash", f"{first} runs again; mend what its log says and deploy again.\n")
    assert "farmd: The accelerator's library is not there." in (board.directory / "journal").read_text()
    assert station.deploy("1.1").returncode == 0
    assert board.serves == "1.1 none"
    assert {path.name for path in (board.prefix / "releases").iterdir()} == {first, board.current}


@pytest.mark.slow
def test_a_first_version_that_does_not_serve_leaves_nothing_on(empty: Workstation) -> None:
    board = empty.board
    done = empty.deploy("1.0", "unhealthy")
    assert done.returncode == 1
    assert "there is no version to go back to, and nothing was left switched on" in done.stderr
    assert (board.current, board.pid, board.unit.exists()) == ("", None, False)
    assert not (board.directory / "enabled").exists()
    assert empty.deploy("1.0").returncode == 0
    assert board.serves == "1.0 none"


READY = (
    "import os, socket, time; "
    "socket.socket(1, 2).sendto(b'READY=1', os.environ['NOTIFY_SOCKET'].replace('@', chr(0), 1)); time.sleep(600)"
)


@pytest.mark.slow
def test_a_unit_written_by_hand_comes_back(empty: Workstation) -> None:
    board = empty.board
    by_hand = f'[Service]\nExecStart={sys.executable} -I -c "{READY}"\n'
    board.unit.write_text(by_hand)
    done = empty.deploy("1.0", "crash")
    assert done.returncode == 1
    assert board.unit.read_text() == by_hand
    assert board.pid is not None
    assert empty.deploy("1.0").returncode == 0
    assert board.unit.with_name("farmd.service.saved").read_text() == by_hand
    assert board.serves == "1.0 none"


@pytest.mark.slow
def test_a_connection_lost_before_a_step(station: Workstation) -> None:
    board = station.board
    for step in ("lock", "prepare", "send", "install", "configure", "service"):
        lost = board.say(f"lost-{step}")
        done = station.deploy("1.1")
        assert done.returncode == 4, step
        assert (
            "lab@board cannot be reached over ssh (client_loop: send disconnect: Broken pipe)" in done.stderr
        )
        assert board.serves == "1.0 none"
        lost.unlink()
    assert station.deploy("1.1").returncode == 0
    assert board.serves == "1.1 none"


@pytest.mark.slow
@pytest.mark.parametrize("step", ["install", "service"])
def test_a_step_outlives_its_connection(station: Workstation, step: str) -> None:
    board = station.board
    cut = board.say(f"cut-{step}")
    assert station.deploy("1.1").returncode == 4
    cut.unlink()
    if step == "service":  # the board goes on by itself, to a version that serves
        wait_until(lambda: board.serves == "1.1 none", 60.0)
    else:
        assert board.serves == "1.0 none"
    assert station.deploy("1.1").returncode == 0  # waits for what still runs there
    assert board.serves == "1.1 none"


@pytest.mark.slow
def test_a_switch_that_fails_unheard_is_rolled_back(station: Workstation) -> None:
    board, first = station.board, station.board.current
    board.say("cut-service")
    assert station.deploy("1.1", "unhealthy").returncode == 4
    journal = board.directory / "journal"
    wait_until(lambda: journal.read_text().count("farmd 1.0 serves") == 2, 60.0)
    wait_until(lambda: (board.current, board.serves) == (first, "1.0 none"), 60.0)


@pytest.mark.slow
def test_ended_in_the_middle(station: Workstation) -> None:
    board = station.board
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)):
        board.steps()
        hold = board.say("hold-install")
        process = station.start(*station.arguments("1.1", "none"))
        board.await_step("install")
        process.send_signal(number)
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == code, stderr
        assert "Traceback" not in stderr
        hold.unlink()
        assert board.serves == "1.0 none"
    assert station.deploy("1.1").returncode == 0
    assert board.serves == "1.1 none"


@pytest.mark.slow
def test_one_deployment_at_a_time(station: Workstation) -> None:
    board = station.board
    hold = board.say("hold-install")
    process = station.start(*station.arguments("1.1", "none"))
    board.await_step("install")
    second = station.deploy("1.2")
    assert second.returncode == 1
    who = lock.new_token().partition("/")[0]
    assert f"Another deployment to lab@board is at work ({who}, since 20" in second.stderr

    (board.prefix / ".deploy.lock").write_text("anna@desk/2026-01-01T00:00:00Z/1\n")
    hold.unlink()
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "The lock on the board passed to another deployment (anna@desk/" in stderr
    assert board.serves == "1.0 none"


@pytest.mark.slow
def test_a_disk_that_fills_up(station: Workstation) -> None:
    board = station.board
    tar = board.directory / "bin/tar"
    tar.write_text(
        "#!/bin/sh\ncat >/dev/null\necho 'tar: wattfarm.whl: Cannot write: No space left on device' >&2\nexit 2\n"
    )
    tar.chmod(0o755)
    done = station.deploy("1.1")
    assert done.returncode == 1
    assert "No space left on device); mend that and deploy again. What ran before runs on." in done.stderr
    assert board.releases() == {"1.0"}
    assert board.serves == "1.0 none"
    tar.unlink()
    assert station.deploy("1.1").returncode == 0


@pytest.mark.slow
def test_a_wheel_that_arrives_damaged_is_sent_again(station: Workstation) -> None:
    board = station.board
    lost = board.say("lost-install")
    assert station.deploy("1.1").returncode == 4
    wheel = next((board.prefix / "releases").glob("1.1-*/wheels/wattfarm-*.whl"))
    wheel.write_bytes(wheel.read_bytes()[:100])
    lost.unlink()
    board.steps()
    assert station.deploy("1.1").returncode == 0
    assert "send" in board.steps()
    assert board.serves == "1.1 none"


def test_a_disk_that_fills_up_while_installing(tmp_path: Path) -> None:
    prefix = tmp_path / "wattfarm"
    release = prefix / "releases/1.0-x"
    (release / "wheels").mkdir(parents=True)
    (prefix / ".deploy.lock").write_text("token\n")
    settings = {
        "PREFIX": str(prefix),
        "RELEASE": "1.0-x",
        "TOKEN": "token",
        "PYTHON": sys.executable,
        "UNIT": "",
        "MANIFEST": "",
    }
    full = "pip_install() { echo 'OSError: [Errno 28] No space left on device'; return 1; }\nsame() { :; }\n"
    script = f"{with_settings(settings, 'steps.sh')}\n{full}step install </dev/null\n"
    done = subprocess.run(["sh", "-s"], input=script, capture_output=True, text=True, check=False, timeout=60)
    said = f"The disk of {prefix} is full; free some room there and deploy again. What ran before runs on."
    assert (done.returncode, read_answer(done.stdout).error, done.stderr) == (1, said, "")
    assert not release.exists()

"""A board for installations that is a directory of this machine, and wheels of a small wattfarm to install there.

`ssh` is a script that runs the command line here, with a home, a root and a PATH of the board's own (fakes/client); systemctl
really starts and stops what the unit says (fakes/systemctl.py). Python on the board is another version than the one that runs
the test. Wheels come from a folder: pip never asks an index.
"""

from __future__ import annotations

import ensurepip
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostctl.farm import Done, Hostctl
from tests.waiting import alive, wait_until

FAKES = Path(__file__).parent / "fakes"
VERSIONS = ("3.12", "3.13", "3.11")


def other_python() -> str:
    """Return a Python for farmd of another version than the one that runs, or skip."""
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    for version in VERSIONS:
        pyenv = sorted(
            str(path) for path in Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}")
        )
        on_path = shutil.which(f"python{version}")
        for candidate in [*pyenv, *([on_path] if on_path else [])]:
            works = subprocess.run([candidate, "-c", "import venv"], capture_output=True, check=False)
            if version != running and works.returncode == 0:
                return candidate
    pytest.skip(f"no Python 3.11 to 3.13 other than {running} on PATH or in ~/.pyenv/versions")


def make_wheel(folder: Path, version: str = "1.0", fault: str = "none") -> Path:
    """Write a wheel of a small wattfarm, whose farmd has a fault."""
    info = f"wattfarm-{version}.dist-info"
    main = (FAKES / "farmd" / "main.py").read_text()
    files = {
        "farmd/__init__.py": "",
        "farmd/main.py": main.replace('FAULT = "none"', f'FAULT = "{fault}"').replace(
            'VERSION = "0"', f'VERSION = "{version}"'
        ),
        "farmd/health.py": (FAKES / "farmd" / "health.py").read_text(),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: wattfarm\nVersion: {version}\nProvides-Extra: board\n"
        "Provides-Extra: absent\nRequires-Dist: stubdep>=1\n"
        "Requires-Dist: stubboard; python_version < '3.15' and extra == 'board'\n"
        "Requires-Dist: nowheel; extra == 'absent'\n",
        f"{info}/entry_points.txt": "[console_scripts]\nfarmd = farmd.main:main\n",
    }
    return write_wheel(folder / f"wattfarm-{version}-py3-none-any.whl", info, files)


def write_wheel(path: Path, info: str, files: dict[str, str]) -> Path:
    """Write a wheel of these files."""
    files = {
        **files,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0)), text)
    return path


def make_index(folder: Path) -> Path:
    """Fill a folder with what a small wattfarm depends on, and pip, which comes with Python."""
    bundled = sorted((Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl"))
    if not bundled:
        pytest.skip("this Python has no wheel of pip in ensurepip")
    folder.mkdir()
    shutil.copy(bundled[0], folder)
    for name in ("stubdep", "stubboard"):
        info = f"{name}-1.0.dist-info"
        files = {f"{name}.py": "", f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"}
        write_wheel(folder / f"{name}-1.0-py3-none-any.whl", info, files)
    return folder


class Board:
    """The board: its directory, what its `ssh` and `systemctl` were asked, and what runs on it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for name in ("home", "root/etc", "root/run/systemd/system", "root/etc/systemd/system", "bin"):
            (directory / name).mkdir(parents=True)
        (directory / "root/etc/group").write_text("root:x:0:\nvideo:x:44:\nrender:x:105:\n")
        for script in (FAKES / "board").iterdir():
            (directory / "bin" / script.name).symlink_to(script)
        systemctl = directory / "bin/systemctl"
        systemctl.write_text(f'#!/bin/sh\nexec {sys.executable} -I {FAKES / "systemctl.py"} "$@"\n')
        systemctl.chmod(0o755)

    def take_tools_of(self, busybox: str) -> None:
        """Have busybox for everything that the board's PATH does not fake."""
        for name in subprocess.run(
            [busybox, "--list"], capture_output=True, text=True, check=True
        ).stdout.split():
            link = self.directory / "bin" / name
            if not link.exists():
                link.symlink_to(busybox)

    @property
    def prefix(self) -> Path:
        """Where releases lie."""
        return self.directory / "root/opt/wattfarm"

    @property
    def config(self) -> Path:
        """Its farmd.toml."""
        return self.directory / "root/etc/wattfarm/farmd.toml"

    @property
    def unit(self) -> Path:
        """Its unit file."""
        return self.directory / "root/etc/systemd/system/farmd.service"

    @property
    def pid(self) -> int | None:
        """The process of the service, None if it does not run."""
        file = self.directory / "pid"
        pid = int(file.read_text()) if file.exists() else None
        return pid if pid is not None and alive(pid) else None

    @property
    def current(self) -> str:
        """The release that is switched on; "" for none."""
        link = self.prefix / "current"
        return os.readlink(link).removeprefix("releases/") if link.is_symlink() else ""

    @property
    def serves(self) -> str:
        """What the farmd that runs says of itself: version and fault; "" if none runs."""
        return (self.directory / "root/var/lib/wattfarm/address").read_text() if self.pid else ""

    def releases(self) -> set[str]:
        """Return the versions that are there."""
        return {path.name.partition("-")[0] for path in (self.prefix / "releases").iterdir()}

    def steps(self) -> list[str]:
        """Return the steps asked for since the last time."""
        return self._taken("calls")

    def await_step(self, name: str) -> None:
        """Wait until a step is asked for."""
        calls = self.directory / "calls"
        wait_until(lambda: calls.exists() and f"\n{name} " in calls.read_text(), 60.0, f"the step {name}")

    def systemctl_calls(self) -> list[str]:
        """Return what systemctl was asked since the last time."""
        return self._taken("systemctl")

    def _taken(self, name: str) -> list[str]:
        file = self.directory / name
        lines = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return [line.split()[0] for line in lines]

    def say(self, name: str, text: str = "") -> Path:
        """Write a file that the fakes look at."""
        file = self.directory / name
        file.write_text(text)
        return file

    def close(self) -> None:
        """End what runs."""
        if (pid := self.pid) is not None:
            os.kill(pid, signal.SIGTERM)
            wait_until(lambda: not alive(pid))


class Workstation(Hostctl):
    """hostctl with the board's ssh on its PATH, and an index that is a folder."""

    def __init__(self, home: Path, board: Board, index: Path, python: str) -> None:
        super().__init__(home)
        self.board = board
        self.python = python
        self.environment |= {
            "PATH": f"{FAKES / 'client'}:{os.environ['PATH']}",
            "FAKE_BOARD": str(board.directory),
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(index),
            "PIP_CONFIG_FILE": os.devnull,
        }
        self.wheels = home / "wheels"

    def arguments(self, version: str, fault: str, *more: str) -> list[str]:
        """Return the arguments of a deployment of a small wattfarm."""
        wheel = make_wheel(self.wheels / fault, version, fault)
        fixed = ["deploy", "orin-1", "--ssh", "lab@board", "--yes", "--wheel", str(wheel)]
        return [*fixed, *(() if "--python" in more else ("--python", self.python)), *more]

    def deploy(self, version: str = "1.0", fault: str = "none", *more: str) -> Done:
        """Deploy a small wattfarm."""
        return self.run(*self.arguments(version, fault, *more))


def workstation(directory: Path) -> Iterator[Workstation]:
    """Make a workstation and its board; what runs on the board ends with the block."""
    python = other_python()
    home = directory / "station"
    home.mkdir()
    board = Board(directory / "board")
    try:
        yield Workstation(home, board, make_index(directory / "index"), python)
    finally:
        board.close()

"""What a worker process is started with: its interpreter, the one package on its path, a clean environment."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import targets.wire
from farmd import errors, tensorfile
from farmd.child import Child
from farmd.config import Config

WORKER_PATH = "worker-path"
WORK = "work"


def prepare(config: Config) -> None:
    """Make the directories of workers and clear what a daemon that was killed left behind. OSError as it comes."""
    shutil.rmtree(config.state_dir / WORK, ignore_errors=True)
    (config.state_dir / WORK).mkdir(parents=True, exist_ok=True)
    path = config.state_dir / WORKER_PATH
    path.mkdir(exist_ok=True)
    for entry in path.iterdir():
        if entry.name != "targets":
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    _link(path / "targets", Path(targets.wire.__file__).resolve().parent)
    tensorfile.remove_leftovers(tensor_directories(config))


def _link(link: Path, target: Path) -> None:
    """Point the link at the target, replacing it in one step: another start may be reading it."""
    with tempfile.TemporaryDirectory(dir=link.parent.parent) as scratch:
        fresh = Path(scratch, link.name)
        fresh.symlink_to(target)
        fresh.rename(link)


def tensor_directories(config: Config) -> tuple[Path, ...]:
    """Where tensor files may lie, the best first: memory, else the state directory."""
    return tensorfile.SHARED_MEMORY, config.state_dir / WORK


def environment(config: Config) -> dict[str, str]:
    """Return a worker's environment: the daemon's without what would leak its Python into the worker's.

    MALLOC_ARENA_MAX goes too: a daemon is often started with it, and it makes OpenVINO's inference crash or crawl
    (openvinotoolkit/openvino#15402). ORT_DISABLE_TELEMETRY keeps ONNX Runtime's wheels from sending events, which costs a
    thread and network traffic on the board that is measured.
    """
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PYTHON") and name not in ("MALLOC_ARENA_MAX", "VIRTUAL_ENV", "NOTIFY_SOCKET")
    }
    entries = [config.state_dir / WORKER_PATH, *config.extra_worker_paths]
    return {
        **env,
        "PYTHONUNBUFFERED": "1",
        "PYTHONFAULTHANDLER": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "ORT_DISABLE_TELEMETRY": "1",
        **config.worker_env,
        "PYTHONPATH": os.pathsep.join(map(str, entries)),
    }


def start(config: Config, runtime: str) -> tuple[Child, socket.socket, Path]:
    """Start the worker of a runtime: the process, our end of its wire, and its own empty directory.

    Raises WorkerUnstartable if the interpreter cannot be executed, DiskFull if there is no room for the directory.
    """
    program = config.program_of(runtime)
    if not os.access(program, os.X_OK):
        raise _unstartable(config, runtime, "it is no executable file")
    directory = Path(tempfile.mkdtemp(dir=config.state_dir / WORK))
    ours, theirs = socket.socketpair()
    try:
        child = Child(
            [*_die_with_us(), *_command(config, runtime, theirs.fileno())],
            cwd=directory,
            env=environment(config),
            pass_fds=[theirs.fileno()],
        )
    except OSError as error:
        ours.close()
        remove(directory)
        raise _unstartable(config, runtime, error.strerror or str(error)) from None
    finally:
        theirs.close()
    return child, ours, directory


def _command(config: Config, runtime: str, descriptor: int) -> list[str]:
    """Return the command of a runtime's worker: a Python, or by way of one an executable that speaks the same wire."""
    wire = ["--fd", str(descriptor)]
    command = config.external.get(runtime)
    if command is None:
        return [str(config.interpreter_of(runtime)), "-m", "targets.worker", *wire]
    return [sys.executable, "-m", "targets.external", *wire, "--", *command]


def _unstartable(config: Config, runtime: str, why: str) -> errors.WorkerUnstartable:
    program = config.program_of(runtime)
    kind, table = (
        ("executable", "external") if runtime in config.external else ("interpreter", "interpreters")
    )
    return errors.WorkerUnstartable(
        f"The {kind} {program} of the runtime '{runtime}' cannot be started ({why}); mend [{table}] "
        "in the board's farmd.toml.",
        metadata={"runtime": runtime, "interpreter": program},
    )


@cache
def _die_with_us() -> tuple[str, ...]:
    """Return the prefix of a command that makes the kernel kill it when the daemon dies (prctl(2), PR_SET_PDEATHSIG).

    A worker ends by itself when its wire closes, unless native code hangs with the interpreter's lock held: then only
    the kernel can. setpriv(1) sets the signal and executes the worker in its place; without it, or with one too old
    for the option, a worker that hangs like that outlives a daemon that was killed.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return ()
    prefix = (setpriv, "--pdeathsig", "KILL", "--")
    probe = subprocess.run([*prefix, setpriv, "--version"], capture_output=True, check=False)
    return prefix if probe.returncode == 0 else ()


def remove(directory: Path) -> None:
    """Remove a worker's directory and whatever its runtime left in it."""
    with contextlib.suppress(OSError):
        shutil.rmtree(directory)

"""The device `local`: a farmd on this machine, started for one call and gone afterwards.

Nothing outlives hostctl, however it ends: farmd watches its parent (--exit-with-parent), and a shell that waits on a
pipe removes the state directory once both hostctl and farmd have let go of the pipe.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hostctl.errors import HostctlError

NAME = "local"
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0
_POLL_S = 0.01
_JANITOR = 'read -r _; rm -rf -- "$1"'
"""Reads until nobody holds the other end of its standard input; the directory is all it may touch."""


class LocalDeviceError(HostctlError):
    """The daemon for this machine could not be started."""


@contextmanager
def local_device() -> Iterator[str]:
    """Serve this machine for the length of the block; yields the address.

    Raises LocalDeviceError if farmd does not come up.
    """
    directory = _directory()
    try:
        with _janitor(directory) as leash, _farmd(directory, leash) as address:
            yield address
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _directory() -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix="wattfarm-local-"))
    except OSError as error:
        raise LocalDeviceError(
            f"No temporary directory can be made ({error.strerror}: {error.filename}); "
            "free some space or set TMPDIR to a writable directory."
        ) from None


@contextmanager
def _janitor(directory: Path) -> Iterator[int]:
    """Start the shell that cleans up after a kill -9; yields the descriptor that holds it back."""
    waiting, leash = os.pipe()
    try:
        # A session of its own: Ctrl-C on the terminal must not reach it.
        shell = subprocess.Popen(
            ["/bin/sh", "-c", _JANITOR, "wattfarm-janitor", str(directory)],
            stdin=waiting,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    finally:
        os.close(waiting)
    try:
        yield leash
    finally:
        os.close(leash)
        with contextlib.suppress(subprocess.TimeoutExpired):
            shell.wait(STOP_TIMEOUT_S)


@contextmanager
def _farmd(directory: Path, leash: int) -> Iterator[str]:
    log_path = directory / "farmd.log"
    address_file = directory / "address"
    # A settings file of its own: what an operator configured for the board's own daemon (TLS, leases) is not for this one.
    (directory / "farmd.toml").write_text(f'device = "{NAME}"\n')
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            _command(directory, address_file),
            cwd=directory,
            env={**os.environ, "TMPDIR": str(directory)},  # what runtimes drop there goes as well
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=(leash,),
            start_new_session=True,  # Ctrl-C is hostctl's to handle: it ends the run first, then the daemon
        )
    try:
        yield _await_address(process, address_file, log_path)
    finally:
        _stop(process)


def _command(directory: Path, address_file: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "farmd"),
        *("--config", str(directory / "farmd.toml")),
        *("--listen", "127.0.0.1:0"),
        *("--state-dir", str(directory / "state")),
        *("--address-file", str(address_file)),
        "--exit-with-parent",
    ]


def _await_address(process: subprocess.Popen[bytes], address_file: Path, log_path: Path) -> str:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None:
        # farmd writes the file in one step, under its final name, when it serves.
        if address_file.exists() and (address := address_file.read_text().strip()):
            return address
        if time.monotonic() > deadline_s:
            raise LocalDeviceError(
                f"farmd did not serve this machine within {START_TIMEOUT_S:g} s{_last_line(log_path)}; "
                "run 'hostctl doctor'."
            )
        time.sleep(_POLL_S)
    raise LocalDeviceError(
        f"farmd for this machine ended with {_ending(process.returncode)}{_last_line(log_path)}; "
        "run 'hostctl doctor'."
    )


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


def _last_line(log_path: Path) -> str:
    lines = log_path.read_text(errors="replace").strip().splitlines()
    return f" (last words: {lines[-1]})" if lines else ""


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Let farmd drain, then insist. Where it did not end by itself, its workers may live in its group: end them too."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT_S)
    if process.poll() != 0:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()

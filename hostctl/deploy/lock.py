"""One deployment at a time: a lock on the board that is free again when its holder is gone.

The kernel holds it (flock(1)) for a shell on the board that waits for a sign of life from here. Without one for a minute,
or when the connection ends, the shell ends and the lock is free: there is nothing stale to clean up.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from hostctl.deploy.errors import BoardUnfit, DeployFailed
from hostctl.deploy.remote import NO_CONNECTION, Remote

SIGN_EVERY_S = 15.0
SILENCE_S = 60
CONNECT_TIMEOUT_S = 90.0
_TAKEN = 75
"""EX_TEMPFAIL of sysexits.h."""


def new_token() -> str:
    """Return a name for this deployment: who, where, since when. Only characters that no shell looks at."""
    who = "".join(
        letter
        for letter in f"{getpass.getuser()}@{socket.gethostname()}"
        if letter.isalnum() or letter in "@.-"
    )
    return f"{who}/{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}/{os.getpid()}-{secrets.token_hex(4)}"


@contextmanager
def held(remote: Remote, prefix: str, *, sudo: bool) -> Iterator[str]:
    """Hold the board's lock; yields the token that each step shows. Raises DeployFailed if somebody else has it."""
    token = new_token()
    file = f"{prefix}/.deploy.lock"
    # busybox's timeout leaves a process behind for a second, which must not inherit the lock.
    wait = f'while timeout {SILENCE_S} sh -c "read -r sign" 9>&-; do :; done'
    line = (
        f"umask 022 && mkdir -p {prefix} && exec 9>>{file} && "
        f"{{ flock -n 9 || {{ echo taken by $(cat {file}); exit {_TAKEN}; }}; }} && "
        f"echo {token} >{file} && echo held && {wait}"
    )
    # One line, in single quotes: every login shell takes it alike.
    process = remote.start(f"{'sudo -n ' if sudo else ''}sh -c '{line}'", errors=subprocess.STDOUT)
    done = threading.Event()
    try:
        _await(remote, process, prefix)
        signs = threading.Thread(target=_signs, args=(process, done), name="deploy-lock", daemon=True)
        signs.start()
        yield token
    finally:
        done.set()
        _end(process)


def _await(remote: Remote, process: subprocess.Popen[bytes], prefix: str) -> None:
    """Return once the lock is ours. What ssh and a login shell say besides is passed over."""
    said: list[str] = []
    for line in _lines(process):
        if line == "held":
            return
        if line.startswith("taken by "):
            raise _taken_by(remote, line.removeprefix("taken by "))
        said.append(line)
    process.kill()  # one that has not answered in time; for one that has ended it does nothing
    why = next((line for line in reversed(said) if line), "no answer")
    if process.wait() in (NO_CONNECTION, -signal.SIGKILL):
        raise remote.unreachable(why)
    raise BoardUnfit(
        f"{prefix} on {remote.target} cannot be written ({why}); choose another place with --prefix."
    )


def _lines(process: subprocess.Popen[bytes]) -> Iterator[str]:
    """Yield what it says until it ends or the time for connecting is over."""
    assert process.stdout is not None
    deadline_s = time.monotonic() + CONNECT_TIMEOUT_S
    rest = b""
    while (left_s := deadline_s - time.monotonic()) > 0.0:
        ready, _, _ = select.select([process.stdout], [], [], left_s)
        chunk = os.read(process.stdout.fileno(), 4096) if ready else b""
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line.decode(errors="replace").strip() for line in lines)
        if not chunk:
            yield rest.decode(errors="replace").strip()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(CONNECT_TIMEOUT_S)
            return


def _taken_by(remote: Remote, token: str) -> DeployFailed:
    who, _, rest = token.partition("/")
    return DeployFailed(
        f"Another deployment to {remote.target} is at work ({who}, since {rest.partition('/')[0]}); wait until it has ended. "
        f"If it was cut off, its lock is free {SILENCE_S} s after its last sign of life."
    )


def _signs(process: subprocess.Popen[bytes], done: threading.Event) -> None:
    assert process.stdin is not None
    with contextlib.suppress(OSError, ValueError):  # the connection is gone: the next step will say so
        while not done.wait(SIGN_EVERY_S):
            process.stdin.write(b"\n")
            process.stdin.flush()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let go: the shell on the board ends when its input does."""
    assert process.stdin is not None
    with contextlib.suppress(OSError):
        process.stdin.close()
    try:
        process.wait(10.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()

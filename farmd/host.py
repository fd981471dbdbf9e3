"""What the daemon asks of its host: a state directory for itself alone, an end with its parent, word to systemd."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from farmd.errors import StartRefused

PR_SET_PDEATHSIG = 1


@contextlib.contextmanager
def state_directory(path: Path) -> Iterator[Path]:
    """Make the directory if needed and hold it alone; the kernel lets go of it however the daemon ends.

    Raises StartRefused if it can't be made or written, or if another farmd has it.
    """
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=path):
            pass  # an existing directory may still be read-only or full
        lock = (path / "farmd.lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise StartRefused(
            f"The state directory {path} cannot be used ({error.strerror}); make it writable for this user or "
            "choose another with --state-dir."
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            holder = lock.read(20).strip() or "unknown"
            raise StartRefused(
                f"Another farmd (process {holder}) uses the state directory {path}; stop it or choose another with "
                "--state-dir."
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield path


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader sees all of it or none. Raises StartRefused."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        raise StartRefused(f"{path} cannot be written ({error.strerror}); choose another path.") from None


def on_parent_exit(parent: int, callback: Callable[[], None]) -> None:
    """Call this when the parent process ends; at once if it has ended already.

    A pidfd is watched where the kernel has it (Linux 5.3): PR_SET_PDEATHSIG alone would also fire when merely the
    parent's thread that started us ends (prctl(2)).
    """
    try:
        watched = os.pidfd_open(parent)
    except ProcessLookupError:
        callback()
        return
    except (OSError, AttributeError):
        _die_with_parent()
    else:
        threading.Thread(target=_watch, args=(watched, callback), name="parent", daemon=True).start()
    if os.getppid() != parent:
        callback()


def _watch(pidfd: int, callback: Callable[[], None]) -> None:
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    poller.poll()
    callback()


def _die_with_parent() -> None:
    import ctypes  # only old kernels need it

    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def notify(state: str) -> None:
    """Tell systemd, where it listens (sd_notify(3)): "READY=1", "STOPPING=1"."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
        peer.sendto(state.encode(), address)

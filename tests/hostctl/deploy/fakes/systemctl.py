"""A systemctl for one service, farmd: it really starts and stops what the unit says, and waits for READY=1 as systemd does."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

BOARD = Path(os.environ["FAKE_BOARD"])
ROOT = Path(os.environ["WATTFARM_ROOT"])
UNIT = ROOT / "etc/systemd/system/farmd.service"
PID, ENABLED, JOURNAL, CALLS = BOARD / "pid", BOARD / "enabled", BOARD / "journal", BOARD / "systemctl"
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 30.0


def alive(pid: int) -> bool:
    """Whether a process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def main_pid() -> int | None:
    """Return the service's process if it runs."""
    pid = int(PID.read_text()) if PID.exists() else None
    return pid if pid is not None and alive(pid) else None


def default_signals() -> None:
    """Services inherit nothing of whoever asks for them."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def stop() -> int:
    """End the service."""
    if (pid := main_pid()) is not None:
        os.kill(pid, signal.SIGTERM)
        deadline_s = time.monotonic() + STOP_TIMEOUT_S
        while alive(pid):
            if time.monotonic() > deadline_s:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
    PID.unlink(missing_ok=True)
    return 0


def start() -> int:
    """Start it and wait until it says READY=1."""
    line = next(line for line in UNIT.read_text().splitlines() if line.startswith("ExecStart="))
    name = f"\0wattfarm-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready, JOURNAL.open("a") as journal:
        ready.bind(name)
        ready.settimeout(0.05)
        process = subprocess.Popen(
            shlex.split(line.removeprefix("ExecStart=")),
            stdin=subprocess.DEVNULL,
            stdout=journal,
            stderr=journal,
            cwd="/",
            env={**os.environ, "NOTIFY_SOCKET": name.replace("\0", "@")},
            start_new_session=True,
            preexec_fn=default_signals,
        )
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while process.poll() is None and time.monotonic() < deadline_s:
            try:
                if b"READY=1" in ready.recv(1000):
                    PID.write_text(str(process.pid))
                    return 0
            except TimeoutError:
                continue
    process.kill()
    print("Job for farmd.service failed because the control process exited with error code.", file=sys.stderr)
    return 1


def main() -> int:
    """Do what is asked for."""
    words = [word for word in sys.argv[1:] if not word.startswith("-") and word != "farmd.service"]
    with CALLS.open("a") as calls:
        calls.write(f"{words[0]}\n")
    if words[0] == "restart":
        return stop() or start()
    if words[0] == "stop":
        return stop()
    if words[0] == "is-active":
        return 0 if main_pid() is not None else 3
    if words[0] == "enable":
        ENABLED.touch()
    if words[0] == "disable":
        ENABLED.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

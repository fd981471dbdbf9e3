"""`python -m farmd.health`: asks the daemon of this board whether it serves. For installers, supervisors and containers.

Exit codes: 0 it serves, 1 it does not, 2 wrong settings. What is wrong is one sentence on stderr.
"""

from __future__ import annotations

import argparse
import socket
import ssl
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from farmd import config as settings
from farmd.config import Address
from farmd.errors import ConfigInvalid

POLL_S = 0.1
CALL_TIMEOUT_S = 5.0
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (nothing is bound here)
"""Where a daemon that listens on every address is asked."""


def serving(address: Address, *, with_tls: bool) -> str:
    """Return "" if the daemon there serves, else why not.

    With TLS only the handshake is made: whether health may be asked is for the certificates of clients to say.
    """
    try:
        return _shakes_hands(address) if with_tls else _is_healthy(address)
    except grpc.RpcError as error:
        return str(error.details() or error.code().name)
    except OSError as error:
        return error.strerror or str(error)


def _is_healthy(address: Address) -> str:
    with grpc.insecure_channel(str(address), [("grpc.enable_http_proxy", 0)]) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(), timeout=CALL_TIMEOUT_S
        )
    if answer.status == health_pb2.HealthCheckResponse.SERVING:
        return ""
    return f"it says {health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)}"


def _shakes_hands(address: Address) -> str:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection((address.host, address.port), CALL_TIMEOUT_S) as plain,
        context.wrap_socket(plain),
    ):
        return ""


def wait(config: settings.Config, address_file: Path | None, pid: int | None, timeout_s: float) -> str:
    """Ask until it serves, the process is gone or the time is over; returns "" or the last reason."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        why = _ask(config, address_file)
        if not why:
            return ""
        if pid is not None and not _lives(pid):
            return "its process has ended"
        if time.monotonic() > deadline_s:
            return why
        time.sleep(POLL_S)


def _ask(config: settings.Config, address_file: Path | None) -> str:
    address = config.listen
    if address_file is not None:
        try:
            address = settings.parse_address(address_file.read_text(encoding="utf-8").strip())
        except (OSError, ValueError):
            return f"it has not written {address_file} yet"
    host = _ANYWHERE.get(address.host, address.host)
    return serving(Address(host, address.port), with_tls=config.tls is not None)


def _lives(pid: int) -> bool:
    """Whether a process runs; one that waits for its parent to notice its end does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        "python -m farmd.health", description="Ask this board's farmd whether it serves."
    )
    parser.add_argument("--config", type=Path, help="its settings [default: where farmd looks for them]")
    parser.add_argument(
        "--address-file", type=Path, help="ask where this file says, not where the settings do"
    )
    parser.add_argument("--pid", type=int, help="stop waiting when this process has ended")
    parser.add_argument(
        "--timeout", type=float, default=0.0, metavar="SECONDS", help="wait so long [default: ask once]"
    )
    given = parser.parse_args(arguments)
    try:
        config = settings.find(given.config)
    except ConfigInvalid as error:
        print(f"farmd: {error.message}", file=sys.stderr)
        return 2
    why = wait(config, given.address_file, given.pid, given.timeout)
    if why:
        print(f"farmd: The daemon does not serve ({why}).", file=sys.stderr)
    return 1 if why else 0


if __name__ == "__main__":
    sys.exit(main())

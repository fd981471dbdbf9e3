"""Fixtures of more than one room."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import hypothesis
import pytest
import trustme

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    and threading.current_thread() is threading.main_thread()
):
    # Jobs in the background of a shell ignore Ctrl-C, and so would every process that a test starts and interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)


# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile(
    "wattfarm", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("wattfarm")


class Certificates:
    """PEM files of a CA, a server at 127.0.0.1 and a client, made anew for a test."""

    def __init__(self, directory: Path) -> None:
        authority = trustme.CA()
        server, client = (
            authority.issue_cert("127.0.0.1", "localhost"),
            authority.issue_cert("client@wattfarm.test"),
        )
        self.ca = directory / "ca.pem"
        self.cert, self.key = directory / "server.pem", directory / "server.key"
        self.client_cert, self.client_key = directory / "client.pem", directory / "client.key"
        authority.cert_pem.write_to_path(self.ca)
        for issued, cert, key in (
            (server, self.cert, self.key),
            (client, self.client_cert, self.client_key),
        ):
            issued.cert_chain_pems[0].write_to_path(cert)
            issued.private_key_pem.write_to_path(key)


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    """Certificates for one server and one client, of one CA."""
    directory = tmp_path / "certificates"
    directory.mkdir()
    return Certificates(directory)

"""SCPI over a real socket: blocks, and every way in which a line fails."""

from __future__ import annotations

import gc
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from power.errors import LinkLost, MeterUnavailable, ReplyInvalid
from power.sim.common.tcp import TcpServer
from power.transports.block import encode
from power.transports.scpi import VisaLink

Answer = Callable[[bytes], bytes | None]
PAYLOAD = np.random.default_rng(5).bytes(300_000)


@contextmanager
def served(answer: Answer, timeout_s: float = 5.0) -> Iterator[VisaLink]:
    server = TcpServer(answer)
    server.start()
    link = VisaLink(f"TCPIP::127.0.0.1::{server.port}::SOCKET", timeout_s)
    try:
        yield link
    finally:
        link.close()
        link.close()
        server.stop()
        server.stop()


def test_text_and_blocks_that_hold_newlines() -> None:
    answers = {
        b"*IDN?": b"MAKER,MODEL,1,2\n",
        b"DATA?": encode(PAYLOAD) + b"\n",
        b"SET 1": b"",
        b"DAT0?": b"#0ab\xffc\n",
    }
    assert b"\n" in PAYLOAD
    with served(answers.__getitem__) as link:
        assert link.query("*IDN?") == "MAKER,MODEL,1,2"
        link.write("SET 1")
        assert link.query_block("DATA?") == PAYLOAD
        assert link.query("*IDN?") == "MAKER,MODEL,1,2"
        assert link.query_block("DAT0?") == b"ab\xffc"


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(MeterUnavailable, match=r"refused; check that the instrument is on|cannot be opened"):
        VisaLink(f"TCPIP::127.0.0.1::{port}::SOCKET", 1.0).query("*IDN?")


def test_an_address_that_is_none() -> None:
    with pytest.raises(MeterUnavailable, match="'NONSENSE' cannot be opened"):
        VisaLink("NONSENSE")


# pyvisa-py leaves the socket that did not connect to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_host_whose_name_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setattr(socket.socket, "connect", unknown)
    monkeypatch.setattr(socket.socket, "connect_ex", unknown)
    with pytest.raises(MeterUnavailable, match=r"cannot be opened .*not known.*its address"):
        VisaLink("TCPIP::no-such-host.invalid::5025::SOCKET")
    gc.collect()


def test_a_late_answer_is_not_taken_for_the_next() -> None:
    def answer(command: bytes) -> bytes:
        if command == b"SLOW?":
            time.sleep(0.4)
            return b"late\n"
        return b"right\n"

    with served(answer, 0.2) as link:
        with pytest.raises(LinkLost, match=r"did not answer 'SLOW\?' within 0\.2 s"):
            link.query("SLOW?")
        time.sleep(0.3)
        assert link.query("NEXT?") == "right"


def test_patience_for_one_answer() -> None:
    def answer(command: bytes) -> bytes:
        time.sleep(0.3)
        return b"1\n"

    with served(answer, 0.1) as link, link.patience(2.0):
        assert link.query("*OPC?") == "1"


@pytest.mark.parametrize(
    ("sent", "error", "words"),
    [
        (encode(PAYLOAD)[:-5], LinkLost, "did not answer"),
        (b"#9000300000", LinkLost, "did not answer"),
        (b"1.0,2.0\n", ReplyInvalid, "where a block of data was due"),
        (encode(PAYLOAD) + b"more\n", ReplyInvalid, "more data"),
    ],
)
def test_blocks_that_are_wrong(sent: bytes, error: type[Exception], words: str) -> None:
    answers = {b"DATA?": sent, b"*IDN?": b"sound\n"}
    with served(answers.__getitem__, 0.3) as link:
        with pytest.raises(error, match=words):
            link.query_block("DATA?")
        # What is left of it must not be read as the next answer.
        assert link.query("*IDN?") == "sound"


def test_an_answer_that_is_no_text() -> None:
    with (
        served(lambda _: b"\xff\xfe\n") as link,
        pytest.raises(ReplyInvalid, match="something that is no text"),
    ):
        link.query("*IDN?")


def test_the_line_is_cut() -> None:
    with served(lambda _: None, 0.3) as link:
        with pytest.raises(LinkLost, match="check"):
            link.query("*IDN?")
        with pytest.raises((LinkLost, MeterUnavailable), match="check"):
            link.query("*IDN?")

"""Serial lines over pseudo-terminals and sockets."""

from __future__ import annotations

import errno
import socket
import threading
import time
from pathlib import Path

import pytest

from power.errors import LinkLost, MeterUnavailable
from power.sim.common.pty import Pty
from power.transports.serialport import SerialLine, _why_not


def test_both_ways_in_any_pieces() -> None:
    pty = Pty(lambda data: pty.send(data[::-1] * 1000))
    pty.start()
    line = SerialLine(pty.path, 115200)
    line.write(b"abc")
    got = line.read(3000, 2.0)
    assert got == b"cba" * 1000
    assert line.received_bytes == 3000
    until_s = time.monotonic() + 2.0
    while pty.sent_bytes < 3000 and time.monotonic() < until_s:  # it counts after it has sent
        time.sleep(0.001)
    assert pty.sent_bytes == 3000
    assert line.read(1, 0.05) == b""
    data, _ = line.read_some(0.05)
    assert data == b""
    line.close()
    line.close()
    pty.close()
    pty.close()


def test_what_came_unread_is_thrown_away() -> None:
    pty = Pty(lambda _: None)
    pty.start()
    line = SerialLine(pty.path, 9600)
    pty.send(b"old")
    assert line.read(1, 1.0) == b"o"
    line.drain()
    pty.send(b"new")
    assert line.read(3, 1.0) == b"new"
    line.close()
    pty.close()


def test_a_pulled_cable() -> None:
    pty = Pty(lambda _: None)
    pty.start()
    line = SerialLine(pty.path, 9600)
    threading.Timer(0.1, pty.close).start()
    with pytest.raises(LinkLost, match=r"broke .*; check the cable and that the meter is on"):
        line.read(1, 5.0)
    line.close()


def test_a_port_that_is_not_there() -> None:
    with pytest.raises(MeterUnavailable, match="There is no serial port '/dev/ttyNONE9'; see 'ls"):
        SerialLine("/dev/ttyNONE9", 9600)


def test_a_file_that_is_no_port(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(MeterUnavailable, match="cannot be opened"):
        SerialLine(str(file), 9600)


def test_a_port_that_this_user_may_not_open(monkeypatch: pytest.MonkeyPatch) -> None:
    import serial

    def refuse(*_: object, **__: object) -> None:
        raise serial.SerialException(errno.EACCES, "could not open port /dev/ttyUSB0: Permission denied")

    monkeypatch.setenv("USER", "ada")
    monkeypatch.setattr(serial, "serial_for_url", refuse)
    with pytest.raises(MeterUnavailable, match="run 'sudo usermod -aG dialout ada' and log in again"):
        SerialLine("/dev/ttyUSB0", 9600)
    assert "check port" in _why_not("x", ValueError("odd"))


def test_over_a_socket() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        line = SerialLine(f"socket://127.0.0.1:{server.getsockname()[1]}", 9600)
        peer, _ = server.accept()
        with peer:
            line.write(b"hello")
            assert peer.recv(5) == b"hello"
            peer.sendall(b"world")
            assert line.read(5, 1.0) == b"world"
    with pytest.raises(LinkLost, match="broke"):
        line.read(1, 0.5)
    line.close()

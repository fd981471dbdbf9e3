"""SCPI over VISA: messages of text ended by a newline, and blocks of binary data.

pyvisa finds the vendor's VISA library (NI, Keysight, R&S) if one is installed, else pyvisa-py. Traps of sockets are dealt
with here, once: a refused connection shows only at the first write; an answer that comes after a time-out would be
taken for the next one, so the link is cleared before anything else is asked; and some instruments (Siglent) end a block
with two newlines, the second of which would be taken for an empty answer.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from power.errors import LinkLost, MeterUnavailable, ReplyInvalid
from power.transports.block import header_length

TIMEOUT_S = 5.0
CHUNK_BYTES = 1 << 20


class ScpiLink(Protocol):
    """What drivers ask of a SCPI instrument's line. Raises LinkLost if nobody answers, ReplyInvalid for garbage."""

    @property
    def address(self) -> str:
        """Where it leads, for people."""
        ...

    def write(self, command: str) -> None:
        """Send a command."""

    def query(self, command: str) -> str:
        """Send a command and return the answer without its newline."""
        ...

    def query_block(self, command: str) -> bytes:
        """Send a command and return the payload of the block that answers it."""
        ...

    def patience(self, timeout_s: float) -> contextlib.AbstractContextManager[None]:
        """Wait this long for answers inside of the `with` block."""
        ...

    def clear(self) -> None:
        """Throw away whatever is on the line."""

    def close(self) -> None:
        """Let go. Harmless twice."""


class VisaLink:
    """A ScpiLink over pyvisa. `resource` is a VISA address, such as TCPIP::10.0.0.40::4000::SOCKET."""

    def __init__(self, resource: str, timeout_s: float = TIMEOUT_S) -> None:
        """Open the resource. Raises MeterUnavailable if VISA or the instrument cannot be reached."""
        self.address = resource
        try:
            import pyvisa
        except ModuleNotFoundError:
            raise MeterUnavailable(
                f"Reading '{resource}' needs pyvisa; run pip install 'wattfarm[visa]'."
            ) from None
        self._errors = pyvisa.errors
        self._manager = pyvisa.ResourceManager()
        try:
            self._line = self._opened(resource)
        except Exception as error:  # pyvisa-py raises just that where a host's name is unknown
            self._manager.close()
            raise MeterUnavailable(
                f"The instrument at '{resource}' cannot be opened ({_one_line(error)}); check that it is on, and its address."
            ) from None
        self._line.timeout = timeout_s * 1e3
        self._line.read_termination = None
        self._line.write_termination = "\n"
        self._is_stale = False
        self._may_have_newline = False

    def _opened(self, resource: str) -> Any:
        line: Any = self._manager.open_resource(resource)
        _send_at_once(line)
        return line

    def write(self, command: str) -> None:
        """Send a command."""
        with self._failures(command):
            self._settle()
            self._line.write(command)

    def query(self, command: str) -> str:
        """Send a command and return the answer without its newline."""
        self.write(command)
        with self._failures(command):
            answer = self._read_line()
            if self._may_have_newline and not answer.strip():
                answer = self._read_line()
        self._may_have_newline = False
        try:
            return answer.decode("ascii").strip()
        except UnicodeDecodeError:
            self._is_stale = True
            raise ReplyInvalid(
                f"The instrument at '{self.address}' answered '{command}' with something that is no text; check that "
                "nothing else talks to it, and measure again."
            ) from None

    def query_block(self, command: str) -> bytes:
        """Send a command and return the block's payload. A block that is cut off is a time-out: LinkLost."""
        self.write(command)
        with self._failures(command):
            try:
                length = header_length(
                    self._read, f"The instrument at '{self.address}'", after_block=self._may_have_newline
                )
            except ReplyInvalid:
                self._is_stale = True
                raise
            if length is None:
                return self._read_line().removesuffix(b"\n")
            payload = self._read(length)
            self._end_of_block(command)
            self._may_have_newline = True
            return payload

    @contextmanager
    def patience(self, timeout_s: float) -> Iterator[None]:
        """Wait this long for answers inside of the block."""
        before_ms = self._line.timeout
        self._line.timeout = timeout_s * 1e3
        try:
            yield
        finally:
            self._line.timeout = before_ms

    def clear(self) -> None:
        """Throw away whatever is on the line. Raises LinkLost if nobody is there any more."""
        if not self.address.upper().endswith("SOCKET"):
            with contextlib.suppress(self._errors.Error, OSError):
                self._line.clear()
        else:
            # A bare socket has no "device clear", and pyvisa-py's waits for ever on one that was closed.
            self._reopen()
        self._is_stale = self._may_have_newline = False

    def close(self) -> None:
        """Close the resource."""
        with contextlib.suppress(self._errors.Error, OSError):
            self._line.close()
        with contextlib.suppress(self._errors.Error, OSError):
            self._manager.close()

    def _reopen(self) -> None:
        timeout_ms = self._line.timeout
        with contextlib.suppress(self._errors.Error, OSError):
            self._line.close()
        try:
            self._line = self._opened(self.address)
        except Exception as error:  # as in __init__
            raise LinkLost(
                f"The line to '{self.address}' cannot be opened again ({_one_line(error)}); check cable and power."
            ) from None
        self._line.timeout = timeout_ms
        self._line.read_termination = None
        self._line.write_termination = "\n"

    def _settle(self) -> None:
        if self._is_stale:
            self.clear()

    def _read(self, count: int) -> bytes:
        data: bytes = self._line.read_bytes(count, chunk_size=CHUNK_BYTES)
        return data

    def _read_line(self) -> bytes:
        # Only here may a newline end a read: blocks hold bytes that look like one.
        self._line.read_termination = "\n"
        try:
            line: bytes = self._line.read_raw()
        finally:
            self._line.read_termination = None
        return line

    def _end_of_block(self, command: str) -> None:
        end = self._read(1)
        if end != b"\n":
            self._is_stale = True
            raise ReplyInvalid(
                f"The instrument at '{self.address}' sent more data to '{command}' than the block's header says; measure again."
            )

    @contextmanager
    def _failures(self, command: str) -> Iterator[None]:
        try:
            yield
        except ConnectionRefusedError:
            raise MeterUnavailable(
                f"Nothing answers at '{self.address}': the connection is refused; check that the instrument is on, and its port."
            ) from None
        except self._errors.VisaIOError as error:
            self._is_stale = True
            if error.error_code == -1073807339:  # VI_ERROR_TMO
                raise LinkLost(self._silence(command)) from None
            raise LinkLost(
                f"The line to '{self.address}' broke at '{command}' ({_one_line(error)}); check cable and power."
            ) from None
        except (OSError, self._errors.Error) as error:
            raise LinkLost(
                f"The line to '{self.address}' broke at '{command}' ({_one_line(error)}); check cable and power."
            ) from None

    def _silence(self, command: str) -> str:
        wait_s = float(self._line.timeout) / 1e3
        return (
            f"The instrument at '{self.address}' did not answer '{command}' within {wait_s:g} s; check that it is on and not "
            "waiting for a trigger."
        )


def _send_at_once(line: Any) -> None:
    """Let two short commands in a row not wait for the first one's acknowledgement, which takes 40 ms, and read large pieces.

    Vendors' libraries do that by themselves. pyvisa-py leaves its sockets as they come, reads 4 kB at a time, and offers no
    attribute for either.
    """
    with contextlib.suppress(AttributeError, KeyError, OSError):
        session = line.visalib.sessions[line.session]
        # Sessions over VXI-11 end here: theirs is no socket, and their limit was agreed upon.
        session.interface.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        session.max_recv_size = CHUNK_BYTES


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__

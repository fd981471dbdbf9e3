"""A pseudo-terminal: the other end of a serial line, for simulated instruments. Its device opens like any serial port."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
import tty
from collections.abc import Callable

from power.transports.serialport import OPEN

SETTLE_S = 2.0
"""So long may a host of this process take to read what was sent; after that, it is taken not to read any more."""
_PAUSE_S = 2e-5


class Pty:
    """A serial line. `received` is called, in a thread, with the bytes that the host sends.

    Written bytes wait in the kernel until the host reads them; `close` is what pulling the cable is.
    """

    def __init__(self, received: Callable[[bytes], None]) -> None:
        self._received = received
        self._master, self._slave = os.openpty()
        tty.setraw(self._master)
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)
        self.sent_bytes = 0
        self._reader: object = None
        self._missed_bytes = 0
        self._is_read = True
        self._wake_read, self._wake_write = os.pipe()
        self._is_open = True
        self._thread = threading.Thread(target=self._run, name="sim-pty", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def send(self, data: bytes) -> None:
        """Send bytes to the host; waits while the line is full. Nothing happens on a pulled cable."""
        view = memoryview(data)
        self._meet_reader()
        with contextlib.suppress(OSError):
            while view and self._is_open:
                if select.select([], [self._master], [], 0.2)[1]:
                    count = os.write(self._master, view[:4096])
                    self.sent_bytes += count
                    view = view[count:]

    def settle(self) -> None:
        """Wait, in real time, until the host has read what was sent: in virtual time, nobody's clock goes on before.

        Only a host in this process can be waited for; nobody else's time is virtual.
        """
        deadline_s = time.monotonic() + SETTLE_S
        while self._is_open and self._is_read and (line := OPEN.get(self.path)) is not None:
            if line is not self._reader or line.received_bytes >= self.sent_bytes - self._missed_bytes:
                return
            self._is_read = time.monotonic() < deadline_s  # once is enough: nobody reads any more
            time.sleep(_PAUSE_S)

    def _meet_reader(self) -> None:
        """Note what was sent before the line that is open now: opening throws it away."""
        line = OPEN.get(self.path)
        if line is not None and line is not self._reader:
            self._reader, self._missed_bytes, self._is_read = (
                line,
                self.sent_bytes - line.received_bytes,
                True,
            )

    def hang_up(self) -> None:
        """Pull the cable from within `received`, whose thread cannot wait for itself."""
        threading.Thread(target=self.close, name="sim-pty-end", daemon=True).start()

    def close(self) -> None:
        """Pull the cable. Harmless twice."""
        if not self._is_open:
            return
        self._is_open = False
        os.write(self._wake_write, b"x")
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join()
        for handle in (self._master, self._slave, self._wake_read, self._wake_write):
            with contextlib.suppress(OSError):
                os.close(handle)

    def _run(self) -> None:
        while self._is_open:
            ready, _, _ = select.select([self._master, self._wake_read], [], [])
            if self._wake_read in ready:
                return
            try:
                data = os.read(self._master, 4096)
            except OSError:
                return
            if data:
                self._received(data)

"""A pseudo-terminal: the other end of a serial line, for simulated instruments. Its device opens like any serial port."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import tty
from collections.abc import Callable


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
        self._wake_read, self._wake_write = os.pipe()
        self._is_open = True
        self._thread = threading.Thread(target=self._run, name="sim-pty", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def send(self, data: bytes) -> None:
        """Send bytes to the host; waits while the line is full. Nothing happens on a pulled cable."""
        view = memoryview(data)
        with contextlib.suppress(OSError):
            while view and self._is_open:
                if select.select([], [self._master], [], 0.2)[1]:
                    count = os.write(self._master, view[:4096])
                    self.sent_bytes += count
                    view = view[count:]

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

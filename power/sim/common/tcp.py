"""A TCP server on this machine that hands lines to a simulated instrument."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

Answer = Callable[[bytes], bytes | None]
"""Takes a line without its newline and returns what goes back: b"" for nothing, None to cut the connection."""


class TcpServer:
    """Serves any number of connections, one thread each, one line at a time over all of them."""

    def __init__(self, answer: Answer, port: int = 0) -> None:
        """Listen on the loopback; port 0 takes any."""
        self._answer = answer
        self._one_at_a_time = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._accept, name="sim-tcp", daemon=True)

    def start(self) -> None:
        """Begin to accept."""
        self._thread.start()

    def stop(self) -> None:
        """Cut all connections and stop listening. Harmless twice."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for line in list(self._open):
            _cut(line)
        if self._thread.ident is not None:
            self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open.add(line)
            threading.Thread(target=self._serve, args=(line,), name="sim-tcp-line", daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        with contextlib.suppress(OSError), line, line.makefile("rb") as commands:
            for command in commands:
                with self._one_at_a_time:
                    answer = self._answer(command.rstrip(b"\r\n"))
                if answer is None:
                    break
                line.sendall(answer)
        _cut(line)
        self._open.discard(line)


def _cut(line: socket.socket) -> None:
    with contextlib.suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(OSError):
        line.close()

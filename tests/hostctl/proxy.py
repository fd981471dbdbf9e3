"""A TCP proxy that breaks connections, for tests of what happens then."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class BreakingProxy:
    """Passes bytes on to a target; its first connection is cut after `cut_after` bytes went towards the target."""

    def __init__(self, target: str, cut_after: int) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._cut_after = cut_after
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections = 0
        self.forwarded: list[int] = []

    def serve(self) -> None:
        """Accept until closed."""
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                self.forwarded.append(0)
                board = socket.create_connection(self._target)
                limit = self._cut_after if self.connections == 1 else None
                for source, sink, counted in ((client, board, True), (board, client, False)):
                    threading.Thread(
                        target=self._pass_on,
                        args=(source, sink, self.connections - 1 if counted else None, limit),
                        daemon=True,
                    ).start()

    def _pass_on(
        self, source: socket.socket, sink: socket.socket, number: int | None, limit: int | None
    ) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if number is not None:
                    self.forwarded[number] += len(data)
                    if limit is not None and self.forwarded[number] > limit:
                        break
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self) -> None:
        """Accept no more."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@contextmanager
def breaking_proxy(target: str, cut_after: int) -> Iterator[BreakingProxy]:
    """Serve a proxy for the length of the block."""
    proxy = BreakingProxy(target, cut_after)
    thread = threading.Thread(target=proxy.serve, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join(10)

"""The worker process: one model on one runtime, driven over the wire by the daemon.

    <interpreter> -m targets.worker --fd N

``N`` is one end of a socket pair; the wire (targets/wire.py) is that descriptor and nothing else, so what a vendor library
prints to stdout or stderr cannot disturb it. Requests run one after the other in the main thread, which some
runtimes insist on, and which reads them itself: a hand-over between threads would cost each inference more than the wire does.
A second thread waits for the loss of the daemon: without one the process ends, whatever a runtime is doing. While something
runs that can be cancelled, a third reads.

Request ``{"id", "op", ...}``; reply ``{"id", "ok": true, ...}`` or ``{"id", "ok": false, "error": {...}}``; before the
reply any number of ``{"id", "event": "progress", "phase": ...}``.
"""

import argparse
import collections
import faulthandler
import os
import select
import signal
import socket
import sys
import threading
import traceback
from typing import Any, Callable, Deque, Dict, List, Optional, Set

from targets.errors import (
    Cancelled,
    OutOfMemory,
    ProtocolError,
    TargetsError,
    WireClosed,
    WireGarbage,
    WorkerFault,
    error_to_json,
)
from targets.wire import Reader, send

_LOST = 3  # exit code after the wire was lost
_UNFIT = 4  # exit code of an interpreter that cannot run a worker
_CANCELLABLE = ("benchmark", "load")
_GRACE_S = 2.0  # what a running inference gets to end by itself once the daemon is gone


class Worker:
    """Reads requests, runs them through a Session, answers."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._reader = Reader(sock)
        self._requests: "Deque[Dict[str, Any]]" = collections.deque()  # what was read while something ran
        self._sending = threading.Lock()
        self._state = threading.Lock()  # guards the three below
        self._waiting: Set[int] = set()
        self._dropped: Set[int] = set()
        self._running: Optional[int] = None
        self._stop: List[Any] = []  # filling it ends the running loop
        self._closing = False
        self._lost = False
        from targets.session import Session  # needs numpy, which main() has looked for

        self._session = Session(self._event)

    def run(self) -> int:
        """Serve until ``close`` or until the wire ends; return the exit code."""
        watcher = threading.Thread(target=self._watch_for_loss, name="loss", daemon=True)
        watcher.start()
        try:
            while not (self._closing or self._lost):
                if not self._requests:
                    self._read()
                if self._requests and not self._lost:
                    self._serve(self._requests.popleft())
        finally:
            self._session.close()
        return _LOST if self._lost else 0

    def _watch_for_loss(self) -> None:
        """Wait until the other end hangs up. Nothing else wakes this thread: not even what can be read."""
        poll = select.poll()
        poll.register(self._sock, 0)
        poll.poll()
        self._wire_lost(WireClosed("The daemon has gone."))

    def _read(self) -> None:
        """Read what has come: a request is kept, a cancel is done at once."""
        try:
            found = self._reader.read()
        except (WireClosed, WireGarbage, OSError) as lost:
            self._wire_lost(lost)
            return
        for request in found:
            self._take(request)

    def _take(self, request: Dict[str, Any]) -> None:
        """Keep a request; do a cancel at once."""
        number = request.get("id")
        if not isinstance(number, int):
            error = ProtocolError("A request needs a whole number as its 'id'.")
            self._send(dict(_failure(error), id=None))
        elif request.get("op") == "cancel":
            self._cancel(request)
        else:
            with self._state:
                self._waiting.add(number)
            self._requests.append(request)

    def _wire_lost(self, error: BaseException) -> None:
        """End the process: nobody is left to tell anything to, and the device must not stay taken."""
        with self._state:
            if self._closing or self._lost:
                return
            self._lost = True
        if not isinstance(error, WireClosed):
            sys.stderr.write("worker: {}\n".format(error))
        self._stop.append(error)
        timer = threading.Timer(_GRACE_S, os._exit, (_LOST,))
        timer.daemon = True
        timer.start()

    def _cancel(self, request: Dict[str, Any]) -> None:
        target = request.get("target")
        found = False
        with self._state:
            if isinstance(target, int) and target in self._waiting:
                self._dropped.add(target)
                found = True
            elif isinstance(target, int) and target == self._running:
                self._stop.append(target)
                found = True
        self._send({"id": request.get("id"), "ok": True, "cancelled": found})

    def _serve(self, request: Dict[str, Any]) -> None:
        number: int = request["id"]
        with self._state:
            self._waiting.discard(number)
            self._running = number
            del self._stop[:]
            if number in self._dropped or self._lost:
                self._dropped.discard(number)
                self._stop.append(number)
        if request.get("op") in _CANCELLABLE:
            with _Listening(self._sock, self._read):
                reply = self._answer(request)
        else:
            reply = self._answer(request)
        with self._state:
            self._running = None
        self._send(dict(reply, id=number))

    def _answer(self, request: Dict[str, Any]) -> Dict[str, Any]:
        try:
            if self._stop:
                raise Cancelled("The operation '{}' was cancelled before it began.".format(request.get("op")))
            return dict(self._dispatch(request), ok=True)
        except TargetsError as error:
            return _failure(error)
        except MemoryError:
            return _failure(
                OutOfMemory("The worker has not enough memory for '{}'.".format(request.get("op")))
            )
        except Exception as error:
            return _failure(
                WorkerFault(
                    "The worker failed in '{}' with {}: {}.".format(
                        request.get("op"), type(error).__name__, error
                    ),
                    traceback=traceback.format_exc(),
                )
            )

    def _dispatch(self, request: Dict[str, Any]) -> Dict[str, Any]:
        op = request.get("op")
        if op == "close":
            self._closing = True
            self._session.close()
            return {}
        handler = self._session.ops.get(str(op))
        if handler is None:
            raise ProtocolError(
                "The operation '{}' is not known; there are cancel, close, {}.".format(
                    op, ", ".join(sorted(self._session.ops))
                )
            )
        return handler(request, self._stop)

    def _event(self, request: Dict[str, Any], fields: Dict[str, Any]) -> None:
        self._send(dict(fields, id=request.get("id")))

    def _send(self, obj: Dict[str, Any]) -> None:
        with self._sending:
            try:
                send(self._sock, obj)
            except WireClosed:
                pass  # the reading thread sees it as well and ends the process


class _Listening:
    """Reads in a thread of its own for as long as the block lasts."""

    def __init__(self, sock: socket.socket, read: Callable[[], None]) -> None:
        self._sock, self._read = sock, read
        self._wake, self._woken = os.pipe()
        self._thread = threading.Thread(target=self._run, name="wire", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *failure: Any) -> None:
        os.write(self._woken, b"x")
        self._thread.join()
        os.close(self._wake)
        os.close(self._woken)

    def _run(self) -> None:
        poll = select.poll()
        for handle in (self._sock.fileno(), self._wake):
            poll.register(handle, select.POLLIN)
        while True:
            ready = dict(poll.poll())
            if self._wake in ready or not ready.get(self._sock.fileno(), 0) & select.POLLIN:
                return
            self._read()


def _failure(error: TargetsError) -> Dict[str, Any]:
    return {"ok": False, "error": error_to_json(error)}


def main(arguments: Optional[List[str]] = None) -> int:
    """Run a worker on an inherited socket."""
    parser = argparse.ArgumentParser(prog="targets.worker", description="Runs one model for the daemon.")
    parser.add_argument("--fd", type=int, required=True, help="the inherited end of the socket pair")
    fd = parser.parse_args(arguments).fd
    try:
        import numpy  # noqa: F401 - only to say in one sentence that it is missing
    except ImportError as error:
        sys.stderr.write(
            "worker: {} cannot import numpy ({}); install it with '{} -m pip install numpy'.\n".format(
                sys.executable, error, sys.executable
            )
        )
        return _UNFIT
    faulthandler.enable()  # a native death leaves the Python stack on stderr
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the daemon, which then closes the wire
    os.set_inheritable(fd, False)  # what a runtime starts must not keep the wire open
    sock = socket.fromfd(fd, socket.AF_UNIX, socket.SOCK_STREAM)
    os.close(fd)
    code = Worker(sock).run()
    sys.stdout.flush()
    return code


if __name__ == "__main__":
    sys.exit(main())

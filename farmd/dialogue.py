"""The daemon's side of a worker's wire: requests, replies, events, deadlines. It knows nothing of processes.

Failures come as they are: TimeoutError, WireClosed, WireGarbage, OSError; farmd/worker.py says what they mean.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from farmd.waiting import Cancel
from targets import wire
from targets.errors import WireClosed, WireGarbage

_RECEIVE_BYTES = 1 << 16
_LONGEST_POLL_S = 86_400.0


class Deadline:
    """When a conversation has to be over, on time.monotonic(); it may be moved while the conversation runs."""

    def __init__(self, timeout_s: float) -> None:
        self.restart(timeout_s)

    def restart(self, timeout_s: float) -> None:
        """Allow this long from now on."""
        self.timeout_s = timeout_s
        self.at_s = time.monotonic() + timeout_s


class Event(NamedTuple):
    """What a worker says before it replies: "log" (a line) or "progress" (a phase)."""

    kind: str
    members: Mapping[str, Any]


@dataclass
class Talk:
    """One long request: when it ends by itself, who may end it, and how long the worker may take to stop.

    `grace_s` None: the worker cannot stop in the middle of this.
    """

    op: str
    deadline: Deadline
    cancel: Cancel
    grace_s: float | None
    number: int = 0
    is_stopping: bool = False
    is_overdue: bool = False


class Dialogue:
    """Requests over one socket. One thread at a time may ask; `wake` is for all."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._readable = _poll_for(sock, select.POLLIN)
        self._decoder = wire.Decoder()
        self._inbox: deque[dict[str, Any]] = deque()
        self._last_number = 0
        self._cancels: set[int] = set()
        self._doorbell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._doorbell_lock = threading.Lock()
        self._is_closed = False

    def request(self, op: str, members: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """Send a request and return its reply, in this thread, without any hand-over. Events are dropped."""
        deadline = Deadline(timeout_s)
        number = self._send(op, members, deadline)
        while True:
            message = self._receive(deadline)
            if self._is_reply(message, number):
                return message

    def converse(
        self, talk: Talk, members: Mapping[str, Any], news: Callable[[], list[str]]
    ) -> Generator[Event, None, dict[str, Any]]:
        """Send a request, yield its events and the lines that `news` gives after each wake, and return its reply."""
        talk.number = self._send(talk.op, members, talk.deadline)
        while True:
            self._stop_if_due(talk)
            message = self._receive_or_wake(talk.deadline)
            for line in news():
                yield Event("log", {"message": line})
            if message is None:
                continue
            if self._is_reply(message, talk.number):
                return message
            if "event" in message:
                yield Event(str(message["event"]), message)

    def wind_down(self, talk: Talk) -> None:
        """Stop a conversation that nobody reads any more, so that the next request finds the worker ready."""
        talk.cancel.set()
        self._stop_if_due(talk)
        while not self._is_reply(self._receive(talk.deadline), talk.number):
            pass

    def wake(self) -> None:
        """Make a conversation look up: there is news, or its caller has gone. From any thread, at any time."""
        with self._doorbell_lock:
            if not self._is_closed:
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_write(self._doorbell, 1)

    def close(self) -> None:
        """Close the socket; nobody may be talking. Harmless twice."""
        with self._doorbell_lock:
            if self._is_closed:
                return
            self._is_closed = True
            os.close(self._doorbell)
        self._sock.close()

    def _stop_if_due(self, talk: Talk) -> None:
        """Ask the worker to stop, once, if the caller has gone or the time is up. TimeoutError: it does not."""
        is_late = time.monotonic() >= talk.deadline.at_s
        if not (is_late or (talk.cancel.is_set and not talk.is_stopping)):
            return
        if talk.is_stopping or talk.grace_s is None:
            raise TimeoutError
        talk.is_stopping, talk.is_overdue = True, is_late
        talk.deadline.at_s = time.monotonic() + talk.grace_s
        self._cancels.add(self._send("cancel", {"target": talk.number}, talk.deadline))

    def _send(self, op: str, members: Mapping[str, Any], deadline: Deadline) -> int:
        self._last_number += 1
        rest = wire.encode({"id": self._last_number, "op": op, **members})
        while True:
            with contextlib.suppress(BlockingIOError):
                rest = rest[self._sock.send(rest) :]
            if not rest:
                return self._last_number
            _wait(_poll_for(self._sock, select.POLLOUT), deadline)

    def _receive(self, deadline: Deadline) -> dict[str, Any]:
        while not self._inbox:
            _wait(self._readable, deadline)
            self._fill()
        return self._inbox.popleft()

    def _receive_or_wake(self, deadline: Deadline) -> dict[str, Any] | None:
        """Return the next message, or None if the doorbell rang or the deadline has passed."""
        if self._inbox:
            return self._inbox.popleft()
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        poll.register(self._doorbell, select.POLLIN)
        left_s = min(max(0.0, deadline.at_s - time.monotonic()), _LONGEST_POLL_S)
        ready = {descriptor for descriptor, _ in poll.poll(left_s * 1000)}
        if self._doorbell in ready:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._doorbell)
        if self._sock.fileno() not in ready:
            return None
        self._fill()
        return self._inbox.popleft() if self._inbox else None

    def _fill(self) -> None:
        data = self._sock.recv(_RECEIVE_BYTES)
        if not data:
            raise WireClosed("The worker closed its wire.")
        self._inbox.extend(self._decoder.feed(data))

    def _is_reply(self, message: Mapping[str, Any], number: int) -> bool:
        if "ok" not in message:
            return False
        if message.get("id") == number:
            return True
        if message.get("id") in self._cancels:
            self._cancels.discard(int(message["id"]))
            return False
        raise WireGarbage(f"it answered request {message.get('id')!r}, but {number} was asked")


def _poll_for(sock: socket.socket, events: int) -> select.poll:
    poll = select.poll()
    poll.register(sock, events)
    return poll


def _wait(poll: select.poll, deadline: Deadline) -> None:
    """Wait until the poll finds something. TimeoutError."""
    while True:
        left_s = deadline.at_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        if poll.poll(min(left_s, _LONGEST_POLL_S) * 1000):
            return

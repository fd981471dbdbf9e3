"""Waiting that a client can end: a call's cancellation, and a lock served in order of arrival."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc

from farmd import errors


class Cancel:
    """Whether the caller has gone, and whom to tell when it goes. Set once, never cleared.

    `subscribe` has a function called when the caller goes, and returns False if it has gone. It is used when somebody first asks
    or listens: most inferences end without.
    """

    def __init__(self, subscribe: Callable[[Callable[[], None]], object] | None = None) -> None:
        self._subscribe = subscribe
        self._lock = threading.Lock()
        self._callbacks: dict[object, Callable[[], None]] = {}
        self._is_set = False

    @classmethod
    def of(cls, context: grpc.ServicerContext) -> Cancel:
        """Return the cancellation of a gRPC call: its client cancelled, its deadline passed, its connection broke."""
        return cls(context.add_callback)

    def _listen(self) -> None:
        with self._lock:
            subscribe, self._subscribe = self._subscribe, None
        if subscribe is not None and not subscribe(self.set):
            self.set()

    @property
    def is_set(self) -> bool:
        """Whether the caller has gone."""
        if self._subscribe is not None:
            self._listen()
        return self._is_set

    def set(self) -> None:
        """Tell everybody who listens, once. They are called in this thread and must not block."""
        with self._lock:
            if self._is_set:
                return
            self._is_set = True
            callbacks = list(self._callbacks.values())
        for callback in callbacks:
            callback()

    @contextmanager
    def calling(self, callback: Callable[[], None]) -> Iterator[None]:
        """Inside of the block, call this when the caller goes; at once if it has gone already."""
        token = object()
        self._listen()
        with self._lock:
            gone = self._is_set
            self._callbacks[token] = callback
        try:
            if gone:
                callback()
            yield
        finally:
            with self._lock:
                del self._callbacks[token]

    def check(self) -> None:
        """Raise CallCancelled if the caller has gone."""
        if self.is_set:
            raise errors.CallCancelled("The client gave up the call.")


class FairLock:
    """A lock that goes to whoever waited longest, and whose waiters can give up."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._held = False
        self._queue: deque[threading.Event] = deque()

    def acquire(self, cancel: Cancel | None = None, timeout_s: float | None = None) -> bool:
        """Take the lock; False if the caller went or the time ran out first."""
        with self._mutex:
            if not self._held:
                self._held = True
                return True
            turn = threading.Event()
            self._queue.append(turn)
        if cancel is None:
            turn.wait(timeout_s)
        else:
            with cancel.calling(turn.set):
                turn.wait(timeout_s)
        with self._mutex:
            if turn not in self._queue:  # release() took it out: the lock is ours
                return True
            self._queue.remove(turn)
            return False

    def release(self) -> None:
        """Hand the lock to the first in the queue."""
        with self._mutex:
            if self._queue:
                self._queue.popleft().set()
            else:
                self._held = False

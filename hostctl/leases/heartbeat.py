"""Keeps a lease alive while work goes on, and tells when it is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType

from hostctl.errors import Refused, UsageError
from hostctl.leases.model import Lease, LeaseLost
from hostctl.leases.store import LeaseStore

# A lease is renewed three times in its life, so that two renewals may fail before it is lost.
RENEWALS_PER_TTL = 3
# A long lease is looked at more often than it is renewed, so that its holder soon learns that somebody broke it.
LONGEST_INTERVAL_S = 10.0


class Heartbeat:
    """A context manager: a thread that sleeps between renewals, and one that watches the end.

    `lost` is set, with `reason`, once the store says that the lease is over, or when its time has run out without a renewal:
    a holder stops by itself before the store lets the next one in, also while the store is locked. `on_lost` is called then,
    once, from one of the threads.
    """

    def __init__(
        self, store: LeaseStore, lease: Lease, *, on_lost: Callable[[str], None] = lambda reason: None
    ) -> None:
        """Prepare; nothing happens before the block is entered."""
        self.lost = threading.Event()
        self.reason: str | None = None
        self._store, self._lease, self._on_lost = store, lease, on_lost
        self._stop = threading.Event()
        self._once = threading.Lock()
        self._trouble = "the store did not answer"
        # An own lease may have been running for long when work begins; the store's clock is this machine's.
        self._renewed_s = time.monotonic() - max(0.0, lease.ttl_s - (lease.end_s - time.time()))
        self._threads = [
            threading.Thread(target=self._beat, name="lease-heartbeat", daemon=True),
            threading.Thread(target=self._watch, name="lease-watch", daemon=True),
        ]

    def __enter__(self) -> Heartbeat:
        """Start renewing."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop renewing; the lease itself is not given back."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _beat(self) -> None:
        while not self._stop.wait(min(self._lease.ttl_s / RENEWALS_PER_TTL, LONGEST_INTERVAL_S)):
            try:
                self._ask()
            except (Refused, UsageError) as error:
                self._lose(error.message)
            except Exception as error:
                # A store that cannot be used may recover while the lease lasts; _watch speaks up if it does not.
                self._trouble = str(error)

    def _ask(self) -> None:
        # The lease starts anew after this moment, so our idea of its end is never later than the store's.
        asked_s = time.monotonic()
        if asked_s - self._renewed_s >= 0.9 * self._lease.ttl_s / RENEWALS_PER_TTL:
            self._store.renew(self._lease.id)
            self._renewed_s = asked_s
        elif not (found := self._store.get(self._lease.id)).alive:
            because = f" ({found.reason})" if found.reason else ""
            raise LeaseLost(
                f"The lease {found.id} is {found.state.value}{because}; reserve the device again."
            )

    def _watch(self) -> None:
        while not self._stop.wait(max(0.0, self._left_s())):
            if self._left_s() <= 0:
                self._lose(f"The lease {self._lease.id} could not be renewed in time: {self._trouble}")

    def _left_s(self) -> float:
        return self._renewed_s + self._lease.ttl_s - time.monotonic()

    def _lose(self, reason: str) -> None:
        with self._once:
            if self.lost.is_set():
                return
            self.reason = reason
            self.lost.set()
        self._stop.set()
        self._on_lost(reason)

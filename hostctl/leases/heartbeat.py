"""Keeps a lease alive while work goes on, and tells when it is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

from hostctl.errors import HostctlError
from hostctl.leases.model import Lease
from hostctl.leases.store import LeaseStore

# A lease is renewed three times in its life, so that two renewals may fail before it is lost.
RENEWALS_PER_TTL = 3


class Heartbeat:
    """A context manager: a thread that sleeps between renewals. `lost` is set, with `reason`, once a renewal is refused.

    `on_lost` is called from that thread, once.
    """

    def __init__(
        self, store: LeaseStore, lease: Lease, *, on_lost: Callable[[str], None] = lambda reason: None
    ) -> None:
        """Prepare; nothing happens before the block is entered."""
        self.lost = threading.Event()
        self.reason: str | None = None
        self._store, self._lease, self._on_lost = store, lease, on_lost
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lease-heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        """Start renewing."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop renewing; the lease itself is not given back."""
        self._stop.set()
        self._thread.join()

    def _beat(self) -> None:
        failures = 0
        while not self._stop.wait(self._lease.ttl_s / RENEWALS_PER_TTL):
            try:
                self._store.renew(self._lease.id)
                failures = 0
            except HostctlError as error:
                failures += 1
                # A refusal is final; a store that cannot be written may recover while the lease lasts.
                if error.exit_code == 5 or failures >= RENEWALS_PER_TTL:
                    self._lose(error.message)
                    return

    def _lose(self, reason: str) -> None:
        self.reason = reason
        self.lost.set()
        self._on_lost(reason)

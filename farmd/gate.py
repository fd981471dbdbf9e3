"""The lease gate: who may use the board.

Every change of hands gives the device a higher fence. The board keeps the highest one it has seen on disk, so that a
holder who slept through its lease is refused after any restart, even while the controller is down.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from farmd.errors import FieldViolation, LeaseFenced, LeaseInvalid, LeaseRequired, StartRefused, Unavailable

LEASE_KEY = "wattfarm-lease"
FENCE_KEY = "wattfarm-fence"
TOKEN_KEY = "wattfarm-token"  # noqa: S105 (the name of a metadata key, not a secret)
HIGHEST_FENCE = (1 << 63) - 1
FILE_VERSION = 1

Metadata = Iterable[tuple[str, str | bytes]]


@dataclass(frozen=True)
class Lease:
    """Who calls: the lease's id, and the fence the controller gave it."""

    id: str
    fence: int


Verify = Callable[[Lease, str | None], None]
"""Checks the signed token of a call (None: it has none) before its fence is believed; raises a FarmdError."""


def accept_unsigned(_lease: Lease, _token: str | None) -> None:
    """Believe every fence: for boards whose controller signs nothing."""


def read_lease(metadata: Metadata) -> tuple[Lease | None, str | None]:
    """Return the lease and the token a call carries, None where it has none. Raises LeaseInvalid."""
    found: dict[str, str] = {}
    for key, value in metadata:
        if key not in (LEASE_KEY, FENCE_KEY, TOKEN_KEY):
            continue
        if key in found:
            raise _malformed(key, f"Metadata '{key}' came twice; send it once.")
        found[key] = value if isinstance(value, str) else value.decode("ascii", "replace")
    lease, fence = found.get(LEASE_KEY), found.get(FENCE_KEY)
    if lease is None and fence is None:
        return None, found.get(TOKEN_KEY)
    if lease is None or fence is None:
        missing = LEASE_KEY if lease is None else FENCE_KEY
        raise _malformed(
            missing, f"Metadata '{missing}' is missing; '{LEASE_KEY}' and '{FENCE_KEY}' go together."
        )
    if not re.fullmatch(r"[\x21-\x7e]{1,128}", lease):
        raise _malformed(
            LEASE_KEY, f"Metadata '{LEASE_KEY}' must be 1 to 128 printable ASCII characters, no spaces."
        )
    if not re.fullmatch(r"[1-9][0-9]{0,18}", fence) or int(fence) > HIGHEST_FENCE:
        raise _malformed(
            FENCE_KEY,
            f"Metadata '{FENCE_KEY}' must be a decimal from 1 to {HIGHEST_FENCE}, but is {fence[:40]!r}.",
        )
    return Lease(lease, int(fence)), found.get(TOKEN_KEY)


def _malformed(key: str, message: str) -> LeaseInvalid:
    return LeaseInvalid(message, violations=[FieldViolation(f"metadata.{key}", message)])


class FenceStore:
    """The highest fence on disk: one small file, replaced whole and synced before anybody relies on it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> Lease | None:
        """Return the lease with the highest fence, None before the first. Raises StartRefused if it is damaged."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise self._damaged(str(error)) from None
        try:
            stored = json.loads(text)
            fence, lease = stored["fence"], stored["lease"]
            sound = stored["version"] == FILE_VERSION and type(fence) is int and 1 <= fence <= HIGHEST_FENCE
        except (ValueError, KeyError, TypeError, RecursionError):
            raise self._damaged("it is not what was written") from None
        if not sound or not isinstance(lease, str):
            raise self._damaged("its values are impossible")
        return Lease(lease, fence)

    def save(self, lease: Lease) -> None:
        """Write and sync. Raises OSError and then leaves the old file as it was."""
        fresh = self.path.with_name(self.path.name + ".new")
        value = {"version": FILE_VERSION, "fence": lease.fence, "lease": lease.id}
        with fresh.open("w", encoding="utf-8") as file:
            json.dump(value, file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path)
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _damaged(self, why: str) -> StartRefused:
        return StartRefused(
            f"The lease fence in {self.path} is damaged ({why}), and without it a past holder could disturb the present "
            "one; if no lease on this board is active, delete the file and start again."
        )


class LeaseGate:
    """Lets calls in by their fence.

    `on_new_holder` is called with the new fence, after it is on disk and before the call that brought it proceeds.
    """

    def __init__(
        self,
        store: FenceStore,
        *,
        required: bool = False,
        verify: Verify = accept_unsigned,
        on_new_holder: Callable[[int], None] = lambda _fence: None,
    ) -> None:
        self._store = store
        self._required = required
        self._verify = verify
        self._on_new_holder = on_new_holder
        self._lock = threading.Lock()
        self._highest = store.load()

    @property
    def fence(self) -> int | None:
        """The highest fence seen, None before the first."""
        highest = self._highest
        return None if highest is None else highest.fence

    def admit(
        self,
        metadata: Metadata,
        *,
        reading: bool,
        enter: Callable[[Lease | None], None] = lambda _lease: None,
    ) -> Lease | None:
        """Return the lease of a call that may proceed; `reading` calls need none.

        `enter` runs under the gate's lock: a call it records is seen by every later change of hands.
        Raises LeaseInvalid, LeaseRequired, LeaseFenced, what `verify` raises, or Unavailable if the fence cannot
        be kept.
        """
        lease, token = read_lease(metadata)
        if lease is None:
            if self._required and not reading:
                raise LeaseRequired("This board works only under a lease; take one with 'hostctl reserve'.")
            enter(None)
            return None
        self._verify(lease, token)
        with self._lock:
            changed = self._compare(lease)
            if not changed:
                enter(lease)
        if changed:
            self._on_new_holder(lease.fence)
            with self._lock:
                self._compare(lease)  # while the past holder was sent away, the next one may have come
                enter(lease)
        return lease

    def _compare(self, lease: Lease) -> bool:
        """Refuse a past holder; return whether this is a new one, whose fence is then on disk."""
        highest = self._highest
        if highest is not None and (lease.fence < highest.fence or lease == highest):
            if lease == highest:
                return False
            raise LeaseFenced(
                f"The lease '{lease.id}' (fence {lease.fence}) is over: the board has seen fence {highest.fence}; "
                "reserve the board again.",
                metadata={"fence": lease.fence, "highest_fence": highest.fence},
            )
        if highest is not None and lease.fence == highest.fence:
            raise LeaseFenced(
                f"Fence {lease.fence} belongs to another lease than '{lease.id}'; reserve the board again.",
                metadata={"fence": lease.fence, "highest_fence": highest.fence},
            )
        try:
            self._store.save(lease)
        except OSError as error:
            with contextlib.suppress(OSError):
                self._store.path.with_name(self._store.path.name + ".new").unlink()
            raise Unavailable(
                f"The board cannot keep the lease's fence on disk ({error.strerror or error}); free space in "
                f"{self._store.path.parent} and call again.",
                metadata=asdict(lease),
                retry_delay_s=5.0,
            ) from error
        self._highest = lease
        return True

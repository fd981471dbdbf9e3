"""The lease of one run: taken over the board and its meter together, renewed while the run goes on, given back after it."""

from __future__ import annotations

import fcntl
import getpass
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO
from urllib.parse import quote

from hostctl.errors import NothingFree, Refused, StoreError, UsageError
from hostctl.inventory import Device
from hostctl.leases.heartbeat import Heartbeat
from hostctl.leases.model import Claim, Lease, LeaseLost, State, default_holder
from hostctl.leases.store import LeaseStore
from hostctl.paths import data_dir
from hostctl.session.progress import Progress

RUN_TTL_S = 30.0
"""How long a board stays reserved after hostctl died; a living one renews three times in this span."""
LOCK_POLL_S = 0.2


def person() -> str:
    """Return the holder of leases made by `hostctl reserve`: the user, whichever process works with them later."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def open_leases() -> LeaseStore:
    """Open this user's lease store. Raises StoreError."""
    return LeaseStore(data_dir() / "leases.sqlite")


@dataclass
class Reservation:
    """A device that is ours for now. `sleep` and `check` raise LeaseLost once it no longer is.

    `on_lost` is set by whoever has something to break off (a call that blocks); it runs in the heartbeat's thread.
    """

    device: Device
    lease: Lease
    heartbeat: Heartbeat
    on_lost: list[Callable[[], None]] = field(default_factory=list)

    def check(self) -> None:
        """Raise LeaseLost if the lease is over."""
        if self.heartbeat.lost.is_set():
            raise LeaseLost(self.heartbeat.reason or f"The lease {self.lease.id} was lost.")

    def sleep(self, seconds: float) -> None:
        """Do nothing at all for that long, or until the lease is lost."""
        self.heartbeat.lost.wait(seconds)
        self.check()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a run needs: one of the devices, with its meter. `lease_id`: a lease that the user holds already."""

    devices: Sequence[Device]
    meters: dict[str, frozenset[str]]
    wait: bool = True
    ttl_s: float = RUN_TTL_S
    lease_id: str | None = None


@contextmanager
def reserved(wanted: Wanted, progress: Progress) -> Iterator[Reservation]:
    """Hold one of the wanted devices for the length of the block.

    A lease of the user's own (from `hostctl reserve`) is used and kept; else one is taken and given back. Raises
    NothingFree with `wait` False, Refused for a lease that is somebody else's or for another device.
    """
    store = open_leases()
    try:
        own = _own_lease(store, wanted)
        if own is not None:
            with _alone_with(own, wanted.wait, progress), _beating(store, own, wanted) as reservation:
                yield reservation
        else:
            with _taken(store, wanted, progress) as lease, _beating(store, lease, wanted) as reservation:
                yield reservation
    finally:
        store.close()


@contextmanager
def _beating(store: LeaseStore, lease: Lease, wanted: Wanted) -> Iterator[Reservation]:
    device = next(device for device in wanted.devices if device.name == lease.device)
    reservation: Reservation | None = None

    def lost(_reason: str) -> None:
        for react in reservation.on_lost if reservation else ():
            react()

    with Heartbeat(store, lease, on_lost=lost) as heartbeat:
        reservation = Reservation(device, lease, heartbeat)
        yield reservation


@contextmanager
def _taken(store: LeaseStore, wanted: Wanted, progress: Progress) -> Iterator[Lease]:
    claims = [Claim(device.name, wanted.meters.get(device.name, frozenset())) for device in wanted.devices]
    lease = store.request(default_holder(), claims, ttl_s=wanted.ttl_s, wait=wanted.wait)
    try:
        if lease.state is State.QUEUED:
            lease = store.wait_for(lease.id, on_waiting=Teller(progress))
        yield lease
    finally:
        try:
            store.release(lease.id)
        except StoreError as error:
            progress.note(f"The lease {lease.id} ends by itself in {lease.ttl_s:g} s: {error.message}")


class Teller:
    """Tells for whom we wait: the first sentence stays readable, later ones (time passes) overwrite one line."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._told = False

    def __call__(self, sentence: str) -> None:
        (self._progress.step if self._told else self._progress.note)(f"Waiting: {sentence}")
        self._told = True


def _own_lease(store: LeaseStore, wanted: Wanted) -> Lease | None:
    names = [device.name for device in wanted.devices]
    if wanted.lease_id is not None:
        return _named_lease(store.get(wanted.lease_id), names)
    mine = [
        lease
        for lease in store.list()
        if lease.state is State.ACTIVE and lease.holder == person() and lease.device in names
    ]
    return mine[0] if mine else None


def _named_lease(lease: Lease, names: Sequence[str]) -> Lease:
    if lease.state is not State.ACTIVE:
        raise Refused(f"The lease {lease.id} is {lease.state.value}; reserve the device again.")
    if lease.holder != person() and not lease.holder.startswith(f"{person()}:"):
        raise Refused(f"The lease {lease.id} is {lease.holder}'s; reserve a device of your own.")
    if lease.device not in names:
        raise UsageError(f"The lease {lease.id} is over '{lease.device}', not over {' or '.join(names)}.")
    return lease


@contextmanager
def _alone_with(lease: Lease, wait: bool, progress: Progress) -> Iterator[None]:
    """Keep a second process of the same person, which has the same lease, off the board meanwhile."""
    path = data_dir() / "locks" / f"device-{quote(str(lease.device), safe='')}"
    path.parent.mkdir(parents=True, exist_ok=True)
    # The file stays: were it removed, two processes could hold locks on two files of one name.
    with path.open("a+") as file:
        _lock(file, lease, wait, progress)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _lock(file: TextIO, lease: Lease, wait: bool, progress: Progress) -> None:
    told = False
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            who = f"process {file.read() or '?'} of yours works with the lease {lease.id}"
            sentence = f"{lease.device} is not free: {who}."
            if not wait:
                raise NothingFree(sentence) from None
            if not told:
                progress.note(f"Waiting: {sentence}")
                told = True
            time.sleep(LOCK_POLL_S)
        else:
            return

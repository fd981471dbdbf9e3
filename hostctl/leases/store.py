"""The authority on leases: a SQLite database that any number of hostctl processes on this machine share.

The store's clock decides; every decision is one transaction of the only writer, and is on disk before it is answered. Work
grows with the leases that are alive, not with the history.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Float,
    Index,
    Integer,
    MetaData,
    Row,
    Table,
    Text,
    select,
    text,
    update,
)
from sqlalchemy.dialects.sqlite import insert

from hostctl.database import open_database, reading, writing
from hostctl.errors import NothingFree, UsageError
from hostctl.leases import rules
from hostctl.leases.model import Claim, Lease, LeaseLost, State, check_ttl

SCHEMA_VERSION = 1
ALIVE = (State.QUEUED.value, State.ACTIVE.value)

metadata = MetaData()
leases = Table(
    "leases",
    metadata,
    Column("id", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("claims", Text, nullable=False),  # JSON: [[device, [instrument, …]], …]
    Column("priority", Integer, nullable=False),
    Column("ttl_s", Float, nullable=False),
    Column("create_s", Float, nullable=False),
    Column("start_s", Float),
    Column("end_s", Float, nullable=False),
    Column("fence", Integer),
    Column("token", Text),
    Column("reason", Text),
    Index("leases_alive", "state", "end_s"),
    Index("leases_history", "create_s"),
)
# The last fence of each device. Kept apart from the leases, so that no clean-up of history can make it go back.
fences = Table(
    "fences", metadata, Column("device", Text, primary_key=True), Column("fence", Integer, nullable=False)
)


class LeaseStore:
    """Leases of every device and instrument. Every method raises StoreError if the database cannot be used."""

    def __init__(self, path: Path, *, poll_s: float = 0.1) -> None:
        """Open or create the database. `poll_s`: how often a waiting request looks again."""
        self._engine = open_database(path, metadata, SCHEMA_VERSION)
        self._poll_s = poll_s

    def close(self) -> None:
        """Let go of the database; twice is harmless."""
        self._engine.dispose()

    def request(
        self, holder: str, claims: Sequence[Claim], *, ttl_s: float, priority: int = 0, wait: bool = True
    ) -> Lease:
        """Ask for one of the claims; return the lease, active if one was free, else queued (also a queued one expires).

        Raises NothingFree, naming who holds what, where nothing is free and `wait` is False; nothing is stored then.
        """
        if not claims:
            raise UsageError("There is no device to reserve; name one.")
        check_ttl(ttl_s)
        with writing(self._engine) as connection:
            now_s = _now(connection)
            lease = Lease(
                id=secrets.token_hex(6),
                holder=holder,
                state=State.QUEUED,
                claims=tuple(claims),
                priority=priority,
                ttl_s=ttl_s,
                create_s=now_s,
                end_s=now_s + ttl_s,
            )
            connection.execute(leases.insert().values(_values(lease)))
            alive = _settle(connection, now_s)
            found = alive[lease.id]
            if found.state is State.QUEUED and not wait:
                raise NothingFree(busy_sentence(found, alive.values(), now_s))
            return found

    def wait_for(
        self,
        lease_id: str,
        *,
        timeout_s: float | None = None,
        on_waiting: Callable[[str], None] = lambda sentence: None,
    ) -> Lease:
        """Wait until a queued lease is active; keep it alive meanwhile. `on_waiting` gets a sentence whenever it changes.

        Raises NothingFree after `timeout_s` (None: never), LeaseLost if it was broken or given back meanwhile. The queue
        entry is withdrawn when waiting ends in an exception, Ctrl-C included.
        """
        give_up_s = None if timeout_s is None else time.monotonic() + timeout_s
        told = ""
        try:
            while True:
                lease, sentence = self._look(lease_id)
                if lease.state is State.ACTIVE:
                    return lease
                if sentence != told:
                    on_waiting(sentence)
                    told = sentence
                if give_up_s is not None and time.monotonic() >= give_up_s:
                    raise NothingFree(sentence)
                time.sleep(self._poll_s)
        except BaseException:
            self.release(lease_id)
            raise

    def renew(self, lease_id: str, *, ttl_s: float | None = None) -> Lease:
        """Let a living lease end a whole `ttl_s` (None: its own) from now. Raises LeaseLost if it is over."""
        with writing(self._engine) as connection:
            now_s = _now(connection)
            alive = _settle(connection, now_s)
            lease = alive.get(lease_id) or _one(connection, lease_id)
            if not lease.alive:
                raise LeaseLost(_over_sentence(lease))
            span_s = lease.ttl_s if ttl_s is None else check_ttl(ttl_s)
            values = {"ttl_s": span_s, "end_s": now_s + span_s}
            connection.execute(update(leases).where(leases.c.id == lease_id).values(values))
            return _one(connection, lease_id)

    def release(self, lease_id: str) -> Lease:
        """Give a lease back; one that is over already stays as it ended. Raises UsageError for an unknown one."""
        return self._end(lease_id, State.RELEASED, None)

    def break_lease(self, lease_id: str, reason: str) -> Lease:
        """End somebody's lease from outside, with a reason its holder is told."""
        return self._end(lease_id, State.BROKEN, reason)

    def get(self, lease_id: str) -> Lease:
        """Return a lease as it is now. Raises UsageError for an unknown one."""
        with writing(self._engine) as connection:
            _settle(connection, _now(connection))
            return _one(connection, lease_id)

    def list(self, *, history: bool = False, limit: int = 100) -> list[Lease]:
        """Return living leases, those that hold first; with `history` all, the newest first."""
        with writing(self._engine) as connection:
            alive = _settle(connection, _now(connection))
        if not history:
            holding = [lease for lease in alive.values() if lease.state is State.ACTIVE]
            return [*sorted(holding, key=lambda lease: lease.create_s), *rules.queue_order(alive.values())][
                :limit
            ]
        with reading(self._engine) as connection:
            query = select(leases).order_by(leases.c.create_s.desc()).limit(limit)
            return [_lease(row) for row in connection.execute(query)]

    def _look(self, lease_id: str) -> tuple[Lease, str]:
        """Settle, keep the waiting lease alive, and tell what it waits for."""
        with writing(self._engine) as connection:
            now_s = _now(connection)
            alive = _settle(connection, now_s)
            lease = alive.get(lease_id) or _one(connection, lease_id)
            if not lease.alive:
                raise LeaseLost(_over_sentence(lease))
            # A waiting process must not write ten times a second beside somebody's measurement.
            if lease.state is State.QUEUED and lease.end_s - now_s < lease.ttl_s * 2 / 3:
                renewed = update(leases).where(leases.c.id == lease_id).values(end_s=now_s + lease.ttl_s)
                connection.execute(renewed)
            return lease, busy_sentence(lease, alive.values(), now_s)

    def _end(self, lease_id: str, state: State, reason: str | None) -> Lease:
        with writing(self._engine) as connection:
            now_s = _now(connection)
            alive = _settle(connection, now_s)
            if lease_id in alive:
                values = {"state": state.value, "end_s": now_s, "reason": reason}
                connection.execute(update(leases).where(leases.c.id == lease_id).values(values))
                _settle(connection, now_s)
            return _one(connection, lease_id)


def busy_sentence(lease: Lease, alive: Iterable[Lease], now_s: float) -> str:
    """Say who is in a lease's way, and until when."""
    wanted = " or ".join(dict.fromkeys(claim.device for claim in lease.claims))
    others = rules.in_the_way(lease, list(alive))
    if not others:
        return f"{wanted} is free."
    who = "; ".join(
        f"{other.holder} holds {other.device} for {max(0.0, other.end_s - now_s):.0f} s more unless it renews"
        if other.state is State.ACTIVE
        else f"{other.holder} waits before you"
        for other in others
    )
    return f"{wanted} is not free: {who}."


def _settle(connection: Connection, now_s: float) -> dict[str, Lease]:
    """Expire what is over, grant what is free; return the leases that are alive, by id."""
    over = leases.c.state.in_(ALIVE) & (leases.c.end_s <= now_s)
    connection.execute(update(leases).where(over).values(state=State.EXPIRED.value))
    alive = {
        row.id: _lease(row) for row in connection.execute(select(leases).where(leases.c.state.in_(ALIVE)))
    }
    held = {
        resource
        for lease in alive.values()
        if lease.state is State.ACTIVE
        for resource in lease.claims[0].resources
    }
    for lease, claim in rules.grants(alive.values(), held):
        values = {
            "state": State.ACTIVE.value,
            "claims": _claims_json([claim]),
            "fence": _next_fence(connection, claim.device, now_s),
            "start_s": now_s,
            "end_s": now_s + lease.ttl_s,
        }
        connection.execute(update(leases).where(leases.c.id == lease.id).values(values))
        alive[lease.id] = _one(connection, lease.id)
    return alive


def _next_fence(connection: Connection, device: str, now_s: float) -> int:
    # A device new to this database starts at the milliseconds since 1970, not at one: boards remember the highest fence they have
    # seen, and a database that was lost and made anew has to go on above it.
    first = insert(fences).values(device=device, fence=int(now_s * 1e3))
    grown = first.on_conflict_do_update(index_elements=["device"], set_={"fence": fences.c.fence + 1})
    return int(connection.execute(grown.returning(fences.c.fence)).scalar_one())


def _now(connection: Connection) -> float:
    return float(connection.execute(text("SELECT (julianday('now') - 2440587.5) * 86400.0")).scalar_one())


def _one(connection: Connection, lease_id: str) -> Lease:
    row = connection.execute(select(leases).where(leases.c.id == lease_id)).one_or_none()
    if row is None:
        raise UsageError(f"There is no lease '{lease_id}'; hostctl leases lists them.")
    return _lease(row)


def _over_sentence(lease: Lease) -> str:
    because = f" ({lease.reason})" if lease.reason else ""
    return f"The lease {lease.id} is {lease.state.value}{because}; reserve the device again."


def _claims_json(claims: Iterable[Claim]) -> str:
    return json.dumps([[claim.device, sorted(claim.instruments)] for claim in claims])


def _values(lease: Lease) -> dict[str, Any]:
    names = ("id", "holder", "priority", "ttl_s", "create_s", "start_s", "end_s", "fence", "token", "reason")
    values = {name: getattr(lease, name) for name in names}
    return {**values, "state": lease.state.value, "claims": _claims_json(lease.claims)}


def _lease(row: Row[Any]) -> Lease:
    values = dict(row._mapping)
    claims = tuple(Claim(device, frozenset(names)) for device, names in json.loads(values.pop("claims")))
    return Lease(**{**values, "claims": claims, "state": State(values["state"])})

"""Who gets what: pure decisions over plain data, without clock or database."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from hostctl.leases.model import Claim, Lease, State


def expired(leases: Iterable[Lease], now_s: float) -> list[Lease]:
    """Return the living leases whose time is over."""
    return [lease for lease in leases if lease.alive and lease.end_s <= now_s]


def queue_order(leases: Iterable[Lease]) -> list[Lease]:
    """Return those that wait, the next first: by priority (higher first), then by age."""
    waiting = (lease for lease in leases if lease.state is State.QUEUED)
    return sorted(waiting, key=lambda lease: (-lease.priority, lease.create_s, lease.id))


def grants(waiting: Iterable[Lease], held: Collection[str]) -> list[tuple[Lease, Claim]]:
    """Return which waiting leases get which of their claims, given the resources that are held.

    All of a claim is taken or nothing. Whoever cannot be served keeps everything it could use from those behind it, so that
    a claim of several resources is not starved by a stream of smaller ones.
    """
    taken = set(held)
    found = []
    for lease in queue_order(waiting):
        claim = next((claim for claim in lease.claims if not claim.resources & taken), None)
        if claim is None:
            taken.update(*(claim.resources for claim in lease.claims))
        else:
            taken |= claim.resources
            found.append((lease, claim))
    return found


def in_the_way(lease: Lease, others: Iterable[Lease]) -> list[Lease]:
    """Return the leases that keep this one waiting: holders of what it wants, and those before it in the queue."""
    wanted = frozenset[str]().union(*(claim.resources for claim in lease.claims))
    before = {waiting.id for waiting in _before(lease, others)}
    return [
        other
        for other in others
        if other.id != lease.id
        and any(claim.resources & wanted for claim in other.claims)
        and (other.state is State.ACTIVE or other.id in before)
    ]


def _before(lease: Lease, others: Iterable[Lease]) -> list[Lease]:
    queue = queue_order([*(other for other in others if other.id != lease.id), lease])
    return queue[: queue.index(lease)] if lease in queue else queue

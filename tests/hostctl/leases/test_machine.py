"""Any sequence of requests, renewals, releases and expiries: no two holders, fences only grow, all or nothing."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule
from sqlalchemy import text

from hostctl.database import writing
from hostctl.leases.model import Claim, LeaseLost, State
from hostctl.leases.store import LeaseStore

claims = st.builds(
    Claim, st.sampled_from("abc"), st.frozensets(st.sampled_from(["scope", "meter"]), max_size=2)
)


class Leasing(RuleBasedStateMachine):
    """Drives a real store; time passes by moving the leases' ends."""

    known = Bundle("known")

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.store = LeaseStore(Path(self.folder.name) / "leases.sqlite")
        self.fences: dict[str, list[tuple[int, str]]] = {}

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    @rule(target=known, wishes=st.lists(claims, min_size=1, max_size=2), priority=st.integers(0, 2))
    def request(self, wishes: list[Claim], priority: int) -> str:
        return self.store.request("h", wishes, ttl_s=1000, priority=priority).id

    @rule(lease_id=known)
    def renew(self, lease_id: str) -> None:
        before = self.store.get(lease_id)
        try:
            after = self.store.renew(lease_id)
        except LeaseLost:
            assert not before.alive
        else:
            assert after.fence == before.fence

    @rule(lease_id=consumes(known))
    def release(self, lease_id: str) -> None:
        assert not self.store.release(lease_id).alive

    @rule(lease_id=known)
    def run_out(self, lease_id: str) -> None:
        with writing(self.store._engine) as connection:
            connection.execute(text("UPDATE leases SET end_s = 0 WHERE id = :id"), {"id": lease_id})
        assert not self.store.get(lease_id).alive

    @invariant()
    def nothing_is_held_twice(self) -> None:
        held = [
            resource
            for lease in self.store.list()
            if lease.state is State.ACTIVE
            for resource in lease.claims[0].resources
        ]
        assert len(held) == len(set(held))

    @invariant()
    def fences_grow_by_one_with_each_holder(self) -> None:
        by_device: dict[str, dict[int, str]] = {}
        for lease in self.store.list(history=True, limit=1000):
            if lease.fence is not None:
                device = by_device.setdefault(lease.claims[0].device, {})
                assert lease.fence not in device
                device[lease.fence] = lease.id
        for fences in by_device.values():
            first = min(fences)
            assert sorted(fences) == list(range(first, first + len(fences)))


TestLeasing = pytest.mark.slow(Leasing.TestCase)
TestLeasing.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)

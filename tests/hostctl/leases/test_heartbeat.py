"""A holder learns in time that its lease is over, whatever the store does."""

from __future__ import annotations

import multiprocessing
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event

from hostctl.errors import NothingFree
from hostctl.leases import heartbeat as module
from hostctl.leases.heartbeat import Heartbeat
from hostctl.leases.model import Claim, Lease
from hostctl.leases.store import LeaseStore

A = (Claim("a"),)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LeaseStore]:
    made = LeaseStore(tmp_path / "leases.sqlite", poll_s=0.01)
    yield made
    made.close()


def test_a_locked_store_does_not_let_a_holder_overstay(store: LeaseStore, tmp_path: Path) -> None:
    lease = store.request("me", A, ttl_s=0.6)
    locker = sqlite3.connect(tmp_path / "leases.sqlite", isolation_level=None, check_same_thread=False)
    began_s = time.monotonic()
    with Heartbeat(store, lease) as heartbeat:
        locker.execute("BEGIN IMMEDIATE")
        assert heartbeat.lost.wait(5)
        took_s = time.monotonic() - began_s
        locker.execute("ROLLBACK")
    locker.close()
    assert took_s <= 4.0
    assert "could not be renewed in time" in str(heartbeat.reason)


def test_a_long_lease_that_is_broken_is_noticed_soon(
    store: LeaseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST_INTERVAL_S", 0.05)
    lease = store.request("me", A, ttl_s=7200)
    with Heartbeat(store, lease) as heartbeat:
        time.sleep(0.2)
        assert store.get(lease.id).end_s == lease.end_s
        store.break_lease(lease.id, "maintenance")
        assert heartbeat.lost.wait(5)
    assert "broken (maintenance)" in str(heartbeat.reason)


def test_an_error_nobody_expected_is_not_silence(store: LeaseStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(lease_id: str) -> Lease:
        raise RuntimeError("odd")

    lease = store.request("me", A, ttl_s=0.3)
    monkeypatch.setattr(store, "renew", fail)
    told: list[str] = []
    with Heartbeat(store, lease, on_lost=told.append) as heartbeat:
        assert heartbeat.lost.wait(5)
    assert told == [f"The lease {lease.id} could not be renewed in time: odd"]


@pytest.mark.slow
def test_a_lease_that_is_nearly_over_is_renewed_before_its_end(store: LeaseStore) -> None:
    lease = store.request("me", A, ttl_s=3.0)
    time.sleep(1.8)
    with Heartbeat(store, lease) as heartbeat:
        time.sleep(1.4)
        assert not heartbeat.lost.is_set()


def test_waiting_does_not_write_at_every_look(store: LeaseStore) -> None:
    store.request("me", A, ttl_s=100)
    waiting = store.request("you", A, ttl_s=30)
    pushed_on: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if statement.startswith("UPDATE leases SET end_s"):
            pushed_on.append(statement)

    event.listen(store._engine, "before_cursor_execute", note)
    with pytest.raises(NothingFree):
        store.wait_for(waiting.id, timeout_s=0.3)
    assert pushed_on == []


def _open(path: Path, go: object) -> None:
    go.wait()  # type: ignore[attr-defined]
    LeaseStore(path).close()


@pytest.mark.slow
def test_many_first_openers_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    for turn in range(5):
        go = context.Barrier(4)
        processes = [context.Process(target=_open, args=(tmp_path / f"{turn}.sqlite", go)) for _ in range(4)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
        assert [process.exitcode for process in processes] == [0] * 4

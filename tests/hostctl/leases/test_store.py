"""The store over real databases and real processes."""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostctl.errors import NothingFree, StoreError, UsageError
from hostctl.leases.heartbeat import Heartbeat
from hostctl.leases.model import Claim, LeaseLost, State, default_holder
from hostctl.leases.store import LeaseStore

A = (Claim("a", frozenset({"scope"})),)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LeaseStore]:
    made = LeaseStore(tmp_path / "leases.sqlite", poll_s=0.01)
    yield made
    made.close()


def test_a_free_device_is_granted_with_a_fence_that_grows(store: LeaseStore) -> None:
    first = store.request("me", A, ttl_s=10)
    assert (first.state, first.device) == (State.ACTIVE, "a")
    assert first.fence is not None
    assert first.end_s == pytest.approx(first.create_s + 10)
    assert store.release(first.id).state is State.RELEASED
    assert store.request("you", A, ttl_s=10).fence == first.fence + 1


@pytest.mark.slow
def test_a_database_made_anew_goes_on_above_the_fences_boards_have_seen(
    store: LeaseStore, tmp_path: Path
) -> None:
    lost = store.request("me", A, ttl_s=10)
    time.sleep(1.0)
    anew = LeaseStore(tmp_path / "anew.sqlite")
    fence = anew.request("me", A, ttl_s=10).fence
    anew.close()
    assert fence is not None
    assert lost.fence is not None
    assert fence > lost.fence


def test_renewing_keeps_the_fence(store: LeaseStore) -> None:
    lease = store.request("me", A, ttl_s=10)
    renewed = store.renew(lease.id, ttl_s=100)
    assert renewed.fence == lease.fence
    assert renewed.end_s > lease.end_s + 80


def test_who_does_not_wait_is_told_who_holds_it_and_leaves_no_trace(store: LeaseStore) -> None:
    store.request("alice@lab:1", A, ttl_s=100)
    with pytest.raises(NothingFree, match=r"a is not free: alice@lab:1 holds a for \d+ s more"):
        store.request("bob", A, ttl_s=10, wait=False)
    assert [lease.holder for lease in store.list(history=True)] == ["alice@lab:1"]


def test_an_instrument_that_is_taken_blocks_the_device_too(store: LeaseStore) -> None:
    store.request("me", [Claim("b", frozenset({"scope"}))], ttl_s=10)
    assert store.request("you", A, ttl_s=10).state is State.QUEUED
    assert store.request("her", [Claim("c")], ttl_s=10).state is State.ACTIVE


def test_another_candidate_is_taken(store: LeaseStore) -> None:
    store.request("me", A, ttl_s=10)
    assert store.request("you", [*A, Claim("b")], ttl_s=10).device == "b"


def test_what_is_not_renewed_expires_and_cannot_come_back(store: LeaseStore) -> None:
    lease = store.request("me", A, ttl_s=0.05)
    waiting = store.request("you", A, ttl_s=10)
    time.sleep(0.06)
    assert store.get(waiting.id).state is State.ACTIVE
    assert store.get(lease.id).state is State.EXPIRED
    with pytest.raises(LeaseLost, match="is expired; reserve the device again"):
        store.renew(lease.id)
    assert store.release(lease.id).state is State.EXPIRED


def test_a_broken_lease_tells_its_holder_why(store: LeaseStore) -> None:
    lease = store.request("me", A, ttl_s=10)
    store.break_lease(lease.id, "maintenance")
    with pytest.raises(LeaseLost, match="broken \\(maintenance\\)"):
        store.renew(lease.id)


def test_waiting_says_for_whom_and_ends_when_it_is_released(store: LeaseStore) -> None:
    held = store.request("alice", A, ttl_s=100)
    waiting = store.request("bob", A, ttl_s=5)
    told: list[str] = []
    timer = threading.Timer(0.1, store.release, [held.id])
    timer.start()
    lease = store.wait_for(waiting.id, on_waiting=told.append)
    timer.join()
    assert lease.state is State.ACTIVE
    assert "alice holds a" in told[0]


def test_who_gives_up_leaves_the_queue(store: LeaseStore) -> None:
    store.request("alice", A, ttl_s=100)
    waiting = store.request("bob", A, ttl_s=5)
    with pytest.raises(NothingFree):
        store.wait_for(waiting.id, timeout_s=0.05)
    assert store.get(waiting.id).state is State.RELEASED


def test_a_waiting_lease_outlives_its_ttl_as_long_as_somebody_waits(store: LeaseStore) -> None:
    store.request("alice", A, ttl_s=0.3)
    waiting = store.request("bob", A, ttl_s=0.1)
    assert store.wait_for(waiting.id, timeout_s=5).state is State.ACTIVE


def test_the_living_are_listed_holders_first(store: LeaseStore) -> None:
    ids = [store.request(name, A, ttl_s=10, priority=p).id for name, p in [("x", 0), ("y", 0), ("z", 9)]]
    assert [lease.id for lease in store.list()] == [ids[0], ids[2], ids[1]]
    assert len(store.list(history=True, limit=2)) == 2


@pytest.mark.parametrize("ttl_s", [0, -1, float("nan"), 8 * 86400])
def test_a_senseless_ttl(store: LeaseStore, ttl_s: float) -> None:
    with pytest.raises(UsageError, match="not possible"):
        store.request("me", A, ttl_s=ttl_s)


def test_an_unknown_lease(store: LeaseStore) -> None:
    with pytest.raises(UsageError, match="no lease 'nope'"):
        store.release("nope")


def test_nothing_to_reserve(store: LeaseStore) -> None:
    with pytest.raises(UsageError, match="no device"):
        store.request("me", [], ttl_s=1)


def test_leases_survive_a_restart(store: LeaseStore, tmp_path: Path) -> None:
    lease = store.request("me", A, ttl_s=100)
    store.close()
    again = LeaseStore(tmp_path / "leases.sqlite")
    assert again.get(lease.id) == lease
    again.close()


@pytest.mark.slow
def test_the_heartbeat_keeps_a_lease(store: LeaseStore) -> None:
    lease = store.request("me", A, ttl_s=2.0)
    with Heartbeat(store, lease) as heartbeat:
        time.sleep(2.2)
        assert not heartbeat.lost.is_set()
        assert store.get(lease.id).state is State.ACTIVE


def test_the_heartbeat_tells_that_a_lease_is_lost(store: LeaseStore) -> None:
    lease = store.request("me", A, ttl_s=0.15)
    told: list[str] = []
    with Heartbeat(store, lease, on_lost=told.append) as heartbeat:
        store.break_lease(lease.id, "taken")
        assert heartbeat.lost.wait(5)
    assert "broken (taken)" in told[0]


def test_a_damaged_database(tmp_path: Path) -> None:
    (tmp_path / "leases.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError, match=r"is damaged .* move it aside"):
        LeaseStore(tmp_path / "leases.sqlite")


def test_a_database_from_the_future(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "leases.sqlite")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match="newer Wattfarm"):
        LeaseStore(tmp_path / "leases.sqlite")


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be made"):
        LeaseStore(tmp_path / "file" / "leases.sqlite")


def test_a_full_disk_changes_nothing(store: LeaseStore) -> None:
    lease = store.request("me", A, ttl_s=100)
    with store._engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="is full"):
        store.request("x" * 1_000_000, A, ttl_s=10)
    assert store.get(lease.id).state is State.ACTIVE


GRAB = """
import sys, time
from pathlib import Path
from hostctl.leases.model import Claim
from hostctl.leases.store import LeaseStore
store = LeaseStore(Path(sys.argv[1]), poll_s=0.002)
for _ in range(int(sys.argv[2])):
    lease = store.wait_for(store.request("p", [Claim("a")], ttl_s=30).id)
    print(lease.fence, time.monotonic_ns(), end=" ")
    time.sleep(0.002)
    print(time.monotonic_ns(), flush=True)
    store.release(lease.id)
"""


@pytest.mark.slow
def test_processes_that_race_never_hold_a_device_together(tmp_path: Path) -> None:
    command = [sys.executable, "-c", GRAB, str(tmp_path / "leases.sqlite"), "5"]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    lines = [line for process in processes for line in process.communicate(timeout=60)[0].splitlines()]
    assert [process.returncode for process in processes] == [0] * 4
    held = sorted(tuple(map(int, line.split())) for line in lines)
    assert [fence - held[0][0] for fence, _, _ in held] == list(range(20))
    for (_, _, end), (_, start, _) in itertools.pairwise(held):
        assert end <= start


HOLD = """
import sys, time
from pathlib import Path
from hostctl.leases.heartbeat import Heartbeat
from hostctl.leases.model import Claim
from hostctl.leases.store import LeaseStore
store = LeaseStore(Path(sys.argv[1]))
with Heartbeat(store, store.request("killed", [Claim("a")], ttl_s=0.5)):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_holder_that_was_killed_is_forgotten_after_its_ttl(store: LeaseStore, tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path / "leases.sqlite")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    (killed,) = store.list()
    waiting = store.request("me", [Claim("a")], ttl_s=10)
    assert waiting.state is State.QUEUED
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert killed.fence is not None
    assert store.wait_for(waiting.id, timeout_s=5).fence == killed.fence + 1


def test_the_holder_is_this_process() -> None:
    assert default_holder().endswith(f":{os.getpid()}")

"""The lease gate: fences only grow, on disk before anybody relies on them."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from pathlib import Path

import pytest

from farmd.errors import LeaseFenced, LeaseInvalid, LeaseRequired, StartRefused, Unavailable
from farmd.gate import FenceStore, Lease, LeaseGate, Metadata, read_lease
from tests.serving import lease


@pytest.fixture
def store(tmp_path: Path) -> FenceStore:
    return FenceStore(tmp_path / "fence.json")


def admit(gate: LeaseGate, metadata: Metadata, *, reading: bool = False) -> Lease | None:
    return gate.admit(metadata, reading=reading)


def test_a_higher_fence_is_on_disk_before_the_call_proceeds(store: FenceStore) -> None:
    gate = LeaseGate(store, on_new_holder=lambda fence: seen.append((fence, store.load())))
    seen: list[tuple[int, Lease | None]] = []
    assert gate.fence is None
    assert admit(gate, lease(5)) == Lease("lease-5", 5)
    assert admit(gate, lease(5)) == Lease("lease-5", 5)
    assert admit(gate, lease(9)) == Lease("lease-9", 9)
    assert seen == [(5, Lease("lease-5", 5)), (9, Lease("lease-9", 9))]
    assert LeaseGate(store).fence == 9


def test_a_lower_fence_is_refused_also_after_a_restart(store: FenceStore) -> None:
    admit(LeaseGate(store), lease(9))
    gate = LeaseGate(store)
    with pytest.raises(LeaseFenced, match="fence 8") as caught:
        admit(gate, lease(8))
    assert caught.value.metadata == {"fence": "8", "highest_fence": "9"}
    with pytest.raises(LeaseFenced):
        admit(gate, lease(8), reading=True)
    assert gate.fence == 9


def test_the_same_fence_of_another_lease_is_refused(store: FenceStore) -> None:
    gate = LeaseGate(store)
    admit(gate, lease(9, "a"))
    with pytest.raises(LeaseFenced, match="belongs to another lease"):
        admit(gate, lease(9, "b"))


def test_without_a_lease(store: FenceStore) -> None:
    assert admit(LeaseGate(store), ()) is None
    strict = LeaseGate(store, required=True)
    assert admit(strict, (), reading=True) is None
    with pytest.raises(LeaseRequired):
        admit(strict, ())
    assert admit(strict, lease(1)) == Lease("lease-1", 1)


@pytest.mark.parametrize(
    "metadata",
    [
        (("wattfarm-lease", "a"),),
        (("wattfarm-fence", "1"),),
        *(
            (("wattfarm-lease", "a"), ("wattfarm-fence", fence))
            for fence in ("", "0", "-1", "1.0", "x", "٣", " 1", "01")
        ),
        (("wattfarm-lease", "a"), ("wattfarm-fence", str(1 << 63))),
        (("wattfarm-lease", "a"), ("wattfarm-fence", "9" * 500)),
        (("wattfarm-lease", ""), ("wattfarm-fence", "1")),
        (("wattfarm-lease", "a b"), ("wattfarm-fence", "1")),
        (("wattfarm-lease", "a" * 129), ("wattfarm-fence", "1")),
        (("wattfarm-lease", "a"), ("wattfarm-lease", "a"), ("wattfarm-fence", "1")),
    ],
)
def test_malformed_metadata_are_refused(store: FenceStore, metadata: Metadata) -> None:
    with pytest.raises(LeaseInvalid) as caught:
        admit(LeaseGate(store), metadata)
    assert caught.value.violations[0].field.startswith("metadata.wattfarm-")
    assert store.load() is None


def test_other_metadata_are_of_no_interest() -> None:
    metadata = (("user-agent", "x"), ("user-agent", "y"), ("wattfarm-token", "t"), *lease((1 << 63) - 1))
    assert read_lease(metadata) == (Lease(f"lease-{(1 << 63) - 1}", (1 << 63) - 1), "t")


def test_a_fence_is_believed_only_when_verified(store: FenceStore) -> None:
    def verify(claimed: Lease, token: str | None) -> None:
        if token != f"signed {claimed.fence}":
            raise LeaseFenced("The token is not for this lease; reserve the board again.")

    gate = LeaseGate(store, verify=verify)
    with pytest.raises(LeaseFenced):
        admit(gate, lease(7))
    assert gate.fence is None
    admit(gate, (*lease(7), ("wattfarm-token", "signed 7")))
    assert gate.fence == 7


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"7",
        b"{}",
        b'{"version": 1, "fence": 7',
        b'{"version": 1, "fence": "7", "lease": "a"}',
        b'{"version": 1, "fence": 0, "lease": "a"}',
        b'{"version": 1, "fence": true, "lease": "a"}',
        b'{"version": 1, "fence": 7, "lease": null}',
        b'{"version": 2, "fence": 7, "lease": "a"}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_a_damaged_fence_refuses_the_start(store: FenceStore, content: bytes) -> None:
    store.path.write_bytes(content)
    with pytest.raises(StartRefused, match="damaged") as caught:
        LeaseGate(store)
    assert str(store.path) in caught.value.message


def test_a_fence_that_cannot_be_kept_refuses_the_call(
    store: FenceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = LeaseGate(store)
    admit(gate, lease(3))

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(Unavailable, match="No space left"):
            admit(gate, lease(4))
    assert gate.fence == 3
    assert store.load() == Lease("lease-3", 3)
    assert [path.name for path in store.path.parent.iterdir()] == ["fence.json"]
    admit(gate, lease(4))
    assert store.load() == Lease("lease-4", 4)


def test_of_many_at_once_the_highest_fence_stays(store: FenceStore) -> None:
    gate = LeaseGate(store)
    entered: list[int] = []

    def call(fence: int) -> None:
        def enter(held: Lease | None) -> None:
            assert held is not None
            entered.append(held.fence)  # under the gate's lock: in the order in which they were let in

        with contextlib.suppress(LeaseFenced):
            gate.admit(lease(fence), reading=False, enter=enter)

    threads = [threading.Thread(target=call, args=(fence,)) for fence in range(1, 33)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert gate.fence == 32
    assert store.load() == Lease("lease-32", 32)
    assert entered == sorted(entered)


def test_a_holder_replaced_while_the_past_one_was_sent_away_is_refused(store: FenceStore) -> None:
    def send_away(fence: int) -> None:
        if fence == 1:
            admit(gate, lease(2))

    gate = LeaseGate(store, on_new_holder=send_away)
    entered: list[Lease | None] = []
    with pytest.raises(LeaseFenced):
        gate.admit(lease(1), reading=False, enter=entered.append)
    assert entered == []

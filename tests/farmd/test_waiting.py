"""Cancellation and the fair lock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from farmd import errors
from farmd.waiting import Cancel, FairLock


def test_a_cancel_tells_each_listener_once() -> None:
    cancel, told = Cancel(), []
    with cancel.calling(lambda: told.append("a")):
        cancel.set()
        cancel.set()
    assert told == ["a"]
    assert cancel.is_set
    with pytest.raises(errors.CallCancelled):
        cancel.check()


def test_a_late_listener_is_told_at_once_and_one_that_left_never() -> None:
    cancel, told = Cancel(), []
    with cancel.calling(lambda: told.append("early")):
        pass
    cancel.set()
    with cancel.calling(lambda: told.append("late")):
        assert told == ["late"]


def test_a_cancel_subscribes_once_and_only_when_somebody_asks() -> None:
    subscribed: list[Callable[[], None]] = []

    def subscribe(callback: Callable[[], None]) -> bool:
        subscribed.append(callback)
        return True

    cancel, told = Cancel(subscribe), []
    assert not subscribed
    for _ in range(2):
        with cancel.calling(lambda: told.append("gone")):
            assert not cancel.is_set
    assert len(subscribed) == 1
    with cancel.calling(lambda: told.append("gone")):
        subscribed[0]()
    assert told == ["gone"]
    assert cancel.is_set


def test_a_caller_that_had_gone_before_anybody_asked() -> None:
    with pytest.raises(errors.CallCancelled):
        Cancel(lambda callback: False).check()


def test_the_lock_goes_to_whoever_waited_longest() -> None:
    lock, order, threads = FairLock(), [], []
    assert lock.acquire()

    def take(number: int) -> None:
        lock.acquire()
        order.append(number)
        lock.release()

    for number in range(8):
        threads.append(threading.Thread(target=take, args=(number,)))
        threads[-1].start()
        while len(lock._queue) <= number:
            time.sleep(0.001)
    lock.release()
    for thread in threads:
        thread.join(10)
    assert order == list(range(8))
    assert lock.acquire(timeout_s=0)


def test_a_waiter_gives_up_after_its_time_and_the_lock_is_not_lost() -> None:
    lock = FairLock()
    lock.acquire()
    assert not lock.acquire(timeout_s=0.01)
    lock.release()
    assert lock.acquire(timeout_s=0)


def test_a_waiter_whose_caller_goes_gives_up() -> None:
    lock, cancel, got = FairLock(), Cancel(), []
    lock.acquire()
    thread = threading.Thread(target=lambda: got.append(lock.acquire(cancel)))
    thread.start()
    while not lock._queue:
        time.sleep(0.001)
    cancel.set()
    thread.join(10)
    assert got == [False]
    lock.release()
    assert lock.acquire(timeout_s=0)

"""Who may work beside whom."""

from __future__ import annotations

import threading
import time

import pytest

from farmd import errors
from farmd.activity import Activity
from farmd.waiting import Cancel


def test_inferences_and_loads_run_beside_each_other() -> None:
    activity = Activity()
    with activity.inference(), activity.inference(), activity.load("a"), activity.load("a"):
        assert activity.benchmark is None
    assert activity.stop(0)


def test_nothing_heavy_runs_beside_a_benchmark() -> None:
    activity = Activity()
    with activity.benchmarking("a", Cancel(), 0):
        for other in (activity.inference(), activity.load("b"), activity.benchmarking("c", Cancel(), 0)):
            with pytest.raises(errors.BoardBusy, match="benchmark of 'a'") as caught, other:
                pass
            assert caught.value.metadata == {"benchmark": "a"}
    with activity.inference(), activity.load("b"):
        pass


def test_a_benchmark_does_not_begin_beside_a_load() -> None:
    activity = Activity()
    with (
        activity.load("b"),
        pytest.raises(errors.BoardBusy, match="'b' is being loaded"),
        activity.benchmarking("a", Cancel(), 0),
    ):
        pass
    with activity.benchmarking("a", Cancel(), 0):
        pass


def test_a_benchmark_waits_for_inferences_but_not_for_ever() -> None:
    activity = Activity()
    with (
        activity.inference(),
        pytest.raises(errors.BoardBusy, match="do not end"),
        activity.benchmarking("a", Cancel(), 0.01),
    ):
        pass
    running, begun = activity.inference(), threading.Event()
    running.__enter__()

    def measure() -> None:
        with activity.benchmarking("a", Cancel(), 10):
            begun.set()

    thread = threading.Thread(target=measure)
    thread.start()
    assert not begun.wait(0.05)
    running.__exit__(None, None, None)
    assert begun.wait(10)
    thread.join(10)


def test_a_benchmark_whose_caller_goes_while_it_waits_frees_the_board() -> None:
    activity, cancel = Activity(), Cancel()
    with activity.inference():
        threading.Timer(0.05, cancel.set).start()
        with pytest.raises(errors.CallCancelled), activity.benchmarking("a", cancel, 10):
            pass
        with activity.inference():
            pass


def test_a_stop_refuses_new_work_and_waits_for_the_old() -> None:
    activity = Activity()
    running = activity.inference()
    running.__enter__()
    assert not activity.stop(0.01)
    with pytest.raises(errors.ShuttingDown) as caught, activity.load("a"):
        pass
    assert caught.value.retry_delay_s is not None
    threading.Timer(0.05, lambda: running.__exit__(None, None, None)).start()
    begin = time.monotonic()
    assert activity.stop(10)
    assert time.monotonic() - begin < 20

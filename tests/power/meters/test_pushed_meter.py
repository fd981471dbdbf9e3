"""What arrived before a pushed meter was stopped is in its trace; a silent one is named with its source."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Self

import pytest

from power.drivers.common.base import PushedInstrument
from power.errors import LinkLost
from power.meter import Identity
from power.meters.pushed import PushedMeter
from power.options import Options
from power.sample import Sample
from power.timebase import HOST_TIME, Timebase
from power.trace import Reading
from power.uncertainty import Accuracy


class Queued(PushedInstrument):
    """Hands over one sample, blocks its listener until it is asked without a wait, and has the others queued by then."""

    driver = "queued"
    reading: Reading = "instantaneous"
    interval_s = 0.01
    check_text = "the fuse"
    source_text = "from the queue"

    def __init__(self, *later_s: float) -> None:
        """`later_s`: times of what is queued, since the first sample."""
        begin_ns = HOST_TIME.now_ns()
        self.queue: list[list[Sample]] = [[Sample(begin_ns, power_w=1.0)]]
        self.later = [
            [Sample(begin_ns + round(1e9 * after_s), power_w=2.0 + k)] for k, after_s in enumerate(later_s)
        ]
        self.is_waiting = threading.Event()

    @classmethod
    def from_options(cls, options: Options, timebase: Timebase) -> Self:
        """Not of use here."""
        raise NotImplementedError

    def connect(self) -> Identity:
        """Nothing."""
        return Identity()

    def begin(self) -> None:
        """Nothing."""

    def receive(self, timeout_s: float) -> Sequence[Sample]:
        """Return the first, nothing as long as the listener waits, then what was queued meanwhile."""
        if timeout_s > 0.0:
            if self.queue:
                return self.queue.pop(0)
            self.is_waiting.wait(timeout_s)
            return ()
        return self.later.pop(0) if self.later else ()

    def end(self) -> None:
        """Nothing."""

    def make_safe(self) -> None:
        """Nothing."""

    def disconnect(self) -> None:
        """Nothing."""

    def accuracy(self, voltage_v: float | None) -> Accuracy | None:
        """Unknown."""
        return None


def test_what_is_queued_when_it_is_stopped_counts() -> None:
    source = Queued(1e-6, 2e-6, 3e-6)
    with PushedMeter("m", source) as meter:
        meter.start()
        trace = meter.stop()
    assert trace.power_w is not None
    assert trace.power_w.tolist() == [1.0, 2.0, 3.0, 4.0]


def test_a_source_that_never_ends_does_not_hold_it_up() -> None:
    source = Queued(*(3600.0 + k for k in range(100)))
    with PushedMeter("m", source) as meter:
        meter.start()
        trace = meter.stop()
    assert len(trace) == 2
    assert len(source.later) == 99


def test_silence_names_the_source_and_what_to_check() -> None:
    source = Queued()
    source.silence_s = 0.05
    with PushedMeter("m", source) as meter:
        meter.start()
        meter._listener._thread.join(5.0)  # type: ignore[union-attr]
        with pytest.raises(LinkLost, match=r"'m' sent nothing for 0\.05 s from the queue; check the fuse\."):
            meter.stop()

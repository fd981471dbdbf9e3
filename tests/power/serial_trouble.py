"""What can go wrong with any serial meter, tried on each: one sentence must come of it, soon, and the meter must close."""

from __future__ import annotations

import time as real_time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from power.catalogue import make_meter
from power.errors import PowerError
from power.meter import Meter
from power.sim.common.clock import VirtualTime
from power.sim.common.faults import Faults
from power.sim.common.load import Load
from power.sim.common.serialline import SerialSimulator
from power.sim.common.waveforms import Constant
from tests.power.scpi_trouble import one_sentence

Options = dict[str, object]


@contextmanager
def recording(
    made: type[SerialSimulator],
    options: Options,
    duration_s: float,
    *,
    power_w: float = 3.0,
    faults: Faults | None = None,
) -> Iterator[tuple[Meter, SerialSimulator, VirtualTime]]:
    """Run a meter on a simulated instrument for some time; the block goes on from there."""
    time = VirtualTime()
    with made(Load(Constant(power_w), made.supply_v), timebase=time, faults=faults) as source:
        meter = make_meter("m", made.driver, {**source.options, **options}, timebase=time).open()
        try:
            meter.start()
            time.sleep(duration_s)
            yield meter, source, time
        finally:
            meter.close()


def check_trouble(
    made: type[SerialSimulator],
    options: Options,
    faults: Faults,
    after_s: float,
    silence_s: float = 0.0,
) -> PowerError:
    """Let a fault begin in mid-run; return the error that it must end in.

    `silence_s` of real time pass besides: a meter that is waited for in a thread is missed after that, not after virtual time.
    """
    with recording(made, options, 2.0) as (meter, source, time):
        source.faults = faults
        time.sleep(after_s)
        real_time.sleep(silence_s)
        with pytest.raises(PowerError) as caught:
            meter.stop()
    return one_sentence(caught.value)


def check_cable_pulled(
    made: type[SerialSimulator], options: Options, after_s: float, silence_s: float = 0.0
) -> PowerError:
    """Close the line in mid-run; return the error that it must end in."""
    with recording(made, options, 2.0) as (meter, source, time):
        source.stop()
        time.sleep(after_s)
        real_time.sleep(silence_s)
        with pytest.raises(PowerError) as caught:
            meter.stop()
    return one_sentence(caught.value)

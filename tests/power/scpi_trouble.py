"""What can go wrong with any SCPI instrument, tried on each: one sentence must come of it, soon, and the meter must close."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic, sleep

import pytest

from power.catalogue import make_meter
from power.errors import InstrumentError, LinkLost, PowerError
from power.meter import Meter
from power.sim.common.clock import VirtualTime
from power.sim.common.faults import Faults
from power.sim.common.load import Load
from power.sim.common.scpi import ScpiSimulator
from power.sim.common.waveforms import Constant
from power.trace import Trace
from power.transports.scpi import VisaLink

TROUBLE = {
    "cut off": Faults(truncate_at=3),
    "stale": Faults(is_stale=True),
    "silent": Faults(silent_after=1),
    "disconnected": Faults(disconnect_after=1),
    "garbage": Faults(garbage_after=1),
}
"""Faults that no recording survives."""


SWITCHED_OFF = (
    r"did not answer '.+' within 0\.2 s; check that it is on and not waiting for a trigger\.$"
    r"|The line to .+ (broke at '.+'|cannot be opened again) \(.+\); check cable and power\.$"
)
"""What is said of an instrument that is gone: whether the line is still there when it is asked is up to the operating system."""


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let lines time out at once."""
    monkeypatch.setattr(VisaLink.__init__, "__defaults__", (0.2,))


def simulator(made: type[ScpiSimulator], power_w: float = 3.0) -> tuple[ScpiSimulator, VirtualTime]:
    """Make a perfect instrument in virtual time."""
    time = VirtualTime()
    return made(Load(Constant(power_w), made.supply_v), timebase=time), time


@contextmanager
def recording(
    source: ScpiSimulator,
    time: VirtualTime,
    options: dict[str, object],
    duration_s: float = 1.0,
    plan_s: float = 100.0,
) -> Iterator[Meter]:
    """Run a meter on a simulated instrument for some time; the block goes on from there."""
    with source:
        meter = make_meter("m", source.driver, {**source.options, **options}, timebase=time).open()
        try:
            meter.plan(plan_s)
            meter.start()
            time.sleep(duration_s)
            yield meter
        finally:
            meter.close()
            settle(source)


def settle(source: ScpiSimulator) -> None:
    """Wait, in real time, until what was sent last has been understood."""
    deadline_s = monotonic() + 2.0
    while source._server._open and monotonic() < deadline_s:
        sleep(0.001)


def check_trouble(
    made: type[ScpiSimulator], options: dict[str, object], faults: Faults, after_s: float = 1.5
) -> PowerError:
    """Let a fault begin in mid-run; return the error that it must end in."""
    source, time = simulator(made)
    with recording(source, time, options) as meter:
        source.faults = faults
        time.sleep(after_s)
        with pytest.raises(PowerError) as caught:
            meter.stop()
    return with_advice(caught.value)


def check_switched_off(
    made: type[ScpiSimulator], options: dict[str, object], after_s: float = 1.5
) -> PowerError:
    """Switch the instrument off in mid-run; return the error that it must end in, which tells where to look."""
    source, time = simulator(made)
    with recording(source, time, options) as meter:
        source.stop()
        time.sleep(after_s)
        with pytest.raises(LinkLost, match=SWITCHED_OFF) as caught:
            meter.stop()
    assert str(source.options["resource"]) in str(caught.value)
    return one_sentence(caught.value)


def check_doomed(made: type[ScpiSimulator], options: dict[str, object], faults: Faults) -> PowerError:
    """Measure with what is at fault from the beginning; return the error that it must end in, wherever that is."""
    source, time = simulator(made)
    source.faults = faults
    with pytest.raises(PowerError) as caught, recording(source, time, options, 2.0, plan_s=2.0) as meter:
        meter.stop()
    return with_advice(caught.value)


def check_refusal(made: type[ScpiSimulator], options: dict[str, object]) -> None:
    """An instrument that reports errors is not used: what it reports is told, and the line closed."""
    source, time = simulator(made)
    source.faults = Faults(error="Settings conflict")
    with source:
        meter = make_meter("m", source.driver, {**source.options, **options}, timebase=time)
        with pytest.raises(InstrumentError, match=r"reports? .*Settings conflict.*; ") as caught:
            meter.open()
        settle(source)
        assert not source._server._open
        meter.close()
    one_sentence(caught.value)


def recorded(
    made: type[ScpiSimulator],
    options: dict[str, object],
    faults: Faults,
    *,
    power_w: float = 3.0,
    duration_s: float = 3.0,
) -> tuple[Trace, ScpiSimulator]:
    """Record a constant power with faults that leave it readable."""
    time = VirtualTime()
    source = made(Load(Constant(power_w), made.supply_v), timebase=time, faults=faults)
    with recording(source, time, options, duration_s) as meter:
        trace = meter.stop()
    return trace, source


def one_sentence(error: PowerError) -> PowerError:
    """Fail unless an error reads as one sentence on one line."""
    text = str(error)
    assert text.endswith((".", "?")), text
    assert "\n" not in text, text
    assert not re.search(r"Traceback|0x[0-9a-f]{6}", text), text
    return error


def with_advice(error: PowerError) -> PowerError:
    """Fail unless an error says in one sentence what is wrong, and what to do."""
    text = str(one_sentence(error))
    assert re.search(
        r"[;:,] (or )?(check|see|measure|lower|set|stop|let|mend|update|correct|give|change|make)\b", text
    ), text
    return error

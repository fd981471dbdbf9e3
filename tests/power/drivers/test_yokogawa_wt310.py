"""The Yokogawa WT310: its dialogue, its numbers against the simulated one, its failures."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from power.catalogue import make_meter
from power.drivers.yokogawa_wt310 import Wt310
from power.errors import NoReading, ReplyInvalid
from power.meter import Meter
from power.sim.common.clock import VirtualTime
from power.sim.common.faults import Faults
from power.sim.common.load import Load
from power.sim.common.waveforms import Constant, Square
from power.sim.yokogawa_wt310 import SimulatedWt310
from power.timebase import HOST_TIME
from tests.power.dialogue import Dialogue, Step
from tests.power.scpi_trouble import recording
from tests.power.trials import (
    Timing,
    check_coverage,
    specimens,
)

IDN = "YOKOGAWA,WT310E,C3UI12345,F1.03"
NO_ERROR = (":STATus:ERRor?", '0,"No error"')
RANGES: list[Step] = [(":INPut:VOLTage:RANGe?", "15.0E+00"), (":INPut:CURRent:RANGe?", "2.0E+00")]
COUNTING = (":INTEGrate:STATe?", "STAR")
SET_UP: list[Step] = [
    ("*IDN?", IDN),
    "*CLS",
    ":COMMunicate:HEADer OFF",
    (":INTEGrate:STATe?", "RES"),
    ":INPut:MODE DC",
    ":RATE 250MS",
    ":STATus:FILTer1 FALL",
    ":NUMeric:FORMat ASCii",
    ":NUMeric:NORMal:NUMBer 4",
    ":NUMeric:NORMal:ITEM1 U,1",
    ":NUMeric:NORMal:ITEM2 I,1",
    ":NUMeric:NORMal:ITEM3 P,1",
    ":NUMeric:NORMal:ITEM4 WH,1",
    ":INPut:VOLTage:AUTO OFF",
    ":INPut:VOLTage:RANGe 15V",
    ":INPut:CURRent:AUTO OFF",
    ":INPut:CURRent:RANGe 2A",
    NO_ERROR,
    *RANGES,
]
FIXED: dict[str, object] = {"voltage_range_v": 15.0, "current_range_a": 2.0, "update_s": 0.25}
STARTED: list[Step] = [
    *RANGES,
    ":INTEGrate:RESet",
    ":INTEGrate:MODE NORMal",
    ":INTEGrate:TIMer 10000,0,0",
    ":INTEGrate:STARt",
    NO_ERROR,
    COUNTING,
]
READING: list[Step] = [(":STATus:EESR?", "0"), ":COMMunicate:WAIT 1"]


def scripted(steps: list[Step], **settings: object) -> tuple[Wt310, Dialogue]:
    line = Dialogue(steps)
    given = {**FIXED, **settings}
    return Wt310("SCRIPT::INSTR", HOST_TIME, link=line, **given), line  # type: ignore[arg-type]


def test_dialogue() -> None:
    values = (":NUMeric:NORMal:VALue?", "5.0010E+00,1.2340E+00,6.1712E+00,NAN")
    nothing = (":NUMeric:NORMal:VALue?", "5.0010E+00,NAN,NAN,NAN")
    over = (":NUMeric:NORMal:VALue?", "5.0010E+00,INF,INF,NAN")
    meter, line = scripted(
        [
            *SET_UP,
            *RANGES,
            *READING,
            values,
            *READING,
            nothing,
            *READING,
            over,
            *RANGES,
            NO_ERROR,
            ":COMMunicate:REMote OFF",
        ]
    )
    assert meter.connect().serial == "C3UI12345"
    meter.begin()
    sample = meter.read()
    assert (sample.voltage_v, sample.current_a, sample.power_w) == (5.001, 1.234, 6.1712)
    assert sample.energy_j is None
    assert meter.resolution_w == pytest.approx(1e-4)
    assert meter.accuracy(None).u_step_w == pytest.approx(1e-4 / math.sqrt(12.0))
    assert meter.read().power_w is None
    clipped = meter.read()
    assert (clipped.power_w, clipped.is_clipped) == (None, True)
    meter.end()
    meter.make_safe()
    meter.disconnect()
    line.check_used_up()
    assert line.is_closed


def test_dialogue_of_an_integration() -> None:
    steps: list[Step] = [
        *SET_UP,
        *STARTED,
        COUNTING,
        (":NUMeric:NORMal:VALue?", "5.0E+00,1.0E+00,5.0E+00,2.0E-03"),
        COUNTING,
        (":NUMeric:NORMal:VALue?", "5.0E+00,NAN,NAN,NAN"),
        ":INTEGrate:STOP",
        ":INTEGrate:RESet",
        *RANGES,
        NO_ERROR,
        ":INTEGrate:STOP",
        ":INTEGrate:RESet",
        ":COMMunicate:REMote OFF",
    ]
    meter, line = scripted(steps, integrates=True)
    meter.connect()
    meter.begin()
    assert meter.read().energy_j == pytest.approx(7.2)
    assert meter.step_j == pytest.approx(1e-4 * 3600.0)
    assert meter.read().energy_j is None
    meter.end()
    meter.make_safe()
    line.check_used_up()


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("TIM", "its timer has run out"),
        ("TIMEUP", "its timer"),
        ("ERR", "an error"),
        ("STOP", "stopped"),
        ("RES", "reset"),
    ],
)
def test_a_counter_that_does_not_count_is_no_reading(state: str, words: str) -> None:
    meter, line = scripted([*SET_UP, *STARTED, (":INTEGrate:STATe?", state)], integrates=True)
    meter.connect()
    meter.begin()
    with pytest.raises(NoReading, match=f"does not count energy any more: .*{words}"):
        meter.read()
    line.check_used_up()


@pytest.mark.parametrize(("state", "commands"), [("START", [":INTEGrate:STOP"]), ("STOP", []), ("TIM", [])])
def test_an_integration_left_by_others_is_reset(state: str, commands: list[Step]) -> None:
    steps = [*SET_UP[:3], (":INTEGrate:STATe?", state), *commands, ":INTEGrate:RESet", *SET_UP[4:]]
    meter, line = scripted(steps)
    meter.connect()
    line.check_used_up()


def test_zero_in_rms_mode_is_no_reading_and_marked() -> None:
    rms: list[Step] = [":INPut:MODE RMS" if step == ":INPut:MODE DC" else step for step in SET_UP]
    zero = (":NUMeric:NORMal:VALue?", "5.0010E+00,0.0000E+00,0.0000E+00,NAN")
    meter, line = scripted([*rms, *RANGES, *READING, zero], input_mode="rms")
    meter.connect()
    meter.begin()
    sample = meter.read()
    assert (sample.power_w, sample.current_a, sample.is_clipped) == (None, None, True)
    line.check_used_up()


def test_zero_in_dc_mode_is_zero() -> None:
    zero = (":NUMeric:NORMal:VALue?", "5.0010E+00,0.0000E+00,0.0000E+00,NAN")
    meter, _ = scripted([*SET_UP, *RANGES, *READING, zero])
    meter.connect()
    meter.begin()
    assert meter.read().power_w == 0.0


def kept(meter: Wt310 | Meter) -> tuple[bool, str | None]:
    same = meter.capabilities.same_range if isinstance(meter, Meter) else meter.same_range
    return same, meter.range_text


def test_dialogue_of_ranging_and_fixing() -> None:
    def ranges(volts: str, amperes: str) -> list[Step]:
        return [(":INPut:VOLTage:RANGe?", volts), (":INPut:CURRent:RANGe?", amperes)]

    value = (":NUMeric:NORMal:VALue?", "5.0E+00,1.0E+00,5.0E+00,NAN")
    steps: list[Step] = [
        *SET_UP,
        ":INPut:VOLTage:AUTO ON",
        ":INPut:CURRent:AUTO ON",
        NO_ERROR,
        *ranges("15.0E+00", "500.0E-03"),
        *READING,
        value,
        *ranges("30.0E+00", "1.0E+00"),
        *READING,
        value,
        *ranges("15.0E+00", "500.0E-03"),
        *ranges("15.0E+00", "500.0E-03"),
        NO_ERROR,
        ":INPut:VOLTage:AUTO OFF",
        ":INPut:VOLTage:RANGe 30V",
        ":INPut:CURRent:AUTO OFF",
        ":INPut:CURRent:RANGe 1A",
        NO_ERROR,
    ]
    meter, line = scripted(steps)
    meter.connect()
    assert meter.begin_ranging()
    meter.begin()
    for _ in range(2):
        meter.read()
    meter.end()
    assert kept(meter) == (False, "30 V / 1 A")
    meter.fix_ranges()
    assert kept(meter) == (True, "30 V / 1 A")
    line.check_used_up()


def test_a_reply_of_another_shape_is_refused() -> None:
    meter, _ = scripted([*SET_UP, *RANGES, *READING, (":NUMeric:NORMal:VALue?", "5.0E+00,1.0E+00")])
    meter.connect()
    meter.begin()
    with pytest.raises(ReplyInvalid, match="2 values instead of 4"):
        meter.read()


@pytest.mark.parametrize("mode", ["average", "integration"])
@pytest.mark.slow
def test_energies_lie_within_their_uncertainty(mode: str) -> None:
    check_coverage(
        "yokogawa-wt310",
        specimens(SimulatedWt310),
        options={**FIXED, "mode": mode, "update_s": 0.5},
        timing=Timing(4.0, 10.0, 1.0),
    )


def test_over_the_range_is_marked() -> None:
    time = VirtualTime()
    with SimulatedWt310(Load(Constant(8.0)), timebase=time, faults=Faults(clip_w=7.0)) as simulator:
        meter = make_meter("wt", "yokogawa-wt310", {**simulator.options, **FIXED}, timebase=time).open()
        meter.start()
        time.sleep(1.0)
        with pytest.raises(Exception, match="over its range; set a larger one"):
            meter.stop()
        meter.close()


SLOW: dict[str, object] = {"update_s": 0.25}
STEPS = Square(0.5, 9.0, 0.2)
"""0.1 A and 1.8 A at 5 V, 2.5 s each."""


def test_ranges_are_chosen_then_kept() -> None:
    time = VirtualTime()
    source = SimulatedWt310(Load(STEPS), timebase=time)
    with recording(source, time, SLOW, 0.0) as meter:
        meter.stop()
        assert meter.begin_ranging()
        meter.start()
        time.sleep(11.0)
        moved = meter.stop()
        assert moved.lost > 0  # the instrument has no data while it changes its range
        assert not kept(meter)[0]
        meter.fix_ranges()
        meter.start()
        time.sleep(11.0)
        trace = meter.stop()
        assert kept(meter) == (True, "15 V / 2 A")
        assert trace.lost == 0
        assert trace.clipped_count == 0


def test_automatic_ranges_that_move_in_mid_run_are_told() -> None:
    time = VirtualTime()
    with recording(SimulatedWt310(Load(STEPS), timebase=time), time, SLOW, 11.0) as meter:
        meter.stop()
        assert not meter.capabilities.same_range


def test_automatic_ranges_that_stay_are_the_same() -> None:
    time = VirtualTime()
    with recording(SimulatedWt310(Load(Constant(3.0)), timebase=time), time, SLOW, 3.0) as meter:
        meter.stop()
        meter.start()
        time.sleep(3.0)
        meter.stop()
        assert meter.capabilities.same_range
        assert meter.range_text == "15 V / 1 A"


@pytest.mark.parametrize("mode", ["average", "integration"])
def test_a_small_fixed_range_that_jumps_on_an_overload_is_told(mode: str) -> None:
    time = VirtualTime()
    fixed = {"voltage_range_v": 15.0, "current_range_a": 0.2, "mode": mode, **SLOW}
    with recording(SimulatedWt310(Load(STEPS), timebase=time), time, fixed, 6.0) as meter:
        meter.stop()
        assert not meter.capabilities.same_range
        assert meter.range_text == "15 V / 1 A"


@pytest.mark.parametrize("input_mode", ["rms", "vmean"])
def test_idle_below_half_a_percent_of_the_range_is_not_zero(input_mode: str) -> None:
    time = VirtualTime()
    # 60 mA of idle on 20 A: RMS mode shows 0, and 0 W of idle would make the net energy too large.
    source = SimulatedWt310(Load(Square(0.3, 20.0, 0.2)), timebase=time)
    fixed = {"voltage_range_v": 15.0, "current_range_a": 20.0, "input": input_mode, **SLOW}
    with recording(source, time, fixed, 11.0) as meter:
        trace = meter.stop()
    assert trace.power_w is not None
    assert trace.power_w.min() > 5.0
    assert trace.lost >= 18
    assert trace.clipped_count
    assert trace.gaps()


@pytest.mark.parametrize("state", ["TIM", "ERR", "STOP"])
def test_an_integration_that_ends_by_itself_is_no_reading(state: str) -> None:
    time = VirtualTime()
    source = SimulatedWt310(Load(Constant(3.0)), timebase=time)
    with recording(source, time, {**FIXED, "mode": "integration"}, 2.0) as meter:
        source.break_off(state)
        time.sleep(2.0)
        with pytest.raises(NoReading, match="does not count energy any more"):
            meter.stop()
    assert source.received[-3:] == [":INTEGrate:STOP", ":INTEGrate:RESet", ":COMMunicate:REMote OFF"]


def test_slow_answers_are_readings_still() -> None:
    time = VirtualTime()
    source = SimulatedWt310(Load(Constant(3.0)), timebase=time, faults=Faults(delay_s=0.01))
    with recording(source, time, FIXED, 3.0) as meter:
        trace = meter.stop()
    assert trace.power_w == pytest.approx(3.0)


def test_a_slow_update_is_waited_for() -> None:
    waits: list[float] = []

    class Slow(Dialogue):
        @contextmanager
        def patience(self, timeout_s: float) -> Iterator[None]:
            """Note how long it would wait."""
            waits.append(timeout_s)
            yield

    steps: list[Step] = [":RATE 10S" if step == ":RATE 250MS" else step for step in SET_UP]
    value = (":NUMeric:NORMal:VALue?", "5.0E+00,1.0E+00,5.0E+00,NAN")
    line = Slow([*steps, *RANGES, *READING, value])
    meter = Wt310("SCRIPT", HOST_TIME, voltage_range_v=15.0, current_range_a=2.0, update_s=10.0, link=line)
    meter.connect()
    meter.begin()
    assert meter.read().power_w == 5.0
    assert waits == [15.0]
    line.check_used_up()

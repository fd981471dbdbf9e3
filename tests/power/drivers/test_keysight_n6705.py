"""The Keysight N6705's external data log: its dialogue, its numbers against the simulated one, its buffer, its failures."""

from __future__ import annotations

import numpy as np
import pytest

from power.drivers.keysight_n6705 import KeysightN6705
from power.errors import NoReading, OptionInvalid, ReplyInvalid, WrongInstrument
from power.sim.common.clock import VirtualTime
from power.sim.common.faults import Faults
from power.sim.keysight_n6705 import SimulatedKeysightN6705
from tests.power.dialogue import Dialogue, Step
from tests.power.scpi_trouble import (
    recorded,
    recording,
    simulator,
)
from tests.power.trials import (
    Levels,
    Timing,
    check_coverage,
    specimens,
)

IDN = "Keysight Technologies,N6705C,MY56000123,E.02.07.2958"
NO_ERROR = ("SYST:ERR?", '+0,"No error"')
SET_UP: list[Step] = [
    ("*IDN?", IDN),
    ("SYST:CHAN:MOD? (@2)", '"N6781A"'),
    "*CLS",
    "ABOR:ELOG (@2)",
    "FORM REAL",
    "FORM:BORD NORM",
    "SENS:ELOG:FUNC:CURR ON,(@2)",
    "SENS:ELOG:FUNC:CURR:MINM OFF,(@2)",
    "SENS:ELOG:FUNC:VOLT ON,(@2)",
    "SENS:ELOG:FUNC:VOLT:MINM OFF,(@2)",
    "SENS:ELOG:CURR:RANG 3,(@2)",
    "SENS:ELOG:VOLT:RANG 20,(@2)",
    "SENS:ELOG:PER 0.001024,(@2)",
    "TRIG:TRAN:SOUR BUS,(@2)",
    NO_ERROR,
    ("SENS:ELOG:PER? (@2)", "+1.02400000E-03"),
]
START: list[Step] = ["INIT:ELOG (@2)", "TRIG:ELOG (@2)", NO_ERROR]
FETCH = "FETC:ELOG? 4096,(@2)"


def records(*pairs: tuple[float, float]) -> bytes:
    return np.array(pairs, ">f4").tobytes()


def scripted(steps: list[Step]) -> tuple[KeysightN6705, Dialogue, VirtualTime]:
    line, time = Dialogue(steps), VirtualTime()
    return KeysightN6705("SCRIPT::INSTR", time, channel=2, link=line), line, time


def test_dialogue() -> None:
    meter, line, time = scripted(
        [
            *SET_UP,
            *START,
            (FETCH, b""),
            (FETCH, records((1.0, 5.0), (5.0, 5.0))),
            (FETCH, records((0.5, 4.0))),
            "ABOR:ELOG (@2)",
            NO_ERROR,
            "ABOR:ELOG (@2)",
            "SYST:COMM:RLST LOC",
        ]
    )
    assert meter.connect().serial == "MY56000123"
    start = meter.begin()
    assert start.earliest_ns == time.now_ns() + 1_024_000
    assert meter.fetch() is None
    block = meter.fetch()
    assert block is not None
    assert block.clipped is not None
    assert block.power_w.tolist() == pytest.approx([5.0, 5.0 * 3.06])
    assert block.clipped.tolist() == [False, True]
    last = meter.end()
    assert last is not None
    assert (last.first_index, last.power_w.tolist()) == (2, [2.0])
    meter.make_safe()
    meter.disconnect()
    line.check_used_up()
    assert line.is_closed


def test_a_full_answer_is_followed_by_another() -> None:
    many = np.ones((4096, 2), ">f4").tobytes()
    meter, line, _ = scripted([*SET_UP, *START, (FETCH, many), (FETCH, records((1.0, 1.0)))])
    meter.connect()
    meter.begin()
    block = meter.fetch()
    assert block is not None
    assert len(block) == 4097
    line.check_used_up()


def test_another_module_is_refused_and_the_line_closed() -> None:
    meter, line, _ = scripted([("*IDN?", IDN), ("SYST:CHAN:MOD? (@2)", '"N6731B"')])
    with pytest.raises(WrongInstrument, match=r"Channel 2 of .* is a N6731B, but .* for N6781A, N6782A"):
        meter.connect()
    assert line.is_closed


def test_a_period_that_it_does_not_keep_is_refused() -> None:
    meter, line, _ = scripted([*SET_UP[:-1], ("SENS:ELOG:PER? (@2)", "+1.00000000E-01")])
    with pytest.raises(OptionInvalid, match=r"logs each 0.1 s instead of 0.001024 s"):
        meter.connect()
    line.check_used_up()


def test_half_a_record_is_refused() -> None:
    meter, _, _ = scripted([*SET_UP, *START, (FETCH, b"\0" * 12)])
    meter.connect()
    meter.begin()
    with pytest.raises(ReplyInvalid, match="12 bytes"):
        meter.fetch()


def test_a_record_without_a_value_is_no_zero() -> None:
    meter, _, _ = scripted([*SET_UP, *START, (FETCH, records((9.91e37, 5.0)))])
    meter.connect()
    meter.begin()
    with pytest.raises(NoReading, match="without a value"):
        meter.fetch()


def test_a_buffer_left_for_too_long_is_no_reading() -> None:
    meter, _, time = scripted([*SET_UP, *START])
    meter.connect()
    meter.begin()
    time.sleep(21.0)
    with pytest.raises(NoReading, match="left for 21 s, but its buffer holds 20 s"):
        meter.fetch()


def test_records_that_vanish_are_noticed_by_the_clock() -> None:
    meter, _, time = scripted([*SET_UP, *START, (FETCH, records((1.0, 5.0)))])
    meter.connect()
    meter.begin()
    time.sleep(3.0)
    with pytest.raises(NoReading, match=r"is 3\.0 s behind"):
        meter.fetch()


@pytest.mark.slow
def test_energies_lie_within_their_uncertainty() -> None:
    # The module is so accurate that the power's own variation within a sample has to be small for its errors to show.
    check_coverage(
        "keysight-n6705",
        specimens(SimulatedKeysightN6705),
        options={},
        timing=Timing(3.0, 8.0, 0.5),
        levels=Levels(2.0, 6.0, 9770.0, burst_s=0.0002),
    )


def test_an_overrun_ends_it() -> None:
    source, time = simulator(SimulatedKeysightN6705)
    with recording(source, time, {"period_s": 0.01}) as meter:
        source.faults = Faults(delay_s=30.0)
        time.sleep(1.0)
        with pytest.raises(NoReading, match=r"its buffer holds 20 s|some were lost"):
            meter.stop()


def test_slow_answers_widen_the_bound_only() -> None:
    trace, _ = recorded(SimulatedKeysightN6705, {"period_s": 0.01}, Faults(delay_s=0.02))
    assert trace.power_w is not None
    assert trace.power_w == pytest.approx(3.0)
    assert 0.005 < trace.clock_bound_s < 0.05


def test_a_clipped_current_is_marked() -> None:
    trace, _ = recorded(SimulatedKeysightN6705, {}, Faults(clip_w=2.0))
    assert trace.clipped_count == len(trace)


def test_the_output_is_left_as_it_is() -> None:
    trace, source = recorded(SimulatedKeysightN6705, {}, Faults())
    assert trace.averaging_s == pytest.approx(1.024e-3)
    assert source.received[-2:] == ["ABOR:ELOG (@1)", "SYST:COMM:RLST LOC"]
    assert not any(command.startswith("OUTP") for command in source.received)

"""The Keysight 34465A: its dialogue, its numbers against the simulated one, its memory, its failures."""

from __future__ import annotations

from contextlib import AbstractContextManager

import numpy as np
import pytest

from power.catalogue import make_meter
from power.drivers.common.multimeter import Wiring
from power.drivers.keysight_34465a import Keysight34465a
from power.errors import NoReading, OptionInvalid, ReplyInvalid
from power.sim.common.base import Simulator
from power.sim.common.clock import VirtualTime
from power.sim.common.faults import Faults
from power.sim.common.load import Load
from power.sim.common.waveforms import Constant
from power.sim.keysight_34465a import SimulatedKeysight34465a
from power.timebase import Timebase
from tests.power.dialogue import Dialogue, Step
from tests.power.scpi_trouble import (
    recorded,
    recording,
    simulator,
)
from tests.power.trials import (
    Levels,
    Made,
    Timing,
    check_coverage,
    specimens,
)

IDN = "Keysight Technologies,34465A,MY54500123,A.03.02-03.15-03.02-00.52-03-02"
NO_ERROR = ("SYST:ERR?", '+0,"No error"')
CURRENT = Wiring("current", 3.0, 5.0, 0.001)
SHUNT = Wiring("voltage", 1.0, 5.0, 0.001, 0.1, 0.001, False)


def set_up(quantity: str = "CURR:DC", range_: str = "3") -> list[Step]:
    return [
        ("*IDN?", IDN),
        "*CLS",
        "ABOR",
        f"CONF:{quantity} {range_}",
        f"{quantity}:ZERO:AUTO OFF",
        f"{quantity}:APER 0.0008",
        "TRIG:SOUR IMM",
        "TRIG:COUN 1",
        "TRIG:DEL 0",
        "SAMP:SOUR TIM",
        NO_ERROR,
        ("SAMP:TIM? MIN", "+8.10000000E-04"),
        ("SAMP:COUN? MAX", "+1000000000"),
        "SAMP:TIM 0.001",
        "SAMP:COUN 1000000000",
        "FORM:DATA REAL,64",
        "FORM:BORD NORM",
        NO_ERROR,
        (f"{quantity}:APER?", "+8.00000000E-04"),
        ("SAMP:TIM?", "+1.00000000E-03"),
    ]


START: list[Step] = ["CURR:DC:ZERO:AUTO ONCE", ("STAT:QUES?", "+0"), "INIT", NO_ERROR]


def readings(*values: float) -> bytes:
    return np.array(values, ">f8").tobytes()


def scripted(steps: list[Step], wiring: Wiring = CURRENT) -> tuple[Keysight34465a, Dialogue, VirtualTime]:
    line, time = Dialogue(steps), VirtualTime()
    return Keysight34465a("SCRIPT::INSTR", time, wiring, link=line), line, time


def test_dialogue() -> None:
    meter, line, time = scripted(
        [
            *set_up(),
            *START,
            ("DATA:POIN?", "+0"),
            ("DATA:POIN?", "+3"),
            ("DATA:REM? 3", readings(1.0, 1.5, 9.9e37)),
            ("STAT:QUES?", "+0"),
            "ABOR",
            ("DATA:POIN?", "+1"),
            ("DATA:REM? 1", readings(0.5)),
            ("STAT:QUES?", "+0"),
            NO_ERROR,
            "ABOR",
            "CURR:DC:ZERO:AUTO ON",
            "SYST:LOC",
        ]
    )
    identity = meter.connect()
    assert (identity.serial, identity.is_simulated) == ("MY54500123", False)
    assert (meter.interval_s, meter.averaging_s, meter.range_text) == (0.001, 0.0008, "3 A")
    start = meter.begin()
    assert start.earliest_ns == time.now_ns() + 800_000
    assert meter.fetch() is None
    block = meter.fetch()
    assert block is not None
    assert block.clipped is not None
    assert block.first_index == 0
    assert block.power_w.tolist() == pytest.approx([5.0, 7.5, 18.0])
    assert block.clipped.tolist() == [False, False, True]
    last = meter.end()
    assert last is not None
    assert (last.first_index, last.power_w.tolist()) == (3, [2.5])
    meter.make_safe()
    meter.disconnect()
    line.check_used_up()
    assert line.is_closed


def test_dialogue_over_a_shunt_whose_drop_is_taken_off() -> None:
    start = [str(step).replace("CURR", "VOLT") if isinstance(step, str) else step for step in START]
    meter, line, _ = scripted(
        [
            *set_up("VOLT:DC", "1"),
            *start,
            ("DATA:POIN?", "+1"),
            ("DATA:REM? 1", readings(0.1)),
            ("STAT:QUES?", "+0"),
        ],
        SHUNT,
    )
    meter.connect()
    meter.begin()
    block = meter.fetch()
    assert block is not None
    assert block.current_a is not None
    assert block.current_a[0] == pytest.approx(1.0)
    assert block.power_w[0] == pytest.approx(4.9)
    line.check_used_up()


def test_ten_amperes_have_terminals_of_their_own() -> None:
    steps = set_up(range_="10")
    steps.insert(4, "CURR:DC:TERM 10")
    meter, line, _ = scripted(steps, Wiring("current", 10.0, 5.0, 0.001))
    meter.connect()
    line.check_used_up()


def test_a_memory_that_ran_over_is_no_reading() -> None:
    meter, line, _ = scripted(
        [*set_up(), *START, ("DATA:POIN?", "+1"), ("DATA:REM? 1", readings(1.0)), ("STAT:QUES?", "+16384")]
    )
    meter.connect()
    meter.begin()
    with pytest.raises(NoReading, match="ran over"):
        meter.fetch()
    line.check_used_up()


@pytest.mark.parametrize(
    ("steps", "error", "words"),
    [
        ([("DATA:POIN?", "many")], ReplyInvalid, "no number"),
        ([("DATA:POIN?", "+1"), ("DATA:REM? 1", b"\0\0\0")], ReplyInvalid, "no multiple of 8"),
        (
            [("DATA:POIN?", "+2"), ("DATA:REM? 2", readings(1.0)), ("STAT:QUES?", "+0")],
            NoReading,
            "1 readings instead of 2",
        ),
        (
            [("DATA:POIN?", "+1"), ("DATA:REM? 1", readings(9.91e37)), ("STAT:QUES?", "+0")],
            NoReading,
            "without a value",
        ),
    ],
)
def test_replies_that_are_none_are_refused(steps: list[Step], error: type[Exception], words: str) -> None:
    meter, line, _ = scripted([*set_up(), *START, *steps])
    meter.connect()
    meter.begin()
    with pytest.raises(error, match=words):
        meter.fetch()
    line.check_used_up()


def test_a_rate_above_what_the_aperture_allows_is_refused() -> None:
    meter, line, _ = scripted([*set_up()[:11], ("SAMP:TIM? MIN", "+2.00000000E-03")])
    with pytest.raises(OptionInvalid, match="rate_hz = 500 or less"):
        meter.connect()
    line.check_used_up()


@pytest.mark.parametrize(
    ("settings", "duration_s", "fits"),
    [
        ({"rate_hz": 1000.0}, 3600.0, True),
        ({"rate_hz": 50e3}, 1.0, True),
        ({"rate_hz": 50e3}, 30.0, False),
        ({"rate_hz": 50e3, "memory_readings": 2_000_000}, 30.0, True),
        ({"rate_hz": 50e3, "memory_readings": 2_000_000}, 60.0, False),
    ],
)
def test_recordings_have_to_fit(settings: dict[str, object], duration_s: float, fits: bool) -> None:
    source, time = simulator(SimulatedKeysight34465a)
    with source:
        meter = make_meter("dmm", "keysight-34465a", {**source.options, **settings}, timebase=time)
        with meter:
            if fits:
                meter.plan(duration_s)
                return
            with pytest.raises(OptionInvalid, match=r"do not fit .*; what fits is rate_hz = [0-9.e+]+, or "):
                meter.plan(duration_s)


def shunted(load: Load, timebase: Timebase, seed: int) -> AbstractContextManager[Simulator]:
    # 20 mΩ would be usual; the drop of 0.1 Ω makes the source's side matter.
    return SimulatedKeysight34465a(
        load, timebase=timebase, seed=seed, wiring=Wiring("voltage", 1.0, load.supply_v, 0.005, 0.1, 0.002)
    )


@pytest.mark.parametrize("made", [specimens(SimulatedKeysight34465a), shunted])
@pytest.mark.slow
def test_energies_lie_within_their_uncertainty(made: Made) -> None:
    check_coverage(
        "keysight-34465a",
        made,
        options={"rate_hz": 100.0},
        timing=Timing(3.0, 8.0, 0.5),
        levels=Levels(inference_hz=211.0),
    )


def test_a_memory_not_emptied_in_time() -> None:
    source, time = simulator(SimulatedKeysight34465a)
    with recording(source, time, {"rate_hz": 10e3}) as meter:
        source.faults = Faults(delay_s=10.0)
        time.sleep(1.0)
        with pytest.raises(NoReading, match="ran over"):
            meter.stop()


def test_slow_answers_widen_the_bound_only() -> None:
    trace, _ = recorded(SimulatedKeysight34465a, {"rate_hz": 100.0}, Faults(delay_s=0.02))
    assert trace.power_w is not None
    assert trace.power_w == pytest.approx(3.0)
    assert 0.005 < trace.clock_bound_s < 0.05
    assert trace.lost == 0


def test_a_clipped_current_is_marked() -> None:
    trace, _ = recorded(SimulatedKeysight34465a, {"rate_hz": 100.0}, Faults(clip_w=2.0))
    assert trace.clipped_count == len(trace)


def test_it_is_left_measuring_on_its_front_panel() -> None:
    source, time = simulator(SimulatedKeysight34465a)
    with recording(source, time, {}) as meter:
        meter.stop()
    assert source.received[-3:] == ["ABOR", "CURR:DC:ZERO:AUTO ON", "SYST:LOC"]
    assert meter.identity.is_simulated
    assert meter.capabilities.kind == "simulated"


def test_a_load_above_its_range_is_told_by_the_constant() -> None:
    time = VirtualTime()
    source = SimulatedKeysight34465a(
        Load(Constant(20.0)), timebase=time, wiring=Wiring("current", 3.0, 5.0, 0.001)
    )
    with recording(source, time, {}) as meter:
        trace = meter.stop()
    assert trace.clipped_count == len(trace)

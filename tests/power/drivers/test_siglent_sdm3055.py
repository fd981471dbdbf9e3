"""The Siglent SDM3055: its dialogue, its numbers against the simulated one, the memory that forgets, its failures."""

from __future__ import annotations

import pytest

from power.drivers.common.multimeter import Wiring
from power.drivers.siglent_sdm3055 import SiglentSdm3055
from power.errors import NoReading, ReplyInvalid
from power.sim.common.clock import VirtualTime
from power.sim.common.faults import Faults
from power.sim.common.load import Load
from power.sim.common.waveforms import Constant
from power.sim.siglent_sdm3055 import SimulatedSiglentSdm3055
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

IDN = "Siglent Technologies,SDM3055,SDM35FAC4R0253,1.01.01.25"
NO_ERROR = ("SYST:ERR?", '0,"No error"')
SET_UP: list[Step] = [
    ("*IDN?", IDN),
    "*CLS",
    "ABOR",
    "CONF:CURR:DC 2",
    "CURR:DC:NPLC 1",
    "TRIG:SOUR IMM",
    "TRIG:DEL 0",
    "SAMP:COUN 1",
    "TRIG:COUN INF",
    NO_ERROR,
]
START: list[Step] = [("STAT:QUES?", "16384"), "INIT", NO_ERROR]
FINE = ("STAT:QUES?", "0")


def scripted(steps: list[Step]) -> tuple[SiglentSdm3055, Dialogue, VirtualTime]:
    line, time = Dialogue(steps), VirtualTime()
    return SiglentSdm3055("SCRIPT::INSTR", time, Wiring("current", 2.0, 5.0, 0.002), link=line), line, time


def test_dialogue() -> None:
    meter, line, time = scripted(
        [
            *SET_UP,
            *START,
            ("R?", b"+1.00000000E+00,+1.50000000E+00"),
            FINE,
            ("R?", b""),
            FINE,
            ("R?", b"+1.00000000E+00,+9.90000000E+37"),
            FINE,
            "ABOR",
            ("CURR:DC:RANG?", "+2.00000000E+00"),
            NO_ERROR,
            "ABOR",
            "TRIG:COUN 1",
            "SYST:LOC",
        ]
    )
    assert meter.connect().serial == "SDM35FAC4R0253"
    meter.begin()
    sample = meter.read()
    assert (sample.power_w, sample.current_a, sample.is_clipped) == (6.25, 1.25, False)
    assert sample.time_ns == time.now_ns()
    assert meter.read().power_w is None
    clipped = meter.read()
    assert clipped.current_a == pytest.approx(1.7)
    assert clipped.is_clipped
    meter.end()
    assert meter.same_range
    meter.make_safe()
    meter.disconnect()
    line.check_used_up()
    assert line.is_closed


def test_a_range_that_went_up_by_itself_is_told() -> None:
    meter, line, _ = scripted([*SET_UP, *START, "ABOR", ("CURR:DC:RANG?", "+1.00000000E+01"), NO_ERROR])
    meter.connect()
    meter.begin()
    meter.end()
    assert not meter.same_range
    line.check_used_up()


def test_a_memory_that_ran_over_is_no_reading() -> None:
    meter, line, _ = scripted([*SET_UP, *START, ("R?", b"+1.0E+00"), ("STAT:QUES?", "16384")])
    meter.connect()
    meter.begin()
    with pytest.raises(NoReading, match="ran over"):
        meter.read()
    line.check_used_up()


@pytest.mark.parametrize(
    ("payload", "error", "words"),
    [
        (b"+1.0E+00,none", ReplyInvalid, "no numbers"),
        (b"+9.91E+37", NoReading, "without a value"),
    ],
)
def test_replies_that_are_none_are_refused(payload: bytes, error: type[Exception], words: str) -> None:
    meter, _, _ = scripted([*SET_UP, *START, ("R?", payload), FINE])
    meter.connect()
    meter.begin()
    with pytest.raises(error, match=words):
        meter.read()


@pytest.mark.slow
def test_energies_lie_within_their_uncertainty() -> None:
    check_coverage(
        "siglent-sdm3055",
        specimens(SimulatedSiglentSdm3055),
        timing=Timing(4.0, 10.0, 1.5),
        levels=Levels(inference_hz=211.0),
    )


def test_answers_so_slow_that_the_memory_runs_over() -> None:
    source, time = simulator(SimulatedSiglentSdm3055)
    with recording(source, time, {"nplc": 0.3}) as meter:
        source.faults = Faults(delay_s=80.0)
        time.sleep(1.0)
        with pytest.raises(NoReading, match="ran over"):
            meter.stop()


def test_slow_answers_do_not_shift_its_readings() -> None:
    trace, _ = recorded(SimulatedSiglentSdm3055, {}, Faults(delay_s=0.02))
    assert trace.power_w == pytest.approx(3.0)
    assert trace.clock_bound_s >= 0.02


def test_an_overload_is_marked_and_moves_the_range() -> None:
    time = VirtualTime()
    source = SimulatedSiglentSdm3055(
        Load(Constant(13.0)), timebase=time, wiring=Wiring("current", 2.0, 5.0, 0.001)
    )
    with recording(source, time, {}, 3.0) as meter:
        trace = meter.stop()
        assert trace.clipped_count == len(trace)
        assert not meter.capabilities.same_range


def test_it_is_left_measuring_on_its_front_panel() -> None:
    _, source = recorded(SimulatedSiglentSdm3055, {}, Faults())
    assert source.received[-3:] == ["ABOR", "TRIG:COUN 1", "SYST:LOC"]

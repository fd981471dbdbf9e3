"""The Yokogawa WT310: its dialogue, its numbers against the simulated one, its failures."""

from __future__ import annotations

from contextlib import AbstractContextManager

import pytest

from power.catalogue import make_meter
from power.drivers.yokogawa_wt310 import Wt310
from power.errors import InstrumentError, LinkLost, OptionInvalid, ReplyInvalid, WrongInstrument
from power.sim.base import Simulator
from power.sim.clock import VirtualTime
from power.sim.faults import Faults
from power.sim.load import Load
from power.sim.waveforms import Constant
from power.sim.yokogawa_wt310 import SimulatedWt310
from power.timebase import HOST_TIME, Timebase
from tests.power.dialogue import Dialogue, Step
from tests.power.trials import Levels, Timing, check_coverage, run_trial

IDN = "YOKOGAWA,WT310E,C3UI12345,F1.03"
SET_UP: list[Step] = [
    ("*IDN?", IDN),
    "*CLS",
    ":COMMunicate:HEADer OFF",
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
    (":STATus:ERRor?", '0,"No error"'),
]
FIXED: dict[str, object] = {"voltage_range_v": 15.0, "current_range_a": 2.0, "update_s": 0.25}
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
        [*SET_UP, *READING, values, *READING, nothing, *READING, over, ":COMMunicate:REMote OFF"]
    )
    assert meter.connect().serial == "C3UI12345"
    meter.begin()
    sample = meter.read()
    assert (sample.voltage_v, sample.current_a, sample.power_w) == (5.001, 1.234, 6.1712)
    assert sample.energy_j is None
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
        ":INTEGrate:RESet",
        ":INTEGrate:MODE NORMal",
        ":INTEGrate:TIMer 10000,0,0",
        ":INTEGrate:STARt",
        (":STATus:ERRor?", '0,"No error"'),
        (":NUMeric:NORMal:VALue?", "5.0E+00,1.0E+00,5.0E+00,2.0E-03"),
        ":INTEGrate:STOP",
        ":INTEGrate:STOP;:COMMunicate:REMote OFF",
    ]
    meter, line = scripted(steps, integrates=True)
    meter.connect()
    meter.begin()
    assert meter.read().energy_j == pytest.approx(7.2)
    meter.end()
    meter.make_safe()
    line.check_used_up()


def test_another_instrument_is_refused_and_the_line_closed() -> None:
    meter, line = scripted([("*IDN?", "TEKTRONIX,MDO4054B,C000001,CF:91.1CT")])
    with pytest.raises(WrongInstrument, match=r"is a TEKTRONIX MDO4054B, but the driver yokogawa-wt310"):
        meter.connect()
    line.check_used_up()
    assert line.is_closed


def test_an_error_of_the_instrument_is_told() -> None:
    meter, line = scripted([*SET_UP[:-1], (":STATus:ERRor?", '113,"Undefined header"')])
    with pytest.raises(InstrumentError, match="Undefined header"):
        meter.connect()
    assert line.is_closed


def test_a_reply_of_another_shape_is_refused() -> None:
    meter, _ = scripted([*SET_UP, *READING, (":NUMeric:NORMal:VALue?", "5.0E+00,1.0E+00")])
    meter.connect()
    meter.begin()
    with pytest.raises(ReplyInvalid, match="2 values instead of 4"):
        meter.read()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "resource is missing"),
        ({"resource": "X", "voltage_range_v": 20.0}, "a WT310 has 15, 30"),
        ({"resource": "X", "voltage_rangev": 15.0}, "did you mean 'voltage_range_v'"),
        ({"resource": "X", "mode": "integrate"}, "did you mean 'integration'"),
    ],
)
def test_settings_are_checked(settings: dict[str, object], words: str) -> None:
    with pytest.raises(OptionInvalid, match=words):
        make_meter("wt", "yokogawa-wt310", settings)


def simulated(load: Load, timebase: Timebase, seed: int) -> AbstractContextManager[Simulator]:
    return SimulatedWt310(load, timebase=timebase, seed=seed)


@pytest.mark.parametrize("mode", ["average", "integration"])
def test_energies_lie_within_their_uncertainty(mode: str) -> None:
    check_coverage(
        "yokogawa-wt310",
        simulated,
        options={**FIXED, "mode": mode, "update_s": 0.5},
        timing=Timing(4.0, 10.0, 1.0),
    )


def test_energy_in_real_time() -> None:
    outcome = run_trial(
        "yokogawa-wt310",
        simulated,
        3,
        levels=Levels(),
        timing=Timing(1.0, 1.5, 0.25),
        options={**FIXED, "update_s": 0.1},
        is_real=True,
    )
    assert abs(outcome.gross_error_j) <= 2 * outcome.gross_u_j
    assert abs(outcome.net_error_j) <= 2 * outcome.net_u_j


def test_switched_off_in_mid_run() -> None:
    time = VirtualTime()
    with SimulatedWt310(Load(Constant(3.0)), timebase=time) as simulator:
        meter = make_meter("wt", "yokogawa-wt310", {**simulator.options, **FIXED}, timebase=time).open()
        meter.start()
        time.sleep(1.0)
        simulator.stop()
        time.sleep(1.0)
        with pytest.raises(LinkLost, match=r"broke|did not answer"):
            meter.stop()
        meter.close()


def test_over_the_range_is_marked() -> None:
    time = VirtualTime()
    with SimulatedWt310(Load(Constant(8.0)), timebase=time, faults=Faults(clip_w=7.0)) as simulator:
        meter = make_meter("wt", "yokogawa-wt310", {**simulator.options, **FIXED}, timebase=time).open()
        meter.start()
        time.sleep(1.0)
        with pytest.raises(Exception, match="no reading at all"):
            meter.stop()
        meter.close()

"""Keysight InfiniiVision: its dialogue, its numbers against the simulated one, its failures."""

from __future__ import annotations

from contextlib import AbstractContextManager

import numpy as np
import pytest

from power.catalogue import make_meter
from power.drivers.common.preamble import Preamble
from power.drivers.common.scope import ChannelSetting, Record
from power.drivers.keysight_infiniivision import InfiniiVision, _scaling, specified
from power.errors import InstrumentError, LinkLost, OptionInvalid, PowerError, ReplyInvalid
from power.meter import Meter
from power.sim.common.base import Simulator
from power.sim.common.clock import VirtualTime
from power.sim.common.load import Load
from power.sim.common.waveforms import Constant
from power.sim.keysight_infiniivision import SimulatedInfiniiVision
from power.timebase import Timebase
from tests.power.dialogue import Dialogue, Step
from tests.power.trials import Timing, check_coverage

IDN = "KEYSIGHT TECHNOLOGIES,MSO-X 4054A,MY12345678,07.20.2017102615"
NO_ERROR: Step = (":SYSTem:ERRor?", '+0,"No error"')
CONNECT: list[Step] = [("*IDN?", IDN), "*CLS", NO_ERROR]
CHANNEL = ChannelSetting(2, 0.08, 0.02, 10.0, 20e6, deskew_s=1e-9)
SET_UP: list[Step] = [
    ":STOP",
    ":CHANnel1:DISPlay 0",
    ":CHANnel2:DISPlay 1",
    ":CHANnel3:DISPlay 0",
    ":CHANnel4:DISPlay 0",
    ":CHANnel2:IMPedance ONEMeg",
    ":CHANnel2:COUPling DC",
    ":CHANnel2:UNITs VOLT",
    ":CHANnel2:PROBe 10",
    ":CHANnel2:PROBe:SKEW 1E-09",
    ":CHANnel2:BWLimit 1",
    ":CHANnel2:RANGe 0.08",
    ":CHANnel2:OFFSet 0.02",
    (":CHANnel2:RANGe?", "+80.0E-03"),
    ":TIMebase:MODE MAIN",
    ":TIMebase:REFerence CENTer",
    ":TIMebase:RANGe 2",
    ":TIMebase:POSition 1",
    ":ACQuire:MODE RTIMe",
    ":ACQuire:TYPE HRESolution",
    ":TRIGger:MODE EDGE",
    ":TRIGger:EDGE:SOURce CHANnel2",
    ":TRIGger:EDGE:LEVel 0.0592",
    ":TRIGger:SWEep NORMal",
    ":WAVeform:POINts MAXimum",
    ":WAVeform:POINts:MODE RAW",
    ":WAVeform:FORMat WORD",
    ":WAVeform:BYTeorder LSBFirst",
    ":WAVeform:UNSigned 1",
    (":TIMebase:RANGe?", "+2.000E+00"),
    (":ACQuire:SRATe?", "+5.0E+02"),
    NO_ERROR,
]
DONE: Step = (":OPERegister:CONDition?", "+0")
PREAMBLE = "+1,+3,+1000,+1,+2.0E-03,+0.0E+00,+0,+2.0E-06,+2.0E-02,+32768"
RANGES: dict[str, object] = {
    "voltage": {"channel": 1, "range_v": 2.0, "offset_v": 5.0},
    "current": {"channel": 2, "shunt_ohm": 0.01, "range_v": 0.05},
}


def ready(*steps: Step) -> tuple[InfiniiVision, Dialogue]:
    line = Dialogue([*CONNECT, *SET_UP, *steps])
    scope = InfiniiVision("SCRIPT::INSTR", VirtualTime(), link=line)
    assert scope.connect().serial == "MY12345678"
    assert scope.set_up([CHANNEL], Record(1000, 2e-3, "hires")) == Record(1000, 2e-3, "hires")
    return scope, line


def read(preamble: str, data: bytes | Exception | None, *end: Step) -> list[Step]:
    return [
        DONE,
        ":WAVeform:SOURce CHANnel2",
        (":WAVeform:PREamble?", preamble),
        *([] if data is None else [(":WAVeform:DATA?", data)]),
        *end,
    ]


def test_dialogue() -> None:
    codes = np.full(1000, 32768, "<u2")
    codes[:4] = 32768 + 5000, 32768 - 5000, 0xFFFF, 1
    scope, line = ready(
        (":AER?", "+1"),
        (":TER?", "+0"),
        ":SINGle",
        (":AER?", "+0"),
        (":AER?", "+1"),
        ":TRIGger:FORCe",
        (":TER?", "+0"),
        (":TER?", "+1"),
        (":OPERegister:CONDition?", "+40"),
        DONE,
        *read(PREAMBLE, codes.tobytes(), NO_ERROR),
        ":STOP",
    )
    scope.arm()
    start = scope.trigger()
    assert start.latest_ns - start.earliest_ns == 1_000_000  # one poll between
    assert not scope.is_done()
    assert scope.is_done()
    waveform = scope.read(2)
    assert waveform.values[[0, 1, 4]] == pytest.approx([0.03, 0.01, 0.02])
    assert list(waveform.clipped[:5]) == [False, False, True, True, False]
    assert (waveform.start_s, waveform.interval_s, len(waveform.values)) == (0.0, 2e-3, 1000)
    scope.make_safe()
    scope.disconnect()
    line.check_used_up()
    assert line.is_closed


def test_the_formula_of_the_programmers_guide() -> None:
    made = Preamble.parse("+0,+0,+100,+1,+1.0E-06,-5.0E-05,+10,+4.0E-02,+1.0E+00,+128", "The scope")
    scaling = _scaling(made, 1)
    assert scaling.zero + scaling.gain * 178 == pytest.approx((178 - 128) * 0.04 + 1.0)
    assert made.start_s == pytest.approx((0 - 10) * 1e-6 - 5e-5)


@pytest.mark.parametrize(
    ("preamble", "data", "words"),
    [
        (PREAMBLE.replace("+3", "+1", 1), None, "peak detect"),
        (PREAMBLE.replace("+1,+3", "+0,+3"), None, "format 0 and type 3"),
        (PREAMBLE.replace("+1,+3", "+1,+2"), None, "format 1 and type 2"),
        (PREAMBLE.replace("+1000", "+500"), None, "1 s of a record of 2 s"),
        (PREAMBLE.replace("+0.0E+00", "-1.0E+00"), None, "begins -1 s from its trigger"),
        ("+1,+3,+1000", None, "not ten numbers"),
        (PREAMBLE.replace("+2.0E-06", "+0.0E+00"), None, "describes no waveform"),
        (PREAMBLE, bytes([1, 128] * 999), "1998 bytes where 1000 points of 2 bytes"),
        (PREAMBLE, bytes(2000), "points that it has not acquired"),
        (PREAMBLE, LinkLost("gone"), "gone"),
    ],
)
def test_a_transfer_that_is_not_what_was_set_up_is_refused(
    preamble: str, data: bytes | Exception | None, words: str
) -> None:
    scope, line = ready(*read(preamble, data))
    with pytest.raises(PowerError, match=words):
        scope.read(2)
    line.check_used_up()


def test_older_firmware_calls_high_resolution_normal() -> None:
    scope, line = ready(*read(PREAMBLE.replace("+1,+3", "+1,+0"), bytes([0, 128] * 1000), NO_ERROR))
    assert scope.read(2).values == pytest.approx(np.full(1000, 0.02))
    line.check_used_up()


def test_there_is_no_record_before_it_ended() -> None:
    scope, line = ready((":OPERegister:CONDition?", "+8"))
    with pytest.raises(ReplyInvalid, match="no finished record"):
        scope.read(2)
    line.check_used_up()


@pytest.mark.parametrize(
    ("name", "channels", "points"),
    [("DSO-X 2002A", 2, 500_000), ("MSOX3054T", 4, 2_000_000), ("MSOX6004A", 4, 2_000_000)],
)
def test_models(name: str, channels: int, points: int) -> None:
    line = Dialogue([("*IDN?", f"AGILENT TECHNOLOGIES,{name},MY1,02.41"), *CONNECT[1:]])
    scope = InfiniiVision("SCRIPT::INSTR", VirtualTime(), link=line)
    scope.connect()
    assert (scope.model.channels, scope.model.record_lengths) == (channels, (100, points))


def test_a_bandwidth_that_it_has_not_is_refused() -> None:
    scope = InfiniiVision("SCRIPT::INSTR", VirtualTime(), link=Dialogue([*CONNECT, *SET_UP[:5]]))
    scope.connect()
    with pytest.raises(InstrumentError, match="20 or 25 MHz only, not to 100000 Hz"):
        scope.set_up([ChannelSetting(2, 1.0, bandwidth_hz=1e5)], Record(1000, 2e-3, "hires"))


def test_limits_of_error() -> None:
    limits = specified(ChannelSetting(1, 0.8, 0.5))
    assert limits.of_reading == 0.04
    assert limits.offset == pytest.approx(0.1 * 0.1 + 2e-3 + 0.01 * 0.5)


def memorising(load: Load, timebase: Timebase, seed: int) -> AbstractContextManager[Simulator]:
    return SimulatedInfiniiVision(load, timebase=timebase, seed=seed, memory_points=50_000)


@pytest.mark.parametrize("mode", ["hires", "sample"])
@pytest.mark.slow
def test_energies_lie_within_their_uncertainty(mode: str) -> None:
    check_coverage(
        "keysight-infiniivision",
        memorising,
        options={**RANGES, "acquisition": mode},
        timing=Timing(2.0, 6.0, 0.5),
    )


def opened(simulator: SimulatedInfiniiVision, time: VirtualTime, **settings: object) -> Meter:
    given = {**simulator.options, **RANGES, **settings}
    return make_meter("scope", "keysight-infiniivision", given, timebase=time).open()


def test_a_rate_that_the_memory_cannot_hold_is_told() -> None:
    time = VirtualTime()
    with SimulatedInfiniiVision(Load(Constant(3.0)), timebase=time, memory_points=50_000) as simulator:
        meter = opened(simulator, time, rate_hz=40_000.0)
        meter.plan(10.0)
        with pytest.raises(
            OptionInvalid, match=r"takes 2000 S/s in a record of 10.1 s, not 4e\+04|not 40000"
        ):
            meter.start()
        meter.close()

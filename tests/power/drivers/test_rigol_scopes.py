"""Rigol oscilloscopes: dialogue, preamble, batches, limits of the models."""

from __future__ import annotations

import numpy as np
import pytest

from power.drivers.common.codes import Decoder
from power.drivers.common.preamble import Preamble
from power.drivers.common.rigol import _scaling
from power.drivers.common.scope import ChannelSetting, Record
from power.drivers.rigol_ds1000z import RigolDs1000z
from power.drivers.rigol_mso5000 import RigolMso5000
from power.errors import InstrumentError, LinkLost, ReplyInvalid
from power.sim.common.clock import VirtualTime
from power.timebase import Timebase
from tests.power.dialogue import Dialogue, Step
from tests.power.scpi_trouble import (
    one_sentence,
)

IDN = "RIGOL TECHNOLOGIES,DS1104Z,DS1ZA123456789,00.04.04.SP4"
QUIET: Step = (":SYSTem:ERRor?", '0,"No error"')
CONNECT: list[Step] = [("*IDN?", IDN), "*CLS", QUIET]
CHANNELS = [ChannelSetting(1, 8.0, 2.0, 10.0, 20e6), ChannelSetting(2, 0.1, 0.03)]
RECORD = Record(6000, 0.00366, "sample")
MADE = Record(6000, 0.004, "sample")
SET_UP: list[Step] = [
    "*CLS",
    ":RUN",
    ":CHANnel1:DISPlay ON",
    ":CHANnel1:COUPling DC",
    ":CHANnel1:BWLimit 20M",
    ":CHANnel1:INVert OFF",
    ":CHANnel1:UNITs VOLTage",
    ":CHANnel1:PROBe 10",
    ":CHANnel1:SCALe 1",
    ":CHANnel1:OFFSet -2",
    ":CHANnel1:TCAL 0",
    ":CHANnel2:DISPlay ON",
    ":CHANnel2:COUPling DC",
    ":CHANnel2:BWLimit OFF",
    ":CHANnel2:INVert OFF",
    ":CHANnel2:UNITs VOLTage",
    ":CHANnel2:PROBe 1",
    ":CHANnel2:SCALe 0.02",
    ":CHANnel2:OFFSet -0.03",
    ":CHANnel2:TCAL 0",
    ":CHANnel3:DISPlay OFF",
    ":CHANnel4:DISPlay OFF",
    ":TIMebase:MODE MAIN",
    ":TIMebase:MAIN:SCALe 2",
    ":TIMebase:MAIN:OFFSet 12",
    ":ACQuire:TYPE NORMal",
    ":ACQuire:MDEPth 6000",
    ":TRIGger:MODE EDGE",
    ":TRIGger:EDGe:SOURce CHANnel1",
    ":TRIGger:EDGe:SLOPe POSitive",
    ":TRIGger:EDGe:LEVel 6.5",
    QUIET,
    (":TIMebase:MAIN:SCALe?", "2.000000e+00"),
    (":ACQuire:MDEPth?", "6000"),
    (":CHANnel1:SCALe?", "1.000000e+00"),
    (":CHANnel2:SCALe?", "2.000000e-02"),
    (":ACQuire:SRATe?", "2.500000e+02"),
]
READY: list[Step] = [":SINGle", (":TRIGger:STATus?", "STOP"), (":TRIGger:STATus?", "WAIT")]
FIRED: list[Step] = [":TFORce", (":TRIGger:STATus?", "WAIT"), (":TRIGger:STATus?", "TD")]
PREAMBLE = "0,2,6000,1,4.000000e-03,0.000000e+00,0,8.000000e-03,50,127"


def begin_read(preamble: str) -> list[Step]:
    return [
        (":TRIGger:STATus?", "STOP"),
        ":WAVeform:SOURce CHANnel2",
        ":WAVeform:MODE RAW",
        ":WAVeform:FORMat BYTE",
        ":WAVeform:STARt 1",
        ":WAVeform:STOP 6000",
        (":WAVeform:PREamble?", preamble),
    ]


def batch(first: int, last: int, codes: bytes) -> list[Step]:
    return [f":WAVeform:STARt {first}", f":WAVeform:STOP {last}", (":WAVeform:DATA?", codes)]


def scripted(
    steps: list[Step], *, time: Timebase | None = None, channels: tuple[int, ...] = (1, 2)
) -> tuple[RigolDs1000z, Dialogue]:
    line = Dialogue(steps)
    return RigolDs1000z("SCRIPT::INSTR", time or VirtualTime(), channels=channels, link=line), line


def ready(*steps: Step) -> tuple[RigolDs1000z, Dialogue]:
    """Return a scope that was set up, with a script for what follows."""
    scope, line = scripted([*CONNECT, *SET_UP, *steps])
    assert scope.connect().serial == "DS1ZA123456789"
    assert scope.set_up(CHANNELS, RECORD) == MADE
    return scope, line


def test_dialogue() -> None:
    codes = np.arange(6000) % 256
    time = VirtualTime()
    scope, line = scripted(
        [
            *CONNECT,
            *SET_UP,
            *READY,
            *FIRED,
            (":TRIGger:STATus?", "TD"),
            (":TRIGger:STATus?", "STOP"),
            *begin_read(PREAMBLE),
            *batch(1, 6000, codes.astype(np.uint8).tobytes()),
            ":STOP",
        ],
        time=time,
    )
    scope.connect()
    scope.set_up(CHANNELS, RECORD)
    scope.arm()
    earliest_ns = time.now_ns()
    start = scope.trigger()
    assert (start.earliest_ns, start.latest_ns) == (earliest_ns, time.now_ns())
    assert start.latest_ns > start.earliest_ns
    assert not scope.is_done()
    time.sleep(24.0)
    assert scope.is_done()
    waveform = scope.read(2)
    assert (waveform.start_s, waveform.interval_s) == (0.0, 0.004)
    assert waveform.values == pytest.approx((codes - 50 - 127) * 0.008)
    assert np.array_equal(waveform.clipped, (codes == 0) | (codes == 255))
    scope.make_safe()
    scope.disconnect()
    line.check_used_up()
    assert line.is_closed


def test_vector_of_the_preamble() -> None:
    preamble = Preamble.parse("0,2,1200,1,2.0e-9,-6.0e-7,0,0.008,50,127", "X")
    decoder = Decoder(1, _scaling(preamble), "X")
    decoder.add(bytes([200]), 1)
    assert decoder.values[0] == pytest.approx(0.184)
    assert preamble.start_s == -6e-7


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("0,2,6000,1,4e-3,0,0,8e-3,50", "not ten numbers"),
        ("0,2,6000,1,4e-3,0,0,8e-3,50,127,1", "not ten numbers"),
        ("0,2,6000,1,4e-3,0,0,eight,50,127", "not ten numbers"),
        ("0,2,6000,1,nan,0,0,8e-3,50,127", "no usable numbers"),
        ("0,2,6000,1,0,0,0,8e-3,50,127", "describes no waveform"),
        ("0,2,6000,1,4e-3,0,0,0,50,127", "describes no waveform"),
        ("", "not ten numbers"),
    ],
)
def test_a_garbled_preamble_is_refused(answer: str, words: str) -> None:
    with pytest.raises(ReplyInvalid, match=words):
        Preamble.parse(answer, "X")


@pytest.mark.parametrize(
    ("preamble", "words"),
    [
        (PREAMBLE.replace("0,2,", "0,0,", 1), "what its screen shows.*not fit for energy"),
        (PREAMBLE.replace("0,2,", "1,2,", 1), "format 1"),
        (PREAMBLE.replace("6000", "5999"), "5999 points in its memory instead of 6000"),
        (PREAMBLE.replace("4.000000e-03", "2.000000e-03"), r"0\.002 s apart, not 0\.004 s"),
        (PREAMBLE.replace("0.000000e+00", "-1.200000e+01"), "begins -12 s from its trigger"),
    ],
)
def test_memory_that_is_not_the_record_is_refused(preamble: str, words: str) -> None:
    scope, line = ready(*begin_read(preamble))
    with pytest.raises(ReplyInvalid, match=words):
        scope.read(2)
    line.check_used_up()


@pytest.mark.parametrize(("limit", "sizes"), [(6000, [6000]), (5999, [5999, 1]), (2500, [2500, 2500, 1000])])
def test_batches(limit: int, sizes: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RigolDs1000z, "batch_points", limit)
    steps: list[Step] = []
    first = 1
    for number, size in enumerate(sizes):
        steps += batch(first, first + size - 1, bytes([100 + number]) * size)
        first += size
    scope, line = ready(*begin_read(PREAMBLE), *steps)
    values = scope.read(2).values
    line.check_used_up()
    expected = np.repeat([(100 + n - 177) * 0.008 for n in range(len(sizes))], sizes)
    assert values == pytest.approx(expected)


def test_the_batch_limit_of_the_guide() -> None:
    assert RigolDs1000z.batch_points == 250_000


@pytest.mark.parametrize("size", [0, 5999, 6001])
def test_a_block_of_another_length_is_refused(size: int) -> None:
    scope, line = ready(*begin_read(PREAMBLE), *batch(1, 6000, bytes(size)))
    with pytest.raises(ReplyInvalid, match=f"sent {size} bytes where 6000 points"):
        scope.read(2)
    line.check_used_up()


def test_a_block_that_is_cut_off_is_a_lost_line() -> None:
    lost = LinkLost("The instrument did not answer.")
    steps: list[Step] = [
        *begin_read(PREAMBLE),
        ":WAVeform:STARt 1",
        ":WAVeform:STOP 6000",
        (":WAVeform:DATA?", lost),
    ]
    scope, line = ready(*steps)
    with pytest.raises(LinkLost):
        scope.read(2)
    line.check_used_up()


def test_memory_is_not_read_while_it_is_filled() -> None:
    scope, line = ready((":TRIGger:STATus?", "TD"))
    with pytest.raises(InstrumentError, match="still at work"):
        scope.read(2)
    with pytest.raises(InstrumentError, match=r"Channel 3 .* was not set up"):
        scope.read(3)
    line.check_used_up()


def test_a_record_that_ends_too_soon_is_refused() -> None:
    scope, _ = ready(*READY, *FIRED, (":TRIGger:STATus?", "STOP"))
    scope.arm()
    scope.trigger()
    with pytest.raises(InstrumentError, match=r"done 0\.02 s after its trigger, but 24 s"):
        scope.is_done()


def test_a_scope_that_does_not_arm_or_trigger_says_so() -> None:
    time = VirtualTime()
    scope, _ = scripted(
        [*CONNECT, *SET_UP, ":SINGle", *[(":TRIGger:STATus?", "RUN")] * 400, ":STOP"], time=time
    )
    scope.connect()
    scope.set_up(CHANNELS, RECORD)
    with pytest.raises(InstrumentError, match="does not wait for its trigger, it says 'RUN'"):
        scope.arm()
    scope, _ = ready(*READY, ":TFORce", *[(":TRIGger:STATus?", "WAIT")] * 400)
    scope.arm()
    with pytest.raises(InstrumentError, match="did not take the forced trigger"):
        scope.trigger()


def test_a_setting_that_was_not_taken_is_told() -> None:
    steps: list[Step] = [*SET_UP[:-4], (":ACQuire:MDEPth?", "AUTO")]
    scope, line = scripted([*CONNECT, *steps])
    scope.connect()
    with pytest.raises(ReplyInvalid, match="'AUTO', which is no number"):
        scope.set_up(CHANNELS, RECORD)
    line.check_used_up()
    steps = [*SET_UP[:-5], (":TIMebase:MAIN:SCALe?", "5.000000e+00")]
    scope, line = scripted([*CONNECT, *steps])
    scope.connect()
    with pytest.raises(InstrumentError, match=r"answers 5 to ':TIMebase:MAIN:SCALe.' after 2 was set"):
        scope.set_up(CHANNELS, RECORD)
    line.check_used_up()


def test_an_error_of_the_instrument_is_told() -> None:
    steps: list[Step] = [*SET_UP[:-6], (":SYSTem:ERRor?", '-222,"Data out of range"')]
    scope, line = scripted([*CONNECT, *steps])
    scope.connect()
    with pytest.raises(InstrumentError, match="Data out of range"):
        scope.set_up(CHANNELS, RECORD)
    line.check_used_up()


@pytest.mark.parametrize(
    ("channels", "record", "words"),
    [
        ((1, 2), Record(12_000, 1e-3, "sample"), "holds 6000, 60000, 600000, 6000000 points with 2 channels"),
        ((1, 2), Record(6000, 1e-9, "sample"), r"takes 5e\+08 S/s at most"),
        ((1, 2), Record(6000, 1.0, "sample"), r"6000 s is longer than the 600 s"),
        ((1, 2, 4), Record(6000, 1e-3, "sample"), "was planned with 2 channels"),
        ((5,), Record(6000, 1e-3, "sample"), "has 4 channels"),
    ],
)
def test_limits_of_the_model_are_enforced(channels: tuple[int, ...], record: Record, words: str) -> None:
    time_base_only = ["*CLS", ":RUN", *SET_UP[2:22]] if record.interval_s == 1.0 else []
    scope, line = scripted([*CONNECT, *time_base_only])
    scope.connect()
    settings = CHANNELS if channels == (1, 2) else [ChannelSetting(number, 8.0) for number in channels]
    with pytest.raises(InstrumentError, match=words) as caught:
        scope.set_up(settings, record)
    one_sentence(caught.value)
    line.check_used_up()


def test_a_probe_that_cannot_be_set_is_told() -> None:
    scope, _ = scripted([*CONNECT, "*CLS", ":RUN"])
    scope.connect()
    with pytest.raises(InstrumentError, match="no setting for a probe of 3:1 on channel 1"):
        scope.set_up([ChannelSetting(1, 8.0, attenuation=3.0)], RECORD)


def test_dialogue_of_the_mso5000() -> None:
    steps: list[Step] = [
        ("*IDN?", "RIGOL TECHNOLOGIES,MSO5072,MS5A1,00.01.03"),
        "*CLS",
        QUIET,
        "*CLS",
        ":RUN",
        ":CHANnel1:DISPlay OFF",
        ":CHANnel2:DISPlay ON",
        ":CHANnel2:COUPling DC",
        ":CHANnel2:BWLimit OFF",
        ":CHANnel2:INVert OFF",
        ":CHANnel2:UNITs VOLTage",
        ":CHANnel2:PROBe 1",
        ":CHANnel2:SCALe 0.01",
        ":CHANnel2:OFFSet 0",
        ":CHANnel2:TCALibrate 1e-09",
        ":TIMebase:MODE MAIN",
        ":TIMebase:MAIN:SCALe 0.1",
        ":TIMebase:MAIN:OFFSet 0.4",
        ":ACQuire:TYPE HRESolution",
        ":ACQuire:MDEPth 10k",
        ":TRIGger:MODE EDGE",
        ":TRIGger:EDGe:SOURce CHANnel2",
        ":TRIGger:EDGe:SLOPe POSitive",
        ":TRIGger:EDGe:LEVel 0.045",
        QUIET,
        (":TIMebase:MAIN:SCALe?", "1.000000E-1"),
        (":ACQuire:MDEPth?", "1.0000E+04"),
        (":CHANnel2:SCALe?", "1.000000E-2"),
        (":ACQuire:SRATe?", "1.000000E+4"),
        *READY,
        *FIRED,
        (":TRIGger:STATus?", "STOP"),
        (":TRIGger:STATus?", "STOP"),
        ":WAVeform:SOURce CHANnel2",
        ":WAVeform:MODE RAW",
        ":WAVeform:FORMat BYTE",
        ":WAVeform:STARt 1",
        ":WAVeform:STOP 10000",
        (":WAVeform:PREamble?", "0,2,10000,1,1.000000E-4,-1.000000E-1,0,4.000000E-4,0,128"),
        *batch(1, 10_000, bytes([178]) * 10_000),
        ":STOP",
    ]
    line, time = Dialogue(steps), VirtualTime()
    scope = RigolMso5000("SCRIPT::INSTR", time, channels=(2,), link=line)
    scope.connect()
    made = scope.set_up(
        [ChannelSetting(2, 0.08, deskew_s=1e-9)], Record(10_000, 1e-4, "hires", pretrigger=0.1)
    )
    assert made == Record(10_000, 1e-4, "hires", 0.1)
    scope.arm()
    scope.trigger()
    time.sleep(1.0)
    assert scope.is_done()
    waveform = scope.read(2)
    assert (waveform.start_s, waveform.interval_s) == (-0.1, 1e-4)
    assert waveform.values == pytest.approx(np.full(10_000, 0.02))
    scope.make_safe()
    scope.disconnect()
    line.check_used_up()
    assert line.is_closed

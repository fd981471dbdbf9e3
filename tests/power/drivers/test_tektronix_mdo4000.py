"""The Tektronix MDO4000: its dialogue, its numbers against the simulated one, its failures."""

from __future__ import annotations

import numpy as np
import pytest

from power.drivers.common.scope import ChannelSetting, Record
from power.drivers.tektronix_mdo4000 import Mdo4000, parse_preamble, scale_of, specified
from power.errors import (
    InstrumentError,
    LinkLost,
    NoReading,
    PowerError,
    ReplyInvalid,
)
from power.sim.common.clock import VirtualTime
from tests.power.dialogue import Dialogue, Step

IDN = "TEKTRONIX,MDO4054B,C012345,CF:91.1CT FV:v3.14"
NO_EVENTS = ':ALLEV 0,"No events to report - queue empty"'
QUIET: list[Step] = [("*ESR?", "0"), ("ALLEv?", NO_EVENTS)]
CONNECT: list[Step] = [("*IDN?", IDN), "*CLS", ("HEADer?", ":HEADER 0"), "HEADer 1", *QUIET]
SAFE: list[Step] = ["ACQuire:STATE STOP", "ACQuire:STOPAfter RUNSTop", "HEADer 0"]
WFID = '"Ch2, DC coupling, 5.0mV/div, 4.0ms/div, 1000 points; Hi Res mode"'
FIELDS = {
    "BYT_NR": "1",
    "BIT_NR": "8",
    "ENCDG": "BINARY",
    "BN_FMT": "RI",
    "BYT_OR": "LSB",
    "WFID": WFID,
    "NR_PT": "1000",
    "PT_FMT": "Y",
    "PT_ORDER": "LINEAR",
    "XUNIT": '"s"',
    "XINCR": "4.0000E-5",
    "XZERO": "-2.0000E-6",
    "PT_OFF": "0",
    "YUNIT": '"V"',
    "YMULT": "4.0E-3",
    "YOFF": "0.0",
    "YZERO": "0.0",
}
ONE = ChannelSetting(2, 1.0, 0.0, 10.0, 20e6)
SAMPLES = Record(1000, 4e-5, "sample")
RANGES: dict[str, object] = {
    "rate_hz": 1000.0,
    "voltage": {"channel": 1, "range_v": 2.0, "offset_v": 5.0},
    "current": {"channel": 2, "shunt_ohm": 0.01, "range_v": 0.05},
}


def named(**other: str) -> str:
    return ":WFMOUTPRE:" + ";".join(f"{name} {value}" for name, value in {**FIELDS, **other}.items())


def bare(**other: str) -> str:
    return ";".join({**FIELDS, **other}.values())


def set_up(*, header: bool = True) -> list[Step]:
    def said(name: str, value: str) -> str:
        return f":{name} {value}" if header else value

    return [
        "ACQuire:STATE STOP",
        "SELect:CH1 OFF",
        "SELect:CH2 ON",
        "SELect:CH3 OFF",
        "SELect:CH4 OFF",
        ("CH2:PRObe:GAIN?", said("CH2:PROBE:GAIN", "1.0000")),
        "CH2:PRObe:GAIN 0.1",
        "CH2:TERmination MEG",
        "CH2:COUPling DC",
        "CH2:BANdwidth 2e+07",
        "CH2:SCAle 0.1",
        "CH2:POSition 0",
        "CH2:OFFSet 0",
        "CH2:DESKew 0",
        ("CH2:SCAle?", said("CH2:SCALE", "100.0000E-3")),
        "HORizontal:DELay:MODe OFF",
        "HORizontal:POSition 0",
        "HORizontal:RECOrdlength 1000",
        "HORizontal:SCAle 0.004",
        "ACQuire:MODe SAMple",
        "ACQuire:STOPAfter SEQuence",
        "TRIGger:A:TYPe EDGe",
        "TRIGger:A:EDGE:SOUrce CH2",
        "TRIGger:A:MODe NORMal",
        "TRIGger:A:LEVel:CH2 0.49",
        "DATa:ENCdg SRIbinary",
        "DATa:WIDth 1",
        ("HORizontal:RECOrdlength?", said("HORIZONTAL:RECORDLENGTH", "1000")),
        ("HORizontal:SAMPLERate?", said("HORIZONTAL:SAMPLERATE", "25.0000E+3")),
        *QUIET,
    ]


def read(preamble: str, curve: bytes | Exception, *end: Step) -> list[Step]:
    return [
        ("ACQuire:NUMACq?", ":ACQUIRE:NUMACQ 1"),
        "DATa:SOUrce CH2",
        "DATa:STARt 1",
        "DATa:STOP 1000",
        ("WFMOutpre?", preamble),
        *([] if isinstance(curve, bytes) and not curve else [("CURVe?", curve)]),
        *end,
    ]


def ready(*steps: Step, header: bool = True) -> tuple[Mdo4000, Dialogue]:
    """A scope that is connected and set up, with a script for what follows."""
    line = Dialogue([*CONNECT, *set_up(header=header), *steps])
    scope = Mdo4000("SCRIPT::INSTR", VirtualTime(), link=line)
    assert scope.connect().serial == "C012345"
    assert scope.set_up([ONE], SAMPLES) == SAMPLES
    return scope, line


@pytest.mark.parametrize("header", [True, False])
def test_dialogue(header: bool) -> None:
    codes = np.zeros(1000, np.int8)
    codes[:4] = 100, -3, 127, -128
    scope, line = ready(
        "ACQuire:STATE RUN",
        ("TRIGger:STATE?", ":TRIGGER:STATE ARMED"),
        ("TRIGger:STATE?", "READY"),
        "TRIGger FORCe",
        ("TRIGger:STATE?", "READY"),
        ("TRIGger:STATE?", ":TRIGGER:STATE TRIGGER"),
        ("ACQuire:STATE?", ":ACQUIRE:STATE 1"),
        ("ACQuire:STATE?", "0"),
        *read(named() if header else bare(), codes.tobytes(), *QUIET),
        *SAFE,
        header=header,
    )
    scope.arm()
    start = scope.trigger()
    assert start.latest_ns - start.earliest_ns == 1_000_000  # one poll between
    assert not scope.is_done()
    assert scope.is_done()
    waveform = scope.read(2)
    # The test vector of the manual's formula: code 100, YMULT 4e-3, YOFF 0, YZERO 0.
    assert waveform.values[:2] == pytest.approx([0.4, -0.012])
    assert list(waveform.clipped[:5]) == [False, False, True, True, False]
    assert (waveform.start_s, waveform.interval_s, len(waveform.values)) == (-2e-6, 4e-5, 1000)
    scope.make_safe()
    scope.disconnect()
    line.check_used_up()
    assert line.is_closed


def test_offsets_of_the_preamble_are_applied() -> None:
    preamble = named(YOFF="50", YZERO="1.5", XZERO="1.0E-3", PT_OFF="20")
    scope, line = ready(*read(preamble, bytes([100] * 1000), *QUIET))
    waveform = scope.read(2)
    assert waveform.values[0] == pytest.approx(1.5 + 4e-3 * (100 - 50))
    assert waveform.start_s == pytest.approx(1e-3 - 20 * 4e-5)
    line.check_used_up()


def test_a_preamble_without_names_may_hold_semicolons_in_quotes() -> None:
    for text in (named(), bare()):
        fields = parse_preamble(text, "The scope")
        assert fields["WFID"] == WFID.strip('"')
        assert fields["YMULT"] == "4.0E-3"
    with pytest.raises(ReplyInvalid, match="without NR_PT"):
        parse_preamble('1;8;BINARY;RI;LSB;"Ch1"', "The scope")


@pytest.mark.parametrize(
    ("preamble", "curve", "words"),
    [
        (named(PT_FMT="ENV"), b"", "PT_FMT ENV.*no energy follows"),
        (named(NR_PT="500"), b"", "NR_PT 500 where 1000"),
        (named(BYT_OR="MSB"), b"", "BYT_OR MSB where LSB"),
        (named(YMULT="oops"), b"", "'oops' where a number"),
        (named(XINCR="8.0E-5"), b"", "points 8e-05 s apart where 4e-05 s"),
        (named(XZERO="-2.0E-2"), b"", r"began its record -0\.02 s from its trigger"),
        (named(), bytes(999), "999 bytes where 1000 points of 1 bytes"),
        (named(), LinkLost("gone"), "gone"),
    ],
)
def test_a_transfer_that_is_not_what_was_set_up_is_refused(
    preamble: str, curve: bytes | Exception, words: str
) -> None:
    scope, line = ready(*read(preamble, curve))
    with pytest.raises(PowerError, match=words):
        scope.read(2)
    line.check_used_up()


def test_there_is_no_record_before_it_ended() -> None:
    scope, line = ready(("ACQuire:NUMACq?", ":ACQUIRE:NUMACQ 0"))
    with pytest.raises(NoReading, match="no finished record"):
        scope.read(2)
    line.check_used_up()


def test_events_of_the_instrument_are_told() -> None:
    steps: list[Step] = [*CONNECT[:4], ("*ESR?", "32"), ("ALLEv?", ':ALLEV 113,"Undefined header; FOO"')]
    line = Dialogue(steps)
    with pytest.raises(InstrumentError, match="Undefined header; FOO"):
        Mdo4000("SCRIPT::INSTR", VirtualTime(), link=line).connect()
    line.check_used_up()
    assert line.is_closed


def test_a_scope_that_is_not_waiting_is_not_triggered() -> None:
    scope, line = ready("ACQuire:STATE RUN", ("TRIGger:STATE?", ":TRIGGER:STATE SAVE"), *QUIET)
    with pytest.raises(InstrumentError, match="does not wait for its trigger but says SAVE"):
        scope.arm()
    line.check_used_up()


@pytest.mark.parametrize(
    ("needed_s", "scale_s"), [(40.0, 4.0), (40.1, 10.0), (10.0, 1.0), (0.019, 0.002), (1e-9, 4e-10)]
)
def test_time_bases_come_in_steps(needed_s: float, scale_s: float) -> None:
    assert scale_of(needed_s) == pytest.approx(scale_s)


def test_limits_of_error() -> None:
    limits = specified(ChannelSetting(1, 0.05, 0.02))
    assert limits.of_reading == 0.015
    assert limits.offset == pytest.approx(0.005 * 0.02 + 0.3 * 0.005)

"""The Tektronix MDO4000: its dialogue, its numbers against the simulated one, its failures."""

from __future__ import annotations

import functools
import time as clock
from contextlib import AbstractContextManager

import numpy as np
import pytest

from power.catalogue import make_meter
from power.drivers.scope import ChannelSetting, Record
from power.drivers.tektronix_mdo4000 import Mdo4000, parse_preamble, scale_of, specified
from power.errors import (
    InstrumentError,
    LinkLost,
    MeterStateError,
    NoReading,
    OptionInvalid,
    PowerError,
    ReplyInvalid,
    WrongInstrument,
)
from power.meters.scope import ScopeMeter
from power.sim.base import Simulator
from power.sim.clock import VirtualTime
from power.sim.faults import Faults
from power.sim.load import Load
from power.sim.scope import Wiring
from power.sim.tektronix_mdo4000 import SimulatedMdo4000
from power.sim.waveforms import Constant, Square
from power.timebase import Timebase
from power.trace import Window
from power.transports.scpi import VisaLink
from tests.power.dialogue import Dialogue, Step
from tests.power.trials import Levels, Timing, check_coverage, run_trial

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
    preamble = named(YOFF="50", YZERO="1.5", XZERO="1.0E-3", PT_OFF="10")
    scope, line = ready(*read(preamble, bytes([100] * 1000), *QUIET))
    waveform = scope.read(2)
    assert waveform.values[0] == pytest.approx(1.5 + 4e-3 * (100 - 50))
    assert waveform.start_s == pytest.approx(1e-3 - 10 * 4e-5)
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


def test_another_instrument_is_refused_and_the_line_closed() -> None:
    line = Dialogue([("*IDN?", "YOKOGAWA,WT310E,C3UI12345,F1.03")])
    with pytest.raises(WrongInstrument, match="is a YOKOGAWA WT310E, but the driver tektronix-mdo4000"):
        Mdo4000("SCRIPT::INSTR", VirtualTime(), link=line).connect()
    line.check_used_up()
    assert line.is_closed


@pytest.mark.parametrize(
    ("needed_s", "scale_s"), [(40.0, 4.0), (40.1, 10.0), (10.0, 1.0), (0.019, 0.002), (1e-9, 4e-10)]
)
def test_time_bases_come_in_steps(needed_s: float, scale_s: float) -> None:
    assert scale_of(needed_s) == pytest.approx(scale_s)


def test_limits_of_error() -> None:
    limits = specified(ChannelSetting(1, 0.05, 0.02))
    assert limits.of_reading == 0.015
    assert limits.offset == pytest.approx(0.005 * 0.02 + 0.3 * 0.005)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "resource is missing"),
        ({"resource": "X"}, "current must be a table|current is missing"),
        ({"resource": "X", "current": {"channel": 2}, "supply_v": 5.0}, "either shunt_ohm or clamp_v_per_a"),
        ({**RANGES, "resource": "X", "rate": 1.0}, "did you mean 'rate_hz'"),
        ({**RANGES, "resource": "X", "acquisition": "highres"}, "did you mean 'hires'"),
    ],
)
def test_settings_are_checked(settings: dict[str, object], words: str) -> None:
    with pytest.raises(OptionInvalid, match=words):
        make_meter("scope", "tektronix-mdo4000", settings)


def simulated(load: Load, timebase: Timebase, seed: int) -> AbstractContextManager[Simulator]:
    return SimulatedMdo4000(load, timebase=timebase, seed=seed)


@pytest.mark.parametrize("settings", [{}, {"acquisition": "sample", "rate_hz": 5000.0}])
def test_energies_lie_within_their_uncertainty(settings: dict[str, object]) -> None:
    check_coverage(
        "tektronix-mdo4000", simulated, options={**RANGES, **settings}, timing=Timing(2.0, 6.0, 0.5)
    )


@pytest.mark.parametrize(
    "wiring",
    [
        Wiring(sense="after", shunt_ohm=0.02),
        Wiring(clamp_v_per_a=0.1, turns=2),
        Wiring(voltage=None),
    ],
    ids=["sense after the shunt", "clamp", "known supply"],
)
def test_energies_of_other_probings(wiring: Wiring) -> None:
    def wired(load: Load, timebase: Timebase, seed: int) -> AbstractContextManager[Simulator]:
        # A known supply is known at its own side of the shunt.
        return SimulatedMdo4000(load, timebase=timebase, seed=seed, wiring=wiring)

    options: dict[str, object] = {"rate_hz": 1000.0}
    if wiring.voltage is None:
        current = {"channel": 2, "shunt_ohm": wiring.shunt_ohm, "sense": "after", "range_v": 0.05}
        options |= {"supply_v": 5.0, "supply_tolerance": 0.001, "current": current}
    for seed in range(10):
        outcome = run_trial(
            "tektronix-mdo4000", wired, seed, levels=Levels(), timing=Timing(2.0, 6.0, 0.5), options=options
        )
        assert abs(outcome.gross_error_j) <= 2.0 * outcome.gross_u_j
        assert abs(outcome.net_error_j) <= 2.0 * outcome.net_u_j


def test_energy_in_real_time() -> None:
    outcome = run_trial(
        "tektronix-mdo4000",
        simulated,
        3,
        levels=Levels(),
        timing=Timing(0.6, 0.9, 0.2),
        options={**RANGES, "rate_hz": 10_000.0},
        is_real=True,
    )
    assert abs(outcome.gross_error_j) <= 2 * outcome.gross_u_j
    assert abs(outcome.net_error_j) <= 2 * outcome.net_u_j


def opened(simulator: SimulatedMdo4000, time: VirtualTime, **settings: object) -> ScopeMeter:
    meter = make_meter(
        "scope", "tektronix-mdo4000", {**simulator.options, **RANGES, **settings}, timebase=time
    ).open()
    assert isinstance(meter, ScopeMeter)
    return meter


def test_the_marker_and_the_start_are_where_they_were() -> None:
    time = VirtualTime()
    wiring = Wiring(high_s=((1003.0, 1005.0),))
    with SimulatedMdo4000(Load(Constant(4.0)), timebase=time, wiring=wiring, seed=5) as simulator:
        meter = opened(simulator, time, marker={"channel": 4, "level_v": 1.4})
        meter.plan(9.0)
        meter.start()
        time.sleep(9.0)
        trace = meter.stop()
        capabilities = meter.capabilities
        meter.close()
    assert trace.marker is not None
    edges = trace.t_s[np.flatnonzero(np.diff(trace.marker.astype(int)))]
    assert edges == pytest.approx([1003.0, 1005.0], abs=trace.clock_bound_s + 2e-3)
    assert trace.t_s[0] == pytest.approx(1000.0, abs=2e-3)
    assert trace.reading == "average"
    assert capabilities.kind == "simulated"
    assert capabilities.reading == "average"
    assert capabilities.resolution_w == pytest.approx(5.0 * 0.05 / 250 / 0.01, rel=0.1)
    assert meter.range_text == "2 V / 5 A"


def test_the_instrument_is_left_as_it_was_found() -> None:
    time = VirtualTime()
    with SimulatedMdo4000(Load(Constant(4.0)), timebase=time) as simulator:
        meter = opened(simulator, time)
        meter.plan(9.0)
        meter.start()
        meter.close()
        until_s = clock.monotonic() + 5.0
        while simulator.received[-1] != "HEADer 1" and clock.monotonic() < until_s:
            clock.sleep(0.01)  # nobody waits for an answer when a line is closed
        assert simulator.received[-3:] == ["ACQuire:STATE STOP", "ACQuire:STOPAfter RUNSTop", "HEADer 1"]
        assert simulator.state == "stopped"


def test_a_record_has_to_be_planned() -> None:
    time = VirtualTime()
    with SimulatedMdo4000(Load(Constant(4.0)), timebase=time) as simulator:
        meter = opened(simulator, time)
        with pytest.raises(MeterStateError, match="call plan before start"):
            meter.start()
        with pytest.raises(OptionInvalid, match="longest of which takes 10000 s; for longer runs"):
            meter.plan(12_000.0)
        meter.close()
        meter = opened(simulator, time, rate_hz=10_000.0)
        words = r"20000000: set rate_hz to 5000 or less, whose averages miss nothing, or measure no longer than 1\.98e\+03 s"
        with pytest.raises(OptionInvalid, match=words):
            meter.plan(3000.0)
        meter.close()


def test_what_is_off_the_screen_is_said_to_be_clipped() -> None:
    time = VirtualTime()
    with SimulatedMdo4000(Load(Square(2.0, 20.0, 0.5)), timebase=time) as simulator:
        meter = opened(simulator, time)
        meter.plan(9.0)
        meter.start()
        time.sleep(9.0)
        trace = meter.stop()
        meter.close()
    assert trace.clipped is not None
    assert trace.clipped.mean() == pytest.approx(0.5, abs=0.01)


def test_faults_of_the_load_show_in_the_trace() -> None:
    time = VirtualTime()
    faults = Faults(clip_w=3.0)
    with SimulatedMdo4000(Load(Constant(4.0)), timebase=time, faults=faults) as simulator:
        meter = opened(simulator, time)
        meter.plan(5.0)
        meter.start()
        time.sleep(5.0)
        trace = meter.stop()
        meter.close()
    assert trace.clipped_count == len(trace)


def measured(faults: Faults, time: VirtualTime) -> None:
    with SimulatedMdo4000(Load(Constant(3.0)), timebase=time, faults=faults) as simulator:
        driver = Mdo4000(str(simulator.options["resource"]), time)
        driver.connect()
        driver.disconnect()
        meter = opened(simulator, time)
        try:
            meter.plan(2.0)
            meter.start()
            time.sleep(2.0)
            meter.stop()
        finally:
            meter.close()


@pytest.mark.parametrize(
    "faults",
    [
        Faults(truncate_at=20),
        Faults(wrong_length=True),
        Faults(is_stale=True),
        Faults(silent_after=20),
        Faults(silent_after=70),
        Faults(disconnect_after=30),
        Faults(disconnect_after=70),
        Faults(garbage_after=20),
        Faults(garbage_after=70),
        Faults(error="Calibration due"),
    ],
    ids=str,
)
def test_a_fault_is_one_sentence(faults: Faults, monkeypatch: pytest.MonkeyPatch) -> None:
    impatient = functools.partial(VisaLink, timeout_s=0.3)
    monkeypatch.setattr("power.drivers.tektronix_mdo4000.VisaLink", impatient)
    monkeypatch.setattr("power.drivers.tektronix_mdo4000.TRANSFER_S", 0.3)
    with pytest.raises(PowerError) as caught:
        measured(faults, VirtualTime())
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith((".", "?"))


def test_switched_off_in_mid_run(monkeypatch: pytest.MonkeyPatch) -> None:
    impatient = functools.partial(VisaLink, timeout_s=0.3)
    monkeypatch.setattr("power.drivers.tektronix_mdo4000.VisaLink", impatient)
    time = VirtualTime()
    with SimulatedMdo4000(Load(Constant(3.0)), timebase=time) as simulator:
        meter = opened(simulator, time)
        meter.plan(5.0)
        meter.start()
        time.sleep(1.0)
        simulator.stop()
        time.sleep(4.0)
        with pytest.raises(LinkLost, match=r"broke|did not answer"):
            meter.stop()
        meter.close()


def test_a_clock_that_runs_wrong_stays_within_its_bound() -> None:
    time = VirtualTime()
    power = Square(2.0, 6.0, 0.1)
    with SimulatedMdo4000(Load(power), timebase=time, seed=8, faults=Faults(clock_ppm=-3.0)) as simulator:
        meter = opened(simulator, time)
        meter.plan(39.0)
        meter.start()
        time.sleep(39.0)
        trace = meter.stop()
        meter.close()
    edge = np.flatnonzero(np.diff(trace.power_w if trace.power_w is not None else []) < -2.0)[-1]
    true_s = np.floor(trace.t_s[edge] / 10.0 + 0.25) * 10.0 + 5.0
    assert trace.t_s[edge] == pytest.approx(true_s, abs=trace.clock_bound_s + 2e-3)
    assert Window(1001.0, 1039.0).duration_s < trace.span.duration_s

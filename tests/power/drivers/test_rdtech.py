"""RuiDeng USB meters: frames, numbers against the simulated ones over a pseudo-terminal, failures."""

from __future__ import annotations

import struct
from contextlib import AbstractContextManager

import pytest

from power.catalogue import driver, make_meter
from power.drivers.rdtech import FRAME_BYTES, TRAILER, Um25c, Um34c, checksum, parse_frame
from power.errors import LinkLost, PowerError, ReplyInvalid, WrongInstrument
from power.meter import Meter
from power.sim.common.base import Simulator
from power.sim.common.clock import VirtualTime
from power.sim.common.faults import Faults
from power.sim.common.load import Load
from power.sim.common.pty import Pty
from power.sim.common.waveforms import Constant
from power.timebase import HOST_TIME, Timebase
from power.transports.serialport import SerialLine
from tests.power.trials import Levels, Timing, check_coverage, run_trial

MODELS = ("rdtech-um24c", "rdtech-um25c", "rdtech-um34c")


def frame_of(model: int, volts: int, amperes: int, milliwatts: int) -> bytes:
    made = bytearray(FRAME_BYTES)
    struct.pack_into(">HHHIHH", made, 0, model, volts, amperes, milliwatts, 0x19, 0x4D)
    made[-2:] = TRAILER
    if model == 0x0D4C:
        made[-2:] = b"\0\0"
        made[-1] = checksum(bytes(made))
    return bytes(made)


def test_the_frame_of_a_um34c() -> None:
    frame = frame_of(0x0D4C, 0x0200, 0x04D2, 0x18AE)
    assert frame[-1] == 0xE2
    found = parse_frame(frame, Um34c.volts_per_count, Um34c.amperes_per_count)
    assert (found.voltage_v, found.current_a, found.power_w) == pytest.approx((5.12, 1.234, 6.318))
    assert not found.is_simulated


def test_the_um25c_has_a_digit_more() -> None:
    found = parse_frame(frame_of(0x09C9, 5123, 12345, 63243), Um25c.volts_per_count, Um25c.amperes_per_count)
    assert (found.voltage_v, found.current_a, found.power_w) == pytest.approx((5.123, 1.2345, 63.243))


@pytest.mark.parametrize("cut", [0, 1, 64, 129])
def test_a_frame_that_is_cut_off(cut: int) -> None:
    with pytest.raises(ReplyInvalid, match=f"has {cut} bytes instead of 130"):
        parse_frame(frame_of(0x09C9, 1, 1, 1)[:cut], 1.0, 1.0)


@pytest.mark.parametrize(("model", "place"), [(0x09C9, 129), (0x0D4C, 129), (0x0D4C, 3), (0x0D4C, 127)])
def test_a_frame_that_is_garbled(model: int, place: int) -> None:
    frame = bytearray(frame_of(model, 500, 100, 500))
    frame[place] ^= 0x55
    with pytest.raises(ReplyInvalid, match="wrong checksum"):
        parse_frame(bytes(frame), 1.0, 1.0)


class Scripted:
    """A line that answers each question with the next of a list; all have to be asked for."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.asked = 0
        self.pty = Pty(self._heard)
        self.pty.start()

    def _heard(self, data: bytes) -> None:
        assert data == b"\xf0"
        self.asked += 1
        self.pty.send(self.answers.pop(0))

    def meter(self) -> Um25c:
        return Um25c(self.pty.path, HOST_TIME, line=SerialLine(self.pty.path, 9600))


def test_dialogue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("power.drivers.rdtech.REPLY_S", 0.1)
    good = frame_of(0x09C9, 5000, 10000, 5000)
    # Asked twice where the first answer is of no use: garbage, a piece, another frame's end.
    line = Scripted(good, good, b"\xff" * 130, good, good[:40], good)
    meter = line.meter()
    assert meter.connect().model == "UM25C"
    for _ in range(3):
        sample = meter.read()
        assert (sample.voltage_v, sample.current_a, sample.power_w) == pytest.approx((5.0, 1.0, 5.0))
        assert sample.is_clipped is False
    meter.make_safe()
    meter.disconnect()
    assert line.answers == []
    line.pty.close()


@pytest.mark.parametrize(
    ("answers", "error", "words"),
    [
        ((frame_of(0x0D4C, 1, 1, 1),) * 2, WrongInstrument, 'write driver = "rdtech-um34c" in farm.toml'),
        ((b"\x11\x22" * 65,) * 2, ReplyInvalid, "which no UM25C begins a frame with"),
        ((frame_of(0x09C9, 1, 1, 1)[:50],) * 2, ReplyInvalid, "has 50 bytes instead of 130"),
        ((b"", b""), LinkLost, "does not answer; check that it is on and paired"),
    ],
)
def test_what_is_no_um25c(
    monkeypatch: pytest.MonkeyPatch, answers: tuple[bytes, ...], error: type[PowerError], words: str
) -> None:
    monkeypatch.setattr("power.drivers.rdtech.REPLY_S", 0.1)
    line = Scripted(*answers)
    with pytest.raises(error, match=words):
        line.meter().connect()
    line.pty.close()


def simulated(
    name: str, load: Load, timebase: Timebase, seed: int | None, faults: Faults | None = None
) -> Simulator:
    return driver(name).simulated()(load, timebase=timebase, seed=seed, faults=faults)


@pytest.mark.parametrize("name", MODELS)
def test_energies_lie_within_their_uncertainty(name: str) -> None:
    def make(load: Load, timebase: Timebase, seed: int) -> AbstractContextManager[Simulator]:
        return simulated(name, load, timebase, seed)

    check_coverage(name, make, timing=Timing(6.0, 20.0, 2.0), levels=Levels(burst_s=0.02))


@pytest.mark.slow
def test_energy_in_real_time() -> None:
    def make(load: Load, timebase: Timebase, seed: int) -> AbstractContextManager[Simulator]:
        return simulated("rdtech-um25c", load, timebase, seed)

    outcome = run_trial(
        "rdtech-um25c", make, 0, levels=Levels(), timing=Timing(2.0, 3.0, 2.0), options={}, is_real=True
    )
    assert abs(outcome.gross_error_j) <= 2 * outcome.gross_u_j
    assert abs(outcome.net_error_j) <= 2 * outcome.net_u_j


def recording(simulator: Simulator, time: VirtualTime) -> Meter:
    meter = make_meter("usb", simulator.driver, dict(simulator.options), timebase=time).open()
    assert meter.capabilities.kind == "simulated"
    meter.start()
    time.sleep(2.0)
    return meter


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (Faults(silent_after=8), "does not answer; check that it is on"),
        (Faults(garbage_after=8), "begins a frame with"),
        (Faults(disconnect_after=8), "broke .*; check the cable|does not answer"),
    ],
)
def test_failures_in_mid_run(monkeypatch: pytest.MonkeyPatch, faults: Faults, words: str) -> None:
    monkeypatch.setattr("power.drivers.rdtech.REPLY_S", 0.1)
    time = VirtualTime()
    with simulated("rdtech-um25c", Load(Constant(3.0)), time, None, faults) as simulator:
        meter = recording(simulator, time)
        time.sleep(3.0)
        with pytest.raises(PowerError, match=words):
            meter.stop()
        meter.close()


def test_a_pulled_cable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("power.drivers.rdtech.REPLY_S", 0.1)
    time = VirtualTime()
    with simulated("rdtech-um25c", Load(Constant(3.0)), time, None) as simulator:
        meter = recording(simulator, time)
        simulator.stop()
        time.sleep(3.0)
        with pytest.raises(LinkLost, match="check"):
            meter.stop()
        meter.close()


def test_at_its_limit_it_says_so() -> None:
    time = VirtualTime()
    with simulated("rdtech-um24c", Load(Constant(20.0)), time, None) as simulator:
        meter = recording(simulator, time)
        trace = meter.stop()
        assert trace.clipped_count == len(trace)
        meter.close()

"""RuiDeng USB meters: frames, numbers against the simulated ones over a pseudo-terminal, failures."""

from __future__ import annotations

import re
import struct

import pytest

from power.drivers.rdtech import FRAME_BYTES, TRAILER, Um25c, Um34c, checksum, parse_frame
from power.errors import LinkLost, PowerError, ReplyInvalid, WrongInstrument
from power.sim.common.faults import Faults
from power.sim.rdtech import SimulatedRdTech, SimulatedUm24c, SimulatedUm25c, SimulatedUm34c
from power.timebase import HOST_TIME
from tests.power.serial_trouble import check_cable_pulled, check_trouble, recording
from tests.power.serialscript import Script
from tests.power.trials import Levels, Timing, check_coverage, check_in_real_time, specimens


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


def scripted(*answers: bytes) -> tuple[Um25c, Script]:
    """A meter that is asked so often, and answers that; in pieces, as over Bluetooth."""
    line = Script([(b"\xf0", [answer[:20], answer[20:]]) for answer in answers], HOST_TIME)
    return Um25c("SCRIPT", HOST_TIME, line=line), line


def test_dialogue() -> None:
    good = frame_of(0x09C9, 5000, 10000, 5000)
    # Asked twice where the first answer is of no use: garbage, a piece, another frame's end.
    meter, line = scripted(good, good, b"\xff" * 130, good, good[:40], good)
    assert meter.connect().model == "UM25C"
    for _ in range(3):
        sample = meter.read()
        assert (sample.voltage_v, sample.current_a, sample.power_w) == pytest.approx((5.0, 1.0, 5.0))
        assert sample.is_clipped is False
    meter.make_safe()
    meter.disconnect()
    line.check_used_up()
    assert line.is_closed


@pytest.mark.parametrize(
    ("answers", "error", "words"),
    [
        ((frame_of(0x0D4C, 1, 1, 1),) * 2, WrongInstrument, 'write driver = "rdtech-um34c" in farm.toml'),
        ((b"\x11\x22" * 65,) * 2, ReplyInvalid, "which no UM25C begins a frame with"),
        ((frame_of(0x09C9, 1, 1, 1)[:50],) * 2, ReplyInvalid, "has 50 bytes instead of 130"),
        ((b"",), LinkLost, "does not answer; check that it is on and paired"),
    ],
)
def test_what_is_no_um25c(answers: tuple[bytes, ...], error: type[PowerError], words: str) -> None:
    meter, line = scripted(*answers)
    with pytest.raises(error, match=words):
        meter.connect()
    line.check_used_up()
    assert line.is_closed


@pytest.mark.parametrize("made", [SimulatedUm24c, SimulatedUm25c, SimulatedUm34c])
@pytest.mark.slow
def test_energies_lie_within_their_uncertainty(made: type[SimulatedRdTech]) -> None:
    check_coverage(made.driver, specimens(made), timing=Timing(6.0, 10.0, 2.0), levels=Levels(burst_s=0.02))


@pytest.mark.slow
def test_energy_in_real_time() -> None:
    check_in_real_time("rdtech-um25c", specimens(SimulatedUm25c), timing=Timing(2.0, 2.0, 1.5), seed=0)


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (Faults(silent_after=1), "does not answer; check that it is on"),
        (Faults(garbage_after=1), "begins a frame with"),
        (Faults(disconnect_after=1), "broke .*; check the cable|does not answer"),
        (Faults(truncate_at=40), "has 40 bytes instead of 130"),
        (Faults(is_stale=True), "does not answer; check that it is on"),
    ],
)
def test_trouble_in_mid_run(monkeypatch: pytest.MonkeyPatch, faults: Faults, words: str) -> None:
    monkeypatch.setattr("power.drivers.rdtech.REPLY_S", 0.1)
    assert re.search(words, str(check_trouble(SimulatedUm25c, {}, faults, 3.0)))


def test_a_pulled_cable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("power.drivers.rdtech.REPLY_S", 0.1)
    error = check_cable_pulled(SimulatedUm25c, {}, 3.0)
    assert isinstance(error, LinkLost)
    assert "check" in str(error)


def test_at_its_limit_it_says_so() -> None:
    with recording(SimulatedUm24c, {}, 2.0, power_w=20.0) as (meter, _, _):
        assert meter.capabilities.kind == "simulated"
        trace = meter.stop()
    assert trace.clipped_count == len(trace)

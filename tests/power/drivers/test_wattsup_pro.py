"""Watts up? PRO: packets, numbers against the simulated one over a pseudo-terminal, failures."""

from __future__ import annotations

import re

import pytest

from power.drivers.wattsup_pro import Packets, WattsUpPro, sample_of
from power.errors import LinkLost, PowerError, ReplyInvalid, WrongInstrument
from power.sim.common.faults import Faults
from power.sim.wattsup_pro import SimulatedWattsUpPro
from power.timebase import HOST_TIME
from tests.power.serial_trouble import check_cable_pulled, check_trouble, recording
from tests.power.serialscript import Script, Step
from tests.power.trials import Levels, Timing, check_coverage, check_in_real_time, specimens

DATA = "#d,-,18,123,2301,381,_,_,_,_,_,_,_,_,_,_,_,_,_,500,_;"
VERSION = b"#v,-,8,1,0,0,2,3,41,0,0;"
LEVELS = Levels(idle_w=30.0, active_w=90.0)


def test_a_data_packet() -> None:
    (fields,) = Packets().feed(DATA.encode())
    sample = sample_of(fields, 7)
    assert sample is not None
    assert (sample.power_w, sample.voltage_v, sample.current_a) == pytest.approx((12.3, 230.1, 0.381))
    assert sample.time_ns == 7


def test_what_is_not_logged_is_none() -> None:
    (fields,) = Packets().feed(b"#d,-,18,_,2301,_" + b",_" * 15 + b";")
    sample = sample_of(fields, 0)
    assert sample is not None
    assert (sample.power_w, sample.current_a) == (None, None)
    assert sample_of(["v", "-", "1", "1"], 0) is None


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_packets_in_any_pieces_with_rubbish_in_between(size: int) -> None:
    stream = b"\xff\x00?\r\n" + DATA.encode() + b"\r\n#d,-,18,1,2#v,-,1,2;junk" + DATA.encode()
    packets, found = Packets(), []
    for begin in range(0, len(stream), size):
        found += list(packets.feed(stream[begin : begin + size]))
    assert [fields[0] for fields in found] == ["d", "v", "d"]


@pytest.mark.parametrize("packet", [b"#d,-,18,1,2;", b"#d,-;", b"#d,-,x,1;"])
def test_a_packet_whose_count_is_wrong(packet: bytes) -> None:
    with pytest.raises(ReplyInvalid, match="count is wrong"):
        list(Packets().feed(packet))


def test_a_packet_that_holds_no_number() -> None:
    (fields,) = Packets().feed(b"#d,-,3,1x,2,3;")
    with pytest.raises(ReplyInvalid, match="'1x' where a number was due"):
        sample_of(fields, 0)


def test_an_endless_packet_is_given_up() -> None:
    packets = Packets()
    assert list(packets.feed(b"#" + b"1" * 1000)) == []
    assert len(list(packets.feed(DATA.encode()))) == 1


def scripted(*steps: Step) -> tuple[WattsUpPro, Script]:
    line = Script(steps, HOST_TIME)
    return WattsUpPro("SCRIPT", HOST_TIME, line=line), line


def test_dialogue() -> None:
    fields = b"#C,W,18" + b",1" * 18 + b";"
    meter, line = scripted(
        (b"\x18#L,R,0;", [b"?"]),
        (b"#V,R,0;", [b"#d,-,3,1,2,3;" + VERSION[:7], VERSION[7:]]),
        (fields, [b"thrown away"]),
        (b"#L,W,3,E,-,1;", [DATA.encode()]),
        (b"#L,R,0;", []),
        (b"#L,R,0;", []),
    )
    identity = meter.connect()
    assert (identity.model, identity.firmware, identity.is_simulated) == ("Watts up? PRO", "3.41", False)
    meter.begin()
    (sample,) = meter.receive(2.0)
    assert sample.power_w == pytest.approx(12.3)
    assert meter.receive(0.01) == []
    meter.end()
    meter.make_safe()
    meter.disconnect()
    line.check_used_up()
    assert line.is_closed


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (b"#v,-,2,9,0;", WrongInstrument, "is no Watts up that is known"),
        (b"hello", LinkLost, "does not answer; check that it is on, the port, and baud = 19200"),
    ],
)
def test_what_is_no_watts_up(answer: bytes, error: type[PowerError], words: str) -> None:
    meter, line = scripted((b"\x18#L,R,0;", []), (b"#V,R,0;", [answer]), (b"#L,R,0;", []))
    with pytest.raises(error, match=words):
        meter.connect()
    line.check_used_up()
    assert line.is_closed


@pytest.mark.slow
def test_energies_lie_within_their_uncertainty() -> None:
    check_coverage(
        "wattsup-pro", specimens(SimulatedWattsUpPro), timing=Timing(10.0, 16.0, 2.0), levels=LEVELS
    )


@pytest.mark.slow
def test_energy_in_real_time() -> None:
    check_in_real_time(
        "wattsup-pro",
        specimens(SimulatedWattsUpPro),
        timing=Timing(6.0, 6.0, 1.5),
        levels=LEVELS,
        seed=0,
    )


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (
            Faults(silent_after=1),
            "sent nothing for 0.3 s on the serial port '/dev/.*'; check its power and cable",
        ),
        (Faults(disconnect_after=1), "broke .*; check the cable|sent nothing for 0.3 s on the serial"),
        (Faults(garbage_after=1), "sent nothing|count is wrong|number was due"),
        (Faults(truncate_at=10), "sent nothing for 0.3 s on the serial port"),
    ],
)
@pytest.mark.slow
def test_trouble_in_mid_run(monkeypatch: pytest.MonkeyPatch, faults: Faults, words: str) -> None:
    monkeypatch.setattr(WattsUpPro, "silence_s", 0.3)
    error = check_trouble(SimulatedWattsUpPro, {}, faults, 8.0, silence_s=0.5)
    assert re.search(words, str(error))


def test_a_pulled_cable() -> None:
    error = check_cable_pulled(SimulatedWattsUpPro, {}, 0.0, silence_s=0.2)
    assert isinstance(error, LinkLost)
    assert "check the cable" in str(error)


def test_rubbish_between_packets_is_passed_over() -> None:
    with recording(SimulatedWattsUpPro, {}, 0.0, power_w=60.0) as (meter, source, time):
        assert meter.capabilities.kind == "simulated"
        source._pty.send(b"\x00\xff??")
        source.settled()
        time.sleep(5.0)
        trace = meter.stop()
    assert trace.power_w == pytest.approx(60.0, abs=0.06)
    assert len(trace) == 6

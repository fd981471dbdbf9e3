"""Watts up? PRO: packets, numbers against the simulated one over a pseudo-terminal, failures."""

from __future__ import annotations

import time as real_time
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from power.catalogue import make_meter
from power.drivers import wattsup_pro
from power.drivers.wattsup_pro import Packets, WattsUpPro, sample_of
from power.errors import LinkLost, OptionInvalid, PowerError, ReplyInvalid, WrongInstrument
from power.sim.common.base import Simulator
from power.sim.common.clock import VirtualTime
from power.sim.common.faults import Faults
from power.sim.common.load import Load
from power.sim.common.pty import Pty
from power.sim.common.waveforms import Constant
from power.sim.wattsup_pro import SimulatedWattsUpPro
from power.timebase import HOST_TIME, Timebase
from power.transports.serialport import SerialLine
from tests.power.trials import Levels, Timing, check_coverage, run_trial

DATA = "#d,-,18,123,2301,381,_,_,_,_,_,_,_,_,_,_,_,_,_,500,_;"
VERSION = b"#v,-,8,1,0,0,2,3,41,0,0;"
LEVELS = Levels(idle_w=30.0, active_w=90.0)


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[SerialLine]:
    """The lines that the driver opens."""
    opened: list[SerialLine] = []

    def opening(port: str, baud: int, *, timebase: Timebase) -> SerialLine:
        opened.append(SerialLine(port, baud, timebase=timebase))
        return opened[-1]

    monkeypatch.setattr(wattsup_pro, "SerialLine", opening)
    return opened


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


def scripted(*answers: tuple[bytes, bytes]) -> tuple[WattsUpPro, list[tuple[bytes, bytes]], Pty]:
    """A meter whose line expects these bytes in this order, and what it answers to each."""
    script, heard = list(answers), bytearray()

    def take(data: bytes) -> None:
        heard.extend(data)
        while script and heard.startswith(script[0][0]):
            asked, answer = script.pop(0)
            del heard[: len(asked)]
            pty.send(answer)

    pty = Pty(take)
    pty.start()
    return WattsUpPro(pty.path, HOST_TIME, line=SerialLine(pty.path, 115200)), script, pty


def until(condition: Callable[[], bool]) -> None:
    end_s = real_time.monotonic() + 5.0
    while not condition():
        assert real_time.monotonic() < end_s
        real_time.sleep(0.005)


def test_dialogue() -> None:
    fields = b"#C,W,18" + b",1" * 18 + b";"
    meter, script, pty = scripted(
        (b"\x18#L,R,0;", b""),
        (b"#V,R,0;", b"#d,-,3,1,2,3;" + VERSION),
        (fields, b""),
        (b"#L,W,3,E,-,1;", DATA.encode()),
        (b"#L,R,0;", b""),
        (b"#L,R,0;", b""),
    )
    identity = meter.connect()
    assert (identity.model, identity.firmware, identity.is_simulated) == ("Watts up? PRO", "3.41", False)
    meter.begin()
    (sample,) = meter.receive(2.0)
    assert sample.power_w == pytest.approx(12.3)
    assert meter.receive(0.01) == []
    meter.end()
    meter.make_safe()
    until(lambda: not script)
    meter.disconnect()
    pty.close()


def test_what_is_no_watts_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wattsup_pro, "REPLY_S", 0.1)
    meter, _, pty = scripted((b"\x18#L,R,0;", b""), (b"#V,R,0;", b"#v,-,2,9,0;"))
    with pytest.raises(WrongInstrument, match="is no Watts up that is known"):
        meter.connect()
    pty.close()
    meter, _, pty = scripted((b"\x18#L,R,0;", b""), (b"#V,R,0;", b"hello"))
    with pytest.raises(LinkLost, match="does not answer; check that it is on, the port, and baud = 19200"):
        meter.connect()
    pty.close()


def test_a_baud_rate_that_it_does_not_speak() -> None:
    with pytest.raises(OptionInvalid, match="a Watts up speaks 115200 or 19200"):
        make_meter("w", "wattsup-pro", {"port": "x", "baud": 9600})


def test_energies_lie_within_their_uncertainty(lines: list[SerialLine]) -> None:
    def make(load: Load, timebase: Timebase, seed: int) -> AbstractContextManager[Simulator]:
        lines.clear()
        return SimulatedWattsUpPro(
            load, timebase=timebase, seed=seed, consumed=lambda: sum(line.received_bytes for line in lines)
        )

    check_coverage("wattsup-pro", make, timing=Timing(10.0, 40.0, 3.0), levels=LEVELS)


@pytest.mark.slow
def test_energy_in_real_time() -> None:
    def make(load: Load, timebase: Timebase, seed: int) -> AbstractContextManager[Simulator]:
        return SimulatedWattsUpPro(load, timebase=timebase, seed=seed)

    outcome = run_trial(
        "wattsup-pro", make, 0, levels=LEVELS, timing=Timing(6.0, 6.0, 1.5), options={}, is_real=True
    )
    assert abs(outcome.gross_error_j) <= 2 * outcome.gross_u_j
    assert abs(outcome.net_error_j) <= 2 * outcome.net_u_j


def virtual(lines: list[SerialLine], time: VirtualTime, faults: Faults | None = None) -> SimulatedWattsUpPro:
    return SimulatedWattsUpPro(
        Load(Constant(60.0), 230.0),
        timebase=time,
        faults=faults,
        consumed=lambda: sum(line.received_bytes for line in lines),
    )


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (Faults(silent_after=4), "sent nothing for 0.3 s; check its power and cable"),
        (Faults(disconnect_after=4), "broke .*; check the cable|sent nothing"),
        (Faults(garbage_after=4), "sent nothing|count is wrong|number was due"),
        (Faults(truncate_at=10), "does not answer"),
    ],
)
def test_failures_in_mid_run(
    monkeypatch: pytest.MonkeyPatch, lines: list[SerialLine], faults: Faults, words: str
) -> None:
    monkeypatch.setattr(wattsup_pro, "REPLY_S", 0.1)
    monkeypatch.setattr(WattsUpPro, "silence_s", 0.3)
    time = VirtualTime()
    with virtual(lines, time, faults) as simulator:
        meter = make_meter("wall", "wattsup-pro", dict(simulator.options), timebase=time)

        def measure() -> None:
            meter.open()
            meter.start()
            time.sleep(8.0)
            real_time.sleep(0.6)
            meter.stop()

        with pytest.raises(PowerError, match=words):
            measure()
        meter.close()


def test_a_pulled_cable(monkeypatch: pytest.MonkeyPatch, lines: list[SerialLine]) -> None:
    time = VirtualTime()
    with virtual(lines, time) as simulator:
        meter = make_meter("wall", "wattsup-pro", dict(simulator.options), timebase=time).open()
        assert meter.capabilities.kind == "simulated"
        meter.start()
        time.sleep(3.0)
        simulator.stop()
        real_time.sleep(0.2)
        with pytest.raises(LinkLost, match="check the cable"):
            meter.stop()
        meter.close()


def test_rubbish_between_packets_is_passed_over(lines: list[SerialLine]) -> None:
    time = VirtualTime()
    with virtual(lines, time) as simulator:
        meter = make_meter("wall", "wattsup-pro", dict(simulator.options), timebase=time).open()
        meter.start()
        simulator._pty.send(b"\x00\xff??")
        simulator.settled()
        time.sleep(5.0)
        trace = meter.stop()
        meter.close()
    assert trace.power_w == pytest.approx(60.0, abs=0.06)
    assert len(trace) == 6

"""A microcontroller with an INA sensor: its lines, its clock, its numbers against the simulated one, what goes wrong."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import power.drivers.ina_serial as ina_serial
from power.catalogue import make_meter
from power.drivers.common.ina_lines import About, Done, LineCutter, Row, check_sum, parse_line, sealed
from power.drivers.ina_serial import InaSerial
from power.errors import InstrumentError, LinkLost, NoReading, PowerError, WrongInstrument
from power.sim.common.clock import VirtualTime
from power.sim.common.faults import Faults
from power.sim.common.load import Load
from power.sim.common.waveforms import Constant
from power.sim.ina_serial import SimulatedInaSerial
from tests.power.serial_trouble import check_cable_pulled, check_trouble, recording
from tests.power.serialscript import Script, Step
from tests.power.trials import Timing, check_coverage, check_in_real_time, specimens

WHO = "WFINA,1,INA226,1,10000,8800,A17,1.2"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for boot loaders."""
    monkeypatch.setattr(ina_serial, "REPLY_S", 0.3)
    monkeypatch.setattr(ina_serial, "TRIES", 2)


def row(seq: int, t_us: int, shunt: int = 8000, bus: int = 4000, channel: int = 1) -> bytes:
    return sealed(f"W1,{seq},{t_us},{channel},{shunt:04X},{bus:04X}")


def test_a_line() -> None:
    line = sealed("W1,12,120000,1,04E2,0FA1")
    assert line == b"W1,12,120000,1,04E2,0FA1*%02X\n" % check_sum(b"W1,12,120000,1,04E2,0FA1")
    assert parse_line(line.strip()) == Row(12, 120000, 1, 0x04E2, 0x0FA1)
    assert parse_line(sealed("K1,S").strip()) == Done("S")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda line: line[:-1] + b"0",
        lambda line: line.replace(b"04E2", b"04E3"),
        lambda line: line[3:],
        lambda line: line[:-1],
        lambda line: b"",
        lambda line: sealed("W1,12,120000,1,4E2,0FA1").strip(),
        lambda line: sealed("W1,12,120000,0,04E2,0FA1").strip(),
        lambda line: b"\xff\xfe*" + line,
        lambda line: line[:-2] + b"ZZ",
    ],
)
def test_a_spoilt_line(spoil: Callable[[bytes], bytes]) -> None:
    assert (
        parse_line(spoil(b"W1,12,120000,1,04E2,0FA1*" + b"%02X" % check_sum(b"W1,12,120000,1,04E2,0FA1")))
        is None
    )


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_lines_in_any_pieces_among_garbage(size: int) -> None:
    stream = (
        b"ets Jan  8 2013,rst cause:2\r\n" + sealed(WHO) + row(0, 5)[:9] + row(1, 15) + b"\r\n" + row(2, 25)
    )
    cutter = LineCutter()
    found = [m for at in range(0, len(stream), size) for m in cutter.feed(stream[at : at + size])]
    assert isinstance(found[0], About)
    assert found[1:] == [Row(2, 25, 1, 8000, 4000)]
    assert cutter.spoilt == 2


def test_an_endless_line_is_given_up() -> None:
    cutter = LineCutter()
    cutter.feed(b"x" * 100_000)
    assert len(cutter.feed(b"\n" + row(0, 0))) == 1


def scripted(steps: list[Step], **settings: object) -> tuple[InaSerial, Script, VirtualTime]:
    time = VirtualTime()
    line = Script(steps, time)
    meter = InaSerial("SCRIPT", time, **{"shunt_ohm": 0.02, "line": line, **settings})  # type: ignore[arg-type]
    return meter, line, time


START: list[Step] = [(b"X\n", [b"W1,0,0"]), (b"?\n", [sealed(WHO)[:20], sealed(WHO)[20:]])]


def test_dialogue() -> None:
    first = [sealed("K1,S") + row(0, 4294960000), row(1, 2704) + row(3, 22704)[:7], row(3, 22704)[7:]]
    meter, line, time = scripted([*START, (b"S\n", first), (b"X\n", []), (b"X\n", [])])
    identity = meter.connect()
    assert (identity.model, identity.serial, identity.is_simulated) == ("INA226 reader", "A17", False)
    assert (meter.interval_s, meter.averaging_s) == pytest.approx((0.01, 0.0088))
    start = meter.begin()
    assert start.earliest_ns == time.now_ns() - 8_800_000
    line.wait_until_read()
    block = meter.end()
    assert block is not None
    assert block.numbers.tolist() == [0, 1, 3]  # its clock wrapped in between, and sample 2 is lost
    assert block.current_a is not None
    assert block.voltage_v is not None
    assert block.current_a.tolist() == pytest.approx([1.0] * 3)
    assert block.power_w.tolist() == pytest.approx([5.0] * 3)
    meter.make_safe()
    meter.disconnect()
    line.check_used_up()
    assert line.is_closed


def test_channels_are_added_where_all_are_there() -> None:
    who = sealed("WFINA,1,INA3221,123,10000,8800,A17,1.2")
    lines = row(0, 0, 400 << 3, 625 << 3) + row(0, 0, 0, 0, 2) + row(0, 0, 200 << 3, 625 << 3, 3)
    lines += row(1, 10000, 400 << 3, 625 << 3) + row(2, 20000, 400 << 3, 625 << 3) + row(2, 20000, 0, 0, 3)
    meter, line, _ = scripted([START[0], (b"?\n", [who]), (b"S\n", [lines]), (b"X\n", [])], channels=(1, 3))
    meter.connect()
    meter.begin()
    line.wait_until_read()
    block = meter.end()
    assert block is not None
    assert block.numbers.tolist() == [0, 2]
    assert block.power_w.tolist() == pytest.approx([6.0, 4.0])
    assert block.voltage_v is None


@pytest.mark.parametrize("late_us", [6000, -6000, 1 << 30])
def test_a_clock_that_leaves_its_grid_is_no_reading(late_us: int) -> None:
    lines = row(0, 50000) + row(1, 60000 + late_us)
    meter, line, _ = scripted([*START, (b"S\n", [lines]), (b"X\n", [])])
    meter.connect()
    meter.begin()
    line.wait_until_read()
    with pytest.raises(NoReading, match="beside its grid of 10 ms"):
        meter.fetch()
    meter.make_safe()


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (b"", LinkLost, "does not answer; check that the sketch"),
        (b"login: \nPassword: \n", WrongInstrument, "speaks another language"),
        (sealed("WFINA,2,INA226,1,1,1,1,1"), WrongInstrument, "speaks version 2 of the protocol, not 1"),
        (sealed("WFINA,1,INA260,1,1,1,1,1"), WrongInstrument, "reads channels 1 of an INA260"),
        (sealed("WFINA,1,INA226,12,1,1,1,1"), WrongInstrument, "reads channels 12 of an INA226"),
        (sealed("E1,no sensor at 0x40"), InstrumentError, "reports: no sensor at 0x40; check its wiring"),
    ],
)
def test_nothing_like_it_there(answer: bytes, error: type[PowerError], words: str) -> None:
    asked: list[Step] = [(b"?\n", [answer] if answer else [])]
    is_asked_again = not answer or answer.startswith(b"login")
    meter, line, _ = scripted([START[0], *asked * (1 + is_asked_again), (b"X\n", [])])
    with pytest.raises(error, match=words):
        meter.connect()
    assert line.is_closed


def test_a_channel_that_is_not_sampled() -> None:
    meter, _, _ = scripted([*START, (b"X\n", [])], channels=(3,))
    with pytest.raises(WrongInstrument, match="does not sample channel 3, only 1"):
        meter.connect()


@pytest.mark.parametrize("sensor", ["INA219", "INA226", "INA3221"])
def test_each_sensor_reads_its_load(sensor: str) -> None:
    time = VirtualTime()
    with SimulatedInaSerial(Load(Constant(4.0)), timebase=time, sensor=sensor, shunt_ohm=0.05) as source:
        meter = make_meter("i", "ina-serial", source.options, timebase=time).open()
        assert meter.identity.model == f"{sensor} reader"
        assert meter.capabilities.kind == "simulated"
        meter.start()
        time.sleep(5.0)
        trace = meter.stop()
        meter.close()
    assert trace.lost == 0
    assert trace.power_w is not None
    assert float(np.mean(trace.power_w)) == pytest.approx(4.0, rel=0.005)
    assert trace.span.duration_s == pytest.approx(5.0, abs=0.1)


@pytest.mark.slow
def test_energies_lie_within_their_uncertainty() -> None:
    check_coverage("ina-serial", specimens(SimulatedInaSerial), timing=Timing(1.5, 4.0, 0.5))


@pytest.mark.slow
def test_energy_in_real_time() -> None:
    check_in_real_time("ina-serial", specimens(SimulatedInaSerial), timing=Timing(1.0, 2.0, 0.5))


@pytest.mark.parametrize("ppm", [-80.0, 80.0])
def test_a_clock_that_is_wrong_within_its_limits(ppm: float) -> None:
    with recording(SimulatedInaSerial, {}, 60.0, faults=Faults(clock_ppm=ppm)) as (meter, _, _):
        trace = meter.stop()
    assert trace.lost == 0
    assert trace.clock_bound_s < 0.1


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (Faults(truncate_at=9), "sent no sample for"),
        (Faults(silent_after=1), "sent no sample for"),
        (Faults(garbage_after=1), "lines came spoilt"),
        (Faults(disconnect_after=1), "broke"),
    ],
)
def test_trouble_in_mid_run(faults: Faults, words: str) -> None:
    assert words in str(check_trouble(SimulatedInaSerial, {}, faults, 6.0))


def test_a_cable_pulled() -> None:
    assert "check the cable" in str(check_cable_pulled(SimulatedInaSerial, {}, 3.0))


def test_an_error_of_the_sensor_is_told() -> None:
    time = VirtualTime()
    with SimulatedInaSerial(
        Load(Constant(3.0)), timebase=time, faults=Faults(error="no sensor at 0x40")
    ) as source:
        meter = make_meter("i", "ina-serial", source.options, timebase=time).open()
        meter.start()
        time.sleep(0.5)
        with pytest.raises(InstrumentError, match="no sensor at 0x40"):
            meter.stop()
        meter.close()


def test_spoilt_lines_are_lost_samples() -> None:
    with recording(SimulatedInaSerial, {}, 2.0) as (meter, source, time):
        source.faults = Faults(garbage_after=1)
        time.sleep(0.5)
        source.faults = Faults()
        time.sleep(2.0)
        trace = meter.stop()
    assert trace.lost in (9, 10, 11)
    assert trace.gaps()
    assert trace.power_w == pytest.approx(3.0, rel=1e-3)


@pytest.mark.parametrize("faults", [Faults(is_stale=True), Faults(delay_s=0.3)])
def test_late_lines_keep_their_times(faults: Faults) -> None:
    with recording(SimulatedInaSerial, {}, 3.0, faults=Faults(delay_s=faults.delay_s)) as (
        meter,
        source,
        time,
    ):
        source.faults = faults
        time.sleep(3.0)
        trace = meter.stop()
    assert trace.lost == 0
    assert trace.power_w == pytest.approx(3.0, rel=1e-3)


def test_over_the_range_is_marked() -> None:
    with recording(SimulatedInaSerial, {}, 3.0, power_w=30.0) as (meter, _, _):
        trace = meter.stop()  # 6 A on 20 mΩ are 120 mV, more than an INA226 takes
    assert trace.clipped_count == len(trace)

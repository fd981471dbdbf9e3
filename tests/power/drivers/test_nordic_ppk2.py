"""The Power Profiler Kit II: words, filter, counter, its numbers against the simulated one, what goes wrong."""

from __future__ import annotations

import re

import numpy as np
import pytest

import power.drivers.nordic_ppk2 as nordic_ppk2
from power.catalogue import make_meter
from power.drivers.common.ppk2_words import Converter, Modifiers, WordStream, parse_metadata
from power.drivers.nordic_ppk2 import NordicPpk2, set_voltage
from power.errors import LinkLost, NoReading, PowerError, ReplyInvalid, WrongInstrument
from power.sim.common.clock import VirtualTime
from power.sim.common.faults import Faults
from power.sim.common.load import Load
from power.sim.common.waveforms import Constant, During
from power.sim.nordic_ppk2 import ACCURACY, CALIBRATION, SimulatedNordicPpk2
from power.trace import Floats
from tests.power.serial_trouble import check_cable_pulled, check_trouble, recording
from tests.power.serialscript import Script, Step
from tests.power.trials import Levels, Timing, check_coverage, check_in_real_time, specimens

SUPPLY: dict[str, object] = {"supply_v": 5.0, "mode": "source"}
TOLD = b"Calibrated: 0\nR0: 1003.3506\nR2: 0\nGS2: 0.5\nI2: 0.001\nVDD: 3300\nHW: 9173\nmode: 2\nIA: 56\nEND"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait long for answers."""
    monkeypatch.setattr(nordic_ppk2, "REPLY_S", 0.3)


def word(adc: int, in_range: int, counter: int = 0, logic: int = 0) -> int:
    return adc | in_range << 14 | (counter % 64) << 18 | logic << 24


def words(*values: int) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    return np.array(values, "<u4")


def test_a_known_current() -> None:
    table_a = Modifiers().table_a(3.3)
    (current_a,) = Converter(table_a).current_a(words(word(1000, 2)))
    assert current_a == pytest.approx(4.3296e-3, rel=1e-4)


def test_the_formula_with_all_of_its_terms() -> None:
    made = Modifiers(
        ohm=(1.0,) * 5, gain_square=(2.0,) * 5, gain=(3.0,) * 5, offset=(40.0,) * 5, per_volt=(0.1,) * 5,
        current=(0.01,) * 5, user_gain=(1.5,) * 5,
    )  # fmt: skip
    x = (4 * 500 - 40) * 1.8 / 163840
    expected_a = 1.5 * (x * (2 * x + 3) + 0.1 * 3.0 + 0.01)
    for in_range in (0, 4, 7):  # ranges beyond the last are the last
        assert made.table_a(3.0)[in_range, 500] == pytest.approx(expected_a)


def test_metadata() -> None:
    found = parse_metadata(TOLD.decode())
    assert (found.ohm[0], found.ohm[2], found.gain_square[2]) == (
        1003.3506,
        10.15,
        0.5,
    )  # R2: 0 is kept from dividing
    assert (found.gain, found.other["HW"]) == ((1.0,) * 5, "9173")


@pytest.mark.parametrize(
    ("text", "words"),
    [("login: ", "told no calibration"), ("R0: x\nEND", "holds 'x'"), ("R0: nan\nEND", "holds 'nan'")],
)
def test_metadata_that_are_none(text: str, words: str) -> None:
    with pytest.raises(ReplyInvalid, match=words):
        parse_metadata(text)


def reference_filter(raw_a: Floats, ranges: list[int]) -> list[float]:
    """Nordic's filter, a sample at a time."""
    found, averages, before, since, left = [], [raw_a[0], raw_a[0]], ranges[0], 0, 0
    for a, r in zip(raw_a, ranges, strict=True):
        previous = list(averages)
        averages = [0.18 * a + 0.82 * averages[0], 0.06 * a + 0.94 * averages[1]]
        value = a
        if r != before or left > 0:
            since, left = (0, 3) if r != before else (since + 1, left)
            if r == 4:
                if since < 2:
                    averages = previous
                value = averages[1]
            else:
                value = averages[0]
            left -= 1
        before = r
        found.append(value)
    return found


@pytest.mark.parametrize("size", [1, 7, 4000])
@pytest.mark.parametrize("changes", [0.001, 0.05, 0.6])
def test_the_filter_is_nordic_s_in_any_pieces(size: int, changes: float) -> None:
    rng = np.random.default_rng(7)
    count = 400 if size == 1 else 4000
    ranges = np.zeros(count, int)
    for place in range(1, count):
        ranges[place] = rng.integers(5) if rng.uniform() < changes else ranges[place - 1]
    data = np.array([word(int(rng.integers(200, 3000)), int(r)) for r in ranges], "<u4")
    table_a = CALIBRATION.table_a(5.0)
    raw_a = Converter(table_a, filters=False).current_a(data)
    converter = Converter(table_a)
    found = np.concatenate([converter.current_a(data[at : at + size]) for at in range(0, count, size)])
    assert found == pytest.approx(
        reference_filter(raw_a, [int(r) for r in ranges]), rel=1e-4, abs=3e-6 * float(raw_a.max())
    )


def stream(first: int, count: int, adc: int = 5) -> bytes:
    return np.array([word(adc, 0, number) for number in range(first, first + count)], "<u4").tobytes()


@pytest.mark.parametrize("size", [1, 3, 4, 63, 10_000])
def test_words_in_any_pieces(size: int) -> None:
    data, found = stream(37, 500), WordStream()
    numbers = np.concatenate([found.feed(data[at : at + size])[1] for at in range(0, len(data), size)])
    assert numbers.tolist() == list(range(500))
    assert found.gaps == 0


@pytest.mark.parametrize("cut", [4, 40, 252, 1, 2, 3, 5, 18])
def test_what_is_lost_is_counted(cut: int) -> None:
    data, found = stream(0, 400), WordStream()
    _, numbers = found.feed(data[:400] + data[400 + cut :])
    lost = -(-cut // 4)
    assert numbers.tolist() == [*range(100), *range(100 + lost, 400)]
    assert (found.gaps, found.count) == (1, 400)


def test_garbage_is_left_out() -> None:
    data, found = stream(0, 300), WordStream()
    _, numbers = found.feed(b"Calibr" + data[:400] + bytes(37) + data[400:])
    assert numbers.tolist() == list(range(300))


def test_a_stream_that_is_none() -> None:
    with pytest.raises(ReplyInvalid, match="their counter does not count"):
        WordStream().feed(np.random.default_rng(1).bytes(40_000))
    with pytest.raises(ReplyInvalid, match="their counter does not count"):
        WordStream().feed(bytes(40_000))


def scripted(steps: list[Step], **settings: object) -> tuple[NordicPpk2, Script]:
    time = VirtualTime()
    line = Script(steps, time)
    return NordicPpk2("SCRIPT", time, **{"supply_v": 3.3, "line": line, **settings}), line  # type: ignore[arg-type]


ASKED: list[Step] = [(b"\x07", [b"\x01\x02"]), (b"\x19", [TOLD[:30], TOLD[30:]])]
SOURCE: list[Step] = [(b"\x0d\x0c\xe4", []), (b"\x11\x02", []), (b"\x0c\x01", [])]


def test_dialogue() -> None:
    samples = np.array([word(1000, 1, n, 0b1000 if n >= 3 else 0) for n in range(60, 80)], "<u4").tobytes()
    meter, line = scripted(
        [*ASKED, *SOURCE, (b"\x06", [samples[:41], samples[41:]]), (b"\x07", []), (b"\x07", [])],
        mode="source",
        marker=3,
    )
    identity = meter.connect()
    assert (identity.model, identity.firmware, identity.is_simulated) == ("PPK2", "9173", False)
    meter.begin()
    line.wait_until_read()
    block = meter.end()
    assert block is not None
    assert block.numbers.tolist() == list(range(20))
    x = 4000 * 1.8 / 163840 / 101.65
    assert block.power_w == pytest.approx(3.3 * x)
    assert block.marker is not None
    assert block.marker.all()
    meter.make_safe()
    meter.disconnect()
    line.check_used_up()
    assert line.is_closed


def test_dialogue_of_an_ampere_meter_that_is_not_to_switch() -> None:
    meter, line = scripted([*ASKED, (b"\x11\x01", []), (b"\x07", [])], switch_on=False)
    meter.connect()
    meter.make_safe()
    meter.disconnect()
    line.check_used_up()


def test_voltages() -> None:
    assert set_voltage(3.3) == b"\x0d\x0c\xe4"
    assert (set_voltage(0.8), set_voltage(5.0)) == (b"\x0d\x03\x20", b"\x0d\x13\x88")


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        ([], LinkLost, "No Power Profiler Kit answers at 'SCRIPT'"),
        ([b"login: "], WrongInstrument, "is no Power Profiler Kit II"),
        ([b"R0: broken\nEND"], WrongInstrument, "holds 'broken'"),
    ],
)
def test_nothing_like_it_there(answer: list[bytes], error: type[PowerError], words: str) -> None:
    meter, line = scripted([ASKED[0], (b"\x19", answer), (b"\x07", [])])
    with pytest.raises(error, match=words):
        meter.connect()
    line.check_used_up()
    assert line.is_closed


LEVELS = Levels(0.2, 0.6, 377.0, burst_s=5e-6)
"""Bursts stay in one range: Nordic's filter takes what lasts for less than three samples for switching."""


@pytest.mark.slow
def test_energies_lie_within_their_uncertainty() -> None:
    coarse = specimens(SimulatedNordicPpk2, push_s=0.05)
    check_coverage("nordic-ppk2", coarse, levels=LEVELS, timing=Timing(0.2, 0.4, 0.1))


@pytest.mark.slow
def test_energy_in_real_time() -> None:
    check_in_real_time(
        "nordic-ppk2", specimens(SimulatedNordicPpk2), timing=Timing(0.5, 1.0, 0.2), levels=LEVELS
    )


def test_an_edge_and_its_marker_land_where_they_were() -> None:
    time = VirtualTime()
    edge_s = time.now_ns() / 1e9 + 1.23456
    power = During(edge_s, edge_s + 10.0, Constant(2.0), Constant(0.5))

    def logic(t_s: Floats) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
        bits: np.ndarray[tuple[int], np.dtype[np.uint32]] = np.where(t_s >= edge_s, 33, 1).astype(np.uint32)
        return bits

    with SimulatedNordicPpk2(Load(power), timebase=time, logic=logic) as source:
        meter = make_meter("p", "nordic-ppk2", {**source.options, "marker": 5}, timebase=time).open()
        meter.start()
        time.sleep(3.0)
        trace = meter.stop()
        meter.close()
        assert source.is_on
    assert trace.power_w is not None
    assert trace.marker is not None
    place = int(np.argmax(trace.power_w > 1.0))
    assert abs(float(trace.t_s[place]) - edge_s) <= trace.clock_bound_s + 5e-5
    assert place == int(np.argmax(trace.marker))
    assert trace.clock_bound_s < 0.001
    assert trace.lost == 0


def test_the_board_keeps_its_power_whatever_happens() -> None:
    time = VirtualTime()
    with SimulatedNordicPpk2(Load(Constant(0.5)), timebase=time) as source:
        meter = make_meter("p", "nordic-ppk2", source.options, timebase=time).open()
        meter.start()
        assert (source.is_on, source.mode, source.source_mv) == (True, 2, 5000)
        time.sleep(0.3)
        meter.close()
        assert source.is_on


@pytest.mark.parametrize("samples", [1, 17, 63])
def test_a_short_loss_is_a_hole(samples: int) -> None:
    with recording(SimulatedNordicPpk2, {}, 2.0, power_w=0.5) as (meter, source, time):
        assert isinstance(source, SimulatedNordicPpk2)
        source.lose(samples)
        time.sleep(2.0)
        trace = meter.stop()
    assert trace.lost == samples
    assert trace.span.duration_s == pytest.approx(4.0, abs=0.05)


@pytest.mark.parametrize("samples", [65, 1000, 20_017])
def test_a_loss_longer_than_the_counter_tells_is_refused(samples: int) -> None:
    with recording(SimulatedNordicPpk2, {}, 2.0, power_w=0.5) as (meter, source, time):
        assert isinstance(source, SimulatedNordicPpk2)
        source.lose(samples)
        time.sleep(2.0)
        with pytest.raises(NoReading, match="samples less than their counter tells"):
            meter.stop()


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (Faults(truncate_at=10), "sent no sample for|counter"),
        (Faults(silent_after=1), "sent no sample for"),
        (Faults(garbage_after=1), "counter does not count"),
        (Faults(disconnect_after=1), "broke"),
    ],
)
def test_trouble_in_mid_run(faults: Faults, words: str) -> None:
    assert re.search(words, str(check_trouble(SimulatedNordicPpk2, {}, faults, 4.0)))


def test_a_cable_pulled() -> None:
    assert "cable" in str(check_cable_pulled(SimulatedNordicPpk2, {}, 3.0))


def test_late_samples_keep_their_times() -> None:
    with recording(SimulatedNordicPpk2, {}, 3.0, power_w=0.5, faults=Faults(delay_s=0.001)) as (meter, _, _):
        trace = meter.stop()
    assert trace.lost == 0
    assert trace.power_w == pytest.approx(0.5, rel=0.01)


def test_messages_that_are_one_behind_keep_their_times() -> None:
    with recording(SimulatedNordicPpk2, {}, 2.0, power_w=0.5) as (meter, source, time):
        source.faults = Faults(is_stale=True)
        time.sleep(2.0)
        trace = meter.stop()
    assert trace.lost == 0
    assert trace.span.duration_s == pytest.approx(4.0, abs=0.05)


def test_samples_that_come_twice_are_refused() -> None:
    with recording(SimulatedNordicPpk2, {}, 2.0, power_w=0.5) as (meter, source, time):
        assert isinstance(source, SimulatedNordicPpk2)
        source.lose(-500)
        time.sleep(2.0)
        with pytest.raises(NoReading, match="samples more than their counter tells"):
            meter.stop()


def test_over_an_ampere_is_marked() -> None:
    with recording(SimulatedNordicPpk2, {}, 1.0, power_w=8.0) as (meter, _, _):
        trace = meter.stop()
    assert trace.clipped_count == len(trace)


def test_nobody_states_its_accuracy() -> None:
    time = VirtualTime()
    with SimulatedNordicPpk2(Load(Constant(0.5)), timebase=time) as source:
        settings = {key: value for key, value in source.options.items() if key != "accuracy"}
        with make_meter("p", "nordic-ppk2", settings, timebase=time) as meter:
            assert meter.capabilities.accuracy is None
            assert meter.capabilities.kind == "simulated"
        with make_meter("p", "nordic-ppk2", {**settings, "accuracy": ACCURACY}, timebase=time) as meter:
            assert meter.capabilities.accuracy is not None

"""Every meter of the catalogue, over fake sysfs trees, fake streams and fake processor clocks that fail as real ones do."""

from __future__ import annotations

import inspect
import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from power.catalogue import DRIVERS, driver, driver_names
from power.errors import (
    MeterStateError,
    MeterUnavailable,
    NoReading,
    OptionInvalid,
    PowerError,
    RailUnreadable,
)
from power.meter import Meter, widest
from power.meters.board import BoardMeter, RailBlock
from power.meters.estimate import CpuTimeReading, EstimateMeter
from power.meters.hwmon import HwmonMeter
from power.meters.rapl import RaplMeter
from power.sample import Sample
from power.sampler import Sampler, trace_of
from power.uncertainty import Between, GainOffset


def put(file: Path, text: str) -> None:
    """Replace a file's text at once, as a sensor does; a plain write is empty for an instant."""
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(file)


def rapl_tree(root: Path, *, energy_uj: int = 1_000_000, maximum_uj: int = 262_143_328_850) -> Path:
    """Make one package with a core domain; return the package's counter."""
    for folder, name in (("intel-rapl:0", "package-0"), ("intel-rapl:0:0", "core")):
        zone = root / "sys/class/powercap" / folder
        zone.mkdir(parents=True)
        (zone / "name").write_text(f"{name}\n")
        (zone / "energy_uj").write_text(f"{energy_uj}\n")
        (zone / "max_energy_range_uj").write_text(f"{maximum_uj}\n")
    return root / "sys/class/powercap/intel-rapl:0/energy_uj"


def hwmon_tree(root: Path, *, power_uw: int = 3_500_000) -> Path:
    """Make one INA226; return its power file."""
    chip = root / "sys/class/hwmon/hwmon0"
    chip.mkdir(parents=True)
    (chip / "name").write_text("ina226\n")
    for name, value in (("power1_input", power_uw), ("in1_input", 5000), ("curr1_input", 700)):
        (chip / name).write_text(f"{value}\n")
    return chip / "power1_input"


@dataclass(frozen=True)
class FakeRail:
    name: str = "VDD_IN"
    driver: str = "hwmon"
    reading: str = "instantaneous"
    scope: str = "module"
    rate_hz: float | None = None
    is_total: bool = True
    unreadable_reason: str = ""


class FakeStream:
    """Sends its blocks, then waits to be closed or raises `error`."""

    def __init__(self, blocks: Sequence[RailBlock], error: Exception | None = None) -> None:
        self.blocks, self.error, self.closed = blocks, error, False

    def __iter__(self) -> Iterator[RailBlock]:
        yield from self.blocks
        if self.error is not None:
            raise self.error
        while not self.closed:
            time.sleep(0.001)

    def close(self) -> None:
        self.closed = True


def constant_block(rail: str = "VDD_IN", power_w: float = 4.0, count: int = 11) -> RailBlock:
    return RailBlock(rail, [index * 100_000_000 for index in range(count)], [power_w] * count)


def board_meter(
    *blocks: RailBlock,
    has: Sequence[FakeRail] = (FakeRail(),),
    wanted: Sequence[str] = (),
    error: Exception | None = None,
) -> BoardMeter:
    stream = FakeStream(blocks or (constant_block(),), error)
    return BoardMeter("b", list_rails=lambda: has, open_stream=lambda names, interval_s: stream, rails=wanted)


def steady_cpu(busy_fraction: float = 0.5, cpu_count: int = 2) -> Callable[[], CpuTimeReading]:
    seconds = itertools.count()

    def read() -> CpuTimeReading:
        now_ns = next(seconds) * 1_000_000_000
        return CpuTimeReading(now_ns, int(now_ns * busy_fraction * cpu_count), cpu_count)

    return read


def make(name: str, root: Path) -> Meter:
    """Make a working meter of a driver, over fakes."""
    if name == "rapl":
        rapl_tree(root)
        return RaplMeter("m", root=root)
    if name == "hwmon":
        hwmon_tree(root)
        return HwmonMeter("m", root=root, interval_s=0.01)
    if name == "board":
        return board_meter()
    if name == "estimate":
        return EstimateMeter("m", idle_w=2.0, max_w=6.0, read_cpu=steady_cpu())
    raise AssertionError(f"the driver {name} has no fake here")


PLAIN = [name for name in driver_names() if not DRIVERS[name].is_instrument]


@pytest.mark.parametrize("name", PLAIN)
def test_conformance(name: str, tmp_path: Path) -> None:
    """The life cycle, in and out of order; a trace with samples; capabilities; options; documentation."""
    meter = make(name, tmp_path)
    assert type(meter) is DRIVERS[name].load()
    assert meter.driver == name
    assert type(meter).__doc__
    with pytest.raises(MeterStateError, match="cannot start while it is new"):
        meter.start()
    with meter:
        with pytest.raises(MeterStateError, match="cannot stop while it is open"):
            meter.stop()
        for _ in range(2):
            meter.start()
            time.sleep(0.03)
            meter.mark()
            trace = meter.stop()
            assert len(trace) >= 2
            assert trace.reading == meter.capabilities.reading
            if name in ("board", "estimate"):
                break
    meter.close()
    with pytest.raises(MeterStateError, match="while it is closed"):
        meter.open()


@pytest.mark.parametrize("name", PLAIN)
def test_closing_in_mid_run_leaves_nothing_running(name: str, tmp_path: Path) -> None:
    meter = make(name, tmp_path).open()
    meter.start()
    meter.close()
    meter.close()


def test_an_unknown_driver_suggests_the_nearest() -> None:
    with pytest.raises(OptionInvalid, match="did you mean 'hwmon'"):
        driver("hwmn")


def test_the_rapl_counter_in_joules_and_through_a_wrap(tmp_path: Path) -> None:
    counter = rapl_tree(tmp_path, energy_uj=9_000_000, maximum_uj=10_000_000)
    with RaplMeter("m", root=tmp_path) as meter:
        meter.start()
        counter.write_text("1000000\n")
        meter.mark()
        counter.write_text("2500000\n")
        trace = meter.stop()
    assert trace.energy_j is not None
    assert list(trace.energy_j) == pytest.approx([0.0, 2.0, 3.5], abs=2e-6)
    assert meter.capabilities.scope in ("card", "module", "rail")


def test_hwmon_samples_in_watts(tmp_path: Path) -> None:
    power = hwmon_tree(tmp_path)
    with HwmonMeter("m", root=tmp_path, interval_s=0.01) as meter:
        meter.start()
        time.sleep(0.1)
        put(power, "7000000\n")
        trace = meter.stop()
    assert trace.power_w is not None
    assert trace.power_w[0] == 3.5
    assert trace.power_w[-1] == 7.0
    assert 5 <= len(trace) <= 13


def test_a_sensor_that_vanishes_in_mid_run_fails_the_run(tmp_path: Path) -> None:
    power = hwmon_tree(tmp_path)
    with HwmonMeter("m", root=tmp_path, interval_s=0.01) as meter:
        meter.start()
        power.unlink()
        time.sleep(0.05)
        with pytest.raises(RailUnreadable, match="has vanished"):
            meter.stop()


def test_one_failed_reading_is_lost_and_not_zero() -> None:
    answers = iter([1.0, None, 1.0])

    def read() -> Sample:
        power_w = next(answers, 1.0)
        if power_w is None:
            raise RailUnreadable("busy", rail="r", path="p")
        return Sample(time.monotonic_ns(), power_w)

    sampler = Sampler(read, 0.005)
    sampler.start()
    time.sleep(0.03)
    trace = trace_of(sampler.stop(), "instantaneous", 0.005)
    assert trace.lost == 1
    assert set(trace.values) == {1.0}


def test_rails_of_two_kinds_are_not_added(tmp_path: Path) -> None:
    rails = [FakeRail("a", reading="counter", is_total=False), FakeRail("b", is_total=False)]
    with pytest.raises(MeterUnavailable, match="cannot be added"):
        board_meter(has=rails, wanted=["a", "b"]).open()


def test_two_sockets_are_added_from_the_first_reading_on(tmp_path: Path) -> None:
    rapl_tree(tmp_path)
    second = tmp_path / "sys/class/powercap/intel-rapl:1"
    second.mkdir()
    (second / "name").write_text("package-1")
    for name in ("energy_uj", "max_energy_range_uj"):
        (second / name).write_text("5000000")
    with RaplMeter("m", root=tmp_path) as meter:
        meter.start()
        time.sleep(0.02)
        put(second / "energy_uj", "5500000")
        trace = meter.stop()
    assert trace.energy_j is not None
    assert trace.span.duration_s >= 0.02
    assert trace.energy_j[-1] - trace.energy_j[0] == pytest.approx(0.5, rel=0.05)


def test_several_sensors_without_a_known_total_ask_for_names(tmp_path: Path) -> None:
    hwmon_tree(tmp_path)
    other = tmp_path / "sys/class/hwmon/hwmon1"
    other.mkdir()
    (other / "name").write_text("ina219")
    (other / "power1_input").write_text("1")
    with pytest.raises(MeterUnavailable, match="name them with rails"):
        HwmonMeter("m", root=tmp_path).open()


@pytest.mark.parametrize("kind", [RaplMeter, HwmonMeter])
def test_a_machine_without_sensors(kind: type[RaplMeter], tmp_path: Path) -> None:
    with pytest.raises(MeterUnavailable, match=f"no {kind.driver} rails"):
        kind("m", root=tmp_path).open()


def test_a_rail_that_is_not_there(tmp_path: Path) -> None:
    rapl_tree(tmp_path)
    with pytest.raises(MeterUnavailable, match="no rail 'psys'; this machine has package-0"):
        RaplMeter("m", root=tmp_path, rails=["psys"]).open()


def test_the_board_adds_up_parts_and_keeps_the_boards_clock() -> None:
    rails = [FakeRail("VDD_IN", is_total=False), FakeRail("VIN2", is_total=False)]
    blocks = (constant_block("VDD_IN", 4.0), constant_block("VIN2", 1.5))
    meter = board_meter(*blocks, has=rails, wanted=["VDD_IN", "VIN2"])
    with meter:
        meter.start()
        trace = meter.stop()
    assert trace.power_w is not None
    assert set(trace.power_w) == {5.5}
    assert trace.t_s[-1] == 1.0
    assert meter.capabilities.clock == "board"


def test_samples_the_board_could_not_read_are_lost_and_not_zero() -> None:
    block = RailBlock("VDD_IN", [0, 1_000_000_000, 2_000_000_000], [3.0, math.nan, 5.0])
    with board_meter(block) as meter:
        meter.start()
        trace = meter.stop()
    assert trace.power_w is not None
    assert list(trace.power_w) == [3.0, 5.0]
    assert trace.lost == 1


def test_a_rail_that_yields_nothing_but_failures() -> None:
    with board_meter(RailBlock("VDD_IN", [0, 1], [math.nan, math.nan])) as meter:
        meter.start()
        with pytest.raises(NoReading, match="Every reading"):
            meter.stop()


def test_a_stream_that_breaks_off_fails_the_run() -> None:
    def use(meter: BoardMeter) -> None:
        meter.start()
        meter.stop()

    with (
        board_meter(error=PowerError("cable pulled")) as meter,
        pytest.raises(PowerError, match="cable pulled"),
    ):
        use(meter)


def test_a_board_that_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("power.meters.board.FIRST_READING_S", 0.05)
    with (
        board_meter(constant_block("another")) as meter,
        pytest.raises(NoReading, match="no power reading within"),
    ):
        meter.start()


@pytest.mark.parametrize(
    ("rails", "wanted", "words"),
    [
        ([], (), "no power rails"),
        ([FakeRail("a", is_total=False), FakeRail("b", is_total=False)], (), "make up the whole"),
        ([FakeRail("a")], ("b",), "no rail 'b'"),
        ([FakeRail("a", unreadable_reason="run chmod")], (), "run chmod"),
    ],
)
def test_boards_that_cannot_be_measured(rails: list[FakeRail], wanted: tuple[str, ...], words: str) -> None:
    with pytest.raises(MeterUnavailable, match=words):
        board_meter(has=rails, wanted=wanted).open()


def test_the_estimate_is_the_linear_model_and_says_what_it_is() -> None:
    with EstimateMeter("m", idle_w=2.0, max_w=6.0, read_cpu=steady_cpu(0.25)) as meter:
        meter.start()
        meter.mark()
        trace = meter.stop()
    assert trace.energy_j is not None
    assert list(trace.energy_j) == pytest.approx([0.0, 3.0, 6.0])
    capabilities = meter.capabilities
    assert capabilities.kind == "estimated"
    assert capabilities.rate_hz is None
    assert capabilities.accuracy == Between(2.0, 6.0)


@pytest.mark.parametrize("name", ["rapl", "hwmon"])
def test_an_accuracy_that_the_user_states(name: str, tmp_path: Path) -> None:
    make(name, tmp_path)
    stated = {"gain": 0.01, "offset_w": 0.05}
    meter = DRIVERS[name].load()("m", root=tmp_path, accuracy=stated)  # type: ignore[call-arg]
    with meter:
        assert meter.capabilities.accuracy == GainOffset.from_limits(0.01, 0.05, source="farm.toml")


def test_nobody_states_the_accuracy_of_rails(tmp_path: Path) -> None:
    with make("rapl", tmp_path) as meter:
        assert meter.capabilities.accuracy is None


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ({"gian": 0.01, "offset_w": 0.05}, "did you mean 'gain'"),
        ({"gain": 0.01}, "needs gain and offset_w"),
        ({"gain": -0.01, "offset_w": 0.0}, "from 0 on"),
        ({"gain": "1 %", "offset_w": 0.0}, "from 0 on"),
        ({"gain": math.inf, "offset_w": 0.0}, "from 0 on"),
    ],
)
def test_what_is_no_accuracy(stated: dict[str, object], words: str) -> None:
    with pytest.raises(OptionInvalid, match=words):
        RaplMeter("m", accuracy=stated)


def test_every_option_of_the_catalogue_is_one_of_the_class() -> None:
    for entry in (DRIVERS[name] for name in PLAIN):
        assert entry.options <= set(inspect.signature(entry.load().__init__).parameters)


def test_a_board_that_tells_no_processor_time() -> None:
    with pytest.raises(NoReading, match="processor time"):
        EstimateMeter("m", idle_w=1.0, max_w=2.0, read_cpu=lambda: None).open()


@pytest.mark.parametrize(("idle_w", "max_w"), [(-1.0, 2.0), (3.0, 2.0), (math.nan, 2.0)])
def test_senseless_watts(idle_w: float, max_w: float) -> None:
    with pytest.raises(OptionInvalid, match="idle_w"):
        EstimateMeter("m", idle_w=idle_w, max_w=max_w, read_cpu=steady_cpu())


def test_the_sampler_keeps_its_grid_and_sleeps_in_between() -> None:
    sampler = Sampler(lambda: Sample(time.monotonic_ns(), 1.0), 0.02)
    before_s = time.thread_time()
    sampler.start()
    time.sleep(0.21)
    samples = sampler.stop()
    assert 8 <= len(samples) <= 12
    assert time.thread_time() - before_s < 0.1


def test_nothing_read_is_no_trace() -> None:
    with pytest.raises(NoReading):
        trace_of([Sample(0), Sample(1)], "instantaneous", 1.0)


def test_the_scope_of_several_rails() -> None:
    assert widest(["rail", "rail"]) == "rail"
    assert widest(["rail", "board"]) == "module"

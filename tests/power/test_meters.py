"""Every meter of the catalogue that is no instrument, over fake streams and fake processor clocks that fail as real ones do."""

from __future__ import annotations

import inspect
import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pytest

from power.catalogue import DRIVERS, driver, driver_names, make_meter
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
from power.sample import Sample
from power.sampler import Sampler, trace_of
from power.uncertainty import Between


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


def make(name: str) -> Meter:
    """Make a working meter of a driver, over fakes."""
    if name == "board":
        return board_meter()
    if name == "estimate":
        return EstimateMeter("m", idle_w=2.0, max_w=6.0, read_cpu=steady_cpu())
    raise AssertionError(f"the driver {name} has no fake here")


PLAIN = [name for name in driver_names() if not DRIVERS[name].is_instrument]


@pytest.mark.parametrize("name", PLAIN)
def test_conformance(name: str) -> None:
    """The life cycle, in and out of order; a trace with samples; capabilities; options; documentation."""
    meter = make(name)
    assert type(meter) is DRIVERS[name].load()
    assert meter.driver == name
    assert type(meter).__doc__
    with pytest.raises(MeterStateError, match="cannot start while it is new"):
        meter.start()
    with meter:
        with pytest.raises(MeterStateError, match="cannot stop while it is open"):
            meter.stop()
        meter.start()
        time.sleep(0.03)
        meter.mark()
        trace = meter.stop()
        assert len(trace) >= 2
        assert trace.reading == meter.capabilities.reading
    meter.close()
    with pytest.raises(MeterStateError, match="while it is closed"):
        meter.open()


@pytest.mark.parametrize("name", PLAIN)
def test_closing_in_mid_run_leaves_nothing_running(name: str) -> None:
    meter = make(name).open()
    meter.start()
    meter.close()
    meter.close()


def test_an_unknown_driver_suggests_the_nearest() -> None:
    with pytest.raises(OptionInvalid, match="did you mean 'hwmon'"):
        driver("hwmn")


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


def test_rails_of_two_kinds_are_not_added() -> None:
    rails = [FakeRail("a", reading="counter", is_total=False), FakeRail("b", is_total=False)]
    with pytest.raises(MeterUnavailable, match="cannot be added"):
        board_meter(has=rails, wanted=["a", "b"]).open()


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
        make_meter("m", "rapl", {"accuracy": stated})


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
    cpu_s, began_s = time.process_time(), time.monotonic()
    sampler.start()
    time.sleep(0.21)
    samples = sampler.stop()
    assert 2 <= len(samples) <= (time.monotonic() - began_s) / 0.02 + 2
    assert time.process_time() - cpu_s < 0.1  # one that spins takes all of a processor


def test_nothing_read_is_no_trace() -> None:
    with pytest.raises(NoReading):
        trace_of([Sample(0), Sample(1)], "instantaneous", 1.0)


def test_the_scope_of_several_rails() -> None:
    assert widest(["rail", "rail"]) == "rail"
    assert widest(["rail", "board"]) == "module"

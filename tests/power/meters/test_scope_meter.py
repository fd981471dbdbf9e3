"""The meter over an oscilloscope: when it waits, what it refuses, what a trace of it holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Self

import numpy as np
import pytest

from power.drivers.common.base import Start
from power.drivers.common.probing import Probing
from power.drivers.common.scope import ChannelSetting, Oscilloscope, Record, ScopeModel, Waveform
from power.errors import InstrumentError, MeterStateError, NoReading, OptionInvalid, ReplyInvalid
from power.meter import Identity
from power.meters.scope import ALL_COLUMNS_POINTS, ScopeMeter, ScopeSetup
from power.options import Options
from power.sim.common.clock import VirtualTime
from power.specification import Specified
from power.timebase import Timebase

TWO = Probing(
    ChannelSetting(2, 0.1),
    0.01,
    "after",
    ChannelSetting(1, 10.0),
    marker=ChannelSetting(4, 8.0),
    marker_level_v=1.4,
)


class FakeScope(Oscilloscope):
    """Takes any record; channel 1 sees 5 V, channel 2 20 mV (2 A), channel 4 goes high half-way."""

    driver = "fake"
    clock_ppm = 10.0

    def __init__(self, timebase: Timebase) -> None:
        self.time = timebase
        self.done: list[str] = []
        self.made = Record(1000, 0.01, "hires")
        self.trigger_ns = 0
        self.is_stuck = False
        self.shorter = 0
        self.end_ns: int | None = None

    @classmethod
    def from_options(cls, options: Options, timebase: Timebase) -> Self:
        return cls(timebase)

    @property
    def model(self) -> ScopeModel:
        return ScopeModel("FAKE", 4, (100, 10_000_000), 1e9, 256, any_length=True)

    def connect(self) -> Identity:
        return Identity("FAKE", "FAKE", "1")

    def make_safe(self) -> None:
        self.done.append("safe")

    def disconnect(self) -> None:
        self.done.append("gone")

    def set_up(self, channels: Sequence[ChannelSetting], record: Record) -> Record:
        self.made = record if self.shorter == 0 else replace(record, points=record.points // self.shorter)
        return self.made

    def arm(self) -> None:
        self.done.append("armed")

    def trigger(self) -> Start:
        earliest_ns = self.time.now_ns()
        self.time.sleep(0.004)
        self.trigger_ns = self.time.now_ns() - 1_000_000
        return Start(earliest_ns, self.time.now_ns())

    def is_done(self) -> bool:
        past_s = (self.time.now_ns() - self.trigger_ns) / 1e9
        return not self.is_stuck and past_s >= self.made.duration_s

    def stop(self) -> None:
        self.end_ns = self.time.now_ns()
        self.done.append("stopped")

    def read(self, channel: int) -> Waveform:
        count = self.made.points
        if self.end_ns is not None:
            count = int((self.end_ns - self.trigger_ns) / 1e9 / self.made.interval_s)
        volts = {1: 5.0, 2: 0.02}.get(channel, 0.0)
        values = np.full(count, volts)
        if channel == 4:
            values[count // 2 :] = 3.3
        clipped = np.zeros(count, np.bool_)
        clipped[channel] = channel != 4
        return Waveform(0.0, self.made.interval_s, values, clipped)

    def specified(self, channel: ChannelSetting) -> Specified:
        return Specified(0.02, 0.01 * channel.range_v)


def metered(
    *, probing: Probing = TWO, rate_hz: float | None = 100.0, stated: dict[str, object] | None = None
) -> tuple[ScopeMeter, FakeScope, VirtualTime]:
    time = VirtualTime()
    scope = FakeScope(time)
    meter = ScopeMeter("fake", scope, ScopeSetup(probing, rate_hz), accuracy=stated, timebase=time)
    meter.open()
    return meter, scope, time


def test_a_trace_of_all_channels() -> None:
    meter, scope, time = metered()
    meter.plan(10.0)
    meter.start()
    begin_s = scope.trigger_ns / 1e9
    time.sleep(10.0)
    trace = meter.stop()
    assert trace.power_w == pytest.approx(np.full(len(trace), 10.0))
    assert trace.voltage_v is not None
    assert trace.current_a is not None
    assert (trace.voltage_v[0], trace.current_a[0]) == (5.0, pytest.approx(2.0))
    assert trace.marker is not None
    assert trace.marker.mean() == pytest.approx(0.5, abs=1e-3)
    assert trace.clipped is not None
    assert list(np.flatnonzero(trace.clipped)) == [1, 2]  # of voltage and current
    assert trace.reading == "average"
    assert (trace.interval_s, trace.averaging_s) == (0.01, 0.01)
    # Half of the bracket, half of an interval, and the scope's clock.
    assert trace.clock_bound_s == pytest.approx(0.002 + 0.005 + 10e-6 * 10.1, rel=1e-3)
    # A value ends half an interval after its point; the true trigger lies in the bracket.
    assert trace.t_s[0] == pytest.approx(begin_s + 0.005, abs=trace.clock_bound_s)
    found = meter.capabilities
    assert found.accuracy is not None
    assert found.accuracy.u_power_w(10.0) > 0.0
    assert found.reading == "average"
    assert found.rate_hz == pytest.approx(100.0)
    assert found.resolution_w == pytest.approx(5.0 * 0.1 / 256 / 0.01)
    meter.close()
    assert scope.done == ["armed", "safe", "gone"]


def test_stated_accuracy_goes_before_the_data_sheet() -> None:
    meter, _, time = metered(stated={"gain": 0.001, "offset_w": 0.0})
    assert meter.capabilities.accuracy is not None
    meter.plan(1.0)
    meter.start()
    time.sleep(1.0)
    meter.stop()
    accuracy = meter.capabilities.accuracy
    assert accuracy is not None
    assert accuracy.u_power_w(1.0) == pytest.approx(0.001 / 3**0.5)


def test_samples_are_no_averages() -> None:
    time = VirtualTime()
    meter = ScopeMeter("fake", FakeScope(time), ScopeSetup(TWO, 100.0, "sample"), timebase=time).open()
    meter.plan(2.0)
    meter.start()
    trace = meter.stop()
    assert trace.reading == "instantaneous"
    assert trace.averaging_s is None
    assert trace.clock_bound_s == pytest.approx(0.002 + 10e-6 * 2.02, rel=1e-3)


def test_a_record_is_waited_for_to_its_end() -> None:
    meter, scope, time = metered()
    meter.plan(30.0)
    meter.start()
    time.sleep(10.0)
    trace = meter.stop()
    assert time.now_ns() >= scope.trigger_ns + round(scope.made.duration_s * 1e9)
    assert trace.span.duration_s == pytest.approx(30.3, abs=0.1)


def test_a_record_is_cut_where_the_model_keeps_what_there_is() -> None:
    meter, scope, time = metered()
    scope.keeps_partial = True
    meter.plan(30.0)
    meter.start()
    time.sleep(10.0)
    trace = meter.stop()
    assert trace.span.duration_s == pytest.approx(10.0, abs=0.05)
    assert "stopped" in scope.done


def test_nobody_waits_for_the_end_of_what_was_broken_off() -> None:
    meter, scope, time = metered()
    meter.plan(600.0)
    meter.start()
    time.sleep(5.0)
    before_ns = time.now_ns()
    with pytest.raises(NoReading, match=r"broken off 601 s before its end"):
        meter.stop()
    assert time.now_ns() == before_ns
    assert scope.done[-1] == "stopped"


def test_a_record_that_does_not_end_is_given_up() -> None:
    meter, scope, time = metered()
    scope.is_stuck = True
    meter.plan(5.0)
    meter.start()
    time.sleep(5.0)
    with pytest.raises(NoReading, match="should have ended 5 s ago"):
        meter.stop()
    assert scope.done[-1] == "stopped"


def test_a_record_that_something_else_triggered_is_refused() -> None:
    meter, scope, time = metered()
    meter.plan(10.0)
    meter.start()
    scope.trigger_ns -= 6_000_000_000
    time.sleep(5.0)
    with pytest.raises(InstrumentError, match=r"ended 5\.1 s too early"):
        meter.stop()


def test_channels_of_different_acquisitions_are_not_multiplied(monkeypatch: pytest.MonkeyPatch) -> None:
    meter, scope, time = metered()
    meter.plan(5.0)
    meter.start()
    time.sleep(6.0)
    read = scope.read

    def one_shorter(channel: int) -> Waveform:
        found = read(channel)
        return replace(found, values=found.values[1:]) if channel == 1 else found

    monkeypatch.setattr(scope, "read", one_shorter)
    with pytest.raises(ReplyInvalid, match="not of one acquisition: 505 points against 504"):
        meter.stop()


def test_a_record_that_became_shorter_is_refused() -> None:
    meter, scope, _ = metered()
    scope.shorter = 2
    meter.plan(5.0)
    with pytest.raises(OptionInvalid, match=r"made a record of 2\.52 s of one of 5\.05 s"):
        meter.start()


def test_a_channel_that_the_model_lacks_is_refused() -> None:
    time = VirtualTime()
    scope = FakeScope(time)
    wired = replace(TWO, marker=ChannelSetting(6, 8.0))
    meter = ScopeMeter("fake", scope, ScopeSetup(wired), timebase=time)
    with pytest.raises(OptionInvalid, match="uses channel 6, but a FAKE has 4"):
        meter.open()
    assert scope.done == ["safe", "gone"]


def test_it_has_to_be_told_how_long() -> None:
    meter, _, _ = metered()
    with pytest.raises(MeterStateError, match="call plan before start"):
        meter.start()


def test_a_known_supply_needs_no_channel() -> None:
    wired = Probing(ChannelSetting(2, 0.1), 0.01, "after", supply_v=12.0, supply_tolerance=0.01)
    meter, _, time = metered(probing=wired)
    meter.plan(5.0)
    meter.start()
    time.sleep(5.0)
    trace = meter.stop()
    assert trace.voltage_v is None
    assert trace.power_w == pytest.approx(np.full(len(trace), 24.0))
    assert meter.range_text == "10 A"
    assert meter.capabilities.accuracy is not None


def test_long_traces_hold_power_only() -> None:
    meter, _, time = metered(rate_hz=2e6)
    meter.plan(2.5)
    meter.start()
    time.sleep(3.0)
    trace = meter.stop()
    assert len(trace) > ALL_COLUMNS_POINTS
    assert trace.voltage_v is None
    assert trace.current_a is None
    assert meter.capabilities.resolution_w == pytest.approx(5.0 * 0.1 / 256 / 0.01)

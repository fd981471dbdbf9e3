"""A meter over an oscilloscope: one record that covers idle, run and idle, read out and multiplied when it is over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from power.drivers.common import probing, record
from power.drivers.common.base import Start
from power.drivers.common.probing import Probing
from power.drivers.common.record import plan_record
from power.drivers.common.scope import Mode, Oscilloscope, Record, Waveform
from power.errors import InstrumentError, MeterStateError, NoReading, OptionInvalid, ReplyInvalid
from power.meter import Capabilities, Scope
from power.meters.instrument import InstrumentMeter
from power.options import Options
from power.timebase import HOST_TIME, Timebase
from power.trace import Floats, Reading, Trace
from power.uncertainty import Accuracy

KEYS = f"{probing.KEYS} {record.KEYS}"
"""Keys of farm.toml that every oscilloscope takes besides its own."""
SOON_S = 2.0
"""A record that ends within this time is waited for, even where it could be cut short."""
LATE_S = 5.0
"""A record may end so much later than it should."""
BROKEN_OFF_S = 60.0
"""A record that would go on for longer than this, and twice as long as it has lasted, was broken off: nobody waits for it."""
EARLY = 0.05
"""A record that is full when so much of it is still to come was triggered before it should."""
POLL_S = 0.01
ALL_COLUMNS_POINTS = 4_000_000
"""Longer traces hold power only: voltage and current would double what they take."""


@dataclass(frozen=True, slots=True)
class ScopeSetup:
    """What farm.toml says about a measurement with an oscilloscope; `rate_hz` None: as fast as is sensible."""

    probing: Probing
    rate_hz: float | None = None
    mode: Mode = "hires"

    @classmethod
    def from_options(cls, options: Options) -> Self:
        """Take what the probes are on, rate_hz and acquisition ("hires" or "sample"). Raises OptionInvalid."""
        mode: Mode = (
            "hires" if options.choice("acquisition", ("hires", "sample"), "hires") == "hires" else "sample"
        )
        return cls(Probing.from_options(options), options.maybe("rate_hz", above=0.0), mode)


class ScopeMeter(InstrumentMeter[Oscilloscope]):
    """Plans the record, arms, triggers at `start`, and makes a trace of the channels at `stop`."""

    def __init__(
        self,
        name: str,
        instrument: Oscilloscope,
        setup: ScopeSetup,
        *,
        scope: Scope | None = None,
        accuracy: Mapping[str, object] | None = None,
        is_simulated: bool = False,
        timebase: Timebase = HOST_TIME,
    ) -> None:
        super().__init__(
            name, instrument, scope=scope, accuracy=accuracy, is_simulated=is_simulated, timebase=timebase
        )
        self._setup = replace(setup, probing=setup.probing.fitted(instrument.fitted))
        self._record: Record | None = None
        self._start_of: Start | None = None
        self._codes: int | None = None

    @property
    def capabilities(self) -> Capabilities:
        """What the probes make of it."""
        if self._codes is None:
            return super().capabilities
        step_w = self._setup.probing.resolution_w(self._codes, self._voltage_v)
        return replace(super().capabilities, resolution_w=step_w)

    @property
    def range_text(self) -> str | None:
        """Full screens of voltage and current."""
        return self._setup.probing.range_text

    @property
    def setup_text(self) -> str | None:
        """What the probes are on."""
        return self._setup.probing.setup_text

    @property
    def tail_s(self) -> float:
        """Nothing: a record is waited for to its end, unless it can be cut; then a few points."""
        return 0.0 if self._record is None else 3.0 * self._record.interval_s

    @property
    def record(self) -> Record | None:
        """The record as the instrument took it; None before `start`."""
        return self._record

    def _open(self) -> None:
        super()._open()
        model = self._instrument.model
        self._codes = model.codes
        for channel in self._setup.probing.channels:
            if channel.number > model.channels:
                self._close()
                raise OptionInvalid(
                    f"The meter '{self.name}' uses channel {channel.number}, but a {model.name} has {model.channels}; "
                    "correct farm.toml."
                )

    def _plan(self, duration_s: float) -> None:
        setup = self._setup
        self._record = plan_record(self._instrument.model, duration_s, rate_hz=setup.rate_hz, mode=setup.mode)

    def _start(self) -> None:
        if self._record is None:
            raise MeterStateError(
                f"The meter '{self.name}' records once, so it has to be told how long: call plan before start."
            )
        made = self._instrument.set_up(self._setup.probing.channels, self._record)
        if made.duration_s < 0.999 * self._record.duration_s / record.MARGIN:
            raise OptionInvalid(
                f"The meter '{self.name}' made a record of {made.duration_s:.4g} s of one of {self._record.duration_s:.4g} s; "
                "lower rate_hz in farm.toml."
            )
        if self._setup.rate_hz is not None and made.interval_s * self._setup.rate_hz > 1.01:
            raise OptionInvalid(
                f"The meter '{self.name}' takes {1.0 / made.interval_s:.4g} S/s in a record of {made.duration_s:.4g} s, not "
                f"{self._setup.rate_hz:g}; lower rate_hz in farm.toml, or measure less long."
            )
        self._record = made
        self._instrument.arm()
        self._start_of = self._instrument.trigger()

    def _stop(self) -> Trace:
        start, made = self._start_of, self._record
        if start is None or made is None:
            raise NoReading(f"The meter '{self.name}' was not started.")
        self._wait(start, made)
        trace = self._seen(self._trace(start, made))
        self._start_of = None
        return trace

    def _salvage(self) -> Trace | None:
        """Stop at once; only a record that is done, or an oscilloscope that keeps unfinished ones, has something to give."""
        start, made, self._start_of = self._start_of, self._record, None
        if start is None or made is None:
            return None
        has_some = self._instrument.keeps_partial or self._instrument.is_done()
        self._instrument.stop()
        return self._seen(self._trace(start, made)) if has_some else None

    def _wait(self, start: Start, made: Record) -> None:
        """Wait for the end of the record, or cut it short where that loses nothing."""
        end_ns = start.latest_ns + round(made.duration_s * (1.0 - made.pretrigger) * 1e9)
        left_s = (end_ns - self._timebase.now_ns()) / 1e9
        if left_s > SOON_S and self._instrument.keeps_partial:
            self._instrument.stop()
            return
        if left_s > max(BROKEN_OFF_S, 2.0 * (made.duration_s - left_s)):
            self._instrument.stop()
            raise NoReading(
                f"The record of the meter '{self.name}' was broken off {left_s:.0f} s before its end, and the oscilloscope keeps "
                "finished ones only; plan a recording no longer than it will be."
            )
        if left_s > EARLY * made.duration_s and self._instrument.is_done():
            raise InstrumentError(
                f"The record of the meter '{self.name}' ended {left_s:.3g} s too early, so something else than its command "
                "triggered it; check the oscilloscope's trigger and measure again."
            )
        if left_s > 0.0:
            self._timebase.sleep(left_s)
        late_ns = end_ns + round((LATE_S + 1e-3 * made.duration_s) * 1e9)
        while not self._instrument.is_done():
            if self._timebase.now_ns() > late_ns:
                self._instrument.stop()
                raise NoReading(
                    f"The record of the meter '{self.name}' should have ended {LATE_S:g} s ago; "
                    "check that nobody changed the oscilloscope's settings."
                )
            self._timebase.sleep(POLL_S)

    def _trace(self, start: Start, made: Record) -> Trace:
        wired, averages = self._setup.probing, made.mode == "hires"
        # The marker first: of its voltages only a bit each has to be kept while the others are read.
        marker = None if wired.marker is None else self._instrument.read(wired.marker.number)
        high = None if marker is None else marker.values > wired.marker_level_v
        grid = None if marker is None else replace(marker, values=np.empty(0), clipped=np.empty(0, np.bool_))
        del marker
        probe = self._instrument.read(wired.current.number)
        if grid is not None and high is not None:
            _check_same(self.name, probe, grid, len(high))
        volts = self._volts(probe)
        current: Floats | None = None
        if len(probe.values) > ALL_COLUMNS_POINTS:
            power = wired.power_in_place(volts, probe.values)
            volts = None
        else:
            power, current = wired.convert(volts, probe.values)
        # A point of high resolution is taken to stand in the middle of what it averages; nobody says where it really stands.
        half_s = 0.5 * probe.interval_s if averages else 0.0
        trigger_s = 0.5 * (start.earliest_ns + start.latest_ns) / 1e9
        bound_s = 0.5 * (start.latest_ns - start.earliest_ns) / 1e9 + half_s
        clock_s = 1e-6 * self._instrument.clock_ppm * probe.interval_s * len(power)
        start_s, interval_s, clipped = trigger_s + probe.start_s + half_s, probe.interval_s, probe.clipped
        del probe
        return Trace(
            _times(start_s, interval_s, len(power)),
            power_w=power,
            voltage_v=volts,
            current_a=current,
            reading="average" if averages else "instantaneous",
            interval_s=interval_s,
            averaging_s=interval_s if averages else None,
            clipped=clipped,
            marker=high,
            clock_bound_s=bound_s + clock_s,
        )

    def _volts(self, probe: Waveform) -> Floats | None:
        """Read the voltage, where it is measured; what it clipped is noted in `probe`."""
        channel = self._setup.probing.voltage
        if channel is None:
            return None
        waveform = self._instrument.read(channel.number)
        _check_same(self.name, probe, waveform, len(waveform.values))
        np.logical_or(probe.clipped, waveform.clipped, out=probe.clipped)
        self._voltage_v = float(waveform.values.mean())
        return waveform.values

    @property
    def _reading(self) -> Reading:
        mode = self._setup.mode if self._record is None else self._record.mode
        return "average" if mode == "hires" else "instantaneous"

    @property
    def _rate_hz(self) -> float | None:
        return self._setup.rate_hz if self._record is None else 1.0 / self._record.interval_s

    def _accuracy(self) -> Accuracy | None:
        stated = super()._accuracy()
        if stated is not None or self._record is None:
            return stated
        scope = self._instrument
        return self._setup.probing.accuracy(
            self._voltage_v, scope.specified, scope.model.codes, f"data sheet of the {scope.model.name}"
        )


def _check_same(name: str, first: Waveform, other: Waveform, count: int) -> None:
    """Samples are multiplied one by one, so they must be of the same moments; `count` is how many the other has."""
    same_grid = abs(first.start_s - other.start_s) <= 0.5 * first.interval_s
    if len(first.values) != count or first.interval_s != other.interval_s or not same_grid:
        raise ReplyInvalid(
            f"The channels of the meter '{name}' are not of one acquisition: {len(first.values)} points against "
            f"{count}; check that nobody started another one meanwhile."
        )


def _times(start_s: float, interval_s: float, count: int) -> Floats:
    times = np.arange(count, dtype=np.float64)
    times *= interval_s
    times += start_s
    return times

"""The mean power of a steady load, as a meter reads it, with its scatter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from power.calibrate.applying import powers_w
from power.calibrate.errors import ReadingUnusable
from power.calibrate.fitting import Point
from power.calibrate.resolution import seen_step_w, stated_step_w
from power.errors import WindowInvalid
from power.meter import Meter
from power.reduction.energy import energies
from power.timebase import HOST_TIME, Timebase
from power.trace import Trace, Window
from power.uncertainty import GainOffset


@dataclass(frozen=True, slots=True)
class Reading:
    """What a meter read for a while, W.

    scatter_w    standard uncertainty of the mean because readings scatter (batch means); None if there are too few
    step_w       their smallest step, stated or seen; 0 if none is known
    drift_w      mean of the second half − mean of the first; None if a half holds no reading
    min_w, max_w  extremes; None of a counter, whose steps decide what it seems to jump by
    rate_hz      readings a second; None of a single one
    clipped      readings at the meter's limit, None if it cannot tell
    lost         readings that failed or never came
    calibration  certificate applied, None if none was
    """

    name: str
    mean_w: float
    scatter_w: float | None
    step_w: float
    min_w: float | None
    max_w: float | None
    drift_w: float | None
    samples: int
    duration_s: float
    rate_hz: float | None
    gaps: int
    clipped: int | None
    lost: int
    calibration: str | None

    @property
    def u_w(self) -> float | None:
        """Standard uncertainty of the mean, scatter and resolution, without accuracy; None if there are too few readings."""
        return None if self.scatter_w is None else math.hypot(self.scatter_w, self.step_w / math.sqrt(12.0))

    @property
    def u_typed_w(self) -> float | None:
        """Standard uncertainty where the other value was read by eye at some moment: the drift counts too, as rectangular."""
        if self.u_w is None:
            return None
        # Halves differ by half of what the ends do, and the moment is anywhere between the ends: 2·drift ÷ √12.
        return math.hypot(self.u_w, (self.drift_w or 0.0) / math.sqrt(3.0))


def measure(
    *meters: Meter, duration_s: float, settle_s: float = 0.0, timebase: Timebase = HOST_TIME
) -> tuple[Reading, ...]:
    """Let open meters read at the same time for `duration_s`, after `settle_s`; return a reading of each.

    Raises what the meters raise, and WindowInvalid if one of them has nothing to show for that time.
    """
    tail_s = max(meter.tail_s for meter in meters)
    for meter in meters:
        meter.plan(settle_s + duration_s + tail_s)
    for meter in meters:
        meter.start()
    timebase.sleep(settle_s)
    begin_s = _mark(meters, timebase)
    timebase.sleep(duration_s)
    end_s = _mark(meters, timebase)
    timebase.sleep(tail_s)
    traces = [meter.stop() for meter in meters]
    return tuple(
        summarise(meter, trace, Window(begin_s, end_s)) for meter, trace in zip(meters, traces, strict=True)
    )


def summarise(meter: Meter, trace: Trace, window: Window) -> Reading:
    """Return what a trace says of a window of the host's time, or of all of it where it is on another clock."""
    capabilities = meter.capabilities
    if len(trace) < 2:
        raise ReadingUnusable(f"'{meter.name}' yielded one reading only, of no duration; read for longer.")
    span = trace.span
    if capabilities.clock == "host":
        span = _overlap(span, window, meter.name)
    middle_s = 0.5 * (span.start_s + span.end_s)
    whole, first, second = energies(
        [trace], [span, Window(span.start_s, middle_s), Window(middle_s, span.end_s)]
    )
    low_w, high_w = _extremes_w(trace, span, whole.mean_w)
    halves = bool(first.samples and second.samples)
    return Reading(
        name=meter.name,
        mean_w=whole.mean_w,
        scatter_w=whole.u_noise_w,
        step_w=max(stated_step_w(capabilities), seen_step_w(trace)),
        min_w=low_w,
        max_w=high_w,
        drift_w=second.mean_w - first.mean_w if halves else None,
        samples=whole.samples,
        duration_s=span.duration_s,
        rate_hz=None if whole.samples < 2 else whole.samples / span.duration_s,
        gaps=whole.gaps,
        clipped=whole.clipped,
        lost=trace.lost,
        calibration=trace.calibration,
    )


def u_with_accuracy_w(meter: Meter, reading: Reading) -> float | None:
    """Return the standard uncertainty of a reading as a power: the meter's accuracy and scatter; None if either is unknown."""
    accuracy = meter.capabilities.accuracy
    if accuracy is None:
        return None
    u_w = accuracy.u_power_w(reading.mean_w)
    if accuracy.covers_noise:
        return u_w
    if reading.scatter_w is None:
        return None
    # The accuracy holds the step already, if it knows of one.
    known_w = accuracy.resolution_w if isinstance(accuracy, GainOffset) else 0.0
    step_w = math.sqrt(max(0.0, reading.step_w**2 - known_w**2))
    return math.hypot(u_w, reading.scatter_w, step_w / math.sqrt(12.0))


def check_usable(reading: Reading) -> None:
    """Raise ReadingUnusable unless the mean and its uncertainty can be trusted."""
    name = f"The reading of '{reading.name}'"
    if reading.u_w is None:
        raise ReadingUnusable(
            f"{name} holds {reading.samples} value(s), too few to tell their scatter; read for longer."
        )
    if reading.clipped:
        raise ReadingUnusable(
            f"{name} was at the meter's limit {reading.clipped} time(s); set a wider range or take a smaller load."
        )
    if reading.gaps:
        raise ReadingUnusable(
            f"{name} has {reading.gaps} gap(s); read it again, and check the line if they stay."
        )


class Bench:
    """A meter, and what it is compared with, for the length of a calibration. All readings have to be on one range.

    `reference` None: values are typed in. Both meters must be open and stay so.
    """

    def __init__(
        self,
        meter: Meter,
        reference: Meter | None = None,
        *,
        duration_s: float = 10.0,
        settle_s: float = 2.0,
        range_text: str | None = None,
        timebase: Timebase = HOST_TIME,
    ) -> None:
        """`range_text` is that of readings taken before, where a calibration is resumed."""
        self.meter, self.reference = meter, reference
        self._duration_s, self._settle_s, self._timebase = duration_s, settle_s, timebase
        self._range = range_text

    def compare(self, load_w: float) -> Point:
        """Read both meters at the same time. Raises ReadingUnusable, or what the meters raise."""
        if self.reference is None:
            raise ReadingUnusable(
                "There is no second meter to compare with; type the value of the reference."
            )
        raw, true = self._measure(self.meter, self.reference)
        return Point(load_w, raw.mean_w, raw.u_w or 0.0, true.mean_w, true.u_w or 0.0)

    def read(self) -> Reading:
        """Read the meter alone, for a value that is typed in."""
        return self._measure(self.meter)[0]

    def _measure(self, *meters: Meter) -> tuple[Reading, ...]:
        found = measure(
            *meters, duration_s=self._duration_s, settle_s=self._settle_s, timebase=self._timebase
        )
        for reading in found:
            check_usable(reading)
        if found[0].calibration is not None:
            raise ReadingUnusable(
                f"'{self.meter.name}' is calibrated already by {found[0].calibration}; calibrate the meter itself, without it."
            )
        self._check_range()
        return found

    def _check_range(self) -> None:
        now = self.meter.range_text
        moved = not self.meter.capabilities.same_range
        if moved or (self._range is not None and now != self._range):
            was = self._range or "another"
            raise ReadingUnusable(
                f"'{self.meter.name}' is on the range {now or 'unknown'} and was on {was}; fix its range in farm.toml, since "
                "each range has a calibration of its own."
            )
        self._range = now


def typed(load_w: float, reading: Reading, reference_w: float, u_reference_w: float) -> Point:
    """Make a point of a reading and a value that was read by eye meanwhile."""
    return Point(load_w, reading.mean_w, reading.u_typed_w or 0.0, reference_w, u_reference_w)


def _mark(meters: Sequence[Meter], timebase: Timebase) -> float:
    for meter in meters:
        meter.mark()
    return timebase.now_ns() / 1e9


def _overlap(span: Window, wanted: Window, name: str) -> Window:
    try:
        return Window(max(span.start_s, wanted.start_s), min(span.end_s, wanted.end_s))
    except WindowInvalid:
        raise ReadingUnusable(
            f"'{name}' yielded no reading in the {wanted.duration_s:.3g} s that were asked for; read for longer."
        ) from None


def _extremes_w(trace: Trace, span: Window, mean_w: float) -> tuple[float, float] | tuple[None, None]:
    if trace.reading == "counter":
        return None, None
    power_w = powers_w(trace)
    t_s = trace.t_s[-len(power_w) :] if len(power_w) else trace.t_s[:0]
    inside = power_w[(t_s >= span.start_s) & (t_s <= span.end_s)]
    return (float(inside.min()), float(inside.max())) if len(inside) else (mean_w, mean_w)

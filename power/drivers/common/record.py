"""Which record an oscilloscope has to take for a recording to fit: planned from duration, rate and memory before it is armed.

One record covers idle, run and idle: a scope acquires nothing while it is read out, so records cannot be strung together.
Where the converter is faster than the record's rate, points are averages over their interval (high resolution), which miss
nothing; samples at such a rate would be aliased noise.
"""

from __future__ import annotations

import bisect
import math

from power.drivers.common.scope import Mode, Record, ScopeModel
from power.errors import OptionInvalid

KEYS = "rate_hz acquisition"
"""Keys of farm.toml that matter here."""
ENOUGH_POINTS = 1_000_000
"""As long a record as is taken where nobody wishes a rate."""
LEAST_POINTS = 100
"""A record of fewer shows no windows."""
INSTEAD = (
    "for longer runs take a meter that streams, such as a power analyser; single inferences fit into segments of the memory, "
    "triggered by the board and read by hand."
)
MARGIN = 1.01
"""A recording takes a little longer than it is planned to."""


def plan_record(
    model: ScopeModel, duration_s: float, *, rate_hz: float | None = None, mode: Mode = "hires"
) -> Record:
    """Return the record that covers `duration_s` at `rate_hz` or the next higher rate; None: as fast as is sensible.

    Raises OptionInvalid, with what would fit, if nothing does.
    """
    if not (math.isfinite(duration_s) and duration_s > 0.0):
        raise OptionInvalid(f"A recording must take some time, not {duration_s!r} s.")
    needed_s = duration_s * MARGIN
    if model.longest_s is not None and needed_s > model.longest_s:
        raise OptionInvalid(
            f"A recording of {duration_s:.4g} s fits no record of a {model.name}, the longest of which takes "
            f"{model.longest_s:g} s; {INSTEAD}"
        )
    needed_s = _spanned(model, needed_s)
    if mode == "hires" and not model.has_hires:
        raise OptionInvalid(
            f'A {model.name} cannot average between its points; set acquisition = "sample", with a bandwidth below rate_hz / 2.'
        )
    wished_hz = rate_hz if rate_hz is not None else _sensible_hz(model, needed_s)
    if wished_hz > model.most_rate_hz:
        raise OptionInvalid(
            f"A {model.name} samples two channels at {model.most_rate_hz:g} S/s at most, not at {wished_hz:g}; lower rate_hz."
        )
    interval_s, points = _fitted(model, needed_s, wished_hz, duration_s)
    # High resolution averages what the converter takes between two points, so there must be at least two of them.
    averages = mode == "hires" and interval_s * model.most_rate_hz >= 2.0
    return Record(points, interval_s, "hires" if averages else "sample")


def longest_s(model: ScopeModel, rate_hz: float) -> float:
    """Return how long a recording at this rate may take."""
    memory_s = model.record_lengths[-1] / rate_hz * (1.0 + 1e-9)
    if model.spans_s is not None:
        memory_s = max((span_s for span_s in model.spans_s if span_s <= memory_s), default=model.spans_s[0])
    return min(memory_s, model.longest_s or memory_s) / MARGIN


def _spanned(model: ScopeModel, needed_s: float) -> float:
    """Return the next span that the model has: any, or those of its time bases."""
    if model.spans_s is None:
        return needed_s
    return next((span_s for span_s in model.spans_s if span_s >= needed_s * (1 - 1e-9)), needed_s)


def _sensible_hz(model: ScopeModel, needed_s: float) -> float:
    """Return the rate that fills the memory, or a record that is read in reasonable time."""
    points = min(model.record_lengths[-1], ENOUGH_POINTS)
    if not model.any_length:
        points = max((one for one in model.record_lengths if one <= points), default=model.record_lengths[0])
    rate_hz = min(points / needed_s, model.most_rate_hz)
    if model.rates_hz is not None:
        rates = sorted(model.rates_hz)
        rate_hz = rates[max(0, bisect.bisect_right(rates, rate_hz) - 1)]
    return rate_hz


def _fitted(model: ScopeModel, needed_s: float, wished_hz: float, duration_s: float) -> tuple[float, int]:
    rate_hz = wished_hz
    if model.rates_hz is not None:
        rate_hz = min(
            (one for one in model.rates_hz if one >= wished_hz * (1 - 1e-9)), default=max(model.rates_hz)
        )
    least = max(LEAST_POINTS, math.ceil(needed_s * rate_hz * (1 - 1e-12)))
    if model.any_length:
        points = max(least, model.record_lengths[0])
        fits = points <= model.record_lengths[-1]
    else:
        points = next((one for one in model.record_lengths if one >= least), model.record_lengths[-1])
        fits = points >= least
    if not fits:
        most_hz = model.record_lengths[-1] / needed_s
        raise OptionInvalid(
            f"{duration_s:.4g} s at {rate_hz:g} S/s are {least} points, but a {model.name} holds {model.record_lengths[-1]}: "
            f"set rate_hz to {_floor2(most_hz):g} or less, {'whose averages miss nothing, ' if model.has_hires else ''}"
            f"or measure no longer than {longest_s(model, rate_hz):.3g} s; {INSTEAD}"
        )
    # A longer record than is needed is used for more rate where the rate is free, and for more time where it is not.
    if model.rates_hz is not None or model.any_length:
        return max(1.0 / rate_hz, 1.0 / model.most_rate_hz), points
    return _spanned(model, max(needed_s, points / model.most_rate_hz)) / points, points


def _floor2(value: float) -> float:
    """Round down to two digits."""
    digit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return math.floor(value / digit + 1e-9) * digit

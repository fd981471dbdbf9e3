"""Optional rule sets beside the validity rules of hostctl/validity.py: named limits, and what breaking one is called.

`mlperf` is modelled on MLPerf Power (mlcommons/inference_policies, power_measurement.adoc): a ranging run with automatic
ranges, then a testing run on fixed ones; at least ten minutes; 10 s of rest at either side; an uncertainty of 1 % at most;
average power of the samples strictly inside the window. It is not MLPerf: that asks for their director, PTDaemon, an
approved wall-plug analyser and their LoadGen besides.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from hostctl.validity import Flag, flag


@dataclass(frozen=True)
class MlperfLimits:
    """The limits of the rule set `mlperf`.

    least_duration_s         of the measured window
    settle_s                 of rest at either side of the run, idle windows included, the meter recording
    most_relative_u          expanded uncertainty (k = 2) of the mean power, as a fraction of it
    most_below_ranging       that the testing run's power may be below the ranging run's, as a fraction
    least_of_ranging         length of the testing run, as a fraction of the ranging run's
    least_rate_hz            readings a second, averaged or not
    """

    least_duration_s: float = 600.0
    settle_s: float = 10.0
    most_relative_u: float = 0.01
    most_below_ranging: float = 0.05
    least_of_ranging: float = 0.5
    least_rate_hz: float = 1.0

    def as_json(self) -> dict[str, float]:
        """Return the limits by name."""
        return asdict(self)


MLPERF = MlperfLimits()
RULE_SETS = ("default", "mlperf")


@dataclass(frozen=True)
class Ranging:
    """A run that let the meter choose its ranges: mean power, W, and length of its window, s."""

    power_w: float
    duration_s: float
    range_text: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the entry of a result."""
        return asdict(self)


@dataclass(frozen=True)
class Inside:
    """The samples that lie strictly inside the window: their number and mean power, W (None without any)."""

    samples: int
    power_w: float | None

    def as_json(self) -> dict[str, Any]:
        """Return the entry of a result."""
        return asdict(self)


@dataclass(frozen=True)
class Seen:
    """What the rules look at. None means that it is not known, which breaks a rule that needs it.

    ranging  None where the meter has no ranges to choose
    """

    window_s: float | None
    settle_s: float
    power_w: float | None
    relative_u: float | None
    same_range: bool
    inside: Inside | None
    ranging: Ranging | None


def judge_mlperf(seen: Seen, limits: MlperfLimits = MLPERF) -> list[Flag]:
    """Return a flag for each rule that a run breaks."""
    found = [*_length(seen, limits), *_power(seen, limits)]
    return found + list(_ranging(seen, limits))


def _length(seen: Seen, limits: MlperfLimits) -> Iterable[Flag]:
    window_s = seen.window_s
    if window_s is None or window_s < limits.least_duration_s:
        was = "unknown" if window_s is None else f"{window_s:.4g} s"
        yield flag(
            "MLPERF_TOO_SHORT",
            f"The window is {was}; mlperf asks for {limits.least_duration_s:g} s at least.",
        )
    if seen.settle_s < limits.settle_s:
        yield flag(
            "MLPERF_SETTLING",
            f"The board rested {seen.settle_s:.3g} s at either side; mlperf asks for {limits.settle_s:g} s.",
        )


def _power(seen: Seen, limits: MlperfLimits) -> Iterable[Flag]:
    u = seen.relative_u
    if u is None or u > limits.most_relative_u:
        was = "unknown" if u is None else f"{u:.2%}"
        yield flag(
            "MLPERF_UNCERTAIN",
            f"The uncertainty of power is {was}; mlperf allows {limits.most_relative_u:.0%}.",
        )
    inside, window_s = seen.inside, seen.window_s
    if inside is None or window_s is None or inside.samples + 1 < limits.least_rate_hz * window_s:
        was = "None" if inside is None else f"{inside.samples}"
        yield flag(
            "MLPERF_TOO_FEW_SAMPLES",
            f"{was} samples lie strictly inside the window; mlperf asks for {limits.least_rate_hz:g} a second.",
        )


def _ranging(seen: Seen, limits: MlperfLimits) -> Iterable[Flag]:
    ranging = seen.ranging
    if not seen.same_range:
        yield flag(
            "MLPERF_RANGE_CHANGED",
            "The meter changed its range while it measured; mlperf asks for fixed ranges.",
        )
    if ranging is None:
        yield flag("MLPERF_NOT_RANGED", "The meter has no ranges to choose, so there was no ranging run.")
        return
    if seen.power_w is not None and seen.power_w < (1.0 - limits.most_below_ranging) * ranging.power_w:
        below = 1.0 - seen.power_w / ranging.power_w
        yield flag(
            "MLPERF_BELOW_RANGING",
            f"The run drew {below:.1%} less than its ranging run ({ranging.power_w:.4g} W); mlperf allows "
            f"{limits.most_below_ranging:.0%}.",
        )
    if seen.window_s is not None and seen.window_s < limits.least_of_ranging * ranging.duration_s:
        yield flag(
            "MLPERF_SHORTER_THAN_RANGING",
            f"The run lasted {seen.window_s:.4g} s, less than half of its ranging run.",
        )

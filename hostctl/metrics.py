"""The numbers of a result, from what was measured. Pure; the names are the contract.

Primary are the requests' times, `window_s`, `inferences`, the operations of one inference, and mean power with and
without idle. Everything else is computed here from them, once, and never rounded, so that a reader who recomputes a printed
column from the printed others gets the same number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from power.uncertainty import COVERAGE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Nanoseconds = Sequence[int] | NDArray[np.int64]


@dataclass(frozen=True)
class Value:
    """A number and its expanded uncertainty (k = 2), in the same unit; `u` is None where it is unknown."""

    value: float
    u: float | None

    def as_json(self) -> dict[str, float | None]:
        """Return the `{value, u}` object of a result."""
        return {"value": self.value, "u": self.u}

    def scaled(self, factor: float) -> Value:
        """Return this number times an exact factor."""
        return Value(self.value * factor, None if self.u is None else self.u * abs(factor))


@dataclass(frozen=True)
class Power:
    """Mean power over the measured window, W, each None where it was not measured.

    gross  what the meter saw
    idle   mean of the idle model over the same window
    net_u  expanded uncertainty of gross − idle; smaller than that of the two together where they share a meter's range
    is_estimated  made of processor time, between bounds that are all that is known: net figures stand, and are flagged so
    """

    gross: Value | None = None
    idle: Value | None = None
    net_u: float | None = None
    is_estimated: bool = False

    @property
    def net(self) -> Value | None:
        """Gross less idle."""
        if self.gross is None or self.idle is None:
            return None
        return Value(self.gross.value - self.idle.value, self.net_u)

    @property
    def is_told_from_idle(self) -> bool:
        """Whether net power is beyond its standard uncertainty: an inverse of less has no meaning, nor its error a linear one."""
        return self.is_estimated or self.net is None or self.net.value > (self.net.u or 0.0) / COVERAGE


@dataclass(frozen=True)
class Loop:
    """The timed loop. `start_ns` and `end_ns` are of one monotonic clock and equally long; `first_ns` is a duration.

    `device_ns` is what the accelerator itself took for a request; None where it does not tell.
    """

    start_ns: Nanoseconds
    end_ns: Nanoseconds
    window_s: float
    batch: int
    first_ns: int | None = None
    device_ns: int | None = None


def compute(
    loop: Loop,
    *,
    ops_per_inference: float | None = None,
    peak_gops: float | None = None,
    power: Power | None = None,
) -> dict[str, Any]:
    """Return the numeric part of a result, every key present, null where unknown.

    Raises ValueError for a window that is not positive, a batch below one or arrays of different lengths.
    """
    _check(loop)
    power = power or Power()
    requests = len(loop.start_ns)
    inferences = requests * loop.batch
    throughput_ips = inferences / loop.window_s
    gops = None if ops_per_inference is None else throughput_ips * ops_per_inference / 1e9
    return {
        "inferences": inferences,
        "requests": requests,
        "window_s": loop.window_s,
        "inference_time_ms": inference_time_ms(loop),
        "throughput_ips": throughput_ips,
        "achieved_gops": gops,
        "peak_gops": peak_gops,
        "performance_ratio": None if gops is None or not peak_gops else gops / peak_gops,
        "power_w": _json(power.gross),
        "idle_power_w": _json(power.idle),
        "energy_per_inference_mj": {
            "gross": _json(_energy_mj(power.gross, loop.window_s, inferences)),
            "net": _json(_energy_mj(power.net, loop.window_s, inferences)),
        },
        "gops_per_w": {
            "gross": _json(_per_watt(gops, power.gross)),
            "net": _json(_per_watt(gops, power.net if power.is_told_from_idle else None)),
        },
    }


def inference_time_ms(loop: Loop) -> dict[str, float | int | None]:
    """Return the statistics of one request's time (whole batch), ms; all null where no request was completed.

    `stddev` is that of the sample (n − 1), null for a single request; percentiles interpolate linearly. `first` is the very
    first inference after the load, which is in none of the others; `device` is the accelerator's own time, null if untold.
    """
    import numpy as np

    first = None if loop.first_ns is None else loop.first_ns / 1e6
    device = None if loop.device_ns is None else loop.device_ns / 1e6
    names = ("mean", "median", "p90", "p99", "min", "max", "stddev")
    count = len(loop.start_ns)
    if count == 0:
        return {**dict.fromkeys(names), "count": 0, "first": first, "device": device}
    times_ms = (np.asarray(loop.end_ns, np.int64) - np.asarray(loop.start_ns, np.int64)) / 1e6
    median, p90, p99 = (float(value) for value in np.percentile(times_ms, [50, 90, 99]))
    return {
        "mean": float(times_ms.mean()),
        "median": median,
        "p90": p90,
        "p99": p99,
        "min": float(times_ms.min()),
        "max": float(times_ms.max()),
        "stddev": float(times_ms.std(ddof=1)) if count > 1 else None,
        "count": count,
        "first": first,
        "device": device,
    }


def _energy_mj(power: Value | None, window_s: float, inferences: int) -> Value | None:
    if power is None or inferences == 0:
        return None
    return power.scaled(1e3 * window_s / inferences)


def _per_watt(gops: float | None, power: Value | None) -> Value | None:
    """Divide; undefined where the power is not positive, as net power can be on a board that does not work harder."""
    if gops is None or power is None or power.value <= 0:
        return None
    value = gops / power.value
    return Value(value, None if power.u is None else value * power.u / power.value)


def _json(value: Value | None) -> dict[str, float | None] | None:
    return None if value is None else value.as_json()


def _check(loop: Loop) -> None:
    if len(loop.start_ns) != len(loop.end_ns):
        raise ValueError(f"{len(loop.start_ns)} starts but {len(loop.end_ns)} ends")
    if loop.window_s <= 0:
        raise ValueError(f"a window of {loop.window_s} s is not positive")
    if loop.batch < 1:
        raise ValueError(f"a batch of {loop.batch} is below one")

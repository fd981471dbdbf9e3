"""The formulas of a result on numbers typed in, or read in somebody's table. Pure.

The formulas themselves are those of hostctl.metrics, so that `hostctl calc` and `hostctl run` can't disagree.
"""

from __future__ import annotations

import math
from typing import Any

from hostctl.errors import UsageError
from hostctl.metrics import Loop, Power, Value, compute

_NUMBERS = (
    "inference_time_ms", "throughput_ips", "achieved_gops", "peak_gops", "performance_ratio",
    "power_w", "idle_power_w", "energy_per_inference_mj", "gops_per_w",
)  # fmt: skip


def calculate(
    *,
    ops: float | None = None,
    time_ms: float | None = None,
    batch: int = 1,
    power_w: float | None = None,
    idle_w: float | None = None,
    peak_gops: float | None = None,
    throughput_ips: float | None = None,
) -> dict[str, Any]:
    """Return the numbers of a result under their names and in their shapes; what can't be known of the inputs is null.

    ops             operations of one inference (1 MAC = 2)
    time_ms         time of one request, that is of the whole batch
    throughput_ips  inferences a second where it was measured; it stands instead of batch ÷ time, which is not the
                    throughput when several requests are in flight
    power_w, idle_w mean power over the window, working and idle; a typed number has no uncertainty, so every `u` is null

    Raises UsageError for a number that can't be: not finite, negative, or zero where it divides.
    """
    _check(batch=batch, ops=ops, time_ms=time_ms, peak_gops=peak_gops, throughput_ips=throughput_ips)
    _check_powers(power_w=power_w, idle_w=idle_w)
    power = Power(gross=_unsure(power_w), idle=_unsure(idle_w))
    window_s = _window_s(time_ms, batch, throughput_ips)
    # One request that fills its window; without a time the window is any, and what depends on it is taken out below.
    loop = Loop((0,), (0,), 1.0 if window_s is None else window_s, batch)
    numbers = compute(loop, ops_per_inference=ops, peak_gops=peak_gops, power=power)
    numbers["inference_time_ms"] = {**dict.fromkeys(numbers["inference_time_ms"]), "mean": time_ms}
    numbers["throughput_ips"] = throughput_ips or numbers["throughput_ips"]
    if window_s is None:
        nothing: dict[str, None] = {"gross": None, "net": None}
        numbers |= dict.fromkeys(("throughput_ips", "achieved_gops", "performance_ratio"))
        numbers |= {"energy_per_inference_mj": nothing, "gops_per_w": dict(nothing)}
    if numbers["idle_power_w"] is not None:
        numbers["idle_power_w"]["model"] = "fixed"
    given = None if ops is None else "given"
    return {
        "ops_per_inference": {"value": ops, "convention": "mac2", "source": given},
        "batch": batch,
        **{name: numbers[name] for name in _NUMBERS},
    }


def _window_s(time_ms: float | None, batch: int, throughput_ips: float | None) -> float | None:
    if throughput_ips is not None:
        return batch / throughput_ips
    return None if time_ms is None else time_ms / 1e3


def _unsure(power_w: float | None) -> Value | None:
    return None if power_w is None else Value(power_w, None)


def _check(**numbers: float | None) -> None:
    for name, value in numbers.items():
        if value is not None and not (math.isfinite(value) and value > 0):
            raise UsageError(
                f"--{_option(name)} is {value:g}; give a number above zero, or leave it out if unknown."
            )


def _check_powers(**numbers: float | None) -> None:
    for name, value in numbers.items():
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise UsageError(
                f"--{_option(name)} is {value:g}; give a number of watts from zero, or leave it out if unknown."
            )


def _option(name: str) -> str:
    return name.replace("_", "-")

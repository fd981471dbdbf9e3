"""What a reader of energies must know: findings on a trace and its windows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from power.reduction.energy import WindowEnergy
from power.reduction.idle import Idle
from power.reduction.parts import Parts

Kind = Literal["measured", "estimated", "simulated"]


@dataclass(frozen=True, slots=True)
class Flag:
    """Something a reader of the numbers must know."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Limits:
    """From when on a flag is raised.

    idle_drift   |after − before| as a fraction of the net power, if it also exceeds the noise of the two windows
    edges        what clock and sampling may cost at the edges, as a fraction of the net energy
    samples      readings that a window needs
    """

    idle_drift: float = 0.1
    edges: float = 0.01
    samples: int = 4


def flags_of(
    found: Sequence[WindowEnergy],
    before: WindowEnergy | None,
    after: WindowEnergy | None,
    idle: Idle | None,
    parts: Parts,
    kind: Kind,
    limits: Limits,
) -> Iterable[Flag]:
    if kind == "estimated":
        yield Flag("ENERGY_ESTIMATED", "Power is estimated from processor time; no meter measured it.")
    elif kind == "simulated":
        yield Flag("ENERGY_SIMULATED", "Power comes from a simulated instrument.")
    if parts.accuracy is None:
        yield Flag(
            "ACCURACY_UNKNOWN", "The accuracy of the meter is unknown, so no uncertainty can be stated."
        )
    gaps = sum(window.gaps for window in found)
    if gaps:
        lost_s = sum(window.gap_s for window in found)
        yield Flag("TRACE_GAPS", f"The trace has {gaps} gap(s), together {lost_s:.3g} s, in the windows.")
    clipped = sum(window.clipped or 0 for window in found)
    if clipped:
        yield Flag(
            "CLIPPED_SAMPLES", f"{clipped} sample(s) were at the meter's limit; set a range that fits."
        )
    yield from _sample_flags(found, parts, limits)
    yield from _edge_flags(parts, limits)
    yield from _idle_flags(before, after, idle, parts, kind, limits)


def _sample_flags(found: Sequence[WindowEnergy], parts: Parts, limits: Limits) -> Iterable[Flag]:
    if parts.accuracy is not None and parts.accuracy.covers_noise:
        return
    fewest = min(window.samples for window in found)
    sampled = not parts.is_counter
    if parts.idle_noise() is None or (sampled and (fewest < limits.samples or parts.run.u_noise_w is None)):
        yield Flag(
            "TOO_FEW_SAMPLES",
            f"A window holds {fewest} reading(s) only, too few to tell the noise; measure longer or sample faster.",
        )


def _edge_flags(parts: Parts, limits: Limits) -> Iterable[Flag]:
    duration_s = parts.run.window.duration_s
    if parts.clock_bound_s is None:
        yield Flag("CLOCK_BOUND_TOO_WIDE", "It is unknown how the clocks relate, so the edges are too.")
    elif 2.0 * parts.clock_bound_s > limits.edges * duration_s:
        yield Flag(
            "CLOCK_BOUND_TOO_WIDE",
            f"The clocks agree within {parts.clock_bound_s * 1e3:.3g} ms only, too wide for a window of "
            f"{duration_s:.3g} s; measure longer.",
        )
    if parts.run.blur_s > limits.edges * duration_s:
        yield Flag(
            "EDGES_BLURRED",
            f"The meter is too slow for a window of {duration_s:.3g} s: its edges are blurred by "
            f"{parts.run.blur_s * 1e3:.3g} ms; measure longer or sample faster.",
        )


def _idle_flags(
    before: WindowEnergy | None,
    after: WindowEnergy | None,
    idle: Idle | None,
    parts: Parts,
    kind: Kind,
    limits: Limits,
) -> Iterable[Flag]:
    if idle is None:
        return
    net = parts.above(idle)
    if net.value <= (0.0 if kind == "estimated" else net.u_std or 0.0):
        yield Flag(
            "NET_NOT_POSITIVE",
            f"The run drew {net.value:.3g} W above idle, which cannot be told from none; net figures mean nothing here.",
        )
    if idle.drift_w is None or before is None or after is None:
        return
    noise_w = 2.0 * math.hypot(before.u_noise_w or 0.0, after.u_noise_w or 0.0)
    if abs(idle.drift_w) > max(limits.idle_drift * abs(net.value), noise_w):
        yield Flag(
            "IDLE_DRIFT",
            f"Idle power changed by {idle.drift_w:+.3g} W from before to after; let the board settle and repeat.",
        )

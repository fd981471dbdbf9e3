"""A busy/idle pattern made on the board: short spells of the model itself, of pseudo-random length, with rests in between.

The board times every spell; power/align/pattern.py finds them in the trace. Two patterns of one run are never alike.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from farm.v1 import device_service_pb2 as pb

from power.align.pattern import Pattern
from power.meter import Capabilities

SPELLS = 7
LONGEST = 3
"""Of a spell or a rest, in units."""
LEAST_UNIT_S = 0.1
READINGS_PER_UNIT = 4.0
REQUESTS_PER_UNIT = 4.0
UNTOLD_INTERVAL_S = 0.1
"""Taken for a meter that tells no rate."""
_OVERHEAD_S = 0.1
"""Of a call besides its spell, at most in general; only for planning the length of a recording."""

Spell = Callable[[float], "tuple[pb.BenchmarkResult, float]"]
"""Keeps the board busy for so many seconds; returns its result and the mean time of a request, s."""


def unit_s(capabilities: Capabilities, request_s: float = 0.0) -> float:
    """Return the shortest spell that a meter can show, and that holds several requests."""
    interval_s = 1.0 / capabilities.rate_hz if capabilities.rate_hz else UNTOLD_INTERVAL_S
    return max(LEAST_UNIT_S, READINGS_PER_UNIT * interval_s, REQUESTS_PER_UNIT * request_s)


def lengths(which: int, seed: int) -> list[tuple[int, int]]:
    """Return [(rest, spell)] in units for the first (0) or second (1) pattern of a run."""
    rng = random.Random(f"{seed}/{which}")
    found = [(rng.randint(1, LONGEST), rng.randint(1, LONGEST)) for _ in range(SPELLS)]
    # All alike would be no pattern: one spell is short and one is long, wherever they stand.
    short, long = rng.sample(range(SPELLS), 2)
    found[short], found[long] = (found[short][0], 1), (found[long][0], LONGEST)
    return found


def duration_s(unit: float) -> float:
    """Return how long a pattern takes at most, calls included."""
    return SPELLS * (2 * LONGEST * unit + _OVERHEAD_S) + 2 * unit


@dataclass(frozen=True, slots=True)
class Timed:
    """A spell as the board saw it, s on its clock: when the model ran, what may have been busy besides at either side, and the
    time of a request."""

    start_s: float
    end_s: float
    slack_s: float
    request_s: float


def timed(result: pb.BenchmarkResult, request_s: float) -> Timed:
    """Return when the board was busy: for its window, two requests before it (the first, and one that warms up), one after.

    What else it does from asking its own state to the window, and back, is work as well, but nobody knows how much of it.
    """
    start_ns, end_ns = result.window_start_ns, result.window_end_ns
    lead_s = max(0.0, (start_ns - result.stats_before.monotonic_ns) / 1e9)
    tail_s = max(0.0, (result.stats_after.monotonic_ns - end_ns) / 1e9)
    before_s, after_s = min(lead_s, 2.0 * request_s), min(tail_s, request_s)
    slack_s = max(lead_s - before_s, tail_s - after_s)
    return Timed(start_ns / 1e9 - before_s, end_ns / 1e9 + after_s, slack_s, request_s)


def drive(spell: Spell, sleep: Callable[[float], None], unit: float, which: int, seed: int) -> Pattern:
    """Make a pattern and return it as it was timed. It begins and ends with a rest."""
    found: list[Timed] = []
    for rest, busy in lengths(which, seed):
        sleep(rest * unit)
        found.append(timed(*spell(busy * unit)))
    sleep(2 * unit)
    return pattern_of(found)


def pattern_of(found: Sequence[Timed]) -> Pattern:
    """Return spells as a pattern."""
    spans_s = np.array([(one.start_s, one.end_s) for one in found])
    slack_s, request_s = (
        float(np.mean(column))
        for column in zip(*((one.slack_s, one.request_s) for one in found), strict=True)
    )
    return Pattern(spans_s, slack_s, request_s)

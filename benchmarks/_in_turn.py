"""Two things measured in turn, so that what else the machine does hurts both alike."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Literal

from benchmarks import Row

Pairs = list[tuple[float, float]]


def in_turn(ours: Callable[[], float], theirs: Callable[[], float], rounds: int) -> Pairs:
    """Measure both in each round, by turns A B, B A, A B: neither always comes after the other."""
    pairs = []
    for number in range(rounds):
        if number % 2:
            theirs_first = theirs()
            pairs.append((ours(), theirs_first))
        else:
            pairs.append((ours(), theirs()))
    return pairs


def row(name: str, pairs: Pairs, unit: str, bar: float, sense: Literal["at least", "at most"]) -> Row:
    """Return a claim about the median of the rounds' ratios: one disturbed round does not decide it."""
    ours, theirs = zip(*pairs, strict=True)
    ratio = statistics.median(a / b for a, b in pairs)
    return Row(name, statistics.median(ours), unit, statistics.median(theirs), bar, sense, ratio)

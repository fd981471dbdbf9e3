"""What an alignment is: how a trace's clock relates to the board's, by which method, and how well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from power.clock import MAX_DRIFT, ClockFit
from power.trace import Window

Method = Literal["round-trip", "edge", "pattern", "same-clock"]


@dataclass(frozen=True, slots=True)
class Quality:
    """How surely a pattern was found. `peak` is the correlation coefficient, 1 at best; `ratio` that to the second-best
    place, None where the search left no other place."""

    peak: float
    ratio: float | None


@dataclass(frozen=True, slots=True)
class Alignment:
    """trace = board + offset_s + drift × (board − reference_s), all in s.

    reference_s, last_s  board times between which the bound holds; outside of them it grows (see bound_at_s)
    bound_s      largest error between the two
    residual_s   how far what it rests on disagrees with itself; None where nothing is left to disagree
    """

    method: Method
    offset_s: float
    drift: float
    bound_s: float
    residual_s: float | None
    quality: Quality | None
    reference_s: float
    last_s: float

    def to_trace_s(self, board_s: float) -> float:
        """Return a board time on the trace's clock."""
        return board_s + self.offset_s + self.drift * (board_s - self.reference_s)

    def to_board_s(self, trace_s: float) -> float:
        """Return a time of the trace on the board's clock."""
        return self.reference_s + (trace_s - self.offset_s - self.reference_s) / (1.0 + self.drift)

    def bound_at_s(self, board_s: float) -> float:
        """Return the largest error at a board time. Away from what was seen, only a drift below 500 ppm is sure."""
        outside_s = max(self.reference_s - board_s, board_s - self.last_s, 0.0)
        return self.bound_s + 2.0 * MAX_DRIFT * outside_s

    def window(self, start_s: float, end_s: float) -> tuple[Window, float]:
        """Return a window of board times on the trace's clock, and the largest error of its edges, s."""
        bound_s = max(self.bound_at_s(start_s), self.bound_at_s(end_s))
        return Window(self.to_trace_s(start_s), self.to_trace_s(end_s)), bound_s


def same_clock() -> Alignment:
    """Return the alignment of a trace that is on the board's clock: nothing to do, nothing to err."""
    return Alignment("same-clock", 0.0, 0.0, 0.0, None, None, 0.0, float("inf"))


def by_round_trip(fit: ClockFit) -> Alignment:
    """Return the alignment that a comparison of the clocks gives, for a trace on the host's clock.

    ClockFit computes in whole nanoseconds; windows are better placed with it directly.
    """
    reference_s, last_s = fit.reference_ns / 1e9, fit.last_ns / 1e9
    return Alignment(
        "round-trip", fit.offset_ns / 1e9, fit.drift, fit.bound_ns / 1e9, None, None, reference_s, last_s
    )

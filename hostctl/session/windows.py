"""Where the windows of a run lie on the clock of its trace. Pure.

The loop's window is known on the board's clock, the idle windows on the host's; a trace's times are on one of the two.
"""

from __future__ import annotations

from dataclasses import dataclass

from power.clock import ClockFit
from power.meter import Clock
from power.trace import Window


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the host's monotonic clock, ns."""

    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class Windows:
    """The windows on the trace's clock. `bound_s` is the largest error of the run's edges; idle windows None: not measured."""

    run: Window
    before: Window | None
    after: Window | None
    bound_s: float


def place(
    fit: ClockFit, clock: Clock, start_ns: int, end_ns: int, before: Span | None, after: Span | None
) -> Windows:
    """Place the loop's window (board's clock, ns) and the idle spans on the clock of a trace.

    On the board's own clock the loop's edges are exact. An idle span that has to change clocks is cut by the bound at both
    ends, so that nothing but idling lies in it.
    """
    run, bound_s = fit.window(start_ns, end_ns)
    if clock == "host":
        return Windows(run, _whole(before), _whole(after), bound_s)
    exact = Window(start_ns / 1e9, end_ns / 1e9)
    return Windows(exact, _on_board(before, fit, bound_s), _on_board(after, fit, bound_s), 0.0)


def _whole(span: Span | None) -> Window | None:
    return None if span is None else Window(span.start_ns / 1e9, span.end_ns / 1e9)


def _on_board(span: Span | None, fit: ClockFit, bound_s: float) -> Window | None:
    if span is None:
        return None
    return Window(to_board_s(fit, span.start_ns) + bound_s, to_board_s(fit, span.end_ns) - bound_s)


def to_board_s(fit: ClockFit, host_ns: int) -> float:
    """Return a host time on the board's clock, s: the inverse of ClockFit.to_host_s."""
    ahead_ns = (host_ns - fit.reference_ns - fit.offset_ns) / (1.0 + fit.drift)
    return fit.reference_ns / 1e9 + ahead_ns / 1e9

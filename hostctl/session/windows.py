"""Where the windows of a run lie on the clock of its trace. Pure.

The loop's window is known on the board's clock, the idle windows on the host's; a trace's times are on one of the two, and may be
off from it by a bound of their own. Where marks of the run were found in the trace itself, those tell.
"""

from __future__ import annotations

from dataclasses import dataclass

from power.align.relation import Alignment
from power.clock import ClockFit
from power.errors import WindowInvalid
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


@dataclass(frozen=True, slots=True)
class Placing:
    """How times get on the clock of a trace.

    fit            host and board
    clock          which of the two the trace's times are on
    trace_bound_s  how far all of them together may be off from it
    marks          board and trace, by marks in the trace; None where there are none, and the clocks have to tell
    """

    fit: ClockFit
    clock: Clock
    trace_bound_s: float = 0.0
    marks: Alignment | None = None

    def run(self, start_ns: int, end_ns: int) -> tuple[Window, float]:
        """Place a window of the board's clock; return it and the largest error of its edges, s."""
        if self.marks is not None:
            return self.marks.window(start_ns / 1e9, end_ns / 1e9)
        if self.clock == "board":
            return Window(start_ns / 1e9, end_ns / 1e9), self.trace_bound_s
        window, bound_s = self.fit.window(start_ns, end_ns)
        return window, bound_s + self.trace_bound_s

    def idle(self, span: Span | None) -> Window | None:
        """Place a span of the host's clock, cut at both ends by what is unsure, so that nothing but idling lies in it."""
        if span is None:
            return None
        if self.marks is None and self.clock == "host":
            return _cut(span.start_ns / 1e9, span.end_ns / 1e9, self.trace_bound_s)
        edges_s = [to_board_s(self.fit, edge_ns) for edge_ns in (span.start_ns, span.end_ns)]
        bound_s = max(self.fit.bound_at_ns(round(edge_s * 1e9)) for edge_s in edges_s) / 1e9
        if self.marks is None:
            return _cut(edges_s[0], edges_s[1], bound_s + self.trace_bound_s)
        bound_s += max(self.marks.bound_at_s(edge_s) for edge_s in edges_s)
        start_s, end_s = (self.marks.to_trace_s(edge_s) for edge_s in edges_s)
        return _cut(start_s, end_s, bound_s)


def place(placing: Placing, start_ns: int, end_ns: int, before: Span | None, after: Span | None) -> Windows:
    """Place the loop's window (board's clock, ns) and the idle spans on the clock of a trace.

    Raises WindowInvalid where the clocks leave nothing of an idle span.
    """
    run, bound_s = placing.run(start_ns, end_ns)
    return Windows(run, placing.idle(before), placing.idle(after), bound_s)


def _cut(start_s: float, end_s: float, bound_s: float) -> Window:
    if end_s - start_s <= 2.0 * bound_s:
        raise WindowInvalid(
            f"The clocks agree within {bound_s:.3g} s only, which leaves nothing of an idle window of {end_s - start_s:.3g} s; "
            "use a longer --idle."
        )
    return Window(start_s + bound_s, end_s - bound_s)


def to_board_s(fit: ClockFit, host_ns: int) -> float:
    """Return a host time on the board's clock, s: the inverse of ClockFit.to_host_s."""
    ahead_ns = (host_ns - fit.reference_ns - fit.offset_ns) / (1.0 + fit.drift)
    return fit.reference_ns / 1e9 + ahead_ns / 1e9

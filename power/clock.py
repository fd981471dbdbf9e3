"""How a board's monotonic clock relates to the host's, with a bound that holds whatever the network did.

A probe is four times: the host sends (t0), the board receives (t1) and answers (t2), the host receives (t3). The board's
t1 lies after t0 and its t2 before t3, so host − board is within [t0 − t1, t3 − t2]: no assumption about how the delay splits
is needed (F. Cristian, "Probabilistic clock synchronization", Distributed Computing 3, 1989; the midpoint is NTP's, RFC 5905
section 8). The probes with the shortest delay, one early and one late, give offset and drift; between them the bound is
the wider of their half widths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from power.errors import ClockError
from power.trace import Window

MAX_DRIFT = 500e-6
"""No two crystal oscillators differ by more in rate: their makers state ±100 ppm and less over temperature and age."""


@dataclass(frozen=True, slots=True)
class ClockProbe:
    """One exchange, ns. t0 and t3 are of the host's monotonic clock, t1 and t2 of the board's."""

    t0_ns: int
    t1_ns: int
    t2_ns: int
    t3_ns: int

    @property
    def delay_ns(self) -> int:
        """Time on the way, both ways together: the width of what the offset may be."""
        return (self.t3_ns - self.t0_ns) - (self.t2_ns - self.t1_ns)

    @property
    def offset_ns(self) -> int:
        """Host − board, the middle of what it may be."""
        return ((self.t0_ns - self.t1_ns) + (self.t3_ns - self.t2_ns)) // 2

    @property
    def middle_ns(self) -> int:
        """The board's time in the middle of its answering."""
        return (self.t1_ns + self.t2_ns) // 2


@dataclass(frozen=True, slots=True)
class ClockFit:
    """host = board + offset_ns + drift × (board − reference_ns).

    reference_ns, last_ns  board times of the two probes it rests on
    offset_ns              host − board at the reference
    drift                  dimensionless; what the host's clock gains a board second
    bound_ns               largest error between the two probes; grows outside (see bound_at_ns)
    """

    reference_ns: int
    last_ns: int
    offset_ns: int
    drift: float
    bound_ns: float

    def to_host_s(self, board_ns: int) -> float:
        """Return a board time on the host's clock, s."""
        # Whole nanoseconds are added as integers: a double loses them after a hundred days of uptime.
        correction_ns = self.drift * (board_ns - self.reference_ns)
        return (board_ns + self.offset_ns) / 1e9 + correction_ns / 1e9

    def bound_at_ns(self, board_ns: int) -> float:
        """Return the largest error at a board time. Outside of the probes the drift is only known to be below 500 ppm."""
        outside_ns = max(self.reference_ns - board_ns, board_ns - self.last_ns, 0)
        return self.bound_ns + 2 * MAX_DRIFT * outside_ns

    def window(self, start_ns: int, end_ns: int) -> tuple[Window, float]:
        """Return a window of board times on the host's clock, and the largest error of its edges, s."""
        bound_ns = max(self.bound_at_ns(start_ns), self.bound_at_ns(end_ns))
        return Window(self.to_host_s(start_ns), self.to_host_s(end_ns)), bound_ns / 1e9


def fit(probes: Sequence[ClockProbe]) -> ClockFit:
    """Relate the clocks by probes taken before and after what matters (in any order).

    Raises ClockError if there is no probe, one contradicts causality, or the board's clock was reset in between.
    """
    if not probes:
        raise ClockError("The board's clock was not probed, so its times cannot be placed on the host's.")
    for probe in probes:
        _check(probe)
    first, last = _best_early_and_late(sorted(probes, key=lambda probe: probe.t0_ns))
    span_ns = last.middle_ns - first.middle_ns
    bound_ns = max(first.delay_ns, last.delay_ns) / 2
    if span_ns <= 0:
        return ClockFit(first.middle_ns, first.middle_ns, first.offset_ns, 0.0, first.delay_ns / 2)
    drift = (last.offset_ns - first.offset_ns) / span_ns
    if abs(drift) > MAX_DRIFT + 2 * bound_ns / span_ns:
        raise ClockError(
            f"The board's clock gained {drift * 1e6:.0f} ppm on the host's between two probes, which no oscillator does; "
            "it was reset or the board slept: measure again."
        )
    # A drift that no clock has is noise of probes close together; what is believed of it must not exceed MAX_DRIFT, or the
    # bound would not hold away from them.
    drift = min(max(drift, -MAX_DRIFT), MAX_DRIFT)
    return ClockFit(first.middle_ns, last.middle_ns, first.offset_ns, drift, bound_ns)


def _best_early_and_late(probes: Sequence[ClockProbe]) -> tuple[ClockProbe, ClockProbe]:
    middle_ns = (probes[0].t0_ns + probes[-1].t3_ns) / 2
    early = [probe for probe in probes if probe.t3_ns <= middle_ns] or [probes[0]]
    late = [probe for probe in probes if probe.t0_ns >= middle_ns] or [probes[-1]]
    return min(early, key=lambda probe: probe.delay_ns), min(late, key=lambda probe: probe.delay_ns)


def _check(probe: ClockProbe) -> None:
    if probe.t2_ns < probe.t1_ns or probe.t3_ns < probe.t0_ns or probe.delay_ns < 0:
        raise ClockError(
            "A clock probe was answered before it was asked, so one of the clocks is not monotonic; check the board's kernel."
        )

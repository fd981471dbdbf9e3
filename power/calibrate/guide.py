"""Leads a person or a script through a calibration. Does no I/O: it says what to do next, and is told what was read.

guide = Guide(Plan(loads_w=(0.0, 1.0, 2.5, 5.0)))
while (step := guide.next_step()).kind != "done":
    ...                             # do what it says, then tell: prepared, take, repeat or accept
certificate = guide.certify(subject, reference, conditions)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from power.calibrate.certificate import Certificate
from power.calibrate.errors import CalibrationError, PointsInvalid
from power.calibrate.fitting import LEAST_LOADS, Fit, Judgement, Point, fit, judge
from power.calibrate.parties import Conditions, Reference, Subject

PREPARATION = (
    "Let meter, reference and load warm up with current for 20 to 30 minutes, at the temperature they will be used at.",
    "Degauss a current probe while no current flows through it, then set its zero; with n turns through a clamp divide by n.",
    "Connect the reference so that meter and reference see the same power: no meter's own supply or shunt between them.",
    "Fix the meter's range; each range has a calibration of its own.",
)
"""What has to be done before the first reading; sources: docs/calibration.md."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Which loads are read, W: zero and at least three others, in any order.

    rounds       how often; every other round goes down again, which shows hysteresis and drift
    linearity_w  standard uncertainty of the meter's linearity where its maker states one
    """

    loads_w: tuple[float, ...]
    rounds: int = 1
    linearity_w: float = 0.0

    def __post_init__(self) -> None:
        if not all(math.isfinite(load) and load >= 0.0 for load in self.loads_w):
            raise PointsInvalid("A load is a finite number of watts from 0 on; correct the list of loads.")
        if len(set(self.loads_w)) != len(self.loads_w):
            raise PointsInvalid("A load is listed twice; to read all of them again, ask for more rounds.")
        if 0.0 not in self.loads_w or len(self.loads_w) <= LEAST_LOADS:
            raise PointsInvalid(
                f"A calibration needs zero and at least {LEAST_LOADS} loads over the working range, such as 0,1,2.5,5."
            )
        if self.rounds < 1:
            raise PointsInvalid(f"A calibration needs at least one round, not {self.rounds}.")

    @property
    def sequence_w(self) -> tuple[float, ...]:
        """All loads in the order in which they are read: up, down, up …"""
        up = tuple(sorted(self.loads_w))
        return tuple(load for i in range(self.rounds) for load in (up if i % 2 == 0 else up[::-1]))


@dataclass(frozen=True, slots=True)
class Step:
    """What to do next.

    prepare   see to PREPARATION, then `prepared`
    measure   set `load_w`, read meter and reference, then `take`; `number` of `of`; `is_repeat` after a doubtful reading
    decide    the points do not lie on a line as well as they should (Guide.judgement): `repeat` or `accept`
    done      `certify`
    """

    kind: Literal["prepare", "measure", "decide", "done"]
    text: str
    load_w: float | None = None
    number: int = 0
    of: int = 0
    is_repeat: bool = False


class Guide:
    """A calibration under way. `points` are those taken before, where it is resumed: in the plan's order, none left out."""

    def __init__(self, plan: Plan, points: Iterable[Point] = ()) -> None:
        self.plan = plan
        self._sequence_w = plan.sequence_w
        self._points = list(points)
        known = tuple(point.load_w for point in self._points)
        if known != self._sequence_w[: len(known)]:
            raise CalibrationError(
                "The points that were kept are not those of this plan; begin the calibration anew."
            )
        self._is_prepared = bool(self._points)
        self._again: int | None = None
        self._repeated: set[int] = set()
        self._is_accepted = False
        self._fit: Fit | None = None

    @property
    def points(self) -> tuple[Point, ...]:
        """Points taken so far."""
        return tuple(self._points)

    @property
    def fit(self) -> Fit:
        """The line. Raises PointsInvalid, also while points are missing."""
        if len(self._points) < len(self._sequence_w):
            raise PointsInvalid(
                f"{len(self._sequence_w) - len(self._points)} of {len(self._sequence_w)} points are still missing."
            )
        if self._fit is None:
            self._fit = fit(self._points, self.plan.linearity_w)
        return self._fit

    @property
    def judgement(self) -> Judgement:
        """Whether the points may be signed for. Raises PointsInvalid."""
        return judge(self._points, self.fit)

    def next_step(self) -> Step:
        """What to do next. Raises PointsInvalid once all points are there but no line may be drawn through them."""
        if not self._is_prepared:
            return Step("prepare", " ".join(PREPARATION))
        total = len(self._sequence_w)
        if self._again is not None:
            return self._measure(self._again, total, is_repeat=True)
        if len(self._points) < total:
            return self._measure(len(self._points), total, is_repeat=False)
        if not self._is_accepted and not self.judgement.is_good:
            return Step("decide", self.judgement.text)
        return Step("done", "All points are read.")

    def prepared(self) -> None:
        """Everything is warm, zeroed and connected."""
        self._is_prepared = True

    def take(self, point: Point) -> None:
        """Take the point that `next_step` asked for.

        Raises CalibrationError for another one, PointsInvalid for one at which the meter claims to be exact.
        """
        step = self.next_step()
        if step.kind != "measure" or point.load_w != step.load_w:
            raise CalibrationError(
                f"No point at {point.load_w:g} W was asked for; the next step is: {step.text}"
            )
        if point.u_raw_w == 0.0 and self.plan.linearity_w == 0.0:
            raise PointsInvalid(
                f"The meter's reading at {point.load_w:g} W does not scatter and its resolution is not known, so that nobody can "
                "tell how well it reads; state accuracy = {gain = ..., offset_w = ..., resolution_w = ...} in farm.toml, or its "
                "linearity."
            )
        self._fit = None
        if self._again is None:
            self._points.append(point)
        else:
            self._points[self._again] = point
            self._again = None

    def repeat(self, index: int | None = None) -> None:
        """Read a point again, in place of the first reading; by default the likeliest that was not repeated yet.

        Raises CalibrationError if there is no such point.
        """
        chosen = self._likeliest() if index is None else index
        if not 0 <= chosen < len(self._points):
            raise CalibrationError(f"There is no point {chosen}; there are {len(self._points)}.")
        self._again = chosen
        self._repeated.add(chosen)
        self._is_accepted = False

    def _likeliest(self) -> int:
        suspects = self.judgement.suspects or (self.fit.worst,)
        fresh = [suspect for suspect in suspects if suspect not in self._repeated]
        return (fresh or suspects)[0]

    def accept(self) -> None:
        """Sign in spite of a doubtful point: the scatter counts as the meter's linearity then, and the certificate says so."""
        self._is_accepted = True

    def certify(self, subject: Subject, reference: Reference, conditions: Conditions) -> Certificate:
        """Return the certificate. Raises CalibrationError before the next step is `done`."""
        if self.next_step().kind != "done":
            raise CalibrationError(f"The calibration is not done; the next step is: {self.next_step().text}")
        return Certificate(subject, reference, conditions, self.points, self.fit)

    def _measure(self, index: int, total: int, *, is_repeat: bool) -> Step:
        load_w = self._sequence_w[index]
        again = " again" if is_repeat else ""
        what = "Switch the load off" if load_w == 0.0 else f"Set the load to {load_w:g} W"
        return Step(
            "measure", f"{what}{again} (point {index + 1} of {total}).", load_w, index + 1, total, is_repeat
        )


def walk(guide: Guide, measure: Callable[[Step], Point], *, repeats: int = 2) -> Fit:
    """Go through a calibration without a person: `measure` sets the load of a step and returns its point.

    Doubtful points are read again, at most `repeats` times in all. Raises CalibrationError if they stay doubtful.
    """
    left = repeats
    while (step := guide.next_step()).kind != "done":
        if step.kind == "prepare":
            guide.prepared()
        elif step.kind == "measure":
            guide.take(measure(step))
        elif left:
            left -= 1
            guide.repeat()
        else:
            raise CalibrationError(step.text)
    return guide.fit

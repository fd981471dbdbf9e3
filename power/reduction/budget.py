"""The uncertainty of an energy per inference as a table, after GUM 7.2.7 and annex H: from what, how much, how combined.

One line an input quantity: its standard uncertainty, what the result changes by per unit of it (sensitivity), the product of
both (contribution), and its share of the combined variance. Where inputs are correlated, a line of its own holds what that adds
or takes (GUM 5.2.2). The contributions, added in squares, are the combined uncertainty of the result, line for line.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from power.reduction.idle import Idle
from power.reduction.parts import Parts
from power.reduction.report import EnergyReport
from power.uncertainty import COVERAGE, Accuracy, Between, GainOffset, Quantity

_SQRT3, _SQRT6 = math.sqrt(3.0), math.sqrt(6.0)


@dataclass(frozen=True, slots=True)
class Line:
    """One input quantity.

    u                 its standard uncertainty, in `unit`; None if unknown, and for a correlation, which has none
    sensitivity       mJ per inference and `unit`
    contribution_mj   |sensitivity| × u; negative where a correlation takes away: then its square counts negatively
    share             of the combined variance, which they add up to; None where that is unknown
    """

    name: str
    source: str
    distribution: str
    u: float | None
    unit: str
    sensitivity: float | None
    contribution_mj: float | None
    share: float | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """The budget of one energy per inference, mJ. u and U (k = 2) are None if any line is unknown."""

    value_mj: float
    u_mj: float | None
    lines: tuple[Line, ...]
    remarks: tuple[str, ...]

    @property
    def expanded_mj(self) -> float | None:
        """U, k = 2."""
        return None if self.u_mj is None else COVERAGE * self.u_mj

    def as_json(self) -> dict[str, Any]:
        """Return the object that a result holds."""
        return {
            "value_mj": self.value_mj,
            "u_mj": self.u_mj,
            "expanded_mj": self.expanded_mj,
            "lines": [
                {name: getattr(line, name) for name in Line.__dataclass_fields__} for line in self.lines
            ],
            "remarks": list(self.remarks),
        }


@dataclass(frozen=True, slots=True)
class Budget:
    """Gross and net energy per inference; net None without an idle model."""

    gross: Table
    net: Table | None

    def as_json(self) -> dict[str, Any]:
        """Return the object that a result holds."""
        net = None if self.net is None else self.net.as_json()
        return {"k": COVERAGE, "gross": self.gross.as_json(), "net": net}


def budget(report: EnergyReport, inferences: int, clock_method: str = "round-trip") -> Budget:
    """Return the budget of a report's energies, divided by a number of inferences. Raises ValueError unless it is positive."""
    if inferences < 1:
        raise ValueError(f"energy per inference needs an inference, not {inferences}")
    maker = _Maker(report.parts, inferences, clock_method)
    gross = maker.table(report.power_w, maker.gross_lines(), maker.gross_remarks())
    net, idle = report.net_power_w, report.parts.idle
    if net is None or idle is None:
        return Budget(gross, None)
    return Budget(gross, maker.table(net, maker.net_lines(idle), maker.net_remarks(idle)))


@dataclass(frozen=True, slots=True)
class _Maker:
    parts: Parts
    inferences: int
    clock_method: str

    @property
    def per_w(self) -> float:
        """What a watt over the run is per inference, mJ."""
        return 1e3 * self.parts.run.window.duration_s / self.inferences

    def table(self, power_w: Quantity, lines: Iterable[Line], remarks: Iterable[str]) -> Table:
        """Sum up, and say of each line what share it has."""
        u_mj = None if power_w.u_std is None else power_w.u_std * self.per_w
        shared = tuple(_with_share(line, u_mj) for line in lines)
        return Table(power_w.value * self.per_w, u_mj, shared, tuple(remarks))

    def gross_lines(self) -> Iterable[Line]:
        """Yield what gross energy is uncertain by."""
        yield from self._meter("", self.parts.accuracy, self.parts.run.mean_w)
        yield self._scatter("noise of the run", self.parts.power_w().parts["noise"])
        yield from self._edges()

    def net_lines(self, idle: Idle) -> Iterable[Line]:
        """Yield what net energy is uncertain by."""
        yield from self._net_meter(idle)
        net = self.parts.above(idle).parts
        yield self._scatter("noise of the run", net["noise"])
        if idle.given is None:
            yield self._scatter("noise of idle", net["idle"], -1.0)
        else:
            yield self._line("idle power", "given", "as stated", net["idle"], "W", -self.per_w)
        if idle.drift_w is not None and idle.given is None:
            source = f"{idle.drift_w:+.3g} W in between, '{idle.model}'"
            yield self._line("idle drift", source, "rectangular", net["drift"], "W", -self.per_w)
        yield from self._edges()

    def gross_remarks(self) -> Iterable[str]:
        """Yield what a reader has to know of correlations in gross energy."""
        accuracy = self.parts.accuracy
        if isinstance(accuracy, GainOffset) and accuracy.correlation == 1.0:
            yield "The specification limits gain and offset error together, so they are taken as fully correlated (r = 1)."
        elif isinstance(accuracy, GainOffset) and accuracy.correlation != 0.0:
            yield f"Gain and offset are of one fit and correlated by r = {accuracy.correlation:+.2f}."

    def net_remarks(self, idle: Idle) -> Iterable[str]:
        """Yield what a reader has to know of correlations between run and idle."""
        parts = self.parts
        if idle.given is not None:
            yield "The idle power was given, not measured here: nothing cancels."
            return
        if parts.accuracy is None or parts.idle_accuracy is None or parts.accuracy.covers_noise:
            return
        apart_w = math.hypot(
            parts.accuracy.u_power_w(parts.run.mean_w), parts.idle_accuracy.u_power_w(idle.mean_w)
        )
        if parts.same_range:
            yield (
                "Run and idle were read on one range: the meter's offset cancels and its gain acts on their difference only. "
                f"Counted as independent the meter would contribute {apart_w * self.per_w:.3g} mJ."
            )
        else:
            yield "Run and idle were read on different ranges: their gains and offsets are independent, and nothing cancels."

    def _net_meter(self, idle: Idle) -> Iterable[Line]:
        parts, power_w = self.parts, self.parts.run.mean_w
        if idle.given is not None:
            yield from self._meter("", parts.accuracy, power_w)
        elif not parts.same_range:
            yield from self._meter(" (run)", parts.accuracy, power_w)
            yield from self._meter(" (idle)", parts.idle_accuracy, idle.mean_w, -1.0)
        elif isinstance(parts.accuracy, GainOffset):
            yield from self._gain_and_offset("", parts.accuracy, power_w - idle.mean_w, 0.0, math.sqrt(2.0))
        else:
            u_w = None if parts.accuracy is None else parts.accuracy.u_difference_w(power_w, idle.mean_w)
            yield self._line("meter", *_source(parts.accuracy), u_w, "W", self.per_w)

    def _meter(
        self, which: str, accuracy: Accuracy | None, power_w: float, sign: float = 1.0
    ) -> Iterable[Line]:
        if isinstance(accuracy, GainOffset):
            yield from self._gain_and_offset(which, accuracy, sign * power_w, sign, 1.0)
        else:
            u_w = None if accuracy is None else accuracy.u_power_w(power_w)
            yield self._line(f"meter{which}", *_source(accuracy), u_w, "W", sign * self.per_w)

    def _gain_and_offset(
        self, which: str, accuracy: GainOffset, gain_w: float, offset: float, steps: float
    ) -> Iterable[Line]:
        """Yield gain (acts on gain_w), offset (counts `offset` times), their correlation, and the readings' steps."""
        source, shape = accuracy.source or "stated", accuracy.distribution
        gain = self._line(f"gain{which}", source, shape, accuracy.u_gain, "1", gain_w * self.per_w)
        zero = self._line(f"offset{which}", source, shape, accuracy.u_offset_w, "W", offset * self.per_w)
        yield gain
        yield zero
        product = (gain.contribution_mj or 0.0) * (zero.contribution_mj or 0.0)
        r = accuracy.correlation * math.copysign(1.0, gain_w * offset)
        if product * r != 0.0:
            shared = math.copysign(math.sqrt(abs(2.0 * r * product)), r)
            yield Line(f"gain with offset{which}", f"r = {r:+.2f}", "correlation", None, "", None, shared)
        if accuracy.resolution_w > 0.0:
            yield self._line(
                f"resolution{which}", source, "rectangular", accuracy.u_step_w, "W", steps * self.per_w
            )

    def _scatter(self, name: str, u_w: float | None, sign: float = 1.0) -> Line:
        if self.parts.accuracy is not None and self.parts.accuracy.covers_noise:
            source = "in the meter's figure"
        elif self.parts.is_counter:
            source = "a counter misses nothing" if sign > 0 else "a counter's idle: see drift"
        else:
            source = "batch means of the readings"
        return self._line(name, source, "Student", u_w, "W", sign * self.per_w)

    def _edges(self) -> Iterable[Line]:
        parts, per_j = self.parts, 1e3 / self.inferences
        blur_s, bound_s = parts.run.blur_s, parts.clock_bound_s
        source = f"{blur_s:.3g} s of unseen steps"
        yield self._line("edges", source, "in full", blur_s, "s", parts.step_w * per_j)
        if parts.is_counter and parts.update_s:
            stale = f"renewed each {parts.update_s:.3g} s"
            yield self._line(
                "counter's age", stale, "triangular", parts.update_s / _SQRT6, "s", parts.run.mean_w * per_j
            )
        if parts.is_counter and parts.step_j:
            steps = f"counts in steps of {parts.step_j:.3g} J"
            yield self._line("counter's steps", steps, "triangular", parts.step_j / _SQRT6, "J", per_j)
        u_s = None if bound_s is None else bound_s / _SQRT3
        clock = self.clock_method if bound_s is None else f"{self.clock_method}, ±{bound_s:.3g} s"
        yield self._line(
            "clock, two edges", clock, "rectangular", u_s, "s", math.sqrt(2.0) * parts.step_w * per_j
        )

    def _line(
        self, name: str, source: str, distribution: str, u: float | None, unit: str, sensitivity: float
    ) -> Line:
        contribution = None if u is None else abs(sensitivity) * u
        return Line(name, source, distribution, u, unit, sensitivity, contribution)


def _with_share(line: Line, u_mj: float | None) -> Line:
    if line.contribution_mj is None or not u_mj:
        return line
    part = math.copysign(line.contribution_mj**2, line.contribution_mj) / (u_mj * u_mj)
    return replace(line, share=part)


def _source(accuracy: Accuracy | None) -> tuple[str, str]:
    """Return where the figure of a meter without gain and offset is from, and its distribution."""
    if accuracy is None:
        return "nobody states it", "unknown"
    if isinstance(accuracy, Between):
        return f"true power is {accuracy.low_w:.3g} to {accuracy.high_w:.3g} W", "rectangular"
    return "stated", "as stated"


def combined_mj(lines: Sequence[Line]) -> float | None:
    """Return the lines' contributions added in squares, negative ones subtracted; None if one is unknown."""
    total = 0.0
    for line in lines:
        if line.contribution_mj is None:
            return None
        total += math.copysign(line.contribution_mj**2, line.contribution_mj)
    return math.sqrt(max(0.0, total))

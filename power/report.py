"""From a trace and its windows to energies with an uncertainty budget: one pure function.

    E_gross = ∫ P dt        u² = T² [u²(meter, P) + u²(noise, P)] + u²(edges)
    E_net   = E_gross − T·P_idle
                            u² = T² [u²(meter, P − P_idle) + u²(noise, P) + u²(noise, idle) + u²(drift)] + u²(edges)

Source: JCGM 100:2008 (GUM), 5.1 and 5.2. docs/methodology.md explains every part.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from power.energy import WindowEnergy, energies
from power.idle import Idle, IdleModel, idle_power
from power.trace import Trace, Window
from power.uncertainty import Accuracy, Quantity

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


@dataclass(frozen=True, slots=True)
class EnergyReport:
    """Energies of a run. Quantities carry parts named meter, noise, edges, clock, idle and drift.

    gross_j, power_w         energy of the run, and its mean power
    net_j, net_power_w       the same above idle; None without an idle model
    idle_power_w             mean of the idle model over the run; None without one
    idle_drift_w             idle power after − before, None unless both were measured
    accuracy_known           false if the meter's accuracy is unknown; u_std is then None everywhere
    """

    window: Window
    kind: Kind
    gross_j: Quantity
    power_w: Quantity
    net_j: Quantity | None
    net_power_w: Quantity | None
    idle_power_w: Quantity | None
    idle_model: IdleModel | None
    idle_drift_w: float | None
    samples: int
    gaps: int
    gap_s: float
    clipped: int | None
    clock_bound_s: float | None
    accuracy_known: bool
    flags: tuple[Flag, ...]


def energy_report(
    trace: Trace | Iterable[Trace],
    run: Window,
    *,
    accuracy: Accuracy | None,
    clock_bound_s: float | None,
    idle_before: Window | None = None,
    idle_after: Window | None = None,
    idle_model: IdleModel | None = "linear",
    idle_fixed: Quantity | None = None,
    kind: Kind = "measured",
    same_range: bool = True,
    limits: Limits | None = None,
) -> EnergyReport:
    """Reduce a trace (or its successive pieces) to the energies of the run. Everything is on the host's clock, in s.

    accuracy       of the meter; None if unknown, which leaves every u_std None and raises ACCURACY_UNKNOWN
    clock_bound_s  largest error of the window's edges on the trace's clock; None if unknown
    idle_model     None measures gross energy only
    same_range     whether run and idle were read on one range, so that the meter's offset cancels in the net energy

    Raises WindowInvalid if the trace does not cover a window or the model lacks one, TraceInvalid without samples.
    """
    chunks = [trace] if isinstance(trace, Trace) else trace
    wanted = [window for window in (run, idle_before, idle_after) if window is not None]
    found, meter = _reduce(chunks, wanted)
    total = found[0]
    rest = iter(found[1:])
    before = next(rest) if idle_before is not None else None
    after = next(rest) if idle_after is not None else None
    idle = None if idle_model is None else idle_power(idle_model, run, before, after, idle_fixed)
    budget = _Budget(total, idle, accuracy, clock_bound_s, same_range, meter)
    net = budget.net_power_w()
    gross = budget.power_w()
    return EnergyReport(
        window=run,
        kind=kind,
        gross_j=gross.times(run.duration_s),
        power_w=gross,
        net_j=None if net is None else net.times(run.duration_s),
        net_power_w=net,
        idle_power_w=budget.idle_power_w(),
        idle_model=idle_model,
        idle_drift_w=None if idle is None else idle.drift_w,
        samples=total.samples,
        gaps=sum(window.gaps for window in found),
        gap_s=sum(window.gap_s for window in found),
        clipped=None if total.clipped is None else sum(window.clipped or 0 for window in found),
        clock_bound_s=clock_bound_s,
        accuracy_known=accuracy is not None,
        flags=tuple(_flags(found, before, after, idle, budget, kind, limits or Limits())),
    )


@dataclass(slots=True)
class _Source:
    """How the meter reads, learned from the trace as it goes by."""

    counter: bool = False
    update_s: float | None = None


def _reduce(chunks: Iterable[Trace], windows: list[Window]) -> tuple[list[WindowEnergy], _Source]:
    source = _Source()

    def watched() -> Iterable[Trace]:
        for chunk in chunks:
            source.counter, source.update_s = chunk.reading == "counter", chunk.update_s
            yield chunk

    return energies(watched(), windows), source


@dataclass(frozen=True, slots=True)
class _Budget:
    """The parts of the uncertainty, each as a mean power over the run."""

    run: WindowEnergy
    idle: Idle | None
    accuracy: Accuracy | None
    clock_bound_s: float | None
    same_range: bool
    source: _Source

    def power_w(self) -> Quantity:
        power_w = self.run.mean_w
        meter = None if self.accuracy is None else self.accuracy.u_power_w(power_w)
        parts = {"meter": meter, "noise": self._run_noise(), **self._edge_parts()}
        return Quantity.of(power_w, parts)

    def idle_power_w(self) -> Quantity | None:
        idle = self.idle
        if idle is None:
            return None
        if idle.given is not None:
            return idle.given
        meter = None if self.accuracy is None else self.accuracy.u_power_w(idle.mean_w)
        return Quantity.of(idle.mean_w, {"meter": meter, "idle": self.idle_noise(), "drift": idle.u_drift_w})

    def net_power_w(self) -> Quantity | None:
        idle = self.idle
        if idle is None:
            return None
        given = None if idle.given is None else idle.given.u_std
        parts = {
            "meter": self._meter_net(idle),
            "noise": self._run_noise(),
            **self._edge_parts(),
            "idle": self.idle_noise() if idle.given is None else given,
            "drift": idle.u_drift_w,
        }
        return Quantity.of(self.run.mean_w - idle.mean_w, parts)

    def step_w(self) -> float:
        """Return the step of power at the edges; all of it where idle is unknown."""
        return abs(self.run.mean_w - (self.idle.mean_w if self.idle is not None else 0.0))

    def _meter_net(self, idle: Idle) -> float | None:
        if self.accuracy is None:
            return None
        if idle.given is not None:
            return self.accuracy.u_power_w(self.run.mean_w)
        if self.same_range:
            return self.accuracy.u_difference_w(self.run.mean_w, idle.mean_w)
        return math.hypot(self.accuracy.u_power_w(self.run.mean_w), self.accuracy.u_power_w(idle.mean_w))

    def _run_noise(self) -> float | None:
        # A counter misses nothing of the run, however much the load scatters.
        return 0.0 if self._covers_noise or self.source.counter else self.run.u_noise_w

    def idle_noise(self) -> float | None:
        """Return what the scatter of the idle readings makes the model uncertain by; None if it cannot be told."""
        if self.idle is None or self._covers_noise:
            return 0.0
        if self.source.counter and self.idle.drift_w is not None and self.idle.u_noise_w is None:
            return 0.0  # read at its edges only: what idle power scatters by is what the drift part holds
        return self.idle.u_noise_w

    @property
    def _covers_noise(self) -> bool:
        return self.accuracy is not None and self.accuracy.covers_noise

    def _edge_parts(self) -> dict[str, float | None]:
        duration_s = self.run.window.duration_s
        # Both edges blur the same way, so their errors add; anything up to the whole is equally likely.
        edges_j = self.step_w() * self.run.blur_s / math.sqrt(3.0)
        # A counter is stale by up to its renewal at either edge.
        update_s = self.source.update_s or 0.0
        stale_j = abs(self.run.mean_w) * update_s / math.sqrt(6.0)
        clock = None
        if self.clock_bound_s is not None:
            clock = math.sqrt(2.0) * self.step_w() * self.clock_bound_s / math.sqrt(3.0) / duration_s
        return {"edges": math.hypot(edges_j, stale_j) / duration_s, "clock": clock}


def _flags(
    found: list[WindowEnergy],
    before: WindowEnergy | None,
    after: WindowEnergy | None,
    idle: Idle | None,
    budget: _Budget,
    kind: Kind,
    limits: Limits,
) -> Iterable[Flag]:
    if kind == "estimated":
        yield Flag("ENERGY_ESTIMATED", "Power is estimated from processor time; no meter measured it.")
    elif kind == "simulated":
        yield Flag("ENERGY_SIMULATED", "Power comes from a simulated instrument.")
    if budget.accuracy is None:
        yield Flag(
            "ACCURACY_UNKNOWN", "The accuracy of the meter is unknown, so no uncertainty can be stated."
        )
    gaps = sum(window.gaps for window in found)
    if gaps:
        lost_s = sum(window.gap_s for window in found)
        yield Flag("TRACE_GAPS", f"The trace has {gaps} gap(s), together {lost_s:.3g} s, in the windows.")
    clipped = sum(window.clipped or 0 for window in found)
    if clipped:
        yield Flag("CLIPPED_SAMPLES", f"{clipped} sample(s) were at the meter's limit; use a wider range.")
    yield from _sample_flags(found, budget, limits)
    yield from _edge_flags(budget, limits)
    yield from _idle_flags(before, after, idle, budget, limits)


def _sample_flags(found: list[WindowEnergy], budget: _Budget, limits: Limits) -> Iterable[Flag]:
    if budget.accuracy is not None and budget.accuracy.covers_noise:
        return
    fewest = min(window.samples for window in found)
    sampled = not budget.source.counter
    if budget.idle_noise() is None or (sampled and (fewest < limits.samples or budget.run.u_noise_w is None)):
        yield Flag(
            "TOO_FEW_SAMPLES",
            f"A window holds {fewest} reading(s) only, too few to tell the noise; measure longer or sample faster.",
        )


def _edge_flags(budget: _Budget, limits: Limits) -> Iterable[Flag]:
    duration_s = budget.run.window.duration_s
    if budget.clock_bound_s is None:
        yield Flag("CLOCK_BOUND_TOO_WIDE", "It is unknown how the clocks relate, so the edges are too.")
    elif 2.0 * budget.clock_bound_s > limits.edges * duration_s:
        yield Flag(
            "CLOCK_BOUND_TOO_WIDE",
            f"The clocks agree within {budget.clock_bound_s * 1e3:.3g} ms only, too wide for a window of "
            f"{duration_s:.3g} s; measure longer.",
        )
    if budget.run.blur_s > limits.edges * duration_s:
        yield Flag(
            "EDGES_BLURRED",
            f"The meter is too slow for a window of {duration_s:.3g} s: its edges are blurred by "
            f"{budget.run.blur_s * 1e3:.3g} ms; measure longer or sample faster.",
        )


def _idle_flags(
    before: WindowEnergy | None,
    after: WindowEnergy | None,
    idle: Idle | None,
    budget: _Budget,
    limits: Limits,
) -> Iterable[Flag]:
    if idle is None:
        return
    net_w = budget.run.mean_w - idle.mean_w
    if net_w <= 0.0:
        yield Flag("NET_NOT_POSITIVE", "The run drew no more than idle, so net figures mean nothing here.")
    if idle.drift_w is None or before is None or after is None:
        return
    noise_w = 2.0 * math.hypot(before.u_noise_w or 0.0, after.u_noise_w or 0.0)
    if abs(idle.drift_w) > max(limits.idle_drift * abs(net_w), noise_w):
        yield Flag(
            "IDLE_DRIFT",
            f"Idle power changed by {idle.drift_w:+.3g} W from before to after; let the board settle and repeat.",
        )

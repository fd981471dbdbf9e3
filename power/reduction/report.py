"""From a trace and its windows to energies with an uncertainty budget: one pure function.

    E_gross = ∫ P dt        u² = T² [u²(meter, P) + u²(noise, P)] + u²(edges)
    E_net   = E_gross − T·P_idle
                            u² = T² [u²(meter, P − P_idle) + u²(noise, P) + u²(noise, idle) + u²(drift)] + u²(edges)

Source: JCGM 100:2008 (GUM), 5.1 and 5.2. docs/methodology.md explains every part.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from power.reduction.energy import WindowEnergy, energies
from power.reduction.flags import Flag, Kind, Limits, flags_of
from power.reduction.idle import Idle, IdleModel, IdleState, idle_power
from power.reduction.parts import Parts
from power.trace import Trace, Window
from power.uncertainty import Accuracy, Quantity

__all__ = ["EnergyReport", "Flag", "Kind", "Limits", "StateReport", "energy_report"]


@dataclass(frozen=True, slots=True)
class StateReport:
    """A run held against one more idle state: its power, and what the run drew above it.

    is_measured  by this meter, rather than given by somebody
    """

    name: str
    power_w: Quantity
    net_power_w: Quantity
    net_j: Quantity
    is_measured: bool


@dataclass(frozen=True, slots=True)
class EnergyReport:
    """Energies of a run. Quantities carry parts named meter, noise, edges, clock, idle and drift.

    gross_j, power_w         energy of the run, and its mean power
    net_j, net_power_w       the same above idle; None without an idle model
    idle_power_w             mean of the idle model over the run; None without one
    idle_drift_w             idle power after − before, None unless both were measured
    accuracy_known           false if the meter's accuracy is unknown; u_std is then None everywhere
    states                   the run against further idle states, in the order they were given
    parts                    what the uncertainties are made of (power/reduction/budget.py makes a table of it)
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
    states: tuple[StateReport, ...]
    parts: Parts


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
    idle_accuracy: Accuracy | None = None,
    states: Sequence[IdleState] = (),
    limits: Limits | None = None,
) -> EnergyReport:
    """Reduce a trace (or its successive pieces) to the energies of the run. Everything is on the host's clock, in s.

    accuracy       of the meter; None if unknown, which leaves every u_std None and raises ACCURACY_UNKNOWN
    clock_bound_s  largest error of the window's edges on the trace's clock; None if unknown
    idle_model     None measures gross energy only
    same_range     whether run and idle were read on one range, so that the meter's offset cancels in the net energy
    idle_accuracy  of the meter in the idle windows, where another range had another; None: the same as in the run
    states         further idle states to hold the run against

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
    parts = Parts(
        run=total,
        idle=idle,
        accuracy=accuracy,
        idle_accuracy=idle_accuracy or accuracy,
        same_range=same_range and idle_accuracy is None,
        clock_bound_s=clock_bound_s,
        step_w=_step_w(total, idle),
        is_counter=meter.is_counter,
        update_s=meter.update_s,
        step_j=meter.step_j,
    )
    net = parts.net_power_w()
    gross = parts.power_w()
    return EnergyReport(
        window=run,
        kind=kind,
        gross_j=gross.times(run.duration_s),
        power_w=gross,
        net_j=None if net is None else net.times(run.duration_s),
        net_power_w=net,
        idle_power_w=parts.idle_power_w(),
        idle_model=idle_model,
        idle_drift_w=None if idle is None else idle.drift_w,
        samples=total.samples,
        gaps=sum(window.gaps for window in found),
        gap_s=sum(window.gap_s for window in found),
        clipped=None if total.clipped is None else sum(window.clipped or 0 for window in found),
        clock_bound_s=clock_bound_s,
        accuracy_known=accuracy is not None,
        flags=tuple(flags_of(found, before, after, idle, parts, kind, limits or Limits())),
        states=tuple(_against(parts, state) for state in states),
        parts=parts,
    )


def _step_w(run: WindowEnergy, idle: Idle | None) -> float:
    """Return the step of power at the edges; all of it where idle is unknown."""
    return abs(run.mean_w - (idle.mean_w if idle is not None else 0.0))


def _against(parts: Parts, state: IdleState) -> StateReport:
    idle, accuracy = state.as_idle(), state.accuracy or parts.accuracy
    held = replace(parts, idle=idle, idle_accuracy=accuracy, same_range=state.same_range)
    net_power_w = held.above(idle)
    net_j = net_power_w.times(parts.run.window.duration_s)
    return StateReport(state.name, held.power_of(idle), net_power_w, net_j, state.given is None)


@dataclass(slots=True)
class _Source:
    """How the meter reads, learned from the trace as it goes by."""

    is_counter: bool = False
    update_s: float | None = None
    step_j: float | None = None


def _reduce(chunks: Iterable[Trace], windows: list[Window]) -> tuple[list[WindowEnergy], _Source]:
    source = _Source()

    def watched() -> Iterable[Trace]:
        for chunk in chunks:
            source.is_counter, source.update_s = chunk.reading == "counter", chunk.update_s
            source.step_j = chunk.step_j
            yield chunk

    return energies(watched(), windows), source

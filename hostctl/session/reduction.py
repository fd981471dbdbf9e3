"""From what was recorded to energies: on which clock the trace is, where the windows lie in it, and what they hold. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hostctl.rules import Inside, Ranging
from hostctl.session.idlestates import choices, stated
from hostctl.session.record import Record, Recording
from hostctl.session.windows import Placing, Windows, place
from power.align.edge import align_edges, trace_edges
from power.align.latency import advanced
from power.align.pattern import fit_pattern
from power.align.relation import Alignment, by_round_trip, same_clock
from power.clock import MAX_DRIFT, ClockFit, fit
from power.errors import AlignmentError
from power.meter import Capabilities
from power.reduction.energy import energy
from power.reduction.idle import IdleModel, IdleState
from power.reduction.inside import strictly_inside
from power.reduction.report import energy_report
from power.trace import Trace
from power.uncertainty import Accuracy, Quantity

MARKS_WITHIN_S = 3.0
"""A meter's times may be late by so much, besides what the clocks are unsure of: marks are looked for that far away."""


def reduce(record: Record) -> None:
    """Turn windows and traces into energies with their uncertainties."""
    record.clock = clock = fit(record.probes)
    capabilities = record.capabilities
    if record.run is None or record.trace is None or capabilities is None:
        return
    record.trace = trace = _in_time(record, record.trace, in_place=True)
    result = record.run.result
    start_ns, end_ns = result.window_start_ns, result.window_end_ns
    marks = _marks(record, trace, clock, capabilities)
    placing = Placing(clock, capabilities.clock, trace.clock_bound_s, marks)
    record.windows = windows = place(placing, start_ns, end_ns, record.idle_before, record.idle_after)
    record.alignment = marks or (same_clock() if capabilities.clock == "board" else by_round_trip(clock))
    if marks is not None:
        unmarked, _ = Placing(clock, capabilities.clock).run(start_ns, end_ns)
        record.shift_s = windows.run.start_s - unmarked.start_s
    record.inside = Inside(*strictly_inside(trace, windows.run))
    record.report = energy_report(
        trace,
        windows.run,
        accuracy=capabilities.accuracy,
        clock_bound_s=windows.bound_s,
        idle_before=windows.before,
        idle_after=windows.after,
        idle_model=_idle_model(record, windows),
        idle_fixed=_fixed(record),
        kind=capabilities.kind,
        same_range=capabilities.same_range,
        states=tuple(_states(record, clock)),
    )
    if record.ranging is not None:
        record.ranged = _ranged(record, record.ranging, clock)


def _in_time(record: Record, trace: Trace, *, in_place: bool = False) -> Trace:
    """Take the meter's known latency off its times."""
    config = record.meter_config
    if config is None or (config.latency_s == 0.0 and config.latency_u_s == 0.0):
        return trace
    return advanced(trace, config.latency_s, config.latency_u_s, in_place=in_place)


def _marks(record: Record, trace: Trace, clock: ClockFit, capabilities: Capabilities) -> Alignment | None:
    """Align the trace by what it shows of the run; None where the clocks are to tell. Raises AlignmentError."""
    wanted = record.plan.align
    if record.run is None or wanted == "clock":
        return None
    result = record.run.result
    start_s, end_s = result.window_start_ns / 1e9, result.window_end_ns / 1e9
    placing = Placing(clock, capabilities.clock, trace.clock_bound_s)
    unmarked, bound_s = placing.run(result.window_start_ns, result.window_end_ns)
    middle_s = unmarked.start_s - start_s
    within_s = middle_s - bound_s - MARKS_WITHIN_S, middle_s + bound_s + MARKS_WITHIN_S
    if wanted == "pattern":
        return fit_pattern(trace, record.patterns, within_s)
    if wanted == "auto" and trace.marker is None:
        return None
    try:
        edges = trace_edges(trace)
        drift = _drift(clock, capabilities, end_s - start_s, edges.interval_s)
        return align_edges(edges, start_s, end_s, within_s, drift)
    except AlignmentError as error:
        if wanted == "edge":
            raise
        record.unaligned = str(error)
        return None


def _drift(
    clock: ClockFit, capabilities: Capabilities, length_s: float, enough_s: float
) -> tuple[float, float] | None:
    """Return the drift of the trace's clock against the board's and its largest error; None where that would be more than
    `enough_s` over a window."""
    if capabilities.clock == "board":
        return 0.0, 0.0
    span_ns = clock.last_ns - clock.reference_ns
    unsure = 2.0 * clock.bound_ns / span_ns if span_ns > 0 else MAX_DRIFT
    return (clock.drift, unsure) if unsure * length_s <= enough_s else None


def _idle_model(record: Record, windows: Windows) -> IdleModel | None:
    if record.plan.idle_model == "fixed" or (windows.before and windows.after):
        return record.plan.idle_model
    return None


def _fixed(record: Record) -> Quantity | None:
    plan = record.plan
    return None if plan.idle_w is None else stated(plan.idle_w, plan.idle_u_w)


def _states(record: Record, clock: ClockFit) -> Iterable[IdleState]:
    for choice in choices(record.plan, record.device):
        if choice.power_w is not None:
            yield IdleState.by_hand(choice.name, stated(choice.power_w, choice.u_w))
        elif record.bare is not None and record.bare.name == choice.name:
            yield _seen(record, record.bare, clock)


def _seen(record: Record, bare: Recording, clock: ClockFit) -> IdleState:
    trace = _in_time(record, bare.trace)
    window = Placing(clock, bare.capabilities.clock, trace.clock_bound_s).idle(bare.span)
    if window is None:
        raise AlignmentError(f"The idle state '{bare.name}' was recorded without its window; measure again.")
    same = same_range(record, bare)
    accuracy: Accuracy | None = None if same else bare.capabilities.accuracy
    return IdleState.seen(bare.name, energy(trace, window), accuracy=accuracy, same_range=same)


def same_range(record: Record, bare: Recording) -> bool:
    """Whether a meter was on one range in another recording and in the run."""
    capabilities: Sequence[Capabilities | None] = (record.capabilities, bare.capabilities)
    return (
        all(one is not None and one.same_range for one in capabilities)
        and record.range_text == bare.range_text
    )


def _ranged(record: Record, ranging: Recording, clock: ClockFit) -> Ranging | None:
    if ranging.run is None:
        return None
    trace = _in_time(record, ranging.trace)
    result = ranging.run.result
    window, _ = Placing(clock, ranging.capabilities.clock, trace.clock_bound_s).run(
        result.window_start_ns, result.window_end_ns
    )
    return Ranging(energy(trace, window).mean_w, window.duration_s, ranging.range_text)

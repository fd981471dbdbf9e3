"""What a result tells of how it came about: clocks, idle states, uncertainty budget, rules. Null is what was not done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hostctl.rules import MLPERF
from hostctl.session.environment import governor
from hostctl.session.idlestates import description
from hostctl.session.plan import LOADED
from hostctl.session.record import Record
from power.reduction.budget import budget
from power.reduction.report import EnergyReport
from power.uncertainty import Quantity

Facts = dict[str, Any]


def clock_facts(record: Record) -> Facts | None:
    """Return how the clocks relate, and by which method the window got its place in the trace.

    offset_ns, drift_ppm, bound_ns, probes  of the comparison of host and board
    method, bound_s, residual_s, quality    of the window in the trace; bound_s holds for its edges, all in all
    shift_s                                 how far marks in the trace moved it from where the clocks would have put it
    """
    clock, marks = record.clock, record.alignment
    if clock is None:
        return None
    quality = None if marks is None or marks.quality is None else marks.quality
    return {
        "offset_ns": clock.offset_ns,
        "drift_ppm": clock.drift * 1e6,
        "bound_ns": clock.bound_ns,
        "probes": len(record.probes),
        "method": None if marks is None else marks.method,
        "bound_s": None if record.windows is None else record.windows.bound_s,
        "residual_s": None if marks is None else marks.residual_s,
        "quality": None if quality is None else {"peak": quality.peak, "ratio": quality.ratio},
        "shift_s": record.shift_s,
    }


def idle_facts(record: Record) -> Facts | None:
    """Return the idle model, every idle state with what the run drew above it, and how the board was in each."""
    report, plan = record.report, record.plan
    if report is None or report.idle_power_w is None or report.net_power_w is None:
        return None
    window_s = plan.idle_s if plan.measures_idle else None
    return {
        "model": report.idle_model,
        "drift_w": report.idle_drift_w,
        "window_s": window_s,
        "settle_s": plan.rest_s,
        "states": {
            LOADED: _loaded(record, report.idle_power_w, report.net_power_w, window_s),
            **_further(record, report),
        },
        "conditions": record.conditions,
        # What the board does not tell: only this machine's is known.
        "governor": governor(Path("/sys")) if record.device.address is None else None,
    }


def _loaded(record: Record, power_w: Quantity, net_w: Quantity, window_s: float | None) -> Facts:
    given = record.plan.idle_model == "fixed"
    runtime = record.configuration.runtime
    words = "given with --idle-w" if given else f"{record.model['name']} is loaded in {runtime}, nothing runs"
    found = _state(record, power_w, net_w, words, window_s)
    return {"source": "given" if given else "measured", **found}


def _further(record: Record, report: EnergyReport) -> Facts:
    found = {}
    for state in report.states:
        words = description(state.name, record.plan, record.device, state.is_measured)
        window_s = record.plan.idle_s if state.is_measured else None
        facts = _state(record, state.power_w, state.net_power_w, words, window_s)
        found[state.name] = {"source": "measured" if state.is_measured else "given", **facts}
    return found


def _state(record: Record, power_w: Quantity, net_w: Quantity, words: str, window_s: float | None) -> Facts:
    requests, window = _inferences(record), record.windows
    per_inference = None
    if requests and window is not None and record.run is not None:
        result = record.run.result
        length_s = (result.window_end_ns - result.window_start_ns) / 1e9
        per_inference = _pair(net_w.times(1e3 * length_s / requests))
    return {
        "value": power_w.value,
        "u": power_w.expanded,
        "description": words,
        "window_s": window_s,
        "net_power_w": _pair(net_w),
        "net_energy_per_inference_mj": per_inference,
    }


def uncertainty_facts(record: Record) -> Facts | None:
    """Return the uncertainty budget of gross and net energy per inference; None without energy or inference."""
    inferences = _inferences(record)
    if record.report is None or not inferences:
        return None
    method = "round-trip" if record.alignment is None else record.alignment.method
    return budget(record.report, inferences, method).as_json()


def rule_facts(record: Record) -> Facts | None:
    """Return the optional rule set, its limits and what it is judged by; None for the rules of validity alone."""
    if record.plan.rules == "default":
        return None
    return {
        "name": record.plan.rules,
        "limits": MLPERF.as_json(),
        "ranging": None if record.ranged is None else record.ranged.as_json(),
        "inside": None if record.inside is None else record.inside.as_json(),
    }


def _inferences(record: Record) -> int:
    return 0 if record.run is None else len(record.run.start_ns) * record.run.result.batch


def _pair(quantity: Quantity) -> Facts:
    return {"value": quantity.value, "u": quantity.expanded}

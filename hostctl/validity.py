"""The rules by which a result is valid, each a named flag.

A rule looks at plain numbers and returns a Flag or None. Some flags invalidate a result; the others say what a reader has to
know. A rule that lacks its number says nothing: what could not be observed is listed in the result itself as null.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Flag:
    """One finding. `code` is the name scripts match on; `message` one sentence for people."""

    code: str
    message: str
    invalidates: bool

    def as_json(self) -> dict[str, str]:
        """Return the entry of a result's `flags`."""
        return {"code": self.code, "message": self.message}


# Codes that invalidate a result, each with what it stands for. The order is that of the documentation.
INVALIDATING = {
    "FAILED": "a step broke",
    "INTERRUPTED": "the user or a signal ended the run",
    "LEASE_LOST": "the lease ran out or was taken over during the run",
    "TOO_SHORT": "the measured window is shorter than the rules ask for",
    "TOO_FEW_INFERENCES": "there are too few requests for statistics",
    "TRACE_GAPS": "the power trace has holes in the window",
    "TOO_FEW_SAMPLES": "the meter gave too few readings in a window",
    "CLIPPED_SAMPLES": "the meter was over its range",
    "CLOCK_BOUND_TOO_WIDE": "the window's place in the trace is too uncertain",
    "IDLE_DRIFT": "idle power before and after differ too much",
    "THROTTLED": "the board lowered its clocks for heat or power",
    "BACKGROUND_LOAD": "something else used the board's processors",
    "PRECISION_FALLBACK": "the runtime computed in another precision than was asked for",
    "DEVICE_FALLBACK": "the runtime computed on another device than was asked for",
    "EXECUTION_FALLBACK": "the runtime did something else than was asked for, or than the file says, in part or in whole",
    "OUTPUT_NOT_FINITE": "outputs contain NaN or infinity",
    "FIDELITY_BEYOND_TOLERANCE": "outputs differ from the reference by more than the precision explains",
    "ENERGY_UNAVAILABLE": "the meter was asked for and gave nothing",
    "MLPERF_TOO_SHORT": "--rules mlperf: the window is shorter than ten minutes",
    "MLPERF_SETTLING": "--rules mlperf: less than 10 s of rest at either side",
    "MLPERF_UNCERTAIN": "--rules mlperf: power is uncertain by more than 1 %, or by nobody knows what",
    "MLPERF_TOO_FEW_SAMPLES": "--rules mlperf: fewer than one reading a second inside the window",
    "MLPERF_RANGE_CHANGED": "--rules mlperf: the meter changed its range",
    "MLPERF_BELOW_RANGING": "--rules mlperf: more than 5 % below the ranging run",
}

# Codes that inform.
INFORMING = {
    "ENERGY_ESTIMATED": "watts are estimated from processor time, not measured",
    "ENERGY_SIMULATED": "watts come from a simulated instrument",
    "NO_METER": "no meter was used: energy is null",
    "ACCURACY_UNKNOWN": "nobody states the meter's accuracy, so the uncertainty is unknown",
    "CALIBRATION_EXTRAPOLATED": "readings lie beyond the loads of the meter's certificate",
    "NET_NOT_POSITIVE": "what the board drew above idle cannot be told from none, so GOPS/W net is undefined",
    "EDGES_BLURRED": "the meter samples so coarsely that the window's edges matter",
    "FALLBACK_ACCEPTED": "the runtime did something else than was asked for, and --accept-fallback was given",
    "UNCERTAINTY_WIDE": "the uncertainty of the net energy is larger than half of its value",
    "REFERENCE_UNAVAILABLE": "outputs could not be compared with a reference",
    "OPERATIONS_UNKNOWN": "the model has operators that cannot be counted: GOPS are null",
    "THROTTLING_UNOBSERVED": "the board has no throttle counters",
    "MLPERF_NOT_RANGED": "--rules mlperf: the meter has no ranges, so there was no ranging run",
    "MLPERF_SHORTER_THAN_RANGING": "--rules mlperf: less than half as long as the ranging run",
    "ALIGNED_BY_CLOCK": "the spare channel shows no edge of the window, so the clocks placed it",
    "RANDOM_WEIGHTS": "the model's weights are random: speed is real, accuracy is not",
}


_CHOOSERS = ("AUTO", "MULTI", "HETERO")
"""OpenVINO's devices that choose others."""


@dataclass(frozen=True)
class Rules:
    """Limits, all fractions dimensionless.

    least_window_fraction  a window shorter than what was asked for by more than 1 % was cut
    least_requests         MLPerf Tiny asks for ten inferences at least
    most_idle_drift        of net power; with more, the choice of the idle window decides the result
    most_edge_fraction     of the window, that the clock's bound at both edges may cost
    most_background        of all processors' time; above it a neighbour's work is in both time and energy
    wide_uncertainty       of the net energy's value, above which a reader is warned
    """

    least_window_fraction: float = 0.99
    least_requests: int = 10
    most_idle_drift: float = 0.1
    most_edge_fraction: float = 0.01
    most_background: float = 0.05
    wide_uncertainty: float = 0.5


@dataclass(frozen=True)
class Observed:
    """What the rules look at. None means that it was not or could not be observed."""

    asked_duration_s: float
    window_s: float | None = None
    requests: int | None = None
    outputs_finite: bool | None = None
    throttle_events: int | None = None
    throttling_observed: bool = False
    background_cpu_fraction: float | None = None
    requested_precision: str | None = None
    effective_precision: str | None = None
    requested_device: str | None = None
    effective_device: str | None = None
    fallbacks: tuple[str, ...] = field(default=())
    accepts_fallback: bool = False
    fidelity_within: bool | None = None
    fidelity_reason: str | None = None
    operations_known: bool = True
    meter_kind: str | None = None
    energy_known: bool = False
    accuracy_known: bool = True
    clock_bound_s: float | None = None
    trace_gaps: int = 0
    clipped_samples: int = 0
    idle_drift_w: float | None = None
    net_power_w: float | None = None
    net_energy_relative_u: float | None = None


def judge(observed: Observed, rules: Rules | None = None) -> list[Flag]:
    """Apply every rule; return the flags in the order of the tables above."""
    rules = rules or Rules()
    found = [*_loop(observed, rules), *_board(observed, rules), *_outputs(observed), *_power(observed, rules)]
    order = [*INVALIDATING, *INFORMING]
    return sorted(found, key=lambda flag: order.index(flag.code))


def flag(code: str, message: str) -> Flag:
    """Make a flag of a known code; whether it invalidates is the table's decision, not the caller's."""
    if code not in INVALIDATING and code not in INFORMING:
        raise ValueError(f"{code!r} is not a flag; add it to hostctl/validity.py")
    return Flag(code, message, code in INVALIDATING)


def is_valid(flags: Iterable[Flag]) -> bool:
    """Whether nothing invalidates the result."""
    return not any(found.invalidates for found in flags)


def _loop(observed: Observed, rules: Rules) -> Iterable[Flag]:
    window_s, least_s = observed.window_s, observed.asked_duration_s * rules.least_window_fraction
    if window_s is not None and window_s < least_s:
        yield flag(
            "TOO_SHORT",
            f"The window lasted {window_s:.3g} s of the {observed.asked_duration_s:.3g} s asked for.",
        )
    if observed.requests is not None and observed.requests < rules.least_requests:
        yield flag(
            "TOO_FEW_INFERENCES",
            f"{observed.requests} requests were completed; {rules.least_requests} are needed: raise --duration.",
        )


def _board(observed: Observed, rules: Rules) -> Iterable[Flag]:
    if observed.throttle_events:
        yield flag(
            "THROTTLED",
            f"The board counted {observed.throttle_events} throttle events in the window: cool it.",
        )
    if not observed.throttling_observed:
        yield flag(
            "THROTTLING_UNOBSERVED", "The board has no throttle counters, so throttling was not looked for."
        )
    load = observed.background_cpu_fraction
    if load is not None and load > rules.most_background:
        yield flag(
            "BACKGROUND_LOAD",
            f"Other processes used {load:.0%} of the board's processors in the window; {rules.most_background:.0%} is the limit.",
        )
    yield from _fallbacks(observed)


def _fallbacks(observed: Observed) -> Iterable[Flag]:
    found = []
    asked, got = observed.requested_precision, observed.effective_precision
    if asked and got and asked != got:
        found.append(flag("PRECISION_FALLBACK", f"{asked} was asked for but {got} was computed."))
    asked, got = observed.requested_device, observed.effective_device
    if asked and got and not _is_device(asked, got):
        found.append(flag("DEVICE_FALLBACK", f"The device {asked} was asked for but {got} computed."))
    if observed.fallbacks:
        found.append(flag("EXECUTION_FALLBACK", " ".join(observed.fallbacks)))
    if found and observed.accepts_fallback:
        yield flag("FALLBACK_ACCEPTED", " ".join(one.message for one in found))
        return
    yield from found


def _is_device(asked: str, got: str) -> bool:
    """Whether one device is meant: a runtime completes what was asked for, "GPU" to "GPU.0", "usb" to "usb:0"; and where it was
    allowed to choose, it says what it chose."""
    return asked.lower() in got.lower() or asked.upper().startswith(_CHOOSERS)


def _outputs(observed: Observed) -> Iterable[Flag]:
    if observed.outputs_finite is False:
        yield flag("OUTPUT_NOT_FINITE", "The model returned NaN or infinity; check its weights and inputs.")
    if observed.fidelity_within is False:
        yield flag(
            "FIDELITY_BEYOND_TOLERANCE",
            f"The outputs differ from the reference by more than {observed.effective_precision} explains.",
        )
    if observed.fidelity_within is None and observed.fidelity_reason:
        yield flag("REFERENCE_UNAVAILABLE", f"The outputs were not compared: {observed.fidelity_reason}.")
    if not observed.operations_known:
        yield flag(
            "OPERATIONS_UNKNOWN",
            "The operations could not be counted, so GOPS are null; see hostctl model count.",
        )


def _power(observed: Observed, rules: Rules) -> Iterable[Flag]:
    if observed.meter_kind is None:
        yield flag("NO_METER", "No meter was used, so energy is null; name one with --meter.")
        return
    if observed.meter_kind == "estimated":
        yield flag("ENERGY_ESTIMATED", "Watts are estimated from processor time; no meter measured them.")
    if observed.meter_kind == "simulated":
        yield flag("ENERGY_SIMULATED", "Watts come from a simulated instrument.")
    if not observed.energy_known:
        yield flag("ENERGY_UNAVAILABLE", "The meter gave no energy for the window.")
        return
    if not observed.accuracy_known:
        yield flag(
            "ACCURACY_UNKNOWN",
            "Nobody states the meter's accuracy, so U is unknown; give it in farm.toml (accuracy).",
        )
    yield from _trace(observed, rules)


def _trace(observed: Observed, rules: Rules) -> Iterable[Flag]:
    if observed.trace_gaps:
        yield flag("TRACE_GAPS", f"The power trace has {observed.trace_gaps} gap(s) in the window.")
    if observed.clipped_samples:
        yield flag(
            "CLIPPED_SAMPLES", f"{observed.clipped_samples} samples were over the meter's range: widen it."
        )
    bound_s, window_s = observed.clock_bound_s, observed.window_s
    if bound_s is not None and window_s and 2 * bound_s > rules.most_edge_fraction * window_s:
        yield flag(
            "CLOCK_BOUND_TOO_WIDE",
            f"The clocks agree within {bound_s * 1e3:.3g} ms only, too wide for a window of {window_s:.3g} s: raise --duration.",
        )
    drift_w, net_w = observed.idle_drift_w, observed.net_power_w
    if drift_w is not None and net_w and abs(drift_w) > rules.most_idle_drift * abs(net_w):
        yield flag(
            "IDLE_DRIFT",
            f"Idle power changed by {drift_w:.3g} W between before and after: let the board settle.",
        )
    relative = observed.net_energy_relative_u
    if relative is not None and relative > rules.wide_uncertainty:
        yield flag("UNCERTAINTY_WIDE", f"The net energy is uncertain by ±{relative:.0%}.")

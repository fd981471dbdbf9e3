"""From a record to the result that is kept: every number through hostctl.metrics, every rule through hostctl.validity."""

from __future__ import annotations

import secrets
from typing import Any

from farm.v1 import device_service_pb2 as pb

from hostctl.metrics import Loop, Power, Value, compute
from hostctl.rules import Seen, judge_mlperf
from hostctl.session.environment import state_facts
from hostctl.session.findings import clock_facts, idle_facts, rule_facts, uncertainty_facts
from hostctl.session.modelobject import has_random_weights
from hostctl.session.observe import background_cpu_fraction, throttle_event_count
from hostctl.session.outputs import effective_precision
from hostctl.session.record import Record
from hostctl.validity import INFORMING, INVALIDATING, Flag, Observed, flag, is_valid, judge
from power.meter import Identity
from power.reduction.report import EnergyReport
from power.trace import Trace
from power.uncertainty import Quantity
from targets.boards import load_board

SCHEMA = "wattfarm.result/1"
_PEAK_NAMES = {"float32": "fp32", "float16": "fp16", "int8": "int8", "uint8": "int8"}
_NUMBERS = (
    "inferences", "requests", "window_s", "inference_time_ms", "throughput_ips", "achieved_gops", "peak_gops",
    "performance_ratio", "power_w", "idle_power_w", "energy_per_inference_mj", "gops_per_w",
)  # fmt: skip


KEYS = (
    "schema", "id", "created", "valid", "flags", "device", "board", "model", "runtime", "config", "inferences",
    "requests", "window_s", "inference_time_ms", "throughput_ips", "achieved_gops", "peak_gops", "performance_ratio",
    "meter", "power_w", "idle_power_w", "energy_per_inference_mj", "gops_per_w", "memory_mb", "fidelity", "accuracy",
    "environment",
)  # fmt: skip
"""The names of a result in their order: a contract with scripts."""


def result_of(record: Record) -> dict[str, Any]:
    """Return the result object of a record, complete or broken off: every key is there, what is unknown is null."""
    numbers = _numbers(record)
    flags = _flags(record, numbers)
    found = {
        "schema": SCHEMA,
        "id": secrets.token_hex(8),
        "created": record.created.isoformat(timespec="milliseconds"),
        "valid": is_valid(flags),
        "flags": [found.as_json() for found in flags],
        "device": record.device.name,
        "board": record.device.board,
        "model": record.model,
        "runtime": _runtime(record),
        "config": _config(record),
        **numbers,
        "meter": _meter(record),
        "memory_mb": _memory_mb(record),
        "fidelity": None if record.fidelity is None else record.fidelity.as_json(),
        "accuracy": None,
        "environment": _environment(record),
    }
    return {name: found[name] for name in KEYS}


def _numbers(record: Record) -> dict[str, Any]:
    if record.run is None:
        return dict.fromkeys(_NUMBERS)
    result = record.run.result
    loop = Loop(
        start_ns=record.run.start_ns,
        end_ns=record.run.end_ns,
        window_s=(result.window_end_ns - result.window_start_ns) / 1e9,
        batch=result.batch,
        first_ns=result.first_inference_ns if result.HasField("first_inference_ns") else None,
        device_ns=result.device_time_ns if result.HasField("device_time_ns") else None,
    )
    numbers = compute(
        loop,
        ops_per_inference=record.model["ops_per_inference"]["value"],
        peak_gops=_peak_gops(record),
        power=None if record.report is None else _power(record.report),
    )
    if numbers["idle_power_w"] is not None and record.report is not None:
        numbers["idle_power_w"]["model"] = record.report.idle_model
    return numbers


def _peak_gops(record: Record) -> float | None:
    if record.loaded is None:
        return None
    name = _PEAK_NAMES.get(effective_precision(record.loaded))
    return None if name is None else load_board(record.device.board).peak_gops.get(name)


def _power(report: EnergyReport) -> Power:
    net = report.net_power_w
    return Power(
        gross=_value(report.power_w),
        idle=None if report.idle_power_w is None else _value(report.idle_power_w),
        net_u=None if net is None else net.expanded,
        is_estimated=report.kind == "estimated",
    )


def _value(quantity: Quantity) -> Value:
    return Value(quantity.value, quantity.expanded)


def _runtime(record: Record) -> dict[str, Any]:
    configuration, loaded = record.configuration, record.loaded
    return {
        "name": configuration.runtime,
        "version": None if loaded is None else loaded.execution.version or None,
        "precision": configuration.precision or None,
        "effective": {} if loaded is None else dict(loaded.execution.effective),
        "options": record.plan.load_options(configuration),
    }


def _config(record: Record) -> dict[str, Any]:
    plan, run = record.plan, record.run
    return {
        "batch": record.configuration.batch if run is None else run.result.batch,
        "scenario": record.configuration.scenario,
        "in_flight": None if run is None else run.result.in_flight,
        "threads": plan.threads,
        "duration_s": plan.duration_s,
        "warmup_s": plan.warmup_s,
    }


def _meter(record: Record) -> dict[str, Any] | None:
    capabilities, trace = record.capabilities, record.trace
    if capabilities is None:
        return None
    return {
        "name": record.meter_name,
        "driver": record.meter_driver,
        "scope": capabilities.scope,
        "kind": capabilities.kind,
        "sample_rate_hz": capabilities.rate_hz or _seen_rate_hz(trace),
        "calibration": None if trace is None else trace.calibration,
        "range": record.range_text,
        "identity": _identity(record),
        "latency_s": None if record.meter_config is None else record.meter_config.latency_s,
        "latency_u_s": None if record.meter_config is None else record.meter_config.latency_u_s,
    }


def _identity(record: Record) -> dict[str, Any] | None:
    """Return which instrument answered; None for meters that are none."""
    identity = record.identity
    if identity is None or identity == Identity():
        return None
    return {name: getattr(identity, name) for name in ("maker", "model", "serial", "firmware")}


def _seen_rate_hz(trace: Trace | None) -> float | None:
    """Return the rate that a trace was sampled at; None for meters that are read at the edges only."""
    return None if trace is None or trace.interval_s is None else 1.0 / trace.interval_s


def _memory_mb(record: Record) -> float | None:
    if record.run is None or not record.run.result.memory.HasField("peak_rss_bytes"):
        return None
    return record.run.result.memory.peak_rss_bytes / 1e6


def _flags(record: Record, numbers: dict[str, Any]) -> list[Flag]:
    """Return the flags: why it broke, the rules, and what the energy's own budget says."""
    found = [] if record.broken is None else [flag(*record.broken)]
    if record.run is None:
        return found
    found += judge(_observed(record, record.run.result, numbers))
    if has_random_weights(record.configuration.model.path):
        found.append(
            flag("RANDOM_WEIGHTS", "The model's weights are random: its speed is real, its accuracy is not.")
        )
    if record.unaligned is not None:
        found.append(flag("ALIGNED_BY_CLOCK", record.unaligned))
    if record.plan.rules == "mlperf":
        found += judge_mlperf(_seen(record, numbers))
    known = {each.code for each in found}
    of_meter = () if record.meter_flag is None else (record.meter_flag,)
    of_report = () if record.report is None else record.report.flags
    for each in (*of_meter, *of_report):
        if each.code not in known:
            found.append(_foreign(each.code, each.message))
    return found


def _seen(record: Record, numbers: dict[str, Any]) -> Seen:
    plan, report = record.plan, record.report
    rest_s = plan.rest_s + (plan.idle_s if plan.measures_idle else 0.0)
    return Seen(
        window_s=numbers["window_s"],
        settle_s=rest_s,
        power_w=None if report is None else report.power_w.value,
        relative_u=None if report is None else _relative(report.power_w),
        same_range=record.capabilities is None or record.capabilities.same_range,
        inside=record.inside,
        ranging=record.ranged,
    )


def _foreign(code: str, message: str) -> Flag:
    if code in INVALIDATING or code in INFORMING:
        return flag(code, message)
    return Flag(code, message, invalidates=False)


def _observed(record: Record, result: pb.BenchmarkResult, numbers: dict[str, Any]) -> Observed:
    loaded, report, fidelity = record.loaded, record.report, record.fidelity
    throttled = throttle_event_count(result)
    return Observed(
        asked_duration_s=record.plan.duration_s,
        window_s=numbers["window_s"],
        requests=numbers["requests"],
        outputs_finite=result.outputs_finite if result.HasField("outputs_finite") else None,
        throttle_events=throttled,
        throttling_observed=result.throttling_observed,
        background_cpu_fraction=background_cpu_fraction(result, record.own_cpu_ns),
        requested_precision=record.configuration.precision or None,
        effective_precision=None if loaded is None else effective_precision(loaded) or None,
        requested_device=record.plan.options.get("device"),
        effective_device=None if loaded is None else loaded.execution.device or None,
        fallbacks=() if loaded is None else tuple(loaded.execution.fallbacks),
        accepts_fallback=record.plan.accepts_fallback,
        fidelity_within=None if fidelity is None else fidelity.within_tolerance,
        fidelity_reason=None if fidelity is None else fidelity.reason,
        operations_known=record.model["ops_per_inference"]["value"] is not None,
        meter_kind=None if record.capabilities is None else record.capabilities.kind,
        energy_known=report is not None,
        accuracy_known=report is None or report.accuracy_known,
        net_energy_relative_u=None if report is None else _relative(report.net_power_w),
    )


def _relative(quantity: Quantity | None) -> float | None:
    if quantity is None or quantity.expanded is None or quantity.value == 0:
        return None
    return quantity.expanded / abs(quantity.value)


def _environment(record: Record) -> dict[str, Any]:
    facts = dict(record.environment)
    facts["clock"] = clock_facts(record)
    facts["idle"] = idle_facts(record)
    facts["uncertainty"] = uncertainty_facts(record)
    facts["rules"] = rule_facts(record)
    if record.loaded is not None:
        execution = record.loaded.execution
        facts["load"] = {
            "duration_s": record.loaded.load_duration_ns / 1e9
            if record.loaded.HasField("load_duration_ns")
            else None,
            "device": execution.device or None,
            "requested": dict(execution.requested),
            "fallbacks": list(execution.fallbacks),
        }
    if record.run is not None:
        result = record.run.result
        facts["before"] = state_facts(result.stats_before)
        facts["after"] = state_facts(result.stats_after)
        facts["background_cpu_fraction"] = background_cpu_fraction(result, record.own_cpu_ns)
        facts["throttle_events"] = throttle_event_count(result)
    return facts

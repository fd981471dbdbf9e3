"""Every rule fires on its own condition, at its own limit, and on nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hostctl import validity
from hostctl.validity import Observed, Rules, flag, is_valid, judge

SOUND = Observed(
    asked_duration_s=10.0,
    window_s=10.0,
    requests=1000,
    outputs_finite=True,
    throttle_events=0,
    throttling_observed=True,
    background_cpu_fraction=0.0,
    requested_precision="float16",
    effective_precision="float16",
    requested_device="GPU",
    effective_device="gpu",
    fidelity_within=True,
    meter_kind="measured",
    energy_known=True,
    clock_bound_s=1e-4,
    idle_drift_w=0.01,
    net_power_w=5.0,
    net_energy_relative_u=0.01,
)
PROVOKED: dict[str, dict[str, Any]] = {
    "TOO_SHORT": {"window_s": 9.8},
    "TOO_FEW_INFERENCES": {"requests": 9},
    "TRACE_GAPS": {"trace_gaps": 1},
    "CLIPPED_SAMPLES": {"clipped_samples": 3},
    "CLOCK_BOUND_TOO_WIDE": {"clock_bound_s": 0.051},
    "IDLE_DRIFT": {"idle_drift_w": -0.51},
    "THROTTLED": {"throttle_events": 1},
    "BACKGROUND_LOAD": {"background_cpu_fraction": 0.06},
    "PRECISION_FALLBACK": {"effective_precision": "float32"},
    "DEVICE_FALLBACK": {"effective_device": "CPU"},
    "EXECUTION_FALLBACK": {"fallbacks": ("GPU requested, but 2 of 9 nodes run on the CPU.",)},
    "FALLBACK_ACCEPTED": {
        "effective_precision": "float32",
        "effective_device": "CPU",
        "accepts_fallback": True,
    },
    "OUTPUT_NOT_FINITE": {"outputs_finite": False},
    "FIDELITY_BEYOND_TOLERANCE": {"fidelity_within": False},
    "ENERGY_UNAVAILABLE": {"energy_known": False},
    "ENERGY_ESTIMATED": {"meter_kind": "estimated"},
    "ENERGY_SIMULATED": {"meter_kind": "simulated"},
    "NO_METER": {"meter_kind": None},
    "ACCURACY_UNKNOWN": {"accuracy_known": False},
    "UNCERTAINTY_WIDE": {"net_energy_relative_u": 0.51},
    "REFERENCE_UNAVAILABLE": {"fidelity_within": None, "fidelity_reason": "no runtime"},
    "OPERATIONS_UNKNOWN": {"operations_known": False},
    "THROTTLING_UNOBSERVED": {"throttling_observed": False},
}
# These are raised by the session and by the energy's own budget, not by a rule here.
BY_OTHERS = {
    "FAILED", "INTERRUPTED", "LEASE_LOST", "RANDOM_WEIGHTS", "TOO_FEW_SAMPLES", "NET_NOT_POSITIVE", "EDGES_BLURRED",
    "ALIGNED_BY_CLOCK", "CALIBRATION_EXTRAPOLATED",
    "MLPERF_TOO_SHORT", "MLPERF_SETTLING", "MLPERF_UNCERTAIN", "MLPERF_TOO_FEW_SAMPLES",
    "MLPERF_RANGE_CHANGED", "MLPERF_BELOW_RANGING", "MLPERF_NOT_RANGED", "MLPERF_SHORTER_THAN_RANGING",
}  # fmt: skip


def test_a_sound_run_has_no_flag() -> None:
    assert judge(SOUND) == []


@pytest.mark.parametrize("code", PROVOKED)
def test_each_rule_alone(code: str) -> None:
    flags = judge(replace(SOUND, **PROVOKED[code]))
    assert [found.code for found in flags] == [code]
    assert flags[0].message.endswith(".")
    assert is_valid(flags) == (code in validity.INFORMING)
    assert flags[0].as_json() == {"code": code, "message": flags[0].message}


def test_every_code_has_a_test() -> None:
    assert set(PROVOKED) | BY_OTHERS == set(validity.INVALIDATING) | set(validity.INFORMING)


@pytest.mark.parametrize(
    "within",
    [
        {"window_s": 9.91},
        {"requests": 10},
        {"clock_bound_s": 0.05},
        {"idle_drift_w": 0.5},
        {"background_cpu_fraction": 0.05},
        {"net_energy_relative_u": 0.5},
        {"window_s": None, "requests": None, "background_cpu_fraction": None, "clock_bound_s": None},
    ],
)
def test_at_the_limit_or_unknown_nothing_fires(within: dict[str, Any]) -> None:
    assert judge(replace(SOUND, **within)) == []


def test_limits_can_be_chosen() -> None:
    assert [f.code for f in judge(SOUND, Rules(least_requests=1001))] == ["TOO_FEW_INFERENCES"]


def test_flags_that_invalidate_come_first() -> None:
    flags = judge(replace(SOUND, meter_kind="estimated", requests=1, trace_gaps=2))
    assert [f.code for f in flags] == ["TOO_FEW_INFERENCES", "TRACE_GAPS", "ENERGY_ESTIMATED"]


def test_an_unknown_code_is_refused() -> None:
    with pytest.raises(ValueError, match="NOT_A_FLAG"):
        flag("NOT_A_FLAG", "…")

"""A complete result object, as `hostctl run --json` prints one, for tests to vary."""

from __future__ import annotations

import itertools
from typing import Any

from hostctl.metrics import Loop, Power, Value, compute

_numbers = itertools.count(1)


def a_result(**changes: Any) -> dict[str, Any]:
    """Return a valid measured result with a fresh id; `changes` replace top-level keys."""
    loop = Loop([0, 20_000_000], [20_000_000, 40_000_000], 0.04, 1, 30_000_000)
    power = Power(gross=Value(10.0, 0.04), idle=Value(4.0, 0.03), net_u=0.006)
    result = {
        "schema": "wattfarm.result/1",
        "id": f"{next(_numbers):016x}",
        "created": "2026-01-02T03:04:05.678+00:00",
        "valid": True,
        "flags": [],
        "device": "local",
        "board": "generic-x86_64",
        "model": {
            "name": "digits",
            "sha256": "ab" * 32,
            "format": "onnx",
            "params": 8746,
            "ops_per_inference": {"value": 215808.0, "convention": "mac2", "source": "counted"},
        },
        "runtime": {
            "name": "onnxruntime",
            "version": "1.31.1",
            "precision": None,
            "effective": {"precision": "float32"},
            "options": {},
        },
        "config": {
            "batch": 1,
            "scenario": "latency",
            "in_flight": 1,
            "threads": None,
            "duration_s": 0.04,
            "warmup_s": 0.0,
        },
        **compute(loop, ops_per_inference=215808.0, peak_gops=100.0, power=power),
        "meter": {
            "name": "m",
            "driver": "hwmon",
            "scope": "board",
            "kind": "measured",
            "sample_rate_hz": 100.0,
            "calibration": None,
        },
        "memory_mb": 123.4,
        "fidelity": None,
        "accuracy": None,
        "environment": {},
    }
    return {**result, **changes}

"""The smallest step of a meter's readings: what is stated of it, and what its readings themselves show."""

from __future__ import annotations

import math

import numpy as np

from power.meter import Capabilities
from power.trace import Floats, Trace
from power.uncertainty import GainOffset

_LOOKED_AT = 100_000
"""Readings of a long trace that are looked at; steps show in far fewer."""


def stated_step_w(capabilities: Capabilities) -> float:
    """Return the step that driver or farm.toml state, W; 0 if neither does."""
    accuracy = capabilities.accuracy
    in_accuracy = accuracy.resolution_w if isinstance(accuracy, GainOffset) else 0.0
    return max(capabilities.resolution_w or 0.0, in_accuracy)


def seen_step_w(trace: Trace) -> float:
    """Return the step of power that shows in readings which repeat, W; 0 where none does, and for counters.

    Where voltage and current were read, each has a step of its own: their product has far finer ones that mean nothing.
    """
    if trace.power_w is None:
        return 0.0
    if trace.voltage_v is None or trace.current_a is None:
        return _step(trace.power_w)
    volts, amperes = float(np.mean(trace.voltage_v)), float(np.mean(trace.current_a))
    return math.hypot(abs(volts) * _step(trace.current_a), abs(amperes) * _step(trace.voltage_v))


def _step(column: Floats) -> float:
    """Return the least difference of values that come up again and again; 0 where hardly any does, or there is one only."""
    looked_at = column[:: max(1, len(column) // _LOOKED_AT)]
    values = np.unique(looked_at)
    if not 1 < len(values) <= len(looked_at) // 2:
        return 0.0
    return float(np.diff(values).min())

"""A certificate applied to a trace."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from power.calibrate.certificate import Certificate
from power.calibrate.errors import CalibrationError
from power.reduction.flags import Flag
from power.trace import Floats, Trace

EXTRAPOLATED = "CALIBRATION_EXTRAPOLATED"
_PARTS = 10
_FEW = 0.01
"""Of all samples: so many may lie beyond the calibrated span, as switching transients do."""


def apply(certificate: Certificate, trace: Trace) -> Trace:
    """Return the trace with calibrated power (of a counter: energy), which carries the certificate's id.

    Power becomes gain × power + offset; energy gain × energy + offset × time. Voltage and current stay as they were read, so that
    their product is still the uncalibrated power. Raises CalibrationError if the trace is calibrated already, or if a counter
    would run backwards: then it counts less than its own zero.
    """
    if trace.calibration is not None:
        raise CalibrationError(
            f"The trace is calibrated by {trace.calibration} already; apply one certificate only."
        )
    gain, offset_w = certificate.fit.gain, certificate.fit.offset_w
    if trace.power_w is not None:
        power_w = gain * trace.power_w
        power_w += offset_w  # in place: a trace may hold 60 million samples
        return replace(trace, power_w=power_w, calibration=certificate.id)
    if trace.energy_j is None:
        raise CalibrationError("The trace holds neither power nor energy to calibrate.")
    energy_j = gain * trace.energy_j + offset_w * _counted_s(trace.t_s, trace.energy_j, offset_w)
    if bool(np.any(np.diff(energy_j) < 0.0)):
        raise CalibrationError(
            f"With the offset of {offset_w:.3g} W in certificate {certificate.id} the counter would run backwards: "
            "the load is below what the meter can count; use a meter for smaller loads."
        )
    return replace(trace, energy_j=energy_j, calibration=certificate.id)


def extrapolation(certificate: Certificate, calibrated: Trace) -> Flag | None:
    """Return a flag if more than 1 % of a calibrated trace lies beyond the loads that were compared; else None."""
    power_w = calibrated.power_w if calibrated.power_w is not None else _smoothed_w(calibrated)
    if not len(power_w):
        return None
    fit = certificate.fit
    low_w, high_w = certificate.covered_w
    beyond = np.count_nonzero((power_w < low_w) | (power_w > high_w)) / len(power_w)
    if beyond <= _FEW:
        return None
    return Flag(
        EXTRAPOLATED,
        f"{beyond:.0%} of the readings ({power_w.min():.4g} to {power_w.max():.4g} W) lie beyond the loads of certificate "
        f"{certificate.id} ({round(fit.low_w, 9):.4g} to {fit.high_w:.4g} W), where its uncertainty is not known to hold.",
    )


def powers_w(trace: Trace) -> Floats:
    """Return the powers of a trace; of a counter, the mean power between each two readings."""
    if trace.power_w is not None:
        return trace.power_w
    rates: Floats = np.diff(trace.values) / np.diff(trace.t_s)
    return rates


def _smoothed_w(trace: Trace) -> Floats:
    """Return the mean powers of ten parts of a counter's trace: from one reading to the next it may jump by a whole step."""
    t_s, energy_j = trace.t_s, trace.values
    if len(t_s) < 2:
        return np.zeros(0)
    edges_s = np.linspace(t_s[0], t_s[-1], _PARTS + 1)
    parts_w: Floats = np.diff(np.interp(edges_s, t_s, energy_j)) / np.diff(edges_s)
    return parts_w


def _counted_s(t_s: Floats, energy_j: Floats, offset_w: float) -> Floats:
    """Return the time that the offset acted for.

    A counter that stands still between two renewals has not lost what the offset takes off meanwhile: where the offset is
    negative, its time counts from renewal to renewal.
    """
    passed_s: Floats = t_s - t_s[0]
    if offset_w >= 0.0:
        return passed_s
    renewed = np.concatenate(([True], np.diff(energy_j) > 0.0))
    since = np.maximum.accumulate(np.where(renewed, np.arange(len(t_s)), 0))
    return passed_s[since]

"""Calibration that can be signed for: a line through compared loads, its certificate, and meters that apply it.

    from power import calibrate

    guide = calibrate.Guide(calibrate.Plan(loads_w=(0.0, 1.0, 2.5, 5.0)))
    bench = calibrate.Bench(meter, reference)               # both open
    fit = calibrate.walk(guide, lambda step: bench.compare(step.load_w))
    certificate = guide.certify(
        calibrate.subject_of(meter), calibrate.reference_of(reference), calibrate.Conditions(...)
    )
    calibrate.write(certificate, Path("wt310.toml"))

docs/calibration.md explains method and formulas.
"""

from power.calibrate.applying import EXTRAPOLATED, apply, extrapolation
from power.calibrate.certificate import Certificate, content
from power.calibrate.checking import Check, check
from power.calibrate.errors import (
    CalibrationError,
    CertificateInvalid,
    CertificateRefused,
    PointsInvalid,
    ReadingUnusable,
)
from power.calibrate.files import read, save, today, write
from power.calibrate.fitting import Fit, Judgement, Point, fit, judge
from power.calibrate.guide import PREPARATION, Guide, Plan, Step, walk
from power.calibrate.meter import CalibratedMeter, calibrated
from power.calibrate.partial import Partial, load_partial, save_partial
from power.calibrate.parties import Conditions, Reference, Subject, reference_of, subject_of
from power.calibrate.plotting import svg_plot, text_plot
from power.calibrate.readings import Bench, Reading, measure, typed, u_with_accuracy_w

__all__ = [
    "EXTRAPOLATED",
    "PREPARATION",
    "Bench",
    "CalibratedMeter",
    "CalibrationError",
    "Certificate",
    "CertificateInvalid",
    "CertificateRefused",
    "Check",
    "Conditions",
    "Fit",
    "Guide",
    "Judgement",
    "Partial",
    "Plan",
    "Point",
    "PointsInvalid",
    "Reading",
    "ReadingUnusable",
    "Reference",
    "Step",
    "Subject",
    "apply",
    "calibrated",
    "check",
    "content",
    "extrapolation",
    "fit",
    "judge",
    "load_partial",
    "measure",
    "read",
    "reference_of",
    "save",
    "save_partial",
    "subject_of",
    "svg_plot",
    "text_plot",
    "today",
    "typed",
    "u_with_accuracy_w",
    "walk",
    "write",
]

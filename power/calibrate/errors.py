# ruff: noqa: N818 (an error is named after what happened, as in the other rooms)
"""What can go wrong with a calibration; each message is one sentence that says what to do.

PowerError
└── CalibrationError
    ├── PointsInvalid          points that no line may be drawn through
    ├── ReadingUnusable        a reading that is no calibration point: clipped, too short, on another range
    ├── CertificateInvalid     a file that is no certificate, or was altered
    └── CertificateRefused     a certificate that does not hold here and now: expired, another instrument's, another range's
"""

from power.errors import PowerError


class CalibrationError(PowerError):
    """A calibration cannot be made, kept or used."""


class PointsInvalid(CalibrationError):
    """Too few loads, loads too much alike, or a number that cannot be one."""


class ReadingUnusable(CalibrationError):
    """A reading cannot be a point of a calibration, or be judged."""


class CertificateInvalid(CalibrationError):
    """A file is missing, no TOML, of another schema, incomplete, or was altered after it was signed."""


class CertificateRefused(CalibrationError):
    """A sound certificate that does not apply: expired, of another instrument, or of another range."""

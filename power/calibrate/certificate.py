"""What a certificate holds, what it says of readings, and whether it applies to an instrument."""

from __future__ import annotations

import datetime
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from power.calibrate.errors import CertificateRefused
from power.calibrate.fitting import Fit, Point
from power.calibrate.parties import Conditions, Reference, Subject, known, reference_table, subject_table
from power.meter import Meter
from power.uncertainty import GainOffset

SCHEMA = "wattfarm.certificate/1"
DIGEST_CHARACTERS = 12
"""Of the content's SHA-256, in the name of a certificate."""
_BEYOND = 0.02
"""Of the calibrated span: so much further is no extrapolation worth a word, noise about zero in particular."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A signed-off calibration of one range of one meter."""

    subject: Subject
    reference: Reference
    conditions: Conditions
    points: tuple[Point, ...]
    fit: Fit

    @property
    def sha256(self) -> str:
        """Digest of everything the certificate says."""
        return digest(content(self))

    @property
    def id(self) -> str:
        """Name that traces and results carry: instrument, day, and the beginning of the digest."""
        subject = self.subject
        who = subject.serial or subject.name
        return f"{subject.driver}/{who}/{self.conditions.date}/{self.sha256[:DIGEST_CHARACTERS]}"

    def accuracy(self, resolution_w: float = 0.0) -> GainOffset:
        """Return how wrong calibrated readings may be: fit, reference, and (as a step that never cancels) linearity.

        `resolution_w` is the smallest step of a reading. P = gain·x + offset differs from the truth by
        (P − offset)·dg/g + do, hence relative gain dg/g and offset do − (offset/g)·dg; the reference's own errors add to both.
        """
        found, reference = self.fit, self.reference
        (v_gain, shared), (_, v_offset) = found.covariance
        g, o = found.gain, found.offset_w
        u2_gain = v_gain / g**2 + reference.u_gain**2
        u2_offset = v_offset + (o / g) ** 2 * v_gain - 2.0 * (o / g) * shared + reference.u_offset_w**2
        together = (
            shared / g - o * v_gain / g**2 + reference.correlation * reference.u_gain * reference.u_offset_w
        )
        product = math.sqrt(u2_gain * max(u2_offset, 0.0))
        correlation = 0.0 if product == 0.0 else min(1.0, max(-1.0, together / product))
        # GainOffset knows one part that does not cancel, its step, of which the uncertainty is step ÷ √12.
        step_w = math.hypot(resolution_w, math.sqrt(12.0) * found.linearity_w)
        return GainOffset(
            math.sqrt(u2_gain),
            math.sqrt(max(u2_offset, 0.0)),
            correlation,
            step_w,
            f"certificate {self.id}",
            "normal",
        )

    def check_day(self, today: datetime.date) -> None:
        """Raise CertificateRefused if it has expired or is not from a day that has been."""
        if today > self.conditions.expires:
            raise CertificateRefused(
                f"The certificate {self.id} expired on {self.conditions.expires}; calibrate the meter again: "
                f"hostctl meter calibrate {self.subject.name}."
            )
        if today < self.conditions.date:
            raise CertificateRefused(
                f"The certificate {self.id} is of {self.conditions.date}, which is in the future; set this machine's clock."
            )

    def check_meter(self, meter: Meter) -> None:
        """Raise CertificateRefused if it is another instrument's, or made with another shunt. The meter must be open."""
        identity, subject = meter.identity, self.subject
        if meter.driver != subject.driver:
            self._foreign(f"the driver {subject.driver}", f"'{meter.name}' is read by {meter.driver}")
        if identity.model is not None and subject.model is not None and identity.model != subject.model:
            self._foreign(f"a {subject.model}", f"'{meter.name}' is a {identity.model}")
        if (meter.capabilities.kind == "simulated") != subject.is_simulated:
            which = ("a real", "a simulated")
            self._foreign(
                f"{which[subject.is_simulated]} instrument",
                f"'{meter.name}' is {which[not subject.is_simulated]} one",
            )
        if identity.serial is not None:
            if identity.serial != subject.serial:
                self._foreign(
                    f"serial number {subject.serial or 'unknown'}", f"'{meter.name}' has {identity.serial}"
                )
        elif meter.name != subject.name:
            self._foreign(
                f"the meter '{subject.name}'", f"'{meter.name}' tells no serial number to be known by"
            )
        if _plain(meter.setup_text or "") != _plain(subject.setup or ""):
            raise CertificateRefused(
                f"The certificate {self.id} was made with {_quoted(subject.setup)}, but '{meter.name}' is set to "
                f"{_quoted(meter.setup_text)}; correct its settings in farm.toml, or calibrate it again as it is now."
            )

    def check_range(self, range_text: str | None, name: str) -> None:
        """Raise CertificateRefused unless the meter `name` is on the range that was calibrated."""
        wanted = self.subject.range
        if wanted is None or (range_text is not None and _plain(range_text) == _plain(wanted)):
            return
        raise CertificateRefused(
            f"The certificate {self.id} is for the range {wanted}, but '{name}' is on "
            f"{range_text or 'a range that it does not tell'}; set that range, or calibrate this one."
        )

    @property
    def covered_w(self) -> tuple[float, float]:
        """Lowest and highest calibrated power that is no extrapolation worth a word."""
        slack_w = _BEYOND * (self.fit.high_w - self.fit.low_w)
        return self.fit.low_w - slack_w, self.fit.high_w + slack_w

    def _foreign(self, made_for: str, found: str) -> None:
        raise CertificateRefused(
            f"The certificate {self.id} is for {made_for}, but {found}; correct `calibration` in farm.toml."
        )


def content(certificate: Certificate) -> dict[str, Any]:
    """Return what the file holds, but for id and digest, in the order in which people read it. What is unknown is left out."""
    subject, reference, conditions, found = (
        certificate.subject,
        certificate.reference,
        certificate.conditions,
        certificate.fit,
    )
    return {
        "schema": SCHEMA,
        "date": conditions.date,
        "expires": conditions.expires,
        "operator": conditions.operator,
        "temperature_c": float(conditions.temperature_c),
        **known(
            humidity_percent=None
            if conditions.humidity_percent is None
            else float(conditions.humidity_percent)
        ),
        "meter": subject_table(subject),
        "reference": reference_table(reference),
        "result": {
            "gain": found.gain,
            "offset_w": found.offset_w,
            "covariance": [list(row) for row in found.covariance],
            "residual_sd_w": found.residual_sd_w,
            "chi2_reduced": found.chi2_reduced,
            "linearity_w": found.linearity_w,
            "low_w": found.low_w,
            "high_w": found.high_w,
        },
        "points": [
            {
                **{name: float(getattr(point, name)) for name in Point.__dataclass_fields__},
                "residual_w": found.residuals_w[i],
                "normalised": found.normalised[i],
            }
            for i, point in enumerate(certificate.points)
        ],
    }


def digest(said: Mapping[str, Any]) -> str:
    """Return the SHA-256 of content as JSON with sorted keys and no spaces; dates as YYYY-MM-DD, numbers as Python has them."""
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _quoted(setup: str | None) -> str:
    return "nothing in between" if setup is None else f"“{setup}”"


def _plain(range_text: str) -> str:
    return "".join(range_text.split()).lower()

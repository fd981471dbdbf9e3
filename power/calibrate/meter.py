"""A meter whose readings are calibrated."""

from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path

from power.calibrate.applying import apply, extrapolation
from power.calibrate.certificate import Certificate
from power.calibrate.errors import CertificateRefused
from power.calibrate.files import read, today
from power.calibrate.resolution import stated_step_w
from power.meter import Capabilities, Identity, Meter
from power.reduction.flags import Flag
from power.trace import Trace


class CalibratedMeter(Meter):
    """Another meter with its certificate applied: to traces as they are stopped, and to what it says of its accuracy.

    Opening raises CertificateRefused if the certificate has expired, is another instrument's, or was made with another shunt,
    clamp or the like; starting, if it is for another range than the instrument is on; stopping, if the range has changed
    meanwhile. While ranges are being chosen (`begin_ranging`) readings stay as they are.
    """

    def __init__(self, meter: Meter, certificate: Certificate, day: datetime.date | None = None) -> None:
        """`day` is today where this machine's clock shall not say so."""
        super().__init__(meter.name)
        self.driver = meter.driver
        self.certificate = certificate
        self._meter, self._day = meter, day
        self._is_ranging = False
        self._flag: Flag | None = None

    @property
    def capabilities(self) -> Capabilities:
        """The meter's own, with the certificate's accuracy."""
        own = self._meter.capabilities
        step_w = stated_step_w(own) * self.certificate.fit.gain
        return replace(own, accuracy=self.certificate.accuracy(step_w))

    @property
    def tail_s(self) -> float:
        """The meter's own."""
        return self._meter.tail_s

    @property
    def identity(self) -> Identity:
        """The meter's own."""
        return self._meter.identity

    @property
    def range_text(self) -> str | None:
        """The meter's own."""
        return self._meter.range_text

    @property
    def setup_text(self) -> str | None:
        """The meter's own."""
        return self._meter.setup_text

    @property
    def flag(self) -> Flag | None:
        """That the last trace went beyond the calibrated loads; else what the meter itself has to tell."""
        return self._flag or self._meter.flag

    def begin_ranging(self) -> bool:
        """Let the instrument choose its ranges; they need not be the calibrated ones until they are fixed."""
        self._is_ranging = self._meter.begin_ranging()
        return self._is_ranging

    def fix_ranges(self) -> None:
        """Keep the ranges that were needed. Raises CertificateRefused if the certificate is for others."""
        self._meter.fix_ranges()
        self._is_ranging = False
        self._check_range()

    def _open(self) -> None:
        self.certificate.check_day(self._day or today())
        self._meter.open()
        try:
            self.certificate.check_meter(self._meter)
        except CertificateRefused:
            self._meter.close()
            raise

    def _plan(self, duration_s: float) -> None:
        self._meter.plan(duration_s)

    def _start(self) -> None:
        self._flag = None
        # Some instruments know their range only once they have read.
        if not self._is_ranging and self._meter.range_text is not None:
            self._check_range()
        self._meter.start()

    def _mark(self) -> None:
        self._meter.mark()

    def _stop(self) -> Trace:
        return self._calibrated(self._meter.stop())

    def _salvage(self) -> Trace | None:
        trace = self._meter.salvage()
        return None if trace is None else self._calibrated(trace)

    def _calibrated(self, trace: Trace) -> Trace:
        if self._is_ranging:
            return trace
        self._check_range()
        if not self._meter.capabilities.same_range:
            raise CertificateRefused(
                f"The range of '{self.name}' changed while it read, but the certificate {self.certificate.id} is for one; "
                "fix the range in farm.toml."
            )
        calibrated = apply(self.certificate, trace)
        self._flag = extrapolation(self.certificate, calibrated)
        return calibrated

    def _close(self) -> None:
        self._meter.close()

    def _check_range(self) -> None:
        self.certificate.check_range(self._meter.range_text, self.name)


def calibrated(meter: Meter, file: Path | None, day: datetime.date | None = None) -> Meter:
    """Return the meter with the certificate of a file applied; the meter itself without one. Raises CertificateInvalid."""
    return meter if file is None else CalibratedMeter(meter, read(file), day)

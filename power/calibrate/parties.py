"""Who meets in a calibration: the meter, what it is compared with, the person who signs, and the surroundings."""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass

from power.calibrate.errors import CalibrationError
from power.meter import Meter
from power.uncertainty import GainOffset, Independent


@dataclass(frozen=True, slots=True)
class Subject:
    """The meter that was calibrated. What it does not tell is None.

    name      what the inventory calls it; identifies an instrument that tells no serial number
    serial    as the instrument tells it; of one that does not, what is written on it, which cannot be checked
    range     the range of the calibration, such as "15 V / 1 A"; None: it has none, the certificate holds for all readings
    setup     what turned readings into power besides the range, such as "shunt of 0.01 Ω ..."; None: nothing did
    """

    name: str
    driver: str
    maker: str | None = None
    model: str | None = None
    serial: str | None = None
    firmware: str | None = None
    range: str | None = None
    is_simulated: bool = False
    setup: str | None = None


@dataclass(frozen=True, slots=True)
class Reference:
    """What a meter was compared with, and how wrong all its values may be together (standard uncertainties).

    u_gain        relative
    u_offset_w    the same at every load
    correlation   between the two; 1 for limits that a data sheet states as a sum
    certificate   number of its own certificate: where the figures are from
    """

    name: str
    serial: str | None = None
    certificate: str | None = None
    u_gain: float = 0.0
    u_offset_w: float = 0.0
    correlation: float = 0.0

    def __post_init__(self) -> None:
        for name in ("u_gain", "u_offset_w"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0.0):
                raise CalibrationError(
                    f"{name} of the reference '{self.name}' must be a number from 0 on, not {value!r}."
                )
        if not -1.0 <= self.correlation <= 1.0:
            raise CalibrationError(
                f"The correlation of the reference '{self.name}' must lie between -1 and 1, not {self.correlation!r}."
            )

    def u_power_w(self, power_w: float) -> float:
        """Uncertainty of one of its values, beside the scatter."""
        return GainOffset(self.u_gain, self.u_offset_w, self.correlation).u_power_w(power_w)


@dataclass(frozen=True, slots=True)
class Conditions:
    """When, by whom and in what surroundings. Raises CalibrationError where one of them cannot be true."""

    date: datetime.date
    expires: datetime.date
    operator: str
    temperature_c: float
    humidity_percent: float | None = None

    def __post_init__(self) -> None:
        if not self.operator.strip():
            raise CalibrationError("Nobody signs for this certificate; name the operator.")
        if not -60.0 <= self.temperature_c <= 150.0:
            raise CalibrationError(
                f"A temperature of {self.temperature_c!r} °C is no laboratory's; give it in °C."
            )
        if self.humidity_percent is not None and not 0.0 <= self.humidity_percent <= 100.0:
            raise CalibrationError(f"A humidity is 0 to 100 %, not {self.humidity_percent!r}.")
        if self.expires <= self.date:
            raise CalibrationError(
                f"A certificate of {self.date} cannot expire on {self.expires}; give a later day."
            )


def subject_of(meter: Meter, serial: str | None = None) -> Subject:
    """Describe an open meter, on the range of its last reading. `serial` is what is written on one that does not tell it.

    Raises CalibrationError if the meter tells another serial number.
    """
    identity = meter.identity
    if serial is not None and identity.serial is not None and serial != identity.serial:
        raise CalibrationError(
            f"The meter '{meter.name}' says that its serial number is {identity.serial}, not {serial}; leave --serial out."
        )
    return Subject(
        meter.name,
        meter.driver,
        identity.maker,
        identity.model,
        identity.serial or serial,
        identity.firmware,
        meter.range_text,
        meter.capabilities.kind == "simulated",
        meter.setup_text,
    )


def reference_of(meter: Meter, certificate: str | None = None) -> Reference:
    """Describe an open meter that serves as reference, by its certificate or its specification.

    Raises CalibrationError if nobody states how accurate it is: then nothing can be calibrated with it.
    """
    accuracy, identity = meter.capabilities.accuracy, meter.identity
    source = certificate
    if isinstance(accuracy, GainOffset):
        source = source or accuracy.source or None
        figures = accuracy.u_gain, accuracy.u_offset_w, accuracy.correlation
    elif isinstance(accuracy, Independent):
        figures = 0.0, accuracy.u_w, 0.0
    else:
        raise CalibrationError(
            f"The accuracy of the reference '{meter.name}' is not known; state it in farm.toml "
            "(accuracy = {gain = 0.001, offset_w = 0.002}) or give it a calibration."
        )
    return Reference(meter.name, identity.serial, source, *figures)


def subject_table(subject: Subject) -> dict[str, object]:
    """Return a meter as a table of TOML."""
    values = {name: getattr(subject, name) for name in Subject.__dataclass_fields__ if name != "is_simulated"}
    return known(**values, simulated=subject.is_simulated)


def reference_table(reference: Reference) -> dict[str, object]:
    """Return a reference as a table of TOML."""
    return known(
        name=reference.name,
        serial=reference.serial,
        certificate=reference.certificate,
        u_gain=float(reference.u_gain),
        u_offset_w=float(reference.u_offset_w),
        correlation=float(reference.correlation),
    )


def known(**values: object) -> dict[str, object]:
    """Return what is known."""
    return {name: value for name, value in values.items() if value is not None}

"""A calibration that was broken off: its plan and points as a file, to be taken up again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from power.calibrate import toml
from power.calibrate.errors import CalibrationError, CertificateInvalid, CertificateRefused
from power.calibrate.files import load, point, reference, save, subject
from power.calibrate.fitting import Point
from power.calibrate.guide import Plan
from power.calibrate.parties import Reference, Subject, reference_table, subject_table
from power.calibrate.table import Table

SCHEMA = "wattfarm.calibration-points/1"


@dataclass(frozen=True, slots=True)
class Partial:
    """What is kept of a calibration under way.

    subject          the meter as it told itself at the first point
    reference        of typed values; None where a second meter tells by itself
    reference_meter  name of the second meter; None for typed values
    operator, temperature_c, humidity_percent, valid_days   as given at first
    """

    subject: Subject
    plan: Plan
    points: tuple[Point, ...]
    operator: str
    temperature_c: float
    valid_days: int
    humidity_percent: float | None = None
    reference: Reference | None = None
    reference_meter: str | None = None

    def check(self, subject: Subject) -> None:
        """Raise CertificateRefused if the points are another instrument's, or taken with another shunt or the like."""
        mine, now = self.subject, subject
        same = (mine.name, mine.driver, mine.serial) == (now.name, now.driver, now.serial)
        if not same:
            raise CertificateRefused(
                f"The points are those of '{mine.name}' ({mine.driver}, serial {mine.serial or 'unknown'}), but '{now.name}' is "
                f"{now.driver}, serial {now.serial or 'unknown'}; connect the same meter or begin anew."
            )
        if mine.setup != now.setup:
            raise CertificateRefused(
                f"The points were taken with “{mine.setup}”, but '{now.name}' is now set to “{now.setup}”; restore its settings "
                "in farm.toml or begin anew."
            )


def save_partial(partial: Partial, path: Path) -> None:
    """Write it, over what was kept before. Raises CalibrationError."""
    document: dict[str, object] = {
        "schema": SCHEMA,
        "operator": partial.operator,
        "temperature_c": partial.temperature_c,
        "humidity_percent": partial.humidity_percent,
        "valid_days": partial.valid_days,
        "loads_w": list(partial.plan.loads_w),
        "rounds": partial.plan.rounds,
        "linearity_w": partial.plan.linearity_w,
        "reference_meter": partial.reference_meter,
        "meter": subject_table(partial.subject),
    }
    if partial.reference is not None:
        document["reference"] = reference_table(partial.reference)
    document["points"] = [
        {name: getattr(each, name) for name in Point.__dataclass_fields__} for each in partial.points
    ]
    save(toml.dumps({key: value for key, value in document.items() if value is not None}), path, replace=True)


def load_partial(path: Path) -> Partial:
    """Read it. Raises CertificateInvalid."""
    document = load(path, "file of points")
    if document.get("schema") != SCHEMA:
        raise CertificateInvalid(
            f"{path} holds no points of a calibration (schema {document.get('schema')!r}); name the file that the broken-off "
            "calibration told."
        )
    said = Table(document, str(path))
    try:
        plan = Plan(said.numbers("loads_w"), said.whole("rounds"), said.number("linearity_w"))
    except CertificateInvalid:
        raise
    except CalibrationError as error:
        raise CertificateInvalid(f"{path} cannot be true: {error}") from None
    return Partial(
        subject=subject(said.table("meter")),
        plan=plan,
        points=tuple(point(each) for each in said.tables("points")),
        operator=said.text("operator"),
        temperature_c=said.number("temperature_c"),
        valid_days=said.whole("valid_days"),
        humidity_percent=said.maybe_number("humidity_percent"),
        reference=reference(said.table("reference")) if "reference" in document else None,
        reference_meter=said.maybe_text("reference_meter"),
    )

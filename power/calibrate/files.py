"""Certificates as files: read with every doubt told, written at once or not at all."""

from __future__ import annotations

import contextlib
import datetime
import os
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from power.calibrate import toml
from power.calibrate.certificate import SCHEMA, Certificate, content, digest
from power.calibrate.errors import CalibrationError, CertificateInvalid, PointsInvalid
from power.calibrate.fitting import Fit, Point
from power.calibrate.parties import Conditions, Reference, Subject
from power.calibrate.table import Table

LARGEST_GAIN = 10.0
"""A meter that is off by more than this factor is not to be calibrated but to be set up: shunt, clamp, units."""


def read(path: Path) -> Certificate:
    """Read a certificate. Raises CertificateInvalid if it is missing, no TOML, of another schema, altered, or incomplete.

    Whether it holds for a meter and today, `Certificate.check_…` tell, and CalibratedMeter asks.
    """
    document = load(path, "certificate")
    if document.get("schema") != SCHEMA:
        raise CertificateInvalid(
            f"{path} is no certificate that this version knows (schema {document.get('schema')!r}, not '{SCHEMA}'); "
            "name a file that hostctl meter calibrate wrote."
        )
    said = {key: value for key, value in document.items() if key not in ("id", "sha256")}
    if document.get("sha256") != digest(said):
        raise CertificateInvalid(
            f"{path} was altered after it was signed (its sha256 does not fit its content); restore the original or calibrate "
            "the meter again."
        )
    try:
        return _certificate(Table(said, str(path)))
    except CertificateInvalid:
        raise
    except CalibrationError as error:
        raise CertificateInvalid(f"{path} cannot be true: {error}") from None


def write(certificate: Certificate, path: Path, *, replace: bool = False) -> None:
    """Write a certificate, whole or not at all. An existing file stays unless `replace`. Raises CalibrationError."""
    said = content(certificate)
    head = {"schema": said.pop("schema"), "id": certificate.id, "sha256": certificate.sha256}
    save(toml.dumps({**head, **said}), path, replace=replace)


def save(text: str, path: Path, *, replace: bool = False) -> None:
    """Write a text file: a temporary one beside it, on the disk, takes its name. Raises CalibrationError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(0o644)
            _rename(temporary, path, replace)
        finally:
            temporary.unlink(missing_ok=True)
        _sync(path.parent)
    except _Taken:
        raise CalibrationError(
            f"{path} exists already, and a signed certificate is not overwritten; name another file."
        ) from None
    except OSError as error:
        raise CalibrationError(
            f"{path} could not be written ({error.strerror or error}); free some space or name another place."
        ) from None


def load(path: Path, what: str) -> dict[str, Any]:
    """Read a TOML file. Raises CertificateInvalid."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CertificateInvalid(
            f"The {what} {path} cannot be read ({error.strerror or error}); mend that or correct the name."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CertificateInvalid(
            f"The {what} {path} is no TOML ({error}); restore the original file."
        ) from None


class _Taken(Exception):  # noqa: N818 - it never leaves this file
    """The name is another certificate's."""


def _rename(temporary: Path, path: Path, replace: bool) -> None:
    if replace:
        temporary.replace(path)
        return
    try:
        # Unlike a rename, a link fails where the name is taken, without a moment in between.
        os.link(temporary, path)
    except FileExistsError:
        raise _Taken from None
    except OSError:  # a file system without links
        if path.exists():
            raise _Taken from None
        temporary.replace(path)


def _sync(folder: Path) -> None:
    # The entry has to be on the disk too; some network file systems cannot promise that, and do it anyway.
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _certificate(said: Table) -> Certificate:
    points = said.tables("points")
    return Certificate(
        subject=subject(said.table("meter")),
        reference=reference(said.table("reference")),
        conditions=Conditions(
            said.day("date"),
            said.day("expires"),
            said.text("operator"),
            said.number("temperature_c"),
            said.maybe_number("humidity_percent"),
        ),
        points=tuple(point(each) for each in points),
        fit=_fit(said.table("result"), points),
    )


def subject(said: Table) -> Subject:
    """Return the meter of a table."""
    return Subject(
        said.text("name"),
        said.text("driver"),
        said.maybe_text("maker"),
        said.maybe_text("model"),
        said.maybe_text("serial"),
        said.maybe_text("firmware"),
        said.maybe_text("range"),
        said.flag("simulated"),
        said.maybe_text("setup"),
    )


def reference(said: Table) -> Reference:
    """Return the reference of a table."""
    return Reference(
        said.text("name"),
        said.maybe_text("serial"),
        said.maybe_text("certificate"),
        said.number("u_gain"),
        said.number("u_offset_w"),
        said.number("correlation"),
    )


def point(said: Table) -> Point:
    """Return the point of a table. Raises CertificateInvalid."""
    try:
        return Point(*(said.number(name) for name in Point.__dataclass_fields__))
    except PointsInvalid as error:
        raise CertificateInvalid(f"{said.where} holds an impossible point: {error}") from None


def _fit(said: Table, points: list[Table]) -> Fit:
    (v_gain, shared), (other, v_offset) = said.matrix("covariance")
    found = Fit(
        said.number("gain"),
        said.number("offset_w"),
        ((v_gain, shared), (other, v_offset)),
        tuple(each.number("residual_w") for each in points),
        tuple(each.number("normalised") for each in points),
        said.number("residual_sd_w"),
        said.number("chi2_reduced"),
        said.number("linearity_w"),
        said.number("low_w"),
        said.number("high_w"),
    )
    if not (
        1.0 / LARGEST_GAIN <= found.gain <= LARGEST_GAIN
        and v_gain >= 0.0
        and v_offset >= 0.0
        and found.linearity_w >= 0.0
    ):
        raise CertificateInvalid(
            f"{said.where} holds a gain or a variance that cannot be; calibrate the meter again."
        )
    return found


def today() -> datetime.date:
    """Return this machine's day."""
    return datetime.datetime.now().astimezone().date()

"""Certificates: what they say of readings, whom they apply to, and files that were tampered with."""

from __future__ import annotations

import datetime
import math
import os
import re
import resource
import stat
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from power import calibrate
from power.calibrate import (
    CalibrationError,
    Certificate,
    CertificateInvalid,
    CertificateRefused,
    Conditions,
    Point,
    Reference,
)
from power.meter import Identity
from power.uncertainty import Between, GainOffset, Independent
from tests.power.calibrate.bench import DAY, Laboratory, certificate_of, points_of


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A certificate as a file."""
    path = tmp_path / "m1.toml"
    calibrate.write(certificate_of(), path)
    return path


def test_comes_back_as_it_was(kept: Path) -> None:
    assert calibrate.read(kept) == certificate_of()
    said = tomllib.loads(kept.read_text())
    assert said["schema"] == "wattfarm.certificate/1"
    assert said["id"] == certificate_of().id
    assert said["meter"]["range"] == "15 V / 1 A"
    assert said["date"] == DAY
    assert said["operator"] == 'Ada "the operator" Löve'
    assert len(said["points"]) == 4
    assert stat.S_IMODE(kept.stat().st_mode) == 0o644
    assert [file.name for file in kept.parent.iterdir()] == ["m1.toml"]


def test_what_is_unknown_is_left_out(tmp_path: Path) -> None:
    bare = certificate_of(maker=None, model=None, serial=None, firmware=None, range=None)
    calibrate.write(bare, tmp_path / "bare.toml")
    assert calibrate.read(tmp_path / "bare.toml") == bare
    assert bare.id.startswith("fake/m1/2026-11-21/")


def test_texts_that_toml_has_to_escape(tmp_path: Path) -> None:
    odd = certificate_of(name='a"b\\c\nd\x7fé\U0001f50c', serial="1")
    calibrate.write(odd, tmp_path / "odd.toml")
    assert calibrate.read(tmp_path / "odd.toml") == odd
    with pytest.raises(CalibrationError, match="no text"):
        calibrate.write(certificate_of(serial="\udcff"), tmp_path / "bad.toml")
    assert not (tmp_path / "bad.toml").exists()


def edits(text: str) -> list[str]:
    """Every line changed, left out or repeated where that still is TOML."""
    lines = text.splitlines()
    found = []
    for i, line in enumerate(lines):
        if " = " not in line:
            continue
        key, _, value = line.partition(" = ")
        changed = {
            "number": re.sub(r"\d", lambda digit: str((int(digit[0]) + 1) % 10), value, count=1),
            "text": value[:-1] + 'x"' if value.startswith('"') else value,
            "gone": None,
        }
        for new in changed.values():
            edited = lines[:i] + ([] if new is None else [f"{key} = {new}"]) + lines[i + 1 :]
            if edited != lines:
                found.append("\n".join(edited) + "\n")
    return [*found, text + "extra = 1\n", text.replace("[reference]", "[someone]")]


def test_every_edit_by_hand_is_detected(kept: Path) -> None:
    text = kept.read_text()
    tried = edits(text)
    assert len(tried) > 80
    for edited in tried:
        said = edited_values(edited)
        if said == tomllib.loads(text) or (said is not None and only_id_differs(said, tomllib.loads(text))):
            continue
        kept.write_text(edited)
        with pytest.raises(CertificateInvalid, match=r"altered|no TOML|schema"):
            calibrate.read(kept)


def edited_values(text: str) -> dict[str, object] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def only_id_differs(one: dict[str, object], other: dict[str, object]) -> bool:
    """The id follows from the content, so that what the file says of it does not matter."""
    return {**one, "id": 0} == {**other, "id": 0}


def test_comments_and_line_ends_are_no_content(kept: Path) -> None:
    kept.write_text("# checked by Bo\r\n" + kept.read_text().replace("\n", "\r\n"), newline="")
    assert calibrate.read(kept) == certificate_of()


def signed(text: str, path: Path) -> Path:
    """Write content with a digest that fits, as somebody else's program might."""
    from power.calibrate.certificate import digest

    said = {key: value for key, value in tomllib.loads(text).items() if key not in ("id", "sha256")}
    path.write_text(re.sub(r'sha256 = ".*"', f'sha256 = "{digest(said)}"', text))
    return path


IMPOSSIBLE: dict[str, tuple[str, str, str]] = {
    "lacks a table": ("[reference]", "[someone]", "lacks 'reference'"),
    "lacks a key": ('operator = "', 'signed = "', "lacks 'operator'"),
    "a text for a number": ("temperature_c = 23.0", 'temperature_c = "warm"', "not a number"),
    "a number for a text": ('driver = "fake"', "driver = 3", "not a text"),
    "not a number": ("chi2_reduced = ", "chi2_reduced = nan #", "not a number"),
    "no date": ("date = 2026-11-21", "date = 2026-11-21T00:00:00", "not a date"),
    "no flag": ("simulated = false", "simulated = 0", "not true or false"),
    "no matrix": ("covariance = [[", "covariance = [[1.0], [", "not a 2 × 2 matrix"),
    "a gain beyond reason": ("gain = 1", "gain = 1e9 #", "gain or a variance"),
    "a gain below zero": ("gain = 1", "gain = -1", "gain or a variance"),
    "negative u": ("u_raw_w = 0.001", "u_raw_w = -0.001", "impossible point"),
    "a reference worse than nothing": ("u_gain = 0.0003", "u_gain = -0.0003", "cannot be true"),
    "expired before it was made": ("expires = 2027", "expires = 2025", "cannot be true"),
}


@pytest.mark.parametrize("name", list(IMPOSSIBLE))
def test_content_that_cannot_be(name: str, kept: Path) -> None:
    old, new, said = IMPOSSIBLE[name]
    assert old in kept.read_text()
    with pytest.raises(CertificateInvalid, match=said) as caught:
        calibrate.read(signed(kept.read_text().replace(old, new, 1), kept))
    assert str(kept) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_certificate(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    with pytest.raises(CertificateInvalid, match="cannot be read"):
        calibrate.read(path)
    path.write_text("schema = ")
    with pytest.raises(CertificateInvalid, match="is no TOML"):
        calibrate.read(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(CertificateInvalid, match="is no TOML"):
        calibrate.read(path)
    path.write_text('schema = "wattfarm.certificate/2"\n')
    with pytest.raises(CertificateInvalid, match="certificate/2"):
        calibrate.read(path)
    with pytest.raises(CertificateInvalid, match="cannot be read"):
        calibrate.read(tmp_path)


def test_a_signed_certificate_is_not_overwritten(kept: Path) -> None:
    other = certificate_of(points_of(1.5))
    with pytest.raises(CalibrationError, match="exists already"):
        calibrate.write(other, kept)
    assert calibrate.read(kept) == certificate_of()
    calibrate.write(other, kept, replace=True)
    assert calibrate.read(kept) == other


def test_a_file_system_without_links(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    with pytest.raises(CalibrationError, match="exists already"):
        calibrate.write(certificate_of(), kept)
    calibrate.write(certificate_of(), kept.with_name("other.toml"))
    assert calibrate.read(kept.with_name("other.toml")) == certificate_of()
    assert len(list(kept.parent.iterdir())) == 2


def test_a_full_disk_leaves_what_was_there(kept: Path) -> None:
    # The kernel itself refuses, as it does on a full disk: no file may grow beyond 100 bytes.
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(CalibrationError, match="could not be written"):
            calibrate.write(certificate_of(points_of(1.5)), kept, replace=True)
        with pytest.raises(CalibrationError, match="free some space"):
            calibrate.write(certificate_of(), kept.with_name("new.toml"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert calibrate.read(kept) == certificate_of()
    assert [file.name for file in kept.parent.iterdir()] == ["m1.toml"]


def test_a_place_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CalibrationError, match="another place"):
        calibrate.write(certificate_of(), tmp_path / "file" / "c.toml")


def test_a_device_is_no_place() -> None:
    with pytest.raises(CalibrationError):
        calibrate.write(certificate_of(), Path("/proc/c.toml"))


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: Conditions(DAY, DAY, "Ada", 23.0), "expire"),
        (lambda: Conditions(DAY, DAY + datetime.timedelta(1), " ", 23.0), "signs"),
        (lambda: Conditions(DAY, DAY + datetime.timedelta(1), "Ada", 296.0), "°C"),
        (lambda: Conditions(DAY, DAY + datetime.timedelta(1), "Ada", math.nan), "°C"),
        (lambda: Conditions(DAY, DAY + datetime.timedelta(1), "Ada", 23.0, 101.0), "humidity"),
        (lambda: Reference("r", u_gain=math.nan), "u_gain"),
        (lambda: Reference("r", u_offset_w=-1.0), "u_offset_w"),
        (lambda: Reference("r", correlation=1.5), "correlation"),
    ],
)
def test_impossible_conditions(made: Callable[[], object], said: str) -> None:
    with pytest.raises(CalibrationError, match=said):
        made()


def test_holds_from_its_day_to_its_last() -> None:
    certificate = certificate_of()
    certificate.check_day(DAY)
    certificate.check_day(certificate.conditions.expires)
    with pytest.raises(CertificateRefused, match="expired on 2027-11-21"):
        certificate.check_day(certificate.conditions.expires + datetime.timedelta(1))
    with pytest.raises(CertificateRefused, match="in the future"):
        certificate.check_day(DAY - datetime.timedelta(1))


def test_belongs_to_one_instrument() -> None:
    certificate, room = certificate_of(), Laboratory()
    meter = room.meter()
    certificate.check_meter(meter)
    meter.told = Identity("Maker", "F100", "SN2", "1.0")
    with pytest.raises(CertificateRefused, match=r"serial number SN1, but 'm1' has SN2"):
        certificate.check_meter(meter)
    meter.told = Identity("Maker", "F200", "SN1", "1.0")
    with pytest.raises(CertificateRefused, match="F200"):
        certificate.check_meter(meter)
    meter.told = Identity("Maker", "F100", "SN1", "2.0")
    certificate.check_meter(meter)
    meter.driver = "other"
    with pytest.raises(CertificateRefused, match="driver fake"):
        certificate.check_meter(meter)
    with pytest.raises(CertificateRefused, match="a real instrument, but 'm1' is a simulated one"):
        certificate.check_meter(room.meter(kind="simulated"))


def test_instruments_without_a_serial_number_are_known_by_name() -> None:
    room = Laboratory()
    silent = room.meter(serial=None)
    certificate_of(serial=None).check_meter(silent)
    certificate_of(serial="on the label").check_meter(silent)
    with pytest.raises(CertificateRefused, match="tells no serial number"):
        certificate_of(serial=None, name="m2").check_meter(silent)
    with pytest.raises(CertificateRefused, match="serial number unknown"):
        certificate_of(serial=None).check_meter(room.meter())


def test_belongs_to_one_range() -> None:
    certificate = certificate_of()
    certificate.check_range("15V/1A", "m1")
    with pytest.raises(CertificateRefused, match=r"15 V / 1 A, but 'm1' is on 30 V / 1 A"):
        certificate.check_range("30 V / 1 A", "m1")
    with pytest.raises(CertificateRefused, match="does not tell"):
        certificate.check_range(None, "m1")
    certificate_of(range=None).check_range("30 V / 1 A", "m1")


def test_who_meets() -> None:
    room = Laboratory()
    assert calibrate.subject_of(room.meter()) == certificate_of().subject
    assert calibrate.subject_of(room.meter(serial=None), "label 7").serial == "label 7"
    with pytest.raises(CalibrationError, match="SN1, not label 7"):
        calibrate.subject_of(room.meter(), "label 7")
    assert calibrate.reference_of(room.reference()) == Reference(
        "ref", "REF7", "certificate K-77", 3e-4, 5e-4
    )
    assert calibrate.reference_of(room.reference(), "K-78").certificate == "K-78"
    assert calibrate.reference_of(room.reference(accuracy=Independent(0.01))).u_offset_w == 0.01
    for unknown in (None, Between(0.0, 10.0)):
        with pytest.raises(CalibrationError, match="'ref' is not known"):
            calibrate.reference_of(room.reference(accuracy=unknown))


def test_the_uncertainty_of_a_calibrated_power() -> None:
    """GainOffset has to say what the covariance says, at every power, with the reference's common part added."""
    certificate = certificate_of(points_of(1.2, -0.4, u_w=0.01, seed=5))
    found, reference = certificate.fit, certificate.reference
    accuracy = certificate.accuracy()
    for power_w in (0.0, 0.3, 2.0, 5.0, -0.2):
        raw_w = (power_w - found.offset_w) / found.gain
        ((v_gain, shared), (_, v_offset)) = found.covariance
        line_w2 = raw_w**2 * v_gain + 2.0 * raw_w * shared + v_offset
        step_w2 = found.linearity_w**2
        expected = math.sqrt(line_w2 + reference.u_power_w(power_w) ** 2 + step_w2)
        assert accuracy.u_power_w(power_w) == pytest.approx(expected, rel=1e-9)
    assert "certificate fake/SN1" in accuracy.source


def test_the_references_own_error_does_not_average() -> None:
    many = points_of(loads_w=tuple(np.linspace(0.0, 5.0, 60)), u_w=0.001)
    certificate = certificate_of(many)
    assert math.sqrt(certificate.fit.covariance[0][0]) < 2e-4
    assert certificate.accuracy().u_gain > certificate.reference.u_gain
    assert certificate.accuracy().u_offset_w > certificate.reference.u_offset_w


def test_linearity_and_resolution_do_not_cancel() -> None:
    points = points_of()
    certificate = Certificate(
        certificate_of().subject,
        Reference("ref"),
        certificate_of().conditions,
        tuple(points),
        calibrate.fit(points, linearity_w=0.01),
    )
    assert certificate.accuracy(0.0).u_step_w == pytest.approx(0.01)
    assert certificate.accuracy(0.02).u_step_w == pytest.approx(math.hypot(0.01, 0.02 / math.sqrt(12.0)))
    assert certificate.accuracy().u_difference_w(3.0, 3.0) == pytest.approx(0.01 * math.sqrt(2.0))


def test_calibrated_powers_lie_within_what_the_certificate_says() -> None:
    """The whole chain: a reference with errors of its own, noisy points, a fit, an accuracy; the truth must be covered."""
    rng, trials, inside = np.random.default_rng(7), 400, 0
    for _ in range(trials):
        common_gain, common_w = rng.normal(0.0, 2e-3), rng.normal(0.0, 3e-3)
        points = []
        for load_w in (0.0, 1.0, 2.5, 5.0):
            raw_w = (load_w - 0.05) / 1.03 + rng.normal(0.0, 0.002)
            said_w = load_w * (1.0 + common_gain) + common_w + rng.normal(0.0, 0.001)
            points.append(Point(load_w, raw_w, 0.002, said_w, 0.001))
        found = calibrate.fit(points)
        kept = certificate_of()
        certificate = Certificate(
            kept.subject, Reference("r", u_gain=2e-3, u_offset_w=3e-3), kept.conditions, tuple(points), found
        )
        true_w = float(rng.uniform(0.0, 5.0))
        error_w = found.corrected_w((true_w - 0.05) / 1.03) - true_w
        accuracy = certificate.accuracy()
        assert isinstance(accuracy, GainOffset)
        inside += abs(error_w) <= 2.0 * accuracy.u_power_w(true_w)
    assert 0.93 <= inside / trials <= 0.99

"""`hostctl meter read, check, calibrate` with two simulated analysers on one load whose power is known."""

from __future__ import annotations

import datetime
import json
import signal
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from hostctl.cli.sim import _toml as toml
from power import calibrate
from power.catalogue import make_meter
from power.sim.common.faults import Faults
from power.sim.common.load import Load
from power.sim.common.waveforms import Waveform
from power.sim.yokogawa_wt310 import SimulatedWt310
from power.trace import Floats
from tests.hostctl.farm import Done, Hostctl, wait_until
from tests.power.calibrate.bench import certificate_of, points_of

FIXED = {"voltage_range_v": 15.0, "current_range_a": 2.0, "update_s": 0.1}
SHORT = ("--for", "700ms", "--settle", "150ms")
SIGNED = ("--temperature", "23", "--operator", "Ada Löve")


@dataclass(frozen=True)
class Dial(Waveform):
    """A load whose power is written into a file."""

    file: Path

    def power_w(self, t_s: Floats) -> Floats:
        """Return what the file says now."""
        return 0.0 * t_s + float(self.file.read_text())

    def integral_j(self, t_s: Floats) -> Floats:
        """Return the energy as if it had always been so: readings begin after the load has settled."""
        return t_s * float(self.file.read_text())


class Bench:
    """A farm with the meters m1 (reads 1 % low) and ref, and a program that sets the load."""

    def __init__(self, hostctl: Hostctl, *simulators: SimulatedWt310) -> None:
        self.hostctl, self.home = hostctl, hostctl.home
        self.dial = hostctl.home / "dial"
        self.program = hostctl.home / "set_load.sh"
        self.program.write_text(f'printf %s "$1" > {self.dial}.new && mv {self.dial}.new {self.dial}\n')
        self.set_load = f"sh {self.program}"
        self.options = simulators[0].options
        for name, simulator in zip(("m1", "ref"), simulators, strict=True):
            self.add(name, simulator, accuracy={"gain": 2e-4, "offset_w": 5e-4} if name == "ref" else None)

    def add(self, name: str, simulator: SimulatedWt310, **settings: Any) -> None:
        """Write a meter into farm.toml."""
        values = {"driver": "yokogawa-wt310", **simulator.options, **FIXED, **settings}
        known = {key: value for key, value in values.items() if value is not None}
        with self.hostctl.config.open("a") as file:
            file.write(f"[meters.{name}]\n" + "".join(f"{k} = {toml(v)}\n" for k, v in known.items()))

    def set(self, power_w: float) -> None:
        """Turn the dial."""
        self.dial.write_text(f"{power_w}")

    def calibrate(self, *more: str, out: str = "m1.toml") -> Done:
        """Calibrate m1 without a person."""
        return self.hostctl.run("meter", "calibrate", "m1", *SHORT, "--out", str(self.home / out), *more)

    def scripted(self, *more: str) -> Done:
        """Calibrate it against the reference."""
        return self.calibrate(
            *("--reference", "ref", "--loads", "0,1,2.5,5", "--yes", "--set-load", self.set_load),
            *SIGNED,
            *more,
        )


@pytest.fixture
def bench(hostctl: Hostctl) -> Iterator[Bench]:
    with made(hostctl) as found:
        yield found


@contextmanager
def made(hostctl: Hostctl, **faults: Any) -> Iterator[Bench]:
    (hostctl.home / "dial").write_text("0")
    load = Load(Dial(hostctl.home / "dial"), 5.0)
    wrong = Faults(gain=-0.01, offset_w=0.02, noise_w=0.002, **faults)
    with (
        SimulatedWt310(load, faults=wrong, seed=1) as meter,
        SimulatedWt310(load, faults=Faults(noise_w=0.0005), seed=None) as reference,
    ):
        yield Bench(hostctl, meter, reference)


@pytest.mark.slow
def test_calibrated_by_script_and_then_right(bench: Bench) -> None:
    bench.set(3.0)
    before = json.loads(bench.hostctl.run("meter", "read", "m1", "--for", "700ms", "--json").stdout)
    assert before["calibration"] is None
    assert abs(before["power_w"]["value"] - 3.0) > 0.005
    done = bench.scripted("--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["meter"]["driver"] == "yokogawa-wt310"
    assert told["meter"]["range"] == "15 V / 2 A"
    assert told["meter"]["simulated"] is True
    assert told["reference"]["name"] == "ref"
    assert told["reference"]["u_gain"] == pytest.approx(2e-4 / 3**0.5)
    assert told["operator"] == "Ada Löve"
    assert told["expires"] == str(calibrate.today() + datetime.timedelta(days=365))
    certificate = calibrate.read(bench.home / "m1.toml")
    assert certificate.id == told["id"]
    assert len(certificate.points) == 4
    assert ElementTree.parse(bench.home / "m1.svg").getroot().tag.endswith("svg")
    assert not (bench.home / "m1.points.toml").exists()
    # The certificate is found beside farm.toml, and what was 0.02 W off is right.
    text = bench.hostctl.config.read_text()
    bench.hostctl.config.write_text(text.replace("[meters.m1]\n", '[meters.m1]\ncalibration = "m1.toml"\n'))
    bench.set(3.0)
    after = json.loads(bench.hostctl.run("meter", "read", "m1", "--for", "700ms", "--json").stdout)
    assert after["calibration"] == told["id"]
    assert abs(after["power_w"]["value"] - 3.0) < 2.0 * after["power_w"]["u"] < 0.04
    passed = bench.hostctl.run("meter", "check", "m1", "--load-w", "3", "--u", "0.002", *SHORT)
    assert passed.returncode == 0, passed.stdout + passed.stderr
    assert "passes" in passed.stdout
    wrong = bench.hostctl.run("meter", "check", "m1", "--load-w", "3.3", "--u", "0.002", *SHORT, "--json")
    assert wrong.returncode == 1
    assert json.loads(wrong.stdout)["e_n"] > 1.0
    bench.set(9.0)
    shown = bench.hostctl.run("meter", "read", "m1", "--for", "700ms").stdout
    assert "CALIBRATION_EXTRAPOLATED" in shown
    assert told["id"] in shown


def test_refused_once_it_has_expired_or_another_instrument_answers(bench: Bench) -> None:
    with make_meter("m1", "yokogawa-wt310", {**bench.options, **FIXED}) as meter:
        subject = calibrate.subject_of(meter)
    made_up = certificate_of(points_of(1.01))
    days = calibrate.Conditions(
        calibrate.today(), calibrate.today() + datetime.timedelta(days=9), "Ada", 23.0
    )
    certificate = replace(made_up, subject=subject, conditions=days)
    calibrate.write(certificate, bench.home / "m1.toml")
    day = calibrate.today() - datetime.timedelta(days=2)
    old = replace(certificate.conditions, date=day, expires=day + datetime.timedelta(days=1))
    calibrate.write(replace(certificate, conditions=old), bench.home / "old.toml")
    foreign = replace(certificate.subject, serial="WATTFARM-SIM-other")
    calibrate.write(replace(certificate, subject=foreign), bench.home / "foreign.toml")
    ranged = replace(certificate.subject, range="30 V / 2 A")
    calibrate.write(replace(certificate, subject=ranged), bench.home / "ranged.toml")
    (bench.home / "edited.toml").write_text(
        (bench.home / "m1.toml").read_text().replace("gain = 1", "gain = 2")
    )
    text = bench.hostctl.config.read_text()
    for file, said in {
        "old": "expired on",
        "foreign": "serial number WATTFARM-SIM-other",
        "ranged": "30 V / 2 A",
        "edited": "was altered",
        "gone": "cannot be read",
    }.items():
        added = f'[meters.m1]\ncalibration = "{file}.toml"\n'
        bench.hostctl.config.write_text(text.replace("[meters.m1]\n", added))
        done = bench.hostctl.run("meter", "read", "m1", "--for", "500ms")
        assert done.returncode == 1, done
        assert said in done.stderr
        assert "Traceback" not in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


def answering(text: str) -> Any:
    """Let prompts be answered by lines."""
    import io

    return patch("sys.stdin", io.StringIO(text))


TYPED = (
    "--typed",
    *("--reference-name", "DMM and shunt", "--reference-serial", "K1", "--reference-certificate", "2026-117"),
    *("--reference-gain", "0.0004", "--reference-offset", "0.001"),
)


@pytest.mark.slow
def test_typed_in_by_a_person(bench: Bench) -> None:
    answers = ["", "0.0000±0.001", "words", "1.0000±0.001", "2.5000±0.001", "5.0000±0.001", "y"]
    with answering("\n".join(answers) + "\n"):
        done = bench.calibrate(*TYPED, "--loads", "0,1,2.5,5", *SIGNED, "--set-load", bench.set_load)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Degauss" in done.stdout
    assert "'words' is no reading" in done.stdout + done.stderr
    assert 'calibration = "' in done.stdout
    certificate = calibrate.read(bench.home / "m1.toml")
    assert certificate.reference == calibrate.Reference("DMM and shunt", "K1", "2026-117", 0.0002, 0.0005)
    assert [point.u_reference_w for point in certificate.points] == [0.0005] * 4
    assert certificate.fit.gain == pytest.approx(1.0 / 0.99, abs=0.01)


@pytest.mark.slow
def test_a_doubtful_point_is_read_again_or_not_signed(bench: Bench) -> None:
    # The typed 2.9 is wrong; it is repeated, then wrong again, and the person gives up.
    answers = ["", "0.0000", "1.0000", "2.9000", "5.0000", "2.5", "2.9000", "none", "n"]
    with answering("\n".join(answers) + "\n"):
        done = bench.calibrate(*TYPED, "--loads", "0,1,2.5,5", *SIGNED, "--set-load", bench.set_load)
    assert done.returncode == 130
    # Four points only: whichever is named first, the wrong one is among those named.
    assert "times its uncertainty off the line" in done.stdout
    told = [line for line in done.stdout.splitlines() if "off the line" in line]
    assert told
    assert all("2.5 W" in line for line in told)
    assert not (bench.home / "m1.toml").exists()
    assert (bench.home / "m1.points.toml").exists()
    assert "--resume" in done.stdout
    again = ["2.5", "2.5000±0.002", "y"]
    with answering("\n".join(again) + "\n"):
        done = bench.calibrate("--resume", str(bench.home / "m1.points.toml"), "--set-load", bench.set_load)
    assert done.returncode == 0, done.stdout + done.stderr
    assert calibrate.read(bench.home / "m1.toml").conditions.operator == "Ada Löve"
    assert not (bench.home / "m1.points.toml").exists()


@pytest.mark.slow
def test_points_that_no_line_goes_through_can_be_read_again(bench: Bench) -> None:
    # Zero was not off: a calibration of points on a line that this one is not on can be mended without reading all again.
    file = bench.home / "p.toml"
    with make_meter("m1", "yokogawa-wt310", {**bench.options, **FIXED}) as meter:
        subject = calibrate.subject_of(meter)
    wrong = [calibrate.Point(0.0, 0.02, 0.001, 0.7, 0.001), *points_of(1.01, 0.0)[1:]]
    reference = calibrate.Reference("DMM", None, None, 1e-4, 1e-4)
    kept = calibrate.Partial(
        subject, calibrate.Plan((0.0, 1.0, 2.5, 5.0)), tuple(wrong), "Ada", 23.0, 9, None, reference
    )
    calibrate.save_partial(kept, file)
    bench.set(0.0)
    with answering("none\n"):
        done = bench.calibrate("--resume", str(file))
    assert done.returncode == 1
    assert "the load was not off" in done.stderr
    with answering("0\n\n0.0000±0.004\ny\n"):
        done = bench.calibrate("--resume", str(file), "--linearity", "0.02")
    assert done.returncode == 2
    with answering("0\n\n0.0000±0.08\ny\n"):
        done = bench.calibrate("--resume", str(file))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_interrupted_and_resumed_in_a_process_of_its_own(bench: Bench) -> None:
    out, points = bench.home / "m1.toml", bench.home / "m1.points.toml"
    common = (*SHORT, "--out", str(out), "--yes", "--set-load", bench.set_load)
    process = bench.hostctl.start(
        *("meter", "calibrate", "m1", "--reference", "ref", "--loads", "0,1,2.5,5", *SIGNED, *common)
    )
    try:
        wait_until(lambda: points.exists() and points.read_text().count("[[points]]") >= 2, what="two points")
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=20)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert f"--resume {points}" in stdout
    kept = calibrate.load_partial(points)
    assert bench.hostctl.leases() == []
    done = bench.hostctl.spawn("meter", "calibrate", "m1", "--resume", str(points), *common, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [p["raw_w"] for p in told["points"][: len(kept.points)]] == [p.raw_w for p in kept.points]
    assert out.exists()
    assert not points.exists()


@pytest.mark.slow
def test_instruments_that_fail_keep_the_points(hostctl: Hostctl) -> None:
    # Some 25 commands set it up, three make a reading; a point has about ten.
    with made(hostctl, disconnect_after=80) as bench:
        done = bench.scripted()
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert len(calibrate.load_partial(bench.home / "m1.points.toml").points) >= 1
        again = bench.scripted()
        assert again.returncode == 2
        assert "broken off" in again.stderr


def test_a_meter_in_use_is_left_alone(bench: Bench) -> None:
    process = bench.hostctl.start("meter", "read", "m1", "--for", "20s")
    try:
        wait_until(lambda: len(bench.hostctl.leases()) == 1, what="the lease")
        done = bench.hostctl.run("meter", "read", "m1", "--for", "500ms")
        assert done.returncode == 3, done
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    finally:
        process.kill()
        process.communicate()
    assert bench.hostctl.leases() == []


def test_loads_that_cannot_be_set(bench: Bench) -> None:
    for command, said in (
        ("sh -c 'echo the fuse blew >&2; exit 3'", "exit code 3: the fuse blew"),
        ("/nonexistent/program", "could not be started"),
    ):
        bench.set_load = command
        done = bench.scripted()
        assert done.returncode == 1
        assert said in done.stderr


def test_an_existing_certificate_stays(bench: Bench) -> None:
    (bench.home / "m1.toml").write_text("precious")
    done = bench.scripted()
    assert done.returncode == 2
    assert "exists already" in done.stderr
    assert (bench.home / "m1.toml").read_text() == "precious"


REFUSED: dict[str, tuple[tuple[str, ...], str]] = {
    "no reference": (("--loads", "0,1,2,3"), "either --reference METER or --typed"),
    "both": (("--loads", "0,1,2,3", "--typed", "--reference", "ref"), "either --reference METER or --typed"),
    "no loads": (("--reference", "ref"), "--loads"),
    "no zero": (("--reference", "ref", "--loads", "1,2,3,4", *SIGNED), "zero"),
    "few loads": (("--reference", "ref", "--loads", "0,1,2", *SIGNED), "at least 3 loads"),
    "a load twice": (("--reference", "ref", "--loads", "0,1,1,2", *SIGNED), "twice"),
    "a negative load": (("--reference", "ref", "--loads", "0,1,2,-3", *SIGNED), "from 0 on"),
    "itself": (("--reference", "m1", "--loads", "0,1,2,3", *SIGNED), "its own reference"),
    "unknown": (("--reference", "reff", "--loads", "0,1,2,3", *SIGNED), "did you mean 'ref'?"),
    "nobody signs": (("--reference", "ref", "--loads", "0,1,2,3", "--temperature", "23"), "--operator"),
    "typed without reference": (("--typed", "--loads", "0,1,2,3", *SIGNED), "--reference-name"),
    "reference described twice": (
        ("--reference", "ref", "--reference-gain", "0.1", "--loads", "0,1,2,3", *SIGNED),
        "goes with --typed",
    ),
    "a script without loads": (("--reference", "ref", "--loads", "0,1,2,3", *SIGNED, "--yes"), "--set-load"),
    "long": (("--reference", "ref", "--loads", "0,1,2,3", *SIGNED, "--expires", "9999999d"), "ten years"),
    "hot": (
        ("--reference", "ref", "--loads", "0,1,2,3", "--operator", "Ada", "--temperature", "296"),
        "no laboratory's",
    ),
    "cold": (
        ("--reference", "ref", "--loads", "0,1,2,3", "--operator", "Ada", "--temperature", "nan"),
        "no laboratory's",
    ),
    "nobody": (
        ("--reference", "ref", "--loads", "0,1,2,3", "--operator", " ", "--temperature", "23"),
        "name the operator",
    ),
    "no TOML": (("--reference", "ref", "--loads", "0,1,2,3", *SIGNED, "--out", "c.svg"), "--out m1.toml"),
    "short": (("--reference", "ref", "--loads", "0,1,2,3", *SIGNED, "--expires", "1h"), "a day at least"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_usage(name: str, hostctl: Hostctl) -> None:
    hostctl.config.write_text(
        '[meters.m1]\ndriver = "yokogawa-wt310"\nresource = "TCPIP::127.0.0.1::1::SOCKET"\n'
        '[meters.ref]\ndriver = "yokogawa-wt310"\nresource = "TCPIP::127.0.0.1::2::SOCKET"\n'
    )
    arguments, said = REFUSED[name]
    done = hostctl.run("meter", "calibrate", "m1", "--out", str(hostctl.home / "c.toml"), *arguments)
    assert done.returncode == 2, done
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_resumed_calibration_keeps_its_plan(hostctl: Hostctl) -> None:
    kept = calibrate.Partial(
        certificate_of().subject,
        calibrate.Plan((0.0, 1.0, 2.5, 5.0)),
        tuple(points_of()),
        "Ada",
        23.0,
        365,
        None,
        None,
        "ref",
    )
    file = hostctl.home / "p.toml"
    calibrate.save_partial(kept, file)
    hostctl.config.write_text(
        '[meters.m1]\ndriver = "rapl"\n[meters.m2]\ndriver = "rapl"\n[meters.ref]\ndriver = "rapl"\n'
    )
    out = ("--out", str(hostctl.home / "c.toml"), "--resume", str(file))
    for arguments, said in (
        (("m1", "--loads", "0,1,2,3"), "--loads was decided"),
        (("m1", "--typed"), "--typed was decided"),
        (("m2",), "are of 'm1', not of 'm2'"),
    ):
        done = hostctl.run("meter", "calibrate", *arguments, *out)
        assert done.returncode == 2, done
        assert said in done.stderr


@pytest.mark.parametrize("verb", [("read",), ("check", "--load-w", "1", "--u", "0.1")])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("board", "hostctl power"),
        ("estimate", "hostctl power"),
        ("none", "hostctl power"),
        ("rapk", "did you mean 'rapl'?"),
    ],
)
def test_what_is_no_instrument(verb: tuple[str, ...], name: str, said: str, hostctl: Hostctl) -> None:
    done = hostctl.run("meter", verb[0], name, *verb[1:])
    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.slow
def test_numbers_for_people(bench: Bench) -> None:
    bench.set(2.0)
    shown = bench.hostctl.run("meter", "read", "m1", "--for", "600ms").stdout
    assert "(k = 2)" in shown
    assert "range" not in shown or "15 V / 2 A" in shown
    assert "(simulated)" in shown
    listed = [json.loads(line) for line in bench.hostctl.run("meter", "list", "--json").stdout.splitlines()]
    assert {entry["name"] for entry in listed} >= {"m1", "ref", "rapl"}


@pytest.mark.slow
def test_too_short_a_reading(bench: Bench) -> None:
    done = bench.hostctl.run("meter", "check", "m1", "--load-w", "0", "--u", "0.1", "--for", "150ms")
    assert done.returncode == 1
    assert "read for longer" in done.stderr


def test_no_time_is_no_reading(bench: Bench) -> None:
    done = bench.hostctl.run("meter", "read", "m1", "--for", "0s")
    assert done.returncode == 2
    assert "must be longer than 0s" in done.stderr


def test_it_is_told_why_an_uncertainty_is_unknown(bench: Bench) -> None:
    done = bench.hostctl.run("meter", "read", "m1", "--for", "300ms", "--json")
    told = json.loads(done.stdout)
    assert told["power_w"]["u"] is None
    assert [flag["code"] for flag in told["flags"]] == ["TOO_FEW_SAMPLES"]

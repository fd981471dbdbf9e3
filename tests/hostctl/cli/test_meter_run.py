"""`hostctl run` with a calibrated meter: the result carries the certificate, and a certificate that does not hold stops it."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hostctl.cli.sim import _toml as toml
from power import calibrate
from power.catalogue import make_meter
from power.sim.common.faults import Faults
from power.sim.common.load import Load
from power.sim.common.waveforms import Constant
from power.sim.yokogawa_wt310 import SimulatedWt310
from tests.hostctl.farm import Hostctl, codes
from tests.power.calibrate.bench import certificate_of, points_of

FIXED: dict[str, object] = {"voltage_range_v": 15.0, "current_range_a": 2.0, "update_s": 0.1}
SHORT = ("--duration", "1s", "--warmup", "50ms", "--idle", "1s")
TRUE_W = 3.0


@pytest.fixture
def certificate(hostctl: Hostctl, board: str) -> Iterator[calibrate.Certificate]:
    """A board on a meter that reads 1 % low, and the certificate that says so, in farm.toml as c.toml."""
    faults = Faults(gain=-0.01, noise_w=0.002)
    with SimulatedWt310(Load(Constant(TRUE_W), 5.0), faults=faults) as simulator:
        options = {**simulator.options, **FIXED}
        with make_meter("m1", "yokogawa-wt310", options) as meter:
            subject = calibrate.subject_of(meter)
        today = calibrate.today()
        conditions = calibrate.Conditions(today, today + datetime.timedelta(days=9), "Ada", 23.0)
        hostctl.add_device("bench", board, meter="m1")
        values = {"driver": "yokogawa-wt310", "scope": "board", **options, "calibration": "c.toml"}
        with hostctl.config.open("a") as file:
            file.write("[meters.m1]\n" + "".join(f"{key} = {toml(value)}\n" for key, value in values.items()))
        made = certificate_of(points_of(1.0 / 0.99, 0.0))
        yield replace(made, subject=subject, conditions=conditions)


@pytest.mark.slow
def test_a_result_carries_its_certificate(
    certificate: calibrate.Certificate, hostctl: Hostctl, model: Path
) -> None:
    calibrate.write(certificate, hostctl.home / "c.toml")
    (result,) = hostctl.results("run", "--device", "bench", "--model", str(model), *SHORT)
    assert result["meter"]["calibration"] == certificate.id
    assert "CALIBRATION_EXTRAPOLATED" not in codes(result)
    assert abs(result["power_w"]["value"] - TRUE_W) < 2.0 * result["power_w"]["u"] < 0.04
    budget = json.dumps(hostctl.stored()[0])
    assert certificate.id in budget


@pytest.mark.slow
def test_powers_beyond_the_certificate_are_flagged(
    certificate: calibrate.Certificate, hostctl: Hostctl, model: Path
) -> None:
    points = points_of(1.0 / 0.99, 0.0, loads_w=(0.0, 0.2, 0.5, 1.0))
    small = replace(certificate, points=tuple(points), fit=calibrate.fit(points))
    calibrate.write(small, hostctl.home / "c.toml")
    (result,) = hostctl.results("run", "--device", "bench", "--model", str(model), *SHORT)
    assert "CALIBRATION_EXTRAPOLATED" in codes(result)


@pytest.mark.slow
def test_a_certificate_that_does_not_hold_stops_the_run(
    certificate: calibrate.Certificate, hostctl: Hostctl, model: Path
) -> None:
    day = calibrate.today() - datetime.timedelta(days=2)
    old = replace(certificate.conditions, date=day, expires=day + datetime.timedelta(days=1))
    calibrate.write(replace(certificate, conditions=old), hostctl.home / "c.toml")
    done = hostctl.run("run", "--device", "bench", "--model", str(model), *SHORT, "--json")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "expired" in done.stdout + done.stderr
    (hostctl.home / "c.toml").write_text("gain = 1\n")
    done = hostctl.run("run", "--device", "bench", "--model", str(model), *SHORT, "--json")
    assert done.returncode in (1, 2)
    assert "no certificate" in done.stdout + done.stderr
    assert hostctl.leases() == []

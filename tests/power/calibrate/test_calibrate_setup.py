"""What turns readings into power (shunt, clamp, probes, a given supply) is part of what a certificate is for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from power import calibrate
from power.calibrate.errors import CertificateRefused
from power.catalogue import DRIVERS, make_meter
from power.meter import Meter
from power.sim.common.load import Load
from power.sim.common.waveforms import Constant
from tests.power.calibrate.bench import DAY, Laboratory, certificate_of

SHUNT: dict[str, object] = {"channel": 2, "shunt_ohm": 0.01}
CLAMP: dict[str, object] = {"channel": 2, "clamp_v_per_a": 0.1}
VOLTAGE: dict[str, object] = {"channel": 1}
MULTIMETER: dict[str, object] = {
    "function": "voltage",
    "range": 0.1,
    "supply_v": 5.0,
    "supply_tolerance": 0.01,
    "shunt_ohm": 0.01,
    "shunt_tolerance": 0.001,
}


@pytest.fixture
def scope() -> Iterator[dict[str, object]]:
    """Address of an oscilloscope."""
    with DRIVERS["tektronix-mdo4000"].simulated()(Load(Constant(5.0), 12.0)) as simulator:
        yield {"resource": simulator.options["resource"]}


def certified(meter: Meter) -> calibrate.Certificate:
    """A certificate of the meter as it is set."""
    with meter:
        subject = calibrate.subject_of(meter)
    return certificate_of(
        None, **{name: getattr(subject, name) for name in calibrate.Subject.__dataclass_fields__}
    )


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ({"current": SHUNT}, {"current": {**SHUNT, "shunt_ohm": 0.02}}, "shunt of 0.02 Ω"),
        ({"current": SHUNT}, {"current": {**SHUNT, "sense": "after"}}, "voltage after it on channel 1"),
        ({"current": SHUNT}, {"current": {**SHUNT, "attenuation": 10.0}}, r"on channel 2 \(10:1\)"),
        ({"current": SHUNT}, {"current": {**SHUNT, "channel": 3}}, r"on channel 3"),
        ({"current": SHUNT}, {"current": SHUNT, "voltage": {"channel": 1, "attenuation": 10.0}}, r"channel 1 \(10:1\)"),
        ({"current": CLAMP}, {"current": {**CLAMP, "clamp_v_per_a": 0.01}}, "clamp of 0.01 V/A"),
        ({"current": CLAMP}, {"current": {**CLAMP, "turns": 2}}, "0.1 V/A with 2 turns"),
    ],
)  # fmt: skip
def test_a_scope_with_other_probes(
    scope: dict[str, object], before: dict[str, object], after: dict[str, object], words: str
) -> None:
    base = {**scope, "voltage": VOLTAGE}
    certificate = certified(make_meter("m1", "tektronix-mdo4000", {**base, **before}))
    meter = calibrate.CalibratedMeter(
        make_meter("m1", "tektronix-mdo4000", {**base, **after}), certificate, DAY
    )
    with pytest.raises(CertificateRefused, match=words) as caught, meter:
        pytest.fail("it opened")
    said = str(caught.value)
    assert certificate.subject.setup is not None
    assert certificate.subject.setup in said
    assert "calibrate it again" in said
    with calibrate.CalibratedMeter(
        make_meter("m1", "tektronix-mdo4000", {**base, **before}), certificate, DAY
    ) as same:
        assert same.setup_text == certificate.subject.setup


def test_a_supply_that_is_given(scope: dict[str, object]) -> None:
    given = {**scope, "current": SHUNT, "supply_tolerance": 0.01}
    certificate = certified(make_meter("m1", "tektronix-mdo4000", {**given, "supply_v": 12.0}))
    other = make_meter("m1", "tektronix-mdo4000", {**given, "supply_v": 5.0})
    with (
        pytest.raises(CertificateRefused, match="supply taken as 5 V"),
        calibrate.CalibratedMeter(other, certificate, DAY),
    ):
        pytest.fail("it opened")


def set_up(driver: str, **options: Any) -> str | None:
    """What a driver says of its settings, without an instrument."""
    return make_meter("m1", driver, {"resource": "TCPIP::localhost::1::SOCKET", **options}).setup_text


@pytest.mark.parametrize("driver", ["keysight-34465a", "siglent-sdm3055"])
def test_multimeters(driver: str) -> None:
    options = {**MULTIMETER, "range": 0.2 if driver == "siglent-sdm3055" else 0.1}
    assert set_up(driver, **options) == "shunt of 0.01 Ω, supply taken as 5 V after it"
    other = set_up(driver, **{**options, "shunt_ohm": 0.02, "supply_at": "source"})
    assert other == "shunt of 0.02 Ω, supply taken as 5 V before it"
    current = {"range": 10.0, "supply_v": 5.1, "supply_tolerance": 0.01}
    assert set_up(driver, **current) == "supply taken as 5.1 V"


def test_queries_and_factors() -> None:
    how = {"identification": "X", "current_query": "MEAS:CURR?", "supply_v": 12.0}
    assert set_up("scpi", **how) == "MEAS:CURR?, supply taken as 12 V"
    options: dict[str, object] = {
        "url": "http://localhost/",
        "path": "a.b",
        "reading": "instantaneous",
        "unit": "mW",
    }
    plain = make_meter("m1", "rest", options).setup_text
    doubled = make_meter("m1", "rest", {**options, "factor": 2.0}).setup_text
    assert (plain, doubled) == ("a.b times 0.001 W", "a.b times 0.002 W")


@pytest.mark.parametrize(
    ("driver", "options", "said"),
    [
        ("keysight-n6705", {"channel": 2}, "output 2"),
        ("rs-ngu", {"channel": 2}, "output 2"),
        ("yokogawa-wt310", {"input": "rms"}, "input RMS"),
    ],
)
def test_which_of_its_inputs_it_is(driver: str, options: dict[str, object], said: str) -> None:
    assert set_up(driver, **options) == said


def test_which_relay_it_is() -> None:
    given: dict[str, object] = {"broker": "localhost", "topic": "plug", "channel": 3, "component": "pm1"}
    assert make_meter("m1", "shelly", given).setup_text == "pm1 3"


def test_rails_and_their_factors() -> None:
    with DRIVERS["hwmon"].simulated()(Load(Constant(5.0), 12.0)) as simulator:
        options = dict(simulator.options)
        with make_meter("m1", "hwmon", options) as meter:
            alone = meter.setup_text
    assert alone is not None
    assert " × " not in alone


def test_a_certificate_that_says_nothing_of_a_shunt() -> None:
    meter = Laboratory().meter()
    meter.setup = "shunt of 0.01 Ω"
    with (
        pytest.raises(CertificateRefused, match="made with nothing in between, but 'm1' is set to “shunt of"),
        calibrate.CalibratedMeter(meter, certificate_of(), DAY),
    ):
        pytest.fail("it opened")


def test_it_is_in_the_file_and_in_what_is_kept_meanwhile(tmp_path: Path) -> None:
    certificate = certificate_of(None, setup="shunt of 0.01 Ω")
    calibrate.write(certificate, tmp_path / "m1.toml")
    assert calibrate.read(tmp_path / "m1.toml") == certificate
    kept = calibrate.Partial(certificate.subject, calibrate.Plan((0.0, 1.0, 2.5, 5.0)), (), "A", 23.0, 365)
    kept.check(certificate.subject)
    with pytest.raises(CertificateRefused, match=r"now set to “shunt of 0\.02 Ω”"):
        kept.check(certificate_of(None, setup="shunt of 0.02 Ω").subject)

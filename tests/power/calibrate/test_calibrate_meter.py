"""Certificates applied: to traces of every kind, and to meters from opening to closing."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from power import calibrate
from power.calibrate import CalibratedMeter, CalibrationError, Certificate, CertificateRefused
from power.errors import MeterStateError
from power.reduction.energy import energy
from power.trace import Floats, Trace
from power.uncertainty import GainOffset
from tests.power.calibrate.bench import DAY, FakeMeter, Laboratory, certificate_of, points_of

T_S: Floats = np.linspace(50.0, 60.0, 101)


def exact(gain: float, offset_w: float) -> Certificate:
    """A certificate with that line."""
    return certificate_of(points_of(gain, offset_w, u_w=1e-4))


@given(gain=st.floats(0.5, 2.0), offset_w=st.floats(-0.3, 0.3))
@settings(max_examples=40, deadline=None)
def test_power(gain: float, offset_w: float) -> None:
    certificate = exact(gain, offset_w)
    raw = Trace(T_S, power_w=1.0 + np.sin(T_S), voltage_v=np.full(101, 5.0), interval_s=0.1, lost=3)
    found = calibrate.apply(certificate, raw)
    assert found.power_w == pytest.approx(gain * (1.0 + np.sin(T_S)) + offset_w)
    assert found.calibration == certificate.id
    assert (found.lost, found.interval_s, found.voltage_v is raw.voltage_v) == (3, 0.1, True)
    assert raw.calibration is None


@given(gain=st.floats(0.8, 1.2), offset_w=st.floats(0.0, 0.3))
@settings(max_examples=40, deadline=None)
def test_a_counter_has_its_offset_integrated(gain: float, offset_w: float) -> None:
    raw = Trace(
        T_S, energy_j=np.asarray(2.0 * (T_S - 50.0) + 7.0, np.float64), reading="counter", interval_s=0.1
    )
    found = calibrate.apply(exact(gain, offset_w), raw)
    assert energy(found, found.span).mean_w == pytest.approx(gain * 2.0 + offset_w, rel=1e-9)


def test_a_counter_that_stands_still_between_renewals_keeps_its_energy() -> None:
    certificate = exact(1.0, -0.2)
    # Renewed once a second and read ten times as often: 2 W.
    raw = Trace(T_S, energy_j=2.0 * np.floor(T_S - 50.0 + 1e-6), reading="counter", interval_s=0.1)
    found = calibrate.apply(certificate, raw)
    assert energy(found, found.span).mean_w == pytest.approx(1.8, rel=1e-9)
    assert found.energy_j is not None
    assert (np.diff(found.energy_j) >= 0.0).all()


def test_a_counter_below_its_own_zero_is_refused() -> None:
    raw = Trace(T_S, energy_j=0.1 * (T_S - 50.0), reading="counter", interval_s=0.1)
    with pytest.raises(CalibrationError, match="run backwards"):
        calibrate.apply(exact(1.0, -0.2), raw)


def test_one_certificate_only() -> None:
    certificate = certificate_of()
    once = calibrate.apply(certificate, Trace(T_S, power_w=np.ones(101)))
    with pytest.raises(CalibrationError, match="already"):
        calibrate.apply(certificate, once)


def test_beyond_the_calibrated_loads_is_flagged_not_refused() -> None:
    certificate = certificate_of()
    inside = calibrate.apply(certificate, Trace(T_S, power_w=np.linspace(0.0, 4.9, 101)))
    assert calibrate.extrapolation(certificate, inside) is None
    beyond = calibrate.apply(certificate, Trace(T_S, power_w=np.linspace(0.0, 9.0, 101)))
    flag = calibrate.extrapolation(certificate, beyond)
    assert flag is not None
    assert flag.code == calibrate.EXTRAPOLATED
    assert "45%" in flag.message
    once = np.ones(101)
    once[50] = 9.0
    transient = calibrate.apply(certificate, Trace(T_S, power_w=once))
    assert calibrate.extrapolation(certificate, transient) is None
    single = calibrate.apply(certificate, Trace(T_S[:1], energy_j=np.ones(1), reading="counter"))
    assert calibrate.extrapolation(certificate, single) is None


def test_a_meter_calibrated_end_to_end_reads_the_truth() -> None:
    room = Laboratory()
    with room.meter() as meter, room.reference() as reference:
        certificate = room.calibrate(meter, reference)
    with CalibratedMeter(room.meter(seed=9), certificate, DAY) as found:
        room.load.power_w = 3.3
        (reading,) = calibrate.measure(found, duration_s=5.0, timebase=room.time)
        accuracy = found.capabilities.accuracy
        assert found.driver == "fake"
        assert found.identity.serial == "SN1"
        assert found.range_text == "15 V / 1 A"
        assert found.tail_s == 0.0
    assert isinstance(accuracy, GainOffset)
    assert reading.u_w is not None
    assert abs(reading.mean_w - 3.3) < 3.0 * np.hypot(accuracy.u_power_w(3.3), reading.u_w)
    assert accuracy.u_power_w(3.3) < 0.003
    assert reading.calibration == certificate.id
    assert found.flag is None


def test_whatever_the_reference_is_off_by_is_covered() -> None:
    inside, trials = 0, 60
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        room = Laboratory(
            reference_gain=rng.normal(0, 3e-4), reference_offset_w=rng.normal(0, 5e-4), seed=seed
        )
        with room.meter() as meter, room.reference() as reference:
            certificate = room.calibrate(meter, reference)
        true_w = 4.0
        error_w = certificate.fit.corrected_w((true_w - 0.02) / 1.01) - true_w
        inside += abs(error_w) < 2.0 * certificate.accuracy().u_power_w(true_w)
    assert inside / trials >= 0.9


def refused(meter: FakeMeter, **how: object) -> str:
    """What opening says; the meter must not stay open."""
    with (
        pytest.raises(CertificateRefused) as caught,
        CalibratedMeter(meter, certificate_of(None, **how), DAY),
    ):
        pytest.fail("it opened")
    assert not meter.is_reached
    return str(caught.value)


def test_refused_at_opening() -> None:
    room = Laboratory()
    assert "serial number SN1" in refused(room.meter(serial="SN2"))
    assert "driver other" in refused(room.meter(), driver="other")


def test_refused_at_starting_on_another_range() -> None:
    room = Laboratory()
    with CalibratedMeter(room.meter(range_text="30 V / 1 A"), certificate_of(), DAY) as found:
        with pytest.raises(CertificateRefused, match="range 15 V / 1 A"):
            found.start()
        # The range that is found by ranging may be the right one.
        assert found.begin_ranging()
        found.start()
        room.time.sleep(1.0)
        found.stop()
        found.fix_ranges()
        found.start()


def test_refused_before_the_instrument_is_touched() -> None:
    meter = Laboratory().meter()
    late = certificate_of().conditions.expires + datetime.timedelta(1)
    with pytest.raises(CertificateRefused, match="expired"):
        CalibratedMeter(meter, certificate_of(), late).open()
    assert not meter.is_reached


def test_refused_when_the_range_moves_meanwhile() -> None:
    room = Laboratory()
    meter = room.meter()
    found = CalibratedMeter(meter, certificate_of(), DAY).open()
    found.start()
    room.time.sleep(1.0)
    meter.range = "30 V / 1 A"
    with pytest.raises(CertificateRefused, match="30 V / 1 A"):
        found.stop()
    meter.range, meter.same_range = "15 V / 1 A", False
    found.start()
    room.time.sleep(1.0)
    with pytest.raises(CertificateRefused, match="changed while it read"):
        found.stop()
    found.close()
    assert not meter.is_reached


def test_a_range_that_is_told_late() -> None:
    room = Laboratory()
    meter = room.meter(range_text=None)
    with CalibratedMeter(meter, certificate_of(), DAY) as found:
        found.start()
        room.time.sleep(1.0)
        with pytest.raises(CertificateRefused, match="does not tell"):
            found.stop()


def test_ranging_comes_before_calibrated_readings() -> None:
    room = Laboratory()
    with CalibratedMeter(room.meter(), certificate_of(), DAY) as found:
        assert found.begin_ranging()
        found.start()
        room.time.sleep(1.0)
        assert found.stop().calibration is None
        found.fix_ranges()
        found.plan(1.0)
        found.start()
        found.mark()
        room.time.sleep(1.0)
        assert found.stop().calibration is not None


def test_closing_in_mid_run_leaves_the_instrument() -> None:
    meter = Laboratory().meter()
    found = CalibratedMeter(meter, certificate_of(), DAY).open()
    found.start()
    found.close()
    assert not meter.is_reached
    with pytest.raises(MeterStateError):
        found.start()


def test_the_flag_is_of_the_last_trace() -> None:
    room = Laboratory()
    with CalibratedMeter(room.meter(), certificate_of(), DAY) as found:
        for power_w, flagged in ((9.0, True), (3.0, False)):
            room.load.power_w = power_w
            found.start()
            room.time.sleep(2.0)
            found.stop()
            assert (found.flag is not None) is flagged


def test_the_meter_of_a_file(tmp_path: Path) -> None:
    meter = Laboratory().meter()
    assert calibrate.calibrated(meter, None) is meter
    calibrate.write(certificate_of(), tmp_path / "c.toml")
    found = calibrate.calibrated(meter, tmp_path / "c.toml", DAY)
    assert isinstance(found, CalibratedMeter)
    assert found.certificate == certificate_of()

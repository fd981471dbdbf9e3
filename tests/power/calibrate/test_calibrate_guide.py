"""The guide, readings, comparisons, and calibrations that are broken off and taken up again."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from power import calibrate
from power.calibrate import (
    Bench,
    CalibrationError,
    CertificateInvalid,
    CertificateRefused,
    Guide,
    Partial,
    Plan,
    Point,
    PointsInvalid,
    ReadingUnusable,
)
from power.calibrate.resolution import seen_step_w
from power.meter import Capabilities
from power.trace import Trace
from power.uncertainty import GainOffset, Independent
from tests.power.calibrate.bench import (
    LOADS_W,
    FakeMeter,
    Laboratory,
    certificate_of,
    conditions,
    points_of,
)

PLAN = Plan(LOADS_W)


def test_leads_through_all_steps() -> None:
    guide = Guide(PLAN)
    assert guide.next_step().kind == "prepare"
    assert "Degauss" in guide.next_step().text
    guide.prepared()
    for number, point in enumerate(points_of(seed=1), 1):
        step = guide.next_step()
        assert (step.kind, step.load_w, step.number, step.of) == ("measure", point.load_w, number, 4)
        with pytest.raises(CalibrationError, match="not done"):
            guide.certify(certificate_of().subject, calibrate.Reference("r"), conditions())
        guide.take(point)
    assert guide.next_step().kind == "done"
    certificate = guide.certify(certificate_of().subject, calibrate.Reference("r"), conditions())
    assert certificate.points == tuple(points_of(seed=1))


def test_says_which_load_to_set() -> None:
    guide = Guide(PLAN, points_of()[:1])
    assert guide.next_step().text == "Set the load to 1 W (point 2 of 4)."
    guide = Guide(PLAN)
    guide.prepared()
    assert guide.next_step().text == "Switch the load off (point 1 of 4)."


def test_refuses_what_was_not_asked_for() -> None:
    guide = Guide(PLAN)
    with pytest.raises(CalibrationError, match="the next step is"):
        guide.take(points_of()[0])
    guide.prepared()
    with pytest.raises(CalibrationError, match="No point at 5 W"):
        guide.take(points_of()[3])
    with pytest.raises(CalibrationError, match="not done"):
        guide.certify(certificate_of().subject, calibrate.Reference("r"), conditions())


def doubtful() -> Guide:
    points = points_of(seed=1)
    bad = points[2]
    points[2] = Point(bad.load_w, bad.raw_w + 0.05, bad.u_raw_w, bad.reference_w, bad.u_reference_w)
    return Guide(PLAN, points)


def test_a_doubtful_point_is_repeated() -> None:
    guide = doubtful()
    assert guide.next_step().kind == "decide"
    assert "2.5 W" in guide.next_step().text
    guide.repeat()
    assert guide.next_step().text == "Set the load to 2.5 W again (point 3 of 4)."
    assert guide.next_step().is_repeat
    guide.take(points_of(seed=1)[2])
    assert guide.next_step().kind == "done"
    guide.repeat()
    guide.take(points_of(seed=1)[LOADS_W.index(guide.next_step().load_w or 0.0)])
    guide.repeat(0)
    assert guide.next_step().load_w == 0.0
    with pytest.raises(CalibrationError, match="no point 9"):
        guide.repeat(9)


def test_a_doubtful_point_that_is_accepted_widens_the_certificate() -> None:
    guide = doubtful()
    guide.accept()
    certificate = guide.certify(certificate_of().subject, calibrate.Reference("r"), conditions())
    assert certificate.fit.linearity_w > 0.01
    assert certificate.accuracy().u_power_w(3.0) > 0.02


def test_walks_by_itself_and_gives_up_on_what_stays_wrong() -> None:
    tries: list[float] = []

    def measure(step: calibrate.Step) -> Point:
        assert step.load_w is not None
        tries.append(step.load_w)
        point = points_of(seed=1)[LOADS_W.index(step.load_w)]
        wrong_w = 0.05 if step.load_w == 2.5 else 0.0
        return Point(
            point.load_w, point.raw_w + wrong_w, point.u_raw_w, point.reference_w, point.u_reference_w
        )

    with pytest.raises(CalibrationError, match=r"2\.5 W lies"):
        calibrate.walk(Guide(PLAN), measure)
    assert tries[:5] == [0.0, 1.0, 2.5, 5.0, 2.5]
    assert len(tries) == 6


def test_rounds_go_up_and_down() -> None:
    assert Plan((5.0, 0.0, 1.0, 2.5), rounds=3).sequence_w == (
        *LOADS_W,
        *LOADS_W[::-1],
        *LOADS_W,
    )


@pytest.mark.parametrize(
    ("loads_w", "rounds", "said"),
    [
        ((0.0, 1.0, 2.0), 1, "at least 3 loads"),
        ((1.0, 2.0, 3.0, 4.0), 1, "needs zero"),
        ((0.0, 1.0, 2.0, -3.0), 1, "finite number"),
        ((0.0, 1.0, 2.0, math.nan), 1, "finite number"),
        ((0.0, 1.0, 2.0, 2.0), 1, "twice"),
        (LOADS_W, 0, "one round"),
    ],
)
def test_plans_that_lead_to_no_calibration(loads_w: tuple[float, ...], rounds: int, said: str) -> None:
    with pytest.raises(PointsInvalid, match=said):
        Plan(loads_w, rounds)


def partial_of(points: list[Point]) -> Partial:
    return Partial(
        certificate_of().subject, PLAN, tuple(points), "Ada", 23.0, 365, 40.0, calibrate.Reference("DMM", "7")
    )


@pytest.mark.parametrize("count", [0, 2, 4])
def test_taken_up_where_it_was_left(count: int, tmp_path: Path) -> None:
    file = tmp_path / "m1.points.toml"
    kept = partial_of(points_of(seed=1)[:count])
    calibrate.save_partial(kept, file)
    calibrate.save_partial(kept, file)
    found = calibrate.load_partial(file)
    assert found == kept
    assert len(Guide(found.plan, found.points).points) == count


def test_a_second_meter_is_kept_by_name(tmp_path: Path) -> None:
    kept = Partial(certificate_of().subject, PLAN, (), "Ada", 23.0, 365, reference_meter="ref")
    calibrate.save_partial(kept, tmp_path / "p.toml")
    assert calibrate.load_partial(tmp_path / "p.toml") == kept


def test_points_of_something_else_are_refused(tmp_path: Path) -> None:
    kept = partial_of(points_of())
    kept.check(certificate_of().subject)
    with pytest.raises(CertificateRefused, match="serial SN2"):
        kept.check(certificate_of(serial="SN2").subject)
    with pytest.raises(CalibrationError, match="not those of this plan"):
        Guide(Plan((0.0, 2.0, 3.0, 4.0)), points_of())
    file = tmp_path / "p.toml"
    calibrate.write(certificate_of(), file)
    with pytest.raises(CertificateInvalid, match="holds no points"):
        calibrate.load_partial(file)
    calibrate.save_partial(kept, file)
    file.write_text(file.read_text().replace("loads_w = [0.0, 1.0, 2.5, 5.0]", "loads_w = [1.0]"))
    with pytest.raises(CertificateInvalid, match="cannot be true"):
        calibrate.load_partial(file)
    file.write_text(file.read_text().replace("loads_w = [1.0]", "loads_w = 1.0"))
    with pytest.raises(CertificateInvalid, match="list of numbers"):
        calibrate.load_partial(file)
    file.write_text(file.read_text().replace("rounds = 1", "rounds = 1.5"))
    with pytest.raises(CertificateInvalid):
        calibrate.load_partial(file)


def read(meter: FakeMeter, room: Laboratory, duration_s: float = 5.0) -> calibrate.Reading:
    (reading,) = calibrate.measure(meter, duration_s=duration_s, timebase=room.time)
    return reading


def test_a_reading_is_the_mean_with_its_scatter() -> None:
    room = Laboratory()
    room.load.power_w = 3.0
    errors = []
    for seed in range(60):
        with room.meter(seed=seed, gain=1.0, offset_w=0.0) as meter:
            reading = read(meter, room, 10.0)
        assert reading.u_w is not None
        errors.append((reading.mean_w - 3.0) / reading.u_w)
    assert 0.5 < np.std(errors) < 1.3
    assert reading.samples in (100, 101)
    assert reading.rate_hz == pytest.approx(10.0, rel=0.03)
    assert reading.min_w is not None
    assert reading.max_w is not None
    assert reading.min_w < reading.mean_w < reading.max_w
    assert (reading.gaps, reading.clipped, reading.lost) == (0, None, 0)


def test_resolution_counts() -> None:
    room = Laboratory()

    class Coarse(FakeMeter):
        @property
        def capabilities(self) -> Capabilities:
            from dataclasses import replace

            return replace(super().capabilities, resolution_w=0.1)

    with Coarse("m1", room.load, room.time, noise_w=0.0) as meter:
        assert read(meter, room).u_w == pytest.approx(0.1 / math.sqrt(12.0))


@pytest.mark.parametrize("step_w", [0.01, 0.05])
def test_a_step_that_shows_counts_though_nobody_states_it(step_w: float) -> None:
    rng = np.random.default_rng(1)
    t_s = np.linspace(0.0, 10.0, 101)
    rough = np.round(rng.normal(3.0, 0.03, 101) / step_w) * step_w
    assert seen_step_w(Trace(t_s, power_w=rough)) == pytest.approx(step_w)
    assert seen_step_w(Trace(t_s, power_w=rng.normal(3.0, 0.03, 101))) == 0.0
    assert seen_step_w(Trace(t_s, power_w=np.full(101, 3.0))) == 0.0
    assert seen_step_w(Trace(t_s, energy_j=t_s, reading="counter")) == 0.0
    product = Trace(t_s, power_w=5.0 * rough, voltage_v=np.full(101, 5.0), current_a=rough)
    assert seen_step_w(product) == pytest.approx(5.0 * step_w)


def test_a_step_that_is_stated_counts_once() -> None:
    accuracy = GainOffset(0.0, 0.0, resolution_w=0.1)
    room = Laboratory()
    with room.meter(noise_w=0.0, accuracy=accuracy) as meter:
        reading = read(meter, room)
        assert reading.step_w == 0.1
        assert calibrate.u_with_accuracy_w(meter, reading) == pytest.approx(0.1 / math.sqrt(12.0))


def test_a_meter_that_claims_to_be_exact_is_asked_for_its_resolution() -> None:
    guide = Guide(PLAN)
    guide.prepared()
    with pytest.raises(PointsInvalid, match="resolution is not known"):
        guide.take(Point(0.0, 0.0, 0.0, 0.0, 0.001))
    straight = Guide(Plan(LOADS_W, linearity_w=0.001))
    straight.prepared()
    straight.take(Point(0.0, 0.0, 0.0, 0.0, 0.001))


def test_a_counter_is_read_too() -> None:
    room = Laboratory()
    room.load.power_w = 3.0
    with room.meter(reading="counter", gain=1.0, offset_w=0.0) as meter:
        reading = read(meter, room)
    assert reading.mean_w == pytest.approx(3.0, abs=0.01)
    assert (reading.min_w, reading.max_w) == (None, None)


def test_a_drift_counts_where_the_other_value_was_read_by_eye() -> None:
    room = Laboratory()
    room.load.power_w, room.load.drift_w_per_s = 3.0, 0.01
    with room.meter(noise_w=1e-6, gain=1.0, offset_w=0.0) as meter:
        reading = read(meter, room, 10.0)
    assert reading.drift_w == pytest.approx(0.05, rel=0.03)
    # 0.1 W from end to end, the moment anywhere between.
    assert reading.u_typed_w == pytest.approx(0.1 / math.sqrt(12.0), rel=0.03)
    assert reading.u_w is not None
    assert reading.u_w < 0.005


def test_readings_that_are_no_point() -> None:
    room = Laboratory()
    with room.meter(rate_hz=0.5) as slow, pytest.raises(ReadingUnusable, match="too few"):
        Bench(slow, timebase=room.time, duration_s=5.0).read()
    with room.meter(clip_w=-1.0) as clipping, pytest.raises(ReadingUnusable, match="limit"):
        Bench(clipping, timebase=room.time).read()
    with room.meter() as meter, pytest.raises(ReadingUnusable, match="no second meter"):
        Bench(meter, timebase=room.time).compare(0.0)


def test_nothing_in_the_time_that_was_asked_for() -> None:
    room = Laboratory()
    with room.meter(rate_hz=0.1) as meter, pytest.raises(ReadingUnusable, match="one reading only"):
        read(meter, room, 5.0)


def test_all_points_are_on_one_range() -> None:
    room = Laboratory()
    with room.meter() as meter, room.reference() as reference:
        bench = Bench(meter, reference, duration_s=2.0, timebase=room.time)
        bench.compare(0.0)
        meter.range = "30 V / 1 A"
        with pytest.raises(ReadingUnusable, match="was on 15 V / 1 A"):
            bench.compare(0.0)
        meter.range, meter.same_range = "15 V / 1 A", False
        with pytest.raises(ReadingUnusable, match="fix its range"):
            bench.compare(0.0)


def test_a_calibrated_meter_is_not_calibrated_again() -> None:
    from power.calibrate import CalibratedMeter
    from tests.power.calibrate.bench import DAY

    room = Laboratory()
    meter = CalibratedMeter(room.meter(), certificate_of(), DAY)
    with meter, pytest.raises(ReadingUnusable, match="calibrated already"):
        Bench(meter, timebase=room.time).read()


def test_typed_points() -> None:
    room = Laboratory()
    room.load.power_w = 2.5
    with room.meter() as meter:
        reading = Bench(meter, timebase=room.time).read()
    point = calibrate.typed(2.5, reading, 2.503, 0.001)
    assert (point.reference_w, point.u_reference_w) == (2.503, 0.001)
    assert point.u_raw_w == reading.u_typed_w


@pytest.mark.parametrize(("error_w", "passed"), [(0.0, True), (0.008, True), (0.05, False), (-0.05, False)])
def test_a_check_passes_or_fails_by_the_normalised_error(error_w: float, passed: bool) -> None:
    room = Laboratory()
    room.load.power_w = 5.0
    accuracy = GainOffset(1e-3, 1e-3)
    with room.meter(gain=1.0, offset_w=error_w, accuracy=accuracy) as meter:
        found = calibrate.check(meter, 5.0, 0.005, 5.0, timebase=room.time)
    u_w = 2.0 * math.sqrt(
        accuracy.u_power_w(found.reading.mean_w) ** 2 + (found.reading.u_w or 0.0) ** 2 + 0.005**2
    )
    assert found.e_n == pytest.approx(abs(found.difference_w) / u_w)
    assert found.passed is passed
    assert ("passes" if passed else "fails") in found.text


def test_nine_of_ten_sound_meters_and_more_pass() -> None:
    passed = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        room = Laboratory()
        room.load.power_w = 5.0
        gain, offset_w = 1.0 + rng.normal(0.0, 1e-3), rng.normal(0.0, 1e-3)
        with room.meter(gain=gain, offset_w=offset_w, seed=seed, accuracy=GainOffset(1e-3, 1e-3)) as meter:
            known_w = 5.0 + rng.normal(0.0, 0.005)
            passed += calibrate.check(meter, known_w, 0.005, 5.0, timebase=room.time).passed
    assert 90 <= passed < 100


def test_checks_that_cannot_be_judged() -> None:
    room = Laboratory()
    with room.meter() as meter, pytest.raises(ReadingUnusable, match="accuracy of 'm1' is not known"):
        calibrate.check(meter, 0.0, 0.01, 5.0, timebase=room.time)
    for known_w, u_w in ((math.nan, 0.1), (1.0, -0.1), (1.0, math.inf)):
        with pytest.raises(ReadingUnusable, match="cannot be"):
            calibrate.check(room.meter(), known_w, u_w, timebase=room.time)
    exact = room.meter(noise_w=0.0, accuracy=GainOffset(0.0, 0.0))
    with exact as meter, pytest.raises(ReadingUnusable, match="uncertain by anything"):
        calibrate.check(meter, 0.0, 0.0, 5.0, timebase=room.time)


def test_scatter_is_not_counted_twice() -> None:
    room = Laboratory()
    with room.meter(accuracy=Independent(0.01), noise_w=0.1) as meter:
        assert calibrate.check(meter, 0.0, 0.01, 5.0, timebase=room.time).u_measured_w == 0.01

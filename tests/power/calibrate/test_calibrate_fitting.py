"""The line: recovered, its covariance honest, and refused where no line may be drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from power import calibrate
from power.calibrate import Point, PointsInvalid, fit, judge
from tests.power.calibrate.bench import points_of

GAINS = st.floats(0.5, 2.0)
OFFSETS = st.floats(-0.5, 0.5)


@given(gain=GAINS, offset_w=OFFSETS, scale=st.floats(1e-3, 1e4), relative_u=st.floats(1e-6, 1e-2))
@settings(max_examples=60, deadline=None)
def test_recovers_any_exact_line(gain: float, offset_w: float, scale: float, relative_u: float) -> None:
    loads = (0.0, 0.2 * scale, 0.5 * scale, scale)
    found = fit(points_of(gain, offset_w * scale, loads_w=loads, u_w=relative_u * scale))
    assert math.isclose(found.gain, gain, rel_tol=1e-9)
    assert math.isclose(found.offset_w, offset_w * scale, rel_tol=1e-9, abs_tol=1e-9 * scale)
    assert max(map(abs, found.residuals_w)) < 1e-9 * scale
    assert found.linearity_w == 0.0
    assert found.low_w == pytest.approx(0.0, abs=1e-9 * scale)
    assert found.high_w == pytest.approx(scale)


@given(factor=st.floats(1e-3, 1e3))
@settings(max_examples=30, deadline=None)
def test_does_not_depend_on_the_unit(factor: float) -> None:
    points = points_of(seed=3)
    scaled = [
        Point(*(factor * v for v in (p.load_w, p.raw_w, p.u_raw_w, p.reference_w, p.u_reference_w)))
        for p in points
    ]
    one, other = fit(points), fit(scaled)
    assert other.gain == pytest.approx(one.gain, rel=1e-10)
    assert other.offset_w == pytest.approx(factor * one.offset_w, rel=1e-8)
    assert other.chi2_reduced == pytest.approx(one.chi2_reduced, rel=1e-6)
    assert other.covariance[1][1] == pytest.approx(factor**2 * one.covariance[1][1], rel=1e-6)


def test_exact_readings_give_ordinary_weighted_least_squares() -> None:
    # Bevington and Robinson, Data Reduction and Error Analysis, 3rd ed., eq. 6.12: a line with errors in y alone.
    x, u = np.array([0.0, 1.0, 2.5, 5.0]), np.array([0.01, 0.02, 0.01, 0.03])
    y = 1.02 * x + 0.1 + np.array([0.004, -0.011, 0.006, -0.02])
    found = fit([Point(a, a, 0.0, b, c) for a, b, c in zip(x, y, u, strict=True)])
    design = np.stack([x, np.ones(4)], axis=1) / u[:, None]
    covariance = np.linalg.inv(design.T @ design)
    gain, offset_w = covariance @ design.T @ (y / u)
    assert found.gain == pytest.approx(gain, rel=1e-12)
    assert found.offset_w == pytest.approx(offset_w, rel=1e-12)
    assert np.array(found.covariance) == pytest.approx(covariance, rel=1e-12)


def test_pearsons_data_with_yorks_weights() -> None:
    # York et al. (2004), table II: intercept 5.47991 ± 0.29497, slope −0.48053 ± 0.05799. The slope is negative, which no
    # meter has, so the data are mirrored in y.
    x = np.array([0.0, 0.9, 1.8, 2.6, 3.3, 4.4, 5.2, 6.1, 6.5, 7.4])
    y = np.array([5.9, 5.4, 4.4, 4.6, 3.5, 3.7, 2.8, 2.8, 2.4, 1.5])
    wx = np.array([1000, 1000, 500, 800, 200, 80, 60, 20, 1.8, 1.0])
    wy = np.array([1.0, 1.8, 4.0, 8.0, 20, 20, 70, 70, 100, 500])
    from power.calibrate.fitting import _Data, _line

    line = _line(_Data(x, -y, 1.0 / wx, 1.0 / wy), 0.0)
    assert line.gain == pytest.approx(0.48053, abs=5e-6)
    assert line.offset_w == pytest.approx(-5.47991, abs=5e-6)
    assert math.sqrt(line.covariance[0][0]) == pytest.approx(0.05799, abs=2e-5)
    assert math.sqrt(line.covariance[1][1]) == pytest.approx(0.29497, abs=5e-5)
    assert line.chi2 / 8 == pytest.approx(1.4833, abs=1e-4)


@pytest.mark.slow
def test_the_covariance_covers_the_truth() -> None:
    inside = np.zeros(3)
    trials = 800
    for seed in range(trials):
        found = fit(points_of(1.01, 0.02, u_w=0.004, seed=seed))
        (v_gain, shared), (_, v_offset) = found.covariance
        error = np.array([found.gain - 1.01, found.offset_w - 0.02])
        whole = error @ np.linalg.inv(np.array([[v_gain, shared], [shared, v_offset]])) @ error
        inside += [error[0] ** 2 < 4 * v_gain, error[1] ** 2 < 4 * v_offset, whole < 5.991]
    covered = inside / trials
    # At least 95 %; more, where scatter by chance above the stated one counts as non-linearity.
    assert (covered >= 0.94).all(), covered
    assert (covered <= 0.995).all(), covered


@pytest.mark.slow
def test_points_that_scatter_more_than_stated_widen_the_uncertainty() -> None:
    covered, trials = 0, 300
    for seed in range(trials):
        true = points_of(1.01, 0.02, loads_w=(0.0, 1.0, 2.0, 3.0, 4.0, 5.0), u_w=0.01, seed=seed)
        claimed = [Point(p.load_w, p.raw_w, 0.001, p.reference_w, 0.001) for p in true]
        found = fit(claimed)
        assert found.chi2_reduced > 1.0
        assert found.linearity_w > 0.0
        covered += abs(found.gain - 1.01) < 2.0 * math.sqrt(found.covariance[0][0])
    # Four degrees of freedom only: Student's t, not the normal distribution, has 88 % within two.
    assert covered / trials > 0.85


def test_a_stated_linearity_is_the_least_one() -> None:
    found = fit(points_of(seed=2), linearity_w=0.01)
    assert found.linearity_w == 0.01
    assert found.chi2_reduced < 0.5


def test_the_worst_point_is_named() -> None:
    points = points_of(seed=4)
    good = judge(points, fit(points))
    assert good.is_good
    assert good.suspects == ()
    wrong = points[2]
    points[2] = Point(wrong.load_w, wrong.raw_w, wrong.u_raw_w, wrong.reference_w + 0.03, wrong.u_reference_w)
    verdict = judge(points, fit(points))
    assert not verdict.is_good
    assert verdict.suspects[0] == 2
    assert "2.5 W" in verdict.text
    assert "repeat it" in verdict.text


def test_several_points_may_be_to_blame() -> None:
    points = points_of(seed=4)
    # All but ignored: three points are left, and with those nobody can tell which one is wrong.
    points[1] = Point(1.0, points[1].raw_w, 0.5, points[1].reference_w, 0.5)
    points[2] = Point(2.5, points[2].raw_w, 0.001, points[2].reference_w + 0.03, 0.001)
    verdict = judge(points, fit(points))
    assert set(verdict.suspects) == {0, 2, 3}
    assert "(or it is the one at" in verdict.text


def test_normalised_residuals_scatter_by_one() -> None:
    found = np.array([fit(points_of(u_w=0.004, seed=seed)).normalised for seed in range(400)])
    assert found.std(axis=0) == pytest.approx(np.ones(4), abs=0.12)


def changed(i: int, **values: float) -> list[Point]:
    points = points_of(seed=1)
    known = {name: getattr(points[i], name) for name in Point.__dataclass_fields__}
    points[i] = Point(**{**known, **values})
    return points


@pytest.mark.parametrize("name", list(Point.__dataclass_fields__))
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_point_holds_numbers(name: str, value: float) -> None:
    with pytest.raises(PointsInvalid, match=r"read it again\."):
        changed(1, **{name: value})


@pytest.mark.parametrize("name", ["u_raw_w", "u_reference_w"])
def test_an_uncertainty_is_not_negative(name: str) -> None:
    with pytest.raises(PointsInvalid, match="negative"):
        changed(1, **{name: -1e-9})


REFUSED: dict[str, tuple[list[Point], str]] = {
    "nothing": ([], "no load among the points"),
    "only zero": (points_of(loads_w=(0.0, 0.0, 0.0, 0.0), seed=1)[:1], "no load"),
    "no zero": (points_of(loads_w=(1.0, 2.0, 3.0, 5.0)), "no point at zero"),
    "zero is none": ([Point(0.0, 0.5, 0.001, 0.5, 0.001), *points_of()[1:]], "the load was not off"),
    "two loads": (points_of(loads_w=(0.0, 1.0, 5.0)), "2 loads"),
    "identical": (points_of(loads_w=(0.0, 5.0, 5.0, 5.0)), "1 loads"),
    "alike": (points_of(loads_w=(0.0, 5.0, 5.1, 5.2)), "1 loads"),
    "all high": (points_of(loads_w=(0.0, 4.0, 4.5, 5.0)), "upper half"),
    "dead": ([Point(w, 0.5, 0.001, w, 0.001) for w in (0.0, 1.0, 2.5, 5.0)], "the same at every load"),
    "reversed": ([Point(w, -w, 0.001, w, 0.001) for w in (0.0, 1.0, 2.5, 5.0)], "polarity"),
    "deaf": (
        [Point(w, 0.001 * i, 0.001, w, 0.001) for i, w in enumerate((0.0, 1.0, 2.5, 5.0))],
        "does not follow the load",
    ),
    "certain": ([Point(w, w, 0.0, w, 0.0) for w in (0.0, 1.0, 2.5, 5.0)], "no uncertainty at all"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_refused_in_one_sentence(name: str) -> None:
    points, said = REFUSED[name]
    with pytest.raises(PointsInvalid, match=said) as caught:
        fit(points)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("linearity_w", [math.nan, -0.1])
def test_the_linearity_is_a_number(linearity_w: float) -> None:
    with pytest.raises(PointsInvalid, match="linearity"):
        fit(points_of(), linearity_w)


def test_loads_over_decades_are_loads() -> None:
    assert fit(points_of(loads_w=(0.0, 0.1, 1.0, 10.0))).gain == pytest.approx(1.01)


def test_the_errors_belong_to_power() -> None:
    from power.errors import PowerError

    assert issubclass(calibrate.CalibrationError, PowerError)

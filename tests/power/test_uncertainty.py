"""Quantities, the accuracy of meters, and the noise of correlated samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from power.reduction.noise import MAX_BINS, BatchMeans, u_mean
from power.trace import Floats
from power.uncertainty import (
    Between,
    GainOffset,
    Independent,
    Quantity,
    limit,
    relative_product,
    root_sum_square,
)


def test_a_power_analyser_on_one_range_and_on_two() -> None:
    """Yokogawa WT310E, DC, 15 V × 1 A: ±(0.1 % of reading + 0.2 % of range); run 10 W, idle 4 W."""
    meter = GainOffset.from_limits(0.001, 0.002 * 15.0)
    assert meter.u_power_w(10.0) == pytest.approx(0.040 / math.sqrt(3))
    assert meter.u_power_w(4.0) == pytest.approx(0.034 / math.sqrt(3))
    apart_w = math.hypot(meter.u_power_w(10.0), meter.u_power_w(4.0))
    assert apart_w == pytest.approx(0.030, abs=0.0005)
    assert meter.u_difference_w(10.0, 4.0) == pytest.approx(0.0035, abs=0.00005)


def test_a_shunt() -> None:
    """Supply 0.1 %, shunt voltage 0.5 %, shunt 1 %."""
    assert relative_product(0.001, 0.005, 0.01) == pytest.approx(0.01122, abs=1e-5)


@pytest.mark.parametrize("correlation", [-1.0, -0.5, 0.0, 0.7, 1.0])
@pytest.mark.parametrize("power_w", [12.0, -3.0])
def test_gain_and_offset_by_monte_carlo(correlation: float, power_w: float) -> None:
    meter = GainOffset(0.01, 0.05, correlation)
    rng = np.random.default_rng(1)
    covariance = correlation * 0.01 * 0.05
    errors = rng.multivariate_normal([0, 0], [[0.01**2, covariance], [covariance, 0.05**2]], 200_000)
    read_w, idle_w = (p * (1 + errors[:, 0]) + errors[:, 1] for p in (power_w, 2.0))
    assert meter.u_power_w(power_w) == pytest.approx(float(np.std(read_w)), rel=0.01)
    assert meter.u_difference_w(power_w, 2.0) == pytest.approx(float(np.std(read_w - idle_w)), rel=0.01)


def test_resolution_does_not_cancel() -> None:
    meter = GainOffset(0.0, 0.0, resolution_w=0.1)
    assert meter.u_power_w(5.0) == pytest.approx(0.1 / math.sqrt(12))
    assert meter.u_difference_w(5.0, 1.0) == pytest.approx(0.1 / math.sqrt(6))


@pytest.mark.parametrize(("u_gain", "u_offset_w", "correlation"), [(-0.1, 0, 0), (math.nan, 0, 0), (0, 0, 2)])
def test_what_is_no_accuracy(u_gain: float, u_offset_w: float, correlation: float) -> None:
    with pytest.raises(ValueError, match="must"):
        GainOffset(u_gain, u_offset_w, correlation)


@given(st.floats(0.0, 1.0))
def test_between_two_bounds_is_the_distance_of_an_unknown_truth(where: float) -> None:
    estimate = Between(5.0, 25.0)
    value_w = 5.0 + 20.0 * where
    truth_w = np.linspace(5.0, 25.0, 20_001)
    expected_w = float(np.sqrt(np.mean((truth_w - value_w) ** 2)))
    assert estimate.u_power_w(value_w) == pytest.approx(expected_w, rel=1e-3)
    assert estimate.u_difference_w(value_w, 5.0) == pytest.approx(expected_w, rel=1e-3)


def test_an_independent_uncertainty_does_not_cancel() -> None:
    assert Independent(0.3).u_power_w(99.0) == 0.3
    assert Independent(0.3).u_difference_w(9.0, 8.0) == pytest.approx(0.3 * math.sqrt(2))


def test_a_quantity_combines_its_parts() -> None:
    quantity = Quantity.of(10.0, {"meter": 0.3, "noise": 0.4})
    assert quantity.u_std == pytest.approx(0.5)
    assert quantity.expanded == pytest.approx(1.0)
    assert quantity.unknown_parts == ()


def test_an_unknown_part_is_not_zero() -> None:
    quantity = Quantity.of(10.0, {"meter": None, "noise": 0.4})
    assert quantity.u_std is None
    assert quantity.expanded is None
    assert quantity.u_known == 0.4
    assert quantity.unknown_parts == ("meter",)
    assert quantity.times(2.0).u_std is None
    assert quantity.times(2.0).parts["meter"] is None


def test_energy_per_inference() -> None:
    energy_j = Quantity.of(50.0, {"meter": 0.5})
    per_inference_mj = energy_j.times(1000 / 200)
    assert per_inference_mj.value == 250.0
    assert per_inference_mj.u_std == pytest.approx(2.5)


def test_limits() -> None:
    assert limit(3.0) == limit(-3.0) == pytest.approx(math.sqrt(3.0))
    assert root_sum_square([3.0, 4.0]) == 5.0
    assert root_sum_square([3.0, None]) is None


def correlated(count: int, phi: float, rng: np.random.Generator) -> Floats:
    """AR(1) of unit innovations, stationary from the start."""
    steps = rng.normal(size=count)
    steps[0] /= math.sqrt(1 - phi * phi)
    found = np.empty(count)
    last = 0.0
    for index, step in enumerate(steps):
        last = found[index] = phi * last + step
    return found


def test_batch_means_see_the_correlation() -> None:
    """AR(1), φ = 0.95, n = 20,000: the true standard error is 0.141; s/√n says 0.022."""
    rng = np.random.default_rng(7)
    runs = [correlated(20_000, 0.95, rng) for _ in range(10)]
    naive = np.mean([np.std(run) / math.sqrt(len(run)) for run in runs])
    batched = np.mean([u_mean(run) for run in runs])
    assert naive == pytest.approx(0.0226, rel=0.05)
    assert batched == pytest.approx(0.131, rel=0.06)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_too_few_samples_tell_nothing(count: int) -> None:
    assert u_mean(np.ones(count)) is None


@pytest.mark.parametrize("count", [4, 7, 8, 9, 16, 63, 64, 1000, 5000, 3 * MAX_BINS + 1])
def test_white_noise_of_any_length(count: int) -> None:
    rng = np.random.default_rng(count)
    found = [u_mean(rng.normal(size=count)) or 0.0 for _ in range(400)]
    # On average over runs the variance is unbiased, but for Student's factor of the few batches.
    batches = count if count <= 8 else min(count, max(8, round(math.sqrt(count))))
    widening = (batches - 1) / (batches - 3)
    mean_square = float(np.mean(np.square(found))) * count
    assert 0.8 < mean_square < 1.3 * widening


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=12))
def test_noise_does_not_depend_on_how_the_samples_arrive(sizes: list[int]) -> None:
    values = np.random.default_rng(5).normal(size=sum(sizes))
    pieces = BatchMeans()
    begin = 0
    for size in sizes:
        pieces.add(values[begin : begin + size])
        begin += size
    assert pieces.count == len(values)
    whole = u_mean(values)
    if whole is None:
        assert pieces.u_mean() is None
    else:
        assert pieces.u_mean() == pytest.approx(whole, rel=1e-9)

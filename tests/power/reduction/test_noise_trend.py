"""A trend is followed by the integral: it is no noise, and must not count as such."""

from __future__ import annotations

import numpy as np
import pytest

from power.reduction.noise import u_mean


@pytest.mark.parametrize("count", [8, 80, 5000])
def test_a_straight_rise_is_no_noise(count: int) -> None:
    assert u_mean(np.linspace(2.0, 6.0, count)) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("count", [4, 8, 80, 1000])
def test_noise_on_a_rise_counts_as_noise_alone_does(count: int) -> None:
    rng = np.random.default_rng(3)
    squares = []
    for _ in range(400):
        noise = rng.normal(0.0, 0.5, count)
        plain, risen = u_mean(noise), u_mean(noise + np.linspace(0.0, 100.0, count))
        assert plain is not None
        assert risen is not None
        squares.append((plain**2, risen**2))
    plain_mean, risen_mean = np.mean(squares, axis=0)
    assert risen_mean == pytest.approx(plain_mean, rel=0.02)

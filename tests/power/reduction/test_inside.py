"""Readings strictly inside a window."""

from __future__ import annotations

import numpy as np
import pytest

from power.reduction.inside import strictly_inside
from power.trace import Trace, Window

T_S = np.arange(10.0)


def test_samples_on_an_edge_are_outside() -> None:
    found = strictly_inside(Trace(T_S, power_w=T_S, interval_s=1.0), Window(2.0, 6.0))
    assert found == (3, 4.0)


def test_an_average_has_to_lie_inside_with_all_its_time() -> None:
    source = Trace(T_S, power_w=T_S, reading="average", interval_s=1.0)
    # The one at 4 s began at 3 s, after 2.5 s; that at 3 s began before.
    assert strictly_inside(source, Window(2.5, 6.5)) == (3, 5.0)


def test_a_counter_has_differences() -> None:
    source = Trace(T_S, energy_j=T_S**2, reading="counter", interval_s=1.0)
    # From 3 s to 6 s: (36 − 9) J in 3 s.
    count, power_w = strictly_inside(source, Window(2.0, 7.0))
    assert count == 3
    assert power_w == pytest.approx(9.0)


@pytest.mark.parametrize("reading", ["instantaneous", "average", "counter"])
def test_none_inside_is_no_power(reading: str) -> None:
    kept = {"energy_j": T_S} if reading == "counter" else {"power_w": T_S}
    source = Trace(T_S, reading=reading, interval_s=1.0, **kept)  # type: ignore[arg-type]
    assert strictly_inside(source, Window(2.1, 2.9)) == (0, None)

"""The formulas against closed forms, and against one another."""

from __future__ import annotations

import statistics
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostctl.metrics import Loop, Power, Value, compute

positive = st.floats(1e-3, 1e6)


def steady(count: int, period_ns: int = 20_000_000, *, batch: int = 1, first_ns: int | None = None) -> Loop:
    """Requests back to back, each as long as the period."""
    starts = [index * period_ns for index in range(count)]
    window_s = count * period_ns / 1e9
    return Loop(starts, [start + period_ns for start in starts], window_s, batch, first_ns)


def test_a_steady_loop() -> None:
    loop = replace(steady(500, first_ns=35_000_000), device_ns=19_500_000)
    found = compute(loop, ops_per_inference=7.78e9, peak_gops=1331.2)
    assert found["inferences"] == found["requests"] == 500
    assert found["window_s"] == 10.0
    assert found["throughput_ips"] == 50.0
    assert found["achieved_gops"] == pytest.approx(389.0, rel=1e-15)
    assert found["performance_ratio"] == found["achieved_gops"] / 1331.2
    assert found["inference_time_ms"] == {
        "mean": 20.0, "median": 20.0, "p90": 20.0, "p99": 20.0, "min": 20.0, "max": 20.0,
        "stddev": 0.0, "count": 500, "first": 35.0, "device": 19.5,
    }  # fmt: skip


def test_the_statistics_of_uneven_times() -> None:
    durations_ns = [1_000_000, 2_000_000, 3_000_000, 10_000_000]
    loop = Loop([0] * 4, durations_ns, 1.0, 1)
    times = compute(loop)["inference_time_ms"]
    assert times["mean"] == 4.0
    assert times["median"] == 2.5
    assert times["p90"] == pytest.approx(3 + 0.7 * 7)
    assert (times["min"], times["max"]) == (1.0, 10.0)
    assert times["stddev"] == pytest.approx(statistics.stdev([1, 2, 3, 10]))


def test_power_with_and_without_idle() -> None:
    power = Power(gross=Value(10.0, 0.04), idle=Value(4.0, 0.03), net_u=0.006)
    found = compute(steady(500, batch=8), ops_per_inference=1e9, power=power)
    assert found["inferences"] == 4000
    assert found["power_w"] == {"value": 10.0, "u": 0.04}
    assert found["idle_power_w"] == {"value": 4.0, "u": 0.03}
    assert found["energy_per_inference_mj"]["gross"] == {"value": 25.0, "u": pytest.approx(0.1)}
    assert found["energy_per_inference_mj"]["net"] == {"value": 15.0, "u": pytest.approx(0.015)}
    assert found["gops_per_w"]["gross"] == {"value": 40.0, "u": pytest.approx(0.16)}
    assert found["gops_per_w"]["net"]["value"] == pytest.approx(400 / 6)
    assert found["gops_per_w"]["net"]["u"] == pytest.approx(400 / 6 * 0.001)


def test_what_is_unknown_is_null_and_never_zero() -> None:
    found = compute(steady(3))
    for name in ("achieved_gops", "peak_gops", "performance_ratio", "power_w", "idle_power_w"):
        assert found[name] is None
    assert found["energy_per_inference_mj"] == {"gross": None, "net": None}
    assert found["gops_per_w"] == {"gross": None, "net": None}


def test_no_request_at_all() -> None:
    found = compute(Loop([], [], 1.0, 1), power=Power(gross=Value(5.0, None)))
    assert found["throughput_ips"] == 0.0
    assert found["inference_time_ms"]["mean"] is None
    assert found["energy_per_inference_mj"]["gross"] is None
    assert found["power_w"] == {"value": 5.0, "u": None}


def test_net_power_within_its_uncertainty_of_zero_has_no_efficiency() -> None:
    net_w, u_w = 2.0**-10, 0.25
    found = compute(
        steady(10),
        ops_per_inference=1e9,
        power=Power(gross=Value(4.0 + net_w, 0.1), idle=Value(4.0, 0.1), net_u=u_w),
    )
    assert found["energy_per_inference_mj"]["net"] == {"value": 20.0 * net_w, "u": 20.0 * u_w}
    assert found["gops_per_w"]["net"] is None


def test_net_figures_of_an_estimate_stand() -> None:
    power = Power(gross=Value(6.0, 4.0), idle=Value(4.0, 4.0), net_u=8.0, is_estimated=True)
    assert compute(steady(10), ops_per_inference=1e9, power=power)["gops_per_w"]["net"][
        "value"
    ] == pytest.approx(25.0)


def test_net_power_below_zero_keeps_its_energy_but_has_no_efficiency() -> None:
    power = Power(gross=Value(3.0, 0.1), idle=Value(4.0, 0.1), net_u=0.1)
    found = compute(steady(10), ops_per_inference=1e9, power=power)
    assert found["energy_per_inference_mj"]["net"]["value"] == -20.0
    assert found["gops_per_w"]["net"] is None


@given(st.integers(1, 10_000), st.integers(1, 64), positive, positive, positive, positive)
def test_recomputing_any_column_from_the_others_gives_the_same_number(
    count: int, batch: int, window_s: float, ops: float, power_w: float, peak: float
) -> None:
    loop = Loop([0] * count, [1] * count, window_s, batch)
    found = compute(loop, ops_per_inference=ops, peak_gops=peak, power=Power(gross=Value(power_w, 0.0)))
    assert found["throughput_ips"] == found["inferences"] / found["window_s"]
    assert found["achieved_gops"] == found["throughput_ips"] * ops / 1e9
    assert found["performance_ratio"] == found["achieved_gops"] / found["peak_gops"]
    assert found["gops_per_w"]["gross"]["value"] == found["achieved_gops"] / found["power_w"]["value"]
    energy_mj = found["energy_per_inference_mj"]["gross"]["value"]
    assert energy_mj == pytest.approx(1e3 * power_w / found["throughput_ips"], rel=1e-14)


@pytest.mark.parametrize(
    ("loop", "words"),
    [
        (Loop([0], [], 1.0, 1), "starts"),
        (Loop([0], [1], 0.0, 1), "not positive"),
        (Loop([0], [1], 1.0, 0), "below one"),
    ],
)
def test_nonsense_is_refused(loop: Loop, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        compute(loop)

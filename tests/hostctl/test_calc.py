"""The formulas on typed numbers, held against a published table."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostctl.calc import calculate
from hostctl.errors import UsageError
from hostctl.intervals import HALF, Verdict, check_row, read_printed
from hostctl.metrics import Loop, Power, Value, compute
from tests.hostctl.published import rows

GIVEN = {"ops": 7.78e9, "time_ms": 20.46, "batch": 1, "power_w": 56.96, "idle_w": 14.03, "peak_gops": 1331.2}


def numbers_of(result: dict[str, Any]) -> dict[str, float | None]:
    """Return a calculation under the published table's column names."""
    energy, per_watt, ratio = (
        result[name] for name in ("energy_per_inference_mj", "gops_per_w", "performance_ratio")
    )
    return {
        "ips": result["throughput_ips"],
        "achieved_gops": result["achieved_gops"],
        "ratio_percent": None if ratio is None else 100 * ratio,
        "energy_per_inference_mj": energy["gross"] and energy["gross"]["value"],
        "gops_per_w": per_watt["gross"] and per_watt["gross"]["value"],
    }


def ends(row: dict[str, str], column: str) -> list[float | None]:
    """Return the smallest and the largest number that prints as this cell; [None] if it is empty."""
    printed = read_printed(row[column])
    if printed is None:
        return [None]
    around = printed.within(HALF)
    return [float(around.low), float(around.high)]


def throughputs(row: dict[str, str]) -> Iterator[dict[str, float | int | None]]:
    """Return what tells the throughput: the time, or else the throughput itself, at both ends of what was printed."""
    if row["threads"] in ("", "1"):
        column = "latency_ms" if row["threads"] else "inference_time_ms"
        batch = 1 if row["threads"] else int(row["batch"])
        yield from ({"time_ms": time_ms, "batch": batch} for time_ms in ends(row, column))
    yield from ({"throughput_ips": ips, "batch": int(row["batch"])} for ips in ends(row, "ips"))


def calculated(row: dict[str, str]) -> dict[str, tuple[float, float]]:
    """Return from where to where `calculate` goes over all that the row's cells can stand for."""
    found: dict[str, list[float]] = {}
    for known, power_w, peak_gops in itertools.product(
        throughputs(row), ends(row, "power_w"), ends(row, "peak_gops")
    ):
        ops = float(row["ops_per_inference_gops"]) * 1e9
        result = calculate(ops=ops, power_w=power_w, peak_gops=peak_gops, **known)  # type: ignore[arg-type]
        for name, value in numbers_of(result).items():
            if value is not None:
                found.setdefault(name, []).append(value)
    return {name: (min(values), max(values)) for name, values in found.items()}


def follows_a_misprint(row: dict[str, str], column: str) -> bool:
    """Whether the number was computed from the one misprinted cell, 1574.0 for 2574.0."""
    return row["achieved_gops"] == "1574.0" and column in ("ratio_percent", "gops_per_w")


def test_every_consistent_number_of_the_published_table_is_reproduced() -> None:
    held = 0
    for row in rows():
        reached = calculated(row)
        for check in check_row(row):
            if check.verdict is not Verdict.CONSISTENT or follows_a_misprint(row, check.column):
                continue
            printed = read_printed(check.printed)
            assert printed is not None
            around, (low, high) = printed.within(HALF), reached[check.column]
            assert low <= around.high, (row["table"], row["model"], check)
            assert high >= around.low, (row["table"], row["model"], check)
            held += 1
    assert held == 591 - 2


def test_a_printed_row() -> None:
    result = numbers_of(calculate(**GIVEN))  # type: ignore[arg-type]
    shown = {name: f"{value:.2f}" for name, value in result.items() if value is not None}
    assert shown == {
        "ips": "48.88", "achieved_gops": "380.25", "ratio_percent": "28.56",
        "energy_per_inference_mj": "1165.40", "gops_per_w": "6.68",
    }  # fmt: skip


def test_net_takes_idle_off_before_it_divides() -> None:
    result = calculate(**GIVEN)  # type: ignore[arg-type]
    assert result["energy_per_inference_mj"]["net"]["value"] == pytest.approx(
        (56.96 - 14.03) * 20.46, rel=1e-12
    )
    assert result["gops_per_w"]["net"]["value"] == pytest.approx(7.78 / 20.46e-3 / (56.96 - 14.03), rel=1e-12)


def test_the_shapes_are_those_of_a_result() -> None:
    made = compute(
        Loop([0], [20_460_000], 20.46 / 1e3, 1),
        ops_per_inference=7.78e9,
        peak_gops=1331.2,
        power=Power(Value(56.96, None), Value(14.03, None)),
    )
    result = calculate(**GIVEN)  # type: ignore[arg-type]
    assert result["idle_power_w"] == {"value": 14.03, "u": None, "model": "fixed"}
    for name in made.keys() - {"inferences", "requests", "window_s", "inference_time_ms", "idle_power_w"}:
        assert result[name] == made[name], name
    assert result["inference_time_ms"].keys() == made["inference_time_ms"].keys()
    assert result["ops_per_inference"] == {"value": 7.78e9, "convention": "mac2", "source": "given"}


@pytest.mark.parametrize(
    ("missing", "unknown"),
    [
        ("ops", {"achieved_gops", "ratio_percent", "gops_per_w"}),
        ("time_ms", {"ips", "achieved_gops", "ratio_percent", "energy_per_inference_mj", "gops_per_w"}),
        ("power_w", {"energy_per_inference_mj", "gops_per_w"}),
        ("idle_w", set()),
        ("peak_gops", {"ratio_percent"}),
    ],
)
def test_what_cannot_be_known_is_null(missing: str, unknown: set[str]) -> None:
    result = calculate(**{**GIVEN, missing: None})  # type: ignore[arg-type]
    assert {name for name, value in numbers_of(result).items() if value is None} == unknown
    net = result["energy_per_inference_mj"]["net"]
    assert (net is None) == (missing in ("time_ms", "power_w", "idle_w"))


def test_nothing_given_is_everything_null() -> None:
    result = calculate()
    assert set(numbers_of(result).values()) == {None}
    assert result["power_w"] is result["idle_power_w"] is result["peak_gops"] is None
    assert result["ops_per_inference"]["source"] is None


def test_a_measured_throughput_stands_instead_of_the_time() -> None:
    result = calculate(time_ms=158.33, throughput_ips=25.19, power_w=7.368)
    assert result["throughput_ips"] == 25.19
    assert result["inference_time_ms"]["mean"] == 158.33
    assert result["energy_per_inference_mj"]["gross"]["value"] == pytest.approx(292.5, rel=1e-3)


@pytest.mark.parametrize(
    "name", ["ops", "time_ms", "batch", "peak_gops", "throughput_ips", "power_w", "idle_w"]
)
@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_a_number_that_cannot_be_is_refused_by_its_option(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"^--{name.replace('_', '-')} is {value:g}; give a number"):
        calculate(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["ops", "time_ms", "batch", "peak_gops", "throughput_ips"])
def test_zero_is_refused_where_it_divides(name: str) -> None:
    with pytest.raises(UsageError, match="above zero"):
        calculate(**{name: 0})


def test_zero_watts_are_a_number() -> None:
    result = calculate(ops=1e9, time_ms=1.0, power_w=0.0, idle_w=0.0)
    assert result["energy_per_inference_mj"]["gross"]["value"] == 0
    assert result["gops_per_w"] == {"gross": None, "net": None}


positive = st.floats(1e-6, 1e9)


@given(ops=positive, time_ms=positive, batch=st.integers(1, 4096), power_w=positive, peak_gops=positive)
def test_the_numbers_agree_with_one_another(
    ops: float, time_ms: float, batch: int, power_w: float, peak_gops: float
) -> None:
    result = calculate(ops=ops, time_ms=time_ms, batch=batch, power_w=power_w, peak_gops=peak_gops)
    ips, gops = result["throughput_ips"], result["achieved_gops"]
    exact = Fraction(batch) * 1000 / Fraction(time_ms)
    assert ips == pytest.approx(float(exact), rel=1e-12)
    assert gops == pytest.approx(float(exact * Fraction(ops) / 10**9), rel=1e-12)
    assert result["performance_ratio"] == gops / peak_gops
    assert result["gops_per_w"]["gross"]["value"] == gops / power_w
    energy = result["energy_per_inference_mj"]["gross"]["value"]
    assert energy == pytest.approx(float(1000 * Fraction(power_w) / exact), rel=1e-12)

"""Printed numbers as intervals, and what a published table's columns say of one another."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostctl.errors import UsageError
from hostctl.intervals import Interval, Printed, Verdict, check_row, judge, read_printed
from tests.hostctl.published import rows

OTHER_RUN = "computed from another run than ips and GOPS of the same row"
TIME_COPIED = "time and power are those of table 25, measured with batch 1"
TIME_ELSEWHERE = "the time does not fit ips; the two come from different measurements"
LATENCY_ELSEWHERE = "ips was measured apart from the latency it should be the inverse of"
INCONSISTENT = {
    ("23", "mobilenetv3small", "INT8", "1", ""): ({"gops_per_w"}, "31.72 GOPS ÷ 4.2247 W is 7.51, printed 7.52"),
    ("25", "yolov4", "INT8", "1", ""): ({"ips"}, TIME_ELSEWHERE),
    ("26", "resnet50", "INT8", "8", ""): ({"ips"}, TIME_COPIED),
    ("26", "mobilenetv3small", "INT8", "8", ""): ({"ips"}, TIME_COPIED),
    ("26", "yolov4", "INT8", "8", ""): ({"ips"}, TIME_ELSEWHERE),
    ("31", "resnet50", "INT8", "1", ""): ({"ratio_percent", "energy_per_inference_mj", "gops_per_w"}, OTHER_RUN),
    ("31", "resnet50", "INT8", "8", ""): ({"ratio_percent", "energy_per_inference_mj", "gops_per_w"}, OTHER_RUN),
    ("31", "resnet50", "FP16", "1", ""): ({"energy_per_inference_mj", "gops_per_w"}, OTHER_RUN),
    ("31", "resnet50", "FP32", "1", ""): ({"energy_per_inference_mj", "gops_per_w"}, OTHER_RUN),
    ("31", "resnet50", "FP32", "8", ""): ({"gops_per_w"}, OTHER_RUN),
    ("46", "resnet50", "INT8", "1", ""): ({"ratio_percent"}, "13432 GOPS of a peak of 137500 are 9.77 %, printed 10.23 %"),
    ("82", "resnet50", "FP32", "1", ""): ({"achieved_gops"}, "misprint: 1574.0 for 2574.0; ratio and GOPS/W follow it"),
    ("102", "resnet50", "INT8", "1", "1"): ({"ips"}, LATENCY_ELSEWHERE),
    ("108", "mobilenetv2", "INT8", "1", "1"): ({"ips"}, LATENCY_ELSEWHERE),
}  # fmt: skip
"""(table, model, precision, batch, threads) → the columns no rounding explains, and why."""

TRUNCATED = {
    ("23", "resnet50", "INT8", "1", ""): {"ips", "achieved_gops"},
    ("23", "mobilenetv3small", "INT8", "1", ""): {"ips"},
    ("29", "mobilenetv3small", "INT8", "1", ""): {"ratio_percent"},
    ("46", "resnet50", "FP16", "1", ""): {"ips", "ratio_percent"},
    ("48", "mobilenetv3small", "INT8", "1", ""): {"ratio_percent", "energy_per_inference_mj"},
    ("48", "mobilenetv3small", "FP16", "1", ""): {"ratio_percent"},
    ("102", "resnet50", "INT8", "1", "1"): {"ips"},
}


def found(verdict: Verdict) -> dict[tuple[str, ...], set[str]]:
    columns: dict[tuple[str, ...], set[str]] = {}
    for row in rows():
        key = tuple(row[name] for name in ("table", "model", "precision", "batch", "threads"))
        for check in check_row(row):
            if check.verdict is verdict:
                columns.setdefault(key, set()).add(check.column)
    return columns


def test_the_inconsistent_numbers_of_the_table_and_no_others() -> None:
    assert found(Verdict.INCONSISTENT) == {key: columns for key, (columns, _) in INCONSISTENT.items()}


def test_the_truncated_numbers_of_the_table_and_no_others() -> None:
    assert found(Verdict.TRUNCATED) == TRUNCATED


def test_every_number_of_the_table_has_a_verdict() -> None:
    counts = Counter(check.verdict.value for row in rows() for check in check_row(row))
    assert counts == {"consistent": 591, "truncated": 10, "inconsistent": 20, "not_derivable": 11}


def test_throughput_follows_from_no_time_where_a_pipeline_has_several_threads() -> None:
    assert found(Verdict.NOT_DERIVABLE).keys() == {
        ("102", "resnet50", "INT8", "1", "12"),
        ("105", "yolov4", "INT8", "1", "6"),
        ("105", "yolov4", "INT8", "1", "12"),
        ("108", "mobilenetv2", "INT8", "1", "6"),
        ("108", "mobilenetv2", "INT8", "1", "12"),
    }
    assert set().union(*found(Verdict.NOT_DERIVABLE).values()) == {"ips"}


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [("56.960", "56.96", "0.001"), ("1180", "1180", "1"), ("-0.5", "-0.5", "0.1"), ("1.2e3", "1200", "100"), ("0", "0", "1")],
)  # fmt: skip
def test_the_unit_is_that_of_the_last_digit(text: str, value: str, unit: str) -> None:
    assert read_printed(f" {text} ") == Printed(Fraction(value), Fraction(unit))


@pytest.mark.parametrize(
    "text", ["CPU only", "67,85", "~0", "1 023", "nan", "inf", "-Infinity", "1.2.3", "0x10"]
)
def test_a_cell_that_is_no_number_is_refused_by_column(text: str) -> None:
    with pytest.raises(UsageError, match=f"Column power_w: '{text}' is no number"):
        check_row({"power_w": text, "ips": "1.0"})


def test_an_empty_cell_is_missing_and_not_zero() -> None:
    assert read_printed("  ") is None
    (check,) = check_row({"ips": "10", "inference_time_ms": "", "power_w": ""})
    assert check.verdict is Verdict.NOT_DERIVABLE
    assert check_row({"inference_time_ms": "10"}) == []


@pytest.mark.parametrize(
    ("printed", "derived", "verdict"),
    [
        ("2.5", "2.55", "consistent"),  # the edges belong to both
        ("2.5", "2.5501", "truncated"),
        ("2.5", "2.6", "truncated"),
        ("2.5", "2.6001", "inconsistent"),
        ("2.50", "2.51", "truncated"),
        ("2.5", "2.4", "truncated"),
    ],
)
def test_verdicts_at_their_edges(printed: str, derived: str, verdict: str) -> None:
    number, point = read_printed(printed), Fraction(derived)
    assert number is not None
    assert judge(number, Interval(point, point)) == verdict


def test_what_follows_a_misprint_is_not_another() -> None:
    row = {"inference_time_ms": "3.00", "batch": "1", "ips": "333.3", "ops_per_inference_gops": "7.78", "achieved_gops": "1574",
           "peak_gops": "5000", "ratio_percent": "31.5"}  # fmt: skip
    verdicts = {check.column: check.verdict.value for check in check_row(row)}
    assert verdicts == {"ips": "consistent", "achieved_gops": "inconsistent", "ratio_percent": "consistent"}


def test_a_power_that_may_be_zero_gives_nothing() -> None:
    row = {"ips": "10", "power_w": "0", "achieved_gops": "5", "gops_per_w": "1"}
    assert {check.column: check.verdict.value for check in check_row(row)}["gops_per_w"] == "not_derivable"


def test_an_interval_has_its_ends_in_order() -> None:
    with pytest.raises(ValueError, match="is above"):
        Interval(Fraction(2), Fraction(1))
    with pytest.raises(ZeroDivisionError, match="can be zero"):
        Interval(Fraction(1), Fraction(1)) / Interval(Fraction(-1), Fraction(1))


ends = st.tuples(st.fractions(-1000, 1000), st.fractions(-1000, 1000)).map(sorted)
shares = st.fractions(0, 1)


@given(ends, ends, shares, shares)
def test_intervals_hold_every_product_and_quotient(
    left: list[Fraction], right: list[Fraction], s: Fraction, t: Fraction
) -> None:
    a, b = Interval(*left), Interval(*right)
    x, y = a.low + s * (a.high - a.low), b.low + t * (b.high - b.low)
    assert (a * b).low <= x * y <= (a * b).high
    if not b.low <= 0 <= b.high:
        assert (a / b).low <= x / y <= (a / b).high

"""What people are shown: digits, marks, legends."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from hostctl.results.columns import COLUMNS, significant, with_uncertainty
from hostctl.results.tables import result_table
from tests.hostctl.results.results_data import a_result

ESTIMATED = {"name": "e", "driver": "estimate", "scope": "board", "kind": "estimated"}


def printed(*results: dict[str, object], width: int = 300) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(result_table(results))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def cells(result: dict[str, object]) -> dict[str, str]:
    return {column.title: column.text(result) for column in COLUMNS}


@pytest.mark.parametrize(
    ("value", "u", "text"),
    [
        (10.0, 0.04, "10.000 ± 0.040"),
        (250.123, 1.234, "250.1 ± 1.2"),
        (1234.5, 234.0, "1230 ± 230"),
        (12.3456, 12.0, "12 ± 12"),
        (5.0, 0.0996, "5.00 ± 0.10"),
        (5.0, None, "5.000 ± ?"),
        (5.0, 0.0, "5.000"),
        (-0.5, 0.1, "-0.50 ± 0.10"),
    ],
)
def test_two_digits_of_the_uncertainty(value: float, u: float | None, text: str) -> None:
    assert with_uncertainty(value, u) == text


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_what_is_shown_is_the_value_to_a_tenth_of_its_uncertainty(value: float, u: float) -> None:
    shown, shown_u = (float(part) for part in with_uncertainty(value, u).split(" ± "))
    assert abs(shown - value) <= 0.051 * u + 1e-9
    assert shown_u == pytest.approx(u, rel=0.051)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (123456.0, "123456"),
        (1.23456, "1.235"),
        (0.00123456, "0.001235"),
        (1e9, "1.000e+09"),
        (9.9996, "10.00"),
    ],
)
def test_significant_digits(value: float, text: str) -> None:
    assert significant(value) == text


def test_a_measured_result() -> None:
    found = cells(a_result())
    assert found["power W"] == "10.000 ± 0.040"
    assert found["mJ/inf net"] == "120.00 ± 0.12"
    assert found["runtime"] == "onnxruntime float32"
    assert found["of peak"].endswith(" %")


def test_an_estimate_is_marked_at_every_number_that_comes_of_it() -> None:
    result = a_result(meter=ESTIMATED, flags=[{"code": "ENERGY_ESTIMATED", "message": "Not measured."}])
    marked = {title for title, text in cells(result).items() if text.startswith("≈ ")}
    assert marked == {
        "power W", "idle W", "mJ/inf gross", "mJ/inf net", "GOPS/W gross", "GOPS/W net",
    }  # fmt: skip
    text = printed(result)
    assert "≈ was estimated or simulated, not measured" in text
    assert "ENERGY_ESTIMATED: Not measured." in text


def test_what_is_unknown_is_a_dash_and_never_zero() -> None:
    result = a_result(
        power_w=None, energy_per_inference_mj={"gross": None, "net": None}, inference_time_ms=None, meter=None
    )
    found = cells(result)
    assert {found["power W"], found["mJ/inf gross"], found["time ms"]} == {"–"}
    assert "≈" not in printed(result)


def test_a_narrow_terminal_gets_speed_and_energy_apart_and_loses_nothing() -> None:
    text = printed(a_result(), width=128)
    assert text.count("digits") == 2
    assert max(map(len, text.splitlines())) <= 128
    for column in COLUMNS:
        assert all(part in text for part in column.text(a_result()).split())


def test_an_invalid_result_shows_why_and_the_same_reason_once() -> None:
    flags = [{"code": "THROTTLED", "message": "Cool it."}]
    text = printed(a_result(valid=False, flags=flags), a_result(valid=False, flags=flags))
    assert text.count("✗ invalid") == 2
    assert text.count("Cool it.") == 1
    assert "THROTTLED (×2)" in text

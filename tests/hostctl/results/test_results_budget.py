"""The budget tables people are shown: every line of the result, and what is unknown."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from hostctl.errors import UsageError
from hostctl.results.budget import budget_of, budget_tables, rows, summary
from hostctl.results.report import html_report
from power.reduction.budget import budget
from power.reduction.report import energy_report
from power.trace import Trace, Window
from power.uncertainty import Accuracy, GainOffset
from tests.hostctl.results.results_data import a_result

METER = GainOffset.from_limits(0.001, 0.03, source="WT310E, 15 V, 1 A")


def with_budget(accuracy: Accuracy | None = METER, *, idle: bool = True) -> dict[str, Any]:
    t_s = np.linspace(0.0, 20.0, 20_001)
    power_w = np.where((t_s >= 5.0) & (t_s <= 15.0), 10.0, 4.0)
    found = energy_report(
        Trace(t_s, power_w=power_w, interval_s=0.001),
        Window(5.0, 15.0),
        accuracy=accuracy,
        clock_bound_s=0.001,
        idle_before=Window(0.5, 4.5) if idle else None,
        idle_after=Window(15.5, 19.5) if idle else None,
        idle_model="linear" if idle else None,
    )
    return a_result(environment={"uncertainty": budget(found, 1000).as_json()})


def printed(result: dict[str, Any]) -> str:
    console = Console(file=io.StringIO(), width=200)
    for table in budget_tables(result):
        console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_gross_and_net_with_every_line() -> None:
    result = with_budget()
    shown = printed(result)
    assert "gross energy per inference" in shown
    assert "net energy per inference" in shown
    for which in ("gross", "net"):
        for line in result["environment"]["uncertainty"][which]["lines"]:
            assert line["name"] in shown
            assert line["source"] in shown
    assert "the meter's offset cancels" in shown
    assert "r = 1" in shown


def test_a_line_in_its_units() -> None:
    (gain,) = [row for row in rows(with_budget()["environment"]["uncertainty"]["gross"]) if row[0] == "gain"]
    # 0.1 % ÷ √3, of 10 W × 10 s ÷ 1000 = 100 mJ.
    assert gain[:6] == ("gain", "WT310E, 15 V, 1 A", "rectangular", "0.0577 %", "1.000 mJ/%", "0.0577")
    assert gain[6].endswith(" %")


def test_the_sum() -> None:
    table = {"value_mj": 60.0, "u_mj": 0.035, "expanded_mj": 0.07}
    assert (
        summary("net", table, 2.0)
        == "net: 60.000 ± 0.070 mJ per inference (0.12 %); combined u = 0.035 mJ, k = 2."
    )


def test_an_unknown_part_is_a_dash_and_makes_the_sum_unknown() -> None:
    shown = printed(with_budget(None))
    assert "nobody states it" in shown
    assert "u is unknown, because a component is" in shown


def test_without_idle_there_is_no_net_table() -> None:
    shown = printed(with_budget(idle=False))
    assert "gross energy" in shown
    assert "net energy" not in shown


def test_a_result_without_a_budget_is_told() -> None:
    with pytest.raises(UsageError, match="no uncertainty budget"):
        budget_of(a_result())
    with pytest.raises(UsageError, match="no uncertainty budget"):
        budget_of(a_result(environment={"uncertainty": None}))


def test_the_html_report_has_the_tables() -> None:
    page = html_report([with_budget(), a_result()])
    assert page.count("<caption>") == 2
    assert "<caption>net energy per inference</caption>" in page
    assert "offset cancels" in page

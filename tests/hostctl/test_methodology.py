"""The numbers in docs/methodology.md are what the code computes."""

from __future__ import annotations

import io
import math
import re
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from hostctl.results.budget import budget_tables
from hostctl.rules import MLPERF
from power.reduction.budget import budget
from power.reduction.report import EnergyReport, energy_report
from power.trace import Floats, Trace, Window
from power.uncertainty import GainOffset
from tests.hostctl.results.results_data import a_result

DOCS = Path(__file__).parents[2] / "docs" / "methodology.md"
RUN = Window(35.03, 95.04)
WT310 = GainOffset.from_limits(0.001, 0.002 * 15.0, source="WT310E, 15 V / 1 A")


def example() -> EnergyReport:
    """A run of a minute at 10 W between idle windows of 30 s at 4.00 W and 4.03 W, 3000 inferences, a reading each 0.1 s."""
    t_s: Floats = np.linspace(0.1, 130.0, 1300)
    share = np.diff(np.clip(t_s, RUN.start_s, RUN.end_s), prepend=RUN.start_s) / 0.1
    power_w = share * 10.0 + (1.0 - share) * np.where(t_s < 60.0, 4.0, 4.03)
    noise_w = np.random.default_rng(42).normal(0.0, 0.02, len(t_s))
    return energy_report(
        Trace(t_s, power_w=power_w + noise_w, reading="average", interval_s=0.1),
        RUN,
        accuracy=WT310,
        clock_bound_s=0.011,
        idle_before=Window(3.0, 33.0),
        idle_after=Window(97.0, 127.0),
    )


def printed() -> str:
    result = a_result(environment={"uncertainty": budget(example(), 3000).as_json()})
    console = Console(file=io.StringIO(), width=120)
    for table in budget_tables(result):
        console.print(table)
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()).strip()


def test_the_budget_of_the_example_is_the_one_that_is_printed() -> None:
    (block,) = re.findall(r"```text\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert printed() == block.strip()


def test_the_example_by_hand() -> None:
    """u(ΔP) of the section on uncertainty: 0.030 W apart, 0.0035 W on one range."""
    apart_w = math.hypot(WT310.u_power_w(10.0), WT310.u_power_w(4.0))
    assert apart_w == pytest.approx(0.030, abs=5e-4)
    assert WT310.u_difference_w(10.0, 4.0) == pytest.approx(0.0035, abs=5e-5)
    found = example()
    assert found.net_power_w is not None
    assert found.net_power_w.parts["meter"] == pytest.approx(0.0035, abs=1e-4)
    assert found.idle_drift_w == pytest.approx(0.03, abs=5e-3)


def test_the_limits_of_mlperf_are_those_of_the_page() -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert f"{MLPERF.least_duration_s:g} s" in text
    assert f"{MLPERF.settle_s:g} s" in text
    assert f"{100 * MLPERF.most_relative_u:g} %" in text
    assert f"{100 * MLPERF.most_below_ranging:g} %" in text

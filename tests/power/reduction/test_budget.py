"""The budget as a table: it adds up to the report's uncertainty line by line, and to the manual's example by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from power.reduction.budget import Budget, Line, Table, budget, combined_mj
from power.reduction.idle import IdleModel, IdleState
from power.reduction.report import EnergyReport, energy_report
from power.trace import Trace, Window
from power.uncertainty import Accuracy, Between, GainOffset, Independent, Quantity

BEFORE, RUN, AFTER = Window(0.5, 4.5), Window(5.0, 15.0), Window(15.5, 19.5)
WT310 = GainOffset.from_limits(0.001, 0.03, source="WT310E, 15 V, 1 A, DC")
FITTED = GainOffset(0.0004, 0.006, -0.7, 0.001, "certificate 7")


def trace(
    *, noise_w: float = 0.0, drift_w: float = 0.0, step_s: float = 0.01, counter: bool = False
) -> Trace:
    """Idle 4 W, 10 W from 5 s to 15 s."""
    t_s = np.linspace(0.0, 20.0, round(20 / step_s) + 1)
    if counter:
        work_j = 4.0 * t_s + 6.0 * (np.clip(t_s, 5.0, 15.0) - 5.0) + drift_w * t_s**2 / 30.0
        return Trace(t_s, energy_j=work_j, reading="counter", update_s=0.02, step_j=0.05)
    idle_w = 4.0 + drift_w * (t_s - 2.5) / 15.0
    power_w = np.where((t_s >= 5.0) & (t_s <= 15.0), 10.0, idle_w)
    noise = np.random.default_rng(1).normal(0.0, noise_w, len(t_s))
    return Trace(t_s, power_w=power_w + noise, interval_s=step_s)


def report(source: Trace | None = None, accuracy: Accuracy | None = WT310, **options: object) -> EnergyReport:
    given: dict[str, object] = {"clock_bound_s": 0.002, "idle_before": BEFORE, "idle_after": AFTER}
    whole = trace(noise_w=0.3, drift_w=0.2) if source is None else source
    return energy_report(whole, RUN, accuracy=accuracy, **{**given, **options})  # type: ignore[arg-type]


def net(found: Budget) -> Table:
    assert found.net is not None
    return found.net


def line(table: Table, name: str) -> Line:
    return next(one for one in table.lines if one.name == name)


ACCURACIES: list[Accuracy] = [WT310, FITTED, GainOffset(0.001, 0.0), Between(4.0, 20.0), Independent(0.05)]


@pytest.mark.parametrize("accuracy", ACCURACIES)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"idle_model": "before"},
        {"idle_model": "fixed", "idle_fixed": Quantity(4.1, 0.05)},
        {"same_range": False},
        {"idle_accuracy": GainOffset.from_limits(0.001, 0.01)},
        {"idle_model": None, "idle_before": None, "idle_after": None},
    ],
    ids=lambda options: ",".join(options) or "linear",
)
@pytest.mark.parametrize("counter", [False, True])
def test_the_lines_add_up_to_the_reports_uncertainty(
    accuracy: Accuracy, options: dict[str, object], counter: bool
) -> None:
    source = trace(counter=True, drift_w=0.2) if counter else None
    found = report(source, accuracy, **options)
    tables = budget(found, 500)
    assert found.gross_j.u_std is not None
    assert tables.gross.value_mj == pytest.approx(1e3 * found.gross_j.value / 500)
    assert tables.gross.u_mj == pytest.approx(1e3 * found.gross_j.u_std / 500)
    assert combined_mj(tables.gross.lines) == pytest.approx(tables.gross.u_mj)
    assert sum(one.share or 0.0 for one in tables.gross.lines) == pytest.approx(1.0)
    if found.net_j is None:
        assert tables.net is None
        return
    assert found.net_j.u_std is not None
    assert net(tables).value_mj == pytest.approx(1e3 * found.net_j.value / 500)
    assert net(tables).u_mj == pytest.approx(1e3 * found.net_j.u_std / 500)
    assert combined_mj(net(tables).lines) == pytest.approx(net(tables).u_mj)
    assert sum(one.share or 0.0 for one in net(tables).lines) == pytest.approx(1.0)


def test_every_contribution_is_u_times_sensitivity() -> None:
    tables = budget(report(accuracy=FITTED), 500)
    for one in (*tables.gross.lines, *net(tables).lines):
        if one.distribution == "correlation":
            assert one.sensitivity is None
            continue
        assert one.sensitivity is not None
        assert one.u is not None
        assert one.contribution_mj == pytest.approx(abs(one.sensitivity) * one.u)


def test_the_offset_cancels_on_one_range_only() -> None:
    """10 W and 4 W on a WT310E's 15 V × 1 A range: 0.0035 W together, 0.030 W apart (docs/methodology.md)."""
    quiet = report(trace())
    same, apart = budget(quiet, 1000), budget(report(trace(), same_range=False), 1000)
    per_w = 10.0  # mJ an inference and watt: 10 s, 1000 inferences
    assert line(net(same), "offset").contribution_mj == 0.0
    assert line(net(same), "gain").contribution_mj == pytest.approx(0.001 * 6 / math.sqrt(3) * per_w)
    assert "offset cancels" in net(same).remarks[0]
    assert "would contribute 0.303 mJ" in net(same).remarks[0]
    of_meter = [one for one in net(apart).lines if "(" in one.name]
    assert combined_mj(of_meter) == pytest.approx(0.0303 * per_w, rel=2e-3)
    assert "nothing cancels" in net(apart).remarks[0]
    assert "r = 1" in same.gross.remarks[0]


def test_a_fits_anticorrelation_takes_away() -> None:
    gross = budget(report(accuracy=FITTED), 500).gross
    shared = line(gross, "gain with offset")
    assert shared.contribution_mj is not None
    assert shared.contribution_mj < 0.0
    assert shared.share is not None
    assert shared.share < 0.0
    assert "r = -0.70" in gross.remarks[0]
    gain, offset = line(gross, "gain"), line(gross, "offset")
    assert shared.contribution_mj**2 == pytest.approx(
        2 * 0.7 * (gain.contribution_mj or 0) * (offset.contribution_mj or 0)
    )


def test_what_is_unknown_stays_unknown() -> None:
    tables = budget(report(accuracy=None, clock_bound_s=None), 500)
    assert tables.gross.u_mj is None
    assert tables.gross.expanded_mj is None
    assert line(tables.gross, "meter").contribution_mj is None
    assert line(tables.gross, "clock, two edges").u is None
    assert line(tables.gross, "noise of the run").contribution_mj is not None
    assert all(one.share is None for one in tables.gross.lines)
    assert combined_mj(tables.gross.lines) is None


def test_json_has_every_field() -> None:
    found = budget(report(), 500, "pattern").as_json()
    assert found["k"] == 2.0
    assert set(found["net"]) == {"value_mj", "u_mj", "expanded_mj", "lines", "remarks"}
    assert found["net"]["expanded_mj"] == 2 * found["net"]["u_mj"]
    (clock,) = [one for one in found["net"]["lines"] if one["name"] == "clock, two edges"]
    assert clock["source"] == "pattern, ±0.002 s"
    assert set(clock) == set(Line.__dataclass_fields__)


def test_without_inferences_there_is_no_budget() -> None:
    with pytest.raises(ValueError, match="needs an inference"):
        budget(report(), 0)


@pytest.mark.parametrize("model", ["linear", "fixed"])
def test_further_idle_states_stand_side_by_side(model: IdleModel) -> None:
    seen = IdleState("unconfigured", 2.5, 0.004)
    elsewhere = IdleState("booted", 3.0, 0.004, None, GainOffset.from_limits(0.001, 0.01), False)
    told = IdleState.by_hand("off", Quantity(0.2, 0.05))
    fixed = Quantity(4.0, 0.01) if model == "fixed" else None
    found = report(idle_model=model, idle_fixed=fixed, states=(seen, elsewhere, told))
    first, second, third = found.states
    assert [state.name for state in found.states] == ["unconfigured", "booted", "off"]
    assert [state.is_measured for state in found.states] == [True, True, False]
    assert first.net_power_w.value == found.power_w.value - 2.5
    assert first.net_j.value == pytest.approx(first.net_power_w.value * 10.0)
    # On the run's range only the gain counts; on another one both errors of both; one that is told shares nothing.
    p = found.power_w.value
    assert first.net_power_w.parts["meter"] == pytest.approx(WT310.u_difference_w(p, 2.5))
    assert second.net_power_w.parts["meter"] == pytest.approx(
        math.hypot(WT310.u_power_w(p), 0.013 / math.sqrt(3)), rel=1e-3
    )
    assert third.net_power_w.parts["idle"] == 0.05
    # The edges step from the idle that the run really had, whatever it is held against.
    assert first.net_power_w.parts["clock"] == pytest.approx(found.power_w.parts["clock"])

"""The stated uncertainty against the spread of measurements whose every error is drawn from what the budget assumes.

Nothing of the formulas is used: true powers are drawn, a meter with gain, offset, noise and a clock that is off reads them,
and the whole reduction runs. Each part is also drawn alone, so that no part can hide behind a larger one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest

from power.reduction.idle import IdleState
from power.reduction.report import energy_report
from power.trace import Floats, Trace, Window
from power.uncertainty import GainOffset, Quantity

TRIALS = 1500
STEP_S = 0.02
T_S: Floats = np.linspace(0.0, 40.0, 2001)
RUN, BEFORE, AFTER = Window(12.0, 28.0), Window(1.0, 11.0), Window(29.0, 39.0)
IDLE_W, RUN_W = 4.0, 9.0


@dataclass(frozen=True)
class Errors:
    """What is drawn in a trial: half widths of rectangles, standard deviations for noise and the fit.

    `edges` says how the errors of the two edges go together: "apart" (a rate error), "alone", or "along" (an offset).
    `parts` are those of the budget to compare with, () all of them: a window that is off holds a step, and noise that
    differs before and after is drift, so that others grow too.
    """

    gain_limit: float = 0.0
    offset_limit_w: float = 0.0
    fit: GainOffset | None = None
    noise_w: float = 0.0
    correlation: float = 0.0
    clock_s: float = 0.0
    drift_w: float = 0.0
    state_offset_limit_w: float = 0.0
    edges: str = "apart"
    parts: tuple[str, ...] = ()

    @property
    def accuracy(self) -> GainOffset:
        """What the budget is told of the meter."""
        return self.fit or GainOffset.from_limits(self.gain_limit, self.offset_limit_w)


def noise(rng: np.random.Generator, errors: Errors) -> Floats:
    """An AR(1) process of the wanted spread."""
    white = rng.normal(0.0, errors.noise_w * math.sqrt(1.0 - errors.correlation**2), len(T_S))
    if errors.correlation == 0.0:
        return white
    found, last = np.empty(len(T_S)), 0.0
    for i, value in enumerate(white):
        last = errors.correlation * last + value
        found[i] = last
    return found


def meter_error(rng: np.random.Generator, errors: Errors) -> tuple[float, float]:
    """Gain and offset error: of a specification they are one share of their limits, of a fit they are normal."""
    if errors.fit is None:
        share = rng.uniform(-1.0, 1.0)
        return share * errors.gain_limit, share * errors.offset_limit_w
    a, b = rng.normal(size=2)
    r = errors.fit.correlation
    return errors.fit.u_gain * a, errors.fit.u_offset_w * (r * a + math.sqrt(1 - r * r) * b)


def edge_errors(rng: np.random.Generator, errors: Errors) -> tuple[float, float]:
    lead_s, tail_s = rng.uniform(-errors.clock_s, errors.clock_s, 2)
    return lead_s, {"apart": -lead_s, "along": lead_s, "alone": tail_s}[errors.edges]


def stated_w(quantity: Quantity, errors: Errors) -> float:
    return math.sqrt(sum((quantity.parts.get(name) or 0.0) ** 2 for name in errors.parts or quantity.parts))


def trial(rng: np.random.Generator, errors: Errors) -> Floats:
    """Return error and stated standard uncertainty of gross, net, and net against a state of another range, J."""
    gain, offset_w = meter_error(rng, errors)
    # Averages over cells around each time: the steps of power are in them exactly, so that no edge blurs.
    lead_s, tail_s = edge_errors(rng, errors)
    begin_s, end_s = RUN.start_s + lead_s, RUN.end_s + tail_s
    length_s = end_s - begin_s  # as the board times it
    # Idle power went any way between the two windows: uniform in what they differ by, around their middle.
    strayed_w = errors.drift_w * rng.uniform(-0.5, 0.5)
    level_w = np.where(T_S < 20.0, IDLE_W - errors.drift_w / 2, IDLE_W + errors.drift_w / 2)
    busy_s = np.diff(np.clip(T_S, begin_s, end_s), prepend=T_S[0])
    power_w = level_w + (RUN_W - level_w) * busy_s / STEP_S
    seen_w = power_w * (1.0 + gain) + offset_w + noise(rng, errors)
    state_offset_w = rng.uniform(-1, 1) * errors.state_offset_limit_w
    state = IdleState(
        "unconfigured",
        2.0 + state_offset_w,
        0.0,
        None,
        GainOffset.from_limits(0.0, errors.state_offset_limit_w),
        False,
    )
    found = energy_report(
        Trace(T_S[1:], power_w=seen_w[1:], reading="average", interval_s=STEP_S),
        RUN,
        accuracy=errors.accuracy,
        clock_bound_s=errors.clock_s,
        idle_before=BEFORE,
        idle_after=AFTER,
        states=(state,),
    )
    assert found.net_power_w is not None
    stated = (found.power_w, found.net_power_w, found.states[0].net_power_w)
    truths_w = (RUN_W, RUN_W - IDLE_W - strayed_w, RUN_W - 2.0)
    rows = [
        [one.value - truth_w, stated_w(one, errors)] for one, truth_w in zip(stated, truths_w, strict=True)
    ]
    return np.array(rows) * length_s


def spread_and_stated(errors: Errors, seed: int) -> tuple[Floats, Floats]:
    """Return for gross, net and net against the state: root mean square of the errors, and of what was stated."""
    rng = np.random.default_rng(seed)
    trials = np.array([trial(rng, errors) for _ in range(TRIALS)])
    return np.sqrt(np.mean(trials[:, :, 0] ** 2, axis=0)), np.sqrt(np.mean(trials[:, :, 1] ** 2, axis=0))


ALONE = {
    "specification": Errors(gain_limit=0.005, offset_limit_w=0.05),
    "gain": Errors(gain_limit=0.01),
    "fit": Errors(fit=GainOffset(0.003, 0.02, -0.8)),
    "noise": Errors(noise_w=0.5, parts=("noise", "idle")),
    "clock": Errors(clock_s=0.05, parts=("clock",)),
    "state of another range": Errors(state_offset_limit_w=0.1),
}


@pytest.mark.parametrize("name", ALONE)
@pytest.mark.slow
def test_each_part_alone(name: str) -> None:
    spread_j, stated_j = spread_and_stated(ALONE[name], seed=len(name))
    # The spread of so many draws is known to 2 %, and few batches make noise 4 % larger (Student).
    room = 0.08 if name == "noise" else 0.06
    for spread, stated in zip(spread_j, stated_j, strict=True):
        assert stated == pytest.approx(spread, rel=room, abs=1e-6)


@pytest.mark.parametrize(("edges", "share"), [("along", 1 / math.sqrt(2)), ("alone", math.sqrt(11 / 16))])
def test_a_clock_that_errs_otherwise_costs_less(edges: str, share: float) -> None:
    """Only idle time taken for the run falsifies its mean power: worst where the window is stretched at both ends."""
    spread_j, stated_j = spread_and_stated(Errors(clock_s=0.05, edges=edges, parts=("clock",)), seed=8)
    assert spread_j[0] == pytest.approx(share * stated_j[0], rel=0.06)


@pytest.mark.slow
def test_drift_alone_and_noise_with_a_memory() -> None:
    spread_j, stated_j = spread_and_stated(Errors(drift_w=0.4), seed=3)
    assert stated_j[1] == pytest.approx(spread_j[1], rel=0.06)
    # Batch means are a little small for noise with so long a memory (docs/methodology.md).
    spread_j, stated_j = spread_and_stated(Errors(noise_w=0.5, correlation=0.9), seed=4)
    assert 0.75 * spread_j[1] < stated_j[1] < 1.15 * spread_j[1]


def test_all_parts_together() -> None:
    errors = Errors(0.004, 0.03, None, 0.2, 0.0, 0.05, 0.05, 0.05)
    spread_j, stated_j = spread_and_stated(errors, seed=99)
    assert stated_j[0] == pytest.approx(spread_j[0], rel=0.05)
    assert stated_j[1] == pytest.approx(spread_j[1], rel=0.05)
    assert stated_j[2] == pytest.approx(spread_j[2], rel=0.05)


def test_an_offset_that_cancels_would_show_if_it_did_not() -> None:
    """The cross-check itself: told that ranges differ, the budget is far above the spread."""
    errors = Errors(offset_limit_w=0.5)
    spread_j, _ = spread_and_stated(errors, seed=5)
    told = GainOffset.from_limits(0.0, 0.5)
    assert spread_j[1] < 1e-9
    assert told.u_difference_w(RUN_W, IDLE_W) == 0.0
    assert replace(errors, offset_limit_w=0.0).accuracy.u_power_w(RUN_W) == 0.0
    assert math.hypot(told.u_power_w(RUN_W), told.u_power_w(IDLE_W)) > 0.4

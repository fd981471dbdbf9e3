"""Seeded trials: does the energy that a meter reads of a known power lie within the uncertainty that it states?

Each trial draws a specimen of the simulated instrument whose errors keep its data sheet, and a phase of the waveform; gross and
net energy are compared with the truth. The time is virtual unless a trial asks for the real one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from power.catalogue import driver, make_meter
from power.reduction.report import EnergyReport, energy_report
from power.sim.common.base import Simulator
from power.sim.common.clock import VirtualTime
from power.sim.common.load import Load
from power.sim.common.waveforms import Constant, During, Noise, Ramp, Square, Waveform
from power.timebase import HOST_TIME, Timebase
from power.trace import Window

TRIALS = 200
COVERED = 0.95
TOO_CAUTIOUS = 3.0
OPENED_S = 0.4


@dataclass(frozen=True)
class Timing:
    """Lengths of a trial. The meter runs `margin_s` longer at both ends."""

    idle_s: float = 5.0
    run_s: float = 20.0
    margin_s: float = 2.0


@dataclass(frozen=True)
class Levels:
    """Powers of a trial, and the times that its waveforms are made of.

    inference_hz   of the square wave
    burst_s        length of the bursts, shorter than a sample; four a hundred burst lengths, so that they average
    """

    idle_w: float = 2.0
    active_w: float = 6.0
    inference_hz: float = 37.3
    burst_s: float = 0.004


Made = Callable[[Load, Timebase, int], AbstractContextManager[Simulator]]
"""Makes the simulated instrument of a trial."""


def specimens(kind: Callable[..., Simulator], **settings: Any) -> Made:
    """Return what makes simulated instruments of a class, a specimen for each seed."""
    return lambda load, timebase, seed: kind(load, timebase=timebase, seed=seed, **settings)


def waveforms(levels: Levels, start_s: float, end_s: float, seed: int) -> dict[str, Waveform]:
    """Return the five powers of a run."""
    phase = float(np.random.default_rng(seed).uniform())
    low_w, high_w = levels.idle_w, levels.active_w
    middle_w = 0.5 * (low_w + high_w)
    return {
        "constant": Constant(high_w),
        "square": Square(low_w, high_w, levels.inference_hz, 0.6, phase),
        "ramp": Ramp(start_s, end_s, middle_w, high_w),
        "noise": Noise(middle_w, 0.1 * middle_w, 0.3 / levels.inference_hz, seed),
        "bursts": Square(middle_w, 1.5 * high_w, 0.0413 / levels.burst_s, 0.0413, phase),
    }


@dataclass(frozen=True)
class Outcome:
    """What a trial gave: errors and stated standard uncertainties, J."""

    waveform: str
    gross_error_j: float
    gross_u_j: float
    net_error_j: float
    net_u_j: float
    report: EnergyReport


def run_trial(
    driver_name: str,
    make: Made,
    seed: int,
    *,
    levels: Levels,
    timing: Timing,
    options: dict[str, object],
    is_real: bool = False,
) -> Outcome:
    """Measure one waveform (the seed says which) with one specimen."""
    timebase: Timebase = HOST_TIME if is_real else VirtualTime()
    if is_real:
        _open_once(driver_name, make, seed, levels, options)
    # Of the instrument's own rhythm at the edges; in real time, it is the time within which the meter has to be open.
    phase_s = OPENED_S if is_real else _rhythm_s(seed, timing)
    start_s = timebase.now_ns() / 1e9 + phase_s + 2 * timing.margin_s + timing.idle_s
    end_s = start_s + timing.run_s
    found = waveforms(levels, start_s, end_s, seed)
    name = list(found)[seed % len(found)]
    power = During(start_s, end_s, found[name], Constant(levels.idle_w))
    simulated = driver(driver_name).simulated()
    with ExitStack() as stack:
        simulator = stack.enter_context(make(Load(power, simulated.supply_v), timebase, seed))
        settings = {**simulator.options, **options}
        meter = stack.enter_context(make_meter("trial", driver_name, settings, timebase=timebase))
        last_s = end_s + timing.idle_s + timing.margin_s
        meter.plan(last_s + 0.1 - timebase.now_ns() / 1e9)
        meter.start()
        for moment_s in (start_s - timing.idle_s, start_s, end_s, end_s + timing.idle_s):
            _sleep_until(timebase, moment_s)
            meter.mark()
        _sleep_until(timebase, last_s)
        trace = meter.stop()
        capabilities = meter.capabilities
    # Windows keep off the edges by what the meter blurs, as settling does in a session.
    off_s = min(0.2 * timing.idle_s, timing.margin_s)
    report = energy_report(
        trace,
        Window(start_s, end_s),
        accuracy=capabilities.accuracy,
        clock_bound_s=trace.clock_bound_s,
        idle_before=Window(start_s - timing.idle_s, start_s - off_s),
        idle_after=Window(end_s + off_s, end_s + timing.idle_s),
        kind=capabilities.kind,
        same_range=capabilities.same_range,
    )
    return _outcome(name, report, power, levels, start_s, end_s)


def _outcome(
    name: str, report: EnergyReport, power: Waveform, levels: Levels, start_s: float, end_s: float
) -> Outcome:
    gross_j = power.energy_j(start_s, end_s)
    net_j = gross_j - levels.idle_w * (end_s - start_s)
    assert report.net_j is not None
    assert report.gross_j.u_std is not None, report.gross_j
    assert report.net_j.u_std is not None, report.net_j
    return Outcome(
        name,
        report.gross_j.value - gross_j,
        report.gross_j.u_std,
        report.net_j.value - net_j,
        report.net_j.u_std,
        report,
    )


def check_coverage(
    driver_name: str,
    make: Made,
    *,
    levels: Levels | None = None,
    timing: Timing | None = None,
    options: dict[str, object] | None = None,
    trials: int = TRIALS,
) -> None:
    """Fail unless 95 % of the trials lie within U = 2 u, and u is at most three times what errors really scatter by."""
    outcomes = [
        run_trial(
            driver_name,
            make,
            seed,
            levels=levels or Levels(),
            timing=timing or Timing(),
            options=options or {},
        )
        for seed in range(trials)
    ]
    _check("gross", [(o.gross_error_j, o.gross_u_j, o.waveform) for o in outcomes])
    _check("net", [(o.net_error_j, o.net_u_j, o.waveform) for o in outcomes])


def check_in_real_time(
    driver_name: str,
    make: Made,
    *,
    timing: Timing,
    levels: Levels | None = None,
    options: dict[str, object] | None = None,
    seed: int = 1,
) -> None:
    """Fail unless a trial without virtual time lies within its uncertainty too.

    No two are alike there, and U = 2 u lets one in twenty miss: whichever does is tried again, and three in a row fail.
    """
    outcomes = (
        run_trial(
            driver_name,
            make,
            seed,
            levels=levels or Levels(),
            timing=timing,
            options=options or {},
            is_real=True,
        )
        for _ in range(3)
    )
    missed = list(itertools.takewhile(lambda outcome: not is_within(outcome), outcomes))
    assert len(missed) < 3, missed


def is_within(outcome: Outcome) -> bool:
    """Whether both energies of a trial lie within U = 2 u."""
    return (
        abs(outcome.gross_error_j) <= 2.0 * outcome.gross_u_j
        and abs(outcome.net_error_j) <= 2.0 * outcome.net_u_j
    )


def check_within(outcome: Outcome) -> None:
    """Fail unless both energies of a trial lie within U = 2 u."""
    assert is_within(outcome), outcome


def _check(what: str, found: list[tuple[float, float, str]]) -> None:
    missed = [(waveform, error, u) for error, u, waveform in found if abs(error) > 2.0 * u]
    covered = 1.0 - len(missed) / len(found)
    assert covered >= COVERED, f"{what}: {covered:.1%} covered; missed {missed[:8]}"
    for waveform in {waveform for _, _, waveform in found}:
        errors = [error for error, _, name in found if name == waveform]
        stated = [u for _, u, name in found if name == waveform]
        spread = math.sqrt(sum(error * error for error in errors) / len(errors))
        typical = math.sqrt(sum(u * u for u in stated) / len(stated))
        assert typical <= TOO_CAUTIOUS * spread, (
            f"{what} {waveform}: u = {typical:.3g} J, spread {spread:.3g} J"
        )


def _open_once(driver_name: str, make: Made, seed: int, levels: Levels, options: dict[str, object]) -> None:
    """Import whatever opening a meter needs, which may take longer than OPENED_S."""
    load = Load(Constant(levels.idle_w), driver(driver_name).simulated().supply_v)
    with make(load, HOST_TIME, seed) as simulator:
        make_meter("trial", driver_name, {**simulator.options, **options}).open().close()


def _rhythm_s(seed: int, timing: Timing) -> float:
    return min(1.0, timing.idle_s) * float(np.random.default_rng(1000 + seed).uniform())


def _sleep_until(timebase: Timebase, moment_s: float) -> None:
    timebase.sleep(moment_s - timebase.now_ns() / 1e9)

"""What long records do to save memory changes nothing of what they say."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

from power.align import curve
from power.align.curve import Curve
from power.align.latency import advanced
from power.catalogue import make_meter
from power.drivers.common.probing import Probing
from power.meter import Meter
from power.meters import scope, streamed
from power.options import Options
from power.sim.common.clock import VirtualTime
from power.sim.common.load import Load
from power.sim.common.waveforms import Square
from power.sim.rs_ngu import SimulatedRsNgu
from power.sim.tektronix_mdo4000 import SimulatedMdo4000
from power.trace import Reading, Trace, median_step


def recorded(simulated: Any, driver: str, settings: dict[str, object]) -> tuple[Trace, Meter]:
    time = VirtualTime()
    with simulated(Load(Square(2.0, 6.0, 50.0), 5.0), timebase=time, seed=2) as simulator:
        meter = make_meter("m", driver, {**simulator.options, **settings}, timebase=time)
        with meter:
            meter.plan(1.0)
            meter.start()
            time.sleep(1.1)
            return meter.stop(), meter


@pytest.mark.parametrize(
    ("module", "limit", "simulated", "driver", "settings"),
    [
        (scope, "ALL_COLUMNS_POINTS", SimulatedMdo4000, "tektronix-mdo4000", {"rate_hz": 10_000.0}),
        (streamed, "ALL_COLUMNS_SAMPLES", SimulatedRsNgu, "rs-ngu", {}),
    ],
)
def test_a_long_record_holds_the_same_power_and_no_other_column(
    module: Any, limit: str, simulated: Any, driver: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    short, before = recorded(simulated, driver, settings)
    monkeypatch.setattr(module, limit, 1000)
    long, after = recorded(simulated, driver, settings)
    assert len(short) > 5000
    assert short.voltage_v is not None
    assert short.current_a is not None
    assert (long.voltage_v, long.current_a) == (None, None)
    assert long.power_w is not None
    assert short.power_w is not None
    assert np.allclose(long.power_w, short.power_w, rtol=1e-12)
    assert np.allclose(np.diff(long.t_s), np.diff(short.t_s))
    assert after.capabilities.accuracy == before.capabilities.accuracy  # which needs the supply's voltage


@pytest.mark.parametrize("sense", ["before", "after"])
def test_power_in_place_is_power(sense: str) -> None:
    options = {"voltage": {"channel": 1}, "current": {"channel": 2, "shunt_ohm": 0.01, "sense": sense}}
    probing = Probing.from_options(Options(options, "m"))
    rng = np.random.default_rng(1)
    volts, probe = rng.normal(5.0, 0.1, 100_000), rng.normal(0.01, 0.001, 100_000)
    power, _ = probing.convert(volts.copy(), probe.copy())
    assert np.allclose(probing.power_in_place(volts, probe), power, rtol=1e-14)


@pytest.mark.parametrize("reading", ["instantaneous", "average"])
@pytest.mark.parametrize("averaging_s", [None, 4e-3])
def test_neighbours_taken_together_hold_the_same_energy(
    reading: Reading, averaging_s: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    t_s = np.cumsum(rng.uniform(0.5e-3, 1.5e-3, 10_007))
    averages = averaging_s if reading == "average" else None
    trace = Trace(
        t_s, rng.uniform(1.0, 5.0, len(t_s)), reading=reading, interval_s=1e-3, averaging_s=averages
    )
    whole = Curve(trace)
    monkeypatch.setattr(curve, "MOST_SAMPLES", 1000)
    thin = Curve(trace)
    knots = thin._t_s[5:-5]
    assert 800 < len(knots) < 1000
    expected = whole.energy_j(knots) - whole.energy_j(knots[:1])
    assert np.allclose(thin.energy_j(knots) - thin.energy_j(knots[:1]), expected, rtol=1e-9, atol=1e-9)
    assert thin.interval_s > 10.0 * whole.interval_s * (0.5 if averages else 1.0)


def test_a_median_of_many_steps() -> None:
    assert median_step(np.array([1.0, 3.0])) == 2.0
    t_s = np.cumsum(np.where(np.arange(3_000_000) % 100 == 0, 5e-6, 1e-6))
    assert median_step(t_s) == pytest.approx(1e-6, rel=1e-3)


def test_times_are_moved_in_place() -> None:
    trace = Trace(np.arange(1_000_000.0), np.ones(1_000_000))
    times_s = trace.t_s
    tracemalloc.start()
    try:
        moved = advanced(trace, 0.25, 0.01, in_place=True)
        assert tracemalloc.get_traced_memory()[1] < 0.5 * times_s.nbytes
    finally:
        tracemalloc.stop()
    assert np.shares_memory(moved.t_s, times_s)
    assert (moved.t_s[0], moved.clock_bound_s) == (-0.25, 0.02)

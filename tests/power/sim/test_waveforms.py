"""Powers whose integral is known: the closed forms against a fine sum, and the times that simulations run in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from power.errors import OptionInvalid
from power.sim.common.clock import SkewedTime, VirtualTime
from power.sim.common.faults import Faults, parse_faults
from power.sim.common.load import Load, ProcessLoad
from power.sim.common.parse import ProcessTime, machine_busy_s, parse_load
from power.sim.common.waveforms import Constant, During, Noise, Ramp, Square, Waveform

WAVEFORMS: list[Waveform] = [
    Constant(3.0),
    Square(1.0, 5.0, 3.7, 0.3, 0.2),
    Ramp(2.0, 6.0, 1.0, 4.0),
    Noise(4.0, 1.0, 0.05, 3, 16),
    During(2.5, 5.5, Square(2.0, 6.0, 11.0), Constant(1.0)),
]


@pytest.mark.parametrize("waveform", WAVEFORMS, ids=lambda waveform: type(waveform).__name__)
@given(start=st.floats(0.0, 5.0), length=st.floats(0.01, 4.0))
def test_the_integral_is_that_of_the_power(waveform: Waveform, start: float, length: float) -> None:
    count = 40_000
    middle = (start + (np.arange(count) + 0.5) * (length / count)).astype(np.float64)
    assert waveform.energy_j(start, start + length) == pytest.approx(
        float(waveform.power_w(middle).mean()) * length, abs=2e-2
    )


@given(st.floats(0.0, 10.0), st.floats(0.0, 10.0), st.floats(0.0, 10.0))
def test_energies_add_up(a: float, b: float, c: float) -> None:
    for waveform in WAVEFORMS:
        whole = waveform.energy_j(a, c)
        assert whole == pytest.approx(waveform.energy_j(a, b) + waveform.energy_j(b, c), abs=1e-9)


def test_a_load_gives_means() -> None:
    load = Load(Ramp(0.0, 10.0, 0.0, 10.0))
    means = load.mean_w(np.array([0.0, 4.0]), np.array([2.0, 6.0]))
    np.testing.assert_allclose(means, [1.0, 5.0])


def test_a_load_follows_processor_time() -> None:
    time = VirtualTime(0.0)
    load = ProcessLoad(lambda: 0.5 * time.now_ns() / 1e9, idle_w=2.0, max_w=10.0, timebase=time)
    load.start()
    time.sleep(4.0)
    load.stop()
    assert load.energy_j(1.0, 3.0) == pytest.approx(2 * (2.0 + 8.0 * 0.5))
    assert float(load.power_w(np.array([2.0]))[0]) == pytest.approx(6.0, rel=1e-6)


def test_virtual_time_passes_only_in_sleep() -> None:
    time, seen = VirtualTime(10.0), []

    def task() -> bool:
        seen.append(time.now_ns())
        return len(seen) < 3

    time.every(0.5, task)
    assert time.now_ns() == 10_000_000_000
    time.sleep(0.4)
    assert seen == []
    time.sleep(10.0)
    assert seen == [10_500_000_000, 11_000_000_000, 11_500_000_000]
    assert time.now_ns() == 20_400_000_000


def test_a_stopped_task_does_not_run() -> None:
    time, seen = VirtualTime(0.0), []

    def task() -> bool:
        seen.append(1)
        return True

    ticker = time.every(1.0, task)
    time.sleep(2.5)
    ticker.stop()
    time.sleep(5.0)
    assert len(seen) == 2


@given(st.floats(-1e4, 1e4), st.floats(-300.0, 300.0), st.integers(0, 10**12))
def test_a_wrong_clock_is_wrong_as_it_says(offset_s: float, ppm: float, past_ns: int) -> None:
    true = VirtualTime(5.0)
    wrong = SkewedTime(true, offset_s, ppm)
    shown = wrong.shown_ns(5_000_000_000 + past_ns)
    assert shown - past_ns == pytest.approx(5e9 + offset_s * 1e9 + past_ns * ppm * 1e-6, abs=2.0)
    assert wrong.true_ns(shown) == pytest.approx(5_000_000_000 + past_ns, abs=2)


def test_faults_as_people_write_them() -> None:
    assert parse_faults(["delay_s=0.5", "wrong-length", "silent_after=7"]) == Faults(
        delay_s=0.5, wrong_length=True, silent_after=7
    )
    with pytest.raises(OptionInvalid, match="did you mean 'delay_s'"):
        parse_faults(["dely_s=1"])
    with pytest.raises(OptionInvalid, match="delay_s takes a number, not 'soon'"):
        parse_faults(["delay_s=soon"])


def test_loads_as_people_write_them() -> None:
    assert parse_load("constant=5") == Constant(5.0)
    assert parse_load("square=2,6,50") == Square(2.0, 6.0, 50.0, 0.5)
    assert parse_load("noise=4,1,0.1,9") == Noise(4.0, 1.0, 0.1, 9)
    assert isinstance(parse_load("ramp=1,2,10"), Ramp)
    assert isinstance(parse_load("step=1,2,10"), During)
    assert isinstance(parse_load("cpu=2,10"), ProcessLoad)
    for wrong, words in (
        ("sqare=1,2,3", "did you mean square=LOW_W"),
        ("square=1", "is not of the form square="),
        ("constant=x", "of the form"),
        ("constant=nan", "W must be from 0 to 100000, not nan"),
        ("constant=-5", "W must be from 0"),
        ("constant=1e99", "not 1e\\+99"),
        ("square=2,6,0", "HZ must be from 0.000001"),
        ("square=2,6,50,1.5", "DUTY must be from 0 to 1, not 1.5"),
        ("noise=2,1,0", "STEP_S must be above 0"),
        ("ramp=1,2,-3", "SECONDS must be above 0"),
        ("cpu=1,2,-7", "PID must be a whole number"),
    ):
        with pytest.raises(OptionInvalid, match=words):
            parse_load(wrong)
    with pytest.raises(OptionInvalid, match="There is no process 4194400"):
        parse_load("cpu=1,2,4194400")


def test_processor_times_grow() -> None:
    import os

    own, machine = ProcessTime(os.getpid()), machine_busy_s
    before = own(), machine()
    while own() < before[0] + 0.02:
        pass
    assert machine() > before[1]

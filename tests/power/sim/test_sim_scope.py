"""What simulated oscilloscopes share: the converter, the probes, the acquisition."""

from __future__ import annotations

import numpy as np
import pytest

from power.drivers.common.scope import ChannelSetting, Record, ScopeModel
from power.sim.common.clock import VirtualTime
from power.sim.common.faults import Faults
from power.sim.common.load import Load
from power.sim.common.scope import SimulatedScope, Wiring
from power.sim.common.scpi import ScpiError
from power.sim.common.waveforms import Constant, Square, Waveform
from power.specification import Specified


class Plain(SimulatedScope):
    """256 codes, 1 MS/s, exact."""

    driver = "plain"
    idn = "PLAIN,PLAIN,{serial},1"
    model = ScopeModel("PLAIN", 4, (1000,), 1e6, 256)
    clock_ppm = 0.0

    def limits(self, setting: ChannelSetting) -> Specified:
        return Specified(0.0, 0.0)


class Skewed(Plain):
    """With errors."""

    clock_ppm = 100.0
    keeps_partial = True

    def limits(self, setting: ChannelSetting) -> Specified:
        return Specified(0.1, 0.02)


def scope_of(
    power: Waveform,
    kind: type[Plain] = Plain,
    *,
    mode: str = "sample",
    wiring: Wiring | None = None,
    seed: int | None = None,
    faults: Faults | None = None,
) -> tuple[Plain, VirtualTime]:
    time = VirtualTime()
    scope = kind(Load(power), timebase=time, seed=seed, faults=faults, wiring=wiring)
    scope.stop()  # nobody talks to it
    for number, range_v in ((1, 12.8), (2, 0.128), (4, 8.0)):
        scope.channels[number].is_on, scope.channels[number].range_v = True, range_v
    scope.record = Record(1000, 1e-3, "hires" if mode == "hires" else "sample")
    scope.arm()
    scope.force()
    time.sleep(1.0)
    return scope, time


def test_samples_are_rounded_to_the_converters_steps() -> None:
    # 5 V + 1 A · 10 mΩ = 5.01 V on 12.8 V / 256 = 50 mV a code: 100.2 codes.
    scope, _ = scope_of(Constant(5.0))
    assert set(scope.codes(1, 0, 10, 256)) == {100}
    assert set(scope.codes(1, 0, 10, 256 * 256)) == {100 * 256}
    assert set(scope.codes(2, 0, 10, 256)) == {20}  # 10 mV on 0.5 mV a code


def test_high_resolution_sees_between_the_steps() -> None:
    scope, _ = scope_of(Constant(5.0), mode="hires")
    assert set(scope.codes(1, 0, 10, 256 * 256)) == {round(5.01 / 12.8 * 65536)}


def test_high_resolution_is_a_box_car() -> None:
    square = Square(0.0, 10.0, 500.0, phase=0.1)  # two millisecond-periods to each high and low
    samples, _ = scope_of(square)
    averages, _ = scope_of(Square(0.0, 10.0, 5000.0, 0.25), mode="hires")
    assert set(samples.codes(2, 0, 100, 256)) <= {0, 40}
    # Each interval holds five periods of 2 A for a quarter of the time: 0.5 A, 5 mV.
    assert averages.codes(2, 1, 900, 65536) == pytest.approx(np.full(900, 0.005 / 0.128 * 65536), abs=1)


@pytest.mark.parametrize(("power_w", "code"), [(200.0, 127), (-200.0, -128)])
def test_the_converter_clips_at_the_screen(power_w: float, code: int) -> None:
    scope, _ = scope_of(Constant(power_w))
    assert set(scope.codes(2, 0, 10, 256)) == {code}


def test_what_is_asked_to_clip_does() -> None:
    scope, _ = scope_of(Square(1.0, 4.0, 2.0), faults=Faults(clip_w=3.0))
    assert set(scope.codes(2, 0, 1000, 256)) == {4, 127}


@pytest.mark.parametrize(
    ("wiring", "volts", "probe_v"),
    [
        (Wiring(), 5.02, 0.02),
        (Wiring(sense="after"), 5.0, 0.02),
        (Wiring(clamp_v_per_a=0.01, turns=3), 5.0, 0.06),
    ],
)
def test_what_the_probes_see(wiring: Wiring, volts: float, probe_v: float) -> None:
    scope, _ = scope_of(Constant(10.0), mode="hires", wiring=wiring)
    assert scope.codes(1, 0, 1, 1 << 20)[0] / (1 << 20) * 12.8 == pytest.approx(volts, abs=1e-4)
    assert scope.codes(2, 0, 1, 1 << 20)[0] / (1 << 20) * 0.128 == pytest.approx(probe_v, abs=1e-6)
    assert scope.codes(3, 0, 1, 256)[0] == 0


def test_the_marker_is_high_when_the_board_says_so() -> None:
    scope, _ = scope_of(Constant(1.0), wiring=Wiring(high_s=((1000.25, 1000.75),)))
    high = scope.codes(4, 0, 1000, 256) > 50
    assert list(np.flatnonzero(np.diff(high.astype(int)))) == [249, 749]


def test_errors_of_a_specimen_keep_the_limits() -> None:
    found = []
    for seed in range(40):
        scope, _ = scope_of(Constant(20.0), Skewed, mode="hires", seed=seed)
        found.append(float(scope.codes(2, 0, 100, 65536).mean()) / 65536 * 0.128)
    errors = np.array(found) - 0.04
    assert np.abs(errors).max() <= 0.1 * 0.04 + 0.02 + 0.0005
    assert np.abs(errors).max() > 0.01


def test_the_same_points_are_the_same_when_read_again() -> None:
    scope, _ = scope_of(Constant(20.0), Skewed, seed=1)
    assert np.array_equal(scope.codes(2, 10, 100, 256), scope.codes(2, 10, 100, 256))


def test_a_record_is_there_when_it_is_full() -> None:
    scope, time = scope_of(Constant(1.0))
    assert (scope.state, scope.points_ready) == ("stopped", 1000)
    scope.arm()
    assert (scope.state, scope.points_ready) == ("armed", 0)
    scope.force()
    time.sleep(0.5)
    assert (scope.state, scope.points_ready) == ("triggered", 0)
    scope.halt()
    assert (scope.state, scope.points_ready) == ("stopped", 0)


def test_a_record_that_is_cut_is_kept_by_some() -> None:
    scope, time = scope_of(Constant(1.0), Skewed)
    scope.arm()
    scope.force()
    time.sleep(0.5)
    scope.halt()
    assert (scope.state, scope.points_ready) == ("stopped", 500)


def test_commands_that_block_let_time_pass() -> None:
    scope, time = scope_of(Constant(1.0))
    scope.arm()
    scope.force()
    before_s = time.now_ns() / 1e9
    scope.wait_until_done()
    assert time.now_ns() / 1e9 - before_s == pytest.approx(1.0)
    assert scope.state == "stopped"


def test_the_record_is_on_the_scopes_own_clock() -> None:
    square = Square(0.0, 10.0, 1.0, phase=0.5)
    faults = Faults(clock_ppm=2000.0)  # fast: its second is over too early
    scope, _ = scope_of(square, faults=faults)
    right, _ = scope_of(square)
    edges = [int(np.flatnonzero(np.diff(one.codes(2, 0, 1000, 256)))[0]) for one in (scope, right)]
    assert edges == [500, 499]


def test_it_tells_its_settings() -> None:
    scope, _ = scope_of(Constant(1.0), wiring=Wiring(sense="after"))
    assert scope.options["current"] == {"channel": 2, "shunt_ohm": 0.01, "sense": "after"}
    clamp, _ = scope_of(Constant(1.0), wiring=Wiring(clamp_v_per_a=0.1, turns=2))
    assert clamp.options["current"] == {"channel": 2, "clamp_v_per_a": 0.1, "turns": 2}


def test_channels_that_there_are() -> None:
    scope, _ = scope_of(Constant(1.0))
    assert scope.channel_named("chan2", "CHANnel") == 2
    assert scope.channel(4) is scope.channels[4]
    scope.accept("DC", 4)
    for wrong in (
        lambda: scope.channel_named("CHAN5", "CHANnel"),
        lambda: scope.channel(5),
        lambda: scope.accept("DC", 5),
    ):
        with pytest.raises(ScpiError):
            wrong()

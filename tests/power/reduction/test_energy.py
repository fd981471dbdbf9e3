"""Energy of windows against closed forms, for every way in which a meter may read."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from power.errors import TraceInvalid, WindowInvalid
from power.reduction.energy import WindowEnergy, energies, energy
from power.trace import BLOCK, Floats, Trace, Window, chunks, total

ORIGIN_S = 123_456.75
"""Clocks do not start at zero."""
edges = st.tuples(st.floats(0.0, 10.0), st.floats(0.0, 10.0)).filter(lambda e: abs(e[0] - e[1]) > 1e-3)


def window(begin_s: float, end_s: float) -> Window:
    return Window(ORIGIN_S + min(begin_s, end_s), ORIGIN_S + max(begin_s, end_s))


def grid(count: int, step_s: float) -> Floats:
    return np.arange(count, dtype=np.float64) * step_s


def times(step_s: float, seed: int | None = None, end_s: float = 10.0) -> Floats:
    """Return times from 0 to end_s; irregular ones with a seed."""
    count = round(end_s / step_s)
    t_s = np.linspace(0.0, end_s, count + 1)
    if seed is not None:
        t_s[1:-1] += np.random.default_rng(seed).uniform(-0.4, 0.4, count - 1) * step_s
    return t_s


def instantaneous(power: Callable[[Floats], Floats], step_s: float, seed: int | None = None) -> Trace:
    t_s = times(step_s, seed)
    return Trace(ORIGIN_S + t_s, power_w=power(t_s), interval_s=step_s)


def averaging(work_j: Callable[[Floats], Floats], step_s: float) -> Trace:
    """What a meter returns that averages without pause, of a power whose integral from 0 on is `work_j`."""
    t_s = times(step_s)
    means = np.diff(work_j(t_s)) / np.diff(t_s)
    return Trace(ORIGIN_S + t_s[1:], power_w=means, reading="average", averaging_s=step_s)


def counting(work_j: Callable[[Floats], Floats], step_s: float, seed: int | None = None) -> Trace:
    t_s = times(step_s, seed)
    return Trace(ORIGIN_S + t_s, energy_j=work_j(t_s), reading="counter", interval_s=step_s)


def joules(trace: Trace, where: Window) -> float:
    return energy(trace, where).energy_j


@given(edges, st.floats(0.01, 1e4), st.integers(0, 99))
def test_a_constant_is_exact_for_every_reading(edge: tuple[float, float], power_w: float, seed: int) -> None:
    where = window(*edge)
    expected_j = pytest.approx(power_w * where.duration_s, rel=1e-9)
    assert joules(instantaneous(lambda t: np.full_like(t, power_w), 0.1, seed), where) == expected_j
    assert joules(averaging(lambda t: power_w * t, 0.1), where) == expected_j
    assert joules(counting(lambda t: 7.0 + power_w * t, 0.1, seed), where) == pytest.approx(
        power_w * where.duration_s, rel=1e-8
    )


@given(edges, st.floats(0.0, 10.0), st.floats(0.0, 5.0), st.integers(0, 99))
def test_a_ramp_is_exact_for_the_trapezoid(
    edge: tuple[float, float], base_w: float, slope: float, seed: int
) -> None:
    where = window(*edge)
    trace = instantaneous(lambda t: base_w + slope * t, 0.25, seed)
    begin_s, end_s = where.start_s - ORIGIN_S, where.end_s - ORIGIN_S
    expected_j = base_w * (end_s - begin_s) + 0.5 * slope * (end_s**2 - begin_s**2)
    assert joules(trace, where) == pytest.approx(expected_j, rel=1e-8, abs=1e-9)


@given(edges, st.floats(0.5, 5.0))
def test_a_sine_is_within_the_error_of_the_rule(edge: tuple[float, float], frequency_hz: float) -> None:
    where = window(*edge)
    omega, step_s = 2 * math.pi * frequency_hz, 0.005
    begin_s, end_s = where.start_s - ORIGIN_S, where.end_s - ORIGIN_S

    def work_j(t: Floats) -> Floats:
        return np.asarray(10.0 * t + 3.0 * (1.0 - np.cos(omega * t)) / omega)

    expected_j = float(work_j(np.array([end_s]))[0] - work_j(np.array([begin_s]))[0])
    # Trapezoid: T·h²/12·max|P''|, and the same h² at either edge for a chord instead of the curve.
    bound_j = (end_s - begin_s + 2 * step_s) * step_s**2 / 8 * 3.0 * omega**2 + 1e-9
    assert (
        abs(joules(instantaneous(lambda t: 10 + 3 * np.sin(omega * t), step_s), where) - expected_j)
        <= bound_j
    )
    # Averages and counters know the whole intervals exactly and err in the two at the edges only.
    edge_j = 2 * step_s * step_s * 3.0 * omega + 1e-9
    assert abs(joules(averaging(work_j, step_s), where) - expected_j) <= edge_j
    assert abs(joules(counting(work_j, step_s), where) - expected_j) <= edge_j


def test_a_square_wave_with_its_edges_inside_intervals() -> None:
    """Idle 2 W, 10 W within [3.03, 6.07] s, sampled every 100 ms; the window is exactly the active time."""

    def work_j(t: Floats) -> Floats:
        return np.asarray(2.0 * t + 8.0 * (np.clip(t, 3.03, 6.07) - 3.03))

    where = window(3.03, 6.07)
    true_j = 10.0 * 3.04
    sampled = energy(instantaneous(lambda t: np.where((t >= 3.03) & (t <= 6.07), 10.0, 2.0), 0.1), where)
    averaged, counted = energy(averaging(work_j, 0.1), where), energy(counting(work_j, 0.1), where)
    # By hand: of the first interval 70 ms, of the last 70 ms belong to the window.
    assert sampled.energy_j == pytest.approx(true_j - 8.0 * (0.5 * 0.07**2 / 0.1) * 2)
    assert averaged.energy_j == pytest.approx(true_j - 8.0 * (0.07 * 0.03 / 0.1) * 2)
    assert counted.energy_j == pytest.approx(averaged.energy_j)
    # And that is what the blur of the edges says.
    for found in (sampled, averaged, counted):
        assert true_j - found.energy_j == pytest.approx(8.0 * found.blur_s)


def test_edges_on_samples_are_not_blurred() -> None:
    trace = Trace(np.arange(11.0), energy_j=np.arange(11.0) * 3.0, reading="counter")
    found = energy(trace, Window(2.0, 5.0))
    assert found.energy_j == 9.0
    assert found.blur_s == 0.0


@given(edges, st.integers(0, 99))
def test_windows_side_by_side_add_up(edge: tuple[float, float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    t_s = times(0.05, seed)
    values = rng.uniform(0.0, 9.0, len(t_s))
    middle = window(*edge)
    cuts = [Window(ORIGIN_S, middle.start_s)] if middle.start_s > ORIGIN_S else []
    cuts += [middle]
    cuts += [Window(middle.end_s, ORIGIN_S + 10.0)] if middle.end_s < ORIGIN_S + 10.0 else []
    for trace in (
        Trace(ORIGIN_S + t_s, power_w=values, interval_s=0.05),
        Trace(ORIGIN_S + t_s, power_w=values, reading="average", averaging_s=0.05),
        Trace(ORIGIN_S + t_s, energy_j=np.cumsum(values), reading="counter", interval_s=0.05),
    ):
        whole_j = joules(trace, Window(ORIGIN_S, ORIGIN_S + 10.0))
        assert math.fsum(e.energy_j for e in energies([trace], cuts)) == pytest.approx(whole_j, rel=1e-9)


@given(
    edges, st.integers(1, 400), st.integers(0, 99), st.sampled_from(["instantaneous", "average", "counter"])
)
def test_pieces_give_what_the_whole_gives(
    edge: tuple[float, float], size: int, seed: int, reading: str
) -> None:
    rng = np.random.default_rng(seed)
    t_s = ORIGIN_S + times(0.03, seed)
    values = rng.uniform(0.0, 9.0, len(t_s))
    clipped = values > 8.0
    if reading == "counter":
        trace = Trace(t_s, energy_j=np.cumsum(values), reading="counter", interval_s=0.03, clipped=clipped)
    elif reading == "average":
        trace = Trace(t_s, power_w=values, reading="average", averaging_s=0.03, clipped=clipped)
    else:
        trace = Trace(t_s, power_w=values, interval_s=0.03, clipped=clipped)
    where = window(*edge)
    whole, pieces = energy(trace, where), energies(chunks(trace, size), [where])[0]
    assert pieces.energy_j == pytest.approx(whole.energy_j, rel=1e-12)
    inside = (t_s >= where.start_s) & (t_s <= where.end_s)
    for found in (whole, pieces):
        assert found.samples == np.count_nonzero(inside)
        assert found.clipped == np.count_nonzero(inside & clipped)
    assert pieces.gaps == whole.gaps
    assert pieces.blur_s == pytest.approx(whole.blur_s)


def test_blocks_inside_one_trace_join_exactly() -> None:
    count = 3 * BLOCK + 17
    t_s = grid(count, 1e-3)
    trace = Trace(t_s, power_w=1.0 + t_s, interval_s=1e-3)
    begin_s, end_s = 0.0005, (count - 1.5) * 1e-3
    expected_j = (end_s - begin_s) + 0.5 * (end_s**2 - begin_s**2)
    found = energy(trace, Window(begin_s, end_s))
    assert found.energy_j == pytest.approx(expected_j, rel=1e-12)
    assert found.samples == count - 2


def with_gap(reading: str) -> Trace:
    """A sample a second from 0 to 20 s, without those from 6 to 14 s: 4 W before, 8 W after."""
    t_s = np.array([t for t in range(21) if not 6 <= t <= 14], dtype=np.float64)
    power_w = np.where(t_s <= 5, 4.0, 8.0)
    if reading == "counter":
        work_j = np.where(t_s <= 5, 4.0 * t_s, 20.0 + 8.0 * (t_s - 5.0))
        return Trace(t_s, energy_j=work_j, reading="counter", interval_s=1.0)
    if reading == "average":
        return Trace(t_s, power_w=power_w, reading="average", averaging_s=1.0)
    return Trace(t_s, power_w=power_w, interval_s=1.0)


def test_a_gap_is_bridged_and_counted() -> None:
    sampled = energy(with_gap("instantaneous"), Window(0.0, 20.0))
    assert (sampled.gaps, sampled.gap_s) == (1, 10.0)
    assert sampled.energy_j == pytest.approx(5 * 4 + 10 * 6 + 5 * 8)
    averaged = energy(with_gap("average"), Window(0.0, 20.0))
    assert (averaged.gaps, averaged.gap_s) == (1, 9.0)  # the value after the gap stands for its own second
    assert averaged.energy_j == pytest.approx(5 * 4 + 9 * 6 + 6 * 8)
    counted = energy(with_gap("counter"), Window(0.0, 20.0))
    assert (counted.gaps, counted.gap_s) == (0, 0.0)  # a counter loses nothing
    assert counted.energy_j == pytest.approx(20 + 120)


@pytest.mark.parametrize("reading", ["instantaneous", "average", "counter"])
def test_an_edge_inside_a_gap_counts_and_adds_up(reading: str) -> None:
    trace = with_gap(reading)
    left, right = energies([trace], [Window(2.0, 9.5), Window(9.5, 18.0)])
    assert left.gaps == right.gaps == 1
    assert left.energy_j + right.energy_j == pytest.approx(joules(trace, Window(2.0, 18.0)))


def test_a_gap_outside_of_the_window_does_not_count() -> None:
    assert energy(with_gap("instantaneous"), Window(15.0, 19.0)).gaps == 0
    assert [gap.duration_s for gap in with_gap("instantaneous").gaps()] == [10.0]


def test_intervals_of_up_to_three_are_no_gap() -> None:
    t_s = np.array([0.0, 1.0, 4.0, 5.0])
    assert energy(Trace(t_s, power_w=t_s * 0 + 1, interval_s=1.0), Window(0.0, 5.0)).gaps == 0
    t_s = np.array([0.0, 1.0, 4.001, 5.0])
    assert energy(Trace(t_s, power_w=t_s * 0 + 1, interval_s=1.0), Window(0.0, 5.0)).gaps == 1


def test_both_edges_between_two_samples() -> None:
    trace = Trace(np.array([0.0, 10.0]), power_w=np.array([0.0, 10.0]))
    found = energy(trace, Window(4.0, 6.0))
    assert found.energy_j == pytest.approx(10.0)
    assert found.samples == 0
    assert found.u_noise_w is None


def test_a_moving_average_belongs_to_its_middle() -> None:
    """A 1 s average read ten times a second lags a ramp by half a second; the reduction takes that back."""
    t_s = times(0.1)
    trace = Trace(t_s, power_w=5.0 + (t_s - 0.5), reading="average", interval_s=0.1, averaging_s=1.0)
    found = energy(trace, Window(2.0, 6.0))
    assert found.energy_j == pytest.approx(5.0 * 4.0 + 0.5 * (36.0 - 4.0), rel=1e-9)
    assert found.blur_s == pytest.approx(0.5)


def test_a_short_average_read_seldom_stands_for_its_interval() -> None:
    """0.1 s averages once a second: value i is of the middle of [i − 0.1, i], the ramp is met to the middle."""
    t_s = np.arange(12.0)
    trace = Trace(t_s, power_w=t_s - 0.05, reading="average", interval_s=1.0, averaging_s=0.1)
    assert joules(trace, Window(2.45, 6.45)) == pytest.approx(0.5 * (6.45**2 - 2.45**2), rel=1e-9)


def test_noise_of_the_mean() -> None:
    rng = np.random.default_rng(3)
    t_s = grid(10_000, 1e-3)
    trace = Trace(t_s, power_w=5.0 + rng.normal(0.0, 0.4, len(t_s)), interval_s=1e-3)
    assert energy(trace, Window(0.0, 9.999)).u_noise_w == pytest.approx(0.4 / 100, rel=0.2)


@pytest.mark.parametrize(
    "where", [Window(-1.0, 5.0), Window(5.0, 11.0), Window(20.0, 30.0), Window(-9.0, -8.0)]
)
def test_no_data_is_an_error_and_never_zero(where: Window) -> None:
    t_s = np.arange(11.0)
    with pytest.raises(WindowInvalid, match=r"trace (begins|ends)"):
        energy(Trace(t_s, power_w=t_s), where)


def test_an_average_reaches_back_before_its_first_time() -> None:
    trace = Trace(np.array([1.0, 2.0]), power_w=np.array([3.0, 5.0]), reading="average", averaging_s=1.0)
    assert joules(trace, Window(0.0, 2.0)) == 8.0
    with pytest.raises(WindowInvalid):
        energy(trace, Window(-0.1, 2.0))


def test_nothing_is_an_error() -> None:
    with pytest.raises(TraceInvalid, match="yielded none"):
        energies([], [Window(0.0, 1.0)])


def test_pieces_out_of_order_or_of_another_kind() -> None:
    first = Trace(np.array([0.0, 1.0]), power_w=np.ones(2))
    with pytest.raises(TraceInvalid, match="follow one another"):
        energies([first, first], [Window(0.0, 1.0)])
    other = Trace(np.array([2.0, 3.0]), energy_j=np.ones(2), reading="counter")
    with pytest.raises(TraceInvalid, match="went on as"):
        energies([first, other], [Window(0.0, 1.0)])


def test_clipping_is_unknown_where_the_meter_cannot_tell() -> None:
    t_s = np.arange(5.0)
    assert energy(Trace(t_s, power_w=t_s), Window(0.0, 4.0)).clipped is None


def one_window(found: list[WindowEnergy]) -> WindowEnergy:
    (only,) = found
    return only


def test_a_long_stream_in_constant_memory() -> None:
    import tracemalloc

    piece = grid(200_000, 1e-6)
    power_w = np.full(200_000, 5.0)

    def stream() -> object:
        for index in range(250):
            yield Trace(index * 0.2 + piece, power_w=power_w, interval_s=1e-6)

    tracemalloc.start()
    found = one_window(energies(stream(), [Window(0.05, 49.95)]))  # type: ignore[arg-type]
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.energy_j == pytest.approx(5.0 * 49.9, rel=1e-9)
    assert peak_bytes < 20e6  # two pieces and the temporaries of a block


# Traces themselves.


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Trace(np.array([]), power_w=np.array([])), "at least one sample"),
        (lambda: Trace(np.array([0.0, 0.0]), power_w=np.ones(2)), "strictly increase"),
        (lambda: Trace(np.array([0.0, math.nan]), power_w=np.ones(2)), "strictly increase"),
        (lambda: Trace(np.array([math.nan]), power_w=np.ones(1)), "not finite"),
        (lambda: Trace(np.array([0.0, math.inf]), power_w=np.ones(2)), "not finite"),
        (lambda: Trace(np.array([0.0, 1.0]), power_w=np.array([1.0, math.nan])), "power_w holds a value"),
        (lambda: Trace(np.array([0.0, 1.0]), power_w=np.ones(3)), "3 values for 2 times"),
        (lambda: Trace(np.array([0.0, 1.0])), "counter trace has"),
        (lambda: Trace(np.array([0.0, 1.0]), power_w=np.ones(2), reading="counter"), "counter trace has"),
        (lambda: Trace(np.array([0.0, 1.0]), power_w=np.ones(2), reading="average"), "averaging_s"),
        (lambda: Trace(np.array([0.0, 1.0]), power_w=np.ones(2), interval_s=0.0), "must be positive"),
        (
            lambda: Trace(np.array([0.0, 1.0]), energy_j=np.array([2.0, 1.0]), reading="counter"),
            "went back",
        ),
    ],
)
def test_what_is_no_trace(make: Callable[[], Trace], words: str) -> None:
    with pytest.raises(TraceInvalid, match=words):
        make()


@pytest.mark.parametrize("where", [(1.0, 1.0), (2.0, 1.0), (math.nan, 1.0), (0.0, math.inf)])
def test_what_is_no_window(where: tuple[float, float]) -> None:
    with pytest.raises(WindowInvalid):
        Window(*where)


def test_rails_sampled_one_after_the_other_add_up() -> None:
    t_s = np.arange(11.0)
    first = Trace(t_s, power_w=2.0 + t_s, interval_s=1.0)
    second = Trace(t_s + 0.25, power_w=3.0 + (t_s + 0.25), interval_s=1.0)
    both = total([first, second])
    assert both.power_w == pytest.approx(5.0 + 2.0 * both.t_s)
    assert (both.t_s[0], both.t_s[-1]) == (0.25, 10.0)


def test_a_gap_of_one_rail_is_a_gap_of_the_sum() -> None:
    t_s = np.arange(21.0)
    whole = Trace(t_s, power_w=np.ones(21), interval_s=1.0)
    both = total([whole, with_gap("instantaneous")])
    assert energy(both, Window(0.0, 20.0)).gaps == 1


def test_rails_that_cannot_be_added() -> None:
    t_s = np.arange(3.0)
    power, counter = Trace(t_s, power_w=t_s), Trace(t_s, energy_j=t_s, reading="counter")
    for traces, words in (
        ([], "no trace"),
        ([power, counter], "different ways"),
        ([power, Trace(t_s + 9, power_w=t_s)], "same time"),
    ):
        with pytest.raises(TraceInvalid, match=words):
            total(traces)


def test_chunks_need_a_size() -> None:
    with pytest.raises(TraceInvalid):
        next(chunks(Trace(np.arange(3.0), power_w=np.ones(3)), 0))

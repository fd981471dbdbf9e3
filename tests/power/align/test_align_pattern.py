"""A busy/idle pattern in a trace: found within two sample intervals whatever the clocks, or refused in a sentence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from power.align.pattern import Pattern, fit_pattern
from power.align.relation import Alignment
from power.errors import AlignmentError
from power.trace import Floats, Trace, Window

HOUR_S = 3600.0
RUN = Window(8.0, 18.0)


def spans(start_s: float, seed: int, unit_s: float = 0.15, count: int = 7) -> Floats:
    lengths = np.random.default_rng(seed).integers(1, 5, 2 * count)
    lengths[0] += lengths[0] == lengths[2]
    return start_s + np.cumsum(unit_s * lengths).reshape(count, 2)


def busy_s(at_s: Floats, edges_s: Floats) -> Floats:
    """Busy time up to each instant: exact, so that averages and counters are too."""
    edges = edges_s.ravel()
    heights = np.repeat(np.concatenate([[0.0], np.cumsum(np.diff(edges_s, axis=1).ravel())]), 2)[1:-1]
    found: Floats = np.interp(at_s, edges, heights)
    return found


class World:
    """A load on the board's clock, and traces of it on a clock that is off by `offset_s` and `skew`.

    Two patterns of 7 spans, the run in between; idle 4 W, busy 10 W.
    """

    def __init__(self, offset_s: float = 5 * HOUR_S, skew: float = 200e-6, unit_s: float = 0.15) -> None:
        self.offset_s, self.skew = offset_s, skew
        self.before, self.after = spans(2.0, 1, unit_s), spans(20.0 * unit_s / 0.15, 2, unit_s)
        self.run = Window(RUN.start_s * unit_s / 0.15, RUN.end_s * unit_s / 0.15)
        self.end_s = float(self.after[-1, 1]) + 4.0 * unit_s + 1.0
        run = np.array([[self.run.start_s, self.run.end_s]])
        self.edges_s = np.concatenate([self.before, run, self.after])

    def trace_s(self, board_s: Floats | float) -> Floats:
        return np.asarray(board_s) * (1.0 + self.skew) + self.offset_s

    def board_s(self, trace_s: Floats) -> Floats:
        return (trace_s - self.offset_s) / (1.0 + self.skew)

    def energy_j(self, trace_s: Floats) -> Floats:
        board_s = self.board_s(trace_s)
        return (4.0 * board_s + 6.0 * busy_s(board_s, self.edges_s)) * (1.0 + self.skew)

    def times_s(self, interval_s: float, phase: float = 0.3) -> Floats:
        begin_s, end_s = float(self.trace_s(0.0)), float(self.trace_s(self.end_s))
        return np.arange(begin_s + phase * interval_s, end_s, interval_s)

    def trace(
        self, interval_s: float, reading: str = "instantaneous", tau_s: float | None = None, noise_w: float = 0.0,
        phase: float = 0.3, seed: int = 0,
    ) -> Trace:  # fmt: skip
        t_s = self.times_s(interval_s, phase)
        noise = np.random.default_rng(seed).normal(0.0, noise_w, len(t_s)) if noise_w else 0.0
        if reading == "counter":
            return Trace(t_s, energy_j=self.energy_j(t_s), reading="counter", interval_s=interval_s)
        if reading == "average":
            tau_s = tau_s or interval_s
            power_w = (self.energy_j(t_s) - self.energy_j(t_s - tau_s)) / tau_s
            return Trace(
                t_s, power_w=power_w + noise, reading="average", interval_s=interval_s, averaging_s=tau_s
            )
        step_s = 1e-7
        power_w = (self.energy_j(t_s + step_s) - self.energy_j(t_s)) / step_s
        return Trace(t_s, power_w=power_w + noise, interval_s=interval_s)

    def patterns(self, slack_s: float = 0.0) -> list[Pattern]:
        return [Pattern(self.before, slack_s), Pattern(self.after, slack_s)]

    def worst_s(self, found: Alignment) -> float:
        """How far the edges of the run are off."""
        return max(
            abs(found.to_trace_s(edge_s) - float(self.trace_s(edge_s)))
            for edge_s in (self.run.start_s, self.run.end_s)
        )


@pytest.mark.parametrize(
    ("reading", "tau_s"),
    [("instantaneous", None), ("average", None), ("average", 0.004), ("average", 0.025), ("counter", None)],
)
@pytest.mark.parametrize("phase", [0.0, 0.3, 0.77])
def test_edges_land_within_two_sample_intervals_hours_away(
    reading: str, tau_s: float | None, phase: float
) -> None:
    """The clocks are off by five hours and 200 ppm; nothing is known of it but that the trace holds the patterns."""
    world = World()
    found = fit_pattern(world.trace(0.01, reading, tau_s, noise_w=0.3, phase=phase), world.patterns())
    assert world.worst_s(found) <= 2 * 0.01
    assert world.worst_s(found) <= found.bound_s
    assert found.bound_s <= 2 * max(0.01, tau_s or 0.0) + 1e-12
    assert found.method == "pattern"
    assert found.drift == pytest.approx(200e-6, abs=2 * 0.01 / 12)
    assert found.quality is not None
    assert found.quality.peak > 0.9


@settings(deadline=None)
@given(
    st.floats(-24 * HOUR_S, 24 * HOUR_S),
    st.floats(-200e-6, 200e-6),
    st.sampled_from([0.0005, 0.003, 0.02, 0.07]),
    st.floats(0.0, 1.0),
    st.integers(0, 2**32),
    st.sampled_from(["instantaneous", "average", "counter"]),
)
@pytest.mark.slow
def test_any_clock_any_rate(
    offset_s: float, skew: float, interval_s: float, phase: float, seed: int, reading: str
) -> None:
    world = World(offset_s, skew)
    found = fit_pattern(
        world.trace(interval_s, reading, noise_w=1.0, phase=phase, seed=seed), world.patterns()
    )
    assert world.worst_s(found) <= found.bound_s
    assert found.bound_s <= 2.0001 * interval_s


def test_a_clean_trace_of_averages_gives_far_better_than_a_sample() -> None:
    """A plug that averages over a second, and spans of a few seconds: the share of each second that was busy tells."""
    world = World(unit_s=2.5)
    found = fit_pattern(world.trace(1.0, "average"), world.patterns())
    assert world.worst_s(found) < 0.05


def test_one_pattern_needs_the_drift_from_elsewhere() -> None:
    world = World()
    source = world.trace(0.002)
    known = fit_pattern(source, world.patterns()[:1], drift=200e-6)
    assert world.worst_s(known) <= known.bound_s
    guessed = fit_pattern(source, world.patterns()[:1])
    start_s, bound_s = guessed.window(world.run.start_s, world.run.end_s)
    assert abs(start_s.end_s - float(world.trace_s(world.run.end_s))) <= bound_s
    # Away from the pattern two clocks may part by 1 ms a second.
    assert bound_s == pytest.approx(0.004 + 1e-3 * (18.0 - guessed.reference_s), rel=0.01)


def test_what_the_clocks_allow_narrows_the_search() -> None:
    world = World()
    twice = np.concatenate([world.before, world.before + 9.0])
    # The same code a second time: two places fit equally well.
    world.edges_s = np.concatenate([twice, world.after])
    world.run = Window(4.0, 9.0)
    source = world.trace(0.01)
    with pytest.raises(AlignmentError, match=r"several places.*ratio 1\.0"):
        fit_pattern(source, [Pattern(world.before)])
    allowed = (world.offset_s - 1.0, world.offset_s + 1.0)
    found = fit_pattern(source, [Pattern(world.before)], within_s=allowed)
    assert abs(found.to_trace_s(2.0) - float(world.trace_s(2.0))) <= found.bound_s


def test_slack_at_the_edges_is_in_the_bound() -> None:
    """Spans that begin 20 ms earlier than told, for work around the loop, cannot be placed better than that."""
    world = World()
    told = [Pattern(spans_s + np.array([0.02, 0.0]), 0.02) for spans_s in (world.before, world.after)]
    found = fit_pattern(world.trace(0.001), told)
    assert 0.002 < world.worst_s(found) <= found.bound_s
    assert 0.02 < found.bound_s < 0.05


@pytest.mark.parametrize(
    ("hertz", "duty", "interval_s"),
    [
        (30.0, 0.6, 0.001), (30.0, 0.2, 0.001), (20.0, 0.2, 0.01), (30.0, 0.6, 0.01), (100.0, 0.1, 0.001),
        (250.0, 0.5, 0.001),
    ],
)  # fmt: skip
def test_bursts_once_a_request_do_not_lead_astray(hertz: float, duty: float, interval_s: float) -> None:
    """A board that draws its power in a short burst at the begin of each request."""
    world = World()
    t_s = world.times_s(interval_s)
    board_s, starts_s = world.board_s(t_s), world.edges_s[:, 0]
    begun_s = starts_s[np.clip(np.searchsorted(starts_s, board_s, "right") - 1, 0, None)]
    inside = np.searchsorted(world.edges_s.ravel(), board_s, "right") % 2 == 1
    burst = inside & (((board_s - begun_s) * hertz) % 1.0 < duty)
    noise_w = np.random.default_rng(5).normal(0.0, 0.3, len(t_s))
    source = Trace(t_s, power_w=4.0 + 6.0 * burst + noise_w, interval_s=interval_s)
    found = fit_pattern(
        source, [Pattern(spans_s, 0.0, 1.0 / hertz) for spans_s in (world.before, world.after)]
    )
    assert world.worst_s(found) <= found.bound_s
    assert found.bound_s <= 2 * max(interval_s, 1.0 / hertz) + 1e-3


def test_a_stretched_pattern_shows_in_the_residual() -> None:
    world = World()
    wrong = [Pattern(2.0 + (spans_s - 2.0) * 1.02) for spans_s in (world.before,)]
    found = fit_pattern(world.trace(0.001), wrong)
    assert found.residual_s is not None
    assert found.residual_s > 0.01
    assert found.bound_s >= found.residual_s


def test_a_trace_without_the_pattern_is_refused() -> None:
    world = World()
    source = world.trace(0.01)
    flat = Trace(source.t_s, power_w=np.random.default_rng(3).normal(4.0, 0.3, len(source)), interval_s=0.01)
    with pytest.raises(AlignmentError, match="not in the trace"):
        fit_pattern(flat, world.patterns())
    constant = Trace(source.t_s, power_w=np.full(len(source), 4.0), interval_s=0.01)
    with pytest.raises(AlignmentError, match=r"correlation 0\.00"):
        fit_pattern(constant, world.patterns())


def test_patterns_that_part_too_far_are_refused() -> None:
    world = World()
    moved = [Pattern(world.before), Pattern(world.after + 0.03)]
    with pytest.raises(AlignmentError, match="no clock"):
        fit_pattern(world.trace(0.001), moved)


@pytest.mark.parametrize(
    ("given_s", "words"),
    [
        ([[0.0, 1.0]], "3 busy spans"),
        ([0.0, 1.0, 2.0], "3 busy spans"),
        ([[0.0, 1.0], [1.0, 2.0], [3.0, 4.0]], "a rest in between"),
        ([[0.0, 1.0], [3.0, 2.0], [4.0, 5.0]], "a rest in between"),
    ],
)
def test_what_no_pattern_is(given_s: list[object], words: str) -> None:
    with pytest.raises(AlignmentError, match=words):
        Pattern(np.array(given_s))


def test_a_pattern_the_trace_cannot_show() -> None:
    world = World()
    with pytest.raises(AlignmentError, match="let the board make one"):
        fit_pattern(world.trace(0.01), [])
    with pytest.raises(AlignmentError, match="whole busy/idle pattern"):
        fit_pattern(world.trace(0.01), [Pattern(world.before)], within_s=(0.0, 1.0))
    with pytest.raises(AlignmentError, match="faster meter"):
        fit_pattern(world.trace(0.4), world.patterns())


def test_a_million_samples() -> None:
    world = World()
    source = world.trace(world.end_s / 1e6, noise_w=3.0)
    assert len(source) > 900_000
    found = fit_pattern(source, world.patterns())
    assert world.worst_s(found) <= found.bound_s

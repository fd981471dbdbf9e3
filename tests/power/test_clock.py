"""The clock relation against known clocks: whatever delay and skew, the error stays within the stated bound."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from power.clock import ClockProbe, fit
from power.errors import ClockError

HOUR_NS = 3_600_000_000_000


class Clocks:
    """A host and a board whose clock is off by `offset_ns` and runs faster by `skew`."""

    def __init__(self, offset_ns: int, skew: float) -> None:
        self.offset_ns, self.skew = offset_ns, skew

    def board_ns(self, host_ns: float) -> int:
        return round(host_ns * (1 + self.skew)) + self.offset_ns

    def probe(self, host_ns: int, there_ns: int, work_ns: int, back_ns: int) -> ClockProbe:
        arrived, left = host_ns + there_ns, host_ns + there_ns + work_ns
        return ClockProbe(host_ns, self.board_ns(arrived), self.board_ns(left), left + back_ns)

    def around(
        self, length_ns: int, rng: random.Random, jitter_ns: int, count: int = 16
    ) -> Iterator[ClockProbe]:
        """Probes before and after a run, each way delayed by itself."""
        for begin_ns in (0, length_ns):
            for index in range(count):
                delays = (rng.randrange(50_000, 50_001 + jitter_ns) for _ in range(2))
                yield self.probe(begin_ns + index * 20_000_000, next(delays), 10_000, next(delays))


@given(
    st.integers(-24 * HOUR_NS, 24 * HOUR_NS),
    st.floats(-200e-6, 200e-6),
    st.integers(1_000_000_000, HOUR_NS),
    st.integers(0, 5_000_000),
    st.integers(0, 2**32),
    st.floats(0.0, 1.0),
)
def test_edges_land_within_the_bound(
    offset_ns: int, skew: float, length_ns: int, jitter_ns: int, seed: int, where: float
) -> None:
    clocks = Clocks(offset_ns, skew)
    found = fit(list(clocks.around(length_ns, random.Random(seed), jitter_ns)))
    host_ns = 320_000_000 + where * (length_ns - 320_000_000)
    board_ns = clocks.board_ns(host_ns)
    error_ns = abs(found.to_host_s(board_ns) * 1e9 - host_ns)
    assert error_ns <= found.bound_at_ns(board_ns) + 2
    assert found.bound_ns <= (100_000 + 2 * jitter_ns + 10_000 * abs(skew)) / 2 + 2


def test_the_drift_of_an_hour() -> None:
    clocks = Clocks(7 * HOUR_NS, 100e-6)
    found = fit(list(clocks.around(HOUR_NS, random.Random(1), 0)))
    assert found.drift == pytest.approx(-100e-6, rel=1e-3)


def test_a_window_and_its_bound() -> None:
    clocks = Clocks(-5_000_000_000, 0.0)
    found = fit(list(clocks.around(10_000_000_000, random.Random(2), 0)))
    window, bound_s = found.window(clocks.board_ns(2_000_000_000), clocks.board_ns(3_000_000_000))
    assert window.start_s == pytest.approx(2.0, abs=bound_s)
    assert window.duration_s == pytest.approx(1.0, abs=2 * bound_s)
    assert bound_s == pytest.approx(50e-6, rel=0.1)


def test_outside_of_the_probes_the_bound_grows() -> None:
    found = fit([Clocks(0, 0.0).probe(0, 100, 0, 100)])
    assert found.bound_at_ns(found.reference_ns) == 100.0
    assert found.bound_at_ns(found.reference_ns + 1_000_000_000) == pytest.approx(100 + 1e6)


@given(st.integers(0, 2**32), st.integers(0, 60_000_000_000), st.floats(-400e-6, 400e-6))
def test_probes_of_one_moment_hold_for_later(seed: int, later_ns: int, skew: float) -> None:
    """Jitter over a fifth of a second looks like a drift that no clock has; it must not be believed."""
    clocks, rng = Clocks(HOUR_NS, skew), random.Random(seed)
    found = fit(list(clocks.around(0, rng, 5_000_000))[:16])
    board_ns = clocks.board_ns(400_000_000 + later_ns)
    error_ns = abs(found.to_host_s(board_ns) * 1e9 - (400_000_000 + later_ns))
    assert error_ns <= found.bound_at_ns(board_ns) + 2


def test_the_shortest_delay_is_taken() -> None:
    clocks = Clocks(1_000, 0.0)
    slow = clocks.probe(0, 9_000_000, 0, 1_000_000)
    quick = clocks.probe(20_000_000, 100, 0, 100)
    found = fit([slow, quick, clocks.probe(HOUR_NS, 200, 0, 200)])
    assert found.bound_ns == 200.0
    assert found.offset_ns == -1_000


@pytest.mark.parametrize(
    ("probes", "words"),
    [
        ([], "not probed"),
        ([ClockProbe(0, 10, 5, 20)], "before it was asked"),
        ([ClockProbe(0, 0, 100, 50)], "before it was asked"),
        ([ClockProbe(0, 0, 1, 2), ClockProbe(10**9, 2 * 10**9, 2 * 10**9 + 1, 10**9 + 2)], "reset"),
    ],
)
def test_what_no_clock_does(probes: list[ClockProbe], words: str) -> None:
    with pytest.raises(ClockError, match=words):
        fit(probes)

"""Windows on the clock of a trace."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostctl.session.windows import Placing, Span, place, to_board_s
from power.align.relation import Alignment
from power.clock import ClockFit
from power.errors import WindowInvalid

SECOND_NS = 1_000_000_000
fits = st.builds(
    ClockFit,
    reference_ns=st.integers(0, 10**17),
    last_ns=st.just(0),
    offset_ns=st.integers(-(10**17), 10**17),
    drift=st.floats(-5e-4, 5e-4),
    bound_ns=st.floats(0, 1e6),
)


@given(fits, st.integers(0, 100 * SECOND_NS))
def test_to_board_is_the_inverse_of_to_host(fit: ClockFit, ahead_ns: int) -> None:
    board_ns = fit.reference_ns + ahead_ns
    host_ns = round(fit.to_host_s(board_ns) * 1e9)
    # Doubles of 10^8 s resolve 15 ns; the sums above round a few times.
    assert to_board_s(fit, host_ns) == pytest.approx(board_ns / 1e9, abs=1e-7)


def test_on_the_boards_clock_the_loops_edges_are_exact() -> None:
    fit = ClockFit(0, 100 * SECOND_NS, offset_ns=50 * SECOND_NS, drift=0.0, bound_ns=1e6)
    found = place(
        Placing(fit, "board"),
        10 * SECOND_NS,
        20 * SECOND_NS,
        Span(55 * SECOND_NS, 58 * SECOND_NS),
        Span(71 * SECOND_NS, 74 * SECOND_NS),
    )
    assert (found.run.start_s, found.run.end_s) == (10.0, 20.0)
    assert found.bound_s == 0.0
    assert found.before is not None
    assert found.after is not None
    # Idle spans were seen on the host: 50 s less, and cut by the bound of 1 ms.
    assert (found.before.start_s, found.before.end_s) == pytest.approx((5.001, 7.999))
    assert (found.after.start_s, found.after.end_s) == pytest.approx((21.001, 23.999))


def test_on_the_hosts_clock_the_loop_moves_and_the_bound_stays() -> None:
    fit = ClockFit(0, 100 * SECOND_NS, offset_ns=50 * SECOND_NS, drift=0.0, bound_ns=1e6)
    found = place(
        Placing(fit, "host"), 10 * SECOND_NS, 20 * SECOND_NS, Span(55 * SECOND_NS, 58 * SECOND_NS), None
    )
    assert (found.run.start_s, found.run.end_s) == (60.0, 70.0)
    assert found.bound_s == pytest.approx(1e-3)
    assert found.before is not None
    assert (found.before.start_s, found.before.end_s) == (55.0, 58.0)
    assert found.after is None


def test_a_trace_whose_times_may_be_off_widens_the_bound_and_narrows_idle() -> None:
    fit = ClockFit(0, 100 * SECOND_NS, offset_ns=0, drift=0.0, bound_ns=1e6)
    idle = Span(5 * SECOND_NS, 8 * SECOND_NS)
    host = place(Placing(fit, "host", 0.01), 10 * SECOND_NS, 20 * SECOND_NS, idle, None)
    assert host.bound_s == pytest.approx(0.011)
    assert host.before is not None
    assert (host.before.start_s, host.before.end_s) == pytest.approx((5.01, 7.99))
    board = place(Placing(fit, "board", 0.01), 10 * SECOND_NS, 20 * SECOND_NS, idle, None)
    assert board.bound_s == pytest.approx(0.01)
    assert board.before is not None
    assert (board.before.start_s, board.before.end_s) == pytest.approx((5.011, 7.989))


def test_marks_in_the_trace_overrule_its_clock() -> None:
    """The host's clock is 50 s ahead of the board's; the trace runs another 3 s behind the host's, 100 ppm slow."""
    fit = ClockFit(0, 100 * SECOND_NS, offset_ns=50 * SECOND_NS, drift=0.0, bound_ns=1e6)
    marks = Alignment("pattern", 47.0, -100e-6, 0.004, 0.001, None, 10.0, 20.0)
    found = place(
        Placing(fit, "host", 9.9, marks),
        10 * SECOND_NS,
        20 * SECOND_NS,
        Span(55 * SECOND_NS, 58 * SECOND_NS),
        None,
    )
    assert (found.run.start_s, found.run.end_s) == pytest.approx((57.0, 66.999))
    assert found.bound_s == pytest.approx(0.004)
    assert found.before is not None
    # Idle from 5 s to 8 s of the board's clock: outside of the marks their bound grows by 1 ms a second.
    assert (found.before.start_s, found.before.end_s) == pytest.approx((52.0005 + 0.010, 55.0002 - 0.010))


def test_an_idle_window_that_the_clocks_leave_nothing_of() -> None:
    fit = ClockFit(0, 100 * SECOND_NS, offset_ns=0, drift=0.0, bound_ns=1e6)
    with pytest.raises(WindowInvalid, match=r"idle window of 1 s; use a longer --idle\.$"):
        place(
            Placing(fit, "host", 0.6),
            10 * SECOND_NS,
            20 * SECOND_NS,
            Span(5 * SECOND_NS, 6 * SECOND_NS),
            None,
        )

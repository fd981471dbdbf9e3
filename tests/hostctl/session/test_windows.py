"""Windows on the clock of a trace."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostctl.session.windows import Span, place, to_board_s
from power.clock import ClockFit

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
        fit,
        "board",
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
    found = place(fit, "host", 10 * SECOND_NS, 20 * SECOND_NS, Span(55 * SECOND_NS, 58 * SECOND_NS), None)
    assert (found.run.start_s, found.run.end_s) == (60.0, 70.0)
    assert found.bound_s == pytest.approx(1e-3)
    assert found.before is not None
    assert (found.before.start_s, found.before.end_s) == (55.0, 58.0)
    assert found.after is None

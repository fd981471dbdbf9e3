"""Who gets what, as pure decisions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hostctl.leases.model import Claim, Lease, State
from hostctl.leases.rules import expired, grants, in_the_way, queue_order


def lease(
    name: str, *claims: Claim, state: State = State.QUEUED, priority: int = 0, create_s: float = 0.0
) -> Lease:
    return Lease(name, name, state, claims, priority, 10.0, create_s, create_s + 10.0)


A, B = Claim("a"), Claim("b")
A_WITH_METER, B_WITH_METER = Claim("a", frozenset({"m"})), Claim("b", frozenset({"m"}))


def test_higher_priority_first_then_age() -> None:
    queue = [lease("old"), lease("new", create_s=1.0), lease("urgent", priority=5, create_s=2.0)]
    assert [one.id for one in queue_order(queue)] == ["urgent", "old", "new"]


def test_the_first_free_claim_is_granted() -> None:
    assert grants([lease("x", A, B)], {"device:a"}) == [(lease("x", A, B), B)]


def test_an_instrument_is_taken_with_its_device_or_not_at_all() -> None:
    first, second = lease("x", A_WITH_METER), lease("y", B_WITH_METER, create_s=1.0)
    assert grants([first, second], ()) == [(first, A_WITH_METER)]
    assert grants([first], {"meter:m"}) == []


def test_a_stream_of_small_claims_starves_nobody() -> None:
    large, small = lease("large", A_WITH_METER), lease("small", A, create_s=1.0)
    assert grants([large, small], {"meter:m"}) == []


def test_time_is_over_at_the_end() -> None:
    over, released = lease("x", A), lease("y", A, state=State.RELEASED)
    assert expired([over, released], 10.0) == [over]
    assert expired([over], 9.999) == []


def test_who_is_in_the_way() -> None:
    holder = lease("holder", A, state=State.ACTIVE)
    before, me, behind = lease("before", A), lease("me", A, create_s=1.0), lease("behind", A, create_s=2.0)
    stranger = lease("stranger", B, state=State.ACTIVE)
    others = [holder, before, me, behind, stranger]
    assert {one.id for one in in_the_way(me, others)} == {"holder", "before"}


claims = st.sampled_from([A, B, A_WITH_METER, B_WITH_METER])
waiting = st.lists(
    st.tuples(st.lists(claims, min_size=1, max_size=3), st.integers(-2, 2), st.integers(0, 3)), max_size=8
)
held = st.frozensets(st.sampled_from(["device:a", "device:b", "meter:m"]))


@given(waiting, held)
def test_nothing_is_granted_twice_and_the_first_that_can_be_served_is(
    wishes: list[tuple[list[Claim], int, int]], taken: frozenset[str]
) -> None:
    queue = [
        lease(f"l{index}", *wish, priority=priority, create_s=float(age))
        for index, (wish, priority, age) in enumerate(wishes)
    ]
    granted = [claim.resources for _, claim in grants(queue, taken)]
    union = frozenset[str]().union(*granted)
    assert sum(len(resources) for resources in granted) == len(union)
    assert not union & taken
    if queue:
        head = queue_order(queue)[0]
        can = any(not claim.resources & taken for claim in head.claims)
        assert can == any(one.id == head.id for one, _ in grants(queue, taken))

"""Paths into JSON documents, and the numbers found there."""

from __future__ import annotations

from decimal import Decimal

import pytest

from power.drivers.common.readings import Rising, document, member, reading, step_of
from power.errors import InstrumentError, ReplyInvalid
from power.transports.jsonpath import JsonPath, PathError

DOCUMENT = {
    "a": {"b": [{"c": 1.5}, {"c": 2.5}]},
    "node.power": {"W-avg": 7},
    "list": [{"id": 7, "p": "x"}, {"id": "8", "p": "y"}, 3],
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("$.a.b[0].c", 1.5),
        ("a.b[1].c", 2.5),
        ("$.a.b[-1].c", 2.5),
        ("$['node.power'].W-avg", 7),
        ('$["node.power"]["W-avg"]', 7),
        ("$.list[?id=7].p", "x"),
        ("$.list[?id='8'].p", "y"),
        ("$", DOCUMENT),
    ],
)
def test_paths(path: str, value: object) -> None:
    assert JsonPath.parse(path).find(DOCUMENT) == value


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("$.a.x", r"there is no 'x' of '\$.a.x', but only 'b'"),
        ("$.a.b[2]", r"there is no \[2\] of .*, but a list of 2"),
        ("$.a.b[-3]", "a list of 2"),
        ("$.a[0]", "but only 'b'"),
        ("$.a.b.c", "there is no 'c'"),
        ("$.list[?id=9]", "nothing has id=9"),
        ("$.a.b[0].c.d", "but 1.5"),
    ],
)
def test_paths_that_lead_nowhere(path: str, words: str) -> None:
    with pytest.raises(PathError, match=words):
        JsonPath.parse(path).find(DOCUMENT)


@pytest.mark.parametrize("path", ["$..a", "$.a[*]", "$.a[0:2]", "$.a[", "$.", "$.a b"])
def test_paths_that_are_none(path: str) -> None:
    with pytest.raises(PathError, match="is no path to one value"):
        JsonPath.parse(path)


def test_missing_is_none_and_never_zero() -> None:
    for nothing in (None, "NaN", "nan", " null ", "", "-", float("nan")):
        assert reading(nothing, "power", "it") is None
    assert reading(0, "power", "it") == 0.0
    assert reading(Decimal("1.50"), "power", "it") == 1.5
    assert reading(" 2.5 ", "power", "it") == 2.5


@pytest.mark.parametrize("value", [True, False, [], {}, "1,5", "x", -0.1, float("inf"), "-inf", 10**400])
def test_what_is_no_power(value: object) -> None:
    with pytest.raises(ReplyInvalid, match=r"^it gives .* as power"):
        reading(value, "power", "it")


def test_documents_keep_their_digits() -> None:
    found = document(b'{"a": {"b": 12.340, "c": 12, "d": true, "e": NaN}}', "it")
    assert step_of(member(found, "a", "b")) == pytest.approx(0.001)
    assert step_of(member(found, "a", "c")) == 1.0
    assert step_of(member(found, "a", "d")) is None
    assert reading(member(found, "a", "e"), "power", "it") is None
    assert member(found, "a", "b", "x") is None
    with pytest.raises(ReplyInvalid, match="it sent 'hello', which is no JSON"):
        document(b"hello", "it")


def test_counters_only_rise() -> None:
    counter = Rising()
    assert [counter.checked(value, "it") for value in (5.0, 5.0, 6.0)] == [5.0, 5.0, 6.0]
    with pytest.raises(InstrumentError, match="of it went back from 6 J to 2 J"):
        counter.checked(2.0, "it")

"""Settings of a meter: what is wrong is named, with the meter and the key; nothing is bent into shape."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from power.errors import OptionInvalid
from power.options import Options

GIVEN = {"text": "a", "number": 2.5, "whole": 3, "flag": True, "list": ["x", "y"], "table": {"channel": 1}}


def options() -> Options:
    return Options(GIVEN, "'m' (driver)")


def test_what_is_given_is_taken() -> None:
    found = options()
    assert found.text("text") == "a"
    assert found.number("number", low=1.0, high=3.0) == 2.5
    assert found.integer("whole", low=1, high=4) == 3
    assert found.flag("flag") is True
    assert found.names("list") == ("x", "y")
    assert found.table("table").integer("channel", low=1, high=4) == 1
    assert found.mapping("table") == {"channel": 1}
    found.done()


def test_defaults() -> None:
    found = Options({}, "m")
    assert found.text("a", "b") == "b"
    assert found.number("a", 1.0) == 1.0
    assert found.maybe("a") is None
    assert found.names("a") == ()
    assert found.mapping("a") is None
    assert found.flag("a") is False


@pytest.mark.parametrize(
    ("take", "words"),
    [
        (lambda o: o.text("missing"), "missing is missing; add it to farm.toml"),
        (lambda o: o.text("number"), "number must be a text, not 2.5"),
        (lambda o: o.number("text"), "text must be a number, not 'a'"),
        (lambda o: o.number("flag"), "flag must be a number, not True"),
        (lambda o: o.number("number", low=3.0), "number must be from 3, not 2.5"),
        (lambda o: o.number("number", low=0.0, high=1.0), "from 0 to 1, not 2.5"),
        (lambda o: o.number("number", above=2.5), "above 2.5, not 2.5"),
        (lambda o: o.integer("number", low=0, high=9), "a whole number from 0 to 9"),
        (lambda o: o.flag("whole"), "whole must be true or false"),
        (lambda o: o.choice("text", ("aa", "b")), "did you mean 'aa'"),
        (lambda o: o.choice("text", ("zz",)), "it is one of zz"),
        (lambda o: o.names("text"), "a list of texts"),
        (lambda o: o.table("text"), "a table such as"),
        (lambda o: (o.text("text"), o.done()), "'number' is not known here; it takes text"),
    ],
)
def test_what_is_wrong_is_told(take: Callable[[Options], object], words: str) -> None:
    with pytest.raises(OptionInvalid, match=words) as caught:
        take(options())
    assert "'m' (driver)" in str(caught.value)


def test_a_misspelt_key_suggests_the_nearest() -> None:
    found = Options({"resorce": "X"}, "m")
    found.text("resource", "Y")
    with pytest.raises(OptionInvalid, match="'resorce' is not known here; did you mean 'resource'"):
        found.done()

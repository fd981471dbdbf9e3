"""The options of a meter as farm.toml gives them, each checked where it is taken."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import NoReturn

from power.errors import OptionInvalid

LARGEST_SHUNT_OHM = 1000.0
"""What is larger is a slip of the unit."""


class Options:
    """Options of one meter. Whoever makes the meter takes what it knows, then calls `done`, which refuses the rest.

    Every failure is an OptionInvalid that names meter and key. A method without a default requires the option.
    """

    def __init__(self, given: Mapping[str, object], where: str) -> None:
        """`where` names the meter, or a table in it, for people."""
        self._given, self._where = given, where
        self._known: set[str] = set()

    @property
    def known(self) -> frozenset[str]:
        """The keys that were asked for so far."""
        return frozenset(self._known)

    def __contains__(self, key: str) -> bool:
        self._known.add(key)
        return key in self._given

    def text(self, key: str, default: str | None = None) -> str:
        """Return a text."""
        value = self._take(key, default)
        if not isinstance(value, str) or not value:
            self.fail(f"{key} must be a text, not {value!r}")
        return value

    def number(
        self,
        key: str,
        default: float | None = None,
        *,
        low: float = -math.inf,
        high: float = math.inf,
        above: float = -math.inf,
    ) -> float:
        """Return a number from `low` to `high`, and greater than `above`."""
        value = self._take(key, default)
        number = self._number(key, value)
        if not (low <= number <= high and number > above):
            limits = f"above {above:g}" if above > low else f"from {low:g}"
            self.fail(f"{key} must be {limits}{f' to {high:g}' if high < math.inf else ''}, not {number:g}")
        return number

    def maybe(
        self, key: str, *, low: float = -math.inf, high: float = math.inf, above: float = -math.inf
    ) -> float | None:
        """Return a number like `number`, or None where it is not given."""
        return self.number(key, low=low, high=high, above=above) if key in self else None

    def integer(self, key: str, default: int | None = None, *, low: int, high: int) -> int:
        """Return a whole number from `low` to `high`."""
        value = self._take(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.fail(f"{key} must be a whole number from {low} to {high}, not {value!r}")
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        """Return true or false."""
        value = self._take(key, default)
        if not isinstance(value, bool):
            self.fail(f"{key} must be true or false, not {value!r}")
        return value

    def choice(self, key: str, words: Sequence[str], default: str | None = None) -> str:
        """Return one of the words."""
        value = self.text(key, default)
        if value not in words:
            near = difflib.get_close_matches(value, words, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"it is one of {', '.join(words)}"
            self.fail(f"{key} is '{value}'; {hint}")
        return value

    def names(self, key: str) -> tuple[str, ...]:
        """Return a list of texts; () where it is not given."""
        value = self._take(key, [])
        if not isinstance(value, list | tuple) or not all(isinstance(one, str) and one for one in value):
            self.fail(f"{key} must be a list of texts, not {value!r}")
        return tuple(value)

    def table(self, key: str) -> Options:
        """Return the options in a table, such as voltage = {channel = 1}. Call `done` of it too."""
        value = self._take(key, None)
        if not isinstance(value, dict):
            self.fail(f"{key} must be a table such as {key} = {{channel = 1}}, not {value!r}")
        return Options(value, f"{self._where} {key}")

    def mapping(self, key: str) -> dict[str, object] | None:
        """Return a table as it is, for whoever checks it itself; None where it is not given."""
        if key not in self:
            return None
        value = self._given[key]
        if not isinstance(value, dict):
            self.fail(f"{key} must be a table, not {value!r}")
        return value

    def done(self) -> None:
        """Refuse options that nobody took, with the nearest known name."""
        for key in self._given:
            if key not in self._known:
                near = difflib.get_close_matches(key, sorted(self._known), n=1)
                hint = f"did you mean '{near[0]}'?" if near else f"it takes {', '.join(sorted(self._known))}"
                self.fail(f"'{key}' is not known here; {hint}")

    def fail(self, what: str) -> NoReturn:
        """Refuse the options: `what` is wrong."""
        end = "" if what.endswith("?") else "."
        raise OptionInvalid(f"In the settings of the meter {self._where}, {what}{end}")

    def _take(self, key: str, default: object) -> object:
        self._known.add(key)
        value = self._given.get(key, default)
        if value is None:
            self.fail(f"{key} is missing; add it to farm.toml")
        return value

    def _number(self, key: str, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            self.fail(f"{key} must be a number, not {value!r}")
        return float(value)

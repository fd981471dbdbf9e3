"""Values of a table read from a file, each checked where it is taken."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from typing import Any, NoReturn

from power.calibrate.errors import CertificateInvalid


class Table:
    """A table of a certificate. Every failure is a CertificateInvalid that names file and key."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self._values, self.where = values, where

    def text(self, key: str) -> str:
        """Return a text."""
        value = self._take(key)
        if not isinstance(value, str) or not value:
            self._fail(key, "a text")
        return value

    def maybe_text(self, key: str) -> str | None:
        """Return a text, None if it is not there."""
        return self.text(key) if key in self._values else None

    def number(self, key: str) -> float:
        """Return a finite number."""
        return self._number(key, self._take(key))

    def maybe_number(self, key: str) -> float | None:
        """Return a number, None if it is not there."""
        return self.number(key) if key in self._values else None

    def whole(self, key: str) -> int:
        """Return a whole number."""
        value = self._take(key)
        if isinstance(value, bool) or not isinstance(value, int):
            self._fail(key, "a whole number")
        return value

    def numbers(self, key: str) -> tuple[float, ...]:
        """Return a list of numbers."""
        value = self._take(key)
        if not isinstance(value, list):
            self._fail(key, "a list of numbers")
        return tuple(self._number(key, one) for one in value)

    def matrix(self, key: str) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return a 2 × 2 matrix."""
        value = self._take(key)
        rows = value if isinstance(value, list) else []
        if len(rows) != 2 or not all(isinstance(row, list) and len(row) == 2 for row in rows):
            self._fail(key, "a 2 × 2 matrix")
        (a, b), (c, d) = ([self._number(key, one) for one in row] for row in value)
        return (a, b), (c, d)

    def flag(self, key: str) -> bool:
        """Return true or false."""
        value = self._take(key)
        if not isinstance(value, bool):
            self._fail(key, "true or false")
        return value

    def day(self, key: str) -> datetime.date:
        """Return a date."""
        value = self._take(key)
        if not isinstance(value, datetime.date) or isinstance(value, datetime.datetime):
            self._fail(key, "a date")
        return value

    def table(self, key: str) -> Table:
        """Return a table in it."""
        value = self._take(key)
        if not isinstance(value, dict):
            self._fail(key, "a table")
        return Table(value, f"{self.where} [{key}]")

    def tables(self, key: str) -> list[Table]:
        """Return a list of tables."""
        value = self._take(key)
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            self._fail(key, "a list of tables")
        return [Table(one, f"{self.where} [[{key}]] {i}") for i, one in enumerate(value, 1)]

    def _take(self, key: str) -> Any:
        if key not in self._values:
            raise CertificateInvalid(f"{self.where} lacks '{key}'; restore the original file.")
        return self._values[key]

    def _number(self, key: str, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            self._fail(key, "a number")
        return float(value)

    def _fail(self, key: str, what: str) -> NoReturn:
        raise CertificateInvalid(f"'{key}' of {self.where} is not {what}; restore the original file.")

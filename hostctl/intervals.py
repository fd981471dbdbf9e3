"""Checks a published table's derived columns against its raw ones, digit by digit. Exact arithmetic, no floats.

A printed number stands for all numbers that round to it: half a unit of its last digit to either side. These intervals are
carried through the formulas; a derived column is right where the result and its own interval have a number in common.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from fractions import Fraction

from hostctl.errors import UsageError

HALF = Fraction(1, 2)
DERIVED = ("ips", "achieved_gops", "ratio_percent", "energy_per_inference_mj", "gops_per_w")
"""The derived columns that are checked, in the order in which each follows from the ones before."""


class Verdict(StrEnum):
    """What is found of one printed number.

    consistent     some numbers that print as the raw columns give a number that prints as this one
    truncated      only if one whole unit of its last digit is allowed: it was cut, not rounded
    inconsistent   not even then
    not_derivable  a column that it follows from is missing
    """

    CONSISTENT = "consistent"
    TRUNCATED = "truncated"
    INCONSISTENT = "inconsistent"
    NOT_DERIVABLE = "not_derivable"


@dataclass(frozen=True)
class Interval:
    """All numbers from `low` to `high`, both included."""

    low: Fraction
    high: Fraction

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"{self.low} is above {self.high}")

    def __mul__(self, other: Interval) -> Interval:
        """Return all products."""
        ends = [a * b for a in (self.low, self.high) for b in (other.low, other.high)]
        return Interval(min(ends), max(ends))

    def __truediv__(self, other: Interval) -> Interval:
        """Return all quotients. Raises ZeroDivisionError if the divisor can be zero."""
        if other.low <= 0 <= other.high:
            raise ZeroDivisionError(f"the divisor can be zero: it is from {other.low} to {other.high}")
        return self * Interval(1 / other.high, 1 / other.low)

    def overlaps(self, other: Interval) -> bool:
        """Whether the two have a number in common."""
        return self.low <= other.high and other.low <= self.high


@dataclass(frozen=True)
class Printed:
    """A printed number: its value, and one unit of its last digit."""

    value: Fraction
    unit: Fraction

    def within(self, units: Fraction) -> Interval:
        """Return the numbers at most so many units of the last digit away."""
        return Interval(self.value - units * self.unit, self.value + units * self.unit)


@dataclass(frozen=True)
class Check:
    """The finding for one printed number of a row.

    from_raw       what follows from the raw columns alone: time, batch, power, operations, peak
    from_printed   what follows from the derived columns as printed before it: people also compute from rounded numbers
    Each is None where it cannot be derived. The better of the two decides: a number that follows a misprint beside it
    is not a second misprint.
    """

    column: str
    printed: str
    verdict: Verdict
    from_raw: Interval | None
    from_printed: Interval | None


def read_printed(text: str) -> Printed | None:
    """Return the number that a cell shows; None for an empty cell. Raises UsageError for anything but a plain number."""
    text = text.strip()
    if not text:
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int):
        raise UsageError(f"'{text}' is no number; write it like 1234.5, with a point and nothing else.")
    return Printed(Fraction(number), Fraction(10) ** exponent)


def judge(printed: Printed, derived: Interval | None) -> Verdict:
    """Compare a printed number with what follows from others."""
    if derived is None:
        return Verdict.NOT_DERIVABLE
    if printed.within(HALF).overlaps(derived):
        return Verdict.CONSISTENT
    if printed.within(Fraction(1)).overlaps(derived):
        return Verdict.TRUNCATED
    return Verdict.INCONSISTENT


def check_row(row: Mapping[str, str]) -> list[Check]:
    """Check every derived column that a row prints.

    Columns, each may be empty or absent: inference_time_ms (of a batch), latency_ms and threads (accelerators that pipeline),
    batch, power_w, peak_gops, ops_per_inference_gops, and DERIVED. Raises UsageError for a cell that is no number.
    """
    from_raw, from_printed = _from_raw(row), _from_printed(row)
    return [
        _check(row, name, from_raw.get(name), from_printed.get(name)) for name in DERIVED if _cell(row, name)
    ]


def _check(
    row: Mapping[str, str], name: str, from_raw: Interval | None, from_printed: Interval | None
) -> Check:
    text = row[name].strip()
    printed = read_printed(text)
    assert printed is not None
    order = list(Verdict)
    verdict = min((judge(printed, from_raw), judge(printed, from_printed)), key=order.index)
    return Check(name, text, verdict, from_raw, from_printed)


def _from_raw(row: Mapping[str, str]) -> dict[str, Interval | None]:
    """Return the derived columns from the raw ones; where no time gives a throughput, the printed one counts as raw."""
    ips_of_time = _throughput(row)
    ips = ips_of_time or _cell(row, "ips")
    gops = _times(ips, _constant(row, "ops_per_inference_gops"))
    return {"ips": ips_of_time, "achieved_gops": gops, **_beyond_gops(row, ips, gops)}


def _from_printed(row: Mapping[str, str]) -> dict[str, Interval | None]:
    """Return the derived columns from their printed neighbours."""
    ips, gops = _cell(row, "ips"), _cell(row, "achieved_gops")
    return {
        "achieved_gops": _times(ips, _constant(row, "ops_per_inference_gops")),
        **_beyond_gops(row, ips, gops),
    }


def _beyond_gops(
    row: Mapping[str, str], ips: Interval | None, gops: Interval | None
) -> dict[str, Interval | None]:
    power_w = _cell(row, "power_w")
    return {
        "ratio_percent": _times(_number(100), _over(gops, _cell(row, "peak_gops"))),
        "energy_per_inference_mj": _times(_number(1000), _over(power_w, ips)),
        "gops_per_w": _over(gops, power_w),
    }


def _throughput(row: Mapping[str, str]) -> Interval | None:
    """Return batch ÷ time. A pipeline with one thread is as fast as its latency; with more no time tells how fast it is."""
    threads = _constant(row, "threads")
    if threads is None:
        batch = _constant(row, "batch") or _number(1)
        return _over(_times(_number(1000), batch), _cell(row, "inference_time_ms"))
    if threads != _number(1):
        return None
    return _over(_number(1000), _cell(row, "latency_ms"))


def _cell(row: Mapping[str, str], name: str) -> Interval | None:
    printed = _read(row, name)
    return None if printed is None else printed.within(HALF)


def _constant(row: Mapping[str, str], name: str) -> Interval | None:
    printed = _read(row, name)
    return None if printed is None else printed.within(Fraction(0))


def _read(row: Mapping[str, str], name: str) -> Printed | None:
    try:
        return read_printed(row.get(name) or "")
    except UsageError as error:
        raise UsageError(f"Column {name}: {error.message}") from None


def _number(value: int) -> Interval:
    return Interval(Fraction(value), Fraction(value))


def _times(left: Interval | None, right: Interval | None) -> Interval | None:
    return None if left is None or right is None else left * right


def _over(left: Interval | None, right: Interval | None) -> Interval | None:
    """Divide; None where a part is missing or the divisor, as printed, can be zero."""
    if left is None or right is None or right.low <= 0 <= right.high:
        return None
    return left / right

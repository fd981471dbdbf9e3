"""Numbers out of what meters on a network send: text and JSON, checked.

None is "no data" (null, NaN, an empty text); whatever else is no number from 0 on is refused, with where it came from.
"""

from __future__ import annotations

import json
import math
from decimal import Decimal

from power.errors import InstrumentError, ReplyInvalid
from power.options import Options

NOTHING = ("", "nan", "null", "none", "n/a", "-")


def reading(value: object, what: str, where: str) -> float | None:
    """Return a number from 0 on; None where there is no data. Raises ReplyInvalid: `what` of `where` is something else."""
    if value is None or (isinstance(value, str) and value.strip().lower() in NOTHING):
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        raise ReplyInvalid(
            f"{where} gives {str(value)[:40]!r} as {what}, which is no number; check what it measures."
        )
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise ReplyInvalid(
            f"{where} gives {str(value)[:40]!r} as {what}, which is no number; check what it measures."
        ) from None
    if math.isnan(number):
        return None
    if number < 0.0 or math.isinf(number):
        raise ReplyInvalid(
            f"{where} gives {number:g} as {what}, which a load cannot draw; check how it is wired."
        )
    return number


def document(payload: bytes, where: str) -> object:
    """Read JSON; fractions become Decimal, which keeps how many digits were sent. Raises ReplyInvalid."""
    try:
        found: object = json.loads(payload, parse_float=Decimal)
    except ValueError:
        text = " ".join(payload[:40].decode("utf-8", "replace").split())
        raise ReplyInvalid(
            f"{where} sent '{text}', which is no JSON; check that it is the right one."
        ) from None
    return found


def member(found: object, *names: str) -> object:
    """Return a member of nested objects; None where there is none."""
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    return found


def step_of(value: object) -> float | None:
    """Return the smallest step that a number was sent with: 0.01 of 12.30, 1 of 12; None of anything else."""
    if isinstance(value, Decimal):
        exponent = value.as_tuple().exponent
        return 10.0**exponent if isinstance(exponent, int) else None
    return 1.0 if isinstance(value, int) and not isinstance(value, bool) else None


def text_or_none(value: object) -> str | None:
    """Return a text that says something; None for anything else."""
    return value if isinstance(value, str) and value else None


def topic_of(options: Options) -> str:
    """Take topic, which must be the name of one device."""
    topic = options.text("topic").strip("/")
    if not topic or any(letter in topic for letter in "+#\0"):
        options.fail(f"topic must name one device, not {topic!r}")
    return topic


class Rising:
    """Watches over a counter, which only rises as long as its meter runs."""

    def __init__(self) -> None:
        self._last_j: float | None = None

    def checked(self, energy_j: float, where: str) -> float:
        """Return the count. Raises InstrumentError if it went back."""
        if self._last_j is not None and energy_j < self._last_j:
            raise InstrumentError(
                f"The energy counter of {where} went back from {self._last_j:g} J to {energy_j:g} J: it was restarted or reset; "
                "measure again."
            )
        self._last_j = energy_j
        return energy_j

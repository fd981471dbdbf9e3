"""How simulated instruments misbehave on request."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from power.errors import OptionInvalid
from power.trace import Floats

Message = TypeVar("Message", bytes, str)
Power = TypeVar("Power", float, Floats)


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong. 0 and false are what a sound instrument does; what comes after -1 commands comes with the first.

    delay_s          every answer is late by this
    truncate_at      answers end after so many bytes, and nothing follows
    wrong_length     the count in front of a block is one too large
    is_stale         an answer is that to the command before
    silent_after     after so many commands it answers no more
    disconnect_after after so many commands the line is cut
    garbage_after    after so many commands it answers noise
    noise_w          standard deviation added to each reading
    drift_w_per_s    added to each reading since the start
    clip_w           readings above this stay there, and are marked as the instrument marks them
    gain, offset_w   error of every reading: power × (1 + gain) + offset_w
    clock_offset_s, clock_ppm   error of the instrument's own clock
    error            text that its error queue reports after each command
    """

    delay_s: float = 0.0
    truncate_at: int = 0
    wrong_length: bool = False
    is_stale: bool = False
    silent_after: int = 0
    disconnect_after: int = 0
    garbage_after: int = 0
    noise_w: float = 0.0
    drift_w_per_s: float = 0.0
    clip_w: float = 0.0
    gain: float = 0.0
    offset_w: float = 0.0
    clock_offset_s: float = 0.0
    clock_ppm: float = 0.0
    error: str = ""

    def is_cut(self, messages: int) -> bool:
        """Whether the line is cut at a message, counted from 1."""
        return self.disconnect_after != 0 and messages > self.disconnect_after

    def is_silent(self, messages: int) -> bool:
        """Whether nothing is sent any more at a message, counted from 1."""
        return self.silent_after != 0 and messages > self.silent_after

    def is_garbage(self, messages: int) -> bool:
        """Whether noise is sent at a message, counted from 1."""
        return self.garbage_after != 0 and messages > self.garbage_after

    def cut_short(self, message: Message) -> Message:
        """Return what of a message is sent."""
        return message[: self.truncate_at] if self.truncate_at else message

    def distorted(self, power_w: Power, past_s: Power) -> Power:
        """Return a power, or powers, as read at some times since the start: gain, offset and drift, but no noise or clipping."""
        wrong_w = power_w * (1.0 + self.gain) + self.offset_w
        return wrong_w + self.drift_w_per_s * past_s if self.drift_w_per_s else wrong_w


def parse_faults(terms: Iterable[str]) -> Faults:
    """Read "name=value" or "name" (for what is true or false). Raises OptionInvalid with the nearest name."""
    found: dict[str, Any] = {}
    kinds = {field.name: field.type for field in fields(Faults)}
    for term in terms:
        name, _, value = (part.strip() for part in term.partition("="))
        name = name.replace("-", "_")
        if name not in kinds:
            near = difflib.get_close_matches(name, kinds, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(kinds)}."
            raise OptionInvalid(f"There is no fault '{name}'; {hint}")
        found[name] = _value(name, str(kinds[name]), value)
    return Faults(**found)


def _value(name: str, kind: str, text: str) -> float | int | bool | str:
    try:
        if kind == "bool":
            return text.lower() in ("", "1", "true", "yes")
        if kind == "int":
            return int(text)
        return float(text) if kind == "float" else text
    except ValueError:
        raise OptionInvalid(f"The fault {name} takes a number, not '{text}'.") from None

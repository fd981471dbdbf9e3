"""The ten numbers that answer :WAVeform:PREamble?, which Keysight's and Rigol's oscilloscopes have in common.

Source: Keysight "InfiniiVision 4000 X-Series Oscilloscopes Programmer's Guide" and RIGOL PGA19109-1110, "MSO1000Z/DS1000Z
Programming Guide", :WAVeform:PREamble?. How codes become volts they tell differently: the drivers know.

    t = xorigin + xincrement · (i − xreference)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

from power.errors import ReplyInvalid


@dataclass(frozen=True, slots=True)
class Preamble:
    """The answer to :WAVeform:PREamble?; format and kind count what the model has."""

    format: int
    kind: int
    points: int
    count: int
    x_increment_s: float
    x_origin_s: float
    x_reference: float
    y_increment_v: float
    y_origin: float
    y_reference: float

    @classmethod
    def parse(cls, answer: str, where: str) -> Self:
        """Read the ten fields. Raises ReplyInvalid if they are not ten numbers, or describe no waveform."""
        wrong = None
        try:
            numbers = [float(field) for field in answer.split(",")]
        except ValueError:
            numbers = []
        if len(numbers) != 10:
            wrong = "is not ten numbers"
        elif not all(math.isfinite(number) for number in numbers):
            wrong = "holds no usable numbers"
        elif numbers[2] < 1 or numbers[4] <= 0.0 or numbers[7] == 0.0:
            wrong = "describes no waveform"
        if wrong is not None:
            raise ReplyInvalid(f"{where} sent the preamble '{answer[:80]}', which {wrong}; measure again.")
        return cls(*(int(number) for number in numbers[:4]), *numbers[4:])

    @property
    def start_s(self) -> float:
        """Time of the first point from the trigger."""
        return self.x_origin_s - self.x_reference * self.x_increment_s

"""From a converter's codes to volts, piece by piece: 20 million points need no second copy, and little time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from power.errors import ReplyInvalid
from power.trace import Flags, Floats

PIECE = 1 << 16
"""Points at a time: they stay in the processor's cache."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """y = zero + gain × code. Codes from `low` down and from `high` up are clipped; one equal to `hole` was never acquired.

    dtype  of the codes as they are sent, such as "<i2"
    """

    dtype: str
    gain: float
    zero: float
    low: int
    high: int
    hole: int | None = None

    @property
    def width(self) -> int:
        """Bytes of one code."""
        return np.dtype(self.dtype).itemsize


class Decoder:
    """Collects blocks of one channel. `points` of them are expected; `where` names the instrument in errors."""

    def __init__(self, points: int, scaling: Scaling, where: str) -> None:
        self.values: Floats = np.empty(points, np.float64)
        self.clipped: Flags = np.empty(points, np.bool_)
        self._scaling, self._where, self._filled = scaling, where, 0

    def add(self, block: bytes, points: int) -> None:
        """Take the next block, which should hold so many points. Raises ReplyInvalid if it does not, or holds holes."""
        scaling = self._scaling
        if len(block) != points * scaling.width:
            raise ReplyInvalid(
                f"{self._where} sent {len(block)} bytes where {points} points of {scaling.width} bytes were due; measure again."
            )
        codes = np.frombuffer(block, scaling.dtype)
        for begin in range(0, points, PIECE):
            self._piece(codes[begin : begin + PIECE])

    def check_complete(self) -> None:
        """Raise ReplyInvalid unless all points came."""
        if self._filled != len(self.values):
            raise ReplyInvalid(
                f"{self._where} sent {self._filled} of {len(self.values)} points; measure again."
            )

    def _piece(self, codes: np.ndarray[tuple[int], np.dtype[np.integer]]) -> None:
        scaling, part = self._scaling, slice(self._filled, self._filled + len(codes))
        if scaling.hole is not None and bool((codes == scaling.hole).any()):
            raise ReplyInvalid(
                f"{self._where} sent points that it has not acquired; let its record end before it is read."
            )
        values = self.values[part]
        np.multiply(codes, scaling.gain, out=values)
        values += scaling.zero
        clipped = self.clipped[part]
        np.greater_equal(codes, scaling.high, out=clipped)
        clipped |= codes <= scaling.low
        self._filled += len(codes)

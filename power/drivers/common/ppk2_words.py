"""What a Nordic Power Profiler Kit II sends: its calibration as text, and samples as words of 32 bits.

Sources: Nordic's Power Profiler app for nRF Connect (github.com/NordicSemiconductor/pc-nrfconnect-ppk) and the Python package
ppk2-api, which agree on words, formula and filter; of the counter only the app takes notice.

    bits 0–13 converter, 14–16 range (0 is the most sensitive), 18–23 counter, 24–31 logic inputs D0–D7
    x = (4 · converter − O) · 1.8 / 163840 / R;   I = UG · (x · (GS · x + GI) + S · Vdd + I)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from power.errors import ReplyInvalid
from power.trace import Floats

RANGES = 5
CODES = 1 << 14
VOLTS_PER_COUNT = 1.8 / 163840.0
COUNTER_SHIFT, COUNTERS = 18, 64
LOGIC_SHIFT = 24
PROOF = 8
"""So many words counted on show where words begin."""
MOST_GARBAGE_BYTES = 1 << 14
DEFAULT_OHM = (1031.64, 101.65, 10.15, 0.94, 0.043)
AFTER_CHANGE = 3
"""Samples after a change of range that show the switching; the first two in the largest range do not even count on average."""
TOP_RANGE, TOP_SKIPPED = 4, 2
ALPHA, ALPHA_TOP = 0.18, 0.06
_NEGLIGIBLE = 1e-6

Words = NDArray[np.uint32]
Integers = NDArray[np.int64]
Row = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Modifiers:
    """The calibration of one kit, a value each range. Before it has told, gains are linear and nothing is off."""

    ohm: Row = DEFAULT_OHM
    gain_square: Row = (0.0,) * RANGES
    gain: Row = (1.0,) * RANGES
    offset: Row = (0.0,) * RANGES
    per_volt: Row = (0.0,) * RANGES
    current: Row = (0.0,) * RANGES
    user_gain: Row = (1.0,) * RANGES
    other: Mapping[str, str] = field(default_factory=dict)

    def table_a(self, supply_v: float) -> Floats:
        """Return [8, 16384] the current of each range and code; ranges above the last are the last."""
        converter = 4.0 * np.arange(CODES)
        rows = []
        for number in range(8):
            r = min(number, RANGES - 1)
            x = (converter - self.offset[r]) * (VOLTS_PER_COUNT / self.ohm[r])
            base = self.per_volt[r] * supply_v + self.current[r]
            rows.append(self.user_gain[r] * (x * (self.gain_square[r] * x + self.gain[r]) + base))
        return np.array(rows)


KEYS = {
    "R": "ohm",
    "GS": "gain_square",
    "GI": "gain",
    "O": "offset",
    "S": "per_volt",
    "I": "current",
    "UG": "user_gain",
}


def parse_metadata(text: str) -> Modifiers:
    """Read the answer to the question for metadata, `key: value` lines up to END. Raises ReplyInvalid for something else."""
    told: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            told[key.strip()] = value.strip()
    if "END" not in text or not any(key in told for key in ("Calibrated", "R0", "HW")):
        raise ReplyInvalid(
            "What answers is no Power Profiler Kit II: it told no calibration; correct port in farm.toml."
        )
    found: dict[str, Row] = {}
    for key, name in KEYS.items():
        default = getattr(Modifiers(), name)
        values = [_number(told.pop(f"{key}{r}", None), default[r]) for r in range(RANGES)]
        if key == "R":  # some kits were delivered with zeros, which nothing can be divided by
            values = [value if value != 0.0 else DEFAULT_OHM[r] for r, value in enumerate(values)]
        found[name] = tuple(values)
    return Modifiers(**found, other=told)


def _number(text: str | None, default: float) -> float:
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise ReplyInvalid(f"The kit's calibration holds '{text}' where a number was due; calibrate it anew.")
    return value


class WordStream:
    """Cuts bytes into words, numbers them, and sees by their counter what is missing.

    The counter has 6 bits: of a loss it tells the length modulo 64 samples. `gaps` counts the losses.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._next: int | None = None
        self._is_found = False
        self._index = 0
        self._garbage_bytes = 0
        self.gaps = 0

    @property
    def count(self) -> int:
        """Samples so far, the lost ones included."""
        return self._index

    def feed(self, data: bytes) -> tuple[Words, Integers]:
        """Take bytes; return the words that they complete, and their numbers. Raises ReplyInvalid for what is no such stream."""
        buffer, words, numbers = self._rest + data, [np.zeros(0, np.uint32)], [np.zeros(0, np.int64)]
        while True:
            if self._is_found:
                good = self._good(buffer)
                words.append(good)
                numbers.append(np.arange(self._index, self._index + len(good), dtype=np.int64))
                self._index += len(good)
                buffer = buffer[4 * len(good) :]
                self._is_found = len(buffer) < 4
            if self._is_found or len(buffer) < _SEARCHED_BYTES:
                break
            buffer = self._searched(buffer)
        self._rest = buffer
        return np.concatenate(words), np.concatenate(numbers)

    def _good(self, buffer: bytes) -> Words:
        """Return the words up to the first that does not count on."""
        words = np.frombuffer(buffer, "<u4", len(buffer) // 4)
        expected = ((self._next or 0) + np.arange(len(words))) % COUNTERS
        wrong = _counters(words) != expected
        good = words[: int(np.argmax(wrong))] if wrong.any() else words
        self._next = ((self._next or 0) + len(good)) % COUNTERS
        return good

    def _searched(self, buffer: bytes) -> bytes:
        """Return the buffer from where words count on again; what is missing then is lost."""
        places = [
            found for found in (_counting_place(buffer, offset) for offset in range(4)) if found is not None
        ]
        if not places:
            kept = _SEARCHED_BYTES - 1
            self._garbage_bytes += len(buffer) - kept
            if self._garbage_bytes > MOST_GARBAGE_BYTES:
                raise ReplyInvalid(
                    "The Power Profiler Kit sends what are no samples: their counter does not count; unplug it and plug it in "
                    "again, and update its firmware."
                )
            return buffer[-kept:]
        place = min(places)
        first = int(_counters(np.frombuffer(buffer, "<u4", 1, place))[0])
        if self._next is not None:
            self._index += (first - self._next) % COUNTERS
            self.gaps += 1
        self._next, self._is_found, self._garbage_bytes = first, True, 0
        return buffer[place:]


_SEARCHED_BYTES = 4 * (PROOF + 1) + 3


def _counters(words: Words) -> Integers:
    return ((words >> COUNTER_SHIFT) & (COUNTERS - 1)).astype(np.int64)


def _counting_place(buffer: bytes, offset: int) -> int | None:
    """Return from which byte on words count for long enough, if they begin at `offset` modulo 4."""
    counts_on = (
        np.diff(_counters(np.frombuffer(buffer, "<u4", (len(buffer) - offset) // 4, offset))) % COUNTERS == 1
    )
    runs = np.convolve(counts_on, np.ones(PROOF, np.int64), "valid") == PROOF
    return offset + 4 * int(np.argmax(runs)) if runs.any() else None


class Converter:
    """Makes currents of words; after a change of range, samples are rolling averages (Nordic's filter) if that is wanted."""

    def __init__(self, table_a: Floats, filters: bool = True) -> None:
        self._table_a, self._filters = table_a.reshape(-1), filters
        self._kernels = [_kernel(alpha) for alpha in (ALPHA, ALPHA_TOP)]
        self._past_a: Floats | None = None
        self._range: int | None = None
        self._since = AFTER_CHANGE

    def current_a(self, words: Words) -> Floats:
        """Return the current of each word."""
        raw_a: Floats = self._table_a[words & 0x1FFFF]
        if not self._filters or len(words) == 0:
            return raw_a
        ranges = np.minimum((words >> 14) & 7, RANGES - 1).astype(np.int64)
        since = self._since_change(ranges)
        is_switching = since < AFTER_CHANGE
        counts = ~(is_switching & (ranges == TOP_RANGE) & (since < TOP_SKIPPED))
        past_a = np.full(len(self._kernels[1]), raw_a[0]) if self._past_a is None else self._past_a
        line_a = np.concatenate((past_a, raw_a[counts]))
        self._past_a = line_a[-len(past_a) :]
        if not is_switching.any():
            return raw_a
        # Where a sample does not count, the average is that of the last which did.
        place = len(past_a) - 1 + np.cumsum(counts)[is_switching]
        averages = [np.convolve(line_a, kernel)[place] for kernel in self._kernels]
        found = raw_a.copy()
        found[is_switching] = np.where(ranges[is_switching] == TOP_RANGE, averages[1], averages[0])
        return found

    def _since_change(self, ranges: Integers) -> Integers:
        """Return how many samples ago the range changed."""
        before = ranges[0] if self._range is None else self._range
        has_changed = np.diff(ranges, prepend=before) != 0
        place = np.arange(len(ranges))
        last = np.maximum.accumulate(np.where(has_changed, place, -self._since - 1))
        since: Integers = place - last
        self._range, self._since = int(ranges[-1]), int(min(since[-1], AFTER_CHANGE))
        return since


def _kernel(alpha: float) -> Floats:
    """Return the weights of an exponential average, youngest first, as far as they matter."""
    length = int(np.ceil(np.log(_NEGLIGIBLE) / np.log(1.0 - alpha)))
    weights = np.asarray(alpha * (1.0 - alpha) ** np.arange(length), np.float64)
    return np.asarray(weights / weights.sum(), np.float64)

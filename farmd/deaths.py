"""Deaths of workers: how long the next one waits, and when the board is not to be trusted any more.

Pure: it is told the time. A death is forgiven when a worker of the same runtime gets as far as the dead one and
further: a load that succeeds says nothing about a runtime that crashes in each inference.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from farmd import errors

STAGES = ("start", "load", "idle", "infer", "benchmark")
"""What a worker can be doing, in the order in which it gets there."""
FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 60.0
UNHEALTHY_AFTER = 3


@dataclass
class _Record:
    by_stage: dict[str, int] = field(default_factory=dict)
    last_s: float = 0.0
    last_words: str = ""

    @property
    def count(self) -> int:
        return sum(self.by_stage.values())

    @property
    def delay_s(self) -> float:
        """No delay after one death, then 0.5 s, doubling."""
        if self.count < 2:
            return 0.0
        return min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(self.count - 2, 30))


class Deaths:
    """The deaths of each runtime's workers since its last success."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._records: dict[str, _Record] = {}

    def died(self, runtime: str, stage: str, how: str) -> None:
        """Count a death that nobody asked for."""
        with self._lock:
            record = self._records.setdefault(runtime, _Record())
            record.by_stage[stage] = record.by_stage.get(stage, 0) + 1
            record.last_s = self._clock()
            record.last_words = how

    def succeeded(self, runtime: str, stage: str) -> bool:
        """Forgive the deaths of this stage and those before it; whether there were any."""
        if runtime not in self._records:  # what almost every inference finds
            return False
        with self._lock:
            record = self._records.get(runtime)
            if record is None:
                return False
            reached = STAGES.index(stage)
            record.by_stage = {s: n for s, n in record.by_stage.items() if STAGES.index(s) > reached}
            if not record.by_stage:
                del self._records[runtime]
            return True

    def check(self, runtime: str) -> None:
        """Raise WorkerBackOff while the next worker of this runtime has to wait."""
        with self._lock:
            record = self._records.get(runtime)
            left_s = record.last_s + record.delay_s - self._clock() if record else 0.0
            if record is None or left_s <= 0:
                return
            raise errors.WorkerBackOff(
                f"The last {record.count} workers of {runtime} died, so the next one starts in {left_s:.1f} s. "
                f"{record.last_words}",
                metadata={"runtime": runtime, "deaths": record.count},
                retry_delay_s=left_s,
            )

    def complaints(self) -> list[str]:
        """Return one sentence for each runtime whose workers die again and again."""
        with self._lock:
            return [
                f"The last {record.count} workers of {runtime} died. {record.last_words}"
                for runtime, record in sorted(self._records.items())
                if record.count >= UNHEALTHY_AFTER
            ]

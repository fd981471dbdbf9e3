"""Who works on the board now. A benchmark has it to itself: anything beside it would spoil the measurement."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from farmd import errors
from farmd.waiting import Cancel


class _Covered(AbstractContextManager[None]):
    """What `contextmanager` would make, without a generator for each inference."""

    def __init__(self, begin: Callable[[], None], end: Callable[[], None]) -> None:
        self._begin, self._end = begin, end

    def __enter__(self) -> None:
        self._begin()

    def __exit__(self, *_failure: object) -> None:
        self._end()


class Activity:
    """Counts inferences and loads, and lets in one benchmark. Everything else in the daemon is light enough."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._inferences = 0
        self._inference = _Covered(self._begin_inference, self._end_inference)
        self._loads: list[str] = []
        self._benchmark: str | None = None
        self._is_stopping = False

    @property
    def benchmark(self) -> str | None:
        """The model whose benchmark runs, if one does."""
        return self._benchmark

    @property
    def is_stopping(self) -> bool:
        """Whether the daemon takes no new work."""
        return self._is_stopping

    def inference(self) -> AbstractContextManager[None]:
        """Cover one inference. BoardBusy beside a benchmark, ShuttingDown."""
        return self._inference

    def _begin_inference(self) -> None:
        with self._condition:
            self._refuse_beside_benchmark("An inference")
            self._inferences += 1

    def _end_inference(self) -> None:
        with self._condition:
            self._inferences -= 1
            if not self._inferences:
                self._condition.notify_all()

    @contextmanager
    def load(self, model: str) -> Iterator[None]:
        """Cover a load or an unload. BoardBusy beside a benchmark, ShuttingDown."""
        with self._condition:
            self._refuse_beside_benchmark(f"Loading or unloading '{model}'")
            self._loads.append(model)
        try:
            yield
        finally:
            with self._condition:
                self._loads.remove(model)
                self._condition.notify_all()

    @contextmanager
    def benchmarking(self, model: str, cancel: Cancel, drain_s: float) -> Iterator[None]:
        """Cover a benchmark: no new inference from now on, and those that run get `drain_s` to end.

        BoardBusy beside a load or another benchmark, or if inferences do not end; CallCancelled; ShuttingDown.
        """
        with cancel.calling(self._notify), self._condition:
            self._refuse_beside_benchmark(f"A benchmark of '{model}'")
            if self._loads:
                raise errors.BoardBusy(
                    f"'{self._loads[0]}' is being loaded, which would spoil a benchmark; try again when it is done.",
                    metadata={"loading": self._loads[0]},
                )
            self._benchmark = model
            drained = self._condition.wait_for(lambda: not self._inferences or cancel.is_set, drain_s)
            if not drained or cancel.is_set:
                self._benchmark = None
                cancel.check()
                raise errors.BoardBusy("Inferences on this board do not end; try the benchmark again later.")
        try:
            yield
        finally:
            with self._condition:
                self._benchmark = None
                self._condition.notify_all()

    def stop(self, drain_s: float) -> bool:
        """Take no new work and wait for what runs; whether it ended in time."""
        end_s = time.monotonic() + drain_s
        with self._condition:
            self._is_stopping = True
            return self._condition.wait_for(self._is_quiet, max(0.0, end_s - time.monotonic()))

    def _is_quiet(self) -> bool:
        return not (self._inferences or self._loads or self._benchmark)

    def _notify(self) -> None:
        with self._condition:
            self._condition.notify_all()

    def check_running(self) -> None:
        """Raise ShuttingDown if the daemon is."""
        if self._is_stopping:
            raise errors.ShuttingDown("The daemon is shutting down and takes no new work.", retry_delay_s=5.0)

    def _refuse_beside_benchmark(self, what: str) -> None:
        self.check_running()
        if self._benchmark is not None:
            raise errors.BoardBusy(
                f"{what} would spoil the benchmark of '{self._benchmark}' that runs on this board; wait for its end.",
                metadata={"benchmark": self._benchmark},
            )

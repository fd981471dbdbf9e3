"""Keeps the result of a record and hands it on, the invalid ones too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from hostctl.paths import data_dir
from hostctl.results.store import Raw, ResultStore
from hostctl.session.outcome import result_of
from hostctl.session.record import Record
from hostctl.session.windows import Windows


class Keeper:
    """Opens the user's result store for the length of a run; `on_result` gets every result and its folder.

    Opening first means that a place that cannot be written is known before anything is measured. Raises StoreError.
    """

    def __init__(self, on_result: Callable[[dict[str, Any], Path | None], None]) -> None:
        self._on_result = on_result
        self._store: ResultStore | None = None

    def __enter__(self) -> Keeper:
        self._store = ResultStore(data_dir())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._store is not None:
            self._store.close()

    def keep(self, record: Record) -> None:
        """Store a result with what lies behind it. Where that fails the result is handed on all the same: it was measured."""
        result = result_of(record)
        folder = None
        try:
            if self._store is not None:
                folder = self._store.save(result, _raw(record))
        finally:
            self._on_result(result, folder)


def _raw(record: Record) -> Raw:
    run = record.run
    return Raw(
        start_ns=None if run is None else run.start_ns,
        end_ns=None if run is None else run.end_ns,
        trace=record.trace,
        windows=None if record.windows is None else _spans(record.windows),
    )


def _spans(windows: Windows) -> dict[str, tuple[float, float]]:
    named = {"run": windows.run, "idle_before": windows.before, "idle_after": windows.after}
    return {name: (window.start_s, window.end_s) for name, window in named.items() if window is not None}

"""Keeps results, the invalid ones too: a row in SQLite to find them, a folder with everything to look closer.

    results.sqlite           one row a result: what it is searched by, and the whole object as JSON
    runs/<id>/result.json    the same object
    runs/<id>/requests.parquet   start and end of every request
    runs/<id>/power.parquet      the power trace as it was read

The folder is complete and on disk before the row is written: a result that can be found has its files.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Boolean, Column, Index, Integer, MetaData, Table, Text, select

from hostctl.database import open_database, reading, writing
from hostctl.errors import StoreError, UsageError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from power.trace import Trace

SCHEMA_VERSION = 1
DATABASE = "results.sqlite"
LEAST_PREFIX = 4
ABANDONED_S = 3600.0

metadata = MetaData()
results = Table(
    "results",
    metadata,
    Column("id", Text, primary_key=True),
    Column("created", Text, nullable=False),
    Column("device", Text, nullable=False),
    Column("board", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("sha256", Text),
    Column("runtime", Text, nullable=False),
    Column("precision", Text),
    Column("batch", Integer),
    Column("scenario", Text, nullable=False),
    Column("valid", Boolean, nullable=False),
    Column("json", Text, nullable=False),
    Index("results_created", "created"),
    Index("results_device", "device", "created"),
)


@dataclass(frozen=True)
class Raw:
    """What lies behind the numbers, each None where it was not recorded.

    start_ns, end_ns  int64 [requests], the board's monotonic clock
    trace             the meter's samples, on its own clock
    windows           name → (start, end) of the trace's windows, s, on the trace's clock
    """

    start_ns: NDArray[np.int64] | None = None
    end_ns: NDArray[np.int64] | None = None
    trace: Trace | None = None
    windows: Mapping[str, tuple[float, float]] | None = None


class ResultStore:
    """Results of one user. Every method raises StoreError if the place cannot be used."""

    def __init__(self, directory: Path) -> None:
        """Open or create the store in this directory."""
        self.directory = directory
        self._engine = open_database(directory / DATABASE, metadata, SCHEMA_VERSION)
        self._sweep()

    def close(self) -> None:
        """Let go of the database; twice is harmless."""
        self._engine.dispose()

    def save(self, result: Mapping[str, Any], raw: Raw | None = None) -> Path:
        """Keep a result and what lies behind it; return its folder.

        All of it is kept or nothing: on a full disk a StoreError says so, and what was there before stays as it was.
        """
        text = _json(result)
        folder = self.folder(str(result["id"]))
        partial = folder.with_name(f".partial-{folder.name}")
        try:
            partial.mkdir(parents=True)
            _write(partial / "result.json", (text + "\n").encode())
            _write_raw(partial, raw or Raw(), str(result["id"]))
            _sync(partial)
            partial.rename(folder)
            _sync(folder.parent)
        except BaseException as error:
            shutil.rmtree(partial, ignore_errors=True)
            if isinstance(error, OSError):
                raise StoreError(_sentence(folder, error)) from None
            raise
        try:
            with writing(self._engine) as connection:
                connection.execute(results.insert().values(_row(result, text)))
        except StoreError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return folder

    def get(self, name: str) -> dict[str, Any]:
        """Return a result by its id or an unambiguous beginning of it. Raises UsageError."""
        if len(name) < LEAST_PREFIX or not name.isalnum():
            raise UsageError(
                f"'{name}' is no result; give at least {LEAST_PREFIX} characters of an id of hostctl results list."
            )
        with reading(self._engine) as connection:
            query = select(results.c.json).where(results.c.id.startswith(name, autoescape=True)).limit(2)
            found = connection.execute(query).scalars().all()
        if not found:
            raise UsageError(f"There is no result '{name}'; hostctl results list shows what there is.")
        if len(found) > 1:
            raise UsageError(f"Several results begin with '{name}'; give more of the id.")
        return _object(found[0])

    def list(
        self,
        *,
        device: str | None = None,
        model: str | None = None,
        valid: bool | None = None,
        limit: int = 50,
    ) -> list[dict[str, Any]]:
        """Return results, the newest first; None does not filter."""
        query = select(results.c.json).order_by(results.c.created.desc(), results.c.id.desc()).limit(limit)
        for column, wanted in (
            (results.c.device, device),
            (results.c.model, model),
            (results.c.valid, valid),
        ):
            if wanted is not None:
                query = query.where(column == wanted)
        with reading(self._engine) as connection:
            return [_object(text) for text in connection.execute(query).scalars()]

    def _sweep(self) -> None:
        """Remove what a killed process left half-written; what is younger may still be in the writing."""
        for partial in (self.directory / "runs").glob(".partial-*"):
            with contextlib.suppress(OSError):
                if time.time() - partial.stat().st_mtime > ABANDONED_S:
                    shutil.rmtree(partial)

    def folder(self, result_id: str) -> Path:
        """Return where a result's files are."""
        return self.directory / "runs" / result_id

    def raw(self, result_id: str) -> dict[str, Path]:
        """Return the raw files a result has: "requests" and "power", where they were recorded."""
        paths = {name: self.folder(result_id) / f"{name}.parquet" for name in ("requests", "power")}
        return {name: path for name, path in paths.items() if path.is_file()}


def _row(result: Mapping[str, Any], text: str) -> dict[str, Any]:
    return {
        "id": result["id"],
        "created": result["created"],
        "device": result["device"],
        "board": result["board"],
        "model": result["model"]["name"],
        "sha256": result["model"]["sha256"],
        "runtime": result["runtime"]["name"],
        "precision": result["runtime"]["precision"],
        "batch": result["config"]["batch"],
        "scenario": result["config"]["scenario"],
        "valid": result["valid"],
        "json": text,
    }


def _json(result: Mapping[str, Any]) -> str:
    try:
        return json.dumps(result, allow_nan=False, ensure_ascii=False)
    except ValueError:
        raise StoreError(
            f"The result {result['id']} holds a number that is not finite, so it was not kept; please report this."
        ) from None


def _object(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    return found


def _write_raw(folder: Path, raw: Raw, result_id: str) -> None:
    if raw.start_ns is not None and raw.end_ns is not None:
        columns = {"start_ns": raw.start_ns, "end_ns": raw.end_ns}
        _write_table(
            folder / "requests.parquet", columns, {"clock": "board, monotonic, ns", "result": result_id}
        )
    if raw.trace is not None:
        _write_table(folder / "power.parquet", _trace_columns(raw.trace), _trace_facts(raw, result_id))


def _trace_columns(trace: Trace) -> dict[str, Any]:
    names = ("t_s", "power_w", "energy_j", "voltage_v", "current_a", "clipped", "marker")
    return {name: getattr(trace, name) for name in names if getattr(trace, name) is not None}


def _trace_facts(raw: Raw, result_id: str) -> dict[str, str]:
    assert raw.trace is not None
    names = (
        "reading",
        "interval_s",
        "averaging_s",
        "update_s",
        "step_j",
        "clock_bound_s",
        "lost",
        "calibration",
    )
    facts = {name: getattr(raw.trace, name) for name in names}
    return {"result": result_id, "trace": json.dumps(facts), "windows": json.dumps(dict(raw.windows or {}))}


def _write_table(path: Path, columns: Mapping[str, Any], facts: Mapping[str, str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table: pa.Table = pa.table(dict(columns)).replace_schema_metadata(dict(facts))
    pq.write_table(table, path, compression="zstd")
    _sync(path)


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sentence(folder: Path, error: OSError) -> str:
    import errno

    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk of {folder.parent} is full, so the result was not kept; free some space and measure again."
    return f"The result could not be written to {folder} ({error.strerror or error}); check the directory's permissions."

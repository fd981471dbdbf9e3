"""SQLite as hostctl uses it, for leases and for results: durable, one writer at a time, any number of readers.

Write-ahead log with synchronous FULL: what was answered survives a power cut (https://sqlite.org/pragma.html#pragma_synchronous).
Writers take the lock when they begin (BEGIN IMMEDIATE), so that what they read is still true when they write.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, MetaData, create_engine, event, text
from sqlalchemy.exc import DatabaseError, SQLAlchemyError

from hostctl.errors import StoreError

BUSY_TIMEOUT_S = 20.0
BUSY_POLL_S = 0.01


def open_database(path: Path, metadata: MetaData, version: int) -> Engine:
    """Open or create the database of these tables at schema `version`.

    Raises StoreError if the place cannot be written, the file is no database, or a newer version wrote it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"{path.parent} cannot be made ({error.strerror}); set WATTFARM_HOME to a writable directory."
        ) from None
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": BUSY_TIMEOUT_S})
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    with writing(engine) as connection:
        found = connection.execute(text("PRAGMA user_version")).scalar_one()
        if found > version:
            raise StoreError(f"{path} was written by a newer Wattfarm (schema {found}); upgrade this one.")
        if found < version:
            metadata.create_all(connection)
            connection.execute(text(f"PRAGMA user_version = {version}"))
    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Give a connection that sees one consistent state. Raises StoreError."""
    with _told(engine), engine.connect().execution_options(reads_only=True) as connection, connection.begin():
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Give the one connection that may write; all of it happens or nothing. Raises StoreError."""
    with _told(engine), engine.begin() as connection:
        yield connection


@contextmanager
def _told(engine: Engine) -> Iterator[None]:
    path = engine.url.database
    try:
        yield
    except DatabaseError as error:
        raise StoreError(_sentence(str(path), error)) from error
    except SQLAlchemyError as error:
        raise StoreError(f"{path} could not be used ({error}).") from error


def _sentence(path: str, error: DatabaseError) -> str:
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is not None:
        code &= 0xFF  # the primary code; the rest is detail
    if code == sqlite3.SQLITE_FULL:
        return f"The disk of {path} is full; free some space and try again: nothing was lost."
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return f"{path} is damaged ({error.orig}); move it aside, and a new one is made."
    if code == sqlite3.SQLITE_BUSY:
        return f"{path} has been locked by another process for {BUSY_TIMEOUT_S:.0f} s; end that process and try again."
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_IOERR):
        return f"{path} cannot be written ({error.orig}); mend its permissions or set WATTFARM_HOME."
    return f"{path} could not be used ({error.orig})."


def _configure(connection: Any, _record: Any) -> None:
    # The driver's own transactions are off: _begin below decides how a transaction starts.
    connection.isolation_level = None
    _use_wal(connection)
    for pragma in ("synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _use_wal(connection: Any) -> None:
    """Switch to the write-ahead log. SQLite never waits for this lock by itself, so two first openers would collide."""
    give_up_s = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= give_up_s:
                raise
            time.sleep(BUSY_POLL_S)
        else:
            return


def _begin(connection: Connection) -> None:
    reads_only = connection.get_execution_options().get("reads_only", False)
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")

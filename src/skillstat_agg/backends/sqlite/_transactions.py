"""Begin and end of transactions on a connection that somebody else owns."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from skillstat_agg.errors import (
    OpenTransactionError,
    SchemaError,
    StoreBusyError,
    StoreUnavailableError,
)


@contextmanager
def reading(db: sqlite3.Connection, operation: str) -> Iterator[sqlite3.Cursor]:
    """Give a cursor for reading one snapshot.

    Raises:
        OpenTransactionError: If the connection is inside a transaction.
    """
    with _usable(db) as cursor:
        _refuse_open_transaction(db, operation)
        _refuse_dirty_reads(cursor)
        try:
            cursor.execute("BEGIN")
            yield cursor
        finally:
            if db.in_transaction:
                cursor.execute("ROLLBACK")


@contextmanager
def writing(db: sqlite3.Connection, operation: str) -> Iterator[sqlite3.Cursor]:
    """Give a cursor for one change: all of it is durable on leaving, or nothing.

    The write lock is taken at the beginning, since a transaction that has read cannot be
    made a writing one once another has committed.

    Raises:
        OpenTransactionError: If the connection is inside a transaction.
    """
    with _usable(db) as cursor:
        _refuse_open_transaction(db, operation)
        try:
            cursor.execute("BEGIN IMMEDIATE")
            yield cursor
            cursor.execute("COMMIT")
        finally:
            if db.in_transaction:
                cursor.execute("ROLLBACK")


@contextmanager
def joining(db: sqlite3.Connection, operation: str) -> Iterator[sqlite3.Cursor]:
    """Give a cursor for one change within the caller's transaction, if there is one."""
    if not _is_inside_transaction(db):
        with writing(db, operation) as cursor:
            yield cursor
        return
    with _usable(db) as cursor:
        cursor.execute("SAVEPOINT skillstat_joined")
        try:
            yield cursor
        except BaseException:
            # A full disk, for one, has ended the whole transaction already.
            if db.in_transaction:
                cursor.execute("ROLLBACK TO skillstat_joined")
                cursor.execute("RELEASE skillstat_joined")
            raise
        cursor.execute("RELEASE skillstat_joined")


def _is_inside_transaction(db: sqlite3.Connection) -> bool:
    with _translated():
        return db.in_transaction


def _refuse_open_transaction(db: sqlite3.Connection, operation: str) -> None:
    if db.in_transaction:
        raise OpenTransactionError(operation)


def _refuse_dirty_reads(cursor: sqlite3.Cursor) -> None:
    """Refuse a connection that would show what another has not committed."""
    (dirty,) = cursor.execute("PRAGMA read_uncommitted").fetchone()
    if dirty:
        raise StoreUnavailableError("PRAGMA read_uncommitted is on: turn it off")


@contextmanager
def _usable(db: sqlite3.Connection) -> Iterator[sqlite3.Cursor]:
    """Give a cursor that returns plain tuples of str and int, whatever the caller has set."""
    with _translated():
        cursor = db.cursor()
        cursor.row_factory = None
        text_factory, db.text_factory = db.text_factory, str
        try:
            yield cursor
        finally:
            db.text_factory = text_factory
            cursor.close()


@contextmanager
def _translated() -> Iterator[None]:
    """Turn what the driver raises into errors of this package: the one place for it."""
    try:
        yield
    except sqlite3.Error as error:
        reason = str(error)
        # The first byte is the primary code; errors of the Python module have none.
        code = getattr(error, "sqlite_errorcode", None)
        primary = None if code is None else code & 0xFF
        if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise StoreBusyError(reason) from error
        if primary == sqlite3.SQLITE_ERROR and reason.startswith(("no such table", "no such col")):
            raise SchemaError(
                f"{reason}: make the tables (create_tables, or skillstat init), or name the"
                " right database"
            ) from error
        if primary == sqlite3.SQLITE_NOTADB:
            raise SchemaError(f"{reason}: name an SQLite database") from error
        raise StoreUnavailableError(reason) from error

"""What the stores do to the connections of their caller, sync or async, and what drivers raise."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import psycopg
from psycopg.pq import TransactionStatus

from skillstat_agg.backends.postgres._schema import MOVED, UNLIKE
from skillstat_agg.errors import (
    HistoryChangedError,
    OpenTransactionError,
    SchemaError,
    SkillstatError,
    StoreBusyError,
    StoreUnavailableError,
)

Connection: TypeAlias = psycopg.Connection[Any]
"""A connection with any row factory."""

AsyncConnection: TypeAlias = psycopg.AsyncConnection[Any]
"""The asynchronous one."""

Cursor: TypeAlias = psycopg.Cursor[Any]
"""A cursor of the former."""

AsyncCursor: TypeAlias = psycopg.AsyncCursor[Any]
"""A cursor of the latter."""

_BUSY = (
    psycopg.errors.LockNotAvailable,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
    psycopg.errors.QueryCanceled,
    psycopg.errors.TooManyConnections,
)
MISHAPS = (
    psycopg.errors.NumericValueOutOfRange,
    psycopg.errors.UndefinedTable,
)
"""What a statement that may fail may fail with."""

_NO_TABLES = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.InvalidSchemaName,
)


_CLEAN = (TransactionStatus.IDLE, TransactionStatus.UNKNOWN)


@contextmanager
def translated() -> Iterator[None]:
    """Turn what the driver raises into errors of this package: the one place for it."""
    try:
        yield
    except psycopg.Error as error:
        raise _translation(error) from error
    except UnicodeError as error:
        raise StoreUnavailableError(
            "the client_encoding of the connection has not every text: set it to UTF8"
        ) from error


def _translation(error: psycopg.Error) -> SkillstatError:
    # What the server said, without the statement and its parameters.
    said = error.diag.message_primary or str(error).partition("\n")[0] or type(error).__name__
    if isinstance(error, _BUSY):
        return StoreBusyError(said)
    if isinstance(error, _NO_TABLES):
        return SchemaError(
            f"{said}: make the tables (create_tables), or name the right database and schema"
        )
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return StoreUnavailableError(
            f"{said}: it is the owner's to do, or to grant (append_grants_sql, worker_grants_sql)"
        )
    if isinstance(error, psycopg.errors.DivisionByZero):  # the end of a commit
        return SchemaError("other hands keep the cursor record as it is: look for a trigger")
    if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
        return StoreUnavailableError(
            f"{said}: let the session write; if the server is a standby, connect to its primary"
        )
    if error.sqlstate == MOVED:
        return HistoryChangedError(said)
    return StoreUnavailableError(said)


def is_unlike(error: StoreUnavailableError) -> bool:
    """Return whether an event id was to be appended that stands for other content."""
    return getattr(error.__cause__, "sqlstate", None) == UNLIKE


def has_open_transaction(db: Connection | AsyncConnection) -> bool:
    """Return whether there is something to roll back."""
    return not db.closed and db.info.transaction_status not in _CLEAN


def check_idle(db: Connection | AsyncConnection, operation: str) -> None:
    """Refuse a connection that is inside a transaction, or closed."""
    if is_open(db):
        raise OpenTransactionError(operation)


def is_open(db: Connection | AsyncConnection) -> bool:
    """Return whether the connection is inside a transaction.

    Raises:
        StoreUnavailableError: If the connection is closed.
    """
    if db.closed:
        raise StoreUnavailableError("the connection is closed")
    return bool(db.info.transaction_status != TransactionStatus.IDLE)


def is_joining(db: Connection | AsyncConnection) -> bool:
    """Return whether what is written now is part of a transaction that the caller will end.

    Without autocommit it always is, as for everything that the caller does with psycopg.

    Raises:
        StoreUnavailableError: If the transaction has failed already, or the connection is closed.
    """
    joins = is_open(db) or not db.autocommit
    if db.info.transaction_status == TransactionStatus.INERROR:
        raise StoreUnavailableError("the transaction has failed: roll it back, and begin it anew")
    return joins


def decoded(row: tuple[Any, ...] | None) -> Any:
    """Return the answer of a statement: the JSON in the one column of its one row, if any."""
    # With client_encoding SQL_ASCII the driver leaves texts as they came, as bytes in UTF-8.
    return json.loads(row[0]) if row is not None and isinstance(row[0], str | bytes) else None

"""How operations get to the database, over a connection that the caller owns.

An operation that reads is one statement; one that writes brings its own BEGIN and COMMIT. Both
are run in autocommit mode, whatever the caller has set, so that a read costs one round trip, and
the isolation level that the caller prefers has no say. `_running_async` is the twin of this
module, down to the text.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import psycopg
from psycopg.generators import copy_end
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from skillstat_agg.backends.postgres._connections import (
    MISHAPS,
    Connection,
    Cursor,
    check_idle,
    decoded,
    has_open_transaction,
    is_open,
    translated,
)
from skillstat_agg.backends.postgres._names import Query
from skillstat_agg.backends.postgres._schema import BEGIN, COMMIT, ROLLBACK, Steps

T = TypeVar("T")


def run(db: Connection, operation: str, steps: Steps[T]) -> T:
    """Run an operation that begins and ends by itself.

    Raises:
        OpenTransactionError: If the connection is inside a transaction.
    """
    with translated():
        check_idle(db, operation)
        with _autocommit(db), _undone(db):
            return _through(db, steps)


def join(db: Connection, steps: Steps[T]) -> T:
    """Run an operation within the caller's transaction: it leaves no trace there if it fails.

    Where the caller has done nothing in it yet, the first statement begins it.
    """
    with translated():
        if not is_open(db):
            with _undone(db):
                return _through(db, steps)
        with db.transaction():
            return _through(db, steps)


@contextmanager
def _undone(db: Connection) -> Iterator[None]:
    """Roll back what fails inside, and nothing else was in the transaction."""
    try:
        yield
    except BaseException:
        if has_open_transaction(db):
            with suppress(psycopg.Error):
                db.execute("ROLLBACK", prepare=False)
        raise


@contextmanager
def _autocommit(db: Connection) -> Iterator[None]:
    before = db.autocommit
    try:
        if not before:
            db.set_autocommit(True)  # who is interrupted here may have set it
        yield
    finally:
        if not before and not db.closed:
            with suppress(psycopg.Error):  # the connection is lost, and that is told already
                db.set_autocommit(False)


@contextmanager
def _copy_ended(db: Connection) -> Iterator[None]:
    """End a COPY that was interrupted while it began: the driver leaves it open."""
    try:
        yield
    except BaseException:
        if db.info.transaction_status == TransactionStatus.ACTIVE:
            with suppress(psycopg.Error):
                db.wait(copy_end(db.pgconn, b"interrupted"))
        raise


def _through(db: Connection, steps: Steps[T]) -> T:
    """Send each statement of an operation, and give it the answer."""
    with db.cursor(row_factory=tuple_row) as sql:
        answer: Any = None
        try:
            while True:
                query = steps.send(answer)
                if query.rows is not None:
                    with _copy_ended(db), sql.copy(query.literal) as copy:
                        for row in query.rows:
                            copy.write_row(row)
                    answer = None
                    continue
                try:
                    answer = _answer(db, sql, query)
                except MISHAPS:
                    if not query.may_fail:
                        raise
                    answer = False
        except StopIteration as end:
            result: T = end.value
            return result


def _answer(db: Connection, sql: Cursor, query: Query) -> Any:
    """Execute a statement, and return its answer.

    Where it is a transaction by itself, the session's isolation level may be in its way: then it
    is made one that has ours.
    """
    is_alone = db.autocommit and not is_open(db)
    try:
        return _executed(sql, query)
    except psycopg.errors.SerializationFailure:
        if not is_alone:
            raise
    sql.execute(BEGIN.literal, prepare=False)
    try:
        answer = _executed(sql, query)
    except MISHAPS:
        sql.execute(ROLLBACK.literal, prepare=False)
        raise
    sql.execute(COMMIT.literal, prepare=False)
    return answer


def _executed(sql: Cursor, query: Query) -> Any:
    sql.execute(query.literal, query.values, prepare=False)
    # What ``sql.description`` says is dear to make.
    has_rows = sql.pgresult is not None and sql.pgresult.nfields > 0
    return decoded(sql.fetchone() if has_rows else None)

"""Begin and end of transactions on a connection that somebody else owns.

The owner may have set anything, may be in the middle of a statement, and may interrupt us at
any step, also while we undo. So a transaction of ours carries a savepoint as its mark: if even
its rollback was interrupted, the next call finds the mark and rolls back, and never takes it
for one of the owner's.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType

from skillstat_agg.errors import (
    OpenTransactionError,
    SchemaError,
    StoreBusyError,
    StoreUnavailableError,
)

_OURS = "skillstat_ours"
_JOINED = "skillstat_joined"


class _Transaction:
    """A context manager that gives a cursor for one transaction, and always ends it.

    It is a class, since what a generator leaves undone is done by the garbage collector, at
    a time when the connection may be in a transaction of somebody else.
    """

    def __init__(self, db: sqlite3.Connection, operation: str) -> None:
        self._db = db
        self._operation = operation

    def __enter__(self) -> sqlite3.Cursor:
        with translated():
            self._text_factory = self._db.text_factory
            self._cursor = self._db.cursor()
            self._cursor.row_factory = None
            try:
                self._db.text_factory = str
                self._refuse()
                try:
                    self._begin()
                except BaseException:
                    self._undo()
                    raise
            except BaseException:
                self._restore()
                raise
            return self._cursor

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with translated():
            try:
                if error is None:
                    self._end()
            except BaseException:
                self._undo()
                raise
            else:
                if error is not None:
                    self._undo()
                    if isinstance(error, sqlite3.Error):
                        raise error
            finally:
                self._restore()

    def _refuse(self) -> None:
        """Refuse a transaction that is open already."""
        if is_inside_transaction(self._db):
            raise OpenTransactionError(self._operation)

    def _begin(self) -> None:
        """Begin with the mark, which makes a transaction where there is none."""
        try:
            self._cursor.execute(f"SAVEPOINT {_OURS}")
        except sqlite3.OperationalError as error:
            # In the middle of a statement that writes; its changes would end with ours.
            if "in progress" in str(error):
                raise OpenTransactionError(self._operation) from error
            raise
        _refuse_unsafe_settings(self._cursor)

    def _end(self) -> None:
        self._cursor.execute(f"RELEASE {_OURS}")

    def _undo(self) -> None:
        _roll_back(self._db)

    def _restore(self) -> None:
        self._db.text_factory = self._text_factory
        self._cursor.close()


class reading(_Transaction):  # noqa: N801 - used like a function
    """Gives a cursor for reading one snapshot.

    Raises:
        OpenTransactionError: If the connection is inside a transaction, or in the middle of
            a statement that writes.
    """


class writing(_Transaction):  # noqa: N801 - used like a function
    """Gives a cursor for one change: all of it is durable on leaving, or nothing.

    The write lock is taken at the beginning, since a transaction that has read cannot be
    made a writing one once another has committed.

    Raises:
        OpenTransactionError: If the connection is inside a transaction, or in the middle of
            a statement that writes.
    """

    def _begin(self) -> None:
        super()._begin()
        self._cursor.execute(f"RELEASE {_OURS}")
        self._cursor.execute("BEGIN IMMEDIATE")
        self._cursor.execute(f"SAVEPOINT {_OURS}")

    def _end(self) -> None:
        self._cursor.execute("COMMIT")


class _joined(_Transaction):  # noqa: N801 - used like a function
    """Gives a cursor for one change within the transaction of the caller."""

    def _refuse(self) -> None:
        _refuse_unsafe_settings(self._cursor)
        # Here, since where this fails there is nothing to undo.
        self._cursor.execute(f"SAVEPOINT {_JOINED}")

    def _begin(self) -> None:
        """Nothing is left to do."""

    def _end(self) -> None:
        self._cursor.execute(f"RELEASE {_JOINED}")

    def _undo(self) -> None:
        """Undo the change alone, or, where that fails, the caller's transaction with it."""
        undo = (f"ROLLBACK TO {_JOINED}", f"RELEASE {_JOINED}")
        # A full disk, for one, has ended the whole transaction already.
        if not self._db.in_transaction or _insist(self._db, *undo):
            return
        _roll_back(self._db)
        raise StoreUnavailableError(
            "what was appended could not be undone alone: the transaction that it joined"
            + (" must be rolled back" if self._db.in_transaction else " was rolled back")
        )


def joining(db: sqlite3.Connection, operation: str) -> writing | _joined:
    """Return what gives a cursor for one change within the caller's transaction, if any."""
    with translated():
        return (_joined if is_inside_transaction(db) else writing)(db, operation)


def is_inside_transaction(db: sqlite3.Connection) -> bool:
    """Return whether the owner is inside a transaction, after ending one that we left behind."""
    if not db.in_transaction:
        return False
    cursor = db.cursor()
    try:
        cursor.execute(f"ROLLBACK TO {_OURS}")
    except sqlite3.Error as error:
        if "no such savepoint" in str(error):
            return True
        raise
    finally:
        cursor.close()
    _roll_back(db)
    return db.in_transaction


def _roll_back(db: sqlite3.Connection) -> None:
    """Roll back, if there is a transaction."""
    if db.in_transaction:
        _insist(db, "ROLLBACK")


def _insist(db: sqlite3.Connection, *statements: str) -> bool:
    """Execute what undoes something; return whether that worked.

    Undoing can be interrupted like everything else, and a deadline that has passed (a
    progress handler) interrupts every try: in the end it is taken away.
    """
    for is_last_try in (False, False, True):
        if is_last_try:
            db.set_progress_handler(None, 0)
        with suppress(sqlite3.Error):
            for statement in statements:
                db.execute(statement).close()
            return True
    return False


def _refuse_unsafe_settings(cursor: sqlite3.Cursor) -> None:
    """Refuse a connection on which what we promise does not hold."""
    for setting, unsafe, why in (
        ("read_uncommitted", 1, "shows what may be rolled back"),
        ("ignore_check_constraints", 1, "lets sums become floats"),
        ("count_changes", 1, "hides how many rows have changed"),
        ("journal_mode", "off", "leaves nothing to roll back with"),
    ):
        (value,) = cursor.execute(f"PRAGMA main.{setting}").fetchone()
        if value == unsafe:
            raise StoreUnavailableError(f"PRAGMA {setting} = {value} {why}: change it")
    (encoding,) = cursor.execute("PRAGMA encoding").fetchone()
    if encoding != "UTF-8":
        raise SchemaError(f"a database in {encoding} merges unlike texts: use one in UTF-8")


@contextmanager
def translated() -> Iterator[None]:
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
        # SQLite has no code of its own for these.
        if primary == sqlite3.SQLITE_ERROR and reason.startswith(("no such table", "no such col")):
            raise SchemaError(
                f"{reason}: make the tables (create_tables, or skillstat init), or name the"
                " right database"
            ) from error
        if primary == sqlite3.SQLITE_NOTADB:
            raise SchemaError(f"{reason}: name an SQLite database") from error
        raise StoreUnavailableError(reason) from error

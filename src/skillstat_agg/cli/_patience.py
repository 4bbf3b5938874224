"""Connections to SQLite files that wait for other programs in short steps.

While SQLite waits for a lock no signal is noticed. So it waits briefly and gives up, and the
statement is tried again until the time is over: in between Ctrl-C is noticed, or whoever is asked
says that it is enough.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from time import monotonic, sleep
from typing import Any, Self, cast

STEP_SECONDS = 0.2
"""How long SQLite waits at a time."""

_PAUSE_SECONDS = 0.01  # where SQLite sees that nothing comes of waiting, it does not wait


def never() -> bool:
    """Return False: it is never enough."""
    return False


class PatientCursor(sqlite3.Cursor):
    """A cursor of a `PatientConnection`."""

    def execute(self, sql: str, parameters: Any = (), /) -> Self:
        """Execute a statement, which waits as its connection does.

        Raises:
            sqlite3.OperationalError: If the database is still busy in the end.
        """
        waiting = cast(PatientConnection, self.connection)
        until = monotonic() + waiting.seconds
        while True:
            try:
                return super().execute(sql, parameters)
            except sqlite3.OperationalError as error:
                if not _may_pass(error) or waiting.is_enough() or monotonic() >= until:
                    raise
            sleep(_PAUSE_SECONDS)


class PatientConnection(sqlite3.Connection):
    """A connection to be opened with ``timeout=STEP_SECONDS``.

    Attributes:
        seconds: How long to wait for other programs in all.
        is_enough: Says that this program waits no longer, however much time is left.
    """

    seconds: float = 0.0
    is_enough: Callable[[], bool] = staticmethod(never)

    def cursor(self, factory: Any = PatientCursor) -> Any:
        """Return a cursor that waits."""
        return super().cursor(factory)

    def execute(self, sql: str, parameters: Any = (), /) -> Any:
        """Execute a statement, which waits: by itself it would take another cursor."""
        return self.cursor().execute(sql, parameters)


def _may_pass(error: sqlite3.OperationalError) -> bool:
    """Return whether another program is in the way, which may be gone soon.

    What a transaction has read may also be out of date (``SQLITE_BUSY_SNAPSHOT``), for good.
    """
    code = error.sqlite_errorcode
    return code & 0xFF == sqlite3.SQLITE_BUSY and code != sqlite3.SQLITE_BUSY_SNAPSHOT

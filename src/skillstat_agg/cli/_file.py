"""A database in an SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import attrs

from skillstat_agg import Projection
from skillstat_agg.backends.sqlite import (
    SQLiteBadgeStore,
    SQLiteEventStore,
    SQLiteStatsStore,
    create_tables,
    stored_projections,
)
from skillstat_agg.backends.sqlite._transactions import translated
from skillstat_agg.cli._errors import failure
from skillstat_agg.cli._patience import STEP_SECONDS, PatientConnection, never
from skillstat_agg.errors import SchemaError, StoreBusyError, StoreUnavailableError

BUSY_SECONDS = 60.0
"""How long to wait for another program: one that appends a large log may take a while."""


@attrs.frozen
class OpenedFile:
    """A file with a connection to it: see `Opened`."""

    db: sqlite3.Connection

    def events(self, *projections: Projection) -> SQLiteEventStore:
        """Return its log."""
        return SQLiteEventStore(self.db, projections=projections)

    def stats(self, projection: Projection) -> SQLiteStatsStore:
        """Return the stats of a projection."""
        return SQLiteStatsStore(self.db, projection)

    def badges(self) -> SQLiteBadgeStore:
        """Return its badges."""
        return SQLiteBadgeStore(self.db)

    def projections(self) -> tuple[Projection, ...]:
        """Return the projections that it holds."""
        return stored_projections(self.db)

    def create(self, *projections: Projection) -> None:
        """Make the tables that are not there yet."""
        create_tables(self.db, *projections)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit everything that is done inside, or nothing."""
        with translated():
            self.db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.db.execute("COMMIT")
            finally:
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")

    def holders(self) -> None:
        """Return nothing: what is committed can be read."""
        return


@attrs.frozen
class File:
    """A file that a command was given: see `Database`."""

    path: Path
    what = "file"

    def __str__(self) -> str:
        return str(self.path)

    @contextmanager
    def opened(self, *, is_enough: Callable[[], bool] = never) -> Iterator[OpenedFile]:
        """Give a connection to a file that is there."""
        if not self.path.exists():
            raise failure(f"{self} does not exist; skillstat init or skillstat append creates it")
        with self._connected("rw", is_enough) as opened:
            yield opened

    @contextmanager
    def created(self) -> Iterator[OpenedFile]:
        """Give a connection to a file that is made where it is missing."""
        with self._connected("rwc", never) as opened:
            yield opened

    def is_new(self) -> bool:
        """Return whether nobody has written to the file yet."""
        return not self.path.exists() or self.path.stat().st_size == 0

    @contextmanager
    def _connected(self, mode: str, is_enough: Callable[[], bool]) -> Iterator[OpenedFile]:
        try:
            with closing(
                sqlite3.connect(
                    f"{self.path.absolute().as_uri()}?mode={mode}",
                    uri=True,
                    isolation_level=None,
                    timeout=STEP_SECONDS,
                    factory=PatientConnection,
                )
            ) as db:
                db.seconds, db.is_enough = BUSY_SECONDS, is_enough
                yield OpenedFile(db)
        except (SchemaError, StoreBusyError, StoreUnavailableError, sqlite3.Error) as error:
            raise failure(f"{self}: {error}") from error

"""The two backends behind one face: places for data, and independent clients of them."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime
from pathlib import Path

import attrs
from typing_extensions import Protocol

from skillstat_agg import (
    SKILL_STATS,
    Appended,
    BadgeStore,
    Event,
    ExtentStore,
    FreshLog,
    GenerationStore,
    Projection,
    StatsStore,
    SumStore,
)
from skillstat_agg.backends.memory import (
    MemoryBadgeStore,
    MemoryDatabase,
    MemoryEventStore,
    MemoryStatsStore,
)
from skillstat_agg.backends.sqlite import (
    SQLiteBadgeStore,
    SQLiteEventStore,
    SQLiteStatsStore,
    create_tables,
)
from skillstat_agg.errors import StoreBusyError
from tests.logs import NOON


class HeldAppend(Protocol):
    """An append that is not over yet."""

    def append(self, events: Iterable[Event], /) -> Appended: ...
    def commit(self) -> None: ...
    def rollback(self) -> None: ...


class Log(FreshLog, ExtentStore, Protocol):
    """What the logs of both can do."""


class Numbers(StatsStore, SumStore, GenerationStore, Protocol):
    """What the stats of both can do."""


@attrs.frozen
class Client:
    """A log, stats and badges over a connection of its own, and a way to hold an append open."""

    events: Log
    stats: Numbers
    begin: Callable[[], HeldAppend]
    badges: BadgeStore


class Site(Protocol):
    """A place for data."""

    def client(self, projection: Projection = ...) -> Client: ...


Clock = Callable[[], datetime]


class MemorySite:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._log = MemoryEventStore(clock=clock)
        self._database = MemoryDatabase()

    def client(self, projection: Projection = SKILL_STATS) -> Client:
        stats = MemoryStatsStore(projection, self._database, clock=self._clock)
        return Client(self._log, stats, self._log.begin, MemoryBadgeStore(self._database))


@attrs.frozen
class HeldSQLiteAppend:
    db: sqlite3.Connection
    events: SQLiteEventStore

    def append(self, events: Iterable[Event], /) -> Appended:
        if not self.db.in_transaction:
            try:
                self.db.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                raise StoreBusyError(str(error)) from error
        return self.events.append(events)

    def commit(self) -> None:
        self.db.commit()

    def rollback(self) -> None:
        self.db.rollback()


class SQLiteSite:
    def __init__(self, path: Path, clock: Clock, stack: ExitStack) -> None:
        self.path = path
        self._clock = clock
        self._stack = stack

    def connect(self) -> sqlite3.Connection:
        """Return a connection that does not wait for locks and is closed with the site."""
        db = self._stack.enter_context(closing(sqlite3.connect(self.path, timeout=0)))
        db.execute("PRAGMA synchronous = OFF")
        return db

    def client(self, projection: Projection = SKILL_STATS) -> Client:
        db, held = self.connect(), self.connect()
        create_tables(db, projection, clock=self._clock)
        log = SQLiteEventStore(db, clock=self._clock)
        stats = SQLiteStatsStore(db, projection, clock=self._clock)
        return Client(
            log,
            stats,
            lambda: HeldSQLiteAppend(held, SQLiteEventStore(held, clock=self._clock)),
            SQLiteBadgeStore(db),
        )


@contextmanager
def memory_site(clock: Clock = lambda: NOON) -> Iterator[Site]:
    yield MemorySite(clock)


@contextmanager
def sqlite_site(clock: Clock = lambda: NOON) -> Iterator[SQLiteSite]:
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        yield SQLiteSite(Path(folder, "stats.db"), clock, stack)


SITES = {"memory": memory_site, "sqlite": sqlite_site}

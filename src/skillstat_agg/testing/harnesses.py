"""Harnesses of the stores that come with this package: for examples, and for our own tests."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    closing,
    contextmanager,
    suppress,
)
from pathlib import Path
from typing import Any, TypeVar

import attrs

from skillstat_agg.backends.memory import (
    MemoryBadgeStore,
    MemoryDatabase,
    MemoryEventStore,
    MemoryStatsStore,
)
from skillstat_agg.backends.memory import OpenAppend as MemoryOpenAppend
from skillstat_agg.backends.sqlite import (
    SQLiteBadgeStore,
    SQLiteEventStore,
    SQLiteStatsStore,
    create_tables,
)
from skillstat_agg.backends.sqlite._transactions import translated
from skillstat_agg.errors import TableChangedError
from skillstat_agg.testing._harness import (
    AsyncClient,
    Client,
    Harness,
    JoinedAppend,
    Setting,
    Writers,
)
from skillstat_agg.testing._twins import (
    AsyncBadges,
    AsyncOpenAppend,
    behind_coroutines,
    stats_behind_coroutines,
)

S = TypeVar("S")


# Memory


@contextmanager
def _memory_site() -> Iterator[MemoryDatabase]:
    yield MemoryDatabase()


@contextmanager
def _memory_client(database: MemoryDatabase, setting: Setting) -> Iterator[Client]:
    events = MemoryEventStore(database, clock=setting.clock)
    begun: list[MemoryOpenAppend] = []

    def begin() -> MemoryOpenAppend:
        begun.append(events.begin())
        return begun[-1]

    try:
        stats = MemoryStatsStore(setting.projection, database, clock=setting.clock)
        yield Client(events=events, stats=stats, begin=begin, badges=MemoryBadgeStore(database))
    finally:
        for opened in begun:
            if opened.is_open:
                opened.rollback()


@contextmanager
def _memory_copy(database: MemoryDatabase) -> Iterator[MemoryDatabase]:
    yield database.copy()


memory = Harness(
    site=_memory_site,
    client=_memory_client,
    writers=Writers.HORIZON,
    joins=False,
    copy=_memory_copy,
    raw=MemoryDatabase.state,
)
"""The stores in memory."""


# SQLite


class _Cursor(sqlite3.Cursor):
    """A cursor that says when it does something."""

    io: Callable[[], None] = staticmethod(lambda: None)

    def execute(self, sql: str, parameters: Any = (), /) -> _Cursor:
        self.io()
        super().execute(sql, parameters)
        if sql == "COMMIT":
            self.io()  # it has landed, and the answer may still be lost
        return self

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> _Cursor:
        self.io()
        return super().executemany(sql, parameters)


class _Connection(sqlite3.Connection):
    """A connection that says when it does something: its I/O points are its statements."""

    io: Callable[[], None] = staticmethod(lambda: None)

    def cursor(self, factory: Any = None) -> Any:  # noqa: ARG002 - there is one kind only
        cursor = super().cursor(_Cursor)
        cursor.io = self.io
        return cursor

    def commit(self) -> None:
        self.io()
        super().commit()
        self.io()

    # Not rollback: a database does that by itself, once a connection is lost.


@contextmanager
def _sqlite_site() -> Iterator[Path]:
    # A file, since to remove a folder may take as long as all the rest of a case.
    number, name = tempfile.mkstemp(suffix=".db")
    os.close(number)
    try:
        yield Path(name)
    finally:
        Path(name).unlink()
        Path(f"{name}-journal").unlink(missing_ok=True)


def _connect(path: Path, wait: float) -> _Connection:
    return sqlite3.connect(path, timeout=wait, isolation_level=None, factory=_Connection)


@contextmanager
def _sqlite_client(path: Path, setting: Setting, wait: float = 0) -> Iterator[Client]:
    with closing(_connect(path, wait)) as db:
        with translated():
            # The kit kills clients, never the machine: nothing has to reach the disk.
            db.execute("PRAGMA synchronous = OFF")
        with suppress(TableChangedError):  # the stats are there, and refuse it until a rebuild
            create_tables(db, setting.projection, clock=setting.clock)
        events = SQLiteEventStore(db, clock=setting.clock)
        stats = SQLiteStatsStore(db, setting.projection, clock=setting.clock)

        def begin() -> JoinedAppend:
            with translated():
                db.execute("BEGIN IMMEDIATE")
            return JoinedAppend(db, events, translated)

        db.io = setting.io
        yield Client(events=events, stats=stats, begin=begin, badges=SQLiteBadgeStore(db))


@contextmanager
def _sqlite_copy(path: Path) -> Iterator[Path]:
    with _sqlite_site() as there:
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(there)) as target:
            source.backup(target)
        yield there


sqlite = Harness(
    site=_sqlite_site,
    client=_sqlite_client,
    writers=Writers.SERIALISED,
    io=True,
    copy=_sqlite_copy,
    raw=Path.read_bytes,
)
"""The stores on an SQLite file; nobody waits for a lock."""


# The same stores behind coroutines


def _asynchronous(
    client: Callable[[S, Setting], AbstractContextManager[Client]],
) -> Callable[[S, Setting], AbstractAsyncContextManager[AsyncClient]]:
    """Return how to open the same client behind coroutines."""

    @asynccontextmanager
    async def opened(site: S, setting: Setting) -> AsyncIterator[AsyncClient]:
        with client(site, setting) as one:
            begin, badges = one.begin, one.badges
            assert badges is not None

            async def begun() -> AsyncOpenAppend:
                await asyncio.sleep(0)
                assert begin is not None
                return AsyncOpenAppend(begin())

            yield AsyncClient(
                events=behind_coroutines(one.events),
                stats=stats_behind_coroutines(one.stats),
                begin=begun,
                badges=AsyncBadges(badges),
            )

    return opened


memory_async = attrs.evolve(memory, client=_asynchronous(_memory_client))
"""The stores in memory, behind coroutines."""

sqlite_async = attrs.evolve(sqlite, client=_asynchronous(_sqlite_client), io=False)
"""The stores on an SQLite file, behind coroutines."""

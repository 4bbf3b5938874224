"""What broken stores on SQLite are made of: the right ones, opened up, and their harness."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs

from skillstat_agg._commits import Commit, CommitResult
from skillstat_agg.backends.sqlite import (
    SQLiteBadgeStore,
    SQLiteEventStore,
    SQLiteStatsStore,
    create_tables,
)
from skillstat_agg.backends.sqlite._adding import add_deltas
from skillstat_agg.backends.sqlite._parking import park, unpark
from skillstat_agg.backends.sqlite._schema import replace_cursor, take_over
from skillstat_agg.backends.sqlite._stats import _forgotten
from skillstat_agg.backends.sqlite._transactions import translated
from skillstat_agg.errors import CursorConflictError
from skillstat_agg.testing import harnesses
from skillstat_agg.testing._clients import PRUNING
from skillstat_agg.testing._harness import AnyHarness, Client, JoinedAppend, Setting
from skillstat_agg.testing.gallery._frame import FURTHER, Plain

AS_THEY_ARE: Mapping[str, str] = MappingProxyType({})


class OpenSQLiteStats(SQLiteStatsStore):
    """The stats store on SQLite with its steps apart: it keeps every law."""

    def _compare(self, sql: sqlite3.Cursor, commit: Commit) -> None:
        """Check that the stored record is the expected one."""
        if self._cursor(sql) != commit.expected:
            raise CursorConflictError(self._projection.name)

    def _applied(self, sql: sqlite3.Cursor, commit: Commit) -> Commit:
        """Return the commit without what concerns forgotten skills."""
        return commit.without(_forgotten(sql, list(commit.skills)))

    def _move(self, sql: sqlite3.Cursor, applied: Commit) -> None:
        """Write the cursor."""
        cursor = applied.cursor(self._now())
        replace_cursor(sql, cursor)
        if cursor.table != applied.expected.table:
            take_over(sql, applied.projection, self._tables)

    def _add(self, sql: sqlite3.Cursor, applied: Commit) -> CommitResult:
        """Write the numbers, and what is parked."""
        rows, changed = add_deltas(sql, applied.projection, applied.deltas, self._tables)
        cursor = applied.cursor(self._now())
        unpark(sql, cursor, applied.taught)
        park(sql, cursor, applied.parked)
        return CommitResult(cursor=cursor, rows=rows, forgotten=applied.forgotten, changed=changed)


def on_sqlite(
    *,
    events: type[SQLiteEventStore] = SQLiteEventStore,
    stats: type[SQLiteStatsStore] = SQLiteStatsStore,
    badges: type[SQLiteBadgeStore] | None = None,
    tables: Mapping[str, str] = AS_THEY_ARE,
    index: str = "",
    io: bool = False,
    prunes: bool = False,
) -> AnyHarness:
    """Return a harness of stores on an SQLite file; what is not given keeps every law.

    Args:
        events: Class of the event stores.
        stats: Class of the stats stores.
        badges: Class of the stores of badges; None: there are none.
        tables: What stands otherwise in the statements that made the tables.
        index: A statement that makes an index.
        io: Whether the statements are I/O points.
        prunes: Whether the mistake is about making events small.
    """
    right = harnesses.sqlite

    @contextmanager
    def client(path: Path, setting: Setting) -> Iterator[Client]:
        if tables or index:
            _make_tables(path, setting, tables, index)
        opened = right.client(path, setting if io else attrs.evolve(setting, io=_nothing))
        assert isinstance(opened, AbstractContextManager)
        with opened as stores:
            db = connection_of(stores)
            log = events(db, clock=setting.clock)

            def begin() -> JoinedAppend:
                assert stores.begin is not None
                held = stores.begin()
                assert isinstance(held, JoinedAppend)
                return attrs.evolve(held, events=log)

            numbers = stats(db, setting.projection, clock=setting.clock)
            hidden = (FURTHER if prunes else FURTHER | PRUNING) | {"lag"}
            shown: tuple[Any, Any] = (Plain(log, hidden), Plain(numbers))
            yield Client(
                events=shown[0],
                stats=shown[1],
                begin=begin,
                badges=None if badges is None else badges(db),
            )

    return attrs.evolve(right, client=client, io=io)


def connection_of(stores: Client) -> sqlite3.Connection:
    """Return the connection of a client of ours."""
    assert isinstance(stores.events, SQLiteEventStore)
    return stores.events._db


def _nothing() -> None:
    """Let nobody move."""


def _make_tables(path: Path, setting: Setting, changes: Mapping[str, str], index: str) -> None:
    """Make the tables with some words changed; where they are there already, nothing."""
    with translated(), closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as db:
        version = db.execute("PRAGMA schema_version").fetchone()
        create_tables(db, setting.projection, clock=setting.clock)
        if db.execute("PRAGMA schema_version").fetchone() != version:
            db.execute("PRAGMA writable_schema = ON")
            for old, new in changes.items():
                db.execute("UPDATE sqlite_master SET sql = replace(sql, ?, ?)", (old, new))
            db.execute("PRAGMA writable_schema = OFF")
            db.execute(index)

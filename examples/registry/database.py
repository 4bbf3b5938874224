"""Where the registry keeps its rows, its events and its numbers: one database, of two sorts."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import psycopg
from psycopg_pool import ConnectionPool

from skillstat_agg import SKILL_STATS, TRANSIENT
from skillstat_agg.backends import postgres, sqlite
from skillstat_agg.backends.postgres import (
    PostgresBadgeStore,
    PostgresEventStore,
    PostgresStatsStore,
)
from skillstat_agg.backends.sqlite import SQLiteBadgeStore, SQLiteEventStore, SQLiteStatsStore

TABLES = (
    "CREATE TABLE IF NOT EXISTS skills (skill_id TEXT PRIMARY KEY, title TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS stars"
    " (person TEXT, skill_id TEXT REFERENCES skills, PRIMARY KEY (person, skill_id))",
    "CREATE TABLE IF NOT EXISTS installs (machine TEXT, skill_id TEXT REFERENCES skills,"
    " is_active BOOLEAN NOT NULL, PRIMARY KEY (machine, skill_id))",
)

BUSY_SECONDS = 3
"""How long a request waits for the database before its client is told to come again."""

UNAVAILABLE = (*TRANSIENT, sqlite3.OperationalError, psycopg.OperationalError)
"""What is raised, by the library or a driver, where the database cannot be used just now."""


@attrs.frozen
class Session:
    """What one request, or one tick of the worker, does over one connection.

    Attributes:
        events: The log, which refuses what `SKILL_STATS` cannot count.
        stats: The numbers.
        badges: The badges.
        totals_table: The table of totals, to be joined with the tables of the registry.
    """

    events: SQLiteEventStore | PostgresEventStore
    stats: SQLiteStatsStore | PostgresStatsStore
    badges: SQLiteBadgeStore | PostgresBadgeStore
    totals_table: str
    _execute: Callable[[str, tuple[object, ...]], Any]

    def write(self, statement: str, *values: object) -> bool:
        """Run a statement with a ``?`` for each value; return whether it changed a row."""
        return bool(self._execute(statement, values).rowcount > 0)

    def read(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Return the rows of a query with a ``?`` for each value."""
        rows: list[tuple[Any, ...]] = self._execute(query, values).fetchall()
        return rows


class SQLiteDatabase:
    """An SQLite file; a connection to it is opened for each session, since that costs little."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._connected() as db:
            sqlite.create_tables(db, SKILL_STATS)
            for statement in TABLES:
                db.execute(statement)

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Give a session that is inside no transaction: to read numbers, and to drain."""
        with self._connected() as db:
            yield self._session(db)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Give a session inside a transaction, which is committed unless the block raises."""
        with self._connected() as db, db:
            db.execute("BEGIN IMMEDIATE")
            yield self._session(db)

    def close(self) -> None:
        """Do nothing: no connection is open between sessions."""

    def _connected(self) -> closing[sqlite3.Connection]:
        return closing(sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None))

    def _session(self, db: sqlite3.Connection) -> Session:
        return Session(
            SQLiteEventStore(db, projections=[SKILL_STATS]),
            SQLiteStatsStore(db, SKILL_STATS),
            SQLiteBadgeStore(db),
            "skill_stats_totals",
            db.execute,
        )


class PostgresDatabase:
    """A PostgreSQL database, with a pool of connections."""

    def __init__(self, url: str) -> None:
        self._pool = ConnectionPool(
            url,
            kwargs={"autocommit": True},
            min_size=1,
            max_size=10,
            timeout=BUSY_SECONDS,
            configure=_bound_waits,
            check=ConnectionPool.check_connection,  # the server may have restarted
            open=True,
        )
        with self._pool.connection() as db, db.transaction():
            postgres.create_tables(db, SKILL_STATS)  # also lets one process in after the other
            for statement in TABLES:
                db.execute(statement.encode())

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Give a session that is inside no transaction: to read numbers, and to drain."""
        with self._pool.connection() as db:
            yield self._session(db)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Give a session inside a transaction, which is committed unless the block raises."""
        with self._pool.connection() as db, db.transaction():
            yield self._session(db)

    def close(self) -> None:
        """Close the pool."""
        self._pool.close()

    def _session(self, db: psycopg.Connection) -> Session:
        return Session(
            PostgresEventStore(db, projections=[SKILL_STATS]),
            PostgresStatsStore(db, SKILL_STATS),
            PostgresBadgeStore(db),
            "skillstat.skill_stats_totals",
            lambda statement, values: db.execute(statement.replace("?", "%s").encode(), values),
        )


def _bound_waits(db: psycopg.Connection) -> None:
    """Let no statement wait for the locks of others longer than a request may; the default is ever.

    On SQLite ``timeout`` does so.
    """
    db.execute(f"SET lock_timeout = '{BUSY_SECONDS}s'".encode())


Database: TypeAlias = SQLiteDatabase | PostgresDatabase
"""A database with the tables of the registry, for any number of threads."""


def database_at(place: str) -> Database:
    """Return the database at *place*, with its tables made.

    Args:
        place: A ``postgresql://`` URL, or else the path of an SQLite file.
    """
    if place.startswith(("postgresql://", "postgres://")):
        return PostgresDatabase(place)
    return SQLiteDatabase(Path(place))

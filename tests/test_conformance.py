"""Both backends keep the contract: by the lines that the author of any store writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from sqlite3 import Connection, OperationalError, connect

import attrs

from skillstat_agg import Projection
from skillstat_agg.backends.memory import MemoryDatabase, MemoryEventStore, MemoryStatsStore
from skillstat_agg.backends.sqlite import (
    SQLiteEventStore,
    SQLiteStatsStore,
    create_tables,
    stored_projections,
)
from skillstat_agg.errors import SchemaError, StoreBusyError
from skillstat_agg.testing import (
    CHECKS,
    Client,
    JoinedAppend,
    Setting,
    conformance_tests,
    harnesses,
)
from skillstat_agg.testing.harnesses import memory, memory_async, sqlite, sqlite_async

test_memory = conformance_tests(memory)
test_memory_async = conformance_tests(memory_async)
test_sqlite = conformance_tests(sqlite)
test_sqlite_async = conformance_tests(sqlite_async)


# The same file by clients that wait for the lock of another, each in a thread of its own.


@contextmanager
def translated() -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        raise StoreBusyError(str(error)) from error


@contextmanager
def waiting_client(path: Path, setting: Setting) -> Iterator[Client]:
    with closing(connect(path, timeout=0.01, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous = OFF")
        create_tables(db, setting.projection, clock=setting.clock)
        events = SQLiteEventStore(db, clock=setting.clock)
        yield Client(
            events=events,
            stats=SQLiteStatsStore(db, setting.projection, clock=setting.clock),
            begin=lambda: begun(db, events),
        )


def begun(db: Connection, events: SQLiteEventStore) -> JoinedAppend:
    with translated():
        db.execute("BEGIN IMMEDIATE")
    return JoinedAppend(db, events, translated)


waiting = attrs.evolve(
    sqlite,
    client=waiting_client,
    io=False,
    blocks=True,
    waits_after=timedelta(seconds=0.003),
)

# Every poll of LATE-04 waits until the lock times out, and LATE-06 has many cases.
test_waiting = conformance_tests(
    waiting,
    checks=[
        check
        for check in CHECKS
        if check.family in ("APPEND", "LATE", "FENCE", "MECH")
        and check.id not in ("LATE-04", "LATE-06")
    ],
)


# Coroutines whose I/O others can move in, each client on a loop in a thread of its own.
async_with_io = attrs.evolve(sqlite_async, io=True)

test_async_with_io = conformance_tests(
    async_with_io, checks=[check for check in CHECKS if check.family in ("SNAP", "CRASH", "BADGE")]
)


# Programs that leave it to their first commit to take a larger table over.


@contextmanager
def lazy_client(path: Path, setting: Setting) -> Iterator[Client]:
    with closing(harnesses._connect(path, 0)) as db:
        db.execute("PRAGMA synchronous = OFF")
        if not is_declared(db, setting.projection):
            create_tables(db, setting.projection, clock=setting.clock)
        events = SQLiteEventStore(db, clock=setting.clock)
        stats = SQLiteStatsStore(db, setting.projection, clock=setting.clock)
        db.io = setting.io
        yield Client(events=events, stats=stats)


def is_declared(db: Connection, projection: Projection) -> bool:
    try:
        return projection.name in {each.name for each in stored_projections(db)}
    except SchemaError:
        return False


lazy = attrs.evolve(sqlite, client=lazy_client)

test_taken_over_by_a_commit = conformance_tests(
    lazy, checks=[check for check in CHECKS if check.family in ("DEPLOY", "QUARANTINE")]
)


# A store that knows its table need not let a fold find what that cannot count.


@contextmanager
def refusing_client(database: MemoryDatabase, setting: Setting) -> Iterator[Client]:
    events = MemoryEventStore(database, clock=setting.clock, projections=[setting.projection])
    yield Client(
        events=events,
        stats=MemoryStatsStore(setting.projection, database, clock=setting.clock),
    )


refusing = attrs.evolve(memory, client=refusing_client)

test_refusing = conformance_tests(
    refusing, checks=[check for check in CHECKS if check.family in ("KIND", "QUARANTINE")]
)

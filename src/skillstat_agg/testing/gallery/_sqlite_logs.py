"""Logs on SQLite that are broken in a way that only a database is."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import attrs

from skillstat_agg._appending import checked_events, content_digests, unseen_events
from skillstat_agg._buckets import microseconds
from skillstat_agg._events import Event, Place
from skillstat_agg._pages import Page, check_bounds
from skillstat_agg._stores import DAY_AHEAD, Appended
from skillstat_agg.backends._records import events_before_nonsense
from skillstat_agg.backends.sqlite import SQLiteEventStore, SQLiteStatsStore, create_tables
from skillstat_agg.backends.sqlite._log import (
    _INSERT,
    _known,
    _last,
    _rows,
    _start,
)
from skillstat_agg.backends.sqlite._rows import position_text, recorded
from skillstat_agg.backends.sqlite._schema import check_schema
from skillstat_agg.backends.sqlite._transactions import joining, reading, translated
from skillstat_agg.errors import OpenTransactionError
from skillstat_agg.testing import harnesses
from skillstat_agg.testing._harness import Client, JoinedAppend, Setting
from skillstat_agg.testing.gallery._frame import BrokenStore
from skillstat_agg.testing.gallery._sqlite_frame import on_sqlite

_EVENT_ID = "event_id TEXT NOT NULL PRIMARY KEY"


class ReplacesEvents(SQLiteEventStore):
    """``INSERT OR REPLACE``: an event that comes again is deleted, and inserted at the end."""

    def append(self, events: Iterable[Event], /, *, max_ahead: timedelta = DAY_AHEAD) -> Appended:
        now = self._clock()
        given = checked_events(events, now=now, max_ahead=max_ahead)
        insert = _INSERT.replace("INSERT", "INSERT OR REPLACE")
        with joining(self._db, "append") as sql:
            sql.executemany(insert, _rows(given, microseconds(now)))
            return Appended(new=len(given), position=_last(sql) if given else None)


class IdsThenEvents(SQLiteEventStore):
    """Writes the ids, and then the events, on a connection in autocommit mode."""

    def append(self, events: Iterable[Event], /, *, max_ahead: timedelta = DAY_AHEAD) -> Appended:
        if self._db.in_transaction:
            return super().append(events, max_ahead=max_ahead)
        now = self._clock()
        given = checked_events(events, now=now, max_ahead=max_ahead)
        ids = content_digests(given)
        with translated():
            sql = self._db.cursor()
            fresh = unseen_events(given, ids, _known(sql, list(ids)))
            for event in fresh:
                if event.event_id is not None:
                    digest = ids[event.event_id]
                    sql.execute(
                        "INSERT INTO skillstat_event_ids VALUES (?, ?)", (event.event_id, digest)
                    )
            for row in _rows(fresh, microseconds(now)):
                sql.execute(_INSERT, row)
            return Appended(new=len(fresh), position=_last(sql) if given else None)


class FrontierReadLater(SQLiteEventStore):
    """Reads the events, and then, in another transaction, how far they go."""

    def read(self, after: Place | None, /, *, limit: int) -> Page:
        page = super().read(after, limit=limit)
        with reading(self._db, "read") as sql:
            frontier = _last(sql)
        is_last = not page.events or page.events[-1].position == frontier
        return attrs.evolve(page, frontier=frontier, is_last=is_last)


@attrs.frozen
class ReadsUncommitted:
    """Reads with ``PRAGMA read_uncommitted`` over a cache that connections share."""

    _right: SQLiteEventStore

    def append(self, events: Iterable[Event], /, *, max_ahead: timedelta = DAY_AHEAD) -> Appended:
        """Append as it should be."""
        return self._right.append(events, max_ahead=max_ahead)

    def read(self, after: Place | None, /, *, limit: int) -> Page:
        """Read what others have not committed, too."""
        check_bounds(limit=limit)
        db = self._right._db
        if db.in_transaction:
            raise OpenTransactionError("read")
        with translated(), closing(db.cursor()) as sql:
            sql.execute("PRAGMA read_uncommitted = 1")
            try:
                epoch = check_schema(sql)
                start = _start(sql, after, epoch)
                rows = self._right._rows(sql, start, limit)
                frontier = _last(sql)
            finally:
                sql.execute("PRAGMA read_uncommitted = 0")
        events = events_before_nonsense(rows, recorded, position_text)
        is_last = not events or events[-1].position == frontier
        return Page(epoch=epoch, events=events, frontier=frontier, is_last=is_last)


@contextmanager
def _sharing_cache(path: Path, setting: Setting) -> Iterator[Client]:
    """Open a client whose connection shares its cache with those of the others."""
    uri = f"{path.as_uri()}?cache=shared"
    with closing(sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None)) as db:
        create_tables(db, setting.projection, clock=setting.clock)
        events = SQLiteEventStore(db, clock=setting.clock)

        def begin() -> JoinedAppend:
            with translated():
                db.execute("BEGIN IMMEDIATE")
            return JoinedAppend(db, events, translated)

        yield Client(
            events=ReadsUncommitted(events),
            stats=SQLiteStatsStore(db, setting.projection, clock=setting.clock),
            begin=begin,
        )


STORES = (
    BrokenStore(
        name="insert or replace",
        mistake="INSERT OR REPLACE makes a retry harmless in the table: it deletes the row, and"
        " inserts it at the end, where readers meet it again.",
        reported=("sqlite.org/lang_conflict.html", "airbytehq/airbyte#21500"),
        row="E4, O12",
        breaks=("append_once",),
        killer="APPEND-01",
        remedy="look the id up first, and leave the event that is there alone",
        harness=on_sqlite(
            events=ReplacesEvents,
            index="CREATE UNIQUE INDEX IF NOT EXISTS by_id ON skillstat_events (event_id)",
        ),
    ),
    BrokenStore(
        name="ids, then events",
        mistake="The ids are written first, in autocommit mode. A writer that dies before the"
        " event leaves an id whose every retry is taken for done.",
        reported=("no public report was found",),
        row="A12, A5",
        breaks=("append_once",),
        killer="CRASH-04",
        remedy="write ids and events in one transaction",
        harness=on_sqlite(events=IdsThenEvents, io=True),
    ),
    BrokenStore(
        name="frontier read later",
        mistake="Events and frontier are two transactions: the frontier covers what was appended"
        " between them, and an empty page says that nothing is left up to it.",
        reported=("JasperFx/marten#4977", "kurrent-io/KurrentDB#4990"),
        row="V6, B2",
        breaks=("stable_prefix",),
        killer="SNAP-03",
        remedy="read both in one transaction",
        harness=on_sqlite(events=FrontierReadLater, io=True),
    ),
    BrokenStore(
        name="event ids without case",
        mistake="A collation without case takes two ids for one, and refuses the second event.",
        reported=("dev.mysql.com/doc: Case Sensitivity in String Searches",),
        row="E4",
        breaks=("append_once",),
        killer="IDENT-02",
        remedy="compare ids byte by byte",
        harness=on_sqlite(tables={_EVENT_ID: f"{_EVENT_ID} COLLATE NOCASE"}),
    ),
    BrokenStore(
        name="reads uncommitted events",
        mistake="Readers do not wait for writers when they see what is not committed yet. What"
        " is rolled back then has counted, and its position is given again.",
        reported=("sqlite.org/pragma.html#pragma_read_uncommitted",),
        row="V1",
        breaks=("stable_prefix",),
        killer="LATE-09",
        remedy="read what is committed only; WAL lets readers and a writer go side by side",
        harness=attrs.evolve(harnesses.sqlite, client=_sharing_cache, io=False),
    ),
)

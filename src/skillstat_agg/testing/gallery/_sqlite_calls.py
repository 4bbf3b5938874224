"""Calls on SQLite that are right as long as nothing fails and nobody errs."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from datetime import timedelta

from skillstat_agg._appending import checked_events, content_digests, unseen_events
from skillstat_agg._buckets import Granularity, microseconds
from skillstat_agg._events import Event, Place, check_skill_id
from skillstat_agg._pages import TalliedPage
from skillstat_agg._stores import DAY_AHEAD, Appended
from skillstat_agg.backends.sqlite import SQLiteEventStore, SQLiteStatsStore
from skillstat_agg.backends.sqlite._log import _INSERT, _fingerprint_at, _known, _last, _rows
from skillstat_agg.backends.sqlite._schema import check_schema
from skillstat_agg.backends.sqlite._stats import _drop
from skillstat_agg.backends.sqlite._transactions import (
    is_inside_transaction,
    reading,
    translated,
    writing,
)
from skillstat_agg.testing.gallery._frame import BrokenStore
from skillstat_agg.testing.gallery._sqlite_frame import on_sqlite


class _committing(writing):  # noqa: N801 - used like a function
    """Gives a cursor for one change: it is committed in ``finally``."""

    def _undo(self) -> None:
        if self._db.in_transaction:
            self._cursor.execute("COMMIT")


class CommitsInFinally(SQLiteStatsStore):
    """Forgets, and commits in ``finally``."""

    def forget(self, skill_id: str, /) -> bool:
        check_skill_id(skill_id)
        with _committing(self._db, "forget") as sql:
            self._cursor(sql)
            now = self._now()
            sql.execute(
                "INSERT INTO skillstat_forgotten VALUES (?, ?) ON CONFLICT DO NOTHING",
                (skill_id, microseconds(now)),
            )
            if sql.rowcount == 0:
                return False
            names = sql.execute("SELECT projection FROM skillstat_cursors WHERE building = ''")
            for (name,) in names.fetchall():
                _drop(sql, name, skill_id, now)
        return True


class JoinsPlainly(SQLiteEventStore):
    """Appends to the transaction of its caller, and sets no savepoint."""

    def append(self, events: Iterable[Event], /, *, max_ahead: timedelta = DAY_AHEAD) -> Appended:
        if not is_inside_transaction(self._db):
            return super().append(events, max_ahead=max_ahead)
        now = self._clock()
        given = checked_events(events, now=now, max_ahead=max_ahead)
        ids = content_digests(given)
        with translated(), closing(self._db.cursor()) as sql:
            fresh = unseen_events(given, ids, _known(sql, list(ids)))
            waiting = [event.event_id for event in fresh if event.event_id is not None]
            sql.executemany(
                "INSERT INTO skillstat_event_ids VALUES (?, ?)",
                [(one, ids[one]) for one in waiting],
            )
            sql.executemany(_INSERT, _rows(fresh, microseconds(now)))
            return Appended(new=len(fresh), position=_last(sql) if given else None)


class TalliesFromAnywhere(SQLiteEventStore):
    """Reads from a place that it has looked at, and tallies from the number alone."""

    def tally(
        self, after: Place | None, /, *, limit: int, granularity: Granularity
    ) -> TalliedPage | None:
        if after is not None:
            with reading(self._db, "tally") as sql:
                found = _fingerprint_at(sql, after.position[0])
                after = Place(check_schema(sql), after.position, found)
        return super().tally(after, limit=limit, granularity=granularity)


STORES = (
    BrokenStore(
        name="forget commits in finally",
        mistake="The transaction is ended in finally, so that none is ever left open. A statement"
        " that fails ends it there, with the first half done.",
        reported=("no public report was found",),
        row="A5, L9",
        breaks=("forgotten",),
        killer="FORGET-10",
        remedy="commit at the end, and roll back on every error",
        harness=on_sqlite(stats=CommitsInFinally, io=True),
    ),
    BrokenStore(
        name="joins without a savepoint",
        mistake="Everything is checked before the first insert, so what is refused leaves nothing."
        " What fails between the inserts leaves ids without events to a caller who goes on.",
        reported=("no public report was found",),
        row="E7, A5",
        breaks=("append_once",),
        killer="APPEND-16",
        remedy="set a savepoint in the caller's transaction, and roll back to it on every error",
        harness=on_sqlite(events=JoinsPlainly, io=True),
    ),
    BrokenStore(
        name="tally from any place",
        mistake="A read compares epoch and fingerprint of the place; the tally came later, and"
        " takes a number. In a log that was restored it goes on with other history.",
        reported=("JasperFx/marten#4977", "HarperFast/harper#2451"),
        row="L10, V9",
        breaks=("same_tally", "same_log"),
        killer="PUSH-03",
        remedy="check the place in one function that both call, in the snapshot that they read",
        harness=on_sqlite(events=TalliesFromAnywhere),
    ),
)

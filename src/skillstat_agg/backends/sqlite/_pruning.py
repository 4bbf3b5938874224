"""Who reads the log, and how its old events are made small."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Sequence
from datetime import datetime

from skillstat_agg._appending import drawn_fingerprints
from skillstat_agg._compacting import Reader, bound_of, compacted, first_part
from skillstat_agg._events import MAX_INTEGER, Position, RecordedEvent
from skillstat_agg.backends._records import events_before_nonsense, reader_of
from skillstat_agg.backends.sqlite._rows import WRITE, Row, position_text, recorded, written

_IS_AT_START = "SELECT 1 FROM main.skillstat_readers WHERE reader = ? AND position IS NULL"
_REGISTER = """
    INSERT INTO main.skillstat_readers (reader, position, reported_at_us) VALUES (?, NULL, ?)
    ON CONFLICT (reader) DO UPDATE
    SET position = NULL, reported_at_us = excluded.reported_at_us WHERE position IS NOT NULL
"""
_REPORT = """
    INSERT INTO main.skillstat_readers (reader, position, reported_at_us) VALUES (?, ?, ?)
    ON CONFLICT (reader) DO UPDATE
    SET position = excluded.position, reported_at_us = excluded.reported_at_us
    WHERE position IS NULL OR position < excluded.position
"""
_LAST_COMPACTED = (
    "SELECT max(position) FROM main.skillstat_events WHERE stands_for IS NOT NULL"  # has an index
)


def is_at_start(sql: sqlite3.Cursor, reader: str) -> bool:
    """Return whether a reader is known, and stands at the start."""
    return sql.execute(_IS_AT_START, (reader,)).fetchone() is not None


def register(sql: sqlite3.Cursor, reader: str, at_us: int) -> None:
    """Put a reader at the start."""
    sql.execute(_REGISTER, (reader, at_us))


def report(sql: sqlite3.Cursor, reader: str, position: int, at_us: int) -> None:
    """Move a reader on to a position, if it is not there yet."""
    sql.execute(_REPORT, (reader, position, at_us))


def retire(sql: sqlite3.Cursor, reader: str) -> bool:
    """Strike a reader off the list, and return whether it was there."""
    sql.execute("DELETE FROM main.skillstat_readers WHERE reader = ?", (reader,))
    return sql.rowcount > 0


def readers(sql: sqlite3.Cursor) -> tuple[Reader, ...]:
    """Return who reads the log, by name."""
    rows = sql.execute(
        "SELECT +reader, +position, +reported_at_us FROM main.skillstat_readers ORDER BY reader"
    )
    return tuple(
        reader_of(name, None if position is None else Position((position,)), at_us)
        for name, position, at_us in rows
    )


def next_events(
    sql: sqlite3.Cursor,
    rows_after: Callable[[sqlite3.Cursor, int, int], Sequence[Row]],
    after: Position | None,
    before: datetime | None,
    limit: int,
    upto: Position | None,
    kept: Collection[Position],
) -> Sequence[RecordedEvent]:
    """Return the events that the next segment shall stand for; none: there is no segment.

    Args:
        sql: Where the log is.
        rows_after: Returns the rows after a position, at most so many.
        after: Where it begins at the earliest, if not after the last segment.
        before: Events that were recorded then or later stay.
        limit: How many events at most.
        upto: Events after this position stay.
        kept: Positions of events that stay.
    """
    bound = bound_of(readers(sql), upto)
    if bound is None:
        return ()
    (begin,) = sql.execute(_LAST_COMPACTED).fetchone()
    start = max(begin or 0, 0 if after is None else after[0])
    while True:
        rows = rows_after(sql, start, min(limit, MAX_INTEGER))
        events = events_before_nonsense(rows, recorded, position_text)
        part = first_part(events, upto=bound, before=before, limit=limit, kept=kept)
        if part or len(rows) < limit or any(one.position not in kept for one in events):
            return part
        start = rows[-1][0]


def made_of(events: Sequence[RecordedEvent]) -> Sequence[RecordedEvent]:
    """Return the compacted events that stand for these."""
    return compacted(events, drawn_fingerprints(len(events)))


def exchange(
    sql: sqlite3.Cursor, events: Sequence[RecordedEvent], made: Sequence[RecordedEvent]
) -> None:
    """Put compacted events in the place of those that they stand for.

    The triggers that guard the log let that pass while there is a row in a table that nobody
    else ever sees one in.
    """
    sql.execute("INSERT INTO main.skillstat_compacting VALUES (1)")
    sql.execute(
        "DELETE FROM main.skillstat_events WHERE position BETWEEN ? AND ?",
        (*events[0].position, *events[-1].position),
    )
    sql.executemany(WRITE, map(written, made))
    sql.execute("DELETE FROM main.skillstat_compacting")

"""The quarantine: events that a table cannot count, as rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from skillstat_agg._commits import Cursor
from skillstat_agg._events import RecordedEvent
from skillstat_agg.backends._records import parked_event

_PARK = """
    INSERT INTO main.skillstat_parked (
        projection, building, position, skill_id, kind, events, recorded)
    VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_OF = "projection = ? AND building = ?"


def park(sql: sqlite3.Cursor, cursor: Cursor, events: Iterable[RecordedEvent]) -> None:
    """Set events aside, in their order."""
    sql.executemany(
        _PARK,
        [
            (
                cursor.projection,
                cursor.building,
                str(each.position),
                each.event.skill_id,
                each.event.kind,
                each.count,
                each.to_json(),
            )
            for each in events
        ],
    )


def unpark(sql: sqlite3.Cursor, cursor: Cursor, events: Iterable[RecordedEvent]) -> None:
    """Take events out of quarantine that are counted now."""
    sql.executemany(
        f"DELETE FROM main.skillstat_parked WHERE {_OF} AND position = ?",
        [(cursor.projection, cursor.building, str(each.position)) for each in events],
    )


def parked_events(
    sql: sqlite3.Cursor, projection: str, building: str = "", *, limit: int
) -> tuple[RecordedEvent, ...]:
    """Return the first events in quarantine, in the order of their positions.

    Raises:
        SchemaError: If other hands have changed one.
    """
    rows = sql.execute(
        f"SELECT +recorded FROM main.skillstat_parked WHERE {_OF} ORDER BY number LIMIT ?",
        (projection, building, limit),
    )
    return tuple(parked_event(projection, recorded) for (recorded,) in rows)


def drop_parked(sql: sqlite3.Cursor, cursor: Cursor, skill_id: str) -> int:
    """Take what a skill has out of quarantine; return how many events that were."""
    if cursor.parked == 0:
        return 0
    which = f"main.skillstat_parked WHERE {_OF} AND skill_id = ?"
    key = (cursor.projection, cursor.building, skill_id)
    (number,) = sql.execute(f"SELECT coalesce(sum(events), 0) FROM {which}", key).fetchone()
    sql.execute(f"DELETE FROM {which}", key)
    return int(number)


def count_parked(sql: sqlite3.Cursor, cursor: Cursor) -> int:
    """Return how many events lie in the quarantine of a set of numbers."""
    (number,) = sql.execute(
        f"SELECT coalesce(sum(events), 0) FROM main.skillstat_parked WHERE {_OF}",
        (cursor.projection, cursor.building),
    ).fetchone()
    return int(number)


def move_parked(sql: sqlite3.Cursor, built: Cursor) -> None:
    """Make the quarantine of what was built that of what serves."""
    sql.execute(f"DELETE FROM main.skillstat_parked WHERE {_OF}", (built.projection, ""))
    sql.execute(
        f"UPDATE main.skillstat_parked SET building = '' WHERE {_OF}",
        (built.projection, built.building),
    )

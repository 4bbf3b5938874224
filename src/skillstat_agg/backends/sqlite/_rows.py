"""How events come out of rows, and compacted ones get into them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TypeAlias

from skillstat_agg._buckets import from_microseconds, microseconds
from skillstat_agg._events import Event, Position, RecordedEvent, check_deltas
from skillstat_agg.errors import InvalidEventError

# What is selected has a + before it, which does nothing but make it an expression: converters
# that the owner of the connection has declared for types of columns leave it alone.
READ = """
    SELECT +position, +skill_id, +kind, +occurred_at_us, +event_id, +deltas, +note,
        +recorded_at_us, +fingerprint, +stands_for, +checksum
    FROM main.skillstat_events WHERE position > ? ORDER BY position LIMIT ?
"""
"""Selects the events after a position, at most so many."""

WRITE = """
    INSERT INTO main.skillstat_events (
        position, skill_id, kind, occurred_at_us, deltas, recorded_at_us, fingerprint,
        stands_for, checksum
    ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
"""Inserts a compacted event: see `written`."""

Row: TypeAlias = tuple[
    int, str, str, int, str | None, str | None, str | None, int, int, int | None, int | None
]


def recorded(row: Row) -> RecordedEvent:
    """Return the event of a row that `READ` has selected."""
    position, skill_id, kind, occurred_at_us, event_id, deltas, note, at_us, mark, *sums = row
    stands_for, checksum = sums
    return RecordedEvent(
        position=Position((position,)),
        event=Event(
            skill_id=skill_id,
            kind=kind,
            occurred_at=from_microseconds(occurred_at_us),
            event_id=event_id,
            deltas=None if deltas is None else decoded_deltas(deltas),
            note=note,
        ),
        recorded_at=from_microseconds(at_us),
        fingerprint=mark,
        count=1 if stands_for is None else stands_for,
        checksum=mark if checksum is None else checksum,
    )


def written(one: RecordedEvent) -> tuple[object, ...]:
    """Return the row of a compacted event, as `WRITE` inserts it."""
    event = one.event
    return (
        *one.position,
        event.skill_id,
        event.kind,
        microseconds(event.occurred_at),
        None if event.deltas is None else encoded_deltas(event.deltas),
        microseconds(one.recorded_at),
        one.fingerprint,
        one.count,
        one.checksum,
    )


def position_text(row: Row) -> str:
    """Return where a row stands, for people."""
    return str(row[0])


def encoded_deltas(deltas: Mapping[str, int]) -> str:
    """Return deltas as a row holds them."""
    return json.dumps(dict(deltas), separators=(",", ":"))


def decoded_deltas(text: str) -> Mapping[str, int]:
    """Return the deltas that a row holds.

    Raises:
        InvalidEventError: If no event could carry them.
    """
    try:
        return check_deltas(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise InvalidEventError(f"deltas of a stored event: {error}") from error

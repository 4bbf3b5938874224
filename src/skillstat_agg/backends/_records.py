"""How events and cursor records come out of rows, in every database that has rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from skillstat_agg._badges import Badge, BadgeKind
from skillstat_agg._buckets import Granularity, from_microseconds, microseconds, start_of
from skillstat_agg._commits import Cursor
from skillstat_agg._compacting import Reader
from skillstat_agg._events import Place, Position, RecordedEvent
from skillstat_agg.errors import InvalidEventError, SchemaError, UnreadableEventError

Row = TypeVar("Row")

RECORD = (
    "generation", "epoch", "position", "fingerprint", "events", "checksum", "controls",
    "parked", "dropped", "expired", "revision", "declared", "updated_at_us",
)  # fmt: skip
"""The columns of a cursor record, beside the name of its projection."""


def record_of(projection: str, building: str, fields: Sequence[Any]) -> Cursor:
    """Return the cursor record whose columns are *fields*.

    Raises:
        SchemaError: If other hands have changed it.
    """
    generation, epoch, position, fingerprint, events, checksum, controls, *rest = fields
    parked, dropped, expired, revision, declared, updated_at_us = rest
    try:
        return Cursor(
            projection=projection,
            building=building,
            generation=generation,
            place=None if epoch is None else Place(epoch, Position.parse(position), fingerprint),
            count=events,
            checksum=checksum,
            controls=_numbers(controls),
            parked=parked,
            dropped=_numbers(dropped),
            expired=_numbers(expired),
            revision=revision,
            table=declared,
            updated_at=from_microseconds(updated_at_us),
        )
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise SchemaError(
            f"the cursor record of projection {projection!r} was changed by other hands: {error}"
        ) from error


def _numbers(text: str) -> Mapping[str, int]:
    if text == "{}":  # as nearly always
        return {}
    numbers = json.loads(text)
    if not isinstance(numbers, dict) or any(type(each) is not int for each in numbers.values()):
        raise ValueError(f"not numbers by name: {text!r}")
    return numbers


def _text(numbers: Mapping[str, int]) -> str:
    return json.dumps(dict(numbers), sort_keys=True, separators=(",", ":"))


def fields_of(cursor: Cursor) -> tuple[int | str | None, ...]:
    """Return the columns of a cursor record, in the order of `RECORD`."""
    place = cursor.place
    return (
        cursor.generation,
        None if place is None else place.epoch,
        None if place is None else str(place.position),
        None if place is None else place.fingerprint,
        cursor.count,
        cursor.checksum,
        _text(cursor.controls),
        cursor.parked,
        _text(cursor.dropped),
        _text(cursor.expired),
        cursor.revision,
        cursor.table,
        microseconds(cursor.updated_at),
    )


def parked_event(projection: str, recorded: str) -> RecordedEvent:
    """Return an event in quarantine, whose column *recorded* holds.

    Raises:
        SchemaError: If other hands have changed it.
    """
    try:
        return RecordedEvent.from_json(recorded)
    except ValueError as error:
        raise SchemaError(
            f"an event in the quarantine of projection {projection!r} was changed by other"
            f" hands: {error}"
        ) from error


def reader_of(name: str, position: Position | None, reported_at_us: int) -> Reader:
    """Return a reader of the log, as its row says.

    Raises:
        SchemaError: If other hands have changed the time of its report.
    """
    try:
        reported_at = from_microseconds(reported_at_us)
    except (TypeError, OverflowError) as error:
        raise SchemaError(f"the reader {name!r} was changed by other hands: {error}") from error
    return Reader(name=name, position=position, reported_at=reported_at)


def stored_start(bucket: int, granularity: Granularity) -> datetime:
    """Return when a bucket begins whose number stands in a row.

    Raises:
        SchemaError: If other hands have written one beyond the years 1 to 9999.
    """
    try:
        return start_of(bucket, granularity)
    except OverflowError as error:
        raise SchemaError(
            f"a rollup was changed by other hands: {granularity.value} {bucket}, counted from 1970,"
            " is in no year; rebuild the numbers"
        ) from error


def tables_of(projection: str, building: str = "", generation: int = 0) -> str:
    """Return what the names of the tables begin with that hold a set of numbers.

    >>> tables_of("skill_stats"), tables_of("skill_stats", "rebuild", 2)
    ('skill_stats', 'skillstat_g2_skill_stats')
    """
    return f"skillstat_g{generation}_{projection}" if building else projection


def badges_of(
    rows: Iterable[tuple[str, str, str, int]],
) -> Mapping[tuple[str, BadgeKind], Badge]:
    """Return the badges that stand in rows of skill, kind, user and time, by skill and kind.

    Raises:
        SchemaError: If other hands have written one that is none.
    """
    found: dict[tuple[str, BadgeKind], Badge] = {}
    for skill_id, kind, by_user_id, at_us in rows:
        try:
            badge = Badge(by_user_id=by_user_id, at=from_microseconds(at_us))
            found[skill_id, BadgeKind(kind)] = badge
        except (ValueError, TypeError, OverflowError) as error:
            raise SchemaError(
                f"a badge of skill {skill_id!r} was written by other hands: {error}"
            ) from error
    return found


def check_version(found: int, known: int) -> None:
    """Check that tables are of the version that this package works with.

    Raises:
        SchemaError: If they are not.
    """
    if found != known:
        raise SchemaError(
            f"the tables are of version {found}, this package works with version {known}:"
            " use the version of the package that made them, or a newer one"
        )


def events_before_nonsense(
    rows: Sequence[Row], recorded: Callable[[Row], RecordedEvent], position: Callable[[Row], str]
) -> tuple[RecordedEvent, ...]:
    """Return the events of *rows*, up to one that append could not have stored.

    Args:
        rows: What the database holds, in order.
        recorded: Makes an event of a row; raises where the row cannot be one.
        position: Says where a row stands, for the message.

    Raises:
        UnreadableEventError: If the first row is no event.
    """
    events: list[RecordedEvent] = []
    for row in rows:
        try:
            events.append(recorded(row))
        except (InvalidEventError, ValueError, OverflowError) as error:
            if not events:
                raise UnreadableEventError(position(row), str(error)) from error
            break
    return tuple(events)

"""The quarantine: events that a table cannot count, as rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from skillstat_agg._commits import Cursor
from skillstat_agg._events import MAX_INTEGER, RecordedEvent
from skillstat_agg.backends._records import parked_event
from skillstat_agg.backends.postgres._arrays import integers, texts
from skillstat_agg.backends.postgres._names import Names, Query
from skillstat_agg.backends.postgres._schema import Steps

_OF = "projection = %s AND building = %s"


def parking(
    names: Names, cursor: Cursor, events: Sequence[RecordedEvent], when: str = "true"
) -> Iterator[Query]:
    """Yield the statement that sets events aside, in their order, on a condition."""
    if not events:
        return
    yield Query(
        f"INSERT INTO {names['skillstat_parked']}"
        " (projection, building, position, skill_id, kind, events, recorded)"
        " SELECT %s, %s, position, skill_id, kind, events, recorded"
        " FROM unnest(%s::text[], %s::text[], %s::text[], %s::bigint[], %s::text[])"
        " WITH ORDINALITY AS given (position, skill_id, kind, events, recorded, number)"
        f" WHERE {when} ORDER BY number",
        (
            cursor.projection,
            cursor.building,
            texts(str(each.position) for each in events),
            texts(each.event.skill_id for each in events),
            texts(each.event.kind for each in events),
            integers(each.count for each in events),
            texts(each.to_json() for each in events),
        ),
    )


def unparking(
    names: Names, cursor: Cursor, events: Sequence[RecordedEvent], when: str = "true"
) -> Iterator[Query]:
    """Yield the statement that takes events out of quarantine that are counted now."""
    if not events:
        return
    yield Query(
        f"DELETE FROM {names['skillstat_parked']} WHERE {_OF} AND position = ANY(%s::text[])"
        f" AND {when}",
        (cursor.projection, cursor.building, texts(str(each.position) for each in events)),
    )


def first_parked(names: Names) -> str:
    """Return the expression for the first events in quarantine.

    It takes a projection, a building and a number as parameters; see `parked_rows`.
    """
    return (
        "(SELECT coalesce(json_agg(recorded ORDER BY number), '[]') FROM (SELECT number, recorded"
        f" FROM {names['skillstat_parked']} WHERE {_OF} ORDER BY number LIMIT %s) AS _first)"
    )


def parked_rows(projection: str, rows: Sequence[str]) -> tuple[RecordedEvent, ...]:
    """Return the events that `first_parked` has answered with.

    Raises:
        SchemaError: If other hands have changed one.
    """
    return tuple(parked_event(projection, recorded) for recorded in rows)


def parked_events(
    names: Names, projection: str, building: str = "", *, limit: int
) -> Steps[tuple[RecordedEvent, ...]]:
    """Return the first events in quarantine, in the order of their positions."""
    if limit == 0:
        return ()
    rows = yield Query(
        f"SELECT {first_parked(names)}::text", (projection, building, min(limit, MAX_INTEGER))
    )
    return parked_rows(projection, rows)


def dropping_parked(names: Names, cursor: Cursor, skill_id: str) -> Steps[int]:
    """Take what a skill has out of quarantine; return how many events that were."""
    if cursor.parked == 0:
        return 0
    (number,) = yield Query(
        f"WITH gone AS (DELETE FROM {names['skillstat_parked']} WHERE {_OF} AND skill_id = %s"
        " RETURNING events) SELECT json_build_array(coalesce(sum(events), 0))::text FROM gone",
        (cursor.projection, cursor.building, skill_id),
    )
    return int(number)


def count_of_parked(names: Names) -> str:
    """Return the expression for the number of events in quarantine.

    It takes a projection and a building as parameters.
    """
    return f"(SELECT coalesce(sum(events), 0) FROM {names['skillstat_parked']} WHERE {_OF})"


def moving_parked(names: Names, built: Cursor) -> Steps[None]:
    """Make the quarantine of what was built that of what serves."""
    parked = names["skillstat_parked"]
    yield Query(f"DELETE FROM {parked} WHERE {_OF}", (built.projection, ""))
    if built.parked:
        yield Query(
            f"UPDATE {parked} SET building = '' WHERE {_OF}", (built.projection, built.building)
        )

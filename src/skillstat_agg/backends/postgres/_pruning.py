"""Who reads the log, and how its old events are made small, on PostgreSQL.

A compaction holds a lock of its own, which a reader shares for the moment in which it is
registered. Neither writers nor workers meet it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from skillstat_agg._appending import drawn_fingerprints
from skillstat_agg._buckets import microseconds
from skillstat_agg._compacting import Reader, Segment, bound_of, compacted, first_part
from skillstat_agg._events import MAX_INTEGER, Place, Position, RecordedEvent
from skillstat_agg.backends._records import events_before_nonsense, reader_of
from skillstat_agg.backends.postgres._log import (
    STORED,
    check_place,
    position_text,
    recorded,
    start_of_read,
)
from skillstat_agg.backends.postgres._names import Names, Query
from skillstat_agg.backends.postgres._schema import (
    BEGIN,
    COMMIT,
    COMPACTING,
    LOG,
    VERSION,
    Steps,
    checked_log,
)

_SNAPSHOT = Query("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
_LOCK_KEY = "hashtextextended(%s, 1)"  # with 0 it is that of those who make tables


def _here(names: Names) -> str:
    """Return the part of a statement that says which log this is."""
    return f"here AS MATERIALIZED (SELECT {LOG} FROM {names['skillstat_schema']})"


def registering(names: Names, reader: str, at_us: int) -> Steps[None]:
    """Put a reader at the start, if it is not there: see ``PruneStore.register``."""
    readers = names["skillstat_readers"]
    answer = yield Query(
        f"""
        WITH {_here(names)}, locked AS MATERIALIZED (
            SELECT pg_advisory_xact_lock_shared({_LOCK_KEY}) FROM here
            WHERE version = {VERSION} AND home = place
            AND NOT EXISTS (SELECT FROM {readers} WHERE reader = %s AND xid IS NULL)
        ), told AS (
            INSERT INTO {readers} (reader, reported_at_us) SELECT %s, %s FROM locked
            ON CONFLICT (reader) DO UPDATE
            SET xid = NULL, seq = NULL, reported_at_us = excluded.reported_at_us
        )
        SELECT json_build_object('log', (SELECT row_to_json(here) FROM here))::text
        """,
        (names.schema, reader, reader, at_us),
    )
    checked_log(answer["log"])


def reporting(names: Names, reader: str, place: Place, at_us: int) -> Steps[None]:
    """Move a reader on to a place: see ``PruneStore.report``.

    One that is not known is put there, under the lock that registering takes: a compaction that
    has looked at the readers would pass it.
    """
    answer = yield _moving_on(names, reader, place, at_us)
    check_place(answer, place)
    if not answer["is_there"]:
        yield BEGIN
        # By itself: the statement behind it sees what a compaction has left.
        yield Query(
            f"SELECT 'null' FROM pg_advisory_xact_lock_shared({_LOCK_KEY})", (names.schema,)
        )
        yield Query(
            f"INSERT INTO {names['skillstat_readers']} (reader, reported_at_us) VALUES (%s, %s)"
            " ON CONFLICT DO NOTHING",
            (reader, at_us),
        )
        answer = yield _moving_on(names, reader, place, at_us)
        check_place(answer, place)
        yield COMMIT


def _moving_on(names: Names, reader: str, place: Place, at_us: int) -> Query:
    """Return the statement that moves a reader that is there, if the log has this place."""
    xid, seq = start_of_read(place)
    readers, log = names["skillstat_readers"], names["skillstat_events"]
    mark = f"(SELECT fingerprint FROM {log} WHERE xid = %s::text::xid8 AND seq = %s)"
    return Query(
        f"""
        WITH {_here(names)}, told AS (
            UPDATE {readers} SET xid = given.xid, seq = given.seq, reported_at_us = %s
            FROM here, (SELECT %s::text::xid8 AS xid, %s::bigint AS seq) AS given
            WHERE reader = %s AND version = {VERSION} AND home = place
            AND epoch || '/' || place = %s AND {mark} = %s
            AND ({readers}.xid IS NULL OR ({readers}.xid, {readers}.seq) < (given.xid, given.seq))
        )
        SELECT json_build_object('log', (SELECT row_to_json(here) FROM here), 'mark', {mark},
            'is_there', EXISTS (SELECT FROM {readers} WHERE reader = %s))::text
        """,
        (at_us, xid, seq, reader, place.epoch, xid, seq, place.fingerprint, xid, seq, reader),
    )


def retiring(names: Names, reader: str) -> Steps[bool]:
    """Strike a reader off the list: see ``PruneStore.retire``."""
    found = yield Query(
        f"DELETE FROM {names['skillstat_readers']} WHERE reader = %s RETURNING 'true'", (reader,)
    )
    return found is not None


def listing(names: Names) -> Steps[tuple[Reader, ...]]:
    """Return who reads the log: see ``PruneStore.readers``."""
    rows = yield Query(
        "SELECT coalesce(json_agg(json_build_array(reader, xid::text, seq, reported_at_us)"
        f" ORDER BY reader), '[]')::text FROM {names['skillstat_readers']}"
    )
    return tuple(
        reader_of(name, None if xid is None else Position((int(xid), seq)), at_us)
        for name, xid, seq, at_us in rows
    )


def planning(
    names: Names,
    after: Position | None,
    before: datetime | None,
    limit: int,
    upto: Position | None,
    kept: Collection[Position],
) -> Steps[Segment | None]:
    """Return the next segment that could be made: see ``PruneStore.compactable``."""
    yield _SNAPSHOT
    events = yield from _next_events(names, after, before, limit, upto, kept)
    yield COMMIT
    return Segment.of(events, _made_of(events)) if events else None


def compacting(
    names: Names,
    before: datetime | None,
    limit: int,
    upto: Position | None,
    kept: Collection[Position],
) -> Steps[Segment | None]:
    """Make the next run of events small: see ``PruneStore.compact``."""
    yield BEGIN
    yield Query(f"SELECT 'null' FROM pg_advisory_xact_lock({_LOCK_KEY})", (names.schema,))
    events = yield from _next_events(names, None, before, limit, upto, kept)
    if not events:
        yield COMMIT
        return None
    made = _made_of(events)
    yield from _exchanging(names, events, made)
    yield COMMIT
    return Segment.of(events, made)


def _made_of(events: Sequence[RecordedEvent]) -> Sequence[RecordedEvent]:
    return compacted(events, drawn_fingerprints(len(events)))


def _next_events(
    names: Names,
    after: Position | None,
    before: datetime | None,
    limit: int,
    upto: Position | None,
    kept: Collection[Position],
) -> Steps[Sequence[RecordedEvent]]:
    """Return the events that the next segment shall stand for; none: there is no segment."""
    log = names["skillstat_events"]
    answer = yield Query(
        f"""
        WITH {_here(names)}
        SELECT json_build_object('log', (SELECT row_to_json(here) FROM here), 'last', (
            SELECT json_build_array(xid::text, seq) FROM {log} WHERE stands_for IS NOT NULL
            ORDER BY xid DESC, seq DESC LIMIT 1))::text
        """
    )
    checked_log(answer["log"])
    bound = bound_of((yield from listing(names)), upto)
    if bound is None:
        return ()
    xid, seq = answer["last"] or ("0", 0)
    start = Position((int(xid), seq))
    if after is not None:
        start = max(start, after)
    most = min(limit, MAX_INTEGER)
    while True:
        rows = yield Query(
            f"""
            SELECT coalesce(json_agg(json_build_array(xid::text, seq, {STORED})
                ORDER BY xid, seq), '[]')::text
            FROM (SELECT * FROM {log} WHERE (xid, seq) > (%s::text::xid8, %s)
                ORDER BY xid, seq LIMIT %s) AS page
            """,
            (str(start[0]), start[1], most),
        )
        events = events_before_nonsense(rows, recorded, position_text)
        part = first_part(events, upto=bound, before=before, limit=limit, kept=kept)
        if part or len(rows) < most or any(one.position not in kept for one in events):
            return part
        start = events[-1].position


def _exchanging(
    names: Names, events: Sequence[RecordedEvent], made: Sequence[RecordedEvent]
) -> Steps[None]:
    """Put compacted events in the place of those that they stand for.

    The triggers that guard the log let that pass in the transaction whose number the setting
    holds.
    """
    log = names["skillstat_events"]
    yield Query(f"SELECT 'null' FROM set_config('{COMPACTING}', pg_current_xact_id()::text, true)")
    (first_xid, first_seq), (last_xid, last_seq) = events[0].position, events[-1].position
    yield Query(
        f"DELETE FROM {log} WHERE (xid, seq) >= (%s::text::xid8, %s)"
        " AND (xid, seq) <= (%s::text::xid8, %s)",
        (str(first_xid), first_seq, str(last_xid), last_seq),
    )
    yield Query(
        f"""
        INSERT INTO {log} (xid, seq, skill_id, kind, occurred_at_us, deltas, recorded_at_us,
            fingerprint, stands_for, checksum) OVERRIDING SYSTEM VALUE
        SELECT xid::xid8, seq, skill_id, kind, occurred_at_us, deltas::jsonb, recorded_at_us,
            fingerprint, stands_for, checksum
        FROM unnest(%s::text[], %s::bigint[], %s::text[], %s::text[], %s::bigint[], %s::text[],
            %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[]) AS made (
            xid, seq, skill_id, kind, occurred_at_us, deltas, recorded_at_us, fingerprint,
            stands_for, checksum)
        """,
        _columns(made),
    )


def _columns(made: Sequence[RecordedEvent]) -> tuple[list[Any], ...]:
    return (
        [str(one.position[0]) for one in made],
        [one.position[1] for one in made],
        [one.event.skill_id for one in made],
        [one.event.kind for one in made],
        [microseconds(one.event.occurred_at) for one in made],
        [None if one.event.deltas is None else json.dumps(dict(one.event.deltas)) for one in made],
        [microseconds(one.recorded_at) for one in made],
        [one.fingerprint for one in made],
        [one.count for one in made],
        [one.checksum for one in made],
    )

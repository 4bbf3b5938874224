"""What an event store on PostgreSQL does: its statements, and what becomes of their answers.

A position is ``(xid, seq)``: the transaction that appended the event, and a number. What is read
lies below the oldest transaction that is not over yet. All transactions below that one have
ended, so nothing can appear there any more. Horizon and page come from one statement, and so
from one snapshot.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from skillstat_agg._appending import content_digests, drawn_fingerprints, unseen_events
from skillstat_agg._buckets import EPOCH, Granularity, from_microseconds, microseconds
from skillstat_agg._commits import CHECKSUM_RANGE
from skillstat_agg._events import MAX_INTEGER, Event, Place, Position, RecordedEvent, check_deltas
from skillstat_agg._generations import Extent
from skillstat_agg._pages import Backlog, Page, TalliedPage
from skillstat_agg._stores import Appended
from skillstat_agg._tallies import Tally
from skillstat_agg.backends._records import events_before_nonsense
from skillstat_agg.backends.postgres._names import Names, Query
from skillstat_agg.backends.postgres._schema import BEGIN, COMMIT, LOG, Steps, checked_log
from skillstat_agg.errors import (
    EventIdConflictError,
    HistoryChangedError,
    InvalidEventError,
)

MOST_XID = 2**64 - 1

MANY = 200
"""From so many events without ids on, COPY is quicker than a statement with arrays.

Over a socket it is from 30 on. It takes four round trips more, which a network makes dearer.
"""

_DAY_US = Granularity.DAY.length_us
_BEFORE_EPOCH_US = EPOCH.toordinal() * _DAY_US
"""From before the year 1 to 1970: added first, so that no quotient is rounded towards zero."""

_HALF = 2**31
"""Taken off a fingerprint, it leaves 32 bits with a sign, which the server adds up faster."""


GIVEN = "skill_id, kind, occurred_at_us, event_id, deltas, note, recorded_at_us, fingerprint"
"""The columns of an event as it is appended, beside its position."""

STORED = f"{GIVEN}, stands_for, checksum"
"""The columns of an event beside its position; the last two are those of a compacted one."""


# Append


def appending(names: Names, events: Sequence[Event], recorded_at_us: int) -> Query:
    """Return the one statement that appends events: those whose ids are new, or that have none.

    It answers with the number of new events, and the position of the last one or null. An id
    that stands for other content fails it, as a whole.

    Args:
        names: The tables.
        events: The events; no id twice.
        recorded_at_us: Time of the store, in microseconds.
    """
    log, ids = names["skillstat_events"], names["skillstat_event_ids"]
    digests = content_digests(events)
    return Query(
        f"""
        WITH given AS (
            SELECT * FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::text[], %s::bytea[],
                %s::text[], %s::text[], %s::bigint[]) WITH ORDINALITY AS given (
                skill_id, kind, occurred_at_us, event_id, digest, deltas, note, mark, number)
        ), fresh AS (
            INSERT INTO {ids} AS there (event_id, digest)
            SELECT event_id, digest FROM given WHERE event_id IS NOT NULL ORDER BY event_id
            ON CONFLICT (event_id) DO UPDATE SET digest = excluded.digest
                WHERE there.digest <> excluded.digest
            RETURNING event_id
        ), stored AS (
            INSERT INTO {log} ({GIVEN})
            SELECT skill_id, kind, occurred_at_us, event_id, deltas::jsonb, note, %s, mark
            FROM given WHERE event_id IS NULL OR event_id IN (SELECT event_id FROM fresh)
            ORDER BY number
            RETURNING xid::text AS xid, seq
        )
        SELECT json_build_array(count(*), max(xid), max(seq))::text FROM stored
        """,
        (
            [event.skill_id for event in events],
            [event.kind for event in events],
            [microseconds(event.occurred_at) for event in events],
            [event.event_id for event in events],
            [None if event.event_id is None else digests[event.event_id] for event in events],
            [_deltas(event) for event in events],
            [event.note for event in events],
            list(drawn_fingerprints(len(events))),
            recorded_at_us,
        ),
    )


def _copying(names: Names, events: Sequence[Event], recorded_at_us: int) -> Query:
    """Return the statement that appends events without ids: from some number on it is quicker."""
    rows = (
        (
            event.skill_id,
            event.kind,
            microseconds(event.occurred_at),
            None,
            _deltas(event),
            event.note,
            recorded_at_us,
            fingerprint,
        )
        for event, fingerprint in zip(events, drawn_fingerprints(len(events)), strict=True)
    )
    log = names["skillstat_events"].replace("%%", "%")
    return Query(f"COPY {log} ({GIVEN}) FROM STDIN", rows=rows)


def _deltas(event: Event) -> str | None:
    return None if event.deltas is None else json.dumps(dict(event.deltas))


def appended(
    names: Names, given: Sequence[Event], recorded_at_us: int, *, is_joined: bool
) -> Steps[Appended]:
    """Append *given*, which may be appended: see ``EventStore.append``.

    Args:
        names: The tables.
        given: The events.
        recorded_at_us: Time of the store, in microseconds.
        is_joined: Whether a transaction is open, which somebody else will end.
    """
    if not given:
        return Appended(new=0, position=None)
    log = names["skillstat_events"]
    if len(given) >= MANY and all(event.event_id is None for event in given):
        if not is_joined:
            yield BEGIN
        yield _copying(names, given, recorded_at_us)
        last = yield Query(
            f"SELECT json_build_array(xid::text, seq)::text FROM {log}"
            " WHERE xid = pg_current_xact_id() ORDER BY seq DESC LIMIT 1"
        )
        if not is_joined:
            yield COMMIT
        return Appended(new=len(given), position=_position(last))
    events = unseen_events(given, content_digests(given), {})
    count, *last = yield appending(names, events, recorded_at_us)
    if count < len(given):  # some were there before, at positions that may be larger
        last = yield Query(
            f"SELECT json_build_array(xid::text, seq)::text FROM {log}"
            " ORDER BY xid DESC, seq DESC LIMIT 1"
        )
    return Appended(new=count, position=_position(last))


def unlike(names: Names, given: Sequence[Event]) -> Steps[EventIdConflictError | None]:
    """Return the error that names the ids which stand for other content; None: there are none."""
    digests = content_digests(given)
    found = yield Query(
        "SELECT coalesce(json_agg(event_id ORDER BY event_id), '[]')::text FROM"
        f" unnest(%s::text[], %s::bytea[]) AS given (event_id, digest)"
        f" JOIN {names['skillstat_event_ids']} AS there USING (event_id)"
        " WHERE there.digest <> given.digest",
        (list(digests), list(digests.values())),
    )
    return EventIdConflictError(tuple(found)) if found else None


# Read and tally


def _reading(names: Names, columns: str, body: str, answer: str) -> str:
    """Return a statement over a page: *body* may use ``page``, and *answer* is added to it."""
    log = names["skillstat_events"]
    return f"""
        WITH here AS MATERIALIZED (
            SELECT {LOG},
                pg_snapshot_xmin(pg_current_snapshot()) AS horizon
            FROM {names["skillstat_schema"]}
        ), page AS (
            SELECT {columns} FROM {log}
            WHERE (xid, seq) > (%s::text::xid8, %s) AND xid < (SELECT horizon FROM here)
            ORDER BY xid, seq LIMIT %s
        ){body}
        SELECT json_build_object(
            'log', (SELECT row_to_json(here) FROM here),
            'mark', (SELECT fingerprint FROM {log} WHERE xid = %s::text::xid8 AND seq = %s),
            'frontier', (SELECT json_build_array(xid::text, seq, fingerprint) FROM {log}
                WHERE xid < (SELECT horizon FROM here) ORDER BY xid DESC, seq DESC LIMIT 1),
            {answer}
        )::text
        """


def start_of_read(after: Place | None) -> tuple[str, int]:
    """Return the position to read after, as the database takes it."""
    if after is None:
        return "0", 0
    if len(after.position) != 2 or after.position[0] > MOST_XID or after.position[1] > MAX_INTEGER:
        raise HistoryChangedError(f"no event of this log stands at position {after.position}")
    xid, seq = after.position
    return str(xid), seq


def check_place(answer: Mapping[str, Any], after: Place | None) -> str:
    """Return the epoch, when the log is the one that *after* was made from."""
    epoch = checked_log(answer["log"])
    if after is not None:
        if after.epoch != epoch:
            raise HistoryChangedError(f"this log has epoch {epoch}, the cursor's had {after.epoch}")
        if answer["mark"] != after.fingerprint:
            raise HistoryChangedError(
                f"another event, or none, stands at position {after.position}, where the cursor"
                " stands"
            )
    return epoch


def _checked(answer: Mapping[str, Any], after: Place | None) -> tuple[str, Position | None]:
    """Return epoch and frontier, when the log is the one that *after* was made from."""
    return check_place(answer, after), _position(answer["frontier"])


def _position(found: Sequence[Any] | None) -> Position | None:
    return None if found is None else Position((int(found[0]), found[1]))


def reading(names: Names, after: Place | None, limit: int) -> Steps[Page]:
    """Return the page after *after*: see ``EventStore.read``."""
    xid, seq = start_of_read(after)
    answer = yield Query(
        _reading(
            names,
            f"xid, seq, {STORED}",
            "",
            "'events', (SELECT coalesce(json_agg(json_build_array(xid::text, seq,"
            f" {STORED}) ORDER BY xid, seq), '[]') FROM page)",
        ),
        (xid, seq, min(limit, MAX_INTEGER), xid, seq),
    )
    epoch, frontier = _checked(answer, after)
    rows = answer["events"]
    events = events_before_nonsense(rows, recorded, position_text)
    return Page(
        epoch=epoch,
        events=events,
        frontier=frontier,
        is_last=not rows or events[-1].position == frontier,
    )


def lagging(names: Names, after: Place | None, limit: int) -> Steps[Backlog]:
    """Return how much lies after *after*: see ``LagStore.lag``."""
    xid, seq = start_of_read(after)
    log, most = names["skillstat_events"], min(limit, MAX_INTEGER)
    answer = yield Query(
        _reading(
            names,
            "1",
            f""", waiting AS (
            SELECT 1 FROM {log} WHERE xid >= (SELECT horizon FROM here) LIMIT %s
        )""",
            "'events', (SELECT count(*) FROM page), 'waiting', (SELECT count(*) FROM waiting),"
            f" 'since', (SELECT recorded_at_us FROM {log} WHERE (xid, seq) > (%s::text::xid8, %s)"
            " ORDER BY xid, seq LIMIT 1)",
        ),
        (xid, seq, most, most, xid, seq, xid, seq),
    )
    _, frontier = _checked(answer, after)
    since = answer["since"]
    return Backlog(
        events=answer["events"],
        waiting=answer["waiting"],
        since=None if since is None else from_microseconds(since),
        frontier=frontier,
    )


def tallying(
    names: Names, after: Place | None, limit: int, granularity: Granularity
) -> Steps[TalliedPage | None]:
    """Return the tally of the page after *after*: see ``TallyStore.tally``."""
    xid, seq = start_of_read(after)
    length = granularity.length_us
    bucket = (
        f"(occurred_at_us + {_BEFORE_EPOCH_US}) / {length} - {_BEFORE_EPOCH_US // length} AS bucket"
    )
    log, most = names["skillstat_events"], min(limit, MAX_INTEGER)
    after_place = "(xid, seq) > (%s::text::xid8, %s) AND xid < (SELECT horizon FROM here)"
    answer = yield Query(
        _reading(
            names,
            f"skill_id, kind, {bucket}, deltas, fingerprint",
            f""", groups AS MATERIALIZED (
            SELECT skill_id, kind, bucket, deltas, count(*) AS events,
                sum((fingerprint - {_HALF})::integer) AS marks
            FROM page GROUP BY skill_id, kind, bucket, deltas
        ), ending AS (
            SELECT xid, seq FROM {log} WHERE {after_place}
            ORDER BY xid, seq OFFSET %s LIMIT 1
        ), more AS (
            SELECT skill_id, kind, bucket, deltas, sum(stands_for - 1) AS events,
                sum(checksum - fingerprint) AS marks
            FROM (
                SELECT xid, seq, skill_id, kind, {bucket}, deltas, fingerprint, stands_for, checksum
                FROM {log} WHERE stands_for IS NOT NULL AND {after_place}
                ORDER BY xid, seq LIMIT %s
            ) AS compacted
            WHERE NOT EXISTS (SELECT FROM ending)
                OR (xid, seq) <= (SELECT xid, seq FROM ending)
            GROUP BY skill_id, kind, bucket, deltas
        )""",
            "'sums', (SELECT json_build_array(coalesce(sum(events), 0), coalesce(sum(marks), 0))"
            " FROM groups),"
            " 'ending', (SELECT json_build_array(xid::text, seq, fingerprint)"
            f" FROM {log} JOIN ending USING (xid, seq)),"
            # A column each, where there are many: a row each takes longer to write and to read.
            " 'plain', (SELECT json_build_array(json_agg(skill_id), json_agg(kind),"
            " json_agg(bucket), json_agg(events)) FROM groups WHERE deltas IS NULL),"
            " 'carrying', (SELECT coalesce(json_agg(json_build_array(skill_id, kind, bucket,"
            " deltas, events)), '[]') FROM groups WHERE deltas IS NOT NULL),"
            " 'more', (SELECT json_build_array(coalesce(sum(events), 0), coalesce(sum(marks), 0),"
            " json_agg(json_build_array(skill_id, kind, bucket, deltas, events))) FROM more)",
        ),
        (xid, seq, most, xid, seq, most - 1, xid, seq, most, xid, seq),
    )
    epoch, frontier = _checked(answer, after)
    count, marks = answer["sums"]
    more_events, more_marks, more = answer["more"]
    # A page that is not full ends at the frontier.
    last = (answer["ending"] or answer["frontier"]) if count else None
    skills, kinds, buckets, counts = (column or () for column in answer["plain"])
    cells = zip(skills, kinds, buckets, strict=True)
    plain = Tally(granularity, dict(zip(cells, counts, strict=True)), {})
    try:
        tally = plain + Tally.of_groups(_carrying(answer["carrying"]), granularity)
        if more:
            tally += Tally.of_compacted(_more(more), granularity)
    except InvalidEventError:
        return None
    place = None if last is None else Place(epoch, Position((int(last[0]), last[1])), last[2])
    return TalliedPage(
        tally=tally,
        count=count + more_events,
        checksum=(marks + count * _HALF + more_marks) % CHECKSUM_RANGE,
        place=place,
        frontier=frontier,
        is_last=place is None or place.position == frontier,
        records=count,
    )


def measuring(names: Names, upto: Place) -> Steps[Extent]:
    """Return how much stands up to *upto*: see ``ExtentStore.extent``."""
    xid, seq = start_of_read(upto)
    log = names["skillstat_events"]
    answer = yield Query(
        f"""
        SELECT json_build_object(
            'log', (SELECT row_to_json(here) FROM (
                SELECT {LOG} FROM {names["skillstat_schema"]}) AS here),
            'mark', (SELECT fingerprint FROM {log} WHERE xid = %s::text::xid8 AND seq = %s),
            'frontier', NULL,
            'sums', (SELECT json_build_array(count(*),
                coalesce(sum((fingerprint - {_HALF})::integer), 0))
                FROM {log} WHERE (xid, seq) <= (%s::text::xid8, %s)),
            'more', (SELECT json_build_array(coalesce(sum(stands_for - 1), 0),
                coalesce(sum(checksum - fingerprint), 0))
                FROM {log} WHERE stands_for IS NOT NULL AND (xid, seq) <= (%s::text::xid8, %s))
        )::text
        """,
        (xid, seq, xid, seq, xid, seq),
    )
    _checked(answer, upto)
    count, marks = answer["sums"]
    more_events, more_marks = answer["more"]
    return Extent(
        count=count + more_events,
        checksum=(marks + count * _HALF + more_marks) % CHECKSUM_RANGE,
    )


def _more(
    rows: Sequence[Sequence[Any]],
) -> Iterator[tuple[str, str, int, Mapping[str, int] | None, int, int]]:
    """Yield how many more events compacted ones stand for; what these carry is counted."""
    for skill_id, kind, bucket, deltas, count in rows:
        yield skill_id, kind, bucket, None if deltas is None else check_deltas(deltas), 0, count


def _carrying(
    rows: Sequence[Sequence[Any]],
) -> Iterator[tuple[str, str, int, Mapping[str, int] | None, int]]:
    for skill_id, kind, bucket, deltas, count in rows:
        yield skill_id, kind, bucket, None if deltas is None else check_deltas(deltas), count


def position_text(row: Sequence[Any]) -> str:
    """Return where a row stands, for people."""
    return f"{row[0]}-{row[1]}"


def recorded(row: Sequence[Any]) -> RecordedEvent:
    """Return the event of a row: its position, then the columns of `STORED`."""
    xid, seq, skill_id, kind, occurred_at_us, event_id, deltas, note, *rest = row
    recorded_at_us, mark, stands_for, checksum = rest
    return RecordedEvent(
        position=Position((int(xid), seq)),
        event=Event(
            skill_id=skill_id,
            kind=kind,
            occurred_at=from_microseconds(occurred_at_us),
            event_id=event_id,
            deltas=deltas,
            note=note,
        ),
        recorded_at=from_microseconds(recorded_at_us),
        fingerprint=mark,
        count=1 if stands_for is None else stands_for,
        checksum=mark if checksum is None else checksum,
    )

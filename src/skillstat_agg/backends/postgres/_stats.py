"""What a stats store on PostgreSQL does: its statements, and what becomes of their answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias

import attrs

from skillstat_agg._buckets import Granularity, from_microseconds, microseconds, start_of
from skillstat_agg._commits import Cursor, check_readable
from skillstat_agg._events import MAX_INTEGER
from skillstat_agg._notes import Note, storable
from skillstat_agg._projections import Projection
from skillstat_agg._quarantine import Quarantine
from skillstat_agg._stores import Rollups, Totals
from skillstat_agg.backends._records import record_of
from skillstat_agg.backends.postgres._arrays import texts
from skillstat_agg.backends.postgres._badges import dropping
from skillstat_agg.backends.postgres._names import Names, Query, quoted
from skillstat_agg.backends.postgres._parking import (
    dropping_parked,
    first_parked,
    parked_rows,
)
from skillstat_agg.backends.postgres._schema import (
    BEGIN,
    COMMIT,
    RECORD,
    Steps,
    checked_primary,
    checked_version,
    checking,
    finding,
    missing,
    replacing,
)
from skillstat_agg.errors import NotBuildingError, SchemaError

Row: TypeAlias = tuple[object, ...]

HOUR = "timestamptz 'epoch' + {0} * interval '1 hour'"
DAY = "date '1970-01-01' + {0}"


# Reading


def _answering(names: Names, answer: str = "") -> str:
    """Return a statement that answers with the cursor record, and with *answer*."""
    return f"""
        SELECT json_build_object(
            'record', (SELECT {RECORD} FROM {names["skillstat_cursors"]}
                WHERE projection = %s AND building = %s),
            'version', (SELECT max(version) FROM {names["skillstat_schema"]}){answer}
        )::text
        """


def _record(names: Names, answer: Mapping[str, Any], projection: Projection) -> Cursor:
    checked_version(answer["version"])
    found, building = answer["record"], names.building
    record = None if found is None else record_of(projection.name, building, found)
    return _meant(names, record, projection)


def _meant(names: Names, record: Cursor | None, projection: Projection) -> Cursor:
    """Return a record, if it is there and of the numbers that are meant."""
    if names.building and (record is None or record.generation != names.generation):
        raise NotBuildingError(projection.name, names.building)
    if record is None:
        raise missing(projection.name)
    return record


def cursor(names: Names, projection: Projection) -> Steps[Cursor]:
    """Return the stored cursor record: see ``StatsStore.cursor``."""
    answer = yield Query(_answering(names), (projection.name, names.building))
    return _record(names, answer, projection)


def readable(names: Names, projection: Projection) -> Steps[None]:
    """Check that the stored numbers can be read with the table of *projection*."""
    record = yield from cursor(names, projection)
    check_readable(record, projection)


def totals(names: Names, projection: Projection, wanted: Sequence[str] | None) -> Steps[Totals]:
    """Return the totals of these skills, or of all: see ``StatsStore.totals``."""
    # Of a row as JSON, what the table has not got yet is simply not there.
    where = "" if wanted is None else " WHERE skill_id = ANY(%s::text[])"
    table = names.totals(projection.name)
    answer = yield Query(
        _answering(
            names,
            f", 'rows', (SELECT coalesce(json_agg(_row), '[]') FROM {table} AS _row{where})",
        ),
        (projection.name, names.building, *([] if wanted is None else [list(wanted)])),
    )
    record = _record(names, answer, projection)
    check_readable(record, projection)
    return Totals(
        record,
        {
            row["skill_id"]: {name: row.get(name, 0) for name in projection.counters}
            for row in answer["rows"]
        },
    )


def rollups(
    names: Names,
    projection: Projection,
    skill_id: str,
    granularity: Granularity,
    buckets: range,
) -> Steps[Rollups]:
    """Return the rollups of one skill: see ``StatsStore.rollups``."""
    columns = projection.columns
    if not columns or not buckets:
        record = yield from cursor(names, projection)
        check_readable(record, projection)
        return Rollups(record, {})
    bucket = bucket_number(granularity)
    first, last = (bucket_at(granularity) for _ in range(2))
    answer = yield Query(
        _answering(
            names,
            f", 'rows', (SELECT coalesce(json_agg(json_build_array({bucket}, _row)"
            f" ORDER BY {granularity.value}), '[]')"
            f" FROM {names.rollups(projection.name, granularity)} AS _row WHERE skill_id = %s"
            f" AND {granularity.value} BETWEEN {first} AND {last})",
        ),
        (projection.name, names.building, skill_id, buckets[0], buckets[-1]),
    )
    record = _record(names, answer, projection)
    check_readable(record, projection)
    return Rollups(
        record,
        {
            start_of(number, granularity): {name: row.get(name, 0) for name in columns}
            for number, row in answer["rows"]
        },
    )


def quarantine(names: Names, projection: Projection, limit: int) -> Steps[Quarantine]:
    """Return what the table cannot count: see ``StatsStore.quarantine``."""
    answer = yield Query(
        _answering(names, f", 'parked', {first_parked(names)}"),
        (
            projection.name,
            names.building,
            projection.name,
            names.building,
            min(limit, MAX_INTEGER),
        ),
    )
    record = _record(names, answer, projection)
    return Quarantine(cursor=record, events=parked_rows(projection.name, answer["parked"]))


def bucket_at(granularity: Granularity) -> str:
    """Return the expression for a bucket, from its number."""
    return (DAY if granularity is Granularity.DAY else HOUR).format("%s::integer")


def bucket_number(granularity: Granularity) -> str:
    """Return the expression for the number of a bucket."""
    if granularity is Granularity.DAY:
        return "day - date '1970-01-01'"
    return "(extract(epoch FROM hour) / 3600)::integer"


def forgotten(names: Names, skill_ids: Sequence[str]) -> Steps[frozenset[str]]:
    """Return those of the skills that are forgotten: see ``StatsStore.forgotten``."""
    answer = yield Query(
        f"SELECT json_build_object('version', (SELECT max(version) FROM"
        f" {names['skillstat_schema']}), 'skills', {forgotten_of(names)})::text",
        (texts(skill_ids),),
    )
    checked_version(answer["version"])
    return frozenset(answer["skills"])


def last_error(names: Names, projection: Projection) -> Steps[Note | None]:
    """Return what went wrong last: see ``NoteStore.last_error``."""
    answer = yield Query(
        f"SELECT json_build_object('version', (SELECT max(version) FROM"
        f" {names['skillstat_schema']}), 'note', (SELECT json_build_array(at_us, error)"
        f" FROM {names['skillstat_errors']} WHERE projection = %s))::text",
        (projection.name,),
    )
    checked_version(answer["version"])
    if answer["note"] is None:
        return None
    at_us, text = answer["note"]
    return Note(at=from_microseconds(at_us), text=text)


# Writing


def noting(names: Names, projection: Projection, text: str, at: datetime) -> Steps[None]:
    """Keep what went wrong last: see ``NoteStore.note_error``."""
    yield Query(
        f"INSERT INTO {names['skillstat_errors']} VALUES (%s, %s, %s) ON CONFLICT (projection)"
        " DO UPDATE SET at_us = excluded.at_us, error = excluded.error",
        (projection.name, microseconds(at), storable(text)),
    )


def locked(names: Names, projection: Projection) -> Steps[Cursor]:
    """Return the stored cursor record; nobody else changes it until this transaction ends."""
    record, _ = yield from locked_with(names, projection)
    return record


def locked_with(
    names: Names, projection: Projection, answer: str = "", *values: object
) -> Steps[tuple[Cursor, Mapping[str, Any]]]:
    """Return the stored cursor record, which is locked, and what *answer* adds to the answer.

    The record is as it stands once it is locked. What is added is of the time when the statement
    began, which may be earlier.
    """
    found = yield Query(
        f"SELECT json_build_object('version', (SELECT max(version) FROM"
        f" {names['skillstat_schema']}), 'is_standby', pg_is_in_recovery(),"
        f" 'record', {RECORD}{answer})::text FROM {names['skillstat_cursors']}"
        " WHERE projection = %s AND building = %s FOR UPDATE",
        (*values, projection.name, names.building),
    )
    if found is None:
        yield from checking(names)
        return _meant(names, None, projection), {}
    checked_primary(found["is_standby"])
    return _record(names, found, projection), found


def _forgotten(names: Names, skill_ids: Iterable[str]) -> Steps[frozenset[str]]:
    """Return those of the skills that are forgotten."""
    found = yield Query(f"SELECT {forgotten_of(names)}::text", (texts(skill_ids),))
    return frozenset(found)


def forgotten_of(names: Names) -> str:
    """Return the expression for the forgotten ones of some skills, which are its parameter."""
    return (
        f"(SELECT coalesce(json_agg(skill_id), '[]') FROM {names['skillstat_forgotten']}"
        " WHERE skill_id = ANY(%s::text[]))"
    )


def forgetting(names: Names, projection: Projection, skill_id: str, at: datetime) -> Steps[bool]:
    """Drop a skill for good: see ``StatsStore.forget``."""
    yield BEGIN
    # Nobody declares a projection meanwhile: it would not be in the list below.
    yield Query(
        "SELECT 'null' FROM pg_advisory_xact_lock_shared(hashtextextended(%s, 0))",
        (names.schema,),
    )
    # Every record first, in one order: no commit is under way any more, and none can begin. Who
    # begins to build holds the serving record, so what is built is complete once those are locked.
    there: list[tuple[str, str]] = []
    for which in ("=", "<>"):
        there += yield Query(
            "SELECT coalesce(json_agg(json_build_array(projection, building)"
            " ORDER BY projection, building), '[]')::text FROM ("
            f"SELECT projection, building FROM {names['skillstat_cursors']}"
            f" WHERE building {which} '' ORDER BY projection, building FOR UPDATE) AS locked"
        )
    yield from locked(names.serving, projection)
    # Also where it was forgotten already: what a transaction has set that was open then goes, too.
    yield dropping(names, skill_id)
    is_new = yield Query(
        f"WITH new AS (INSERT INTO {names['skillstat_forgotten']} VALUES (%s, %s)"
        " ON CONFLICT DO NOTHING RETURNING skill_id)"
        " SELECT json_build_array(count(*) = 1)::text FROM new",
        (skill_id, microseconds(at)),
    )
    if is_new[0]:
        for name, building in there:
            yield from _dropping(names, name, building, skill_id, at)
        entries = names["skillstat_board_entries"]
        yield Query(f"DELETE FROM {entries} WHERE skill_id = %s", (skill_id,))
    yield COMMIT
    return bool(is_new[0])


def _dropping(names: Names, name: str, building: str, skill_id: str, at: datetime) -> Steps[None]:
    """Take a skill out of one set of numbers, and out of its control totals."""
    record = yield from finding(names, name, building)
    stored = None if record is None else Projection.from_table(record.table)
    if record is None or stored is None or stored.name != name:
        raise SchemaError(f"the cursor record of projection {name!r} was changed by other hands")
    names = names.built(building, record.generation)
    controls = dict(record.controls)
    tables = [(names.totals(name), "", stored.counters)]
    if stored.columns:
        tables += [
            (names.rollups(name, each), f"{each.value}.", stored.columns)
            for each in stored.granularities
        ]
    for table, prefix, columns in tables:
        sums = ", ".join(f"coalesce(sum({quoted(column)}), 0)" for column in columns)
        returned = ", ".join(map(quoted, columns))
        gone = yield Query(
            f"WITH gone AS (DELETE FROM {table} WHERE skill_id = %s RETURNING {returned})"
            f" SELECT json_build_array({sums})::text FROM gone",
            (skill_id,),
        )
        for column, value in zip(columns, gone, strict=True):
            controls[prefix + column] -= value
    parked = yield from dropping_parked(names, record, skill_id)
    yield replacing(
        names,
        attrs.evolve(
            record,
            controls=controls,
            parked=record.parked - parked,
            revision=record.revision + 1,
            updated_at=at,
        ),
    )

"""Rollups that have expired: which go in one step, and how."""

from __future__ import annotations

from datetime import datetime

import attrs

from skillstat_agg._buckets import Granularity
from skillstat_agg._commits import Cursor, stored_projection
from skillstat_agg._events import MAX_INTEGER
from skillstat_agg._projections import Projection
from skillstat_agg._stores import Expired
from skillstat_agg.backends.postgres._names import Names, Query, quoted
from skillstat_agg.backends.postgres._schema import BEGIN, COMMIT, Steps, finding, replacing
from skillstat_agg.backends.postgres._stats import bucket_at, bucket_number, locked


def expiring(
    names: Names,
    projection: Projection,
    granularity: Granularity,
    first: int,
    limit: int,
    at: datetime,
) -> Steps[Expired]:
    """Delete the rollups before a bucket: see ``RetentionStore.expire``."""
    yield BEGIN
    record = yield from locked(names, projection)
    stored_projection(record).check_granularity(granularity)
    known = record.expired.get(granularity.value)
    if known is not None and known >= first:
        yield COMMIT
        return Expired(cursor=record, rows=0, is_last=True)
    end = yield from _end_of_step(names, projection.name, granularity, first, limit)
    expired, rows = yield from _expired(names, record, granularity, end, at)
    for built in () if names.building else (yield from _built_beside(names, projection.name)):
        if granularity in stored_projection(built).granularities:
            beside = names.built(built.building, built.generation)
            yield from _expired(beside, built, granularity, end, at)
    yield COMMIT
    return Expired(cursor=expired, rows=rows, is_last=end == first)


def _built_beside(names: Names, projection: str) -> Steps[list[Cursor]]:
    """Return the records of all that is built beside what serves; nobody else changes them."""
    there = yield Query(
        "SELECT coalesce(json_agg(building ORDER BY building), '[]')::text"
        f" FROM {names['skillstat_cursors']} WHERE projection = %s AND building <> ''",
        (projection,),
    )
    found = []
    for building in there:
        cursor = yield from finding(names, projection, building, lock=True)
        if cursor is not None:
            found.append(cursor)
    return found


def _expired(
    names: Names, record: Cursor, granularity: Granularity, end: int, at: datetime
) -> Steps[tuple[Cursor, int]]:
    """Delete the rollups before a bucket from one set of numbers."""
    columns = stored_projection(record).columns
    sums = "".join(f", coalesce(sum({quoted(column)}), 0)" for column in columns)
    returned = ", ".join((granularity.value, *map(quoted, columns)))
    rows, *gone = yield Query(
        f"WITH gone AS (DELETE FROM {names.rollups(record.projection, granularity)}"
        f" WHERE {granularity.value} < {bucket_at(granularity)} RETURNING {returned})"
        f" SELECT json_build_array(count(*){sums})::text FROM gone",
        (end,),
    )
    controls = dict(record.controls)
    for column, value in zip(columns, gone, strict=True):
        controls[f"{granularity.value}.{column}"] -= value
    expired = attrs.evolve(
        record,
        controls=controls,
        expired={**record.expired, granularity.value: end},
        revision=record.revision + 1,
        updated_at=at,
    )
    yield replacing(names, expired)
    return expired, rows


def _end_of_step(
    names: Names, projection: str, granularity: Granularity, first: int, limit: int
) -> Steps[int]:
    """Return the first bucket to keep, so that those before it hold at most *limit* rows.

    One bucket goes at least, however many rows it has.
    """
    bucket, number = granularity.value, bucket_number(granularity)
    where = (
        f"FROM {names.rollups(projection, granularity)} WHERE {bucket} < {bucket_at(granularity)}"
        f" ORDER BY {bucket}"
    )
    oldest, after = yield Query(
        f"SELECT json_build_array((SELECT {number} {where} LIMIT 1),"
        f" (SELECT {number} {where} OFFSET %s LIMIT 1))::text",
        (first, first, min(limit, MAX_INTEGER)),
    )
    return first if after is None else max(int(after), int(oldest) + 1)

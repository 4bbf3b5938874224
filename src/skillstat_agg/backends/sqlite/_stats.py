"""The stats of one projection: a stats store on an SQLite database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone

import attrs

from skillstat_agg._buckets import (
    Granularity,
    buckets_between,
    from_microseconds,
    microseconds,
)
from skillstat_agg._commits import Commit, CommitResult, Cursor, check_readable
from skillstat_agg._events import MAX_INTEGER, check_skill_id, checked_skill_ids
from skillstat_agg._pages import check_bounds
from skillstat_agg._projections import Projection
from skillstat_agg._quarantine import Quarantine
from skillstat_agg._stores import Expired, Rollups, Totals
from skillstat_agg.backends._clocks import Clock, utc_now
from skillstat_agg.backends.sqlite._adding import apply, bucket_text
from skillstat_agg.backends.sqlite._expiring import delete_before, end_of_step
from skillstat_agg.backends.sqlite._lookups import rows_of
from skillstat_agg.backends.sqlite._parking import drop_parked, parked_events
from skillstat_agg.backends.sqlite._schema import (
    check_schema,
    find_cursor,
    replace_cursor,
    rollup_table,
    totals_table,
)
from skillstat_agg.backends.sqlite._transactions import reading, writing
from skillstat_agg.errors import (
    CursorConflictError,
    SchemaError,
)


class SQLiteStatsStore:
    """A stats store over a connection that its caller owns; one per thread.

    The numbers stand in tables that are made to be joined: ``<projection>_totals``
    (``skill_id``, a column per counter) and ``<projection>_daily`` or ``_hourly``
    (``day`` as ``2026-03-01`` or ``hour`` as ``2026-03-01 13:00``, in UTC, ``skill_id``, a
    column per rollup column). They hold signed sums. No method joins a transaction.

    Args:
        db: The connection. `create_tables` has been called on its database with the
            projection.
        projection: The projection whose stats these are.
        clock: Gives ``updated_at``.
    """

    def __init__(
        self, db: sqlite3.Connection, projection: Projection, *, clock: Clock = utc_now
    ) -> None:
        self._db = db
        self._projection = projection
        self._clock = clock

    @property
    def projection(self) -> Projection:
        """The projection whose stats these are."""
        return self._projection

    def cursor(self) -> Cursor:
        """Return the stored cursor record: see ``StatsStore.cursor``."""
        with reading(self._db, "cursor") as sql:
            return self._cursor(sql)

    def commit(self, commit: Commit, /) -> CommitResult:
        """Add the deltas and store the cursor: see ``StatsStore.commit``."""
        with writing(self._db, "commit") as sql:
            if self._cursor(sql) != commit.expected:
                raise CursorConflictError(self._projection.name)
            kept = commit.without(_forgotten(sql, list(commit.skills)))
            return apply(sql, kept, self._now())

    def totals(self, skill_ids: Iterable[str] | None = None, /) -> Totals:
        """Return the totals of these skills, or of all: see ``StatsStore.totals``."""
        wanted = None if skill_ids is None else checked_skill_ids(skill_ids)
        counters = self._projection.counters
        with reading(self._db, "totals") as sql:
            cursor = self._cursor(sql)
            stored = check_readable(cursor, self._projection)
            select = (
                f"SELECT +skill_id, {_columns(counters, stored.counters)}"
                f" FROM {totals_table(self._projection.name)}"
            )
            rows = (
                sql.execute(select)
                if wanted is None
                else rows_of(sql, f"{select} WHERE skill_id IN", wanted)
            )
            return Totals(
                cursor, {skill: dict(zip(counters, sums, strict=True)) for skill, *sums in rows}
            )

    def rollups(
        self,
        skill_id: str,
        granularity: Granularity,
        /,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Rollups:
        """Return the rollups of one skill: see ``StatsStore.rollups``."""
        check_skill_id(skill_id)
        self._projection.check_granularity(granularity)
        buckets = buckets_between(since, until, granularity)
        columns = self._projection.columns
        with reading(self._db, "rollups") as sql:
            cursor = self._cursor(sql)
            stored = check_readable(cursor, self._projection)
            if not columns or not buckets:
                return Rollups(cursor, {})
            names = _columns(columns, stored.columns)
            rows = _rollups_of(sql, self._projection.name, granularity, names, skill_id, buckets)
            return Rollups(
                cursor,
                {
                    datetime.fromisoformat(bucket).replace(tzinfo=timezone.utc): dict(
                        zip(columns, sums, strict=True)
                    )
                    for bucket, *sums in rows
                },
            )

    def quarantine(self, *, limit: int) -> Quarantine:
        """Return what the table cannot count: see ``StatsStore.quarantine``."""
        check_bounds(limit=limit)
        with reading(self._db, "quarantine") as sql:
            cursor = self._cursor(sql)
            most = min(limit, MAX_INTEGER)
            return Quarantine(
                cursor=cursor, events=parked_events(sql, self._projection.name, limit=most)
            )

    def expire(self, granularity: Granularity, first: int, /, *, limit: int) -> Expired:
        """Delete the rollups before a bucket: see ``RetentionStore.expire``."""
        check_bounds(limit=limit)
        self._projection.check_granularity(granularity)
        with writing(self._db, "expire") as sql:
            cursor = self._cursor(sql)
            known = cursor.expired.get(granularity.value)
            if known is not None and known >= first:
                return Expired(cursor=cursor, rows=0, is_last=True)
            end = end_of_step(sql, self._projection.name, granularity, first, limit)
            rows, controls = delete_before(sql, cursor, granularity, end)
            expired = attrs.evolve(
                cursor,
                controls=controls,
                expired={**cursor.expired, granularity.value: end},
                revision=cursor.revision + 1,
                updated_at=self._now(),
            )
            replace_cursor(sql, expired)
        return Expired(cursor=expired, rows=rows, is_last=end == first)

    def forget(self, skill_id: str, /) -> bool:
        """Drop a skill for good: see ``StatsStore.forget``."""
        check_skill_id(skill_id)
        with writing(self._db, "forget") as sql:
            self._cursor(sql)
            now = self._now()
            sql.execute(
                "INSERT INTO main.skillstat_forgotten VALUES (?, ?) ON CONFLICT DO NOTHING",
                (skill_id, microseconds(now)),
            )
            if sql.rowcount == 0:
                return False
            names = sql.execute(
                "SELECT +projection FROM main.skillstat_cursors WHERE building = ''"
            ).fetchall()
            for (name,) in names:
                _drop(sql, name, skill_id, now)
        return True

    def _now(self) -> datetime:
        return from_microseconds(microseconds(self._clock()))

    def _cursor(self, sql: sqlite3.Cursor) -> Cursor:
        check_schema(sql)
        cursor = find_cursor(sql, self._projection.name)
        if cursor is None:
            raise SchemaError(
                f"the database holds no stats of projection {self._projection.name!r}: call"
                " create_tables with it once"
            )
        return cursor


def _columns(names: tuple[str, ...], stored: tuple[str, ...]) -> str:
    """Return *names* as columns to select; 0 for those that the stored table has not yet."""
    return ", ".join(f'+"{name}"' if name in stored else "0" for name in names)


def _forgotten(sql: sqlite3.Cursor, skill_ids: Sequence[str]) -> frozenset[str]:
    """Return those of the skills that are forgotten."""
    if sql.execute("SELECT 1 FROM main.skillstat_forgotten LIMIT 1").fetchone() is None:
        return frozenset()
    select = "SELECT +skill_id FROM main.skillstat_forgotten WHERE skill_id IN"
    return frozenset(skill for skill, *_ in rows_of(sql, select, skill_ids))


def _rollups_of(
    sql: sqlite3.Cursor,
    projection: str,
    granularity: Granularity,
    columns: str,
    skill_id: str,
    buckets: range,
) -> Sequence[tuple[str, *tuple[int, ...]]]:
    """Return bucket and *columns* of one skill, in the order of time.

    The key begins with the bucket, which makes folding cheap; here it is skipped through
    from bucket to bucket, so that one skill is found without reading the others. No column
    begins with ``_``.
    """
    table, bucket = rollup_table(projection, granularity), granularity.value
    first, last = (bucket_text(end, granularity) for end in (buckets[0], buckets[-1]))
    return sql.execute(
        f"""
        WITH RECURSIVE _there (_start) AS (
            SELECT min({bucket}) FROM {table} WHERE {bucket} >= ?
            UNION ALL
            SELECT (SELECT min({bucket}) FROM {table} WHERE {bucket} > _start)
            FROM _there WHERE _start < ?
        )
        SELECT +{bucket}, {columns} FROM _there CROSS JOIN {table}
        WHERE {bucket} = _start AND skill_id = ? AND _start <= ? ORDER BY {bucket}
        """,
        (first, last, skill_id, last),
    ).fetchall()


def _drop(sql: sqlite3.Cursor, name: str, skill_id: str, now: datetime) -> None:
    """Take a skill out of one projection, and out of its control totals."""
    cursor = find_cursor(sql, name)
    stored = None if cursor is None else Projection.from_table(cursor.table)
    if cursor is None or stored is None or stored.name != name:
        raise SchemaError(f"the cursor record of projection {name!r} was changed by other hands")
    controls = dict(cursor.controls)
    names = ", ".join(f'+"{counter}"' for counter in stored.counters)
    table = totals_table(name)
    row = sql.execute(f"SELECT {names} FROM {table} WHERE skill_id = ?", (skill_id,)).fetchone()
    for counter, value in zip(stored.counters, row or (0,) * len(stored.counters), strict=True):
        controls[counter] -= value
    sql.execute(f"DELETE FROM {table} WHERE skill_id = ?", (skill_id,))
    for each in stored.granularities if stored.columns else ():
        columns = ", ".join(f'+"{column}"' for column in stored.columns)
        everything = buckets_between(None, None, each)
        rows = _rollups_of(sql, name, each, columns, skill_id, everything)
        for _, *sums in rows:
            for column, value in zip(stored.columns, sums, strict=True):
                controls[f"{each.value}.{column}"] -= value
        sql.executemany(
            f"DELETE FROM {rollup_table(name, each)} WHERE {each.value} = ? AND skill_id = ?",
            [(bucket, skill_id) for bucket, *_ in rows],
        )
    replace_cursor(
        sql,
        attrs.evolve(
            cursor,
            controls=controls,
            parked=cursor.parked - drop_parked(sql, cursor, skill_id),
            revision=cursor.revision + 1,
            updated_at=now,
        ),
    )

"""The stats of one projection: a stats store on an SQLite database."""

from __future__ import annotations

import copy
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime

import attrs

from skillstat_agg._boards import BoardRead, Publication
from skillstat_agg._buckets import (
    Granularity,
    buckets_between,
    from_microseconds,
    microseconds,
)
from skillstat_agg._commits import Commit, CommitResult, Cursor, check_readable, stored_projection
from skillstat_agg._events import MAX_INTEGER, check_skill_id, checked_skill_ids
from skillstat_agg._generations import Comparison, Sums, check_building, swapped
from skillstat_agg._leaderboards import Order, Ranked
from skillstat_agg._notes import Note, storable
from skillstat_agg._pages import check_bounds
from skillstat_agg._projections import Projection
from skillstat_agg._quarantine import Quarantine
from skillstat_agg._ranges import Buckets
from skillstat_agg._series import RollupsOf
from skillstat_agg._stores import Expired, Rollups, Totals
from skillstat_agg.backends._clocks import Clock, utc_now
from skillstat_agg.backends._records import tables_of
from skillstat_agg.backends.sqlite import _boards, _reading
from skillstat_agg.backends.sqlite._adding import apply, bucket_text, bucket_time
from skillstat_agg.backends.sqlite._expiring import delete_before, end_of_step
from skillstat_agg.backends.sqlite._generations import (
    begin,
    built_beside,
    comparison,
    controls_of,
    copy_over,
    drop,
)
from skillstat_agg.backends.sqlite._lookups import rows_of
from skillstat_agg.backends.sqlite._parking import (
    count_parked,
    drop_parked,
    move_parked,
    parked_events,
)
from skillstat_agg.backends.sqlite._schema import (
    check_schema,
    find_cursor,
    read_column,
    replace_cursor,
    rollup_table,
    totals_table,
)
from skillstat_agg.backends.sqlite._transactions import reading, writing
from skillstat_agg.errors import (
    CursorConflictError,
    NotBuildingError,
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
        self._building = ""
        self._generation = 0

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
                f" FROM {totals_table(self._tables)}"
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
            rows = _rollups_of(sql, self._tables, granularity, names, skill_id, buckets)
            return Rollups(
                cursor,
                {
                    bucket_time(bucket): dict(zip(columns, sums, strict=True))
                    for bucket, *sums in rows
                },
            )

    def quarantine(self, *, limit: int) -> Quarantine:
        """Return what the table cannot count: see ``StatsStore.quarantine``."""
        check_bounds(limit=limit)
        with reading(self._db, "quarantine") as sql:
            cursor = self._cursor(sql)
            most = min(limit, MAX_INTEGER)
            name, building = self._projection.name, self._building
            return Quarantine(cursor=cursor, events=parked_events(sql, name, building, limit=most))

    def expire(self, granularity: Granularity, first: int, /, *, limit: int) -> Expired:
        """Delete the rollups before a bucket: see ``RetentionStore.expire``."""
        check_bounds(limit=limit)
        self._projection.check_granularity(granularity)
        with writing(self._db, "expire") as sql:
            cursor = self._cursor(sql)
            stored_projection(cursor).check_granularity(granularity)
            known = cursor.expired.get(granularity.value)
            if known is not None and known >= first:
                return Expired(cursor=cursor, rows=0, is_last=True)
            end = end_of_step(sql, self._tables, granularity, first, limit)
            expired, rows = self._expired(sql, cursor, granularity, end)
            for built in [] if self._building else built_beside(sql, cursor):
                if granularity in stored_projection(built).granularities:
                    self._expired(sql, built, granularity, end)
        return Expired(cursor=expired, rows=rows, is_last=end == first)

    def _expired(
        self, sql: sqlite3.Cursor, cursor: Cursor, granularity: Granularity, end: int
    ) -> tuple[Cursor, int]:
        """Delete the rollups before a bucket from one set of numbers."""
        rows, controls = delete_before(sql, cursor, granularity, end)
        expired = attrs.evolve(
            cursor,
            controls=controls,
            expired={**cursor.expired, granularity.value: end},
            revision=cursor.revision + 1,
            updated_at=self._now(),
        )
        replace_cursor(sql, expired)
        return expired, rows

    def forget(self, skill_id: str, /) -> bool:
        """Drop a skill for good: see ``StatsStore.forget``."""
        check_skill_id(skill_id)
        with writing(self._db, "forget") as sql:
            self._cursor(sql)
            now = self._now()
            # Also where it was forgotten already: badges that were set by hand go, too.
            sql.execute("DELETE FROM main.skillstat_badges WHERE skill_id = ?", (skill_id,))
            sql.execute(
                "INSERT INTO main.skillstat_forgotten VALUES (?, ?) ON CONFLICT DO NOTHING",
                (skill_id, microseconds(now)),
            )
            if sql.rowcount == 0:
                return False
            there = sql.execute("SELECT +projection, +building FROM main.skillstat_cursors")
            for name, building in there.fetchall():
                _drop(sql, name, skill_id, now, building)
            _boards.drop(sql, skill_id)
        return True

    def sums(self) -> Sums:
        """Return what the stored numbers add up to: see ``SumStore.sums``."""
        with reading(self._db, "sums") as sql:
            cursor = self._cursor(sql)
            return Sums(
                cursor=cursor,
                controls=controls_of(sql, cursor),
                parked=count_parked(sql, cursor),
            )

    def building(self, name: str, /) -> SQLiteStatsStore:
        """Return what is built under a name: see ``GenerationStore.building``."""
        check_building(name)
        with writing(self._db, "building") as sql:
            serving = self._serving(sql)
            built = find_cursor(sql, self._projection.name, name)
            if built is None:
                built = begin(sql, serving, self._projection, name, self._now())
        store = copy.copy(self)
        store._building, store._generation = name, built.generation
        return store

    def swap(self, name: str, /) -> Cursor:
        """Put what was built in the place of what serves: see ``GenerationStore.swap``."""
        check_building(name)
        with writing(self._db, "swap") as sql:
            serving, built = self._serving(sql), self._built(sql, name)
            cursor = swapped(serving, built, self._now())
            copy_over(sql, serving, built)
            move_parked(sql, built)
            drop(sql, built)
            replace_cursor(sql, cursor)
        return cursor

    def discard(self, name: str, /) -> bool:
        """Drop what is built: see ``GenerationStore.discard``."""
        check_building(name)
        with writing(self._db, "discard") as sql:
            self._serving(sql)
            built = find_cursor(sql, self._projection.name, name)
            if built is not None:
                drop(sql, built)
        return built is not None

    def differences(self, name: str, /, *, limit: int) -> Comparison:
        """Compare the serving numbers with what was built: see ``GenerationStore.differences``."""
        check_building(name)
        check_bounds(limit=limit)
        with reading(self._db, "differences") as sql:
            return comparison(sql, self._serving(sql), self._built(sql, name), limit)

    def rollups_of(self, skill_ids: Iterable[str], over: Buckets, /) -> RollupsOf:
        """Return the rollups of these skills: see ``SeriesStore.rollups_of``."""
        wanted = checked_skill_ids(skill_ids)
        self._projection.check_granularity(over.granularity)
        with reading(self._db, "rollups_of") as sql:
            cursor = self._cursor(sql)
            stored = check_readable(cursor, self._projection)
            columns = _columns(self._projection.columns, stored.columns)
            return _reading.rollups_of(sql, cursor, self._tables, columns, wanted, over)

    def ranked(self, order: Order, /, *, limit: int) -> Ranked:
        """Return the first skills in an order: see ``RankStore.ranked``."""
        check_bounds(limit=limit)
        order.check(self._projection)
        with reading(self._db, "ranked") as sql:
            cursor = self._cursor(sql)
            stored = check_readable(cursor, self._projection)
            return _reading.ranked(sql, cursor, self._tables, stored, order, limit)

    def publish(self, publication: Publication, /) -> int:
        """Store the boards: see ``BoardStore.publish``."""
        publication.check(self._projection)
        with writing(self._db, "publish") as sql:
            self._cursor(sql)
            return _boards.publish(sql, self._projection.name, publication, self._now(), _forgotten)

    def board(self, name: str, /, *, version: int | None, after: int, limit: int) -> BoardRead:
        """Return a part of a published board: see ``BoardStore.board``."""
        with reading(self._db, "board") as sql:
            self._cursor(sql)
            part = (version, after, limit)
            return _boards.part_of(sql, self._projection.name, name, part, self._now())

    @property
    def _tables(self) -> str:
        return tables_of(self._projection.name, self._building, self._generation)

    def forgotten(self, skill_ids: Iterable[str], /) -> frozenset[str]:
        """Return those of these skills that are forgotten: see ``StatsStore.forgotten``."""
        asked = checked_skill_ids(skill_ids)
        with reading(self._db, "forgotten") as sql:
            check_schema(sql)
            return _forgotten(sql, asked)

    def note_error(self, text: str, /) -> None:
        """Keep what went wrong last: see ``NoteStore.note_error``."""
        note = (self._projection.name, microseconds(self._clock()), storable(text))
        with writing(self._db, "note_error") as sql:
            check_schema(sql)
            sql.execute("INSERT OR REPLACE INTO main.skillstat_errors VALUES (?, ?, ?)", note)

    def last_error(self) -> Note | None:
        """Return what went wrong last: see ``NoteStore.last_error``."""
        with reading(self._db, "last_error") as sql:
            check_schema(sql)
            row = sql.execute(
                "SELECT +at_us, +error FROM main.skillstat_errors WHERE projection = ?",
                (self._projection.name,),
            ).fetchone()
        return None if row is None else Note(at=from_microseconds(row[0]), text=row[1])

    def _now(self) -> datetime:
        return from_microseconds(microseconds(self._clock()))

    def _cursor(self, sql: sqlite3.Cursor) -> Cursor:
        if not self._building:
            return self._serving(sql)
        built = self._built(sql, self._building)
        if built.generation != self._generation:
            raise NotBuildingError(self._projection.name, self._building)
        return built

    def _serving(self, sql: sqlite3.Cursor) -> Cursor:
        check_schema(sql)
        cursor = find_cursor(sql, self._projection.name)
        if cursor is None:
            raise SchemaError(
                f"the database holds no stats of projection {self._projection.name!r}: call"
                " create_tables with it once"
            )
        return cursor

    def _built(self, sql: sqlite3.Cursor, name: str) -> Cursor:
        check_schema(sql)
        built = find_cursor(sql, self._projection.name, name)
        if built is None:
            raise NotBuildingError(self._projection.name, name)
        return built


def _columns(names: tuple[str, ...], stored: tuple[str, ...]) -> str:
    """Return *names* as columns to select; 0 for those that the stored table has not yet."""
    return ", ".join(f"+{read_column(name)}" if name in stored else "0" for name in names)


def _forgotten(sql: sqlite3.Cursor, skill_ids: Sequence[str]) -> frozenset[str]:
    """Return those of the skills that are forgotten."""
    if sql.execute("SELECT 1 FROM main.skillstat_forgotten LIMIT 1").fetchone() is None:
        return frozenset()
    select = "SELECT +skill_id FROM main.skillstat_forgotten WHERE skill_id IN"
    return frozenset(skill for skill, *_ in rows_of(sql, select, skill_ids))


def _rollups_of(
    sql: sqlite3.Cursor,
    tables: str,
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
    table, bucket = rollup_table(tables, granularity), granularity.value
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


def _drop(sql: sqlite3.Cursor, name: str, skill_id: str, now: datetime, building: str = "") -> None:
    """Take a skill out of one set of numbers, and out of its control totals."""
    cursor = find_cursor(sql, name, building)
    stored = None if cursor is None else Projection.from_table(cursor.table)
    if cursor is None or stored is None or stored.name != name:
        raise SchemaError(f"the cursor record of projection {name!r} was changed by other hands")
    controls = dict(cursor.controls)
    names = ", ".join(f"+{read_column(counter)}" for counter in stored.counters)
    tables = tables_of(name, building, cursor.generation)
    table = totals_table(tables)
    row = sql.execute(f"SELECT {names} FROM {table} WHERE skill_id = ?", (skill_id,)).fetchone()
    for counter, value in zip(stored.counters, row or (0,) * len(stored.counters), strict=True):
        controls[counter] -= value
    sql.execute(f"DELETE FROM {table} WHERE skill_id = ?", (skill_id,))
    for each in stored.granularities if stored.columns else ():
        columns = ", ".join(f"+{read_column(column)}" for column in stored.columns)
        everything = buckets_between(None, None, each)
        rows = _rollups_of(sql, tables, each, columns, skill_id, everything)
        for _, *sums in rows:
            for column, value in zip(stored.columns, sums, strict=True):
                controls[f"{each.value}.{column}"] -= value
        sql.executemany(
            f"DELETE FROM {rollup_table(tables, each)} WHERE {each.value} = ? AND skill_id = ?",
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

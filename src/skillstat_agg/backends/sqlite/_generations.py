"""Numbers that are built beside those that serve: their tables, and both compared."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import attrs

from skillstat_agg._buckets import Granularity
from skillstat_agg._commits import Cursor, stored_projection
from skillstat_agg._generations import (
    Comparison,
    Difference,
    begin_building,
    by_granularity,
    row_differences,
)
from skillstat_agg._projections import Projection
from skillstat_agg.backends._records import tables_of
from skillstat_agg.backends.sqlite._adding import bucket_time
from skillstat_agg.backends.sqlite._schema import (
    columns_of,
    find_cursor,
    make_stats,
    read_column,
    rollup_table,
    stats_tables,
    take_over,
    totals_table,
)
from skillstat_agg.errors import SchemaError

_LOW = 2**32
"""Sums are added up in halves of 32 bits, since SQLite's ``sum`` has 64 and no more."""


def controls_of(sql: sqlite3.Cursor, cursor: Cursor) -> dict[str, int]:
    """Return what the rows of a set of numbers add up to, by name of the control total."""
    projection, tables = stored_projection(cursor), _tables(cursor)
    sums = _sums_of(sql, totals_table(tables), projection.counters, "")
    for each in projection.granularities:
        table = rollup_table(tables, each)
        sums |= _sums_of(sql, table, projection.columns, f"{each.value}.")
    return sums


def _sums_of(
    sql: sqlite3.Cursor, table: str, columns: Sequence[str], prefix: str
) -> dict[str, int]:
    if not columns:
        return {}
    halves = ", ".join(
        f"coalesce(sum({column} >> 32), 0), coalesce(sum({column} & {_LOW - 1}), 0)"
        for column in map(read_column, columns)
    )
    found = iter(sql.execute(f"SELECT {halves} FROM {table}").fetchone())
    return {prefix + column: next(found) * _LOW + next(found) for column in columns}


def begin(
    sql: sqlite3.Cursor, serving: Cursor, projection: Projection, name: str, at: datetime
) -> Cursor:
    """Make tables and a record for new numbers, and return the record."""
    (last,) = sql.execute(
        "SELECT max(generation) FROM main.skillstat_cursors WHERE projection = ?",
        (projection.name,),
    ).fetchone()
    cursor = begin_building(serving, projection, name, last + 1, at)
    make_stats(sql, projection, cursor)
    return cursor


def drop(sql: sqlite3.Cursor, built: Cursor) -> None:
    """Drop what was built, its record included."""
    for table in stats_tables(stored_projection(built), _tables(built)):
        sql.execute(f'DROP TABLE main."{table}"')
    for shared in ("skillstat_cursors", "skillstat_parked"):
        sql.execute(
            f"DELETE FROM main.{shared} WHERE projection = ? AND building = ?",
            (built.projection, built.building),
        )


def built_beside(sql: sqlite3.Cursor, serving: Cursor) -> list[Cursor]:
    """Return the records of all that is built beside what serves."""
    names = sql.execute(
        "SELECT +building FROM main.skillstat_cursors WHERE projection = ? AND building <> ''"
        " ORDER BY building",
        (serving.projection,),
    ).fetchall()
    found = [find_cursor(sql, serving.projection, name) for (name,) in names]
    return [cursor for cursor in found if cursor is not None]


def copy_over(sql: sqlite3.Cursor, serving: Cursor, built: Cursor) -> None:
    """Make the serving rows those that were built; write only what differs."""
    old, new = stored_projection(serving), stored_projection(built)
    for granularity in new.granularities:
        if granularity not in old.granularities:
            _make_room(sql, new, granularity)
    take_over(sql, new, new.name)
    _copy_table(
        sql,
        _Pair(totals_table(new.name), totals_table(_tables(built)), ("skill_id",)),
        new.counters,
        old.counters,
    )
    for each in old.granularities:
        if each not in new.granularities:
            sql.execute(f"DELETE FROM {rollup_table(old.name, each)}")
    for each in new.granularities:
        tables = rollup_table(new.name, each), rollup_table(_tables(built), each)
        known = old.columns if each in old.granularities else ()
        _copy_table(sql, _Pair(*tables, (each.value, "skill_id")), new.columns, known)


def _make_room(sql: sqlite3.Cursor, new: Projection, granularity: Granularity) -> None:
    """Make a table of rollups that the serving numbers did not have.

    One may be there from a table that had this granularity once: it is empty.

    Raises:
        SchemaError: If there is one that cannot be it.
    """
    table = rollup_table(new.name, granularity)
    there = columns_of(sql, table)
    if not there:
        name = table.removeprefix("main.").strip('"')
        sql.execute(stats_tables(new, new.name)[name])
    elif (
        not {granularity.value, "skill_id"} <= there
        or sql.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() is not None
    ):
        raise SchemaError(f"the database has a table of another owner under our name {table}")


@attrs.frozen
class _Pair:
    """A table that serves, the one that was built, and the key columns of both."""

    serving: str
    built: str
    keys: tuple[str, ...]

    @property
    def same_key(self) -> str:
        """The condition that a row of each belongs to the other."""
        return " AND ".join(f"s.{key} = b.{key}" for key in self.keys)


def _copy_table(
    sql: sqlite3.Cursor, pair: _Pair, columns: tuple[str, ...], old: tuple[str, ...]
) -> None:
    """Make the rows of one table those of another.

    Args:
        sql: A cursor inside a transaction that writes.
        pair: The tables.
        columns: What is copied.
        old: What was counted before; what of it is not counted any more becomes 0.
    """
    for column in old:
        if column not in columns:
            sql.execute(f'UPDATE {pair.serving} SET "{column}" = 0 WHERE "{column}" <> 0')
    sql.execute(
        f"DELETE FROM {pair.serving} AS s WHERE NOT EXISTS"
        f" (SELECT 1 FROM {pair.built} AS b WHERE {pair.same_key})"
    )
    if columns:
        keys, names = ", ".join(pair.keys), ", ".join(f'"{name}"' for name in columns)
        given = ", ".join(f'b."{name}"' for name in columns)
        there = ", ".join(f's."{name}"' for name in columns)
        sets = ", ".join(f'"{name}" = excluded."{name}"' for name in columns)
        sql.execute(
            f"INSERT INTO {pair.serving} ({keys}, {names})"
            f" SELECT {', '.join(f'b.{key}' for key in pair.keys)}, {given}"
            f" FROM {pair.built} AS b LEFT JOIN {pair.serving} AS s ON {pair.same_key}"
            f" WHERE s.skill_id IS NULL OR ({there}) IS NOT ({given})"
            f" ON CONFLICT ({keys}) DO UPDATE SET {sets}"
        )


def comparison(sql: sqlite3.Cursor, serving: Cursor, built: Cursor, limit: int) -> Comparison:
    """Return how the serving numbers differ from those that were built."""
    found = tuple(itertools.islice(_differences(sql, serving, built, limit), limit + 1))
    return Comparison(
        serving=serving,
        building=built,
        differences=found[:limit],
        is_complete=len(found) <= limit,
    )


def _differences(
    sql: sqlite3.Cursor, serving: Cursor, built: Cursor, limit: int
) -> Iterator[Difference]:
    """Yield each number that differs, of at most one row more than *limit* in each table."""
    old, new = stored_projection(serving), stored_projection(built)
    counters = tuple(dict.fromkeys((*new.counters, *old.counters)))
    pair = _Pair(totals_table(old.name), totals_table(_tables(built)), ("skill_id",))
    sides = _Side(pair.serving, old.counters), _Side(pair.built, new.counters)
    for (skill,), expected, actual in _rows(sql, pair.keys, counters, *sides, limit):
        yield from row_differences("", skill, None, expected, actual)
    for each, columns in by_granularity(new, old).items():
        sides = (
            _Side(rollup_table(old.name, each), old.columns if each in old.granularities else None),
            _Side(
                rollup_table(_tables(built), each),
                new.columns if each in new.granularities else None,
            ),
        )
        keys = (each.value, "skill_id")
        for (bucket, skill), expected, actual in _rows(sql, keys, columns, *sides, limit):
            start = bucket_time(bucket)
            yield from row_differences(f"{each.value}.", skill, start, expected, actual)


@attrs.frozen
class _Side:
    """A table and its columns of sums; None: it is not there."""

    table: str
    columns: tuple[str, ...] | None

    def source(self, keys: tuple[str, ...]) -> str:
        """Return what stands behind FROM: no row, where there is no table."""
        if self.columns is not None:
            return self.table
        return f"(SELECT {', '.join(f'NULL AS {key}' for key in keys)} WHERE 0)"

    def sums(self, name: str, columns: tuple[str, ...]) -> str:
        """Return *columns* as they stand in a row called *name*; 0 for what is not there."""
        there = self.columns or ()
        return ", ".join(
            f'coalesce({name}."{each}", 0)' if each in there else "0" for each in columns
        )


def _rows(
    sql: sqlite3.Cursor,
    keys: tuple[str, ...],
    columns: tuple[str, ...],
    serving: _Side,
    built: _Side,
    limit: int,
) -> Iterator[tuple[Sequence[Any], dict[str, int] | None, dict[str, int] | None]]:
    """Yield the key, the row that was built and the one that serves, where they differ."""
    same = " AND ".join(f"s.{key} = b.{key}" for key in keys)
    sums = f"{serving.sums('s', columns)}, {built.sums('b', columns)}"
    unlike = f"({serving.sums('s', columns)}) IS NOT ({built.sums('b', columns)})"
    is_total = len(keys) == 1
    one, other = f"{serving.source(keys)} AS s", f"{built.source(keys)} AS b"
    rows = sql.execute(
        f"SELECT {', '.join(f's.{key}' for key in keys)}, 1, b.skill_id IS NOT NULL, {sums}"
        f" FROM {one} LEFT JOIN {other} ON {same}"
        f" WHERE {unlike}{' OR b.skill_id IS NULL' if is_total else ''}"
        f" UNION ALL SELECT {', '.join(f'b.{key}' for key in keys)}, 0, 1, {sums}"
        f" FROM {other} LEFT JOIN {one} ON {same}"
        f" WHERE s.skill_id IS NULL{'' if is_total else f' AND {unlike}'}"
        f" ORDER BY {', '.join(map(str, range(1, len(keys) + 1)))} LIMIT ?",
        (limit + 1,),
    ).fetchall()
    for row in rows:
        key, (serves, was_built, *found) = row[: len(keys)], row[len(keys) :]
        actual, expected = found[: len(columns)], found[len(columns) :]
        yield (
            key,
            dict(zip(columns, expected, strict=True)) if was_built else None,
            dict(zip(columns, actual, strict=True)) if serves else None,
        )


def _tables(cursor: Cursor) -> str:
    return tables_of(cursor.projection, cursor.building, cursor.generation)

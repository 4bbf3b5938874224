"""Rollups that have expired: which go in one step, and how."""

from __future__ import annotations

import sqlite3

from skillstat_agg._buckets import Granularity, bucket_of
from skillstat_agg._commits import Cursor, stored_projection
from skillstat_agg.backends._records import tables_of
from skillstat_agg.backends.sqlite._adding import bucket_text, bucket_time
from skillstat_agg.backends.sqlite._schema import read_column, rollup_table


def end_of_step(
    sql: sqlite3.Cursor, tables: str, granularity: Granularity, first: int, limit: int
) -> int:
    """Return the first bucket to keep, so that those before it hold at most *limit* rows.

    One bucket goes at least, however many rows it has.
    """
    table, bucket = rollup_table(tables, granularity), granularity.value
    before = (bucket_text(first, granularity),)
    where = f"FROM {table} WHERE {bucket} < ?"
    row = sql.execute(
        f"SELECT +{bucket} {where} ORDER BY {bucket} LIMIT 1 OFFSET ?", (*before, limit)
    ).fetchone()
    if row is None:
        return first
    (oldest,) = sql.execute(f"SELECT min({bucket}) {where}", before).fetchone()
    return max(_number(row[0], granularity), _number(oldest, granularity) + 1)


def delete_before(
    sql: sqlite3.Cursor, cursor: Cursor, granularity: Granularity, end: int
) -> tuple[int, dict[str, int]]:
    """Delete the rollups before a bucket; return how many rows went, and the control totals."""
    stored, controls = stored_projection(cursor), dict(cursor.controls)
    tables = tables_of(cursor.projection, cursor.building, cursor.generation)
    table = rollup_table(tables, granularity)
    where = f"FROM {table} WHERE {granularity.value} < ?"
    before = (bucket_text(end, granularity),)
    if stored.columns:
        names = [f"{granularity.value}.{column}" for column in stored.columns]
        columns = ", ".join(f"+{read_column(column)}" for column in stored.columns)
        for sums in sql.execute(f"SELECT {columns} {where}", before):  # exact, unlike sum()
            for name, value in zip(names, sums, strict=True):
                controls[name] -= value
    sql.execute(f"DELETE {where}", before)
    return sql.rowcount, controls


def _number(text: str, granularity: Granularity) -> int:
    """Return the number of the bucket that its table names so."""
    return bucket_of(bucket_time(text), granularity)

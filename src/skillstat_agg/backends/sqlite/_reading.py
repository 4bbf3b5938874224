"""Series and ranks on SQLite: the statements, and what becomes of their rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from functools import cache

from skillstat_agg._buckets import bucket_of
from skillstat_agg._commits import Cursor
from skillstat_agg._events import MAX_INTEGER
from skillstat_agg._leaderboards import Order, Ranked
from skillstat_agg._projections import Projection
from skillstat_agg._ranges import Buckets
from skillstat_agg._series import RollupsOf
from skillstat_agg.backends.sqlite._adding import bucket_text, bucket_time
from skillstat_agg.backends.sqlite._lookups import rows_of
from skillstat_agg.backends.sqlite._schema import read_column, rollup_table, totals_table


def rollups_of(
    sql: sqlite3.Cursor,
    cursor: Cursor,
    tables: str,
    columns: str,
    skill_ids: list[str],
    over: Buckets,
) -> RollupsOf:
    """Return the rollups of several skills: see ``SeriesStore.rollups_of``.

    The key begins with the bucket: the range is skipped through from bucket to bucket, and the
    skills are looked up in each.

    Args:
        sql: A cursor in a snapshot.
        cursor: The cursor record.
        tables: What the names of the tables begin with.
        columns: The columns to select; empty: there are none.
        skill_ids: The skills.
        over: The buckets.
    """
    table, bucket = rollup_table(tables, over.granularity), over.granularity.value

    @cache
    def number(text: str) -> int:
        return bucket_of(bucket_time(text), over.granularity)

    (first,) = sql.execute(f"SELECT min({bucket}) FROM {table}").fetchone()
    rows: dict[str, dict[int, tuple[int, ...]]] = {}
    if columns and over.numbers and first is not None:
        since, last = _ends(over)
        # The ends hold nothing that could be taken for a parameter's mark or a quote.
        select = f"""
            WITH RECURSIVE _there (_start) AS (
                SELECT min({bucket}) FROM {table} WHERE {bucket} >= '{since}'
                UNION ALL
                SELECT (SELECT min({bucket}) FROM {table} WHERE {bucket} > _start)
                FROM _there WHERE _start < '{last}'
            )
            SELECT +skill_id, +{bucket}, {columns} FROM _there CROSS JOIN {table}
            WHERE {bucket} = _start AND _start <= '{last}' AND skill_id IN
            """
        for skill, start, *sums in rows_of(sql, select, skill_ids):
            rows.setdefault(skill, {})[number(start)] = tuple(sums)
    return RollupsOf(cursor=cursor, first=None if first is None else number(first), rows=rows)


def ranked(
    sql: sqlite3.Cursor,
    cursor: Cursor,
    tables: str,
    stored: Projection,
    order: Order,
    limit: int,
) -> Ranked:
    """Return the first skills in an order: see ``RankStore.ranked``.

    The database orders. Where a sum or a score leaves 64 bits, which it reports or lets become
    a float, that is done here, once more and exactly.

    Args:
        sql: A cursor in a snapshot.
        cursor: The cursor record.
        tables: What the names of the tables begin with.
        stored: The projection whose columns the tables have.
        order: The order.
        limit: How many skills at most.
    """
    if order.over is not None and not order.over.numbers:
        return Ranked(cursor=cursor, rows=())
    there = stored.counters if order.over is None else stored.columns
    columns = {name: read_column(name) if name in there else "0" for name in order.names}
    rows = _ordered(sql, tables, order, columns, min(limit, MAX_INTEGER))
    if rows is None:
        return Ranked(cursor=cursor, rows=order.top(_summed(sql, tables, order, columns), limit))
    return Ranked(cursor=cursor, rows=rows)


def _ordered(
    sql: sqlite3.Cursor, tables: str, order: Order, columns: Mapping[str, str], limit: int
) -> tuple[tuple[str, tuple[int, ...]], ...] | None:
    """Return the first skills with their sums; None: a number has left 64 bits."""
    sums = columns if order.over is None else {x: f"sum({y})" for x, y in columns.items()}
    scores = [
        " + ".join(
            f"max(0, {sums[name]})" + ("" if weight == 1 else f" * {weight}")
            for name, weight in key.items()
        )
        for key in order.keys
    ]
    # The sum of a column cannot become a float; what is made of it can, and then comes first.
    made = [f"typeof({score}) = 'real'" for score in scores if "*" in score or "+" in score]
    is_float = " OR ".join(made) or "0"
    by = [*([f"{is_float} DESC"] if made else []), *(f"{score} DESC" for score in scores)]
    is_shown = " OR ".join(f"{each} > 0" for each in sums.values())
    source, values = _source(tables, order)
    group = f"WHERE {is_shown}" if order.over is None else f"GROUP BY skill_id HAVING {is_shown}"
    try:
        rows = sql.execute(
            f"SELECT {is_float}, +skill_id, {', '.join(f'+{each}' for each in sums.values())}"
            f" FROM {source} {group} ORDER BY {', '.join(by)}, skill_id LIMIT ?",
            (*values, limit),
        ).fetchall()
    except sqlite3.OperationalError as error:
        if "integer overflow" in str(error):
            return None
        raise
    if rows and rows[0][0]:
        return None
    return tuple((skill, tuple(row)) for _, skill, *row in rows)


def _summed(
    sql: sqlite3.Cursor, tables: str, order: Order, columns: Mapping[str, str]
) -> Iterable[tuple[str, list[int]]]:
    """Return each skill with its sums, added up in Python."""
    source, values = _source(tables, order)
    names = ", ".join(f"+{column}" for column in columns.values())
    sums: dict[str, list[int]] = {}
    rows: Iterator[tuple[str, *tuple[int, ...]]] = sql.execute(
        f"SELECT +skill_id, {names} FROM {source}", values
    )
    for skill, *row in rows:
        before = sums.get(skill)
        sums[skill] = row if before is None else list(map(sum, zip(before, row, strict=True)))
    return sums.items()


def _source(tables: str, order: Order) -> tuple[str, tuple[str, ...]]:
    """Return what to select from, up to a WHERE, and its parameters."""
    if order.over is None:
        return totals_table(tables), ()
    table, bucket = rollup_table(tables, order.over.granularity), order.over.granularity.value
    return f"{table} WHERE {bucket} BETWEEN ? AND ?", _ends(order.over)


def _ends(over: Buckets) -> tuple[str, str]:
    """Return the first and the last bucket as the table names them."""
    first, last = (bucket_text(over.numbers[end], over.granularity) for end in (0, -1))
    return first, last

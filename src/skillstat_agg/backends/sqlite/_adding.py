"""How a commit gets into the tables of the stats."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import TypeAlias

import attrs

from skillstat_agg._buckets import Granularity, start_of
from skillstat_agg._commits import Commit, CommitResult
from skillstat_agg._deltas import Deltas
from skillstat_agg._events import MAX_INTEGER, MIN_INTEGER
from skillstat_agg._projections import Projection
from skillstat_agg.backends._records import tables_of
from skillstat_agg.backends.sqlite._parking import park, unpark
from skillstat_agg.backends.sqlite._schema import (
    read_column,
    replace_cursor,
    rollup_table,
    take_over,
    totals_table,
)
from skillstat_agg.errors import OutOfRangeError, SchemaError

_Row: TypeAlias = tuple[str | int, ...]


def apply(sql: sqlite3.Cursor, kept: Commit, at: datetime) -> CommitResult:
    """Store all that a commit says, once the record was compared and skills were looked up.

    Args:
        sql: A cursor inside the transaction.
        kept: The commit, without what concerns forgotten skills.
        at: The store's clock.
    """
    cursor = kept.cursor(at)
    replace_cursor(sql, cursor)
    tables = tables_of(cursor.projection, cursor.building, cursor.generation)
    if cursor.table != kept.expected.table:
        take_over(sql, kept.projection, tables)
    rows, changed = add_deltas(sql, kept.projection, kept.deltas, tables)
    unpark(sql, cursor, kept.taught)
    park(sql, cursor, kept.parked)
    return CommitResult(cursor=cursor, rows=rows, forgotten=kept.forgotten, changed=changed)


def add_deltas(
    sql: sqlite3.Cursor, projection: Projection, deltas: Deltas, tables: str
) -> tuple[int, frozenset[str]]:
    """Add *deltas*; return the number of rows written and the skills that changed.

    Args:
        sql: A cursor inside a transaction that writes.
        projection: Whose numbers they are.
        deltas: What to add.
        tables: What the names of the tables begin with: `tables_of`.
    """
    totals = _Sums(totals_table(tables), ("skill_id",), projection.counters, "")
    moved = {skill: row for skill, row in deltas.totals.items() if any(row)}
    totals.add(sql, projection, [(skill, *row) for skill, row in moved.items()])
    changed = set(moved)
    count = len(moved)
    for each, cells in deltas.rollups.items():
        table = rollup_table(tables, each)
        rollups = _Sums(table, (each.value, "skill_id"), projection.columns, f"{each.value}.")
        texts = {bucket: bucket_text(bucket, each) for bucket in {key[0] for key in cells}}
        rollups.add(
            sql,
            projection,
            [(texts[bucket], skill, *row) for (bucket, skill), row in cells.items()],
        )
        changed.update([skill for _, skill in cells])
        count += len(cells)
    for skill in deltas.totals:
        if skill not in moved:
            sql.execute(
                f"INSERT INTO {totals.table} (skill_id) VALUES (?) ON CONFLICT DO NOTHING", (skill,)
            )
            if sql.rowcount:
                changed.add(skill)
                count += 1
    return count, frozenset(changed)


@attrs.frozen
class _Sums:
    """A table of sums: its key columns, the last of which is the skill, and its sums.

    Attributes:
        table: Name of the table, quoted.
        keys: The key columns.
        names: The columns that hold sums.
        prefix: What stands before a column's name in an error.
    """

    table: str
    keys: tuple[str, ...]
    names: tuple[str, ...]
    prefix: str

    def add(self, sql: sqlite3.Cursor, projection: Projection, rows: Sequence[_Row]) -> None:
        """Add *rows* (keys, then amounts) to what is stored.

        Raises:
            OutOfRangeError: If a sum would leave signed 64 bits.
        """
        if not rows:
            return
        upsert = self._upsert(", ".join(f'"{x}" = "{x}" + excluded."{x}"' for x in self.names))
        sql.execute("SAVEPOINT skillstat_add")
        try:
            sql.executemany(upsert, rows)
        except (sqlite3.IntegrityError, OverflowError):
            # A sum or an amount is beyond 64 bits; the sum of an amount beyond may not be.
            # Or a trigger of somebody else has ended the transaction.
            if not sql.connection.in_transaction:
                raise
            sql.execute("ROLLBACK TO skillstat_add")
            self._add_one_by_one(sql, projection, rows)
        sql.execute("RELEASE skillstat_add")

    def _add_one_by_one(
        self, sql: sqlite3.Cursor, projection: Projection, rows: Sequence[_Row]
    ) -> None:
        """Add in Python, where integers have no end, and name the sum that has one."""
        upsert = self._upsert(", ".join(f'"{x}" = excluded."{x}"' for x in self.names))
        names = ", ".join(f"+{read_column(name)}" for name in self.names)
        where = " AND ".join(f'"{key}" = ?' for key in self.keys)
        for row in rows:
            keys, amounts = row[: len(self.keys)], row[len(self.keys) :]
            select = f"SELECT {names} FROM {self.table} WHERE {where}"
            before = sql.execute(select, keys).fetchone() or (0,) * len(amounts)
            sums = [old + int(amount) for old, amount in zip(before, amounts, strict=True)]
            for name, value in zip(self.names, sums, strict=True):
                if not MIN_INTEGER <= value <= MAX_INTEGER:
                    raise OutOfRangeError(projection.name, str(keys[-1]), self.prefix + name)
            sql.execute(upsert, (*keys, *sums))

    def _upsert(self, update: str) -> str:
        keys = ", ".join(f'"{key}"' for key in self.keys)
        columns = ", ".join(f'"{name}"' for name in self.names)
        marks = ", ".join("?" * (len(self.keys) + len(self.names)))
        return (
            f"INSERT INTO {self.table} ({keys}, {columns}) VALUES ({marks})"
            f" ON CONFLICT ({keys}) DO UPDATE SET {update}"
        )


def bucket_text(bucket: int, granularity: Granularity) -> str:
    """Return a bucket as its table names it: ``2026-03-01`` or ``2026-03-01 13:00``."""
    text = start_of(bucket, granularity).isoformat(" ")
    return text[:10] if granularity is Granularity.DAY else text[:16]


def bucket_time(text: str) -> datetime:
    """Return when a bucket begins that its table names so: see `bucket_text`.

    Raises:
        SchemaError: If other hands have written what names none.
    """
    try:
        return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)
    except (ValueError, TypeError) as error:
        raise SchemaError(
            f"a rollup was changed by other hands: {text!r} names no bucket; rebuild the numbers"
        ) from error

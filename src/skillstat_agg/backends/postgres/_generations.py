"""Numbers that are built beside those that serve: their tables, the swap, and both compared."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs

from skillstat_agg._buckets import Granularity
from skillstat_agg._commits import Cursor, stored_projection
from skillstat_agg._generations import (
    Comparison,
    Difference,
    Sums,
    begin_building,
    by_granularity,
    row_differences,
    swapped,
)
from skillstat_agg._projections import Projection
from skillstat_agg.backends._records import record_of, stored_start
from skillstat_agg.backends.postgres._names import Names, Query, quoted, together
from skillstat_agg.backends.postgres._parking import count_of_parked, moving_parked
from skillstat_agg.backends.postgres._schema import (
    BEGIN,
    COMMIT,
    RECORD,
    Steps,
    finding,
    inserting,
    numbers_tables,
    replacing,
    rollup_tables,
    sum_column,
)
from skillstat_agg.backends.postgres._stats import bucket_number, cursor, locked
from skillstat_agg.errors import NotBuildingError, SchemaError


def summing(names: Names, projection: Projection) -> Steps[Sums]:
    """Return what the stored numbers add up to: see ``SumStore.sums``."""
    while True:
        before = yield from cursor(names, projection)
        stored = stored_projection(before)
        answer = yield Query(
            f"SELECT json_build_object('record', (SELECT {RECORD} FROM"
            f" {names['skillstat_cursors']} WHERE projection = %s AND building = %s),"
            f" 'parked', {count_of_parked(names)}"
            f"{''.join(_sums_of(names, stored))})::text",
            (projection.name, names.building) * 2,
        )
        record = record_of(projection.name, names.building, answer["record"])
        if record.table == before.table:  # nobody has taken the stats over in between
            controls = {
                prefix + name: value
                for prefix, columns in _prefixes(stored)
                for name, value in zip(columns, answer[prefix], strict=True)
            }
            return Sums(cursor=record, controls=controls, parked=answer["parked"])


def _prefixes(projection: Projection) -> Iterator[tuple[str, tuple[str, ...]]]:
    yield "", projection.counters
    for each in projection.granularities:
        yield f"{each.value}.", projection.columns


def _sums_of(names: Names, projection: Projection) -> Iterator[str]:
    """Yield what is added to an answer: the sums of each table's columns, by their prefix."""
    tables = [names.totals(projection.name)]
    tables += [names.rollups(projection.name, each) for each in projection.granularities]
    for table, (prefix, columns) in zip(tables, _prefixes(projection), strict=True):
        # The server adds numbers of 64 bits up in more.
        sums = ", ".join(f"coalesce(sum({quoted(name)}), 0)" for name in columns)
        yield f", '{prefix}', (SELECT json_build_array({sums}) FROM {table})"


def beginning(names: Names, projection: Projection, name: str, at: datetime) -> Steps[Cursor]:
    """Return the record of what is built under a name; begin if there is none."""
    yield BEGIN
    # Held until the end: who forgets a skill waits, and then finds what is built here.
    serving = yield from locked(names, projection)
    built = yield from finding(names, projection.name, name)
    if built is None:
        (last,) = yield Query(
            f"SELECT json_build_array(max(generation))::text FROM {names['skillstat_cursors']}"
            " WHERE projection = %s",
            (projection.name,),
        )
        built = begin_building(serving, projection, name, last + 1, at)
        beside = names.built(name, built.generation)
        for statement in numbers_tables(beside, projection):
            yield Query(statement)
        yield from _granting(names, beside, projection)
        yield inserting(names, built)
    yield COMMIT
    return built


def _granting(names: Names, beside: Names, projection: Projection) -> Steps[None]:
    """Let those who may delete from the serving table forget what is built, too."""
    roles = yield Query(
        "SELECT coalesce(json_agg(DISTINCT role), '[]')::text FROM ("
        "SELECT pg_catalog.pg_get_userbyid(relowner) AS role FROM pg_catalog.pg_class"
        " WHERE oid = %s::regclass UNION ALL"
        " SELECT pg_catalog.pg_get_userbyid(acl.grantee) FROM pg_catalog.pg_class,"
        " pg_catalog.aclexplode(relacl) AS acl WHERE oid = %s::regclass"
        " AND acl.privilege_type = 'DELETE' AND acl.grantee <> 0) AS roles"
        " WHERE role <> current_user",
        (names.totals(projection.name).replace("%%", "%"),) * 2,
    )
    tables = ", ".join(_tables(beside, projection))
    for role in roles:
        yield Query(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {tables} TO {quoted(role)}")


def _tables(names: Names, projection: Projection) -> list[str]:
    rollups = [names.rollups(projection.name, each) for each in projection.granularities]
    return [names.totals(projection.name), *rollups]


def _alone(names: Names, projection: Projection, name: str, kind: str = "") -> Query:
    """Return the statement that waits for those who compare, or lets nobody drop meanwhile."""
    return Query(
        f"SELECT 'null' FROM pg_advisory_xact_lock{kind}(hashtextextended(%s, 0))",
        (json.dumps([names.schema, projection.name, name]),),
    )


def discarding(names: Names, projection: Projection, name: str) -> Steps[bool]:
    """Drop what is built under a name: see ``GenerationStore.discard``."""
    yield BEGIN
    yield _alone(names, projection, name)
    yield from locked(names, projection)
    built = yield from finding(names, projection.name, name, lock=True)
    if built is not None:
        yield from _dropping(names, built)
    yield COMMIT
    return built is not None


def _dropping(names: Names, built: Cursor) -> Steps[None]:
    """Drop the tables and the record of what was built."""
    beside = names.built(built.building, built.generation)
    yield Query(f"DROP TABLE {', '.join(_tables(beside, stored_projection(built)))}")
    yield together(
        Query(
            f"DELETE FROM {names[shared]} WHERE projection = %s AND building = %s",
            (built.projection, built.building),
        )
        for shared in ("skillstat_parked", "skillstat_cursors")
    )


def swapping(names: Names, projection: Projection, name: str, at: datetime) -> Steps[Cursor]:
    """Put what was built in the place of what serves: see ``GenerationStore.swap``."""
    yield BEGIN
    yield _alone(names, projection, name)
    serving = yield from locked(names, projection)
    built = yield from finding(names, projection.name, name, lock=True)
    if built is None:
        raise NotBuildingError(projection.name, name)
    record = swapped(serving, built, at)
    old, new = stored_projection(serving), stored_projection(built)
    yield from _making_room(names, old, new)
    yield from _emptying(names, old, new)
    beside = names.built(name, built.generation)
    totals = _Pair(names.totals(new.name), beside.totals(new.name), ("skill_id",))
    copies = list(_copying(totals, new.counters))
    for each in new.granularities:
        tables = names.rollups(new.name, each), beside.rollups(new.name, each)
        copies += _copying(_Pair(*tables, (each.value, "skill_id")), new.columns)
    yield together(copies)
    yield from moving_parked(names, built)
    yield from _dropping(names, built)
    yield replacing(names, record)
    yield COMMIT
    return record


def _making_room(names: Names, old: Projection, new: Projection) -> Steps[None]:
    """Make the serving tables and columns that the new table has and the old one has not."""
    tables = [(names.totals(new.name), new.counters, old.counters)]
    for each in new.granularities:
        table, known = names.rollups(new.name, each), old.columns
        if each not in old.granularities:
            known = ()
            yield from _making_table(names, new, each)
        tables.append((table, new.columns, known))
    for table, columns, known in tables:
        for column in columns:
            if column not in known:
                yield Query(f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {sum_column(column)}")


def _making_table(names: Names, new: Projection, granularity: Granularity) -> Steps[None]:
    """Make a table of rollups that the serving numbers did not have.

    One may be there from a table that had this granularity once: it is empty.

    Raises:
        SchemaError: If there is one that cannot be it.
    """
    table = names.rollups(new.name, granularity)
    (is_there,) = yield Query(
        "SELECT json_build_array(to_regclass(%s) IS NOT NULL)::text", (table.replace("%%", "%"),)
    )
    if not is_there:
        for statement in rollup_tables(names, new, granularity):
            yield Query(statement)
        return
    (holds_rows,) = yield Query(
        f"SELECT json_build_array(EXISTS (SELECT {granularity.value}, skill_id FROM {table}))::text"
    )
    if holds_rows:
        raise SchemaError(
            f"the schema has a table of another owner under our name {table.replace('%%', '%')}"
        )


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


def _emptying(names: Names, old: Projection, new: Projection) -> Steps[None]:
    """Make 0, or delete, what was counted before and is not counted any more."""
    tables = [(names.totals(old.name), old.counters, new.counters)]
    for each in old.granularities:
        if each in new.granularities:
            tables.append((names.rollups(old.name, each), old.columns, new.columns))
        else:
            yield Query(f"DELETE FROM {names.rollups(old.name, each)}")
    for table, before, columns in tables:
        for name in before:
            if name not in columns:
                column = quoted(name)
                yield Query(f"UPDATE {table} SET {column} = 0 WHERE {column} <> 0")


def _copying(pair: _Pair, columns: tuple[str, ...]) -> Iterator[Query]:
    """Yield what makes the rows of one table those of another; it writes only what differs.

    No row is written by both.

    Args:
        pair: The tables.
        columns: What is copied.
    """
    yield Query(
        f"DELETE FROM {pair.serving} AS s WHERE NOT EXISTS"
        f" (SELECT 1 FROM {pair.built} AS b WHERE {pair.same_key})"
    )
    if columns:
        keys, names = ", ".join(pair.keys), ", ".join(map(quoted, columns))
        given = ", ".join(f"b.{quoted(name)}" for name in columns)
        there = ", ".join(f"s.{quoted(name)}" for name in columns)
        sets = ", ".join(f"{quoted(name)} = excluded.{quoted(name)}" for name in columns)
        yield Query(
            f"INSERT INTO {pair.serving} ({keys}, {names})"
            f" SELECT {', '.join(f'b.{key}' for key in pair.keys)}, {given}"
            f" FROM {pair.built} AS b LEFT JOIN {pair.serving} AS s ON {pair.same_key}"
            f" WHERE s.skill_id IS NULL OR ROW({there}) IS DISTINCT FROM ROW({given})"
            f" ON CONFLICT ({keys}) DO UPDATE SET {sets}"
        )


def comparing(names: Names, projection: Projection, name: str, limit: int) -> Steps[Comparison]:
    """Compare what serves with what was built: see ``GenerationStore.differences``."""
    yield BEGIN
    # What is built stays until the end. No row is locked: who forgets a skill does not wait, and
    # as this transaction writes nothing it holds no event back.
    yield _alone(names, projection, name, "_shared")
    built = yield from finding(names, projection.name, name)
    if built is None:
        yield from cursor(names, projection)
        raise NotBuildingError(projection.name, name)
    new = stored_projection(built)
    cursors = names["skillstat_cursors"]
    while True:
        before = yield from cursor(names, projection)
        old = stored_projection(before)
        beside = names.built(name, built.generation)
        parts = list(_parts(names, beside, old, new))
        answer = yield Query(
            "SELECT json_build_object("
            f"'serving', (SELECT {RECORD} FROM {cursors} WHERE projection = %s AND building = ''),"
            f" 'building', (SELECT {RECORD} FROM {cursors} WHERE projection = %s AND building = %s)"
            f"{''.join(part.answer() for part in parts)})::text",
            (projection.name, projection.name, name, *(limit + 1 for _ in parts)),
        )
        serving = record_of(projection.name, "", answer["serving"])
        if serving.table == before.table:  # nobody has taken the stats over in between
            break
    yield COMMIT
    every = itertools.chain.from_iterable(part.differences(answer) for part in parts)
    differences = tuple(itertools.islice(every, limit + 1))
    return Comparison(
        serving=serving,
        building=record_of(projection.name, name, answer["building"]),
        differences=differences[:limit],
        is_complete=len(differences) <= limit,
    )


@attrs.frozen
class _Side:
    """A table and its columns of sums; None: it is not there."""

    table: str
    columns: tuple[str, ...] | None

    def sums(self, name: str, columns: tuple[str, ...]) -> str:
        """Return *columns* as they stand in a row called *name*; 0 for what is not there."""
        there = self.columns or ()
        return ", ".join(
            f"coalesce({name}.{quoted(each)}, 0)" if each in there else "0::bigint"
            for each in columns
        )


@attrs.frozen
class _Part:
    """What is compared of one table.

    Attributes:
        granularity: Which rollups; None: the totals.
        columns: The sums that either side has.
        serving: What serves.
        built: What was built.
    """

    granularity: Granularity | None
    columns: tuple[str, ...]
    serving: _Side
    built: _Side

    @property
    def name(self) -> str:
        """What the part is called in an answer, and what stands before its columns."""
        return "" if self.granularity is None else f"{self.granularity.value}."

    def _source(self, side: _Side) -> str:
        """Return what stands behind FROM: no row, where there is no table."""
        if side.columns is not None or self.granularity is None:
            return side.table
        kind = "date" if self.granularity is Granularity.DAY else "timestamptz"
        return (
            f"(SELECT NULL::{kind} AS {self.granularity.value},"
            ' NULL::text COLLATE "C" AS skill_id WHERE false)'
        )

    def answer(self) -> str:
        """Return what is added to an answer: the first rows that differ."""
        mine, theirs = (
            side.sums(name, self.columns) for name, side in (("s", self.serving), ("b", self.built))
        )
        keys = ["skill_id"] if self.granularity is None else [self.granularity.value, "skill_id"]
        same = " AND ".join(f"s.{key} = b.{key}" for key in keys)
        key = ", ".join(f"coalesce(s.{key}, b.{key}) AS {key}" for key in keys)
        unlike = f"ROW({mine}) IS DISTINCT FROM ROW({theirs})"
        if self.granularity is None:
            bucket = "0"
            unlike += " OR s.skill_id IS NULL OR b.skill_id IS NULL"
        else:
            bucket = bucket_number(self.granularity)
        return (
            f", '{self.name}', (SELECT coalesce(json_agg(json_build_array({bucket}, skill_id,"
            f" _serves, _built, _mine, _theirs) ORDER BY {', '.join(keys)}), '[]') FROM ("
            f"SELECT {key}, s.skill_id IS NOT NULL AS _serves, b.skill_id IS NOT NULL AS _built,"
            f" json_build_array({mine}) AS _mine, json_build_array({theirs}) AS _theirs"
            f" FROM {self._source(self.serving)} AS s"
            f" FULL JOIN {self._source(self.built)} AS b ON {same} WHERE {unlike}"
            f" ORDER BY {', '.join(map(str, range(1, len(keys) + 1)))} LIMIT %s) AS _row)"
        )

    def differences(self, answer: Mapping[str, Any]) -> Iterator[Difference]:
        """Yield each number that differs."""
        for bucket, skill, serves, was_built, mine, theirs in answer[self.name]:
            yield from row_differences(
                self.name,
                skill,
                None if self.granularity is None else stored_start(bucket, self.granularity),
                self._row(theirs) if was_built else None,
                self._row(mine) if serves else None,
            )

    def _row(self, sums: Sequence[int]) -> dict[str, int]:
        return dict(zip(self.columns, sums, strict=True))


def _parts(names: Names, beside: Names, old: Projection, new: Projection) -> Iterator[_Part]:
    """Yield what is to be compared, totals first."""
    counters = tuple(dict.fromkeys((*new.counters, *old.counters)))
    yield _Part(
        None,
        counters,
        _Side(names.totals(old.name), old.counters),
        _Side(beside.totals(new.name), new.counters),
    )
    for each, columns in by_granularity(new, old).items():
        yield _Part(
            each,
            columns,
            _Side(
                names.rollups(old.name, each), old.columns if each in old.granularities else None
            ),
            _Side(
                beside.rollups(new.name, each), new.columns if each in new.granularities else None
            ),
        )

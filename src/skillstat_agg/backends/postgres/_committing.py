"""A commit on PostgreSQL: one statement, or a transaction where that will not do.

The statement compares, adds and stores the new record. It does nothing at all where the stored
record is locked or not the expected one, or where a skill was forgotten. It never waits for the
record: it holds the tables by then, which others change who hold the record.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime

import attrs

from skillstat_agg._buckets import Granularity
from skillstat_agg._commits import Commit, CommitResult
from skillstat_agg._deltas import Deltas
from skillstat_agg._events import MAX_INTEGER, MIN_INTEGER
from skillstat_agg._projections import Projection
from skillstat_agg.backends import _records
from skillstat_agg.backends._records import fields_of
from skillstat_agg.backends.postgres._arrays import integers, texts
from skillstat_agg.backends.postgres._names import Names, Query, quoted, together
from skillstat_agg.backends.postgres._parking import parking, unparking
from skillstat_agg.backends.postgres._schema import (
    BEGIN,
    COMMIT,
    VERSION,
    Steps,
    replacing,
    taking_over,
)
from skillstat_agg.backends.postgres._stats import DAY, HOUR, forgotten_of, locked_with
from skillstat_agg.errors import CursorConflictError, OutOfRangeError

AS_EXPECTED = "EXISTS (SELECT FROM expected)"
"""The condition of every part of a commit that is one statement."""


def committing(
    names: Names, projection: Projection, commit: Commit, at: datetime
) -> Steps[CommitResult]:
    """Add the deltas and store the cursor: see ``StatsStore.commit``."""
    kept = commit
    while kept.projection.table == kept.expected.table:
        answer = yield _at_once(names, kept, at)
        if answer is not False and answer["is_stored"]:
            return _result(kept, at, answer["new"])
        if answer is False or not answer["forgotten"]:
            break  # the transaction finds out why
        kept = kept.without(frozenset(answer["forgotten"]))
    yield BEGIN
    # Who forgets a skill changes every record. So if it happens between the snapshot that the
    # forgotten skills are of and the lock on the record, the record is not the expected one.
    stored, found = yield from locked_with(
        names, projection, f", 'forgotten', {forgotten_of(names)}", texts(commit.skills)
    )
    if stored != commit.expected:
        raise CursorConflictError(projection.name)
    result = yield from applying(names, commit.without(frozenset(found["forgotten"])), at)
    yield COMMIT
    return result


def _at_once(names: Names, kept: Commit, at: datetime) -> Query:
    """Return the statement that stores all that a commit says, or nothing.

    It answers whether it did, with the skills that were new, and with those of the commit's
    skills that are forgotten. It answers False where a sum has left 64 bits on the way, or where a
    table is not there any more.
    """
    record, projection = kept.cursor(at), kept.projection
    skills = texts(kept.skills)
    same = " AND ".join(f"{name} IS NOT DISTINCT FROM %s" for name in _records.RECORD)
    writes = [
        *(sums.adding(AS_EXPECTED) for sums in _sums(names, projection, kept.deltas)),
        *unparking(names, record, kept.taught, AS_EXPECTED),
        *parking(names, record, kept.parked, AS_EXPECTED),
    ]
    new = _appearing(names, projection, kept.deltas, AS_EXPECTED)
    stored = replacing(names, record, AS_EXPECTED)
    # The record is as it stands once it is locked. The snapshot of the rest may be older: who
    # forgets a skill changes every record. Tables are locked as they are named: totals first, and
    # then rollups, in the order in which a deployment changes them. Where a trigger of other hands
    # keeps the record, the division fails, and so nothing is added: see `_translation`.
    return Query(
        f"""
        WITH expected AS MATERIALIZED (
            SELECT FROM {names["skillstat_cursors"]}
            WHERE projection = %s AND building = %s AND {same}
            AND (SELECT max(version) FROM {names["skillstat_schema"]}) = {VERSION}
            AND NOT EXISTS (
                SELECT FROM {names["skillstat_forgotten"]} WHERE skill_id = ANY(%s::text[]))
            FOR UPDATE SKIP LOCKED
        ), new AS ({new.text}),
        {"".join(f"_{number} AS ({each.text}), " for number, each in enumerate(writes))}
        stored AS ({stored.text} RETURNING projection)
        SELECT json_build_object(
            'is_stored', CASE WHEN {AS_EXPECTED} THEN 1 / (SELECT count(*) FROM stored) ELSE 0 END,
            'new', (SELECT coalesce(json_agg(skill_id), '[]') FROM new),
            'forgotten', {forgotten_of(names)})::text
        """,
        (
            record.projection,
            record.building,
            *fields_of(kept.expected),
            skills,
            *(value for each in (new, *writes, stored) for value in each.values),
            skills,
        ),
        may_fail=True,
    )


def applying(names: Names, kept: Commit, at: datetime) -> Steps[CommitResult]:
    """Store all that a commit says, once the record was compared and skills were looked up.

    It adds in Python, where integers have no end.

    Args:
        names: The tables.
        kept: The commit, without what concerns forgotten skills.
        at: Time of the store.

    Raises:
        OutOfRangeError: If a sum would leave signed 64 bits.
    """
    record, projection = kept.cursor(at), kept.projection
    if record.table != kept.expected.table:
        yield from taking_over(names, kept.expected.table, projection)
    for sums in _sums(names, projection, kept.deltas):
        yield from sums.adding_exactly(projection)
    appearing = _appearing(names, projection, kept.deltas)
    new = yield Query(
        f"WITH new AS ({appearing.text}) SELECT coalesce(json_agg(skill_id), '[]')::text FROM new",
        appearing.values,
    )
    yield together(
        [
            *unparking(names, record, kept.taught),
            *parking(names, record, kept.parked),
            replacing(names, record),
        ]
    )
    return _result(kept, at, new)


def _result(kept: Commit, at: datetime, new: Collection[str]) -> CommitResult:
    """Return what a commit has done; *new* are new skills whose counters did not move."""
    deltas = kept.deltas
    moved = [skill for skill, row in deltas.totals.items() if any(row)]
    cells = [key for rows in deltas.rollups.values() for key in rows]
    return CommitResult(
        cursor=kept.cursor(at),
        rows=len(moved) + len(cells) + len(new),
        forgotten=kept.forgotten,
        changed=frozenset(moved).union((skill for _, skill in cells), new),
    )


@attrs.frozen
class _Sums:
    """A table of sums.

    Attributes:
        table: Its name, quoted.
        bucket: The column of the bucket; None: there is none.
        names: The columns that hold sums.
        prefix: What stands before a column's name in an error.
        buckets: The rows to add to: number of the bucket (0 where there is none) ...
        skills: ... and skill.
        amounts: What to add to each.
    """

    table: str
    bucket: Granularity | None
    names: tuple[str, ...]
    prefix: str
    buckets: Sequence[int]
    skills: Sequence[str]
    amounts: Collection[tuple[int, ...]]

    @property
    def key_columns(self) -> str:
        """The key columns."""
        return "skill_id" if self.bucket is None else f"{self.bucket.value}, skill_id"

    @property
    def start(self) -> str:
        """The expression for the bucket's column, from its number."""
        return (DAY if self.bucket is Granularity.DAY else HOUR).format("_bucket::integer")

    def upsert(self, amounts: Iterable[Sequence[int]], update: str, when: str = "true") -> Query:
        """Return the statement that writes these rows; where one is there, *update* says how.

        Rows are locked in the order of their keys.

        Args:
            amounts: A sequence for each column.
            update: How to set a column whose name is ``{0}``.
            when: The condition for all of it.
        """
        # No column of a projection begins with an underscore. Arrays side by side in a select list
        # are taken apart in half the time that one unnest(...) of all takes.
        columns = ", ".join(map(quoted, self.names))
        arrays = "".join(f", unnest(%s::bigint[]) AS {quoted(name)}" for name in self.names)
        sets = ", ".join(update.format(quoted(name)) for name in self.names)
        keys = "_skill" if self.bucket is None else f"{self.start}, _skill"
        return Query(
            f"INSERT INTO {self.table} AS there ({self.key_columns}, {columns})"
            f" SELECT {keys}, {columns} FROM (SELECT unnest(%s::bigint[]) AS _bucket,"
            f" unnest(%s::text[]) AS _skill{arrays}) AS given"
            f" WHERE {when}"
            ' ORDER BY _bucket, _skill COLLATE "C"'
            f" ON CONFLICT ({self.key_columns}) DO UPDATE SET {sets}",
            (integers(self.buckets), texts(self.skills), *map(integers, amounts)),
        )

    def adding(self, when: str) -> Query:
        """Return the statement that adds to what is stored, on a condition."""
        columns = zip(*self.amounts, strict=True)
        return self.upsert(columns, "{0} = there.{0} + excluded.{0}", when)

    def adding_exactly(self, projection: Projection) -> Steps[None]:
        """Add in Python, where integers have no end, and name the sum that has one.

        Raises:
            OutOfRangeError: If a sum would leave signed 64 bits.
        """
        columns = ", ".join(f"there.{quoted(name)}" for name in self.names)
        same_bucket = "" if self.bucket is None else f" AND {self.bucket.value} = {self.start}"
        found = yield Query(
            f"SELECT coalesce(json_agg(json_build_array(_bucket, _skill, {columns})), '[]')::text"
            " FROM unnest(%s::bigint[], %s::text[]) AS given (_bucket, _skill)"
            f" JOIN {self.table} AS there ON skill_id = _skill{same_bucket}",
            (integers(self.buckets), texts(self.skills)),
        )
        before = {(bucket, skill): sums for bucket, skill, *sums in found}
        rows: list[tuple[int, ...]] = []
        for key, amounts in zip(
            zip(self.buckets, self.skills, strict=True), self.amounts, strict=True
        ):
            old = before.get(key, (0,) * len(amounts))
            sums = tuple(map(sum, zip(old, amounts, strict=True)))
            for name, value in zip(self.names, sums, strict=True):
                if not MIN_INTEGER <= value <= MAX_INTEGER:
                    raise OutOfRangeError(projection.name, key[1], self.prefix + name)
            rows.append(sums)
        yield self.upsert(zip(*rows, strict=True), "{0} = excluded.{0}")


def _sums(names: Names, projection: Projection, deltas: Deltas) -> Iterator[_Sums]:
    """Yield what to add to each table, in one order for everybody."""
    moved = {skill: row for skill, row in deltas.totals.items() if any(row)}
    skills = list(moved)
    table = names.totals(projection.name)
    if moved:
        yield _Sums(table, None, projection.counters, "", [0] * len(skills), skills, moved.values())
    for each, cells in deltas.rollups.items():
        if cells:
            table, prefix = names.rollups(projection.name, each), f"{each.value}."
            buckets, skills = map(list, zip(*cells, strict=True))
            yield _Sums(table, each, projection.columns, prefix, buckets, skills, cells.values())


def _appearing(names: Names, projection: Projection, deltas: Deltas, when: str = "true") -> Query:
    """Return the statement that adds rows for skills whose counters did not move."""
    return Query(
        f"INSERT INTO {names.totals(projection.name)} (skill_id) SELECT skill_id"
        f" FROM unnest(%s::text[]) AS given (skill_id) WHERE {when} ORDER BY skill_id"
        " ON CONFLICT DO NOTHING RETURNING skill_id",
        (texts(skill for skill, row in deltas.totals.items() if not any(row)),),
    )

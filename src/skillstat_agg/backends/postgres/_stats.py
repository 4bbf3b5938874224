"""What a stats store on PostgreSQL does: its statements, and what becomes of their answers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias

import attrs

from skillstat_agg._buckets import Granularity, from_microseconds, microseconds, start_of
from skillstat_agg._commits import Commit, CommitResult, Cursor, check_readable
from skillstat_agg._deltas import Deltas
from skillstat_agg._events import MAX_INTEGER, MIN_INTEGER
from skillstat_agg._notes import Note, storable
from skillstat_agg._projections import Projection
from skillstat_agg._quarantine import Quarantine
from skillstat_agg._stores import Rollups, Totals
from skillstat_agg.backends._records import record_of
from skillstat_agg.backends.postgres._arrays import integers, texts
from skillstat_agg.backends.postgres._badges import dropping
from skillstat_agg.backends.postgres._names import Names, Query, quoted, together
from skillstat_agg.backends.postgres._parking import (
    dropping_parked,
    first_parked,
    parked_rows,
    parking,
    unparking,
)
from skillstat_agg.backends.postgres._schema import (
    BEGIN,
    COMMIT,
    RECORD,
    ROLLBACK,
    Steps,
    checked_primary,
    checked_version,
    checking,
    finding,
    missing,
    replacing,
    taking_over,
)
from skillstat_agg.errors import CursorConflictError, NotBuildingError, OutOfRangeError, SchemaError

Row: TypeAlias = tuple[object, ...]

_HOUR = "timestamptz 'epoch' + {0} * interval '1 hour'"
_DAY = "date '1970-01-01' + {0}"


# Reading


def _answering(names: Names, answer: str = "") -> str:
    """Return a statement that answers with the cursor record, and with *answer*."""
    return f"""
        SELECT json_build_object(
            'version', (SELECT max(version) FROM {names["skillstat_schema"]}),
            'record', (SELECT {RECORD} FROM {names["skillstat_cursors"]}
                WHERE projection = %s AND building = %s){answer}
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
    return (_DAY if granularity is Granularity.DAY else _HOUR).format("%s::integer")


def bucket_number(granularity: Granularity) -> str:
    """Return the expression for the number of a bucket."""
    if granularity is Granularity.DAY:
        return "day - date '1970-01-01'"
    return "(extract(epoch FROM hour) / 3600)::integer"


def forgotten(names: Names, skill_ids: Sequence[str]) -> Steps[frozenset[str]]:
    """Return those of the skills that are forgotten: see ``StatsStore.forgotten``."""
    answer = yield Query(
        f"SELECT json_build_object('version', (SELECT max(version) FROM"
        f" {names['skillstat_schema']}), 'skills', {_forgotten_of(names)})::text",
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


def committing(
    names: Names, projection: Projection, commit: Commit, at: datetime
) -> Steps[CommitResult]:
    """Add the deltas and store the cursor: see ``StatsStore.commit``."""
    result = yield from _committing(names, projection, commit, at, exactly=False)
    if result is None:
        yield ROLLBACK
        result = yield from _committing(names, projection, commit, at, exactly=True)
        assert result is not None, "sums that were added in Python cannot overflow"
    return result


def _committing(
    names: Names, projection: Projection, commit: Commit, at: datetime, *, exactly: bool
) -> Steps[CommitResult | None]:
    """Add the deltas and store the cursor; None: a sum has left 64 bits on the way.

    Args:
        names: The tables.
        projection: Whose stats these are.
        commit: What to add.
        at: Time of the store.
        exactly: Whether to add in Python, where integers have no end.
    """
    yield BEGIN
    # Who forgets a skill changes every record. So if it happens between the snapshot that the
    # forgotten skills are of and the lock on the record, the record is not the expected one.
    stored, found = yield from _locked(
        names, projection, f", 'forgotten', {_forgotten_of(names)}", texts(commit.skills)
    )
    if stored != commit.expected:
        raise CursorConflictError(projection.name)
    kept = commit.without(frozenset(found["forgotten"]))
    result = yield from applying(names, kept, at, exactly=exactly)
    if result is not None:
        yield COMMIT
    return result


def applying(
    names: Names, kept: Commit, at: datetime, *, exactly: bool
) -> Steps[CommitResult | None]:
    """Store all that a commit says, once the record was compared and skills were looked up.

    Args:
        names: The tables.
        kept: The commit, without what concerns forgotten skills.
        at: Time of the store.
        exactly: Whether to add in Python, where integers have no end.

    Returns:
        None: a sum has left 64 bits on the way, and the transaction has failed. Never where
        *exactly* is asked for.
    """
    record, projection = kept.cursor(at), kept.projection
    if record.table != kept.expected.table:
        yield from taking_over(names, kept.expected.table, projection)
    every = [sums for sums in _sums(names, projection, kept.deltas) if sums.skills]
    new = yield from _appearing(names, projection, kept.deltas)
    yield from unparking(names, record, kept.taught)
    yield from parking(names, record, kept.parked)
    if exactly:
        for sums in every:
            yield from sums.adding_exactly(projection)
        yield replacing(names, record)
    else:  # a round trip for each is what makes a commit slow over a network
        answer = yield together([*(sums.adding() for sums in every), replacing(names, record)])
        if answer is False:
            return None
    return CommitResult(
        cursor=record,
        rows=sum(len(sums.skills) for sums in every) + len(new),
        forgotten=kept.forgotten,
        changed=frozenset(new).union(*(sums.skills for sums in every)),
    )


def locked(names: Names, projection: Projection) -> Steps[Cursor]:
    """Return the stored cursor record; nobody else changes it until this transaction ends."""
    record, _ = yield from _locked(names, projection)
    return record


def _locked(
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
    found = yield Query(f"SELECT {_forgotten_of(names)}::text", (texts(skill_ids),))
    return frozenset(found)


def _forgotten_of(names: Names) -> str:
    """Return the expression for the forgotten ones of some skills, which are its parameter."""
    return (
        f"(SELECT coalesce(json_agg(skill_id), '[]') FROM {names['skillstat_forgotten']}"
        " WHERE skill_id = ANY(%s::text[]))"
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
        return (_DAY if self.bucket is Granularity.DAY else _HOUR).format("_bucket::integer")

    def upsert(self, amounts: Iterable[Sequence[int]], update: str) -> Query:
        """Return the statement that writes these rows; where one is there, *update* says how.

        Args:
            amounts: A sequence for each column.
            update: How to set a column whose name is ``{0}``.
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
            ' ORDER BY _bucket, _skill COLLATE "C"'
            f" ON CONFLICT ({self.key_columns}) DO UPDATE SET {sets}",
            (integers(self.buckets), texts(self.skills), *map(integers, amounts)),
            may_overflow=True,
        )

    def adding(self) -> Query:
        """Return the statement that adds to what is stored.

        Rows are locked in the order of their keys, so no two workers wait for each other.
        """
        columns = zip(*self.amounts, strict=True)
        return self.upsert(columns, "{0} = there.{0} + excluded.{0}")

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
    yield _Sums(table, None, projection.counters, "", [0] * len(skills), skills, moved.values())
    for each, cells in deltas.rollups.items():
        table, prefix = names.rollups(projection.name, each), f"{each.value}."
        buckets, skills = map(list, zip(*cells, strict=True)) if cells else ([], [])
        yield _Sums(table, each, projection.columns, prefix, buckets, skills, cells.values())


def _appearing(names: Names, projection: Projection, deltas: Deltas) -> Steps[Sequence[str]]:
    """Add rows for skills whose counters did not move, and return those that are new."""
    still = [skill for skill, row in deltas.totals.items() if not any(row)]
    if not still:
        return ()
    new: Sequence[str] = yield Query(
        f"WITH new AS (INSERT INTO {names.totals(projection.name)} (skill_id) SELECT skill_id"
        " FROM unnest(%s::text[]) AS given (skill_id) ORDER BY skill_id"
        " ON CONFLICT DO NOTHING RETURNING skill_id)"
        " SELECT coalesce(json_agg(skill_id), '[]')::text FROM new",
        (texts(still),),
    )
    return new


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

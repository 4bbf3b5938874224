"""The tables, the statements that make them, and the cursor records in them."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from datetime import datetime
from typing import Any, LiteralString, TypeAlias, TypeVar

import psycopg.sql

from skillstat_agg._badges import BadgeKind
from skillstat_agg._buckets import Granularity, from_microseconds, microseconds
from skillstat_agg._commits import Cursor
from skillstat_agg._events import MAX_TEXT
from skillstat_agg._projections import Projection
from skillstat_agg.backends import _records
from skillstat_agg.backends._clocks import Clock, utc_now
from skillstat_agg.backends._records import check_version, fields_of, record_of
from skillstat_agg.backends.postgres._names import Names, Query, quoted
from skillstat_agg.errors import HistoryChangedError, SchemaError, StoreUnavailableError

T = TypeVar("T")

Steps: TypeAlias = Generator[Query, Any, T]
"""An operation: it yields statements, is sent what each answers, and returns its result."""

VERSION = 1

SCHEMA = "skillstat"
"""The schema that the tables are in, where no other is named."""

HAS_MOVED = (
    "this log was restored, upgraded or copied to here: call new_epoch when it is complete and"
    " nobody appends to the old one any more"
)

UNLIKE, MOVED, REFUSED = "SK001", "SK002", "SK003"
"""The codes of the errors that our triggers raise.

An event id stands for other content; the log was moved; history was to be changed.
"""

HERE = (
    "(SELECT system_identifier FROM pg_catalog.pg_control_system()) || '/' || (SELECT oid"
    " FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())"
)
"""Which database this is. A dump restored elsewhere, an upgraded server and a copy differ in it."""

COMPACTING = "skillstat.compacting"
"""The setting that lets a compaction change history: it holds the number of its transaction."""

_IS_NOT_COMPACTING = (
    f"pg_catalog.current_setting('{COMPACTING}', true)"
    " IS DISTINCT FROM pg_catalog.pg_current_xact_id()::text"
)

BEGIN = Query("BEGIN ISOLATION LEVEL READ COMMITTED")
COMMIT, ROLLBACK = Query("COMMIT"), Query("ROLLBACK")

_FIRST_US, _LAST_US = -62135596800000000, 253402300799999999


def log_tables(names: Names) -> Iterable[str]:
    """Yield the statements that make the tables of the log."""
    schema, events = names["skillstat_schema"], names["skillstat_events"]
    ids, refuse, stay = names["skillstat_event_ids"], names["skillstat_no"], names["skillstat_home"]
    unlike = names["skillstat_unlike"]
    bytes_of = f"BETWEEN 1 AND {MAX_TEXT}"
    # No extension and no language but plpgsql, which every database has.
    yield f"""CREATE TABLE {schema} (
    version integer NOT NULL,
    epoch text NOT NULL,
    home text NOT NULL,
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row)
)"""
    yield (
        f"INSERT INTO {schema} (version, epoch, home)"
        f" VALUES ({VERSION}, pg_catalog.gen_random_uuid()::text, {HERE})"
    )
    yield f"""CREATE TABLE {events} (
    xid xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id(),
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    skill_id text COLLATE "C" NOT NULL CHECK (octet_length(skill_id) {bytes_of}),
    kind text COLLATE "C" NOT NULL CHECK (octet_length(kind) {bytes_of}),
    occurred_at_us bigint NOT NULL CHECK (occurred_at_us BETWEEN {_FIRST_US} AND {_LAST_US}),
    event_id text COLLATE "C" CHECK (octet_length(event_id) {bytes_of}),
    deltas jsonb,
    note text COLLATE "C" CHECK (octet_length(note) {bytes_of}),
    recorded_at_us bigint NOT NULL CHECK (recorded_at_us BETWEEN {_FIRST_US} AND {_LAST_US}),
    fingerprint bigint NOT NULL CHECK (fingerprint BETWEEN 0 AND 4294967295),
    stands_for bigint CHECK (stands_for > 0),
    checksum bigint CHECK (checksum >= 0 AND (checksum IS NULL) = (stands_for IS NULL)),
    PRIMARY KEY (xid, seq)
)"""
    # Of events as they were appended both are NULL, and none of them is in the index.
    yield (
        f"CREATE INDEX {quoted('skillstat_events_compacted')} ON {events} (xid, seq)"
        " WHERE stands_for IS NOT NULL"
    )
    yield f"""CREATE TABLE {ids} (
    event_id text COLLATE "C" PRIMARY KEY,
    digest bytea NOT NULL
)"""
    yield f"""CREATE TABLE {names["skillstat_readers"]} (
    reader text COLLATE "C" PRIMARY KEY,
    xid xid8,
    seq bigint CHECK ((seq IS NULL) = (xid IS NULL)),
    reported_at_us bigint NOT NULL
)"""
    yield _trigger(
        refuse, f"BEGIN RAISE EXCEPTION USING MESSAGE = TG_ARGV[0], ERRCODE = '{REFUSED}'; END"
    )
    yield _trigger(
        unlike,
        "BEGIN RAISE EXCEPTION USING MESSAGE = 'an event id names one fact for ever',"
        f" DETAIL = 'It is ' || OLD.event_id, ERRCODE = '{UNLIKE}'; END",
    )
    yield _trigger(
        stay,
        f"""BEGIN
    IF (SELECT home FROM {schema}) IS DISTINCT FROM {HERE} THEN
        RAISE EXCEPTION USING MESSAGE = '{HAS_MOVED}', ERRCODE = '{MOVED}';
    END IF;
    RETURN NULL;
END""",
    )
    for name, event, when, reason in (
        ("never_change", "UPDATE", "", "events never change: append a correction"),
        ("stay", "DELETE", f" WHEN ({_IS_NOT_COMPACTING})", "events stay: append a retraction"),
        ("stay_all", "TRUNCATE", "", "events stay: append a retraction"),
    ):
        yield (
            f"CREATE TRIGGER skillstat_{name} BEFORE {event} ON {events} FOR EACH STATEMENT{when}"
            f" EXECUTE FUNCTION {refuse}('{reason}')"
        )
    yield (
        f"CREATE TRIGGER skillstat_at_home BEFORE INSERT ON {events} FOR EACH STATEMENT"
        f" EXECUTE FUNCTION {stay}()"
    )
    yield (
        f"CREATE TRIGGER skillstat_in_order BEFORE INSERT ON {events} FOR EACH ROW"
        f" WHEN (NEW.xid <> pg_catalog.pg_current_xact_id() AND {_IS_NOT_COMPACTING})"
        f" EXECUTE FUNCTION {refuse}('positions are given: leave xid and seq out')"
    )
    yield (
        f"CREATE TRIGGER skillstat_never_change BEFORE UPDATE ON {ids} FOR EACH ROW"
        f" EXECUTE FUNCTION {unlike}()"
    )


def _trigger(name: str, body: str) -> str:
    """Return the statement that makes a trigger's function; *body* may hold any name."""
    text = _literal(body.replace("%%", "%"))
    return f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS {text}"


def cursor_tables(names: Names) -> Iterable[str]:
    """Yield the statements that make the tables that all projections share."""
    yield f"""CREATE TABLE {names["skillstat_cursors"]} (
    projection text COLLATE "C" NOT NULL,
    building text COLLATE "C" NOT NULL,
    generation bigint NOT NULL,
    epoch text,
    position text,
    fingerprint bigint,
    events bigint NOT NULL,
    checksum bigint NOT NULL,
    controls text NOT NULL,
    parked bigint NOT NULL,
    dropped text NOT NULL,
    expired text NOT NULL,
    revision bigint NOT NULL,
    declared text NOT NULL,
    updated_at_us bigint NOT NULL,
    PRIMARY KEY (projection, building)
)"""
    yield f"""CREATE TABLE {names["skillstat_forgotten"]} (
    skill_id text COLLATE "C" PRIMARY KEY,
    forgotten_at_us bigint NOT NULL
)"""
    yield f"""CREATE TABLE {names["skillstat_boards"]} (
    projection text COLLATE "C" NOT NULL,
    board text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    generated_at_us bigint NOT NULL,
    max_age_us bigint,
    seal text NOT NULL,
    PRIMARY KEY (projection, board, version)
)"""
    yield f"""CREATE TABLE {names["skillstat_board_entries"]} (
    projection text COLLATE "C" NOT NULL,
    board text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    rank bigint NOT NULL,
    skill_id text COLLATE "C" NOT NULL,
    numbers text NOT NULL,
    PRIMARY KEY (projection, board, version, rank)
)"""
    # The number keeps the order of positions, which as texts have none.
    yield f"""CREATE TABLE {names["skillstat_parked"]} (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    projection text COLLATE "C" NOT NULL,
    building text COLLATE "C" NOT NULL,
    position text COLLATE "C" NOT NULL,
    skill_id text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    events bigint NOT NULL,
    recorded text NOT NULL,
    UNIQUE (projection, building, position)
)"""
    yield f"""CREATE TABLE {names["skillstat_errors"]} (
    projection text COLLATE "C" PRIMARY KEY,
    at_us bigint NOT NULL CHECK (at_us BETWEEN {_FIRST_US} AND {_LAST_US}),
    error text NOT NULL
)"""
    yield f"""CREATE TABLE {names["skillstat_badges"]} (
    skill_id text COLLATE "C" NOT NULL CHECK (octet_length(skill_id) BETWEEN 1 AND {MAX_TEXT}),
    kind text COLLATE "C" NOT NULL CHECK (kind IN ({", ".join(map(_literal, BadgeKind))})),
    by_user_id text COLLATE "C" NOT NULL
        CHECK (octet_length(by_user_id) BETWEEN 1 AND {MAX_TEXT}),
    at_us bigint NOT NULL CHECK (at_us BETWEEN {_FIRST_US} AND {_LAST_US}),
    PRIMARY KEY (skill_id, kind)
)"""


def numbers_tables(names: Names, projection: Projection) -> Iterable[str]:
    """Yield the statements that make the tables of a set of numbers.

    What is built has no index by skill: nobody asks it for the rollups of one.
    """
    counters = ",\n".join(f"    {sum_column(counter)}" for counter in projection.counters)
    yield f"""CREATE TABLE {names.totals(projection.name)} (
    skill_id text COLLATE "C" PRIMARY KEY,
{counters}
)"""
    for each in projection.granularities:
        yield from rollup_tables(names, projection, each)


def rollup_tables(names: Names, projection: Projection, granularity: Granularity) -> Iterable[str]:
    """Yield the statements that make one table of rollups."""
    columns = "".join(f"    {sum_column(column)},\n" for column in projection.columns)
    bucket, table = granularity.value, names.rollups(projection.name, granularity)
    kind = "date" if granularity is Granularity.DAY else "timestamptz"
    yield f"""CREATE TABLE {table} (
    {bucket} {kind} NOT NULL,
    skill_id text COLLATE "C" NOT NULL,
{columns}    PRIMARY KEY ({bucket}, skill_id)
)"""
    if not names.building:
        yield f"CREATE INDEX ON {table} (skill_id, {bucket})"


def stats_tables(names: Names, projection: Projection, at: datetime) -> Iterable[str]:
    """Yield the statements that make a projection's tables, and its first cursor record."""
    yield from numbers_tables(names, projection)
    columns = ", ".join(_records.RECORD)
    values = ", ".join(map(_literal, fields_of(Cursor.start(projection, at))))
    yield (
        f"INSERT INTO {names['skillstat_cursors']} (projection, building, {columns})"
        f" VALUES ({_literal(projection.name)}, '', {values})"
    )


def _literal(value: object) -> str:
    """Return a value as it stands in a statement that takes parameters."""
    return psycopg.sql.Literal(value).as_string().replace("%", "%%")


def sum_column(name: str) -> str:
    """Return the declaration of the column of a counter or rollup column."""
    return f"{quoted(name)} bigint NOT NULL DEFAULT 0"


def tables_sql(
    *projections: Projection, schema: str = SCHEMA, clock: Clock = utc_now
) -> LiteralString:
    """Return what `create_tables` does on an empty schema, as a script in SQL.

    For those who run migrations of their own; run it in one transaction. A projection that is
    added later has a script of its own: `projection_sql`.

    Args:
        projections: The projections whose stats shall live there; none is fine.
        schema: Where the tables shall be; made if it is not there.
        clock: Gives ``updated_at`` of the cursors.
    """
    names = Names(schema)
    log = (f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}", *log_tables(names))
    stats = projection_sql(*projections, schema=schema, clock=clock)
    return script(*log, *cursor_tables(names)) + stats


def projection_sql(
    *projections: Projection, schema: str = SCHEMA, clock: Clock = utc_now
) -> LiteralString:
    """Return what `create_tables` does for projections that are new to the schema, in SQL.

    Args:
        projections: The projections.
        schema: Where the tables are.
        clock: Gives ``updated_at`` of the cursors.
    """
    names, now = Names(schema), from_microseconds(microseconds(clock()))
    tables = [one for each in projections for one in stats_tables(names, each, now)]
    # Nobody forgets a skill meanwhile: `forget` looks for the projections that are there.
    lock = f"SELECT pg_advisory_xact_lock(hashtextextended({_literal(schema)}, 0))"
    return script(lock, *tables) if tables else script()


def script(*statements: str) -> LiteralString:
    """Return statements that take parameters, and have none, as a script."""
    text: Any = "".join(f"{statement};\n".replace("%%", "%") for statement in statements)
    literal: LiteralString = text  # names in it are quoted
    return literal


def has_tables(names: Names) -> Steps[bool]:
    """Return whether the schema holds tables of ours, of whichever version."""
    (found,) = yield Query(
        "SELECT json_build_array(to_regclass(%s) IS NOT NULL)::text",
        (names["skillstat_schema"].replace("%%", "%"),),
    )
    return bool(found)


def taking_over(names: Names, table: str, projection: Projection) -> Steps[None]:
    """Add the columns that *projection* has and the stored *table*, which it extends, has not."""
    stored = Projection.from_table(table)
    tables = [(names.totals(projection.name), projection.counters, stored.counters)]
    tables += [
        (names.rollups(projection.name, each), projection.columns, stored.columns)
        for each in projection.granularities
    ]
    for name, columns, there in tables:
        for column in columns:
            if column not in there:
                yield Query(f"ALTER TABLE {name} ADD COLUMN IF NOT EXISTS {sum_column(column)}")


# What stands in every statement that reads


LOG = f"""version, epoch, home, {HERE} AS place,
                pg_is_in_recovery() AS is_standby"""
"""What is to be known of a log before it is read; see `checked_log`."""


def checked_log(answer: Mapping[str, Any] | None) -> str:
    """Return the epoch of a log, from what `LOG` has answered.

    Raises:
        SchemaError: If its tables are of another version.
        StoreUnavailableError: If the server is a standby.
        HistoryChangedError: If it was made in another database.
    """
    if answer is None:
        raise SchemaError("the table skillstat_schema is empty: it was not made by this package")
    checked_version(answer["version"])
    checked_primary(answer["is_standby"])
    if answer["home"] != answer["place"]:
        raise HistoryChangedError(HAS_MOVED)
    return f"{answer['epoch']}/{answer['place']}"


def checked_version(version: object) -> None:
    """Check that the tables are of the version of this package.

    Raises:
        SchemaError: If they are not.
    """
    if not isinstance(version, int):
        raise SchemaError("the table skillstat_schema was not made by this package")
    check_version(version, VERSION)


def checking(names: Names) -> Steps[None]:
    """Check that the tables are of the version of this package."""
    answer = yield Query(
        f"SELECT json_build_object('version', max(version))::text FROM {names['skillstat_schema']}"
    )
    checked_version(answer["version"])


def checked_primary(is_standby: object) -> None:
    """Check that this server is the one that writes.

    Raises:
        StoreUnavailableError: If it only follows another one, whose transactions it may not
            know: there a position may become visible late.
    """
    if is_standby:
        raise StoreUnavailableError("this server is a standby: connect to its primary")


# Cursor records


RECORD = f"json_build_array({', '.join(_records.RECORD)})"
"""A cursor record, as part of an answer; see `record_of`."""


def declared(names: Names) -> Steps[tuple[Projection, ...]]:
    """Return the projections whose stats are there, by name."""
    yield from checking(names)
    tables = yield Query(
        "SELECT coalesce(json_agg(declared ORDER BY projection), '[]')::text"
        f" FROM {names['skillstat_cursors']} WHERE building = ''"
    )
    return tuple(map(Projection.from_table, tables))


def finding(
    names: Names, projection: str, building: str = "", *, lock: bool = False
) -> Steps[Cursor | None]:
    """Return a cursor record of a projection, the serving one by default; None: there is none."""
    found = yield Query(
        f"SELECT {RECORD}::text FROM {names['skillstat_cursors']}"
        f" WHERE projection = %s AND building = %s{' FOR UPDATE' if lock else ''}",
        (projection, building),
    )
    return None if found is None else record_of(projection, building, found)


def missing(projection: str) -> SchemaError:
    """Return the error where a projection has no record."""
    return SchemaError(
        f"the database holds no stats of projection {projection!r}: call create_tables with it once"
    )


def replacing(names: Names, cursor: Cursor, when: str = "true") -> Query:
    """Return the statement that stores *cursor* for its projection and building, on a condition."""
    sets = ", ".join(f"{name} = %s" for name in _records.RECORD)
    return Query(
        f"UPDATE {names['skillstat_cursors']} SET {sets}"
        f" WHERE projection = %s AND building = %s AND {when}",
        (*fields_of(cursor), cursor.projection, cursor.building),
    )


def inserting(names: Names, cursor: Cursor) -> Query:
    """Return the statement that stores the first record of a set of numbers."""
    columns = ", ".join(("projection", "building", *_records.RECORD))
    values = (cursor.projection, cursor.building, *fields_of(cursor))
    marks = ", ".join("%s" for _ in values)
    return Query(f"INSERT INTO {names['skillstat_cursors']} ({columns}) VALUES ({marks})", values)

"""The tables, and the cursor records in them."""

from __future__ import annotations

import sqlite3

from skillstat_agg._badges import BadgeKind
from skillstat_agg._buckets import Granularity
from skillstat_agg._commits import Cursor
from skillstat_agg._events import MAX_TEXT
from skillstat_agg._projections import Projection
from skillstat_agg.backends._records import RECORD, check_version, fields_of, record_of, tables_of
from skillstat_agg.backends.sqlite._transactions import reading
from skillstat_agg.errors import SchemaError

VERSION = 1
LOWEST_SQLITE = (3, 34, 0)

# ``building`` is empty for the numbers that serve. What is built beside them has a record and
# tables of its own, and is copied to theirs in the end, under the names people join.
#
# An event whose ``stands_for`` is not NULL is a compacted one: its ``checksum`` is the sum of the
# fingerprints of so many. Of an event as it was appended both are NULL.
#
# Integers are kept from becoming floats (what SQLite does on overflow) by CHECKs instead of
# STRICT, which SQLite has had only since 3.37. length() of a text stops at a NUL character,
# and that of a blob counts bytes.
TABLES = {
    "skillstat_schema": """
        CREATE TABLE main.skillstat_schema (
            version INTEGER NOT NULL CHECK (typeof(version) = 'integer'),
            epoch TEXT NOT NULL
        )
    """,
    "skillstat_events": f"""
        CREATE TABLE main.skillstat_events (
            position INTEGER PRIMARY KEY AUTOINCREMENT CHECK (position > 0),
            skill_id TEXT NOT NULL CHECK (
                typeof(skill_id) = 'text'
                AND length(CAST(skill_id AS BLOB)) BETWEEN 1 AND {MAX_TEXT}),
            kind TEXT NOT NULL CHECK (
                typeof(kind) = 'text' AND length(CAST(kind AS BLOB)) BETWEEN 1 AND {MAX_TEXT}),
            occurred_at_us INTEGER NOT NULL CHECK (
                typeof(occurred_at_us) = 'integer'
                AND occurred_at_us BETWEEN -62135596800000000 AND 253402300799999999),
            event_id TEXT CHECK (
                typeof(event_id) IN ('null', 'text')
                AND length(CAST(event_id AS BLOB)) BETWEEN 1 AND {MAX_TEXT}),
            deltas TEXT CHECK (typeof(deltas) IN ('null', 'text')),
            note TEXT CHECK (
                typeof(note) IN ('null', 'text')
                AND length(CAST(note AS BLOB)) BETWEEN 1 AND {MAX_TEXT}),
            recorded_at_us INTEGER NOT NULL CHECK (
                typeof(recorded_at_us) = 'integer'
                AND recorded_at_us BETWEEN -62135596800000000 AND 253402300799999999),
            fingerprint INTEGER NOT NULL CHECK (
                typeof(fingerprint) = 'integer' AND fingerprint BETWEEN 0 AND 4294967295),
            stands_for INTEGER CHECK (
                typeof(stands_for) IN ('null', 'integer') AND stands_for > 0),
            checksum INTEGER CHECK (
                typeof(checksum) = typeof(stands_for) AND checksum >= 0)
        )
    """,
    "skillstat_events_compacted": """
        CREATE INDEX main.skillstat_events_compacted ON skillstat_events (position)
        WHERE stands_for IS NOT NULL
    """,
    "skillstat_compacting": """
        CREATE TABLE main.skillstat_compacting (is_open INTEGER NOT NULL)
    """,
    "skillstat_events_in_order": """
        CREATE TRIGGER main.skillstat_events_in_order AFTER INSERT ON skillstat_events
        WHEN NEW.position <= (SELECT seq FROM sqlite_sequence WHERE name = 'skillstat_events')
            AND NOT EXISTS (SELECT 1 FROM skillstat_compacting)
        BEGIN
            SELECT RAISE(ABORT, 'positions only grow: leave the position of an event out');
        END
    """,
    "skillstat_events_never_change": """
        CREATE TRIGGER main.skillstat_events_never_change BEFORE UPDATE ON skillstat_events
        BEGIN
            SELECT RAISE(ABORT, 'events never change: append a correction');
        END
    """,
    "skillstat_events_stay": """
        CREATE TRIGGER main.skillstat_events_stay BEFORE DELETE ON skillstat_events
        WHEN NOT EXISTS (SELECT 1 FROM skillstat_compacting)
        BEGIN
            SELECT RAISE(ABORT, 'events stay: append a retraction');
        END
    """,
    "skillstat_event_ids": """
        CREATE TABLE main.skillstat_event_ids (
            event_id TEXT NOT NULL PRIMARY KEY,
            digest BLOB NOT NULL
        ) WITHOUT ROWID
    """,
    "skillstat_event_ids_never_change": """
        CREATE TRIGGER main.skillstat_event_ids_never_change BEFORE UPDATE ON skillstat_event_ids
        BEGIN
            SELECT RAISE(ABORT, 'an event id names one fact for ever');
        END
    """,
    "skillstat_readers": """
        CREATE TABLE main.skillstat_readers (
            reader TEXT NOT NULL PRIMARY KEY,
            position INTEGER CHECK (typeof(position) IN ('null', 'integer')),
            reported_at_us INTEGER NOT NULL
        ) WITHOUT ROWID
    """,
    "skillstat_cursors": """
        CREATE TABLE main.skillstat_cursors (
            projection TEXT NOT NULL,
            building TEXT NOT NULL,
            generation INTEGER NOT NULL,
            epoch TEXT,
            position TEXT,
            fingerprint INTEGER,
            events INTEGER NOT NULL CHECK (typeof(events) = 'integer'),
            checksum INTEGER NOT NULL CHECK (typeof(checksum) = 'integer'),
            controls TEXT NOT NULL,
            parked INTEGER NOT NULL CHECK (typeof(parked) = 'integer'),
            dropped TEXT NOT NULL,
            expired TEXT NOT NULL,
            revision INTEGER NOT NULL CHECK (typeof(revision) = 'integer'),
            declared TEXT NOT NULL,
            updated_at_us INTEGER NOT NULL,
            PRIMARY KEY (projection, building)
        ) WITHOUT ROWID
    """,
    "skillstat_forgotten": """
        CREATE TABLE main.skillstat_forgotten (
            skill_id TEXT NOT NULL PRIMARY KEY,
            forgotten_at_us INTEGER NOT NULL
        ) WITHOUT ROWID
    """,
    "skillstat_boards": """
        CREATE TABLE main.skillstat_boards (
            projection TEXT NOT NULL,
            board TEXT NOT NULL,
            version INTEGER NOT NULL,
            generated_at_us INTEGER NOT NULL,
            max_age_us INTEGER,
            seal TEXT NOT NULL,
            PRIMARY KEY (projection, board, version)
        ) WITHOUT ROWID
    """,
    "skillstat_board_entries": """
        CREATE TABLE main.skillstat_board_entries (
            projection TEXT NOT NULL,
            board TEXT NOT NULL,
            version INTEGER NOT NULL,
            rank INTEGER NOT NULL,
            skill_id TEXT NOT NULL,
            numbers TEXT NOT NULL,
            PRIMARY KEY (projection, board, version, rank)
        ) WITHOUT ROWID
    """,
    # The number keeps the order of positions, which as texts have none.
    "skillstat_parked": """
        CREATE TABLE main.skillstat_parked (
            number INTEGER PRIMARY KEY,
            projection TEXT NOT NULL,
            building TEXT NOT NULL,
            position TEXT NOT NULL,
            skill_id TEXT NOT NULL,
            kind TEXT NOT NULL,
            events INTEGER NOT NULL CHECK (typeof(events) = 'integer'),
            recorded TEXT NOT NULL,
            UNIQUE (projection, building, position)
        )
    """,
    "skillstat_errors": """
        CREATE TABLE main.skillstat_errors (
            projection TEXT NOT NULL PRIMARY KEY,
            at_us INTEGER NOT NULL CHECK (
                typeof(at_us) = 'integer'
                AND at_us BETWEEN -62135596800000000 AND 253402300799999999),
            error TEXT NOT NULL CHECK (typeof(error) = 'text')
        ) WITHOUT ROWID
    """,
    "skillstat_badges": f"""
        CREATE TABLE main.skillstat_badges (
            skill_id TEXT NOT NULL CHECK (
                typeof(skill_id) = 'text'
                AND length(CAST(skill_id AS BLOB)) BETWEEN 1 AND {MAX_TEXT}),
            kind TEXT NOT NULL CHECK (kind IN ({", ".join(f"'{kind}'" for kind in BadgeKind)})),
            by_user_id TEXT NOT NULL CHECK (
                typeof(by_user_id) = 'text'
                AND length(CAST(by_user_id AS BLOB)) BETWEEN 1 AND {MAX_TEXT}),
            at_us INTEGER NOT NULL CHECK (
                typeof(at_us) = 'integer'
                AND at_us BETWEEN -62135596800000000 AND 253402300799999999),
            PRIMARY KEY (skill_id, kind)
        ) WITHOUT ROWID
    """,
}


def make_stats(sql: sqlite3.Cursor, projection: Projection, cursor: Cursor) -> None:
    """Make the tables of numbers that begin with this record, and store it."""
    tables = tables_of(cursor.projection, cursor.building, cursor.generation)
    for statement in stats_tables(projection, tables).values():
        sql.execute(statement)
    names = ", ".join(("projection", "building", *RECORD))
    marks = ", ".join("?" * len(RECORD))
    sql.execute(
        f"INSERT INTO main.skillstat_cursors ({names}) VALUES (?, ?, {marks})",
        (cursor.projection, cursor.building, *fields_of(cursor)),
    )


def take_over(sql: sqlite3.Cursor, projection: Projection, tables: str) -> None:
    """Add the columns that *projection* has and tables, whose names begin so, have not."""
    for table, columns in sum_tables(projection, tables):
        there = columns_of(sql, table)
        for column in columns:
            if column not in there:
                sql.execute(f"ALTER TABLE {table} ADD COLUMN {sum_column(column)}")


def columns_of(sql: sqlite3.Cursor, table: str) -> frozenset[str]:
    """Return the columns that a table has; none where there is no such table."""
    bare = _bare(table)
    rows = sql.execute("SELECT +name FROM pragma_table_info(?, 'main')", (bare,))
    return frozenset(name for (name,) in rows)


def sum_tables(projection: Projection, tables: str) -> list[tuple[str, tuple[str, ...]]]:
    """Return the tables whose names begin so, quoted, each with its columns of sums."""
    rollups = [
        (rollup_table(tables, each), projection.columns) for each in projection.granularities
    ]
    return [(totals_table(tables), projection.counters), *rollups]


def stored_projections(db: sqlite3.Connection) -> tuple[Projection, ...]:
    """Return the projections whose stats the database holds, by name.

    Raises:
        SchemaError: If the database does not hold the tables of this version.
        OpenTransactionError: If the connection is inside a transaction.
    """
    with reading(db, "stored_projections") as sql:
        check_schema(sql)
        rows = sql.execute(
            "SELECT +declared FROM main.skillstat_cursors WHERE building = '' ORDER BY projection"
        )
        return tuple(Projection.from_table(declared) for (declared,) in rows)


def check_schema(sql: sqlite3.Cursor) -> str:
    """Return the epoch of the log, when the tables are those of this version.

    Raises:
        SchemaError: If they are not.
    """
    rows = sql.execute("SELECT +version, +epoch FROM main.skillstat_schema").fetchall()
    if len(rows) != 1 or type(rows[0][0]) is not int:
        raise SchemaError("the table skillstat_schema was not made by this package")
    version, epoch = rows[0]
    check_version(version, VERSION)
    return str(epoch)


def find_cursor(sql: sqlite3.Cursor, projection: str, building: str = "") -> Cursor | None:
    """Return a cursor record of a projection, the serving one by default; None: there is none."""
    row = sql.execute(
        f"SELECT {', '.join(f'+{name}' for name in RECORD)} FROM main.skillstat_cursors"
        " WHERE projection = ? AND building = ?",
        (projection, building),
    ).fetchone()
    if row is None:
        return None
    return record_of(projection, building, row)


def replace_cursor(sql: sqlite3.Cursor, cursor: Cursor) -> None:
    """Store *cursor* in the place of the record of its projection and building."""
    sql.execute(
        f"UPDATE main.skillstat_cursors SET {', '.join(f'{name} = ?' for name in RECORD)}"
        " WHERE projection = ? AND building = ?",
        (*fields_of(cursor), cursor.projection, cursor.building),
    )


def totals_table(tables: str) -> str:
    """Return the name of the table with one row per skill, quoted."""
    return f'main."{tables}_totals"'


def rollup_table(tables: str, granularity: Granularity) -> str:
    """Return the name of the table with one row per bucket and skill, quoted."""
    return f'main."{tables}_{"daily" if granularity is Granularity.DAY else "hourly"}"'


def read_column(name: str) -> str:
    """Return the column of a counter or rollup column, as it is selected.

    In brackets: a name in double quotes is taken for a text by SQLite where no column has it, so
    that a column which somebody has dropped would be read as its own name.
    """
    return f"[{name}]"


def sum_column(name: str) -> str:
    """Return the declaration of the column of a counter or rollup column."""
    return f'"{name}" INTEGER NOT NULL DEFAULT 0 CHECK (typeof("{name}") = \'integer\')'


def stats_tables(projection: Projection, tables: str) -> dict[str, str]:
    """Return the statements that make tables whose names begin so, by name of the table."""
    totals = totals_table(tables)
    counters = ", ".join(map(sum_column, projection.counters))
    statements = {
        _bare(totals): f"CREATE TABLE {totals} (skill_id TEXT NOT NULL PRIMARY KEY"
        " CHECK (typeof(skill_id) = 'text'),"
        f" {counters}) WITHOUT ROWID"
    }
    columns = "".join(f"{sum_column(column)}, " for column in projection.columns)
    for granularity in projection.granularities:
        rollups, bucket = rollup_table(tables, granularity), granularity.value
        statements[_bare(rollups)] = (
            f"CREATE TABLE {rollups} ({bucket} TEXT NOT NULL, skill_id TEXT NOT NULL"
            f" CHECK (typeof(skill_id) = 'text'),"
            f" {columns}PRIMARY KEY ({bucket}, skill_id)) WITHOUT ROWID"
        )
    return statements


def _bare(table: str) -> str:
    return table.removeprefix("main.").strip('"')


def refuse_foreign(names: set[str]) -> None:
    """Refuse tables that are there under our names."""
    if names:
        raise SchemaError(
            f"the database has tables of other owners under our names: {', '.join(sorted(names))}"
        )

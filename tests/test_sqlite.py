"""The SQLite backend: transactions, schema, refusals and other people's connections."""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from skillstat_agg import (
    RETIRED,
    SKILL_STATS,
    Effect,
    Event,
    Granularity,
    Place,
    Projection,
    StatsStore,
    TalliedPage,
    Tally,
    drain,
    leaderboard,
    rebuild,
    verify_fully,
)
from skillstat_agg.backends.sqlite import (
    SQLiteEventStore,
    SQLiteStatsStore,
    create_tables,
    stored_projections,
)
from skillstat_agg.errors import (
    HistoryChangedError,
    InvalidBoundError,
    OpenTransactionError,
    SchemaError,
    SkillstatError,
    StoreBusyError,
    StoreUnavailableError,
    TableChangedError,
    UncountableEventError,
    UnreadableEventError,
)
from tests.logs import NOON, download, event_logs
from tests.oracle import count_totals
from tests.sites import sqlite_site

ROW = (
    "skillstat_events (position, skill_id, kind, occurred_at_us, event_id, deltas, note,"
    " recorded_at_us, fingerprint)"
)
"""An event as append stores it."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "stats.db"


@contextmanager
def opened(path: Path | str, **options: Any) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, timeout=0, **options)) as db:
        yield db


@pytest.fixture
def db(path: Path) -> Iterator[sqlite3.Connection]:
    with opened(path) as db:
        create_tables(db, SKILL_STATS)
        yield db


def stores(db: sqlite3.Connection) -> tuple[SQLiteEventStore, SQLiteStatsStore]:
    return SQLiteEventStore(db), SQLiteStatsStore(db, SKILL_STATS)


# Transactions


def test_append_joins_the_transaction_of_its_caller(db, path):
    """The events are there when, and only when, the caller's transaction commits."""
    events, _ = stores(db)
    db.execute("CREATE TABLE business (fact TEXT)")

    db.execute("BEGIN IMMEDIATE")
    db.execute("INSERT INTO business VALUES ('lost')")
    events.append([download("lost", event_id="1")])
    db.rollback()
    db.execute("BEGIN IMMEDIATE")
    db.execute("INSERT INTO business VALUES ('kept')")
    events.append([download("kept", event_id="1")])
    with opened(path) as other:
        assert SQLiteEventStore(other).read(None, limit=10).events == ()
    db.commit()

    assert [one.event.skill_id for one in events.read(None, limit=10).events] == ["kept"]
    assert db.execute("SELECT * FROM business").fetchall() == [("kept",)]


def test_a_refused_append_leaves_the_callers_transaction_as_it_was(db):
    """Only the append is undone; what the caller wrote before and after stays."""
    events, _ = stores(db)
    events.append([download(event_id="1")])
    db.execute("CREATE TABLE business (fact TEXT)")

    db.execute("BEGIN IMMEDIATE")
    db.execute("INSERT INTO business VALUES ('before')")
    with pytest.raises(SkillstatError):
        events.append([download("x"), download("other", event_id="1")])
    db.execute("INSERT INTO business VALUES ('after')")
    db.commit()

    assert db.execute("SELECT count(*) FROM business").fetchone() == (2,)
    assert len(events.read(None, limit=10).events) == 1


def test_everything_but_append_refuses_an_open_transaction(db):
    """A drain that read its own uncommitted events would count phantoms."""
    events, stats = stores(db)
    db.execute("CREATE TABLE business (fact TEXT)")
    db.execute("BEGIN")
    db.execute("INSERT INTO business VALUES ('kept')")

    for refused in (
        lambda: drain(events, stats),
        lambda: events.read(None, limit=1),
        lambda: events.tally(None, limit=1, granularity=Granularity.DAY),
        stats.cursor,
        stats.totals,
        lambda: stats.rollups("a", Granularity.DAY),
        lambda: stats.forget("a"),
        lambda: create_tables(db, SKILL_STATS),
        lambda: stored_projections(db),
    ):
        with pytest.raises(OpenTransactionError, match="commit or roll back first"):
            refused()

    db.commit()
    assert db.execute("SELECT * FROM business").fetchall() == [("kept",)]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="autocommit came with Python 3.12")
def test_a_connection_that_is_always_in_a_transaction(path):
    """With autocommit=False append joins, and the rest says what to do."""
    with opened(path) as db:
        create_tables(db, SKILL_STATS)
    with opened(path, autocommit=False) as db:
        events, stats = stores(db)
        events.append([download()])
        db.commit()
        with pytest.raises(OpenTransactionError, match="autocommit=False"):
            drain(events, stats)
    with opened(path, autocommit=True) as db:
        assert drain(*stores(db)).events == 1


@pytest.mark.parametrize("isolation_level", [None, "", "DEFERRED", "IMMEDIATE", "EXCLUSIVE"])
@pytest.mark.parametrize("journal", ["DELETE", "WAL"])
def test_callers_settings_do_not_reach_the_numbers(path, isolation_level, journal):
    """Isolation level, journal mode, row and text factories are the caller's own affair."""
    with opened(path, isolation_level=isolation_level) as db:
        db.execute(f"PRAGMA journal_mode = {journal}")
        db.row_factory = sqlite3.Row
        db.text_factory = bytes
        create_tables(db, SKILL_STATS)
        events, stats = stores(db)

        events.append([download("ä", event_id="é")])
        drain(events, stats)

        assert stats.totals(["ä"])["ä"]["downloads"] == 1
        assert events.read(None, limit=1).events[0].event.event_id == "é"
        assert (db.row_factory, db.text_factory) == (sqlite3.Row, bytes)
        assert not db.in_transaction


def test_a_transaction_that_read_before_another_commit_is_told_to_begin_anew(path):
    """SQLite cannot make it a writing one: nothing of it is stored, and the error says so."""
    with opened(path) as db, opened(path) as other:
        db.execute("PRAGMA journal_mode = WAL")
        create_tables(db, SKILL_STATS)
        db.execute("BEGIN")
        db.execute("SELECT count(*) FROM skillstat_events").fetchone()
        stores(other)[0].append([download("other")])

        with pytest.raises(StoreBusyError):
            stores(db)[0].append([download()])
        db.rollback()

        assert len(stores(db)[0].read(None, limit=9).events) == 1


def test_numbers_and_cursor_are_of_one_snapshot(path):
    """A commit that lands while they are being read is in both or in neither."""
    with opened(path) as db, opened(path) as other:
        db.execute("PRAGMA journal_mode = WAL")
        create_tables(db, SKILL_STATS)
        stats, landed = stores(db)[1], []

        def land(statement: str) -> None:
            if "skill_stats_" in statement and "SELECT" in statement:
                stores(other)[0].append([download()])
                landed.append(drain(*stores(other)).events)

        db.set_trace_callback(land)
        totals, rollups = stats.totals(), stats.rollups("a", Granularity.DAY)
        db.set_trace_callback(None)

        assert landed == [1, 1]
        assert (totals.cursor.count, len(totals)) == (0, 0)
        assert rollups.cursor.count == 1
        assert [row["downloads"] for row in rollups.values()] == [1]


# The tables


def test_create_tables_may_be_called_again(db):
    """What is there stays; another projection gets tables of its own."""
    events, stats = stores(db)
    events.append([download()])
    drain(events, stats)
    cursor = stats.cursor()
    other = Projection("other", {"download": Effect(counters={"order": 1})})

    create_tables(db, SKILL_STATS, other)

    assert stats.cursor() == cursor
    assert stored_projections(db) == (other, SKILL_STATS)
    assert drain(events, SQLiteStatsStore(db, other)).events == 1
    assert SQLiteStatsStore(db, other).totals()["a"] == {"order": 1}


def test_the_tables_are_pleasant_to_join(db):
    """Names, columns and buckets are those that a person would write."""
    events, stats = stores(db)
    events.append([download(), Event(skill_id="a", kind="install_new", occurred_at=NOON)])
    drain(events, stats)

    totals = db.execute(
        "SELECT skill_id, downloads, stars, installs_all_time, installs_current"
        " FROM skill_stats_totals"
    ).fetchall()
    daily = db.execute(
        "SELECT day, skill_id, downloads, installs FROM skill_stats_daily WHERE day >= '2026-03-01'"
    ).fetchall()

    assert totals == [("a", 1, 0, 1, 1)]
    assert daily == [("2026-03-01", "a", 1, 1)]


def test_hours_are_named_to_the_minute(path):
    """Hours sort as text and are understood by SQLite's own functions."""
    hourly = Projection(
        "hourly_downloads",
        {"download": Effect(counters={"n": 1}, rollups={"n": 1})},
        (Granularity.HOUR,),
    )
    with opened(path) as db:
        create_tables(db, hourly)
        SQLiteEventStore(db).append([download()])
        drain(SQLiteEventStore(db), SQLiteStatsStore(db, hourly))

        rows = db.execute(
            "SELECT hour, strftime('%H', hour), n FROM hourly_downloads_hourly"
        ).fetchall()

    assert rows == [("2026-03-01 12:00", "12", 1)]


def test_missing_tables_are_said_so(path):
    """A store over an empty database names the call that was forgotten."""
    with opened(path) as db:
        events, stats = stores(db)
        for refused in (lambda: events.append([download()]), stats.cursor):
            with pytest.raises(SchemaError, match="create_tables"):
                refused()
        create_tables(db)
        with pytest.raises(SchemaError, match="no stats of projection 'skill_stats'"):
            stats.cursor()


def test_a_newer_schema_is_refused(db):
    """No operation touches tables that a newer version of the package made."""
    events, stats = stores(db)
    db.execute("UPDATE skillstat_schema SET version = 2")
    db.commit()

    for refused in (
        lambda: create_tables(db, SKILL_STATS),
        lambda: events.append([download()]),
        lambda: events.read(None, limit=1),
        stats.cursor,
        lambda: stats.forget("a"),
    ):
        with pytest.raises(SchemaError, match="version 2, this package works with version 1"):
            refused()


@pytest.mark.parametrize(
    "foreign",
    [
        "skillstat_events (x)",
        "skill_stats_totals (x)",
        "skillstat_schema (x)",
        "SKILLSTAT_events(x)",
    ],
)
def test_tables_of_others_under_our_names_are_refused(path, foreign):
    """Nothing is made and nothing of theirs is touched."""
    with opened(path) as db:
        db.execute(f"CREATE TABLE {foreign}")

        with pytest.raises(SchemaError):
            create_tables(db, SKILL_STATS)

        assert db.execute("SELECT count(*) FROM sqlite_master").fetchone() == (1,)


def test_create_tables_takes_over_what_it_extends(db):
    """The explicit call does what the first commit of the newer worker would do."""
    events, stats = stores(db)
    events.append([download(), Event(skill_id="a", kind="comment", occurred_at=NOON)])
    with pytest.raises(UncountableEventError):
        drain(events, stats)
    more = Projection(
        "skill_stats", {**SKILL_STATS.kinds, "comment": Effect(counters={"comments": 1})}
    )

    create_tables(db, more)

    newer = SQLiteStatsStore(db, more)
    assert newer.cursor().revision == stats.cursor().revision == 2
    assert newer.cursor().controls["comments"] == 0
    assert drain(events, newer).events == 1
    assert newer.totals()["a"]["comments"] == 1
    with pytest.raises(TableChangedError, match="older"):
        drain(events, stats)


def test_stats_of_another_table_are_refused_at_once(db):
    """create_tables says what a drain would say."""
    changed = Projection("skill_stats", {**SKILL_STATS.kinds, "star": RETIRED})

    with pytest.raises(TableChangedError, match="'star' has another effect"):
        create_tables(db, changed)
    with pytest.raises(TableChangedError):
        SQLiteStatsStore(db, changed).totals()


def test_an_old_sqlite_is_refused(path, monkeypatch):
    """The lowest version that is promised is checked when the tables are made."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 33, 0))

    with opened(path) as db, pytest.raises(SchemaError, match=r"SQLite 3\.34\.0 or newer"):
        create_tables(db)


# What the database itself refuses


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE skillstat_events SET skill_id = 'b'",
        "DELETE FROM skillstat_events",
        "UPDATE skillstat_event_ids SET digest = x'00'",
        f"INSERT INTO {ROW} VALUES (1, 'a', 'k', 0, NULL, NULL, NULL, 0, 0)",
        f"INSERT OR REPLACE INTO {ROW} VALUES (2, 'a', 'k', 0, NULL, NULL, NULL, 0, 0)",
        f"INSERT INTO {ROW} VALUES (0, 'a', 'k', 0, NULL, NULL, NULL, 0, 0)",
        f"INSERT INTO {ROW} VALUES (-1, 'a', 'k', 0, NULL, NULL, NULL, 0, 0)",
        f"INSERT INTO {ROW} VALUES (9, '', 'k', 0, NULL, NULL, NULL, 0, 0)",
        f"INSERT INTO {ROW} VALUES (9, x'00', 'k', 0, NULL, NULL, NULL, 0, 0)",
        f"INSERT INTO {ROW} VALUES (9, 'a', 'k', 0.5, NULL, NULL, NULL, 0, 0)",
        f"INSERT INTO {ROW} VALUES (9, 'a', 'k', 9e18, NULL, NULL, NULL, 0, 0)",
        f"INSERT INTO {ROW} VALUES (9, 'a', 'k', 0, NULL, NULL, NULL, 0, 4294967296)",
        "UPDATE skill_stats_totals SET downloads = 9223372036854775807 + 1",
        "UPDATE skill_stats_totals SET downloads = -9223372036854775807 - 2",
        "UPDATE skill_stats_totals SET downloads = 0.5",
        "UPDATE skill_stats_daily SET installs = 'many'",
    ],
)
def test_the_database_refuses(db, statement):
    """Changes of events, lower or reused positions, and numbers that are no integers."""
    events, stats = stores(db)
    events.append([download(event_id="1"), download(), download()])
    drain(events, stats)
    before = "\n".join(db.iterdump())

    with pytest.raises(sqlite3.IntegrityError):
        db.execute(statement)
    db.rollback()

    assert "\n".join(db.iterdump()) == before


def test_positions_are_not_reused_after_the_newest_event_was_removed(db):
    """Even past the triggers a position is given once, and the cursor notices."""
    events, stats = stores(db)
    events.append([download(), download()])
    drain(events, stats)
    db.execute("DROP TRIGGER skillstat_events_stay")
    db.execute("DELETE FROM skillstat_events WHERE position = 2")
    db.commit()

    appended = events.append([download()])

    assert appended.position == (3,)
    with pytest.raises(SkillstatError, match="history changed"):
        drain(events, stats)


@pytest.mark.parametrize(
    "deltas",
    ["{", "[]", "{}", "1", '{"all_time": 1.5, "current": 1}', '{"all_time": true, "current": 1}',
     '{"all_time": 9223372036854775808, "current": 1}', "[" * 100_000],
)  # fmt: skip
def test_nonsense_written_past_the_package_stops_the_drain(db, deltas):
    """What stands before it is committed; its position is named; nothing is guessed."""
    events, stats = stores(db)
    events.append([download()])
    db.execute(
        f"INSERT INTO {ROW} VALUES (2, 'a', 'install_clear', 0, NULL, ?, NULL, 0, 0)",
        (deltas,),
    )
    db.commit()

    with pytest.raises(UnreadableEventError, match="event at 2"):
        drain(events, stats)

    assert stats.cursor().count == 1


@pytest.mark.parametrize("column", ["skill_id", "kind", "note", "deltas"])
def test_text_that_is_no_text_stops_the_drain_too(db, column):
    """Bytes that are not UTF-8 are nothing that append stores; what is before is committed."""
    events, stats = stores(db)
    events.append([download()])
    row = {"skill_id": "'a'", "kind": "'star'", "note": "NULL", "deltas": "NULL"}
    row[column] = "CAST(x'ff' AS TEXT)"
    db.execute(
        f"INSERT INTO {ROW} VALUES"
        f" (2, {row['skill_id']}, {row['kind']}, 0, NULL, {row['deltas']}, {row['note']}, 0, 0)"
    )
    db.commit()

    if column != "note":  # which a drain does not read, unless it reads plainly
        with pytest.raises(UnreadableEventError, match="event at 2"):
            drain(events, stats)
    with pytest.raises(UnreadableEventError, match="event at 2"):
        drain(events, stats, max_skills=5)

    assert stats.cursor().count == 1
    assert db.text_factory is str


def test_a_trigger_of_somebody_else_is_named(db):
    """What ends our transaction from inside is not hidden by what we then cannot undo."""
    events, stats = stores(db)
    db.execute(
        "CREATE TRIGGER no BEFORE INSERT ON skill_stats_totals"
        " BEGIN SELECT RAISE(ROLLBACK, 'not on a Sunday'); END"
    )
    events.append([download()])

    with pytest.raises(StoreUnavailableError, match="not on a Sunday"):
        drain(events, stats)


def test_a_log_restored_from_a_backup_is_noticed_also_once_it_has_grown_again(tmp_path):
    """It carries its old epoch and has an event at the cursor's position, but not that one."""
    log_path, backup = tmp_path / "log.db", tmp_path / "backup.db"
    with opened(tmp_path / "stats.db") as numbers:
        create_tables(numbers, SKILL_STATS)
        stats = SQLiteStatsStore(numbers, SKILL_STATS)
        with opened(log_path) as log:
            create_tables(log)
            SQLiteEventStore(log).append([download("kept")])
            with opened(backup) as copy:
                log.backup(copy)
            SQLiteEventStore(log).append([download("lost")])
            drain(SQLiteEventStore(log), stats)
        backup.replace(log_path)
        with opened(log_path) as log:
            with pytest.raises(HistoryChangedError, match="another event, or none"):
                drain(SQLiteEventStore(log), stats)
            SQLiteEventStore(log).append([download("new"), download("newer")])
            with pytest.raises(HistoryChangedError, match="another event, or none"):
                drain(SQLiteEventStore(log), stats)

        assert stats.totals().keys() == {"kept", "lost"}


def test_known_tables_refuse_at_append(db):
    """A log that is told the table never takes in what no fold can count."""
    events = SQLiteEventStore(db, projections=[SKILL_STATS])
    bad = Event(skill_id="a", kind="install_clear", occurred_at=NOON)

    with pytest.raises(UncountableEventError) as caught:
        events.append([download(), bad])

    assert (caught.value.index, caught.value.kind) == (1, "install_clear")
    assert events.read(None, limit=1).events == ()


# The file and who else uses it


def test_what_is_no_database_is_said_so(path):
    """A file of another format is named as such and left alone."""
    path.write_bytes(b"no database at all" * 1_000)

    with opened(path) as db, pytest.raises(SchemaError, match="not a database"):
        create_tables(db)

    assert path.read_bytes() == b"no database at all" * 1_000


def test_a_locked_database_is_busy(db, path):
    """Nothing is written while another program holds the lock; afterwards all goes on."""
    events, stats = stores(db)
    events.append([download()])
    with opened(path) as other:
        other.execute("BEGIN EXCLUSIVE")
        for refused in (lambda: events.append([download()]), lambda: drain(events, stats)):
            with pytest.raises(StoreBusyError, match="locked"):
                refused()

    assert not db.in_transaction
    assert drain(events, stats).events == 1


def test_a_read_only_database_can_be_read(db, path):
    """Reading works; writing says why not."""
    stores(db)[0].append([download()])
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as reader:
        events, stats = stores(reader)

        assert len(events.read(None, limit=9).events) == 1
        for refused in (lambda: events.append([download()]), lambda: drain(events, stats)):
            with pytest.raises(StoreUnavailableError, match="readonly"):
                refused()


def test_a_closed_connection_is_said_so(db):
    """Every method of a store over a closed connection raises a typed error."""
    events, stats = stores(db)
    db.close()

    for refused in (
        lambda: events.append([download()]),
        lambda: events.read(None, limit=1),
        stats.cursor,
    ):
        with pytest.raises(StoreUnavailableError, match="closed"):
            refused()


def test_a_connection_of_another_thread_is_said_so(db):
    """One connection per thread: SQLite's own refusal is passed on as ours."""
    events, _ = stores(db)
    caught: list[BaseException] = []

    def misuse() -> None:
        try:
            events.read(None, limit=1)
        except StoreUnavailableError as error:
            caught.append(error)

    thread = threading.Thread(target=misuse)
    thread.start()
    thread.join()

    assert "thread" in str(caught[0])


@pytest.mark.parametrize("joined", [False, True])
def test_a_full_disk_in_the_middle_of_an_append_stores_nothing(db, joined):
    """The append is undone as a whole, and works once there is room."""
    events, _ = stores(db)
    pages = db.execute("PRAGMA page_count").fetchone()[0]
    db.execute(f"PRAGMA max_page_count = {pages + 2}")
    many = [download(f"{number:0900d}") for number in range(1_000)]
    if joined:
        db.execute("BEGIN IMMEDIATE")

    with pytest.raises(StoreUnavailableError, match="full"):
        events.append(many)
    db.rollback()

    assert events.read(None, limit=1).events == ()
    db.execute("PRAGMA max_page_count = 1000000")
    assert events.append(many).new == 1_000


def test_a_full_disk_in_the_middle_of_a_commit_counts_nothing(db):
    """The drain stops between two commits, and goes on exactly there."""
    events, stats = stores(db)
    log = [download(f"{number % 700:0900d}") for number in range(1_000)]
    events.append(log)
    pages = db.execute("PRAGMA page_count").fetchone()[0]
    db.execute(f"PRAGMA max_page_count = {pages + 200}")

    with pytest.raises(StoreUnavailableError, match="full"):
        drain(events, stats, page=100)

    folded = stats.cursor().count
    assert 0 < folded < 1_000
    assert stats.totals() == count_totals(log[:folded])
    db.execute("PRAGMA max_page_count = 1000000")
    assert drain(events, stats).events == 1_000 - folded
    assert stats.totals() == count_totals(log)


@pytest.mark.parametrize("journal", ["DELETE", "WAL"])
def test_threads_append_and_drain_at_once(path, journal):
    """Four writers and three workers on one file count every event once."""
    with opened(path) as db:
        db.execute(f"PRAGMA journal_mode = {journal}")
        create_tables(db, SKILL_STATS)
    log = [download(f"skill {number % 7}", event_id=str(number)) for number in range(400)]
    appending = threading.Semaphore(0)

    def write(part: list[Event]) -> None:
        with closing(sqlite3.connect(path, timeout=60)) as db:
            for event in part:
                SQLiteEventStore(db).append([event])
        appending.release()

    def work() -> None:
        with closing(sqlite3.connect(path, timeout=60)) as db:
            while not appending.acquire(blocking=False):
                drain(*stores(db), page=7)

    threads = [threading.Thread(target=write, args=(log[first::4],)) for first in range(4)]
    threads += [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with opened(path) as db:
        events, stats = stores(db)
        drain(events, stats)
        assert stats.cursor().count == 400
        assert {skill: row["downloads"] for skill, row in stats.totals().items()} == Counter(
            event.skill_id for event in log
        )


def test_reading_what_is_not_committed_is_refused(path):
    """A connection that shares its cache could count what is rolled back later."""
    with opened(path) as db:
        create_tables(db, SKILL_STATS)
    shared = f"{path.as_uri()}?cache=shared"
    with opened(shared, uri=True) as writer, opened(shared, uri=True) as reader:
        reader.execute("PRAGMA read_uncommitted = 1")
        writer.execute("BEGIN IMMEDIATE")
        stores(writer)[0].append([download()])

        with pytest.raises(StoreUnavailableError, match="read_uncommitted"):
            drain(*stores(reader))

        writer.rollback()


@pytest.mark.parametrize(
    "damage", ["controls = 'x'", "epoch = 'e', position = -1", "updated_at_us = 'x'"]
)
def test_a_cursor_record_that_somebody_changed_is_said_so(db, damage):
    """A damaged record stops everything with a typed error."""
    db.execute(f"UPDATE skillstat_cursors SET {damage}")
    db.commit()

    with pytest.raises(SchemaError, match="changed by other hands"):
        drain(*stores(db))


@pytest.mark.parametrize("day", ["x", "0000-01-01", ""])
def test_a_rollup_that_names_no_day_is_said_so_and_repaired(db, day):
    """By a rebuild, which takes nothing from what is there."""
    events, stats = stores(db)
    events.append([download()])
    drain(events, stats)
    db.execute("UPDATE skill_stats_daily SET day = ?", [day])
    db.commit()

    with pytest.raises(SchemaError, match=f"{day!r} names no bucket; rebuild"):
        verify_fully(events, stats)

    rebuild(events, stats)
    assert verify_fully(events, stats).is_ok


def test_a_column_that_is_gone_is_no_number(db):
    """SQLite takes a name in double quotes for a text where no column has it."""
    events, stats = stores(db)
    events.append([download()])
    drain(events, stats)
    db.execute("ALTER TABLE skill_stats_totals RENAME COLUMN stars TO likes")
    db.commit()

    for read in (stats.totals, stats.sums, lambda: leaderboard(stats, "stars")):
        with pytest.raises(SchemaError, match="no such column: stars"):
            read()


@pytest.mark.parametrize("table", ["skill_stats_totals", "skill_stats_daily"])
def test_what_is_no_text_is_no_skill(db, table):
    """Numbers of bytes could not be sorted among those of texts."""
    events, stats = stores(db)
    events.append([download()])
    drain(events, stats)

    with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        db.execute(f"UPDATE {table} SET skill_id = x'00'")


def test_a_reader_that_somebody_changed_is_said_so(db):
    """Its time is that of no year."""
    events, _ = stores(db)
    events.register("export")
    db.execute("UPDATE skillstat_readers SET reported_at_us = 9223372036854775807")
    db.commit()

    with pytest.raises(SchemaError, match="the reader 'export' was changed by other hands"):
        events.readers()


@pytest.mark.parametrize("limit", [0, -1, True, 1.5])
def test_a_limit_below_one_is_refused(db, limit):
    """SQLite takes a negative LIMIT for none at all."""
    events, _ = stores(db)

    with pytest.raises(InvalidBoundError):
        events.read(None, limit=limit)
    with pytest.raises(InvalidBoundError):
        events.tally(None, limit=limit, granularity=Granularity.DAY)


# Its own tally


@given(log=event_logs())
def test_its_own_tally_is_that_of_the_events(log):
    """For every place, limit and granularity the tallied page equals the page, tallied."""
    with sqlite_site() as site:
        events = site.client().events
        assert isinstance(events, SQLiteEventStore)
        events.append(log)
        after = None
        for limit in (1, 2, 3, 100):
            page = events.read(after, limit=limit)
            places = [Place(page.epoch, one.position, one.fingerprint) for one in page.events]
            for granularity in Granularity:
                tallied = events.tally(after, limit=limit, granularity=granularity)

                assert tallied == TalliedPage(
                    tally=Tally.of((one.event for one in page.events), granularity),
                    count=len(page.events),
                    checksum=sum(one.fingerprint for one in page.events),
                    place=places[-1] if places else None,
                    frontier=page.frontier,
                    is_last=page.is_last,
                )
            after = places[-1] if places else after


def test_an_idle_drain_leaves_the_file_untouched(db, path):
    """Not a byte, and no lock that a writer would meet."""
    events, stats = stores(db)
    events.append([download()])
    drain(events, stats)
    before, changes = path.read_bytes(), db.total_changes
    with opened(path) as writer:
        writer.execute("BEGIN IMMEDIATE")

        drain(events, stats)

        writer.rollback()
    assert path.read_bytes() == before
    assert db.total_changes == changes
    assert not os.path.exists(f"{path}-journal")


def test_one_skill_is_read_without_reading_the_others(db):
    """The rollups of a skill are found by the key, bucket by bucket."""
    _, stats = stores(db)
    statements: list[str] = []
    db.set_trace_callback(statements.append)
    stats.rollups("a", Granularity.DAY)
    db.set_trace_callback(None)
    [query] = [statement for statement in statements if "RECURSIVE" in statement]

    plan = [row[-1] for row in db.execute(f"EXPLAIN QUERY PLAN {query}")]

    assert any("day=? AND skill_id=?" in step for step in plan)
    assert not any(step.startswith("SCAN skill_stats_daily") for step in plan)


def test_the_stats_store_is_one(db):
    """The type checker agrees that the store keeps the protocol's signatures."""
    stats: StatsStore = SQLiteStatsStore(db, SKILL_STATS)

    assert stats.projection is SKILL_STATS

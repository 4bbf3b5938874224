"""What the owner of a connection may do to the SQLite backend without losing an event."""

from __future__ import annotations

import enum
import gc
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from skillstat_agg import (
    SKILL_STATS,
    Effect,
    Event,
    Granularity,
    Place,
    Position,
    Projection,
    drain,
)
from skillstat_agg.backends.memory import MemoryEventStore
from skillstat_agg.backends.sqlite import SQLiteEventStore, SQLiteStatsStore, create_tables
from skillstat_agg.errors import (
    HistoryChangedError,
    OpenTransactionError,
    SchemaError,
    SkillstatError,
    StoreUnavailableError,
)
from tests.logs import NOON, download


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "stats.db"


@pytest.fixture
def db(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as db:
        create_tables(db, SKILL_STATS)
        db.execute("CREATE TABLE business (fact)")
        yield db


def stores(db: sqlite3.Connection) -> tuple[SQLiteEventStore, SQLiteStatsStore]:
    return SQLiteEventStore(db), SQLiteStatsStore(db, SKILL_STATS)


def stored(path: Path) -> list[str]:
    """Return the skills of the log, as another program sees them."""
    with closing(sqlite3.connect(path)) as other:
        return [skill for (skill,) in other.execute("SELECT skill_id FROM skillstat_events")]


def test_an_interrupt_from_another_thread_leaves_no_transaction_behind(db, path):
    """What is appended afterwards is committed, and not lost in an abandoned transaction."""
    events, _ = stores(db)
    events.append([download()])
    db.executemany("INSERT INTO business VALUES (?)", [(number,) for number in range(9)])

    def clock():
        db.interrupt()
        return NOON

    reading = db.execute("SELECT * FROM business")
    reading.fetchone()
    # As long as the owner reads, SQLite keeps the interrupt and refuses even a rollback.
    with pytest.raises(StoreUnavailableError):
        drain(events, SQLiteStatsStore(db, SKILL_STATS, clock=clock))
    reading.close()

    events.append([download("paid")])

    assert not db.in_transaction
    assert stored(path) == ["a", "paid"]
    assert drain(*stores(db)).events == 2


@pytest.mark.parametrize("name", ["writing", "reading"])
def test_an_exception_that_is_kept_does_not_roll_back_later(db, path, name):
    """Nothing of ours is left for the garbage collector to undo."""
    events, stats = stores(db)
    exits = 0

    def interrupt_an_exit(frame, event, argument):
        nonlocal exits
        ours = "skillstat" in frame.f_code.co_filename
        if event == "call" and ours and frame.f_code.co_name == "__exit__" and exits == 0:
            exits += 1
            raise KeyboardInterrupt

    kept: BaseException | None = None
    sys.settrace(interrupt_an_exit)
    try:
        events.append([download("x")]) if name == "writing" else stats.totals()
    except KeyboardInterrupt as error:
        kept = error
    finally:
        sys.settrace(None)
    assert kept is not None

    with suppress(OpenTransactionError):
        stats.cursor()
    assert not db.in_transaction
    db.execute("BEGIN IMMEDIATE")
    db.execute("INSERT INTO business VALUES ('kept')")
    events.append([download("new")])
    kept = None
    gc.collect()
    assert db.in_transaction
    db.execute("COMMIT")

    assert stored(path) == ["new"]


needs_returning = pytest.mark.skipif(
    sqlite3.sqlite_version_info < (3, 35), reason="RETURNING came with SQLite 3.35"
)


@needs_returning
def test_a_statement_of_the_owner_that_still_writes_is_not_rolled_back(db):
    """Between its rows there is no transaction to be seen, but its changes would go with ours."""
    events, stats = stores(db)
    db.executemany("INSERT INTO business VALUES (?)", [("a",), ("b",), ("c",)])
    writing = db.execute("UPDATE business SET fact = 'done' RETURNING fact")
    next(writing)

    for refused in (stats.totals, stats.cursor, lambda: events.append([download()])):
        with pytest.raises(OpenTransactionError):
            refused()
    writing.fetchall()

    assert db.execute("SELECT DISTINCT fact FROM business").fetchall() == [("done",)]
    assert events.append([download()]).new == 1


@needs_returning
def test_an_append_that_cannot_join_leaves_the_transaction_alone(db):
    """In the middle of a statement that writes there can be no savepoint."""
    events, _ = stores(db)
    db.execute("BEGIN IMMEDIATE")
    db.executemany("INSERT INTO business VALUES (?)", [("a",), ("b",), ("c",)])
    writing = db.execute("UPDATE business SET fact = 'done' RETURNING fact")
    next(writing)

    with pytest.raises(SkillstatError):
        events.append([download()])
    writing.fetchall()
    db.execute("COMMIT")

    assert db.execute("SELECT fact FROM business").fetchall() == [("done",)] * 3


def test_an_append_that_joined_is_undone_or_takes_the_transaction_along(db):
    """Whatever step a deadline of the owner hits, no id stands without its event."""
    events, _ = stores(db)
    for step in range(10, 150):
        calls = 0

        def late(step: int = step) -> bool:
            nonlocal calls
            calls += 1
            return calls > step

        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO business VALUES ('order')")
        db.set_progress_handler(late, 2)
        with suppress(StoreUnavailableError):
            events.append([download("a", event_id=f"a{step}"), download("b", event_id=f"b{step}")])
        db.set_progress_handler(None, 0)
        if db.in_transaction:
            db.execute("COMMIT")

        ids, logged = db.execute(
            "SELECT (SELECT count(*) FROM skillstat_event_ids),"
            " (SELECT count(*) FROM skillstat_events)"
        ).fetchone()
        assert ids == logged, step
        assert logged % 2 == 0, step


@pytest.mark.parametrize(
    "setting",
    [
        "read_uncommitted = 1",
        "ignore_check_constraints = 1",
        "count_changes = 1",
        "journal_mode = OFF",
    ],
)
def test_settings_that_break_the_promise_are_refused(db, setting):
    """Each is named with what it does; nothing is read or written, joined or not."""
    events, stats = stores(db)
    events.append([download()])
    db.execute(f"PRAGMA {setting}").fetchall()

    for refused in (
        lambda: events.append([download()]),
        lambda: drain(events, stats),
        lambda: stats.forget("a"),
        stats.totals,
    ):
        with pytest.raises(StoreUnavailableError, match=setting.partition(" ")[0]):
            refused()
    db.execute("BEGIN")
    with pytest.raises(StoreUnavailableError):
        events.append([download()])
    db.execute("ROLLBACK")


def test_a_database_in_utf_16_is_refused(path):
    """SQLite turns some characters into others there, so that unlike skills become one."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA encoding = 'UTF-16'")
        with pytest.raises(SchemaError, match="UTF-16"):
            create_tables(db, SKILL_STATS)


@pytest.mark.parametrize("table", ["skill_stats_totals", "skill_stats_daily", "skillstat_events"])
def test_temporary_tables_of_our_names_are_passed_by(db, path, table):
    """Numbers never go into a table that dies with the connection."""
    events, stats = stores(db)
    db.execute(f"CREATE TEMP TABLE {table} AS SELECT * FROM main.{table}")

    events.append([download()] * 3)
    drain(events, stats)

    with closing(sqlite3.connect(path)) as other:
        assert stores(other)[1].totals()["a"]["downloads"] == 3
    assert stored(path) == ["a"] * 3


def test_names_that_are_members_of_an_enum_are_plain_names(db):
    """A member prints as something else than the string that it equals."""

    class Name(str, enum.Enum):  # noqa: UP042 - prints as Name.DOWNS, unlike a StrEnum
        DOWNS = "downs"

    made = Projection(Name.DOWNS, {Name.DOWNS: Effect(counters={Name.DOWNS: 1})})
    plain = Projection("downs", {"downs": Effect(counters={"downs": 1})})
    create_tables(db, made)
    events = SQLiteEventStore(db)
    events.append([Event(skill_id="a", kind="downs", occurred_at=NOON)])

    drain(events, SQLiteStatsStore(db, made))

    assert made.table == plain.table
    assert SQLiteStatsStore(db, plain).totals() == {"a": {"downs": 1}}


def test_stats_may_follow_a_log_with_positions_of_any_length(db):
    """Log and stats may live in different databases, of different kinds."""
    _, stats = stores(db)
    log = MemoryEventStore(clock=lambda: NOON)
    log.append([download()] * 5)

    report = drain(log, stats, page=2)

    assert (report.events, report.at_frontier) == (5, True)
    assert stats.cursor().place == report.after.place


def test_converters_of_the_owner_do_not_reach_the_numbers(path, monkeypatch):
    """What is registered for the types of columns changes nothing that we read."""
    for name, convert in (
        ("TEXT", lambda data: data.decode().lower()),
        ("INTEGER", lambda data: -int(data)),
        ("BLOB", lambda data: b"other"),
    ):
        monkeypatch.setitem(sqlite3.converters, name, convert)
    with closing(sqlite3.connect(path, detect_types=sqlite3.PARSE_DECLTYPES)) as db:
        create_tables(db, SKILL_STATS)
        events, stats = stores(db)
        clear = {"all_time": 2**63 - 1, "current": -(2**63)}
        for deltas in (clear, {"all_time": -(2**63), "current": 2**63 - 1}):
            log = [
                Event(
                    skill_id="X",
                    kind="install_clear",
                    occurred_at=NOON,
                    deltas=deltas,
                    event_id=f"I{deltas['all_time']}",
                )
            ]
            events.append([*log, download("X", event_id="D")])
            assert events.append(log).new == 0
            drain(events, stats)

        assert stats.totals(["X"])["X"] == {
            "downloads": 1,
            "stars": 0,
            "installs_all_time": -1,
            "installs_current": -1,
        }
        assert [dict(row) for row in stats.rollups("X", Granularity.DAY).values()] == [
            {"downloads": 1, "installs": 0}
        ]
        assert {one.event.skill_id for one in events.read(None, limit=9).events} == {"X"}
        assert stats.forget("X")
        assert set(stats.cursor().controls.values()) == {0}


@pytest.mark.parametrize("numbers", [(2**70,), (1, 0), (0,)])
def test_a_place_that_no_log_of_ours_has_is_another_history(db, numbers):
    """A position of another shape, or beyond 64 bits, is not looked up in vain."""
    events, stats = stores(db)
    events.append([download()])
    place = drain(events, stats).after.place
    assert place is not None

    with pytest.raises(HistoryChangedError):
        events.read(Place(place.epoch, Position(numbers), place.fingerprint), limit=1)

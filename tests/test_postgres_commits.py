"""What becomes of a commit on PostgreSQL that is not alone: see `_committing`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, LiteralString

import attrs
import psycopg
import pytest

from skillstat_agg import SKILL_STATS, Commit, Cursor, Event, Uncountable, drain
from skillstat_agg._folding import commit_of, read_portion
from skillstat_agg.backends.postgres import (
    PostgresEventStore,
    PostgresStatsStore,
    create_tables,
)
from skillstat_agg.errors import CursorConflictError, SchemaError, StoreUnavailableError
from tests.logs import NOON, download
from tests.postgres_server import Server, fresh_database
from tests.postgres_spies import SpiedConnection, SpiedCursor, no_io
from tests.test_postgres_backend import downloads, rows, stores
from tests.test_postgres_generations import waits

Connection = psycopg.Connection[Any]


@pytest.fixture
def conninfo(postgres: Server) -> Iterator[str]:
    """What connects to an empty database."""
    with fresh_database(postgres) as conninfo:
        yield conninfo


@pytest.fixture
def db(conninfo: str) -> Iterator[Connection]:
    """A connection to a database with our tables, and two events that are not folded."""
    with psycopg.connect(conninfo, autocommit=True) as db:
        create_tables(db, SKILL_STATS)
        stores(db)[0].append([download(), download("b")])
        yield db


def next_commit(log: PostgresEventStore, cursor: Cursor) -> Commit:
    """Return what a drain would commit now."""
    portion = read_portion(log, cursor, SKILL_STATS, 100, None, Uncountable.HALT, None)
    return commit_of(cursor, portion, (), SKILL_STATS)


def event(kind: str, deltas: dict[str, int] | None = None) -> Event:
    return Event(skill_id="c", kind=kind, occurred_at=NOON, deltas=deltas)


def numbers(stats: PostgresStatsStore) -> dict[str, int]:
    return {skill: row["downloads"] for skill, row in stats.totals().items()}


@pytest.fixture
def statements(conninfo: str, db: Connection) -> Iterator[tuple[PostgresStatsStore, list[str]]]:
    """Stats, and a list that grows with each statement that is sent for them."""
    sent: list[str] = []
    with SpiedConnection.connect(conninfo, autocommit=True, cursor_factory=SpiedCursor) as spied:
        spied.io = lambda: sent.append("a statement, or its answer")
        yield PostgresStatsStore(spied, SKILL_STATS), sent
        spied.io = no_io


def test_a_commit_is_one_round_trip(db, statements):
    """Each more would make it slower over a network."""
    log, _ = stores(db)
    stats, sent = statements
    commit = next_commit(log, stats.cursor())
    del sent[:]

    result = stats.commit(commit)

    assert len(sent) == len(["the statement", "landed"])
    assert (result.rows, result.changed) == (4, {"a", "b"})
    assert numbers(stats) == {"a": 1, "b": 1}


def test_a_page_with_forgotten_skills_takes_one_more(db, statements):
    log, other = stores(db)
    stats, sent = statements
    other.forget("a")
    commit = next_commit(log, stats.cursor())
    del sent[:]

    result = stats.commit(commit)

    assert len(sent) == 2 * len(["the statement", "landed"])
    assert (result.rows, result.forgotten, result.changed) == (2, 1, {"b"})
    assert numbers(stats) == {"b": 1}


def test_a_record_that_says_the_same_in_other_words_is_the_expected_one(db):
    """Somebody has put a space into its JSON: the transaction compares what it means."""
    log, stats = stores(db)
    db.execute("UPDATE skillstat.skillstat_cursors SET controls = controls || ' '")

    assert drain(log, stats).events == 2
    assert numbers(stats) == {"a": 1, "b": 1}


def test_a_commit_that_was_beaten_changes_nothing(db):
    log, stats = stores(db)
    late = next_commit(log, stats.cursor())
    drain(log, stats)
    before = rows(db, "SELECT * FROM skillstat.skillstat_cursors")

    with pytest.raises(CursorConflictError):
        stats.commit(late)

    assert numbers(stats) == {"a": 1, "b": 1}
    assert rows(db, "SELECT * FROM skillstat.skillstat_cursors") == before


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE skillstat.skill_stats_totals ADD COLUMN views bigint NOT NULL DEFAULT 0",
        "ALTER TABLE skillstat.skill_stats_daily ADD COLUMN views bigint NOT NULL DEFAULT 0",
    ],
)
def test_a_commit_that_waits_for_the_record_holds_no_table(conninfo, db, change: LiteralString):
    """Who holds the record may change a table, as a deployment does: nobody is a victim."""
    log, stats = stores(db)
    commit = next_commit(log, stats.cursor())
    with (
        psycopg.connect(conninfo) as holder,
        psycopg.connect(conninfo, autocommit=True) as worker,
    ):
        holder.execute("SELECT FROM skillstat.skillstat_cursors FOR UPDATE")
        thread = threading.Thread(target=stores(worker)[1].commit, args=(commit,))
        thread.start()
        while not waits(db, worker.info.backend_pid):
            pass

        holder.execute(change)  # it would wait for a lock on the table until a deadlock is found
        holder.commit()
        thread.join()

    assert numbers(stats) == {"a": 1, "b": 1}


NOTHING_NEW = [
    event("install_new"),
    event("install_clear", {"all_time": -1, "current": -1}),
]
"""No counter moves in the end, and rollups do: of the totals only rows are added."""


@pytest.mark.parametrize("page", [downloads("a"), NOTHING_NEW], ids=["moves", "nothing new"])
def test_a_commit_locks_tables_in_the_order_of_a_deployment(conninfo, db, page):
    """One that comes in the middle of a deployment waits for the first table, with no other."""
    log, stats = stores(db)
    drain(log, stats)
    log.append(page)
    commit = next_commit(log, stats.cursor())
    change = "ALTER TABLE skillstat.skill_stats_{} ADD COLUMN views bigint NOT NULL DEFAULT 0"
    with (
        psycopg.connect(conninfo) as holder,
        psycopg.connect(conninfo, autocommit=True) as worker,
    ):
        holder.execute("SELECT FROM skillstat.skillstat_cursors FOR UPDATE")
        holder.execute(change.format("totals"))
        thread = threading.Thread(target=stores(worker)[1].commit, args=(commit,))
        thread.start()
        while not waits(db, worker.info.backend_pid):
            pass

        holder.execute(change.format("daily"))
        holder.commit()
        thread.join()

    assert stats.cursor().count == 2 + len(page)


def test_a_trigger_that_keeps_the_record_is_told(db):
    """Nothing is added: the next drain would add it again, and again."""
    log, stats = stores(db)
    db.execute(
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$"
    )
    db.execute(
        "CREATE TRIGGER keeps BEFORE UPDATE ON skillstat.skillstat_cursors"
        " FOR EACH ROW EXECUTE FUNCTION keep()"
    )

    with pytest.raises(SchemaError, match="look for a trigger"):
        drain(log, stats)
    assert numbers(stats) == {}


@pytest.mark.parametrize("level", ["read committed", "repeatable read", "serializable"])
def test_workers_at_any_isolation_level_count_each_event_once(conninfo, db, level):
    """Who is second conflicts, whatever the session takes that for."""
    log, stats = stores(db)
    log.append(downloads(*"abcde" * 20))
    options = f"-c default_transaction_isolation={level.replace(' ', chr(92) + ' ')}"

    def work(_number: int) -> int:
        with psycopg.connect(conninfo, autocommit=True, options=options) as own:
            return drain(*stores(own), page=1).events

    with ThreadPoolExecutor(4) as pool:
        events = sum(pool.map(work, range(4)))

    assert events == 102
    assert numbers(stats) == {"a": 21, "b": 21, "c": 20, "d": 20, "e": 20}


def test_a_server_that_dies_in_a_commit_leaves_all_or_nothing(postgres, conninfo, db):
    """However far it got, a drain that is run again counts the rest."""
    log, stats = stores(db)
    log.append([attrs.evolve(download("c"), occurred_at=NOON)])
    commit = next_commit(log, stats.cursor())
    with psycopg.connect(conninfo, autocommit=True) as worker:
        db.execute(
            "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" PERFORM pg_terminate_backend({worker.info.backend_pid}); RETURN NULL; END $$"
        )
        db.execute(
            "CREATE TRIGGER dies AFTER UPDATE ON skillstat.skillstat_cursors"
            " FOR EACH STATEMENT EXECUTE FUNCTION die()"
        )
        with pytest.raises(StoreUnavailableError, match="terminat"):
            stores(worker)[1].commit(commit)

    db.execute("DROP TRIGGER dies ON skillstat.skillstat_cursors")
    assert numbers(stats) == {}
    assert drain(log, stats).events == 3
    assert numbers(stats) == {"a": 1, "b": 1, "c": 1}

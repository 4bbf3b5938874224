"""Rebuild and verify on a real PostgreSQL server: what the conformance kit does not ask for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, LiteralString

import attrs
import psycopg
import pytest

from skillstat_agg import (
    RETIRED,
    SKILL_STATS,
    Buckets,
    Effect,
    Granularity,
    Projection,
    drain,
    rebuild,
    series,
    verify,
    verify_fully,
)
from skillstat_agg.backends.postgres import (
    PostgresEventStore,
    PostgresStatsStore,
    create_tables,
    new_epoch,
    rebuild_grants_sql,
    worker_grants_sql,
)
from skillstat_agg.errors import (
    NotBuildingError,
    SchemaError,
    StoreUnavailableError,
    TableChangedError,
)
from tests.logs import NOON, download
from tests.postgres_server import Server, fresh_database
from tests.test_postgres_backend import downloads, role, rows, stores

TWICE = Projection(
    "skill_stats",
    {
        "download": Effect(counters={"downloads": 2}, rollups={"downloads": 2}),
        "star": RETIRED,
    },
    (Granularity.HOUR,),
)

Connection = psycopg.Connection[Any]


@pytest.fixture
def conninfo(postgres: Server) -> Iterator[str]:
    """What connects to an empty database."""
    with fresh_database(postgres) as conninfo:
        yield conninfo


@pytest.fixture
def db(conninfo: str) -> Iterator[Connection]:
    """A connection to a database with our tables, and three events that are folded."""
    with psycopg.connect(conninfo, autocommit=True) as db:
        create_tables(db, SKILL_STATS)
        log, stats = stores(db)
        log.append(downloads("a", "a", "b"))
        drain(log, stats)
        yield db


def tables(db: Connection) -> set[str]:
    found = rows(db, "SELECT tablename FROM pg_tables WHERE schemaname = 'skillstat'")
    return {name for (name,) in found}


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ("UPDATE skill_stats_totals SET downloads = 7 WHERE skill_id = 'a'", ["downloads"]),
        ("DELETE FROM skill_stats_totals WHERE skill_id = 'b'", ["downloads"]),
        ("INSERT INTO skill_stats_totals VALUES ('z')", ["downloads"]),
        ("UPDATE skill_stats_daily SET day = '2026-02-28'", ["day.downloads"] * 4),
        ("INSERT INTO skill_stats_daily VALUES ('2026-02-28', 'a')", []),
        ("UPDATE skillstat_cursors SET events = 4", ["cursor.count"]),
    ],
)
def test_a_row_that_other_hands_have_changed_is_found_and_repaired(db, change, names):
    log, stats = stores(db)
    db.execute("SET search_path = skillstat")
    db.execute(change)
    before = tables(db)

    report = verify_fully(log, stats)
    rebuild(log, stats)

    assert [one.name for one in report.differences] == names
    assert verify(log, stats).is_ok
    assert verify_fully(log, stats).is_ok
    assert {skill: row["downloads"] for skill, row in stats.totals().items()} == {"a": 2, "b": 1}
    assert tables(db) == before


@pytest.mark.parametrize("day", ["4000-01-01 BC", "99999-01-01"])
def test_a_rollup_in_no_year_is_said_so_and_repaired(db, day):
    """PostgreSQL has days that Python has not."""
    log, stats = stores(db)
    db.execute("UPDATE skillstat.skill_stats_daily SET day = %s::text::date", [day])

    for read in (
        lambda: verify_fully(log, stats),
        lambda: series(stats, ["a"], Buckets.last(7, Granularity.DAY, NOON)),
    ):
        with pytest.raises(SchemaError, match="is in no year; rebuild"):
            read()

    rebuild(log, stats)
    assert verify_fully(log, stats).is_ok


def test_a_reader_that_somebody_changed_is_said_so(db):
    """Its time is that of no year."""
    log, _ = stores(db)
    db.execute("UPDATE skillstat.skillstat_readers SET reported_at_us = 9223372036854775807")

    with pytest.raises(SchemaError, match="the reader 'skill_stats' was changed by other hands"):
        log.readers()


def test_names_and_what_hangs_on_them_stay(db):
    """Views, grants and columns of the user, and counters that the new table does not have."""
    log, _ = stores(db)
    db.execute("SET search_path = skillstat")
    db.execute("CREATE VIEW popular AS SELECT skill_id, downloads, stars FROM skill_stats_totals")
    db.execute("GRANT SELECT ON skill_stats_totals TO PUBLIC")
    db.execute("ALTER TABLE skill_stats_totals ADD COLUMN mine text DEFAULT 'kept'")
    stats = PostgresStatsStore(db, TWICE)

    rebuild(log, stats)

    assert rows(db, "SELECT * FROM popular ORDER BY 1") == [("a", 4, 0), ("b", 2, 0)]
    assert rows(db, "SELECT DISTINCT mine FROM skill_stats_totals") == [("kept",)]
    assert rows(db, "SELECT * FROM skill_stats_daily") == []
    assert list(stats.rollups("a", Granularity.HOUR)) == [NOON]
    assert rows(db, "SELECT has_table_privilege('pg_monitor', 'skill_stats_totals', 'SELECT')") == [
        (True,)
    ]
    assert verify_fully(log, stats).is_ok
    with pytest.raises(TableChangedError):
        drain(log, PostgresStatsStore(db, SKILL_STATS))


def test_a_table_that_changes_is_given_back(db):
    """Tables and columns that are there from before are used again."""
    log, old = stores(db)
    for _ in range(2):
        rebuild(log, PostgresStatsStore(db, TWICE))
        rebuild(log, old)

        assert old.totals()["a"]["downloads"] == 2
        assert list(old.rollups("a", Granularity.DAY)) == [NOON.replace(hour=0)]
        assert verify_fully(log, old).is_ok


def test_a_table_of_somebody_else_is_left_alone(db):
    log, stats = stores(db)
    db.execute("CREATE TABLE skillstat.skill_stats_hourly (hour timestamptz, skill_id text)")
    db.execute("INSERT INTO skillstat.skill_stats_hourly VALUES (now(), 'mine')")

    with pytest.raises(SchemaError, match="another owner"):
        rebuild(log, PostgresStatsStore(db, TWICE))

    assert stats.cursor().generation == 1
    assert len(rows(db, "SELECT * FROM skillstat.skill_stats_hourly")) == 1


def test_a_worker_verifies_by_sums_and_makes_no_tables(conninfo, db):
    def granting(name: str) -> LiteralString:
        return worker_grants_sql(name, SKILL_STATS)

    with role(db, granting) as name, psycopg.connect(conninfo, user=name) as own:
        log, stats = stores(own)
        assert verify(log, stats).is_ok
        for refused in (verify_fully, rebuild):
            with pytest.raises(StoreUnavailableError, match="the owner's to do, or to grant"):
                refused(log, stats)


def test_a_role_that_may_rebuild_does(conninfo, db):
    def granting(name: str) -> LiteralString:
        return rebuild_grants_sql(name, SKILL_STATS)

    with role(db, granting) as name, psycopg.connect(conninfo, user=name) as own:
        log, stats = stores(own)
        assert verify_fully(log, stats).is_ok
        assert rebuild(log, stats).after.count == 3
        assert stores(db)[1].totals()["a"]["downloads"] == 2


def test_a_worker_forgets_while_the_owner_rebuilds(conninfo, db):
    """Who may change what serves may change what is built."""
    log, stats = stores(db)

    def granting(name: str) -> LiteralString:
        return worker_grants_sql(name, SKILL_STATS)

    with role(db, granting) as name, psycopg.connect(conninfo, user=name) as own:
        building = stats.building("rebuild")
        drain(log, building)

        assert stores(own)[1].forget("a")

        assert list(building.totals()) == ["b"]
        rebuild(log, stats)
        assert list(stats.totals()) == ["b"]


def test_an_owner_forgets_while_another_role_rebuilds(conninfo, db):
    def granting(name: str) -> LiteralString:
        return rebuild_grants_sql(name, SKILL_STATS)

    with role(db, granting) as name, psycopg.connect(conninfo, user=name) as own:
        log, stats = stores(own)
        building = stats.building("rebuild")
        drain(log, building)

        assert stores(db)[1].forget("a")

        assert list(building.totals()) == ["b"]
        assert rebuild(log, stats).joined


def test_numbers_that_are_built_move_with_their_log(db):
    """A new epoch takes them along; a rebuild goes on where it was."""
    log, stats = stores(db)
    drain(log, stats.building("rebuild"), max_events=2)

    new_epoch(db)
    report = rebuild(log, stats)

    assert (report.events, report.joined, report.after.count) == (1, True, 3)
    assert verify_fully(log, stats).is_ok


def test_a_discard_waits_for_a_comparison_and_nobody_else_does(conninfo, db):
    """A worker commits, a skill is forgotten and events are read while numbers are compared."""
    log, stats = stores(db)
    drain(log, stats.building("x"))
    with psycopg.connect(conninfo) as comparing, psycopg.connect(conninfo) as discarding:
        # What a comparison holds until its end.
        comparing.execute(
            "SELECT pg_advisory_xact_lock_shared(hashtextextended(%s, 0)),"
            " (SELECT count(*) FROM skillstat.skillstat_cursors)",
            ('["skillstat", "skill_stats", "x"]',),
        )
        thread = threading.Thread(target=stores(discarding)[1].discard, args=("x",))
        thread.start()
        log.append(downloads("c"))

        assert drain(log, stats).events == 1
        assert stats.forget("a")
        assert stats.building("x").cursor().count == 3
        comparing.rollback()
        thread.join()

    with pytest.raises(NotBuildingError):
        stats.swap("x")


def test_any_schema_will_do(conninfo):
    """Names that are not easy to quote, in every statement of a rebuild and a verify."""
    schema = 'it\'s "ours"; -- 100% %s'
    with psycopg.connect(conninfo, autocommit=True) as db:
        create_tables(db, SKILL_STATS, schema=schema)
        log, stats = (
            PostgresEventStore(db, schema=schema),
            PostgresStatsStore(db, SKILL_STATS, schema=schema),
        )
        log.append([*downloads("a"), attrs.evolve(download(), kind="star")])
        drain(log, stats)

        assert verify(log, stats).is_ok
        assert verify_fully(log, stats).is_ok
        assert rebuild(log, PostgresStatsStore(db, TWICE, schema=schema)).after.count == 2


def waits(db: Connection, pid: int) -> bool:
    """Return whether a session waits for a lock, once it is known to do so or to be done."""
    while True:
        [(state, waiting)] = db.execute(
            "SELECT state, wait_event_type FROM pg_stat_activity WHERE pid = %s", (pid,)
        )
        if state == "idle" or waiting == "Lock":
            return bool(waiting == "Lock")


def test_a_projection_that_is_declared_during_a_forget_forgets_as_well(conninfo, db):
    """It is not in the list of a forget that waits, so it waits for the end of that one."""
    log, _ = stores(db)
    likes = Projection("likes", {"download": Effect(counters={"likes": 1})})
    with (
        psycopg.connect(conninfo) as holder,
        psycopg.connect(conninfo, autocommit=True) as forgetter,
        psycopg.connect(conninfo, autocommit=True) as owner,
    ):
        holder.execute("SELECT FROM skillstat.skillstat_cursors FOR UPDATE")
        forget = threading.Thread(
            target=PostgresStatsStore(forgetter, SKILL_STATS).forget, args=("a",)
        )
        declare = threading.Thread(target=create_tables, args=(owner, likes))
        forget.start()
        while not waits(db, forgetter.info.backend_pid):
            pass
        declare.start()
        while not waits(db, owner.info.backend_pid) and declare.is_alive():
            pass
        holder.rollback()
        for thread in (forget, declare):
            thread.join()

    drain(log, PostgresStatsStore(db, likes))

    assert dict(PostgresStatsStore(db, likes).totals()) == {"b": {"likes": 1}}


def test_a_commit_in_flight_and_a_move_do_not_wait_for_each_other(conninfo, db):
    """Both take the cursors first, so one of them simply comes second."""
    with psycopg.connect(conninfo) as worker, psycopg.connect(conninfo, autocommit=True) as mover:
        worker.execute("SELECT FROM skillstat.skillstat_cursors FOR UPDATE")  # as a commit begins
        move = threading.Thread(target=new_epoch, args=(mover,))
        move.start()
        while not waits(db, mover.info.backend_pid):
            pass

        assert worker.execute("SELECT count(*) FROM skillstat.skillstat_schema").fetchone() == (1,)

        worker.rollback()
        move.join()

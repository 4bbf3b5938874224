"""Pruning on a real PostgreSQL server: what the conformance kit does not ask for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import attrs
import psycopg
import pytest

from skillstat_agg import (
    SKILL_STATS,
    Granularity,
    Place,
    Position,
    Projection,
    PruneStore,
    aio,
    drain,
    prune,
)
from skillstat_agg.backends.postgres import (
    PostgresEventStore,
    PostgresStatsStore,
    create_tables,
    new_epoch,
    prune_grants_sql,
    worker_grants_sql,
)
from skillstat_agg.backends.postgres import aio as asynchronous
from skillstat_agg.backends.postgres._names import Names, Query
from skillstat_agg.errors import StoreBusyError, StoreUnavailableError
from tests.logs import NOON, download
from tests.postgres_server import Server, fresh_database
from tests.test_postgres_backend import Connection, role

LATER = attrs.evolve(SKILL_STATS, name="later", granularities=tuple(Granularity))


@pytest.fixture
def conninfo(postgres: Server) -> Iterator[str]:
    """What connects to an empty database."""
    with fresh_database(postgres) as conninfo:
        yield conninfo


@pytest.fixture
def db(conninfo: str) -> Iterator[Connection]:
    """A connection to a database whose log is folded."""
    with psycopg.connect(conninfo, autocommit=True) as db:
        create_tables(db, SKILL_STATS)
        log, stats = stores(db)
        for skills in ("aab", "ba", "ab"):
            log.append([download(skill) for skill in skills])
        drain(log, stats)
        yield db


def stores(db: Any, projection: Projection = SKILL_STATS) -> tuple[Any, Any]:
    return PostgresEventStore(db, clock=lambda: NOON), PostgresStatsStore(db, projection)


def counted(db: Any, projection: Projection = SKILL_STATS) -> dict[str, int]:
    """Return what is counted when all is folded."""
    log, stats = stores(db, projection)
    drain(log, stats)
    return {skill: row["downloads"] for skill, row in stats.totals().items()}


def test_history_is_guarded_outside_of_a_compaction(db):
    """Also where the setting is set by hand, or has been set by a compaction before."""
    log, stats = stores(db)
    prune(log, stats, before=None, limit=3)
    for setting in ("on", "0", ""):
        db.execute("SELECT set_config('skillstat.compacting', %s, false)", (setting,))
        for statement in (
            "DELETE FROM skillstat.skillstat_events",
            "TRUNCATE skillstat.skillstat_events",
            "UPDATE skillstat.skillstat_events SET stands_for = 9",
        ):
            with pytest.raises(psycopg.Error, match=r"events (stay|never change)"):
                db.execute(statement)
        with pytest.raises(psycopg.Error, match="positions are given"):
            db.execute(
                "INSERT INTO skillstat.skillstat_events (xid, seq, skill_id, kind, occurred_at_us,"
                " recorded_at_us, fingerprint) OVERRIDING SYSTEM VALUE"
                " VALUES ('1', 1, 'a', 'download', 0, 0, 0)"
            )


def test_roles_fold_and_prune_and_no_more(conninfo, db):
    """A worker reports and cannot prune; one that prunes sees no numbers, and folds nothing."""
    with (
        role(db, lambda name: worker_grants_sql(name, SKILL_STATS)) as worker,
        psycopg.connect(conninfo, user=worker) as own,
    ):
        stores(db)[0].append([download("c")])
        assert counted(own) == {"a": 4, "b": 3, "c": 1}
        log, stats = stores(own)
        for refused in (
            partial(log.compact, before=None, limit=9),
            partial(log.retire, "skill_stats"),
        ):
            with pytest.raises(StoreUnavailableError, match="the owner's to do, or to grant"):
                refused()
    with (
        role(db, prune_grants_sql) as pruner,
        psycopg.connect(conninfo, user=pruner) as own,
    ):
        log, stats = stores(own)
        assert prune(log, stats, before=None).events == 8
        assert log.retire("skill_stats")
        for refused in (stats.totals, partial(log.append, [download("d")])):
            with pytest.raises(StoreUnavailableError, match="the owner's to do, or to grant"):
                refused()
        with pytest.raises(psycopg.Error, match="events stay"):
            own.execute("DELETE FROM skillstat.skillstat_events")


def test_a_log_that_has_moved_keeps_what_is_small_and_who_reads(db):
    """Compacted events, cursors and readers get new positions together."""
    log, stats = stores(db)
    prune(log, stats, before=None, limit=3)
    log.append([download("c")])
    drain(log, stats)
    with db.transaction():
        db.execute("SET LOCAL session_replication_role = replica")
        db.execute("UPDATE skillstat.skillstat_schema SET home = 'elsewhere'")
    before = stats.cursor()
    epoch = new_epoch(db)
    after = stats.cursor()
    rows = log.read(None, limit=100).events

    assert after.place == Place(epoch, rows[-1].position, before.place.fingerprint)
    assert [reader.position for reader in log.readers()] == [rows[-1].position]
    assert [one.position for one in rows] == [Position((0, n + 1)) for n in range(len(rows))]
    assert sum(one.count for one in rows) == after.count
    assert sum(one.checksum for one in rows) == after.checksum
    create_tables(db, LATER)
    assert counted(db, LATER) == counted(db) == {"a": 4, "b": 3, "c": 1}
    assert prune(log, stats, stores(db, LATER)[1], before=None).events == 1


def test_an_idle_drain_takes_two_statements(db, monkeypatch):
    """Whoever is registered is not registered again, and a place that stands is not reported."""
    log, stats = stores(db)
    texts: list[str] = []
    built = Query.__init__

    def noted(self: Query, text: str, *rest: Any, **named: Any) -> None:
        texts.append(text)
        built(self, text, *rest, **named)

    monkeypatch.setattr(Query, "__init__", noted)
    before = db.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text").fetchone()

    drain(log, stats)

    assert len(texts) == 2
    after = db.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text").fetchone()
    assert before == after


def test_an_idle_drain_of_an_empty_log_writes_once(conninfo):
    """The reader is registered by the first one."""
    with psycopg.connect(conninfo, autocommit=True) as db:
        create_tables(db, SKILL_STATS)
        drain(*stores(db))
        before = db.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text").fetchone()

        drain(*stores(db))

        after = db.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text").fetchone()
    assert before == after


def test_a_reader_that_begins_waits_for_a_compaction_and_nobody_else_does(conninfo, db):
    """A writer and a worker go on; registering is refused after the time-out, or is later."""
    log, stats = stores(db)
    key = "hashtextextended('skillstat', 1)"
    with psycopg.connect(conninfo) as compacting:
        compacting.execute(f"SELECT pg_advisory_xact_lock({key})")  # as a compaction does
        db.execute("SET lock_timeout = '20ms'")
        log.append([download("c")])
        assert drain(log, stats).events == 1
        with pytest.raises(StoreBusyError):
            log.register("late")
        db.execute("SET lock_timeout = 0")
        waiting = threading.Thread(target=log.register, args=("late",))
        waiting.start()
        compacting.commit()
        waiting.join()
    assert [reader.name for reader in log.readers()] == ["late", "skill_stats"]
    assert prune(log, stats, before=None).events == 0


def test_two_prunes_at_once_do_the_work_once(conninfo, db):
    """Each segment is made by one of them."""
    log, stats = stores(db)
    log.append([download(skill) for skill in "abcde" * 100])
    drain(log, stats)
    reports: list[Any] = []

    def work() -> None:
        with psycopg.connect(conninfo, autocommit=True) as own:
            reports.append(prune(*stores(own), before=None, limit=7))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(report.events for report in reports) == 507
    create_tables(db, LATER)
    assert counted(db, LATER) == counted(db)


def test_the_asynchronous_store_prunes_as_well(conninfo, db):
    async def work() -> int:
        own = await psycopg.AsyncConnection.connect(conninfo)
        async with own:
            log = asynchronous.PostgresEventStore(own)
            stats = asynchronous.PostgresStatsStore(own, SKILL_STATS)
            assert isinstance(log, aio.PruneStore)
            await log.register("other")
            assert (await aio.plan_prune(log, stats, before=None)).events == 0
            assert await log.retire("other")
            assert [reader.name for reader in await log.readers()] == ["skill_stats"]
            return (await aio.prune(log, stats, before=None)).events

    assert asyncio.run(work()) == 7
    assert isinstance(stores(db)[0], PruneStore)
    assert counted(db) == {"a": 4, "b": 3}


def test_what_is_small_has_an_index_of_its_own(db):
    """It holds nothing while nothing is small, so an append does not pay for it."""
    index = Names("skillstat")["skillstat_events_compacted"]
    size = f"SELECT pg_relation_size('{index}'), (SELECT count(*) FROM skillstat.skillstat_events)"
    before, _ = db.execute(size).fetchone()
    log, stats = stores(db)
    log.append([download("a")] * 3_000)
    assert db.execute(size).fetchone() == (before, 3_007)
    drain(log, stats)
    assert prune(log, stats, before=None).records == 2

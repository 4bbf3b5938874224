"""Series, boards and publications on a real PostgreSQL server: what the kit does not ask for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import attrs
import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from skillstat_agg import (
    SKILL_STATS,
    BoardPage,
    Buckets,
    Effect,
    Event,
    Granularity,
    aio,
    drain,
    leaderboard,
    publish,
    read_board,
    series,
)
from skillstat_agg.backends.postgres import (
    PostgresEventStore,
    PostgresStatsStore,
    create_tables,
    worker_grants_sql,
)
from skillstat_agg.backends.postgres import aio as postgres_aio
from skillstat_agg.errors import StoreBusyError
from tests.logs import NOON, download
from tests.postgres_server import Server, fresh_database
from tests.postgres_spies import SpiedConnection, SpiedCursor

HOSTILE = 'it\'s "ours"; DROP SCHEMA public; -- 100% $$ \\ {} %s'
WEEK = Buckets.last(7, Granularity.DAY, NOON)


@pytest.fixture
def conninfo(postgres: Server) -> Iterator[str]:
    """What connects to a database with a counted log in a schema that is badly named."""
    with fresh_database(postgres) as conninfo:
        with psycopg.connect(conninfo, autocommit=True) as db:
            create_tables(db, SKILL_STATS, schema=HOSTILE)
            log, stats = stores(db)
            log.append(
                [
                    *(download(skill) for skill in ("a", "b", "b", "%s", "'; --")),
                    Event(skill_id="a", kind="install_new", occurred_at=NOON - timedelta(days=6)),
                    Event(skill_id="b", kind="install_new", occurred_at=NOON - timedelta(days=7)),
                ]
            )
            drain(log, stats)
        yield conninfo


def stores(
    db: psycopg.Connection[Any], **given: Any
) -> tuple[PostgresEventStore, PostgresStatsStore]:
    return (
        PostgresEventStore(db, schema=HOSTILE),
        PostgresStatsStore(db, given.get("projection", SKILL_STATS), schema=HOSTILE),
    )


def test_everything_works_under_any_name(conninfo):
    """Schemas, skills and boards are called what they like to be called."""
    with psycopg.connect(conninfo) as db:
        _, stats = stores(db)
        board = leaderboard(stats, "installs", {"downloads": 2}, over=WEEK)
        found = series(stats, ["a", "'; --", HOSTILE], WEEK)
        publish(stats, {HOSTILE: board, "%s": board})
        page = read_board(stats, HOSTILE, limit=2)

    assert [(entry.skill_id, entry.scores) for entry in board] == [
        ("a", (1, 2)),
        ("b", (0, 4)),
        ("%s", (0, 2)),
        ("'; --", (0, 2)),
    ]
    assert found["a"]["installs"] == (1, 0, 0, 0, 0, 0, 0)
    assert found["'; --"]["downloads"] == (0, 0, 0, 0, 0, 0, 1)
    assert found.first == (NOON - timedelta(days=7)).replace(hour=0)
    assert isinstance(page, BoardPage)
    assert [entry.skill_id for entry in page.entries] == ["a", "b"]


def test_empty_ranges_and_columns_that_are_not_there_yet(conninfo):
    """A newer table reads zeros."""
    newer = attrs.evolve(
        SKILL_STATS,
        kinds={**SKILL_STATS.kinds, "like": Effect(counters={"likes": 1}, rollups={"likes": 1})},
    )
    empty = Buckets(Granularity.DAY, range(0))
    with psycopg.connect(conninfo) as db:
        _, stats = stores(db, projection=newer)

        assert leaderboard(stats, "likes").entries == ()
        assert len(leaderboard(stats, "likes", "downloads", over=WEEK)) == 4
        assert leaderboard(stats, "downloads", over=empty).entries == ()
        assert series(stats, ["a"], empty)["a"] == {"downloads": (), "installs": (), "likes": ()}
        assert series(stats, ["a"], WEEK)["a"]["likes"] == (0,) * 7


def test_a_board_is_of_the_table_that_its_record_has(conninfo):
    """A deployment extends the table, and counts, between the two looks at the record."""
    newer = attrs.evolve(
        SKILL_STATS,
        kinds={**SKILL_STATS.kinds, "like": Effect(counters={"likes": 1}, rollups={"likes": 1})},
    )
    deploys = iter([False, True])
    with (
        psycopg.connect(conninfo, autocommit=True) as other,
        SpiedConnection.connect(conninfo, autocommit=True, cursor_factory=SpiedCursor) as db,
    ):

        def deploy() -> None:
            if next(deploys, False):
                create_tables(other, newer, schema=HOSTILE)
                log, counted = stores(other, projection=newer)
                log.append([attrs.evolve(download("a"), kind="like")])
                drain(log, counted)

        _, stats = stores(db, projection=newer)
        db.io = deploy

        board = leaderboard(stats, "likes")

        assert next(deploys, None) is None
        assert [(entry.skill_id, entry.scores) for entry in board] == [("a", (1,))]
        assert board.cursor == stats.cursor()


def test_a_role_that_folds_may_publish(conninfo):
    """It has what a worker needs, and forgets what stands on boards, too."""
    name = f'role "{uuid4().hex}" 100%'
    with psycopg.connect(conninfo, autocommit=True) as db:
        db.execute(SQL("CREATE ROLE {} LOGIN").format(Identifier(name)))
        try:
            db.execute(worker_grants_sql(name, SKILL_STATS, schema=HOSTILE))
            with psycopg.connect(conninfo, user=name) as own:
                _, stats = stores(own)
                for _ in range(3):
                    publish(stats, {"top": leaderboard(stats, "downloads")}, keep=1)
                assert stats.forget("b")
                page = read_board(stats, "top")
        finally:
            db.execute(SQL("DROP OWNED BY {}").format(Identifier(name)))
            db.execute(SQL("DROP ROLE {}").format(Identifier(name)))

    assert isinstance(page, BoardPage)
    assert [(entry.rank, entry.skill_id) for entry in page.entries] == [
        (2, "%s"),
        (3, "'; --"),
        (4, "a"),
    ]
    assert page.version == 3


def test_a_publisher_waits_for_who_forgets(conninfo):
    """While a skill is being forgotten nothing is published, so nothing can bring it back."""
    cursors = SQL("SELECT 1 FROM {}.skillstat_cursors FOR UPDATE").format(Identifier(HOSTILE))
    with (
        psycopg.connect(conninfo) as forgetting,
        psycopg.connect(conninfo, options="-c lock_timeout=1") as db,
    ):
        _, stats = stores(db)
        board = leaderboard(stats, "downloads")
        forgetting.execute(cursors)

        with pytest.raises(StoreBusyError):
            publish(stats, {"top": board})

        forgetting.rollback()
        assert publish(stats, {"top": board}) == 1


def test_asynchronous_stores_read_the_same(conninfo):
    """Boards, series and pages, awaited."""

    async def reading() -> tuple[object, object, object]:
        async with await psycopg.AsyncConnection.connect(conninfo) as db:
            stats = postgres_aio.PostgresStatsStore(db, SKILL_STATS, schema=HOSTILE)
            board = await aio.leaderboard(
                stats, "downloads", limit=1, eligible=lambda skill: skill == "a"
            )
            await aio.publish(stats, {"top": board})
            found = await aio.series(stats, ["a"], WEEK)
            return board, await aio.read_board(stats, "top"), found["a"]

    board, page, trend = asyncio.run(reading())

    with psycopg.connect(conninfo) as db:
        _, stats = stores(db)
        assert leaderboard(stats, "downloads", eligible=lambda skill: skill == "a") == board
        assert read_board(stats, "top") == page
        assert series(stats, ["a"], WEEK)["a"] == trend

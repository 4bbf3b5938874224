"""Badges beside what the kit checks of every store: values, roles, isolation, other hands."""

from __future__ import annotations

import asyncio
import pickle
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from typing import Any

import attrs
import psycopg
import pytest
from psycopg import IsolationLevel

from skillstat_agg import SKILL_STATS, Badge, BadgeKind
from skillstat_agg.backends.postgres import (
    PostgresBadgeStore,
    PostgresEventStore,
    PostgresStatsStore,
    aio,
    badge_grants_sql,
    create_tables,
    worker_grants_sql,
)
from skillstat_agg.backends.sqlite import SQLiteBadgeStore, SQLiteStatsStore
from skillstat_agg.backends.sqlite import create_tables as create_sqlite_tables
from skillstat_agg.errors import (
    ForgottenSkillError,
    InvalidBadgeError,
    SchemaError,
    StoreBusyError,
    StoreUnavailableError,
)
from tests.logs import NOON, download
from tests.postgres_server import Server, fresh_database
from tests.test_postgres_backend import role

ANN, BOB = (Badge(by_user_id=name, at=NOON) for name in ("ann", "bob"))


# Values


@pytest.mark.parametrize(
    "changes",
    [
        {"by_user_id": ""},
        {"by_user_id": "x" * 1_001},
        {"by_user_id": "a\0"},
        {"by_user_id": "\ud800"},
        {"by_user_id": 1},
        {"by_user_id": None},
        {"at": NOON.replace(tzinfo=None)},
        {"at": "2026-03-01"},
        {"at": None},
        {"at": datetime.min.replace(tzinfo=timezone(timedelta(hours=1)))},
    ],
    ids=repr,
)
def test_an_illegal_badge_is_never_built(changes: dict[str, Any]) -> None:
    """A user is a text of 1 to 1,000 bytes, and a time has a zone."""
    with pytest.raises(InvalidBadgeError, match=next(iter(changes))):
        attrs.evolve(ANN, **changes)


def test_a_badge_is_a_value_in_utc():
    """The same instant in another zone makes an equal badge, which pickles."""
    there = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))

    badge = Badge(by_user_id="ann", at=there)

    assert badge == ANN
    assert badge.at.tzinfo is timezone.utc
    assert pickle.loads(pickle.dumps(badge)) == ANN


def test_a_kind_is_its_value():
    """What comes out of a request or goes into JSON need not be converted."""
    assert BadgeKind("official") is BadgeKind.OFFICIAL
    assert str(BadgeKind.OFFICIAL) == "official"
    assert [*BadgeKind] == ["highlighted", "official", "deprecated", "redaction_approved"]


# SQLite


@pytest.fixture
def sqlite() -> Iterator[sqlite3.Connection]:
    """A connection to a database with tables."""
    with closing(sqlite3.connect(":memory:")) as db:
        create_sqlite_tables(db, SKILL_STATS)
        yield db


def test_a_badge_that_other_hands_wrote_is_refused_by_the_database(sqlite):
    """No kind that there is not, and no time that is none."""
    for values in (
        ("a", "golden", "ann", 0),
        ("", "official", "ann", 0),
        ("a", "official", "", 0),
        ("a", "official", "ann", "today"),
        ("a", "official", "ann", 0.5),
        ("a", "official", b"ann", 0),
    ):
        with pytest.raises(sqlite3.IntegrityError):
            sqlite.execute("INSERT INTO skillstat_badges VALUES (?, ?, ?, ?)", values)


def test_a_badge_that_cannot_be_one_is_said_to_come_from_other_hands(sqlite):
    """Where the CHECKs were switched off, reading names the skill."""
    sqlite.execute("PRAGMA ignore_check_constraints = 1")
    sqlite.execute("INSERT INTO skillstat_badges VALUES ('a', 'golden', 'ann', 0)")
    sqlite.commit()
    sqlite.execute("PRAGMA ignore_check_constraints = 0")

    with pytest.raises(SchemaError, match="skill 'a' was written by other hands"):
        SQLiteBadgeStore(sqlite).badge_maps(["a"])


def test_a_page_is_one_query(sqlite):
    """Fifty skills are looked up at once, in the database."""
    statements: list[str] = []
    badges = SQLiteBadgeStore(sqlite)
    badges.set("7", "official", ANN)
    sqlite.set_trace_callback(statements.append)

    found = badges.badge_maps(map(str, range(50)))

    assert dict(found)["7"] == {BadgeKind.OFFICIAL: ANN}
    assert sum("skillstat_badges" in statement for statement in statements) == 1


def test_badges_can_be_joined_in_sql(sqlite):
    """The table is made for queries of one's own."""
    SQLiteBadgeStore(sqlite).set("a", "official", ANN)

    rows = sqlite.execute("SELECT skill_id, by_user_id FROM skillstat_badges WHERE kind='official'")

    assert rows.fetchall() == [("a", "ann")]


def test_a_transaction_that_has_read_too_early_is_told_to_begin_anew(tmp_path):
    """As for an append: it can write no more once another program has committed."""
    with (
        closing(sqlite3.connect(tmp_path / "stats.db", timeout=0)) as one,
        closing(sqlite3.connect(tmp_path / "stats.db", timeout=0)) as two,
    ):
        one.execute("PRAGMA journal_mode = WAL")
        create_sqlite_tables(one, SKILL_STATS)
        one.execute("BEGIN")
        one.execute("SELECT * FROM skillstat_badges").fetchall()
        SQLiteBadgeStore(two).set("a", "official", BOB)

        with pytest.raises(StoreBusyError):
            SQLiteBadgeStore(one).set("a", "official", ANN)


def test_a_skill_that_is_forgotten_again_loses_what_other_hands_gave_it(sqlite):
    """It stays forgotten, is not read in between, and nothing is left."""
    stats = SQLiteStatsStore(sqlite, SKILL_STATS)
    stats.forget("a")
    sqlite.execute("INSERT INTO skillstat_badges VALUES ('a', 'official', 'ann', 0)")
    sqlite.commit()
    assert SQLiteBadgeStore(sqlite).badge_maps(["a"]) == [("a", {})]

    assert not stats.forget("a")

    assert sqlite.execute("SELECT * FROM skillstat_badges").fetchall() == []


# PostgreSQL


@pytest.fixture
def conninfo(postgres: Server) -> Iterator[str]:
    """What connects to a database with tables."""
    with fresh_database(postgres) as conninfo:
        with psycopg.connect(conninfo, autocommit=True) as db:
            create_tables(db, SKILL_STATS)
        yield conninfo


def test_without_autocommit_the_caller_commits(conninfo):
    """As for everything that is done with psycopg."""
    with psycopg.connect(conninfo) as db, psycopg.connect(conninfo, autocommit=True) as other:
        PostgresBadgeStore(db).set("a", "official", ANN)
        assert PostgresBadgeStore(other).badge_maps(["a"]) == [("a", {})]

        db.commit()

        assert PostgresBadgeStore(other).badge_maps(["a"]) == [("a", {BadgeKind.OFFICIAL: ANN})]


@pytest.mark.parametrize("level", [IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE])
def test_a_snapshot_that_is_too_old_is_told_to_begin_anew(conninfo, level):
    """It would replace a badge that it has not seen."""
    with psycopg.connect(conninfo) as db, psycopg.connect(conninfo, autocommit=True) as other:
        db.isolation_level = level
        db.execute("SELECT 1")
        PostgresBadgeStore(other).set("a", "official", BOB)

        with pytest.raises(StoreBusyError):
            PostgresBadgeStore(db).set("a", "official", ANN)


def test_what_was_set_beside_a_forget_is_not_read_and_goes_with_the_next(conninfo):
    """A transaction was open when its skill was forgotten: nobody sees the badge it commits."""
    with psycopg.connect(conninfo) as db, psycopg.connect(conninfo, autocommit=True) as other:
        PostgresBadgeStore(db).set("a", "official", ANN)
        stats, badges = PostgresStatsStore(other, SKILL_STATS), PostgresBadgeStore(other)
        assert stats.forget("a")
        db.commit()
        assert badges.badge_maps(["a"]) == [("a", {})]
        with pytest.raises(ForgottenSkillError):
            badges.set("a", "official", BOB)

        assert not stats.forget("a")

        assert other.execute("SELECT * FROM skillstat.skillstat_badges").fetchall() == []


def test_a_role_for_badges_can_do_nothing_else(conninfo):
    """It sets, clears and reads badges; a worker only reads them, and forgets."""
    with psycopg.connect(conninfo, autocommit=True) as db:
        with (
            role(db, badge_grants_sql) as name,
            psycopg.connect(conninfo, user=name, autocommit=True) as own,
        ):
            badges = PostgresBadgeStore(own)
            assert badges.set("a", "official", ANN)
            assert not badges.set("a", "official", BOB)
            assert badges.badge_maps(["a", "b"])[0][1] == {BadgeKind.OFFICIAL: BOB}
            assert badges.clear("a", "official")
            assert badges.set("a", "highlighted", ANN)
            with pytest.raises(StoreUnavailableError, match="the owner's to do, or to grant"):
                PostgresEventStore(own).append([download("a")])
            for forbidden in (
                "SELECT * FROM skillstat.skill_stats_totals",
                "DELETE FROM skillstat.skillstat_forgotten",
                "SELECT * FROM skillstat.skillstat_cursors",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    own.execute(forbidden)
        with (
            role(db, lambda name: worker_grants_sql(name, SKILL_STATS)) as name,
            psycopg.connect(conninfo, user=name, autocommit=True) as own,
        ):
            assert PostgresBadgeStore(own).badge_maps(["a"])[0][1]
            assert PostgresStatsStore(own, SKILL_STATS).forget("a")
            with pytest.raises(StoreUnavailableError, match="the owner's to do, or to grant"):
                PostgresBadgeStore(own).set("b", "official", ANN)


def test_the_twin_sets_and_reads(conninfo):
    """The same over an asynchronous connection."""

    async def use() -> object:
        async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as db:
            badges = aio.PostgresBadgeStore(db)
            assert await badges.set("a", "official", ANN)
            async with db.transaction(force_rollback=True):
                await badges.clear("a", "official")
            return await badges.badge_maps(["b", "a"])

    assert asyncio.run(use()) == [("b", {}), ("a", {BadgeKind.OFFICIAL: ANN})]


def test_another_version_of_the_tables_is_refused(conninfo):
    """Nothing is written to tables that this package does not know."""
    with psycopg.connect(conninfo, autocommit=True) as db:
        badges = PostgresBadgeStore(db)
        badges.set("a", "official", ANN)
        db.execute("UPDATE skillstat.skillstat_schema SET version = 99")

        for call in (
            lambda: badges.set("b", "official", ANN),
            lambda: badges.clear("a", "official"),
            lambda: badges.badge_maps(["a"]),
        ):
            with pytest.raises(SchemaError, match="version 99"):
                call()

        rows = db.execute("SELECT skill_id FROM skillstat.skillstat_badges").fetchall()
        assert rows == [("a",)]

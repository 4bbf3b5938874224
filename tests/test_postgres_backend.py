"""The stores on a real PostgreSQL server: what the conformance kit does not ask for."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, LiteralString
from uuid import uuid4

import attrs
import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.sql import SQL, Identifier

from skillstat_agg import (
    SKILL_STATS,
    Effect,
    Event,
    Granularity,
    Place,
    Position,
    Projection,
    Uncountable,
    drain,
    expire,
)
from skillstat_agg.backends.postgres import (
    PostgresEventStore,
    PostgresStatsStore,
    append_grants_sql,
    append_statement,
    create_tables,
    new_epoch,
    projection_sql,
    stored_projections,
    tables_sql,
    worker_grants_sql,
)
from skillstat_agg.errors import (
    EventIdConflictError,
    HistoryChangedError,
    InvalidEventError,
    OpenTransactionError,
    SchemaError,
    StoreBusyError,
    StoreUnavailableError,
    TableChangedError,
)
from tests.logs import NOON, download
from tests.postgres_server import Server, fresh_database, running_server

HOSTILE = 'it\'s "ours"; DROP SCHEMA public; -- 100% $$ \\ {} %s'
FETCHES = Projection("fetches", {"download": Effect(counters={"fetches": 1})}, ())
HOURLY = attrs.evolve(SKILL_STATS, name="hourly", granularities=tuple(Granularity))

Connection = psycopg.Connection[Any]


@pytest.fixture
def conninfo(postgres: Server) -> Iterator[str]:
    """What connects to an empty database."""
    with fresh_database(postgres) as conninfo:
        yield conninfo


@pytest.fixture
def db(conninfo: str) -> Iterator[Connection]:
    """A connection to a database with our tables."""
    with psycopg.connect(conninfo, autocommit=True) as db:
        create_tables(db, SKILL_STATS)
        yield db


def stores(
    db: Connection, schema: str = "skillstat"
) -> tuple[PostgresEventStore, PostgresStatsStore]:
    return (
        PostgresEventStore(db, schema=schema),
        PostgresStatsStore(db, SKILL_STATS, schema=schema),
    )


def counted(db: Connection, schema: str = "skillstat") -> dict[str, int]:
    """Drain, and return the downloads of each skill."""
    log, stats = stores(db, schema)
    drain(log, stats)
    return {skill: row["downloads"] for skill, row in stats.totals().items()}


def downloads(*skill_ids: str) -> list[Event]:
    return [download(skill_id) for skill_id in skill_ids]


def rows(db: Connection, query: LiteralString) -> list[Any]:
    return db.execute(query).fetchall()


@contextmanager
def role(db: Connection, granting: Callable[[str], LiteralString]) -> Iterator[str]:
    """Give the name of a new role that has what a script grants it; drop it in the end."""
    name = f'role "{uuid4().hex}" 100%'
    db.execute(SQL("CREATE ROLE {} LOGIN").format(Identifier(name)))
    try:
        db.execute(granting(name))
        yield name
    finally:
        db.execute(SQL("DROP OWNED BY {}").format(Identifier(name)))
        db.execute(SQL("DROP ROLE {}").format(Identifier(name)))


# Tables


OBJECTS = """
    SELECT table_name::text, column_name::text, data_type, column_default, is_nullable, is_identity,
        collation_name
    FROM information_schema.columns WHERE table_schema = '{0}'
    UNION ALL SELECT tgname, tgrelid::regclass::text, pg_get_triggerdef(pg_trigger.oid), '', '',
        '', '' FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
        WHERE relnamespace = '{0}'::regnamespace
    UNION ALL SELECT conname, conrelid::regclass::text, pg_get_constraintdef(oid), '', '', '', ''
        FROM pg_constraint WHERE connamespace = '{0}'::regnamespace
    UNION ALL SELECT indexname, tablename, indexdef, '', '', '', ''
        FROM pg_indexes WHERE schemaname = '{0}'
    UNION ALL SELECT proname, prosrc, '', '', '', '', ''
        FROM pg_proc WHERE pronamespace = '{0}'::regnamespace
"""


def test_the_script_makes_what_the_call_makes(conninfo):
    """Who runs migrations of his own has the same tables, triggers, keys and first records."""
    with psycopg.connect(conninfo, autocommit=True) as db:
        create_tables(db, SKILL_STATS, HOURLY, schema="called")
        with db.transaction():
            db.execute(tables_sql(SKILL_STATS, schema="run"))
        db.execute(projection_sql(HOURLY, schema="run"))

        called, ran = (
            sorted(
                tuple(re.sub(rf'"?{schema}"?\.', "it.", str(each)) for each in row)
                for row in rows(db, OBJECTS.format(schema))
            )
            for schema in ("called", "run")
        )
        assert ran == called
        assert len(ran) > 60
        assert stored_projections(db, schema="run") == stored_projections(db, schema="called")
        stores(db, "run")[0].append(downloads("a", "b", "a"))
        assert counted(db, "run") == {"a": 2, "b": 1}
        create_tables(db, SKILL_STATS, HOURLY, FETCHES, schema="run")
        assert len(stored_projections(db, schema="run")) == 3


def test_a_script_takes_nothing_for_a_parameter():
    """Tools that look for percent signs find none."""
    assert "%" not in tables_sql(SKILL_STATS, HOURLY)


def test_tables_may_be_made_by_several_at_once(conninfo):
    """Programs that start together do not trip over each other."""
    script = (
        "import sys, psycopg\n"
        "from skillstat_agg import SKILL_STATS\n"
        "from skillstat_agg.backends.postgres import create_tables\n"
        "with psycopg.connect(sys.argv[1]) as db:\n"
        "    create_tables(db, SKILL_STATS)\n"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", script, conninfo], stderr=subprocess.PIPE)
        for _ in range(4)
    ]

    assert [(each.communicate()[1], each.returncode) for each in started] == [(b"", 0)] * 4


@pytest.mark.parametrize("schema", [HOSTILE, "Ä" * 31, " ", "pg", "select"])
def test_a_schema_may_have_any_name(conninfo, schema):
    """Names are quoted everywhere, and nothing else is touched."""
    with psycopg.connect(conninfo, autocommit=True) as db:
        create_tables(db, SKILL_STATS, schema=schema)
        log, stats = stores(db, schema)
        log.append([download("a", event_id="one"), *downloads("b")])
        log.append([download("a", event_id="one")])
        log.append(downloads(*"a" * 300))
        db.execute(append_statement(downloads("c"), schema=schema).text, *[values(schema)])
        assert counted(db, schema) == {"a": 301, "b": 1, "c": 1}
        assert log.stall().waiting == 0
        new_epoch(db, schema=schema)
        assert stats.forget("a")
        assert counted(db, schema) == {"b": 1, "c": 1}
        assert rows(db, "SELECT count(*) FROM pg_namespace WHERE nspname = 'public'") == [(1,)]


def values(schema: str) -> tuple[object, ...]:
    return append_statement(downloads("c"), schema=schema).values


@pytest.mark.parametrize("schema", ["", "a" * 64, "Ä" * 32, "a\0b"])
def test_a_name_that_no_schema_can_have_is_refused(schema):
    """PostgreSQL would cut it in silence."""
    with pytest.raises(SchemaError, match="cannot be the name of a schema"):
        tables_sql(schema=schema)


@pytest.mark.parametrize(
    "skill_id", [HOSTILE, "\\N", "\\.", "a\tb\nc\r", "NULL", "{a,b}", "🦊" * 250]
)
def test_a_skill_may_have_any_name(db, skill_id):
    """It comes back as it was given, by every way of appending."""
    log, stats = stores(db)
    event = Event(skill_id=skill_id, kind="download", occurred_at=NOON, note=skill_id)
    log.append([event])
    log.append([attrs.evolve(event, event_id=skill_id)])
    log.append([event] * 300)
    statement = append_statement([event])
    db.execute(statement.text, statement.values)

    found = {recorded.event for recorded in log.read(None, limit=1_000).events}
    assert found == {event, attrs.evolve(event, event_id=skill_id)}
    assert counted(db) == {skill_id: 303}
    assert stats.rollups(skill_id, Granularity.DAY)[NOON.replace(hour=0)]["downloads"] == 303
    assert stats.forget(skill_id)
    assert counted(db) == {}


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_cannot_hold_every_text_is_refused(postgres, encoding):
    """Before an event is met that it could not store, or would cut elsewhere."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(postgres.conninfo(), autocommit=True) as admin:
        create = "CREATE DATABASE {} TEMPLATE template0 ENCODING {} LOCALE 'C'"
        admin.execute(SQL(create).format(Identifier(name), encoding))
        try:
            with (
                psycopg.connect(postgres.conninfo(name)) as db,
                pytest.raises(SchemaError, match=f"has the encoding {encoding}"),
            ):
                create_tables(db, SKILL_STATS)
        finally:
            admin.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


@pytest.mark.parametrize("encoding", ["UTF8", "SQL_ASCII", "EUC_JP", "LATIN1"])
def test_a_client_may_have_any_encoding(conninfo, db, encoding):
    """What its encoding has comes back as it was given; the rest is an error, not another text."""
    with psycopg.connect(conninfo, client_encoding=encoding, autocommit=True) as own:
        log, stats = stores(own)
        log.append(downloads("a"))
        assert counted(own) == {"a": 1}
        with suppress(StoreUnavailableError):
            log.append(downloads("🦊é"))
        with suppress(StoreUnavailableError):
            drain(log, stats)
    assert set(counted(db)) <= {"a", "🦊é"}


def test_tables_of_another_version_are_refused(db):
    """Neither append nor read nor commit touches them; the sentence says what to do."""
    log, stats = stores(db)
    log.append(downloads("a"))
    db.execute("UPDATE skillstat.skillstat_schema SET version = 99")

    for use in (
        lambda: log.read(None, limit=1),
        lambda: drain(log, stats),
        stats.totals,
        lambda: stats.forget("a"),
        lambda: create_tables(db, FETCHES),
        lambda: new_epoch(db),
    ):
        with pytest.raises(SchemaError, match="of version 99, this package works with version 1"):
            use()


def test_tables_that_are_missing_are_said_to_be(conninfo):
    """The sentence names the call that makes them."""
    with psycopg.connect(conninfo) as db:
        log, stats = stores(db)
        for use in (lambda: log.append(downloads("a")), lambda: drain(log, stats), stats.cursor):
            with pytest.raises(SchemaError, match="make the tables \\(create_tables\\)"):
                use()
            assert db.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_a_projection_that_is_missing_is_said_to_be(db):
    """The tables are there, but not those of this projection."""
    stats = PostgresStatsStore(db, FETCHES)

    with pytest.raises(SchemaError, match="no stats of projection 'fetches'"):
        stats.cursor()


def test_a_table_that_changes_is_refused(db):
    """As on every backend: numbers that were counted by another table cannot be carried on."""
    doubled = {**SKILL_STATS.kinds, "download": Effect(counters={"downloads": 2})}

    with pytest.raises(TableChangedError):
        create_tables(db, attrs.evolve(SKILL_STATS, kinds=doubled))


# Other hands


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE {0}.skillstat_events SET skill_id = 'b'", "events never change"),
        ("DELETE FROM {0}.skillstat_events", "events stay"),
        ("TRUNCATE {0}.skillstat_events", "events stay"),
        ("UPDATE {0}.skillstat_event_ids SET digest = ''", "names one fact for ever"),
        (
            "INSERT INTO {0}.skillstat_events (xid, skill_id, kind, occurred_at_us,"
            " recorded_at_us, fingerprint) VALUES ('5', 'a', 'download', 0, 0, 0)",
            "positions are given",
        ),
        (
            "INSERT INTO {0}.skillstat_events (seq, skill_id, kind, occurred_at_us,"
            " recorded_at_us, fingerprint) VALUES (5, 'a', 'download', 0, 0, 0)",
            'cannot insert a non-DEFAULT value into column "seq"',
        ),
    ],
)
def test_the_log_refuses_other_hands(db, statement, reason):
    """What would change history, or make a position, fails."""
    stores(db)[0].append([download("a", event_id="one")])

    with pytest.raises(psycopg.Error, match=reason):
        db.execute(statement.format("skillstat"))
    assert counted(db) == {"a": 1}


def test_nothing_of_a_session_is_used(conninfo):
    """A pooler may give every transaction another session: nothing is left in this one."""
    with psycopg.connect(conninfo) as db:
        create_tables(db, SKILL_STATS)
        before = rows(db, "SELECT name, setting FROM pg_settings ORDER BY name")
        db.rollback()
        log, stats = stores(db)
        for _ in range(10):  # psycopg prepares what it has run five times
            log.append(downloads("a"))
            log.append([download("a", event_id="one")])
            log.append(downloads(*"a" * 300))
            db.commit()
            drain(log, stats)
            stats.totals()
            log.stall()

        assert rows(db, "SELECT name FROM pg_prepared_statements") == []
        assert rows(db, "SELECT name, setting FROM pg_settings ORDER BY name") == before
        locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
        assert rows(db, locks) == [(0,)]
        assert rows(db, "SELECT count(*) FROM pg_class WHERE relpersistence = 't'") == [(0,)]


# Somebody's transaction


def test_an_append_joins_the_callers_transaction(conninfo, db):
    """Committed or rolled back with everything else in it."""
    with psycopg.connect(conninfo) as own:
        own.execute("CREATE TABLE purchases (skill text)")
        own.commit()
        log = PostgresEventStore(own)
        for end in (own.rollback, own.commit):
            own.execute("INSERT INTO purchases VALUES ('a')")
            log.append(downloads("a"))
            log.append(downloads(*"b" * 300))
            assert counted(db) == {}
            end()
    assert counted(db) == {"a": 1, "b": 300}
    assert rows(db, "SELECT * FROM purchases") == [("a",)]


def test_without_autocommit_the_caller_commits(conninfo, db):
    """Also where the append is the first that is done: it begins the transaction."""
    with psycopg.connect(conninfo) as own:
        log, stats = stores(own)
        log.append(downloads("a"))
        log.append(downloads(*"b" * 300))
        with pytest.raises(OpenTransactionError):
            drain(log, stats)
        own.rollback()
        log.append([download("c", event_id="one")])
        own.commit()
        with pytest.raises(EventIdConflictError, match="one"):
            log.append([download("d", event_id="one")])
        assert own.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        with pytest.raises(InvalidEventError):
            log.append([download("c", at=NOON.replace(year=9999))])
        log.append([])
        assert own.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        assert drain(log, stats).events == 1
    assert counted(db) == {"c": 1}


def test_tables_can_be_made_within_a_migration(conninfo):
    """They come and go with everything else in it; a later one may add counters."""
    more = {**SKILL_STATS.kinds, "view": Effect(counters={"views": 1}, rollups={"views": 1})}
    with psycopg.connect(conninfo) as own:
        for end in (own.rollback, own.commit):
            own.execute("CREATE TABLE mine (id int)")
            create_tables(own, SKILL_STATS)
            end()
        own.execute("DROP TABLE mine")
        create_tables(own, attrs.evolve(SKILL_STATS, kinds=more))
        own.commit()
        [stored] = stored_projections(own)
        assert "views" in stored.counters


def test_an_append_that_fails_leaves_the_callers_transaction_as_it_was(conninfo, db):
    """It is undone alone; what came before it, and what comes after, is committed."""
    stores(db)[0].append([download("a", event_id="one")])
    with psycopg.connect(conninfo) as own:
        log = PostgresEventStore(own)
        log.append(downloads("b"))
        own.commit()
        with own.transaction():
            log.append(downloads("b"))
            with pytest.raises(EventIdConflictError, match="one"):
                log.append([download("c"), download("b", event_id="one")])
            with pytest.raises(InvalidEventError):
                log.append([download("c"), download("c", at=NOON.replace(year=9999))])
            log.append(downloads("b"))
    assert counted(db) == {"a": 1, "b": 3}


@pytest.mark.parametrize("level", psycopg.IsolationLevel)
def test_a_position_is_right_at_every_isolation_level(conninfo, db, level):
    """The horizon is that of the server, whatever the caller's snapshot is."""
    with psycopg.connect(conninfo) as own:
        own.isolation_level = level
        log = PostgresEventStore(own)
        own.execute("SELECT count(*) FROM skillstat.skillstat_events")  # takes a snapshot
        stores(db)[0].append(downloads("before"))
        log.append([download("a", event_id="one"), *downloads("b")])
        stores(db)[0].append(downloads("after"))
        own.commit()

    assert counted(db) == {"before": 1, "a": 1, "b": 1, "after": 1}


@pytest.mark.parametrize(
    "level", [psycopg.IsolationLevel.REPEATABLE_READ, psycopg.IsolationLevel.SERIALIZABLE]
)
def test_an_id_that_the_callers_snapshot_cannot_see_is_told(conninfo, db, level):
    """Neither doubled nor dropped: the caller has to begin anew."""
    with psycopg.connect(conninfo) as own:
        own.isolation_level = level
        own.execute("SELECT count(*) FROM skillstat.skillstat_events")
        stores(db)[0].append([download("a", event_id="one")])
        with pytest.raises(StoreBusyError):
            PostgresEventStore(own).append([download("a", event_id="one")])
        own.rollback()
        assert PostgresEventStore(own).append([download("a", event_id="one")]).new == 0
        own.commit()

    assert counted(db) == {"a": 1}


def test_a_transaction_that_has_failed_is_told(conninfo, db):
    """Nothing can be appended to it, and nothing read behind its back."""
    with psycopg.connect(conninfo) as own:
        with pytest.raises(psycopg.Error):
            own.execute("SELECT 1 / 0")
        log, stats = stores(own)
        with pytest.raises(StoreUnavailableError, match="roll it back, and begin it anew"):
            log.append(downloads("a"))
        with pytest.raises(OpenTransactionError):
            drain(log, stats)
        own.rollback()
        log.append(downloads("a"))
    assert counted(db) == {"a": 1}


def test_a_transaction_that_only_reads_is_told(conninfo, db):
    """The server's own words."""
    with psycopg.connect(conninfo) as own:
        own.read_only = True
        own.execute("SELECT 1")
        with pytest.raises(StoreUnavailableError, match="read-only transaction"):
            PostgresEventStore(own).append(downloads("a"))


def test_the_callers_settings_come_back(conninfo, db):
    """Autocommit, isolation level and row factory are the caller's own."""
    with psycopg.Connection[Any].connect(conninfo, row_factory=dict_row) as own:
        own.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        log, stats = stores(own)
        log.append(downloads("a"))
        own.commit()
        drain(log, stats)

        assert not own.autocommit
        assert own.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        assert own.isolation_level is psycopg.IsolationLevel.SERIALIZABLE
        assert own.execute("SELECT 1 AS one").fetchone() == {"one": 1}
    assert counted(db) == {"a": 1}


def test_many_events_without_ids_are_copied_in_their_order(db):
    """The position is that of the last; deltas, notes and times come back."""
    log, _ = stores(db)
    events = [
        Event(
            skill_id=f"s{number}",
            kind="install_clear",
            occurred_at=NOON + timedelta(microseconds=number),
            deltas={"all_time": -number, "current": number},
            note=f"{number}\t\\N",
        )
        for number in range(1_000)
    ]
    appended = log.append(events)

    page = log.read(None, limit=2_000)
    assert [recorded.event for recorded in page.events] == events
    assert appended.new == 1_000
    assert appended.position == page.events[-1].position
    assert len({recorded.fingerprint for recorded in page.events}) > 990


# Failures


@pytest.mark.parametrize("timeout", ["statement_timeout", "lock_timeout"])
def test_a_wait_that_ends_is_told_apart(conninfo, db, timeout):
    """Whoever waits for another client's event id is told that it is busy."""
    options = f"-c {timeout}=20ms"
    with (
        psycopg.connect(conninfo) as own,
        psycopg.connect(conninfo, autocommit=True, options=options) as other,
    ):
        PostgresEventStore(own).append([download("a", event_id="one")])
        with pytest.raises(StoreBusyError):
            PostgresEventStore(other).append([download("a", event_id="one")])
        own.commit()
        assert PostgresEventStore(other).append([download("a", event_id="one")]).new == 0
    assert counted(db) == {"a": 1}


def test_a_server_that_dies_is_told_and_nothing_is_lost(postgres, conninfo, db):
    """Whatever was under way: on a new connection the drain is simply run again."""
    log, stats = stores(db)
    log.append(downloads("a", "b"))
    drain(log, stats, max_events=1, page=1)
    postgres.kill()
    for use in (lambda: log.append(downloads("c")), lambda: drain(log, stats), stats.totals):
        with pytest.raises(StoreUnavailableError):
            use()
    postgres.start()
    with psycopg.connect(conninfo, autocommit=True) as again:
        assert counted(again) == {"a": 1, "b": 1}


def test_a_standby_is_refused(tmp_path):
    """There a transaction may become visible late: its horizon is not the primary's."""
    with running_server() as server, fresh_database(server) as conninfo:
        with psycopg.connect(conninfo, autocommit=True) as db:
            create_tables(db, SKILL_STATS)
            stores(db)[0].append(downloads("a"))
        server.stop()
        signal = server.folder / "data" / "standby.signal"
        signal.touch()
        try:
            server.start()
            with psycopg.connect(conninfo, autocommit=True) as db:
                log, stats = stores(db)
                with pytest.raises(StoreUnavailableError, match="connect to its primary"):
                    drain(log, stats)
                with pytest.raises(StoreUnavailableError):
                    log.append(downloads("b"))
                assert dict(stats.totals()) == {}
        finally:
            server.stop()
            signal.unlink()
            server.start()


@pytest.mark.parametrize(
    "position", [Position((1,)), Position((1, 2, 3)), Position((2**64, 1)), Position((1, 2**63))]
)
def test_a_place_of_another_kind_of_log_is_refused(db, position):
    """Positions of other backends have other lengths, and may be larger than ours can be."""
    log, _ = stores(db)
    log.append(downloads("a"))
    epoch = log.read(None, limit=1).epoch

    for read in (log.read, lambda *args, **kw: log.tally(*args, **kw, granularity=Granularity.DAY)):
        with pytest.raises(HistoryChangedError):
            read(Place(epoch, position, 1), limit=1)


# Roles


def test_a_role_that_appends_can_do_nothing_else(conninfo, db):
    """It appends by every way, is told retries from conflicts, and sees nothing it needs not."""
    stores(db)[0].append([download("old", event_id="one")])
    with (
        role(db, append_grants_sql) as name,
        psycopg.connect(conninfo, user=name, autocommit=True) as own,
    ):
        log = PostgresEventStore(own)
        assert log.append([download("old", event_id="one"), *downloads("a")]).new == 1
        assert log.append(downloads(*"b" * 300)).new == 300
        with pytest.raises(EventIdConflictError, match="one"):
            log.append([download("a", event_id="one")])
        with own.transaction():
            log.append(downloads("c"))
        for forbidden in (
            "SELECT skill_id FROM skillstat.skillstat_events",
            "SELECT * FROM skillstat.skillstat_cursors",
            "SELECT * FROM skillstat.skill_stats_totals",
            "UPDATE skillstat.skillstat_events SET note = ''",
            "DELETE FROM skillstat.skillstat_events",
            "TRUNCATE skillstat.skillstat_events",
            "DELETE FROM skillstat.skillstat_event_ids",
            "UPDATE skillstat.skill_stats_totals SET downloads = 0",
            "UPDATE skillstat.skillstat_schema SET epoch = ''",
            "INSERT INTO skillstat.skillstat_forgotten VALUES ('a', 0)",
            "ALTER TABLE skillstat.skillstat_events DISABLE TRIGGER ALL",
            "SET session_replication_role = replica",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                own.execute(forbidden)
        with pytest.raises(psycopg.Error, match="names one fact for ever"):
            own.execute("UPDATE skillstat.skillstat_event_ids SET digest = ''")
        with pytest.raises(StoreUnavailableError, match="the owner's to do, or to grant"):
            log.read(None, limit=1)
    assert counted(db) == {"old": 1, "a": 1, "b": 300, "c": 1}


def test_a_role_that_folds_cannot_append(conninfo, db):
    """It drains, reads and forgets; the log stays as it is."""
    log, _ = stores(db)
    create_tables(db, HOURLY)
    log.append([download("a", event_id="one"), *downloads("b", "c")])

    def granting(name: str) -> LiteralString:
        return worker_grants_sql(name, SKILL_STATS, HOURLY)

    with role(db, granting) as name, psycopg.connect(conninfo, user=name) as own:
        assert counted(own) == {"a": 1, "b": 1, "c": 1}
        drain(PostgresEventStore(own), PostgresStatsStore(own, HOURLY))
        stats = PostgresStatsStore(own, SKILL_STATS)
        assert stats.forget("b")
        assert list(stats.rollups("a", Granularity.DAY)) == [NOON.replace(hour=0)]
        assert PostgresEventStore(own).stall().waiting == 0
        for forbidden in (
            "DELETE FROM skillstat.skillstat_events",
            "UPDATE skillstat.skillstat_event_ids SET digest = ''",
            "UPDATE skillstat.skillstat_schema SET epoch = ''",
            "DELETE FROM skillstat.skillstat_cursors",
            "DELETE FROM skillstat.skillstat_forgotten",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                own.execute(forbidden)
            own.rollback()
        with pytest.raises(StoreUnavailableError, match="the owner's to do, or to grant"):
            PostgresEventStore(own).append(downloads("a"))
    assert counted(db) == {"a": 1, "c": 1}


# Stalls


def test_a_stall_names_the_transaction_and_what_waits(conninfo, db):
    """Events wait for a transaction that began before theirs, and are counted once it ends."""
    log, stats = stores(db)
    with psycopg.connect(conninfo, application_name="a slow import") as other:
        other.execute("SELECT pg_current_xact_id()")
        log.append(downloads("a", "b"))
        report = drain(log, stats)
        stall = log.stall()

        assert (report.events, report.at_frontier) == (0, True)
        assert stall.waiting == 2
        assert stall.since is not None
        [holder] = stall.holders
        assert holder.pid == other.info.backend_pid
        assert holder.application == "a slow import"
        assert holder.state == "idle in transaction"
        assert holder.prepared is None
        assert str(stall).startswith(f"2 events wait for process {holder.pid} of 'a slow import'")
    assert counted(db) == {"a": 1, "b": 1}
    assert log.stall() == attrs.evolve(stall, waiting=0, since=None, holders=())
    assert str(log.stall()) == "no event waits"


def test_a_prepared_transaction_is_named(conninfo, db):
    """Nobody runs it, and it may stay for ever: only its name helps."""
    log, _ = stores(db)
    name = f"it's {uuid4().hex}"
    with psycopg.connect(conninfo, autocommit=True) as other:
        other.execute("BEGIN")
        PostgresEventStore(other).append(downloads("prepared"))
        other.execute(SQL("PREPARE TRANSACTION {}").format(name))
    log.append(downloads("a"))
    try:
        assert counted(db) == {}
        [holder] = log.stall().holders
        assert (holder.pid, holder.prepared, holder.state) == (None, name, "prepared")
        assert f"transaction prepared as {name!r} for 0:00:0" in str(holder)
    finally:
        db.execute(SQL("COMMIT PREPARED {}").format(name))
    assert counted(db) == {"prepared": 1, "a": 1}


def test_a_transaction_of_another_database_holds_back_too(postgres, conninfo, db):
    """The horizon is that of the whole server."""
    log, _ = stores(db)
    with fresh_database(postgres) as elsewhere, psycopg.connect(elsewhere) as other:
        other.execute("SELECT pg_current_xact_id()")
        log.append(downloads("a"))
        [holder] = log.stall().holders
        assert holder.database == other.info.dbname
    assert counted(db) == {"a": 1}


def test_only_who_is_waited_for_is_named(conninfo, db):
    """A transaction that began after the last event keeps nobody waiting, nor one that reads."""
    log, _ = stores(db)
    with psycopg.connect(conninfo) as first, psycopg.connect(conninfo) as reader:
        reader.execute("SELECT count(*) FROM skillstat.skillstat_events")
        first.execute("SELECT pg_current_xact_id()")
        log.append(downloads("a"))
        with psycopg.connect(conninfo) as last:
            last.execute("SELECT pg_current_xact_id()")
            pids = [holder.pid for holder in log.stall().holders]
        assert pids == [first.info.backend_pid]


def test_a_role_that_may_not_see_is_told_what_to_grant(conninfo, db):
    """Of sessions of others it sees the process only."""

    def granting(name: str) -> LiteralString:
        return worker_grants_sql(name, SKILL_STATS)

    with (
        psycopg.connect(conninfo) as other,
        role(db, granting) as name,
        psycopg.connect(conninfo, user=name) as own,
    ):
        other.execute("SELECT pg_current_xact_id()")
        stores(db)[0].append(downloads("a"))
        [hidden] = PostgresEventStore(own).stall().holders
        assert (hidden.pid, hidden.age) == (other.info.backend_pid, None)
        assert "grant pg_monitor to see more" in str(hidden)
        db.execute(SQL("GRANT pg_monitor TO {}").format(Identifier(name)))
        [holder] = PostgresEventStore(own).stall().holders
        assert (holder.pid, holder.state) == (hidden.pid, "idle in transaction")


# A log that has moved


def move_by_dump(server: Server, conninfo: str, to: str) -> None:
    """Dump a database, and restore it elsewhere."""
    dump = subprocess.run(
        [server.programs / "pg_dump", "--dbname", conninfo], check=True, capture_output=True
    )
    subprocess.run(
        [server.programs / "psql", "-q", "-v", "ON_ERROR_STOP=1", "--dbname", to],
        input=dump.stdout,
        check=True,
        stdout=subprocess.DEVNULL,
    )


def test_a_restored_dump_is_refused_until_it_has_a_new_epoch(postgres, conninfo, db):
    """Nothing is read and nothing appended; then everything goes on, each event counted once."""
    log, stats = stores(db)
    create_tables(db, FETCHES)
    log.append([download("a", event_id="one"), *downloads("b", "a")])
    drain(log, stats, page=2, max_events=2)
    log.append(downloads(*"c" * 300))
    with fresh_database(postgres) as to:
        move_by_dump(postgres, conninfo, to)
        with psycopg.connect(to, autocommit=True) as moved:
            there, numbers = stores(moved)
            for use in (
                lambda: drain(there, numbers),
                lambda: there.read(None, limit=1),
                lambda: there.append(downloads("d")),
                lambda: there.append(downloads(*"d" * 300)),
                lambda: there.append([download("a", event_id="one")]),
                lambda: there.append([download("d", event_id="d")]),
                there.stall,
            ):
                with pytest.raises(HistoryChangedError, match="call new_epoch"):
                    use()
            before = numbers.cursor()
            epoch = new_epoch(moved)
            after = numbers.cursor()

            assert after.place is not None
            assert before.place is not None
            assert after.place == Place(epoch, Position((0, 2)), before.place.fingerprint)
            assert (after.count, after.checksum) == (before.count, before.checksum)
            assert there.append([download("a", event_id="one")]).new == 0
            there.append(downloads("d"))
            assert counted(moved) == {"a": 2, "b": 1, "c": 300, "d": 1}
            fetches = PostgresStatsStore(moved, FETCHES)
            assert drain(there, fetches).events == 304
            new_epoch(moved)  # once more: what was moved before stays where it is
            there.append(downloads("e"))
            assert counted(moved) == {"a": 2, "b": 1, "c": 300, "d": 1, "e": 1}
            seqs = [recorded.position for recorded in there.read(None, limit=1_000).events]
            assert seqs[:304] == [Position((0, number)) for number in range(1, 305)]
    assert counted(db) == {"a": 2, "b": 1, "c": 300}


def test_a_copied_database_is_another_log(postgres, conninfo, db):
    """``CREATE DATABASE ... TEMPLATE`` makes one that knows the numbers of other transactions."""
    stores(db)[0].append(downloads("a"))
    assert counted(db) == {"a": 1}
    name, copy = str(db.info.dbname), f"copy_{uuid4().hex}"
    db.close()
    with psycopg.connect(postgres.conninfo(), autocommit=True) as admin:
        admin.execute(
            SQL("CREATE DATABASE {} TEMPLATE {}").format(Identifier(copy), Identifier(name))
        )
        try:
            with psycopg.connect(postgres.conninfo(copy), autocommit=True) as moved:
                with pytest.raises(HistoryChangedError, match="copied"):
                    counted(moved)
                new_epoch(moved)
                stores(moved)[0].append(downloads("a"))
                assert counted(moved) == {"a": 2}
        finally:
            admin.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(copy)))


def test_stats_that_know_more_than_the_log_are_not_moved(db):
    """Less of the log was restored than they have counted: nobody can tell what is missing."""
    log, stats = stores(db)
    log.append(downloads("a", "b"))
    drain(log, stats)
    with db.transaction():
        db.execute("SET LOCAL session_replication_role = replica")
        db.execute("DELETE FROM skillstat.skillstat_events WHERE skill_id = 'b'")
        db.execute("UPDATE skillstat.skillstat_schema SET home = 'elsewhere'")
    before = rows(db, "SELECT * FROM skillstat.skillstat_events")

    with pytest.raises(HistoryChangedError, match="of another log"):
        new_epoch(db)
    assert rows(db, "SELECT * FROM skillstat.skillstat_events") == before
    with pytest.raises(HistoryChangedError, match="call new_epoch"):
        drain(log, stats)


def test_an_append_that_is_open_when_the_epoch_changes_is_in_the_log_once(conninfo, db):
    """The new epoch waits for it, and is right after it."""
    log, _ = stores(db)
    log.append(downloads("a"))
    assert counted(db) == {"a": 1}
    with psycopg.connect(conninfo, autocommit=True) as other:
        with other.transaction():
            PostgresEventStore(other).append(downloads("b"))
            db.execute("SET lock_timeout = '20ms'")
            with pytest.raises(StoreBusyError):
                new_epoch(db)
        new_epoch(db)
        assert counted(db) == {"a": 1, "b": 1}
        PostgresEventStore(other).append(downloads("c"))
    assert counted(db) == {"a": 1, "b": 1, "c": 1}


# The statement


def test_the_statement_answers_what_append_returns(db):
    """New events and position, as JSON."""
    statement = append_statement([download("a", event_id="one"), *downloads("b")])
    ((first,),) = db.execute(statement.text, statement.values).fetchall()
    ((again,),) = db.execute(statement.text, statement.values).fetchall()

    unlike = append_statement([download("b", event_id="one")])
    with pytest.raises(psycopg.Error, match="names one fact for ever") as raised:
        db.execute(unlike.text, unlike.values)
    assert raised.value.sqlstate == "SK001"
    assert raised.value.diag.message_detail == "It is one"
    assert first.startswith("[2, ")
    assert again.startswith("[1, ")
    assert counted(db) == {"a": 1, "b": 2}


def test_the_statement_marks_parameters_as_the_driver_wants(db):
    """Each parameter has a number, and no percent sign is left doubled."""
    schema = "100%s"
    events = downloads("a")
    ours = append_statement(events, schema=schema, paramstyle="numeric_dollar")
    formatted = append_statement(events, schema=schema)

    assert Counter(formatted.text)["%"] - 2 * formatted.text.count("%%") == len(formatted.values)
    assert [f"${number}" in ours.text for number in range(1, 11)] == [True] * 9 + [False]
    assert '"100%s"' in ours.text
    assert len(ours.values) == 9


def test_the_statement_checks_as_append_does():
    """What may not be appended never gets to the database."""
    with pytest.raises(InvalidEventError):
        append_statement([download("a", at=NOON.replace(year=9999))])
    with pytest.raises(EventIdConflictError):
        append_statement([download("a", event_id="x"), download("b", event_id="x")])


# Quarantine and retention


WAVES = Projection(SKILL_STATS.name, {**SKILL_STATS.kinds, "wave": Effect(counters={"waves": 1})})


def waves(*skill_ids: str) -> list[Event]:
    return [Event(skill_id=skill_id, kind="wave", occurred_at=NOON) for skill_id in skill_ids]


def test_what_is_parked_moves_with_its_log(db):
    """A new epoch gives it the positions that its events have in the log from then on."""
    log, stats = stores(db)
    for skill_ids in ("ab", "c"):
        log.append([*downloads(*skill_ids), *waves(*skill_ids)])
        drain(log, stats, uncountable=Uncountable.PARK)
        new_epoch(db)

        there = [one for one in log.read(None, limit=10).events if one.event.kind == "wave"]
        assert stats.quarantine(limit=10).events == tuple(there)

    create_tables(db, WAVES)
    assert PostgresStatsStore(db, WAVES).totals()["c"]["waves"] == 1
    assert stats.cursor().parked == 0


def test_a_migration_that_teaches_a_kind_counts_or_rolls_back(db):
    """Tables that are made within the caller's transaction count what was parked with it."""
    log, stats = stores(db)
    log.append(waves("a", "b"))
    drain(log, stats, uncountable=Uncountable.PARK)
    before = stats.cursor()
    with db.transaction(force_rollback=True):
        create_tables(db, WAVES)

    assert stats.cursor() == before
    with db.transaction():
        create_tables(db, WAVES)
    assert {row["waves"] for row in PostgresStatsStore(db, WAVES).totals().values()} == {1}
    assert stats.quarantine(limit=10).events == ()


def test_a_commit_takes_over_where_nobody_made_tables_for_it(db):
    """Then the columns are made by the commit, which counts what was parked."""
    log, stats = stores(db)
    log.append([*waves("a", "b"), *downloads("a")])
    drain(log, stats, uncountable=Uncountable.PARK)
    taught = PostgresStatsStore(db, WAVES)

    report = drain(log, taught)

    assert (report.events, report.taught, report.at_frontier) == (0, 2, True)
    assert {row["waves"] for row in taught.totals().values()} == {1}
    assert taught.quarantine(limit=10).events == ()


def test_a_worker_may_park_and_teach_and_expire(conninfo, db):
    """The role that folds needs no other grants for it, in whichever time zone it lives."""
    create_tables(db, HOURLY)
    log, _ = stores(db)
    log.append([*downloads("a"), *waves("a", "b")])

    def granting(name: str) -> LiteralString:
        return worker_grants_sql(name, SKILL_STATS, HOURLY)

    with role(db, granting) as name, psycopg.connect(conninfo, user=name) as own:
        own.execute("SET TIME ZONE 'Asia/Kathmandu'")
        own.commit()
        stats = PostgresStatsStore(own, HOURLY)
        drain(PostgresEventStore(own), stats, uncountable=Uncountable.PARK)
        stats.forget("b")
        assert stats.cursor().parked == len(stats.quarantine(limit=10).events) == 1

        assert expire(stats, Granularity.HOUR, NOON + timedelta(minutes=59)).rows == 0
        assert list(stats.rollups("a", Granularity.HOUR)) == [NOON]
        assert expire(stats, Granularity.HOUR, NOON + timedelta(hours=1)).rows == 1
        assert list(stats.rollups("a", Granularity.HOUR)) == []

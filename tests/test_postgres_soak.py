"""The soak on PostgreSQL, on a small scale; and what it compares."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from datetime import date

import attrs
import psycopg
import pytest

from skillstat_agg import SKILL_STATS, Event, drain
from skillstat_agg.backends.postgres import PostgresEventStore, PostgresStatsStore, create_tables
from skillstat_agg.errors import SchemaError, StoreBusyError, StoreUnavailableError
from tests.oracle import count_days, count_totals
from tests.postgres_server import fresh_database
from tests.postgres_soak import Found, Kill, Soaked, faults, look, soak
from tests.postgres_soak_children import Batch, State, Way, batch, check_expected

KILLS = 4
"""So many are killed in the soak that belongs to the tests."""

KEPT = batch(7, 0, 0)
PLAN = [
    (each, State.IN if each.way.is_kept else State.OUT)
    for each in (batch(7, 0, n) for n in range(40))
]


def found(batches: Sequence[tuple[Batch, State]] = PLAN) -> Found:
    """Return what a store holds that has done all it was asked for."""
    events = [event for each, state in batches if state is State.IN for event in each.events]
    fingerprints = range(1, len(events) + 1)
    return Found(
        events=events,
        fingerprints=fingerprints,
        totals=count_totals(events),
        days=count_days(events),
        count=len(events),
        checksum=sum(fingerprints),
    )


def with_events(change: Callable[[list[Event]], object]) -> Found:
    """Return what is there where the log was changed, and its numbers with it."""
    events = list(found().events)
    change(events)
    return attrs.evolve(
        found(),
        events=events,
        fingerprints=[0] * len(events),
        totals=count_totals(events),
        days=count_days(events),
        count=len(events),
        checksum=0,
    )


@pytest.fixture
def database(postgres) -> Iterator[str]:
    with fresh_database(postgres) as conninfo:
        yield conninfo


def test_killed_processes_lose_and_repeat_nothing(postgres, database):
    seen: list[int] = []

    soaked = soak(
        postgres, database, kills=KILLS, seed=3, writers=3, workers=1, on_kill=seen.append
    )

    assert not soaked.faults, soaked
    assert seen == list(range(1, KILLS + 1))
    assert sum(soaked.kills.values()) == KILLS
    assert soaked.events > 0
    assert str(soaked).endswith("each event counted once")
    assert multiprocessing.active_children() == []


def test_an_interrupted_soak_leaves_no_process(postgres, database):
    def interrupted(number: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        soak(postgres, database, kills=2, writers=1, workers=1, on_kill=interrupted)

    assert multiprocessing.active_children() == []


def test_what_went_as_planned_has_no_fault():
    assert {each.way for each, _ in PLAN} == set(Way)
    assert faults(PLAN, found()) == []


@pytest.mark.parametrize(
    ("there", "fault"),
    [
        (with_events(lambda events: events.pop()), "its events are there ["),
        (with_events(lambda events: events.append(events[0])), "its events are there [2"),
        (with_events(lambda events: events.append(batch(7, 1, 0).events[0])), "nobody has"),
        (found([(each, State.IN) for each, _ in PLAN]), "its events are there [1"),
        (attrs.evolve(found(), count=found().count - 1), "the cursor counts"),
        (attrs.evolve(found(), checksum=found().checksum + 1), "the checksum is not"),
        (attrs.evolve(found(), totals={}), "totals of skill a are None"),
        (
            attrs.evolve(found(), days={**found().days, "skill z": {date(2026, 3, 1): {}}}),
            "days of skill z",
        ),
    ],
    ids=[
        "an event is lost",
        "an event is doubled",
        "an event comes from nowhere",
        "what was rolled back is there",
        "an event was not counted",
        "another event was counted",
        "the totals are gone",
        "a day too many",
    ],
)
def test_the_comparison_bites(there, fault):
    assert any(fault in each for each in faults(PLAN, there))


@pytest.mark.parametrize(
    ("state", "part", "is_right"),
    [
        (State.UNSURE, slice(None), True),
        (State.UNSURE, slice(0), True),
        (State.UNSURE, slice(-1), False),
        (State.IN, slice(0), False),
        (State.OUT, slice(None), False),
    ],
)
def test_a_batch_is_there_as_a_whole_or_not_at_all(state, part, is_right):
    kept = attrs.evolve(KEPT, events=batch(7, 0, 1).events + KEPT.events, way=Way.HELD)
    there = found([(attrs.evolve(kept, events=kept.events[part]), State.IN)])

    assert (faults([(kept, state)], there) == []) is is_right


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("UPDATE skillstat.skill_stats_totals SET stars = stars + 1", "totals of"),
        ("DELETE FROM skillstat.skill_stats_daily", "days of"),
        ("UPDATE skillstat.skillstat_cursors SET events = events + 1", "the cursor counts"),
        ("UPDATE skillstat.skillstat_cursors SET checksum = checksum + 1", "the checksum"),
        (
            "INSERT INTO skillstat.skillstat_events (skill_id, kind, occurred_at_us, deltas, note,"
            " recorded_at_us, fingerprint) SELECT skill_id, kind, occurred_at_us, deltas, note,"
            " recorded_at_us, fingerprint FROM skillstat.skillstat_events WHERE event_id IS NULL"
            " LIMIT 1",
            "its events are there [",
        ),
    ],
    ids=["totals", "days", "count", "checksum", "log"],
)
def test_a_change_in_the_database_is_seen(database, change, fault):
    with psycopg.connect(database, autocommit=True) as db:
        create_tables(db, SKILL_STATS)
        log, stats = PostgresEventStore(db), PostgresStatsStore(db, SKILL_STATS)
        for each, state in PLAN:
            if state is State.IN:
                log.append(each.events)
        drain(log, stats)
        assert faults(PLAN, look(db)) == []

        db.execute(change)

        assert any(fault in each for each in faults(PLAN, look(db)))


def test_a_report_says_who_was_killed():
    soaked = Soaked(
        kills={Kill.SERVER: 2, Kill.WORKER: 1},
        events=1_000,
        batches={Way.AT_ONCE: 300, Way.PREPARED: 20},
        unsure=3,
        retries=4,
        drains=50,
        conflicts=6,
        seconds=7.4,
        faults=["one", "two"],
    )

    assert str(soaked) == (
        "killed: 0 processes of the server, 2 whole servers, 0 writers, 1 workers\n"
        "1,000 events in the log; transactions: 300 at once, 0 held open, 0 rolled back,"
        " 20 prepared, then committed, 0 prepared, then rolled back; 3 unsure, 4 tried again\n"
        "50 drains, 6 conflicts, 7 s\n"
        "FAILED\none\ntwo"
    )


def test_only_what_a_kill_explains_is_expected():
    """A statement that the server does not understand is none of it."""
    lost, wrong = StoreUnavailableError("lost"), StoreUnavailableError("wrong")
    lost.__cause__ = psycopg.OperationalError()
    wrong.__cause__ = psycopg.errors.SyntaxError()

    check_expected(lost)
    check_expected(StoreUnavailableError("the connection is closed"))
    check_expected(StoreBusyError("busy"))
    for error in (wrong, SchemaError("no tables")):
        with pytest.raises(type(error)):
            check_expected(error)

"""Lag, and the notes of what went wrong last, on every backend."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skillstat_agg import (
    SKILL_STATS,
    Backlog,
    Event,
    LagStore,
    NoteStore,
    StatsStore,
    aio,
    drain,
    lag,
)
from skillstat_agg._notes import MOST_CHARACTERS, storable
from skillstat_agg.backends.memory import MemoryDatabase, MemoryEventStore, MemoryStatsStore
from skillstat_agg.backends.sqlite import SQLiteEventStore, SQLiteStatsStore, create_tables
from skillstat_agg.errors import HistoryChangedError, InvalidBoundError
from skillstat_agg.testing._twins import AsyncStats, behind_coroutines
from tests.logs import NOON, download
from tests.stepping import run


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


class Bench:
    """A log and stats over one clock."""

    def __init__(
        self, log: MemoryEventStore | SQLiteEventStore, stats: StatsStore, clock: Clock
    ) -> None:
        self.log = log
        self.stats = stats
        self.clock = clock

    def append(self, *events: Event) -> None:
        self.clock.now += timedelta(minutes=1)
        self.log.append(events)


@pytest.fixture(params=["memory", "sqlite"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    clock = Clock()
    if request.param == "memory":
        database = MemoryDatabase()
        stats = MemoryStatsStore(SKILL_STATS, database, clock=clock)
        yield Bench(MemoryEventStore(database, clock=clock), stats, clock)
        return
    with closing(sqlite3.connect(":memory:")) as db:
        create_tables(db, SKILL_STATS, clock=clock)
        yield Bench(
            SQLiteEventStore(db, clock=clock),
            SQLiteStatsStore(db, SKILL_STATS, clock=clock),
            clock,
        )


def test_the_lag_of_nothing_is_nothing(bench):
    found = lag(bench.log, bench.stats)

    assert (found.events, found.waiting, found.backlog.since) == (0, 0, None)
    assert found.backlog.frontier is None
    assert found.age(NOON) is None
    assert not found.is_capped
    assert str(found) == "0 events to fold, 0 events beyond the frontier"


def test_the_lag_counts_what_is_not_folded_and_says_how_old_it_is(bench):
    for _ in range(4):
        bench.append(download("a"), download("b"))
    drain(bench.log, bench.stats, max_events=3)

    found = lag(bench.log, bench.stats)

    assert found.events == 5
    assert found.cursor == bench.stats.cursor()
    assert found.backlog.since == NOON + timedelta(minutes=2)
    assert found.age(bench.clock.now) == timedelta(minutes=2)
    assert str(found) == "5 events to fold, 0 events beyond the frontier"


@pytest.mark.parametrize(
    ("limit", "events", "is_capped"), [(1, 1, True), (5, 5, True), (6, 5, False)]
)
def test_counting_is_capped_and_says_so(bench, limit, events, is_capped):
    bench.append(*[download()] * 5)

    found = lag(bench.log, bench.stats, limit=limit)

    assert (found.events, found.is_capped) == (events, is_capped)
    assert ("or more" in str(found)) is is_capped


def test_a_clock_behind_that_of_the_log_gives_no_age_below_zero(bench):
    bench.append(download())

    assert lag(bench.log, bench.stats).age(NOON - timedelta(days=1)) == timedelta(0)


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, "1"])
def test_a_bound_that_is_none_is_refused(bench, limit):
    with pytest.raises(InvalidBoundError, match="limit must be a whole number of at least 1"):
        lag(bench.log, bench.stats, limit=limit)


def test_what_waits_beyond_the_frontier_is_counted_apart():
    log, stats = MemoryEventStore(), MemoryStatsStore(SKILL_STATS)
    log.append([download()])
    held = log.begin()
    held.append([download()])
    log.append([download(), download()])

    found = lag(log, stats)

    assert (found.events, found.waiting) == (1, 2)
    assert str(found) == "1 event to fold, 2 events beyond the frontier"
    drain(log, stats)
    found = lag(log, stats)
    assert (found.events, found.waiting) == (0, 2)
    assert found.backlog.since is not None
    held.commit()
    assert lag(log, stats).backlog.events == 3


def test_another_log_under_the_cursor_is_noticed(bench):
    bench.append(download())
    drain(bench.log, bench.stats)

    with pytest.raises(HistoryChangedError):
        lag(MemoryEventStore(), bench.stats)


def test_a_place_that_was_pruned_while_a_worker_moved_on_is_asked_about_no_more(bench):
    """The cursor is read, a worker leaves the place, and the place goes: it is read again."""
    bench.append(download(), download())
    drain(bench.log, bench.stats, max_events=1)
    log: LagStore = bench.log

    class Pruned:
        def __init__(self) -> None:
            self.pruned = bench.stats.cursor().place

        def lag(self, after, /, *, limit: int) -> Backlog:
            if after == self.pruned:
                drain(bench.log, bench.stats)
                raise HistoryChangedError("it was pruned")
            return log.lag(after, limit=limit)

    found = lag(Pruned(), bench.stats)

    assert (found.events, found.cursor.count) == (0, 2)


def test_the_twin_says_the_same(bench):
    bench.append(download(), download())
    drain(bench.log, bench.stats, max_events=1)

    found = run(aio.lag(behind_coroutines(bench.log), AsyncStats(bench.stats), limit=3))

    assert found == lag(bench.log, bench.stats, limit=3)


# Notes


def test_the_stores_keep_the_protocols(bench):
    log: LagStore = bench.log
    notes: NoteStore = bench.stats

    assert isinstance(log, LagStore)
    assert isinstance(notes, NoteStore)


def test_the_last_error_is_the_last_that_was_noted(bench):
    assert bench.stats.last_error() is None

    for text in ("first", "second"):
        bench.clock.now += timedelta(hours=1)
        bench.stats.note_error(text)

    note = bench.stats.last_error()
    assert (note.at, note.text) == (bench.clock.now, "second")
    assert note.at.tzinfo is timezone.utc


@given(st.text())
def test_any_text_becomes_one_that_can_be_stored(text):
    kept = storable(text * 3)

    assert len(kept) <= MOST_CHARACTERS
    assert kept.encode().decode() == kept
    assert "\0" not in kept


def test_a_long_text_ends_in_dots():
    assert storable("x" * 2_000) == "x" * (MOST_CHARACTERS - 3) + "..."
    assert storable("x" * MOST_CHARACTERS) == "x" * MOST_CHARACTERS

"""What the memory backend alone can show: appends that are held open."""

from __future__ import annotations

from datetime import timedelta

import pytest

from skillstat_agg import SKILL_STATS, Position
from skillstat_agg.backends.memory import MemoryDatabase, MemoryEventStore, MemoryStatsStore
from skillstat_agg.errors import (
    EventIdConflictError,
    InvalidEventError,
    StoreBusyError,
    StoreUnavailableError,
)
from tests.logs import NOON, download


def positions(log: MemoryEventStore) -> list[Position]:
    return [recorded.position for recorded in log.read(None, limit=100).events]


def test_an_open_append_holds_the_frontier_back():
    """What was committed after an append began is not read before that append is over."""
    log = MemoryEventStore(clock=lambda: NOON)
    held = log.begin()
    held.append([download("late")])
    log.append([download("early")])

    before = log.read(None, limit=10)
    held.commit()
    after = log.read(None, limit=10)

    assert (before.events, before.frontier, before.is_last) == ((), None, True)
    assert [recorded.event.skill_id for recorded in after.events] == ["late", "early"]


def test_a_rolled_back_append_leaves_a_hole_and_nothing_else():
    """Its positions are not given again, and its ids are free."""
    log = MemoryEventStore(clock=lambda: NOON)
    held = log.begin()
    lost = held.append([download(event_id="1")]).position
    held.rollback()

    again = log.append([download(event_id="1")])

    assert lost is not None
    assert again.position is not None
    assert (again.new, again.position > lost) == (1, True)
    assert positions(log) == [again.position]


def test_an_id_in_an_open_append_cannot_be_judged():
    """Whether it is a retry is not known until that append is over: this store says so."""
    log = MemoryEventStore()
    held = log.begin()
    held.append([download(event_id="1")])

    with pytest.raises(StoreBusyError):
        log.append([download(event_id="1")])
    held.commit()

    assert log.append([download(event_id="1")]).new == 0


def test_positions_grow_although_the_clock_stands_or_steps_back():
    """Tied ticks get tie numbers; a clock that steps back goes on with the last tick."""
    times = [NOON, NOON, NOON - timedelta(hours=1), NOON + timedelta(microseconds=1)]
    log = MemoryEventStore(clock=iter(times).__next__)

    for _ in times:
        log.append([download()])

    tick = 1_772_366_400_000_000
    assert positions(log) == [(tick, 0), (tick, 1), (tick, 2), (tick + 1, 0)]


def test_a_refused_append_stores_nothing():
    """All or none: a bad event in the middle takes the whole call with it."""
    log = MemoryEventStore(clock=lambda: NOON)
    log.append([download(event_id="1")])

    with pytest.raises(InvalidEventError, match="event 1: occurred_at"):
        log.append([download(), download(at=NOON + timedelta(days=2))])
    with pytest.raises(EventIdConflictError):
        log.append([download(), download("other", event_id="1")])

    assert len(positions(log)) == 1


def test_stores_of_one_database_see_each_other():
    """Two store objects of one projection are two clients of the same numbers."""
    database = MemoryDatabase()
    one = MemoryStatsStore(SKILL_STATS, database)

    assert MemoryStatsStore(SKILL_STATS, database).cursor() == one.cursor()


def test_an_append_that_is_over_takes_nothing_more():
    """What is added after its end would never be seen."""
    log = MemoryEventStore()
    held = log.begin()
    held.append([download()])
    held.commit()

    for refused in (lambda: held.append([download()]), held.commit, held.rollback):
        with pytest.raises(StoreUnavailableError, match="begin another one"):
            refused()

    assert len(positions(log)) == 1

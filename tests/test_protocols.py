"""The stores keep their protocols: most of this file is checked by the type checker.

Nothing inherits from a protocol, so each store is assigned to the ones it keeps.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import skillstat_agg
from skillstat_agg import (
    SKILL_STATS,
    BadgeStore,
    EventStore,
    StatsStore,
    TallyStore,
    aio,
    drain,
)
from skillstat_agg.backends.memory import MemoryBadgeStore, MemoryEventStore, MemoryStatsStore
from skillstat_agg.backends.sqlite import (
    SQLiteBadgeStore,
    SQLiteEventStore,
    SQLiteStatsStore,
    create_tables,
)
from skillstat_agg.testing._twins import (
    AsyncBadges,
    AsyncEvents,
    AsyncStats,
    AsyncTallies,
    behind_coroutines,
)
from tests.logs import download


def test_the_memory_stores_keep_their_protocols():
    """The memory log is an event store that leaves tallying to the pure fold."""
    log: EventStore = MemoryEventStore()
    stats: StatsStore = MemoryStatsStore(SKILL_STATS)
    badges: BadgeStore = MemoryBadgeStore()

    assert not isinstance(log, TallyStore)
    assert badges.badge_maps([]) == []
    assert stats.projection == SKILL_STATS


def test_the_sqlite_stores_keep_their_protocols():
    """The log on SQLite is an event store that can tally by itself."""
    with closing(sqlite3.connect(":memory:")) as db:
        store = SQLiteEventStore(db)
        log: EventStore = store
        tallies: TallyStore = store
        stats: StatsStore = SQLiteStatsStore(db, SKILL_STATS)
        badges: BadgeStore = SQLiteBadgeStore(db)

    assert isinstance(badges, SQLiteBadgeStore)
    assert isinstance(log, TallyStore)
    assert isinstance(tallies, SQLiteEventStore)
    assert stats.projection == SKILL_STATS


def test_the_stores_behind_coroutines_keep_the_protocols_of_the_twin():
    """What stands behind coroutines is what the twin asks for."""
    log: aio.EventStore = AsyncEvents(MemoryEventStore())
    tallied = AsyncTallies(MemoryEventStore())
    tallies: aio.TallyStore = tallied
    log_with_tallies: aio.EventStore = tallied
    stats: aio.StatsStore = AsyncStats(MemoryStatsStore(SKILL_STATS))
    badges: aio.BadgeStore = AsyncBadges(MemoryBadgeStore())

    assert isinstance(badges, AsyncBadges)

    assert not isinstance(log, aio.TallyStore)
    assert isinstance(log_with_tallies, aio.TallyStore)
    assert isinstance(tallies, AsyncEvents)
    assert stats.projection == SKILL_STATS


def test_a_proxy_hands_a_tally_on():
    """A store behind coroutines tallies by itself exactly if the store behind it does."""
    with closing(sqlite3.connect(":memory:")) as db:
        with_tally = behind_coroutines(SQLiteEventStore(db))
    without = behind_coroutines(MemoryEventStore())

    assert isinstance(with_tally, aio.TallyStore)
    assert not isinstance(without, aio.TallyStore)


def test_the_exported_protocols_are_the_synchronous_ones():
    """The twins carry the same names in a module of their own."""
    names = ("EventStore", "TallyStore", "LagStore", "StatsStore", "NoteStore", "BadgeStore")
    for name in names:
        assert getattr(skillstat_agg, name) is not getattr(aio, name)


def test_a_proxy_that_hands_everything_on_keeps_the_tally():
    """A drain asks the object for its tally, not its class: a thin proxy costs no speed."""
    asked: list[str] = []

    class Proxy:
        def __init__(self, store: SQLiteEventStore) -> None:
            self.store = store

        def __getattr__(self, name: str) -> Any:
            asked.append(name)
            return getattr(self.store, name)

    with closing(sqlite3.connect(":memory:")) as db:
        create_tables(db, SKILL_STATS)
        log: Any = Proxy(SQLiteEventStore(db))
        log.append([download("a")])
        report = drain(log, SQLiteStatsStore(db, SKILL_STATS))

    assert report.events == 1
    assert "tally" in asked
    assert "read" not in asked

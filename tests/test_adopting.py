"""Counts of another mechanism are taken over once, whoever tries how often."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import attrs
import pytest

from skillstat_agg import (
    RETIRED,
    SKILL_STATS,
    Effect,
    Event,
    Granularity,
    Projection,
    adopt,
    check_adoptable,
    correctable,
    drain,
    miscounts,
    opening_events,
    queued_events,
)
from skillstat_agg.backends.memory import MemoryDatabase, MemoryEventStore, MemoryStatsStore
from skillstat_agg.backends.sqlite import SQLiteEventStore, SQLiteStatsStore, create_tables
from skillstat_agg.errors import (
    AdoptionRefusedError,
    EventIdConflictError,
    HistoryChangedError,
    InvalidEventError,
    InvalidProjectionError,
    UncountableEventError,
)
from tests.logs import NOON, download
from tests.sites import SITES

TABLE = correctable(SKILL_STATS)
DAY = NOON.replace(hour=0)

COUNTS = {"pdf": {"downloads": 7, "stars": 3}, "maps": {"downloads": 0}, "x" * 1_000: {"stars": -1}}
DAYS = {("pdf", DAY): {"downloads": 2, "installs": 1}, ("maps", DAY): {"downloads": 0}}

in_every_site = pytest.mark.parametrize("site_of", SITES.values(), ids=SITES)


class Bench:
    def __init__(self) -> None:
        self.database = MemoryDatabase()
        self.log = MemoryEventStore(self.database)
        self.stats = MemoryStatsStore(TABLE, self.database)

    def adopt(self, counts=COUNTS, days=DAYS, queued=(), *, name: str = "old", at: datetime = NOON):
        return adopt(self.log, self.stats, name, counts, days, queued, at=at)

    @property
    def downloads(self) -> dict[str, int]:
        drain(self.log, self.stats)
        return {skill: row["downloads"] for skill, row in self.stats.totals().items()}


@in_every_site
def test_plain_counters_and_days_become_opening_balances(site_of):
    with site_of() as site:
        client = site.client(TABLE)

        adopted = adopt(client.events, client.stats, "old", COUNTS, DAYS, at=NOON)
        drain(client.events, client.stats)

        totals = client.stats.totals()
        assert {skill: (row["downloads"], row["stars"]) for skill, row in totals.items()} == {
            "pdf": (7, 3),
            "maps": (0, 0),
            "x" * 1_000: (0, -1),
        }
        assert all(row["corrections"] == 0 for row in totals.values())
        days = client.stats.rollups("pdf", Granularity.DAY)
        assert days == {DAY: {"downloads": 2, "installs": 1}}
        assert client.stats.rollups("maps", Granularity.DAY) == {}
        assert (adopted.events, adopted.new) == (7, 7)


def test_to_repeat_it_does_nothing():
    """Before it is folded and after, with other clocks, and when more events have come."""
    bench = Bench()
    bench.adopt()

    assert bench.adopt(at=NOON + timedelta(hours=1)).new == 0
    bench.log.append([download("pdf")])
    assert bench.adopt().new == 0
    assert bench.downloads == {"pdf": 8, "maps": 0, "x" * 1_000: 0}
    assert bench.adopt().new == 0
    assert bench.downloads["pdf"] == 8


def test_to_repeat_one_that_lost_a_race_does_nothing():
    """An event was counted between its look at the log and its append; it is in nevertheless."""

    class Raced(MemoryEventStore):
        def append(self, events, /, **options):
            super().append([download("pdf")])
            return super().append(events, **options)

    bench = Bench()
    first = adopt(Raced(bench.database), bench.stats, "old", COUNTS, at=NOON)

    again = bench.adopt(days={})

    assert (first.new, again.new) == (first.events, 0)
    assert bench.downloads["pdf"] == 8
    with pytest.raises(AdoptionRefusedError, match="others were adopted before"):
        bench.adopt({"pdf": {"downloads": 8}}, {})


def test_an_adoption_of_nothing_stores_nothing():
    bench = Bench()

    assert bench.adopt({}, {}).events == 0
    assert bench.log.read(None, limit=1).events == ()


def test_other_counts_are_refused_once_there_was_an_adoption():
    bench = Bench()
    bench.adopt()

    for counts, name in (({**COUNTS, "pdf": {"downloads": 8}}, "old"), (COUNTS, "another")):
        with pytest.raises(AdoptionRefusedError, match="others were adopted before"):
            bench.adopt(counts, name=name)
    assert bench.downloads["pdf"] == 7


def test_stats_that_have_counted_are_refused():
    bench = Bench()
    bench.log.append([download("pdf")])

    for _ in range(2):
        with pytest.raises(AdoptionRefusedError, match=r"the first at .* correct its numbers"):
            bench.adopt()
        assert bench.downloads == {"pdf": 1}


def test_events_that_count_nothing_here_are_no_reason_to_refuse():
    other = Projection("other", {"view": Effect(counters={"views": 1})})
    table = correctable(Projection("skill_stats", {**SKILL_STATS.kinds, "view": RETIRED}))
    bench = Bench()
    bench.stats = MemoryStatsStore(table, MemoryDatabase())
    view = attrs.evolve(download(), kind="view")
    bench.log.append([view, view])
    drain(bench.log, MemoryStatsStore(other))
    drain(bench.log, bench.stats)

    adopt(bench.log, bench.stats, "old", {"a": {"downloads": 4}}, at=NOON)

    assert bench.downloads == {"a": 4}


def test_the_mark_is_found_behind_many_events():
    """It is looked for page by page."""
    table = correctable(Projection("skill_stats", {**SKILL_STATS.kinds, "view": RETIRED}))
    bench = Bench()
    bench.stats = MemoryStatsStore(table, MemoryDatabase())
    bench.log.append([attrs.evolve(download(), kind="view")] * 10_001)
    bench.adopt()

    assert bench.adopt().new == 0


def test_another_log_is_refused():
    bench = Bench()
    bench.adopt()
    assert bench.downloads

    with pytest.raises(HistoryChangedError):
        check_adoptable(MemoryEventStore(), bench.stats)


def test_of_two_adopters_one_is_first():
    """Both have checked before either appends: the ids decide."""
    bench = Bench()
    mine = opening_events(TABLE, "old", COUNTS, at=NOON)
    same = opening_events(TABLE, "old", COUNTS, at=NOON + timedelta(seconds=1))
    other = opening_events(TABLE, "old", {"pdf": {"downloads": 8}}, at=NOON)
    for _ in range(3):
        check_adoptable(bench.log, bench.stats)

    assert bench.log.append(mine).new == len(mine)
    assert bench.log.append(same).new == 0
    with pytest.raises(EventIdConflictError, match="adopt/skill_stats"):
        bench.log.append(other)
    assert bench.downloads["pdf"] == 7


@pytest.mark.parametrize("point", [0, 1])
def test_an_adopter_that_dies_is_started_again(point):
    """Before its append nothing is there, and afterwards all of it."""

    class Dies(MemoryEventStore):
        def append(self, events, /, **options):
            if point:
                super().append(events, **options)
            raise KeyboardInterrupt

    bench = Bench()
    with pytest.raises(KeyboardInterrupt):
        adopt(Dies(bench.database), bench.stats, "old", COUNTS, DAYS, at=NOON)

    adopted = bench.adopt()

    assert adopted.new == (0 if point else adopted.events)
    assert bench.downloads["pdf"] == 7


def test_unlike_adoptions_have_unlike_ids():
    """Texts are not joined so that two pairs could become one."""
    ids = [
        event.event_id
        for name, skill in (("a", "bc"), ("ab", "c"))
        for event in opening_events(TABLE, name, {skill: {"stars": 1, "downloads": 1}}, at=NOON)[1:]
    ]

    assert len(set(ids)) == 4


def test_what_cannot_be_taken_over_is_refused():
    bench = Bench()

    with pytest.raises(InvalidProjectionError, match=r"open:skill_stats\.views"):
        bench.adopt({"a": {"views": 1}})
    with pytest.raises(InvalidProjectionError, match="open-rollup"):
        bench.adopt({}, {("a", DAY): {"stars": 1}})
    with pytest.raises(InvalidEventError):
        bench.adopt({"a": {"stars": 2**63}})
    with pytest.raises(InvalidEventError):
        bench.adopt({}, {("a", DAY.replace(tzinfo=None)): {"downloads": 1}})
    with pytest.raises(InvalidProjectionError, match="correctable"):
        check_adoptable(bench.log, MemoryStatsStore(SKILL_STATS))
    assert bench.log.read(None, limit=1).events == ()


# A queue of rows with a flag


def rows(*keys: str) -> list[tuple[str, Event]]:
    return [(key, download("pdf")) for key in keys]


def test_a_queue_is_swept_again_and_again_and_each_row_counts_once():
    bench = Bench()
    bench.adopt(queued=queued_events("queue", rows("1", "2")))

    for keys in (("1", "2"), ("2", "3"), ("1", "2", "3")):
        bench.log.append(queued_events("queue", rows(*keys)))

    assert bench.downloads["pdf"] == 10


def test_a_row_that_has_changed_under_its_key_is_no_adoption_that_is_refused():
    bench = Bench()
    bench.adopt(queued=queued_events("queue", rows("1")))

    with pytest.raises(EventIdConflictError):
        bench.adopt(queued=queued_events("queue", [("1", download("maps"))]))


def test_keys_of_two_queues_are_apart():
    one, two = (queued_events(name, rows("1")) for name in ("queue", "other"))

    assert one[0].event_id != two[0].event_id


# In the transaction that switches over


@pytest.mark.parametrize("ends", ["commit", "rollback"])
def test_it_joins_the_transaction_that_switches_over(tmp_path: Path, ends):
    """Openings, queued rows and the switch are there together or not at all."""
    with closing(sqlite3.connect(tmp_path / "app.db", isolation_level=None)) as db:
        create_tables(db, TABLE)
        db.executescript(
            "CREATE TABLE counters (skill TEXT, downloads INT);"
            "INSERT INTO counters VALUES ('pdf', 7);"
            "CREATE TABLE queue (id INTEGER, skill TEXT, processed_at INT);"
            "INSERT INTO queue VALUES (1, 'pdf', 5), (2, 'pdf', NULL);"
            "CREATE TABLE settings (counted_by TEXT); INSERT INTO settings VALUES ('flags');"
        )
        log, stats = SQLiteEventStore(db), SQLiteStatsStore(db, TABLE)
        check_adoptable(log, stats)
        db.execute("BEGIN IMMEDIATE")
        counts = {s: {"downloads": n} for s, n in db.execute("SELECT * FROM counters")}
        left = db.execute("SELECT id, skill FROM queue WHERE processed_at IS NULL")
        queued = queued_events("queue", [(str(key), download(skill)) for key, skill in left])
        log.append([*opening_events(TABLE, "flags", counts, at=NOON), *queued])
        db.execute("UPDATE settings SET counted_by = 'log'")
        db.execute(ends)

        drain(log, stats)

        (counted_by,) = db.execute("SELECT counted_by FROM settings").fetchone()
        found = {skill: row["downloads"] for skill, row in stats.totals().items()}
        assert (counted_by, found) == (("log", {"pdf": 8}) if ends == "commit" else ("flags", {}))


# A cursor on a time


def test_what_another_mechanism_lost_or_doubled_is_told():
    events = [download("a"), download("a"), download("b"), attrs.evolve(download("a"), kind="star")]

    found = miscounts(
        SKILL_STATS, {"a": {"downloads": 1, "stars": 1}, "c": {"downloads": 2}}, events
    )

    assert list(map(str, found)) == [
        "a: downloads 1 instead of 2, 1 lost",
        "b: downloads 0 instead of 1, 1 lost",
        "c: downloads 2 instead of 0, 2 too many",
    ]
    assert miscounts(SKILL_STATS, {"a": {"downloads": 2}, "b": {"downloads": 1}}, events) == ()
    assert miscounts(SKILL_STATS, {}, []) == ()


def test_an_event_that_the_table_cannot_count_is_told():
    with pytest.raises(UncountableEventError):
        miscounts(SKILL_STATS, {}, [attrs.evolve(download(), kind="view")])

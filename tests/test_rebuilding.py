"""Rebuilds: numbers made anew beside those that serve, on every backend."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skillstat_agg import (
    RETIRED,
    SKILL_STATS,
    Effect,
    Granularity,
    Projection,
    RebuildReport,
    Uncountable,
    bucket_of,
    drain,
    rebuild,
    swapped,
    verify,
    verify_fully,
)
from skillstat_agg.backends.memory import MemoryDatabase, MemoryEventStore, MemoryStatsStore
from skillstat_agg.backends.sqlite import SQLiteEventStore, SQLiteStatsStore, create_tables
from skillstat_agg.errors import (
    GenerationBehindError,
    HistoryChangedError,
    InvalidBoundError,
    NotBuildingError,
    SchemaError,
    TableChangedError,
    UncountableEventError,
)
from tests.logs import NOON, download, event_logs
from tests.oracle import count_totals
from tests.sites import SITES, Client, Site, sqlite_site

in_every_site = pytest.mark.parametrize("site_of", SITES.values(), ids=SITES)

TWICE = Projection(
    "skill_stats",
    {
        "download": Effect(counters={"downloads": 2}, rollups={"downloads": 2}),
        "star": RETIRED,
    },
    (Granularity.HOUR,),
)
"""A table with fewer kinds, counters and columns, and another granularity."""


def opened(site: Site, projection: Projection = SKILL_STATS) -> Client:
    return site.client(projection)


@in_every_site
@settings(max_examples=30)
@given(log=event_logs(), data=st.data())
def test_a_rebuild_comes_to_what_a_plain_count_gives(site_of, log, data):
    """Whatever is folded already, and however the pages are cut."""
    folded = data.draw(st.integers(0, len(log)), label="folded")
    page = data.draw(st.integers(1, 5), label="page")
    with site_of() as site:
        client = opened(site)
        client.events.append(log)
        if folded:
            drain(client.events, client.stats, page=2, max_events=folded)

        report = rebuild(client.events, client.stats, page=page)

        assert dict(client.stats.totals()) == count_totals(log)
        assert (report.events, report.after.count) == (len(log), len(log))
        assert verify_fully(client.events, client.stats).is_ok


@in_every_site
def test_what_serves_goes_on_while_numbers_are_built(site_of):
    with site_of() as site:
        client = opened(site)
        client.events.append([download(), download()])
        drain(client.events, client.stats, max_events=1)
        building = client.stats.building("x")

        drain(client.events, building)
        assert client.stats.totals()["a"]["downloads"] == 1
        drain(client.events, client.stats)

        assert client.stats.cursor().generation == 1
        assert client.stats.totals()["a"]["downloads"] == 2


@in_every_site
def test_a_second_start_goes_on_where_the_first_was(site_of):
    with site_of() as site:
        client = opened(site)
        client.events.append([download()] * 5)
        drain(client.events, client.stats.building("rebuild"), max_events=3)

        report = rebuild(client.events, client.stats)

        assert (report.events, report.joined, report.finished_by) == (2, True, "this")
        assert str(report) == ("2 events folded anew (joined); generation 2 serves, with 5 events")


@in_every_site
def test_progress_counts_the_events_of_the_new_numbers(site_of):
    with site_of() as site:
        client, told = opened(site), list[int]()
        client.events.append([download()] * 5)

        rebuild(client.events, client.stats, page=2, on_progress=told.append)

        assert told == [2, 4, 5]


@in_every_site
def test_what_progress_raises_ends_a_rebuild_that_can_go_on(site_of):
    with site_of() as site:
        client = opened(site)
        client.events.append([download()] * 5)

        def stop(_count: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            rebuild(client.events, client.stats, page=2, on_progress=stop)

        assert client.stats.cursor().generation == 1
        assert rebuild(client.events, client.stats).events == 3


@in_every_site
def test_a_table_that_changes_is_taken_and_given_back(site_of):
    """Columns and buckets that are not counted any more hold nothing, and come back."""
    with site_of() as site:
        client = opened(site)
        client.events.append([download(), download(skill_id="b")])
        drain(client.events, client.stats)
        stats = changed(client, TWICE)

        for _ in range(2):
            rebuild(client.events, stats)
            assert dict(stats.totals()) == {"a": {"downloads": 2}, "b": {"downloads": 2}}
            assert list(stats.rollups("a", Granularity.HOUR)) == [NOON]
            assert verify_fully(client.events, stats).is_ok
            with pytest.raises(TableChangedError):
                drain(client.events, client.stats)

            rebuild(client.events, client.stats)
            assert client.stats.totals()["a"]["downloads"] == 1
            assert list(client.stats.rollups("a", Granularity.DAY)) == [NOON.replace(hour=0)]
            assert verify_fully(client.events, client.stats).is_ok
            assert verify(client.events, client.stats).is_ok


def changed(client: Client, projection: Projection) -> MemoryStatsStore | SQLiteStatsStore:
    """Return a stats store of the same database with another table."""
    if isinstance(client.stats, MemoryStatsStore):
        return MemoryStatsStore(projection, client.stats._database)
    assert isinstance(client.stats, SQLiteStatsStore)
    return SQLiteStatsStore(client.stats._db, projection)


@in_every_site
def test_a_start_with_another_table_begins_anew(site_of):
    with site_of() as site:
        client = opened(site)
        client.events.append([download()] * 2)
        drain(client.events, client.stats.building("rebuild"), max_events=1)

        report = rebuild(client.events, changed(client, TWICE))

        assert (report.events, report.joined) == (2, False)
        assert client.stats.cursor().table == TWICE.table


@in_every_site
def test_an_event_that_the_table_cannot_count_ends_it_or_is_parked(site_of):
    with site_of() as site:
        client = opened(site)
        unknown = attrs.evolve(download(), kind="comment")
        client.events.append([download(), unknown, download()])

        with pytest.raises(UncountableEventError, match="unknown kind 'comment'"):
            rebuild(client.events, client.stats)
        assert client.stats.cursor().place is None
        report = rebuild(client.events, client.stats, uncountable=Uncountable.PARK)

        assert (report.joined, report.after.parked, report.after.count) == (True, 1, 3)
        assert [one.event for one in client.stats.quarantine(limit=9).events] == [unknown]
        assert verify(client.events, client.stats).is_ok


@in_every_site
def test_a_log_that_is_another_one_is_noticed_before_anything_is_built(site_of):
    with site_of() as site, site_of() as other:
        client, elsewhere = opened(site), opened(other)
        client.events.append([download()] * 2)
        drain(client.events, client.stats)
        elsewhere.events.append([download()] * 3)

        with pytest.raises(HistoryChangedError):
            rebuild(elsewhere.events, client.stats)

        assert not client.stats.discard("rebuild")


def test_a_log_that_ends_before_what_is_served_ends_a_rebuild():
    """It is exchanged after the first look, and would be folded for ever."""
    there = MemoryDatabase()
    stats = MemoryStatsStore(SKILL_STATS, there)
    MemoryEventStore(there).append([download()])
    backup = there.copy()
    MemoryEventStore(there).append([download()])
    drain(MemoryEventStore(there), stats)

    class Exchanged(MemoryEventStore):
        def read(self, after, /, *, limit):
            if after is not None and self._database is there:
                self._database = backup  # after the first look
                return MemoryEventStore(there).read(after, limit=limit)
            return super().read(after, limit=limit)

    with pytest.raises(HistoryChangedError, match="ends too early"):
        rebuild(Exchanged(there), stats)

    assert stats.cursor().count == 2


@in_every_site
def test_the_loser_of_two_rebuilds_is_told(site_of):
    """Another one puts the numbers in place while it folds."""
    with site_of() as site:
        one, two = opened(site), opened(site)
        one.events.append([download()] * 3)
        reports: list[RebuildReport] = []

        def finish(_count: int) -> None:
            if not reports:
                reports.append(rebuild(two.events, two.stats))

        report = rebuild(one.events, one.stats, page=1, on_progress=finish)

        assert (reports[0].finished_by, report.finished_by) == ("this", "another")
        assert report.after == reports[0].after
        assert str(report).endswith("was put in place by another start, with 3 events")


@in_every_site
def test_numbers_that_somebody_discards_are_gone(site_of):
    with site_of() as site:
        one, two = opened(site), opened(site)
        one.events.append([download()] * 3)

        with pytest.raises(NotBuildingError, match="'rebuild'"):
            rebuild(
                one.events, one.stats, page=1, on_progress=lambda _: two.stats.discard("rebuild")
            )

        assert one.stats.cursor().generation == 1


@in_every_site
def test_another_table_that_was_begun_meanwhile_is_told(site_of):
    with site_of() as site:
        one, two = opened(site), opened(site)
        one.events.append([download()] * 3)
        others = changed(two, TWICE)

        def begin_anew(_count: int) -> None:
            others.discard("rebuild")
            others.building("rebuild")

        with pytest.raises((TableChangedError, NotBuildingError)):
            rebuild(one.events, one.stats, page=1, on_progress=begin_anew)


@pytest.mark.parametrize("page", [0, -1, True])
def test_a_page_that_is_none_is_refused(page):
    there = MemoryDatabase()

    with pytest.raises(InvalidBoundError, match="page"):
        rebuild(MemoryEventStore(there), MemoryStatsStore(SKILL_STATS, there), page=page)


@pytest.mark.parametrize("until", [1, 2, 5])
@in_every_site
def test_a_drain_ends_where_it_is_told(site_of, until):
    """As if nothing stood after it, wherever pages end; the tally is cut like a page."""
    with site_of() as site:
        client = opened(site)
        client.events.append([download()] * 5)
        positions = [one.position for one in client.events.read(None, limit=9).events]
        for page in (1, 2, 100):
            stats = changed(client, Projection(f"p{page}", SKILL_STATS.kinds))
            if isinstance(stats, SQLiteStatsStore):
                create_tables(stats._db, stats.projection)

            report = drain(client.events, stats, page=page, until=positions[until - 1])

            assert (report.events, report.at_frontier) == (until, True)
            assert drain(client.events, stats, page=page, until=positions[until - 1]).events == 0


# The record


def test_numbers_of_another_log_are_not_swapped_in():
    there = MemoryDatabase()
    log, stats = MemoryEventStore(there), MemoryStatsStore(SKILL_STATS, there)
    log.append([download()])
    drain(log, stats)
    serving = stats.cursor()
    assert serving.place is not None
    behind = attrs.evolve(serving, place=None, building="x", generation=2)
    elsewhere = attrs.evolve(serving.place, epoch="another")
    unlike = attrs.evolve(serving.place, fingerprint=serving.place.fingerprint ^ 1)

    for place in (elsewhere, unlike):
        with pytest.raises(HistoryChangedError):
            swapped(serving, attrs.evolve(behind, place=place), NOON)
    with pytest.raises(GenerationBehindError, match="at the beginning, behind"):
        swapped(serving, behind, NOON)


def test_what_has_expired_is_taken_over_from_the_record_that_serves():
    there = MemoryDatabase()
    log, stats = MemoryEventStore(there), MemoryStatsStore(SKILL_STATS, there)
    log.append([download(), attrs.evolve(download(), occurred_at=NOON - timedelta(days=9))])
    drain(log, stats)
    first = bucket_of(NOON, Granularity.DAY)
    stats.expire(Granularity.DAY, first, limit=10)

    report = rebuild(log, stats)

    assert report.after.expired == {"day": first}
    assert list(stats.rollups("a", Granularity.DAY)) == [NOON.replace(hour=0)]
    assert verify_fully(log, stats).is_ok


# SQLite


def test_a_rebuild_repairs_what_other_hands_have_changed():
    """Rows that are wrong, missing or too many; those that are right are not written."""
    with sqlite_site() as site:
        client, db = site.client(), site.connect()
        client.events.append([download(skill_id=skill) for skill in "abc"])
        drain(client.events, client.stats)
        db.executescript(
            """
            UPDATE skill_stats_totals SET downloads = 9 WHERE skill_id = 'a';
            DELETE FROM skill_stats_totals WHERE skill_id = 'b';
            INSERT INTO skill_stats_totals (skill_id) VALUES ('z');
            UPDATE skill_stats_daily SET day = '2020-01-01' WHERE skill_id = 'a';
            CREATE TABLE written (skill_id);
            CREATE TRIGGER look AFTER UPDATE ON skill_stats_totals
            BEGIN INSERT INTO written VALUES (NEW.skill_id); END;
            """
        )

        rebuild(client.events, client.stats)

        assert {skill: row["downloads"] for skill, row in client.stats.totals().items()} == {
            "a": 1,
            "b": 1,
            "c": 1,
        }
        assert db.execute("SELECT * FROM written").fetchall() == [("a",)]
        assert verify_fully(client.events, client.stats).is_ok


def test_names_and_what_hangs_on_them_stay():
    """Views, indexes and columns of the user, and counters that the new table does not have."""
    with sqlite_site() as site:
        client, db = site.client(), site.connect()
        client.events.append([download(), attrs.evolve(download(), kind="star")])
        drain(client.events, client.stats)
        db.executescript(
            """
            CREATE VIEW popular AS SELECT skill_id, downloads, stars FROM skill_stats_totals;
            CREATE INDEX by_downloads ON skill_stats_totals (downloads);
            ALTER TABLE skill_stats_totals ADD COLUMN mine TEXT DEFAULT 'kept';
            """
        )
        before = names_in(db)

        rebuild(client.events, SQLiteStatsStore(site.connect(), TWICE))

        assert db.execute("SELECT * FROM popular").fetchall() == [("a", 2, 0)]
        assert db.execute("SELECT mine FROM skill_stats_totals").fetchall() == [("kept",)]
        assert db.execute("SELECT count(*) FROM skill_stats_daily").fetchone() == (0,)
        assert names_in(db) - before == {"skill_stats_hourly"}
        assert before <= names_in(db)


def names_in(db: sqlite3.Connection) -> set[str]:
    return {name for (name,) in db.execute("SELECT name FROM sqlite_master")}


def test_a_table_of_somebody_else_is_left_alone():
    """The new table needs a name that is taken: nothing is done."""
    with sqlite_site() as site:
        client, db = site.client(), site.connect()
        client.events.append([download()])
        drain(client.events, client.stats)
        db.execute("CREATE TABLE skill_stats_hourly (mine)")
        db.execute("INSERT INTO skill_stats_hourly VALUES (1)")
        db.commit()

        with pytest.raises(SchemaError, match="another owner"):
            rebuild(client.events, SQLiteStatsStore(site.connect(), TWICE))

        assert client.stats.cursor().generation == 1
        assert db.execute("SELECT * FROM skill_stats_hourly").fetchall() == [(1,)]


def test_forgetting_reaches_what_is_built():
    with closing(sqlite3.connect(":memory:")) as db:
        create_tables(db, SKILL_STATS)
        log, stats = SQLiteEventStore(db), SQLiteStatsStore(db, SKILL_STATS)
        log.append([download(), download(skill_id="b")])
        building = stats.building("x")
        drain(log, building)
        before = building.cursor()

        stats.forget("a")

        after = building.cursor()
        assert (after.revision, after.controls["downloads"]) == (before.revision + 1, 1)
        assert list(building.totals()) == ["b"]

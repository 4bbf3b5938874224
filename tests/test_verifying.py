"""Verifying: what differs from the log is found and named, and nothing is changed."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given, settings

from skillstat_agg import (
    CHECKSUM_RANGE,
    SKILL_STATS,
    Difference,
    Effect,
    Extent,
    Place,
    Projection,
    PruneStore,
    drain,
    prune,
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
    TableChangedError,
)
from tests.logs import NOON, download, event_logs
from tests.sites import SITES, Client, sqlite_site

in_every_site = pytest.mark.parametrize("site_of", SITES.values(), ids=SITES)
DAY = NOON.replace(hour=0)


def built(client: Client) -> list[str]:
    """Return the names of what is built beside the numbers that serve."""
    if isinstance(client.stats, MemoryStatsStore):
        every = [one.cursor.building for one in client.stats._database._stats.values()]
        return [name for name in every if name]
    assert isinstance(client.stats, SQLiteStatsStore)
    rows = client.stats._db.execute("SELECT building FROM skillstat_cursors WHERE building <> ''")
    return [name for (name,) in rows.fetchall()]


@in_every_site
@settings(max_examples=30)
@given(log=event_logs())
def test_what_was_only_folded_is_right(site_of, log):
    with site_of() as site:
        client = site.client()
        client.events.append(log)
        drain(client.events, client.stats, page=3)
        before = client.stats.cursor()

        cheap, full = (
            verify(client.events, client.stats),
            verify_fully(client.events, client.stats, page=2),
        )

        assert (cheap.differences, full.differences) == ((), ())
        assert cheap.cursor == full.cursor == before == client.stats.cursor()
        assert str(full) == f"{len(log)} events verified: ok"


@in_every_site
def test_a_log_is_measured_up_to_a_place(site_of):
    with site_of() as site:
        events = site.client().events
        events.append([download()] * 4)
        page = events.read(None, limit=9)

        for number, one in enumerate(page.events, 1):
            place = Place(page.epoch, one.position, one.fingerprint)
            marks = sum(each.fingerprint for each in page.events[:number])
            expected = Extent(count=number, checksum=marks % CHECKSUM_RANGE)
            assert events.extent(place) == expected
        with pytest.raises(HistoryChangedError):
            events.extent(Place("another", page.events[0].position, 0))


@pytest.mark.parametrize(
    ("change", "cheap", "full"),
    [
        (
            "UPDATE skill_stats_totals SET downloads = 7 WHERE skill_id = 'a'",
            [("controls.downloads", None, None, 3, 8)],
            [("downloads", "a", None, 2, 7)],
        ),
        (
            "DELETE FROM skill_stats_totals WHERE skill_id = 'b'",
            [("controls.downloads", None, None, 3, 2)],
            [("downloads", "b", None, 1, None)],
        ),
        (
            "INSERT INTO skill_stats_totals (skill_id) VALUES ('z')",
            [],
            [("downloads", "z", None, None, 0)],
        ),
        (
            "UPDATE skill_stats_daily SET day = '2026-02-28' WHERE skill_id = 'b'",
            [],
            [
                ("day.downloads", "b", DAY.replace(month=2, day=28), None, 1),
                ("day.downloads", "b", DAY, 1, None),
            ],
        ),
        (
            "INSERT INTO skill_stats_daily (day, skill_id) VALUES ('2026-02-28', 'a')",
            [],
            [],
        ),
        (
            "UPDATE skillstat_cursors SET events = 4",
            [("cursor.count", None, None, 3, 4)],
            [("cursor.count", None, None, 3, 4)],
        ),
        (
            "UPDATE skillstat_cursors SET parked = 1",
            [("cursor.parked", None, None, 0, 1)],
            [("cursor.parked", None, None, 0, 1)],
        ),
    ],
)
def test_a_row_that_other_hands_have_changed_is_found(change, cheap, full):
    """By the cheap verify where a sum is another one, by the full one always."""
    with sqlite_site() as site:
        client, db = site.client(), site.connect()
        client.events.append([download(), download(), download(skill_id="b")])
        drain(client.events, client.stats)
        db.execute(change)
        db.commit()

        found = [
            [attrs.astuple(one) for one in report.differences]
            for report in (
                verify(client.events, client.stats),
                verify_fully(client.events, client.stats),
            )
        ]

        assert found == [cheap, full]


def test_sums_beyond_64_bits_are_exact():
    carried = Projection(
        "carried",
        {
            "grow": Effect(
                counters={"size": SKILL_STATS.kinds["install_clear"].counters["installs_all_time"]}
            )
        },
    )
    with closing(sqlite3.connect(":memory:")) as db:
        create_tables(db, carried)
        log, stats = SQLiteEventStore(db), SQLiteStatsStore(db, carried)
        for skill, size in (("a", 2**63 - 1), ("b", 2**63 - 1), ("c", -5)):
            log.append(
                [attrs.evolve(download(skill_id=skill), kind="grow", deltas={"all_time": size})]
            )
        drain(log, stats)

        assert stats.sums().controls == {"size": 2**64 - 7}
        assert verify(log, stats).is_ok


@in_every_site
def test_differences_are_limited_and_said_to_be(site_of):
    with site_of() as site:
        client = site.client()
        client.events.append([download(skill_id=skill) for skill in "abc"])
        building = client.stats.building("x")
        drain(client.events, building)

        some, every = (client.stats.differences("x", limit=limit) for limit in (2, 6))

        assert [str(one) for one in some.differences] == [
            "downloads of skill 'a' is absent, not 1",
            "downloads of skill 'b' is absent, not 1",
        ]
        assert (some.is_complete, every.is_complete) == (False, True)
        assert [one.start for one in every.differences[3:]] == [DAY] * 3
        assert every.building == building.cursor()


def test_a_difference_says_what_is_wrong():
    one = Difference(name="day.downloads", skill_id="a", start=NOON, expected=1, actual=0)

    assert str(one) == "day.downloads of skill 'a' at 2026-03-01 12:00 is 0, not 1"
    assert str(Difference(name="cursor.count", expected=1, actual=2)) == "cursor.count is 2, not 1"


@in_every_site
def test_another_table_is_not_called_a_difference(site_of):
    """Neither one that changes nor one that extends what the numbers were made with."""
    with site_of() as site:
        client = site.client()
        client.events.append([download()])
        drain(client.events, client.stats)
        for kinds in (
            {**SKILL_STATS.kinds, "download": Effect(counters={"downloads": 2})},
            {**SKILL_STATS.kinds, "more": Effect(counters={"more": 1})},
        ):
            projection = Projection("skill_stats", kinds)
            stats = (
                MemoryStatsStore(projection, client.stats._database)
                if isinstance(client.stats, MemoryStatsStore)
                else SQLiteStatsStore(client.stats._db, projection)
            )

            with pytest.raises(TableChangedError):
                verify_fully(client.events, stats)

        assert built(client) == []


def test_the_same_table_in_another_order_is_the_same():
    there = MemoryDatabase()
    log, stats = MemoryEventStore(there), MemoryStatsStore(SKILL_STATS, there)
    log.append([download()])
    drain(log, stats)
    turned = Projection("skill_stats", dict(sorted(SKILL_STATS.kinds.items())))

    assert verify_fully(log, MemoryStatsStore(turned, there)).is_ok


class Restless(MemoryStatsStore):
    """Stats that a worker moves on whenever they are compared."""

    def differences(self, name, /, *, limit):
        log = MemoryEventStore(self._database)
        log.append([download()])
        drain(log, MemoryStatsStore(SKILL_STATS, self._database))
        return super().differences(name, limit=limit)


def test_a_cursor_that_never_rests_ends_a_verify():
    there = MemoryDatabase()
    stats = Restless(SKILL_STATS, there)

    with pytest.raises(GenerationBehindError, match="stop the workers meanwhile"):
        verify_fully(MemoryEventStore(there), stats)

    assert list(there._stats) == ["skill_stats"]


class Dropped(MemoryStatsStore):
    """Stats whose numbers under construction somebody drops."""

    def differences(self, name, /, *, limit):
        self.discard(name)
        return super().differences(name, limit=limit)


def test_a_verify_whose_numbers_somebody_drops_says_so():
    there = MemoryDatabase()

    with pytest.raises(NotBuildingError, match="verify-"):
        verify_fully(MemoryEventStore(there), Dropped(SKILL_STATS, there))


@in_every_site
def test_two_verifies_at_once_neither_drop_nor_strike_off_each_other(site_of):
    """One runs from beginning to end within the other, and then the log is pruned."""
    with site_of() as site:
        client, other, told = site.client(), site.client(), list[int]()
        client.events.append([download()] * 4)
        drain(client.events, client.stats)
        log = other.events
        assert isinstance(log, PruneStore)

        def meanwhile(count: int) -> None:
            told.append(count)
            if count == 2:
                assert verify_fully(other.events, other.stats).is_ok
                prune(log, other.stats, before=None, rest=timedelta(0))

        report = verify_fully(client.events, client.stats, page=1, on_progress=meanwhile)

        assert (report.is_ok, told) == (True, [1, 2, 3, 4])
        assert [reader.name for reader in log.readers()] == ["skill_stats"]


@pytest.mark.parametrize("interrupt", [ZeroDivisionError, KeyboardInterrupt])
@in_every_site
def test_what_progress_raises_leaves_nothing_behind(site_of, interrupt):
    """Neither numbers, nor a reader that holds prunes back."""
    with site_of() as site:
        client, told = site.client(), list[int]()
        client.events.append([download()] * 3)
        drain(client.events, client.stats)
        verify_fully(client.events, client.stats, page=2, on_progress=told.append)

        def stop(_count: int) -> None:
            raise interrupt

        with pytest.raises(interrupt):
            verify_fully(client.events, client.stats, on_progress=stop)

        assert told == [2, 3]
        assert built(client) == []
        assert isinstance(client.events, PruneStore)
        assert [reader.name for reader in client.events.readers()] == ["skill_stats"]


@in_every_site
def test_another_log_is_noticed_and_nothing_is_left(site_of):
    with site_of() as site, site_of() as other:
        client, elsewhere = site.client(), other.client()
        client.events.append([download()])
        drain(client.events, client.stats)

        for check in (verify, verify_fully):
            with pytest.raises(HistoryChangedError):
                check(elsewhere.events, client.stats)

        assert built(client) == []


@pytest.mark.parametrize("bound", ["page", "limit"])
def test_a_bound_that_is_none_is_refused(bound):
    there = MemoryDatabase()

    log, stats = MemoryEventStore(there), MemoryStatsStore(SKILL_STATS, there)
    bounds: dict[str, Any] = {bound: 0}

    with pytest.raises(InvalidBoundError, match=bound):
        verify_fully(log, stats, **bounds)

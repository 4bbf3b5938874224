"""Fresh reads: stored plus pending is what draining to the end would make of it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skillstat_agg import (
    SKILL_STATS,
    Effect,
    Event,
    Granularity,
    Position,
    Projection,
    aio,
    drain,
    fresh_rollups,
    fresh_totals,
    wait_until_folded,
)
from skillstat_agg.backends.memory import MemoryDatabase, MemoryEventStore, MemoryStatsStore
from skillstat_agg.backends.sqlite import SQLiteEventStore, SQLiteStatsStore, create_tables
from skillstat_agg.errors import (
    HistoryChangedError,
    InvalidBoundError,
    InvalidEventError,
    InvalidProjectionError,
    StoreContractError,
    TableChangedError,
)
from skillstat_agg.testing._twins import AsyncStats, behind_coroutines
from tests.logs import NOON, download, event_logs
from tests.oracle import count_days, count_totals
from tests.sites import SITES
from tests.stepping import run

HOURLY = Projection("hourly", SKILL_STATS.kinds, (Granularity.HOUR, Granularity.DAY))

in_every_site = pytest.mark.parametrize("site_of", SITES.values(), ids=SITES)


@in_every_site
@settings(max_examples=30)
@given(log=event_logs(), folded=st.integers(0, 12))
def test_fresh_numbers_are_those_of_all_events_wherever_the_cursor_stands(site_of, log, folded):
    with site_of() as site:
        client = site.client()
        client.events.append(log)
        if folded:
            drain(client.events, client.stats, max_events=folded)

        totals = fresh_totals(client.events, client.stats)
        days = {
            skill: fresh_rollups(client.events, client.stats, skill, Granularity.DAY)
            for skill in totals
        }

    assert totals == count_totals(log)
    assert totals.freshness.is_complete
    assert totals.freshness.pending == len(log) - min(folded, len(log))
    expected = count_days(log)
    for skill, found in days.items():
        rows = {start.date(): row for start, row in found.items() if any(row.values())}
        wanted = {day: row for day, row in expected.get(skill, {}).items() if any(row.values())}
        assert rows == wanted
        assert list(found) == sorted(found)


@in_every_site
def test_only_those_that_were_asked_for_are_returned(site_of):
    with site_of() as site:
        client = site.client()
        client.events.append([download("a"), download("b")])
        drain(client.events, client.stats)
        client.events.append([download("a"), download("c")])

        found = fresh_totals(client.events, client.stats, ["a", "c", "x"])

        assert {skill: row["downloads"] for skill, row in found.items()} == {"a": 2, "c": 1}
        assert len(found) == 2
        assert found.freshness.pending == 2
        assert fresh_totals(client.events, client.stats, []) == {}


@in_every_site
def test_rollups_are_those_of_the_buckets_that_were_asked_for(site_of):
    days = [NOON + timedelta(days=number) for number in range(4)]
    with site_of() as site:
        client = site.client(HOURLY)
        client.events.append(
            [download("a", days[0]), download("a", days[2])], max_ahead=days[3] - NOON
        )
        drain(client.events, client.stats)
        client.events.append([download("a", day) for day in days], max_ahead=days[3] - NOON)

        found = fresh_rollups(
            client.events, client.stats, "a", Granularity.HOUR, since=days[1], until=days[3]
        )

        assert [row["downloads"] for row in found.values()] == [1, 2]
        assert list(found) == days[1:3]
        assert len(found) == 2


@in_every_site
def test_nothing_is_written(site_of):
    with site_of() as site:
        client = site.client()
        client.events.append([download("a")])
        before = client.stats.cursor()

        fresh_totals(client.events, client.stats)
        fresh_rollups(client.events, client.stats, "a", Granularity.DAY)

        assert client.stats.cursor() == before
        assert client.stats.totals() == {}


@in_every_site
def test_a_limit_leaves_the_rest_out_and_says_so(site_of):
    with site_of() as site:
        client = site.client()
        client.events.append([download("a")] * 5)

        found = fresh_totals(client.events, client.stats, limit=2)

        assert found["a"]["downloads"] == 2
        assert (found.freshness.pending, found.freshness.is_complete) == (2, False)
        assert fresh_totals(client.events, client.stats, limit=5).freshness.is_complete


def test_an_older_program_counts_what_a_newer_one_has_taught_the_table():
    """The newer table has taken over, and its kind feeds a counter that the older knows."""
    newer = Projection(
        "skill_stats",
        {
            **SKILL_STATS.kinds,
            "fetch": Effect(
                counters={"downloads": 1, "fetches": 1}, rollups={"downloads": 1, "fetches": 1}
            ),
        },
    )
    fetch = Event(skill_id="a", kind="fetch", occurred_at=NOON)
    database = MemoryDatabase()
    log = MemoryEventStore(database)
    old, new = MemoryStatsStore(SKILL_STATS, database), MemoryStatsStore(newer, database)
    log.append([download()])
    drain(log, old)
    log.append([fetch])
    pending = fresh_totals(log, new)
    stopped = fresh_totals(log, old)
    drain(log, new)
    log.append([fetch, download()])

    totals = fresh_totals(log, old)

    assert (pending["a"]["downloads"], pending["a"]["fetches"]) == (2, 1)
    assert (stopped["a"]["downloads"], stopped.freshness.is_complete) == (1, False)
    assert totals["a"] == {
        "downloads": 4,
        "stars": 0,
        "installs_all_time": 0,
        "installs_current": 0,
    }
    assert totals.freshness.is_complete
    (row,) = fresh_rollups(log, old, "a", Granularity.DAY).values()
    assert row == {"downloads": 4, "installs": 0}
    assert fresh_totals(log, new)["a"]["fetches"] == 2


def test_a_table_that_does_not_fit_is_refused():
    database = MemoryDatabase()
    log = MemoryEventStore(database)
    MemoryStatsStore(SKILL_STATS, database)
    other = Projection("skill_stats", {"download": Effect(counters={"downloads": 2})})

    with pytest.raises(TableChangedError):
        fresh_totals(log, MemoryStatsStore(other, database))


def test_what_lies_in_quarantine_and_would_be_counted_now_is_not_in():
    """The commit that takes the table over will count what was parked before the cursor."""
    database = MemoryDatabase()
    log, stats = MemoryEventStore(database), MemoryStatsStore(SKILL_STATS, database)
    log.append([download()])
    drain(log, stats)
    mine = database._stats["skill_stats"]
    database._stats["skill_stats"] = attrs.evolve(mine, cursor=attrs.evolve(mine.cursor, parked=1))
    newer = Projection("skill_stats", {**SKILL_STATS.kinds, "view": Effect(counters={"views": 1})})

    assert fresh_totals(log, stats).freshness.is_complete
    assert not fresh_totals(log, MemoryStatsStore(newer, database)).freshness.is_complete


def test_buckets_that_have_expired_stay_empty():
    database = MemoryDatabase()
    log, stats = MemoryEventStore(database), MemoryStatsStore(SKILL_STATS, database)
    mine = database._stats["skill_stats"]
    first_kept = (NOON - NOON.replace(year=1970, month=1, day=1, hour=12)).days
    cursor = attrs.evolve(mine.cursor, expired={"day": first_kept})
    database._stats["skill_stats"] = attrs.evolve(mine, cursor=cursor)
    log.append([download("a", NOON), download("a", NOON - timedelta(days=1))])

    assert fresh_totals(log, stats)["a"]["downloads"] == 2
    assert list(fresh_rollups(log, stats, "a", Granularity.DAY)) == [NOON.replace(hour=0)]


def test_what_was_written_past_append_makes_the_numbers_incomplete():
    with closing(sqlite3.connect(":memory:")) as db:
        create_tables(db, SKILL_STATS)
        log, stats = SQLiteEventStore(db), SQLiteStatsStore(db, SKILL_STATS)
        log.append([download("a")])
        db.execute(
            "INSERT INTO skillstat_events (skill_id, kind, occurred_at_us, deltas, recorded_at_us,"
            " fingerprint) VALUES ('a', 'download', 0, 'nonsense', 0, 1)"
        )
        db.commit()

        found = fresh_totals(log, stats)

        assert found["a"]["downloads"] == 1
        assert (found.freshness.pending, found.freshness.is_complete) == (1, False)


def test_a_log_whose_frontier_goes_back_comes_to_an_end():
    """It breaks its law, and is not asked for ever."""
    log, stats = MemoryEventStore(), MemoryStatsStore(SKILL_STATS)

    class GoesBack(MemoryEventStore):
        def lag(self, after, /, *, limit):
            return attrs.evolve(super().lag(after, limit=limit), frontier=Position((9, 9)))

    found = fresh_totals(GoesBack(log._database), stats)

    assert (dict(found), found.freshness.is_complete) == ({}, False)


def test_a_page_is_checked_not_trusted():
    class Repeats(MemoryEventStore):
        def read(self, after, /, *, limit):
            page = super().read(None, limit=limit)
            return attrs.evolve(page, events=page.events * 2)

    log = Repeats()
    log.append([download()])

    with pytest.raises(StoreContractError):
        fresh_totals(log, MemoryStatsStore(SKILL_STATS))


@pytest.mark.parametrize("read", [fresh_totals, fresh_rollups])
def test_a_place_that_was_pruned_while_a_worker_moved_on_is_read_from_no_more(read):
    """A place that is gone is history that has changed only if the cursor still stands there."""

    class Pruned(MemoryEventStore):
        pruned: object = None

        def lag(self, after, /, *, limit):
            if after == self.pruned:
                drain(MemoryEventStore(self._database), stats)
                raise HistoryChangedError("it was pruned")
            return super().lag(after, limit=limit)

    log, stats = Pruned(), MemoryStatsStore(SKILL_STATS)
    log.append([download(), download()])
    drain(log, stats, max_events=1)
    log.pruned = stats.cursor().place
    what = () if read is fresh_totals else ("a", Granularity.DAY)

    found = read(log, stats, *what)

    (row,) = found.values()
    assert (row["downloads"], found.freshness.pending) == (2, 0)
    log.pruned = stats.cursor().place
    with pytest.raises(HistoryChangedError):
        read(log, stats, *what)


def test_what_cannot_be_meant_is_refused():
    log, stats = MemoryEventStore(), MemoryStatsStore(SKILL_STATS)

    with pytest.raises(InvalidBoundError):
        fresh_totals(log, stats, limit=0)
    with pytest.raises(InvalidEventError):
        fresh_totals(log, stats, "pdf")
    with pytest.raises(InvalidEventError):
        fresh_rollups(log, stats, "", Granularity.DAY)
    with pytest.raises(InvalidProjectionError):
        fresh_rollups(log, stats, "a", Granularity.HOUR)


@in_every_site
@settings(max_examples=30)
@given(log=event_logs(), folded=st.integers(1, 4))
def test_the_twin_reads_the_same(site_of, log, folded):
    with site_of() as site:
        client = site.client()
        client.events.append(log)
        drain(client.events, client.stats, max_events=folded)
        events, stats = behind_coroutines(client.events), AsyncStats(client.stats)

        totals = run(aio.fresh_totals(events, stats))
        days = run(aio.fresh_rollups(events, stats, "a", Granularity.DAY))

        assert totals == fresh_totals(client.events, client.stats)
        assert totals.freshness == fresh_totals(client.events, client.stats).freshness
        assert days == fresh_rollups(client.events, client.stats, "a", Granularity.DAY)


# Waiting


class Time:
    """A clock that goes on by what somebody sleeps, and what happens meanwhile."""

    def __init__(self, *happens) -> None:
        self.now = 100.0
        self.slept: list[float] = []
        self._happens = list(happens)

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        if self._happens:
            self._happens.pop(0)()

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)


def waited(time: Time, stats, position, *, timeout: int, every: int = 2) -> bool:
    return wait_until_folded(
        stats,
        position,
        timeout=timedelta(seconds=timeout),
        every=timedelta(seconds=every),
        clock=time.clock,
        sleep=time.sleep,
    )


def appended() -> tuple[MemoryEventStore, MemoryStatsStore, Position | None]:
    log, stats = MemoryEventStore(), MemoryStatsStore(SKILL_STATS)
    return log, stats, log.append([download(), download()]).position


def test_what_is_folded_already_is_not_waited_for():
    log, stats, position = appended()
    drain(log, stats)
    time = Time()

    assert waited(time, stats, position, timeout=10)
    assert waited(time, stats, None, timeout=10)
    assert time.slept == []


def test_it_returns_once_the_position_is_folded():
    log, stats, position = appended()
    half = lambda: drain(log, stats, max_events=1)  # noqa: E731
    time = Time(half, lambda: None, half, lambda: None)

    assert waited(time, stats, position, timeout=10)
    assert time.slept == [2, 2, 2]


def test_it_gives_up_at_the_deadline_after_a_last_look():
    log, stats, position = appended()
    time = Time()

    assert not waited(time, stats, position, timeout=5)
    assert time.slept == [2, 2, 1]
    assert not waited(Time(), stats, position, timeout=0)
    assert waited(Time(lambda: None, lambda: drain(log, stats)), stats, position, timeout=4)


def test_the_twin_waits_the_same():
    log, stats, position = appended()
    time = Time(lambda: None, lambda: drain(log, stats))

    is_folded = run(
        aio.wait_until_folded(
            AsyncStats(stats),
            position,
            timeout=timedelta(seconds=5),
            every=timedelta(seconds=2),
            clock=time.clock,
            sleep=time.sleep_async,
        )
    )

    assert is_folded
    assert time.slept == [2, 2]


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"timeout": timedelta(seconds=-1)}, "timeout"),
        ({"timeout": 5}, "timeout"),
        ({"timeout": timedelta(seconds=5), "every": timedelta(0)}, "every"),
        ({"timeout": timedelta(seconds=5), "every": 1}, "every"),
    ],
)
def test_a_time_that_is_none_is_refused(options, name):
    _, stats, position = appended()

    with pytest.raises(InvalidBoundError) as caught:
        wait_until_folded(stats, position, **options)

    assert caught.value.name == name

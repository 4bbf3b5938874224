"""Rollups expire for good, in steps, and what comes late is counted as dropped."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skillstat_agg import (
    SKILL_STATS,
    Cursor,
    Expired,
    Granularity,
    Projection,
    Tally,
    bucket_of,
    drain,
    expire,
    rebuild,
    start_of,
    verify_fully,
)
from skillstat_agg._deltas import deltas_of
from skillstat_agg.backends.sqlite import SQLiteEventStore, SQLiteStatsStore, create_tables
from skillstat_agg.errors import InvalidBoundError, InvalidProjectionError, StoreContractError
from tests.logs import NOON, download, event_logs
from tests.sites import SITES

DAY, HOUR = Granularity.DAY, Granularity.HOUR
HOURLY = Projection("hourly", SKILL_STATS.kinds, (HOUR, DAY))

in_every_site = pytest.mark.parametrize("site_of", SITES.values(), ids=SITES)


@given(log=event_logs(), hour=st.integers(-5, 5), day=st.none() | st.integers(-2, 2))
def test_deltas_leave_out_what_has_expired_and_nothing_else(log, hour, day):
    """Each granularity has its own bound; events are counted once, also where both leave out."""
    tally = Tally.of(log, HOUR)
    expired = {"hour": bucket_of(NOON, HOUR) + hour}
    if day is not None:
        expired["day"] = bucket_of(NOON, DAY) + day
    everything = deltas_of(HOURLY, tally)

    deltas = deltas_of(HOURLY, tally, expired)

    assert (deltas.totals, deltas.events) == (everything.totals, everything.events)
    for each in (HOUR, DAY):
        first = expired.get(each.value)
        assert deltas.rollups[each] == {
            key: row
            for key, row in everything.rollups[each].items()
            if first is None or key[0] >= first
        }
    late = [
        event.skill_id
        for event in log
        if HOURLY.kinds[event.kind].rollups
        and any(
            bucket_of(event.occurred_at, each) < expired[each.value]
            for each in (HOUR, DAY)
            if each.value in expired
        )
    ]
    assert deltas.expired == {skill: late.count(skill) for skill in late}


@in_every_site
def test_rollups_expire_in_steps_and_say_what_became_of_them(site_of):
    with site_of() as site:
        client = site.client()
        days = [NOON - timedelta(days=ago) for ago in (3, 2, 1, 0)]
        client.events.append([attrs.evolve(download(), occurred_at=at) for at in days])
        drain(client.events, client.stats)
        before = client.stats.cursor()

        done = expire(client.stats, DAY, NOON - timedelta(days=1), limit=1)

        assert (done.rows, done.is_last, done.cursor) == (2, True, client.stats.cursor())
        assert done.cursor.revision == before.revision + 2
        assert done.cursor.expired == {"day": bucket_of(NOON, DAY) - 1}
        assert done.cursor.controls["day.downloads"] == 2
        assert client.stats.totals()["a"]["downloads"] == 4
        assert list(client.stats.rollups("a", DAY)) == [
            start_of(bucket_of(at, DAY), DAY) for at in days[2:]
        ]


@in_every_site
def test_what_comes_late_counts_in_the_totals_and_as_dropped(site_of):
    with site_of() as site:
        client = site.client()
        expire(client.stats, DAY, NOON)
        client.events.append([attrs.evolve(download(), occurred_at=NOON - timedelta(days=1))])

        report = drain(client.events, client.stats)

        assert report.dropped == {"forgotten": 0, "expired": 1}
        assert client.stats.cursor().dropped == {"expired": 1}
        assert client.stats.totals()["a"]["downloads"] == 1
        assert not client.stats.rollups("a", DAY)


@in_every_site
@pytest.mark.parametrize(
    ("granularity", "before", "limit", "error"),
    [
        (HOUR, NOON, 1, InvalidProjectionError),
        (DAY, NOON, 0, InvalidBoundError),
        (DAY, NOON.replace(tzinfo=None), 1, InvalidBoundError),
        (DAY, "2026-03-01", 1, InvalidBoundError),
    ],
)
def test_what_cannot_expire_is_refused(site_of, granularity, before, limit, error):
    with site_of() as site:
        stats = site.client().stats

        with pytest.raises(error):
            expire(stats, granularity, before, limit=limit)

        assert stats.cursor().revision == 0


def test_a_store_that_never_comes_to_an_end_is_found_out():
    class Idle:
        def expire(self, _granularity: Granularity, _first: int, /, *, limit: int) -> Expired:
            return Expired(cursor=Cursor.start(SKILL_STATS, NOON), rows=limit - 1, is_last=False)

    with pytest.raises(StoreContractError, match="a step deleted nothing, and was not the last"):
        expire(Idle(), DAY, NOON, limit=1)


def test_a_program_with_an_older_table_lets_nothing_expire_that_is_not_there():
    """After a rebuild that dropped the hours there is nothing that could expire by the hour."""
    with closing(sqlite3.connect(":memory:")) as db:
        hours = Projection("skill_stats", SKILL_STATS.kinds, (HOUR, DAY))
        create_tables(db, hours)
        log, old, new = (
            SQLiteEventStore(db),
            *(SQLiteStatsStore(db, projection) for projection in (hours, SKILL_STATS)),
        )
        log.append([download()])
        drain(log, old)
        rebuild(log, new)

        with pytest.raises(InvalidProjectionError):
            old.expire(HOUR, 10**6, limit=10)

        assert dict(new.cursor().expired) == {}


@in_every_site
def test_what_expired_while_it_was_built_stays_so(site_of):
    with site_of() as site:
        client = site.client()
        client.events.append([download()])
        drain(client.events, client.stats)
        building = client.stats.building("by hand")
        drain(client.events, building)
        expire(building, Granularity.DAY, NOON + timedelta(days=1))

        client.stats.swap("by hand")

        assert verify_fully(client.events, client.stats).is_ok
        assert dict(client.stats.rollups("a", Granularity.DAY)) == {}

"""A page of search results: totals, badges and trend of each skill, in the order asked."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from datetime import timedelta
from typing import Any

import attrs
import pytest

from skillstat_agg import (
    SKILL_STATS,
    Badge,
    BadgeKind,
    Buckets,
    Granularity,
    Hydrated,
    Projection,
    SeriesStore,
    aio,
    drain,
    hydrate,
    shown,
)
from skillstat_agg.backends.sqlite import SQLiteBadgeStore, SQLiteStatsStore, create_tables
from skillstat_agg.errors import InvalidBoundError, InvalidEventError, InvalidProjectionError
from skillstat_agg.testing._twins import AsyncBadges, AsyncStats
from tests.logs import NOON, download
from tests.sites import SITES, Client
from tests.stepping import run

DAY = timedelta(days=1)
MIDNIGHT = NOON.replace(hour=0)
THREE_DAYS = Buckets.last(3, Granularity.DAY, NOON)
ANN = Badge(by_user_id="ann", at=NOON)

in_every_site = pytest.mark.parametrize("site_of", SITES.values(), ids=SITES)


def filled(client: Client) -> Client:
    """Return the client after three downloads of a, one retraction of b, and a badge of c."""
    events = [download("a", at=NOON - days * DAY) for days in (0, 0, 2)]
    unstar = attrs.evolve(download("b"), kind="unstar")
    client.events.append([*events, unstar])
    drain(client.events, client.stats)
    client.badges.set("c", "official", ANN)
    return client


def hydrated(client: Client, *skill_ids: str, over: Buckets = THREE_DAYS) -> Hydrated:
    assert isinstance(client.stats, SeriesStore)
    return hydrate(client.stats, client.badges, skill_ids, over)


@in_every_site
def test_all_that_there_is_to_show_of_each_skill(site_of):
    """In the order asked, each once; unknown is not zero, sums are signed, trends have no gaps."""
    with site_of() as site:
        client = filled(site.client())

        page = hydrated(client, "c", "b", "a", "b")

    c, b, a = page.skills
    assert [each.skill_id for each in page.skills] == ["c", "b", "a"]
    assert [each.is_counted for each in page.skills] == [False, True, True]
    assert [each.badges for each in page.skills] == [{BadgeKind.OFFICIAL: ANN}, {}, {}]
    assert c.totals == dict.fromkeys(SKILL_STATS.counters, 0)
    assert (b.totals["stars"], shown(b.totals)["stars"]) == (-1, 0)
    assert a.totals["downloads"] == 3
    assert page.series.starts == (MIDNIGHT - 2 * DAY, MIDNIGHT - DAY, MIDNIGHT)
    assert [each.trend["downloads"] for each in page.skills] == [(0, 0, 0), (0, 0, 0), (1, 0, 2)]
    assert page.cursor == page.series.cursor
    assert page.cursor.count == 4


@in_every_site
@pytest.mark.parametrize("run_it", [asyncio.run, run], ids=["asyncio", "by hand"])
def test_the_twin_returns_the_same(site_of, run_it):
    """Over stores whose methods are coroutines."""
    with site_of() as site:
        client = filled(site.client())
        stats = AsyncStats(client.stats)

        page = run_it(aio.hydrate(stats, AsyncBadges(client.badges), ["a", "c"], THREE_DAYS))

        assert page == hydrated(client, "a", "c")


@in_every_site
def test_a_page_without_results_is_empty(site_of):
    """It still says how far the totals are counted."""
    with site_of() as site:
        page = hydrated(filled(site.client()))

    assert (page.skills, page.cursor.count) == ((), 4)


@in_every_site
def test_a_forgotten_skill_has_nothing_to_show(site_of):
    """Neither numbers nor badges."""
    with site_of() as site:
        client = filled(site.client())
        client.badges.set("a", "highlighted", ANN)
        client.stats.forget("a")

        [a] = hydrated(client, "a").skills

    assert (a.is_counted, a.badges) == (False, {})
    assert {*a.totals.values(), *a.trend["downloads"]} == {0}


@in_every_site
def test_a_trend_by_the_hour(site_of):
    """Hours that the projection keeps."""
    by_hour = Projection("hours", SKILL_STATS.kinds, (Granularity.HOUR,))
    with site_of() as site:
        client = filled(site.client(by_hour))
        [a] = hydrated(client, "a", over=Buckets.last(3, Granularity.HOUR, NOON)).skills

    assert a.trend["downloads"] == (0, 0, 2)


@in_every_site
def test_an_empty_range_has_no_trend(site_of):
    """And the future is zeros."""
    with site_of() as site:
        client = filled(site.client())
        nothing = Buckets.between(Granularity.DAY, since=MIDNIGHT, until=MIDNIGHT)
        future = Buckets.last(2, Granularity.DAY, NOON + 400 * DAY)

        trends = [hydrated(client, "a", over=over).skills[0].trend for over in (nothing, future)]

    assert [trend["downloads"] for trend in trends] == [(), (0, 0)]


def test_what_cannot_be_meant_is_refused():
    """A single string is no page, hours are not made of days, and a trend has an end."""
    with SITES["memory"]() as site:
        client = site.client()
        stats: Any = client.stats
        with pytest.raises(InvalidEventError):
            hydrate(stats, client.badges, "ab", THREE_DAYS)
        with pytest.raises(InvalidProjectionError):
            hydrated(client, "a", over=Buckets.last(3, Granularity.HOUR, NOON))
        with pytest.raises(InvalidBoundError):
            hydrated(client, "a", over=Buckets.between(Granularity.DAY))


def test_a_page_on_sqlite_is_one_query_for_each():
    """Totals, badges and rollups of fifty skills."""
    statements: list[str] = []
    with closing(sqlite3.connect(":memory:")) as db:
        create_tables(db, SKILL_STATS)
        db.set_trace_callback(statements.append)

        hydrate(
            SQLiteStatsStore(db, SKILL_STATS),
            SQLiteBadgeStore(db),
            list(map(str, range(50))),
            THREE_DAYS,
        )

    for table in ("skill_stats_totals", "skill_stats_daily", "FROM main.skillstat_badges"):
        assert sum(table in statement for statement in statements) == 1, table

"""A page of search results: totals, badges and trend of each skill, in the order asked."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import attrs
import pytest

from skillstat_agg import (
    SKILL_STATS,
    Badge,
    BadgeKind,
    Granularity,
    Hydrated,
    Projection,
    aio,
    drain,
    hydrate,
    shown,
)
from skillstat_agg.errors import InvalidBoundError, InvalidEventError, InvalidProjectionError
from skillstat_agg.testing._twins import AsyncBadges, AsyncStats
from tests.logs import NOON, download
from tests.sites import SITES, Client
from tests.stepping import run

DAY = timedelta(days=1)
MIDNIGHT = NOON.replace(hour=0)
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


def hydrated(client: Client, *skill_ids: str, **options: Any) -> Hydrated:
    bounds = {"since": NOON - 2 * DAY, "until": NOON, **options}
    return hydrate(client.stats, client.badges, skill_ids, **bounds)


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
    days = [MIDNIGHT - 2 * DAY, MIDNIGHT - DAY, MIDNIGHT]
    assert [list(each.trend) for each in page.skills] == [days] * 3
    assert [row["downloads"] for row in a.trend.values()] == [1, 0, 2]
    assert page.cursor.count == 4


@in_every_site
@pytest.mark.parametrize("run_it", [asyncio.run, run], ids=["asyncio", "by hand"])
def test_the_twin_returns_the_same(site_of, run_it):
    """Over stores whose methods are coroutines."""
    with site_of() as site:
        client = filled(site.client())
        bounds: Any = {"since": NOON - 2 * DAY, "until": NOON}

        page = run_it(
            aio.hydrate(AsyncStats(client.stats), AsyncBadges(client.badges), ["a", "c"], **bounds)
        )

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
    assert {value for row in (a.totals, *a.trend.values()) for value in row.values()} == {0}


@in_every_site
def test_a_trend_by_the_hour(site_of):
    """Hours that the projection keeps."""
    by_hour = Projection("hours", SKILL_STATS.kinds, (Granularity.HOUR,))
    with site_of() as site:
        client = filled(site.client(by_hour))
        since = NOON - timedelta(hours=2)

        [a] = hydrated(
            client, "a", granularity=Granularity.HOUR, since=since, until=NOON + DAY / 24
        ).skills

    assert [row["downloads"] for row in a.trend.values()] == [0, 0, 2]


@pytest.mark.parametrize(
    ("since", "until", "buckets"),
    [
        (MIDNIGHT, MIDNIGHT, 0),
        (NOON, NOON, 1),
        (MIDNIGHT + 400 * DAY, MIDNIGHT + 402 * DAY, 2),
        (MIDNIGHT, MIDNIGHT + 1_000 * DAY, 1_000),
    ],
)
def test_the_edges_of_a_range(since: datetime, until: datetime, buckets: int) -> None:
    """Empty is empty, the future is zeros, and a range ends before the bucket that it names."""
    with SITES["memory"]() as site:
        [a] = hydrated(filled(site.client()), "a", since=since, until=until).skills

    assert len(a.trend) == buckets


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"since": NOON, "until": NOON - DAY}, "until"),
        ({"since": NOON, "until": NOON + 1_001 * DAY}, "until"),
        ({"since": NOON.replace(tzinfo=None)}, "since"),
        ({"until": NOON.replace(tzinfo=None)}, "until"),
        ({"since": None}, "since"),
        ({"until": None}, "until"),
    ],
)
def test_a_range_that_cannot_be_meant_is_refused(options: dict[str, Any], name: str) -> None:
    """Reversed, much too long, without a zone or without an end."""
    with SITES["memory"]() as site, pytest.raises(InvalidBoundError) as caught:
        hydrated(site.client(), "a", **options)

    assert caught.value.name == name


def test_what_is_no_skill_and_what_is_not_kept_is_refused():
    """A single string is no page, and hours are not made of days."""
    with SITES["memory"]() as site:
        client = site.client()
        with pytest.raises(InvalidEventError):
            hydrate(client.stats, client.badges, "ab", since=NOON, until=NOON)
        with pytest.raises(InvalidProjectionError):
            hydrated(client, "a", granularity=Granularity.HOUR)

"""Series hold every bucket of their range, and say what is known of it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import attrs
import pytest
from hypothesis import given, settings

from skillstat_agg import (
    MAX_BUCKETS,
    SKILL_STATS,
    Buckets,
    Granularity,
    RollupsOf,
    aio,
    drain,
    owner_totals,
    series,
    shown,
)
from skillstat_agg._series import filled
from skillstat_agg.backends.memory import MemoryStatsStore
from skillstat_agg.errors import InvalidBoundError, InvalidEventError, InvalidProjectionError
from skillstat_agg.testing._twins import AsyncStats
from tests.logs import NOON, download, event_logs
from tests.oracle import count_days, count_totals
from tests.sites import SITES

DAY = Granularity.DAY
in_every_site = pytest.mark.parametrize("site_of", SITES.values(), ids=SITES)


@in_every_site
@settings(max_examples=30)
@given(log=event_logs())
def test_series_are_a_plain_count(site_of, log):
    """For any log, in a range that holds some of its days."""
    over = Buckets.last(3, DAY, NOON + timedelta(days=1))
    expected = count_days(log)
    skills = ["a", "b", "A", "nobody"]
    with site_of() as site:
        client = site.client()
        client.events.append(log)
        drain(client.events, client.stats)

        found = series(client.stats, skills, over)

    assert list(found) == skills
    assert len(found) == 4
    for skill in skills:
        days = expected.get(skill, {})
        for column in ("downloads", "installs"):
            assert found[skill][column] == tuple(
                days.get(start.date(), {}).get(column, 0) for start in found.starts
            )


@in_every_site
def test_what_is_covered_begins_with_the_first_bucket_and_ends_with_the_count(site_of):
    """The stats were last changed at noon of today; two days lie in the future."""
    over = Buckets.last(6, DAY, NOON + timedelta(days=2))
    with site_of() as site:
        client = site.client()
        nothing = series(client.stats, ["a"], over)
        client.events.append([download(at=NOON - timedelta(days=1)), download("b")])
        drain(client.events, client.stats)

        found = series(client.stats, ["b"], over)

    assert (nothing.first, list(nothing.covered)) == (None, [])
    assert found.first == (NOON - timedelta(days=1)).replace(hour=0)
    assert found.counted_at == NOON
    assert [found.starts[place].day for place in found.covered] == [28, 1]


def test_after_buckets_have_expired_the_first_that_is_kept_counts():
    """Although nothing lies in it."""
    over = Buckets.last(3, DAY, NOON)
    kept = over.numbers[1]
    cursor = attrs.evolve(MemoryStatsStore(SKILL_STATS).cursor(), expired={"day": kept})

    found = filled(SKILL_STATS, ["a"], over, RollupsOf(cursor=cursor, first=None, rows={}))

    assert found.first == over.starts[1]


@in_every_site
def test_a_range_in_the_future_is_zeros_that_nothing_covers(site_of):
    with site_of() as site:
        client = site.client()
        client.events.append([download()])
        drain(client.events, client.stats)

        found = series(client.stats, ["a"], Buckets.last(2, DAY, NOON + timedelta(days=100)))

    assert found["a"]["downloads"] == (0, 0)
    assert list(found.covered) == []


@in_every_site
def test_the_twin_returns_the_same_series(site_of):
    over = Buckets.last(2, DAY, NOON)
    with site_of() as site:
        client = site.client()
        client.events.append([download()])
        drain(client.events, client.stats)

        found = series(client.stats, ["a", "b"], over)
        twin = asyncio.run(aio.series(AsyncStats(client.stats), ["a", "b"], over))

    assert (dict(twin), twin.first, twin.cursor) == (dict(found), found.first, found.cursor)


@in_every_site
@pytest.mark.parametrize(
    ("skills", "over", "error"),
    [
        ("a", Buckets.last(1, DAY, NOON), InvalidEventError),
        ([""], Buckets.last(1, DAY, NOON), InvalidEventError),
        (["a"], Buckets.last(1, Granularity.HOUR, NOON), InvalidProjectionError),
        (["a"], Buckets.between(DAY), InvalidBoundError),
        (["a"], Buckets.last(MAX_BUCKETS + 1, Granularity.HOUR, NOON), InvalidBoundError),
        (["a"], None, InvalidBoundError),
    ],
)
def test_what_cannot_be_asked_is_refused(site_of, skills, over, error):
    with site_of() as site, pytest.raises(error):
        series(site.client().stats, skills, over)


# Totals and owners


def test_totals_in_order_tell_unknown_from_zero():
    stats = MemoryStatsStore(SKILL_STATS)

    assert stats.totals(["b", "a"]).in_order(["b", "a", "b"]) == [
        ("b", None),
        ("a", None),
        ("b", None),
    ]


@in_every_site
@settings(max_examples=20)
@given(log=event_logs())
def test_owner_totals_are_sums_over_their_skills(site_of, log):
    """Signed sums; a skill of two owners counts for both, and a pair counts once."""
    totals = count_totals(log)
    pairs = [("a", "o1"), ("A", "o1"), ("a", "o1"), ("ä", "o2"), ("a", "o2"), ("nobody", "o3")]
    with site_of() as site:
        client = site.client()
        client.events.append(log)
        drain(client.events, client.stats)

        found = owner_totals(client.stats, pairs)

    assert list(found) == ["o1", "o2", "o3"]
    assert len(found) == 3
    for owner in found:
        rows = [
            totals[skill] for skill, its in dict.fromkeys(pairs) if its == owner and skill in totals
        ]
        assert found[owner].skills == len(rows)
        assert found[owner].sums == {
            name: sum(row[name] for row in rows) for name in SKILL_STATS.counters
        }


@in_every_site
def test_an_owner_loses_what_moves_or_is_forgotten(site_of):
    with site_of() as site:
        client = site.client()
        client.events.append([download("a"), download("b"), download("b")])
        drain(client.events, client.stats)
        owners = {"a": "old", "b": "old"}
        before = owner_totals(client.stats, owners.items())
        owners["b"] = "new"
        moved = owner_totals(client.stats, owners.items())
        client.stats.forget("a")
        after = asyncio.run(aio.owner_totals(AsyncStats(client.stats), owners.items()))
        cursor = client.stats.cursor()

    downloads = [
        {owner: (each.skills, shown(each.sums)["downloads"]) for owner, each in found.items()}
        for found in (before, moved, after)
    ]
    assert downloads == [
        {"old": (2, 3)},
        {"old": (1, 1), "new": (1, 2)},
        {"old": (0, 0), "new": (1, 2)},
    ]
    assert after.cursor == cursor

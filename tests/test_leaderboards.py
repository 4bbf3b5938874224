"""Boards are what a plain count and a plain sort give, on every backend."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skillstat_agg import (
    SKILL_STATS,
    Buckets,
    Carried,
    Effect,
    Event,
    Granularity,
    Order,
    Projection,
    aio,
    drain,
    leaderboard,
)
from skillstat_agg._events import MAX_INTEGER, MIN_INTEGER
from skillstat_agg.backends.memory import MemoryStatsStore
from skillstat_agg.backends.sqlite import SQLiteStatsStore, create_tables
from skillstat_agg.errors import (
    InvalidBoundError,
    InvalidProjectionError,
    SchemaError,
    TableChangedError,
)
from skillstat_agg.testing._twins import AsyncStats
from tests.logs import NOON, download, event_logs
from tests.oracle import count_days, count_totals
from tests.sites import SITES, Client

DAY = Granularity.DAY
WEEK = Buckets.last(7, DAY, NOON + timedelta(days=1))

in_every_site = pytest.mark.parametrize("site_of", SITES.values(), ids=SITES)
names = st.sampled_from(["downloads", "installs"])
weights = st.integers(-3, 3).filter(bool)
scores = st.lists(names | st.dictionaries(names, weights, min_size=1), min_size=1, max_size=3).map(
    tuple
)


def counted(client: Client, events: Sequence[Event]) -> None:
    client.events.append(events)
    drain(client.events, client.stats)


def by_hand(sums: dict[str, dict[str, int]], by: Sequence[str | dict[str, int]]) -> list[str]:
    """Return the skills of a board, sorted without the package."""

    def score(skill: str, key: str | dict[str, int]) -> int:
        terms = {key: 1} if isinstance(key, str) else key
        return sum(max(0, sums[skill][name]) * weight for name, weight in terms.items())

    used = {name for key in by for name in ([key] if isinstance(key, str) else key)}
    there = [skill for skill, row in sums.items() if any(row[name] > 0 for name in used)]
    return sorted(there, key=lambda skill: ([-score(skill, key) for key in by], skill))


@in_every_site
@settings(max_examples=40)
@given(log=event_logs(), by=scores, limit=st.integers(1, 5))
def test_a_board_is_a_plain_sort(site_of, log, by, limit):
    """Over a week and over all time, for any log, scores and limit."""
    totals = count_totals(log)
    week = {
        skill: {
            name: sum(row[name] for day, row in days.items() if day >= WEEK.starts[0].date())
            for name in ("downloads", "installs")
        }
        for skill, days in count_days(log).items()
    }
    over_all_time = [key if isinstance(key, dict) else {key: 1} for key in by]
    counters = [
        {name.replace("installs", "installs_current"): weight for name, weight in key.items()}
        for key in over_all_time
    ]
    with site_of() as site:
        client = site.client()
        counted(client, log)

        recent = leaderboard(client.stats, *by, over=WEEK, limit=limit)
        ever = leaderboard(client.stats, *counters, limit=limit)

    assert [entry.skill_id for entry in recent] == by_hand(week, by)[:limit]
    assert [entry.skill_id for entry in ever] == by_hand(totals, counters)[:limit]
    assert [entry.rank for entry in ever] == list(range(1, len(ever) + 1))


@in_every_site
def test_who_is_not_eligible_makes_room(site_of):
    """The board is full although nine of ten may not stand on it; each is judged once."""
    skills = [f"s{number:03}" for number in range(200)]
    judged: list[str] = []

    def eligible(skill: str) -> bool:
        judged.append(skill)
        return skill.endswith("7")

    with site_of() as site:
        client = site.client()
        counted(client, [download(skill) for skill in skills])

        board = leaderboard(client.stats, "downloads", limit=5, eligible=eligible)
        everybody = leaderboard(client.stats, "downloads", limit=1_000_000, eligible=eligible)

    assert [entry.skill_id for entry in board] == ["s007", "s017", "s027", "s037", "s047"]
    assert [entry.rank for entry in board] == [1, 2, 3, 4, 5]
    assert len(everybody) == 20
    assert len(judged) == len(set(judged[:48])) + 200


@in_every_site
def test_nobody_is_eligible(site_of):
    with site_of() as site:
        client = site.client()
        counted(client, [download("a"), download("b")])

        assert len(leaderboard(client.stats, "downloads", limit=1, eligible=lambda _: False)) == 0


@in_every_site
def test_the_judge_may_use_the_stats(site_of):
    """No transaction is open while somebody is judged."""
    with site_of() as site:
        client = site.client()
        counted(client, [download("a"), download("b"), download("b")])

        board = leaderboard(
            client.stats,
            "downloads",
            eligible=lambda skill: client.stats.totals([skill])[skill]["downloads"] > 1,
        )

    assert [entry.skill_id for entry in board] == ["b"]


@in_every_site
def test_the_twin_makes_the_same_board(site_of):
    with site_of() as site:
        client = site.client()
        counted(client, [download(skill) for skill in "cabab"])

        board = leaderboard(client.stats, "downloads", limit=2)
        twin = asyncio.run(aio.leaderboard(AsyncStats(client.stats), "downloads", limit=2))

    assert twin == board


@in_every_site
def test_an_empty_store_has_empty_boards(site_of):
    with site_of() as site:
        stats = site.client().stats

        assert leaderboard(stats, "stars").entries == ()
        assert leaderboard(stats, "downloads", over=WEEK).entries == ()
        assert leaderboard(stats, "downloads", over=Buckets(DAY, range(0))).entries == ()


@in_every_site
def test_a_newer_table_reads_boards_that_an_older_one_made(site_of):
    """What is not counted yet is 0; the older table reads on, too."""
    newer = attrs.evolve(
        SKILL_STATS,
        kinds={**SKILL_STATS.kinds, "like": Effect(counters={"likes": 1}, rollups={"likes": 1})},
    )
    with site_of() as site:
        client = site.client()
        counted(client, [download("a")])
        stats = read_as(client, newer)

        assert leaderboard(stats, "likes").entries == ()
        assert leaderboard(stats, "likes", over=WEEK).entries == ()
        (entry,) = leaderboard(stats, "likes", "downloads", over=WEEK)

    assert (entry.scores, entry.sums) == ((0, 1), {"likes": 0, "downloads": 1})


def read_as(client: Client, projection: Projection) -> Any:
    """Return the same stats, read with another table."""
    stats: Any = client.stats
    if isinstance(stats, MemoryStatsStore):
        return MemoryStatsStore(projection, stats._database)
    return type(stats)(stats._db, projection)


@in_every_site
def test_stats_of_another_table_are_refused(site_of):
    other = Projection("skill_stats", {"download": Effect(counters={"downloads": 2})}, ())
    with site_of() as site:
        client = site.client()
        stats = read_as(client, other)

        with pytest.raises(TableChangedError):
            leaderboard(stats, "downloads")


@in_every_site
@pytest.mark.parametrize(
    ("by", "given_", "error"),
    [
        (["downloads"], {"limit": 0}, InvalidBoundError),
        (["downloads"], {"limit": -1}, InvalidBoundError),
        (["downloads"], {"limit": 2.5}, InvalidBoundError),
        ([], {}, InvalidBoundError),
        ([{}], {}, InvalidBoundError),
        ([{"downloads": 0}], {}, InvalidBoundError),
        ([{"downloads": 1.5}], {}, InvalidBoundError),
        ([{"downloads": True}], {}, InvalidBoundError),
        ([{"downloads": 2**63}], {}, InvalidBoundError),
        (["downloads"], {"over": "week"}, InvalidBoundError),
        (["downloads; DROP TABLE x"], {}, InvalidProjectionError),
        (["Downloads"], {}, InvalidProjectionError),
        (["hits"], {}, InvalidProjectionError),
        (["stars"], {"over": WEEK}, InvalidProjectionError),
        (["downloads"], {"over": Buckets.last(1, Granularity.HOUR, NOON)}, InvalidProjectionError),
    ],
)
def test_what_cannot_be_asked_is_refused(site_of, by, given_, error):
    with site_of() as site, pytest.raises(error):
        leaderboard(site.client().stats, *by, **given_)


def test_an_unknown_name_is_told_what_there_is():
    with pytest.raises(InvalidProjectionError) as caught:
        Order("stars", WEEK).check(SKILL_STATS)

    assert str(caught.value) == (
        "projection 'skill_stats' has no rollup column 'stars'; it has downloads, installs"
    )


CARRIED = Projection(
    "carried", {"carry": Effect(counters={"n": Carried("n")}, rollups={"n": Carried("n")})}
)
large = st.integers(MIN_INTEGER, MAX_INTEGER) | st.sampled_from(
    [MIN_INTEGER, MAX_INTEGER, 2**62, 2**62 + 1, -(2**62), 2**53, 2**53 + 1]
)


@in_every_site
@settings(max_examples=40)
@given(
    days=st.dictionaries(st.sampled_from("abcd"), st.lists(large, max_size=4), max_size=4),
    weight=st.sampled_from([1, -1, 3, -(2**40), MAX_INTEGER]),
)
def test_numbers_of_any_size_are_ordered_exactly(site_of, days, weight):
    """Sums of a week and scores leave 64 bits, and neighbours differ by one."""
    with site_of() as site:
        client = site.client(CARRIED)
        for skill, amounts in days.items():
            for back, amount in enumerate(amounts):
                # What lies before the week keeps the total in range.
                for at, carried in ((0, amount), (20, -max(amount, -MAX_INTEGER))):
                    event = Event(
                        skill_id=skill,
                        kind="carry",
                        occurred_at=NOON - timedelta(days=at + back),
                        deltas={"n": carried},
                    )
                    client.events.append([event])
                drain(client.events, client.stats)

        board = leaderboard(client.stats, {"n": weight}, over=Buckets.last(7, DAY, NOON))

    sums = {skill: sum(amounts) for skill, amounts in days.items()}
    expected = sorted(
        (skill for skill, value in sums.items() if value > 0),
        key=lambda skill: (-weight * sums[skill], skill),
    )
    assert [entry.skill_id for entry in board] == expected
    assert [entry.sums["n"] for entry in board] == [sums[skill] for skill in expected]


def test_what_the_database_says_is_told():
    """An error that is no overflow is not taken for one."""
    with closing(sqlite3.connect(":memory:")) as db:
        create_tables(db, SKILL_STATS)
        db.execute("DROP TABLE skill_stats_totals")

        with pytest.raises(SchemaError, match="no such table"):
            leaderboard(SQLiteStatsStore(db, SKILL_STATS), "stars")


@in_every_site
def test_the_twin_asks_further_too(site_of):
    with site_of() as site:
        client = site.client()
        counted(client, [download(skill) for skill in "abcdefgh"])

        board = asyncio.run(
            aio.leaderboard(
                AsyncStats(client.stats), "downloads", limit=1, eligible=lambda skill: skill == "h"
            )
        )

    assert [entry.skill_id for entry in board] == ["h"]

"""A sample of skills: each is counted as a full verify counts it, whichever they are."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skillstat_agg import (
    SKILL_STATS,
    Granularity,
    Tally,
    Uncountable,
    drain,
    verify_fully,
    verify_sample,
)
from skillstat_agg._sampling import Sample
from skillstat_agg.backends.memory import MemoryDatabase, MemoryEventStore, MemoryStatsStore
from skillstat_agg.errors import GenerationBehindError, HistoryChangedError, InvalidBoundError
from tests.logs import download, event_logs
from tests.sites import SITES, sqlite_site

in_every_site = pytest.mark.parametrize("site_of", SITES.values(), ids=SITES)


@given(log=event_logs(), size=st.integers(1, 4), seed=st.integers(0, 9), data=st.data())
def test_a_sample_holds_every_event_of_its_skills(log, size, seed, data):
    """However the log is cut; the same skills for the same seed."""
    cut = data.draw(st.integers(0, len(log)), label="cut")
    day = Granularity.DAY
    once, twice = Sample(size, seed), Sample(size, seed)

    once.add(Tally.of(log, day))
    for part in (log[:cut], log[cut:]):
        twice.add(Tally.of(part, day))

    assert once.tallies == twice.tallies
    assert len(once.skills) == min(size, len({event.skill_id for event in log}))
    for skill in once.skills:
        mine = [event for event in log if event.skill_id == skill]
        assert once.tallies[skill] == Tally.of(mine, day)


def test_another_seed_takes_other_skills():
    log = [download(skill_id=f"s{number}") for number in range(100)]
    taken = set[str]()
    for seed in range(50):
        sample = Sample(10, seed)
        sample.add(Tally.of(log, Granularity.DAY))
        taken.update(sample.skills)

    assert len(taken) > 90


@in_every_site
@settings(max_examples=30)
@given(log=event_logs(), size=st.integers(1, 9))
def test_what_was_only_folded_is_right(site_of, log, size):
    with site_of() as site:
        client = site.client()
        client.events.append(log)
        drain(client.events, client.stats, page=3)
        told: list[int] = []

        report = verify_sample(
            client.events, client.stats, size=size, page=2, on_progress=told.append
        )

        assert report.differences == ()
        assert report.cursor == client.stats.cursor()
        assert told[-1:] == ([len(log)] if log else [])


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE skill_stats_totals SET downloads = 7 WHERE skill_id = 'a'",
        "DELETE FROM skill_stats_totals WHERE skill_id = 'b'",
        "UPDATE skill_stats_daily SET day = '2026-02-28' WHERE skill_id = 'b'",
        "UPDATE skillstat_cursors SET events = 4",
        "UPDATE skillstat_cursors SET checksum = 4",
    ],
)
def test_it_finds_what_a_full_verify_finds(change):
    with sqlite_site() as site:
        client, db = site.client(), site.connect()
        client.events.append([download(), download(), download(skill_id="b")])
        drain(client.events, client.stats)
        db.execute(change)
        db.commit()

        report = verify_sample(client.events, client.stats, size=9)
        some = verify_sample(client.events, client.stats, size=9, limit=1)

        assert report.differences == verify_fully(client.events, client.stats).differences
        assert some.differences == report.differences[:1]
        assert some.is_complete is (len(report.differences) == 1)


@in_every_site
def test_forgotten_skills_and_what_is_parked_are_no_differences(site_of):
    with site_of() as site:
        client = site.client()
        unknown = attrs.evolve(download(), kind="comment")
        client.events.append([download(), unknown, download(skill_id="b")])
        drain(client.events, client.stats, uncountable=Uncountable.PARK)
        client.stats.forget("a")

        assert verify_sample(client.events, client.stats, size=9).is_ok


def test_expired_rollups_are_no_differences():
    there = MemoryDatabase()
    log, stats = MemoryEventStore(there), MemoryStatsStore(SKILL_STATS, there)
    log.append([download()])
    drain(log, stats)
    stats.expire(Granularity.DAY, 99_999, limit=9)

    assert verify_sample(log, stats, size=9).is_ok


class Restless(MemoryStatsStore):
    """Stats that a worker moves on whenever they are read."""

    def totals(self, skill_ids=None, /):
        log = MemoryEventStore(self._database)
        log.append([download()])
        drain(log, MemoryStatsStore(SKILL_STATS, self._database))
        return super().totals(skill_ids)


def test_a_cursor_that_never_rests_ends_it():
    there = MemoryDatabase()

    with pytest.raises(GenerationBehindError, match="stop the workers meanwhile"):
        verify_sample(MemoryEventStore(there), Restless(SKILL_STATS, there), size=9)


@in_every_site
def test_another_log_is_noticed(site_of):
    with site_of() as site, site_of() as other:
        client, elsewhere = site.client(), other.client()
        client.events.append([download()])
        drain(client.events, client.stats)

        with pytest.raises(HistoryChangedError):
            verify_sample(elsewhere.events, client.stats, size=9)


def test_a_size_that_is_none_is_refused():
    there = MemoryDatabase()

    with pytest.raises(InvalidBoundError, match="size"):
        verify_sample(MemoryEventStore(there), MemoryStatsStore(SKILL_STATS, there), size=0)

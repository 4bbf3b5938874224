"""The asynchronous text of `skillstat_agg._hydrating`: import it from `skillstat_agg.aio`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from skillstat_agg._buckets import Granularity
from skillstat_agg._events import checked_skill_ids
from skillstat_agg._hydrating import Hydrated, checked_starts, hydrated
from skillstat_agg._stores import Rollups
from skillstat_agg.aio._badges import BadgeStore
from skillstat_agg.aio._stores import StatsStore


async def hydrate(
    stats: StatsStore,
    badges: BadgeStore,
    skill_ids: Iterable[str],
    /,
    *,
    since: datetime,
    until: datetime,
    granularity: Granularity = Granularity.DAY,
) -> Hydrated:
    """Return the totals, the badges and the trend of each skill of a page of search results.

    Each of the three is read in a snapshot of its own.

    Args:
        stats: The stats of one projection.
        badges: The badges.
        skill_ids: The skills of the page; of one that stands there twice the first place
            counts.
        since: The first bucket of the trends is the one that holds this time.
        until: Their last bucket begins before this time.
        granularity: Length of their buckets.

    Raises:
        InvalidEventError: If one cannot be the id of a skill, or a single string was given.
        InvalidBoundError: If a time has no time zone, *until* lies before *since*, or there
            are more than 1,000 buckets between them.
        InvalidProjectionError: If the projection has no such granularity.
        TableChangedError: If the numbers were made with a table of which neither extends the
            other.
        OpenTransactionError: If a connection is inside a transaction.
    """
    wanted = checked_skill_ids(skill_ids)
    starts = checked_starts(stats.projection, since, until, granularity)
    totals = await stats.totals(wanted)
    rollups = await _rollups_of(stats, wanted, granularity, since, until)
    maps = await badges.badge_maps(wanted)
    return hydrated(stats.projection, starts, totals, rollups, dict(maps))


async def _rollups_of(
    stats: StatsStore,
    skill_ids: list[str],
    granularity: Granularity,
    since: datetime,
    until: datetime,
) -> Mapping[str, Rollups]:
    """Return the rollups of each skill."""
    return {
        skill_id: await stats.rollups(skill_id, granularity, since=since, until=until)
        for skill_id in skill_ids
    }

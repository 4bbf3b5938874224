"""The asynchronous text of `skillstat_agg._hydrating`: import it from `skillstat_agg.aio`."""

from __future__ import annotations

from collections.abc import Iterable

from typing_extensions import Protocol

from skillstat_agg._events import checked_skill_ids
from skillstat_agg._hydrating import Hydrated, hydrated
from skillstat_agg._ranges import Buckets
from skillstat_agg._series import check_range, filled
from skillstat_agg._stores import Totals
from skillstat_agg.aio._badges import BadgeStore
from skillstat_agg.aio._stores import SeriesStore


class HydratingStore(SeriesStore, Protocol):
    """The methods of `skillstat_agg.HydratingStore`, awaited."""

    async def totals(self, skill_ids: Iterable[str] | None = None, /) -> Totals:
        """Return the totals of these skills."""
        ...


async def hydrate(
    stats: HydratingStore, badges: BadgeStore, skill_ids: Iterable[str], over: Buckets
) -> Hydrated:
    """Return the totals, the badges and the trend of each skill of a page of search results.

    One query for each of the three, each in a snapshot of its own.

    Args:
        stats: The stats of one projection.
        badges: The badges.
        skill_ids: The skills of the page; of one that stands there twice the first place
            counts.
        over: The buckets of the trends.

    Raises:
        InvalidEventError: If one cannot be the id of a skill, or a single string was given.
        InvalidBoundError: If there are too many buckets.
        InvalidProjectionError: If the projection has no rollups of that granularity.
        TableChangedError: If the numbers were made with a table of which neither extends the
            other.
        OpenTransactionError: If a connection is inside a transaction.
    """
    wanted = checked_skill_ids(skill_ids)
    check_range(over)
    totals = await stats.totals(wanted)
    trends = filled(stats.projection, wanted, over, await stats.rollups_of(wanted, over))
    maps = await badges.badge_maps(wanted)
    return hydrated(stats.projection, totals, trends, maps)

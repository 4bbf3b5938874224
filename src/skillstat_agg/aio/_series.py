"""The asynchronous twin of `skillstat_agg._series`; import from `skillstat_agg.aio` instead."""

from __future__ import annotations

from collections.abc import Iterable

from skillstat_agg._events import checked_skill_ids
from skillstat_agg._ranges import Buckets
from skillstat_agg._series import Series, check_range, filled
from skillstat_agg.aio._stores import SeriesStore


async def series(stats: SeriesStore, skill_ids: Iterable[str], over: Buckets) -> Series:
    """Return what these skills had in each bucket of a range, zeros filled in.

    One query, one snapshot.

    Args:
        stats: The stats.
        skill_ids: The skills; none is fine, one that is given twice counts once.
        over: The buckets; they may lie in the future.

    Raises:
        InvalidBoundError: If there are more than ``MAX_BUCKETS`` buckets.
        InvalidEventError: If one cannot be the id of a skill, or a single string was given.
        InvalidProjectionError: If the projection has no rollups of that granularity.
        TableChangedError: If the numbers were made with a table of which neither extends the
            other.
        OpenTransactionError: If the connection is inside a transaction.
    """
    wanted = checked_skill_ids(skill_ids)
    check_range(over)
    return filled(stats.projection, wanted, over, await stats.rollups_of(wanted, over))

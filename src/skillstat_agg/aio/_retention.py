"""The asynchronous twin of `skillstat_agg._retention`; import from `skillstat_agg.aio` instead."""

from __future__ import annotations

from datetime import datetime

from skillstat_agg._buckets import Granularity
from skillstat_agg._pages import check_bounds
from skillstat_agg._retention import ROWS_PER_STEP, both, first_kept
from skillstat_agg._stores import Expired
from skillstat_agg.aio._stores import RetentionStore


async def expire(
    stats: RetentionStore,
    granularity: Granularity,
    before: datetime,
    *,
    limit: int = ROWS_PER_STEP,
) -> Expired:
    """Let the rollups of *granularity* expire whose buckets end at or before a time.

    The oldest go first, in steps of a transaction each; every step leaves numbers that
    agree with their cursor. Workers may go on meanwhile. An event that is folded later and
    belongs into an expired bucket counts in the totals, and as dropped: nothing brings a
    bucket back. An expiry that is killed has done some of its steps: start it again.

    Args:
        stats: The stats of one projection.
        granularity: One of the projection's. The others keep their rollups.
        before: The bucket that holds this time is the first that is kept.
        limit: How many rows a step deletes at most, unless one bucket alone has more.

    Returns:
        The last step, with the rows of all of them.

    Raises:
        InvalidBoundError: If *before* has no time zone, or *limit* is below 1.
        InvalidProjectionError: If the projection has no such granularity.
        OpenTransactionError: If the connection is inside a transaction.
        StoreContractError: If a step breaks the law of its protocol.
    """
    check_bounds(limit=limit)
    first = first_kept(before, granularity)
    done = await stats.expire(granularity, first, limit=limit)
    while not done.is_last:
        done = both(done, await stats.expire(granularity, first, limit=limit))
    return done

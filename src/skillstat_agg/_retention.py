"""Rollups that are kept for a time only: import `expire` from `skillstat_agg` instead.

`skillstat_agg.aio._retention` is its twin for asynchronous stores.
"""

from __future__ import annotations

from datetime import datetime

import attrs

from skillstat_agg._buckets import Granularity, bucket_of, buckets_between
from skillstat_agg._pages import check_bounds
from skillstat_agg._stores import Expired, RetentionStore
from skillstat_agg.errors import StoreContractError

ROWS_PER_STEP = 10_000
"""Rows that one step of an expiry deletes: few enough to lock briefly."""


def expire(
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
    done = stats.expire(granularity, first, limit=limit)
    while not done.is_last:
        done = both(done, stats.expire(granularity, first, limit=limit))
    return done


def first_kept(before: datetime, granularity: Granularity) -> int:
    """Return the number of the bucket that holds *before*.

    Raises:
        InvalidBoundError: If it is no time with a time zone.
    """
    buckets_between(before, None, granularity)
    return bucket_of(before, granularity)


def both(earlier: Expired, later: Expired) -> Expired:
    """Return what two steps have done, one after the other.

    Raises:
        StoreContractError: If the later one has done nothing, and more were to be done.
    """
    if later.rows == 0 and not later.is_last:
        raise StoreContractError("expired", "a step deleted nothing, and was not the last")
    return attrs.evolve(later, rows=earlier.rows + later.rows)

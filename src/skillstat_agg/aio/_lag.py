"""The asynchronous twin of `skillstat_agg._lag`; import from `skillstat_agg.aio` instead."""

from __future__ import annotations

from skillstat_agg._lag import MOST_COUNTED, Lag
from skillstat_agg._pages import check_bounds
from skillstat_agg.aio._stores import LagStore, StatsStore
from skillstat_agg.errors import HistoryChangedError


async def lag(events: LagStore, stats: StatsStore, *, limit: int = MOST_COUNTED) -> Lag:
    """Return how far a projection is behind its log.

    The numbers are those of one snapshot of the log, for the cursor that comes with them.
    Counting is bounded, so that it is cheap to ask often, also after a long stop.

    Args:
        events: The log.
        stats: The stats of one projection.
        limit: How far to count at most.

    Raises:
        InvalidBoundError: If *limit* is below 1.
        HistoryChangedError: If the log is not the one that was folded so far.
        OpenTransactionError: If a connection is inside a transaction.
    """
    check_bounds(limit=limit)
    while True:
        cursor = await stats.cursor()
        try:
            backlog = await events.lag(cursor.place, limit=limit)
        except HistoryChangedError:
            # A place that a worker has left meanwhile may be gone: it was pruned.
            if (await stats.cursor()).place == cursor.place:
                raise
        else:
            return Lag(cursor=cursor, backlog=backlog, limit=limit)

"""The asynchronous twin of `skillstat_agg._leaderboards`: import from `skillstat_agg.aio`."""

from __future__ import annotations

from collections.abc import Callable

from skillstat_agg._leaderboards import (
    FURTHER,
    Leaderboard,
    Score,
    Verdicts,
    board_of,
    checked_order,
)
from skillstat_agg._ranges import Buckets
from skillstat_agg.aio._stores import RankStore


async def leaderboard(
    stats: RankStore,
    *by: Score,
    over: Buckets | None = None,
    limit: int = 200,
    eligible: Callable[[str], bool] | None = None,
) -> Leaderboard:
    """Return who has the most, from one snapshot.

    Skills of which nothing is shown above 0, under any of the names, are left out.

    Args:
        stats: The stats.
        by: What to order by: a name, or weights by name; where that is equal, the next; then the
            ids.
        over: The buckets whose rollup columns are summed; None: counters, over all time.
        limit: How many skills at most.
        eligible: Whether a skill may stand on the board. Skills are asked for until the board is
            full or there are no more; each is judged once, while no transaction is open. None:
            all may.

    Raises:
        InvalidBoundError: If *limit* is below 1, or *by* holds no score or a weight that can be
            none.
        InvalidProjectionError: If the projection has no such counter, column or granularity.
        TableChangedError: If the numbers were made with a table of which neither extends the
            other.
        OpenTransactionError: If the connection is inside a transaction.
    """
    order = checked_order(stats.projection, by, over, limit)
    verdicts = Verdicts(eligible)
    asked = limit
    ranked = await stats.ranked(order, limit=asked)
    while len(ranked.rows) == asked and verdicts.count(ranked.rows, limit) < limit:
        asked *= FURTHER
        ranked = await stats.ranked(order, limit=asked)
    return board_of(order, ranked, verdicts, limit)

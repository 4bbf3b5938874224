"""The asynchronous twin of `skillstat_agg._owners`; import from `skillstat_agg.aio` instead."""

from __future__ import annotations

from collections.abc import Iterable

from skillstat_agg._owners import Owner, OwnerTotals, summed
from skillstat_agg.aio._stores import StatsStore


async def owner_totals(
    stats: StatsStore, owners: Iterable[tuple[str, Owner]]
) -> OwnerTotals[Owner]:
    """Return the totals of owners, summed over their skills while reading.

    Nothing is stored by owner, so there is nothing that could go wrong when a skill moves, is
    deleted or is forgotten: who owns what is the caller's to say, each time.

    Args:
        stats: The stats.
        owners: Skill and owner of each, such as ``owner_of.items()``; a pair that comes twice
            counts once, and a skill of two owners counts for both.

    Raises:
        InvalidEventError: If one cannot be the id of a skill.
        TableChangedError: If the numbers were made with a table of which neither extends the
            other.
        OpenTransactionError: If the connection is inside a transaction.
    """
    pairs = list(dict.fromkeys(owners))
    return summed(
        pairs, stats.projection.counters, await stats.totals([skill for skill, _ in pairs])
    )

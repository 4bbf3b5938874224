"""The asynchronous twin of `skillstat_agg._verifying`; import from `skillstat_agg.aio` instead."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

from skillstat_agg._commits import Cursor
from skillstat_agg._generations import MOST_DIFFERENCES, Comparison, Extent
from skillstat_agg._pages import check_bounds
from skillstat_agg._quarantine import Uncountable
from skillstat_agg._rebuilding import BUILDING_PAGE
from skillstat_agg._verifying import (
    CATCH_UPS,
    VerifyReport,
    check_own_table,
    compared,
    drawn_name,
    measured,
    restless,
)
from skillstat_agg.aio._folding import drain, retire_reader
from skillstat_agg.aio._rebuilding import check_same_log
from skillstat_agg.aio._stores import (
    EventStore,
    MeasuredLog,
    RebuildableStore,
    StatsStore,
    SummedStore,
)
from skillstat_agg.errors import (
    HistoryChangedError,
    SkillstatError,
)


async def verify(events: MeasuredLog, stats: SummedStore) -> VerifyReport:
    """Check the cursor record against the log, and the stored rows against the record.

    One scan of the log, which adds up counts and fingerprints, and one of each table of numbers.
    It finds what was lost, doubled or changed by other hands, on either side, but not numbers
    that were made by a wrong rule: `verify_fully` does. Nothing is written, no worker waits.

    Args:
        events: The log; an `EventStore` that is an `ExtentStore`.
        stats: The stats of one projection; a `StatsStore` that is a `SumStore`.

    Raises:
        HistoryChangedError: If the log is not the one that was folded.
        OpenTransactionError: If a connection is inside a transaction.
    """
    sums = await stats.sums()
    extent = Extent(count=0, checksum=0)
    while sums.cursor.place is not None:
        try:
            extent = await events.extent(sums.cursor.place)
            break
        except HistoryChangedError:
            before, sums = sums, await stats.sums()
            if before.cursor.place == sums.cursor.place:
                raise
    return measured(sums, extent)


async def verify_fully(
    events: EventStore,
    stats: RebuildableStore,
    *,
    page: int = BUILDING_PAGE,
    limit: int = MOST_DIFFERENCES,
    on_progress: Callable[[int], Awaitable[object]] | None = None,
) -> VerifyReport:
    """Count the log anew, up to the cursor, and compare every number.

    It folds into numbers of its own, which nobody is shown and which are dropped in the end, and
    compares them with those that serve, in the database. Workers go on meanwhile; where they have
    moved the cursor, it folds what they have folded. Any number may run at once. One that is killed
    leaves its numbers behind, and its entry among the readers of the log (`PruneStore.readers`),
    which names them: ``projection/name/generation``. ``stats.discard(name)`` and
    ``events.retire(...)`` drop both.

    Args:
        events: The log.
        stats: The stats of one projection; a `StatsStore` that is a `GenerationStore`.
        page: How many events per commit at most.
        limit: How many differences to list at most.
        on_progress: Called after each commit with the number of events that were counted anew.

    Raises:
        InvalidBoundError: If a bound is below 1.
        TableChangedError: If the numbers were made with another table than that of *stats*.
        HistoryChangedError: If the log is not the one that was folded.
        GenerationBehindError: If workers moved the cursor again and again.
        NotBuildingError: If somebody dropped what was built.
        SkillstatError: As in `drain`.
    """
    check_bounds(page=page, limit=limit)
    check_own_table(await check_same_log(events, stats), stats.projection)
    name = drawn_name()
    building = await stats.building(name)
    cursor = await building.cursor()
    try:
        comparison = await _caught_up(events, stats, building, name, page, limit, on_progress)
    except GeneratorExit:  # who is closed while it waits can wait for nothing more
        raise
    except BaseException:
        with suppress(SkillstatError):
            await _drop(events, stats, cursor)
        raise
    await _drop(events, stats, cursor)
    return compared(comparison)


async def _drop(events: EventStore, stats: RebuildableStore, cursor: Cursor) -> None:
    """Drop what was built, with its entry among the readers of the log."""
    await stats.discard(cursor.building)
    await retire_reader(events, cursor)


async def _caught_up(
    events: EventStore,
    stats: RebuildableStore,
    building: StatsStore,
    name: str,
    page: int,
    limit: int,
    on_progress: Callable[[int], Awaitable[object]] | None,
) -> Comparison:
    """Fold up to the cursor, and compare, until nobody has moved it in between."""

    async def tell(_changed: frozenset[str]) -> None:
        if on_progress is not None:
            cursor = await building.cursor()
            await on_progress(cursor.count)

    for _ in range(CATCH_UPS):
        serving = await stats.cursor()
        if serving.place is not None:
            # What the table cannot count up to there was parked, or else nobody had got past it.
            await drain(
                events,
                building,
                page=page,
                uncountable=Uncountable.PARK,
                until=serving.place.position,
                on_commit=tell,
            )
        comparison = await stats.differences(name, limit=limit)
        check_own_table(comparison.serving, stats.projection)
        if comparison.serving.place == comparison.building.place:
            return comparison
    raise restless(await stats.cursor(), name)

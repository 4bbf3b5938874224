"""The asynchronous twin of `skillstat_agg._rebuilding`; import from `skillstat_agg.aio` instead."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from skillstat_agg._commits import Cursor
from skillstat_agg._pages import check_bounds
from skillstat_agg._quarantine import Uncountable
from skillstat_agg._rebuilding import (
    BUILDING_PAGE,
    REBUILD,
    RebuildReport,
    check_caught_up,
    finished,
    is_unlike,
    started,
)
from skillstat_agg.aio._folding import drain, retire_reader
from skillstat_agg.aio._stores import EventStore, RebuildableStore, StatsStore
from skillstat_agg.errors import GenerationBehindError, NotBuildingError


async def rebuild(
    events: EventStore,
    stats: RebuildableStore,
    *,
    page: int = BUILDING_PAGE,
    uncountable: Uncountable = Uncountable.HALT,
    on_progress: Callable[[int], Awaitable[object]] | None = None,
) -> RebuildReport:
    """Fold the whole log anew, beside what serves, and put the result in its place.

    The numbers that serve go on serving and advancing. When the new ones have caught up with
    them they take their place in one transaction. A rebuild that is killed has changed nothing:
    start it again and it goes on where it was. Several starts at once share the work. It is how
    a table is accepted that changes what was counted: numbers are made with the table of *stats*.

    Args:
        events: The log.
        stats: The stats of one projection; a `StatsStore` that is a `GenerationStore`.
        page: How many events per commit at most.
        uncountable: What to do with an event that the table cannot count.
        on_progress: Called after each commit with the number of events that the new numbers
            count. What it raises ends the rebuild, which can be started again.

    Raises:
        InvalidBoundError: If *page* is below 1.
        UncountableEventError: If the table cannot count an event, and such events are not
            parked. What serves is as it was; teach the table the kind, and start again.
        HistoryChangedError: If what serves was made from another log than this one.
        NotBuildingError: If somebody has discarded what was built.
        TableChangedError: If another start began anew with a table that this one does not extend.
        SkillstatError: As in `drain`.
    """
    check_bounds(page=page)
    before = await stats.cursor()
    await check_same_log(events, before)
    folded, behind = None, None
    try:
        building = await _begin(stats)
        start = await building.cursor()
        folded = started(before, start)

        async def tell(_changed: frozenset[str]) -> None:
            if on_progress is not None:
                cursor = await building.cursor()
                await on_progress(cursor.count)

        while True:
            report = await drain(
                events, building, page=page, uncountable=uncountable, on_commit=tell
            )
            check_caught_up(report, behind)
            folded = folded.then(report)
            try:
                after = await stats.swap(REBUILD)
            except GenerationBehindError as error:
                behind = error
            else:
                await retire_reader(events, before.projection, REBUILD)
                return finished(before, after, folded, "this")
    except NotBuildingError:
        after = await stats.cursor()
        if after.generation == before.generation:
            raise
        await retire_reader(events, before.projection, REBUILD)
        return finished(before, after, folded, "another")


async def check_same_log(events: EventStore, cursor: Cursor) -> None:
    """Check that the log is the one that a cursor was made from: early, since a scan takes long.

    Raises:
        HistoryChangedError: If it is not.
    """
    if cursor.place is not None:
        await events.read(cursor.place, limit=1)


async def _begin(stats: RebuildableStore) -> StatsStore:
    """Return the numbers that are built; begin anew where another table has begun them."""
    building = await stats.building(REBUILD)
    if is_unlike(await building.cursor(), stats.projection):
        await stats.discard(REBUILD)
        building = await stats.building(REBUILD)
    return building

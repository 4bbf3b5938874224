"""The asynchronous twin of `skillstat_agg._rebuilding`; import from `skillstat_agg.aio` instead."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from skillstat_agg._commits import Cursor
from skillstat_agg._folding import log
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
from skillstat_agg.errors import GenerationBehindError, HistoryChangedError, NotBuildingError


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
    before = await check_same_log(events, stats)
    start, folded, behind = None, None, None
    try:
        building = await _begin(events, stats)
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
                await retire_reader(events, start)
                return finished(before, after, folded, "this")
    except NotBuildingError:
        after = await stats.cursor()
        if after.generation == before.generation:
            raise
        if start is not None:
            await retire_reader(events, start)
        return finished(before, after, folded, "another")


async def check_same_log(events: EventStore, stats: StatsStore) -> Cursor:
    """Return the cursor, when the log is the one that it was made from: a scan takes long.

    Raises:
        HistoryChangedError: If it is not.
    """
    cursor = await stats.cursor()
    while cursor.place is not None:
        try:
            await events.read(cursor.place, limit=1)
            break
        except HistoryChangedError:
            before, cursor = cursor, await stats.cursor()
            if before.place == cursor.place:
                raise
    return cursor


async def _begin(events: EventStore, stats: RebuildableStore) -> StatsStore:
    """Return the numbers that are built; begin anew where they cannot be carried on.

    Another table has begun them, or a prune has passed them, since nobody knew that they read.
    """
    building = await stats.building(REBUILD)
    cursor = await building.cursor()
    try:
        if not is_unlike(cursor, stats.projection):
            await check_same_log(events, building)
            return building
    except HistoryChangedError:
        log.info("%s: What was built is of no use any more; beginning anew", cursor.projection)
    await stats.discard(REBUILD)
    await retire_reader(events, cursor)
    return await stats.building(REBUILD)

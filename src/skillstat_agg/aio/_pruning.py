"""The asynchronous twin of `skillstat_agg._pruning`; import from `skillstat_agg.aio` instead."""

from __future__ import annotations

from asyncio import sleep
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime, timedelta

from skillstat_agg._compacting import Segment, reader_of
from skillstat_agg._events import Position
from skillstat_agg._pages import check_bounds
from skillstat_agg._pruning import (
    DEFAULT_SEGMENT,
    REST,
    PruneReport,
    is_behind,
    nothing_pruned,
)
from skillstat_agg._quarantine import check_whole
from skillstat_agg.aio._stores import PruneStore, StatsStore
from skillstat_agg.errors import HistoryChangedError


async def plan_prune(
    events: PruneStore,
    *stats: StatsStore,
    before: datetime | None,
    limit: int = DEFAULT_SEGMENT,
    max_segments: int | None = None,
    kept: Collection[Position] = (),
    on_segment: Callable[[Segment], Awaitable[object]] | None = None,
) -> PruneReport:
    """Return what `prune` would do now, and change no event.

    Arguments and errors are those of `prune`. The places of *stats* are reported here, too.
    """
    check_bounds(limit=limit, max_segments=max_segments)
    await _tell(events, stats)
    report = nothing_pruned(await events.readers())
    upto, stay = report.slowest.position, {*kept, *await _parked(stats)}
    while not report.is_over and report.segments != max_segments:
        segment = await events.compactable(
            report.last, before=before, limit=limit, upto=upto, kept=stay
        )
        if segment is None:
            break
        report = report.then(segment)
        if on_segment is not None:
            await on_segment(segment)
    return report


async def prune(
    events: PruneStore,
    *stats: StatsStore,
    before: datetime | None,
    limit: int = DEFAULT_SEGMENT,
    max_segments: int | None = None,
    kept: Collection[Position] = (),
    on_segment: Callable[[Segment], Awaitable[object]] | None = None,
    rest: timedelta = REST,
    wait: Callable[[float], Awaitable[object]] = sleep,
) -> PruneReport:
    """Make old events small that every reader of the log has read, segment by segment.

    Compacted events take their place: one for each skill, kind, hour and set of names of
    deltas. Ids stay known, and read, tally, rebuild and a projection that is declared years
    later come to the same numbers. What is lost are ids, notes and times of single events.

    It can be killed at any time, and started again; any number may run beside workers.

    Args:
        events: The log.
        stats: Stats that are folded from it. Their places are reported first, which matters
            where a worker was killed before it could, or has only read. Other readers are
            respected as well.
        before: Events that were recorded at this time or later stay, and what comes after
            the first of them; None: all that is read is made small. Clocks choose how much is
            made small, and nothing else.
        limit: How many events per segment, and so per transaction, at most. A reader that was
            not registered and stands inside of a segment is refused.
        max_segments: How many segments at most. None: any number.
        kept: Positions of events that stay as they are. So do those in the quarantines of
            *stats*.
        on_segment: Called after each segment. What it raises ends the prune; what was made
            small stays so.
        rest: How long to rest between two segments. A writer who waits for SQLite's lock is
            not in a queue: it looks every tenth of a second, and must find the lock free.
        wait: Waits for so many seconds.

    Raises:
        InvalidBoundError: If a bound is below 1, or *before* has no time zone.
        NoReadersError: If nobody is known to read the log.
        HistoryChangedError: If stats were not folded from this log.
        OpenTransactionError: If a connection is inside a transaction.
        StoreContractError: If the store does not go on from segment to segment, or a
            quarantine does not hold what its cursor says. Nothing more is made small.
        SkillstatError: As in ``PruneStore.compact``. Segments made before stay.
    """
    check_bounds(limit=limit, max_segments=max_segments)
    await _tell(events, stats)
    report = nothing_pruned(await events.readers())
    upto, stay = report.slowest.position, {*kept, *await _parked(stats)}
    while not report.is_over and report.segments != max_segments:
        if report.segments and rest:
            await wait(rest.total_seconds())
        segment = await events.compact(before=before, limit=limit, upto=upto, kept=stay)
        if segment is None:
            break
        report = report.then(segment)
        if on_segment is not None:
            await on_segment(segment)
    return report


async def _tell(events: PruneStore, stats: Sequence[StatsStore]) -> None:
    """Tell the log how far these stats have come."""
    known = await events.readers()
    for each in stats:
        cursor = await each.cursor()
        if is_behind(cursor, known):
            await events.register(reader_of(cursor))
        while cursor.place is not None:
            try:
                await events.report(reader_of(cursor), cursor.place)
                break
            except HistoryChangedError:  # another prune was quicker than this look at the cursor
                before, cursor = cursor, await each.cursor()
                if before.place == cursor.place:
                    raise


async def _parked(stats: Sequence[StatsStore]) -> frozenset[Position]:
    """Return where the events stand that lie in the quarantines of these stats.

    Asked after the place of the slowest reader: what of the events up to there is parked was so
    by then. What is parked while this looks is looked at again.

    Raises:
        StoreContractError: If a quarantine is not as much as its cursor says.
    """
    found: set[Position] = set()
    for each in stats:
        count, limit = (await each.cursor()).parked, 0
        while count > limit:
            limit = count
            quarantine = await each.quarantine(limit=limit)
            count = quarantine.cursor.parked
            if count <= limit:
                check_whole(quarantine)
            found.update(one.position for one in quarantine.events)
    return frozenset(found)

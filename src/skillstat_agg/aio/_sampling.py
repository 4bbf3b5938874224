"""The asynchronous twin of `skillstat_agg._sampling`; import from `skillstat_agg.aio` instead."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from skillstat_agg._buckets import Granularity
from skillstat_agg._commits import Cursor
from skillstat_agg._folding import DEFAULT_PAGE
from skillstat_agg._generations import MOST_DIFFERENCES
from skillstat_agg._pages import check_bounds
from skillstat_agg._projections import Projection
from skillstat_agg._quarantine import Uncountable
from skillstat_agg._sampling import SAMPLE, Sample, are_of_one_moment, read_up_to, sampled, unread
from skillstat_agg._stores import Rollups
from skillstat_agg._verifying import CATCH_UPS, VerifyReport, check_own_table, restless
from skillstat_agg.aio._folding import read_portion
from skillstat_agg.aio._rebuilding import check_same_log
from skillstat_agg.aio._stores import EventStore, StatsStore


async def verify_sample(
    events: EventStore,
    stats: StatsStore,
    *,
    size: int,
    seed: int = 0,
    page: int = DEFAULT_PAGE,
    limit: int = MOST_DIFFERENCES,
    on_progress: Callable[[int], Awaitable[object]] | None = None,
) -> VerifyReport:
    """Count some skills anew, up to the cursor, and compare all their numbers.

    It reads the whole log and writes nothing, so any role that reads can run it, and any stats
    store will do. Every skill of the log is as likely to be taken as any other; another *seed*
    takes others. Numbers of a skill that the log does not have are not found.

    Args:
        events: The log.
        stats: The stats of one projection.
        size: How many skills; all, where there are no more.
        seed: What decides which.
        page: How many events to read at once.
        limit: How many differences to list at most.
        on_progress: Called after each page with the number of events that were read.

    Raises:
        InvalidBoundError: If a bound is below 1.
        TableChangedError: If the numbers were made with another table than that of *stats*.
        HistoryChangedError: If the log is not the one that was folded.
        GenerationBehindError: If workers moved the cursor again and again.
        SkillstatError: As in `drain`.
    """
    check_bounds(size=size, page=page, limit=limit)
    projection, sample = stats.projection, Sample(size, seed)
    cursor = await check_same_log(events, stats)
    here = unread(cursor)
    for _ in range(CATCH_UPS):
        check_own_table(cursor, projection)
        here = await _scanned(events, projection, sample, here, cursor, page, on_progress)
        totals = await stats.totals(sample.skills)
        rollups: list[tuple[str, Granularity, Rollups]] = []
        for skill in sample.skills:
            for granularity in projection.granularities:
                found = await stats.rollups(skill, granularity)
                rollups.append((skill, granularity, found))
        # Asked last: what is forgotten by now has no numbers, whatever the log says.
        forgotten = await stats.forgotten(sample.skills)
        cursor = await stats.cursor()
        if are_of_one_moment(here, cursor, totals, rollups):
            return sampled(projection, sample, here, totals, rollups, forgotten, limit)
    raise restless(cursor, SAMPLE)


async def _scanned(
    events: EventStore,
    projection: Projection,
    sample: Sample,
    here: Cursor,
    cursor: Cursor,
    page: int,
    on_progress: Callable[[int], Awaitable[object]] | None,
) -> Cursor:
    """Read on up to *cursor*, and return the record of what was read."""
    while cursor.place is not None and here.place != cursor.place:
        portion = await read_portion(
            events, here, projection, page, None, Uncountable.PARK, cursor.place.position
        )
        if portion.page.place is None:
            break
        sample.add(portion.page.tally)
        here = read_up_to(here, portion.page)
        if on_progress is not None:
            await on_progress(here.count)
    return here

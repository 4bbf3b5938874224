"""The asynchronous twin of `skillstat_agg._folding`; import from `skillstat_agg.aio` instead."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from skillstat_agg._commits import Cursor, check_table
from skillstat_agg._folding import (
    DEFAULT_PAGE,
    FoldReport,
    commit_of,
    end,
    folded,
    lost_race,
    nothing_folded,
    start,
)
from skillstat_agg._pages import check_bounds, countable, countable_part
from skillstat_agg.aio._stores import EventStore, StatsStore
from skillstat_agg.errors import CursorConflictError


async def fold_page(
    events: EventStore,
    stats: StatsStore,
    *,
    page: int = DEFAULT_PAGE,
    max_skills: int | None = None,
    on_commit: Callable[[frozenset[str]], Awaitable[object]] | None = None,
) -> FoldReport:
    """Fold one page of events in one commit.

    Losing the race against another worker is an ordinary outcome: the report says
    ``conflicts=1``, nothing was written, and the next call reads anew.

    Args:
        events: The log.
        stats: The stats of one projection.
        page: How many events at most.
        max_skills: How many skills at most; never overshot. None: any number.
        on_commit: Called after the commit with the skills whose numbers changed, which
            may be none. What it raises ends the fold; the commit stays. It is not called
            again if the process dies first.

    Raises:
        InvalidBoundError: If a bound is below 1.
        UncountableEventError: If the table cannot count an event. Everything before it
            is committed and the cursor stands before it.
        UnreadableEventError: If somebody else wrote nonsense into the log. As before.
        TableChangedError: If the stats were made with a table that this one does not
            extend.
        HistoryChangedError: If the log is not the one that was folded so far.
        OpenTransactionError: If a connection is inside a transaction.
        OutOfRangeError: If a sum would leave signed 64 bits.
        StoreContractError: If a page breaks a law of its protocol.
    """
    check_bounds(page=page, max_skills=max_skills)
    return await _fold(events, stats, await stats.cursor(), page, max_skills, on_commit)


async def drain(
    events: EventStore,
    stats: StatsStore,
    *,
    page: int = DEFAULT_PAGE,
    max_events: int | None = None,
    max_skills: int | None = None,
    on_commit: Callable[[frozenset[str]], Awaitable[object]] | None = None,
) -> FoldReport:
    """Fold page after page until the frontier, or the bound, is reached.

    Any number of workers may drain at once; each event counts once. A drain that is
    killed has lost nothing and repeats nothing: start it again.

    Args:
        events: The log.
        stats: The stats of one projection.
        page: How many events per page, and so per commit, at most.
        max_events: How many events in all at most; never overshot. None: any number.
        max_skills: How many skills per commit at most; never overshot. None: any number.
        on_commit: Called after each commit, as in `fold_page`.

    Raises:
        SkillstatError: As in `fold_page`. Commits made before stay.
    """
    check_bounds(page=page, max_events=max_events, max_skills=max_skills)
    report = start(await stats.cursor())
    while not report.at_frontier and report.events != max_events:
        limit = page if max_events is None else min(page, max_events - report.events)
        report = report.then(await _fold(events, stats, report.after, limit, max_skills, on_commit))
    return end(report)


async def _fold(
    events: EventStore,
    stats: StatsStore,
    cursor: Cursor,
    limit: int,
    max_skills: int | None,
    on_commit: Callable[[frozenset[str]], Awaitable[object]] | None,
) -> FoldReport:
    """Fold one page after *cursor*, which may be out of date by now."""
    projection = stats.projection
    check_table(cursor, projection)
    tallied, fault = None, None
    tally = getattr(events, "tally", None)  # a `TallyStore`, be it behind a proxy
    if max_skills is None and tally is not None:
        tallied = countable(
            await tally(cursor.place, limit=limit, granularity=projection.finest),
            cursor,
            limit,
            projection,
        )
    if tallied is None:
        page = await events.read(cursor.place, limit=limit)
        tallied, fault = countable_part(page, cursor, limit, projection, max_skills)
    if tallied.place is None:
        return nothing_folded(cursor, at_frontier=True)
    try:
        result = await stats.commit(commit_of(cursor, tallied, tallied.place, projection))
    except CursorConflictError:
        return lost_race(cursor, await stats.cursor())
    if on_commit is not None:
        await on_commit(result.changed)
    if fault is not None:
        raise fault
    return folded(cursor, tallied, result)

"""The asynchronous twin of `skillstat_agg._folding`; import from `skillstat_agg.aio` instead."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import attrs

from skillstat_agg._commits import Cursor, check_table
from skillstat_agg._compacting import reader_of
from skillstat_agg._events import Position, RecordedEvent, events_in
from skillstat_agg._folding import (
    DEFAULT_PAGE,
    LOOK_SECONDS,
    FoldReport,
    commit_of,
    end,
    folded,
    half_of,
    is_divisible,
    lost_race,
    no_page,
    start,
    without_page,
)
from skillstat_agg._pages import (
    Portion,
    check_bounds,
    countable,
    countable_part,
    cut,
    cut_tally,
)
from skillstat_agg._projections import Projection
from skillstat_agg._quarantine import Uncountable, blaming, granularity_in, taught_by
from skillstat_agg.aio._stores import EventStore, StatsStore
from skillstat_agg.errors import (
    CursorConflictError,
    HistoryChangedError,
    OutOfRangeError,
    StoreBusyError,
)


async def fold_page(
    events: EventStore,
    stats: StatsStore,
    *,
    page: int = DEFAULT_PAGE,
    max_skills: int | None = None,
    uncountable: Uncountable = Uncountable.HALT,
    on_commit: Callable[[frozenset[str]], Awaitable[object]] | None = None,
) -> FoldReport:
    """Fold one page of events in one commit.

    Losing the race against another worker is an ordinary outcome: the report says
    ``conflicts=1``, nothing was written, and the next call reads anew. The first fold
    with a table that knows more kinds counts what lies in quarantine of those kinds in
    its commit, also where no event is new.

    Where the log keeps a list of its readers (`PruneStore`), the projection is registered
    before its first read and its place is reported after the commit.

    Args:
        events: The log.
        stats: The stats of one projection.
        page: How many events at most; a compacted event is one, whatever it stands for.
        max_skills: How many skills at most; never overshot by what is new. None: any number.
        uncountable: What to do with an event that the table cannot count.
        on_commit: Called after the commit with the skills whose numbers changed, which
            may be none. What it raises ends the fold; the commit stays. It is not called
            again if the process dies first.

    Raises:
        InvalidBoundError: If a bound is below 1.
        UncountableEventError: If the table cannot count an event, and such events are not
            parked. Everything before it is committed and the cursor stands before it.
        UnreadableEventError: If somebody else wrote nonsense into the log. As before.
        TableChangedError: If the stats were made with a table that this one does not
            extend.
        HistoryChangedError: If the log is not the one that was folded so far.
        OpenTransactionError: If a connection is inside a transaction.
        OutOfRangeError: If a sum would leave signed 64 bits with one event. The page was
            halved down to it, and everything before it is committed.
        StoreContractError: If a page, or a quarantine, breaks a law of its protocol.
    """
    check_bounds(page=page, max_skills=max_skills)
    cursor = await stats.cursor()
    await _register(events, cursor)
    report = await _fold(events, stats, cursor, page, max_skills, uncountable, on_commit)
    await _report(events, report)
    return report


async def drain(
    events: EventStore,
    stats: StatsStore,
    *,
    page: int = DEFAULT_PAGE,
    max_events: int | None = None,
    max_skills: int | None = None,
    uncountable: Uncountable = Uncountable.HALT,
    until: Position | None = None,
    on_commit: Callable[[frozenset[str]], Awaitable[object]] | None = None,
    wait: Callable[[float], Awaitable[bool]] | None = None,
) -> FoldReport:
    """Fold page after page until the frontier, or the bound, is reached.

    Any number of workers may drain at once; each event counts once. A drain that is
    killed has lost nothing and repeats nothing: start it again.

    Where the log keeps a list of its readers (`PruneStore`), the projection is registered
    before its first read and its place is reported at the end.

    Args:
        events: The log.
        stats: The stats of one projection.
        page: How many events per page, and so per commit, at most; a compacted event is
            one, whatever it stands for.
        max_events: How many events in all at most, counted in the same way; never
            overshot. None: any number.
        max_skills: How many skills per commit at most, as in `fold_page`. None: any number.
        uncountable: What to do with an event that the table cannot count.
        until: Fold as if the log ended with this position. None: to the frontier.
        on_commit: Called after each commit, as in `fold_page`.
        wait: Waits for so many seconds, or until this program is to stop, and returns
            whether it is: `threading.Event().wait` and `Stop.wait` do. With it the drain
            ends within one page when told to, and after a page that another worker won
            it only looks at the cursor, each second, until that stands still. None: it
            is not told, and reads on at once.

    Raises:
        SkillstatError: As in `fold_page`. Commits made before stay.
    """
    check_bounds(page=page, max_events=max_events, max_skills=max_skills)
    report = start(await stats.cursor())
    await _register(events, report.after)
    while not report.at_frontier and report.records != max_events:
        if wait is not None and await wait(0.0):
            break
        limit = page if max_events is None else min(page, max_events - report.records)
        step = await _fold(
            events, stats, report.after, limit, max_skills, uncountable, on_commit, until
        )
        report = report.then(step)
        if step.conflicts and wait is not None:
            report = attrs.evolve(report, after=await _at_rest(stats, report.after, wait))
    await _report(events, report)
    return end(report)


async def _fold(
    events: EventStore,
    stats: StatsStore,
    cursor: Cursor,
    limit: int,
    max_skills: int | None,
    uncountable: Uncountable,
    on_commit: Callable[[frozenset[str]], Awaitable[object]] | None,
    until: Position | None = None,
) -> FoldReport:
    """Fold one page after *cursor*, which may be out of date by now."""
    projection = stats.projection
    check_table(cursor, projection)
    taught: tuple[RecordedEvent, ...] = ()
    if cursor.parked and cursor.table != projection.table:
        quarantine = await stats.quarantine(limit=cursor.parked)
        if quarantine.cursor != cursor:
            return lost_race(cursor, quarantine.cursor)
        taught = taught_by(projection, quarantine)
    try:
        portion = await read_portion(
            events, cursor, projection, limit, max_skills, uncountable, until
        )
    except HistoryChangedError:
        current = await stats.cursor()
        if current.place == cursor.place:
            raise
        return lost_race(cursor, current)  # a prune came behind the worker who was first
    if portion.page.place is None and not taught:
        return no_page(cursor, portion)
    try:
        result = await stats.commit(commit_of(cursor, portion, taught, projection))
    except CursorConflictError:
        return lost_race(cursor, await stats.cursor())
    except OutOfRangeError as error:
        if taught and not is_divisible(limit, portion):
            return await _teach(stats, cursor, portion, taught, on_commit)
        half = half_of(limit, portion, error)
        return await _fold(events, stats, cursor, half, max_skills, uncountable, on_commit, until)
    if on_commit is not None:
        await on_commit(result.changed)
    if portion.fault is not None:
        raise portion.fault
    return folded(cursor, portion, events_in(taught), result)


async def _teach(
    stats: StatsStore,
    cursor: Cursor,
    portion: Portion,
    taught: Sequence[RecordedEvent],
    on_commit: Callable[[frozenset[str]], Awaitable[object]] | None,
) -> FoldReport:
    """Count what was taught by itself, since with the next event a sum leaves its range."""
    alone = without_page(portion)
    try:
        result = await stats.commit(commit_of(cursor, alone, taught, stats.projection))
    except CursorConflictError:
        return lost_race(cursor, await stats.cursor())
    except OutOfRangeError as error:
        totals = await stats.totals([error.skill_id])
        granularity = granularity_in(error)
        rollups = granularity and await stats.rollups(error.skill_id, granularity)
        raise blaming(error, taught, stats.projection, cursor.expired, totals, rollups) from error
    if on_commit is not None:
        await on_commit(result.changed)
    return folded(cursor, alone, events_in(taught), result)


async def _at_rest(
    stats: StatsStore, cursor: Cursor, wait: Callable[[float], Awaitable[bool]]
) -> Cursor:
    """Return the cursor when nobody moves it any more, or when this program is to stop."""
    while not await wait(LOOK_SECONDS):
        before, cursor = cursor, await stats.cursor()
        if cursor == before:
            break
    return cursor


async def read_portion(
    events: EventStore,
    cursor: Cursor,
    projection: Projection,
    limit: int,
    max_skills: int | None,
    uncountable: Uncountable,
    until: Position | None,
) -> Portion:
    """Return what one commit can take of the log after *cursor*."""
    tally = getattr(events, "tally", None)  # a `TallyStore`, be it behind a proxy
    if max_skills is None and tally is not None:
        page_tally = await tally(cursor.place, limit=limit, granularity=projection.finest)
        portion = countable(cut_tally(page_tally, until), cursor, limit, projection)
        if portion is not None:
            return portion
    page = cut(await events.read(cursor.place, limit=limit), until)
    return countable_part(page, cursor, limit, projection, max_skills, uncountable)


async def _register(events: EventStore, cursor: Cursor) -> None:
    """Tell a log that keeps a list of its readers that one begins at its start."""
    register = getattr(events, "register", None)  # a `PruneStore`, be it behind a proxy
    if register is not None and cursor.place is None:
        await register(reader_of(cursor))


async def _report(events: EventStore, report: FoldReport) -> None:
    """Tell a log that keeps a list of its readers how far one has come.

    What it is not told it learns later: a place that is too low is safe.
    """
    tell, place = getattr(events, "report", None), report.after.place
    if tell is not None and place is not None and place != report.before.place:
        # That a place is gone is told by the next read, if the cursor still stands there.
        with suppress(StoreBusyError, HistoryChangedError):
            await tell(reader_of(report.after), place)


async def retire_reader(events: EventStore, cursor: Cursor) -> None:
    """Tell a log that keeps a list of its readers that these numbers are not built any more."""
    retire = getattr(events, "retire", None)
    if retire is not None:
        with suppress(StoreBusyError):
            await retire(reader_of(cursor))

"""The asynchronous twin of `skillstat_agg._correcting`; import from `skillstat_agg.aio` instead."""

from __future__ import annotations

from asyncio import sleep
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from datetime import datetime, timedelta
from time import monotonic

from skillstat_agg._adjusting import check_correctable
from skillstat_agg._correcting import (
    Reconciliation,
    checked_numbers,
    differences,
    end_of,
    is_all_of,
    is_before,
    movers,
)
from skillstat_agg._events import Place, checked_skill_ids
from skillstat_agg._folding import DEFAULT_PAGE
from skillstat_agg._fresh import MOST_PENDING, FreshTotals, Seconds, checked_deadline
from skillstat_agg._pages import check_bounds
from skillstat_agg._projections import Projection
from skillstat_agg.aio._fresh import FreshLog, fresh_totals
from skillstat_agg.aio._stores import StatsStore
from skillstat_agg.errors import EventIdConflictError, HistoryChangedError


async def reconcile(
    events: FreshLog,
    stats: StatsStore,
    counter: str,
    source: Callable[[], Awaitable[Mapping[str, int]]],
    /,
    *,
    at: datetime,
    note: str = "reconciled",
    skill_ids: Iterable[str] | None = None,
    limit: int = MOST_PENDING,
    timeout: timedelta = timedelta(0),  # noqa: ASYNC109 - by the clock and the sleep given
    every: timedelta = timedelta(milliseconds=100),
    clock: Seconds = monotonic,
    sleep: Callable[[float], Awaitable[object]] = sleep,
) -> Reconciliation:
    """Hold a counter against the numbers it should have, and append what is missing.

    Numbers are read fresh, then the source, then the log again. A skill of which an event of
    the counter was committed meanwhile is left alone, since nobody can tell which of the two
    numbers has it; so is every skill as long as committed events wait beyond the frontier.
    What differs otherwise is appended as corrections, with ids that two runs at once, and a
    run that is repeated, share: a difference is never corrected twice. Where nothing differs
    nothing is written.

    Args:
        events: The log.
        stats: The stats of one projection, which `correctable` has made.
        counter: The counter.
        source: Returns the true number by skill; a skill that is not there has 0. It is called
            once, and must look at that moment, not into a cache, a replica or a snapshot that
            was begun before. What it looks at changes in the transaction that appends the
            event.
        at: When, for ``occurred_at`` of the corrections.
        note: Why, for their note.
        skill_ids: Which skills; None: all that have numbers, and all that the source has.
        limit: How many events to read at most, before and after the source.
        timeout: How long to wait until no event waits beyond the frontier.
        every: How long to sleep between two looks.
        clock: Gives the time in seconds.
        sleep: Sleeps so many seconds.

    Raises:
        InvalidProjectionError: If the projection knows no corrections of the counter.
        InvalidEventError: If what the source returns are no whole numbers by skill.
        SkillstatError: For the reasons that `fresh_totals` and ``append`` have.
    """
    check_correctable(stats.projection, counter)
    check_bounds(limit=limit)
    deadline = checked_deadline(clock(), timeout, every)
    wanted = None if skill_ids is None else checked_skill_ids(skill_ids)
    totals, parked = await _numbers(events, stats, wanted, limit)
    numbers = checked_numbers(await source())
    found = differences(totals, counter, numbers, wanted)
    moved = await _moved(events, stats.projection, counter, totals.freshness.place, limit)
    while found.by_skill and moved is None and (left := deadline - clock()) > 0:
        await sleep(min(left, every.total_seconds()))
        moved = await _moved(events, stats.projection, counter, totals.freshness.place, limit)
    gone = await stats.forgotten(found.by_skill)
    found = found.without(moved, parked, gone)
    while found.by_skill:
        try:
            await events.append(found.corrections(stats.projection, at, note))
        except EventIdConflictError as error:
            found = found.without_raced(error, stats.projection)
        else:
            break
    return found.outcome


async def _numbers(
    events: FreshLog, stats: StatsStore, wanted: Collection[str] | None, limit: int
) -> tuple[FreshTotals, frozenset[str]]:
    """Return fresh totals, and the skills of which an event lay in quarantine meanwhile."""
    while True:
        totals = await fresh_totals(events, stats, wanted, limit=limit)
        before = totals.freshness.cursor
        if before.parked == 0:
            return totals, frozenset()
        quarantine = await stats.quarantine(limit=before.parked + DEFAULT_PAGE)
        if is_all_of(quarantine, totals.freshness):
            return totals, frozenset(each.event.skill_id for each in quarantine.events)


async def _moved(
    events: FreshLog, projection: Projection, counter: str, place: Place | None, limit: int
) -> frozenset[str] | None:
    """Return the skills whose counter an event after *place* has moved, or may have.

    None: that cannot be said, since events wait beyond the frontier or are too many.
    """
    moved: set[str] = set()
    try:
        backlog = await events.lag(place, limit=limit)
        if backlog.waiting or backlog.events >= limit:
            return None
        while is_before(place, backlog):
            page = await events.read(place, limit=DEFAULT_PAGE)
            if not page.events:
                return None
            moved.update(movers(projection, counter, page.events))
            place = end_of(page)
    except HistoryChangedError:
        return None  # workers have passed the place, and it was pruned
    return frozenset(moved)

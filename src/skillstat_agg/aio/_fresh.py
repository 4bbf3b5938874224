"""The asynchronous twin of `skillstat_agg._fresh`; import from `skillstat_agg.aio` instead."""

from __future__ import annotations

from asyncio import sleep
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime, timedelta
from time import monotonic

from typing_extensions import Protocol

from skillstat_agg._buckets import Granularity, buckets_between
from skillstat_agg._commits import Cursor
from skillstat_agg._events import Position, check_skill_id, checked_skill_ids
from skillstat_agg._folding import DEFAULT_PAGE
from skillstat_agg._fresh import (
    MOST_PENDING,
    FreshRollups,
    FreshTotals,
    Seconds,
    Tail,
    checked_deadline,
    is_folded,
    rollups_with,
    totals_with,
)
from skillstat_agg._pages import check_bounds, countable, countable_part
from skillstat_agg._projections import Projection
from skillstat_agg._quarantine import Uncountable
from skillstat_agg.aio._stores import EventStore, LagStore, StatsStore
from skillstat_agg.errors import HistoryChangedError, UnreadableEventError


class FreshLog(EventStore, LagStore, Protocol):
    """A log that fresh reads are made from: an `EventStore` that is a `LagStore` too."""


async def fresh_totals(
    events: FreshLog,
    stats: StatsStore,
    skill_ids: Iterable[str] | None = None,
    /,
    *,
    limit: int = MOST_PENDING,
) -> FreshTotals:
    """Return the totals of these skills, or of all (None), as if everything were folded.

    To the stored totals comes what the events after their cursor add. So they are exact
    whatever workers do meanwhile, and nothing is written.

    Args:
        events: The log.
        stats: The stats of one projection.
        skill_ids: The skills; None: all.
        limit: How many pending events to add at most.

    Raises:
        InvalidEventError: If one cannot be the id of a skill, or a single string was given.
        InvalidBoundError: If *limit* is below 1.
        TableChangedError: If the numbers were made with a table of which neither extends
            the other.
        HistoryChangedError: If the log is not the one that was folded so far.
        OpenTransactionError: If a connection is inside a transaction.
        StoreContractError: If a page breaks a law of its protocol.
    """
    check_bounds(limit=limit)
    wanted = None if skill_ids is None else checked_skill_ids(skill_ids)
    while True:
        totals = await stats.totals(wanted)
        try:
            tail = await _tail(events, totals.cursor, stats.projection, wanted, limit)
        except HistoryChangedError:
            # A place that a worker has left meanwhile may be gone: it was pruned.
            if (await stats.cursor()).place == totals.cursor.place:
                raise
        else:
            # Asked last: what is forgotten by now must not come back with its events.
            gone = await stats.forgotten(tail.totals)
            return totals_with(totals, tail, gone, stats.projection)


async def fresh_rollups(
    events: FreshLog,
    stats: StatsStore,
    skill_id: str,
    granularity: Granularity,
    /,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = MOST_PENDING,
) -> FreshRollups:
    """Return the rollups of one skill, as if everything were folded.

    Args:
        events: The log.
        stats: The stats of one projection.
        skill_id: The skill.
        granularity: One of the projection's.
        since: The first bucket is the one that holds this time; None: the first there is.
        until: The last bucket begins before this time; None: the last there is.
        limit: How many pending events to add at most.

    Raises:
        InvalidEventError: If *skill_id* cannot be one.
        InvalidBoundError: If *limit* is below 1, or a time has no time zone.
        InvalidProjectionError: If the projection has no such granularity.
        SkillstatError: For the other reasons that `fresh_totals` has.
    """
    check_bounds(limit=limit)
    check_skill_id(skill_id)
    buckets = buckets_between(since, until, granularity)
    while True:
        rollups = await stats.rollups(skill_id, granularity, since=since, until=until)
        try:
            tail = await _tail(events, rollups.cursor, stats.projection, [skill_id], limit)
        except HistoryChangedError:
            # A place that a worker has left meanwhile may be gone: it was pruned.
            if (await stats.cursor()).place == rollups.cursor.place:
                raise
        else:
            # Asked last: what is forgotten by now must not come back with its events.
            gone = await stats.forgotten(tail.totals)
            return rollups_with(rollups, tail, gone, stats.projection, granularity, buckets)


async def _tail(
    events: FreshLog,
    cursor: Cursor,
    projection: Projection,
    wanted: Sequence[str] | None,
    limit: int,
) -> Tail:
    """Return what the events after *cursor* add, of skills that are wanted."""
    tail = Tail.at(cursor, projection, wanted, await events.lag(cursor.place, limit=1))
    tally = getattr(events, "tally", None)  # a `TallyStore`, be it behind a proxy
    while not tail.is_at_end and tail.events < limit:
        size = min(DEFAULT_PAGE, limit - tail.events)
        portion, finest = None, tail.table.finest
        if tally is not None:
            found = await tally(tail.place, limit=size, granularity=finest)
            portion = countable(found, tail.standing, size, tail.table)
        if portion is None:
            try:
                page = await events.read(tail.place, limit=size)
            except UnreadableEventError:
                break
            portion = countable_part(page, tail.standing, size, tail.table, None, Uncountable.HALT)
        if portion.page.place is None:
            break
        tail = tail.then(portion.page, portion.page.place)
    return tail


async def wait_until_folded(
    stats: StatsStore,
    position: Position | None,
    /,
    *,
    timeout: timedelta,  # noqa: ASYNC109 - by the clock and the sleep that are given
    every: timedelta = timedelta(milliseconds=100),
    clock: Seconds = monotonic,
    sleep: Callable[[float], Awaitable[object]] = sleep,
) -> bool:
    """Return whether a projection has folded the events up to a position, or does so in time.

    It asks for the cursor at once, then again and again, and at the deadline once more.

    Args:
        stats: The stats of the projection.
        position: What ``append`` returned with its events, once they are committed; None:
            there is nothing to wait for.
        timeout: How long to wait; zero: not at all.
        every: How long to sleep between two looks.
        clock: Gives the time in seconds.
        sleep: Sleeps so many seconds.

    Raises:
        InvalidBoundError: If *timeout* is below zero, or *every* is not above.
        OpenTransactionError: If the connection is inside a transaction.
    """
    deadline = checked_deadline(clock(), timeout, every)
    while not is_folded(await stats.cursor(), position):
        left = deadline - clock()
        if left <= 0:
            return False
        await sleep(min(left, every.total_seconds()))
    return True

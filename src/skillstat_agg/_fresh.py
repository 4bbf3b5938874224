"""Numbers as they will be once all is folded: stored plus pending; import from `skillstat_agg`.

`skillstat_agg.aio._fresh` is its twin for asynchronous stores: what calls a store stands there
again with ``await``. What calls none is here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from time import monotonic, sleep
from typing import TypeAlias, TypeVar

import attrs
from typing_extensions import Protocol

from skillstat_agg._buckets import Granularity, bucket_of, buckets_between, start_of
from skillstat_agg._commits import Cursor, check_readable
from skillstat_agg._deltas import Deltas, deltas_of
from skillstat_agg._events import Place, Position, check_skill_id, checked_skill_ids
from skillstat_agg._folding import DEFAULT_PAGE
from skillstat_agg._pages import (
    Backlog,
    TalliedPage,
    check_bounds,
    countable,
    countable_part,
)
from skillstat_agg._projections import Projection
from skillstat_agg._quarantine import Uncountable
from skillstat_agg._stores import Counters, EventStore, LagStore, Rollups, StatsStore, Totals
from skillstat_agg._tallies import Tally
from skillstat_agg.errors import (
    HistoryChangedError,
    InvalidBoundError,
    UnreadableEventError,
)

Key = TypeVar("Key")

MOST_PENDING = 100_000
"""How many pending events a fresh read adds at most, unless it is told."""

Seconds: TypeAlias = Callable[[], float]
"""A clock that never goes back, as ``time.monotonic``."""


class FreshLog(EventStore, LagStore, Protocol):
    """A log that fresh reads are made from: an `EventStore` that is a `LagStore` too."""


@attrs.frozen(kw_only=True)
class Freshness:
    """How fresh numbers are, and how they came to be.

    Attributes:
        cursor: The cursor of the snapshot that the stored numbers are from.
        place: How far the numbers go: they are those of all events up to here. None: there
            is no event.
        pending: How many events after the cursor were added.
        is_complete: Whether every event is in that was committed when the stored numbers
            had been read. It is not where there are more events than the limit, where an
            event cannot be counted, and where events wait beyond the frontier.
    """

    cursor: Cursor
    place: Place | None
    pending: int
    is_complete: bool


@attrs.frozen(eq=False)
class FreshTotals(Mapping[str, Counters]):
    """Signed totals by skill, stored plus pending.

    A mapping, equal to every mapping with the same sums. Skills without an event are
    absent. What people are shown is `shown` of a sum.

    Attributes:
        freshness: How far they go.
        by_skill: Sums by skill, in no particular order.
    """

    freshness: Freshness
    by_skill: Mapping[str, Counters]

    def __getitem__(self, skill_id: str) -> Counters:
        return self.by_skill[skill_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self.by_skill)

    def __len__(self) -> int:
        return len(self.by_skill)


@attrs.frozen(eq=False)
class FreshRollups(Mapping[datetime, Counters]):
    """Signed rollups of one skill by start of the bucket, stored plus pending.

    A mapping in the order of time, equal to every mapping with the same sums. A bucket
    whose columns are all zero may be absent.

    Attributes:
        freshness: How far they go.
        by_start: Sums by the UTC start of the bucket.
    """

    freshness: Freshness
    by_start: Mapping[datetime, Counters]

    def __getitem__(self, start: datetime) -> Counters:
        return self.by_start[start]

    def __iter__(self) -> Iterator[datetime]:
        return iter(self.by_start)

    def __len__(self) -> int:
        return len(self.by_start)


def fresh_totals(
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
        totals = stats.totals(wanted)
        try:
            tail = _tail(events, totals.cursor, stats.projection, wanted, limit)
        except HistoryChangedError:
            # A place that a worker has left meanwhile may be gone: it was pruned.
            if stats.cursor().place == totals.cursor.place:
                raise
        else:
            # Asked last: what is forgotten by now must not come back with its events.
            gone = stats.forgotten(tail.totals)
            return totals_with(totals, tail, gone, stats.projection)


def fresh_rollups(
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
        rollups = stats.rollups(skill_id, granularity, since=since, until=until)
        try:
            tail = _tail(events, rollups.cursor, stats.projection, [skill_id], limit)
        except HistoryChangedError:
            # A place that a worker has left meanwhile may be gone: it was pruned.
            if stats.cursor().place == rollups.cursor.place:
                raise
        else:
            # Asked last: what is forgotten by now must not come back with its events.
            gone = stats.forgotten(tail.totals)
            return rollups_with(rollups, tail, gone, stats.projection, granularity, buckets)


def _tail(
    events: FreshLog,
    cursor: Cursor,
    projection: Projection,
    wanted: Sequence[str] | None,
    limit: int,
) -> Tail:
    """Return what the events after *cursor* add, of skills that are wanted."""
    tail = Tail.at(cursor, projection, wanted, events.lag(cursor.place, limit=1))
    tally = getattr(events, "tally", None)  # a `TallyStore`, be it behind a proxy
    while not tail.is_at_end and tail.events < limit:
        size = min(DEFAULT_PAGE, limit - tail.events)
        portion, finest = None, tail.table.finest
        if tally is not None:
            found = tally(tail.place, limit=size, granularity=finest)
            portion = countable(found, tail.standing, size, tail.table)
        if portion is None:
            try:
                page = events.read(tail.place, limit=size)
            except UnreadableEventError:
                break
            portion = countable_part(page, tail.standing, size, tail.table, None, Uncountable.HALT)
        if portion.page.place is None:
            break
        tail = tail.then(portion.page, portion.page.place)
    return tail


def wait_until_folded(
    stats: StatsStore,
    position: Position | None,
    /,
    *,
    timeout: timedelta,
    every: timedelta = timedelta(milliseconds=100),
    clock: Seconds = monotonic,
    sleep: Callable[[float], object] = sleep,
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
    while not is_folded(stats.cursor(), position):
        left = deadline - clock()
        if left <= 0:
            return False
        sleep(min(left, every.total_seconds()))
    return True


# What calls no store


@attrs.frozen(kw_only=True)
class Tail:
    """What was read of the events after a cursor.

    Attributes:
        cursor: The cursor.
        table: The table that counts them: the newer one of the two, where a program with an
            older table reads, or one with a newer table that has not folded yet.
        wanted: The skills that are asked for; None: all.
        place: Up to where they were read.
        events: How many they are.
        totals: What they add to totals, by skill.
        rollups: What they add to rollups, by granularity, bucket and skill.
        end: Where to read to: the frontier at the beginning.
        is_whole: Whether nothing waited beyond it, nor lies in quarantine that the table
            can count now.
    """

    cursor: Cursor
    table: Projection
    wanted: Collection[str] | None
    place: Place | None
    events: int = 0
    totals: Mapping[str, tuple[int, ...]] = attrs.field(factory=dict)
    rollups: Mapping[Granularity, Mapping[tuple[int, str], tuple[int, ...]]] = attrs.field(
        factory=dict
    )
    end: Position | None
    is_whole: bool

    @classmethod
    def at(
        cls,
        cursor: Cursor,
        projection: Projection,
        wanted: Collection[str] | None,
        backlog: Backlog,
    ) -> Tail:
        """Return the tail of which nothing was read yet."""
        stored = check_readable(cursor, projection)
        extends = projection.difference_from(stored) is None
        takes_over = extends and projection.table != cursor.table
        return cls(
            cursor=cursor,
            table=projection if extends else stored,
            wanted=None if wanted is None else frozenset(wanted),
            place=cursor.place,
            end=backlog.frontier,
            is_whole=backlog.waiting == 0 and not (takes_over and cursor.parked),
        )

    @property
    def is_at_end(self) -> bool:
        """Whether everything was read that could be read at the beginning."""
        return self.end is None or (self.place is not None and self.place.position >= self.end)

    @property
    def standing(self) -> Cursor:
        """The cursor as if it stood where the tail ends."""
        return attrs.evolve(self.cursor, place=self.place)

    @property
    def freshness(self) -> Freshness:
        """What is told of it."""
        return Freshness(
            cursor=self.cursor,
            place=self.place,
            pending=self.events,
            is_complete=self.is_at_end and self.is_whole,
        )

    def then(self, page: TalliedPage, place: Place) -> Tail:
        """Return the tail after one more page, which ends at *place*."""
        deltas = self._wanted(page.tally)
        totals, rollups = dict(self.totals), {**self.rollups}
        _add(totals, deltas.totals)
        for each, rows in deltas.rollups.items():
            cells = rollups[each] = dict(rollups.get(each, {}))
            _add(cells, rows)
        return attrs.evolve(
            self, place=place, events=self.events + page.count, totals=totals, rollups=rollups
        )

    def _wanted(self, tally: Tally) -> Deltas:
        """Return what a tally adds to the skills that are asked for."""
        wanted = self.wanted
        if wanted is not None:
            tally = Tally(
                tally.granularity,
                {cell: count for cell, count in tally.counts.items() if cell[0] in wanted},
                {key: part for key, part in tally.carried.items() if key[0] in wanted},
            )
        return deltas_of(self.table, tally, self.cursor.expired)


def _add(sums: dict[Key, tuple[int, ...]], rows: Mapping[Key, tuple[int, ...]]) -> None:
    for key, row in rows.items():
        before = sums.get(key)
        sums[key] = row if before is None else tuple(map(sum, zip(before, row, strict=True)))


def totals_with(
    totals: Totals, tail: Tail, gone: Collection[str], projection: Projection
) -> FreshTotals:
    """Return stored totals with what a tail adds, and without skills that are forgotten."""
    pick = _picked(projection.counters, tail.table.counters)
    by_skill = {skill: row for skill, row in totals.items() if skill not in gone}
    for skill, added in tail.totals.items():
        if skill not in gone:
            by_skill[skill] = _plus(by_skill.get(skill, {}), pick(added))
    return FreshTotals(tail.freshness, by_skill)


def rollups_with(
    rollups: Rollups,
    tail: Tail,
    gone: Collection[str],
    projection: Projection,
    granularity: Granularity,
    buckets: range,
) -> FreshRollups:
    """Return stored rollups with what a tail adds to these buckets, or nothing if forgotten."""
    if gone:
        return FreshRollups(tail.freshness, {})
    pick = _picked(projection.columns, tail.table.columns)
    by_start = dict(rollups)
    for (bucket, _), added in tail.rollups.get(granularity, {}).items():
        if bucket in buckets:
            start = start_of(bucket, granularity)
            by_start[start] = _plus(by_start.get(start, {}), pick(added))
    return FreshRollups(
        tail.freshness,
        dict(sorted(by_start.items(), key=lambda row: bucket_of(row[0], granularity))),
    )


def _picked(names: Sequence[str], columns: Sequence[str]) -> Callable[[tuple[int, ...]], Counters]:
    """Return what takes the values of *names* out of a row of *columns*, by name."""
    index = {name: columns.index(name) for name in names if name in columns}
    return lambda row: {name: row[index[name]] if name in index else 0 for name in names}


def _plus(sums: Counters, added: Counters) -> Counters:
    return {name: sums.get(name, 0) + amount for name, amount in added.items()}


def is_folded(cursor: Cursor, position: Position | None) -> bool:
    """Return whether a cursor stands at or after a position."""
    return position is None or (cursor.place is not None and cursor.place.position >= position)


def checked_deadline(now: float, timeout: timedelta, every: timedelta) -> float:
    """Return when to give up, in seconds of the clock that says *now*.

    Raises:
        InvalidBoundError: If *timeout* is below zero, or *every* is not above.
    """
    if not isinstance(timeout, timedelta) or timeout < timedelta(0):
        raise InvalidBoundError("timeout", repr(timeout), "a timedelta of zero or more")
    if not isinstance(every, timedelta) or every <= timedelta(0):
        raise InvalidBoundError("every", repr(every), "a timedelta above zero")
    return now + timeout.total_seconds()

"""A log and stats in memory: for tests, and as the shortest text of the contract.

Allocation and visibility are kept apart, as in a database: an append can be held open,
committed late or rolled back, and later appends may become visible before it.
"""

from __future__ import annotations

import random
import threading
import uuid
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import attrs

from skillstat_agg._appending import checked_events, content_digests, unseen_events
from skillstat_agg._buckets import Granularity, buckets_between, microseconds, start_of
from skillstat_agg._commits import Commit, CommitResult, Cursor, check_readable
from skillstat_agg._events import (
    MAX_INTEGER,
    MIN_INTEGER,
    Event,
    Place,
    Position,
    RecordedEvent,
    check_skill_id,
    checked_skill_ids,
)
from skillstat_agg._pages import Page, check_bounds
from skillstat_agg._projections import Projection
from skillstat_agg._stores import DAY_AHEAD, Appended, Counters, Rollups, Totals
from skillstat_agg.backends._clocks import Clock, utc_now
from skillstat_agg.errors import (
    CursorConflictError,
    HistoryChangedError,
    OutOfRangeError,
    StoreBusyError,
    StoreUnavailableError,
)


class OpenAppend:
    """An append whose events have positions and are not visible yet.

    Made by ``MemoryEventStore.begin``; over with `commit` or `rollback`.
    """

    def __init__(self, log: MemoryEventStore) -> None:
        self._log = log
        self._events: list[RecordedEvent] = []
        self._digests: dict[str, bytes] = {}

    def append(self, events: Iterable[Event], /, *, max_ahead: timedelta = DAY_AHEAD) -> Appended:
        """Give *events* their positions; they stay unseen until `commit`.

        Raises:
            StoreBusyError: If an id is held by another append that is still open: its
                fate is not known, and this store does not wait.
            InvalidEventError, UncountableEventError, EventIdConflictError: As in
                ``EventStore.append``.
        """
        return self._log._allocate(self, events, max_ahead)

    def commit(self) -> None:
        """Make the events visible."""
        self._log._finish(self, self._events, self._digests)

    def rollback(self) -> None:
        """Drop the events; their positions are never given again."""
        self._log._finish(self, (), {})


def _position(recorded: RecordedEvent) -> Position:
    return recorded.position


class MemoryEventStore:
    """An event store in memory, for any number of threads.

    Positions are ``(max(last tick, clock in microseconds), tie)``: tied times are a real
    case, and a clock that steps back does no harm.

    Args:
        clock: Gives ``recorded_at`` and the tick.
        projections: The tables that must be able to count what is appended.
    """

    def __init__(self, *, clock: Clock = utc_now, projections: Iterable[Projection] = ()) -> None:
        self._clock = clock
        self._projections = tuple(projections)
        self._epoch = uuid.uuid4().hex
        self._random = random.SystemRandom()
        self._lock = threading.RLock()
        self._last = (0, -1)
        self._visible: list[RecordedEvent] = []
        self._digests: dict[str, bytes] = {}
        self._open: list[OpenAppend] = []

    def begin(self) -> OpenAppend:
        """Return an append that is held open until it is committed or rolled back."""
        with self._lock:
            self._open.append(OpenAppend(self))
            return self._open[-1]

    def append(self, events: Iterable[Event], /, *, max_ahead: timedelta = DAY_AHEAD) -> Appended:
        """Store *events*: see ``EventStore.append``."""
        given = tuple(events)
        with self._lock:
            opened = self.begin()
            try:
                appended = opened.append(given, max_ahead=max_ahead)
            except BaseException:
                opened.rollback()
                raise
            opened.commit()
            return appended

    def read(self, after: Place | None, /, *, limit: int) -> Page:
        """Return the page after *after*: see ``EventStore.read``."""
        check_bounds(limit=limit)
        with self._lock:
            self._check_same_log(after)
            start = 0 if after is None else self._index_after(after.position)
            end = self._end_of_prefix()
            events = tuple(self._visible[start : min(start + limit, end)])
            return Page(
                epoch=self._epoch,
                events=events,
                frontier=self._visible[end - 1].position if end else None,
                is_last=start + len(events) >= end,
            )

    def _index_after(self, position: Position) -> int:
        return bisect_right(self._visible, position, key=_position)

    def _end_of_prefix(self) -> int:
        """Return how many visible events lie before every open append."""
        firsts = [opened._events[0].position for opened in self._open if opened._events]
        if not firsts:
            return len(self._visible)
        return bisect_left(self._visible, min(firsts), key=_position)

    def _check_same_log(self, place: Place | None) -> None:
        if place is None:
            return
        if place.epoch != self._epoch:
            raise HistoryChangedError(f"epoch {self._epoch} instead of {place.epoch}")
        index = self._index_after(place.position) - 1
        found = self._visible[index] if index >= 0 else None
        if (
            found is None
            or found.position != place.position
            or found.fingerprint != place.fingerprint
        ):
            raise HistoryChangedError(f"another event, or none, stands at {place.position}")

    def _allocate(
        self, opened: OpenAppend, events: Iterable[Event], max_ahead: timedelta
    ) -> Appended:
        self._check_open(opened)
        now = self._clock()
        given = checked_events(events, now=now, max_ahead=max_ahead, projections=self._projections)
        with self._lock:
            ids = content_digests(given)
            for other in self._open:
                if other is not opened and not ids.keys().isdisjoint(other._digests):
                    raise StoreBusyError("an event id is held by an append that is still open")
            known = {
                key: digests_of[key]
                for digests_of in (self._digests, opened._digests)
                for key in ids.keys() & digests_of.keys()
            }
            fresh = unseen_events(given, ids, known)
            for event in fresh:
                opened._events.append(
                    RecordedEvent(
                        position=self._next_position(now),
                        event=event,
                        recorded_at=now,
                        fingerprint=self._random.getrandbits(32),
                    )
                )
            opened._digests.update(ids)
            return Appended(new=len(fresh), position=Position(self._last) if given else None)

    def _check_open(self, opened: OpenAppend) -> None:
        if opened not in self._open:
            raise StoreUnavailableError("this append is over: begin another one")

    def _next_position(self, now: datetime) -> Position:
        tick, tie = self._last
        time = microseconds(now)
        self._last = (time, 0) if time > tick else (tick, tie + 1)
        return Position(self._last)

    def _finish(
        self, opened: OpenAppend, events: Sequence[RecordedEvent], ids: Mapping[str, bytes]
    ) -> None:
        with self._lock:
            self._check_open(opened)
            self._open.remove(opened)
            if events:
                index = self._index_after(events[0].position)
                later = self._visible[index:]
                self._visible[index:] = sorted([*events, *later], key=_position)
            self._digests.update(ids)


@attrs.frozen
class _Stats:
    """The stored numbers of one projection: replaced as a whole, so never seen in part."""

    cursor: Cursor
    totals: Mapping[str, Counters]
    rollups: Mapping[Granularity, Mapping[tuple[int, str], Counters]]


class MemoryDatabase:
    """Where the stats of one or several projections live together.

    Forgotten skills belong to it, not to a projection.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._stats: dict[str, _Stats] = {}
        self._forgotten: frozenset[str] = frozenset()


class MemoryStatsStore:
    """A stats store in memory, for any number of threads.

    Args:
        projection: The projection whose stats these are.
        database: Where they live; None: alone in a new one.
        clock: Gives ``updated_at``.
    """

    def __init__(
        self,
        projection: Projection,
        database: MemoryDatabase | None = None,
        *,
        clock: Clock = utc_now,
    ) -> None:
        self._projection = projection
        self._database = MemoryDatabase() if database is None else database
        self._clock = clock
        start = _Stats(
            Cursor.start(projection, clock()),
            {},
            {granularity: {} for granularity in projection.granularities},
        )
        with self._database._lock:
            self._database._stats.setdefault(projection.name, start)

    @property
    def projection(self) -> Projection:
        """The projection whose stats these are."""
        return self._projection

    def cursor(self) -> Cursor:
        """Return the stored cursor record: see ``StatsStore.cursor``."""
        return self._stats().cursor

    def commit(self, commit: Commit, /) -> CommitResult:
        """Add the deltas and store the cursor: see ``StatsStore.commit``."""
        with self._database._lock:
            stats = self._stats()
            if stats.cursor != commit.expected:
                raise CursorConflictError(self._projection.name)
            forgotten = self._database._forgotten & commit.deltas.totals.keys()
            applied = commit.deltas.without(forgotten)
            totals = {
                skill: self._sum(
                    stats.totals.get(skill, {}), row, commit.projection.counters, skill
                )
                for skill, row in applied.totals.items()
                if any(row) or skill not in stats.totals
            }
            rollups = {
                each: {
                    key: self._sum(
                        stats.rollups[each].get(key, {}),
                        row,
                        commit.projection.columns,
                        key[1],
                        f"{each.value}.",
                    )
                    for key, row in rows.items()
                }
                for each, rows in applied.rollups.items()
            }
            cursor = commit.cursor(applied, self._clock())
            self._database._stats[self._projection.name] = _Stats(
                cursor,
                {**stats.totals, **totals},
                {each: {**rows, **rollups[each]} for each, rows in stats.rollups.items()},
            )
            return CommitResult(
                cursor=cursor,
                rows=len(totals) + sum(map(len, rollups.values())),
                forgotten=sum(commit.deltas.events[skill] for skill in forgotten),
                changed=frozenset(totals).union(
                    *({skill for _, skill in rows} for rows in rollups.values())
                ),
            )

    def totals(self, skill_ids: Iterable[str] | None = None, /) -> Totals:
        """Return the totals of these skills, or of all: see ``StatsStore.totals``."""
        stats = self._stats()
        check_readable(stats.cursor, self._projection)
        wanted = stats.totals if skill_ids is None else checked_skill_ids(skill_ids)
        counters = self._projection.counters
        return Totals(
            stats.cursor,
            {
                skill: _filled(counters, stats.totals[skill])
                for skill in wanted
                if skill in stats.totals
            },
        )

    def rollups(
        self,
        skill_id: str,
        granularity: Granularity,
        /,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Rollups:
        """Return the rollups of one skill: see ``StatsStore.rollups``."""
        check_skill_id(skill_id)
        self._projection.check_granularity(granularity)
        stats = self._stats()
        check_readable(stats.cursor, self._projection)
        buckets = buckets_between(since, until, granularity)
        columns = self._projection.columns
        return Rollups(
            stats.cursor,
            {
                start_of(bucket, granularity): _filled(columns, row)
                for (bucket, skill), row in sorted(
                    stats.rollups[granularity].items(), key=lambda item: item[0]
                )
                if skill == skill_id and bucket in buckets
            },
        )

    def forget(self, skill_id: str, /) -> bool:
        """Drop a skill for good: see ``StatsStore.forget``."""
        check_skill_id(skill_id)
        with self._database._lock:
            if skill_id in self._database._forgotten:
                return False
            now = self._clock()
            self._database._forgotten |= {skill_id}
            for name, stats in self._database._stats.items():
                self._database._stats[name] = _without(stats, skill_id, now)
            return True

    def _stats(self) -> _Stats:
        return self._database._stats[self._projection.name]

    def _sum(
        self,
        before: Counters,
        row: tuple[int, ...],
        names: tuple[str, ...],
        skill_id: str,
        prefix: str = "",
    ) -> Counters:
        sums = {name: before.get(name, 0) + amount for name, amount in zip(names, row, strict=True)}
        for name, value in sums.items():
            if not MIN_INTEGER <= value <= MAX_INTEGER:
                raise OutOfRangeError(self._projection.name, skill_id, prefix + name)
        return sums


def _filled(names: tuple[str, ...], row: Counters) -> Counters:
    """Return *row* with zeros for what was not counted yet when it was written."""
    return {name: row.get(name, 0) for name in names}


def _without(stats: _Stats, skill_id: str, at: datetime) -> _Stats:
    """Return *stats* after a skill was forgotten."""
    controls = dict(stats.cursor.controls)
    for name, value in stats.totals.get(skill_id, {}).items():
        controls[name] -= value
    rollups: dict[Granularity, Mapping[tuple[int, str], Counters]] = {}
    for each, rows in stats.rollups.items():
        rollups[each] = {key: row for key, row in rows.items() if key[1] != skill_id}
        for key in rows.keys() - rollups[each].keys():
            for name, value in rows[key].items():
                controls[f"{each.value}.{name}"] -= value
    return _Stats(
        attrs.evolve(
            stats.cursor, controls=controls, revision=stats.cursor.revision + 1, updated_at=at
        ),
        {skill: row for skill, row in stats.totals.items() if skill != skill_id},
        rollups,
    )

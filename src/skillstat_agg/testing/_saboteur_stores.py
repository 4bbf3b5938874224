"""The stores that saboteurs make of an author's own; see `_saboteurs` for what they stand for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta

import attrs

from skillstat_agg import aio
from skillstat_agg._buckets import Granularity
from skillstat_agg._commits import Commit, CommitResult, Cursor
from skillstat_agg._deltas import Deltas
from skillstat_agg._events import Event, Place
from skillstat_agg._pages import Page
from skillstat_agg._projections import SKILL_STATS
from skillstat_agg._stores import DAY_AHEAD, Appended, Expired, Totals
from skillstat_agg.errors import (
    CursorConflictError,
    EventIdConflictError,
    HistoryChangedError,
    OutOfRangeError,
)
from skillstat_agg.testing._harness import AsyncOpenAppend
from skillstat_agg.testing._sabotage import AppendPassed, EventsPassed, StatsPassed

# Commits


class ComparesBlindly(StatsPassed):
    async def commit(self, commit: Commit, /) -> CommitResult:
        try:
            return await self.store.commit(commit)
        except CursorConflictError:
            stored = await self.store.cursor()
            return await self.store.commit(attrs.evolve(commit, expected=stored))


class SwallowsConflicts(StatsPassed):
    async def commit(self, commit: Commit, /) -> CommitResult:
        try:
            return await self.store.commit(commit)
        except CursorConflictError:
            return _nothing_done(await self.store.cursor())


class SwallowsRange(StatsPassed):
    async def commit(self, commit: Commit, /) -> CommitResult:
        try:
            return await self.store.commit(commit)
        except OutOfRangeError:
            nothing = Deltas({}, {}, {each: {} for each in commit.deltas.rollups})
            return await self.store.commit(attrs.evolve(commit, deltas=nothing))


class LosesCommits(StatsPassed):
    async def commit(self, commit: Commit, /) -> CommitResult:
        stored = await self.store.cursor()
        if stored != commit.expected:
            raise CursorConflictError(commit.expected.projection)
        return _nothing_done(commit.cursor(stored.updated_at))


class ChangesDeltas(StatsPassed):
    async def commit(self, commit: Commit, /) -> CommitResult:
        return await self.store.commit(attrs.evolve(commit, deltas=self.changed(commit.deltas)))

    def changed(self, deltas: Deltas) -> Deltas:
        raise NotImplementedError


class RepeatsDeltas(ChangesDeltas):
    def changed(self, deltas: Deltas) -> Deltas:
        return _each(deltas, lambda row: tuple(2 * amount for amount in row))


class ClampsDeltas(ChangesDeltas):
    def changed(self, deltas: Deltas) -> Deltas:
        return _each(deltas, lambda row: tuple(max(0, amount) for amount in row))


class LosesRollups(ChangesDeltas):
    def changed(self, deltas: Deltas) -> Deltas:
        return attrs.evolve(deltas, rollups={each: {} for each in deltas.rollups})


class LosesLastSkill(ChangesDeltas):
    def changed(self, deltas: Deltas) -> Deltas:
        return deltas.without(frozenset(list(deltas.totals)[1:][-1:]))


class LosesParked(StatsPassed):
    async def commit(self, commit: Commit, /) -> CommitResult:
        return await self.store.commit(attrs.evolve(commit, parked=()))


class HidesChanges(StatsPassed):
    async def commit(self, commit: Commit, /) -> CommitResult:
        return attrs.evolve(await self.store.commit(commit), changed=frozenset())


# The rest of the stats


class RemembersCursor(StatsPassed):
    _first: Cursor | None = None

    async def cursor(self) -> Cursor:
        if self._first is None:
            self._first = await self.store.cursor()
        return self._first


class ClampsTotals(StatsPassed):
    async def totals(self, skill_ids: Iterable[str] | None = None, /) -> Totals:
        totals = await self.store.totals(skill_ids)
        return Totals(
            totals.cursor,
            {
                skill: {name: max(0, value) for name, value in row.items()}
                for skill, row in totals.items()
            },
        )


class ForgetsNothing(StatsPassed):
    async def forget(self, _skill_id: str, /) -> bool:
        return True


class ExpiresNothing(StatsPassed):
    async def expire(self, _granularity: Granularity, _first: int, /, *, limit: int) -> Expired:  # noqa: ARG002
        return Expired(cursor=await self.store.cursor(), rows=0, is_last=True)


# The log


class DropsFirst(EventsPassed):
    async def read(self, after: Place | None, /, *, limit: int) -> Page:
        page = await self.store.read(after, limit=limit)
        return attrs.evolve(page, events=page.events[1:]) if len(page.events) > 1 else page


class SaysLast(EventsPassed):
    async def read(self, after: Place | None, /, *, limit: int) -> Page:
        return attrs.evolve(await self.store.read(after, limit=limit), is_last=True)


class BeginsAnew(EventsPassed):
    async def read(self, after: Place | None, /, *, limit: int) -> Page:
        try:
            return await self.store.read(after, limit=limit)
        except HistoryChangedError:
            return await self.store.read(None, limit=limit)


class SkipsUnknownKinds(EventsPassed):
    async def read(self, after: Place | None, /, *, limit: int) -> Page:
        page = await self.store.read(after, limit=limit)
        known = tuple(each for each in page.events if each.event.kind in SKILL_STATS.kinds)
        return attrs.evolve(page, events=known, is_last=page.is_last or not known)


class CountsWhenRecorded(EventsPassed):
    async def read(self, after: Place | None, /, *, limit: int) -> Page:
        page = await self.store.read(after, limit=limit)
        return attrs.evolve(
            page,
            events=tuple(
                attrs.evolve(each, event=attrs.evolve(each.event, occurred_at=each.recorded_at))
                for each in page.events
            ),
        )


class TakesAnyTime(EventsPassed):
    async def append(
        self,
        events: Iterable[Event],
        /,
        *,
        max_ahead: timedelta = DAY_AHEAD,  # noqa: ARG002 - which is the mistake
    ) -> Appended:
        return await self.store.append(events, max_ahead=timedelta.max)


class SwallowsIdConflicts(EventsPassed):
    async def append(
        self, events: Iterable[Event], /, *, max_ahead: timedelta = DAY_AHEAD
    ) -> Appended:
        given = tuple(events)
        try:
            return await self.store.append(given, max_ahead=max_ahead)
        except EventIdConflictError:
            return Appended(new=0, position=None)


class ChangesEvents(EventsPassed):
    def __init__(self, store: aio.EventStore, change: Callable[[Event], Event]) -> None:
        super().__init__(store)
        self._change = change

    async def append(
        self, events: Iterable[Event], /, *, max_ahead: timedelta = DAY_AHEAD
    ) -> Appended:
        return await self.store.append(tuple(map(self._change, events)), max_ahead=max_ahead)


class ChangesHeldEvents(AppendPassed):
    def __init__(self, opened: AsyncOpenAppend, change: Callable[[Event], Event]) -> None:
        super().__init__(opened)
        self._change = change

    async def append(self, events: Iterable[Event], /) -> Appended:
        return await self.opened.append(tuple(map(self._change, events)))


class CommitsAlways(AppendPassed):
    async def rollback(self) -> object:
        return await self.opened.commit()


class CommitsNever(AppendPassed):
    async def commit(self) -> object:
        return await self.opened.rollback()


def _nothing_done(cursor: Cursor) -> CommitResult:
    return CommitResult(cursor=cursor, rows=0, forgotten=0, changed=frozenset())


def _each(deltas: Deltas, change: Callable[[tuple[int, ...]], tuple[int, ...]]) -> Deltas:
    """Return the deltas with every row changed."""
    return attrs.evolve(
        deltas,
        totals={skill: change(row) for skill, row in deltas.totals.items()},
        rollups={
            each: {key: change(row) for key, row in rows.items()}
            for each, rows in deltas.rollups.items()
        },
    )


def without_id(event: Event) -> Event:
    return attrs.evolve(event, event_id=None)


def in_lower_case(event: Event) -> Event:
    return attrs.evolve(event, skill_id=event.skill_id.lower())


def to_the_second(event: Event) -> Event:
    return attrs.evolve(event, occurred_at=event.occurred_at.replace(microsecond=0))

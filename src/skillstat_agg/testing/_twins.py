"""Synchronous stores behind coroutines, which give way before each call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import attrs

from skillstat_agg._badges import Badge, BadgeMap, BadgeStore
from skillstat_agg._boards import BoardRead, BoardStore, Publication
from skillstat_agg._buckets import Granularity
from skillstat_agg._commits import Commit, CommitResult, Cursor
from skillstat_agg._events import Event, Place
from skillstat_agg._generations import (
    Comparison,
    Extent,
    ExtentStore,
    GenerationStore,
    Sums,
    SumStore,
)
from skillstat_agg._leaderboards import Order, Ranked, RankStore
from skillstat_agg._notes import Note
from skillstat_agg._pages import Backlog, Page, TalliedPage
from skillstat_agg._projections import Projection
from skillstat_agg._quarantine import Quarantine
from skillstat_agg._ranges import Buckets
from skillstat_agg._series import RollupsOf, SeriesStore
from skillstat_agg._stores import (
    DAY_AHEAD,
    Appended,
    EventStore,
    Expired,
    LagStore,
    NoteStore,
    RetentionStore,
    Rollups,
    StatsStore,
    TallyStore,
    Totals,
)
from skillstat_agg.testing._harness import OpenAppend


@attrs.frozen
class AsyncEvents:
    """An event store whose methods are coroutines that let the loop go on first."""

    store: EventStore

    async def append(
        self, events: Iterable[Event], /, *, max_ahead: timedelta = DAY_AHEAD
    ) -> Appended:
        await asyncio.sleep(0)
        return self.store.append(events, max_ahead=max_ahead)

    async def read(self, after: Place | None, /, *, limit: int) -> Page:
        await asyncio.sleep(0)
        return self.store.read(after, limit=limit)

    async def lag(self, after: Place | None, /, *, limit: int) -> Backlog:
        assert isinstance(self.store, LagStore)
        await asyncio.sleep(0)
        return self.store.lag(after, limit=limit)

    async def extent(self, upto: Place, /) -> Extent:
        assert isinstance(self.store, ExtentStore)
        await asyncio.sleep(0)
        return self.store.extent(upto)

    def __getattr__(self, name: str) -> Any:
        """Return a method of a further protocol of the store, such as `PruneStore`."""
        if name.startswith("_") or name == "tally":
            raise AttributeError(name)
        return partial(_awaited, getattr(self.store, name))


async def _awaited(method: Callable[..., Any], *given: Any, **named: Any) -> Any:
    await asyncio.sleep(0)
    return method(*given, **named)


class AsyncTallies(AsyncEvents):
    """The same for a store with a tally of its own."""

    async def tally(
        self, after: Place | None, /, *, limit: int, granularity: Granularity
    ) -> TalliedPage | None:
        assert isinstance(self.store, TallyStore)
        await asyncio.sleep(0)
        return self.store.tally(after, limit=limit, granularity=granularity)


def behind_coroutines(store: EventStore) -> AsyncEvents:
    """Return *store* behind coroutines, with its own tally where it has one."""
    return AsyncTallies(store) if isinstance(store, TallyStore) else AsyncEvents(store)


@attrs.frozen
class AsyncStats:
    """A stats store whose methods are coroutines that let the loop go on first."""

    store: StatsStore

    @property
    def projection(self) -> Projection:
        return self.store.projection

    async def cursor(self) -> Cursor:
        await asyncio.sleep(0)
        return self.store.cursor()

    async def commit(self, commit: Commit, /) -> CommitResult:
        await asyncio.sleep(0)
        return self.store.commit(commit)

    async def totals(self, skill_ids: Iterable[str] | None = None, /) -> Totals:
        await asyncio.sleep(0)
        return self.store.totals(skill_ids)

    async def rollups(
        self,
        skill_id: str,
        granularity: Granularity,
        /,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Rollups:
        await asyncio.sleep(0)
        return self.store.rollups(skill_id, granularity, since=since, until=until)

    async def quarantine(self, *, limit: int) -> Quarantine:
        await asyncio.sleep(0)
        return self.store.quarantine(limit=limit)

    async def forget(self, skill_id: str, /) -> bool:
        await asyncio.sleep(0)
        return self.store.forget(skill_id)

    async def sums(self) -> Sums:
        assert isinstance(self.store, SumStore)
        await asyncio.sleep(0)
        return self.store.sums()

    async def building(self, name: str, /) -> AsyncStats:
        assert isinstance(self.store, GenerationStore)
        await asyncio.sleep(0)
        return AsyncStats(self.store.building(name))

    async def swap(self, name: str, /) -> Cursor:
        assert isinstance(self.store, GenerationStore)
        await asyncio.sleep(0)
        return self.store.swap(name)

    async def discard(self, name: str, /) -> bool:
        assert isinstance(self.store, GenerationStore)
        await asyncio.sleep(0)
        return self.store.discard(name)

    async def differences(self, name: str, /, *, limit: int) -> Comparison:
        assert isinstance(self.store, GenerationStore)
        await asyncio.sleep(0)
        return self.store.differences(name, limit=limit)

    async def rollups_of(self, skill_ids: Iterable[str], over: Buckets, /) -> RollupsOf:
        assert isinstance(self.store, SeriesStore)
        await asyncio.sleep(0)
        return self.store.rollups_of(skill_ids, over)

    async def ranked(self, order: Order, /, *, limit: int) -> Ranked:
        assert isinstance(self.store, RankStore)
        await asyncio.sleep(0)
        return self.store.ranked(order, limit=limit)

    async def publish(self, publication: Publication, /) -> int:
        assert isinstance(self.store, BoardStore)
        await asyncio.sleep(0)
        return self.store.publish(publication)

    async def board(
        self, name: str, /, *, version: int | None, after: int, limit: int
    ) -> BoardRead:
        assert isinstance(self.store, BoardStore)
        await asyncio.sleep(0)
        return self.store.board(name, version=version, after=after, limit=limit)

    async def forgotten(self, skill_ids: Iterable[str], /) -> frozenset[str]:
        await asyncio.sleep(0)
        return self.store.forgotten(skill_ids)

    async def note_error(self, text: str, /) -> None:
        assert isinstance(self.store, NoteStore)
        await asyncio.sleep(0)
        self.store.note_error(text)

    async def last_error(self) -> Note | None:
        assert isinstance(self.store, NoteStore)
        await asyncio.sleep(0)
        return self.store.last_error()


class AsyncRetaining(AsyncStats):
    """The same for a store whose rollups can expire."""

    async def expire(self, granularity: Granularity, first: int, /, *, limit: int) -> Expired:
        assert isinstance(self.store, RetentionStore)
        await asyncio.sleep(0)
        return self.store.expire(granularity, first, limit=limit)


def stats_behind_coroutines(store: StatsStore) -> AsyncStats:
    """Return *store* behind coroutines, with its own expiry where it has one."""
    return AsyncRetaining(store) if isinstance(store, RetentionStore) else AsyncStats(store)


@attrs.frozen
class AsyncBadges:
    """A store of badges whose methods are coroutines that let the loop go on first."""

    store: BadgeStore

    async def set(self, skill_id: str, kind: str, badge: Badge, /) -> bool:
        await asyncio.sleep(0)
        return self.store.set(skill_id, kind, badge)

    async def clear(self, skill_id: str, kind: str, /) -> bool:
        await asyncio.sleep(0)
        return self.store.clear(skill_id, kind)

    async def badge_maps(self, skill_ids: Iterable[str], /) -> list[tuple[str, BadgeMap]]:
        await asyncio.sleep(0)
        return self.store.badge_maps(skill_ids)


@attrs.frozen
class AsyncOpenAppend:
    """An open append whose methods are coroutines that let the loop go on first."""

    opened: OpenAppend

    async def append(self, events: Iterable[Event], /) -> Appended:
        await asyncio.sleep(0)
        return self.opened.append(events)

    async def commit(self) -> None:
        await asyncio.sleep(0)
        self.opened.commit()

    async def rollback(self) -> None:
        await asyncio.sleep(0)
        self.opened.rollback()

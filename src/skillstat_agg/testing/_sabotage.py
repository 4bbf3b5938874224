"""Wrappers around an author's own stores that keep everything but one thing.

They are written once, for stores whose methods are coroutines. A store that calls at once is
made one of those and back again: its coroutines never wait, so they end with the first step.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar, cast

import attrs

from skillstat_agg import aio
from skillstat_agg._buckets import Granularity
from skillstat_agg._commits import Commit, CommitResult, Cursor
from skillstat_agg._events import Event, Place
from skillstat_agg._pages import Page
from skillstat_agg._projections import Projection
from skillstat_agg._quarantine import Quarantine
from skillstat_agg._stores import DAY_AHEAD, Appended, Rollups, Totals
from skillstat_agg.testing._harness import (
    AnyHarness,
    AsyncClient,
    AsyncOpenAppend,
    Client,
    OpenAppend,
    OpenedClient,
    Setting,
)

T = TypeVar("T")


class EventsPassed:
    """An event store that passes every call on; it hides a tally of the store's own."""

    def __init__(self, store: aio.EventStore) -> None:
        self.store = store

    async def append(
        self, events: Iterable[Event], /, *, max_ahead: timedelta = DAY_AHEAD
    ) -> Appended:
        return await self.store.append(events, max_ahead=max_ahead)

    async def read(self, after: Place | None, /, *, limit: int) -> Page:
        return await self.store.read(after, limit=limit)


class AppendPassed:
    """An open append that passes every call on."""

    def __init__(self, opened: AsyncOpenAppend) -> None:
        self.opened = opened

    async def append(self, events: Iterable[Event], /) -> Appended:
        return await self.opened.append(events)

    async def commit(self) -> object:
        return await self.opened.commit()

    async def rollback(self) -> object:
        return await self.opened.rollback()


class StatsPassed:
    """A stats store that passes every call on, also what only some stores have."""

    def __init__(self, store: aio.StatsStore) -> None:
        self.store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    @property
    def projection(self) -> Projection:
        return self.store.projection

    async def cursor(self) -> Cursor:
        return await self.store.cursor()

    async def commit(self, commit: Commit, /) -> CommitResult:
        return await self.store.commit(commit)

    async def totals(self, skill_ids: Iterable[str] | None = None, /) -> Totals:
        return await self.store.totals(skill_ids)

    async def rollups(
        self,
        skill_id: str,
        granularity: Granularity,
        /,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Rollups:
        return await self.store.rollups(skill_id, granularity, since=since, until=until)

    async def quarantine(self, *, limit: int) -> Quarantine:
        return await self.store.quarantine(limit=limit)

    async def forget(self, skill_id: str, /) -> bool:
        return await self.store.forget(skill_id)

    async def forgotten(self, skill_ids: Iterable[str], /) -> frozenset[str]:
        return await self.store.forgotten(skill_ids)


@attrs.frozen(kw_only=True)
class Saboteur:
    """A way to break any store.

    Attributes:
        name: What it is called.
        mistake: What the wrapped store does, as a sentence.
        law: The law it breaks.
        killers: The checks that should notice, the likeliest first.
        needs: What the harness has to declare, as for a check.
        events: Wraps the event store; None: it is left alone, with its own tally.
        opened: Wraps an open append; None: it is left alone.
        stats: Wraps the stats store; None: it is left alone.
    """

    name: str
    mistake: str
    law: str
    killers: tuple[str, ...]
    needs: frozenset[str] = frozenset()
    events: Callable[[aio.EventStore], aio.EventStore] | None = None
    opened: Callable[[AsyncOpenAppend], AsyncOpenAppend] | None = None
    stats: Callable[[aio.StatsStore], aio.StatsStore] | None = None


def sabotaged(harness: AnyHarness, saboteur: Saboteur) -> AnyHarness:
    """Return the harness of the same stores, each client's wrapped by the saboteur."""

    def client(site: Any, setting: Setting) -> OpenedClient:
        opened = harness.client(site, setting)
        if isinstance(opened, AbstractAsyncContextManager):
            return _async_client(opened, saboteur)
        return _client(opened, saboteur)

    return attrs.evolve(harness, client=client, expected_failures={})


@asynccontextmanager
async def _async_client(
    opened: AbstractAsyncContextManager[AsyncClient], saboteur: Saboteur
) -> AsyncIterator[AsyncClient]:
    async with opened as client:
        begin = client.begin

        async def begun() -> AsyncOpenAppend:
            assert begin is not None
            return _wrapped(await begin(), saboteur.opened)

        yield AsyncClient(
            events=_wrapped(client.events, saboteur.events),
            stats=_wrapped(client.stats, saboteur.stats),
            begin=None if begin is None else begun,
            badges=client.badges,
        )


@contextmanager
def _client(opened: AbstractContextManager[Client], saboteur: Saboteur) -> Iterator[Client]:
    with opened as client:
        begin = client.begin

        def begun() -> OpenAppend:
            assert begin is not None
            return _wrapped_at_once(begin(), saboteur.opened)

        yield Client(
            events=_wrapped_at_once(client.events, saboteur.events),
            stats=_wrapped_at_once(client.stats, saboteur.stats),
            begin=None if begin is None else begun,
            badges=client.badges,
        )


def _wrapped(store: T, wrap: Callable[[T], T] | None) -> T:
    return store if wrap is None else wrap(store)


def _wrapped_at_once(store: T, wrap: Callable[[Any], Any] | None) -> T:
    return store if wrap is None else cast(T, _AtOnce(wrap(_Awaited(store))))


@attrs.frozen
class _Awaited:
    """Any store, its methods made coroutines."""

    store: Any

    def __getattr__(self, name: str) -> Any:
        value: Any = getattr(self.store, name)
        return partial(_call, value) if callable(value) else value


async def _call(method: Callable[..., Any], *given: Any, **named: Any) -> Any:
    return method(*given, **named)


@attrs.frozen
class _AtOnce:
    """Any store whose methods are coroutines that never wait; here they are no coroutines."""

    store: Any

    def __getattr__(self, name: str) -> Any:
        value: Any = getattr(self.store, name)
        return partial(_finish, value) if callable(value) else value


def _finish(method: Callable[..., Any], *given: Any, **named: Any) -> Any:
    try:
        method(*given, **named).send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("a store that calls at once has waited")

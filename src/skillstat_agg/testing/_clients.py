"""The kit's clients: the author's stores, with every call written down and, for actors, stopped.

Each client has two faces. `events` and `stats` call at once. `stepped_events` and
`stepped_stats` are the asynchronous twins' stores: they give way before each call, so that a
scheduler can let others move there.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeAlias, TypeVar, cast

from skillstat_agg import aio
from skillstat_agg._boards import BoardRead, Publication
from skillstat_agg._buckets import Granularity
from skillstat_agg._commits import Commit, CommitResult, Cursor
from skillstat_agg._events import Event, Place
from skillstat_agg._generations import Comparison, Extent, Sums
from skillstat_agg._leaderboards import Order, Ranked
from skillstat_agg._notes import Note
from skillstat_agg._pages import Backlog, Page, TalliedPage
from skillstat_agg._projections import Projection
from skillstat_agg._quarantine import Quarantine
from skillstat_agg._ranges import Buckets
from skillstat_agg._series import RollupsOf
from skillstat_agg._stores import (
    DAY_AHEAD,
    Appended,
    EventStore,
    Expired,
    Rollups,
    StatsStore,
    Totals,
)
from skillstat_agg.testing._doors import Door, Here
from skillstat_agg.testing._steps import Record, Step

T = TypeVar("T")

PRUNING = frozenset({"register", "report", "retire", "readers", "compactable", "compact"})
"""The methods of a `PruneStore`."""

QUIET = frozenset({"register", "report", "retire"})
"""What a worker tells the log beside its work; it is written down only if it goes wrong.

Where that is not the question no actor stops there, so that others are met elsewhere sooner.
"""

Waiting: TypeAlias = Future[object] | None
"""What an actor gives way with: None before a call, its answer while that is not there."""


@types.coroutine
def give_way(future: Future[object] | None = None) -> Generator[Waiting, None, None]:
    """Give way once."""
    yield future


class Line:
    """A client's line to its stores: every call goes through it."""

    def __init__(self, name: str, record: Record, door: Door) -> None:
        self.name = name
        self._record = record
        self._door = door
        self._is_straight = isinstance(door, Here)

    def call(self, what: str, given: object, function: Callable[[], Any]) -> Any:
        """Call now, and return or raise what comes of it."""
        if not self._is_straight:
            function = partial(self._door.now, function)
        return self._record.call(self.name, what, given, function)

    def quietly(self, what: str, function: Callable[[], Any]) -> Any:
        """Call now, and write it down only if it goes wrong."""
        if not self._is_straight:
            function = partial(self._door.now, function)
        return self._record.do(self.name, what, function)

    async def step(self, what: str, given: object, function: Callable[[], Any]) -> Any:
        """Give way, then call; give way again while there is no answer."""
        await give_way()
        if self._door.is_here:
            return self.call(what, given, function)
        # First, since the call may come to an I/O point before it is known to have begun.
        self._record.waiting[self.name] = Step(self.name, what, given)
        future = self._door.submit(function)
        while not future.done():
            await give_way(future)
        del self._record.waiting[self.name]
        return self._record.call(self.name, what, given, future.result)


class Events:
    """An event store over a line."""

    def __init__(self, store: EventStore | aio.EventStore, line: Line) -> None:
        self._store: Any = store
        self._line = line

    def append(self, events: Iterable[Event], /, *, max_ahead: timedelta | None = None) -> Appended:
        """Append now; without *max_ahead* the bound is the store's own."""
        given = events if isinstance(events, tuple) else None
        call = partial(self._store.append, events)
        if max_ahead is not None:
            call = partial(call, max_ahead=max_ahead)
        return cast(Appended, self._line.call("append", given, call))

    def read(self, after: Place | None, /, *, limit: int) -> Page:
        """Read now."""
        call = partial(self._store.read, after, limit=limit)
        return cast(Page, self._line.call("read", after, call))

    def extent(self, upto: Place, /) -> Extent:
        """Measure now; for a store that is an `ExtentStore`."""
        call = partial(self._store.extent, upto)
        return cast(Extent, self._line.call("extent", upto, call))

    def __getattr__(self, name: str) -> Any:
        """Return a method of a `PruneStore`, where the store is one."""
        if name not in PRUNING:
            raise AttributeError(name)
        return partial(self._prune, name, getattr(self._store, name))

    def _prune(self, name: str, method: Callable[..., Any], *given: Any, **named: Any) -> Any:
        call = partial(method, *given, **named)
        if name in QUIET:
            return self._line.quietly(name, call)
        return self._line.call(name, given[0] if given else None, call)

    def lag(self, after: Place | None, /, *, limit: int) -> Backlog:
        """Return the backlog now; for a store that has one."""
        call = partial(self._store.lag, after, limit=limit)
        return cast(Backlog, self._line.call("lag", after, call))


class TalliedEvents(Events):
    """An event store with a tally of its own, over a line."""

    def tally(
        self, after: Place | None, /, *, limit: int, granularity: Granularity
    ) -> TalliedPage | None:
        """Tally now."""
        call = partial(self._store.tally, after, limit=limit, granularity=granularity)
        return cast("TalliedPage | None", self._line.call("tally", after, call))


class SteppedEvents:
    """An event store over a line, stopped before each call.

    Args:
        store: The store.
        line: The line.
        quiet: Calls before which it does not stop.
    """

    def __init__(
        self, store: EventStore | aio.EventStore, line: Line, quiet: frozenset[str] = QUIET
    ) -> None:
        self._store: Any = store
        self._line = line
        self._quiet = quiet

    async def append(
        self, events: Iterable[Event], /, *, max_ahead: timedelta = DAY_AHEAD
    ) -> Appended:
        """Give way, then append."""
        given = events if isinstance(events, tuple) else None
        call = partial(self._store.append, events, max_ahead=max_ahead)
        return cast(Appended, await self._line.step("append", given, call))

    async def read(self, after: Place | None, /, *, limit: int) -> Page:
        """Give way, then read."""
        call = partial(self._store.read, after, limit=limit)
        return cast(Page, await self._line.step("read", after, call))

    async def extent(self, upto: Place, /) -> Extent:
        """Give way, then measure; for a store that is an `ExtentStore`."""
        call = partial(self._store.extent, upto)
        return cast(Extent, await self._line.step("extent", upto, call))

    def __getattr__(self, name: str) -> Any:
        """Return a method of a `PruneStore`, where the store is one."""
        if name not in PRUNING:
            raise AttributeError(name)
        return partial(self._prune, name, getattr(self._store, name))

    async def _prune(self, name: str, method: Callable[..., Any], *given: Any, **named: Any) -> Any:
        call = partial(method, *given, **named)
        if name in self._quiet:
            return self._line.quietly(name, call)
        return await self._line.step(name, given[0] if given else None, call)

    async def lag(self, after: Place | None, /, *, limit: int) -> Backlog:
        """Give way, then return the backlog; for a store that has one."""
        call = partial(self._store.lag, after, limit=limit)
        return cast(Backlog, await self._line.step("lag", after, call))


class SteppedTallies(SteppedEvents):
    """The same for a store with a tally of its own."""

    async def tally(
        self, after: Place | None, /, *, limit: int, granularity: Granularity
    ) -> TalliedPage | None:
        """Give way, then tally."""
        call = partial(self._store.tally, after, limit=limit, granularity=granularity)
        return cast("TalliedPage | None", await self._line.step("tally", after, call))


class Stats:
    """A stats store over a line."""

    def __init__(self, store: StatsStore | aio.StatsStore, line: Line) -> None:
        self._store: Any = store
        self._line = line

    @property
    def projection(self) -> Projection:
        """The projection whose stats these are."""
        return cast(Projection, self._store.projection)

    def cursor(self) -> Cursor:
        """Return the cursor now."""
        return cast(Cursor, self._line.call("cursor", None, self._store.cursor))

    def commit(self, commit: Commit, /) -> CommitResult:
        """Commit now."""
        call = partial(self._store.commit, commit)
        return cast(CommitResult, self._line.call("commit", commit, call))

    def totals(self, skill_ids: Iterable[str] | None = None, /) -> Totals:
        """Return the totals now."""
        call = partial(self._store.totals, skill_ids)
        return cast(Totals, self._line.call("totals", None, call))

    def rollups(
        self,
        skill_id: str,
        granularity: Granularity,
        /,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Rollups:
        """Return the rollups now."""
        call = partial(self._store.rollups, skill_id, granularity, since=since, until=until)
        return cast(Rollups, self._line.call("rollups", skill_id, call))

    def quarantine(self, *, limit: int) -> Quarantine:
        """Return what is parked now."""
        call = partial(self._store.quarantine, limit=limit)
        return cast(Quarantine, self._line.call("quarantine", None, call))

    def forget(self, skill_id: str, /) -> bool:
        """Forget now."""
        call = partial(self._store.forget, skill_id)
        return cast(bool, self._line.call("forget", skill_id, call))

    # For a store that is a `SumStore`, or a `GenerationStore`

    def sums(self) -> Sums:
        """Add up now."""
        return cast(Sums, self._line.call("sums", None, self._store.sums))

    def building(self, name: str, /) -> Stats:
        """Return what is built, over the same line."""
        call = partial(self._store.building, name)
        return Stats(self._line.call("building", name, call), self._line)

    def swap(self, name: str, /) -> Cursor:
        """Swap now."""
        return cast(Cursor, self._line.call("swap", name, partial(self._store.swap, name)))

    def discard(self, name: str, /) -> bool:
        """Discard now."""
        return cast(bool, self._line.call("discard", name, partial(self._store.discard, name)))

    def differences(self, name: str, /, *, limit: int) -> Comparison:
        """Compare now."""
        call = partial(self._store.differences, name, limit=limit)
        return cast(Comparison, self._line.call("differences", name, call))

    def rollups_of(self, skill_ids: Iterable[str], over: Buckets, /) -> RollupsOf:
        """Return the rollups of several skills now."""
        call = partial(self._store.rollups_of, skill_ids, over)
        return cast(RollupsOf, self._line.call("rollups_of", None, call))

    def ranked(self, order: Order, /, *, limit: int) -> Ranked:
        """Return the first skills in an order now."""
        call = partial(self._store.ranked, order, limit=limit)
        return cast(Ranked, self._line.call("ranked", None, call))

    def publish(self, publication: Publication, /) -> int:
        """Publish now."""
        call = partial(self._store.publish, publication)
        return cast(int, self._line.call("publish", None, call))

    def board(self, name: str, /, *, version: int | None, after: int, limit: int) -> BoardRead:
        """Return a part of a board now."""
        call = partial(self._store.board, name, version=version, after=after, limit=limit)
        return cast(BoardRead, self._line.call("board", name, call))

    def forgotten(self, skill_ids: Iterable[str], /) -> frozenset[str]:
        """Return those that are forgotten now."""
        call = partial(self._store.forgotten, skill_ids)
        return cast("frozenset[str]", self._line.call("forgotten", None, call))

    def note_error(self, text: str, /) -> None:
        """Note now; for a store that can."""
        self._line.call("note_error", None, partial(self._store.note_error, text))

    def last_error(self) -> Note | None:
        """Return the note now; for a store that has one."""
        return cast("Note | None", self._line.call("last_error", None, self._store.last_error))


class RetainingStats(Stats):
    """A stats store whose rollups can expire, over a line."""

    def expire(self, granularity: Granularity, first: int, /, *, limit: int) -> Expired:
        """Let rollups expire now."""
        call = partial(self._store.expire, granularity, first, limit=limit)
        given = f"{granularity.value}s before {first}"
        return cast(Expired, self._line.call("expire", given, call))


class SteppedStats:
    """A stats store over a line, stopped before each call."""

    def __init__(self, store: StatsStore | aio.StatsStore, line: Line) -> None:
        self._store: Any = store
        self._line = line

    @property
    def projection(self) -> Projection:
        """The projection whose stats these are."""
        return cast(Projection, self._store.projection)

    async def cursor(self) -> Cursor:
        """Give way, then return the cursor."""
        return cast(Cursor, await self._line.step("cursor", None, self._store.cursor))

    async def commit(self, commit: Commit, /) -> CommitResult:
        """Give way, then commit."""
        call = partial(self._store.commit, commit)
        return cast(CommitResult, await self._line.step("commit", commit, call))

    async def totals(self, skill_ids: Iterable[str] | None = None, /) -> Totals:
        """Give way, then return the totals."""
        call = partial(self._store.totals, skill_ids)
        return cast(Totals, await self._line.step("totals", None, call))

    async def rollups(
        self,
        skill_id: str,
        granularity: Granularity,
        /,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Rollups:
        """Give way, then return the rollups."""
        call = partial(self._store.rollups, skill_id, granularity, since=since, until=until)
        return cast(Rollups, await self._line.step("rollups", skill_id, call))

    async def quarantine(self, *, limit: int) -> Quarantine:
        """Give way, then return what is parked."""
        call = partial(self._store.quarantine, limit=limit)
        return cast(Quarantine, await self._line.step("quarantine", None, call))

    async def forget(self, skill_id: str, /) -> bool:
        """Give way, then forget."""
        call = partial(self._store.forget, skill_id)
        return cast(bool, await self._line.step("forget", skill_id, call))

    # For a store that is a `SumStore`, or a `GenerationStore`

    async def sums(self) -> Sums:
        """Give way, then add up."""
        return cast(Sums, await self._line.step("sums", None, self._store.sums))

    async def building(self, name: str, /) -> SteppedStats:
        """Give way, then return what is built, over the same line."""
        call = partial(self._store.building, name)
        return SteppedStats(await self._line.step("building", name, call), self._line)

    async def swap(self, name: str, /) -> Cursor:
        """Give way, then swap."""
        call = partial(self._store.swap, name)
        return cast(Cursor, await self._line.step("swap", name, call))

    async def discard(self, name: str, /) -> bool:
        """Give way, then discard."""
        call = partial(self._store.discard, name)
        return cast(bool, await self._line.step("discard", name, call))

    async def differences(self, name: str, /, *, limit: int) -> Comparison:
        """Give way, then compare."""
        call = partial(self._store.differences, name, limit=limit)
        return cast(Comparison, await self._line.step("differences", name, call))

    async def rollups_of(self, skill_ids: Iterable[str], over: Buckets, /) -> RollupsOf:
        """Give way, then return the rollups of several skills."""
        call = partial(self._store.rollups_of, skill_ids, over)
        return cast(RollupsOf, await self._line.step("rollups_of", None, call))

    async def ranked(self, order: Order, /, *, limit: int) -> Ranked:
        """Give way, then return the first skills in an order."""
        call = partial(self._store.ranked, order, limit=limit)
        return cast(Ranked, await self._line.step("ranked", None, call))

    async def publish(self, publication: Publication, /) -> int:
        """Give way, then publish."""
        call = partial(self._store.publish, publication)
        return cast(int, await self._line.step("publish", None, call))

    async def board(
        self, name: str, /, *, version: int | None, after: int, limit: int
    ) -> BoardRead:
        """Give way, then return a part of a board."""
        call = partial(self._store.board, name, version=version, after=after, limit=limit)
        return cast(BoardRead, await self._line.step("board", name, call))

    async def forgotten(self, skill_ids: Iterable[str], /) -> frozenset[str]:
        """Give way, then return those that are forgotten."""
        call = partial(self._store.forgotten, skill_ids)
        return cast("frozenset[str]", await self._line.step("forgotten", None, call))

    async def note_error(self, text: str, /) -> None:
        """Give way, then note; for a store that can."""
        await self._line.step("note_error", None, partial(self._store.note_error, text))

    async def last_error(self) -> Note | None:
        """Give way, then return the note; for a store that has one."""
        step = self._line.step("last_error", None, self._store.last_error)
        return cast("Note | None", await step)


class SteppedRetaining(SteppedStats):
    """The same for a store whose rollups can expire."""

    async def expire(self, granularity: Granularity, first: int, /, *, limit: int) -> Expired:
        """Give way, then let rollups expire."""
        call = partial(self._store.expire, granularity, first, limit=limit)
        given = f"{granularity.value}s before {first}"
        return cast(Expired, await self._line.step("expire", given, call))


def events_over(store: EventStore | aio.EventStore, line: Line) -> Events:
    """Return the face that calls at once."""
    return TalliedEvents(store, line) if has_tally(store) else Events(store, line)


def stepped_events_over(
    store: EventStore | aio.EventStore, line: Line, quiet: frozenset[str] = QUIET
) -> SteppedEvents:
    """Return the face that gives way."""
    kind = SteppedTallies if has_tally(store) else SteppedEvents
    return kind(store, line, quiet)


def has_tally(store: EventStore | aio.EventStore) -> bool:
    """Return whether a store tallies by itself."""
    return callable(getattr(store, "tally", None))


def abilities_of(stats: StatsStore | aio.StatsStore) -> dict[str, bool]:
    """Return which of the further protocols a stats store has."""
    methods = {"series": ["rollups_of"], "ranks": ["ranked"], "boards": ["publish", "board"]}
    return {
        ability: all(callable(getattr(stats, name, None)) for name in names)
        for ability, names in methods.items()
    }


def stats_over(store: StatsStore | aio.StatsStore, line: Line) -> Stats:
    """Return the face that calls at once."""
    return RetainingStats(store, line) if has_expire(store) else Stats(store, line)


def stepped_stats_over(store: StatsStore | aio.StatsStore, line: Line) -> SteppedStats:
    """Return the face that gives way."""
    return SteppedRetaining(store, line) if has_expire(store) else SteppedStats(store, line)


def has_expire(store: StatsStore | aio.StatsStore) -> bool:
    """Return whether the rollups of a store can expire."""
    return callable(getattr(store, "expire", None))


def has_extent(store: EventStore | aio.EventStore) -> bool:
    """Return whether a store says how much stands up to a place."""
    return callable(getattr(store, "extent", None))


def has_sums(store: StatsStore | aio.StatsStore) -> bool:
    """Return whether a store adds up its numbers."""
    return callable(getattr(store, "sums", None))


def has_generations(store: StatsStore | aio.StatsStore) -> bool:
    """Return whether a store builds numbers beside those that serve."""
    return callable(getattr(store, "building", None))


def can_prune(store: EventStore | aio.EventStore) -> bool:
    """Return whether the old events of a store can be made small."""
    return all(callable(getattr(store, name, None)) for name in PRUNING)


def has_lag(store: EventStore | aio.EventStore) -> bool:
    """Return whether a store says how much lies after a place."""
    return callable(getattr(store, "lag", None))


def has_notes(store: StatsStore | aio.StatsStore) -> bool:
    """Return whether a store keeps what went wrong last."""
    return callable(getattr(store, "note_error", None))

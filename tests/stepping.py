"""Production code stopped before each call to a store, and stepped by hand.

Nothing happens to a store between the end of one call and the beginning of the next, so
stopping before each call reaches every state that stopping after it would.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Coroutine, Generator, Iterable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from skillstat_agg import (
    DAY_AHEAD,
    Appended,
    Commit,
    CommitResult,
    Cursor,
    Event,
    EventStore,
    Granularity,
    Page,
    Place,
    Projection,
    Rollups,
    StatsStore,
    TalliedPage,
    TallyStore,
    Totals,
)
from skillstat_agg.errors import StoreBusyError

T = TypeVar("T")


@types.coroutine
def pause() -> Generator[None, None, None]:
    """Give way once."""
    yield


class SteppedEvents:
    """An asynchronous event store that gives way before each call of a synchronous one."""

    def __init__(self, store: EventStore) -> None:
        self.store = store

    async def append(
        self, events: Iterable[Event], /, *, max_ahead: timedelta = DAY_AHEAD
    ) -> Appended:
        await pause()
        return self.store.append(events, max_ahead=max_ahead)

    async def read(self, after: Place | None, /, *, limit: int) -> Page:
        await pause()
        return self.store.read(after, limit=limit)


class SteppedTallies(SteppedEvents):
    """The same for a store with a tally of its own: a proxy must hand it on."""

    async def tally(
        self, after: Place | None, /, *, limit: int, granularity: Granularity
    ) -> TalliedPage | None:
        assert isinstance(self.store, TallyStore)
        await pause()
        return self.store.tally(after, limit=limit, granularity=granularity)


class SteppedStats:
    """An asynchronous stats store that gives way before each call of a synchronous one."""

    def __init__(self, store: StatsStore) -> None:
        self.store = store

    @property
    def projection(self) -> Projection:
        return self.store.projection

    async def cursor(self) -> Cursor:
        await pause()
        return self.store.cursor()

    async def commit(self, commit: Commit, /) -> CommitResult:
        await pause()
        return self.store.commit(commit)

    async def totals(self, skill_ids: Iterable[str] | None = None, /) -> Totals:
        await pause()
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
        await pause()
        return self.store.rollups(skill_id, granularity, since=since, until=until)

    async def forget(self, skill_id: str, /) -> bool:
        await pause()
        return self.store.forget(skill_id)


def stepped(store: EventStore) -> SteppedEvents:
    """Return *store* as one that can be stepped, with its own tally where it has one."""
    return SteppedTallies(store) if isinstance(store, TallyStore) else SteppedEvents(store)


def run(coroutine: Coroutine[None, None, T]) -> T:
    """Step *coroutine* to its end."""
    while True:
        try:
            coroutine.send(None)
        except StopIteration as stop:
            result: T = stop.value
            return result


Actor = Coroutine[None, None, object]


def play_every_schedule(
    start: Callable[[], tuple[Sequence[Actor], Callable[[], None]]], *, max_switches: int
) -> int:
    """Play every schedule of some actors, and return how many there are.

    Args:
        start: Returns the actors at their beginning, and what to check at the end.
        max_switches: How often an actor that could go on is left for another. An actor
            that raises is done: that is how a refused one ends.
    """
    count, forced = 0, [0]
    while forced:
        actors, check = start()
        options = _play(list(actors), forced, max_switches)
        check()
        count += 1
        # The next schedule differs in the last choice that has another alternative.
        taken = forced + [0] * (len(options) - len(forced))
        while taken and taken[-1] + 1 >= options[len(taken) - 1]:
            taken.pop()
        forced = [*taken[:-1], taken[-1] + 1] if taken else []
    return count


def _play(actors: list[Actor], forced: Sequence[int], switches: int) -> list[int]:
    """Step the actors to their ends by these choices, then by the first; return the options."""
    options: list[int] = []
    current = actors[0]
    while actors:
        others = [actor for actor in actors if actor is not current]
        may_go_on = current in actors
        candidates = [current] if may_go_on else []
        candidates += others if switches > 0 or not may_go_on else []
        choice = forced[len(options)] if len(options) < len(forced) else 0
        options.append(len(candidates))
        switches -= may_go_on and choice > 0
        current = candidates[choice]
        try:
            current.send(None)
        except (StopIteration, StoreBusyError):
            actors.remove(current)
    return options

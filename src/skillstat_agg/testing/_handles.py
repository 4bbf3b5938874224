"""One client of a case: what checks and actors do with it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Generic, Literal, TypeVar, cast

import attrs

from skillstat_agg import aio
from skillstat_agg._buckets import Granularity, bucket_of
from skillstat_agg._compacting import Segment
from skillstat_agg._events import Event, Position
from skillstat_agg._folding import DEFAULT_PAGE, FoldReport, drain
from skillstat_agg._generations import MOST_DIFFERENCES
from skillstat_agg._projections import Projection
from skillstat_agg._pruning import DEFAULT_SEGMENT, PruneReport, prune
from skillstat_agg._quarantine import Uncountable
from skillstat_agg._rebuilding import RebuildReport, rebuild
from skillstat_agg._retention import expire
from skillstat_agg._stores import Appended, Expired, PruneStore
from skillstat_agg._verifying import VerifyReport, verify, verify_fully
from skillstat_agg.errors import EventIdConflictError, InvalidEventError, StoreBusyError
from skillstat_agg.testing._badge_clients import Badges, SteppedBadges
from skillstat_agg.testing._clients import (
    QUIET,
    Line,
    RetainingStats,
    SteppedEvents,
    SteppedRetaining,
    SteppedStats,
    Waiting,
    abilities_of,
    can_prune,
    events_over,
    has_expire,
    has_extent,
    has_generations,
    has_lag,
    has_notes,
    has_sums,
    has_tally,
    stats_over,
    stepped_events_over,
    stepped_stats_over,
)
from skillstat_agg.testing._doors import Door, entering, leaving
from skillstat_agg.testing._harness import (
    AsyncOpenAppend,
    OpenAppend,
    OpenedClient,
)
from skillstat_agg.testing._opening import checked_client, checked_open_append
from skillstat_agg.testing._steps import LATE, ROLLBACK, Killed, Record

T = TypeVar("T")

REFUSALS = (EventIdConflictError, InvalidEventError, StoreBusyError)
"""What an append raises that has stored nothing."""


@attrs.frozen
class Actor(Generic[T]):
    """Production code over the stores of one client, to be stepped.

    Attributes:
        handle: The client; it dies with the actor.
        moves: What is stepped.
    """

    handle: Handle
    moves: Coroutine[Waiting, None, T]


@attrs.define
class Committed:
    """What a case knows of the events that its clients have appended.

    Attributes:
        events: Those that are in the log, without retries.
        unsure: Appends that nobody knows the end of, since their client died inside or their
            I/O failed: all events of one are in the log, or none.
        forgotten: The skills that were forgotten.
        forgetting: Skills whose forget has begun and has not come back, or never will:
            they are forgotten, or not.
        parks: Whether a worker was told to park what its table cannot count.
        expired: The first bucket that is kept, by projection and granularity, where some
            have expired.
        expiring: The same for an expiry that has begun and has not come back, or never
            will: some of its steps were done, or none.
        began: How many appends of several calls were begun.
        latest: The largest number of such an append, or of a plain one, that is visible.
        is_pruned: Whether events may have been made small.
    """

    events: list[Event] = attrs.field(factory=list)
    unsure: list[tuple[Event, ...]] = attrs.field(factory=list)
    forgotten: set[str] = attrs.field(factory=set)
    forgetting: list[str] = attrs.field(factory=list)
    parks: bool = False
    expired: dict[tuple[str, str], int] = attrs.field(factory=dict)
    expiring: list[tuple[tuple[str, str], int]] = attrs.field(factory=list)
    began: int = 0
    latest: int = 0
    is_pruned: bool = False

    def begin(self) -> int:
        """Return the number of an append that begins now."""
        self.began += 1
        return self.began

    @contextmanager
    def unless_refused(self, events: tuple[Event, ...]) -> Iterator[None]:
        """Note that events may be in the log if what is to put them there has no answer."""
        try:
            yield
        except REFUSALS:
            raise
        except BaseException:
            self.unsure.append(events)
            raise

    @contextmanager
    def while_expiring(
        self, projection: Projection, granularity: Granularity, before: datetime
    ) -> Iterator[None]:
        """Note that rollups expire meanwhile, and have expired if it comes to its end."""
        key, first = (projection.name, granularity.value), bucket_of(before, granularity)
        self.expiring.append((key, first))
        yield
        self.expiring.remove((key, first))
        self.expired[key] = max(first, self.expired.get(key, first))

    def add(self, events: Iterable[Event], number: int) -> bool:
        """Note what was committed; return whether something that began later was before it."""
        known = {event.event_id for event in self.events}
        is_late = False
        for event in events:
            if event.event_id is None or event.event_id not in known:
                self.events.append(event)
                known.add(event.event_id)
                is_late = number < self.latest
        self.latest = max(self.latest, number)
        return is_late


class Held:
    """An append that is held open, over a client's line.

    Attributes:
        opened: What ``Client.begin`` returned.
    """

    def __init__(
        self, opened: OpenAppend | AsyncOpenAppend, line: Line, log: Committed, record: Record
    ) -> None:
        self.opened: Any = opened
        self._line = line
        self._log = log
        self._record = record
        self._number = log.begin()
        self._events: list[Event] = []

    def append(self, *events: Event) -> Appended:
        """Append now."""
        appended = self._line.call("append", events, partial(self.opened.append, events))
        self._events += events
        return cast(Appended, appended)

    def commit(self) -> None:
        """Commit now."""
        self._line.call("commit", tuple(self._events), self.opened.commit)
        self._committed()

    def rollback(self) -> None:
        """Roll back now."""
        self._line.call("rollback", tuple(self._events), self.opened.rollback)
        self._record.facts.add(ROLLBACK)

    async def stepped_append(self, events: tuple[Event, ...]) -> None:
        """Give way, then append."""
        await self._line.step("append", events, partial(self.opened.append, events))
        self._events += events

    async def stepped_commit(self) -> None:
        """Give way, then commit."""
        with self._log.unless_refused(tuple(self._events)):
            await self._line.step("commit", tuple(self._events), self.opened.commit)
        self._committed()

    async def stepped_rollback(self) -> None:
        """Give way, then roll back."""
        await self._line.step("rollback", tuple(self._events), self.opened.rollback)
        self._record.facts.add(ROLLBACK)

    def _committed(self) -> None:
        if self._log.add(self._events, self._number):
            self._record.facts.add(LATE)


class Handle:
    """A client of a case.

    Attributes:
        name: What the client is called in the schedule.
        events: The event store; each call is made at once.
        stats: The stats store; each call is made at once.
        badges: The store of badges; each call is made at once. None: there is none.
        has_tally: Whether the event store tallies by itself.
        abilities: Which further protocols the stats store has, by what checks call them.
        has_expire: Whether rollups can expire.
        has_extent: Whether the event store says how much stands up to a place.
        has_sums: Whether the stats store adds up its numbers.
        has_generations: Whether the stats store builds numbers beside those that serve.
        can_prune: Whether the old events of the event store can be made small.
        has_lag: Whether the event store says how much lies after a place.
        has_notes: Whether the stats store keeps what went wrong last.
        can_begin: Whether appends can be held open.
        is_dead: Whether the client was closed.
        is_dying: Whether the client has died inside a call that is not over yet.
    """

    def __init__(
        self, name: str, opened: OpenedClient, door: Door, record: Record, log: Committed
    ) -> None:
        self.name = name
        self._opened = opened
        self._door = door
        self._record = record
        self._log = log
        self._line = Line(name, record, door)
        self._moves: list[Coroutine[Waiting, None, Any]] = []
        self.is_dead = False
        self.is_dying = False
        try:
            self._client = checked_client(opened, door.now(entering(opened)))
        except BaseException:
            door.close()
            raise
        self.has_tally = has_tally(self._client.events)
        self.has_extent = has_extent(self._client.events)
        self.has_sums = has_sums(self._client.stats)
        self.has_generations = has_generations(self._client.stats)
        self.can_prune = can_prune(self._client.events)
        self.abilities = abilities_of(self._client.stats)
        self.has_lag = has_lag(self._client.events)
        self.has_notes = has_notes(self._client.stats)
        self.events = events_over(self._client.events, self._line)
        self.has_expire = has_expire(self._client.stats)
        self.stats = stats_over(self._client.stats, self._line)
        self.badges = (
            None if self._client.badges is None else Badges(self._client.badges, self._line)
        )
        self.can_begin = self._client.begin is not None

    def close(self) -> None:
        """Close the client, as the end of its program would."""
        if self.is_dead:
            return
        self.is_dead = True
        for moves in self._moves:
            moves.close()
        try:
            if self.is_busy and self._record.has_hung:
                self._door.submit(leaving(self._opened))  # if it should ever come back
            else:
                leave = partial(self._door.now, leaving(self._opened))
                self._record.do(self.name, "close", leave)
        except Killed:
            pass  # a dead client cannot say goodbye
        finally:
            self._door.close()

    def stack(self) -> str:
        """Return where in the author's code a call does not go on, if that is known."""
        return self._door.stack()

    @property
    def is_busy(self) -> bool:
        """Whether a call is not over."""
        return self._door.is_busy

    def append(self, *events: Event) -> Appended:
        """Append now, and remember what is in the log."""
        appended = self.events.append(events)
        self._log.add(events, self._log.begin())
        return appended

    def forget(self, skill_id: str) -> bool:
        """Forget a skill now, and remember it."""
        is_new = self.stats.forget(skill_id)
        self._log.forgotten.add(skill_id)
        return is_new

    def begin(self) -> Held:
        """Begin an append now, to be held open."""
        begin = self._client.begin
        assert begin is not None, "the harness declares no begin"
        opened = checked_open_append(self._line.call("begin", None, begin))
        return Held(opened, self._line, self._log, self._record)

    def drain(
        self,
        *,
        page: int = DEFAULT_PAGE,
        max_events: int | None = None,
        max_skills: int | None = None,
        uncountable: Uncountable = Uncountable.HALT,
    ) -> FoldReport:
        """Drain now."""
        self._log.parks |= uncountable is Uncountable.PARK
        return drain(
            self.events,
            self.stats,
            page=page,
            max_events=max_events,
            max_skills=max_skills,
            uncountable=uncountable,
        )

    def expire(
        self, before: datetime, granularity: Granularity = Granularity.DAY, *, limit: int = 100
    ) -> Expired:
        """Let rollups expire now, and remember it."""
        assert isinstance(self.stats, RetainingStats), "the store has no expire"
        with self._log.while_expiring(self.stats.projection, granularity, before):
            return expire(self.stats, granularity, before, limit=limit)

    def rebuild(
        self, *, page: int = DEFAULT_PAGE, uncountable: Uncountable = Uncountable.HALT
    ) -> RebuildReport:
        """Rebuild now."""
        self._log.parks |= uncountable is Uncountable.PARK
        return rebuild(self.events, self.stats, page=page, uncountable=uncountable)

    def verify(self) -> VerifyReport:
        """Verify now."""
        return verify(self.events, self.stats)

    def verify_fully(
        self, *, page: int = DEFAULT_PAGE, limit: int = MOST_DIFFERENCES
    ) -> VerifyReport:
        """Verify every number now."""
        return verify_fully(self.events, self.stats, page=page, limit=limit)

    @property
    def log(self) -> PruneStore:
        """The event store, as one whose old events can be made small."""
        return cast(PruneStore, self.events)

    def prunes(self) -> None:
        """Note that events are made small: the log need not hold each of them any more."""
        self._log.is_pruned = True

    def prune(
        self,
        *,
        before: datetime | None = None,
        limit: int = DEFAULT_SEGMENT,
        kept: Collection[Position] = (),
        on_segment: Callable[[Segment], object] | None = None,
    ) -> PruneReport:
        """Prune now, with the stats of the client."""
        self.prunes()
        return prune(
            self.log,
            self.stats,
            before=before,
            limit=limit,
            kept=kept,
            on_segment=on_segment,
            rest=timedelta(0),
        )

    # Actors

    def _actor(self, moves: Coroutine[Waiting, None, T]) -> Actor[T]:
        self._moves.append(moves)
        return Actor(self, moves)

    def draining(
        self,
        *,
        page: int = DEFAULT_PAGE,
        plain: bool = False,
        max_events: int | None = None,
        uncountable: Uncountable = Uncountable.HALT,
        quiet: frozenset[str] = QUIET,
    ) -> Actor[FoldReport | None]:
        """Return an actor that drains; *plain*: without the store's own tally."""
        self._log.parks |= uncountable is Uncountable.PARK
        events = (
            SteppedEvents(self._client.events, self._line, quiet)
            if plain
            else stepped_events_over(self._client.events, self._line, quiet)
        )
        stats = stepped_stats_over(self._client.stats, self._line)
        return self._actor(_drain(events, stats, page, max_events, uncountable))

    def pruning(self, *, limit: int = DEFAULT_SEGMENT) -> Actor[PruneReport | None]:
        """Return an actor that prunes all that is read, with the stats of the client."""
        self._log.is_pruned = True
        events = SteppedEvents(self._client.events, self._line, frozenset())
        stats = SteppedStats(self._client.stats, self._line)
        return self._actor(_prune(events, stats, limit))

    def appending(self, *appends: tuple[Event, ...]) -> Actor[None]:
        """Return an actor that makes these appends, one after the other."""
        return self._actor(self._append(appends))

    def holding(
        self,
        *parts: tuple[Event, ...],
        end: Literal["commit", "rollback"] = "commit",
    ) -> Actor[None]:
        """Return an actor that appends the parts within one open append.

        Args:
            parts: What to append, call by call.
            end: How the append ends.
        """
        return self._actor(self._hold(parts, end))

    def forgetting(self, skill_id: str) -> Actor[None]:
        """Return an actor that forgets a skill."""
        return self._actor(self._forget(skill_id))

    def expiring(
        self, before: datetime, granularity: Granularity = Granularity.DAY, *, limit: int = 100
    ) -> Actor[Expired | None]:
        """Return an actor that lets rollups expire."""
        stats = stepped_stats_over(self._client.stats, self._line)
        assert isinstance(stats, SteppedRetaining), "the store has no expire"
        return self._actor(self._expire(stats, before, granularity, limit))

    def rebuilding(
        self, *, page: int = DEFAULT_PAGE, uncountable: Uncountable = Uncountable.HALT
    ) -> Actor[RebuildReport | None]:
        """Return an actor that rebuilds."""
        self._log.parks |= uncountable is Uncountable.PARK
        return self.doing(partial(_rebuild, page=page, uncountable=uncountable))

    def doing(
        self, steps: Callable[[SteppedEvents, SteppedStats], Coroutine[Waiting, None, T]]
    ) -> Actor[T]:
        """Return an actor that does something of its own with the stores."""
        events = stepped_events_over(self._client.events, self._line)
        return self._actor(steps(events, stepped_stats_over(self._client.stats, self._line)))

    def badging(self, steps: Callable[[SteppedBadges], Coroutine[Waiting, None, T]]) -> Actor[T]:
        """Return an actor that does something of its own with the store of badges."""
        assert self._client.badges is not None, "the client has no badges"
        return self._actor(
            steps(SteppedBadges(self._client.badges, self._client.begin, self._line))
        )

    async def _forget(self, skill_id: str) -> None:
        forget = self._client.stats.forget

        def begin() -> object:
            self._log.forgetting.append(skill_id)
            return forget(skill_id)

        try:
            await self._line.step("forget", skill_id, begin)
        except StoreBusyError:
            self._log.forgetting.remove(skill_id)
            return
        self._log.forgetting.remove(skill_id)
        self._log.forgotten.add(skill_id)

    async def _expire(
        self, stats: SteppedRetaining, before: datetime, granularity: Granularity, limit: int
    ) -> Expired | None:
        try:
            with self._log.while_expiring(stats.projection, granularity, before):
                return await aio.expire(stats, granularity, before, limit=limit)
        except StoreBusyError:
            return None

    async def _append(self, appends: tuple[tuple[Event, ...], ...]) -> None:
        for part in appends:
            try:
                await self._append_part(part)
            except StoreBusyError:
                return

    async def _append_part(self, part: tuple[Event, ...]) -> None:
        append, numbers = self._client.events.append, list[int]()

        def begin() -> object:
            numbers.append(self._log.begin())
            return append(part)

        with self._log.unless_refused(part):
            await self._line.step("append", part, begin)
        self._log.add(part, *numbers)

    async def _hold(
        self,
        parts: tuple[tuple[Event, ...], ...],
        end: Literal["commit", "rollback"],
    ) -> None:
        begin: Any = self._client.begin
        assert begin is not None, "the harness declares no begin"
        try:
            opened = checked_open_append(await self._line.step("begin", None, begin))
            held = Held(opened, self._line, self._log, self._record)
        except StoreBusyError:
            return
        try:
            for part in parts:
                await held.stepped_append(part)
            if end == "commit":
                await held.stepped_commit()
                return
        except StoreBusyError:
            # Refused: what the store asks for then is that the transaction be rolled back.
            pass
        await held.stepped_rollback()


async def _drain(
    events: SteppedEvents,
    stats: SteppedStats,
    page: int,
    max_events: int | None,
    uncountable: Uncountable,
) -> FoldReport | None:
    try:
        return await aio.drain(
            events, stats, page=page, max_events=max_events, uncountable=uncountable
        )
    except StoreBusyError:
        return None


async def _rebuild(
    events: SteppedEvents, stats: SteppedStats, page: int, uncountable: Uncountable
) -> RebuildReport | None:
    try:
        return await aio.rebuild(events, stats, page=page, uncountable=uncountable)
    except StoreBusyError:
        return None


async def _prune(events: SteppedEvents, stats: SteppedStats, limit: int) -> PruneReport | None:
    try:
        log, no_rest = cast(aio.PruneStore, events), timedelta(0)
        return await aio.prune(log, stats, before=None, limit=limit, rest=no_rest)
    except StoreBusyError:
        return None

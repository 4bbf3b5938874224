"""One case of a check: an empty site, its clients, and what must be true of them."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import Any, Generic, TypeVar, cast

import attrs

from skillstat_agg._commits import Cursor
from skillstat_agg._events import Event, RecordedEvent
from skillstat_agg._projections import SKILL_STATS, Projection
from skillstat_agg._quarantine import Uncountable
from skillstat_agg.errors import StoreBusyError
from skillstat_agg.testing._comparing import (
    EVERYTHING,
    compare_log,
    compare_pruned_log,
    compare_stats,
    expect,
    log_of,
)
from skillstat_agg.testing._doors import door_for
from skillstat_agg.testing._handles import Actor, Committed, Handle
from skillstat_agg.testing._harness import Harness, Setting
from skillstat_agg.testing._opening import opened_client, opened_copy, opened_site
from skillstat_agg.testing._plays import Play
from skillstat_agg.testing._steps import IO, Killed, Record, Violation
from skillstat_agg.testing._trails import Trail

S = TypeVar("S")
T = TypeVar("T")

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
"""When everything happens, unless a check says otherwise."""

LONGEST_ANSWER = 60

FIRST_LOOKS, LOOKS_APART, MOST_REFUSALS = 12, 40, 10

LOOKED_INSIDE = "somebody looked in the middle of a call"


class Level(Enum):
    """How far the sweep goes."""

    QUICK = "quick"
    FULL = "full"


class Clock:
    """A clock that shows what it is told to."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        """Return the time it shows."""
        return self.now

    def go(self, **by: float) -> None:
        """Go on, or back, by a stretch of time that is given as for `timedelta`."""
        self.now += timedelta(**by)


class Case(Generic[S]):
    """One case: a check is a function of it.

    Attributes:
        level: How far the sweep goes.
        clock: The clock of every client that was not given another.
        record: What happened, and which dangers were met.
        trail: The choices that make it.
        committed: What was appended and forgotten, as far as the kit knows.
    """

    def __init__(self, harness: Harness[S], level: Level, trail: Trail, stack: ExitStack) -> None:
        self.harness = harness
        self.level = level
        self.clock = Clock()
        self.record = Record()
        self.committed = Committed()
        self.trail = trail
        self._stack = stack
        self._site: S | None = None
        self._has_site = False
        self._observers: dict[str, Handle] = {}
        self._handles: list[Handle] = []
        self._play: Play | None = None
        self._watches: dict[Handle, Callable[[], object]] = {}
        self._labelled = 0
        self._has_varied = False

    @property
    def forgotten(self) -> set[str]:
        """The skills that were forgotten."""
        return self.committed.forgotten

    # Choices

    def pick(self, *ways: T) -> T:
        """Return one of these; every one gets a case of its own."""
        return ways[self.trail.choose(len(ways))]

    def maybe(self) -> bool:
        """Return False, and in cases of their own True."""
        return self.trail.choose(2) == 1

    def vary(self, first: T, *others: T) -> T:
        """Return one of these, as `pick`; at the quick level one choice of a case at a time.

        Where a check varies five things by themselves, all their combinations are the full
        level. The quick one has the first way of each, and each other way among first ones.
        """
        if self.level is Level.QUICK and self._has_varied:
            return first
        number = self.trail.choose(1 + len(others))
        self._has_varied = number > 0
        return (first, *others)[number]

    def scope(self, quick: T, full: T) -> T:
        """Return how far to go at this level."""
        return full if self.level is Level.FULL else quick

    def saw(self, fact: str) -> None:
        """Say that the case has met a danger: the witness of its check, perhaps."""
        self.record.facts.add(fact)

    # What there is

    def event(
        self,
        skill_id: str,
        kind: str = "download",
        *,
        at: datetime = NOON,
        event_id: str | None = None,
        deltas: Mapping[str, int] | None = None,
    ) -> Event:
        """Return an event; its note is what the schedule calls it: e1, e2 and so on."""
        self._labelled += 1
        note = f"e{self._labelled}"
        event = _event(skill_id, kind, at, event_id, note)
        return event if deltas is None else attrs.evolve(event, deltas=deltas)

    def downloads(self, skill_ids: Iterable[str]) -> tuple[Event, ...]:
        """Return a download of each skill."""
        return tuple(self.event(skill_id) for skill_id in skill_ids)

    @property
    def site(self) -> S:
        """The site of the case, empty at first."""
        if not self._has_site:
            self._site = self.elsewhere()
            self._has_site = True
        return cast(S, self._site)

    def client(
        self,
        name: str,
        projection: Projection = SKILL_STATS,
        *,
        clock: Callable[[], datetime] | None = None,
        site: S | None = None,
    ) -> Handle:
        """Open a client, which is closed at the end of the case at the latest."""
        handles: list[Handle] = []

        def io() -> None:
            self.saw(IO)
            if handles:
                self._at_io(handles[0])

        setting = Setting(
            projection=projection, clock=self.clock if clock is None else clock, io=io
        )
        place = self.site if site is None else site
        handle = self.record.do(name, "open", functools.partial(self._opened, name, place, setting))
        handles.append(handle)
        self._handles.append(handle)
        self._stack.callback(self._close, handle)
        return handle

    def _opened(self, name: str, site: S, setting: Setting) -> Handle:
        opened = opened_client(self.harness, site, setting)
        return Handle(name, opened, door_for(self.harness, opened), self.record, self.committed)

    def _close(self, handle: Handle) -> None:
        if handle.is_busy:
            # What it waits for may be held by another one, which goes as well.
            for other in self._handles:
                if not other.is_busy:
                    other.close()
        handle.close()

    def _at_io(self, handle: Handle) -> None:
        if handle.is_dead or handle.is_dying:
            raise Killed
        if self._play is not None:
            self._play.at_io(handle)
        elif handle in self._watches:
            self._watches[handle]()

    def elsewhere(self) -> S:
        """Return another site, empty."""
        enter = self._stack.enter_context
        return self.record.do("harness", "site", lambda: enter(opened_site(self.harness)))

    def copy(self) -> S:
        """Return a copy of the site, as a backup of it would be now."""
        place = self.site
        enter = self._stack.enter_context
        return self.record.do("harness", "copy", lambda: enter(opened_copy(self.harness, place)))

    def raw(self) -> object:
        """Return all that is stored at the site; None: the harness does not say."""
        if self.harness.raw is None:
            return None
        return self.record.do("harness", "raw", functools.partial(self.harness.raw, self.site))

    # What happens

    def _patience_seconds(self, *, patient: bool) -> float:
        """Return how long a call is waited for before somebody else may move."""
        hangs_after_seconds = self.harness.hangs_after.total_seconds()
        if not self.harness.blocks:
            return hangs_after_seconds
        return hangs_after_seconds / 2 if patient else self.harness.waits_after.total_seconds()

    def play(
        self,
        *actors: Actor[Any],
        switches: int,
        deaths: int = 0,
        faults: int = 0,
        interrupts: int = 0,
        inside: int = 0,
        into: Collection[str] = (),
        look: bool = True,
        patient: bool = False,
    ) -> None:
        """Let actors play, in every order with at most so many switches.

        Args:
            actors: Who plays; the first begins unless another is chosen.
            switches: How often one that could go on may be left for another.
            deaths: How many may die.
            faults: How many I/O points may fail.
            interrupts: How many calls may be interrupted, as by Ctrl-C; their clients live on.
            inside: How often another may move inside a call, at the I/O points.
            into: The methods inside which others may move, clients die and I/O fail.
            look: Whether an outside reader looks whenever the stats may have changed.
            patient: Whether to wait long before a call is taken for one that waits: where that
                itself is the question, and a slow one must not be the answer.
        """
        hangs_after_seconds = self.harness.hangs_after.total_seconds()
        if look and self.harness.blocks:
            self.observer()  # later it might have to wait for somebody who is stopped
        self._play = Play(
            actors,
            trail=self.trail,
            record=self.record,
            switches=switches,
            deaths=deaths,
            faults=faults,
            interrupts=interrupts,
            inside=inside,
            into=into,
            patience_seconds=self._patience_seconds(patient=patient),
            hangs_after_seconds=hangs_after_seconds,
            look=self._look if look else lambda: None,
        )
        try:
            self._play.run()
        finally:
            self._play = None

    @contextmanager
    def watching(self, handle: Handle, look: Callable[[], object]) -> Iterator[None]:
        """Let somebody look at the first I/O points of a client's calls, and at some of the rest.

        What `play` does with a case for each of them would take too many.
        """
        numbers, refusals = itertools.count(), list[StoreBusyError]()

        def at_io() -> None:
            number = next(numbers)
            is_chosen = number < FIRST_LOOKS or number % LOOKS_APART == 0
            if not is_chosen or len(refusals) == MOST_REFUSALS:
                return
            try:
                look()
                self.saw(LOOKED_INSIDE)
            except StoreBusyError as error:
                refusals.append(error)

        self._watches[handle] = at_io
        try:
            yield
        finally:
            del self._watches[handle]

    def _look(self) -> None:
        if self.record.wrote_stats:
            self.record.wrote_stats = False
            for outside in list(self._observers.values()) or [self.observer()]:
                self.observe(outside.stats.projection)

    # What must be true

    def expect(self, what: str, expected: object, actual: object) -> None:
        """Check that two values are equal.

        Raises:
            Violation: If they are not.
        """
        expect(what, expected, actual)

    def raises(self, errors: type[T], function: Callable[[], object], what: str) -> T:
        """Return the error that *function* raises.

        Raises:
            Violation: If it raises none, or another.
        """
        try:
            result = function()
        except Exception as error:
            if isinstance(error, errors):
                return error
            raise Violation(
                f"{what} raises {errors.__name__}", f"{type(error).__name__}: {error}"
            ) from error
        shown = str(result) if len(str(result)) <= LONGEST_ANSWER else f"a {type(result).__name__}"
        raise Violation(f"{what} raises {errors.__name__}", f"it returned {shown}")

    def log_of(self, handle: Handle) -> list[RecordedEvent]:
        """Return all that a client can read."""
        return log_of(handle)

    def observer(self, projection: Projection = SKILL_STATS) -> Handle:
        """Return a client that only looks on."""
        if projection.table not in self._observers:
            self._observers[projection.table] = self.client("outside", projection)
        return self._observers[projection.table]

    def observe(self, projection: Projection = SKILL_STATS, *, others_move: bool = False) -> None:
        """Check the invariant: the stats are the table applied to all events up to the cursor.

        Args:
            projection: Whose stats.
            others_move: Whether others commit between two calls of the one who looks.

        Raises:
            Violation: If they are not.
        """
        outside = self.observer(projection)
        with suppress(StoreBusyError):
            self._compare(outside, others_move=others_move)

    def settle(self, projection: Projection = SKILL_STATS, *, page: int = EVERYTHING) -> None:
        """Drain what is left with a new worker, and check that each event counted once.

        Raises:
            Violation: If one was lost or doubled, or a number is wrong.
        """
        worker = self.client("after", projection)
        uncountable = Uncountable.PARK if self.committed.parks else Uncountable.HALT
        worker.drain(page=page, uncountable=uncountable)
        log = self.log_of(worker)
        if self.committed.is_pruned:
            compare_pruned_log(self.committed, log)
        else:
            compare_log(self.committed, [recorded.event for recorded in log])
        cursor = self._compare(worker, log)
        self.expect("the cursor by itself", cursor, worker.stats.cursor())

    def _compare(
        self,
        client: Handle,
        folded: Sequence[RecordedEvent] | None = None,
        *,
        others_move: bool = False,
    ) -> Cursor:
        # Where calls wait, one that has waited may land at any time.
        may_move = others_move or self.harness.blocks
        return compare_stats(self.committed, client, folded, may_move=may_move)


@functools.lru_cache(maxsize=1_000)
def _event(skill_id: str, kind: str, at: datetime, event_id: str | None, note: str) -> Event:
    """Return an event: the same one in case after case."""
    return Event(skill_id=skill_id, kind=kind, occurred_at=at, event_id=event_id, note=note)

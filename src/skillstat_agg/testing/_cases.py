"""One case of a check: an empty site, its clients, and what must be true of them."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import Any, Generic, TypeVar, cast

import attrs

from skillstat_agg._commits import CHECKSUM_RANGE, Cursor
from skillstat_agg._events import Event, Place, RecordedEvent
from skillstat_agg._projections import SKILL_STATS, Projection
from skillstat_agg._stores import Totals
from skillstat_agg.errors import StoreBusyError
from skillstat_agg.testing._doors import door_for
from skillstat_agg.testing._handles import Actor, Committed, Handle
from skillstat_agg.testing._harness import Harness, Setting
from skillstat_agg.testing._numbers import Numbers, count, difference, without_zeros
from skillstat_agg.testing._opening import opened_client, opened_copy, opened_site
from skillstat_agg.testing._plays import Play
from skillstat_agg.testing._steps import IO, Killed, Record, Violation, label
from skillstat_agg.testing._trails import Trail

S = TypeVar("S")
T = TypeVar("T")

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
"""When everything happens, unless a check says otherwise."""

EVERYTHING = 100_000

LONGEST_ANSWER = 60

MOST_NAMED = 30
"""How many events a message names at most."""


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
        self._labelled = 0

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
        return Event(
            skill_id=skill_id,
            kind=kind,
            occurred_at=at,
            event_id=event_id,
            deltas=deltas,
            note=f"e{self._labelled}",
        )

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
        with self.record.doing(name, "open"):
            opened = opened_client(self.harness, place, setting)
            door = door_for(self.harness, opened)
            handle = Handle(name, opened, door, self.record, self.committed)
        handles.append(handle)
        self._handles.append(handle)
        self._stack.callback(self._close, handle)
        return handle

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

    def elsewhere(self) -> S:
        """Return another site, empty."""
        with self.record.doing("harness", "site"):
            return self._stack.enter_context(opened_site(self.harness))

    def copy(self) -> S:
        """Return a copy of the site, as a backup of it would be now."""
        place = self.site
        with self.record.doing("harness", "copy"):
            return self._stack.enter_context(opened_copy(self.harness, place))

    def raw(self) -> object:
        """Return all that is stored at the site; None: the harness does not say."""
        if self.harness.raw is None:
            return None
        place = self.site
        with self.record.doing("harness", "raw"):
            return self.harness.raw(place)

    # What happens

    def play(
        self,
        *actors: Actor[Any],
        switches: int,
        deaths: int = 0,
        faults: int = 0,
        inside: int = 0,
        into: Collection[str] = (),
        look: bool = True,
    ) -> None:
        """Let actors play, in every order with at most so many switches.

        Args:
            actors: Who plays; the first begins unless another is chosen.
            switches: How often one that could go on may be left for another.
            deaths: How many may die.
            faults: How many I/O points may fail.
            inside: How often another may move inside a call, at the I/O points.
            into: The methods inside which others may move, clients die and I/O fail.
            look: Whether an outside reader looks whenever the stats may have changed.
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
            inside=inside,
            into=into,
            patience_seconds=(
                self.harness.waits_after.total_seconds()
                if self.harness.blocks
                else hangs_after_seconds
            ),
            hangs_after_seconds=hangs_after_seconds,
            look=self._look if look else lambda: None,
        )
        try:
            self._play.run()
        finally:
            self._play = None

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
        if expected == actual:
            return
        if isinstance(expected, Cursor) and isinstance(actual, Cursor):
            unlike = _unlike(expected, actual)
            raise Violation(f"{what} = {unlike!r}", repr(_unlike(actual, expected)))
        raise Violation(f"{what} = {expected!r}", repr(actual))

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
        found: list[RecordedEvent] = []
        place: Place | None = None
        while True:
            page = handle.events.read(place, limit=EVERYTHING)
            found += page.events
            if page.is_last or not page.events:
                return found
            place = Place(page.epoch, found[-1].position, found[-1].fingerprint)

    def observer(self, projection: Projection = SKILL_STATS) -> Handle:
        """Return a client that only looks on."""
        if projection.table not in self._observers:
            self._observers[projection.table] = self.client("outside", projection)
        return self._observers[projection.table]

    def observe(self, projection: Projection = SKILL_STATS) -> None:
        """Check the invariant: the stats are the table applied to all events up to the cursor.

        Raises:
            Violation: If they are not.
        """
        outside = self.observer(projection)
        with suppress(StoreBusyError):
            self._compare(outside)

    def settle(self, projection: Projection = SKILL_STATS, *, page: int = EVERYTHING) -> None:
        """Drain what is left with a new worker, and check that each event counted once.

        Raises:
            Violation: If one was lost or doubled, or a number is wrong.
        """
        worker = self.client("after", projection)
        worker.drain(page=page)
        log = self.log_of(worker)
        self._check_log([recorded.event for recorded in log])
        cursor = self._compare(worker, log)
        self.expect("the cursor by itself", cursor, worker.stats.cursor())

    def _check_log(self, found: Sequence[Event]) -> None:
        """Check that the log holds what was appended, each event once."""
        known = Counter(map(_content, self.committed.events))
        there = Counter(map(_content, found))
        labels = {_content(event): label(event) for event in found}
        labels |= {_content(event): label(event) for event in self.committed.events}
        for batch in self.committed.unsure:
            if all(there[_content(event)] > known[_content(event)] for event in batch):
                for event in batch:
                    content = _content(event)
                    known[content] += event.event_id is None or not known[content]
        if known != there:
            raise Violation(
                f"a log of {labels_of(known, labels)}",
                labels_of(there, labels),
                "; ".join(
                    f"{what}: {labels_of(contents, labels)}"
                    for what, contents in (("lost", known - there), ("doubled", there - known))
                    if contents
                ),
            )

    def _compare(self, client: Handle, folded: Sequence[RecordedEvent] | None = None) -> Cursor:
        """Compare what is stored with what was folded, and return the cursor.

        Args:
            client: Who looks.
            folded: What must have been folded; None: the log up to the cursor.
        """
        totals = client.stats.totals()
        cursor = totals.cursor
        if folded is None:
            # Read after the totals: what stands up to their cursor cannot change any more.
            folded = [
                one
                for one in self.log_of(client)
                if cursor.place is not None and one.position <= cursor.place.position
            ]
        stored = client.stats.projection
        if cursor.table != stored.table:
            stored = _projection_of(cursor.table)
        events = [one.event for one in folded]
        uncounted = sorted({event.kind for event in events} - stored.kinds.keys())
        if uncounted:
            raise Violation(
                "a cursor whose table counts the kind of every event up to it",
                f"its table does not know {', '.join(map(repr, uncounted))}",
            )
        forgotten = self._forgotten(totals, events)
        expected = count(stored, events, forgotten)
        names = client.stats.projection.counters
        wanted = {
            skill: {name: row.get(name, 0) for name in names}
            for skill, row in expected.totals.items()
        }
        found = {skill: dict(row) for skill, row in totals.items()}
        unlike = difference(wanted, found, stored, self.committed.events, events)
        if unlike is not None:
            raise Violation(unlike.expected, unlike.actual, unlike.events)
        self._compare_rollups(client, cursor, expected, {*expected.totals, *forgotten})
        checksum = sum(one.fingerprint for one in folded) % CHECKSUM_RANGE
        self.expect("the cursor's count", len(folded), cursor.count)
        self.expect("the cursor's checksum", checksum, cursor.checksum)
        self.expect("the cursor's control totals", expected.controls, dict(cursor.controls))
        return cursor

    def _forgotten(self, totals: Totals, folded: Iterable[Event]) -> set[str]:
        """Return the skills that are forgotten; where only the store can know, it says so."""
        committed = self.committed
        if committed.forgetting:
            gone = {event.skill_id for event in folded} - totals.keys()
            committed.forgotten |= gone.intersection(committed.forgetting)
        return committed.forgotten

    def _compare_rollups(
        self, client: Handle, cursor: Cursor, expected: Numbers, skills: Collection[str]
    ) -> None:
        columns = client.stats.projection.columns
        for granularity, by_skill in expected.rollups.items():
            for skill in skills:
                rollups = client.stats.rollups(skill, granularity)
                if rollups.cursor != cursor and self.harness.blocks:
                    continue  # a commit that had to wait has landed in between
                self.expect(f"the cursor that comes with {skill!r}", cursor, rollups.cursor)
                wanted = without_zeros(
                    {
                        start: {name: row.get(name, 0) for name in columns}
                        for start, row in by_skill.get(skill, {}).items()
                    }
                )
                found = without_zeros({start: dict(row) for start, row in rollups.items()})
                self.expect(f"{skill!r} by {granularity.value}", wanted, found)


def _unlike(cursor: Cursor, other: Cursor) -> dict[str, object]:
    """Return the fields of a cursor record that are others in another one."""
    fields = attrs.asdict(cursor, recurse=False)
    return {name: value for name, value in fields.items() if value != getattr(other, name)}


@functools.cache
def _projection_of(table: str) -> Projection:
    """Return the projection whose table this is."""
    return Projection.from_table(table)


def labels_of(contents: Counter[Hashable], labels: Mapping[Hashable, str]) -> str:
    """Return what the kit calls some events, by what they count by: the first of many."""
    names = sorted(labels[content] for content in contents.elements())
    if len(names) > MOST_NAMED:
        names[MOST_NAMED:] = [f"and {len(names) - MOST_NAMED:,} more"]
    return ", ".join(names) or "no event"


def _content(event: Event) -> Hashable:
    """Return what an event counts by; time and note have checks of their own."""
    deltas = None if event.deltas is None else tuple(event.deltas.items())
    return event.skill_id, event.kind, event.event_id, deltas

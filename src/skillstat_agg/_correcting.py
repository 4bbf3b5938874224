"""Numbers held against their source: import the names from `skillstat_agg` instead.

`skillstat_agg.aio._correcting` is its twin for asynchronous stores.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime, timedelta
from time import monotonic, sleep

import attrs

from skillstat_agg._adjusting import (
    BY,
    CORRECTIONS,
    check_correctable,
    correction_kind,
    derived_id,
)
from skillstat_agg._events import (
    MAX_INTEGER,
    MIN_INTEGER,
    Event,
    Place,
    RecordedEvent,
    checked_skill_ids,
    events_in,
)
from skillstat_agg._folding import DEFAULT_PAGE
from skillstat_agg._fresh import (
    MOST_PENDING,
    FreshLog,
    Freshness,
    FreshTotals,
    Seconds,
    checked_deadline,
    fresh_totals,
)
from skillstat_agg._pages import Backlog, Page, check_bounds
from skillstat_agg._projections import Projection
from skillstat_agg._quarantine import Quarantine
from skillstat_agg._stores import StatsStore
from skillstat_agg.errors import EventIdConflictError, HistoryChangedError, InvalidEventError


class LeftAlone(enum.Enum):
    """Why a difference was not corrected. The next run looks again."""

    MOVED = "an event of the counter was committed while the source was read"
    WAITING = "committed events wait beyond the frontier, or were too many to read"
    PARKED = "an event of the skill lies in quarantine"
    FORGOTTEN = "the skill is forgotten"
    RACED = "another correction of the skill was appended meanwhile"
    TOO_LARGE = "the difference does not fit signed 64 bits"


@attrs.frozen(kw_only=True)
class Reconciliation:
    """What came of holding a counter against its source.

    Attributes:
        counter: The counter.
        checked: How many skills were compared.
        corrected: What was appended, by skill: what the correction adds.
        left_alone: Skills that differ and were not corrected, each with the reason.
    """

    counter: str
    checked: int
    corrected: Mapping[str, int]
    left_alone: Mapping[str, LeftAlone]

    @property
    def is_in_sync(self) -> bool:
        """Whether no skill differed. Then nothing was written."""
        return not self.corrected and not self.left_alone


def reconcile(
    events: FreshLog,
    stats: StatsStore,
    counter: str,
    source: Callable[[], Mapping[str, int]],
    /,
    *,
    at: datetime,
    note: str = "reconciled",
    skill_ids: Iterable[str] | None = None,
    limit: int = MOST_PENDING,
    timeout: timedelta = timedelta(0),
    every: timedelta = timedelta(milliseconds=100),
    clock: Seconds = monotonic,
    sleep: Callable[[float], object] = sleep,
) -> Reconciliation:
    """Hold a counter against the numbers it should have, and append what is missing.

    Numbers are read fresh, then the source, then the log again. A skill of which an event of
    the counter was committed meanwhile is left alone, since nobody can tell which of the two
    numbers has it; so is every skill as long as committed events wait beyond the frontier.
    What differs otherwise is appended as corrections, with ids that two runs at once, and a
    run that is repeated, share: a difference is never corrected twice. Where nothing differs
    nothing is written.

    Args:
        events: The log.
        stats: The stats of one projection, which `correctable` has made.
        counter: The counter.
        source: Returns the true number by skill; a skill that is not there has 0. It is called
            once, and must look at that moment, not into a cache, a replica or a snapshot that
            was begun before. What it looks at changes in the transaction that appends the
            event.
        at: When, for ``occurred_at`` of the corrections.
        note: Why, for their note.
        skill_ids: Which skills; None: all that have numbers, and all that the source has.
        limit: How many events to read at most, before and after the source.
        timeout: How long to wait until no event waits beyond the frontier.
        every: How long to sleep between two looks.
        clock: Gives the time in seconds.
        sleep: Sleeps so many seconds.

    Raises:
        InvalidProjectionError: If the projection knows no corrections of the counter.
        InvalidEventError: If what the source returns are no whole numbers by skill.
        SkillstatError: For the reasons that `fresh_totals` and ``append`` have.
    """
    check_correctable(stats.projection, counter)
    check_bounds(limit=limit)
    deadline = checked_deadline(clock(), timeout, every)
    wanted = None if skill_ids is None else checked_skill_ids(skill_ids)
    totals, parked = _numbers(events, stats, wanted, limit)
    numbers = checked_numbers(source())
    found = differences(totals, counter, numbers, wanted)
    moved = _moved(events, stats.projection, counter, totals.freshness.place, limit)
    while found.by_skill and moved is None and (left := deadline - clock()) > 0:
        sleep(min(left, every.total_seconds()))
        moved = _moved(events, stats.projection, counter, totals.freshness.place, limit)
    gone = stats.forgotten(found.by_skill)
    found = found.without(moved, parked, gone)
    while found.by_skill:
        try:
            events.append(found.corrections(stats.projection, at, note))
        except EventIdConflictError as error:
            found = found.without_raced(error, stats.projection)
        else:
            break
    return found.outcome


def _numbers(
    events: FreshLog, stats: StatsStore, wanted: Collection[str] | None, limit: int
) -> tuple[FreshTotals, frozenset[str]]:
    """Return fresh totals, and the skills of which an event lay in quarantine meanwhile."""
    while True:
        totals = fresh_totals(events, stats, wanted, limit=limit)
        before = totals.freshness.cursor
        if before.parked == 0:
            return totals, frozenset()
        quarantine = stats.quarantine(limit=before.parked + DEFAULT_PAGE)
        if is_all_of(quarantine, totals.freshness):
            return totals, frozenset(each.event.skill_id for each in quarantine.events)


def _moved(
    events: FreshLog, projection: Projection, counter: str, place: Place | None, limit: int
) -> frozenset[str] | None:
    """Return the skills whose counter an event after *place* has moved, or may have.

    None: that cannot be said, since events wait beyond the frontier or are too many.
    """
    moved: set[str] = set()
    try:
        backlog = events.lag(place, limit=limit)
        if backlog.waiting or backlog.events >= limit:
            return None
        while is_before(place, backlog):
            page = events.read(place, limit=DEFAULT_PAGE)
            if not page.events:
                return None
            moved.update(movers(projection, counter, page.events))
            place = end_of(page)
    except HistoryChangedError:
        return None  # workers have passed the place, and it was pruned
    return frozenset(moved)


# What calls no store


def is_all_of(quarantine: Quarantine, freshness: Freshness) -> bool:
    """Return whether a quarantine holds all that lay there when numbers were read.

    It does where it was read with the same table, so that nothing was taught in between, and
    whole. What was parked in between does no harm.
    """
    cursor = quarantine.cursor
    return cursor.table == freshness.cursor.table and events_in(quarantine.events) >= cursor.parked


def is_before(place: Place | None, backlog: Backlog) -> bool:
    """Return whether *place* lies before the frontier of a backlog."""
    end = backlog.frontier
    return end is not None and (place is None or place.position < end)


def end_of(page: Page) -> Place:
    """Return the place of the last event of a page."""
    last = page.events[-1]
    return Place(page.epoch, last.position, last.fingerprint)


def movers(projection: Projection, counter: str, events: Iterable[RecordedEvent]) -> set[str]:
    """Return the skills of events that move a counter, or that the table cannot count."""
    moving: set[str] = set()
    for recorded in events:
        effect = projection.kinds.get(recorded.event.kind)
        if effect is None or counter in effect.counters:
            moving.add(recorded.event.skill_id)
    return moving


def checked_numbers(numbers: Mapping[str, int]) -> Mapping[str, int]:
    """Return what a source has returned, when it is whole numbers by skill.

    Raises:
        InvalidEventError: If it is not.
    """
    checked_skill_ids(numbers)
    for skill_id, number in numbers.items():
        if type(number) is not int:
            raise InvalidEventError(
                f"the source must give whole numbers by skill, not {number!r} for {skill_id!r}"
            )
    return numbers


@attrs.frozen(kw_only=True)
class Differences:
    """Which skills differ from a source, and what becomes of them.

    Attributes:
        counter: The counter.
        checked: How many skills were compared.
        by_skill: What a correction is to add, by skill.
        corrections_before: How often each of them was corrected before.
        left_alone: Those that are not corrected, with the reason.
    """

    counter: str
    checked: int
    by_skill: Mapping[str, int]
    corrections_before: Mapping[str, int]
    left_alone: Mapping[str, LeftAlone] = attrs.field(factory=dict)

    def without(
        self, moved: frozenset[str] | None, parked: Collection[str], gone: Collection[str]
    ) -> Differences:
        """Return the same without the skills that are to be left alone."""
        left: dict[str, LeftAlone] = {}
        for skill_id, by in self.by_skill.items():
            if skill_id in gone:
                left[skill_id] = LeftAlone.FORGOTTEN
            elif moved is None:
                left[skill_id] = LeftAlone.WAITING
            elif skill_id in moved:
                left[skill_id] = LeftAlone.MOVED
            elif skill_id in parked:
                left[skill_id] = LeftAlone.PARKED
            elif not MIN_INTEGER <= by <= MAX_INTEGER:
                left[skill_id] = LeftAlone.TOO_LARGE
        return self._leaving(left)

    def without_raced(self, error: EventIdConflictError, projection: Projection) -> Differences:
        """Return the same without the corrections whose ids stand for others already.

        Raises:
            EventIdConflictError: If the conflict is about none of them.
        """
        raced = {
            skill_id
            for skill_id in self.by_skill
            if self.event_id(projection, skill_id) in error.event_ids
        }
        if not raced:
            raise error
        return self._leaving(dict.fromkeys(raced, LeftAlone.RACED))

    def _leaving(self, left: Mapping[str, LeftAlone]) -> Differences:
        return attrs.evolve(
            self,
            by_skill={skill: by for skill, by in self.by_skill.items() if skill not in left},
            left_alone={**self.left_alone, **left},
        )

    def event_id(self, projection: Projection, skill_id: str) -> str:
        """Return the id of the next correction of a skill.

        It is the same for all who have seen as many corrections of the skill, so that of two
        only one is appended.
        """
        number = self.corrections_before[skill_id] + 1
        return derived_id(f"correct/{projection.name}/{number}", skill_id)

    def corrections(self, projection: Projection, at: datetime, note: str) -> list[Event]:
        """Return the events that correct."""
        return [
            Event(
                skill_id=skill_id,
                kind=correction_kind(projection, self.counter),
                occurred_at=at,
                event_id=self.event_id(projection, skill_id),
                deltas={BY: by},
                note=note,
            )
            for skill_id, by in self.by_skill.items()
        ]

    @property
    def outcome(self) -> Reconciliation:
        """What is told of it."""
        return Reconciliation(
            counter=self.counter,
            checked=self.checked,
            corrected=dict(self.by_skill),
            left_alone=dict(self.left_alone),
        )


def differences(
    totals: FreshTotals,
    counter: str,
    numbers: Mapping[str, int],
    wanted: Collection[str] | None,
) -> Differences:
    """Return which skills have another total than the source says."""
    skills = dict.fromkeys((*totals, *numbers)) if wanted is None else wanted
    by_skill: dict[str, int] = {}
    before: dict[str, int] = {}
    for skill_id in skills:
        row = totals.get(skill_id, {})
        by = numbers.get(skill_id, 0) - row.get(counter, 0)
        if by:
            by_skill[skill_id] = by
            before[skill_id] = row.get(CORRECTIONS, 0)
    return Differences(
        counter=counter, checked=len(skills), by_skill=by_skill, corrections_before=before
    )

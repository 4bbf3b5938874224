"""The kit's checks of what is stored: stores that keep the laws pass, and each check kills one."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any

import attrs
import pytest

from skillstat_agg import SKILL_STATS, Event, Granularity, Place, Position, Projection
from skillstat_agg._appending import content_digests
from skillstat_agg._buckets import EPOCH, microseconds
from skillstat_agg._commits import CHECKSUM_RANGE, Commit, CommitResult
from skillstat_agg._events import MAX_INTEGER, MIN_INTEGER, RecordedEvent
from skillstat_agg._pages import Page, TalliedPage
from skillstat_agg._stores import DAY_AHEAD, Appended, Rollups, Totals
from skillstat_agg._tallies import Tally
from skillstat_agg.backends.memory import MemoryDatabase, MemoryEventStore, MemoryStatsStore
from skillstat_agg.errors import OutOfRangeError, UncountableEventError
from skillstat_agg.testing import harnesses
from skillstat_agg.testing._cases import Level
from skillstat_agg.testing._harness import AnyHarness, Client, Setting
from skillstat_agg.testing._results import Status
from skillstat_agg.testing._running import run_check
from skillstat_agg.testing._wiring import declared
from skillstat_agg.testing.checks import append, arguments, identity, kinds, numbers, times

CHECKS = {
    check.id: check
    for family in (append, identity, numbers, times, kinds, arguments)
    for check in family.CHECKS
}
MOMENT = timedelta(microseconds=1)


def harness_of(
    events: Callable[..., MemoryEventStore] = MemoryEventStore,
    stats: Callable[..., MemoryStatsStore] = MemoryStatsStore,
) -> AnyHarness:
    """Return the harness of the stores in memory, with one that is broken."""

    @contextmanager
    def client(database: MemoryDatabase, setting: Setting) -> Iterator[Client]:
        log = events(database, clock=setting.clock)
        begun: list[Any] = []

        def begin() -> Any:
            begun.append(log.begin())
            return begun[-1]

        yield Client(
            events=log,
            stats=stats(setting.projection, database, clock=setting.clock),
            begin=begin,
        )
        for opened in begun:
            if opened.is_open:
                opened.rollback()

    return attrs.evolve(harnesses.memory, client=client)


def status(check_id: str, harness: AnyHarness) -> Status:
    return run_check(CHECKS[check_id], harness, Level.QUICK, declared(harness)).status


# Logs that are broken


class KeepsNoIds(MemoryEventStore):
    """Knows only the ids of the call."""

    def _finish(self, pending, events, ids):
        super()._finish(pending, events, {})


class MissesTwins(MemoryEventStore):
    """Looks only into the log: an id that is twice in a call is stored twice."""

    def _allocate(self, pending, events, max_ahead):
        seen: set[str] = set()
        given = []
        for event in tuple(events):
            is_twin = isinstance(event, Event) and event.event_id in seen
            given.append(attrs.evolve(event, event_id=None) if is_twin else event)
            seen.add(getattr(event, "event_id", None) or "")
        return super()._allocate(pending, given, max_ahead)


class ComparesIdsOnly(MemoryEventStore):
    """Takes every known id for a retry."""

    def _allocate(self, pending, events, max_ahead):
        given = tuple(events)
        known = self._database._digests
        new = [event for event in given if getattr(event, "event_id", None) not in known]
        return super()._allocate(pending, new, max_ahead)


class ForgivesTwins(MemoryEventStore):
    """Takes the first of two unlike events that have one id in a call."""

    def _allocate(self, pending, events, max_ahead):
        given: dict[object, Event] = {}
        for event in events:
            given.setdefault(getattr(event, "event_id", None) or object(), event)
        return super()._allocate(pending, given.values(), max_ahead)


class KeepsIdsOfRollbacks(MemoryEventStore):
    """Writes ids down outside of the transaction."""

    def _allocate(self, pending, events, max_ahead):
        given = tuple(events)
        appended = super()._allocate(pending, given, max_ahead)
        self._database._digests.update(content_digests(given))
        return appended


class RefusesMixtures(MemoryEventStore):
    """Takes a call for a retry if one of its events is."""

    def _allocate(self, pending, events, max_ahead):
        given = tuple(events)
        if any(getattr(event, "event_id", None) in self._database._digests for event in given):
            given = ()
        return super()._allocate(pending, given, max_ahead)


class GuessesTwins(MemoryEventStore):
    """Takes an event that equals one in the log for the same one."""

    def _allocate(self, pending, events, max_ahead):
        there = [recorded.event for recorded in self._database._visible]
        given = [event for event in dict.fromkeys(events) if event not in there]
        return super()._allocate(pending, given, max_ahead)


class OverlooksOpenIds(MemoryEventStore):
    """Checks ids against what is committed, without a constraint."""

    def _allocate(self, pending, events, max_ahead):
        opened = self._database._open
        self._database._open = [pending]
        try:
            return super()._allocate(pending, events, max_ahead)
        finally:
            self._database._open = opened


class TakesTheLastTime(MemoryEventStore):
    """Upserts: a retry overwrites the time of the first try."""

    def append(self, events, /, *, max_ahead=DAY_AHEAD):
        given = tuple(events)
        times = {event.event_id: event.occurred_at for event in given if event.event_id}
        appended = super().append(given, max_ahead=max_ahead)
        for index, recorded in enumerate(self._database._visible):
            event = recorded.event
            at = times.get(event.event_id or "", event.occurred_at)
            event = attrs.evolve(event, occurred_at=at)
            self._database._visible[index] = attrs.evolve(recorded, event=event)
        return appended


class CountsRetries(MemoryEventStore):
    """Says that everything was new."""

    def append(self, events, /, *, max_ahead=DAY_AHEAD):
        given = tuple(events)
        return attrs.evolve(super().append(given, max_ahead=max_ahead), new=len(given))


class NamesTheFirst(MemoryEventStore):
    """Says where the first event of the log is."""

    def append(self, events, /, *, max_ahead=DAY_AHEAD):
        appended = super().append(events, max_ahead=max_ahead)
        return attrs.evolve(
            appended, position=appended.position and self._database._visible[0].position
        )


class StoresOneByOne(MemoryEventStore):
    """Stores event by event, up to the bad one."""

    def append(self, events, /, *, max_ahead=DAY_AHEAD):
        appended = [
            super(StoresOneByOne, self).append([event], max_ahead=max_ahead) for event in events
        ]
        return Appended(
            new=sum(one.new for one in appended),
            position=max((one.position for one in appended if one.position), default=None),
        )


class LeavesApart(MemoryEventStore):
    """Joins a transaction without a savepoint: what a refused call stored stays in it."""

    def _allocate(self, pending, events, max_ahead):
        given = tuple(events)
        if pending.events:
            for event in given[:-1]:
                super()._allocate(pending, [event], max_ahead)
            given = given[-1:]
        return super()._allocate(pending, given, max_ahead)


class KeepsAThousandIds(MemoryEventStore):
    """Remembers a window of ids."""

    def _finish(self, pending, events, ids):
        super()._finish(pending, events, ids)
        kept = list(self._database._digests.items())[-1_000:]
        self._database._digests.clear()
        self._database._digests.update(kept)


class KeepsIdsPerClient(MemoryEventStore):
    """Remembers ids in the process."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._ids: dict[str, bytes] = {}

    def _finish(self, pending, events, ids):
        self._ids.update(ids)
        super()._finish(pending, events, {})

    def _allocate(self, pending, events, max_ahead):
        self._database._digests, kept = self._ids, self._database._digests
        try:
            return super()._allocate(pending, events, max_ahead)
        finally:
            self._database._digests = kept


class TakesTheFuture(MemoryEventStore):
    """Looks at no bound."""

    def append(self, events, /, *, max_ahead=DAY_AHEAD):
        return super().append(events, max_ahead=timedelta.max)


class TakesAWeek(MemoryEventStore):
    """Has another default."""

    def append(self, events, /, *, max_ahead=timedelta(days=7)):
        return super().append(events, max_ahead=max_ahead)


class IteratesTwice(MemoryEventStore):
    """Looks at the events before it stores them."""

    def append(self, events, /, *, max_ahead=DAY_AHEAD):
        for event in events:
            assert isinstance(event, Event)
        return super().append(events, max_ahead=max_ahead)


class TakesLists(MemoryEventStore):
    """Asks for the number of the events."""

    def append(self, events: Any, /, *, max_ahead=DAY_AHEAD):
        assert len(events) >= 0
        return super().append(events, max_ahead=max_ahead)


class StepsBack(MemoryEventStore):
    """Gives positions by the clock alone."""

    def _next_position(self, now):
        database: Any = self._database
        database._last = (max(0, microseconds(now)), database._last[1] + 1)
        return Position(database._last)


class StoresThenRefuses(MemoryEventStore):
    """Knows its table, and looks at it too late."""

    def append(self, events, /, *, max_ahead=DAY_AHEAD):
        given = tuple(events)
        appended = super().append(given, max_ahead=max_ahead)
        for index, event in enumerate(given):
            try:
                SKILL_STATS.check(event)
            except UncountableEventError as error:
                raise attrs.evolve(error, index=index) from None
        return appended


class ClampsLimits(MemoryEventStore):
    """Makes the best of every limit."""

    def read(self, after, /, *, limit):
        return super().read(after, limit=max(limit, 1))


def storing(change: Callable[[Event], Event]) -> type[MemoryEventStore]:
    """Return a log that stores another event than it is given."""

    class Store(MemoryEventStore):
        def _allocate(self, pending, events, max_ahead):
            given = (change(one) if isinstance(one, Event) else one for one in events)
            return super()._allocate(pending, given, max_ahead)

    return Store


def reading(change: Callable[[RecordedEvent], RecordedEvent | None]) -> type[MemoryEventStore]:
    """Return a log that reads another event than it stored; None: none."""

    class Store(MemoryEventStore):
        def read(self, after: Place | None, /, *, limit: int) -> Page:
            page = super().read(after, limit=limit)
            found = (change(one) for one in page.events)
            return attrs.evolve(page, events=tuple(one for one in found if one is not None))

    return Store


def looking_up(key: Callable[[str], str]) -> type[MemoryEventStore]:
    """Return a log that takes ids with one *key* for one id."""

    class Store(MemoryEventStore):
        def _allocate(self, pending, events, max_ahead):
            known = {key(one): one for one in (*self._database._digests, *pending.digests)}
            given = []
            for event in events:
                event_id = event.event_id or ""
                given += [event] * (known.setdefault(key(event_id), event_id) == event_id)
            return super()._allocate(pending, given, max_ahead)

    return Store


def tallying(occurred: Callable[[RecordedEvent], datetime]) -> type[MemoryEventStore]:
    """Return a log with a tally of its own, by times of its own."""

    class Store(MemoryEventStore):
        def tally(
            self, after: Place | None, /, *, limit: int, granularity: Granularity
        ) -> TalliedPage:
            page = self.read(after, limit=limit)
            last = page.events[-1] if page.events else None
            return TalliedPage(
                tally=Tally.of(
                    (attrs.evolve(one.event, occurred_at=occurred(one)) for one in page.events),
                    granularity,
                ),
                count=len(page.events),
                checksum=sum(one.fingerprint for one in page.events) % CHECKSUM_RANGE,
                place=Place(page.epoch, last.position, last.fingerprint) if last else None,
                frontier=page.frontier,
                is_last=page.is_last,
            )

    return Store


def without_note(recorded: RecordedEvent) -> RecordedEvent:
    return attrs.evolve(recorded, event=attrs.evolve(recorded.event, note=None))


def to_the_millisecond(event: Event) -> Event:
    at = event.occurred_at
    return attrs.evolve(event, occurred_at=at - timedelta(microseconds=at.microsecond % 1_000))


def through_floats(event: Event) -> Event:
    if event.deltas is None:
        return event
    deltas = {name: int(float(value) * 0.5) * 2 for name, value in event.deltas.items()}
    return attrs.evolve(event, deltas={n: min(v, MAX_INTEGER) for n, v in deltas.items()})


def only_known_kinds(recorded: RecordedEvent) -> RecordedEvent | None:
    return recorded if recorded.event.kind in SKILL_STATS.kinds else None


def repaired(event: Event) -> Event:
    """Fill in and leave out deltas as the table wants them."""
    names = SKILL_STATS.kinds[event.kind].carries
    deltas = {name: (event.deltas or {}).get(name, 0) for name in names}
    return attrs.evolve(event, deltas=deltas or None)


def towards_zero(recorded: RecordedEvent) -> datetime:
    hours = int((recorded.event.occurred_at - EPOCH) / timedelta(hours=1))
    return EPOCH + timedelta(hours=hours)


# Stats that are broken


def summing(total: Callable[[int], int], *, only: str = "") -> type[MemoryStatsStore]:
    """Return stats that keep another sum; *only*: of columns that begin so."""

    class Store(MemoryStatsStore):
        def _sum(self, before, row, names, skill_id, prefix=""):
            if not prefix.startswith(only):
                return super()._sum(before, row, names, skill_id, prefix)
            return {
                name: total(before.get(name, 0) + amount)
                for name, amount in zip(names, row, strict=True)
            }

    return Store


class RefusesLargeDeltas(MemoryStatsStore):
    """Looks at what is added instead of at the sum."""

    def _sum(self, before, row, names, skill_id, prefix=""):
        for name, amount in zip(names, row, strict=True):
            if not MIN_INTEGER <= amount <= MAX_INTEGER:
                raise OutOfRangeError(self._projection.name, skill_id, prefix + name)
        return super()._sum(before, row, names, skill_id, prefix)


class MovesFirst(MemoryStatsStore):
    """Stores the cursor before it looks at the sums."""

    def commit(self, commit: Commit, /) -> CommitResult:
        try:
            return super().commit(commit)
        except OutOfRangeError:
            stats = self._stats()
            cursor = commit.cursor(commit.deltas, self._clock())
            self._database._stats[self._projection.name] = attrs.evolve(stats, cursor=cursor)
            raise


class NamesTheProjection(MemoryStatsStore):
    """Says that a number was too large, and not which."""

    def commit(self, commit: Commit, /) -> CommitResult:
        try:
            return super().commit(commit)
        except OutOfRangeError as error:
            raise attrs.evolve(error, skill_id="", counter="") from None


class MergesSkills(MemoryStatsStore):
    """Keeps one row for all skills with one key."""

    key: Callable[[str], str] = staticmethod(str)

    def commit(self, commit: Commit, /) -> CommitResult:
        deltas = commit.deltas
        totals: dict[str, tuple[int, ...]] = {}
        for skill, row in deltas.totals.items():
            before = totals.get(self.key(skill), (0,) * len(row))
            totals[self.key(skill)] = tuple(map(sum, zip(before, row, strict=True)))
        return super().commit(attrs.evolve(commit, deltas=attrs.evolve(deltas, totals=totals)))

    def totals(self, skill_ids: Iterable[str] | None = None, /) -> Totals:
        if skill_ids is None:
            return super().totals()
        asked = list(skill_ids)
        found = super().totals([self.key(skill) for skill in asked])
        there = {skill: found.get(self.key(skill)) for skill in asked}
        return Totals(found.cursor, {skill: row for skill, row in there.items() if row})


def merging(key: Callable[[str], str]) -> type[MemoryStatsStore]:
    return type("Merging", (MergesSkills,), {"key": staticmethod(key)})


class RecordsApart(MemoryStatsStore):
    """Stores another record than it returns."""

    def changed(self, controls: Mapping[str, int], at: datetime) -> dict[str, Any]:
        raise NotImplementedError

    def commit(self, commit: Commit, /) -> CommitResult:
        result = super().commit(commit)
        stats, cursor = self._stats(), result.cursor
        changed = self.changed(cursor.controls, cursor.updated_at)
        self._database._stats[self._projection.name] = attrs.evolve(
            stats, cursor=attrs.evolve(cursor, **changed)
        )
        return result


class WrapsControls(RecordsApart):
    """Stores control totals in 64 bits."""

    def changed(self, controls: Mapping[str, int], at: datetime) -> dict[str, Any]:
        return {"controls": {name: wrapped(value) for name, value in controls.items()}}


class RecordsMilliseconds(RecordsApart):
    """Stores the time of the record to the millisecond."""

    def changed(self, controls: Mapping[str, int], at: datetime) -> dict[str, Any]:
        return {"updated_at": at - timedelta(microseconds=at.microsecond % 1_000)}


class EndsLate(MemoryStatsStore):
    """Takes *until* for the last bucket."""

    def rollups(self, skill_id, granularity, /, *, since=None, until=None) -> Rollups:
        last = datetime.max.replace(tzinfo=timezone.utc)
        later = until if until in (None, last) else until + MOMENT
        return super().rollups(skill_id, granularity, since=since, until=later)


class TakesUtc(MemoryStatsStore):
    """Takes a time without a zone for one in UTC."""

    def rollups(self, skill_id, granularity, /, *, since=None, until=None) -> Rollups:
        since, until = (at and at.replace(tzinfo=timezone.utc) for at in (since, until))
        return super().rollups(skill_id, granularity, since=since, until=until)


class TakesStrings(MemoryStatsStore):
    """Takes a string for a list of skills with ids of one letter."""

    def totals(self, skill_ids: Iterable[str] | None = None, /) -> Totals:
        return super().totals(list(skill_ids) if isinstance(skill_ids, str) else skill_ids)


class TakesNoneForAll(MemoryStatsStore):
    """Takes a list of no skills for all."""

    def totals(self, skill_ids: Iterable[str] | None = None, /) -> Totals:
        return super().totals(list(skill_ids or ()) or None)


def clamped(value: int) -> int:
    return max(MIN_INTEGER, min(MAX_INTEGER, value))


def wrapped(value: int) -> int:
    return (value - MIN_INTEGER) % 2**64 + MIN_INTEGER


def nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def up_to_nul(text: str) -> str:
    return text.partition("\0")[0]


def short(text: str) -> str:
    return text[:255]


def as_number(text: str) -> str:
    try:
        return str(float(text))
    except ValueError:
        return text


KEYS = (str.casefold, str.strip, nfc, up_to_nul, short, as_number)


def kind_by(key: Callable[[str], str]) -> type[MemoryEventStore]:
    return storing(lambda event: attrs.evolve(event, kind=key(event.kind)))


BROKEN = [
    ("APPEND-01", harness_of(KeepsNoIds)),
    ("APPEND-02", harness_of(MissesTwins)),
    ("APPEND-03", harness_of(ComparesIdsOnly)),
    ("APPEND-03", harness_of(ForgivesTwins)),
    ("APPEND-04", harness_of(KeepsIdsOfRollbacks)),
    ("APPEND-05", harness_of(RefusesMixtures)),
    ("APPEND-06", harness_of(GuessesTwins)),
    ("APPEND-07", harness_of(OverlooksOpenIds)),
    ("APPEND-08", harness_of(TakesTheLastTime)),
    ("APPEND-09", harness_of(CountsRetries)),
    ("APPEND-09", harness_of(NamesTheFirst)),
    ("APPEND-10", harness_of(StoresOneByOne)),
    ("APPEND-10", harness_of(LeavesApart)),
    ("APPEND-11", harness_of(KeepsAThousandIds)),
    ("APPEND-11", harness_of(KeepsIdsPerClient)),
    ("APPEND-12", harness_of(TakesTheFuture)),
    ("APPEND-12", harness_of(TakesAWeek)),
    ("APPEND-13", harness_of(reading(without_note))),
    ("APPEND-13", harness_of(reading(lambda one: attrs.evolve(one, fingerprint=0)))),
    ("APPEND-13", harness_of(storing(to_the_millisecond))),
    ("APPEND-13", harness_of(storing(through_floats))),
    ("APPEND-14", harness_of(IteratesTwice)),
    ("APPEND-14", harness_of(TakesLists)),
    *[("IDENT-01", harness_of(stats=merging(key))) for key in KEYS],
    *[("IDENT-02", harness_of(looking_up(key))) for key in KEYS],
    *[("IDENT-03", harness_of(kind_by(key))) for key in KEYS],
    ("NUM-01", harness_of(stats=summing(lambda value: int(float(value)), only=""))),
    ("NUM-02", harness_of(stats=summing(clamped))),
    ("NUM-02", harness_of(stats=summing(wrapped))),
    ("NUM-02", harness_of(stats=summing(int))),
    ("NUM-02", harness_of(stats=MovesFirst)),
    ("NUM-02", harness_of(stats=NamesTheProjection)),
    ("NUM-03", harness_of(stats=RefusesLargeDeltas)),
    ("NUM-04", harness_of(stats=WrapsControls)),
    ("NUM-05", harness_of(stats=summing(lambda value: int(float(value)), only="day."))),
    ("NUM-05", harness_of(stats=summing(clamped, only="day."))),
    ("NUM-05", harness_of(stats=summing(clamped, only="hour."))),
    ("TIME-01", harness_of(tallying(lambda one: one.event.occurred_at - MOMENT))),
    ("TIME-02", harness_of(tallying(towards_zero))),
    ("TIME-03", harness_of(tallying(lambda one: one.recorded_at))),
    ("TIME-04", harness_of(StepsBack)),
    ("TIME-05", harness_of(stats=EndsLate)),
    ("TIME-06", harness_of(stats=RecordsMilliseconds)),
    ("KIND-01", harness_of(reading(only_known_kinds))),
    ("KIND-01", harness_of(StoresThenRefuses)),
    ("KIND-02", harness_of(storing(repaired))),
    ("KIND-03", harness_of(reading(only_known_kinds))),
    ("ARGS-01", harness_of(ClampsLimits)),
    ("ARGS-02", harness_of(stats=TakesUtc)),
    ("ARGS-03", harness_of(stats=TakesStrings)),
    ("ARGS-04", harness_of(stats=TakesNoneForAll)),
]


@pytest.mark.parametrize("check_id", CHECKS)
@pytest.mark.parametrize("name", ["memory", "memory_async", "sqlite"])
def test_the_stores_of_this_package_pass(check_id, name):
    """They keep the laws, and every check has met its danger."""
    assert status(check_id, getattr(harnesses, name)) is Status.PASSED


@pytest.mark.parametrize(("check_id", "harness"), BROKEN)
def test_a_broken_store_is_caught(check_id, harness):
    """By the check that is about what is broken."""
    assert status(check_id, harness) is Status.FAILED


def test_every_check_catches_a_store():
    """None of them is one that no store can fail."""
    assert {check_id for check_id, _ in BROKEN} == CHECKS.keys()


@pytest.mark.parametrize("check_id", [check.id for check in kinds.CHECKS])
def test_a_store_may_refuse_what_its_table_cannot_count(check_id):
    """A store that knows its table need not let a fold find the event."""
    refused: list[Projection] = []

    @contextmanager
    def client(database: MemoryDatabase, setting: Setting) -> Iterator[Client]:
        refused.append(setting.projection)
        yield Client(
            events=MemoryEventStore(
                database, clock=setting.clock, projections=[setting.projection]
            ),
            stats=MemoryStatsStore(setting.projection, database, clock=setting.clock),
        )

    assert status(check_id, attrs.evolve(harnesses.memory, client=client)) is Status.PASSED
    assert refused

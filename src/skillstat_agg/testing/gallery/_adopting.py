"""Logs that take over the counts of another mechanism in part, or beside other ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta

import attrs

from skillstat_agg._events import Event
from skillstat_agg._stores import DAY_AHEAD, Appended
from skillstat_agg.backends.memory import MemoryDatabase, MemoryEventStore
from skillstat_agg.backends.memory._database import Pending
from skillstat_agg.errors import EventIdConflictError
from skillstat_agg.testing._harness import Setting
from skillstat_agg.testing.gallery._frame import BrokenStore, broken, events_of
from skillstat_agg.testing.gallery._logs import Log

_NONE = ("no public report was found",)


class DigestWithoutNumbers(Log):
    """An id stands for a skill and a kind; what an event carries is not looked at."""

    def _allocate(
        self, pending: Pending, events: Iterable[Event], max_ahead: timedelta
    ) -> Appended:
        there = {row.event.event_id: row.event for row in self._database._visible}
        given = [_as_there(event, there.get(event.event_id)) for event in events]
        return super()._allocate(pending, given, max_ahead)


def _as_there(event: Event, known: Event | None) -> Event:
    """Return *event* with the deltas of the one that is known by its id, if that looks alike."""
    if event.event_id is None or known is None:
        return event
    if (known.skill_id, known.kind) != (event.skill_id, event.kind):
        return event
    return attrs.evolve(event, deltas=known.deltas)


class StoresTheRest(Log):
    """Says which ids are in conflict, and stores the events that are not."""

    def append(self, events: Iterable[Event], /, *, max_ahead: timedelta = DAY_AHEAD) -> Appended:
        given = tuple(events)
        try:
            return super().append(given, max_ahead=max_ahead)
        except EventIdConflictError as error:
            super().append([one for one in given if one.event_id not in error.event_ids])
            raise


class InBatches(MemoryEventStore):
    """Commits every second event: a large import shall not hold a lock for long."""

    def __init__(self, database: MemoryDatabase, setting: Setting) -> None:
        super().__init__(database, clock=setting.clock)
        self._io = setting.io

    def append(self, events: Iterable[Event], /, *, max_ahead: timedelta = DAY_AHEAD) -> Appended:
        given, appended = tuple(events), Appended(new=0, position=None)
        for first in range(0, len(given), 2):
            self._io()
            part = super().append(given[first : first + 2], max_ahead=max_ahead)
            appended = Appended(new=appended.new + part.new, position=part.position)
        return appended


def _store(
    name: str,
    mistake: str,
    events: Callable[[MemoryDatabase, Setting], MemoryEventStore],
    killer: str,
    remedy: str,
    *,
    breaks: tuple[str, ...] = ("append_once",),
    io: bool = False,
) -> BrokenStore:
    return BrokenStore(
        name=name,
        mistake=mistake,
        reported=_NONE,
        row="E4",
        breaks=breaks,
        killer=killer,
        remedy=remedy,
        harness=broken(events=events, io=io),
    )


STORES = (
    _store(
        "a digest without the numbers",
        "What an id is bound to is the skill and the kind. Counts that are adopted a second time,"
        " with other numbers, are told to be in, and are not.",
        events_of(DigestWithoutNumbers),
        "ADOPT-02",
        "let the digest cover the deltas: Event.content_digest does",
    ),
    _store(
        "stores what is not in conflict",
        "An append that meets an id with other content names it, and stores the rest, since that"
        " is new. Of an adoption that is refused some opening balances are in the log.",
        events_of(StoresTheRest),
        "ADOPT-02",
        "store all events of a call, or none",
    ),
    _store(
        "an import in batches",
        "A call with many events is committed part by part, so that nobody waits long. Who dies in"
        " between has opened some counters and not the others, and they are shown so.",
        InBatches,
        "ADOPT-04",
        "store all events of a call in one transaction",
        io=True,
    ),
)

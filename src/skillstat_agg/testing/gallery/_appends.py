"""Appends that store an event twice, or not at all, whatever its id says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from skillstat_agg._events import Event, RecordedEvent
from skillstat_agg._stores import Appended
from skillstat_agg.backends.memory import MemoryDatabase
from skillstat_agg.backends.memory._database import Pending
from skillstat_agg.errors import EventIdConflictError
from skillstat_agg.testing.gallery._frame import BrokenStore, broken, events_of
from skillstat_agg.testing.gallery._logs import Log, known_in

Ids = Mapping[str, bytes]


class NoIds(Log):
    """Ids are stored, and not looked up."""

    def _finish(self, pending: Pending, events: Sequence[RecordedEvent], ids: Ids) -> None:
        super()._finish(pending, events, {})


class LastIds(Log):
    """The last ten ids are remembered."""

    REMEMBERED = 10

    def _finish(self, pending: Pending, events: Sequence[RecordedEvent], ids: Ids) -> None:
        super()._finish(pending, events, ids)
        known = self._database._digests
        for old in [*known][: -self.REMEMBERED]:
            del known[old]


class IdsOfConnection(Log):
    """Each connection remembers the ids that it has appended itself."""

    def __init__(self, database: MemoryDatabase, *, clock: Callable[[], datetime]) -> None:
        super().__init__(database, clock=clock)
        self._ids: dict[str, bytes] = {}

    def _allocate(
        self, pending: Pending, events: Iterable[Event], max_ahead: timedelta
    ) -> Appended:
        self._database._digests = self._ids
        return super()._allocate(pending, events, max_ahead)

    def _finish(self, pending: Pending, events: Sequence[RecordedEvent], ids: Ids) -> None:
        self._database._digests = self._ids
        super()._finish(pending, events, ids)


class IdsAlone(Log):
    """``ON CONFLICT (id) DO NOTHING``, whatever the content."""

    def _allocate(
        self, pending: Pending, events: Iterable[Event], max_ahead: timedelta
    ) -> Appended:
        given = tuple(events)
        for known in (self._database._digests, pending.digests):
            known.update((id_, event.content_digest()) for id_, event in known_in(given, known))
        return super()._allocate(pending, given, max_ahead)


class SameContent(Log):
    """What looks like an event that is there already is one."""

    def _allocate(
        self, pending: Pending, events: Iterable[Event], max_ahead: timedelta
    ) -> Appended:
        there = {row.event for row in self._database._visible if row.event.event_id is None}
        return super()._allocate(pending, [one for one in events if one not in there], max_ahead)


class IdsBeforeCommit(Log):
    """Ids are recorded by themselves, before it is known whether the append commits."""

    def _finish(self, pending: Pending, events: Sequence[RecordedEvent], ids: Ids) -> None:
        super()._finish(pending, events, pending.digests)


class LookedUpFirst(Log):
    """An id is looked up, and then inserted; no constraint stands behind it."""

    def _allocate(
        self, pending: Pending, events: Iterable[Event], max_ahead: timedelta
    ) -> Appended:
        others = [other for other in self._database._open if other is not pending]
        hidden = [(other, other.digests) for other in others]
        for other in others:
            other.digests = {}
        try:
            return super()._allocate(pending, events, max_ahead)
        finally:
            for other, digests in hidden:
                other.digests = digests


class TimeInDigest(Log):
    """``occurred_at`` belongs to what an id is bound to."""

    def _allocate(
        self, pending: Pending, events: Iterable[Event], max_ahead: timedelta
    ) -> Appended:
        given = tuple(events)
        times = {row.event.event_id: row.event.occurred_at for row in self._database._visible}
        unlike = [
            id_
            for id_, event in known_in(given, self._database._digests)
            if times[id_] != event.occurred_at
        ]
        if unlike:
            raise EventIdConflictError(tuple(unlike))
        return super()._allocate(pending, given, max_ahead)


ONE_CONSTRAINT = "put the id under a unique constraint, kept as long as the log"

STORES = (
    BrokenStore(
        name="ids not looked up",
        mistake="Stores event ids with the events and leaves it there. A retry after a lost"
        " answer is stored again.",
        reported=("mangit955/nap#66", "kurrent-io/KurrentDB#1354"),
        row="E1",
        breaks=("append_once",),
        killer="APPEND-01",
        remedy=ONE_CONSTRAINT,
        harness=broken(events=events_of(NoIds), counts=True),
    ),
    BrokenStore(
        name="remembers the last ids",
        mistake="Keeps the last ten ids, since retries come soon. The one that comes late is"
        " stored again.",
        reported=("kurrent-io/KurrentDB#1949", "akka/akka-projection#906"),
        row="E2, O10",
        breaks=("append_once",),
        killer="APPEND-11",
        remedy=ONE_CONSTRAINT,
        harness=broken(events=events_of(LastIds)),
    ),
    BrokenStore(
        name="ids of one connection",
        mistake="Remembers ids in the process that has appended them. The retry that comes from"
        " another process, or after a restart, is stored again.",
        reported=("kurrent-io/KurrentDB#1970", "kurrent-io/KurrentDB#2274"),
        row="E2",
        breaks=("append_once",),
        killer="APPEND-11",
        remedy=ONE_CONSTRAINT,
        harness=broken(events=events_of(IdsOfConnection)),
    ),
    BrokenStore(
        name="ids without content",
        mistake="Takes every event with a known id for a retry. An id that was used twice by"
        " mistake swallows an event.",
        reported=("kurrent-io/KurrentDB#1949",),
        row="E4",
        breaks=("append_once",),
        killer="APPEND-03",
        remedy="store a digest of the content with the id, and refuse the id with another one",
        harness=broken(events=events_of(IdsAlone)),
    ),
    BrokenStore(
        name="same content is the same event",
        mistake="Takes an event for a retry that looks like one that is there. Two downloads in"
        " one moment become one.",
        reported=("no public report was found",),
        row="P16",
        breaks=("append_once",),
        killer="APPEND-06",
        remedy="only an id says that two events are one",
        harness=broken(events=events_of(SameContent)),
    ),
    BrokenStore(
        name="ids outlive a rollback",
        mistake="Records ids outside the transaction of the append. After a rollback the retry"
        " is taken for known, and the event is lost.",
        reported=("openclaw/clawhub#1712",),
        row="E7",
        breaks=("append_once",),
        killer="APPEND-04",
        remedy="write the id in the transaction of the event",
        harness=broken(events=events_of(IdsBeforeCommit)),
    ),
    BrokenStore(
        name="ids looked up, then inserted",
        mistake="Looks an id up, and stores the event if it is not there. Two appends that are"
        " open at the same time both find nothing.",
        reported=("kurrent-io/KurrentDB#2274",),
        row="E2",
        breaks=("append_once",),
        killer="APPEND-07",
        remedy=ONE_CONSTRAINT,
        harness=broken(events=events_of(LookedUpFirst)),
    ),
    BrokenStore(
        name="time belongs to the id",
        mistake="Counts the time of occurrence among the content of an id. A retry, which"
        " carries a fresh clock, is refused for ever.",
        reported=("no public report was found",),
        row="P16",
        breaks=("append_once",),
        killer="APPEND-08",
        remedy="bind an id to skill, kind and deltas; the first time stays",
        harness=broken(events=events_of(TimeInDigest)),
    ),
)

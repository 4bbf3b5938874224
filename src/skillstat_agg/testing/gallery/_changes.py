"""Events that are not read as they were appended."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import attrs

from skillstat_agg._events import MAX_INTEGER, MIN_INTEGER, Event, Place, RecordedEvent
from skillstat_agg._stores import Appended
from skillstat_agg.backends.memory import MemoryDatabase
from skillstat_agg.backends.memory._database import Pending
from skillstat_agg.testing._harness import Setting
from skillstat_agg.testing.gallery._frame import BrokenStore, broken, events_of
from skillstat_agg.testing.gallery._logs import MILLISECOND, Log, RewritingLog


class TimeOfArrival(RewritingLog):
    """What did not happen today happens now."""

    def _rewritten(self, event: Event, now: datetime) -> Event:
        is_today = event.occurred_at.date() == now.date()
        return attrs.evolve(event, occurred_at=event.occurred_at if is_today else now)


class Milliseconds(RewritingLog):
    """``occurred_at`` is kept to the millisecond."""

    def _rewritten(self, event: Event, now: datetime) -> Event:
        whole = event.occurred_at.microsecond // MILLISECOND * MILLISECOND
        return attrs.evolve(event, occurred_at=event.occurred_at.replace(microsecond=whole))


class NotAhead(RewritingLog):
    """What lies more than an hour ahead happens now."""

    def _rewritten(self, event: Event, now: datetime) -> Event:
        is_ahead = event.occurred_at > now + timedelta(hours=1)
        return attrs.evolve(event, occurred_at=now if is_ahead else event.occurred_at)


class ShortNotes(RewritingLog):
    """Notes are cut to 255 characters."""

    def _rewritten(self, event: Event, now: datetime) -> Event:
        return attrs.evolve(event, note=event.note and event.note[:255])


class FloatDeltas(RewritingLog):
    """Deltas went through a format whose only numbers are floats."""

    def _rewritten(self, event: Event, now: datetime) -> Event:
        deltas = event.deltas and {name: _float(amount) for name, amount in event.deltas.items()}
        return attrs.evolve(event, deltas=deltas)


def _float(amount: int) -> int:
    return max(MIN_INTEGER, min(int(float(amount)), MAX_INTEGER))


class RetryMovesTime(Log):
    """``ON CONFLICT (id) DO UPDATE SET occurred_at``."""

    def _allocate(
        self, pending: Pending, events: Iterable[Event], max_ahead: timedelta
    ) -> Appended:
        given = tuple(events)
        appended = super()._allocate(pending, given, max_ahead)
        times = {event.event_id: event.occurred_at for event in given if event.event_id}
        self._database._visible[:] = [
            attrs.evolve(
                row,
                event=attrs.evolve(
                    row.event,
                    occurred_at=times.get(row.event.event_id or "", row.event.occurred_at),
                ),
            )
            for row in self._database._visible
        ]
        return appended


class RetryMovesEvent(Log):
    """``REPLACE INTO``: the row of a retry goes, and comes back at the end."""

    def _allocate(
        self, pending: Pending, events: Iterable[Event], max_ahead: timedelta
    ) -> Appended:
        given = tuple(events)
        again = self._database._digests.keys() & {event.event_id for event in given}
        for event_id in again:
            del self._database._digests[event_id]
        rows = self._database._visible
        rows[:] = [row for row in rows if row.event.event_id not in again]
        return super()._allocate(pending, given, max_ahead)


class RecordedNow(Log):
    """``recorded_at`` is the time of the read."""

    def _readable(self, after: Place | None) -> Sequence[RecordedEvent]:
        now = self._clock()
        return [attrs.evolve(row, recorded_at=now) for row in super()._readable(after)]


class Kinds(MemoryDatabase):
    """A database that knows which kinds the code knows that works on it."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds: set[str] = set()


class KnownKindsOnly(Log):
    """``WHERE kind IN (...)``: kinds that the code does not know are passed by."""

    _database: Kinds

    def __init__(self, database: Kinds, setting: Setting) -> None:
        super().__init__(database, clock=setting.clock)
        database.kinds.update(setting.projection.kinds)

    def _readable(self, after: Place | None) -> Sequence[RecordedEvent]:
        kinds = self._database.kinds
        return [row for row in super()._readable(after) if row.event.kind in kinds]


FIRST_STAYS = "leave a known event as it is"

STORES = (
    BrokenStore(
        name="time of arrival for time of occurrence",
        mistake="Stores what is reported on a later day under the time of its arrival, since the"
        " older days are closed. It counts for the wrong day.",
        reported=("openclaw/clawhub:convex/skillStatEvents.ts",),
        row="N9",
        breaks=("exact", "immutable", "forgotten", "documented", "only_real_changes", "expired"),
        killer="TIME-03",
        remedy="keep occurred_at as it was given; recorded_at is the time of arrival",
        harness=broken(events=events_of(TimeOfArrival)),
    ),
    BrokenStore(
        name="event times cut to milliseconds",
        mistake="Keeps the time of an event in a column, or a format, with milliseconds.",
        reported=("ShipfoxHQ/shipfox#1874", "TanStack/db#913"),
        row="N1",
        breaks=("immutable", "exact"),
        killer="APPEND-13",
        remedy="store microseconds since 1970, as an integer",
        harness=broken(events=events_of(Milliseconds)),
    ),
    BrokenStore(
        name="times ahead set to now",
        mistake="Takes a time ahead of its clock for an error and stores its own. An event counts"
        " for another day than that of its time.",
        reported=("no public report was found",),
        row="N9",
        breaks=("exact", "immutable", "only_real_changes"),
        killer="TIME-03",
        remedy="refuse what lies too far ahead; store the time of what is taken as it is",
        harness=broken(events=events_of(NotAhead)),
    ),
    BrokenStore(
        name="notes cut to a length",
        mistake="Keeps a note in a column of 255 characters, which cuts it without a word.",
        reported=("no public report was found",),
        row="E9",
        breaks=("immutable",),
        killer="APPEND-13",
        remedy="take all of 1,000 bytes",
        harness=broken(events=events_of(ShortNotes)),
    ),
    BrokenStore(
        name="deltas as floats",
        mistake="Lets deltas pass through JSON, or another format whose numbers are floats. From"
        " 2^53 on the last digits are lost.",
        reported=("enviodev/hyperindex#1031",),
        row="N2, N12",
        breaks=("immutable", "exact"),
        killer="APPEND-13",
        remedy="keep deltas as integers end to end, and as text in JSON",
        harness=broken(events=events_of(FloatDeltas)),
    ),
    BrokenStore(
        name="a retry moves the time",
        mistake="Stores a retry over the event that is there. Its time changes, and with it the"
        " bucket of something that was counted.",
        reported=("airbytehq/airbyte#2661",),
        row="E9, O12",
        breaks=("append_once",),
        killer="APPEND-08",
        remedy=FIRST_STAYS,
        harness=broken(events=events_of(RetryMovesTime)),
    ),
    BrokenStore(
        name="a retry moves the event",
        mistake="Replaces the row of an event that is sent again. It stands at the end then, and"
        " the cursor's place may be gone.",
        reported=("airbytehq/airbyte#21500", "akka/akka-persistence-jdbc#544"),
        row="O12",
        breaks=("append_once",),
        killer="APPEND-01",
        remedy=FIRST_STAYS,
        harness=broken(events=events_of(RetryMovesEvent)),
    ),
    BrokenStore(
        name="recorded at read",
        mistake="Fills recorded_at when an event is read. It is another one each time.",
        reported=("no public report was found",),
        row="E9",
        breaks=("immutable",),
        killer="APPEND-13",
        remedy="store it with the event",
        harness=broken(events=events_of(RecordedNow)),
    ),
    BrokenStore(
        name="unknown kinds passed by",
        mistake="Reads only events of the kinds that its code knows. What a newer producer"
        " appends is never counted, and nobody is told.",
        reported=("JasperFx/marten#2994", "langfuse/langfuse#14090"),
        row="L7",
        breaks=("progress",),
        killer="KIND-01",
        remedy="read everything: the table says what a kind counts, and stops at what it does"
        " not know",
        harness=broken(database=Kinds, events=KnownKindsOnly, counts=True),
    ),
)

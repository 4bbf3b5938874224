"""Reads that see what is not the whole truth yet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

import attrs

from skillstat_agg._events import Event, Place, Position, RecordedEvent
from skillstat_agg._stores import Appended
from skillstat_agg.backends.memory import MemoryDatabase, OpenAppend
from skillstat_agg.backends.memory._database import Pending
from skillstat_agg.testing._harness import Setting
from skillstat_agg.testing.gallery._frame import BrokenStore, broken, events_of
from skillstat_agg.testing.gallery._logs import Log


class PastOpenAppends(Log):
    """Everything that is visible can be read."""

    def _end_of_prefix(self) -> int:
        return len(self._database._visible)


class Starts(MemoryDatabase):
    """A database that knows what was drawn when its transactions began."""

    def __init__(self) -> None:
        super().__init__()
        self.starts: dict[Pending, Position] = {}


class PositionAtBegin(Log):
    """The position is drawn when the transaction begins, not when it inserts."""

    _database: Starts

    def begin(self) -> OpenAppend:
        """Draw the position, then begin."""
        opened = super().begin()
        self._database.starts[opened._pending] = self._next_position(self._clock())
        return opened

    def _allocate(
        self, pending: Pending, events: Iterable[Event], max_ahead: timedelta
    ) -> Appended:
        appended = super()._allocate(pending, events, max_ahead)
        start = self._database.starts[pending]
        pending.events[:] = [
            attrs.evolve(row, position=Position((*start, index)))
            for index, row in enumerate(pending.events)
        ]
        return appended


class CatchingUp(Log):
    """A reader that begins at the beginning takes the quick way."""

    def _readable(self, after: Place | None) -> Sequence[RecordedEvent]:
        return self._database._visible if after is None else super()._readable(after)


class Transactions(MemoryDatabase):
    """A database that numbers its transactions by their first insert."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers: dict[Pending, int] = {}
        self.of_rows: dict[Position, int] = {}


class NumberUnderHorizon(Log):
    """``WHERE xid < horizon AND number > cursor ORDER BY number``."""

    _database: Transactions

    def _allocate(
        self, pending: Pending, events: Iterable[Event], max_ahead: timedelta
    ) -> Appended:
        appended = super()._allocate(pending, events, max_ahead)
        numbers = self._database.numbers
        own = numbers.setdefault(pending, len(numbers))
        self._database.of_rows.update({row.position: own for row in pending.events})
        return appended

    def _readable(self, after: Place | None) -> Sequence[RecordedEvent]:
        database = self._database
        horizon = min(
            (
                database.numbers[pending]
                for pending in database._open
                if pending in database.numbers
            ),
            default=len(database.numbers),
        )
        return [row for row in database._visible if database.of_rows[row.position] < horizon]


class TwoSnapshots(Log):
    """The page is read first, and then cut at the oldest append that is open."""

    def __init__(self, database: MemoryDatabase, setting: Setting) -> None:
        super().__init__(database, clock=setting.clock)
        self._io = setting.io

    def _readable(self, after: Place | None) -> Sequence[RecordedEvent]:
        rows = tuple(self._database._visible)
        self._io()
        horizon = min(self._unseen(), default=None)
        return [row for row in rows if horizon is None or row.position < horizon]


class DirtyReads(Log):
    """What is not committed yet is read with the rest."""

    def _readable(self, after: Place | None) -> Sequence[RecordedEvent]:
        unseen = [row for pending in self._database._open for row in pending.events]
        return sorted([*self._database._visible, *unseen], key=lambda row: row.position)


STORES = (
    BrokenStore(
        name="reads past open transactions",
        mistake="Reads all that is visible and takes the largest position for the frontier."
        " A position is given at insert and seen at commit: a lower one can still appear.",
        reported=(
            "commanded/eventstore#3",
            "JasperFx/marten#1629",
            "Eventuous/eventuous#222",
            "NEventStore/NEventStore.Persistence.SQL#21",
        ),
        row="V1",
        breaks=("stable_prefix",),
        killer="LATE-02",
        remedy="read() must stop below the oldest unfinished append",
        harness=broken(events=events_of(PastOpenAppends)),
    ),
    BrokenStore(
        name="position at begin",
        mistake="Takes the time, and so the place, of an event when its transaction begins. The"
        " horizon knows what was inserted and not committed, but not what has only begun.",
        reported=("trestleinc/replicate#2", "confluentinc/kafka-connect-jdbc#172"),
        row="V2",
        breaks=("stable_prefix",),
        killer="LATE-02",
        remedy="draw the position where the horizon can see it: with the insert, or at commit",
        harness=broken(database=Starts, events=events_of(PositionAtBegin)),
    ),
    BrokenStore(
        name="catches up without a horizon",
        mistake="Stops below open appends, but not in the query for a first run or a rebuild,"
        " where everything is old anyway.",
        reported=("JasperFx/marten#4977",),
        row="V9",
        breaks=("stable_prefix",),
        killer="LATE-02",
        remedy="have one query for all readers",
        harness=broken(events=events_of(CatchingUp)),
    ),
    BrokenStore(
        name="number under a horizon",
        mistake="Reads what transactions below the snapshot's horizon have written, and keeps"
        " the largest row number. A transaction with a later id may have taken a lower number.",
        reported=("event-driven-io/emmett#336", "RailsEventStore/rails_event_store#106"),
        row="V1",
        breaks=("stable_prefix",),
        killer="LATE-06",
        remedy="under a horizon of transaction ids the position is (transaction id, number)",
        harness=broken(database=Transactions, events=events_of(NumberUnderHorizon)),
    ),
    BrokenStore(
        name="page and horizon in two snapshots",
        mistake="Reads the page, then asks for the oldest append that is open. What commits"
        " between the two statements is in no page, and holds none up.",
        reported=("JasperFx/marten#4977",),
        row="V6",
        breaks=("stable_prefix",),
        killer="LATE-07",
        remedy="take horizon and page from one statement, or from one snapshot",
        harness=broken(events=TwoSnapshots, io=True),
    ),
    BrokenStore(
        name="dirty reads",
        mistake="Reads with the lowest isolation, so that nothing is missed. What is rolled"
        " back afterwards was counted.",
        reported=("no public report was found",),
        row="P3",
        breaks=("stable_prefix",),
        killer="LATE-09",
        remedy="read what is committed, and only that",
        harness=broken(events=events_of(DirtyReads)),
    ),
)

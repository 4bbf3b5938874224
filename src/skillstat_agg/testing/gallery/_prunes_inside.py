"""Compactions in whose middle others can move, or after which not all is done."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime

from skillstat_agg._compacting import Segment
from skillstat_agg._events import Place, Position, RecordedEvent
from skillstat_agg._pages import Page
from skillstat_agg.backends.memory import MemoryDatabase, MemoryEventStore
from skillstat_agg.testing._harness import Setting
from skillstat_agg.testing.gallery._frame import BrokenStore, broken

_NONE = ("no public report was found",)


class _Stopping(MemoryEventStore):
    """A log in the middle of whose compactions others can move; by itself it keeps every law."""

    def __init__(self, database: MemoryDatabase, setting: Setting) -> None:
        super().__init__(database, clock=setting.clock)
        self._io = setting.io

    def read(self, after: Place | None, /, *, limit: int) -> Page:
        self._io()
        return super().read(after, limit=limit)


class DeletesThenInserts(_Stopping):
    """Deletes the events in one transaction, and inserts what stands for them in the next."""

    def _exchange(self, events: Sequence[RecordedEvent], made: Sequence[RecordedEvent]) -> None:
        first = self._index_after(events[0].position) - 1
        del self._database._visible[first : first + len(events)]
        self._io()
        first = self._index_after(events[0].position)
        self._database._visible[first:first] = made
        self._database._compacted_to = events[-1].position


class InsertsThenDeletes(_Stopping):
    """Inserts the compacted events in one transaction, and deletes the others in the next."""

    def _exchange(self, events: Sequence[RecordedEvent], made: Sequence[RecordedEvent]) -> None:
        rows = self._database._visible
        first = self._index_after(events[0].position) - 1
        rows[first:first] = made
        self._io()
        del rows[first + len(made) : first + len(made) + len(events)]
        self._database._compacted_to = events[-1].position


class LooksThenLocks(_Stopping):
    """Looks how far the readers are, and then begins the transaction that makes events small."""

    def compact(
        self,
        *,
        before: datetime | None,
        limit: int,
        upto: Position | None = None,
        kept: Collection[Position] = (),
    ) -> Segment | None:
        seen = dict(self._database._readers)
        self._io()
        with self._database._lock:
            known = self._database._readers
            self._database._readers = seen
            try:
                return super().compact(before=before, limit=limit, upto=upto, kept=kept)
            finally:
                self._database._readers = known


class RemembersFirst(_Stopping):
    """Notes that a segment is made small, and then makes it so."""

    def _exchange(self, events: Sequence[RecordedEvent], made: Sequence[RecordedEvent]) -> None:
        self._database._compacted_to = events[-1].position
        self._io()
        super()._exchange(events, made)


def _store(
    name: str,
    mistake: str,
    kind: Callable[[MemoryDatabase, Setting], MemoryEventStore],
    breaks: tuple[str, ...],
    killer: str,
    remedy: str,
    row: str,
) -> BrokenStore:
    return BrokenStore(
        name=name,
        mistake=mistake,
        reported=_NONE,
        row=row,
        breaks=breaks,
        killer=killer,
        remedy=remedy,
        harness=broken(events=kind, io=True, prunes=True),
    )


STORES = (
    _store(
        "deletes before it inserts",
        "The events are deleted in a transaction of its own. Between that one and the next they"
        " are nowhere, and if the program dies there they are gone.",
        DeletesThenInserts,
        ("whole_segments", "slowest_reader"),
        "PRUNE-19",
        "delete and insert in one transaction",
        "A1",
    ),
    _store(
        "inserts before it deletes",
        "What stands for the events is there before they are gone. Who reads in between, and"
        " all after a crash, count them twice.",
        InsertsThenDeletes,
        ("whole_segments", "slowest_reader"),
        "PRUNE-20",
        "delete and insert in one transaction",
        "A1",
    ),
    _store(
        "looks at readers before it locks",
        "How far the readers are is asked first, and the compaction begins afterwards. A reader"
        " that begins in between has read a page of what becomes small under it.",
        LooksThenLocks,
        ("slowest_reader",),
        "PRUNE-18",
        "look at the readers within the transaction, under a lock that registering takes, too",
        "L3",
    ),
    _store(
        "notes a segment before it is there",
        "How far the log is made small is written first. If the program fails then, that part of"
        " the log stays as it is for good.",
        RemembersFirst,
        ("whole_segments", "slowest_reader"),
        "PRUNE-21",
        "write it in the transaction that makes the events small, or see it from them",
        "A2",
    ),
)

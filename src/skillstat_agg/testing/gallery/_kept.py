"""Stores that keep something longer than it is true, or drop what is still needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from operator import add

import attrs

from skillstat_agg._buckets import Granularity
from skillstat_agg._commits import Commit, CommitResult
from skillstat_agg._events import Event, RecordedEvent
from skillstat_agg._stores import Appended, Rollups
from skillstat_agg.backends.memory import MemoryDatabase
from skillstat_agg.backends.memory._database import Pending
from skillstat_agg.errors import CursorConflictError
from skillstat_agg.testing.gallery._frame import BrokenStore, broken, events_of
from skillstat_agg.testing.gallery._logs import Log
from skillstat_agg.testing.gallery._stats_steps import OpenStats, with_stats


class Horizon(MemoryDatabase):
    """A database whose readers stop at one open append, until it is over."""

    holder: Pending | None = None

    def hold(self) -> None:
        """Let the newest append hold readers, if none does."""
        if not self._first_unseen():
            with_events = (pending for pending in reversed(self._open) if pending.events)
            self.holder = next(with_events, None)

    def _first_unseen(self) -> Sequence[RecordedEvent]:
        return [pending.events[0] for pending in self._open if pending is self.holder]


class NewestHolds(Log):
    """Readers stop at the first append that is open; when it is over, at the newest."""

    _database: Horizon

    def _allocate(
        self, pending: Pending, events: Iterable[Event], max_ahead: timedelta
    ) -> Appended:
        appended = super()._allocate(pending, events, max_ahead)
        self._database.hold()
        return appended

    def _finish(
        self, pending: Pending, events: Sequence[RecordedEvent], ids: Mapping[str, bytes]
    ) -> None:
        super()._finish(pending, events, ids)
        self._database.hold()


class PurgesIds(OpenStats):
    """Deletes the event ids of a forgotten skill from the log."""

    def forget(self, skill_id: str, /) -> bool:
        forgotten = super().forget(skill_id)
        if forgotten:
            for row in self._database._visible:
                if row.event.skill_id == skill_id:
                    self._database._digests.pop(row.event.event_id or "", None)
        return forgotten


class CachesRollups(OpenStats):
    """Keeps the rollups that it has read, until more events are folded."""

    _cached: Mapping[object, Rollups] = {}

    def rollups(
        self,
        skill_id: str,
        granularity: Granularity,
        /,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Rollups:
        asked = (self.cursor().count, skill_id, granularity, since, until)
        if asked not in self._cached:
            found = super().rollups(skill_id, granularity, since=since, until=until)
            self._cached = {**self._cached, asked: found}
        return self._cached[asked]


class KeepsWhatWasRefused(OpenStats):
    """Adds up what is to be written, and empties that once it is."""

    _unwritten: Mapping[str, tuple[int, ...]] = {}

    def commit(self, commit: Commit, /) -> CommitResult:
        if self.cursor() != commit.expected:
            raise CursorConflictError(self._projection.name)
        totals = {
            skill: tuple(map(add, row, self._unwritten.get(skill, [0] * len(row))))
            for skill, row in commit.deltas.totals.items()
        }
        self._unwritten = {**self._unwritten, **totals}
        result = super().commit(
            attrs.evolve(commit, deltas=attrs.evolve(commit.deltas, totals=totals))
        )
        self._unwritten = {}
        return result


STORES = (
    BrokenStore(
        name="horizon moves to the newest append",
        mistake="The append at which readers stop is remembered, and when it is over the last one"
        " that began takes its place. With two open appends that is right; of three the one"
        " in the middle is passed by.",
        reported=("no public report was found",),
        row="V1",
        breaks=("stable_prefix",),
        killer="LATE-08",
        remedy="read() must stop below the oldest unfinished append: look for it with each read",
        harness=broken(database=Horizon, events=events_of(NewestHolds)),
    ),
    BrokenStore(
        name="forget purges event ids",
        mistake="A skill is forgotten for good, so the ids of its events go, too. A retry that"
        " comes afterwards is stored again.",
        reported=("no public report was found",),
        row="E2, L9",
        breaks=("append_once",),
        killer="APPEND-18",
        remedy="forget numbers only; an id is kept as long as the log",
        harness=with_stats(PurgesIds),
    ),
    BrokenStore(
        name="caches rollups",
        mistake="A client keeps the rollups that it has read, as long as the number of folded"
        " events is the same. That a skill was forgotten meanwhile it does not see.",
        reported=("no public report was found",),
        row="P2",
        breaks=("one_snapshot", "forgotten", "compare_and_set", "expired", "quarantined"),
        killer="SNAP-05",
        remedy="read what is stored each time, or keep it under the whole cursor record",
        harness=with_stats(CachesRollups),
    ),
    BrokenStore(
        name="keeps what was refused",
        mistake="What is to be added waits in a buffer, which is emptied when it was written. If"
        " the write is refused it stays there, and goes along with the next one.",
        reported=("no public report was found",),
        row="B11",
        breaks=("exact",),
        killer="NUM-07",
        remedy="write the deltas of the commit, and keep nothing from one to the next",
        harness=with_stats(KeepsWhatWasRefused),
    ),
)

"""What broken stats stores are made of: the store in memory, opened up, and its harnesses."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

import attrs

from skillstat_agg._buckets import Granularity
from skillstat_agg._commits import Commit, CommitResult
from skillstat_agg._events import Event, Place
from skillstat_agg._pages import Page
from skillstat_agg._projections import Projection
from skillstat_agg._quarantine import Quarantine
from skillstat_agg._stores import DAY_AHEAD, Appended, Counters, Expired, Rollups, Totals
from skillstat_agg.backends._clocks import Clock
from skillstat_agg.backends.memory import MemoryDatabase, MemoryEventStore, MemoryStatsStore
from skillstat_agg.backends.memory._database import Stats
from skillstat_agg.testing._harness import AnyHarness, Setting
from skillstat_agg.testing.gallery._frame import broken


class OpenStats(MemoryStatsStore):
    """The stats store in memory: it keeps every law, and those that inherit break one.

    Args:
        projection: As in `MemoryStatsStore`.
        database: As in `MemoryStatsStore`.
        clock: As in `MemoryStatsStore`.
        io: Called where others can move, or the client can die.
    """

    def __init__(
        self,
        projection: Projection,
        database: MemoryDatabase,
        *,
        clock: Clock,
        io: Callable[[], None],
    ) -> None:
        super().__init__(projection, database, clock=clock)
        self._io = io

    def commit(self, commit: Commit, /) -> CommitResult:
        """Let others move, and commit."""
        self._io()
        return self._apply(commit)

    def totals(self, skill_ids: Iterable[str] | None = None, /) -> Totals:
        """Let others move, and return the totals."""
        self._io()
        return super().totals(skill_ids)

    def rollups(
        self,
        skill_id: str,
        granularity: Granularity,
        /,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Rollups:
        """Let others move, and return the rollups."""
        self._io()
        return super().rollups(skill_id, granularity, since=since, until=until)

    def quarantine(self, *, limit: int) -> Quarantine:
        """Let others move, and return what is parked."""
        self._io()
        return super().quarantine(limit=limit)

    def expire(self, granularity: Granularity, first: int, /, *, limit: int) -> Expired:
        """Let others move, and let rollups expire."""
        self._io()
        return super().expire(granularity, first, limit=limit)

    def forget(self, skill_id: str, /) -> bool:
        """Let others move, and forget."""
        self._io()
        return super().forget(skill_id)

    def _sum(
        self,
        before: Counters,
        row: tuple[int, ...],
        names: tuple[str, ...],
        skill_id: str,
        prefix: str = "",
    ) -> Counters:
        sums = super()._sum(before, row, names, skill_id, prefix)
        return {name: self.stored(value) for name, value in sums.items()}

    def stored(self, value: int) -> int:
        """Return what is stored of a sum: the whole of it."""
        return value

    def _apply(self, commit: Commit) -> CommitResult:
        """Commit in one transaction, as it should be."""
        return super().commit(commit)

    def _put(self, stats: Stats) -> None:
        """Store *stats* as those of the projection, whatever was there."""
        self._database._stats[self._key] = stats

    def _record(self, result: CommitResult, **changes: Any) -> CommitResult:
        """Store the record of a commit with these changes, and return the result with it."""
        cursor = attrs.evolve(result.cursor, **changes)
        self._put(attrs.evolve(self._stats(), cursor=cursor))
        return attrs.evolve(result, cursor=cursor)


class _EventsWithIO(MemoryEventStore):
    """The event store in memory, with I/O points around what it does at once."""

    io: Callable[[], None]

    def append(self, events: Iterable[Event], /, *, max_ahead: timedelta = DAY_AHEAD) -> Appended:
        self.io()
        appended = super().append(events, max_ahead=max_ahead)
        self.io()
        return appended

    def read(self, after: Place | None, /, *, limit: int) -> Page:
        self.io()
        return super().read(after, limit=limit)


def _events_with_io(database: MemoryDatabase, setting: Setting) -> MemoryEventStore:
    events = _EventsWithIO(database, clock=setting.clock)
    events.io = setting.io
    return events


def _nothing() -> None:
    """Let nobody move."""


def with_stats(
    kind: type[OpenStats], *, further: bool = False, boards: bool = False, prunes: bool = False
) -> AnyHarness:
    """Return a harness whose clients have stats stores of this class."""
    return broken(
        further=further,
        boards=boards,
        prunes=prunes,
        stats=lambda there, setting: kind(
            setting.projection, there, clock=setting.clock, io=_nothing
        ),
    )


def with_stats_and_io(
    kind: type[OpenStats], *, further: bool = False, boards: bool = False
) -> AnyHarness:
    """Return a harness whose clients have stats stores of this class, with I/O points."""
    return broken(
        further=further,
        boards=boards,
        events=_events_with_io,
        stats=lambda there, setting: kind(
            setting.projection, there, clock=setting.clock, io=setting.io
        ),
        io=True,
        counts=True,
    )

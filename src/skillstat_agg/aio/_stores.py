"""The protocols of asynchronous stores: import them from `skillstat_agg.aio` instead."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from typing_extensions import Protocol, runtime_checkable

from skillstat_agg._buckets import Granularity
from skillstat_agg._commits import Commit, CommitResult, Cursor
from skillstat_agg._events import Event, Place
from skillstat_agg._pages import Page, TalliedPage
from skillstat_agg._projections import Projection
from skillstat_agg._quarantine import Quarantine
from skillstat_agg._stores import Appended, Expired, Rollups, Totals


class EventStore(Protocol):
    """A log of events: the laws and methods of `skillstat_agg.EventStore`, awaited."""

    async def append(self, events: Iterable[Event], /, *, max_ahead: timedelta = ...) -> Appended:
        """Store *events*, all or none, in their order."""
        ...

    async def read(self, after: Place | None, /, *, limit: int) -> Page:
        """Return at most *limit* (at least 1) events after *after*, in order."""
        ...


@runtime_checkable
class TallyStore(Protocol):
    """A store's own tally: the law and method of `skillstat_agg.TallyStore`, awaited."""

    async def tally(
        self, after: Place | None, /, *, limit: int, granularity: Granularity
    ) -> TalliedPage | None:
        """Return the tally of the page that ``read`` would return; None: read it plainly."""
        ...


class StatsStore(Protocol):
    """Totals and rollups: the laws and methods of `skillstat_agg.StatsStore`, awaited."""

    @property
    def projection(self) -> Projection:
        """The projection whose stats these are."""
        ...

    async def cursor(self) -> Cursor:
        """Return the stored cursor record."""
        ...

    async def commit(self, commit: Commit, /) -> CommitResult:
        """Add the deltas and store the new cursor record, in one transaction."""
        ...

    async def totals(self, skill_ids: Iterable[str] | None = None, /) -> Totals:
        """Return the totals of these skills, or of all (None)."""
        ...

    async def rollups(
        self,
        skill_id: str,
        granularity: Granularity,
        /,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Rollups:
        """Return the rollups of one skill."""
        ...

    async def quarantine(self, *, limit: int) -> Quarantine:
        """Return at most *limit* (at least 1) events that the table cannot count."""
        ...

    async def forget(self, skill_id: str, /) -> bool:
        """Drop a skill for good, from every projection of the stats database."""
        ...


@runtime_checkable
class RetentionStore(Protocol):
    """Rollups that expire: the law and method of `skillstat_agg.RetentionStore`, awaited."""

    async def expire(self, granularity: Granularity, first: int, /, *, limit: int) -> Expired:
        """Delete the rollups of buckets before *first*, in one bounded transaction."""
        ...

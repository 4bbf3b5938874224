"""The protocols of asynchronous stores: import them from `skillstat_agg.aio` instead."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from typing_extensions import Protocol, runtime_checkable

from skillstat_agg._boards import BoardRead, Publication
from skillstat_agg._buckets import Granularity
from skillstat_agg._commits import Commit, CommitResult, Cursor
from skillstat_agg._compacting import Reader, Segment
from skillstat_agg._events import Event, Place, Position
from skillstat_agg._generations import Comparison, Extent, Sums
from skillstat_agg._leaderboards import Order, Ranked
from skillstat_agg._notes import Note
from skillstat_agg._pages import Backlog, Page, TalliedPage
from skillstat_agg._projections import Projection
from skillstat_agg._quarantine import Quarantine
from skillstat_agg._ranges import Buckets
from skillstat_agg._series import RollupsOf
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


@runtime_checkable
class PruneStore(Protocol):
    """A log that can be made small: the laws of `skillstat_agg.PruneStore`, awaited."""

    async def register(self, reader: str, /) -> None:
        """Make a reader known that begins at the start; a known one is there again."""
        ...

    async def report(self, reader: str, place: Place, /) -> None:
        """Say that a reader will never again read what stands at or before a place."""
        ...

    async def retire(self, reader: str, /) -> bool:
        """Strike a reader off the list, and return whether it was there."""
        ...

    async def readers(self) -> tuple[Reader, ...]:
        """Return who reads the log, by name."""
        ...

    async def compactable(
        self,
        after: Position | None,
        /,
        *,
        before: datetime | None,
        limit: int,
        upto: Position | None = ...,
        kept: Collection[Position] = ...,
    ) -> Segment | None:
        """Return the next segment that ``compact`` would make; None: there is none."""
        ...

    async def compact(
        self,
        *,
        before: datetime | None,
        limit: int,
        upto: Position | None = ...,
        kept: Collection[Position] = ...,
    ) -> Segment | None:
        """Make the next run of events small, and return it; None: there is none."""


class LagStore(Protocol):
    """How much lies after a place: the laws and method of `skillstat_agg.LagStore`, awaited."""

    async def lag(self, after: Place | None, /, *, limit: int) -> Backlog:
        """Return how much lies after *after*."""
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

    async def forgotten(self, skill_ids: Iterable[str], /) -> frozenset[str]:
        """Return those of these skills that are forgotten."""
        ...


@runtime_checkable
class SeriesStore(Protocol):
    """Rollups of many skills: the law and method of `skillstat_agg.SeriesStore`, awaited."""

    @property
    def projection(self) -> Projection:
        """The projection whose stats these are."""
        ...

    async def rollups_of(self, skill_ids: Iterable[str], over: Buckets, /) -> RollupsOf:
        """Return the rollups of these skills."""
        ...


@runtime_checkable
class RankStore(Protocol):
    """Skills in order: the laws and method of `skillstat_agg.RankStore`, awaited."""

    @property
    def projection(self) -> Projection:
        """The projection whose stats these are."""
        ...

    async def ranked(self, order: Order, /, *, limit: int) -> Ranked:
        """Return the first *limit* skills in an order, from one snapshot."""
        ...


@runtime_checkable
class BoardStore(Protocol):
    """Published boards: the laws and methods of `skillstat_agg.BoardStore`, awaited."""

    @property
    def projection(self) -> Projection:
        """The projection whose stats these are."""
        ...

    async def publish(self, publication: Publication, /) -> int:
        """Store the boards, and drop the versions that are not kept; return the version."""
        ...

    async def board(
        self, name: str, /, *, version: int | None, after: int, limit: int
    ) -> BoardRead:
        """Return a part of a published board, from one snapshot."""
        ...


class RetentionStore(Protocol):
    """Rollups that expire: the law and method of `skillstat_agg.RetentionStore`, awaited."""

    async def expire(self, granularity: Granularity, first: int, /, *, limit: int) -> Expired:
        """Delete the rollups of buckets before *first*, in one bounded transaction."""
        ...


@runtime_checkable
class ExtentStore(Protocol):
    """The measure of a log: the law and method of `skillstat_agg.ExtentStore`, awaited."""

    async def extent(self, upto: Place, /) -> Extent:
        """Return count and checksum of all events up to *upto*, that one included."""
        ...


@runtime_checkable
class SumStore(Protocol):
    """The sums of stats: the law and method of `skillstat_agg.SumStore`, awaited."""

    async def sums(self) -> Sums:
        """Return what the stored numbers add up to."""
        ...


@runtime_checkable
class GenerationStore(Protocol):
    """Numbers beside others: the laws and methods of `skillstat_agg.GenerationStore`, awaited."""

    async def building(self, name: str, /) -> StatsStore:
        """Return the numbers that are built under a name; begin if there are none."""
        ...

    async def swap(self, name: str, /) -> Cursor:
        """Put what was built in the place of what serves."""
        ...

    async def discard(self, name: str, /) -> bool:
        """Drop what is built under a name; return whether there was something."""
        ...

    async def differences(self, name: str, /, *, limit: int) -> Comparison:
        """Compare the serving numbers with what was built; at most *limit* differences."""
        ...


class RebuildableStore(StatsStore, GenerationStore, Protocol):
    """A stats store that can build its numbers anew."""


class SummedStore(StatsStore, SumStore, Protocol):
    """A stats store that can add up its numbers."""


class MeasuredLog(EventStore, ExtentStore, Protocol):
    """An event store that can say how much stands up to a place."""


class NoteStore(Protocol):
    """What went wrong last: the law and methods of `skillstat_agg.NoteStore`, awaited."""

    async def note_error(self, text: str, /) -> None:
        """Keep *text*, and the time, as what went wrong last; at most 1,000 characters of it."""
        ...

    async def last_error(self) -> Note | None:
        """Return what went wrong last; None: nothing has yet."""
        ...

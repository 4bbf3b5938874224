"""The two protocols and the values that pass through them; import them from `skillstat_agg`.

Every law below has a name. A store that keeps all of them counts each committed event
exactly once, whatever ties, crashes, retries, overlaps, pauses and late commits happen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import TypeAlias

import attrs
from typing_extensions import Protocol, runtime_checkable

from skillstat_agg._buckets import Granularity
from skillstat_agg._events import Event, Place, Position, RecordedEvent
from skillstat_agg._projections import Deltas, Projection
from skillstat_agg._tallies import Tally

Counters: TypeAlias = Mapping[str, int]
"""Signed sums by name of the counter or rollup column."""

CHECKSUM_RANGE = 2**63
"""Checksums are sums of fingerprints modulo this number: they fit signed 64 bits."""

DAY_AHEAD = timedelta(days=1)
"""How far after the store's clock an event may have occurred, unless ``append`` is told."""


@attrs.frozen(kw_only=True)
class Appended:
    """What an ``append`` did.

    Attributes:
        new: How many of the events were new to the log; the others were retries.
        position: A position at or after all of them, new and old; None where there
            were none.
    """

    new: int
    position: Position | None


@attrs.frozen(kw_only=True)
class Page:
    """What one read of the log returns, from one snapshot of it.

    Attributes:
        epoch: Identity of the log.
        events: Events after the place that was asked for, without a hole in what is
            committed, in the order of their positions. They may be fewer than asked for.
        frontier: Up to here nothing can still appear; None in a log where nothing can
            be read yet. No event of the page lies after it.
        is_last: Whether the page reaches the frontier.
    """

    epoch: str
    events: tuple[RecordedEvent, ...]
    frontier: Position | None
    is_last: bool


@attrs.frozen(kw_only=True)
class TalliedPage:
    """A page that was tallied instead of listed.

    Attributes:
        tally: The tally of its events.
        count: Their number.
        checksum: The sum of their fingerprints, modulo ``CHECKSUM_RANGE``.
        place: Place of the last of them; None where there are none.
        frontier: As in `Page`.
        is_last: As in `Page`.
    """

    tally: Tally
    count: int
    checksum: int
    place: Place | None
    frontier: Position | None
    is_last: bool


@attrs.frozen(kw_only=True)
class Cursor:
    """How far a projection has come, and what its stats must add up to.

    The whole record is compared by every commit, never the position alone.

    Attributes:
        projection: Name of the projection.
        generation: Number of the set of numbers; the first is 1.
        place: Place of the last folded event; None before the first.
        count: Number of events up to there, whatever became of them.
        checksum: Sum of their fingerprints, modulo ``CHECKSUM_RANGE``.
        controls: The sum over all skills of each counter, and of each rollup column at
            each granularity (``day.downloads``); exact, of any size.
        revision: Grows by one with every change of the projection's stats.
        table: The table the stats were made with: ``Projection.table``.
        updated_at: When the record was last written, by the clock of the store;
            informs only. UTC, to the microsecond.
    """

    projection: str
    generation: int
    place: Place | None
    count: int
    checksum: int
    controls: Mapping[str, int] = attrs.field(hash=False, repr=False)
    revision: int
    table: str = attrs.field(repr=False)
    updated_at: datetime

    @classmethod
    def start(cls, projection: Projection, at: datetime) -> Cursor:
        """Return the record of a projection that has folded nothing."""
        return cls(
            projection=projection.name,
            generation=1,
            place=None,
            count=0,
            checksum=0,
            controls=dict.fromkeys(projection.controls, 0),
            revision=0,
            table=projection.table,
            updated_at=at,
        )


@attrs.frozen(kw_only=True)
class Commit:
    """One step of a projection: deltas, and the cursor they lead to.

    Attributes:
        expected: The record that the page was read from.
        place: Place of the last event of the page.
        count: Number of events of the page.
        checksum: Sum of their fingerprints, modulo ``CHECKSUM_RANGE``.
        projection: The projection, whose table made the deltas and is stored.
        deltas: What to add.
    """

    expected: Cursor
    place: Place
    count: int
    checksum: int
    projection: Projection
    deltas: Deltas

    def cursor(self, applied: Deltas, at: datetime) -> Cursor:
        """Return the record to store.

        Args:
            applied: The deltas without those of forgotten skills.
            at: The store's clock.
        """
        return Cursor(
            projection=self.expected.projection,
            generation=self.expected.generation,
            place=self.place,
            count=self.expected.count + self.count,
            checksum=(self.expected.checksum + self.checksum) % CHECKSUM_RANGE,
            controls=controls_after(self.expected.controls, self.projection, applied),
            revision=self.expected.revision + 1,
            table=self.projection.table,
            updated_at=at,
        )


def controls_after(
    controls: Mapping[str, int], projection: Projection, deltas: Deltas
) -> dict[str, int]:
    """Return the control totals after *deltas* were added."""
    sums = {name: controls.get(name, 0) for name in projection.controls}
    for index, name in enumerate(projection.counters):
        sums[name] += sum(row[index] for row in deltas.totals.values())
    for granularity, rows in deltas.rollups.items():
        for index, name in enumerate(projection.columns):
            sums[f"{granularity.value}.{name}"] += sum(row[index] for row in rows.values())
    return sums


@attrs.frozen(kw_only=True)
class CommitResult:
    """What a commit did.

    Attributes:
        cursor: The record as it is stored now.
        rows: Number of rows of totals and rollups that were written.
        forgotten: Number of events that were dropped because their skill is forgotten.
        changed: The skills whose numbers changed, or appeared.
    """

    cursor: Cursor
    rows: int
    forgotten: int
    changed: frozenset[str]


@attrs.frozen(eq=False)
class Totals(Mapping[str, Counters]):
    """Signed totals by skill, with the cursor of the same snapshot.

    A mapping, equal to every mapping with the same sums. Skills without an event are
    absent. What people are shown is `shown` of a sum.

    Attributes:
        cursor: The cursor; the totals are the table applied to all events up to it.
        by_skill: Sums by skill, in no particular order.
    """

    cursor: Cursor
    by_skill: Mapping[str, Counters] = attrs.field(repr=False)

    def __getitem__(self, skill_id: str) -> Counters:
        return self.by_skill[skill_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self.by_skill)

    def __len__(self) -> int:
        return len(self.by_skill)


@attrs.frozen(eq=False)
class Rollups(Mapping[datetime, Counters]):
    """Signed rollups of one skill by start of the bucket, with the cursor of the snapshot.

    A mapping in the order of time, equal to every mapping with the same sums. A bucket
    whose columns are all zero may be absent.

    Attributes:
        cursor: The cursor; the rollups are the table applied to all events up to it.
        by_start: Sums by the UTC start of the bucket.
    """

    cursor: Cursor
    by_start: Mapping[datetime, Counters] = attrs.field(repr=False)

    def __getitem__(self, start: datetime) -> Counters:
        return self.by_start[start]

    def __iter__(self) -> Iterator[datetime]:
        return iter(self.by_start)

    def __len__(self) -> int:
        return len(self.by_start)


def shown(sums: Counters) -> Counters:
    """Return the sums as people are shown them: never below 0.

    Clamp once, after summing what is shown together.

    >>> shown({"downloads": 3, "stars": -1})
    {'downloads': 3, 'stars': 0}
    """
    return {name: max(0, value) for name, value in sums.items()}


class EventStore(Protocol):
    """A log of events: they are appended once and read in one order.

    Laws:
        total_order: Every committed event has one position, and no two share one. The
            order the store reads in is the order positions compare in.
        stable_prefix: Once a read has returned a frontier, no event at or before it
            that was absent may ever become visible in the same epoch. Where that cannot
            be shown yet, the frontier is lower. Horizon and page come from one snapshot.
        progress: A read with any limit returns an event if there is one between the
            place and the frontier. Whether more follow is said by ``is_last``, never
            by the number of events.
        same_log: A read checks, in its own snapshot, that the epoch of the place is
            its own and that the same fingerprint still stands at the position;
            otherwise nothing is read.
        append_once: An event id that is in the log already, with the same content
            (skill, kind, deltas), is quietly the same event: the first ``occurred_at``
            stays. With other content nothing of the call is stored. Without an id
            every event is new.
        immutable: Events never change, and positions are never given twice.
    """

    def append(self, events: Iterable[Event], /, *, max_ahead: timedelta = ...) -> Appended:
        """Store *events*, all or none, in their order.

        Joins the transaction of its caller where the connection is inside one; then the
        events are there when, and only when, that transaction commits. Otherwise they
        are committed on return. *events* is read to its end before anything is locked.

        Args:
            events: Events; none is fine.
            max_ahead: How far after the store's clock an event may have occurred
                (default: one day). Without a limit: ``timedelta.max``.

        Raises:
            InvalidEventError: If an event lies further ahead.
            UncountableEventError: If the store knows a table that cannot count an event.
            EventIdConflictError: If an id is known with other content.
        """
        ...

    def read(self, after: Place | None, /, *, limit: int) -> Page:
        """Return at most *limit* (at least 1) events after *after*, in order.

        Begins and ends its own transaction.

        Args:
            after: Where the reader stands; None: before the first event.
            limit: How many events at most.

        Raises:
            InvalidBoundError: If *limit* is below 1.
            HistoryChangedError: If the log is not the one that *after* was made from.
            OpenTransactionError: If the connection is inside a transaction.
            UnreadableEventError: If the first event after *after* is not one that
                ``append`` stores.
        """
        ...


@runtime_checkable
class TallyStore(Protocol):
    """An event store that can also tally a page by itself, without listing its events.

    Laws:
        same_tally: The tallied page equals the pure tally of the events that ``read``
            returns for the same place and limit.
    """

    def tally(
        self, after: Place | None, /, *, limit: int, granularity: Granularity
    ) -> TalliedPage | None:
        """Return the tally of the page that ``read`` would return.

        None: the page holds what cannot be tallied; it must be read plainly.

        Raises:
            InvalidBoundError: As in ``read``.
            HistoryChangedError: As in ``read``.
            OpenTransactionError: As in ``read``.
        """
        ...


class StatsStore(Protocol):
    """Totals and rollups of one projection, and how far it has come.

    Laws:
        compare_and_set: Of two commits from one cursor record one is applied; the other
            raises `CursorConflictError` and changes nothing.
        atomic: A commit's deltas and cursor become visible and durable together or not
            at all.
        unknown_outcome: A commit that is repeated because its answer was lost lands
            once, or conflicts.
        exact: Sums are integers within signed 64 bits; leaving the range raises before
            anything is written. Sums on the way may be larger.
        signed: Sums are stored as they are, also below zero.
        only_real_changes: A row is written only if it changes. A skill gets its row
            of totals with its first event; a rollup row of zeros may be absent.
        one_snapshot: Totals and rollups are returned with the cursor of their snapshot.
        forgotten: A forgotten skill has no numbers and never gets any; the commit that
            meets its events counts them as dropped.
    """

    @property
    def projection(self) -> Projection:
        """The projection whose stats these are."""
        ...

    def cursor(self) -> Cursor:
        """Return the stored cursor record.

        Raises:
            OpenTransactionError: If the connection is inside a transaction.
        """
        ...

    def commit(self, commit: Commit, /) -> CommitResult:
        """Add the deltas and store the new cursor record, in one transaction.

        Raises:
            CursorConflictError: If the stored record is not ``commit.expected``.
            OutOfRangeError: If a sum would leave signed 64 bits.
            OpenTransactionError: If the connection is inside a transaction.
        """
        ...

    def totals(self, skill_ids: Iterable[str] | None = None, /) -> Totals:
        """Return the totals of these skills, or of all (None).

        Raises:
            OpenTransactionError: If the connection is inside a transaction.
        """
        ...

    def rollups(
        self,
        skill_id: str,
        granularity: Granularity,
        /,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Rollups:
        """Return the rollups of one skill.

        Args:
            skill_id: The skill.
            granularity: One of the projection's.
            since: The first bucket is the one that holds this time; None: the first
                there is.
            until: The last bucket begins before this time; None: the last there is.

        Raises:
            InvalidProjectionError: If the projection has no such granularity.
            OpenTransactionError: If the connection is inside a transaction.
        """
        ...

    def forget(self, skill_id: str, /) -> bool:
        """Drop a skill for good, from every projection of the stats database.

        Its totals and rollups go, the control totals are lowered by them and every
        cursor's revision grows, so that no commit in flight revives it. Later events of
        the skill are dropped and counted. It cannot be undone.

        Returns:
            Whether the skill was not forgotten before.

        Raises:
            InvalidEventError: If *skill_id* cannot be one.
            OpenTransactionError: If the connection is inside a transaction.
        """
        ...

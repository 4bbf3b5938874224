"""The two protocols and the values that pass through them; import them from `skillstat_agg`.

Every law below has a name. A store that keeps all of them counts each committed event
exactly once, whatever ties, crashes, retries, overlaps, pauses and late commits happen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import TypeAlias

import attrs
from typing_extensions import Protocol, runtime_checkable

from skillstat_agg._buckets import Granularity
from skillstat_agg._commits import Commit, CommitResult, Cursor
from skillstat_agg._compacting import Reader, Segment
from skillstat_agg._events import Event, Place, Position
from skillstat_agg._notes import Note
from skillstat_agg._pages import Backlog, Page, TalliedPage
from skillstat_agg._projections import Projection
from skillstat_agg._quarantine import Quarantine

Counters: TypeAlias = Mapping[str, int]
"""Signed sums by name of the counter or rollup column."""

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


@attrs.frozen(eq=False)
class Totals(Mapping[str, Counters]):
    """Signed totals by skill, with the cursor of the same snapshot.

    A mapping, equal to every mapping with the same sums. Skills without an event are
    absent. What people are shown is `shown` of a sum.

    Attributes:
        cursor: The cursor; the totals are the table applied to all events up to it.
        by_skill: Sums by skill, in no particular order.
    """

    cursor: Cursor = attrs.field(repr=False)
    by_skill: Mapping[str, Counters]

    def in_order(self, skill_ids: Iterable[str]) -> list[tuple[str, Counters | None]]:
        """Return the sums of these skills in this order; None: no event of it was counted.

        So what is unknown is told from what is zero.
        """
        return [(skill, self.by_skill.get(skill)) for skill in skill_ids]

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

    cursor: Cursor = attrs.field(repr=False)
    by_start: Mapping[datetime, Counters]

    def __getitem__(self, start: datetime) -> Counters:
        return self.by_start[start]

    def __iter__(self) -> Iterator[datetime]:
        return iter(self.by_start)

    def __len__(self) -> int:
        return len(self.by_start)


@attrs.frozen(kw_only=True)
class Expired:
    """What one step of an expiry did.

    Attributes:
        cursor: The record as it is stored now.
        rows: Number of rows of rollups that were deleted.
        is_last: Whether everything that was to expire is gone.
    """

    cursor: Cursor
    rows: int
    is_last: bool


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
            order the store reads in is the order positions compare in. What an append
            stores stands after what was committed before it began.
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
        are committed on return. *events* is read to its end before anything is locked. A
        call that raises has stored nothing, and the caller's transaction can go on.

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


@runtime_checkable
class PruneStore(Protocol):
    """An event store whose old events can be made small, and which knows who reads it.

    Laws:
        known_readers: A reader is known from ``register`` until ``retire``. It stands at
            the start until it reports a place, and reports move it only forwards.
        slowest_reader: No event after the place of any reader is made small, and none at
            all while a reader stands at the start or no reader is known. A ``register``, or
            a ``report`` of a reader that was not known, is over before a compaction looks, or
            begins when it is over.
        same_sums: Compacted events stand for exactly what they replace: the number of
            events, the sums of fingerprints, and by skill, kind, hour and names of deltas
            how many there were and what they carried. Event ids stay known.
        whole_segments: A run of events is replaced in one step, as others see it too, and
            what was made of it never changes again. A place inside of it is refused
            afterwards, the place at its end still stands.
        kept_events: Events at positions that the caller keeps stay as they are, and so do
            those after the bound that it gives, and from the first on that is not old
            enough. No compacted event stands for events on both sides of one that is kept.
    """

    def register(self, reader: str, /) -> None:
        """Make a reader known that begins at the start; a known one is there again.

        Writes nothing where it stands there already.

        Raises:
            InvalidBoundError: If the name is empty or too long.
            OpenTransactionError: If the connection is inside a transaction.
        """
        ...

    def report(self, reader: str, place: Place, /) -> None:
        """Say that a reader will never again read what stands at or before a place.

        A reader that is not known is from now on. A place behind the one that is known
        changes nothing.

        Raises:
            InvalidBoundError: As in ``register``.
            HistoryChangedError: If the log is not the one that *place* was made from.
            OpenTransactionError: If the connection is inside a transaction.
        """
        ...

    def retire(self, reader: str, /) -> bool:
        """Strike a reader off the list, and return whether it was there.

        What it has not read may be made small from now on. If it comes back it is refused,
        where it stands inside of that.

        Raises:
            InvalidBoundError: As in ``register``.
            OpenTransactionError: If the connection is inside a transaction.
        """
        ...

    def readers(self) -> tuple[Reader, ...]:
        """Return who reads the log, by name.

        Raises:
            OpenTransactionError: If the connection is inside a transaction.
        """
        ...

    def compactable(
        self,
        after: Position | None,
        /,
        *,
        before: datetime | None,
        limit: int,
        upto: Position | None = ...,
        kept: Collection[Position] = ...,
    ) -> Segment | None:
        """Return the next segment that ``compact`` would make; None: there is none.

        Args:
            after: Where it begins at the earliest: the last position of the segment that
                was returned before; None: wherever ``compact`` would begin.
            before: Events that were recorded at this time or later stay; None: none
                stays for that.
            limit: How many events at most.
            upto: Events after this position stay; None: none stays for that.
            kept: Positions of events that stay.

        Raises:
            InvalidBoundError: If *limit* is below 1, or *before* has no time zone.
            NoReadersError: If no reader is known.
            OpenTransactionError: If the connection is inside a transaction.
            UnreadableEventError: If the first event is not one that ``append`` stores.
        """
        ...

    def compact(
        self,
        *,
        before: datetime | None,
        limit: int,
        upto: Position | None = ...,
        kept: Collection[Position] = ...,
    ) -> Segment | None:
        """Make the next run of events small, and return it; None: there is none.

        One transaction. It begins after the last segment, with the first event that is not
        kept; what was kept then, and is not any more, stays as it is.

        Raises:
            SkillstatError: As in ``compactable``. Nothing was changed.
        """
        ...


@runtime_checkable
class LagStore(Protocol):
    """An event store that can also say how much lies after a place, without listing it.

    Laws:
        same_backlog: The backlog is that of one snapshot: as many events as ``read`` would
            return after the place, with the limit at most that; the first one's time; and
            the frontier.
        nothing_hidden: What is committed and lies beyond the frontier is counted as
            waiting, with the limit at most that, and nothing else is.
    """

    def lag(self, after: Place | None, /, *, limit: int) -> Backlog:
        """Return how much lies after *after*.

        Begins and ends its own transaction.

        Args:
            after: Where the reader stands; None: before the first event.
            limit: How far to count at most, at least 1: where a number is the limit, it
                may be larger in truth.

        Raises:
            InvalidBoundError: As in ``read``.
            HistoryChangedError: As in ``read``.
            OpenTransactionError: As in ``read``.
        """
        ...


class StatsStore(Protocol):
    """Totals and rollups of one projection, and how far it has come.

    The first record is ``Cursor.start``; ``Commit.cursor`` makes the next one. A record
    comes back equal to what was stored: times to the microsecond, control totals of any
    size (as text, say). A commit whose projection extends the stored table brings counters
    or columns that are not there yet.

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
            They can be read with a table that extends the stored one, or that it
            extends; what is not counted yet is 0.
        forgotten: A forgotten skill has no numbers, and nothing in quarantine, and never
            gets any; the commit that meets its events counts them as dropped.
            ``forgotten`` names it.
        quarantined: What a commit parks lies in quarantine from that commit on, as it
            stands in the log and once, until a commit counts it or its skill is forgotten.
            A store that takes a table over before the first commit counts what that
            teaches in the same transaction.
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

        What is parked goes into quarantine and what was taught leaves it, in the same
        transaction. A skill that is forgotten is left out of all of it:
        ``commit.without(forgotten)`` is what there is to apply.

        Raises:
            CursorConflictError: If the stored record is not ``commit.expected``.
            OutOfRangeError: If a sum would leave signed 64 bits.
            OpenTransactionError: If the connection is inside a transaction.
        """
        ...

    def totals(self, skill_ids: Iterable[str] | None = None, /) -> Totals:
        """Return the totals of these skills, or of all (None).

        Raises:
            InvalidEventError: If one cannot be the id of a skill, or a single string
                was given.
            TableChangedError: If the numbers were made with a table of which neither
                extends the other.
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
            InvalidEventError: If *skill_id* cannot be one.
            InvalidBoundError: If a time has no time zone.
            InvalidProjectionError: If the projection has no such granularity.
            TableChangedError: As in ``totals``.
            OpenTransactionError: If the connection is inside a transaction.
        """
        ...

    def quarantine(self, *, limit: int) -> Quarantine:
        """Return at most *limit* (at least 1) events that the table cannot count.

        They come with the cursor of their snapshot, in the order of their positions.

        Raises:
            InvalidBoundError: If *limit* is below 1.
            OpenTransactionError: If the connection is inside a transaction.
        """
        ...

    def forget(self, skill_id: str, /) -> bool:
        """Drop a skill for good, from every projection of the stats database.

        Its totals, its rollups and what it has in quarantine go, the control totals and
        the number of parked events are lowered by them, and every cursor's revision
        grows, so that no commit in flight revives it. Later events of the skill are
        dropped and counted. It cannot be undone.

        Returns:
            Whether the skill was not forgotten before.

        Raises:
            InvalidEventError: If *skill_id* cannot be one.
            OpenTransactionError: If the connection is inside a transaction.
        """
        ...

    def forgotten(self, skill_ids: Iterable[str], /) -> frozenset[str]:
        """Return those of these skills that are forgotten.

        Raises:
            InvalidEventError: If one cannot be the id of a skill, or a single string
                was given.
            OpenTransactionError: If the connection is inside a transaction.
        """
        ...


@runtime_checkable
class RetentionStore(Protocol):
    """A stats store that can let rollups expire: their rows go, the totals stay.

    Laws:
        expired: A rollup bucket that has expired has no rows and never gets any. What
            goes, goes oldest first and bucket by bucket; the transaction that deletes it
            lowers the control totals by it, stores the first bucket that is kept, and
            raises the revision.
    """

    def expire(self, granularity: Granularity, first: int, /, *, limit: int) -> Expired:
        """Delete the rollups of buckets before *first*, in one bounded transaction.

        As many buckets go, the oldest first, as hold at most *limit* rows together, and at
        least one. The record then says which is the first that is kept: *first* where
        everything is gone, or a bucket before it. Where that bucket, or a later one, is the
        first already, nothing is written.

        Args:
            granularity: One of the projection's.
            first: Number of the first bucket to keep.
            limit: How many rows at most, unless one bucket alone has more.

        Raises:
            InvalidBoundError: If *limit* is below 1.
            InvalidProjectionError: If the projection has no such granularity.
            OpenTransactionError: If the connection is inside a transaction.
        """
        ...


@runtime_checkable
class NoteStore(Protocol):
    """A stats store that can also keep what went wrong last, for people to see.

    Laws:
        noted: The note of a projection is the last that was written for it. Writing one
            changes nothing else: no number, no cursor record, no other projection's note.
    """

    def note_error(self, text: str, /) -> None:
        """Keep *text*, and the time, as what went wrong last; at most 1,000 characters of it.

        In a transaction of its own. Any text will do: what a database cannot store is
        written as an escape.

        Raises:
            OpenTransactionError: If the connection is inside a transaction.
        """
        ...

    def last_error(self) -> Note | None:
        """Return what went wrong last; None: nothing has yet.

        Raises:
            OpenTransactionError: If the connection is inside a transaction.
        """
        ...

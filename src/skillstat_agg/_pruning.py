"""Making old events small: import `prune` and `plan_prune` from `skillstat_agg` instead.

`skillstat_agg.aio._pruning` is its twin, as that of `_folding` is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from time import sleep

import attrs

from skillstat_agg._commits import Cursor
from skillstat_agg._compacting import Reader, Segment, reader_of, slowest
from skillstat_agg._events import Position, position_text
from skillstat_agg._pages import check_bounds
from skillstat_agg._quarantine import check_whole
from skillstat_agg._stores import PruneStore, StatsStore
from skillstat_agg.errors import HistoryChangedError, StoreContractError

DEFAULT_SEGMENT = 10_000
"""Events per segment: large enough to be made small, small enough to lock briefly."""

REST = timedelta(milliseconds=150)
"""The pause between two segments, in which whoever waits for the lock finds it free."""


@attrs.frozen(kw_only=True)
class PruneReport:
    """What a prune did, or would do.

    Attributes:
        segments: How many runs of events were made small, each in a transaction of its own.
        events: How many events that were.
        records: How many compacted events stand for them now.
        last: Position of the last of them; None: there was none.
        slowest: The reader that had come least far when it began.
    """

    segments: int
    events: int
    records: int
    last: Position | None
    slowest: Reader

    @property
    def is_over(self) -> bool:
        """Whether all is made small that every reader had read when it began."""
        place = self.slowest.position
        return place is None or (self.last is not None and self.last >= place)

    def __str__(self) -> str:
        return (
            f"{self.events} events in {self.segments} segments -> {self.records} compacted events;"
            f" the slowest reader is {self.slowest.name!r}, at"
            f" {position_text(self.slowest.position)}"
        )

    def then(self, segment: Segment) -> PruneReport:
        """Return the report after one more segment.

        Raises:
            StoreContractError: If it does not lie after the last one.
        """
        if self.last is not None and not self.last < segment.first <= segment.last:
            raise StoreContractError(
                "whole_segments", f"after a segment up to {self.last} comes one at {segment.first}"
            )
        return attrs.evolve(
            self,
            segments=self.segments + 1,
            events=self.events + segment.events,
            records=self.records + segment.records,
            last=segment.last,
        )


def plan_prune(
    events: PruneStore,
    *stats: StatsStore,
    before: datetime | None,
    limit: int = DEFAULT_SEGMENT,
    max_segments: int | None = None,
    kept: Collection[Position] = (),
    on_segment: Callable[[Segment], object] | None = None,
) -> PruneReport:
    """Return what `prune` would do now, and change no event.

    Arguments and errors are those of `prune`. The places of *stats* are reported here, too.
    """
    check_bounds(limit=limit, max_segments=max_segments)
    _tell(events, stats)
    report = nothing_pruned(events.readers())
    upto, stay = report.slowest.position, {*kept, *_parked(stats)}
    while not report.is_over and report.segments != max_segments:
        segment = events.compactable(report.last, before=before, limit=limit, upto=upto, kept=stay)
        if segment is None:
            break
        report = report.then(segment)
        if on_segment is not None:
            on_segment(segment)
    return report


def prune(
    events: PruneStore,
    *stats: StatsStore,
    before: datetime | None,
    limit: int = DEFAULT_SEGMENT,
    max_segments: int | None = None,
    kept: Collection[Position] = (),
    on_segment: Callable[[Segment], object] | None = None,
    rest: timedelta = REST,
    wait: Callable[[float], object] = sleep,
) -> PruneReport:
    """Make old events small that every reader of the log has read, segment by segment.

    Compacted events take their place: one for each skill, kind, hour and set of names of
    deltas. Ids stay known, and read, tally, rebuild and a projection that is declared years
    later come to the same numbers. What is lost are ids, notes and times of single events.

    It can be killed at any time, and started again; any number may run beside workers.

    Args:
        events: The log.
        stats: Stats that are folded from it. Their places are reported first, which matters
            where a worker was killed before it could, or has only read. Other readers are
            respected as well.
        before: Events that were recorded at this time or later stay, and what comes after
            the first of them; None: all that is read is made small. Clocks choose how much is
            made small, and nothing else.
        limit: How many events per segment, and so per transaction, at most. A reader that was
            not registered and stands inside of a segment is refused.
        max_segments: How many segments at most. None: any number.
        kept: Positions of events that stay as they are. So do those in the quarantines of
            *stats*.
        on_segment: Called after each segment. What it raises ends the prune; what was made
            small stays so.
        rest: How long to rest between two segments. A writer who waits for SQLite's lock is
            not in a queue: it looks every tenth of a second, and must find the lock free.
        wait: Waits for so many seconds.

    Raises:
        InvalidBoundError: If a bound is below 1, or *before* has no time zone.
        NoReadersError: If nobody is known to read the log.
        HistoryChangedError: If stats were not folded from this log.
        OpenTransactionError: If a connection is inside a transaction.
        StoreContractError: If the store does not go on from segment to segment, or a
            quarantine does not hold what its cursor says. Nothing more is made small.
        SkillstatError: As in ``PruneStore.compact``. Segments made before stay.
    """
    check_bounds(limit=limit, max_segments=max_segments)
    _tell(events, stats)
    report = nothing_pruned(events.readers())
    upto, stay = report.slowest.position, {*kept, *_parked(stats)}
    while not report.is_over and report.segments != max_segments:
        if report.segments and rest:
            wait(rest.total_seconds())
        segment = events.compact(before=before, limit=limit, upto=upto, kept=stay)
        if segment is None:
            break
        report = report.then(segment)
        if on_segment is not None:
            on_segment(segment)
    return report


def _tell(events: PruneStore, stats: Sequence[StatsStore]) -> None:
    """Tell the log how far these stats have come."""
    known = events.readers()
    for each in stats:
        cursor = each.cursor()
        if is_behind(cursor, known):
            events.register(reader_of(cursor))
        while cursor.place is not None:
            try:
                events.report(reader_of(cursor), cursor.place)
                break
            except HistoryChangedError:  # another prune was quicker than this look at the cursor
                before, cursor = cursor, each.cursor()
                if before.place == cursor.place:
                    raise


def _parked(stats: Sequence[StatsStore]) -> frozenset[Position]:
    """Return where the events stand that lie in the quarantines of these stats.

    Asked after the place of the slowest reader: what of the events up to there is parked was so
    by then. What is parked while this looks is looked at again.

    Raises:
        StoreContractError: If a quarantine is not as much as its cursor says.
    """
    found: set[Position] = set()
    for each in stats:
        count, limit = each.cursor().parked, 0
        while count > limit:
            limit = count
            quarantine = each.quarantine(limit=limit)
            count = quarantine.cursor.parked
            if count <= limit:
                check_whole(quarantine)
            found.update(one.position for one in quarantine.events)
    return frozenset(found)


def is_behind(cursor: Cursor, known: Sequence[Reader]) -> bool:
    """Return whether *cursor* is at the start, or behind the place that it once reported.

    So it is after its stats were restored from a backup, or made anew.
    """
    if cursor.place is None:
        return True
    places = [reader.position for reader in known if reader.name == reader_of(cursor)]
    return any(place is not None and cursor.place.position < place for place in places)


def nothing_pruned(readers: Sequence[Reader]) -> PruneReport:
    """Return the report of a prune that has not begun.

    Raises:
        NoReadersError: If there are no readers.
    """
    return PruneReport(segments=0, events=0, records=0, last=None, slowest=slowest(readers))

"""The two functions that call both stores; import them from `skillstat_agg` instead.

`skillstat_agg.aio._folding` is its twin for asynchronous stores: what calls a store stands
there again with ``await``, and a test holds the two texts equal. What calls none is here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import attrs

from skillstat_agg._commits import Commit, CommitResult, Cursor, check_table
from skillstat_agg._compacting import reader_of
from skillstat_agg._deltas import deltas_of
from skillstat_agg._events import Position, RecordedEvent, events_in
from skillstat_agg._pages import (
    Portion,
    check_bounds,
    countable,
    countable_part,
    cut,
    cut_tally,
)
from skillstat_agg._projections import Projection
from skillstat_agg._quarantine import Uncountable, blaming, granularity_in, taught_by
from skillstat_agg._stores import EventStore, StatsStore
from skillstat_agg._tallies import Tally
from skillstat_agg.errors import (
    CursorConflictError,
    HistoryChangedError,
    OutOfRangeError,
    StoreBusyError,
    StoreContractError,
)

log = logging.getLogger("skillstat_agg")

DEFAULT_PAGE = 10_000
"""Events per page: large enough to write each row seldom, small enough to lock briefly."""

LOOK_SECONDS = 1.0
"""How long a drain that lost a page waits before it looks at the cursor again."""


@attrs.frozen(kw_only=True)
class FoldReport:
    """What a fold did; the same fields for every outcome.

    Attributes:
        events: Events folded: those the cursor moved over, dropped ones included. A
            compacted event counts as many as it stands for.
        records: The same, where a compacted event is one.
        rows: Rows of totals and rollups written.
        parked: Events among them that the table cannot count and that went into quarantine.
        taught: Events that lay in quarantine and count now. They were folded before.
        dropped: Events that were left out of something, by reason; every reason is there.
            Reasons: ``"forgotten"`` (the skill was: they count nowhere), ``"expired"``
            (a rollup bucket was: they count in the totals).
        conflicts: Commits lost to another worker. Their events are in that worker's
            report, not here.
        before: The cursor that the fold started from.
        after: The cursor that it ended at, as last seen.
        at_frontier: Whether everything that could be read is folded.
    """

    events: int
    records: int
    rows: int
    parked: int
    taught: int
    dropped: Mapping[str, int] = attrs.field(hash=False)
    conflicts: int
    before: Cursor
    after: Cursor
    at_frontier: bool

    def __str__(self) -> str:
        where = "at the frontier" if self.at_frontier else "more remain"
        dropped = sum(self.dropped.values())
        aside = "".join(
            f" {number} {what},"
            for number, what in ((self.parked, "parked"), (self.taught, "taught"))
            if number
        )
        return (
            f"{self.events} events folded, {self.rows} rows written,{aside} {dropped} dropped,"
            f" {self.conflicts} conflicts, {where}"
        )

    def then(self, later: FoldReport) -> FoldReport:
        """Return one report of this fold and the one after it."""
        return FoldReport(
            events=self.events + later.events,
            records=self.records + later.records,
            rows=self.rows + later.rows,
            parked=self.parked + later.parked,
            taught=self.taught + later.taught,
            dropped={reason: n + later.dropped[reason] for reason, n in self.dropped.items()},
            conflicts=self.conflicts + later.conflicts,
            before=self.before,
            after=later.after,
            at_frontier=later.at_frontier,
        )


def fold_page(
    events: EventStore,
    stats: StatsStore,
    *,
    page: int = DEFAULT_PAGE,
    max_skills: int | None = None,
    uncountable: Uncountable = Uncountable.HALT,
    on_commit: Callable[[frozenset[str]], object] | None = None,
) -> FoldReport:
    """Fold one page of events in one commit.

    Losing the race against another worker is an ordinary outcome: the report says
    ``conflicts=1``, nothing was written, and the next call reads anew. The first fold
    with a table that knows more kinds counts what lies in quarantine of those kinds in
    its commit, also where no event is new.

    Where the log keeps a list of its readers (`PruneStore`), the projection is registered
    before its first read and its place is reported after the commit.

    Args:
        events: The log.
        stats: The stats of one projection.
        page: How many events at most; a compacted event is one, whatever it stands for.
        max_skills: How many skills at most; never overshot by what is new. None: any number.
        uncountable: What to do with an event that the table cannot count.
        on_commit: Called after the commit with the skills whose numbers changed, which
            may be none. What it raises ends the fold; the commit stays. It is not called
            again if the process dies first.

    Raises:
        InvalidBoundError: If a bound is below 1.
        UncountableEventError: If the table cannot count an event, and such events are not
            parked. Everything before it is committed and the cursor stands before it.
        UnreadableEventError: If somebody else wrote nonsense into the log. As before.
        TableChangedError: If the stats were made with a table that this one does not
            extend.
        HistoryChangedError: If the log is not the one that was folded so far.
        OpenTransactionError: If a connection is inside a transaction.
        OutOfRangeError: If a sum would leave signed 64 bits with one event. The page was
            halved down to it, and everything before it is committed.
        StoreContractError: If a page, or a quarantine, breaks a law of its protocol.
    """
    check_bounds(page=page, max_skills=max_skills)
    cursor = stats.cursor()
    _register(events, cursor)
    report = _fold(events, stats, cursor, page, max_skills, uncountable, on_commit)
    _report(events, report)
    return report


def drain(
    events: EventStore,
    stats: StatsStore,
    *,
    page: int = DEFAULT_PAGE,
    max_events: int | None = None,
    max_skills: int | None = None,
    uncountable: Uncountable = Uncountable.HALT,
    until: Position | None = None,
    on_commit: Callable[[frozenset[str]], object] | None = None,
    wait: Callable[[float], bool] | None = None,
) -> FoldReport:
    """Fold page after page until the frontier, or the bound, is reached.

    Any number of workers may drain at once; each event counts once. A drain that is
    killed has lost nothing and repeats nothing: start it again.

    Where the log keeps a list of its readers (`PruneStore`), the projection is registered
    before its first read and its place is reported at the end.

    Args:
        events: The log.
        stats: The stats of one projection.
        page: How many events per page, and so per commit, at most; a compacted event is
            one, whatever it stands for.
        max_events: How many events in all at most, counted in the same way; never
            overshot. None: any number.
        max_skills: How many skills per commit at most, as in `fold_page`. None: any number.
        uncountable: What to do with an event that the table cannot count.
        until: Fold as if the log ended with this position. None: to the frontier.
        on_commit: Called after each commit, as in `fold_page`.
        wait: Waits for so many seconds, or until this program is to stop, and returns
            whether it is: `threading.Event().wait` and `Stop.wait` do. With it the drain
            ends within one page when told to, and after a page that another worker won
            it only looks at the cursor, each second, until that stands still. None: it
            is not told, and reads on at once.

    Raises:
        SkillstatError: As in `fold_page`. Commits made before stay.
    """
    check_bounds(page=page, max_events=max_events, max_skills=max_skills)
    report = start(stats.cursor())
    _register(events, report.after)
    while not report.at_frontier and report.records != max_events:
        if wait is not None and wait(0.0):
            break
        limit = page if max_events is None else min(page, max_events - report.records)
        step = _fold(events, stats, report.after, limit, max_skills, uncountable, on_commit, until)
        report = report.then(step)
        if step.conflicts and wait is not None:
            report = attrs.evolve(report, after=_at_rest(stats, report.after, wait))
    _report(events, report)
    return end(report)


def _fold(
    events: EventStore,
    stats: StatsStore,
    cursor: Cursor,
    limit: int,
    max_skills: int | None,
    uncountable: Uncountable,
    on_commit: Callable[[frozenset[str]], object] | None,
    until: Position | None = None,
) -> FoldReport:
    """Fold one page after *cursor*, which may be out of date by now."""
    projection = stats.projection
    check_table(cursor, projection)
    taught: tuple[RecordedEvent, ...] = ()
    if cursor.parked and cursor.table != projection.table:
        quarantine = stats.quarantine(limit=cursor.parked)
        if quarantine.cursor != cursor:
            return lost_race(cursor, quarantine.cursor)
        taught = taught_by(projection, quarantine)
    try:
        portion = read_portion(events, cursor, projection, limit, max_skills, uncountable, until)
    except HistoryChangedError:
        current = stats.cursor()
        if current.place == cursor.place:
            raise
        return lost_race(cursor, current)  # a prune came behind the worker who was first
    if portion.page.place is None and not taught:
        return no_page(cursor, portion)
    try:
        result = stats.commit(commit_of(cursor, portion, taught, projection))
    except CursorConflictError:
        return lost_race(cursor, stats.cursor())
    except OutOfRangeError as error:
        if taught and not is_divisible(limit, portion):
            return _teach(stats, cursor, portion, taught, on_commit)
        half = half_of(limit, portion, error)
        return _fold(events, stats, cursor, half, max_skills, uncountable, on_commit, until)
    if on_commit is not None:
        on_commit(result.changed)
    if portion.fault is not None:
        raise portion.fault
    return folded(cursor, portion, events_in(taught), result)


def _teach(
    stats: StatsStore,
    cursor: Cursor,
    portion: Portion,
    taught: Sequence[RecordedEvent],
    on_commit: Callable[[frozenset[str]], object] | None,
) -> FoldReport:
    """Count what was taught by itself, since with the next event a sum leaves its range."""
    alone = without_page(portion)
    try:
        result = stats.commit(commit_of(cursor, alone, taught, stats.projection))
    except CursorConflictError:
        return lost_race(cursor, stats.cursor())
    except OutOfRangeError as error:
        totals = stats.totals([error.skill_id])
        granularity = granularity_in(error)
        rollups = granularity and stats.rollups(error.skill_id, granularity)
        raise blaming(error, taught, stats.projection, cursor.expired, totals, rollups) from error
    if on_commit is not None:
        on_commit(result.changed)
    return folded(cursor, alone, events_in(taught), result)


def _at_rest(stats: StatsStore, cursor: Cursor, wait: Callable[[float], bool]) -> Cursor:
    """Return the cursor when nobody moves it any more, or when this program is to stop."""
    while not wait(LOOK_SECONDS):
        before, cursor = cursor, stats.cursor()
        if cursor == before:
            break
    return cursor


def read_portion(
    events: EventStore,
    cursor: Cursor,
    projection: Projection,
    limit: int,
    max_skills: int | None,
    uncountable: Uncountable,
    until: Position | None,
) -> Portion:
    """Return what one commit can take of the log after *cursor*."""
    tally = getattr(events, "tally", None)  # a `TallyStore`, be it behind a proxy
    if max_skills is None and tally is not None:
        page_tally = tally(cursor.place, limit=limit, granularity=projection.finest)
        portion = countable(cut_tally(page_tally, until), cursor, limit, projection)
        if portion is not None:
            return portion
    page = cut(events.read(cursor.place, limit=limit), until)
    return countable_part(page, cursor, limit, projection, max_skills, uncountable)


def _register(events: EventStore, cursor: Cursor) -> None:
    """Tell a log that keeps a list of its readers that one begins at its start."""
    register = getattr(events, "register", None)  # a `PruneStore`, be it behind a proxy
    if register is not None and cursor.place is None:
        register(reader_of(cursor))


def _report(events: EventStore, report: FoldReport) -> None:
    """Tell a log that keeps a list of its readers how far one has come.

    What it is not told it learns later: a place that is too low is safe.
    """
    tell, place = getattr(events, "report", None), report.after.place
    if tell is not None and place is not None and place != report.before.place:
        # That a place is gone is told by the next read, if the cursor still stands there.
        with suppress(StoreBusyError, HistoryChangedError):
            tell(reader_of(report.after), place)


def retire_reader(events: EventStore, cursor: Cursor) -> None:
    """Tell a log that keeps a list of its readers that these numbers are not built any more."""
    retire = getattr(events, "retire", None)
    if retire is not None:
        with suppress(StoreBusyError):
            retire(reader_of(cursor))


def commit_of(
    cursor: Cursor, portion: Portion, taught: Sequence[RecordedEvent], projection: Projection
) -> Commit:
    """Return the commit that takes *cursor* over a portion, and counts what was taught."""
    page = portion.page
    tally = page.tally
    if taught:
        tally += Tally.of_recorded(taught, projection.finest)
    return Commit(
        expected=cursor,
        place=cursor.place if page.place is None else page.place,
        count=page.count,
        checksum=page.checksum,
        projection=projection,
        deltas=deltas_of(projection, tally, cursor.expired),
        parked=portion.parked,
        taught=tuple(taught),
    )


def is_divisible(limit: int, portion: Portion) -> bool:
    """Return whether less than a portion can be tried, read with this limit."""
    return min(limit, portion.page.records) > 1


def without_page(portion: Portion) -> Portion:
    """Return a portion that holds no event, and does not reach the frontier."""
    page = portion.page
    return Portion(
        page=attrs.evolve(
            page,
            tally=Tally.of((), page.tally.granularity),
            count=0,
            checksum=0,
            place=None,
            is_last=False,
            records=0,
        )
    )


def half_of(limit: int, portion: Portion, error: OutOfRangeError) -> int:
    """Return how many events to try after a portion whose sums leave the range.

    Raises:
        OutOfRangeError: If the portion is one event already, or none.
    """
    page = portion.page
    if is_divisible(limit, portion):
        return min(limit, page.records) // 2
    if page.place is None:
        raise error
    raise attrs.evolve(error, position=str(page.place.position)) from error


def start(cursor: Cursor) -> FoldReport:
    """Return the report of a drain that has not begun to read."""
    log.info("%s: Starting aggregation, cursor=%s", cursor.projection, cursor_text(cursor))
    return nothing_folded(cursor, at_frontier=False)


def end(report: FoldReport) -> FoldReport:
    """Return the report of a drain, when it is over."""
    name = report.after.projection
    if report.events == 0 and report.at_frontier:
        log.info("%s: No events to process, done", name)
    elif report.at_frontier:
        log.info("%s: All events processed, done (%d events)", name, report.events)
    else:
        log.info("%s: More events remaining after %d events", name, report.events)
    return report


def no_page(cursor: Cursor, portion: Portion) -> FoldReport:
    """Return the report of a fold that met no event it could take.

    Raises:
        UncountableEventError: If that is because the table cannot count the next one.
    """
    if portion.fault is not None:
        raise portion.fault
    return nothing_folded(cursor, at_frontier=True)


def nothing_folded(cursor: Cursor, *, at_frontier: bool) -> FoldReport:
    """Return the report of a fold that met no event."""
    return FoldReport(
        events=0,
        records=0,
        rows=0,
        parked=0,
        taught=0,
        dropped={"forgotten": 0, "expired": 0},
        conflicts=0,
        before=cursor,
        after=cursor,
        at_frontier=at_frontier,
    )


def lost_race(cursor: Cursor, current: Cursor) -> FoldReport:
    """Return the report of a fold whose commit came second.

    Raises:
        StoreContractError: If nobody came first.
    """
    if current == cursor:
        raise StoreContractError("compare_and_set", "a commit from the stored cursor was refused")
    log.info(
        "%s: Another worker was first; reading again at cursor=%s",
        cursor.projection,
        cursor_text(current),
    )
    report = nothing_folded(current, at_frontier=False)
    return attrs.evolve(report, conflicts=1, before=cursor)


def folded(cursor: Cursor, portion: Portion, taught: int, result: CommitResult) -> FoldReport:
    """Return the report of a fold that committed.

    Args:
        cursor: The record before it.
        portion: What it has folded.
        taught: How many events left quarantine.
        result: What the commit did.
    """
    page, after = portion.page, result.cursor
    expired = after.dropped.get("expired", 0) - cursor.dropped.get("expired", 0)
    log.debug(
        "%s: Fetched %d events, %d skills changed",
        cursor.projection,
        page.count,
        len(result.changed),
    )
    return FoldReport(
        events=page.count,
        records=page.records,
        rows=result.rows,
        parked=after.parked - cursor.parked + taught,
        taught=taught,
        dropped={"forgotten": result.forgotten, "expired": expired},
        conflicts=0,
        before=cursor,
        after=after,
        at_frontier=page.is_last,
    )


def cursor_text(cursor: Cursor) -> str:
    """Return the position of *cursor* as the log has it, in the form of ClawHub's."""
    return "none" if cursor.place is None else str(cursor.place.position)

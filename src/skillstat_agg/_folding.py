"""The two functions that call both stores; import them from `skillstat_agg` instead.

`skillstat_agg.aio` is this module's twin for asynchronous stores: what calls a store stands
there again with ``await``, and a test holds the two texts equal. What calls none is here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import attrs

from skillstat_agg._events import Place, RecordedEvent
from skillstat_agg._projections import Projection
from skillstat_agg._stores import (
    CHECKSUM_RANGE,
    Commit,
    CommitResult,
    Cursor,
    EventStore,
    Page,
    StatsStore,
    TalliedPage,
    TallyStore,
)
from skillstat_agg._tallies import Tally
from skillstat_agg.errors import (
    CursorConflictError,
    InvalidBoundError,
    InvalidProjectionError,
    StoreContractError,
    TableChangedError,
    UncountableEventError,
)

log = logging.getLogger("skillstat_agg")

DEFAULT_PAGE = 10_000
"""Events per page: large enough to write each row seldom, small enough to lock briefly."""


@attrs.frozen(kw_only=True)
class FoldReport:
    """What a fold did; the same fields for every outcome.

    Attributes:
        events: Events folded: those the cursor moved over, dropped ones included.
        rows: Rows of totals and rollups written.
        dropped: Events that count nowhere, by reason; every reason is there. Reasons:
            ``"forgotten"`` (the skill was).
        conflicts: Commits lost to another worker. Their events are in that worker's
            report, not here.
        before: The cursor that the fold started from.
        after: The cursor that it ended at, as last seen.
        at_frontier: Whether everything that could be read is folded.
    """

    events: int
    rows: int
    dropped: Mapping[str, int] = attrs.field(hash=False)
    conflicts: int
    before: Cursor
    after: Cursor
    at_frontier: bool

    def then(self, later: FoldReport) -> FoldReport:
        """Return one report of this fold and the one after it."""
        return FoldReport(
            events=self.events + later.events,
            rows=self.rows + later.rows,
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
    on_commit: Callable[[frozenset[str]], None] | None = None,
) -> FoldReport:
    """Fold one page of events in one commit.

    Losing the race against another worker is an ordinary outcome: the report says
    ``conflicts=1``, nothing was written, and the next call reads anew.

    Args:
        events: The log.
        stats: The stats of one projection.
        page: How many events at most.
        max_skills: How many skills at most; never overshot. None: any number.
        on_commit: Called after the commit with the skills whose numbers changed. It
            is not called again if the process dies first.

    Raises:
        InvalidBoundError: If a bound is below 1.
        UncountableEventError: If the table cannot count an event. Everything before it
            is committed and the cursor stands before it.
        UnreadableEventError: If somebody else wrote nonsense into the log. As before.
        TableChangedError: If the stats were made with a table that this one does not
            extend.
        HistoryChangedError: If the log is not the one that was folded so far.
        OpenTransactionError: If a connection is inside a transaction.
        OutOfRangeError: If a sum would leave signed 64 bits.
        StoreContractError: If a page breaks a law of its protocol.
    """
    check_bounds(page=page, max_skills=max_skills)
    return _fold(events, stats, stats.cursor(), page, max_skills, on_commit)


def drain(
    events: EventStore,
    stats: StatsStore,
    *,
    page: int = DEFAULT_PAGE,
    max_events: int | None = None,
    max_skills: int | None = None,
    on_commit: Callable[[frozenset[str]], None] | None = None,
) -> FoldReport:
    """Fold page after page until the frontier, or the bound, is reached.

    Any number of workers may drain at once; each event counts once. A drain that is
    killed has lost nothing and repeats nothing: start it again.

    Args:
        events: The log.
        stats: The stats of one projection.
        page: How many events per page, and so per commit, at most.
        max_events: How many events in all at most; never overshot. None: any number.
        max_skills: How many skills per commit at most; never overshot. None: any number.
        on_commit: Called after each commit with the skills whose numbers changed.

    Raises:
        The same as `fold_page`. Commits made before stay.
    """
    check_bounds(page=page, max_events=max_events, max_skills=max_skills)
    report = start(stats.cursor())
    while not report.at_frontier and report.events != max_events:
        limit = page if max_events is None else min(page, max_events - report.events)
        report = report.then(_fold(events, stats, report.after, limit, max_skills, on_commit))
    return end(report)


def _fold(
    events: EventStore,
    stats: StatsStore,
    cursor: Cursor,
    limit: int,
    max_skills: int | None,
    on_commit: Callable[[frozenset[str]], None] | None,
) -> FoldReport:
    """Fold one page after *cursor*, which may be out of date by now."""
    projection = stats.projection
    check_table(cursor, projection)
    tallied, fault = None, None
    if max_skills is None and isinstance(events, TallyStore):
        tallied = countable(
            events.tally(cursor.place, limit=limit, granularity=projection.finest),
            cursor,
            limit,
            projection,
        )
    if tallied is None:
        page = events.read(cursor.place, limit=limit)
        tallied, fault = countable_part(page, cursor, limit, projection, max_skills)
    if tallied.place is None:
        return nothing_folded(cursor, at_frontier=True)
    try:
        result = stats.commit(commit_of(cursor, tallied, tallied.place, projection))
    except CursorConflictError:
        return lost_race(cursor, stats.cursor())
    if on_commit is not None:
        on_commit(result.changed)
    if fault is not None:
        raise fault
    return folded(cursor, tallied, result)


def check_bounds(**bounds: int | None) -> None:
    """Check that each bound that is given is a whole number of at least 1.

    Raises:
        InvalidBoundError: If one is not.
    """
    for name, value in bounds.items():
        if value is not None and (type(value) is not int or value < 1):
            raise InvalidBoundError(name, repr(value))


def check_table(cursor: Cursor, projection: Projection) -> None:
    """Check that stats made with the cursor's table can be carried on with *projection*.

    Raises:
        TableChangedError: If they cannot.
    """
    if cursor.table == projection.table:
        return
    try:
        stored = Projection.from_table(cursor.table)
    except InvalidProjectionError as error:
        raise TableChangedError(projection.name, str(error)) from error
    difference = projection.difference_from(stored)
    if difference is not None:
        raise TableChangedError(projection.name, difference)


def countable(
    page: TalliedPage | None, cursor: Cursor, limit: int, projection: Projection
) -> TalliedPage | None:
    """Return a tallied page that can be committed; None where it has to be read plainly.

    Raises:
        StoreContractError: If the page breaks a law.
    """
    if page is None or not projection.can_count(page.tally):
        return None
    if sum(page.tally.counts.values()) != page.count or (page.count == 0) != (page.place is None):
        raise StoreContractError("same_tally", f"a tallied page counts {page.count} events")
    _check_size(page, page.count, limit)
    _check_after(page.place, cursor.place)
    return page


def countable_part(
    page: Page, cursor: Cursor, limit: int, projection: Projection, max_skills: int | None
) -> tuple[TalliedPage, UncountableEventError | None]:
    """Return what of a plain page can be committed, tallied, and why it ends there.

    It is the whole page, or what stands before an event that the table cannot count (then
    the error to raise after the commit comes with it), or before one skill too many.

    Raises:
        StoreContractError: If the page breaks a law.
        UncountableEventError: If the first event is one that the table cannot count.
    """
    _check_order(page, cursor)
    _check_size(page, len(page.events), limit)
    taken: list[RecordedEvent] = []
    skills: set[str] = set()
    fault: UncountableEventError | None = None
    for recorded in page.events:
        try:
            projection.check(recorded.event)
        except UncountableEventError as error:
            fault = attrs.evolve(error, position=str(recorded.position))
            break
        skills.add(recorded.event.skill_id)
        if max_skills is not None and len(skills) > max_skills:
            break
        taken.append(recorded)
    if fault is not None and not taken:
        raise fault
    tallied = TalliedPage(
        tally=Tally.of((recorded.event for recorded in taken), projection.finest),
        count=len(taken),
        checksum=sum(recorded.fingerprint for recorded in taken) % CHECKSUM_RANGE,
        place=Place(page.epoch, taken[-1].position, taken[-1].fingerprint) if taken else None,
        frontier=page.frontier,
        is_last=page.is_last and len(taken) == len(page.events),
    )
    return tallied, fault


def _check_order(page: Page, cursor: Cursor) -> None:
    """Check the order of a plain page: it is never trusted."""
    last = None if cursor.place is None else cursor.place.position
    for recorded in page.events:
        if last is not None and recorded.position <= last:
            raise StoreContractError(
                "total_order", f"position {recorded.position} comes after {last}"
            )
        last = recorded.position
    if page.events and (page.frontier is None or page.events[-1].position > page.frontier):
        raise StoreContractError(
            "stable_prefix", f"position {last} lies after the frontier {page.frontier}"
        )


def _check_after(place: Place | None, after: Place | None) -> None:
    """Check that a tallied page ends after the place it was read from, in the same log."""
    if place is None or after is None:
        return
    if place.epoch != after.epoch:
        raise StoreContractError("same_log", f"read epoch {place.epoch} after {after.epoch}")
    if place.position <= after.position:
        raise StoreContractError(
            "total_order", f"a page after {after.position} ends at {place.position}"
        )


def _check_size(page: Page | TalliedPage, count: int, limit: int) -> None:
    """Check that a page holds at most what was asked for, and something if more follows."""
    if count > limit:
        raise StoreContractError("progress", f"{count} events for a limit of {limit}")
    if count == 0 and not page.is_last:
        raise StoreContractError("progress", "an empty page says that more follows")


def commit_of(cursor: Cursor, page: TalliedPage, place: Place, projection: Projection) -> Commit:
    """Return the commit that takes *cursor* over a tallied page that ends at *place*."""
    return Commit(
        expected=cursor,
        place=place,
        count=page.count,
        checksum=page.checksum,
        projection=projection,
        deltas=projection.deltas(page.tally),
    )


def start(cursor: Cursor) -> FoldReport:
    """Return the report of a drain that has not begun to read."""
    log.info("Starting aggregation, cursor=%s", cursor_text(cursor))
    return nothing_folded(cursor, at_frontier=False)


def end(report: FoldReport) -> FoldReport:
    """Return the report of a drain, when it is over."""
    if report.events == 0 and report.at_frontier:
        log.info("No events to process, done")
    elif report.at_frontier:
        log.info("All events processed, done (%d events)", report.events)
    else:
        log.info("More events remaining after %d events", report.events)
    return report


def nothing_folded(cursor: Cursor, *, at_frontier: bool) -> FoldReport:
    """Return the report of a fold that met no event."""
    return FoldReport(
        events=0,
        rows=0,
        dropped={"forgotten": 0},
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
    log.info("Another worker was first; reading again at cursor=%s", cursor_text(current))
    report = nothing_folded(current, at_frontier=False)
    return attrs.evolve(report, conflicts=1, before=cursor)


def folded(cursor: Cursor, page: TalliedPage, result: CommitResult) -> FoldReport:
    """Return the report of a fold that committed."""
    log.debug("Fetched %d events, %d skills changed", page.count, len(result.changed))
    return FoldReport(
        events=page.count,
        rows=result.rows,
        dropped={"forgotten": result.forgotten},
        conflicts=0,
        before=cursor,
        after=result.cursor,
        at_frontier=page.is_last,
    )


def cursor_text(cursor: Cursor) -> str:
    """Return the position of *cursor* as text, for people."""
    return "none" if cursor.place is None else str(cursor.place.position)

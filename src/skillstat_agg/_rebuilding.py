"""Numbers made anew from the whole log; import the names from `skillstat_agg` instead.

`skillstat_agg.aio._rebuilding` is its twin for asynchronous stores.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from skillstat_agg._commits import Cursor, stored_projection
from skillstat_agg._folding import (
    FoldReport,
    drain,
    log,
    nothing_folded,
    retire_reader,
)
from skillstat_agg._generations import RebuildableStore
from skillstat_agg._pages import check_bounds
from skillstat_agg._projections import Projection
from skillstat_agg._quarantine import Uncountable
from skillstat_agg._stores import EventStore, StatsStore
from skillstat_agg.errors import GenerationBehindError, HistoryChangedError, NotBuildingError

REBUILD = "rebuild"
"""What a rebuild calls the numbers that it builds."""

BUILDING_PAGE = 50_000
"""Events per commit of numbers that nobody is shown yet: more than a drain takes, since each row
is then written less often, and few enough to lock briefly."""


@attrs.frozen(kw_only=True)
class RebuildReport:
    """What a rebuild did.

    Attributes:
        before: The record that served when it started.
        after: The record that served when it ended, made from the whole log.
        events: Events that this call folded into the new numbers; what another start has
            folded is not among them.
        conflicts: Commits lost to another start.
        joined: Whether it went on with what an earlier start, or another one, had built.
        finished_by: Who put the new numbers in their place: ``"this"`` call, or ``"another"``.
    """

    before: Cursor
    after: Cursor
    events: int
    conflicts: int
    joined: bool
    finished_by: str

    def __str__(self) -> str:
        how = " (joined)" if self.joined else ""
        end = "serves" if self.finished_by == "this" else "was put in place by another start"
        return (
            f"{self.events} events folded anew{how}; generation {self.after.generation} {end},"
            f" with {self.after.count} events"
        )


def rebuild(
    events: EventStore,
    stats: RebuildableStore,
    *,
    page: int = BUILDING_PAGE,
    uncountable: Uncountable = Uncountable.HALT,
    on_progress: Callable[[int], object] | None = None,
) -> RebuildReport:
    """Fold the whole log anew, beside what serves, and put the result in its place.

    The numbers that serve go on serving and advancing. When the new ones have caught up with
    them they take their place in one transaction. A rebuild that is killed has changed nothing:
    start it again and it goes on where it was. Several starts at once share the work. It is how
    a table is accepted that changes what was counted: numbers are made with the table of *stats*.

    Args:
        events: The log.
        stats: The stats of one projection; a `StatsStore` that is a `GenerationStore`.
        page: How many events per commit at most.
        uncountable: What to do with an event that the table cannot count.
        on_progress: Called after each commit with the number of events that the new numbers
            count. What it raises ends the rebuild, which can be started again.

    Raises:
        InvalidBoundError: If *page* is below 1.
        UncountableEventError: If the table cannot count an event, and such events are not
            parked. What serves is as it was; teach the table the kind, and start again.
        HistoryChangedError: If what serves was made from another log than this one.
        NotBuildingError: If somebody has discarded what was built.
        TableChangedError: If another start began anew with a table that this one does not extend.
        SkillstatError: As in `drain`.
    """
    check_bounds(page=page)
    before = check_same_log(events, stats)
    start, folded, behind = None, None, None
    try:
        building = _begin(events, stats)
        start = building.cursor()
        folded = started(before, start)

        def tell(_changed: frozenset[str]) -> None:
            if on_progress is not None:
                cursor = building.cursor()
                on_progress(cursor.count)

        while True:
            report = drain(events, building, page=page, uncountable=uncountable, on_commit=tell)
            check_caught_up(report, behind)
            folded = folded.then(report)
            try:
                after = stats.swap(REBUILD)
            except GenerationBehindError as error:
                behind = error
            else:
                retire_reader(events, start)
                return finished(before, after, folded, "this")
    except NotBuildingError:
        after = stats.cursor()
        if after.generation == before.generation:
            raise
        if start is not None:
            retire_reader(events, start)
        return finished(before, after, folded, "another")


def check_same_log(events: EventStore, stats: StatsStore) -> Cursor:
    """Return the cursor, when the log is the one that it was made from: a scan takes long.

    Raises:
        HistoryChangedError: If it is not.
    """
    cursor = stats.cursor()
    while cursor.place is not None:
        try:
            events.read(cursor.place, limit=1)
            break
        except HistoryChangedError:
            before, cursor = cursor, stats.cursor()
            if before.place == cursor.place:
                raise
    return cursor


def _begin(events: EventStore, stats: RebuildableStore) -> StatsStore:
    """Return the numbers that are built; begin anew where they cannot be carried on.

    Another table has begun them, or a prune has passed them, since nobody knew that they read.
    """
    building = stats.building(REBUILD)
    cursor = building.cursor()
    try:
        if not is_unlike(cursor, stats.projection):
            check_same_log(events, building)
            return building
    except HistoryChangedError:
        log.info("%s: What was built is of no use any more; beginning anew", cursor.projection)
    stats.discard(REBUILD)
    retire_reader(events, cursor)
    return stats.building(REBUILD)


def is_unlike(cursor: Cursor, projection: Projection) -> bool:
    """Return whether numbers cannot be carried on with the table of a projection."""
    return (
        cursor.table != projection.table
        and projection.difference_from(stored_projection(cursor)) is not None
    )


def started(before: Cursor, start: Cursor) -> FoldReport:
    """Return the report of a rebuild that has folded nothing."""
    log.info(
        "%s: Rebuilding generation %d beside generation %d",
        before.projection,
        start.generation,
        before.generation,
    )
    return nothing_folded(start, at_frontier=False)


def check_caught_up(report: FoldReport, behind: GenerationBehindError | None) -> None:
    """Check that there was something to fold, if what was built stood behind before.

    Raises:
        HistoryChangedError: If there was not: then the log ends before what is served.
    """
    if behind is not None and report.events == report.conflicts == 0:
        raise HistoryChangedError(f"the log ends too early, {behind.reason}")


def finished(
    before: Cursor, after: Cursor, folded: FoldReport | None, finished_by: str
) -> RebuildReport:
    """Return the report of a rebuild that is over; *folded*: None where it came to nothing."""
    log.info("%s: Generation %d serves", after.projection, after.generation)
    return RebuildReport(
        before=before,
        after=after,
        events=0 if folded is None else folded.events,
        conflicts=0 if folded is None else folded.conflicts,
        joined=folded is None or folded.before.place is not None,
        finished_by=finished_by,
    )

"""Whether the stored numbers are those of the log; import the names from `skillstat_agg` instead.

`skillstat_agg.aio._verifying` is its twin for asynchronous stores.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

import attrs

from skillstat_agg._commits import Cursor, stored_projection
from skillstat_agg._folding import drain, retire_reader
from skillstat_agg._generations import (
    MOST_DIFFERENCES,
    Comparison,
    Difference,
    Extent,
    MeasuredLog,
    RebuildableStore,
    SummedStore,
    Sums,
)
from skillstat_agg._pages import check_bounds
from skillstat_agg._projections import Projection
from skillstat_agg._quarantine import Uncountable
from skillstat_agg._rebuilding import BUILDING_PAGE, check_same_log
from skillstat_agg._stores import EventStore, StatsStore
from skillstat_agg.errors import (
    GenerationBehindError,
    HistoryChangedError,
    SkillstatError,
    TableChangedError,
)

VERIFY = "verify-"
"""What the names begin with of the numbers that full verifies build, and drop in the end."""

CATCH_UPS = 20
"""How often a verify folds what workers have folded meanwhile, before it gives up."""


@attrs.frozen(kw_only=True)
class VerifyReport:
    """What a verify found.

    Attributes:
        cursor: The record that was verified: the numbers of its snapshot.
        differences: What is not as it should be, at most as many as were asked for.
        is_complete: Whether these are all that such a verify can find.
    """

    cursor: Cursor
    differences: tuple[Difference, ...]
    is_complete: bool = True

    @property
    def is_ok(self) -> bool:
        """Whether nothing differs."""
        return not self.differences

    def __str__(self) -> str:
        found = f"{len(self.differences)}{'' if self.is_complete else ' or more'} differences"
        return f"{self.cursor.count} events verified: {'ok' if self.is_ok else found}"


# Cheap


def verify(events: MeasuredLog, stats: SummedStore) -> VerifyReport:
    """Check the cursor record against the log, and the stored rows against the record.

    One scan of the log, which adds up counts and fingerprints, and one of each table of numbers.
    It finds what was lost, doubled or changed by other hands, on either side, but not numbers
    that were made by a wrong rule: `verify_fully` does. Nothing is written, no worker waits.

    Args:
        events: The log; an `EventStore` that is an `ExtentStore`.
        stats: The stats of one projection; a `StatsStore` that is a `SumStore`.

    Raises:
        HistoryChangedError: If the log is not the one that was folded.
        OpenTransactionError: If a connection is inside a transaction.
    """
    sums = stats.sums()
    extent = Extent(count=0, checksum=0)
    while sums.cursor.place is not None:
        try:
            extent = events.extent(sums.cursor.place)
            break
        except HistoryChangedError:
            before, sums = sums, stats.sums()
            if before.cursor.place == sums.cursor.place:
                raise
    return measured(sums, extent)


def measured(sums: Sums, extent: Extent) -> VerifyReport:
    """Return how a cursor record differs from the log, and the rows from the record."""
    cursor = sums.cursor
    fields = [
        ("cursor.count", extent.count, cursor.count),
        ("cursor.checksum", extent.checksum, cursor.checksum),
        ("cursor.parked", sums.parked, cursor.parked),
    ]
    return VerifyReport(
        cursor=cursor,
        differences=(*unlike(fields), *_unlike_controls(cursor, cursor.controls, sums.controls)),
    )


def unlike(fields: Iterable[tuple[str, int, int]]) -> list[Difference]:
    """Return the differences of fields: name, expected and actual number of each."""
    return [
        Difference(name=name, expected=expected, actual=actual)
        for name, expected, actual in fields
        if expected != actual
    ]


def _unlike_controls(
    cursor: Cursor, expected: Mapping[str, int], actual: Mapping[str, int]
) -> list[Difference]:
    """Return which control totals differ, in the order of the table."""
    names = dict.fromkeys((*stored_projection(cursor).controls, *expected, *actual))
    return unlike(
        (f"controls.{name}", expected.get(name, 0), actual.get(name, 0)) for name in names
    )


# Full


def verify_fully(
    events: EventStore,
    stats: RebuildableStore,
    *,
    page: int = BUILDING_PAGE,
    limit: int = MOST_DIFFERENCES,
    on_progress: Callable[[int], object] | None = None,
) -> VerifyReport:
    """Count the log anew, up to the cursor, and compare every number.

    It folds into numbers of its own, which nobody is shown and which are dropped in the end, and
    compares them with those that serve, in the database. Workers go on meanwhile; where they have
    moved the cursor, it folds what they have folded. Any number may run at once. One that is killed
    leaves its numbers behind, and its entry among the readers of the log (`PruneStore.readers`),
    which names them: ``projection/name/generation``. ``stats.discard(name)`` and
    ``events.retire(...)`` drop both.

    Args:
        events: The log.
        stats: The stats of one projection; a `StatsStore` that is a `GenerationStore`.
        page: How many events per commit at most.
        limit: How many differences to list at most.
        on_progress: Called after each commit with the number of events that were counted anew.

    Raises:
        InvalidBoundError: If a bound is below 1.
        TableChangedError: If the numbers were made with another table than that of *stats*.
        HistoryChangedError: If the log is not the one that was folded.
        GenerationBehindError: If workers moved the cursor again and again.
        NotBuildingError: If somebody dropped what was built.
        SkillstatError: As in `drain`.
    """
    check_bounds(page=page, limit=limit)
    check_own_table(check_same_log(events, stats), stats.projection)
    name = drawn_name()
    building = stats.building(name)
    cursor = building.cursor()
    try:
        comparison = _caught_up(events, stats, building, name, page, limit, on_progress)
    except GeneratorExit:  # who is closed while it waits can wait for nothing more
        raise
    except BaseException:
        with suppress(SkillstatError):
            _drop(events, stats, cursor)
        raise
    _drop(events, stats, cursor)
    return compared(comparison)


def _drop(events: EventStore, stats: RebuildableStore, cursor: Cursor) -> None:
    """Drop what was built, with its entry among the readers of the log."""
    stats.discard(cursor.building)
    retire_reader(events, cursor)


def _caught_up(
    events: EventStore,
    stats: RebuildableStore,
    building: StatsStore,
    name: str,
    page: int,
    limit: int,
    on_progress: Callable[[int], object] | None,
) -> Comparison:
    """Fold up to the cursor, and compare, until nobody has moved it in between."""

    def tell(_changed: frozenset[str]) -> None:
        if on_progress is not None:
            cursor = building.cursor()
            on_progress(cursor.count)

    for _ in range(CATCH_UPS):
        serving = stats.cursor()
        if serving.place is not None:
            # What the table cannot count up to there was parked, or else nobody had got past it.
            drain(
                events,
                building,
                page=page,
                uncountable=Uncountable.PARK,
                until=serving.place.position,
                on_commit=tell,
            )
        comparison = stats.differences(name, limit=limit)
        check_own_table(comparison.serving, stats.projection)
        if comparison.serving.place == comparison.building.place:
            return comparison
    raise restless(stats.cursor(), name)


def drawn_name() -> str:
    """Return a name for the numbers of one full verify: others that run have others."""
    return f"{VERIFY}{secrets.token_hex(4)}"


def check_own_table(cursor: Cursor, projection: Projection) -> None:
    """Check that stats were made with the table of *projection*, and no other.

    Raises:
        TableChangedError: If they were not: then numbers made with it may differ, and rightly so.
    """
    stored = stored_projection(cursor)
    if stored == projection:
        return
    difference = projection.difference_from(stored)
    raise TableChangedError(
        projection.name,
        difference or "this program's table counts more kinds: drain with it before it verifies",
    )


def restless(cursor: Cursor, name: str) -> GenerationBehindError:
    """Return the error of a verify that never stood where the workers stand."""
    return GenerationBehindError(
        cursor.projection,
        name,
        f"workers moved the cursor {CATCH_UPS} times before both could be compared: try again when"
        " fewer events arrive, or stop the workers meanwhile",
    )


def compared(comparison: Comparison) -> VerifyReport:
    """Return how the serving numbers differ from the log, record and rows."""
    serving, building = comparison.serving, comparison.building
    fields = [
        ("cursor.count", building.count, serving.count),
        ("cursor.checksum", building.checksum, serving.checksum),
        ("cursor.parked", building.parked, serving.parked),
    ]
    return VerifyReport(
        cursor=serving,
        differences=(
            *unlike(fields),
            *_unlike_controls(serving, building.controls, serving.controls),
            *comparison.differences,
        ),
        is_complete=comparison.is_complete,
    )

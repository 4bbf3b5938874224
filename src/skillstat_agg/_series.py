"""Series over time, zeros filled in: import from `skillstat_agg` instead."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

import attrs
from typing_extensions import Protocol, runtime_checkable

from skillstat_agg._buckets import start_of
from skillstat_agg._commits import Cursor
from skillstat_agg._events import checked_skill_ids
from skillstat_agg._projections import Projection
from skillstat_agg._ranges import Buckets
from skillstat_agg.errors import InvalidBoundError

MAX_BUCKETS = 100_000
"""How many buckets a series may have: eleven years of hours."""


@attrs.frozen(kw_only=True)
class RollupsOf:
    """The rollups of several skills, with the cursor of the snapshot: what a store answers.

    Attributes:
        cursor: The cursor; the rollups are the table applied to all events up to it.
        first: Number of the first bucket that there are rollups of, of any skill and at this
            granularity; None: there are none.
        rows: Signed sums by skill and number of the bucket, in the order of
            ``Projection.columns``. Rows of zeros may be absent, and so may skills.
    """

    cursor: Cursor
    first: int | None
    rows: Mapping[str, Mapping[int, tuple[int, ...]]] = attrs.field(hash=False)


@runtime_checkable
class SeriesStore(Protocol):
    """A stats store that reads the rollups of many skills at once.

    Laws:
        same_rollups: What it returns of each skill is what ``rollups`` returns of it, in the
            buckets that were asked for and in no others, all from one snapshot.
    """

    @property
    def projection(self) -> Projection:
        """The projection whose stats these are."""
        ...

    def rollups_of(self, skill_ids: Iterable[str], over: Buckets, /) -> RollupsOf:
        """Return the rollups of these skills.

        Raises:
            InvalidEventError: If one cannot be the id of a skill, or a single string was given.
            InvalidProjectionError: If the projection has no rollups of that granularity.
            TableChangedError: As in ``totals``.
            OpenTransactionError: If the connection is inside a transaction.
        """
        ...


@attrs.frozen(kw_only=True, eq=False)
class Series(Mapping[str, Mapping[str, tuple[int, ...]]]):
    """What several skills had in each bucket of a range, zeros filled in.

    A mapping: skill, then rollup column, then one signed sum for each of `starts`. Every skill
    that was asked for is there, in that order, whether anything is known of it or not: totals
    tell what is unknown from what is zero. What people are shown is ``max(0, sum)``.

    Attributes:
        cursor: The cursor of the snapshot.
        over: The buckets.
        starts: The UTC times at which they begin, in order.
        first: When the first bucket begins that is kept of any skill; None: there is none. Zeros
            before it say that nothing was counted, or that it has expired.
        by_skill: The numbers.
    """

    cursor: Cursor = attrs.field(repr=False)
    over: Buckets
    starts: tuple[datetime, ...] = attrs.field(repr=False)
    first: datetime | None
    by_skill: Mapping[str, Mapping[str, tuple[int, ...]]]

    @property
    def counted_at(self) -> datetime:
        """When the stats last changed: nothing that was folded later is in the numbers.

        By the clock of the store; it informs only. Whether events wait since then is what the
        lag says.
        """
        return self.cursor.updated_at

    @property
    def covered(self) -> range:
        """The places, among `starts`, of the buckets of which the stats can say something.

        From the first bucket that is kept up to the one in which the stats last changed. Zeros
        elsewhere mean: not kept, or not counted yet. A bucket inside may still grow, since
        events can be late for any bucket.
        """
        if self.first is None:
            return range(0)
        since = sum(start < self.first for start in self.starts)
        until = sum(start <= self.counted_at for start in self.starts)
        return range(since, max(since, until))

    def __getitem__(self, skill_id: str) -> Mapping[str, tuple[int, ...]]:
        return self.by_skill[skill_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self.by_skill)

    def __len__(self) -> int:
        return len(self.by_skill)


def series(stats: SeriesStore, skill_ids: Iterable[str], over: Buckets) -> Series:
    """Return what these skills had in each bucket of a range, zeros filled in.

    One query, one snapshot.

    Args:
        stats: The stats.
        skill_ids: The skills; none is fine, one that is given twice counts once.
        over: The buckets; they may lie in the future.

    Raises:
        InvalidBoundError: If there are more than ``MAX_BUCKETS`` buckets.
        InvalidEventError: If one cannot be the id of a skill, or a single string was given.
        InvalidProjectionError: If the projection has no rollups of that granularity.
        TableChangedError: If the numbers were made with a table of which neither extends the
            other.
        OpenTransactionError: If the connection is inside a transaction.
    """
    wanted = checked_skill_ids(skill_ids)
    check_range(over)
    return filled(stats.projection, wanted, over, stats.rollups_of(wanted, over))


def check_range(over: Buckets) -> None:
    """Check that a series can be made over these buckets.

    Raises:
        InvalidBoundError: If there are too many.
    """
    if not isinstance(over, Buckets):
        raise InvalidBoundError("over", repr(over), "Buckets")
    size = over.numbers.stop - over.numbers.start  # a range may be longer than len() can say
    if size > MAX_BUCKETS:
        raise InvalidBoundError("over", f"{size:,} buckets", f"at most {MAX_BUCKETS:,} buckets")


def filled(
    projection: Projection, skill_ids: Iterable[str], over: Buckets, found: RollupsOf
) -> Series:
    """Return the rollups that were found as series."""
    columns, numbers = projection.columns, over.numbers
    zeros = (0,) * len(columns)
    nothing = dict.fromkeys(columns, (0,) * len(numbers))
    by_skill: dict[str, Mapping[str, tuple[int, ...]]] = {}
    for skill in skill_ids:
        rows = found.rows.get(skill)
        if not rows:
            by_skill[skill] = nothing
            continue
        sums = [rows.get(number, zeros) for number in numbers]
        by_skill[skill] = dict(zip(columns, zip(*sums, strict=True), strict=True))
    return Series(
        cursor=found.cursor,
        over=over,
        starts=over.starts,
        first=first_kept(found, over),
        by_skill=by_skill,
    )


def first_kept(found: RollupsOf, over: Buckets) -> datetime | None:
    """Return when the first bucket begins that is kept; None: there is none.

    Once buckets have expired, the first that is kept is known although it may be empty.
    """
    first = found.cursor.expired.get(over.granularity.value, found.first)
    return None if first is None else start_of(first, over.granularity)

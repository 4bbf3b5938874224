"""Numbers that are built beside those that serve, and how both are compared.

Import the names from `skillstat_agg` instead. Each protocol is a further ability of a store.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime

import attrs
from typing_extensions import Protocol, runtime_checkable

from skillstat_agg._buckets import Granularity
from skillstat_agg._commits import Cursor, stored_projection
from skillstat_agg._events import Place, fault_in_text
from skillstat_agg._projections import Projection
from skillstat_agg._stores import EventStore, StatsStore
from skillstat_agg.errors import (
    GenerationBehindError,
    HistoryChangedError,
    InvalidBoundError,
)

MOST_DIFFERENCES = 100
"""How many differences are listed, unless somebody says otherwise."""

_DRAWN_BITS = 48


@attrs.frozen(kw_only=True)
class Extent:
    """How much of a log stands up to a place.

    Attributes:
        count: Number of events.
        checksum: Sum of their fingerprints, modulo ``CHECKSUM_RANGE``.
    """

    count: int
    checksum: int


@attrs.frozen(kw_only=True)
class Sums:
    """What the stored numbers add up to, from one snapshot.

    Attributes:
        cursor: The cursor record of the snapshot.
        controls: The sum over all skills of each counter, and of each rollup column at each
            granularity (``day.downloads``): added up from the rows; exact, of any size.
        parked: Number of events that lie in quarantine, by what its rows stand for.
    """

    cursor: Cursor
    controls: Mapping[str, int]
    parked: int = 0


@attrs.frozen(kw_only=True)
class Difference:
    """A number that is not what it should be.

    Attributes:
        name: A counter (``downloads``), a rollup column with its granularity
            (``day.downloads``), a control total (``controls.day.downloads``) or a field of the
            cursor record (``cursor.count``).
        skill_id: Whose number it is; None: it is one of the whole projection.
        start: Start of the bucket, in UTC; None: it is no rollup.
        expected: What it should be; None: there should be no row.
        actual: What it is; None: there is no row.
    """

    name: str
    skill_id: str | None = None
    start: datetime | None = None
    expected: int | None
    actual: int | None

    def __str__(self) -> str:
        whose = "" if self.skill_id is None else f" of skill {self.skill_id!r}"
        when = "" if self.start is None else f" at {self.start:%Y-%m-%d %H:%M}"
        return f"{self.name}{whose}{when} is {_shown(self.actual)}, not {_shown(self.expected)}"


def _shown(number: int | None) -> str:
    return "absent" if number is None else str(number)


@attrs.frozen(kw_only=True)
class Comparison:
    """How the serving numbers differ from others that were built, from one snapshot of both.

    Attributes:
        serving: The cursor record of the numbers that serve.
        building: The cursor record of those that were built. Where its place is another one,
            the numbers differ as they should.
        differences: What differs: ``actual`` serves, ``expected`` was built. Totals come
            first, then rollups from the finest granularity on, each in the order of the keys.
        is_complete: Whether these are all.
    """

    serving: Cursor
    building: Cursor
    differences: tuple[Difference, ...]
    is_complete: bool


@runtime_checkable
class ExtentStore(Protocol):
    """An event store that can say how much stands up to a place, without listing it.

    Laws:
        same_extent: Count and checksum are those of the events that ``read`` returns up to
            the place, from one snapshot in which the place is checked as ``read`` does.
    """

    def extent(self, upto: Place, /) -> Extent:
        """Return count and checksum of all events up to *upto*, that one included.

        Raises:
            HistoryChangedError: If the log is not the one that *upto* was made from.
            OpenTransactionError: If the connection is inside a transaction.
        """
        ...


@runtime_checkable
class SumStore(Protocol):
    """A stats store that can add up its numbers.

    Laws:
        true_sums: The sums are those of the rows that ``totals`` and ``rollups`` return, and
            never the control totals of the record that comes with them. They are exact, also
            beyond 64 bits, and of one snapshot with the record.
    """

    def sums(self) -> Sums:
        """Return what the stored numbers add up to.

        Raises:
            OpenTransactionError: If the connection is inside a transaction.
        """
        ...


@runtime_checkable
class GenerationStore(Protocol):
    """A stats store that can build its numbers anew, beside those that serve.

    What is built has a name. Its first record is ``begin_building``, and ``swapped`` makes the
    record that serves next.

    Laws:
        building: What is built is a stats store with every law of one: it begins with nothing
            folded and a record of its own, knows the forgotten skills and loses those that are
            forgotten meanwhile. A second start finds it as it is. Nothing of it is seen through
            the serving store, which goes on serving and advancing.
        swap: In one transaction the numbers that were built take the place of those that serve,
            where people read and join them, and their record that of the serving record; if
            they stand behind it, nothing happens. Afterwards nothing is built under that name.
        differences: What is found is what differs, on either side, and nothing else, in one
            snapshot with both records. Nothing is written.
    """

    def building(self, name: str, /) -> StatsStore:
        """Return the numbers that are built under a name; begin if there are none.

        They are made with the store's own table, whatever the serving ones were made with. Its
        ``cursor`` and ``commit`` raise `NotBuildingError` once they are gone.

        Raises:
            InvalidBoundError: If *name* is no text of 1 to 1,000 bytes.
            OpenTransactionError: If the connection is inside a transaction.
        """
        ...

    def swap(self, name: str, /) -> Cursor:
        """Put what was built in the place of what serves, and return the record that serves now.

        Only rows that differ are written. The tables of the serving numbers stay what they are,
        with their names, grants and indexes. Columns that the new table does not have stay, too,
        and hold 0 from then on.

        Raises:
            NotBuildingError: If nothing is built under that name.
            GenerationBehindError: If it stands behind what serves.
            HistoryChangedError: If it was made from another log than what serves.
            OpenTransactionError: If the connection is inside a transaction.
        """
        ...

    def discard(self, name: str, /) -> bool:
        """Drop what is built under a name; return whether there was something.

        Raises:
            OpenTransactionError: If the connection is inside a transaction.
        """
        ...

    def differences(self, name: str, /, *, limit: int) -> Comparison:
        """Compare the serving numbers with what was built; at most *limit* differences.

        A row of rollups that holds only zeros may be absent; of totals it may not. What one of
        the two tables does not have is 0 there.

        Raises:
            InvalidBoundError: If *limit* is below 1.
            NotBuildingError: If nothing is built under that name.
            OpenTransactionError: If the connection is inside a transaction.
        """
        ...


class RebuildableStore(StatsStore, GenerationStore, Protocol):
    """A stats store that can build its numbers anew."""


class SummedStore(StatsStore, SumStore, Protocol):
    """A stats store that can add up its numbers."""


class MeasuredLog(EventStore, ExtentStore, Protocol):
    """An event store that can say how much stands up to a place."""


def check_building(name: str) -> None:
    """Check that something can be built under a name.

    Raises:
        InvalidBoundError: If it cannot.
    """
    fault = fault_in_text("name", name)
    if fault is not None:
        raise InvalidBoundError("name", repr(name), "a text of 1 to 1,000 bytes without NUL")


def begin_building(
    serving: Cursor, projection: Projection, name: str, generation: int, at: datetime
) -> Cursor:
    """Return the first record of numbers that are built.

    Its revision is drawn, so that a record of numbers which were discarded is never taken for
    one of numbers that were begun later under the same name.

    Args:
        serving: The record of the numbers that serve.
        projection: Whose table the new numbers are made with.
        name: What they are called.
        generation: A number that no numbers of the projection have, larger than all of theirs.
        at: The store's clock.
    """
    return attrs.evolve(
        Cursor.start(projection, at),
        building=name,
        generation=generation,
        expired=_expired(projection, serving),
        revision=secrets.randbits(_DRAWN_BITS),
    )


def swapped(serving: Cursor, building: Cursor, at: datetime) -> Cursor:
    """Return the record that serves once *building* has taken the place of *serving*.

    Args:
        serving: The record of the numbers that serve.
        building: The record of those that were built.
        at: The store's clock.

    Raises:
        GenerationBehindError: If *building* stands behind.
        HistoryChangedError: If they were made from different logs.
    """
    before, after = serving.place, building.place
    if before is not None:
        if after is not None and after.epoch != before.epoch:
            raise HistoryChangedError(
                f"the numbers {building.building!r} were made from the log with epoch"
                f" {after.epoch}, those that serve from {before.epoch}"
            )
        if after is None or after.position < before.position:
            raise GenerationBehindError(
                serving.projection, building.building, f"they stand {_where(serving, building)}"
            )
        if after.position == before.position and after.fingerprint != before.fingerprint:
            raise HistoryChangedError(
                f"another event stood at position {after.position} when the numbers"
                f" {building.building!r} were made"
            )
    return attrs.evolve(
        building,
        building="",
        expired=_expired(stored_projection(building), serving, building),
        revision=serving.revision + 1,
        updated_at=at,
    )


def _where(serving: Cursor, building: Cursor) -> str:
    at = "at the beginning" if building.place is None else f"at {building.place.position}"
    assert serving.place is not None
    return f"{at}, behind {serving.place.position}, up to where events are served"


def _expired(projection: Projection, *records: Cursor) -> Mapping[str, int]:
    """Return what has expired in any of the records, of the granularities that a table has."""
    found: dict[str, int] = {}
    for each in projection.granularities:
        name = each.value
        firsts = [record.expired[name] for record in records if name in record.expired]
        if firsts:
            found[name] = max(firsts)
    return found


def row_differences(
    prefix: str,
    skill_id: str,
    start: datetime | None,
    expected: Mapping[str, int] | None,
    actual: Mapping[str, int] | None,
) -> list[Difference]:
    """Return how one row differs, number by number.

    A row of totals that one side does not have differs in its first number, at least.

    Args:
        prefix: What stands before the name of a column: ``"day."``, or nothing.
        skill_id: The skill.
        start: Start of the bucket; None: it is a row of totals.
        expected: The row that was built; None: there is none.
        actual: The row that serves; None: there is none.
    """
    names = list({**(expected or {}), **(actual or {})})
    unlike = [
        name for name in names if (expected or {}).get(name, 0) != (actual or {}).get(name, 0)
    ]
    if start is None and not unlike and (expected is None) != (actual is None):
        unlike = names[:1]
    return [
        Difference(
            name=prefix + name,
            skill_id=skill_id,
            start=start,
            expected=None if expected is None else expected.get(name, 0),
            actual=None if actual is None else actual.get(name, 0),
        )
        for name in unlike
    ]


def by_granularity(projection: Projection, other: Projection) -> dict[Granularity, tuple[str, ...]]:
    """Return the rollup columns that either of two tables has, by granularity, finest first."""
    columns = tuple(dict.fromkeys((*projection.columns, *other.columns)))
    lengths = {*projection.granularities, *other.granularities} if columns else ()
    return dict.fromkeys(sorted(lengths, key=lambda each: each.length), columns)

"""Events that a table cannot count, set aside: import the names from `skillstat_agg` instead."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

import attrs

from skillstat_agg._buckets import Granularity, start_of
from skillstat_agg._commits import Commit, Cursor, stored_projection
from skillstat_agg._deltas import Deltas, deltas_of
from skillstat_agg._events import MAX_INTEGER, MIN_INTEGER, RecordedEvent, events_in
from skillstat_agg._projections import Projection
from skillstat_agg._tallies import Tally
from skillstat_agg.errors import OutOfRangeError, StoreContractError


class Uncountable(enum.Enum):
    """What a fold does with an event that its table cannot count."""

    HALT = "halt"
    """Commit everything before it, and raise `UncountableEventError`."""

    PARK = "park"
    """Set it aside in the same commit as the others, and go on."""


@attrs.frozen(kw_only=True)
class ParkedEvent:
    """An event in quarantine, and why it lies there.

    Attributes:
        recorded: The event, as it stands in the log.
        reason: Why the stored table cannot count it, as a sentence without a full stop.
    """

    recorded: RecordedEvent
    reason: str


@attrs.frozen(kw_only=True)
class Quarantine:
    """What lies in the quarantine of a projection, with the cursor of the same snapshot.

    Attributes:
        cursor: The cursor; ``cursor.parked`` is the number of all events that lie there.
        events: The first of them, in the order of their positions, as they stand in the log:
            where a compacted one is among them, they are fewer than they stand for.
    """

    cursor: Cursor = attrs.field(repr=False)
    events: tuple[RecordedEvent, ...]

    @property
    def parked(self) -> tuple[ParkedEvent, ...]:
        """The events, each with the reason that the stored table gives."""
        stored = stored_projection(self.cursor)
        return tuple(
            ParkedEvent(
                recorded=each, reason=stored.fault_in(each.event.kind, each.event.deltas) or ""
            )
            for each in self.events
        )


def taught_by(projection: Projection, quarantine: Quarantine) -> tuple[RecordedEvent, ...]:
    """Return those of the events in quarantine that the table of *projection* can count.

    Args:
        projection: The projection, which extends the stored table.
        quarantine: All that lies there.

    Raises:
        StoreContractError: If it is not as much as the cursor says.
    """
    check_whole(quarantine)
    return countable_events(projection, quarantine.events)


def check_whole(quarantine: Quarantine) -> None:
    """Check that a quarantine that was read without a limit is as much as its cursor says.

    Raises:
        StoreContractError: If it is not.
    """
    found, parked = events_in(quarantine.events), quarantine.cursor.parked
    if found != parked:
        raise StoreContractError(
            "quarantined", f"a quarantine holds {found} events, and its cursor says {parked}"
        )


def countable_events(
    projection: Projection, events: Sequence[RecordedEvent]
) -> tuple[RecordedEvent, ...]:
    """Return those of *events* that the table of *projection* can count."""
    return tuple(
        each for each in events if projection.fault_in(each.event.kind, each.event.deltas) is None
    )


def granularity_in(error: OutOfRangeError) -> Granularity | None:
    """Return the granularity of the sum that would leave its range; None: it is a total."""
    granularity, _, _ = error.counter.rpartition(".")
    return Granularity(granularity) if granularity else None


def blaming(
    error: OutOfRangeError,
    taught: Iterable[RecordedEvent],
    projection: Projection,
    expired: Mapping[str, int],
    totals: Mapping[str, Mapping[str, int]],
    rollups: Mapping[datetime, Mapping[str, int]] | None,
) -> OutOfRangeError:
    """Return the error with the position of the event that takes the sum out of its range.

    Args:
        error: What a store has raised when it was to count what was taught.
        taught: What was taught, in the order of the positions.
        projection: The projection that counts it.
        expired: The rollups that are gone for good, as in ``Cursor.expired``.
        totals: The totals of the skill before.
        rollups: The rollups of the skill before, where the sum is one.

    Returns:
        The error as it is, where the numbers have moved so that no event would do so any more.
    """
    granularity, (_, _, name) = granularity_in(error), error.counter.rpartition(".")
    before = {None: totals.get(error.skill_id, {})} if rollups is None else dict(rollups)
    sums = {start: row.get(name, 0) for start, row in before.items()}
    for one in taught:
        if one.event.skill_id == error.skill_id:
            deltas = deltas_of(projection, Tally.of_recorded([one], projection.finest), expired)
            for start, amount in _moved(deltas, projection, granularity, name):
                sums[start] = sums.get(start, 0) + amount
                if not MIN_INTEGER <= sums[start] <= MAX_INTEGER:
                    return attrs.evolve(error, position=str(one.position))
    return error


def _moved(
    deltas: Deltas, projection: Projection, granularity: Granularity | None, name: str
) -> Iterator[tuple[datetime | None, int]]:
    """Yield by how much one event moves a sum, with the start of the bucket; None: a total."""
    if granularity is None:
        for row in deltas.totals.values():
            yield None, row[projection.counters.index(name)]
        return
    for (bucket, _), row in deltas.rollups[granularity].items():
        yield start_of(bucket, granularity), row[projection.columns.index(name)]


def taking_over(cursor: Cursor, parked: Sequence[RecordedEvent], projection: Projection) -> Commit:
    """Return the commit by which *projection* takes stats over without a new event.

    For a store that takes over when its tables are made: it applies the commit like any other.

    Args:
        cursor: The stored record, whose table *projection* extends.
        parked: All that lies in quarantine.
        projection: The projection.
    """
    taught = countable_events(projection, parked)
    tally = Tally.of_recorded(taught, projection.finest)
    return Commit(
        expected=cursor,
        place=cursor.place,
        count=0,
        checksum=0,
        projection=projection,
        deltas=deltas_of(projection, tally, cursor.expired),
        taught=taught,
    )

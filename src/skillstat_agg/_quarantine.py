"""Events that a table cannot count, set aside: import the names from `skillstat_agg` instead."""

from __future__ import annotations

import enum
from collections.abc import Sequence

import attrs

from skillstat_agg._commits import Commit, Cursor, stored_projection
from skillstat_agg._deltas import deltas_of
from skillstat_agg._events import RecordedEvent, events_in
from skillstat_agg._projections import Projection
from skillstat_agg._tallies import Tally
from skillstat_agg.errors import StoreContractError


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

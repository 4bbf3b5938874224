"""Counts of another mechanism, taken over as events; import the names from `skillstat_agg`.

`skillstat_agg.aio._adopting` is its twin for asynchronous stores.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import TypeAlias

import attrs

from skillstat_agg._adjusting import (
    BY,
    adopted_kind,
    check_correctable,
    derived_id,
    known_kind,
    opening_kind,
    opening_rollup_kind,
)
from skillstat_agg._deltas import deltas_of
from skillstat_agg._events import Event, Place, Position, checked_skill_ids
from skillstat_agg._folding import DEFAULT_PAGE
from skillstat_agg._projections import Projection
from skillstat_agg._rebuilding import check_same_log
from skillstat_agg._stores import Counters, EventStore, StatsStore
from skillstat_agg._tallies import Tally
from skillstat_agg.errors import AdoptionRefusedError, EventIdConflictError

Bucket: TypeAlias = tuple[str, datetime]
"""A skill, and a time within a bucket of the finest granularity."""


@attrs.frozen(kw_only=True)
class Adoption:
    """What an adoption did.

    Attributes:
        events: How many events it consists of: opening balances and queued rows.
        new: How many of them were new to the log; 0: it was adopted before.
    """

    events: int
    new: int


@attrs.frozen(kw_only=True)
class Miscount:
    """A counter of a skill that another mechanism has counted wrongly.

    Attributes:
        skill_id: The skill.
        counter: The counter.
        claimed: What the other mechanism says.
        counted: What its events come to.
    """

    skill_id: str
    counter: str
    claimed: int
    counted: int

    def __str__(self) -> str:
        by = abs(self.claimed - self.counted)
        what = f"{by} lost" if self.claimed < self.counted else f"{by} too many"
        return f"{self.skill_id}: {self.counter} {self.claimed} instead of {self.counted}, {what}"


def opening_events(
    projection: Projection,
    name: str,
    totals: Mapping[str, Counters],
    rollups: Mapping[Bucket, Counters] | None = None,
    /,
    *,
    at: datetime,
) -> tuple[Event, ...]:
    """Return the events that open a projection with the counts of another mechanism.

    One ``append`` stores them, in the transaction that switches over. The ids are derived
    from projection, name, skill, bucket and counter, so the same counts again are the same
    events; and the first event says that there was an adoption, and of what: its id is taken
    once, so other counts under it are refused, whoever appends them.

    Args:
        projection: The projection, with what `correctable` adds.
        name: What the counts are taken over from.
        totals: Counts by skill and counter; a counter that is missing begins at 0.
        rollups: Counts by skill and time, and rollup column. They are no part of totals: a
            download on a day is in both. Counts of a longer bucket than the finest of the
            projection fall into the one that holds the time.
        at: When it is taken over.

    Returns:
        The events; none where there is nothing to take over.

    Raises:
        InvalidProjectionError: If the projection knows no opening balance of a counter or
            column.
        InvalidEventError: If something cannot be part of an event, such as a count beyond
            64 bits.
    """
    note = f"adopted from {name}"
    opened = [*_totals(projection, name, totals, at, note)]
    opened += _rollups(projection, name, rollups or {}, note)
    if not opened:
        return ()
    mark = Event(
        skill_id=opened[0].skill_id,
        kind=adopted_kind(projection),
        occurred_at=at,
        event_id=mark_id(projection),
        deltas={"events": len(opened), "digest": _digest(opened)},
        note=note,
    )
    return (mark, *opened)


def queued_events(name: str, rows: Iterable[tuple[str, Event]], /) -> tuple[Event, ...]:
    """Return the events of rows that another mechanism has not processed.

    Each gets an id that is derived from the name and the key of its row: it may be appended as
    often as you like, and counts once. So a queue is swept again and again until its producers
    have ended.

    Args:
        name: What they are taken over from.
        rows: The key of a row, and its event without an id.
    """
    return tuple(
        attrs.evolve(event, event_id=derived_id("queue", name, key)) for key, event in rows
    )


def adopt(
    events: EventStore,
    stats: StatsStore,
    name: str,
    totals: Mapping[str, Counters],
    rollups: Mapping[Bucket, Counters] | None = None,
    queued: Sequence[Event] = (),
    /,
    *,
    at: datetime,
) -> Adoption:
    """Take over the counts of another mechanism, in one append; to repeat it does nothing.

    It is for a log and numbers whose transaction is nobody else's business. To switch over in
    a transaction of your own, call `check_adoptable` before it, and append `opening_events`
    and `queued_events` within.

    Args:
        events: The log.
        stats: The stats of one projection, which `correctable` has made.
        name: What the counts are taken over from.
        totals: As in `opening_events`.
        rollups: As in `opening_events`.
        queued: Rows that are not in the counts, as `queued_events` returns them.
        at: When it is taken over.

    Raises:
        AdoptionRefusedError: If the projection has counted events already, or other counts
            were adopted.
        InvalidProjectionError: As in `opening_events`.
        InvalidEventError: As in `opening_events`.
        EventIdConflictError: If a queued row was appended before with other content.
    """
    projection = stats.projection
    opened = opening_events(projection, name, totals, rollups, at=at)
    check_adoptable(events, stats)
    try:
        appended = events.append([*opened, *queued])
    except EventIdConflictError as error:
        if mark_id(projection) not in error.event_ids:
            raise
        raise AdoptionRefusedError(
            projection.name, "others were adopted before, and what is in the log stays"
        ) from error
    return Adoption(events=len(opened) + len(queued), new=appended.new)


def check_adoptable(events: EventStore, stats: StatsStore) -> None:
    """Check that nothing is in the log that a projection counts, or that it has adopted.

    Where it has adopted, to adopt the same again does nothing, also where an event that it counts
    was committed first: then the adoption has lost that race, and is in nevertheless.

    Raises:
        AdoptionRefusedError: If there are events that it counts, and none says that it has
            adopted.
        InvalidProjectionError: If it knows no opening balances.
        HistoryChangedError: If the log is not the one that was folded so far.
        OpenTransactionError: If a connection is inside a transaction: check before it.
    """
    projection = stats.projection
    check_correctable(projection, projection.counters[0])
    check_same_log(events, stats)
    place: Place | None = None
    first: Position | None = None
    while True:
        page = events.read(place, limit=DEFAULT_PAGE)
        for one in page.events:
            kind = one.event.kind
            if kind == adopted_kind(projection):
                return
            is_counted = kind in projection.kinds and not projection.kinds[kind].is_retired
            if is_counted and first is None:
                first = one.position
        if page.is_last or not page.events:
            break
        last = page.events[-1]
        place = Place(page.epoch, last.position, last.fingerprint)
    if first is not None:
        raise AdoptionRefusedError(
            projection.name,
            f"the log holds events that it counts, the first at {first}, and opening balances go"
            " before them; correct its numbers instead, or adopt into a projection and a log that"
            " are new",
        )


def miscounts(
    projection: Projection, claimed: Mapping[str, Counters], events: Iterable[Event], /
) -> tuple[Miscount, ...]:
    """Return where the counts of another mechanism are not those of its events.

    Args:
        projection: The projection that counts.
        claimed: What the other mechanism has counted, by skill and counter. A counter that it
            does not name is not compared.
        events: All events that it should have counted.

    Returns:
        What differs, by skill and counter.

    Raises:
        UncountableEventError: If the table cannot count an event.
    """
    counted = _counted(projection, events)
    names = {name: None for row in claimed.values() for name in row}
    found: list[Miscount] = []
    for skill_id in sorted({*claimed, *counted}):
        there, here = claimed.get(skill_id, {}), counted.get(skill_id, {})
        for counter in names:
            claim, count = there.get(counter, 0), here.get(counter, 0)
            if claim != count:
                found.append(
                    Miscount(skill_id=skill_id, counter=counter, claimed=claim, counted=count)
                )
    return tuple(found)


def _counted(projection: Projection, events: Iterable[Event]) -> dict[str, Counters]:
    given = tuple(events)
    for event in given:
        projection.check(event)
    totals = deltas_of(projection, Tally.of(given, projection.finest)).totals
    return {
        skill: dict(zip(projection.counters, row, strict=True)) for skill, row in totals.items()
    }


def _totals(
    projection: Projection, name: str, totals: Mapping[str, Counters], at: datetime, note: str
) -> Iterable[Event]:
    """Yield an event for each count; of a skill that has none but zeros, for one of them."""
    for skill_id in sorted(checked_skill_ids(totals)):
        row = totals[skill_id]
        for counter in row:
            known_kind(projection, counter, opening_kind(projection, counter))
        counts = {counter: number for counter, number in row.items() if number}
        for counter, number in (counts or {projection.counters[0]: 0}).items():
            yield Event(
                skill_id=skill_id,
                kind=opening_kind(projection, counter),
                occurred_at=at,
                event_id=derived_id(mark_id(projection), name, skill_id, counter),
                deltas={BY: number},
                note=note,
            )


def _rollups(
    projection: Projection, name: str, rollups: Mapping[Bucket, Counters], note: str
) -> Iterable[Event]:
    for skill_id, start in sorted(rollups):
        for column, number in rollups[skill_id, start].items():
            kind = known_kind(projection, column, opening_rollup_kind(projection, column))
            if number:
                yield Event(
                    skill_id=skill_id,
                    kind=kind,
                    occurred_at=start,
                    event_id=derived_id(
                        mark_id(projection), name, skill_id, column, start.isoformat()
                    ),
                    deltas={BY: number},
                    note=note,
                )


def mark_id(projection: Projection) -> str:
    """Return the id of the event that says that a projection has adopted."""
    return f"adopt/{projection.name}"


def _digest(opened: Iterable[Event]) -> int:
    """Return 63 bits that stand for what is opened."""
    found = blake2b(digest_size=8)
    for event in opened:
        found.update(event.content_digest())
        found.update(f"{event.event_id} ".encode())
    return int.from_bytes(found.digest()) >> 1

"""What must be true of a log and of stats, compared with what the kit knows of them."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from datetime import datetime
from operator import add
from typing import TypeAlias

import attrs

from skillstat_agg._buckets import Granularity, start_of
from skillstat_agg._commits import CHECKSUM_RANGE, Cursor
from skillstat_agg._effects import Carried
from skillstat_agg._events import Event, Place, RecordedEvent, events_in
from skillstat_agg._projections import Projection
from skillstat_agg._stores import Totals
from skillstat_agg.testing._handles import Committed, Handle
from skillstat_agg.testing._numbers import Numbers, bucket, count, difference, without_zeros
from skillstat_agg.testing._steps import Violation, label, labels

Cell: TypeAlias = tuple[str, str, datetime, tuple[str, ...]]
"""Skill, kind, start of the hour, and names of deltas."""

EVERYTHING = 100_000

MOST_NAMED = 30
"""How many events a message names at most."""


def expect(what: str, expected: object, actual: object) -> None:
    """Check that two values are equal.

    Raises:
        Violation: If they are not.
    """
    if expected == actual:
        return
    if isinstance(expected, Cursor) and isinstance(actual, Cursor):
        unlike = _unlike(expected, actual)
        raise Violation(f"{what} = {unlike!r}", repr(_unlike(actual, expected)))
    raise Violation(f"{what} = {expected!r}", repr(actual))


def log_of(handle: Handle) -> list[RecordedEvent]:
    """Return all that a client can read."""
    found: list[RecordedEvent] = []
    place: Place | None = None
    while True:
        page = handle.events.read(place, limit=EVERYTHING)
        found += page.events
        if page.is_last or not page.events:
            return found
        place = Place(page.epoch, found[-1].position, found[-1].fingerprint)


def compare_log(committed: Committed, found: Sequence[Event]) -> None:
    """Check that the log holds what was appended, each event once.

    Raises:
        Violation: If it does not.
    """
    known = Counter(map(_content, committed.events))
    there = Counter(map(_content, found))
    labels = {_content(event): label(event) for event in found}
    labels |= {_content(event): label(event) for event in committed.events}
    for batch in committed.unsure:
        # All of it is there, but for retries of what was there before; or nothing is.
        by_id = {event.event_id: event for event in batch if event.event_id is not None}
        plain = [event for event in batch if event.event_id is None]
        fresh = Counter(map(_content, plain))
        fresh.update(content for content in map(_content, by_id.values()) if not known[content])
        if all(there[content] >= known[content] + fresh[content] for content in fresh):
            known += fresh
    if dict(known) != dict(there):
        raise Violation(
            f"a log of {_labels_of(known, labels)}",
            _labels_of(there, labels),
            "; ".join(
                f"{what}: {_labels_of(contents, labels)}"
                for what, contents in (("lost", known - there), ("doubled", there - known))
                if contents
            ),
        )


def compare_pruned_log(committed: Committed, found: Sequence[RecordedEvent]) -> None:
    """Check that the log still holds the sums of what was appended.

    Raises:
        Violation: If it does not.
    """
    wanted, there = cells_of(committed.events), cells_of(found)
    for cell in sorted({*wanted, *there}, key=repr):
        expect(f"the events of {', '.join(map(str, cell))}", wanted.get(cell), there.get(cell))


def cells_of(events: Iterable[Event | RecordedEvent]) -> dict[Cell, tuple[int, ...]]:
    """Return number of events and sums of deltas by skill, kind, hour and names of deltas."""
    cells: dict[Cell, tuple[int, ...]] = {}
    for one in events:
        event, times = (one, 1) if isinstance(one, Event) else (one.event, one.count)
        hour = bucket(event.occurred_at, Granularity.HOUR)
        deltas = event.deltas or {}
        cell = (event.skill_id, event.kind, hour, tuple(deltas))
        row = (times, *deltas.values())
        before = cells.get(cell, (0,) * len(row))
        cells[cell] = tuple(map(add, before, row))
    return cells


def compare_stats(
    committed: Committed,
    client: Handle,
    folded: Sequence[RecordedEvent] | None,
    *,
    may_move: bool,
) -> Cursor:
    """Compare what is stored with what was folded, and return the cursor.

    Args:
        committed: What was appended and forgotten.
        client: Who looks.
        folded: What must have been folded; None: the log up to the cursor.
        may_move: Whether a commit may land while the client looks.

    Raises:
        Violation: If it is not what the table makes of these events.
    """
    totals = client.stats.totals()
    cursor = totals.cursor
    if folded is None:
        # Read after the totals: what stands up to their cursor cannot change any more.
        folded = [
            one
            for one in log_of(client)
            if cursor.place is not None and one.position <= cursor.place.position
        ]
    stored = client.stats.projection
    if cursor.table != stored.table:
        stored = _projection_of(cursor.table)
    counted = [one for one in folded if _is_counted(stored, one.event)]
    events = [one.event for one in counted]
    forgotten = _forgotten(committed, client, totals, events, [one.event for one in folded])
    parked = [
        one
        for one in folded
        if not _is_counted(stored, one.event) and one.event.skill_id not in forgotten
    ]
    if parked or committed.parks:  # else nobody has put anything there
        _compare_quarantine(client, cursor, parked, may_move=may_move)
    else:
        expect("the cursor's number of parked events", 0, cursor.parked)
    expected = count(stored, counted, forgotten, _kept_from(committed, cursor))
    names = client.stats.projection.counters
    wanted = {
        skill: {name: row.get(name, 0) for name in names} for skill, row in expected.totals.items()
    }
    found = {skill: dict(row) for skill, row in totals.items()}
    unlike = difference(wanted, found, stored, committed.events, events)
    if unlike is not None:
        raise Violation(unlike.expected, unlike.actual, unlike.events)
    _compare_rollups(client, cursor, expected, {*expected.totals, *forgotten}, may_move=may_move)
    checksum = sum(one.checksum for one in folded) % CHECKSUM_RANGE
    expect("the cursor's count", sum(one.count for one in folded), cursor.count)
    expect("the cursor's checksum", checksum, cursor.checksum)
    expect("the cursor's control totals", expected.controls, dict(cursor.controls))
    return cursor


def _is_counted(projection: Projection, event: Event) -> bool:
    """Return whether a table counts an event, by a plain look at it."""
    effect = projection.kinds.get(event.kind)
    if effect is None:
        return False
    amounts = (*effect.counters.values(), *effect.rollups.values())
    wanted = {amount.name for amount in amounts if isinstance(amount, Carried)}
    return not amounts or {*(event.deltas or ())} == wanted


def _compare_quarantine(
    client: Handle, cursor: Cursor, parked: Sequence[RecordedEvent], *, may_move: bool
) -> None:
    """Check that what the table cannot count of what was folded lies in quarantine."""
    expect("the cursor's number of parked events", events_in(parked), cursor.parked)
    quarantine = client.stats.quarantine(limit=EVERYTHING)
    if quarantine.cursor != cursor and may_move:
        return  # a commit has landed in between
    expect("the cursor that comes with the quarantine", cursor, quarantine.cursor)
    if quarantine.events != tuple(parked):
        there = Counter(one.position for one in quarantine.events)
        wanted = Counter(one.position for one in parked)
        raise Violation(
            f"a quarantine of {labels(one.event for one in parked) or 'no event'}",
            labels(one.event for one in quarantine.events) or "no event",
            "; ".join(
                f"{what}: {', '.join(map(str, positions))}"
                for what, positions in (("lost", wanted - there), ("too many", there - wanted))
                if positions
            ),
        )


def _kept_from(committed: Committed, cursor: Cursor) -> dict[Granularity, datetime]:
    """Return from when on rollups are kept; where only the store can know, it says so."""
    kept: dict[Granularity, datetime] = {}
    for granularity in Granularity:
        key, value = (cursor.projection, granularity.value), cursor.expired.get(granularity.value)
        done = committed.expired.get(key)
        begun = [first for other, first in committed.expiring if other == key]
        least = [] if done is None else [done]
        most = [*least, *begun]
        if value is None:
            is_right = not least
        else:
            is_right = bool(most) and value <= max(most) and all(value >= one for one in least)
            kept[granularity] = start_of(value, granularity)
        if not is_right:
            wanted = " or ".join(map(str, sorted(most))) if begun else str(done)
            raise Violation(f"the first {granularity.value} that is kept = {wanted}", str(value))
    return kept


def _forgotten(
    committed: Committed,
    client: Handle,
    totals: Totals,
    counted: Iterable[Event],
    folded: Iterable[Event],
) -> set[str]:
    """Return the skills that are forgotten; where only the store can know, it says so.

    One that is counted has totals, unless it is forgotten; one that is only parked has none.
    """
    if committed.forgetting:
        known = {event.skill_id for event in counted}
        parked = {event.skill_id for event in folded} - known
        gone = known.intersection(committed.forgetting) - totals.keys()
        if unsure := parked.intersection(committed.forgetting) - committed.forgotten:
            gone |= client.stats.forgotten(unsure)
        committed.forgotten |= gone
    return committed.forgotten


def _compare_rollups(
    client: Handle,
    cursor: Cursor,
    expected: Numbers,
    skills: Collection[str],
    *,
    may_move: bool,
) -> None:
    columns = client.stats.projection.columns
    for granularity, by_skill in expected.rollups.items():
        for skill in skills:
            rollups = client.stats.rollups(skill, granularity)
            if rollups.cursor != cursor and may_move:
                continue  # a commit has landed in between
            if rollups.cursor != cursor:  # asked first, since a message is dear
                expect(f"the cursor that comes with {skill!r}", cursor, rollups.cursor)
            rows = by_skill.get(skill, {})
            wanted = {
                start: {name: row.get(name, 0) for name in columns} for start, row in rows.items()
            }
            found = {start: dict(row) for start, row in rollups.items()}
            if found != wanted:  # nearly never: a row of zeros may be there or not
                what = f"{skill!r} by {granularity.value}"
                expect(what, without_zeros(wanted), without_zeros(found))


def _unlike(cursor: Cursor, other: Cursor) -> dict[str, object]:
    """Return the fields of a cursor record that are others in another one."""
    fields = attrs.asdict(cursor, recurse=False)
    return {name: value for name, value in fields.items() if value != getattr(other, name)}


@functools.cache
def _projection_of(table: str) -> Projection:
    """Return the projection whose table this is."""
    return Projection.from_table(table)


def _labels_of(contents: Counter[Hashable], labels: Mapping[Hashable, str]) -> str:
    """Return what the kit calls some events, by what they count by: the first of many."""
    names = sorted(labels[content] for content in contents.elements())
    if len(names) > MOST_NAMED:
        names[MOST_NAMED:] = [f"and {len(names) - MOST_NAMED:,} more"]
    return ", ".join(names) or "no event"


def _content(event: Event) -> Hashable:
    """Return what an event counts by; time and note have checks of their own."""
    deltas = None if event.deltas is None else tuple(event.deltas.items())
    return event.skill_id, event.kind, event.event_id, deltas

"""What must be true of a log and of stats, compared with what the kit knows of them."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence

import attrs

from skillstat_agg._commits import CHECKSUM_RANGE, Cursor
from skillstat_agg._events import Event, Place, RecordedEvent
from skillstat_agg._projections import Projection
from skillstat_agg._stores import Totals
from skillstat_agg.testing._handles import Committed, Handle
from skillstat_agg.testing._numbers import Numbers, count, difference, without_zeros
from skillstat_agg.testing._steps import Violation, label

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
    events = [one.event for one in folded]
    uncounted = sorted({event.kind for event in events} - stored.kinds.keys())
    if uncounted:
        raise Violation(
            "a cursor whose table counts the kind of every event up to it",
            f"its table does not know {', '.join(map(repr, uncounted))}",
        )
    forgotten = _forgotten(committed, totals, events)
    expected = count(stored, events, forgotten)
    names = client.stats.projection.counters
    wanted = {
        skill: {name: row.get(name, 0) for name in names} for skill, row in expected.totals.items()
    }
    found = {skill: dict(row) for skill, row in totals.items()}
    unlike = difference(wanted, found, stored, committed.events, events)
    if unlike is not None:
        raise Violation(unlike.expected, unlike.actual, unlike.events)
    _compare_rollups(client, cursor, expected, {*expected.totals, *forgotten}, may_move=may_move)
    checksum = sum(one.fingerprint for one in folded) % CHECKSUM_RANGE
    expect("the cursor's count", len(folded), cursor.count)
    expect("the cursor's checksum", checksum, cursor.checksum)
    expect("the cursor's control totals", expected.controls, dict(cursor.controls))
    return cursor


def _forgotten(committed: Committed, totals: Totals, folded: Iterable[Event]) -> set[str]:
    """Return the skills that are forgotten; where only the store can know, it says so."""
    if committed.forgetting:
        gone = {event.skill_id for event in folded} - totals.keys()
        committed.forgotten |= gone.intersection(committed.forgetting)
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

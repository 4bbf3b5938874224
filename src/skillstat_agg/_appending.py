"""What every event store's append has in common, as pure functions on the events of one call.

Import the names from `skillstat_agg` instead. An adapter's append is: `checked_events`, then in
one transaction `content_digests`, a look-up of those ids, `unseen_events`, and the two inserts.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone

import attrs

from skillstat_agg._events import Event
from skillstat_agg._projections import Projection
from skillstat_agg.errors import (
    EventIdConflictError,
    InvalidEventError,
    UncountableEventError,
)


def checked_events(
    events: Iterable[Event],
    *,
    now: datetime,
    max_ahead: timedelta,
    projections: Sequence[Projection] = (),
) -> Sequence[Event]:
    """Return *events* as a sequence, when every one of them may be appended.

    Args:
        events: Events; read to their end.
        now: The store's clock.
        max_ahead: How far after it an event may have occurred.
        projections: The tables that must be able to count each event.

    Raises:
        InvalidEventError: If one is no `Event`, or lies too far ahead.
        UncountableEventError: If a table cannot count one.
    """
    given = tuple(events)
    try:
        latest = now + max_ahead
    except OverflowError:
        latest = datetime.max.replace(tzinfo=timezone.utc)
    for index, event in enumerate(given):
        if not isinstance(event, Event):
            raise InvalidEventError(f"an Event is needed, not {type(event).__name__}", index)
        if event.occurred_at > latest:
            raise InvalidEventError(
                f"occurred_at {event.occurred_at.isoformat()} lies too far after the store's clock:"
                f" {latest.isoformat()} is the latest that is taken",
                index,
            )
        for projection in projections:
            try:
                projection.check(event)
            except UncountableEventError as error:
                raise attrs.evolve(error, index=index) from None
    return given


def content_digests(events: Iterable[Event]) -> dict[str, bytes]:
    """Return the content digest by event id of those *events* that have an id, in order.

    Raises:
        EventIdConflictError: If two of them have one id and unlike content.
    """
    found: dict[str, bytes] = {}
    unlike: dict[str, None] = {}
    for event in events:
        if event.event_id is not None:
            digest = event.content_digest()
            if found.setdefault(event.event_id, digest) != digest:
                unlike[event.event_id] = None
    if unlike:
        raise EventIdConflictError(tuple(unlike))
    return found


def unseen_events(
    events: Sequence[Event], given: Mapping[str, bytes], known: Mapping[str, bytes]
) -> Sequence[Event]:
    """Return the events to store: without retries, and each id once, in order.

    Args:
        events: The events of the call.
        given: Their `content_digests`.
        known: Digest by id of those ids that are in the log already.

    Raises:
        EventIdConflictError: If an id is known with other content.
    """
    unlike = tuple(
        event_id for event_id in given if known.get(event_id, given[event_id]) != given[event_id]
    )
    if unlike:
        raise EventIdConflictError(unlike)
    if not given:
        return events
    waiting = given.keys() - known.keys()
    fresh: list[Event] = []
    for event in events:
        if event.event_id is not None:
            if event.event_id not in waiting:
                continue
            waiting.remove(event.event_id)
        fresh.append(event)
    return fresh


def drawn_fingerprints(count: int) -> tuple[int, ...]:
    """Return so many fingerprints, each of 32 bits that the operating system has drawn."""
    return struct.unpack(f"={count}I", os.urandom(4 * count))

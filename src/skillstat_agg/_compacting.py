"""How old events are made small, as pure functions: import `Reader` from `skillstat_agg` instead.

A store's compaction is, in one transaction: `bound_of`, a read of the next events, `first_part`,
and `compacted` events in the place of what that returned.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import dropwhile, islice, takewhile
from typing import Self, TypeAlias

import attrs

from skillstat_agg._buckets import Granularity, bucket_of, start_of
from skillstat_agg._commits import CHECKSUM_RANGE, Cursor
from skillstat_agg._events import (
    MAX_INTEGER,
    MIN_INTEGER,
    Event,
    Position,
    RecordedEvent,
    events_in,
    fault_in_text,
)
from skillstat_agg.errors import InvalidBoundError, NoReadersError

_Group: TypeAlias = tuple[str, str, int, tuple[str, ...] | None]
"""Skill, kind, hour and names of the deltas; None: without deltas."""


@attrs.frozen(kw_only=True)
class Reader:
    """Somebody who reads a log, as the log knows it.

    Attributes:
        name: Name of the projection; behind a ``/`` that of a set of numbers that is built.
        position: The reader has come so far, or farther; None: it may be at the start.
        reported_at: When it said so, by the clock of the store; informs only.
    """

    name: str
    position: Position | None
    reported_at: datetime


@attrs.frozen(kw_only=True)
class Segment:
    """A run of events that were made small in one step, or would be.

    Attributes:
        first: Position of the first event.
        last: Position of the last event. A reader may stand there, and nowhere else inside.
        events: Their number.
        records: Number of compacted events that stand for them.
    """

    first: Position
    last: Position
    events: int
    records: int

    @classmethod
    def of(cls, events: Sequence[RecordedEvent], made: Sequence[RecordedEvent]) -> Self:
        """Return the segment that *made* makes of *events*, of which there is one at least."""
        return cls(
            first=events[0].position,
            last=events[-1].position,
            events=events_in(events),
            records=len(made),
        )


def reader_of(cursor: Cursor) -> str:
    """Return the name under which the owner of *cursor* reads a log.

    What is built has its generation in it: who ends late must not strike off who began anew.
    """
    if not cursor.building:
        return cursor.projection
    return f"{cursor.projection}/{cursor.building}/{cursor.generation}"


def check_reader(name: str) -> None:
    """Check that *name* could be the name of a reader.

    Raises:
        InvalidBoundError: If it is empty, too long or not a string.
    """
    if fault_in_text("reader", name) is not None:
        raise InvalidBoundError("reader", repr(name), "a text of 1 to 1,000 bytes in UTF-8")


def check_before(before: datetime | None) -> None:
    """Check that *before*, if it is given, is a time with a time zone.

    Raises:
        InvalidBoundError: If it is not.
    """
    if before is not None and (not isinstance(before, datetime) or before.utcoffset() is None):
        raise InvalidBoundError("before", repr(before), "a datetime with a time zone")


def slowest(readers: Iterable[Reader]) -> Reader:
    """Return the reader that has come least far: up to its place events may be made small.

    Raises:
        NoReadersError: If there is none.
    """
    by_place = sorted(readers, key=lambda reader: (reader.position or (), reader.name))
    if not by_place:
        raise NoReadersError
    return by_place[0]


def bound_of(readers: Iterable[Reader], upto: Position | None) -> Position | None:
    """Return the position up to which events may be made small; None: none may.

    Args:
        readers: All readers of the log.
        upto: A bound that the caller gives; None: it gives none.

    Raises:
        NoReadersError: If there is no reader.
    """
    place = slowest(readers).position
    return place if place is None or upto is None else min(place, upto)


def first_part(
    events: Sequence[RecordedEvent],
    *,
    upto: Position,
    before: datetime | None,
    limit: int,
    kept: Collection[Position],
) -> Sequence[RecordedEvent]:
    """Return what the next segment stands for, out of the next events of a log.

    These are the first that are not kept, up to one that is, to the bound, or to an event that
    is too young: a segment has no hole in it.

    Args:
        events: Events after the last segment, in order.
        upto: The last position that a segment may have: see `bound_of`.
        before: Events that were recorded at this time or later stay; None: none stays
            for that.
        limit: How many events at most.
        kept: Positions of events that stay.
    """
    rest = dropwhile(lambda one: one.position in kept, events)
    part = takewhile(
        lambda one: (
            one.position <= upto
            and (before is None or one.recorded_at < before)
            and one.position not in kept
        ),
        rest,
    )
    return list(islice(part, limit))


def compacted(events: Sequence[RecordedEvent], marks: Sequence[int]) -> tuple[RecordedEvent, ...]:
    """Return the compacted events that stand for *events*: one for each group.

    A group is a skill, kind, hour and set of names of deltas; one whose deltas would add up
    to more than 64 bits is cut. Each stands at the position of the last event of its group.
    Only the last of all keeps the fingerprint that stood there. So a reader that stands at
    the end of the run reads on after it, and one that has read a part of it is refused,
    since what it has read is in sums now with what it has not.

    Args:
        events: A run of events without a hole, in order; one at least.
        marks: As many fingerprints, drawn at random, to be mixed with those that were there.
    """
    groups: dict[_Group, _Sum] = {}
    full: list[_Sum] = []
    for one in events:
        event = one.event
        key = (
            event.skill_id,
            event.kind,
            bucket_of(event.occurred_at, Granularity.HOUR),
            None if event.deltas is None else tuple(event.deltas),
        )
        before = groups.get(key)
        after = _Sum.of(one) if before is None else before.plus(one)
        if after is None:
            assert before is not None, "what one event carries fits 64 bits"
            full.append(before)
            after = _Sum.of(one)
        groups[key] = after
    sums = sorted([*groups.values(), *full], key=lambda one: one.last.position)
    changes = [mark or 1 for mark in marks[: len(sums) - 1]]
    return tuple(one.recorded(change) for one, change in zip(sums, [*changes, 0], strict=True))


@attrs.frozen
class _Sum:
    """What some events of one group come to.

    Attributes:
        last: The last of them.
        count: Their number.
        checksum: The sum of their fingerprints.
        latest: When the latest was recorded.
        deltas: The sums of their deltas, by name; None: they carry none.
    """

    last: RecordedEvent
    count: int
    checksum: int
    latest: datetime
    deltas: Mapping[str, int] | None

    @classmethod
    def of(cls, one: RecordedEvent) -> Self:
        """Return the sum of one event."""
        return cls(one, one.count, one.checksum, one.recorded_at, one.event.deltas)

    def plus(self, one: RecordedEvent) -> _Sum | None:
        """Return the sum with another event of the group; None: it would not fit 64 bits."""
        deltas = self.deltas
        if deltas is not None:
            amounts = one.event.deltas or {}
            deltas = {name: amount + amounts[name] for name, amount in deltas.items()}
            if not all(MIN_INTEGER <= amount <= MAX_INTEGER for amount in deltas.values()):
                return None
        return _Sum(
            one,
            self.count + one.count,
            self.checksum + one.checksum,
            max(self.latest, one.recorded_at),
            deltas,
        )

    def recorded(self, change: int) -> RecordedEvent:
        """Return the compacted event; *change* are the bits that change of the fingerprint."""
        event = self.last.event
        hour = bucket_of(event.occurred_at, Granularity.HOUR)
        return RecordedEvent(
            position=self.last.position,
            event=Event(
                skill_id=event.skill_id,
                kind=event.kind,
                occurred_at=start_of(hour, Granularity.HOUR),
                deltas=self.deltas,
            ),
            recorded_at=self.latest,
            fingerprint=self.last.fingerprint ^ change,
            count=self.count,
            checksum=self.checksum % CHECKSUM_RANGE,
        )

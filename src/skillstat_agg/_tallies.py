"""What a page of events comes to: import `Tally` and `DeltaSum` from `skillstat_agg` instead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Self, TypeAlias

import attrs

from skillstat_agg._buckets import Granularity, bucket_of
from skillstat_agg._events import Event, RecordedEvent
from skillstat_agg.errors import UnlikeTalliesError

Cell: TypeAlias = tuple[str, str, int]
"""Skill, kind and number of the bucket."""


class DeltaSum(NamedTuple):
    """What the events of one cell carried under one name.

    Attributes:
        events: How many of them carried it. Without this count a delta that is
            missing would pass unseen.
        total: The sum of what they carried; exact, of any size.
    """

    events: int
    total: int


@attrs.frozen
class Tally:
    """How many events of each kind each skill had in each bucket, and what they carried.

    A tally is all that counting needs of a set of events. Tallies of one granularity
    add; adding is commutative and associative, and `Tally.empty` changes nothing, so
    neither order nor batches can matter to anything that is computed from the sum.

    Attributes:
        granularity: The length of the buckets.
        counts: Number of events, at least 1, by skill, kind and number of the bucket.
        carried: What events with deltas carried, by skill, kind, number of the bucket
            and name of the delta.
    """

    granularity: Granularity
    counts: Mapping[Cell, int]
    carried: Mapping[tuple[str, str, int, str], DeltaSum]

    @classmethod
    def empty(cls, granularity: Granularity) -> Self:
        """Return the tally of no events."""
        return cls(granularity, {}, {})

    @classmethod
    def of(cls, events: Iterable[Event], granularity: Granularity) -> Self:
        """Return the tally of *events*, in any order."""
        return cls.of_compacted(
            (
                (
                    event.skill_id,
                    event.kind,
                    bucket_of(event.occurred_at, granularity),
                    event.deltas,
                    1,
                    1,
                )
                for event in events
            ),
            granularity,
        )

    @classmethod
    def of_groups(
        cls,
        groups: Iterable[tuple[str, str, int, Mapping[str, int] | None, int]],
        granularity: Granularity,
    ) -> Self:
        """Return the tally of events that a database has grouped.

        Args:
            groups: Skill, kind, number of the bucket, deltas (or None) and the number
                of events that share these four. Two groups may share them too.
            granularity: The length of the buckets.
        """
        return cls.of_compacted(((*group, group[4]) for group in groups), granularity)

    @classmethod
    def of_compacted(
        cls,
        groups: Iterable[tuple[str, str, int, Mapping[str, int] | None, int, int]],
        granularity: Granularity,
    ) -> Self:
        """Return the tally of compacted events that a database has grouped.

        Args:
            groups: Skill, kind, number of the bucket, deltas (or None), the number of
                compacted events that share these four, and how many events those stand
                for. Their deltas are sums already, so they are not multiplied by it.
            granularity: The length of the buckets: an hour or more.
        """
        counts: dict[Cell, int] = {}
        carried: dict[tuple[str, str, int, str], DeltaSum] = {}
        for skill_id, kind, bucket, deltas, rows, count in groups:
            cell = (skill_id, kind, bucket)
            counts[cell] = counts.get(cell, 0) + count
            if deltas is not None:
                for name, amount in deltas.items():
                    _add(carried, (*cell, name), DeltaSum(count, amount * rows))
        return cls(granularity, counts, carried)

    @classmethod
    def of_recorded(cls, events: Iterable[RecordedEvent], granularity: Granularity) -> Self:
        """Return the tally of all that these events stand for."""
        return cls.of_compacted(
            (
                (
                    recorded.event.skill_id,
                    recorded.event.kind,
                    bucket_of(recorded.event.occurred_at, granularity),
                    recorded.event.deltas,
                    1,
                    recorded.count,
                )
                for recorded in events
            ),
            granularity,
        )

    def __add__(self, other: Tally) -> Tally:
        """Return the tally of both sets of events together.

        Raises:
            UnlikeTalliesError: If the buckets are not of one length.
        """
        if not isinstance(other, Tally):
            return NotImplemented
        if self.granularity is not other.granularity:
            raise UnlikeTalliesError(self.granularity.value, other.granularity.value)
        counts = dict(self.counts)
        for cell, count in other.counts.items():
            counts[cell] = counts.get(cell, 0) + count
        carried = dict(self.carried)
        for key, part in other.carried.items():
            _add(carried, key, part)
        return Tally(self.granularity, counts, carried)


def _add(
    carried: dict[tuple[str, str, int, str], DeltaSum],
    key: tuple[str, str, int, str],
    part: DeltaSum,
) -> None:
    before = carried.get(key)
    carried[key] = (
        part if before is None else DeltaSum(before.events + part.events, before.total + part.total)
    )

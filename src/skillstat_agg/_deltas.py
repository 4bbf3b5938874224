"""What a tally adds to the numbers of a projection: import `Deltas` from `skillstat_agg`."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar

import attrs

from skillstat_agg._buckets import Granularity
from skillstat_agg._effects import Carried
from skillstat_agg._projections import Projection
from skillstat_agg._tallies import Tally

Key = TypeVar("Key")
Sums = TypeVar("Sums", bound=dict[str, int] | dict[tuple[int, str], int])

_NOTHING: Mapping[str, int] = MappingProxyType({})


@attrs.frozen
class Deltas:
    """What a tally adds to the numbers of a projection.

    Attributes:
        events: Number of events, by skill.
        totals: Changes of the counters, by skill, in the order of
            ``Projection.counters``. Every skill of the tally is there, also with zeros:
            its first event gives a skill its row.
        rollups: Changes of the rollup columns, in the order of ``Projection.columns``,
            by granularity, then by number of the bucket and skill. Nothing but zeros
            is left out, and so is what belongs into an expired bucket.
        expired: Number of events, by skill, of which a rollup was left out because its
            bucket has expired; they count in the totals.
    """

    events: Mapping[str, int]
    totals: Mapping[str, tuple[int, ...]]
    rollups: Mapping[Granularity, Mapping[tuple[int, str], tuple[int, ...]]]
    expired: Mapping[str, int] = attrs.field(factory=dict)

    def without(self, skill_ids: frozenset[str]) -> Deltas:
        """Return the same without everything that concerns these skills."""
        if not skill_ids:
            return self
        return Deltas(
            {skill: count for skill, count in self.events.items() if skill not in skill_ids},
            {skill: row for skill, row in self.totals.items() if skill not in skill_ids},
            {
                granularity: {key: row for key, row in rows.items() if key[1] not in skill_ids}
                for granularity, rows in self.rollups.items()
            },
            {skill: count for skill, count in self.expired.items() if skill not in skill_ids},
        )


def can_count(projection: Projection, tally: Tally) -> bool:
    """Return whether the table of *projection* can count every event of *tally*."""
    carries: dict[str, frozenset[str]] = {}
    for kind in {kind for _, kind, _ in tally.counts}:
        effect = projection.kinds.get(kind)
        if effect is None:
            return False
        if not effect.is_retired:
            carries[kind] = effect.carries
    if any(kind in carries and name not in carries[kind] for _, kind, _, name in tally.carried):
        return False
    carrying = {kind: names for kind, names in carries.items() if names}
    return not carrying or all(
        (part := tally.carried.get((*cell, name))) is not None and part.events == count
        for cell, count in tally.counts.items()
        if cell[1] in carrying
        for name in carrying[cell[1]]
    )


def deltas_of(
    projection: Projection, tally: Tally, expired: Mapping[str, int] = _NOTHING
) -> Deltas:
    """Return what *tally* adds, by the table of *projection*.

    Linear: the deltas of a sum of tallies are the sums of their deltas.

    Args:
        projection: The projection.
        tally: A tally that its table `can_count`, at its granularity `finest`.
        expired: The rollups that are gone for good, as in ``Cursor.expired``.
    """
    events: dict[str, int] = {}
    counters: list[dict[str, int]] = [{} for _ in projection.counters]
    columns: list[dict[tuple[int, str], int]] = [{} for _ in projection.columns]
    fixed = {
        kind: (
            _fixed(projection.counters, projection.kinds[kind].counters, counters),
            _fixed(projection.columns, projection.kinds[kind].rollups, columns),
        )
        for kind in {kind for _, kind, _ in tally.counts}
    }
    for (skill, kind, bucket), count in tally.counts.items():
        to_counters, to_columns = fixed[kind]
        events[skill] = events.get(skill, 0) + count
        for counter, amount in to_counters:
            counter[skill] = counter.get(skill, 0) + amount * count
        if to_columns:
            cell = (bucket, skill)
            for column, amount in to_columns:
                column[cell] = column.get(cell, 0) + amount * count
    carried = {
        (kind, name): (
            _carried(projection.counters, projection.kinds[kind].counters, counters, name),
            _carried(projection.columns, projection.kinds[kind].rollups, columns, name),
        )
        for kind, name in {(kind, name) for _, kind, _, name in tally.carried}
    }
    for (skill, kind, bucket, name), (_, total) in tally.carried.items():
        for_counters, for_columns = carried[kind, name]
        for counter in for_counters:
            counter[skill] = counter.get(skill, 0) + total
        for column in for_columns:
            column[bucket, skill] = column.get((bucket, skill), 0) + total
    return Deltas(
        events,
        _rows(events, counters),
        {
            each: _since(expired.get(each.value), _at(each, projection.finest, columns))
            for each in projection.granularities
        },
        _left_out(projection, tally, expired) if expired else {},
    )


def _since(
    first: int | None, rows: dict[tuple[int, str], tuple[int, ...]]
) -> dict[tuple[int, str], tuple[int, ...]]:
    """Return the rows of the bucket *first* and of those after it; of all, where it is None."""
    return rows if first is None else {key: row for key, row in rows.items() if key[0] >= first}


def _left_out(projection: Projection, tally: Tally, expired: Mapping[str, int]) -> dict[str, int]:
    """Return how many events of each skill have a rollup in a bucket that has expired."""
    # As numbers of the finest buckets, the first of which is kept at every granularity.
    first = max(
        expired[each.value] * (each.length // projection.finest.length)
        for each in projection.granularities
        if each.value in expired
    )
    counts: dict[str, int] = {}
    for (skill, kind, bucket), count in tally.counts.items():
        if bucket < first and projection.kinds[kind].rollups:
            counts[skill] = counts.get(skill, 0) + count
    return counts


def _fixed(
    names: tuple[str, ...], amounts: Mapping[str, int | Carried], sums: Sequence[Sums]
) -> list[tuple[Sums, int]]:
    """Return the fixed amounts, each with the sums that it is added to."""
    return [
        (sums[names.index(name)], amount)
        for name, amount in amounts.items()
        if not isinstance(amount, Carried)
    ]


def _carried(
    names: tuple[str, ...], amounts: Mapping[str, int | Carried], sums: Sequence[Sums], carried: str
) -> list[Sums]:
    """Return the sums that an amount is added to which events carry under this name."""
    return [
        sums[names.index(name)] for name, amount in amounts.items() if amount == Carried(carried)
    ]


def _at(
    granularity: Granularity, finest: Granularity, columns: Sequence[dict[tuple[int, str], int]]
) -> dict[tuple[int, str], tuple[int, ...]]:
    """Return the rows at *granularity* of sums at the finest one; without those of zeros."""
    ratio = granularity.length // finest.length
    if ratio > 1:
        columns = [_coarser(column, ratio) for column in columns]
    rows = _rows(dict.fromkeys(itertools.chain(*columns)), columns)
    return {key: row for key, row in rows.items() if any(row)}


def _coarser(column: Mapping[tuple[int, str], int], ratio: int) -> dict[tuple[int, str], int]:
    sums: dict[tuple[int, str], int] = {}
    for (bucket, skill), amount in column.items():
        cell = (bucket // ratio, skill)
        sums[cell] = sums.get(cell, 0) + amount
    return sums


def _rows(
    keys: Collection[Key], columns: Sequence[Mapping[Key, int]]
) -> dict[Key, tuple[int, ...]]:
    """Return a row for each key, with its sum of each column."""
    if not columns:
        return dict.fromkeys(keys, ())
    sums = (map(column.get, keys, itertools.repeat(0)) for column in columns)
    return dict(zip(keys, zip(*sums, strict=True), strict=True))

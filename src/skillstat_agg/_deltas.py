"""What a tally adds to the numbers of a projection: import `Deltas` from `skillstat_agg`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

import attrs

from skillstat_agg._buckets import Granularity
from skillstat_agg._effects import Carried, Effect
from skillstat_agg._projections import Projection
from skillstat_agg._tallies import Tally

_Fixed: TypeAlias = tuple[tuple[int, int], ...]


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
            is left out.
    """

    events: Mapping[str, int]
    totals: Mapping[str, tuple[int, ...]]
    rollups: Mapping[Granularity, Mapping[tuple[int, str], tuple[int, ...]]]

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


def deltas_of(projection: Projection, tally: Tally) -> Deltas:
    """Return what *tally* adds, by the table of *projection*.

    Linear: the deltas of a sum of tallies are the sums of their deltas.

    Args:
        projection: The projection.
        tally: A tally that its table `can_count`, at its granularity `finest`.
    """
    events: dict[str, int] = {}
    totals: dict[str, list[int]] = {}
    cells: dict[tuple[int, str], list[int]] = {}
    met = {kind for _, kind, _ in tally.counts}
    plan = {kind: _steps(projection, projection.kinds[kind]) for kind in met}
    for (skill, kind, bucket), count in tally.counts.items():
        to_counters, to_columns, carrying = plan[kind]
        row = totals.get(skill)
        if row is None:
            row = totals[skill] = [0] * len(projection.counters)
            events[skill] = 0
        events[skill] += count
        for index, amount in to_counters:
            row[index] += amount * count
        if to_columns or carrying:
            cell = cells.get((bucket, skill))
            if cell is None:
                cell = cells[bucket, skill] = [0] * len(projection.columns)
            for index, amount in to_columns:
                cell[index] += amount * count
    for (skill, kind, bucket, name), (_, total) in tally.carried.items():
        effect = projection.kinds[kind]
        for index in _indexes(projection.counters, effect.counters, name):
            totals[skill][index] += total
        for index in _indexes(projection.columns, effect.rollups, name):
            cells[bucket, skill][index] += total
    return Deltas(
        events,
        {skill: tuple(row) for skill, row in totals.items()},
        {each: _at(each, projection.finest, cells) for each in projection.granularities},
    )


def _steps(projection: Projection, effect: Effect) -> tuple[_Fixed, _Fixed, bool]:
    """Return index and amount of each fixed step, and whether a rollup is carried."""
    return (
        _fixed(projection.counters, effect.counters),
        _fixed(projection.columns, effect.rollups),
        any(isinstance(amount, Carried) for amount in effect.rollups.values()),
    )


def _at(
    granularity: Granularity, finest: Granularity, cells: Mapping[tuple[int, str], list[int]]
) -> dict[tuple[int, str], tuple[int, ...]]:
    """Return the rows at *granularity* of cells at the finest one."""
    ratio = granularity.length // finest.length
    if ratio > 1:
        coarse: dict[tuple[int, str], list[int]] = {}
        for (bucket, skill), row in cells.items():
            sums = coarse.setdefault((bucket // ratio, skill), [0] * len(row))
            for index, amount in enumerate(row):
                sums[index] += amount
        cells = coarse
    return {key: tuple(row) for key, row in cells.items() if any(row)}


def _fixed(names: tuple[str, ...], amounts: Mapping[str, int | Carried]) -> _Fixed:
    return tuple(
        (names.index(name), amount)
        for name, amount in amounts.items()
        if not isinstance(amount, Carried)
    )


def _indexes(
    names: tuple[str, ...], amounts: Mapping[str, int | Carried], carried: str
) -> Iterator[int]:
    return (names.index(name) for name, amount in amounts.items() if amount == Carried(carried))

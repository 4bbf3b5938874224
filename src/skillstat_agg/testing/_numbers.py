"""What the numbers must be: a plain count that shares no code with tally and fold."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from types import MappingProxyType
from typing import TypeAlias

import attrs

from skillstat_agg._buckets import Granularity
from skillstat_agg._effects import Carried
from skillstat_agg._events import Event, RecordedEvent
from skillstat_agg._projections import Projection

Row: TypeAlias = dict[str, int]

KEPT_FOR_EVER: Mapping[Granularity, datetime] = MappingProxyType({})

_UNIX = datetime(1970, 1, 1, tzinfo=timezone.utc)
_LENGTHS = {Granularity.HOUR: timedelta(hours=1), Granularity.DAY: timedelta(days=1)}


@attrs.frozen
class Numbers:
    """Totals by skill, rollups by granularity, skill and start, and the control totals.

    Rows of rollups that are all zero are left out.
    """

    totals: dict[str, Row]
    rollups: dict[Granularity, dict[str, dict[datetime, Row]]]
    controls: Row


def count(
    projection: Projection,
    events: Iterable[Event | RecordedEvent],
    forgotten: Collection[str] = (),
    kept_from: Mapping[Granularity, datetime] = KEPT_FOR_EVER,
) -> Numbers:
    """Return the table of *projection* applied to *events*, one dictionary step each.

    What a compacted event carries is a sum already; for the rest it counts as often as it says.

    Args:
        projection: The projection.
        events: What its table can count.
        forgotten: Skills that count nowhere.
        kept_from: Where rollups have expired, the start of the first bucket that is kept.
    """
    totals: dict[str, Row] = {}
    rollups: dict[Granularity, dict[str, dict[datetime, Row]]] = {
        granularity: {} for granularity in projection.granularities
    }
    places = [(f"{each.value}.", each, by_skill) for each, by_skill in rollups.items()]
    zeros, no_columns = dict.fromkeys(projection.counters, 0), dict.fromkeys(projection.columns, 0)
    controls = {**zeros}
    for prefix, _, _ in places:
        for column in projection.columns:
            controls[prefix + column] = 0
    for one in events:
        event, times = (one, 1) if isinstance(one, Event) else (one.event, one.count)
        skill_id = event.skill_id
        if skill_id in forgotten:
            continue
        effect = projection.kinds[event.kind]
        row = totals.setdefault(skill_id, {**zeros})
        for name, amount in effect.counters.items():
            added = _of(amount, event, times)
            row[name] += added
            controls[name] += added
        for prefix, granularity, by_skill in places if effect.rollups else ():
            first = kept_from.get(granularity)
            if first is not None and event.occurred_at < first:
                continue
            by_start = by_skill.setdefault(skill_id, {})
            cells = by_start.setdefault(bucket(event.occurred_at, granularity), {**no_columns})
            for name, amount in effect.rollups.items():
                added = _of(amount, event, times)
                cells[name] += added
                controls[prefix + name] += added
    for by_skill in rollups.values():
        for skill_id, by_start in list(by_skill.items()):
            by_skill[skill_id] = without_zeros(by_start)
            if not by_skill[skill_id]:
                del by_skill[skill_id]
    return Numbers(totals, rollups, controls)


@functools.lru_cache(maxsize=10_000)
def bucket(at: datetime, granularity: Granularity) -> datetime:
    """Return the start of the bucket that holds *at*."""
    return at - (at - _UNIX) % _LENGTHS[granularity]


def without_zeros(by_start: dict[datetime, Row]) -> dict[datetime, Row]:
    """Return the rows that hold something."""
    return {start: row for start, row in by_start.items() if any(row.values())}


def _of(amount: int | Carried, event: Event, times: int = 1) -> int:
    return amount * times if isinstance(amount, int) else (event.deltas or {})[amount.name]


@attrs.frozen
class Difference:
    """How numbers differ from what they must be, in words.

    Attributes:
        expected: Each number that is wrong, as it must be: ``a.downloads = 2``.
        actual: The numbers that were found, in the same order.
        events: Which events were lost or doubled, where one event explains it.
    """

    expected: str
    actual: str
    events: str


def difference(
    expected: Mapping[str, Row],
    found: Mapping[str, Row],
    projection: Projection,
    events: Sequence[Event],
    folded: Sequence[Event],
) -> Difference | None:
    """Return how totals by skill differ; None: they do not.

    Args:
        expected: What they must be.
        found: What they are.
        projection: Whose they are.
        events: All events there are.
        folded: Those that the expected totals count.
    """
    if expected == found:
        return None
    want: list[str] = []
    got: list[str] = []
    explained: list[str] = []
    for skill in sorted({*expected, *found}):
        here, there = expected.get(skill), found.get(skill)
        if here == there:
            continue
        name = skill if len(skill) <= 20 else f"{skill[:20]}..."
        if here is None:
            want.append(f"{name} absent")
            got.append(_nonzero(there or {}))
        elif there is None:
            want.append(f"{name}: {_nonzero(here)}")
            got.append("absent")
        else:
            for counter in {**here, **there}:
                if here.get(counter) != there.get(counter):
                    want.append(f"{name}.{counter} = {here.get(counter)}")
                    got.append(str(there.get(counter)))
        missing = {
            counter: (here or {}).get(counter, 0) - (there or {}).get(counter, 0)
            for counter in {**(here or {}), **(there or {})}
        }
        explained += _explained(skill, missing, projection, events, folded)
    return Difference("; ".join(want), "; ".join(got), "; ".join(explained))


def _nonzero(row: Row) -> str:
    """Return the counters of a row that are not zero, in words."""
    return ", ".join(f"{name} = {sum_}" for name, sum_ in row.items() if sum_) or "zeros"


def _explained(
    skill: str,
    missing: Row,
    projection: Projection,
    events: Sequence[Event],
    folded: Sequence[Event],
) -> list[str]:
    """Return which event, lost, doubled or unreadable, would explain what is missing of a skill."""
    lost: list[str] = []
    doubled: list[str] = []
    unreadable: list[str] = []
    for event in events:
        if event.skill_id != skill or event.note is None or event.kind not in projection.kinds:
            continue
        effect = projection.kinds[event.kind].counters
        added = {name: _of(effect.get(name, 0), event) for name in missing}
        if any(added.values()):
            if added == missing:
                lost.append(event.note)
            elif {name: -amount for name, amount in added.items()} == missing:
                (doubled if event in folded else unreadable).append(event.note)
    return [
        f"{what}: {' or '.join(sorted(set(notes)))}"
        for what, notes in (
            ("lost", lost),
            ("doubled", doubled),
            ("counted, but not to be read up to the cursor", unreadable),
        )
        if notes
    ]

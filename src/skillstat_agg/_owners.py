"""Totals of those to whom skills belong: import `owner_totals` from `skillstat_agg` instead."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Generic, TypeVar

import attrs

from skillstat_agg._commits import Cursor
from skillstat_agg._stores import Counters, StatsStore, Totals

Owner = TypeVar("Owner", bound=Hashable)


@attrs.frozen(kw_only=True)
class OwnerTotal:
    """What the skills of one owner come to.

    Attributes:
        skills: How many of them have numbers: events were counted, and none was forgotten.
        sums: Signed sums over them, by counter, of any size. What people are shown is `shown` of
            these: clamped once, after summing.
    """

    skills: int
    sums: Counters = attrs.field(hash=False)


@attrs.frozen(kw_only=True, eq=False)
class OwnerTotals(Mapping[Owner, OwnerTotal], Generic[Owner]):
    """Totals by owner, with the cursor of the snapshot.

    A mapping in the order in which the owners were first named. An owner none of whose skills
    has numbers is there, with zeros.

    Attributes:
        cursor: The cursor; the sums are the table applied to all events up to it.
        by_owner: The totals.
    """

    cursor: Cursor = attrs.field(repr=False)
    by_owner: Mapping[Owner, OwnerTotal]

    def __getitem__(self, owner: Owner) -> OwnerTotal:
        return self.by_owner[owner]

    def __iter__(self) -> Iterator[Owner]:
        return iter(self.by_owner)

    def __len__(self) -> int:
        return len(self.by_owner)


def owner_totals(stats: StatsStore, owners: Iterable[tuple[str, Owner]]) -> OwnerTotals[Owner]:
    """Return the totals of owners, summed over their skills while reading.

    Nothing is stored by owner, so there is nothing that could go wrong when a skill moves, is
    deleted or is forgotten: who owns what is the caller's to say, each time.

    Args:
        stats: The stats.
        owners: Skill and owner of each, such as ``owner_of.items()``; a pair that comes twice
            counts once, and a skill of two owners counts for both.

    Raises:
        InvalidEventError: If one cannot be the id of a skill.
        TableChangedError: If the numbers were made with a table of which neither extends the
            other.
        OpenTransactionError: If the connection is inside a transaction.
    """
    pairs = list(dict.fromkeys(owners))
    return summed(pairs, stats.projection.counters, stats.totals([skill for skill, _ in pairs]))


def summed(
    pairs: Iterable[tuple[str, Owner]], counters: tuple[str, ...], totals: Totals
) -> OwnerTotals[Owner]:
    """Return the totals of owners, from those of their skills."""
    skills: dict[Owner, int] = {}
    sums: dict[Owner, dict[str, int]] = {}
    for skill, owner in pairs:
        there = totals.get(skill)
        skills[owner] = skills.get(owner, 0) + (there is not None)
        row = sums.setdefault(owner, dict.fromkeys(counters, 0))
        for name, value in (there or {}).items():
            row[name] += value
    return OwnerTotals(
        cursor=totals.cursor,
        by_owner={
            owner: OwnerTotal(skills=number, sums=sums[owner]) for owner, number in skills.items()
        },
    )

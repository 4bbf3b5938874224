"""Who has the most: import from `skillstat_agg` instead."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias, cast

import attrs
from typing_extensions import Protocol, runtime_checkable

from skillstat_agg._commits import Cursor
from skillstat_agg._effects import check_name
from skillstat_agg._events import MAX_INTEGER
from skillstat_agg._pages import check_bounds
from skillstat_agg._projections import Projection
from skillstat_agg._ranges import Buckets
from skillstat_agg._stores import Counters
from skillstat_agg.errors import InvalidBoundError, InvalidProjectionError

Score: TypeAlias = str | Mapping[str, int]
"""What a board is ordered by: a counter or rollup column, or several, each with a weight."""

FURTHER = 4
"""How many times as many skills are asked for when those that may stand on a board ran out."""


def _frozen_keys(keys: Score | Iterable[Score]) -> tuple[Mapping[str, int], ...]:
    given: Iterable[Score]
    if isinstance(keys, str):
        given = (keys,)
    elif isinstance(keys, Mapping):
        given = (cast("Mapping[str, int]", keys),)
    else:
        given = keys
    return tuple(MappingProxyType({key: 1} if isinstance(key, str) else dict(key)) for key in given)


@attrs.frozen
class Order:
    """What a board is ordered by: scores, the first of which decides, then the next, then ids.

    A score is the sum of what is shown of its names, times their weights. What is shown is
    ``max(0, sum)``, where the sum is that of all buckets of the range.

    >>> Order([{"installs": 3, "downloads": 1}, "downloads"]).names
    ('installs', 'downloads')

    Attributes:
        keys: The scores: weight by name. A name alone has the weight 1.
        over: The buckets over which rollup columns are summed; None: counters, over all time.

    Raises:
        InvalidBoundError: If there is no score, one has no name, a weight is not a whole number
            other than 0 within signed 64 bits, or *over* is not a range of buckets.
        InvalidProjectionError: If a name can be none.
    """

    keys: tuple[Mapping[str, int], ...] = attrs.field(converter=_frozen_keys, hash=False)
    over: Buckets | None = None

    def __attrs_post_init__(self) -> None:
        if not self.keys or not all(self.keys):
            raise InvalidBoundError("by", repr(list(map(dict, self.keys))), "at least one score")
        for key in self.keys:
            for name, weight in key.items():
                check_name("a counter or rollup column", name)
                if type(weight) is not int or not 0 < abs(weight) <= MAX_INTEGER:
                    raise InvalidBoundError(
                        f"the weight of {name}",
                        repr(weight),
                        "a whole number other than 0, within signed 64 bits",
                    )
        if self.over is not None and not isinstance(self.over, Buckets):
            raise InvalidBoundError("over", repr(self.over), "Buckets or None")

    @property
    def names(self) -> tuple[str, ...]:
        """The counters or rollup columns, in the order in which the scores first name them."""
        return tuple(dict.fromkeys(name for key in self.keys for name in key))

    def check(self, projection: Projection) -> None:
        """Check that the projection has what the board is ordered by.

        Raises:
            InvalidProjectionError: If it has no such counter, column or granularity.
        """
        what, there = "counter", projection.counters
        if self.over is not None:
            projection.check_granularity(self.over.granularity)
            what, there = "rollup column", projection.columns
        for name in self.names:
            if name not in there:
                raise InvalidProjectionError(
                    f"projection {projection.name!r} has no {what} {name!r}; it has"
                    f" {', '.join(there) or 'none'}"
                )

    def scores(self, sums: Sequence[int]) -> tuple[int, ...]:
        """Return the scores of a skill, from its signed sums in the order of `names`."""
        there = {name: max(0, value) for name, value in zip(self.names, sums, strict=True)}
        return tuple(sum(there[name] * weight for name, weight in key.items()) for key in self.keys)

    def top(
        self, sums: Iterable[tuple[str, Sequence[int]]], limit: int
    ) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Return the first *limit* skills of a board, each with its signed sums.

        For stores that do not order by themselves, or cannot where numbers leave 64 bits.

        Args:
            sums: Each skill once, with its signed sums in the order of `names`.
            limit: How many skills at most.
        """
        first = heapq.nsmallest(
            limit,
            (
                (tuple(-score for score in self.scores(row)), skill, tuple(row))
                for skill, row in sums
                if any(value > 0 for value in row)
            ),
        )
        return tuple((skill, row) for _, skill, row in first)


@attrs.frozen(kw_only=True)
class Ranked:
    """The first skills in an order, with the cursor of the snapshot: what a store answers.

    Attributes:
        cursor: The cursor; the sums are the table applied to all events up to it.
        rows: Skill, and its signed sums in the order of ``Order.names``; the first of the
            board first. Fewer than asked for: there are no more.
    """

    cursor: Cursor
    rows: tuple[tuple[str, tuple[int, ...]], ...]


@runtime_checkable
class RankStore(Protocol):
    """A stats store that orders skills by their numbers.

    Laws:
        board_order: Skills come in the order of their scores, the largest first, and where all
            are equal in that of their ids, by code points. A score is made of what is shown:
            each sum clamped at 0 once, after the whole range was summed. So one state of the
            stats has one answer.
        whole_range: A sum covers the buckets of the range, and no others; without a range it is
            the total. A skill of which nothing is shown above 0, under any name that the order
            has, stands nowhere.
    """

    @property
    def projection(self) -> Projection:
        """The projection whose stats these are."""
        ...

    def ranked(self, order: Order, /, *, limit: int) -> Ranked:
        """Return the first *limit* skills in an order, from one snapshot.

        Sums and scores are exact, of any size.

        Raises:
            InvalidBoundError: If *limit* is below 1.
            InvalidProjectionError: If the projection has not what the order names.
            TableChangedError: As in ``totals``.
            OpenTransactionError: If the connection is inside a transaction.
        """
        ...


@attrs.frozen(kw_only=True)
class BoardEntry:
    """One skill on a board.

    Attributes:
        rank: Its place, from 1.
        skill_id: The skill.
        scores: What it is ordered by; the first decides.
        sums: Signed sums of what the order names; what people are shown is `shown` of them.
    """

    rank: int
    skill_id: str
    scores: tuple[int, ...]
    sums: Counters = attrs.field(hash=False)


@attrs.frozen(kw_only=True)
class Leaderboard:
    """Skills in the order of their numbers.

    Attributes:
        cursor: The cursor of the snapshot that all of it was read from.
        order: What it is ordered by.
        entries: The skills, first the first.
    """

    cursor: Cursor = attrs.field(repr=False)
    order: Order
    entries: tuple[BoardEntry, ...]

    def __iter__(self) -> Iterator[BoardEntry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


def leaderboard(
    stats: RankStore,
    *by: Score,
    over: Buckets | None = None,
    limit: int = 200,
    eligible: Callable[[str], bool] | None = None,
) -> Leaderboard:
    """Return who has the most, from one snapshot.

    Skills of which nothing is shown above 0, under any of the names, are left out.

    Args:
        stats: The stats.
        by: What to order by: a name, or weights by name; where that is equal, the next; then the
            ids.
        over: The buckets whose rollup columns are summed; None: counters, over all time.
        limit: How many skills at most.
        eligible: Whether a skill may stand on the board. Skills are asked for until the board is
            full or there are no more; each is judged once, while no transaction is open. None:
            all may.

    Raises:
        InvalidBoundError: If *limit* is below 1, or *by* holds no score or a weight that can be
            none.
        InvalidProjectionError: If the projection has no such counter, column or granularity.
        TableChangedError: If the numbers were made with a table of which neither extends the
            other.
        OpenTransactionError: If the connection is inside a transaction.
    """
    order = checked_order(stats.projection, by, over, limit)
    verdicts = Verdicts(eligible)
    asked = limit
    ranked = stats.ranked(order, limit=asked)
    while len(ranked.rows) == asked and verdicts.count(ranked.rows, limit) < limit:
        asked *= FURTHER
        ranked = stats.ranked(order, limit=asked)
    return board_of(order, ranked, verdicts, limit)


def checked_order(
    projection: Projection, by: tuple[Score, ...], over: Buckets | None, limit: int
) -> Order:
    """Return the order that *by* asks for, when the projection has it.

    Raises:
        InvalidBoundError: As in `leaderboard`.
        InvalidProjectionError: As in `leaderboard`.
    """
    check_bounds(limit=limit)
    order = Order(by, over)
    order.check(projection)
    return order


class Verdicts:
    """Who may stand on a board; everybody is judged once."""

    def __init__(self, eligible: Callable[[str], bool] | None) -> None:
        self._eligible = eligible
        self._known: dict[str, bool] = {}

    def of(self, skill_id: str) -> bool:
        """Return whether a skill may stand on the board."""
        if self._eligible is None:
            return True
        if skill_id not in self._known:
            self._known[skill_id] = bool(self._eligible(skill_id))
        return self._known[skill_id]

    def count(self, rows: Iterable[tuple[str, tuple[int, ...]]], limit: int) -> int:
        """Return how many of the skills may, or *limit* as soon as that many do."""
        number = 0
        for skill, _ in rows:
            number += self.of(skill)
            if number == limit:
                break
        return number


def board_of(order: Order, ranked: Ranked, verdicts: Verdicts, limit: int) -> Leaderboard:
    """Return the board of the first skills that may stand on it."""
    entries: list[BoardEntry] = []
    for skill, sums in ranked.rows:
        if len(entries) == limit:
            break
        if verdicts.of(skill):
            entries.append(
                BoardEntry(
                    rank=len(entries) + 1,
                    skill_id=skill,
                    scores=order.scores(sums),
                    sums=dict(zip(order.names, sums, strict=True)),
                )
            )
    return Leaderboard(cursor=ranked.cursor, order=order, entries=tuple(entries))

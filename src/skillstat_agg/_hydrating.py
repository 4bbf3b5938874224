"""What a page of search results shows of its skills, in one call.

`skillstat_agg.aio._hydrating` is its twin for asynchronous stores.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs
from typing_extensions import Protocol

from skillstat_agg._badges import BadgeMap, BadgeStore
from skillstat_agg._commits import Cursor
from skillstat_agg._events import checked_skill_ids
from skillstat_agg._projections import Projection
from skillstat_agg._ranges import Buckets
from skillstat_agg._series import Series, SeriesStore, check_range, filled
from skillstat_agg._stores import Counters, Totals


class HydratingStore(SeriesStore, Protocol):
    """A stats store that reads totals and rollups of many skills: what `hydrate` asks of it."""

    def totals(self, skill_ids: Iterable[str] | None = None, /) -> Totals:
        """Return the totals of these skills: see ``StatsStore.totals``."""
        ...


@attrs.frozen(kw_only=True)
class HydratedSkill:
    """What there is to show of one skill. Sums are signed: people are shown `shown` of them.

    Attributes:
        skill_id: The skill.
        is_counted: Whether it has totals: an unknown skill, one without events yet and one that
            was forgotten have none.
        totals: Its total of each counter; zeros where it has none.
        badges: Its badges by kind.
        trend: By rollup column, what it had in each bucket; zeros where nothing was counted.
    """

    skill_id: str
    is_counted: bool
    totals: Counters = attrs.field(hash=False)
    badges: BadgeMap = attrs.field(hash=False)
    trend: Mapping[str, tuple[int, ...]] = attrs.field(hash=False)


@attrs.frozen(kw_only=True)
class Hydrated:
    """What there is to show of the skills of a page.

    Attributes:
        skills: The skills in the order in which they were asked for, each once.
        cursor: How far the totals are counted, and when that was.
        series: The trends, with their buckets, with a cursor of their own, since they are read
            after the totals, and with what of the range they cover.
    """

    skills: tuple[HydratedSkill, ...]
    cursor: Cursor
    series: Series


def hydrate(
    stats: HydratingStore, badges: BadgeStore, skill_ids: Iterable[str], over: Buckets
) -> Hydrated:
    """Return the totals, the badges and the trend of each skill of a page of search results.

    One query for each of the three, each in a snapshot of its own.

    Args:
        stats: The stats of one projection.
        badges: The badges.
        skill_ids: The skills of the page; of one that stands there twice the first place
            counts.
        over: The buckets of the trends.

    Raises:
        InvalidEventError: If one cannot be the id of a skill, or a single string was given.
        InvalidBoundError: If there are too many buckets.
        InvalidProjectionError: If the projection has no rollups of that granularity.
        TableChangedError: If the numbers were made with a table of which neither extends the
            other.
        OpenTransactionError: If a connection is inside a transaction.
    """
    wanted = checked_skill_ids(skill_ids)
    check_range(over)
    totals = stats.totals(wanted)
    trends = filled(stats.projection, wanted, over, stats.rollups_of(wanted, over))
    maps = badges.badge_maps(wanted)
    return hydrated(stats.projection, totals, trends, maps)


def hydrated(
    projection: Projection,
    totals: Totals,
    trends: Series,
    maps: Iterable[tuple[str, BadgeMap]],
) -> Hydrated:
    """Return what was read of each skill, with zeros for totals that are not there."""
    zeros = dict.fromkeys(projection.counters, 0)
    return Hydrated(
        skills=tuple(
            HydratedSkill(
                skill_id=skill_id,
                is_counted=skill_id in totals,
                totals=totals.get(skill_id, zeros),
                badges=badges,
                trend=trends[skill_id],
            )
            for skill_id, badges in maps
        ),
        cursor=totals.cursor,
        series=trends,
    )

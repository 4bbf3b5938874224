"""What a page of search results shows of its skills, in one call.

`skillstat_agg.aio._hydrating` is its twin for asynchronous stores.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

import attrs

from skillstat_agg._badges import BadgeMap, BadgeStore
from skillstat_agg._buckets import Granularity, buckets_between, start_of
from skillstat_agg._commits import Cursor
from skillstat_agg._events import checked_skill_ids
from skillstat_agg._projections import Projection
from skillstat_agg._stores import Counters, Rollups, StatsStore, Totals
from skillstat_agg.errors import InvalidBoundError

MOST_BUCKETS = 1_000
"""How many buckets a trend has at most."""


@attrs.frozen(kw_only=True)
class HydratedSkill:
    """What there is to show of one skill. Sums are signed: people are shown `shown` of them.

    Attributes:
        skill_id: The skill.
        is_counted: Whether it has totals: an unknown skill, one without events yet and one that
            was forgotten have none.
        totals: Its total of each counter; zeros where it has none.
        badges: Its badges by kind.
        trend: Its rollups by the start of each bucket of the range, in the order of time;
            zeros where nothing was counted.
    """

    skill_id: str
    is_counted: bool
    totals: Counters = attrs.field(hash=False)
    badges: BadgeMap = attrs.field(hash=False)
    trend: Mapping[datetime, Counters] = attrs.field(hash=False)


@attrs.frozen(kw_only=True)
class Hydrated:
    """What there is to show of the skills of a page.

    Attributes:
        skills: The skills in the order in which they were asked for, each once.
        cursor: How far the totals are counted, and when that was. The trends are read after
            them, and may be further by a commit in between.
    """

    skills: tuple[HydratedSkill, ...]
    cursor: Cursor


def hydrate(
    stats: StatsStore,
    badges: BadgeStore,
    skill_ids: Iterable[str],
    /,
    *,
    since: datetime,
    until: datetime,
    granularity: Granularity = Granularity.DAY,
) -> Hydrated:
    """Return the totals, the badges and the trend of each skill of a page of search results.

    Each of the three is read in a snapshot of its own.

    Args:
        stats: The stats of one projection.
        badges: The badges.
        skill_ids: The skills of the page; of one that stands there twice the first place
            counts.
        since: The first bucket of the trends is the one that holds this time.
        until: Their last bucket begins before this time.
        granularity: Length of their buckets.

    Raises:
        InvalidEventError: If one cannot be the id of a skill, or a single string was given.
        InvalidBoundError: If a time has no time zone, *until* lies before *since*, or there
            are more than 1,000 buckets between them.
        InvalidProjectionError: If the projection has no such granularity.
        TableChangedError: If the numbers were made with a table of which neither extends the
            other.
        OpenTransactionError: If a connection is inside a transaction.
    """
    wanted = checked_skill_ids(skill_ids)
    starts = checked_starts(stats.projection, since, until, granularity)
    totals = stats.totals(wanted)
    rollups = _rollups_of(stats, wanted, granularity, since, until)
    maps = badges.badge_maps(wanted)
    return hydrated(stats.projection, starts, totals, rollups, dict(maps))


def _rollups_of(
    stats: StatsStore,
    skill_ids: list[str],
    granularity: Granularity,
    since: datetime,
    until: datetime,
) -> Mapping[str, Rollups]:
    """Return the rollups of each skill."""
    return {
        skill_id: stats.rollups(skill_id, granularity, since=since, until=until)
        for skill_id in skill_ids
    }


def checked_starts(
    projection: Projection, since: datetime, until: datetime, granularity: Granularity
) -> list[datetime]:
    """Return the starts of the buckets of a trend, when it can be one.

    Raises:
        InvalidBoundError: As in `hydrate`.
        InvalidProjectionError: As in `hydrate`.
    """
    projection.check_granularity(granularity)
    for name, at in (("since", since), ("until", until)):
        if at is None:
            raise InvalidBoundError(name, "None", "a datetime with a time zone")
    buckets = buckets_between(since, until, granularity)
    if until < since:
        raise InvalidBoundError("until", until.isoformat(), f"at or after {since.isoformat()}")
    if len(buckets) > MOST_BUCKETS:
        wanted = f"within {MOST_BUCKETS:,} buckets after {since.isoformat()}"
        raise InvalidBoundError("until", until.isoformat(), wanted)
    return [start_of(bucket, granularity) for bucket in buckets]


def hydrated(
    projection: Projection,
    starts: list[datetime],
    totals: Totals,
    rollups: Mapping[str, Rollups],
    badges: Mapping[str, BadgeMap],
) -> Hydrated:
    """Return what was read of each skill; what is zero and was not there is filled in."""
    no_totals = dict.fromkeys(projection.counters, 0)
    no_rollups = dict.fromkeys(projection.columns, 0)
    return Hydrated(
        skills=tuple(
            HydratedSkill(
                skill_id=skill_id,
                is_counted=skill_id in totals,
                totals=totals.get(skill_id, no_totals),
                badges=badges[skill_id],
                trend={start: rows.get(start, no_rollups) for start in starts},
            )
            for skill_id, rows in rollups.items()
        ),
        cursor=totals.cursor,
    )

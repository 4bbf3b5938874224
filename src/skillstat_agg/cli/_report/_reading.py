"""Reads what a report says; nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import cast

import attrs

from skillstat_agg import (
    Buckets,
    Counters,
    Cursor,
    Granularity,
    Leaderboard,
    Projection,
    PruneStore,
    Series,
    lag,
    leaderboard,
    series,
    shown,
    verify,
)
from skillstat_agg._rebuilding import REBUILD
from skillstat_agg.cli._database import Numbers as NumberStore
from skillstat_agg.cli._database import Opened
from skillstat_agg.cli._report._values import NO_DAYS, Days, Numbers, Report, SkillRow

MOST_PARKED = 100
"""How many events in quarantine a page lists."""

BOARD_LENGTH = 10
"""How many skills stand on a board of the page."""

TRIES = 5
"""How often everything is read again, where workers committed in between."""

_AT_ONCE = 10_000  # skills whose days are read by one statement


@attrs.frozen(kw_only=True)
class Wanted:
    """What somebody wants to see.

    Attributes:
        days: How many days.
        last: A time in the last of them, with a time zone.
        limit: How many skills at most.
        boards: What the boards over these days are ordered by; empty: one for each column.
    """

    days: int
    last: datetime
    limit: int
    boards: Sequence[Mapping[str, int]]


def read_report(
    db: Opened,
    projection: Projection,
    wanted: Wanted,
    *,
    at: datetime,
    on_progress: Callable[[int], object],
) -> Report:
    """Read all that the page shows of a projection.

    Args:
        db: The database.
        projection: The projection.
        wanted: What to show of it.
        at: The time, in UTC.
        on_progress: Called with the number of skills whose days were read.

    Raises:
        InvalidProjectionError: If a board names what the projection has not.
        HistoryChangedError: If the log is not the one that was folded.
    """
    log, stats = db.events(), db.stats(projection)
    readers = cast(PruneStore, log).readers()
    return Report(
        projection=projection,
        made_at=at,
        numbers=_read_numbers(stats, wanted, on_progress),
        lag=lag(log, stats),
        last_error=stats.last_error(),
        holders=db.holders(),
        rebuilds=tuple(
            reader for reader in readers if reader.name.startswith(f"{projection.name}/{REBUILD}/")
        ),
        verified=verify(log, stats),
        quarantine=stats.quarantine(limit=MOST_PARKED),
    )


def _read_numbers(
    stats: NumberStore, wanted: Wanted, on_progress: Callable[[int], object]
) -> Numbers:
    """Read the numbers, again where workers committed in between."""
    for _ in range(TRIES - 1):
        numbers = _read_once(stats, wanted, on_progress)
        if numbers.is_one_snapshot:
            return numbers
    return _read_once(stats, wanted, on_progress)


def _read_once(stats: NumberStore, wanted: Wanted, on_progress: Callable[[int], object]) -> Numbers:
    projection = stats.projection
    totals = stats.totals()
    over = _days_of(projection, wanted)
    boards = _boards(stats, wanted, over)
    cursors: list[Cursor] = [totals.cursor, *(board.cursor for board in boards)]
    days, daily = NO_DAYS, [[0] * (wanted.days if over else 0) for _ in projection.columns]
    listed = set(_first(totals, wanted.limit))
    on_boards = {entry.skill_id for board in boards for entry in board}
    kept: dict[str, SkillRow] = {}
    done = 0
    for skills in _batches(sorted(totals)):
        found = None if over is None else series(stats, skills, over)
        if found is not None:
            days = Days(starts=found.starts, covered=found.covered, first=found.first)
            cursors.append(found.cursor)
            daily = [
                _sums_by_day(before, found, name)
                for before, name in zip(daily, projection.columns, strict=True)
            ]
        for skill in skills:
            if skill in listed or skill in on_boards:
                kept[skill] = _row(projection, skill, totals[skill], found)
        on_progress(done := done + len(skills))
    return Numbers(
        cursor=totals.cursor,
        is_one_snapshot=all(cursor == totals.cursor for cursor in cursors),
        days=days,
        skill_count=len(totals),
        totals=tuple(sum(row[name] for row in totals.values()) for name in projection.counters),
        daily=tuple(map(tuple, daily)),
        skills=tuple(row for skill, row in kept.items() if skill in listed),
        boards=boards,
        on_boards={skill: kept[skill] for skill in on_boards if skill in kept},
    )


def _days_of(projection: Projection, wanted: Wanted) -> Buckets | None:
    """Return the days to read; None: the projection keeps none."""
    if not projection.columns or Granularity.DAY not in projection.granularities:
        return None
    return Buckets.last(wanted.days, Granularity.DAY, wanted.last)


def _boards(stats: NumberStore, wanted: Wanted, over: Buckets | None) -> tuple[Leaderboard, ...]:
    """Return the boards over the days, then those of each counter over all time."""
    length = min(BOARD_LENGTH, wanted.limit)
    by_days: Sequence[str | Mapping[str, int]] = wanted.boards or (
        stats.projection.columns if over else ()
    )
    return (
        *(leaderboard(stats, by, over=over, limit=length) for by in by_days),
        *(leaderboard(stats, by, limit=length) for by in stats.projection.counters),
    )


def _first(totals: Mapping[str, Counters], limit: int) -> list[str]:
    """Return the skills with the most of the first counter; then the next one decides."""

    def key(skill: str) -> tuple[tuple[int, ...], str]:
        return tuple(-number for number in shown(totals[skill]).values()), skill

    return sorted(totals, key=key)[:limit]


def _batches(skills: Sequence[str]) -> Iterator[list[str]]:
    """Return the skills in batches, at least one: what is known of the days comes with it."""
    rest = iter(skills)
    yield list(islice(rest, _AT_ONCE))
    while batch := list(islice(rest, _AT_ONCE)):
        yield batch


def _sums_by_day(before: Sequence[int], found: Series, column: str) -> list[int]:
    """Return the sums of *before* and of all skills in *found*, day by day."""
    return list(map(sum, zip(before, *(rows[column] for rows in found.values()), strict=True)))


def _row(projection: Projection, skill: str, totals: Counters, found: Series | None) -> SkillRow:
    days = () if found is None else tuple(found[skill][name] for name in projection.columns)
    return SkillRow(
        skill_id=skill,
        totals=tuple(totals[name] for name in projection.counters),
        days=days,
    )

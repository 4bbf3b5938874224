"""What people are shown: numbers that are counted, clamped at zero, beside rows of the registry."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel

from registry.database import Session
from skillstat_agg import BadgeKind, BoardPage, Buckets, Granularity, hydrate, lag, shown

DAYS = 7


class Skill(BaseModel):
    """A skill; ``downloads_by_day`` ends with today, in UTC."""

    skill_id: str
    title: str
    totals: dict[str, int]
    badges: list[BadgeKind]
    downloads_by_day: list[int]


class Place(BaseModel):
    """One place of a board."""

    rank: int
    skill_id: str
    numbers: dict[str, int]


class Trending(BaseModel):
    """A page of the board, and the token of the next page; none: this is the last."""

    version: int
    places: list[Place]
    next: str | None


class Health(BaseModel):
    """How far the numbers are, and what went wrong last; a later success leaves that there."""

    is_counting: bool
    counted: int
    uncounted: int
    oldest_seconds: float | None
    last_error: str | None
    last_error_at: datetime | None


class Order(StrEnum):
    """The counter that the list of all skills is ordered by."""

    DOWNLOADS = "downloads"
    STARS = "stars"
    INSTALLS = "installs_current"


def skills_of(session: Session, skill_ids: Sequence[str], now: datetime) -> list[Skill]:
    """Return these skills, in this order, without those that the registry does not have."""
    if not skill_ids:  # PostgreSQL knows no empty list
        return []
    marks = ", ".join("?" * len(skill_ids))
    rows = session.read(
        f"SELECT skill_id, title FROM skills WHERE skill_id IN ({marks})", *skill_ids
    )
    titles: dict[str, str] = dict(rows)
    page = hydrate(
        session.stats,
        session.badges,
        [skill_id for skill_id in skill_ids if skill_id in titles],
        Buckets.last(DAYS, Granularity.DAY, now),
    )
    return [
        Skill(
            skill_id=each.skill_id,
            title=titles[each.skill_id],
            totals=dict(shown(each.totals)),
            badges=list(each.badges),
            downloads_by_day=[max(0, count) for count in each.trend["downloads"]],
        )
        for each in page.skills
    ]


def first_skills(session: Session, order: Order, limit: int) -> list[str]:
    """Return the skills that have the most, of those that have none as well."""
    rows = session.read(
        f"SELECT skill_id FROM skills LEFT JOIN {session.totals_table} USING (skill_id)"
        f" ORDER BY CASE WHEN {order} > 0 THEN {order} ELSE 0 END DESC, skill_id LIMIT ?",
        limit,
    )
    return [skill_id for (skill_id,) in rows]


def trending_of(page: BoardPage) -> Trending:
    """Return a page of a board as people are shown it."""
    places = [
        Place(rank=each.rank, skill_id=each.skill_id, numbers=dict(shown(each.sums)))
        for each in page.entries
    ]
    return Trending(version=page.version, places=places, next=page.next)


def health_of(session: Session, now: datetime, *, is_counting: bool) -> Health:
    """Return how far the numbers are behind the log."""
    behind, error = lag(session.events, session.stats), session.stats.last_error()
    age = behind.age(now)
    return Health(
        is_counting=is_counting,
        counted=behind.cursor.count,
        uncounted=behind.events + behind.waiting,
        oldest_seconds=None if age is None else age.total_seconds(),
        last_error=None if error is None else error.text,
        last_error_at=None if error is None else error.at,
    )

"""Badges in memory."""

from __future__ import annotations

from collections.abc import Iterable

from skillstat_agg._badges import Badge, BadgeMap, check_badge, checked_kind, maps_in_order
from skillstat_agg._events import check_skill_id, checked_skill_ids, plain
from skillstat_agg.backends.memory._database import MemoryDatabase
from skillstat_agg.errors import ForgottenSkillError


class MemoryBadgeStore:
    """A store of badges in memory, for any number of threads.

    Args:
        database: Where they live; None: alone in a new one. In the one of a stats store,
            skills that are forgotten there have no badges.
    """

    def __init__(self, database: MemoryDatabase | None = None) -> None:
        self._database = MemoryDatabase() if database is None else database

    def set(self, skill_id: str, kind: str, badge: Badge, /) -> bool:
        """Give a skill a badge: see ``BadgeStore.set``."""
        check_skill_id(skill_id)
        check_badge(badge)
        key = plain(skill_id), checked_kind(kind)
        with self._database._lock:
            if skill_id in self._database._forgotten:
                raise ForgottenSkillError(skill_id)
            is_new = key not in self._database._badges
            self._database._badges = {**self._database._badges, key: badge}
            return is_new

    def clear(self, skill_id: str, kind: str, /) -> bool:
        """Take a badge away: see ``BadgeStore.clear``."""
        check_skill_id(skill_id)
        key = plain(skill_id), checked_kind(kind)
        with self._database._lock:
            badges = dict(self._database._badges)
            was_there = badges.pop(key, None) is not None
            self._database._badges = badges
            return was_there

    def badge_maps(self, skill_ids: Iterable[str], /) -> list[tuple[str, BadgeMap]]:
        """Return each of the skills with its badges: see ``BadgeStore.badge_maps``."""
        return maps_in_order(checked_skill_ids(skill_ids), self._database._badges)

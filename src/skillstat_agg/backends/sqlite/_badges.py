"""Badges in an SQLite database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from skillstat_agg._badges import Badge, BadgeMap, check_badge, checked_kind, maps_in_order
from skillstat_agg._buckets import microseconds
from skillstat_agg._events import check_skill_id, checked_skill_ids
from skillstat_agg.backends._records import badges_of
from skillstat_agg.backends.sqlite._lookups import rows_of
from skillstat_agg.backends.sqlite._schema import check_schema
from skillstat_agg.backends.sqlite._transactions import joining, reading
from skillstat_agg.errors import ForgottenSkillError

_NOT_FORGOTTEN = "NOT EXISTS (SELECT 1 FROM main.skillstat_forgotten WHERE skill_id = :skill_id)"
_INSERT = f"""
    INSERT INTO main.skillstat_badges (skill_id, kind, by_user_id, at_us)
    SELECT :skill_id, :kind, :by_user_id, :at_us WHERE {_NOT_FORGOTTEN} ON CONFLICT DO NOTHING
"""
_UPDATE = f"""
    UPDATE main.skillstat_badges SET by_user_id = :by_user_id, at_us = :at_us
    WHERE skill_id = :skill_id AND kind = :kind
    AND (by_user_id <> :by_user_id OR at_us <> :at_us) AND {_NOT_FORGOTTEN}
"""
_READ = """
    SELECT +skill_id, +kind, +by_user_id, +at_us FROM main.skillstat_badges AS there
    WHERE NOT EXISTS (
        SELECT 1 FROM main.skillstat_forgotten AS gone WHERE gone.skill_id = there.skill_id)
    AND skill_id IN
"""


class SQLiteBadgeStore:
    """A store of badges over a connection that its caller owns; one per thread.

    They stand in the table ``skillstat_badges`` (``skill_id``, ``kind``, ``by_user_id``,
    ``at_us`` in microseconds since 1970), which is made to be joined. ``set`` and ``clear``
    join the caller's transaction (begin it with ``BEGIN IMMEDIATE``); ``badge_maps`` refuses
    one. It is one query for each 500 skills.

    Args:
        db: The connection. `create_tables` has been called on its database.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def set(self, skill_id: str, kind: str, badge: Badge, /) -> bool:
        """Give a skill a badge: see ``BadgeStore.set``.

        Raises:
            StoreBusyError: Also where the caller's transaction has read before another
                program committed: it cannot write any more and must be begun anew.
        """
        check_skill_id(skill_id)
        check_badge(badge)
        given = {
            "skill_id": skill_id,
            "kind": checked_kind(kind).value,
            "by_user_id": badge.by_user_id,
            "at_us": microseconds(badge.at),
        }
        with joining(self._db, "set") as sql:
            check_schema(sql)
            sql.execute(_INSERT, given)
            is_new = sql.rowcount == 1
            if not is_new:
                sql.execute(_UPDATE, given)
                if not sql.execute(f"SELECT {_NOT_FORGOTTEN}", given).fetchone()[0]:
                    raise ForgottenSkillError(skill_id)
            return is_new

    def clear(self, skill_id: str, kind: str, /) -> bool:
        """Take a badge away: see ``BadgeStore.clear``.

        Raises:
            StoreBusyError: As in ``set``.
        """
        check_skill_id(skill_id)
        key = (skill_id, checked_kind(kind).value)
        with joining(self._db, "clear") as sql:
            check_schema(sql)
            sql.execute("DELETE FROM main.skillstat_badges WHERE skill_id = ? AND kind = ?", key)
            return sql.rowcount == 1

    def badge_maps(self, skill_ids: Iterable[str], /) -> list[tuple[str, BadgeMap]]:
        """Return each of the skills with its badges: see ``BadgeStore.badge_maps``."""
        wanted = checked_skill_ids(skill_ids)
        with reading(self._db, "badge_maps") as sql:
            check_schema(sql)
            return maps_in_order(wanted, badges_of(rows_of(sql, _READ, wanted)))

"""Stores of badges on SQLite that end, leave or split the transactions they are in."""

from __future__ import annotations

from collections.abc import Iterable

from skillstat_agg._badges import (
    Badge,
    BadgeMap,
    check_badge,
    checked_kind,
    maps_in_order,
)
from skillstat_agg._events import check_skill_id, checked_skill_ids
from skillstat_agg.backends._records import badges_of
from skillstat_agg.backends.sqlite import SQLiteBadgeStore, SQLiteStatsStore
from skillstat_agg.backends.sqlite._badges import _READ
from skillstat_agg.backends.sqlite._lookups import rows_of
from skillstat_agg.backends.sqlite._transactions import joining, reading, translated, writing
from skillstat_agg.errors import ForgottenSkillError
from skillstat_agg.testing.gallery._badges import NO_REPORT
from skillstat_agg.testing.gallery._frame import BrokenStore
from skillstat_agg.testing.gallery._sqlite_frame import on_sqlite

_AT_ONCE = 500

_READ_ALL = "SELECT * FROM skillstat_badges WHERE skill_id IN"


class ReadsInParts(SQLiteBadgeStore):
    """Looks very many skills up in several calls."""

    def badge_maps(self, skill_ids: Iterable[str], /) -> list[tuple[str, BadgeMap]]:
        wanted = checked_skill_ids(skill_ids)
        found = super().badge_maps(wanted[:_AT_ONCE])
        for first in range(_AT_ONCE, len(wanted), _AT_ONCE):
            found += super().badge_maps(wanted[first : first + _AT_ONCE])
        return found


class ReadsWherever(SQLiteBadgeStore):
    """Reads within the caller's transaction, too."""

    def badge_maps(self, skill_ids: Iterable[str], /) -> list[tuple[str, BadgeMap]]:
        wanted = checked_skill_ids(skill_ids)
        with joining(self._db, "badge_maps") as sql:
            return maps_in_order(wanted, badges_of(rows_of(sql, _READ, wanted)))


class CommitsAtOnce(SQLiteBadgeStore):
    """Ends with a commit, so that a badge is never lost."""

    def set(self, skill_id: str, kind: str, badge: Badge, /) -> bool:
        is_new = super().set(skill_id, kind, badge)
        with translated():
            self._db.commit()
        return is_new

    def clear(self, skill_id: str, kind: str, /) -> bool:
        was_there = super().clear(skill_id, kind)
        with translated():
            self._db.commit()
        return was_there


class RollsAllBack(SQLiteBadgeStore):
    """Rolls back where a badge is refused, and with it what its caller had done."""

    def set(self, skill_id: str, kind: str, badge: Badge, /) -> bool:
        try:
            return super().set(skill_id, kind, badge)
        except ForgottenSkillError:
            with translated():
                self._db.rollback()
            raise


class ClearsAndSets(SQLiteBadgeStore):
    """Takes the old badge away, and then gives the new one: two transactions."""

    def set(self, skill_id: str, kind: str, badge: Badge, /) -> bool:
        check_badge(badge)
        now = self._now(skill_id).get(checked_kind(kind))
        if now is not None and now != badge:
            self.clear(skill_id, kind)
        super().set(skill_id, kind, badge)
        return now is None

    def _now(self, skill_id: str) -> BadgeMap:
        check_skill_id(skill_id)
        with joining(self._db, "set") as sql:
            [(_, badges)] = maps_in_order([skill_id], badges_of(rows_of(sql, _READ, [skill_id])))
            return badges


class LeavesBadges(SQLiteStatsStore):
    """Forgets what it has counted, and leaves badges to whoever keeps them."""

    def forget(self, skill_id: str, /) -> bool:
        check_skill_id(skill_id)
        with reading(self._db, "forget") as sql:
            badges = list(rows_of(sql, _READ_ALL, [skill_id]))
        forgotten = super().forget(skill_id)
        with writing(self._db, "forget") as sql:
            sql.executemany("INSERT INTO skillstat_badges VALUES (?, ?, ?, ?)", badges)
        return forgotten


class ReadsAllBadges(SQLiteBadgeStore):
    """Knows nothing of skills that were forgotten when it reads."""

    def badge_maps(self, skill_ids: Iterable[str], /) -> list[tuple[str, BadgeMap]]:
        wanted = checked_skill_ids(skill_ids)
        with reading(self._db, "badge_maps") as sql:
            return maps_in_order(wanted, badges_of(rows_of(sql, _READ_ALL, wanted)))


STORES = (
    BrokenStore(
        name="badges in several snapshots",
        mistake="Looks very many skills up in several queries. What changes between two of them is"
        " seen in one half, and not in the other.",
        reported=NO_REPORT,
        row="V6, V18",
        breaks=("as_asked",),
        killer="BADGE-11",
        remedy="read all parts in one transaction",
        harness=on_sqlite(badges=ReadsInParts, io=True),
    ),
    BrokenStore(
        name="badges of what may be rolled back",
        mistake="Reads within the transaction of its caller, since it works. What it shows to"
        " others may never be committed.",
        reported=NO_REPORT,
        row="V6",
        breaks=("documented",),
        killer="BADGE-13",
        remedy="refuse a connection that is inside a transaction with OpenTransactionError",
        harness=on_sqlite(badges=ReadsWherever),
    ),
    BrokenStore(
        name="badge commits at once",
        mistake="Commits what it has set. Where it is part of something larger, it ends that in"
        " the middle, and a rollback comes too late.",
        reported=NO_REPORT,
        row="A12",
        breaks=("joined", "documented"),
        killer="BADGE-04",
        remedy="leave the transaction of the caller to the caller",
        harness=on_sqlite(badges=CommitsAtOnce),
    ),
    BrokenStore(
        name="refused badge rolls all back",
        mistake="Rolls the connection back where a badge is refused. What its caller had done in"
        " that transaction is gone, and what follows is committed without it.",
        reported=NO_REPORT,
        row="E7, A5",
        breaks=("joined",),
        killer="BADGE-05",
        remedy="set a savepoint in the caller's transaction, and roll back to it",
        harness=on_sqlite(badges=RollsAllBack),
    ),
    BrokenStore(
        name="badge is cleared, then set",
        mistake="Takes the old badge away and gives the new one, in two transactions. Who dies in"
        " between leaves none, and of two at once both are told that theirs is new.",
        reported=NO_REPORT,
        row="A5",
        breaks=("joined", "last_set"),
        killer="BADGE-10",
        remedy="replace the badge in one statement",
        harness=on_sqlite(badges=ClearsAndSets, io=True),
    ),
    BrokenStore(
        name="badges stay when a skill is forgotten",
        mistake="Refuses a badge for a skill that was forgotten. Those that it had, or that a"
        " transaction gives it which was open at the time, are still there.",
        reported=NO_REPORT,
        row="L9",
        breaks=("none_if_forgotten",),
        killer="BADGE-09",
        remedy="delete them with the skill, and leave forgotten skills out where badges are read",
        harness=on_sqlite(stats=LeavesBadges, badges=ReadsAllBadges),
    ),
)

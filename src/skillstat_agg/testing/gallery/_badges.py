"""Stores of badges that lose one, mix two up, or answer for other skills than they were asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs

from skillstat_agg._badges import (
    Badge,
    BadgeKind,
    BadgeMap,
    checked_kind,
)
from skillstat_agg._events import check_skill_id, checked_skill_ids
from skillstat_agg.backends.memory import MemoryBadgeStore, MemoryDatabase
from skillstat_agg.errors import InvalidBadgeError
from skillstat_agg.testing._harness import AnyHarness, Setting
from skillstat_agg.testing.gallery._frame import BrokenStore, broken
from skillstat_agg.testing.gallery._stats_steps import _events_with_io

_CAP = 100


def _in_memory(
    kind: type[MemoryBadgeStore], database: Callable[[], MemoryDatabase] = MemoryDatabase
) -> AnyHarness:
    """Return a harness whose clients have stores of badges of this class."""
    return broken(database=database, badges=lambda there, _setting: kind(there))


class JoinsBadges(MemoryBadgeStore):
    """``SELECT ... FROM skills JOIN badges``: who has none is no row."""

    def badge_maps(self, skill_ids: Iterable[str], /) -> list[tuple[str, BadgeMap]]:
        return [one for one in super().badge_maps(skill_ids) if one[1]]


class InKeyOrder(MemoryBadgeStore):
    """Answers in the order in which an index gives the rows."""

    def badge_maps(self, skill_ids: Iterable[str], /) -> list[tuple[str, BadgeMap]]:
        return super().badge_maps(sorted(checked_skill_ids(skill_ids)))


class TakesAHundred(MemoryBadgeStore):
    """Looks a hundred skills up: no page shows more."""

    def badge_maps(self, skill_ids: Iterable[str], /) -> list[tuple[str, BadgeMap]]:
        wanted = checked_skill_ids(skill_ids)
        found = super().badge_maps(wanted[:_CAP])
        return [*found, *((skill_id, {}) for skill_id in wanted[_CAP:])]


class FirstStays(MemoryBadgeStore):
    """``INSERT ... ON CONFLICT DO NOTHING``."""

    def set(self, skill_id: str, kind: str, badge: Badge, /) -> bool:
        before = dict(self._database._badges)
        is_new = super().set(skill_id, kind, badge)
        if not is_new:
            self._database._badges = before
        return is_new


class LatestTimeWins(MemoryBadgeStore):
    """``DO UPDATE ... WHERE excluded.at > badges.at``."""

    def set(self, skill_id: str, kind: str, badge: Badge, /) -> bool:
        before = self._database._badges
        is_new = super().set(skill_id, kind, badge)
        old = before.get((skill_id, checked_kind(kind)))
        if old is not None and old.at > badge.at:
            self._database._badges = before
        return is_new


class OneDocument(MemoryBadgeStore):
    """Keeps the badges of a skill in one document, which it reads, changes and writes."""

    io: Callable[[], None]

    def set(self, skill_id: str, kind: str, badge: Badge, /) -> bool:
        document = self._document(skill_id)
        self.io()
        is_new = super().set(skill_id, kind, badge)
        for each in BadgeKind:
            if each != kind:
                if each in document:
                    super().set(skill_id, each, document[each])
                else:
                    super().clear(skill_id, each)
        return is_new

    def _document(self, skill_id: str) -> BadgeMap:
        check_skill_id(skill_id)
        [(_, document)] = self.badge_maps([skill_id])
        return document


def _document_of(database: MemoryDatabase, setting: Setting) -> OneDocument:
    store = OneDocument(database)
    store.io = setting.io
    return store


class InMilliseconds(MemoryBadgeStore):
    """Keeps times as ``Date.now()`` gives them."""

    def set(self, skill_id: str, kind: str, badge: Badge, /) -> bool:
        is_new = super().set(skill_id, kind, badge)
        at = badge.at.replace(microsecond=badge.at.microsecond // 1_000 * 1_000)
        super().set(skill_id, kind, attrs.evolve(badge, at=at))
        return is_new


class Noted(MemoryDatabase):
    """A database that also notes how often a badge was set."""

    def __init__(self) -> None:
        super().__init__()
        self.times_set = 0

    def state(self) -> object:
        return super().state(), self.times_set


class WritesAgain(MemoryBadgeStore):
    """Writes a row with a fresh ``updated_at``, whatever stands there."""

    def set(self, skill_id: str, kind: str, badge: Badge, /) -> bool:
        is_new = super().set(skill_id, kind, badge)
        assert isinstance(self._database, Noted)
        self._database.times_set += 1
        return is_new


class NothingOfNoKind(MemoryBadgeStore):
    """Of a kind that there is not no skill has a badge."""

    def set(self, skill_id: str, kind: str, badge: Badge, /) -> bool:
        try:
            return super().set(skill_id, kind, badge)
        except InvalidBadgeError:
            return False

    def clear(self, skill_id: str, kind: str, /) -> bool:
        try:
            return super().clear(skill_id, kind)
        except InvalidBadgeError:
            return False


class WithBadgesApart(MemoryDatabase):
    """A database whose badges live in another one."""

    def __init__(self) -> None:
        super().__init__()
        self.apart = MemoryDatabase()


NO_REPORT = ("no public report was found",)

STORES = (
    BrokenStore(
        name="badges by an inner join",
        mistake="Joins the skills with their badges, and answers with the rows. A skill without a"
        " badge is not among them, and all that stand behind it move up on the page.",
        reported=NO_REPORT,
        row="P11",
        breaks=("as_asked",),
        killer="BADGE-01",
        remedy="answer for each skill that was asked for, with an empty map where it has none",
        harness=_in_memory(JoinsBadges),
    ),
    BrokenStore(
        name="badges in the order of the key",
        mistake="Answers in the order in which the database has the rows. Whoever puts the answer"
        " beside the page shows the badges of other skills.",
        reported=NO_REPORT,
        row="P11",
        breaks=("as_asked",),
        killer="BADGE-01",
        remedy="put the rows into the order that was asked for",
        harness=_in_memory(InKeyOrder),
    ),
    BrokenStore(
        name="badges of at most a hundred skills",
        mistake="Looks up the first hundred skills, since no page shows more. Of the others it"
        " says that they have none.",
        reported=NO_REPORT,
        row="P11, B10",
        breaks=("as_asked",),
        killer="BADGE-01",
        remedy="look all of them up, or refuse so many",
        harness=_in_memory(TakesAHundred),
    ),
    BrokenStore(
        name="first badge stays",
        mistake="Inserts and ignores a conflict, so that a retry is harmless. A badge that somebody"
        " else gives later is ignored, too.",
        reported=NO_REPORT,
        row="E4",
        breaks=("last_set",),
        killer="BADGE-02",
        remedy="update the row that is there",
        harness=_in_memory(FirstStays),
    ),
    BrokenStore(
        name="latest time of a badge wins",
        mistake="Compares the times, and keeps the badge that is given later. The clock of one"
        " moderator runs ahead, and nobody can take it back from him.",
        reported=NO_REPORT,
        row="V13",
        breaks=("last_set",),
        killer="BADGE-02",
        remedy="let what is committed last count, whatever its time",
        harness=_in_memory(LatestTimeWins),
    ),
    BrokenStore(
        name="badges of a skill in one document",
        mistake="Reads the document of a skill, changes one badge in it and writes it back. Of two"
        " who do so at once one takes away what the other has given.",
        reported=NO_REPORT,
        row="P8",
        breaks=("last_set",),
        killer="BADGE-03",
        remedy="have a row for each badge, or compare before writing",
        harness=broken(events=_events_with_io, badges=_document_of, io=True),
    ),
    BrokenStore(
        name="badges to the millisecond",
        mistake="Keeps times in milliseconds. What was set is not what comes back, and setting it"
        " again is a change each time.",
        reported=NO_REPORT,
        row="N1",
        breaks=("as_given",),
        killer="BADGE-06",
        remedy="keep microseconds",
        harness=_in_memory(InMilliseconds),
    ),
    BrokenStore(
        name="badges are written again",
        mistake="Writes the row with the time of the change, whatever stands there. A page that is"
        " cached by that time is thrown away with each retry.",
        reported=NO_REPORT,
        row="P6",
        breaks=("as_given",),
        killer="BADGE-07",
        remedy="write only what changes",
        harness=_in_memory(WritesAgain, Noted),
    ),
    BrokenStore(
        name="nothing of no kind",
        mistake="Says of a kind that there is not that no skill has it. A badge with a slip of the"
        " pen in its name is lost, and nobody is told.",
        reported=NO_REPORT,
        row="P11",
        breaks=("documented",),
        killer="BADGE-12",
        remedy="raise InvalidBadgeError, and name the kinds that there are",
        harness=_in_memory(NothingOfNoKind),
    ),
    BrokenStore(
        name="badges in another database",
        mistake="Keeps the badges beside the users, where nobody knows which skills were"
        " forgotten. A skill that is gone for good is still official.",
        reported=NO_REPORT,
        row="L9",
        breaks=("none_if_forgotten",),
        killer="BADGE-08",
        remedy="keep them in the database of the stats, or clear them there as well",
        harness=broken(
            database=WithBadgesApart,
            badges=lambda there, _setting: MemoryBadgeStore(there.apart),
        ),
    ),
)

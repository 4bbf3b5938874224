"""Arguments that cannot be meant, and are given a meaning."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone

from skillstat_agg._buckets import Granularity
from skillstat_agg._events import Place
from skillstat_agg._pages import Page
from skillstat_agg._stores import Rollups, Totals
from skillstat_agg.testing.gallery._frame import BrokenStore, broken, events_of
from skillstat_agg.testing.gallery._logs import Log
from skillstat_agg.testing.gallery._stats_steps import OpenStats, with_stats


class AtLeastOne(Log):
    """A limit below 1 is 1."""

    def read(self, after: Place | None, /, *, limit: int) -> Page:
        return super().read(after, limit=max(1, limit))


class NaiveIsUTC(OpenStats):
    """A time without a zone is one in UTC."""

    def rollups(
        self,
        skill_id: str,
        granularity: Granularity,
        /,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Rollups:
        return super().rollups(skill_id, granularity, since=_in_utc(since), until=_in_utc(until))


def _in_utc(at: datetime | None) -> datetime | None:
    return at if at is None or at.tzinfo is not None else at.replace(tzinfo=timezone.utc)


class StringIsList(OpenStats):
    """A string can be iterated over, so it is a list of ids."""

    def totals(self, skill_ids: Iterable[str] | None = None, /) -> Totals:
        return super().totals(None if skill_ids is None else list(skill_ids))


class EmptyIsAll(OpenStats):
    """``if skill_ids: WHERE skill_id IN (...)``."""

    def totals(self, skill_ids: Iterable[str] | None = None, /) -> Totals:
        return super().totals(skill_ids or None)


STORES = (
    BrokenStore(
        name="a limit below one is one",
        mistake="Corrects a limit that makes no sense. The mistake of whoever asked stays hidden:"
        " a budget that is used up, and one event more each time.",
        reported=("no public report was found",),
        row="P11",
        breaks=("documented",),
        killer="ARGS-01",
        remedy="raise InvalidBoundError, and name the argument",
        harness=broken(events=events_of(AtLeastOne)),
    ),
    BrokenStore(
        name="a time without a zone is in UTC",
        mistake="Takes a bound without a zone for one in UTC. Who asks with the time on the wall"
        " is shown other days than were meant, and not told.",
        reported=("confluentinc/kafka-connect-jdbc#321",),
        row="N11",
        breaks=("documented",),
        killer="ARGS-02",
        remedy="raise InvalidBoundError for a time without a zone",
        harness=with_stats(NaiveIsUTC),
    ),
    BrokenStore(
        name="a string is a list",
        mistake="Iterates over whatever it is given. The totals of 'pdf' are those of the skills"
        " p, d and f: none, and no error.",
        reported=("no public report was found",),
        row="P11",
        breaks=("documented",),
        killer="ARGS-03",
        remedy="refuse a single string with InvalidEventError",
        harness=with_stats(StringIsList),
    ),
    BrokenStore(
        name="an empty list is all",
        mistake="Asks whether there are ids with their truth, which an empty list has not. Whoever"
        " asks for the totals of no skill gets those of all.",
        reported=("no public report was found",),
        row="P11",
        breaks=("documented",),
        killer="ARGS-04",
        remedy="compare with None",
        harness=with_stats(EmptyIsAll),
    ),
)

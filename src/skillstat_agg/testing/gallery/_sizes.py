"""Stores that do the first part of what is asked, and take it for the whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import islice

import attrs

from skillstat_agg._buckets import Granularity
from skillstat_agg._commits import Commit, CommitResult
from skillstat_agg._events import RecordedEvent
from skillstat_agg._stores import Rollups, Totals
from skillstat_agg.backends.memory._database import Pending
from skillstat_agg.errors import CursorConflictError
from skillstat_agg.testing.gallery._frame import BrokenStore, broken, events_of
from skillstat_agg.testing.gallery._logs import Log
from skillstat_agg.testing.gallery._stats_steps import OpenStats, with_stats, with_stats_and_io

BATCH = 25


class _LooksUp(OpenStats):
    """A store that looks for forgotten skills as `found` does."""

    def commit(self, commit: Commit, /) -> CommitResult:
        forgotten = self._database._forgotten
        self._database._forgotten = frozenset(self.found(sorted(commit.deltas.totals), forgotten))
        try:
            return super().commit(commit)
        finally:
            self._database._forgotten = forgotten

    def found(self, skills: Sequence[str], forgotten: frozenset[str]) -> Iterable[str]:
        return forgotten.intersection(skills)


class OneStatement(_LooksUp):
    """``WHERE skill_id IN (?, ?, ...)`` with the first 500 skills of a page."""

    def found(self, skills: Sequence[str], forgotten: frozenset[str]) -> Iterable[str]:
        return super().found(skills[:500], forgotten)


class FetchOne(_LooksUp):
    """``fetchone()`` where there may be several rows."""

    def found(self, skills: Sequence[str], forgotten: frozenset[str]) -> Iterable[str]:
        return sorted(super().found(skills, forgotten))[:1]


class OnePageOfTotals(OpenStats):
    """Returns the first 1,000 totals, which is all that one answer holds."""

    def totals(self, skill_ids: Iterable[str] | None = None, /) -> Totals:
        totals = super().totals(skill_ids)
        return Totals(totals.cursor, dict(islice(totals.items(), 1_000)))


class OnePageOfRollups(OpenStats):
    """Returns the first 100 buckets, which is all that one answer holds."""

    def rollups(
        self,
        skill_id: str,
        granularity: Granularity,
        /,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Rollups:
        rollups = super().rollups(skill_id, granularity, since=since, until=until)
        return Rollups(rollups.cursor, dict(islice(rollups.items(), 100)))


class ForgetsOneBatch(OpenStats):
    """Deletes 25 rollups of a forgotten skill at each granularity, and leaves the others."""

    def forget(self, skill_id: str, /) -> bool:
        before = dict(self._database._stats)
        forgotten = super().forget(skill_id)
        for name, stats in self._database._stats.items():
            rollups: dict[Granularity, Mapping[tuple[int, str], Mapping[str, int]]] = {}
            for each, rows in before[name].rollups.items():
                of_skill = (key for key in rows if key[1] == skill_id)
                left = {key: rows[key] for key in islice(of_skill, BATCH, None)}
                rollups[each] = {**stats.rollups[each], **left}
            self._database._stats[name] = attrs.evolve(stats, rollups=rollups)
        return forgotten


class CommitsInBatches(OpenStats):
    """Writes 25 skills in each transaction, and what is left with the cursor in the last."""

    def commit(self, commit: Commit, /) -> CommitResult:
        self._io()
        before = self._stats()
        result = self._apply(commit)
        after = self._stats()
        skills = sorted(result.changed)
        for end in range(BATCH, len(skills), BATCH):
            written = {skill: after.totals[skill] for skill in skills[:end]}
            self._put(attrs.evolve(before, totals={**before.totals, **written}))
            self._io()
            if self.cursor() != commit.expected:
                raise CursorConflictError(self._projection.name)
        self._put(after)
        return result


class RecentIds(Log):
    """The ids of the last 5,000 events are remembered."""

    REMEMBERED = 5_000

    def _finish(
        self, pending: Pending, events: Sequence[RecordedEvent], ids: Mapping[str, bytes]
    ) -> None:
        super()._finish(pending, events, ids)
        for row in self._database._visible[: -self.REMEMBERED]:
            self._database._digests.pop(row.event.event_id or "", None)


ALL_PAGES = "ask for the next page until there is none, in one snapshot"

STORES = (
    BrokenStore(
        name="forgotten skills of one statement",
        mistake="A statement takes so many parameters, so the look-up of forgotten skills has the"
        " first 500 of a page. What is forgotten of the others counts again.",
        reported=("AxonIQ/AxonFramework#391",),
        row="L9, V8",
        breaks=("forgotten", "exact"),
        killer="SIZE-01",
        remedy="look up all skills of the page, with as many statements as that takes",
        harness=with_stats(OneStatement),
    ),
    BrokenStore(
        name="one forgotten skill of a page",
        mistake="Whether a page has events of a forgotten skill is asked, and the first row of the"
        " answer is read. A second forgotten skill counts again.",
        reported=("no public report was found",),
        row="L9",
        breaks=("forgotten", "exact"),
        killer="FORGET-08",
        remedy="read all rows of the answer",
        harness=with_stats(FetchOne),
    ),
    BrokenStore(
        name="first page of totals",
        mistake="An answer holds 1,000 rows, and says nothing of those that it left out. Whoever"
        " asks for all totals gets some.",
        reported=("supabase.com/docs: select()", "Convex docs database/pagination.mdx"),
        row="B3",
        breaks=("exact",),
        killer="SIZE-01",
        remedy=ALL_PAGES,
        harness=with_stats(OnePageOfTotals),
    ),
    BrokenStore(
        name="first page of rollups",
        mistake="An answer holds 100 rows: three months of days, or four days of hours. What"
        " came later is not shown.",
        reported=(
            "learn.microsoft.com: Data API builder, default-page-size",
            "Convex docs database/pagination.mdx",
        ),
        row="B3",
        breaks=("exact", "forgotten"),
        killer="SIZE-02",
        remedy=ALL_PAGES,
        harness=with_stats(OnePageOfRollups),
    ),
    BrokenStore(
        name="forgets one batch",
        mistake="A batch deletes 25 rows at most, and one is sent. Of a skill that is old enough"
        " the other rollups stay.",
        reported=("docs.aws.amazon.com: BatchWriteItem",),
        row="L9, A5",
        breaks=("forgotten",),
        killer="SIZE-02",
        remedy="delete every row of the skill, in one transaction",
        harness=with_stats(ForgetsOneBatch),
    ),
    BrokenStore(
        name="commits in batches",
        mistake="A batch writes 25 skills at most, so a page of more is written in several, the"
        " last of which has the cursor. Each is a transaction: a worker that dies between two"
        " leaves skills that count again.",
        reported=("docs.aws.amazon.com: BatchWriteItem", "NuGet/NuGet.Services.Metadata#150"),
        row="A5, B4",
        breaks=("atomic",),
        killer="SIZE-03",
        remedy="write the whole page in one transaction, or refuse a page that is too large",
        harness=with_stats_and_io(CommitsInBatches),
    ),
    BrokenStore(
        name="remembers recent ids",
        mistake="Keeps the ids of the last 5,000 events, since a retry comes within minutes. One"
        " that comes after an outage, or on a busy day, is stored again.",
        reported=("akka/akka-projection#1293", "akka/akka-persistence-r2dbc#245"),
        row="O10, E2",
        breaks=("append_once",),
        killer="APPEND-11",
        remedy="put the id under a unique constraint, kept as long as the log",
        harness=broken(events=events_of(RecentIds)),
    ),
)

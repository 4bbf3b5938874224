"""Stats that forget a skill in part, or not for good."""

from __future__ import annotations

import attrs

from skillstat_agg._commits import Commit, CommitResult
from skillstat_agg.testing.gallery._frame import BrokenStore
from skillstat_agg.testing.gallery._stats_steps import OpenStats, with_stats, with_stats_and_io


class KeepsRollups(OpenStats):
    """Deletes the totals of a forgotten skill, and leaves its rollups."""

    def forget(self, skill_id: str, /) -> bool:
        before = dict(self._database._stats)
        forgotten = super().forget(skill_id)
        for name, stats in self._database._stats.items():
            self._database._stats[name] = attrs.evolve(stats, rollups=before[name].rollups)
        return forgotten


class _KeepsField(OpenStats):
    """Deletes the rows of a forgotten skill, and leaves a field of the cursor record as it was."""

    field: str

    def forget(self, skill_id: str, /) -> bool:
        before = dict(self._database._stats)
        forgotten = super().forget(skill_id)
        for name, stats in self._database._stats.items():
            kept = getattr(before[name].cursor, self.field)
            cursor = attrs.evolve(stats.cursor, **{self.field: kept})
            self._database._stats[name] = attrs.evolve(stats, cursor=cursor)
        return forgotten


class KeepsControls(_KeepsField):
    """Leaves the rows that it has deleted in the control totals."""

    field = "controls"


class KeepsRevision(_KeepsField):
    """Leaves the number that says that something changed."""

    field = "revision"


class ForgetsItsOwn(OpenStats):
    """Deletes the rows of its own projection, and leaves those of the others."""

    def forget(self, skill_id: str, /) -> bool:
        before = dict(self._database._stats)
        forgotten = super().forget(skill_id)
        own = self._stats()
        self._database._stats.update(before)
        self._put(own)
        return forgotten


class CountsLaterEvents(OpenStats):
    """Deletes the rows, and does not remember that there were any."""

    def forget(self, skill_id: str, /) -> bool:
        forgotten = super().forget(skill_id)
        self._database._forgotten -= {skill_id}
        return forgotten


class ForgetsInTwoSteps(OpenStats):
    """Deletes the rows in one transaction, and remembers the skill in the next."""

    def forget(self, skill_id: str, /) -> bool:
        forgotten = super().forget(skill_id)
        if forgotten:
            self._database._forgotten -= {skill_id}
            self._io()
            self._database._forgotten |= {skill_id}
        return forgotten


class ForgetsAlike(OpenStats):
    """Forgets every skill whose id differs from the given one in case only."""

    def forget(self, skill_id: str, /) -> bool:
        forgotten = super().forget(skill_id)
        for skill in self._stats().totals:
            if skill.casefold() == skill_id.casefold():
                super().forget(skill)
        return forgotten


class DropsInSilence(OpenStats):
    """Drops the events of a forgotten skill, and does not say how many."""

    def commit(self, commit: Commit, /) -> CommitResult:
        return attrs.evolve(super().commit(commit), forgotten=0)


class LeavesOutOfCount(OpenStats):
    """Leaves the events of a forgotten skill out of the number of events, too."""

    def commit(self, commit: Commit, /) -> CommitResult:
        result = super().commit(commit)
        return self._record(result, count=result.cursor.count - result.forgotten)


STORES = (
    BrokenStore(
        name="forget keeps rollups",
        mistake="The totals of a skill are deleted, and the tables that were added later are not"
        " thought of.",
        reported=("openclaw/clawhub#194", "openclaw/clawhub#2941"),
        row="L9, A11",
        breaks=("forgotten", "compare_and_set", "append_once"),
        killer="FORGET-01",
        remedy="delete every row of the skill, in every table of every projection",
        harness=with_stats(KeepsRollups),
    ),
    BrokenStore(
        name="forget keeps control totals",
        mistake="The rows are deleted, and the sums over all skills still hold them.",
        reported=("no public report was found",),
        row="L9",
        breaks=("forgotten", "compare_and_set", "append_once", "exact"),
        killer="FORGET-01",
        remedy="lower the control totals by what was deleted, in the same transaction",
        harness=with_stats(KeepsControls),
    ),
    BrokenStore(
        name="forget keeps the revision",
        mistake="The rows are deleted, and the record does not show it: a commit that was"
        " computed before is taken for up to date.",
        reported=("no public report was found",),
        row="L9, C10",
        breaks=("forgotten", "compare_and_set"),
        killer="FORGET-01",
        remedy="raise the revision of every projection of the database",
        harness=with_stats(KeepsRevision),
    ),
    BrokenStore(
        name="forgets in its own projection",
        mistake="A store is made for one projection, and forgets there. The numbers of the others"
        " stay.",
        reported=("no public report was found",),
        row="L9",
        breaks=("forgotten",),
        killer="FORGET-04",
        remedy="forget in every projection of the database",
        harness=with_stats(ForgetsItsOwn),
    ),
    BrokenStore(
        name="forgets until the next event",
        mistake="Deleting the rows is taken for forgetting: the next event of the skill makes"
        " them anew.",
        reported=("mterwill/office-hours-help-queue#34",),
        row="L9",
        breaks=("forgotten", "compare_and_set", "append_once", "exact"),
        killer="FORGET-02",
        remedy="remember the ids of forgotten skills, and look them up in each commit",
        harness=with_stats(CountsLaterEvents),
    ),
    BrokenStore(
        name="forgets in two steps",
        mistake="The rows are deleted, and the skill is remembered afterwards: a commit between"
        " the two makes rows that nobody deletes.",
        reported=("no public report was found",),
        row="L9, A5",
        breaks=("forgotten",),
        killer="FORGET-07",
        remedy="delete and remember in one transaction",
        harness=with_stats_and_io(ForgetsInTwoSteps),
    ),
    BrokenStore(
        name="forgets alike ids",
        mistake="Ids are compared without case when one is forgotten, and others go with it.",
        reported=("dev.mysql.com/doc: Case Sensitivity in String Searches",),
        row="L9",
        breaks=("forgotten",),
        killer="FORGET-06",
        remedy="compare ids byte by byte",
        harness=with_stats(ForgetsAlike),
    ),
    BrokenStore(
        name="drops in silence",
        mistake="Events of forgotten skills are dropped, and nobody is told how many.",
        reported=("no public report was found",),
        row="L9",
        breaks=("forgotten",),
        killer="FORGET-02",
        remedy="return their number as CommitResult.forgotten",
        harness=with_stats(DropsInSilence),
    ),
    BrokenStore(
        name="leaves forgotten events out of the count",
        mistake="What does not count is not counted: the cursor's number of events is no longer"
        " that of the log up to its place.",
        reported=("no public report was found",),
        row="L9",
        breaks=("forgotten", "compare_and_set", "append_once"),
        killer="FORGET-02",
        remedy="store the record that Commit.cursor() makes: it covers all events of the page",
        harness=with_stats(LeavesOutOfCount),
    ),
)

"""Stats that lose what a table cannot count, keep it too long, or count it twice."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from skillstat_agg._commits import Commit, CommitResult
from skillstat_agg._events import Position, RecordedEvent
from skillstat_agg._projections import Projection
from skillstat_agg._quarantine import Quarantine, taking_over
from skillstat_agg.backends._clocks import Clock
from skillstat_agg.backends.memory import MemoryDatabase
from skillstat_agg.backends.memory._database import Stats
from skillstat_agg.testing.gallery._frame import BrokenStore
from skillstat_agg.testing.gallery._stats_steps import OpenStats, with_stats, with_stats_and_io

_NONE = "no public report was found"


class _OpenQuarantine(OpenStats):
    """The stats store in memory, whose rows in quarantine can be put there by hand."""

    def _set_parked(self, parked: tuple[RecordedEvent, ...]) -> None:
        self._put(attrs.evolve(self._stats(), parked=parked))


class ParksAfterwards(_OpenQuarantine):
    """Commits numbers and cursor, and parks in the next transaction."""

    def commit(self, commit: Commit, /) -> CommitResult:
        self._io()
        before = self._stats().parked
        result = self._apply(commit)
        after = self._stats().parked
        if after != before:
            self._set_parked(before)
            self._io()
            self._set_parked(after)
        return result


class LosesParked(_OpenQuarantine):
    """Counts what it was to park, and keeps none of it."""

    def commit(self, commit: Commit, /) -> CommitResult:
        result = super().commit(commit)
        self._set_parked(())
        return result


class ParksBeforeComparing(_OpenQuarantine):
    """Sends the events to another queue first, and compares the record afterwards."""

    def commit(self, commit: Commit, /) -> CommitResult:
        self._set_parked((*self._stats().parked, *commit.parked))
        return super().commit(attrs.evolve(commit, parked=()))

    def _apply(self, commit: Commit) -> CommitResult:
        parked = self._stats().cursor.parked
        result = super()._apply(commit)
        return self._record(result, parked=max(parked, len(self._stats().parked)))


class KeepsTaught(_OpenQuarantine):
    """Counts what was taught, and leaves it where it lay."""

    def commit(self, commit: Commit, /) -> CommitResult:
        before = self._stats().parked
        result = super().commit(commit)
        self._set_parked((*before, *self._stats().parked[len(before) - len(commit.taught) :]))
        return result


class TakesOverTwice(_OpenQuarantine):
    """Counts what a larger table teaches when it is opened, and leaves the table to a commit."""

    def __init__(
        self,
        projection: Projection,
        database: MemoryDatabase,
        *,
        clock: Clock,
        io: Callable[[], None],
    ) -> None:
        super().__init__(projection, database, clock=clock, io=io)
        stats = self._stats()
        stored = Projection.from_table(stats.cursor.table)
        if stored != projection and projection.difference_from(stored) is None:
            self._apply(taking_over(stats.cursor, stats.parked, projection))
            after = self._stats()
            record = attrs.evolve(
                after.cursor, table=stats.cursor.table, parked=stats.cursor.parked
            )
            self._put(attrs.evolve(after, cursor=record, parked=stats.parked))


class TakesOverUncounted(_OpenQuarantine):
    """Takes a larger table over when it is opened, and looks into no quarantine."""

    def __init__(
        self,
        projection: Projection,
        database: MemoryDatabase,
        *,
        clock: Clock,
        io: Callable[[], None],
    ) -> None:
        super().__init__(projection, database, clock=clock, io=io)
        cursor = self._stats().cursor
        stored = Projection.from_table(cursor.table)
        if stored != projection and projection.difference_from(stored) is None:
            self._apply(taking_over(cursor, (), projection))


class CountsBesides(_OpenQuarantine):
    """Takes what was taught out in one transaction, and counts it in the next."""

    def commit(self, commit: Commit, /) -> CommitResult:
        self._io()
        before = self._stats()
        result = self._apply(commit)
        after = self._stats()
        if commit.taught:
            self._put(attrs.evolve(before, parked=after.parked))
            self._io()
            self._put(after)
        return result


class ForgetKeepsParked(_OpenQuarantine):
    """Deletes the numbers of a forgotten skill, and leaves what it has in quarantine."""

    def forget(self, skill_id: str, /) -> bool:
        before = dict(self._database._stats)
        forgotten = super().forget(skill_id)
        for name, stats in self._database._stats.items():
            old = before[name]
            cursor = attrs.evolve(stats.cursor, parked=old.cursor.parked)
            self._database._stats[name] = attrs.evolve(stats, cursor=cursor, parked=old.parked)
        return forgotten


class ParksForgotten(_OpenQuarantine):
    """Leaves forgotten skills out of the numbers, and parks their events all the same."""

    def _apply(self, commit: Commit) -> CommitResult:
        before = self._stats()
        result = super()._apply(commit)
        parked = tuple(
            one for one in commit.parked if one.event.skill_id in self._database._forgotten
        )
        if not parked:
            return result
        there = sorted((*self._stats().parked, *parked), key=lambda one: one.position)
        self._set_parked(tuple(there))
        return self._record(
            result,
            parked=len(there),
            dropped=before.cursor.dropped,
        )


class ParksPayload(_OpenQuarantine):
    """Keeps what an event counts by, and not who appended it under which id."""

    def _apply(self, commit: Commit) -> CommitResult:
        parked = tuple(
            attrs.evolve(one, event=attrs.evolve(one.event, event_id=None, note=None))
            for one in commit.parked
        )
        return super()._apply(attrs.evolve(commit, parked=parked))


class SortsByText(_OpenQuarantine):
    """Returns what lies in quarantine in the order of the texts of the positions."""

    def quarantine(self, *, limit: int) -> Quarantine:
        found = super().quarantine(limit=2**63)
        return attrs.evolve(
            found, events=tuple(sorted(found.events, key=lambda one: str(one.position))[:limit])
        )


class SharesQuarantine(_OpenQuarantine):
    """Keeps what is parked in one table, without a column for the projection."""

    def _stats(self) -> Stats:
        there: dict[Position, RecordedEvent] = {}
        for stats in self._database._stats.values():
            there |= {one.position: one for one in stats.parked}
        own = super()._stats()
        return attrs.evolve(own, parked=tuple(there[position] for position in sorted(there)))


class RowsThenCursor(_OpenQuarantine):
    """Reads what lies in quarantine, and then the cursor that there is by then."""

    def quarantine(self, *, limit: int) -> Quarantine:
        found = super().quarantine(limit=limit)
        self._io()
        return attrs.evolve(found, cursor=self.cursor())


class NotesLooks(_OpenQuarantine):
    """Writes down at each look that somebody has looked."""

    def quarantine(self, *, limit: int) -> Quarantine:
        stats = self._stats()
        cursor = attrs.evolve(stats.cursor, revision=stats.cursor.revision + 1)
        self._put(attrs.evolve(stats, cursor=cursor))
        return super().quarantine(limit=limit)


class CountsRows(_OpenQuarantine):
    """Takes the number of rows in quarantine for that of the events."""

    def _apply(self, commit: Commit) -> CommitResult:
        result = super()._apply(commit)
        return self._record(result, parked=len(self._stats().parked))


STORES = (
    BrokenStore(
        name="parks in another transaction",
        mistake="What cannot be counted is written to a table of its own once the commit is done."
        " A worker that dies in between has moved on, and the event is nowhere.",
        reported=("JasperFx/marten#1731",),
        row="B5, A5",
        breaks=("atomic",),
        killer="QUARANTINE-04",
        remedy="insert the parked rows in the transaction that stores the cursor",
        harness=with_stats_and_io(ParksAfterwards),
    ),
    BrokenStore(
        name="parks nowhere",
        mistake="An event that cannot be counted is logged and counted as parked, and kept"
        " nowhere: once the kind is known there is nothing to count.",
        reported=("langfuse/langfuse#14090",),
        row="B5, L7",
        breaks=(
            "quarantined",
            "atomic",
            "compare_and_set",
            "only_real_changes",
            "forgotten",
            "expired",
        ),
        killer="QUARANTINE-01",
        remedy="keep the whole event, as RecordedEvent.to_json makes it",
        harness=with_stats(LosesParked),
    ),
    BrokenStore(
        name="parks before comparing",
        mistake="The event goes to a dead-letter queue first, so that it cannot be lost. A worker"
        " that loses the race has put it there as well, and it lies there twice.",
        reported=(_NONE,),
        row="B5, C1",
        breaks=("compare_and_set", "quarantined", "atomic", "forgotten", "expired"),
        killer="QUARANTINE-05",
        remedy="park in the transaction that compares the record, after comparing",
        harness=with_stats(ParksBeforeComparing),
    ),
    BrokenStore(
        name="keeps what was taught",
        mistake="What a larger table can count is added to the numbers, and its rows stay in"
        " quarantine, to be looked at: the next table counts them again.",
        reported=(_NONE,),
        row="B5",
        breaks=("quarantined", "compare_and_set", "forgotten", "expired"),
        killer="QUARANTINE-06",
        remedy="delete the rows of Commit.taught in the transaction that adds the deltas",
        harness=with_stats(KeepsTaught),
    ),
    BrokenStore(
        name="counts what was taught at each start",
        mistake="A migration counts what was parked of a new kind, and the record keeps the old"
        " table until the first commit, which counts it again.",
        reported=(_NONE,),
        row="B5, L7",
        breaks=(
            "quarantined",
            "compare_and_set",
            "one_snapshot",
            "only_real_changes",
            "forgotten",
            "expired",
        ),
        killer="QUARANTINE-06",
        remedy="count, delete the rows and store the new table in one transaction",
        harness=with_stats(TakesOverTwice),
    ),
    BrokenStore(
        name="takes over without counting",
        mistake="A migration stores the larger table, and what was parked of its new kinds is no"
        " concern of a migration: no commit will ever look for it.",
        reported=(_NONE,),
        row="B5, L7",
        breaks=("quarantined", "compare_and_set", "forgotten", "expired"),
        killer="QUARANTINE-06",
        remedy="leave the table to the first commit, or count what it teaches when it is stored",
        harness=with_stats(TakesOverUncounted),
    ),
    BrokenStore(
        name="counts what was taught in another transaction",
        mistake="The rows leave quarantine, and are counted as if they had just been appended: a"
        " worker that dies in between has thrown them away.",
        reported=(_NONE,),
        row="B5, A5",
        breaks=("atomic",),
        killer="QUARANTINE-08",
        remedy="delete the rows in the transaction that adds their deltas",
        harness=with_stats_and_io(CountsBesides),
    ),
    BrokenStore(
        name="forget keeps what is parked",
        mistake="The numbers of a skill are deleted, and what it has in quarantine is not thought"
        " of: a table that knows the kind brings the skill back.",
        reported=(_NONE,),
        row="L9, B5",
        breaks=("forgotten",),
        killer="QUARANTINE-09",
        remedy="delete the parked rows of the skill, and lower the record's number by them",
        harness=with_stats(ForgetKeepsParked),
    ),
    BrokenStore(
        name="parks what is forgotten",
        mistake="The deltas of forgotten skills are left out, and what is to be parked goes in as"
        " it is.",
        reported=(_NONE,),
        row="L9, B5",
        breaks=("forgotten",),
        killer="QUARANTINE-09",
        remedy="look up Commit.skills, and apply Commit.without(forgotten)",
        harness=with_stats(ParksForgotten),
    ),
    BrokenStore(
        name="parks a part of the event",
        mistake="Skill, kind and numbers are kept, which is all that counting takes. Who looks into"
        " the quarantine cannot say where an event came from.",
        reported=(_NONE,),
        row="B5",
        breaks=("quarantined", "atomic", "compare_and_set", "only_real_changes", "forgotten"),
        killer="QUARANTINE-10",
        remedy="keep the whole event, as RecordedEvent.to_json makes it",
        harness=with_stats(ParksPayload),
    ),
    BrokenStore(
        name="quarantine in the order of texts",
        mistake="Positions are the key of the table of parked events, as texts: 10 stands before"
        " 9, and a limit leaves out what should come first.",
        reported=(_NONE,),
        row="P4",
        breaks=("quarantined",),
        killer="QUARANTINE-10",
        remedy="number the rows as they are inserted, and order by that number",
        harness=with_stats(SortsByText),
    ),
    BrokenStore(
        name="one quarantine for all projections",
        mistake="What one projection cannot count lies in a table that has no column for the"
        " projection, and every other one finds it there.",
        reported=(_NONE,),
        row="B5, P1",
        breaks=("quarantined", "forgotten"),
        killer="QUARANTINE-12",
        remedy="put the projection into the key of the parked rows",
        harness=with_stats(SharesQuarantine),
    ),
    BrokenStore(
        name="quarantine and cursor from two snapshots",
        mistake="The parked rows are read, and then the cursor. What was taught in between is in"
        " both, and looks as if it were still to be counted.",
        reported=("JasperFx/marten#4977",),
        row="V6",
        breaks=("one_snapshot",),
        killer="QUARANTINE-14",
        remedy="read both in one statement, or in one transaction that reads one snapshot",
        harness=with_stats_and_io(RowsThenCursor),
    ),
    BrokenStore(
        name="notes who looked",
        mistake="Each look into the quarantine is written down in the record, for an audit: a"
        " worker that looks whether a larger table teaches something writes every time.",
        reported=(_NONE,),
        row="O9, P6",
        breaks=(
            "only_real_changes",
            "quarantined",
            "compare_and_set",
            "atomic",
            "forgotten",
            "expired",
        ),
        killer="QUARANTINE-13",
        remedy="write nothing when nothing has changed",
        harness=with_stats(NotesLooks),
    ),
    BrokenStore(
        name="counts the rows of the quarantine",
        mistake="The record says how many rows lie in quarantine. A compacted event is one of them,"
        " whatever it stands for: numbers that were made before the log was pruned differ from"
        " those that are made anew.",
        reported=(_NONE,),
        row="B5, P17",
        breaks=("quarantined",),
        killer="QUARANTINE-16",
        remedy="add up RecordedEvent.count of the parked rows",
        harness=with_stats(CountsRows, further=True, prunes=True),
    ),
)

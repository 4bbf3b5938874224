"""Stats whose cursor record is not the one that was to be stored, or that write too much."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import attrs

from skillstat_agg._commits import Commit, CommitResult, Cursor
from skillstat_agg._projections import Projection
from skillstat_agg.backends._clocks import Clock
from skillstat_agg.backends.memory import MemoryDatabase
from skillstat_agg.backends.memory._database import Stats
from skillstat_agg.testing.gallery._frame import BrokenStore
from skillstat_agg.testing.gallery._stats_steps import OpenStats, with_stats


class SharesCursor(OpenStats):
    """Keeps one cursor in a database, whatever the projection."""

    def _stats(self) -> Stats:
        own = super()._stats()
        all_there = (stats.cursor for stats in self._database._stats.values())
        last = max(all_there, key=lambda cursor: cursor.count)
        return attrs.evolve(own, cursor=_moved(own.cursor, last))


class StartsAtTheEnd(OpenStats):
    """Begins a new projection where those that are there already have come to."""

    def __init__(
        self,
        projection: Projection,
        database: MemoryDatabase,
        *,
        clock: Clock,
        io: Callable[[], None],
    ) -> None:
        there = [stats.cursor for stats in database._stats.values()]
        is_new = projection.name not in database._stats
        super().__init__(projection, database, clock=clock, io=io)
        if is_new and there:
            stats = self._stats()
            self._put(attrs.evolve(stats, cursor=_moved(stats.cursor, there[0])))


def _moved(cursor: Cursor, there: Cursor) -> Cursor:
    """Return *cursor* where the other one stands."""
    return attrs.evolve(cursor, place=there.place, count=there.count, checksum=there.checksum)


class KeepsNoTable(OpenStats):
    """Takes the stored numbers for made with whatever table asks for them."""

    def _stats(self) -> Stats:
        stats = super()._stats()
        return attrs.evolve(stats, cursor=attrs.evolve(stats.cursor, table=self._projection.table))


class StartsAnewForTable(OpenStats):
    """Makes its tables anew when the declared table has changed, and keeps the cursor."""

    def commit(self, commit: Commit, /) -> CommitResult:
        stats = self._stats()
        if commit.projection.table != stats.cursor.table and stats.cursor == commit.expected:
            self._put(Stats(stats.cursor, {}, {each: {} for each in stats.rollups}))
        return super().commit(commit)


class KeepsMilliseconds(OpenStats):
    """Stores times in milliseconds, and returns those it was given."""

    def commit(self, commit: Commit, /) -> CommitResult:
        result = super().commit(commit)
        at = result.cursor.updated_at
        self._record(result, updated_at=at - timedelta(microseconds=at.microsecond % 1000))
        return result


class CountsWhatChanges(OpenStats):
    """Counts the events of skills whose sums change: the others did nothing."""

    def commit(self, commit: Commit, /) -> CommitResult:
        deltas = commit.deltas
        count = sum(deltas.events[skill] for skill, row in deltas.totals.items() if any(row))
        return self._record(super().commit(commit), count=commit.expected.count + count)


class TouchesWhenIdle(OpenStats):
    """Writes down when the cursor was last asked for, to show that the worker is alive."""

    def cursor(self) -> Cursor:
        stats = self._stats()
        cursor = attrs.evolve(stats.cursor, updated_at=self._clock())
        self._put(attrs.evolve(stats, cursor=cursor))
        return cursor


class RewritesEverything(OpenStats):
    """Writes every row with every commit, as one document that holds them all."""

    def commit(self, commit: Commit, /) -> CommitResult:
        result = super().commit(commit)
        stats = self._stats()
        return attrs.evolve(
            result,
            rows=len(stats.totals) + sum(map(len, stats.rollups.values())),
            changed=frozenset(stats.totals),
        )


class RowsForChangesOnly(OpenStats):
    """Makes the row of a skill when one of its sums first changes."""

    def commit(self, commit: Commit, /) -> CommitResult:
        totals = {skill: row for skill, row in commit.deltas.totals.items() if any(row)}
        return super().commit(
            attrs.evolve(commit, deltas=attrs.evolve(commit.deltas, totals=totals))
        )


class RefusesNetZero(OpenStats):
    """Does nothing for a page that adds nothing, and leaves the cursor before it."""

    def commit(self, commit: Commit, /) -> CommitResult:
        if any(map(any, commit.deltas.totals.values())):
            return super().commit(commit)
        return CommitResult(cursor=self.cursor(), rows=0, forgotten=0, changed=frozenset())


STORES = (
    BrokenStore(
        name="cursor shared by projections",
        mistake="The log has one reader, so the database has one cursor. A second projection"
        " then takes what the first has folded for its own.",
        reported=("no public report was found",),
        row="L17",
        breaks=("atomic", "forgotten", "expired", "quarantined"),
        killer="PROJ-01",
        remedy="keep a record for each projection, under its name",
        harness=with_stats(SharesCursor),
    ),
    BrokenStore(
        name="new projection starts at the end",
        mistake="A projection that is declared later begins where the others are: nothing is"
        " missing from then on, and everything from before.",
        reported=("apache/pinot#19359", "NVIDIA/NVSentinel#1505"),
        row="L4",
        breaks=("atomic", "forgotten", "expired"),
        killer="PROJ-03",
        remedy="begin with Cursor.start()",
        harness=with_stats(StartsAtTheEnd),
    ),
    BrokenStore(
        name="keeps no table",
        mistake="The table that made the numbers is in the code, so it is not stored. During a"
        " deployment the old workers go on beside the new ones.",
        reported=("JasperFx/marten#2994", "langfuse/langfuse#14090"),
        row="L7, L18",
        breaks=(
            "compare_and_set",
            "documented",
            "one_snapshot",
            "expired",
            "forgotten",
            "only_real_changes",
            "quarantined",
        ),
        killer="DEPLOY-01",
        remedy="store Cursor.table, and return it as it was stored",
        harness=with_stats(KeepsNoTable),
    ),
    BrokenStore(
        name="new table, new rows",
        mistake="A changed table is a migration, which drops and makes the rows. The cursor"
        " stays, and what was counted before is gone.",
        reported=("kurrent-io/KurrentDB#1517",),
        row="L2",
        breaks=("compare_and_set", "one_snapshot", "progress", "forgotten", "quarantined"),
        killer="DEPLOY-01",
        remedy="add the new columns to what is there; rebuild where that is not enough",
        harness=with_stats(StartsAnewForTable),
    ),
    BrokenStore(
        name="times in milliseconds",
        mistake="A time loses its microseconds on the way into the database: the stored record"
        " never equals the one that the worker holds, and each commit conflicts.",
        reported=("stella/stella#1763", "internxt/drive-server-wip#1167", "TanStack/db#913"),
        row="N1",
        breaks=("compare_and_set",),
        killer="TIME-06",
        remedy="store microseconds as an integer, or return the record as it was stored",
        harness=with_stats(KeepsMilliseconds),
    ),
    BrokenStore(
        name="counts what changes",
        mistake="Events that change no sum are left out of the cursor's count, so that it is not"
        " the number of events up to its place, and says other things for other pages.",
        reported=("no public report was found",),
        row="A9",
        breaks=(
            "exact",
            "signed",
            "only_real_changes",
            "forgotten",
            "atomic",
            "compare_and_set",
            "quarantined",
        ),
        killer="CUT-02",
        remedy="store the record that Commit.cursor() makes, as it is",
        harness=with_stats(CountsWhatChanges),
    ),
    BrokenStore(
        name="writes when idle",
        mistake="Each look at the cursor is written down as a sign of life: an idle worker"
        " writes all day, and makes the commits of others conflict.",
        reported=("dlt-hub/dlt#4030",),
        row="O9",
        breaks=("only_real_changes", "forgotten", "expired"),
        killer="IDLE-01",
        remedy="write with commit and forget only; report life elsewhere",
        harness=with_stats(TouchesWhenIdle),
    ),
    BrokenStore(
        name="rewrites everything",
        mistake="The stats are one document, and a commit writes all of it: everything depends on"
        " how many skills there are, and nobody learns which have changed.",
        reported=("dlt-hub/dlt#4030",),
        row="O9",
        breaks=("only_real_changes",),
        killer="IDLE-03",
        remedy="write the rows that the deltas name, and return what changed",
        harness=with_stats(RewritesEverything),
    ),
    BrokenStore(
        name="rows for changes only",
        mistake="A skill whose events add up to nothing gets no row, unless a page ended between"
        " them: whether it is known depends on where pages end.",
        reported=("no public report was found",),
        row="N5",
        breaks=("only_real_changes", "exact", "signed", "quarantined"),
        killer="IDLE-04",
        remedy="make a row for every skill that the deltas name, also with zeros",
        harness=with_stats(RowsForChangesOnly),
    ),
    BrokenStore(
        name="net zero is refused",
        mistake="A page that adds nothing needs no write, so the cursor stays before it: it is"
        " read again, for ever.",
        reported=("Eventuous/eventuous#554", "kurrent-io/KurrentDB#2001"),
        row="B1",
        breaks=(
            "exact",
            "signed",
            "only_real_changes",
            "forgotten",
            "atomic",
            "compare_and_set",
            "quarantined",
        ),
        killer="CUT-02",
        remedy="store the cursor with every commit, whatever it adds",
        harness=with_stats(RefusesNetZero),
    ),
)

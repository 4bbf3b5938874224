"""Stats whose numbers and cursor do not change together, or are not read together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar, cast

import attrs

from skillstat_agg._commits import Commit, CommitResult, Cursor
from skillstat_agg._stores import Counters, Totals
from skillstat_agg.backends.memory import MemoryDatabase
from skillstat_agg.backends.memory._database import Stats
from skillstat_agg.errors import CursorConflictError
from skillstat_agg.testing._harness import AnyHarness, Client, Setting
from skillstat_agg.testing.gallery._frame import BrokenStore
from skillstat_agg.testing.gallery._stats_steps import OpenStats, with_stats, with_stats_and_io

K = TypeVar("K")


class StatsThenCursor(OpenStats):
    """Writes the numbers in one transaction and the cursor in the next."""

    def commit(self, commit: Commit, /) -> CommitResult:
        before = self._stats()
        result = self._apply(commit)
        after = self._stats()
        self._put(attrs.evolve(after, cursor=before.cursor))
        self._io()
        self._put(after)
        return result


class CursorThenStats(OpenStats):
    """Writes the cursor in one transaction and the numbers in the next."""

    def commit(self, commit: Commit, /) -> CommitResult:
        before = self._stats()
        result = self._apply(commit)
        after = self._stats()
        self._put(attrs.evolve(before, cursor=after.cursor))
        self._io()
        self._put(after)
        return result


class SkillBySkill(OpenStats):
    """Writes skill after skill, each in a transaction of its own, and the cursor last."""

    def commit(self, commit: Commit, /) -> CommitResult:
        before = self._stats()
        result = self._apply(commit)
        after = self._stats()
        for skill in sorted(result.changed):
            self._put(before)
            self._io()
            before = attrs.evolve(before, totals={**before.totals, skill: after.totals[skill]})
        self._put(after)
        return result


class StaleAbsolutes(OpenStats):
    """Reads the rows, adds in the program, and writes sums over what is there by then."""

    def commit(self, commit: Commit, /) -> CommitResult:
        read = self._stats()
        if read.cursor != commit.expected:
            raise CursorConflictError(self._projection.name)
        self._io()
        with self._database._lock:
            now = self._stats()
            self._put(read)
            result = self._apply(commit)
            added = self._stats()
            self._put(
                Stats(
                    added.cursor,
                    _over(now.totals, read.totals, added.totals),
                    {
                        each: _over(rows, read.rollups[each], added.rollups[each])
                        for each, rows in now.rollups.items()
                    },
                )
            )
            return result


def _over(
    now: Mapping[K, Counters], read: Mapping[K, Counters], added: Mapping[K, Counters]
) -> Mapping[K, Counters]:
    """Return the rows of now, with those that were added to since they were read."""
    return {**now, **{key: row for key, row in added.items() if row != read.get(key)}}


class LosesTheLastCommit(OpenStats):
    """Shows a commit at once, and has it on the disk with the client's next call."""

    _before: Stats | None = None
    _last: Stats | None = None

    def cursor(self) -> Cursor:
        self._last = None
        return super().cursor()

    def commit(self, commit: Commit, /) -> CommitResult:
        self._before = self._stats()
        result = super().commit(commit)
        self._last = self._stats()
        return result

    def crash(self) -> None:
        """Lose what is not on the disk, unless somebody has built on it."""
        if self._before is not None and self._stats() is self._last:
            self._put(self._before)


class TwoSnapshots(OpenStats):
    """Reads the cursor, and then the totals that it has come to by then."""

    def totals(self, skill_ids: Iterable[str] | None = None, /) -> Totals:
        cursor = self.cursor()
        self._io()
        return attrs.evolve(super().totals(skill_ids), cursor=cursor)


def _with_crashes() -> AnyHarness:
    """Return a harness whose clients end by a crash of their machine."""
    harness = with_stats(LosesTheLastCommit)

    @contextmanager
    def client(database: MemoryDatabase, setting: Setting) -> Iterator[Client]:
        opened = harness.client(database, setting)
        assert isinstance(opened, AbstractContextManager)
        with opened as stores:
            try:
                yield stores
            finally:
                cast(LosesTheLastCommit, stores.stats).crash()  # or what shows less of it

    return attrs.evolve(harness, client=client)


STORES = (
    BrokenStore(
        name="stats, then cursor",
        mistake="The numbers are written first, so that nothing can be lost. A worker that dies"
        " before it has moved the cursor leaves events that count again.",
        reported=("apache/kafka#5421", "apache/kafka#8886", "airbytehq/airbyte#44369"),
        row="A2",
        breaks=("atomic", "compare_and_set"),
        killer="CRASH-03",
        remedy="write numbers and cursor in one transaction",
        harness=with_stats_and_io(StatsThenCursor),
    ),
    BrokenStore(
        name="cursor, then stats",
        mistake="The cursor is written first, so that nothing can count twice. A worker that"
        " dies before it has written the numbers leaves events that never count.",
        reported=("kurrent-io/KurrentDB#1301", "JasperFx/marten#1845"),
        row="A1",
        breaks=("atomic", "compare_and_set"),
        killer="CRASH-03",
        remedy="write numbers and cursor in one transaction",
        harness=with_stats_and_io(CursorThenStats),
    ),
    BrokenStore(
        name="skill by skill",
        mistake="Each skill is a document, and each document a transaction: of a page that was"
        " left in the middle the first skills have counted.",
        reported=("NuGet/NuGet.Services.Metadata#150",),
        row="A5",
        breaks=("atomic", "compare_and_set"),
        killer="CRASH-05",
        remedy="write the whole page in one transaction, or give each skill a cursor of its own",
        harness=with_stats_and_io(SkillBySkill),
    ),
    BrokenStore(
        name="stale absolute sums",
        mistake="Rows are read, added to in the program and written back: what was added in"
        " between is overwritten.",
        reported=("mastra-ai/mastra#23118",),
        row="C6",
        breaks=(
            "compare_and_set",
            "atomic",
            "expired",
            "forgotten",
            "one_snapshot",
            "only_real_changes",
            "quarantined",
        ),
        killer="FENCE-06",
        remedy="read, compare and write in one transaction that holds the write lock, or let the"
        " database add (SET n = n + ?)",
        harness=with_stats_and_io(StaleAbsolutes),
    ),
    BrokenStore(
        name="loses the last commit",
        mistake="A commit is acknowledged when others can see it, and becomes durable a moment"
        " later (an asynchronous replica, a log that is not flushed).",
        reported=("redis.io/docs: replication is asynchronous",),
        row="A6, F23",
        breaks=("atomic",),
        killer="CRASH-06",
        remedy="return from commit when the change would survive the end of the machine",
        harness=_with_crashes(),
    ),
    BrokenStore(
        name="totals and cursor from two snapshots",
        mistake="Cursor and totals are two queries. What is committed between them is in the"
        " totals, and not up to the cursor that comes with them.",
        reported=("JasperFx/marten#4977",),
        row="V6",
        breaks=("one_snapshot",),
        killer="SNAP-01",
        remedy="read both in one statement, or in one transaction that reads one snapshot",
        harness=with_stats_and_io(TwoSnapshots),
    ),
)

"""Stats that build numbers anew, and mix them up with those that serve, or with each other."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import attrs

from skillstat_agg._buckets import Granularity
from skillstat_agg._commits import Commit, CommitResult, Cursor
from skillstat_agg._generations import check_building
from skillstat_agg._projections import Projection
from skillstat_agg._stores import Expired, Rollups, Totals
from skillstat_agg.backends.memory import MemoryDatabase, MemoryStatsStore
from skillstat_agg.backends.memory._database import Stats
from skillstat_agg.testing._harness import Setting
from skillstat_agg.testing.gallery._frame import BrokenStore, broken
from skillstat_agg.testing.gallery._stats_steps import OpenStats, with_stats

NO_REPORT = ("no public report was found",)


class Begins(OpenStats):
    """Begins to build with something that is not right."""

    def building(self, name: str, /) -> MemoryStatsStore:
        with self._database._lock:
            is_new = self._key_of(name) not in self._database._stats
            store = super().building(name)
            if is_new and name:
                self._database._stats[self._key_of(name)] = self.begun(store._stats())
            return store

    def begun(self, stats: Stats) -> Stats:
        """Return what it begins with."""
        raise NotImplementedError


class KeepsCounters(Begins):
    """Resets the cursor, and keeps the numbers."""

    def begun(self, stats: Stats) -> Stats:
        serving = self._serving()
        controls = serving.cursor.controls
        return attrs.evolve(serving, cursor=attrs.evolve(stats.cursor, controls=controls))


class KeepsCursor(Begins):
    """Clears the numbers, and goes on where the cursor stands."""

    def begun(self, stats: Stats) -> Stats:
        cursor = self._serving().cursor
        return attrs.evolve(
            stats,
            cursor=attrs.evolve(
                stats.cursor, place=cursor.place, count=cursor.count, checksum=cursor.checksum
            ),
        )


class BeginsWithTheStoredTable(Begins):
    """Makes the new numbers with the table that the serving ones were made with."""

    def begun(self, stats: Stats) -> Stats:
        stored = Projection.from_table(self._serving().cursor.table)
        cursor = Cursor.start(stored, stats.cursor.updated_at)
        return Stats(
            attrs.evolve(stats.cursor, table=cursor.table, controls=cursor.controls),
            {},
            {each: {} for each in stored.granularities},
        )


class RepeatsGenerations(Begins):
    """Gives the numbers that are built the number of those that serve."""

    def begun(self, stats: Stats) -> Stats:
        generation = self._serving().cursor.generation
        return attrs.evolve(stats, cursor=attrs.evolve(stats.cursor, generation=generation))


class RepeatsRecords(Begins):
    """Begins each time with the same record."""

    def begun(self, stats: Stats) -> Stats:
        return attrs.evolve(stats, cursor=attrs.evolve(stats.cursor, revision=0))


class SharesCursor(OpenStats):
    """Folds anew into the numbers that serve, from the beginning on."""

    def building(self, name: str, /) -> MemoryStatsStore:
        store = super().building(name)
        begun = store._stats().cursor
        serving = self._serving()
        if serving.cursor.building != name:
            cursor = attrs.evolve(begun, building=name, controls=serving.cursor.controls)
            self._put(attrs.evolve(serving, cursor=cursor))
        return self


class ShowsWhatIsBuilt(OpenStats):
    """Shows people the newest numbers, which are those that are built."""

    def totals(self, skill_ids: Iterable[str] | None = None, /) -> Totals:
        return MemoryStatsStore.totals(self._newest(), skill_ids)

    def rollups(
        self,
        skill_id: str,
        granularity: Granularity,
        /,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Rollups:
        return MemoryStatsStore.rollups(
            self._newest(), skill_id, granularity, since=since, until=until
        )

    def _newest(self) -> MemoryStatsStore:
        name = self._projection.name
        built = [
            stats.cursor
            for stats in self._database._stats.values()
            if stats.cursor.projection == name and stats.cursor.building
        ]
        return super().building(built[-1].building) if built else self


class BeginsAnew(OpenStats):
    """Begins anew with every start."""

    def building(self, name: str, /) -> MemoryStatsStore:
        super().building(name)  # refuses what is no name
        self.discard(name)
        return super().building(name)


class OneForAll(OpenStats):
    """Builds under a name, whatever the projection."""

    def _key_of(self, building: str) -> str:
        return f"/{building}"


class DiscardsAll(OpenStats):
    """Drops whatever is built, when something is."""

    def discard(self, name: str, /) -> bool:
        is_there = super().discard(name)
        prefix = self._key_of("")
        for key in list(self._database._stats):
            if key.startswith(prefix):
                del self._database._stats[key]
        return is_there


class DiscardsNothing(OpenStats):
    """Says that it has dropped something, and leaves it for a clean-up that never comes."""

    def discard(self, name: str, /) -> bool:
        check_building(name)
        return self._key_of(name) in self._database._stats


class _WithLeftovers(MemoryDatabase):
    """A database in which rows may be left without their record."""

    def __init__(self) -> None:
        super().__init__()
        self.left: dict[str, Stats] = {}


class DiscardsInTwoSteps(OpenStats):
    """Drops the record first, and the rows in another transaction."""

    _database: _WithLeftovers

    def discard(self, name: str, /) -> bool:
        key = self._key_of(name)
        stats = self._database._stats.get(key)
        if super().discard(name) and stats is not None:
            self._database.left[key] = stats
            self._io()
            self._database.left.pop(key, None)
        return stats is not None

    def building(self, name: str, /) -> MemoryStatsStore:
        store = super().building(name)
        left = self._database.left.pop(self._key_of(name), None)
        if left is not None:
            cursor = attrs.evolve(store._stats().cursor, controls=left.cursor.controls)
            self._database._stats[self._key_of(name)] = attrs.evolve(left, cursor=cursor)
        return store


def _two_steps(database: _WithLeftovers, setting: Setting) -> DiscardsInTwoSteps:
    return DiscardsInTwoSteps(setting.projection, database, clock=setting.clock, io=setting.io)


class ForgetsWhatServes(OpenStats):
    """Forgets a skill in the numbers that serve, and not in those that are built."""

    def forget(self, skill_id: str, /) -> bool:
        before = dict(self._database._stats)
        forgotten = super().forget(skill_id)
        for key, stats in before.items():
            if stats.cursor.building:
                self._database._stats[key] = stats
        return forgotten


class ExpiresWhatServes(OpenStats):
    """Lets rollups expire that serve, and not those that are built."""

    def expire(self, granularity: Granularity, first: int, /, *, limit: int) -> Expired:
        before = dict(self._database._stats)
        expired = super().expire(granularity, first, limit=limit)
        for key, stats in before.items():
            if stats.cursor.building:
                self._database._stats[key] = stats
        return expired


class ComparesWhatServes(OpenStats):
    """Compares before a commit to what serves; what is built has one worker, it is thought."""

    def commit(self, commit: Commit, /) -> CommitResult:
        if self._building and commit.expected != self._stats().cursor:
            commit = attrs.evolve(commit, expected=self._stats().cursor)
        return super().commit(commit)


class TakesAnyName(OpenStats):
    """Takes whatever it is given for a name."""

    def building(self, name: str, /) -> MemoryStatsStore:
        return super().building(name if name.replace("-", "").isidentifier() else "other")


def _store(name: str, kind: type[OpenStats], **said: Any) -> BrokenStore:
    return BrokenStore(name=name, harness=with_stats(kind, further=True), **said)


STORES = (
    _store(
        "rebuild keeps the counters",
        KeepsCounters,
        mistake="The cursor is set back to the beginning, and the counters stay as they were: each"
        " event counts twice.",
        reported=("kurrent-io/KurrentDB#1517", "event-driven-io/emmett#225"),
        row="L2",
        breaks=("building", "swap", "differences"),
        killer="REBUILD-01",
        remedy="begin with no rows and a cursor at the start, in one transaction",
    ),
    _store(
        "rebuild keeps the cursor",
        KeepsCursor,
        mistake="The counters are cleared, and the cursor stays where it was: what it has passed"
        " is lost.",
        reported=("kurrent-io/KurrentDB#1517",),
        row="L2",
        breaks=("building", "swap", "differences"),
        killer="REBUILD-08",
        remedy="begin with no rows and a cursor at the start, in one transaction",
    ),
    _store(
        "rebuild with the old table",
        BeginsWithTheStoredTable,
        mistake="The table comes from the database, where the old one is stored: a changed one is"
        " never taken.",
        reported=NO_REPORT,
        row="P14",
        breaks=("swap",),
        killer="REBUILD-05",
        remedy="build with the table that the program has",
    ),
    _store(
        "generation number given twice",
        RepeatsGenerations,
        mistake="What is built bears the number of what serves, so nobody can tell whether a swap"
        " has been.",
        reported=NO_REPORT,
        row="C10",
        breaks=("building", "swap"),
        killer="REBUILD-08",
        remedy="give it a number above all that the projection has",
    ),
    _store(
        "first record of a rebuild is always the same",
        RepeatsRecords,
        mistake="A commit that was prepared for numbers which were discarded fits those that were"
        " begun afterwards.",
        reported=NO_REPORT,
        row="C10",
        breaks=("building",),
        killer="REBUILD-08",
        remedy="draw the first revision: begin_building() does",
    ),
    _store(
        "rebuild in place",
        SharesCursor,
        mistake="The log is folded again into the numbers that people see: they are wrong until it"
        " is through, and a worker beside it folds on from the middle.",
        reported=("haonan-c/azhen#81", "JasperFx/marten#4977"),
        row="L1, V9",
        breaks=("building", "swap", "differences", "documented"),
        killer="REBUILD-08",
        remedy="build beside what serves, with a record of its own",
    ),
    _store(
        "what is built is shown",
        ShowsWhatIsBuilt,
        mistake="The newest rows are shown, and those are the ones that are still being built:"
        " numbers fall to zero and grow again.",
        reported=("haonan-c/azhen#81",),
        row="L1",
        breaks=("building", "swap", "documented"),
        killer="REBUILD-08",
        remedy="show what serves until the swap",
    ),
    _store(
        "rebuild begins anew with every start",
        BeginsAnew,
        mistake="Each start clears what is there: one that was killed has done nothing, and two at"
        " once never come to an end.",
        reported=NO_REPORT,
        row="L1",
        breaks=("building",),
        killer="REBUILD-03",
        remedy="join what is there under the name",
    ),
    _store(
        "one rebuild for all projections",
        OneForAll,
        mistake="What is built is kept under its name alone, and two projections fold into it.",
        reported=NO_REPORT,
        row="B3",
        breaks=("building",),
        killer="REBUILD-10",
        remedy="keep it by projection and name",
    ),
    _store(
        "discard drops everything that is built",
        DiscardsAll,
        mistake="The end of a verify drops what a rebuild beside it has built for hours.",
        reported=NO_REPORT,
        row="L1",
        breaks=("building",),
        killer="REBUILD-10",
        remedy="drop what bears the name, and nothing else",
    ),
    _store(
        "discard drops nothing",
        DiscardsNothing,
        mistake="Tables are left for a clean-up that never comes, and the next start takes them"
        " for its own.",
        reported=NO_REPORT,
        row="L1",
        breaks=("building", "swap", "differences", "documented"),
        killer="VERIFY-09",
        remedy="drop rows and record in one transaction",
    ),
    BrokenStore(
        name="discard in two steps",
        harness=broken(database=_WithLeftovers, stats=_two_steps, io=True, further=True),
        mistake="The record goes first, and the rows afterwards: one that dies in between leaves"
        " them to those who begin next.",
        reported=NO_REPORT,
        row="L2",
        breaks=("building",),
        killer="VERIFY-12",
        remedy="drop rows and record in one transaction",
    ),
    _store(
        "forget misses what is built",
        ForgetsWhatServes,
        mistake="The skill goes from the numbers that serve, and comes back with the swap.",
        reported=("openclaw/clawhub#2941",),
        row="L9, L1",
        breaks=("building", "swap", "differences"),
        killer="REBUILD-07",
        remedy="forget a skill in every set of numbers, and raise the revision of each",
    ),
    _store(
        "expiry misses what is built",
        ExpiresWhatServes,
        mistake="Old rollups go from the numbers that serve, and come back with the swap.",
        reported=NO_REPORT,
        row="L1",
        breaks=("building",),
        killer="REBUILD-18",
        remedy="expire in every set of numbers, and raise the revision of each",
    ),
    _store(
        "what is built is not compared",
        ComparesWhatServes,
        mistake="A rebuild is thought to have one worker: a second start counts the same page once"
        " more.",
        reported=("JasperFx/marten#4977",),
        row="C1",
        breaks=("building", "swap"),
        killer="REBUILD-12",
        remedy="compare the whole record before every commit",
    ),
    _store(
        "any name will do",
        TakesAnyName,
        mistake="A name that no database could hold, or none at all, is made into another one.",
        reported=NO_REPORT,
        row="P11",
        breaks=("documented",),
        killer="REBUILD-11",
        remedy="refuse what is no text of 1 to 1,000 bytes: check_building() does",
    ),
)

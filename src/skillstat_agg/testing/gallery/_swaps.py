"""Stats that put what was built in its place wrongly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import attrs

from skillstat_agg._commits import Cursor
from skillstat_agg._generations import swapped
from skillstat_agg.backends.memory._database import Stats
from skillstat_agg.testing.gallery._building import NO_REPORT
from skillstat_agg.testing.gallery._frame import BrokenStore
from skillstat_agg.testing.gallery._stats_steps import OpenStats, with_stats, with_stats_and_io

Key = TypeVar("Key")
Row = TypeVar("Row")


class SwapsInTwoSteps(OpenStats):
    """Puts the rows in their place, and the record in another transaction."""

    def swap(self, name: str, /) -> Cursor:
        built, serving = self._built(name), self._serving()
        cursor = swapped(serving.cursor, built.cursor, self._clock())
        rows = attrs.evolve(built, cursor=serving.cursor)
        self._database._stats[self._projection.name] = rows
        self._io()
        self._database._stats[self._projection.name] = attrs.evolve(built, cursor=cursor)
        self.discard(name)
        return cursor


class SwapsWithoutCompare(OpenStats):
    """Looks whether it may swap, and swaps in another transaction."""

    def swap(self, name: str, /) -> Cursor:
        built = self._built(name)
        cursor = swapped(self._serving().cursor, built.cursor, self._clock())
        self._io()
        self._database._stats[self._projection.name] = attrs.evolve(built, cursor=cursor)
        self.discard(name)
        return cursor


class _Swaps(OpenStats):
    """Swaps in one transaction, with something that is not right."""

    def swap(self, name: str, /) -> Cursor:
        with self._database._lock:
            serving, built = self._serving(), self._built(name)
            cursor = super().swap(name)
            stats = self.made(serving, built, cursor)
            self._database._stats[self._projection.name] = stats
            return stats.cursor

    def made(self, serving: Stats, built: Stats, cursor: Cursor) -> Stats:
        """Return what serves afterwards."""
        raise NotImplementedError


class GoesBack(OpenStats):
    """Swaps wherever both stand."""

    def swap(self, name: str, /) -> Cursor:
        with self._database._lock:
            built, serving = self._built(name), self._serving().cursor
            at_the_start = attrs.evolve(serving, place=None)
            cursor = swapped(at_the_start, built.cursor, self._clock())
            self._database._stats[self._projection.name] = attrs.evolve(built, cursor=cursor)
            self.discard(name)
            return cursor


class KeepsRowsThatAreGone(_Swaps):
    """Writes every row that was built, and deletes none."""

    def made(self, serving: Stats, built: Stats, cursor: Cursor) -> Stats:
        totals = _over(serving.totals, built.totals)
        rollups = {
            each: _over(serving.rollups.get(each, {}), rows) for each, rows in built.rollups.items()
        }
        return Stats(cursor, totals, rollups, built.parked)


class KeepsTheRecord(_Swaps):
    """Exchanges the rows, and not the record that says up to where they count."""

    def made(self, serving: Stats, built: Stats, cursor: Cursor) -> Stats:
        return attrs.evolve(built, cursor=attrs.evolve(serving.cursor, table=built.cursor.table))


class KeepsTheQuarantine(_Swaps):
    """Exchanges the rows, and not what lies in quarantine."""

    def made(self, serving: Stats, built: Stats, cursor: Cursor) -> Stats:
        return attrs.evolve(built, cursor=cursor, parked=serving.parked)


class KeepsTheRevision(_Swaps):
    """Leaves the number that says that something changed."""

    def made(self, serving: Stats, built: Stats, cursor: Cursor) -> Stats:
        revision = serving.cursor.revision
        return attrs.evolve(built, cursor=attrs.evolve(cursor, revision=revision))


class LeavesWhatWasBuilt(OpenStats):
    """Copies what was built, and leaves it there."""

    def swap(self, name: str, /) -> Cursor:
        with self._database._lock:
            built = self._built(name)
            cursor = super().swap(name)
            self._database._stats[self._key_of(name)] = built
            return cursor


def _over(before: Mapping[Key, Row], after: Mapping[Key, Row]) -> Mapping[Key, Row]:
    return {**before, **after}


STORES = (
    BrokenStore(
        name="swap in two steps",
        mistake="Rows and record are exchanged one after the other: whoever looks, folds or dies in"
        " between counts twice, or not at all.",
        reported=("kurrent-io/KurrentDB#1517",),
        row="L2",
        breaks=("swap",),
        killer="REBUILD-14",
        remedy="exchange rows and record in one transaction",
        harness=with_stats_and_io(SwapsInTwoSteps, further=True),
    ),
    BrokenStore(
        name="swap without a compare",
        mistake="Whether the new numbers have caught up is asked first, and they are put in place"
        " afterwards: what a worker has folded in between is taken back.",
        reported=("haonan-c/azhen#81",),
        row="L1",
        breaks=("swap",),
        killer="REBUILD-16",
        remedy="ask and exchange in one transaction that locks the serving record",
        harness=with_stats_and_io(SwapsWithoutCompare, further=True),
    ),
    BrokenStore(
        name="swap that goes back",
        mistake="What was built is put in its place wherever it stands: people see numbers of long"
        " ago.",
        reported=("haonan-c/azhen#81",),
        row="L1",
        breaks=("swap",),
        killer="REBUILD-06",
        remedy="refuse it unless it stands at or after what serves: swapped() does",
        harness=with_stats(GoesBack, further=True),
    ),
    BrokenStore(
        name="swap keeps rows that are gone",
        mistake="The rows that were built are written over those that serve; what should not be"
        " there any more has no row to be written.",
        reported=NO_REPORT,
        row="L2",
        breaks=("swap",),
        killer="REBUILD-01",
        remedy="delete what was not built, in the same transaction",
        harness=with_stats(KeepsRowsThatAreGone, further=True),
    ),
    BrokenStore(
        name="swap keeps the record",
        mistake="The rows are exchanged, and the record stays: a commit from before the swap still"
        " fits, and the cursor stands elsewhere than the rows.",
        reported=("kurrent-io/KurrentDB#1517",),
        row="L2",
        breaks=("swap", "building"),
        killer="REBUILD-09",
        remedy="store the record that swapped() makes",
        harness=with_stats(KeepsTheRecord, further=True),
    ),
    BrokenStore(
        name="swap keeps the quarantine",
        mistake="What the new numbers could not count lies elsewhere than what the old ones could"
        " not, and stays there when the rows are exchanged.",
        reported=NO_REPORT,
        row="L2",
        breaks=("swap",),
        killer="REBUILD-17",
        remedy="exchange the quarantine in the transaction of the swap",
        harness=with_stats(KeepsTheQuarantine, further=True),
    ),
    BrokenStore(
        name="swap keeps the revision",
        mistake="The number that grows with every change does not grow with this one.",
        reported=NO_REPORT,
        row="C10",
        breaks=("swap",),
        killer="REBUILD-06",
        remedy="store the record that swapped() makes",
        harness=with_stats(KeepsTheRevision, further=True),
    ),
    BrokenStore(
        name="swap leaves what was built",
        mistake="What was built is copied and stays: the next rebuild takes it for one that was"
        " interrupted, and a loser is not told that it is over.",
        reported=NO_REPORT,
        row="L1",
        breaks=("swap", "building"),
        killer="REBUILD-01",
        remedy="drop it in the transaction of the swap",
        harness=with_stats(LeavesWhatWasBuilt, further=True),
    ),
)

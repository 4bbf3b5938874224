"""Stores that measure, add up or compare something else than they say."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import attrs

from skillstat_agg._events import Place
from skillstat_agg._generations import Comparison, Difference, Extent, Sums
from skillstat_agg.backends.memory import MemoryEventStore, MemoryStatsStore
from skillstat_agg.backends.memory._database import Stats
from skillstat_agg.testing.gallery._building import NO_REPORT
from skillstat_agg.testing.gallery._frame import BrokenStore, broken, events_of
from skillstat_agg.testing.gallery._stats_steps import OpenStats, with_stats, with_stats_and_io

# Extents


class MeasuresAll(MemoryEventStore):
    """Counts all that is there."""

    def extent(self, upto: Place, /) -> Extent:
        super().extent(upto)
        visible = self._database._visible
        last = visible[self._end_of_prefix() - 1]
        return super().extent(
            attrs.evolve(upto, position=last.position, fingerprint=last.fingerprint)
        )


class MeasuresBefore(MemoryEventStore):
    """Counts what stands before the place."""

    def extent(self, upto: Place, /) -> Extent:
        measured = super().extent(upto)
        return Extent(count=measured.count - 1, checksum=measured.checksum - upto.fingerprint)


class MeasuresAnyLog(MemoryEventStore):
    """Does not look whether the log is the one of the place."""

    def _check_same_log(self, place: Place | None) -> None:
        if self._is_measuring:
            return
        super()._check_same_log(place)

    _is_measuring: ClassVar[bool] = False

    def extent(self, upto: Place, /) -> Extent:
        type(self)._is_measuring = True
        try:
            return super().extent(upto)
        finally:
            type(self)._is_measuring = False


# Sums


class AddsFloats(OpenStats):
    """Adds up in floating point."""

    def sums(self) -> Sums:
        sums = super().sums()
        rough = {name: int(float(value)) for name, value in sums.controls.items()}
        return attrs.evolve(sums, controls=rough)


class AddsOneGranularity(OpenStats):
    """Adds up the totals and the days."""

    def sums(self) -> Sums:
        sums = super().sums()
        return attrs.evolve(
            sums,
            controls={
                name: 0 if name.startswith("hour.") else value
                for name, value in sums.controls.items()
            },
        )


class AddsInTwoSnapshots(OpenStats):
    """Reads the record, and adds up the rows afterwards."""

    def sums(self) -> Sums:
        cursor = self.cursor()
        self._io()
        return attrs.evolve(super().sums(), cursor=cursor)


# Comparisons


class _Finds(OpenStats):
    """Compares, and leaves something out, or adds something."""

    def differences(self, name: str, /, *, limit: int) -> Comparison:
        found = super().differences(name, limit=limit)
        return attrs.evolve(found, differences=tuple(self.found(found.differences)))

    def found(self, differences: Iterable[Difference]) -> Iterable[Difference]:
        """Return what is said to differ."""
        raise NotImplementedError


class MissesWhatIsLost(OpenStats):
    """Goes through the rows that serve."""

    def differences(self, name: str, /, *, limit: int) -> Comparison:
        super().differences(name, limit=limit)  # refuses what is no limit
        serving = self._serving()
        every = super().differences(name, limit=1_000_000)
        found = [
            one
            for one in every.differences
            if one.skill_id is None or one.skill_id in serving.totals
        ]
        return attrs.evolve(
            every, differences=tuple(found[:limit]), is_complete=len(found) <= limit
        )


class MissesWhatIsInvented(OpenStats):
    """Goes through the rows that were built."""

    def differences(self, name: str, /, *, limit: int) -> Comparison:
        super().differences(name, limit=limit)  # refuses what is no limit
        built = self._built(name)
        every = super().differences(name, limit=1_000_000)
        found = [
            one for one in every.differences if one.skill_id is None or one.skill_id in built.totals
        ]
        return attrs.evolve(
            every, differences=tuple(found[:limit]), is_complete=len(found) <= limit
        )


class ComparesTotals(_Finds):
    """Compares the totals, and no rollups."""

    def found(self, differences: Iterable[Difference]) -> Iterable[Difference]:
        return [one for one in differences if one.start is None]


class ExchangesSides(_Finds):
    """Takes what serves for what should be."""

    def found(self, differences: Iterable[Difference]) -> Iterable[Difference]:
        return [attrs.evolve(one, expected=one.actual, actual=one.expected) for one in differences]


class ComparesRowsOfZeros(OpenStats):
    """Takes a row of zeros for something else than no row."""

    def differences(self, name: str, /, *, limit: int) -> Comparison:
        found = super().differences(name, limit=limit)
        serving, built = self._serving(), self._built(name)
        more = [
            Difference(
                name=f"{each.value}.{next(iter(row))}", skill_id=key[1], expected=None, actual=0
            )
            for each, rows in serving.rollups.items()
            for key, row in rows.items()
            if not any(row.values()) and key not in built.rollups.get(each, {})
        ]
        return attrs.evolve(found, differences=(*found.differences, *more)[:limit])


class ListsEverything(OpenStats):
    """Lists whatever differs, however much that is."""

    def differences(self, name: str, /, *, limit: int) -> Comparison:
        super().differences(name, limit=limit)  # refuses a limit that is none
        return super().differences(name, limit=1_000_000)


class SaysThatIsAll(OpenStats):
    """Says of what it lists that it is all."""

    def differences(self, name: str, /, *, limit: int) -> Comparison:
        return attrs.evolve(super().differences(name, limit=limit), is_complete=True)


class ComparesInTwoSnapshots(OpenStats):
    """Compares the rows, and reads the records afterwards."""

    def differences(self, name: str, /, *, limit: int) -> Comparison:
        found = super().differences(name, limit=limit)
        self._io()
        return attrs.evolve(
            found, serving=self._serving().cursor, building=self._built(name).cursor
        )


class ComparesWhatServed(OpenStats):
    """Compares with the rows that served when the new ones were begun."""

    _kept: Stats | None = None

    def building(self, name: str, /) -> MemoryStatsStore:
        self._kept = self._serving()
        return super().building(name)

    def differences(self, name: str, /, *, limit: int) -> Comparison:
        now = self._serving()
        kept = now if self._kept is None else attrs.evolve(self._kept, cursor=now.cursor)
        self._database._stats[self._projection.name] = kept
        try:
            return super().differences(name, limit=limit)
        finally:
            self._database._stats[self._projection.name] = now


STORES = (
    BrokenStore(
        name="measures the whole log",
        mistake="What was appended after the cursor's place is counted, too: a worker that lags"
        " looks like one that has lost events.",
        reported=("proteanhq/protean#1088",),
        row="R7",
        breaks=("same_extent",),
        killer="VERIFY-01",
        remedy="count up to the place, that one included",
        harness=broken(events=events_of(MeasuresAll), further=True),
    ),
    BrokenStore(
        name="measures without the last event",
        mistake="The place is taken for an end that does not belong to what is counted.",
        reported=NO_REPORT,
        row="N10",
        breaks=("same_extent",),
        killer="VERIFY-01",
        remedy="count up to the place, that one included",
        harness=broken(events=events_of(MeasuresBefore), further=True),
    ),
    BrokenStore(
        name="measures any log",
        mistake="Whether the log is the one of the cursor is left to those who read it; a log that"
        " was exchanged is measured as if it were the same.",
        reported=("liquidprojections/LiquidProjections#60",),
        row="L10",
        breaks=("same_extent",),
        killer="VERIFY-02",
        remedy="check epoch and fingerprint in the same snapshot, as read does",
        harness=broken(events=events_of(MeasuresAnyLog), further=True),
    ),
    BrokenStore(
        name="sums in floating point",
        mistake="Sums beyond 53 bits lose their last digits, so right numbers look wrong.",
        reported=NO_REPORT,
        row="N2, N12",
        breaks=("true_sums",),
        killer="VERIFY-03",
        remedy="add up in integers; in halves where the database has 64 bits",
        harness=with_stats(AddsFloats, further=True),
    ),
    BrokenStore(
        name="sums without the hours",
        mistake="The table that was added last is not thought of.",
        reported=NO_REPORT,
        row="P14",
        breaks=("true_sums",),
        killer="VERIFY-03",
        remedy="add up every table of the projection",
        harness=with_stats(AddsOneGranularity, further=True),
    ),
    BrokenStore(
        name="sums and record of two moments",
        mistake="The record is read, then the rows are added up: what was folded in between looks"
        " like a difference.",
        reported=NO_REPORT,
        row="A11",
        breaks=("true_sums",),
        killer="VERIFY-11",
        remedy="read both in one snapshot",
        harness=with_stats_and_io(AddsInTwoSnapshots, further=True),
    ),
    BrokenStore(
        name="comparison misses what is lost",
        mistake="Each row that serves is compared; one that should be there and is not has no row.",
        reported=NO_REPORT,
        row="P14",
        breaks=("differences",),
        killer="VERIFY-05",
        remedy="join from both sides",
        harness=with_stats(MissesWhatIsLost, further=True),
    ),
    BrokenStore(
        name="comparison misses what is invented",
        mistake="Each row that was built is compared; one that should not be there has none.",
        reported=NO_REPORT,
        row="P14",
        breaks=("differences",),
        killer="VERIFY-05",
        remedy="join from both sides",
        harness=with_stats(MissesWhatIsInvented, further=True),
    ),
    BrokenStore(
        name="comparison of totals only",
        mistake="Totals are compared, since rollups add up to them: not if one stands in another"
        " bucket.",
        reported=("openclaw/clawhub#194",),
        row="A11",
        breaks=("differences",),
        killer="VERIFY-05",
        remedy="compare every table",
        harness=with_stats(ComparesTotals, further=True),
    ),
    BrokenStore(
        name="comparison with its sides exchanged",
        mistake="What is wrong is said to be right: whoever repairs it by hand makes it worse.",
        reported=NO_REPORT,
        row="P14",
        breaks=("differences",),
        killer="VERIFY-05",
        remedy="expected is what was built, actual what serves",
        harness=with_stats(ExchangesSides, further=True),
    ),
    BrokenStore(
        name="comparison of rows of zeros",
        mistake="A rollup that came back to zero has a row or none, as its pages were cut; that is"
        " called a difference.",
        reported=NO_REPORT,
        row="A11",
        breaks=("differences",),
        killer="VERIFY-06",
        remedy="take a row of zeros for no row",
        harness=with_stats(ComparesRowsOfZeros, further=True),
    ),
    BrokenStore(
        name="comparison without a limit",
        mistake="Where everything differs everything is listed, and memory is full.",
        reported=NO_REPORT,
        row="O7",
        breaks=("differences",),
        killer="VERIFY-07",
        remedy="stop at the limit, in the database",
        harness=with_stats(ListsEverything, further=True),
    ),
    BrokenStore(
        name="comparison that says it is complete",
        mistake="The list ends at its limit, and nobody is told that more differs.",
        reported=NO_REPORT,
        row="R7",
        breaks=("differences",),
        killer="VERIFY-07",
        remedy="look for one more than was asked for",
        harness=with_stats(SaysThatIsAll, further=True),
    ),
    BrokenStore(
        name="comparison of two moments",
        mistake="Rows are compared, then the records are read: a commit in between makes right"
        " numbers look wrong, or wrong ones right.",
        reported=NO_REPORT,
        row="A11",
        breaks=("differences",),
        killer="VERIFY-10",
        remedy="read rows and both records in one snapshot",
        harness=with_stats_and_io(ComparesInTwoSnapshots, further=True),
    ),
    BrokenStore(
        name="comparison with what served before",
        mistake="The rows are copied when the verify begins, and compared when it ends: what"
        " workers have folded meanwhile is said to be missing.",
        reported=NO_REPORT,
        row="A11",
        breaks=("differences",),
        killer="VERIFY-08",
        remedy="compare what serves when both stand at one place",
        harness=with_stats(ComparesWhatServed, further=True),
    ),
)

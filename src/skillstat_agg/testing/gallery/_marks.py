"""Stores in which something changes, and what should show it does not."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from zlib import crc32

import attrs

from skillstat_agg._commits import Commit, CommitResult
from skillstat_agg._events import Event
from skillstat_agg._stores import Appended, Counters
from skillstat_agg.backends.memory._database import Pending
from skillstat_agg.testing.gallery._frame import BrokenStore, broken, events_of
from skillstat_agg.testing.gallery._logs import Log
from skillstat_agg.testing.gallery._stats_steps import OpenStats, with_stats


class ContentMarks(Log):
    """The fingerprint of an event is a checksum of what was appended."""

    def _allocate(
        self, pending: Pending, events: Iterable[Event], max_ahead: timedelta
    ) -> Appended:
        appended = super()._allocate(pending, events, max_ahead)
        marks = [crc32(repr(row.event).encode()) for row in pending.events]
        pending.events[:] = [
            attrs.evolve(row, fingerprint=mark, checksum=mark)
            for row, mark in zip(pending.events, marks, strict=True)
        ]
        return appended


class ForgetsByItsTable(OpenStats):
    """Lowers the control totals of the counters that its own table has."""

    def forget(self, skill_id: str, /) -> bool:
        before = self.cursor().controls
        forgotten = super().forget(skill_id)
        stats = self._stats()
        controls = {
            name: value if name in self._projection.controls else before[name]
            for name, value in stats.cursor.controls.items()
        }
        self._put(attrs.evolve(stats, cursor=attrs.evolve(stats.cursor, controls=controls)))
        return forgotten


class ZeroSumIsNoChange(OpenStats):
    """Leaves a row as it is when the changes of its counters add up to zero."""

    def _sum(
        self,
        before: Counters,
        row: tuple[int, ...],
        names: tuple[str, ...],
        skill_id: str,
        prefix: str = "",
    ) -> Counters:
        if before and not sum(row):
            return before
        return super()._sum(before, row, names, skill_id, prefix)


class ChecksumsAsFloats(OpenStats):
    """Stores the checksum in double precision."""

    def commit(self, commit: Commit, /) -> CommitResult:
        result = super().commit(commit)
        return self._record(result, checksum=int(float(result.cursor.checksum)))


STORES = (
    BrokenStore(
        name="fingerprints of content",
        mistake="A fingerprint is made of the event. In a log that was restored, and written anew,"
        " an equal event in the old place is taken for the one that was folded.",
        reported=("no public report was found",),
        row="L10",
        breaks=("same_log",),
        killer="APPEND-17",
        remedy="draw 32 random bits for each event when it is stored",
        harness=broken(events=events_of(ContentMarks)),
    ),
    BrokenStore(
        name="forgets by its own table",
        mistake="A program deletes all rows of a skill, and lowers the control totals that it"
        " knows. During a deployment the old one forgets what the new one has counted.",
        reported=("no public report was found",),
        row="L9, A11",
        breaks=("forgotten",),
        killer="FORGET-11",
        remedy="lower every control total that is stored, whatever the table of the program",
        harness=with_stats(ForgetsByItsTable),
    ),
    BrokenStore(
        name="zero sum is no change",
        mistake="Whether a row changes is judged by the sum of its changes: one more download and"
        " one star less are nothing.",
        reported=("no public report was found",),
        row="P1",
        breaks=("exact",),
        killer="IDLE-05",
        remedy="a row is unchanged when each of its changes is zero",
        harness=with_stats(ZeroSumIsNoChange),
    ),
    BrokenStore(
        name="checksum in a double",
        mistake="The checksum of the record is stored as a number of JSON, or in a REAL column. It"
        " is right up to 2^53, for some four million events; then its last digits are lost, and"
        " no audit can tell any more.",
        reported=("enviodev/hyperindex#1031", "DonaldMurillo/gofastr#382"),
        row="N2",
        breaks=("exact",),
        killer="NUM-06",
        remedy="store count and checksum as integers of 64 bits; in JSON, as text",
        harness=with_stats(ChecksumsAsFloats),
    ),
)

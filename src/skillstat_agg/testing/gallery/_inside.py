"""Calls in whose middle others can move, where what was read is taken for what is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import attrs

from skillstat_agg._buckets import Granularity
from skillstat_agg._commits import Commit, CommitResult
from skillstat_agg._events import Event, RecordedEvent, checked_skill_ids
from skillstat_agg._stores import DAY_AHEAD, Appended, Rollups, Totals
from skillstat_agg.backends.memory import MemoryDatabase, MemoryStatsStore
from skillstat_agg.backends.memory._database import Pending
from skillstat_agg.testing._harness import Setting
from skillstat_agg.testing.gallery._frame import BrokenStore, broken
from skillstat_agg.testing.gallery._logs import NumberedLog
from skillstat_agg.testing.gallery._stats_steps import OpenStats, with_stats_and_io


class _Stopping(NumberedLog):
    """A log in the middle of whose appends others can move; by itself it keeps every law."""

    def __init__(self, database: MemoryDatabase, setting: Setting) -> None:
        super().__init__(database, clock=setting.clock)
        self._io = setting.io


class LooksUpThenInserts(_Stopping):
    """Looks the ids of a call up in one transaction, and inserts its events in the next."""

    def append(self, events: Iterable[Event], /, *, max_ahead: timedelta = DAY_AHEAD) -> Appended:
        given = tuple(events)
        known = dict(self._database._digests)
        self._io()
        with self._database._lock:
            stored = self._database._digests
            self._database._digests = known
            try:
                return super().append(given, max_ahead=max_ahead)
            finally:
                self._database._digests = {**stored, **known}


class PutsAtNextNumber(_Stopping):
    """Reads the last number, and puts the events at the next ones, whatever stands there."""

    def append(self, events: Iterable[Event], /, *, max_ahead: timedelta = DAY_AHEAD) -> Appended:
        given = tuple(events)
        last = self._database._last
        self._io()
        with self._database._lock:
            drawn = self._database._last
            self._database._last = last
            try:
                return super().append(given, max_ahead=max_ahead)
            finally:
                self._database._last = max(drawn, self._database._last)

    def _finish(
        self, pending: Pending, events: Sequence[RecordedEvent], ids: Mapping[str, bytes]
    ) -> None:
        taken = {row.position for row in events}
        rows = self._database._visible
        rows[:] = [row for row in rows if row.position not in taken]
        super()._finish(pending, events, ids)


class SendsAgain(OpenStats):
    """Sends a commit again when its answer is lost, without comparing: that was done before."""

    def commit(self, commit: Commit, /) -> CommitResult:
        self._io()
        try:
            result = self._apply(commit)
            self._io()
        except ConnectionError:
            return self._apply(attrs.evolve(commit, expected=self.cursor()))
        return result


class WritesStatsBack(OpenStats):
    """Reads the stats, takes the skill out of them, and writes them back."""

    def forget(self, skill_id: str, /) -> bool:
        read = dict(self._database._stats)
        self._io()
        with self._database._lock:
            self._database._stats.update(read)
            return MemoryStatsStore.forget(self, skill_id)


class WritesCursorsBack(OpenStats):
    """Reads the cursor records, deletes the rows of the skill, and writes the records back."""

    def forget(self, skill_id: str, /) -> bool:
        read = {name: stats.cursor for name, stats in self._database._stats.items()}
        self._io()
        with self._database._lock:
            for name, cursor in read.items():
                stats = self._database._stats[name]
                self._database._stats[name] = attrs.evolve(stats, cursor=cursor)
            return MemoryStatsStore.forget(self, skill_id)


class WritesForgottenBack(OpenStats):
    """Reads the list of forgotten skills, adds one, and writes it back."""

    def forget(self, skill_id: str, /) -> bool:
        read = self._database._forgotten
        self._io()
        with self._database._lock:
            self._database._forgotten = read
            return MemoryStatsStore.forget(self, skill_id)


class RollupsAfterCursor(OpenStats):
    """Reads the cursor, and then the rollups that it has come to by then."""

    def rollups(
        self,
        skill_id: str,
        granularity: Granularity,
        /,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Rollups:
        cursor = self.cursor()
        rollups = super().rollups(skill_id, granularity, since=since, until=until)
        return attrs.evolve(rollups, cursor=cursor)


class TotalsInParts(OpenStats):
    """Looks up 100 totals at a time, each time in a snapshot of its own."""

    AT_ONCE = 100

    def totals(self, skill_ids: Iterable[str] | None = None, /) -> Totals:
        if skill_ids is None:
            return super().totals()
        wanted = checked_skill_ids(skill_ids)
        totals = super().totals(wanted[: self.AT_ONCE])
        for first in range(self.AT_ONCE, len(wanted), self.AT_ONCE):
            part = super().totals(wanted[first : first + self.AT_ONCE])
            totals = Totals(totals.cursor, {**totals, **part})
        return totals


STORES = (
    BrokenStore(
        name="look-up and insert in two transactions",
        mistake="The ids of a call are looked up first, to write as little as possible under a"
        " lock. Of two calls that send one event at once both find nothing, and both insert it.",
        reported=("kurrent-io/KurrentDB#2274",),
        row="E2",
        breaks=("append_once",),
        killer="APPEND-15",
        remedy="look up and insert in one transaction that holds the write lock, or put the id"
        " under a unique constraint",
        harness=broken(events=LooksUpThenInserts, io=True),
    ),
    BrokenStore(
        name="puts at the next number",
        mistake="The number of the last event is read, and the next object, or key, is written"
        " without asking whether it is there. Of two appends at once the later one replaces the"
        " other.",
        reported=("no public report was found",),
        row="C6",
        breaks=("append_once",),
        killer="APPEND-15",
        remedy="create the next number only if it is absent (If-None-Match, attribute_not_exists),"
        " and begin anew where it was there",
        harness=broken(events=PutsAtNextNumber, io=True),
    ),
    BrokenStore(
        name="sends a commit again",
        mistake="A commit whose answer is lost is sent a second time by the store, as it is: it was"
        " compared already. If only the answer was lost, it counts twice.",
        reported=("awslabs/amazon-kinesis-client#108",),
        row="A4",
        breaks=("atomic", "compare_and_set"),
        killer="CRASH-07",
        remedy="raise the error: the worker reads the record again, and sees whether it has landed",
        harness=with_stats_and_io(SendsAgain),
    ),
    BrokenStore(
        name="forget writes the stats back",
        mistake="The stats are a document: forget reads it, takes the skill out, and writes it"
        " back without comparing, as it needs no cursor. What was written in between is undone.",
        reported=("mastra-ai/mastra#23118",),
        row="C6, L9",
        breaks=("forgotten",),
        killer="FORGET-09",
        remedy="read, change and write in one transaction, or compare the revision as a commit"
        " does",
        harness=with_stats_and_io(WritesStatsBack),
    ),
    BrokenStore(
        name="forget writes the cursor back",
        mistake="Forget lowers the control totals of a record that it has read before. A commit in"
        " between has added its rows, and its record is gone: its events are folded again.",
        reported=("mastra-ai/mastra#23118",),
        row="C6, L9",
        breaks=("forgotten",),
        killer="FORGET-09",
        remedy="read, change and write in one transaction, or compare the revision as a commit"
        " does",
        harness=with_stats_and_io(WritesCursorsBack),
    ),
    BrokenStore(
        name="forgotten skills in one document",
        mistake="The forgotten skills are one list, which is read, added to and written back. Of"
        " two forgets at once one is lost, and its skill counts again.",
        reported=("mastra-ai/mastra#23118",),
        row="C6, L9",
        breaks=("forgotten",),
        killer="FORGET-09",
        remedy="give each forgotten skill a row of its own",
        harness=with_stats_and_io(WritesForgottenBack),
    ),
    BrokenStore(
        name="rollups and cursor from two snapshots",
        mistake="Totals and cursor are read as they should be, and the query for rollups came"
        " later. What is committed before it is in the rollups, and not up to their cursor.",
        reported=("JasperFx/marten#4977",),
        row="V6",
        breaks=("one_snapshot",),
        killer="SNAP-02",
        remedy="read both in one statement, or in one transaction that reads one snapshot",
        harness=with_stats_and_io(RollupsAfterCursor),
    ),
    BrokenStore(
        name="totals a hundred at a time",
        mistake="A request takes 100 keys, so the totals of more skills are several requests. The"
        " first brings the cursor; what is committed before the last is in the others.",
        reported=("docs.aws.amazon.com: BatchGetItem", "JasperFx/marten#4977"),
        row="V6",
        breaks=("one_snapshot",),
        killer="SNAP-04",
        remedy="read all of them in one transaction that reads one snapshot, or again until the"
        " cursor is the same before and after",
        harness=with_stats_and_io(TotalsInParts),
    ),
)

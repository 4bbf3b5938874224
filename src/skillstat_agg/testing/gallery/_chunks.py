"""Calls that are too large for one request, and are sent as several."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import timedelta

import attrs

from skillstat_agg._appending import checked_events, content_digests, unseen_events
from skillstat_agg._commits import Commit, CommitResult
from skillstat_agg._events import Event
from skillstat_agg._stores import DAY_AHEAD, Appended
from skillstat_agg.backends.memory import MemoryDatabase
from skillstat_agg.backends.memory._database import Stats
from skillstat_agg.testing._harness import Setting
from skillstat_agg.testing.gallery._frame import BrokenStore, broken
from skillstat_agg.testing.gallery._inside import TotalsInParts
from skillstat_agg.testing.gallery._logs import Log
from skillstat_agg.testing.gallery._stats_steps import OpenStats, with_stats_and_io


class AppendsInParts(Log):
    """Checks the whole call, and inserts 500 events in each transaction."""

    AT_ONCE = 500

    def __init__(self, database: MemoryDatabase, setting: Setting) -> None:
        super().__init__(database, clock=setting.clock)
        self._io = setting.io

    def append(self, events: Iterable[Event], /, *, max_ahead: timedelta = DAY_AHEAD) -> Appended:
        given = checked_events(events, now=self._clock(), max_ahead=max_ahead)
        # Raises where an id stands for other content.
        unseen_events(given, content_digests(given), self._database._digests)
        new, position = 0, None
        for first in range(0, len(given), self.AT_ONCE):
            self._io()
            part = super().append(given[first : first + self.AT_ONCE], max_ahead=max_ahead)
            new, position = new + part.new, part.position
        return Appended(new=new, position=position)


class CursorInFirstPart(OpenStats):
    """Writes 50 skills, of two rows each, in each transaction, and the cursor in the first."""

    AT_ONCE = 50

    def commit(self, commit: Commit, /) -> CommitResult:
        self._io()
        before = self._stats()
        result = self._apply(commit)
        after = self._stats()
        self._put(attrs.evolve(before, cursor=after.cursor))
        skills = sorted(result.changed)
        for first in range(0, len(skills), self.AT_ONCE):
            if first:
                self._io()
            self._write(after, skills[first : first + self.AT_ONCE])
        return result

    def _write(self, after: Stats, skills: Collection[str]) -> None:
        stats = self._stats()
        totals = {skill: after.totals[skill] for skill in skills}
        rollups = {
            each: {key: row for key, row in rows.items() if key[1] in skills}
            for each, rows in after.rollups.items()
        }
        self._put(
            Stats(
                stats.cursor,
                {**stats.totals, **totals},
                {each: {**rows, **rollups[each]} for each, rows in stats.rollups.items()},
            )
        )


class TotalsInLargeParts(TotalsInParts):
    """Looks up 500 totals at a time, each time in a snapshot of its own."""

    AT_ONCE = 500


STORES = (
    BrokenStore(
        name="appends in batches",
        mistake="A large append is written 500 events at a time, each time in a transaction,"
        " so that no lock is held for long. A writer that dies between two leaves a part of"
        " its call, and others read it before the rest is there.",
        reported=("NuGet/NuGet.Services.Metadata#150",),
        row="A5, B4",
        breaks=("append_once",),
        killer="SIZE-04",
        remedy="write the events of a call in one transaction, or refuse a call that is too large",
        harness=broken(events=AppendsInParts, io=True),
    ),
    BrokenStore(
        name="cursor in the first batch",
        mistake="A transaction takes 100 rows, so a larger commit is several. The cursor is in the"
        " first, since that is the one which compares. A worker that dies after it leaves skills"
        " that never count.",
        reported=("docs.aws.amazon.com: TransactWriteItems", "kurrent-io/KurrentDB#1301"),
        row="A1, A5",
        breaks=(
            "atomic",
            "compare_and_set",
            "expired",
            "forgotten",
            "one_snapshot",
            "only_real_changes",
            "quarantined",
        ),
        killer="SIZE-03",
        remedy="write the whole page in one transaction, or refuse a page that is too large",
        harness=with_stats_and_io(CursorInFirstPart),
    ),
    BrokenStore(
        name="totals 500 at a time",
        mistake="A statement takes so many parameters, so more than 500 totals are looked up with"
        " several, each in a snapshot of its own. What is committed between two of them is in the"
        " second alone.",
        reported=("JasperFx/marten#4977",),
        row="V6",
        breaks=("one_snapshot",),
        killer="SNAP-04",
        remedy="read all of them in one transaction that reads one snapshot",
        harness=with_stats_and_io(TotalsInLargeParts),
    ),
)

"""Answers that say something else than what is stored, which is right."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone

import attrs

from skillstat_agg._buckets import Granularity, bucket_of
from skillstat_agg._commits import Commit, CommitResult
from skillstat_agg._events import Event, Position
from skillstat_agg._stores import Appended, Counters, Rollups, Totals
from skillstat_agg.backends.memory import MemoryDatabase
from skillstat_agg.backends.memory._database import Pending
from skillstat_agg.testing.gallery._frame import BrokenStore, broken, events_of
from skillstat_agg.testing.gallery._logs import Log
from skillstat_agg.testing.gallery._stats_steps import OpenStats, with_stats


class LastInsertId(Log):
    """Returns the position of the last event that this client has inserted."""

    _inserted: Position | None = None

    def _allocate(
        self, pending: Pending, events: Iterable[Event], max_ahead: timedelta
    ) -> Appended:
        appended = super()._allocate(pending, events, max_ahead)
        if appended.new:
            self._inserted = appended.position
        if appended.position is None or self._inserted is None:
            return appended
        return attrs.evolve(appended, position=self._inserted)


class ChangedTotals(OpenStats):
    """Names the skills whose totals were written as those that have changed."""

    def commit(self, commit: Commit, /) -> CommitResult:
        known = self._stats().totals
        result = super().commit(commit)
        added = commit.deltas.totals
        changed = {one for one in result.changed if any(added[one]) or one not in known}
        return attrs.evolve(result, changed=frozenset(changed))


class OrderOfText(OpenStats):
    """``ORDER BY bucket``, in a column of type TEXT."""

    def rollups(
        self,
        skill_id: str,
        granularity: Granularity,
        /,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Rollups:
        rollups = super().rollups(skill_id, granularity, since=since, until=until)
        starts = sorted(rollups, key=lambda start: str(bucket_of(start, granularity)))
        return Rollups(rollups.cursor, {start: rollups[start] for start in starts})


class ZoneDropped(OpenStats):
    """Takes what the clock on the wall shows at a bound for UTC."""

    def rollups(
        self,
        skill_id: str,
        granularity: Granularity,
        /,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Rollups:
        return super().rollups(skill_id, granularity, since=_as_utc(since), until=_as_utc(until))


def _as_utc(at: datetime | None) -> datetime | None:
    is_aware = isinstance(at, datetime) and at.utcoffset() is not None
    return at.replace(tzinfo=timezone.utc) if at is not None and is_aware else at


class Rows(MemoryDatabase):
    """A database whose rows of totals are objects that live as long as it does."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[object, dict[str, int]] = {}


class LiveRows(OpenStats):
    """Changes the row of a skill where it is, and hands it out as it is."""

    _database: Rows

    def commit(self, commit: Commit, /) -> CommitResult:
        result = super().commit(commit)
        self.totals(result.changed)  # brings their rows up to date
        return result

    def totals(self, skill_ids: Iterable[str] | None = None, /) -> Totals:
        totals = super().totals(skill_ids)
        return Totals(totals.cursor, {skill: self._live(skill, totals[skill]) for skill in totals})

    def _live(self, skill_id: str, sums: Counters) -> Counters:
        row = self._database.rows.setdefault((self._projection, skill_id), {})
        row.update(sums)
        return row


STORES = (
    BrokenStore(
        name="position of the last insert",
        mistake="The position that append returns is the id that this connection has inserted"
        " last. A retry of what another client has stored inserts nothing, and is told a position"
        " that lies before its events.",
        reported=("dev.mysql.com/doc: LAST_INSERT_ID()",),
        row="P16",
        breaks=("append_once",),
        killer="APPEND-09",
        remedy="return the last position of the log, or look up where the known ids stand",
        harness=broken(events=events_of(LastInsertId)),
    ),
    BrokenStore(
        name="changed by totals alone",
        mistake="CommitResult.changed has the skills whose totals were written. Where these stay"
        " and the rollups move, as a download comes and an older one goes, caches are not told.",
        reported=("no public report was found",),
        row="A11",
        breaks=("only_real_changes",),
        killer="IDLE-06",
        remedy="name every skill of which a row of any table was written",
        harness=with_stats(ChangedTotals),
    ),
    BrokenStore(
        name="rollups in the order of text",
        mistake="The number of the bucket is in a key, or a column of text, and rows come in that"
        " order: day 9999 (May 1997) after day 10000, and what was before 1970 backwards.",
        reported=("no public report was found",),
        row="O7",
        breaks=("documented",),
        killer="TIME-05",
        remedy="order by a number, or by text of one length that sorts as time does",
        harness=with_stats(OrderOfText),
    ),
    BrokenStore(
        name="zone of a bound dropped",
        mistake="The column has no time zone, so that of since and until is taken off, and the"
        " time on the wall of whoever asks becomes UTC. In London nobody notices before summer.",
        reported=("confluentinc/kafka-connect-jdbc#321",),
        row="N11",
        breaks=("documented",),
        killer="TIME-05",
        remedy="convert both bounds to UTC before the zone is dropped",
        harness=with_stats(ZoneDropped),
    ),
    BrokenStore(
        name="rows change in place",
        mistake="A row is one object, which commits change and readers are given. Totals that were"
        " read before change in the reader's hands, and their cursor does not.",
        reported=("no public report was found",),
        row="P2",
        breaks=("one_snapshot",),
        killer="SNAP-05",
        remedy="return copies of what is stored, or make a new row with each change",
        harness=broken(
            database=Rows,
            stats=lambda there, setting: LiveRows(
                setting.projection, there, clock=setting.clock, io=lambda: None
            ),
        ),
    ),
)

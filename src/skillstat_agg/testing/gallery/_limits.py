"""Stores that are right as long as a time, a number or an id is an ordinary one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from fnmatch import fnmatchcase

import attrs
from typing_extensions import override

from skillstat_agg._buckets import from_microseconds, microseconds
from skillstat_agg._commits import Commit, CommitResult
from skillstat_agg._events import MAX_INTEGER, MIN_INTEGER, Event
from skillstat_agg._stores import Counters
from skillstat_agg.backends.memory import MemoryDatabase
from skillstat_agg.errors import OutOfRangeError
from skillstat_agg.testing.gallery._frame import BrokenStore, broken, events_of
from skillstat_agg.testing.gallery._logs import RewritingLog
from skillstat_agg.testing.gallery._stats_steps import OpenStats, with_stats

LAST = microseconds(datetime.max.replace(tzinfo=timezone.utc))


class FloatSeconds(RewritingLog):
    """``occurred_at`` is a double of seconds, which is exact to the microsecond in our days."""

    def _rewritten(self, event: Event, now: datetime) -> Event:
        seconds = microseconds(event.occurred_at) / 10**6
        at = from_microseconds(min(round(seconds * 10**6), LAST))
        return attrs.evolve(event, occurred_at=at)


class BindsAmounts(OpenStats):
    """Binds what is to be added to a rollup as a parameter of 64 bits."""

    @override
    def _sum(
        self,
        before: Counters,
        row: tuple[int, ...],
        names: tuple[str, ...],
        skill_id: str,
        prefix: str = "",
    ) -> Counters:
        for name, amount in zip(names, row, strict=True):
            if prefix and not MIN_INTEGER <= amount <= MAX_INTEGER:
                raise OutOfRangeError(self._projection.name, skill_id, prefix + name)
        return super()._sum(before, row, names, skill_id, prefix)


class DeletesWhatAddsUpToZero(OpenStats):
    """``DELETE FROM rollups WHERE downloads + stars = 0``."""

    def commit(self, commit: Commit, /) -> CommitResult:
        result = super().commit(commit)
        stats = self._stats()
        rollups = {
            each: {key: row for key, row in rows.items() if sum(row.values())}
            for each, rows in stats.rollups.items()
        }
        self._put(attrs.evolve(stats, rollups=rollups))
        return result


class Tombstones(MemoryDatabase):
    """A database that knows when each skill was forgotten."""

    since: Mapping[str, datetime] = {}


class TenDays(OpenStats):
    """Remembers a forgotten skill for ten days."""

    _database: Tombstones

    def commit(self, commit: Commit, /) -> CommitResult:
        self._collect()
        return super().commit(commit)

    def forget(self, skill_id: str, /) -> bool:
        self._collect()
        forgotten = super().forget(skill_id)
        if forgotten:
            self._database.since = {**self._database.since, skill_id: self._clock()}
        return forgotten

    def _collect(self) -> None:
        """Drop the tombstones that are old enough."""
        now, since = self._clock(), self._database.since
        old = {skill for skill, at in since.items() if now - at > timedelta(days=10)}
        self._database._forgotten -= old


class ForgetsByPattern(OpenStats):
    """Finds the rows of a skill by their keys: those that match ``*:<skill>``."""

    def forget(self, skill_id: str, /) -> bool:
        forgotten = super().forget(skill_id)
        for other in self._stats().totals:
            if fnmatchcase(f":{other}", f"*:{skill_id}"):
                super().forget(other)
                self._database._forgotten -= {other}  # its rows are gone, and it counts again
        return forgotten


STORES = (
    BrokenStore(
        name="times are doubles",
        mistake="A time is stored as seconds in a double, which holds every microsecond of our"
        " days. Of a far year it does not, and an event at the end of a bucket falls into the"
        " next one.",
        reported=("no public report was found",),
        row="N2",
        breaks=("exact", "immutable"),
        killer="TIME-02",
        remedy="store times as whole microseconds, or in the database's own type",
        harness=broken(events=events_of(FloatSeconds)),
    ),
    BrokenStore(
        name="amounts of 64 bits",
        mistake="The amount is added by the database, and bound as a parameter of 64 bits. The sum"
        " of a page that is larger is refused, although with what is stored it would fit.",
        reported=("no public report was found",),
        row="N4",
        breaks=("exact",),
        killer="NUM-03",
        remedy="add to what is stored before anything is bound, and check the range of the sum",
        harness=with_stats(BindsAmounts),
    ),
    BrokenStore(
        name="deletes what adds up to zero",
        mistake="Rollups that have come to nothing are deleted, and found by the sum of their"
        " columns. A download and a lost star add up to nothing, too.",
        reported=("no public report was found",),
        row="P13",
        breaks=("exact",),
        killer="IDLE-05",
        remedy="delete a row only where each of its columns is 0",
        harness=with_stats(DeletesWhatAddsUpToZero),
    ),
    BrokenStore(
        name="tombstones expire",
        mistake="That a skill was forgotten is remembered for ten days, after which every replica"
        " has heard of it. An event that comes later makes its numbers anew.",
        reported=("cassandra.apache.org/doc: gc_grace_seconds",),
        row="L9",
        breaks=("forgotten",),
        killer="FORGET-05",
        remedy="keep the ids of forgotten skills as long as the log",
        harness=broken(
            database=Tombstones,
            stats=lambda there, setting: TenDays(
                setting.projection, there, clock=setting.clock, io=lambda: None
            ),
        ),
    ),
    BrokenStore(
        name="forgets by pattern",
        mistake="The keys of a skill's rows are found by a pattern with its id in it. An id may"
        " hold a wildcard, or be the end of another id, and others go with it.",
        reported=("redis.io/docs: SCAN MATCH",),
        row="L9",
        breaks=("forgotten",),
        killer="FORGET-06",
        remedy="compare the whole id, in a column of its own",
        harness=with_stats(ForgetsByPattern),
    ),
)

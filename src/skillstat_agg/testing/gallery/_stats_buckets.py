"""Stats whose rollups stand in other buckets than the events occurred in, or are not there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import add
from typing import TypeAlias

import attrs

from skillstat_agg._buckets import Granularity, bucket_of
from skillstat_agg._commits import Commit, CommitResult
from skillstat_agg.testing.gallery._frame import BrokenStore
from skillstat_agg.testing.gallery._stats_steps import OpenStats, with_stats

_Rows: TypeAlias = Mapping[tuple[int, str], tuple[int, ...]]
_HOUR, _DAY = Granularity.HOUR, Granularity.DAY


class _Rollups(OpenStats):
    """A store that writes the rollups that `changed` returns."""

    def commit(self, commit: Commit, /) -> CommitResult:
        rollups = self.changed(commit.deltas.rollups)
        return super().commit(
            attrs.evolve(commit, deltas=attrs.evolve(commit.deltas, rollups=rollups))
        )

    def changed(self, rollups: Mapping[Granularity, _Rows]) -> Mapping[Granularity, _Rows]:
        return rollups


class ByProcessingTime(_Rollups):
    """Adds to the hour of now, whenever the event occurred; the day is that of the event."""

    def changed(self, rollups: Mapping[Granularity, _Rows]) -> Mapping[Granularity, _Rows]:
        if _HOUR not in rollups:
            return rollups
        now = bucket_of(self._clock(), _HOUR)
        return {**rollups, _HOUR: _grouped(rollups[_HOUR], lambda _: now)}


class ByLocalDay(_Rollups):
    """Makes the days of the hours on the clock on the wall, an hour east of Greenwich."""

    def changed(self, rollups: Mapping[Granularity, _Rows]) -> Mapping[Granularity, _Rows]:
        if not rollups.keys() >= {_HOUR, _DAY}:
            return rollups
        return {**rollups, _DAY: _grouped(rollups[_HOUR], lambda hour: (hour + 1) // 24)}


class TowardsZero(_Rollups):
    """Divides as C and SQL do: the day before 1970 becomes a second day 0."""

    def changed(self, rollups: Mapping[Granularity, _Rows]) -> Mapping[Granularity, _Rows]:
        if not rollups.keys() >= {_HOUR, _DAY}:
            return rollups
        return {**rollups, _DAY: _grouped(rollups[_HOUR], lambda hour: int(hour / 24))}


class ClosesHours(_Rollups):
    """Takes an hour that is over for complete, and leaves out what comes late."""

    def changed(self, rollups: Mapping[Granularity, _Rows]) -> Mapping[Granularity, _Rows]:
        if _HOUR not in rollups:
            return rollups
        now = bucket_of(self._clock(), _HOUR)
        return {
            **rollups,
            _HOUR: {key: row for key, row in rollups[_HOUR].items() if key[0] >= now},
        }


class OnlyGrows(_Rollups):
    """Adds to a bucket, and never takes anything off it."""

    def changed(self, rollups: Mapping[Granularity, _Rows]) -> Mapping[Granularity, _Rows]:
        return {
            each: {key: tuple(max(0, amount) for amount in row) for key, row in rows.items()}
            for each, rows in rollups.items()
        }


def _grouped(rows: _Rows, bucket_of: Callable[[int], int]) -> _Rows:
    """Return the rows by other buckets, each the sum of what it holds."""
    grouped: dict[tuple[int, str], tuple[int, ...]] = {}
    for (bucket, skill), row in rows.items():
        key = bucket_of(bucket), skill
        grouped[key] = tuple(map(add, grouped[key], row)) if key in grouped else row
    return grouped


STORES = (
    BrokenStore(
        name="bucket by processing time",
        mistake="The rollup of this hour gets what is folded in this hour. What happened at 12:59"
        " counts when a worker came by, and in another hour after a rebuild.",
        reported=("openclaw/clawhub:convex/skillStatEvents.ts",),
        row="N9",
        breaks=("exact", "documented", "expired"),
        killer="TIME-03",
        remedy="add to the bucket that the deltas name: it is that of occurred_at",
        harness=with_stats(ByProcessingTime),
    ),
    BrokenStore(
        name="bucket by local time",
        mistake="A day is the day of whoever set up the server. Another server has other days,"
        " and two of them a year have 23 and 25 hours.",
        reported=("datalust/seq-tickets#902", "timescale/timescaledb#10296"),
        row="N8",
        breaks=("exact", "expired"),
        killer="TIME-01",
        remedy="keep buckets in UTC; a zone is for showing, from hourly buckets",
        harness=with_stats(ByLocalDay),
    ),
    BrokenStore(
        name="bucket rounded towards zero",
        mistake="The number of the bucket is a quotient of integers, which C and SQL round"
        " towards zero: day 0 is twice as long.",
        reported=("SELECT -1 / 86400 is 0",),
        row="N10",
        breaks=("exact", "expired"),
        killer="TIME-02",
        remedy="round down, as // does in Python",
        harness=with_stats(TowardsZero),
    ),
    BrokenStore(
        name="closes hours",
        mistake="An hour that is over is taken for complete, so that it never changes again. What"
        " is late is in the totals only.",
        reported=("no public report was found",),
        row="N9",
        breaks=("exact", "documented", "expired"),
        killer="TIME-03",
        remedy="add to any bucket at any time",
        harness=with_stats(ClosesHours),
    ),
    BrokenStore(
        name="rollups only grow",
        mistake="The first rollups counted downloads, which nobody takes back. A column that can"
        " fall was added later, and what it loses is left out.",
        reported=("openclaw/clawhub#194", "openclaw/clawhub#2941"),
        row="A11, N5",
        breaks=("exact", "only_real_changes"),
        killer="NUM-05",
        remedy="add to rollups what the deltas name, whatever its sign",
        harness=with_stats(OnlyGrows),
    ),
)

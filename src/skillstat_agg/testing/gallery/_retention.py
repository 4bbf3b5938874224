"""Stats whose rollups expire in part, for a time only, or too many of them."""

from __future__ import annotations

from typing import Any

import attrs

from skillstat_agg._buckets import Granularity
from skillstat_agg._commits import Commit, CommitResult
from skillstat_agg._deltas import deltas_of
from skillstat_agg._stores import Expired
from skillstat_agg._tallies import Tally
from skillstat_agg.backends.memory._database import Stats
from skillstat_agg.testing.gallery._frame import BrokenStore
from skillstat_agg.testing.gallery._stats_steps import OpenStats, with_stats, with_stats_and_io


class _OpenExpiry(OpenStats):
    """The stats store in memory, whose expiry can be done otherwise."""

    def expire(self, granularity: Granularity, first: int, /, *, limit: int) -> Expired:
        """Delete the rollups."""
        return self._expire(granularity, first, limit)

    def _expire(self, granularity: Granularity, first: int, limit: int) -> Expired:
        """Delete in one transaction, as it should be."""
        return super().expire(granularity, first, limit=limit)

    def _kept(self, done: Expired, **fields: Any) -> Expired:
        """Store the record of a step with these fields instead, and return the step with it."""
        cursor = attrs.evolve(done.cursor, **fields)
        self._put(attrs.evolve(self._stats(), cursor=cursor))
        return attrs.evolve(done, cursor=cursor)


class ExpiresInTwoSteps(_OpenExpiry):
    """Deletes the rows in one transaction, and stores what was deleted in the next."""

    def _expire(self, granularity: Granularity, first: int, limit: int) -> Expired:
        before = self._stats()
        done = super()._expire(granularity, first, limit)
        after = self._stats()
        if after is not before:
            self._put(attrs.evolve(after, cursor=before.cursor))
            self._io()
            self._put(after)
        return done


class ExpiryKeepsControls(_OpenExpiry):
    """Leaves the rows that it has deleted in the control totals."""

    def _expire(self, granularity: Granularity, first: int, limit: int) -> Expired:
        controls = self._stats().cursor.controls
        return self._kept(super()._expire(granularity, first, limit), controls=controls)


class ExpiryKeepsRevision(_OpenExpiry):
    """Leaves the number that says that something changed, as it was."""

    def _expire(self, granularity: Granularity, first: int, limit: int) -> Expired:
        revision = self._stats().cursor.revision
        return self._kept(super()._expire(granularity, first, limit), revision=revision)


class ExpiresForOnce(_OpenExpiry):
    """Deletes the rows, and does not remember that there were any."""

    def _expire(self, granularity: Granularity, first: int, limit: int) -> Expired:
        expired = self._stats().cursor.expired
        return self._kept(super()._expire(granularity, first, limit), expired=expired)


class ExpiresAll(_OpenExpiry):
    """Deletes the rows of every granularity before the time."""

    def _expire(self, granularity: Granularity, first: int, limit: int) -> Expired:
        done = super()._expire(granularity, first, limit)
        end = done.cursor.expired[granularity.value]
        stats = self._stats()
        rollups = {
            each: {
                key: row
                for key, row in rows.items()
                if key[0] * each.length >= end * granularity.length
            }
            for each, rows in stats.rollups.items()
        }
        self._put(attrs.evolve(stats, rollups=rollups))
        return done


class ExpiresOneMore(_OpenExpiry):
    """Deletes the bucket that holds the time, too."""

    def _expire(self, granularity: Granularity, first: int, limit: int) -> Expired:
        return super()._expire(granularity, first + 1, limit)


class GoesBack(_OpenExpiry):
    """Stores whichever bucket it is told, also one that was given up before."""

    def _expire(self, granularity: Granularity, first: int, limit: int) -> Expired:
        done = super()._expire(granularity, first, limit)
        if done.is_last and done.rows == 0:
            expired = {**done.cursor.expired, granularity.value: first}
            return self._kept(done, expired=expired, revision=done.cursor.revision + 1)
        return done


class ExpiresAtOnce(_OpenExpiry):
    """Deletes everything in one transaction, however much it is."""

    def _expire(self, granularity: Granularity, first: int, limit: int) -> Expired:
        return super()._expire(granularity, first, limit and 2**63)


class ExpiresCut(_OpenExpiry):
    """Deletes as many rows as it may, wherever in a bucket that ends."""

    def _expire(self, granularity: Granularity, first: int, limit: int) -> Expired:
        before = self._stats()
        done = super()._expire(granularity, first, limit)
        gone = sorted(before.rollups[granularity].keys() - self._stats().rollups[granularity])
        if done.rows <= limit:
            return done
        stats = self._stats()
        back = {key: before.rollups[granularity][key] for key in gone[limit:]}
        rollups = {**stats.rollups, granularity: {**stats.rollups[granularity], **back}}
        self._put(attrs.evolve(stats, rollups=rollups))
        return attrs.evolve(done, rows=limit)


class ExpiresOwnColumns(_OpenExpiry):
    """Lowers the control totals of the columns that its own program knows."""

    def _expire(self, granularity: Granularity, first: int, limit: int) -> Expired:
        before = self._stats().cursor.controls
        done = super()._expire(granularity, first, limit)
        controls = {
            name: value if name in self._projection.controls else before[name]
            for name, value in done.cursor.controls.items()
        }
        return self._kept(done, controls=controls)


class ExpiresEverywhere(_OpenExpiry):
    """Deletes the rollups of every projection that has such ones."""

    def _expire(self, granularity: Granularity, first: int, limit: int) -> Expired:
        done = super()._expire(granularity, first, limit)
        for name, stats in self._database._stats.items():
            if name != self._projection.name and granularity in stats.rollups:
                self._database._stats[name] = _without(stats, granularity, first)
        return done


def _without(stats: Stats, granularity: Granularity, first: int) -> Stats:
    rows = {key: row for key, row in stats.rollups[granularity].items() if key[0] >= first}
    cursor = attrs.evolve(stats.cursor, revision=stats.cursor.revision + 1)
    return attrs.evolve(stats, cursor=cursor, rollups={**stats.rollups, granularity: rows})


class RevivesTaught(_OpenExpiry):
    """Forgets what has expired when a larger table takes over: a new table is a new start."""

    def _apply(self, commit: Commit) -> CommitResult:
        if commit.taught:
            deltas = deltas_of(
                commit.projection,
                Tally.of((one.event for one in commit.taught), commit.projection.finest),
            )
            rollups = {
                each: {**rows, **commit.deltas.rollups[each]}
                for each, rows in deltas.rollups.items()
            }
            commit = attrs.evolve(commit, deltas=attrs.evolve(commit.deltas, rollups=rollups))
        return super()._apply(commit)


class TakesAnyBound(_OpenExpiry):
    """Takes a limit of 0 for none, and a granularity that there is not for nothing to do."""

    def expire(self, granularity: Granularity, first: int, /, *, limit: int) -> Expired:
        if granularity not in self._projection.granularities:
            return Expired(cursor=self.cursor(), rows=0, is_last=True)
        return super().expire(granularity, first, limit=limit or 2**63)


STORES = (
    BrokenStore(
        name="expires in two transactions",
        mistake="A job deletes old rows, and the record is brought up to date when it is done. A"
        " worker in between makes rows that nobody deletes.",
        reported=("no public report was found",),
        row="A5, P2",
        breaks=("expired",),
        killer="RETENTION-04",
        remedy="delete, lower the control totals and store the bound in one transaction",
        harness=with_stats_and_io(ExpiresInTwoSteps),
    ),
    BrokenStore(
        name="expiry keeps control totals",
        mistake="Old rows are deleted by a job that knows no control totals: every later audit"
        " finds a difference.",
        reported=("no public report was found",),
        row="P1",
        breaks=("expired", "compare_and_set", "forgotten"),
        killer="RETENTION-01",
        remedy="lower the control totals by what was deleted, in the same transaction",
        harness=with_stats(ExpiryKeepsControls),
    ),
    BrokenStore(
        name="expiry keeps the revision",
        mistake="Rows go, and the record does not show it: a commit that was computed before is"
        " taken for up to date.",
        reported=("no public report was found",),
        row="C10",
        breaks=("expired",),
        killer="RETENTION-01",
        remedy="raise the revision in the transaction that deletes the rows",
        harness=with_stats(ExpiryKeepsRevision),
    ),
    BrokenStore(
        name="expired until the next event",
        mistake="Deleting the rows is taken for expiry: a later event of an old bucket makes one"
        " row of it anew, which shows one event where there were thousands.",
        reported=("no public report was found",),
        row="P13",
        breaks=("expired", "compare_and_set", "forgotten"),
        killer="RETENTION-02",
        remedy="store the first bucket that is kept in Cursor.expired",
        harness=with_stats(ExpiresForOnce),
    ),
    BrokenStore(
        name="expires every granularity",
        mistake="One job deletes what is older than so many hours, in each table that has times:"
        " the daily rollups, which are to be kept for ever, go with the hourly ones.",
        reported=("no public report was found",),
        row="P13",
        breaks=("expired",),
        killer="RETENTION-01",
        remedy="delete from the table of the one granularity",
        harness=with_stats(ExpiresAll),
    ),
    BrokenStore(
        name="expires one bucket too many",
        mistake="The bucket that holds the time is compared with <=, and goes as well although"
        " half of it is younger.",
        reported=("no public report was found",),
        row="P13",
        breaks=("expired", "compare_and_set", "forgotten"),
        killer="RETENTION-01",
        remedy="delete the buckets before the first that is kept, and not that one",
        harness=with_stats(ExpiresOneMore),
    ),
    BrokenStore(
        name="expiry goes back",
        mistake="The bound of the last call is stored, also where it lies before the one that is"
        " there. Buckets that are gone may be filled again, with what comes late.",
        reported=("no public report was found",),
        row="P10",
        breaks=("expired",),
        killer="RETENTION-05",
        remedy="write nothing where the stored bound is the same or later",
        harness=with_stats(GoesBack),
    ),
    BrokenStore(
        name="expires at once",
        mistake="One statement deletes a year of rows, and holds the record for as long: no worker"
        " commits meanwhile.",
        reported=("no public report was found",),
        row="P15",
        breaks=("expired",),
        killer="RETENTION-06",
        remedy="delete as many of the oldest buckets as hold *limit* rows, and say is_last=False",
        harness=with_stats(ExpiresAtOnce),
    ),
    BrokenStore(
        name="expires half a bucket",
        mistake="DELETE ... LIMIT ends in the middle of a bucket. Until the next step it shows"
        " some skills, and not the others.",
        reported=("no public report was found",),
        row="P2",
        breaks=("expired", "forgotten"),
        killer="RETENTION-06",
        remedy="delete whole buckets: one at least, however many rows it has",
        harness=with_stats(ExpiresCut),
    ),
    BrokenStore(
        name="expires the columns of its own table",
        mistake="A program with an older table deletes rows to which a newer one has added a"
        " column, whose control total stays.",
        reported=("no public report was found",),
        row="L7",
        breaks=("expired",),
        killer="RETENTION-10",
        remedy="go by the table in the stored record, as forget does",
        harness=with_stats(ExpiresOwnColumns),
    ),
    BrokenStore(
        name="expires in every projection",
        mistake="How long rollups are kept is taken for a setting of the database.",
        reported=("no public report was found",),
        row="P1",
        breaks=("expired",),
        killer="RETENTION-08",
        remedy="delete the rollups of the store's own projection",
        harness=with_stats(ExpiresEverywhere),
    ),
    BrokenStore(
        name="revives a bucket with what was taught",
        mistake="What leaves quarantine is counted by code of its own, which knows nothing of"
        " buckets that have expired meanwhile.",
        reported=("no public report was found",),
        row="B5",
        breaks=("expired",),
        killer="RETENTION-09",
        remedy="add Commit.deltas and nothing else",
        harness=with_stats(RevivesTaught),
    ),
    BrokenStore(
        name="takes any bound for an expiry",
        mistake="A limit of 0 is taken for no limit, and a misspelt granularity for one that has"
        " no rows: the job runs every night, and deletes nothing.",
        reported=("no public report was found",),
        row="P11",
        breaks=("documented",),
        killer="RETENTION-11",
        remedy="call check_granularity of the projection, and refuse a limit below 1",
        harness=with_stats(TakesAnyBound),
    ),
)

"""What the broken stats stores, and those on SQLite, are made of breaks no law by itself."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from skillstat_agg._commits import Commit, CommitResult
from skillstat_agg.backends.sqlite._transactions import writing
from skillstat_agg.testing import check_store
from skillstat_agg.testing._checks import Check
from skillstat_agg.testing.checks import CHECKS, cuts, forgetting, pushdown, times
from skillstat_agg.testing.gallery._sqlite_frame import OpenSQLiteStats, on_sqlite
from skillstat_agg.testing.gallery._sqlite_tallies import _Groups
from skillstat_agg.testing.gallery._stats_steps import OpenStats, with_stats, with_stats_and_io

pytestmark = pytest.mark.long

WITH_IO = [check for check in CHECKS if check.id in ("FENCE-06", "CRASH-03")]


class InOneTransaction(OpenSQLiteStats):
    """The steps in the order, and the one transaction, that they should have."""

    def commit(self, commit: Commit, /) -> CommitResult:
        with writing(self._db, "commit") as sql:
            self._compare(sql, commit)
            applied = self._applied(sql, commit)
            self._move(sql, applied)
            return self._add(sql, applied)


@pytest.mark.parametrize("harness", [with_stats(OpenStats), with_stats_and_io(OpenStats)])
def test_opened_stats_in_memory_pass(harness):
    """Nothing but the one mistake makes a broken stats store fail.

    A lag in memory has no I/O points, so nobody can look into one: LAG-04 would be vacuous.
    """
    report = check_store(harness, checks=[check for check in CHECKS if check.id != "LAG-04"])

    assert report.ok, str(report)


@pytest.mark.parametrize(
    ("harness", "checks"),
    [
        (on_sqlite(stats=InOneTransaction), (*cuts.CHECKS, *forgetting.CHECKS)),
        (on_sqlite(stats=InOneTransaction, io=True), WITH_IO),
        (on_sqlite(events=_Groups), (*pushdown.CHECKS, *times.CHECKS)),
    ],
    ids=["steps", "steps with I/O points", "groups"],
)
def test_opened_stores_on_sqlite_pass(harness, checks: Sequence[Check]):
    """Nothing but the one mistake makes a broken store on SQLite fail."""
    report = check_store(harness, checks=checks)

    assert report.ok, str(report)

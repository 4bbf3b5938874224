"""Stats on SQLite that are broken in a way that only a database is."""

from __future__ import annotations

from contextlib import closing

from skillstat_agg._commits import Commit, CommitResult
from skillstat_agg.backends.sqlite._schema import replace_cursor
from skillstat_agg.backends.sqlite._transactions import joining, reading, translated, writing
from skillstat_agg.errors import StoreBusyError
from skillstat_agg.testing.gallery._frame import BrokenStore
from skillstat_agg.testing.gallery._sqlite_frame import OpenSQLiteStats, on_sqlite


class StatementByStatement(OpenSQLiteStats):
    """Writes on a connection in autocommit mode: each statement is a transaction."""

    def commit(self, commit: Commit, /) -> CommitResult:
        with reading(self._db, "commit") as sql:
            self._compare(sql, commit)
            applied = self._applied(sql, commit)
        with translated(), closing(self._db.cursor()) as sql:
            self._move(sql, applied)
            return self._add(sql, applied)


class CommittedByScript(OpenSQLiteStats):
    """Calls ``executescript`` in the middle, which commits what was done so far."""

    def commit(self, commit: Commit, /) -> CommitResult:
        with writing(self._db, "commit") as sql:
            self._compare(sql, commit)
            applied = self._applied(sql, commit)
            self._move(sql, applied)
            self._db.executescript("CREATE TABLE IF NOT EXISTS worker_log (message TEXT)")
            sql.execute("BEGIN IMMEDIATE")
            return self._add(sql, applied)


class ComparesBeforeLocking(OpenSQLiteStats):
    """Reads and compares first, so that the write lock is held for the writes only."""

    def commit(self, commit: Commit, /) -> CommitResult:
        with reading(self._db, "commit") as sql:
            self._compare(sql, commit)
        with writing(self._db, "commit") as sql:
            applied = self._applied(sql, commit)
            self._move(sql, applied)
            return self._add(sql, applied)


class RowcountUnread(OpenSQLiteStats):
    """Moves the cursor by ``UPDATE ... WHERE`` it is the expected one, and goes on anyhow."""

    def commit(self, commit: Commit, /) -> CommitResult:
        with writing(self._db, "commit") as sql:
            stored = self._cursor(sql)
            applied = self._applied(sql, commit)
            self._move(sql, applied)
            if stored != commit.expected:
                replace_cursor(sql, stored)  # no row was updated
            return self._add(sql, applied)


class JoinsTransactions(OpenSQLiteStats):
    """Commits within the transaction of its caller, if there is one, as append does."""

    def commit(self, commit: Commit, /) -> CommitResult:
        with joining(self._db, "commit") as sql:
            self._compare(sql, commit)
            applied = self._applied(sql, commit)
            self._move(sql, applied)
            return self._add(sql, applied)


class SwallowsBusy(OpenSQLiteStats):
    """Takes "database is locked" for something that goes by, and returns."""

    def commit(self, commit: Commit, /) -> CommitResult:
        try:
            return super().commit(commit)
        except StoreBusyError:
            cursor = commit.cursor(self._now())
            return CommitResult(cursor=cursor, rows=0, forgotten=0, changed=frozenset())


_SUM = "INTEGER NOT NULL DEFAULT 0 CHECK ("
_SKILL = "skill_id TEXT NOT NULL PRIMARY KEY"

STORES = (
    BrokenStore(
        name="statement by statement",
        mistake="The connection is in autocommit mode, and nothing begins a transaction: a worker"
        " that dies has written the cursor and not the numbers.",
        reported=("NuGet/NuGet.Services.Metadata#150",),
        row="A12, A5",
        breaks=("atomic", "compare_and_set", "exact", "append_once"),
        killer="CRASH-03",
        remedy="begin with BEGIN IMMEDIATE, and end with COMMIT",
        harness=on_sqlite(stats=StatementByStatement, io=True),
    ),
    BrokenStore(
        name="committed by a script",
        mistake="executescript(), and DDL in other databases, commits the open transaction first:"
        " what looks like one transaction is two.",
        reported=("docs.python.org: sqlite3.Cursor.executescript",),
        row="A12",
        breaks=("atomic", "exact", "compare_and_set"),
        killer="CRASH-03",
        remedy="make tables at the start; execute single statements within a transaction",
        harness=on_sqlite(stats=CommittedByScript, io=True),
    ),
    BrokenStore(
        name="compares before locking",
        mistake="A deferred transaction that has read cannot write once another has committed, so"
        " the read is moved out of it: nothing fails any more, and both commits are applied.",
        reported=("BEGIN; SELECT; a commit elsewhere; INSERT: database is locked",),
        row="C12, C1",
        breaks=("compare_and_set",),
        killer="FENCE-06",
        remedy="begin with BEGIN IMMEDIATE, and compare after it",
        harness=on_sqlite(stats=ComparesBeforeLocking, io=True),
    ),
    BrokenStore(
        name="number of rows unread",
        mistake="The comparison is in the WHERE of the UPDATE, and nobody looks at how many rows"
        " it has changed. The numbers are added without the cursor.",
        reported=("no public report was found",),
        row="C1",
        breaks=("compare_and_set", "atomic", "unknown_outcome", "forgotten"),
        killer="FENCE-01",
        remedy="raise CursorConflictError where the UPDATE has changed no row",
        harness=on_sqlite(stats=RowcountUnread),
    ),
    BrokenStore(
        name="joins transactions",
        mistake="A commit in the caller's transaction seems as good as in one of its own. What is"
        " returned as done is undone when the caller rolls back.",
        reported=("no public report was found",),
        row="C10",
        breaks=("documented",),
        killer="OPEN-01",
        remedy="refuse a connection inside a transaction with OpenTransactionError",
        harness=on_sqlite(stats=JoinsTransactions),
    ),
    BrokenStore(
        name="sums in REAL columns",
        mistake="A column of type REAL takes every integer, and returns it as one up to 2^53.",
        reported=("enviodev/hyperindex#1031",),
        row="N2, N12",
        breaks=(
            "exact",
            "forgotten",
            "compare_and_set",
            "documented",
            "append_once",
            "one_snapshot",
            "expired",
            "board_order",
            "whole_range",
        ),
        killer="NUM-01",
        remedy="declare INTEGER, and check typeof() in the table",
        harness=on_sqlite(tables={_SUM: "REAL NOT NULL DEFAULT 0 CHECK (1 OR "}),
    ),
    BrokenStore(
        name="overflow into REAL",
        mistake="An SQLite integer that overflows in an expression becomes a REAL, in a column of"
        " type INTEGER too: the sum is there, and rounded.",
        reported=("SELECT 9223372036854775807 + 1",),
        row="N4",
        breaks=("exact",),
        killer="NUM-02",
        remedy="add a CHECK on typeof(), or make the table STRICT, and translate its error",
        harness=on_sqlite(tables={_SUM: f"{_SUM}1 OR "}),
    ),
    BrokenStore(
        name="skills without case",
        mistake="A collation without case makes one row of the skills PDF and pdf.",
        reported=("dev.mysql.com/doc: Case Sensitivity in String Searches",),
        row="L9",
        breaks=("exact", "forgotten"),
        killer="IDENT-01",
        remedy='compare ids byte by byte (BINARY, utf8mb4_bin, COLLATE "C")',
        harness=on_sqlite(tables={_SKILL: f"{_SKILL} COLLATE NOCASE"}),
    ),
    BrokenStore(
        name="skills without trailing spaces",
        mistake="PAD SPACE comparison, as CHAR columns have it, makes one row of two skills.",
        reported=("dev.mysql.com/doc: Trailing Space Handling in Comparisons",),
        row="L9",
        breaks=("exact", "forgotten"),
        killer="IDENT-01",
        remedy="compare ids byte by byte",
        harness=on_sqlite(tables={_SKILL: f"{_SKILL} COLLATE RTRIM"}),
    ),
)

"""Calls that were interrupted, or whose answer was lost, and that are told as something else."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta

from skillstat_agg._commits import Commit, CommitResult
from skillstat_agg._events import Event
from skillstat_agg._stores import DAY_AHEAD, Appended
from skillstat_agg.backends.memory import MemoryDatabase
from skillstat_agg.backends.sqlite import SQLiteEventStore
from skillstat_agg.backends.sqlite._transactions import (
    _roll_back,
    is_inside_transaction,
    translated,
)
from skillstat_agg.errors import CursorConflictError, OpenTransactionError, StoreBusyError
from skillstat_agg.testing._harness import Setting
from skillstat_agg.testing.gallery._frame import BrokenStore, broken
from skillstat_agg.testing.gallery._logs import Log
from skillstat_agg.testing.gallery._sqlite_frame import OpenSQLiteStats, on_sqlite
from skillstat_agg.testing.gallery._stats_steps import OpenStats, with_stats_and_io


class _Answering(Log):
    """A log whose answers can be lost; by itself it keeps every law."""

    def __init__(self, database: MemoryDatabase, setting: Setting) -> None:
        super().__init__(database, clock=setting.clock)
        self._io = setting.io

    def append(self, events: Iterable[Event], /, *, max_ahead: timedelta = DAY_AHEAD) -> Appended:
        self._io()
        appended = super().append(events, max_ahead=max_ahead)
        self._io()
        return appended


class AppendsAgain(_Answering):
    """Sends an append once more when the connection breaks."""

    def append(self, events: Iterable[Event], /, *, max_ahead: timedelta = DAY_AHEAD) -> Appended:
        given = tuple(events)
        try:
            return super().append(given, max_ahead=max_ahead)
        except ConnectionError:
            return super().append(given, max_ahead=max_ahead)


class AppendBusy(_Answering):
    """Says that the store was busy when the connection breaks."""

    def append(self, events: Iterable[Event], /, *, max_ahead: timedelta = DAY_AHEAD) -> Appended:
        try:
            return super().append(events, max_ahead=max_ahead)
        except ConnectionError as error:
            raise StoreBusyError(str(error)) from error


class CommitBusy(OpenStats):
    """Says that the store was busy when the connection breaks."""

    def commit(self, commit: Commit, /) -> CommitResult:
        try:
            self._io()
            result = self._apply(commit)
            self._io()
        except ConnectionError as error:
            raise StoreBusyError(str(error)) from error
        return result


class ConflictIsOurs(OpenStats):
    """Commits again when the connection breaks; a conflict then means that it had landed."""

    def commit(self, commit: Commit, /) -> CommitResult:
        try:
            self._io()
            result = self._apply(commit)
            self._io()
        except ConnectionError:
            return self._again(commit)
        return result

    def _again(self, commit: Commit) -> CommitResult:
        self._io()
        try:
            return self._apply(commit)
        except CursorConflictError:
            skills = frozenset(commit.deltas.totals)
            return CommitResult(cursor=self.cursor(), rows=len(skills), forgotten=0, changed=skills)


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[sqlite3.Cursor]:
    """Give a cursor for one transaction, which is rolled back after every ``Exception``."""
    with translated(), closing(db.cursor()) as sql:
        sql.execute("BEGIN IMMEDIATE")
        try:
            yield sql
            sql.execute("COMMIT")
        except Exception:
            _roll_back(db)
            raise


class AppendsToWhatWasLeft(SQLiteEventStore):
    """Appends in a transaction of its own, or in the one that is open."""

    def append(self, events: Iterable[Event], /, *, max_ahead: timedelta = DAY_AHEAD) -> Appended:
        if self._db.in_transaction:
            return super().append(events, max_ahead=max_ahead)
        with _transaction(self._db):
            return super().append(events, max_ahead=max_ahead)


class LeavesOpen(OpenSQLiteStats):
    """Commits in a transaction that an interrupt leaves open."""

    def commit(self, commit: Commit, /) -> CommitResult:
        if is_inside_transaction(self._db):
            raise OpenTransactionError("commit")
        with _transaction(self._db) as sql:
            self._compare(sql, commit)
            applied = self._applied(sql, commit)
            self._move(sql, applied)
            return self._add(sql, applied)


BUSY_WROTE_NOTHING = (
    "raise StoreBusyError only where nothing was written; what became of a lost answer is not"
    " known, so raise the error as it is"
)

STORES = (
    BrokenStore(
        name="sends an append again",
        mistake="An append whose answer is lost is sent a second time by the driver. That does no"
        " harm to events with ids; those without are stored twice, though the caller asked once.",
        reported=("mangit955/nap#66", "kurrent-io/KurrentDB#1354"),
        row="E1",
        breaks=("append_once",),
        killer="CRASH-09",
        remedy="repeat nothing by yourself: raise the error, and the caller decides",
        harness=broken(events=AppendsAgain, io=True),
    ),
    BrokenStore(
        name="lost append is busy",
        mistake="Whatever goes wrong between client and server is told as busy: try again. An"
        " append that has landed is then repeated, and events without ids are stored twice.",
        reported=("kurrent-io/KurrentDB#1354",),
        row="E1",
        breaks=("append_once",),
        killer="CRASH-08",
        remedy=BUSY_WROTE_NOTHING,
        harness=broken(events=AppendBusy, io=True),
    ),
    BrokenStore(
        name="lost commit is busy",
        mistake="Whatever goes wrong between client and server is told as busy: try again. But a"
        " commit that was busy has written nothing, and this one may have landed.",
        reported=("awslabs/amazon-kinesis-client#108",),
        row="A4",
        breaks=("atomic",),
        killer="CRASH-07",
        remedy=BUSY_WROTE_NOTHING,
        harness=with_stats_and_io(CommitBusy),
    ),
    BrokenStore(
        name="conflict means landed",
        mistake="After a broken connection the commit is tried again, and a conflict is taken for"
        " the trace of the first try. It may be another worker's, and this one reports what it"
        " never did.",
        reported=("awslabs/amazon-kinesis-client#108",),
        row="A4",
        breaks=("compare_and_set",),
        killer="UNKNOWN-05",
        remedy="raise CursorConflictError whenever the stored record is not the expected one",
        harness=with_stats_and_io(ConflictIsOurs),
    ),
    BrokenStore(
        name="interrupt leaves a transaction open",
        mistake="A transaction is rolled back in except Exception. An interrupt (KeyboardInterrupt,"
        " GreenletExit, CancelledError) is none: what the call has begun stays open, the next"
        " append joins it, and is lost with it.",
        reported=("no public report was found",),
        row="E7, A5",
        breaks=("append_once",),
        killer="CRASH-10",
        remedy="roll back on every BaseException",
        harness=on_sqlite(events=AppendsToWhatWasLeft, stats=LeavesOpen, io=True),
    ),
)

"""Connections that wait for other programs in short steps, and for how long."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from skillstat_agg.cli._patience import PatientConnection


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file.db"
    with closing(connected(path)) as db:
        db.execute("CREATE TABLE numbers (number INTEGER)")
    return path


def connected(path: Path, *, seconds: float = 60.0) -> PatientConnection:
    db = sqlite3.connect(path, isolation_level=None, timeout=0, factory=PatientConnection)
    db.seconds = seconds
    return db


@pytest.fixture
def other(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that holds the lock of the file."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield other


@pytest.mark.parametrize("statement", ["BEGIN IMMEDIATE", "SELECT * FROM numbers"])
def test_what_is_in_the_way_is_waited_for(path, other, statement):
    """The lock is let go when the connection has asked for the third time."""
    asked: list[int] = []

    def is_enough() -> bool:
        asked.append(len(asked))
        if len(asked) == 3:
            other.execute("COMMIT")
        return False

    with closing(connected(path)) as db:
        db.is_enough = is_enough
        db.execute(statement)

    assert asked == [0, 1, 2]


@pytest.mark.parametrize(("seconds", "is_enough"), [(0.0, False), (60.0, True)])
def test_the_wait_ends_with_the_time_or_when_it_is_enough(path, other, seconds, is_enough):
    with closing(connected(path, seconds=seconds)) as db:
        db.is_enough = lambda: is_enough

        with pytest.raises(sqlite3.OperationalError, match="locked"):
            db.cursor().execute("BEGIN IMMEDIATE")


def test_what_is_wrong_otherwise_is_not_tried_again(path):
    with closing(connected(path)) as db, pytest.raises(sqlite3.OperationalError, match="syntax"):
        db.execute("BEGUN")


def test_a_snapshot_that_is_out_of_date_is_not_waited_for(path):
    """Another has written since this transaction has read: no time helps."""
    with closing(connected(path)) as db, closing(connected(path)) as other:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("BEGIN")
        db.execute("SELECT * FROM numbers").fetchall()
        other.execute("INSERT INTO numbers VALUES (1)")

        with pytest.raises(sqlite3.OperationalError, match="locked"):
            db.execute("INSERT INTO numbers VALUES (2)")

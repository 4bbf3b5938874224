"""The stamper of the docs: what it costs, two at once, and one that dies."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from skillstat_agg.errors import StoreBusyError
from tests.logs import download
from tests.pages import write_files_of

ROWS = 3
POINTS = range(1, 11)
"""The statements of a stamper that finds the rows, and its two commits."""

BETWEEN = 5
"""The point at which it has looked, and not yet begun to write."""


class DiesError(Exception):
    """What a stamper meets in the middle."""


class SpiedCursor(sqlite3.Cursor):
    io: Callable[[], None]

    def execute(self, *given):
        self.io()
        return super().execute(*given)


class Spied(sqlite3.Connection):
    """A connection that does something before each statement, and before a commit."""

    io: Callable[[], None] = staticmethod(lambda: None)

    def cursor(self, factory: Any = None) -> Any:
        cursor = super().cursor(SpiedCursor)
        cursor.io = self.io
        return cursor

    def commit(self):
        self.io()
        super().commit()


@pytest.fixture
def page(tmp_path) -> ModuleType:
    """The module that readers of the page write."""
    write_files_of("stamper.md", tmp_path)
    return loaded((tmp_path / "stamped_log.py").read_text(encoding="utf-8"))


def loaded(source: str) -> ModuleType:
    module = ModuleType("stamped_log")
    exec(compile(source, "stamped_log.py", "exec"), vars(module))
    return module


@pytest.fixture
def path(page, tmp_path) -> Path:
    """A log with rows that have no position yet; their ids leave room for one before them."""
    path = Path(tmp_path, "service.db")
    with connected(path) as db:
        page.create_log(db)
        page.StampedEventStore(db).append([download()] * ROWS)
        db.execute("UPDATE events SET id = id + 100")
    return path


@contextmanager
def connected(path: Path) -> Iterator[Spied]:
    with closing(
        sqlite3.connect(path, timeout=0, isolation_level=None, factory=Spied)
    ) as connection:
        yield connection


def positions(path: Path) -> list[int | None]:
    """Return the positions, in the order of the ids."""
    with connected(path) as db:
        return [number for (number,) in db.execute("SELECT position FROM events ORDER BY id")]


def at(point: int, act: Callable[[], object]) -> Callable[[], None]:
    """Return what acts only when it is called for that time."""
    calls: list[None] = []

    def io() -> None:
        calls.append(None)
        if len(calls) == point:
            act()

    return io


def test_what_has_no_position_is_not_read(page, path):
    """It costs one tick."""
    with connected(path) as db:
        events = page.StampedEventStore(db)

        before = events.read(None, limit=100)
        page.stamp(db)
        after = events.read(None, limit=100)

    assert (before.events, before.frontier, before.is_last) == ((), None, True)
    assert [one.position for one in after.events] == [(1,), (2,), (3,)]


def test_each_row_costs_one_update(page, path):
    """A tick with news also costs one of the log's own row; one without news writes nothing."""
    counts = []
    with connected(path) as db:
        for _ in range(2):
            page.stamp(db)
            counts.append(db.total_changes)

    assert counts == [ROWS + 1, ROWS + 1]


def test_a_tick_takes_as_many_rows_as_it_is_told(page, path):
    """The rest has to wait, and keeps its order."""
    with connected(path) as db:
        ticks = [page.stamp(db, most=2) for _ in range(3)]

    assert ticks == [2, 1, 0]
    assert positions(path) == [1, 2, 3]


@pytest.mark.parametrize("point", POINTS)
def test_two_stampers_at_once_number_each_row_once(page, path, point):
    """Before any statement of one, a late row is committed and the other stamps."""
    race(page, path, point)

    assert sorted(number or 0 for number in positions(path)) == [1, 2, 3, 4]


def test_what_keeps_two_stampers_apart_is_the_comparison(page, path, tmp_path):
    """Without it a row gets a number that another one has, and the database refuses that."""
    source = (tmp_path / "stamped_log.py").read_text(encoding="utf-8")
    careless = loaded(source.replace("if sql.rowcount == 0:", "if False:"))

    with pytest.raises(sqlite3.IntegrityError):
        race(careless, path, BETWEEN)


def race(page: ModuleType, path: Path, point: int) -> None:
    """Let a stamper run, in the middle of it a late writer and another stamper; then both again."""
    with connected(path) as slow, connected(path) as other:

        def others_move() -> None:
            # Where the slow one holds a lock, they are refused.
            with suppress(StoreBusyError, sqlite3.OperationalError):
                commit_late(page, other)
                page.stamp(other)

        slow.io = at(point, others_move)
        with suppress(StoreBusyError):
            page.stamp(slow)
        slow.io = lambda: None
        if len(positions(path)) == ROWS:
            commit_late(page, other)
        for db in (slow, other):
            while page.stamp(db):
                pass


def commit_late(page: ModuleType, db: Spied) -> None:
    """Commit a row with an id below all others."""
    try:
        db.execute("BEGIN")
        page.StampedEventStore(db).append([download()])
        db.execute("UPDATE events SET id = 1 WHERE id = last_insert_rowid()")
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


@pytest.mark.parametrize("point", POINTS)
def test_a_stamper_that_dies_has_done_all_or_nothing(page, path, point):
    """And another one goes on."""

    def die() -> None:
        raise DiesError

    with connected(path) as db:
        db.io = at(point, die)
        with suppress(DiesError):
            page.stamp(db)
    left = positions(path)
    with connected(path) as db:
        page.stamp(db)

    assert left in ([None] * ROWS, [1, 2, 3])
    assert positions(path) == [1, 2, 3]

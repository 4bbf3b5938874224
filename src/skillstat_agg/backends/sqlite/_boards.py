"""Published boards on SQLite: the statements, and what becomes of their rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from skillstat_agg._boards import BoardRead, Publication, StoredBoard, entry_of, entry_text
from skillstat_agg._buckets import from_microseconds, microseconds
from skillstat_agg._events import MAX_INTEGER

_BOARDS, _ENTRIES = "main.skillstat_boards", "main.skillstat_board_entries"
_KEY = "projection = ? AND board = ?"


def publish(
    sql: sqlite3.Cursor,
    projection: str,
    publication: Publication,
    at: datetime,
    forgotten_of: Callable[[sqlite3.Cursor, Sequence[str]], frozenset[str]],
) -> int:
    """Store the boards, and return their version: see ``BoardStore.publish``.

    Args:
        sql: A cursor in a transaction that holds the write lock.
        projection: Whose boards these are.
        publication: The boards.
        at: Time of the store.
        forgotten_of: Returns those of some skills that are forgotten.
    """
    version: int
    (version,) = sql.execute(
        f"SELECT coalesce(max(version), 0) + 1 FROM {_BOARDS} WHERE projection = ?", (projection,)
    ).fetchone()
    age = publication.max_age
    max_age_us = None if age is None else age // timedelta(microseconds=1)
    for name, board in publication.boards.items():
        sql.execute(
            f"INSERT INTO {_BOARDS} VALUES (?, ?, ?, ?, ?, ?)",
            (projection, name, version, microseconds(at), max_age_us, publication.seal),
        )
        forgotten = forgotten_of(sql, [entry.skill_id for entry in board.entries])
        sql.executemany(
            f"INSERT INTO {_ENTRIES} VALUES (?, ?, ?, ?, ?, ?)",
            [
                (projection, name, version, entry.rank, entry.skill_id, entry_text(entry))
                for entry in board.entries
                if entry.skill_id not in forgotten
            ],
        )
        oldest = sql.execute(
            f"SELECT version FROM {_BOARDS} WHERE {_KEY} ORDER BY version DESC LIMIT 1 OFFSET ?",
            (projection, name, min(publication.keep, MAX_INTEGER)),
        ).fetchone()
        if oldest is not None:
            for table in (_BOARDS, _ENTRIES):
                sql.execute(
                    f"DELETE FROM {table} WHERE {_KEY} AND version <= ?",
                    (projection, name, *oldest),
                )
    return version


def part_of(
    sql: sqlite3.Cursor,
    projection: str,
    name: str,
    part: tuple[int | None, int, int],
    at: datetime,
) -> BoardRead:
    """Return a part of a board: see ``BoardStore.board``.

    Args:
        sql: A cursor in a snapshot.
        projection: Whose board it is.
        name: Its name.
        part: Version (None: the latest), rank after which the part begins, number of entries.
        at: Time of the store.
    """
    version, after, limit = part
    latest: int | None
    (latest,) = sql.execute(
        f"SELECT max(version) FROM {_BOARDS} WHERE {_KEY}", (projection, name)
    ).fetchone()
    version = latest if version is None else version
    found = sql.execute(
        f"SELECT +generated_at_us, +max_age_us, +seal FROM {_BOARDS} WHERE {_KEY} AND version = ?",
        (projection, name, version),
    ).fetchone()
    if found is None or version is None:
        return BoardRead(latest=latest, board=None, read_at=at)
    generated_at_us, max_age_us, seal = found
    rows = sql.execute(
        f"SELECT +rank, +skill_id, +numbers FROM {_ENTRIES} WHERE {_KEY} AND version = ?"
        " AND rank > ? ORDER BY rank LIMIT ?",
        (projection, name, version, after, min(limit, MAX_INTEGER)),
    )
    board = StoredBoard(
        version=version,
        generated_at=from_microseconds(generated_at_us),
        max_age=None if max_age_us is None else timedelta(microseconds=max_age_us),
        seal=seal,
        entries=tuple(entry_of(*row) for row in rows),
    )
    return BoardRead(latest=latest, board=board, read_at=at)


def drop(sql: sqlite3.Cursor, skill_id: str) -> None:
    """Take a skill off every board."""
    sql.execute(f"DELETE FROM {_ENTRIES} WHERE skill_id = ?", (skill_id,))

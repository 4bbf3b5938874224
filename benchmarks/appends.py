"""How long an append takes, against the bare inserts that it comes to."""

from __future__ import annotations

import itertools
import json
import random
import sqlite3
import statistics
import timeit
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path

from benchmarks.figures import Figure, Race, Setting, seconds
from benchmarks.logs import INSERT, SEED, Journal, Row, Synchronous, connect, rows
from skillstat_agg import SKILL_STATS, Event
from skillstat_agg.backends.sqlite import SQLiteEventStore, create_tables

BATCH = 1_000
CONSTRUCTIONS = 100_000
COMMITS = 300
MODES: tuple[tuple[Journal, Synchronous], ...] = (
    ("DELETE", "FULL"),
    ("WAL", "FULL"),
    ("WAL", "NORMAL"),
    ("DELETE", "OFF"),
)
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_INSERT_ID = "INSERT INTO skillstat_event_ids VALUES (?, ?)"
_CONTENT = """
    SELECT position, skill_id, kind, occurred_at_us, event_id, deltas, digest
    FROM skillstat_events LEFT JOIN skillstat_event_ids USING (event_id) ORDER BY position
"""


def without_id(_draw: random.Random, _at_ms: int) -> None:
    """Give no id."""


def time_ordered_id(draw: random.Random, at_ms: int) -> str:
    """Return an id that begins with the time, as a UUIDv7 does."""
    return str(uuid.UUID(int=at_ms << 80 | 7 << 76 | 2 << 62 | draw.getrandbits(60)))


def random_id(draw: random.Random, _at_ms: int) -> str:
    """Return an id that begins at random, as a UUIDv4 does."""
    return str(uuid.UUID(int=draw.getrandbits(128), version=4))


IdOf = Callable[[random.Random, int], str | None]


def against_bare_inserts(setting: Setting) -> Iterator[Figure]:
    """Batches of prebuilt events, against ``executemany`` of the same rows."""
    names: dict[IdOf, str] = {
        without_id: "no ids",
        time_ordered_id: "time-ordered ids",
        random_id: "random ids",
    }
    for id_of, name in names.items():
        events = setting.events // 5
        times = Race.of([_round(setting.folder, events, id_of) for _ in range(setting.rounds)])
        bare, ours = (time / events * 1e6 for time in (times.first, times.second))
        yield Figure(
            name=f"speed of append / bare inserts, {name}",
            value=times.ratio,
            at_least=None if id_of is random_id else 0.4,
            source=f"{ours:.1f} us, {bare:.1f} us an event; {events:,} events",
        )


def one_by_one(setting: Setting) -> Iterator[Figure]:
    """Appends of one event, each a transaction, by what SQLite does to keep it."""
    for journal, synchronous in MODES:
        with closing(_new_log(setting.folder / "commits.db", synchronous, journal)) as db:
            store = SQLiteEventStore(db)
            times = [
                seconds(partial(store.append, [event_of(row, None)]))
                for row in rows(COMMITS * setting.rounds)
            ]
        yield Figure(
            name=f"append of one event, {journal}, synchronous = {synchronous}",
            value=statistics.median(times) * 1000,
            unit="ms",
            source=f"median of {len(times):,}; the disk decides",
        )


def constructing(setting: Setting) -> Iterator[Figure]:
    """The making of events, with all their checks."""
    at = datetime(2026, 3, 1, tzinfo=timezone.utc)
    for name, event_id in (("without id", None), ("with id", str(uuid.UUID(int=0)))):
        build = partial(
            Event, skill_id="skill-00001", kind="download", occurred_at=at, event_id=event_id
        )
        times = timeit.repeat(build, number=CONSTRUCTIONS, repeat=setting.rounds)
        yield Figure(
            name=f"Event(...) {name}",
            value=statistics.median(times) / CONSTRUCTIONS * 1e6,
            unit="us",
        )


def _round(folder: Path, events: int, id_of: IdOf) -> tuple[float, float]:
    """Return the seconds that bare inserts take, and append, taking turns by batch."""
    draw = random.Random(SEED)
    with (
        closing(_new_log(folder / "append.db")) as ours,
        closing(_new_log(folder / "bare.db")) as bare,
    ):
        for (trigger,) in bare.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall():
            bare.execute(f"DROP TRIGGER {trigger}")
        store = SQLiteEventStore(ours)
        times = [0.0, 0.0]
        stream = rows(events)
        while batch := list(itertools.islice(stream, BATCH)):
            built = [event_of(row, id_of(draw, row[6] // 1000)) for row in batch]
            ids = [(each.event_id, each.content_digest()) for each in built if each.event_id]
            values = [
                (*row[:3], each.event_id, *row[4:]) for row, each in zip(batch, built, strict=True)
            ]
            times[0] += seconds(partial(_insert, bare, ids, values))
            times[1] += seconds(partial(store.append, built))
        for pair in zip(ours.execute(_CONTENT), bare.execute(_CONTENT), strict=True):
            if pair[0] != pair[1]:
                raise RuntimeError("append and the bare inserts store different rows")
    return times[0], times[1]


def _new_log(
    path: Path, synchronous: Synchronous = "OFF", journal: Journal = "DELETE"
) -> sqlite3.Connection:
    path.unlink(missing_ok=True)
    db = connect(path, synchronous, journal)
    create_tables(db, SKILL_STATS)
    return db


def event_of(row: Row, event_id: str | None) -> Event:
    """Return the event that a row stands for."""
    skill_id, kind, occurred_at_us, _, deltas, _, _, _ = row
    return Event(
        skill_id=skill_id,
        kind=kind,
        occurred_at=EPOCH + timedelta(microseconds=occurred_at_us),
        event_id=event_id,
        deltas=None if deltas is None else json.loads(deltas),
    )


def _insert(
    db: sqlite3.Connection, ids: Sequence[tuple[object, ...]], values: Sequence[tuple[object, ...]]
) -> None:
    with db:
        db.executemany(_INSERT_ID, ids)
        db.executemany(INSERT, values)

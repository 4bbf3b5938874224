"""What drains and appends take on PostgreSQL, next to what one would write by hand."""

from __future__ import annotations

import itertools
import multiprocessing
import random
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from ctypes import c_int64
from datetime import datetime, timezone
from functools import partial
from typing import Any, LiteralString

import psycopg
from psycopg.sql import SQL, Identifier

from benchmarks.appends import event_of, random_id, time_ordered_id, without_id
from benchmarks.figures import Figure, Race, Setting, race, seconds
from benchmarks.logs import SEED, Row, rows
from benchmarks.postgres_yardstick import (
    copy_by_hand,
    create_yardstick_tables,
    drain_by_hand,
    insert_by_hand,
)
from skillstat_agg import (
    DEFAULT_PAGE,
    SKILL_STATS,
    Buckets,
    Event,
    FoldReport,
    Granularity,
    drain,
    leaderboard,
)
from skillstat_agg.backends.postgres import PostgresEventStore, PostgresStatsStore, create_tables
from tests.postgres_server import fresh_database, running_server

Connection = psycopg.Connection[Any]

PAGE = 100_000
TRANSACTION = 1_000
BATCH = 10_000
WRITERS = 8
WINDOW_SECONDS = 5.0
DRAIN_EVERY_SECONDS = 1.0
LOOK_EVERY_SECONDS = 0.05
IDLE_DRAINS = 300
IDLE_ROUNDS = 3
_WEEK = Buckets.last(7, Granularity.DAY, datetime(2026, 3, 7, tzinfo=timezone.utc))
_BOARD = 200
_OUR_NUMBERS: Sequence[LiteralString] = (
    "SELECT skill_id, downloads, stars, installs_all_time, installs_current"
    " FROM skillstat.skill_stats_totals ORDER BY 1",
    "SELECT day, skill_id, downloads, installs FROM skillstat.skill_stats_daily ORDER BY 1, 2",
)
_NUMBERS_BY_HAND: Sequence[LiteralString] = (
    "SELECT * FROM by_hand.totals ORDER BY 1",
    "SELECT * FROM by_hand.daily ORDER BY 1, 2",
)


# Drain


def against_statement(setting: Setting) -> Iterator[Figure]:
    """A whole backlog, twice as long as that on SQLite, against `drain_by_hand`."""
    events = 2 * setting.events
    with _database() as conninfo, _connected(conninfo) as db:
        create_tables(db, SKILL_STATS)
        _load(db, rows(events))
        found: set[str] = set()
        for page in (PAGE, DEFAULT_PAGE):
            times = race(
                setting.rounds, partial(_ours, db, page, found), partial(_by_hand, db, page, found)
            )
            if len(found) > 1:
                raise RuntimeError("drain and the statement by hand come to different numbers")
            yield Figure(
                name=f"PostgreSQL: drain / statement by hand, pages of {page:,}",
                value=times.ratio,
                at_most=1.5 if page == PAGE else None,
                source=f"{times.first:.2f} s / {times.second:.2f} s; {events:,} events,"
                f" PostgreSQL {_version(db)}",
            )


def _ours(db: Connection, page: int, found: set[str]) -> float:
    """Return the seconds of a drain from the start; add a digest of its numbers to *found*."""
    db.execute("DROP TABLE skillstat.skill_stats_totals, skillstat.skill_stats_daily")
    db.execute("DELETE FROM skillstat.skillstat_cursors")
    create_tables(db, SKILL_STATS)
    db.execute("CHECKPOINT")
    taken = seconds(partial(_drain, db, page=page))
    found.add(_digest(db, _OUR_NUMBERS))
    return taken


def _by_hand(db: Connection, page: int, found: set[str]) -> float:
    """Return the seconds that the statement by hand takes; add a digest of its numbers."""
    create_yardstick_tables(db)
    db.execute("CHECKPOINT")
    taken = seconds(partial(drain_by_hand, db, page))
    found.add(_digest(db, _NUMBERS_BY_HAND))
    return taken


def _digest(db: Connection, selects: Iterable[LiteralString]) -> str:
    """Return what tells unlike rows apart: rows that are kept would slow Python down."""
    return repr([hash(tuple(db.execute(select).fetchall())) for select in selects])


# Append


def against_bare_statements(setting: Setting) -> Iterator[Figure]:
    """Batches of prebuilt events, against the bare statements that they come to."""
    events = setting.events // 5
    for id_of, name in (
        (without_id, "COPY, no ids"),
        (time_ordered_id, "INSERT, time-ordered ids"),
        (random_id, "INSERT, random ids"),
    ):
        with _database() as conninfo, _connected(conninfo) as db:
            times = Race.of([_round(db, events, id_of) for _ in range(setting.rounds)])
        bare, ours = (time / events * 1e6 for time in (times.first, times.second))
        yield Figure(
            name=f"PostgreSQL: speed of append / bare {name}",
            value=times.ratio,
            at_least=0.5 if id_of is without_id else 0.6,
            source=f"{ours:.1f} us, {bare:.1f} us an event; {events:,} events, {BATCH:,} at a time",
        )


def _round(
    db: Connection, events: int, id_of: Callable[[random.Random, int], str | None]
) -> tuple[float, float]:
    """Return the seconds that bare statements take, and append, taking turns by batch."""
    draw = random.Random(SEED)
    for schema in ("ours", "bare"):
        db.execute(SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(Identifier(schema)))
        create_tables(db, SKILL_STATS, schema=schema)
    db.execute("CHECKPOINT")
    store = PostgresEventStore(db, schema="ours")
    times = [0.0, 0.0]
    stream = rows(events)
    while drawn := list(itertools.islice(stream, BATCH)):
        built = [event_of(row, id_of(draw, row[6] // 1000)) for row in drawn]
        times[0] += seconds(_bare(db, drawn, built))
        times[1] += seconds(partial(store.append, built))
    ours, bare = (
        db.execute(
            SQL(
                "SELECT skill_id, kind, occurred_at_us, event_id, deltas, digest"
                " FROM {0}.skillstat_events LEFT JOIN {0}.skillstat_event_ids"
                " USING (event_id) ORDER BY xid, seq"
            ).format(Identifier(schema))
        ).fetchall()
        for schema in ("ours", "bare")
    )
    if ours != bare:
        raise RuntimeError("append and the bare statements store different rows")
    return times[0], times[1]


def _bare(db: Connection, drawn: Sequence[Row], built: Sequence[Event]) -> Callable[[], object]:
    """Return the work that stores these events in the schema ``bare``, all made ready."""
    values = [(*row[:3], each.event_id, *row[4:]) for row, each in zip(drawn, built, strict=True)]
    if built[0].event_id is None:
        return partial(copy_by_hand, db, "bare", values)
    columns = [*map(list, zip(*values, strict=True)), [each.content_digest() for each in built]]
    return partial(insert_by_hand, db, "bare", columns)


# Writers beside a drain


def beside_a_drain(setting: Setting) -> Iterator[Figure]:
    """Transactions of one event each, by eight processes, with a drain every second or without."""
    with ExitStack() as stack:
        conninfo = stack.enter_context(_database())
        worker, looker = (stack.enter_context(_connected(conninfo)) for _ in range(2))
        create_tables(worker, SKILL_STATS)
        counts = stack.enter_context(_writing(conninfo))
        folded: list[FoldReport] = []
        looks: list[int] = []
        watch = partial(_watch, counts, looker, worker.info.backend_pid, looks)
        pairs = []
        for _ in range(setting.rounds):
            folded.append(_drain(worker))
            alone = watch(lambda: None)
            pairs.append((watch(lambda: folded.append(_drain(worker))), alone))
        times = Race.of(pairs)
    yield Figure(
        name="PostgreSQL: rate of writers beside a drain / alone",
        value=times.ratio,
        at_least=0.9,
        source=f"{times.first:,.0f} / {times.second:,.0f} events a second, a transaction each,"
        f" {WRITERS} writers; {sum(each.events for each in folded):,} events drained",
    )
    yield Figure(
        name="PostgreSQL: writers seen waiting for a lock of the drain",
        value=sum(looks),
        at_most=0,
        source=f"{len(looks):,} looks at pg_stat_activity and pg_blocking_pids",
    )


@contextmanager
def _writing(conninfo: str) -> Iterator[Sequence[int]]:
    """Give numbers that grow with what processes append meanwhile."""
    spawn = multiprocessing.get_context("spawn")
    counts: Any = spawn.Array(c_int64, WRITERS, lock=False)
    writers = [
        spawn.Process(target=_write, args=(conninfo, counts, number), daemon=True)
        for number in range(WRITERS)
    ]
    try:
        for writer in writers:
            writer.start()
        while not all(counts):
            time.sleep(0.1)
            if any(writer.exitcode is not None for writer in writers):
                raise RuntimeError("a writer has ended by itself")
        yield counts
    finally:
        for act in (spawn.Process.kill, spawn.Process.join):
            for writer in writers:
                if writer.pid is not None:
                    act(writer)


def _write(conninfo: str, counts: Any, number: int) -> None:
    """Append one event after the other; count them."""
    events = [event_of(row, None) for row in itertools.islice(rows(100_000), number, None, WRITERS)]
    with _connected(conninfo) as db:
        store = PostgresEventStore(db)
        for event in itertools.cycle(events):
            store.append([event])
            counts[number] += 1


def _watch(
    counts: Sequence[int], db: Connection, worker: int, looks: list[int], fold: Callable[[], object]
) -> float:
    """Return the events that are appended a second, while *fold* is called once in a while.

    Args:
        counts: What the writers have appended.
        db: A connection to look through, from a thread of its own.
        worker: The process whose locks are looked at.
        looks: Gets the number of those that wait for it, once in a while.
        fold: What to call.
    """
    with ExitStack() as stack:
        stack.enter_context(_looking(db, worker, looks))
        start, before = time.perf_counter(), sum(counts)
        for turn in range(1, int(WINDOW_SECONDS / DRAIN_EVERY_SECONDS) + 1):
            fold()
            time.sleep(max(0.0, start + turn * DRAIN_EVERY_SECONDS - time.perf_counter()))
        return (sum(counts) - before) / (time.perf_counter() - start)


@contextmanager
def _looking(db: Connection, worker: int, looks: list[int]) -> Iterator[None]:
    """Look, again and again, how many sessions wait for a lock that *worker* holds."""
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(LOOK_EVERY_SECONDS):
            [(waiting,)] = db.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                " AND %s = ANY(pg_blocking_pids(pid))",
                (worker,),
            )
            looks.append(waiting)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


# Idle


def idle(setting: Setting) -> Iterator[Figure]:
    """A drain of a log of which everything is folded."""
    with ExitStack() as stack:
        conninfo = stack.enter_context(_database())
        db, other = (stack.enter_context(_connected(conninfo)) for _ in range(2))
        create_tables(db, SKILL_STATS)
        _load(db, rows(setting.events // 10))
        _drain(db)
        db.execute("VACUUM ANALYZE")
        db.execute("CHECKPOINT")
        _drain(db)
        db.cursor_factory = _CountingCursor
        times, traces = [], []
        # The server itself writes a record now and then, so the quietest of some turns speaks.
        for _ in range(IDLE_ROUNDS):
            before = _written(other)
            times += [seconds(partial(_drain, db)) for _ in range(IDLE_DRAINS)]
            after = _written(other)
            traces.append(sum(one != two for one, two in zip(before, after, strict=True)))
    yield Figure(
        name="PostgreSQL: idle drain",
        value=statistics.median(times) * 1000,
        unit="ms",
        source=f"median of {len(times)}, slowest {max(times) * 1000:.2f} ms",
    )
    yield Figure(
        name="PostgreSQL: idle drain, statements sent",
        value=_CountingCursor.sent / len(times),
        at_most=2,
        source="each one round trip",
    )
    yield Figure(
        name="PostgreSQL: idle drain, traces of a write",
        value=min(traces),
        at_most=0,
        source="position of the write-ahead log, next transaction id",
    )


class _CountingCursor(psycopg.Cursor[Any]):
    """A cursor that counts what all of its kind have sent."""

    sent = 0

    def execute(self, *given: Any, **named: Any) -> _CountingCursor:
        _CountingCursor.sent += 1
        super().execute(*given, **named)
        return self


def _written(db: Connection) -> tuple[object, ...]:
    """Return what a write, or the begin of one, would change."""
    [found] = db.execute(
        "SELECT pg_current_wal_insert_lsn()::text, pg_snapshot_xmax(pg_current_snapshot())::text"
    )
    return tuple(found)


# What all of them use


@contextmanager
def _database() -> Iterator[str]:
    """Give what connects to an empty database of a server that does nothing else."""
    with running_server() as server, fresh_database(server) as conninfo:
        yield conninfo


def _connected(conninfo: str) -> Connection:
    return psycopg.connect(conninfo, autocommit=True)


def _load(db: Connection, stream: Iterator[Row]) -> None:
    """Append these rows, in transactions of `TRANSACTION` events."""
    while values := list(itertools.islice(stream, TRANSACTION)):
        copy_by_hand(db, "skillstat", values)
    db.execute("VACUUM ANALYZE skillstat.skillstat_events")


def _drain(db: Connection, *, page: int = DEFAULT_PAGE) -> FoldReport:
    return drain(PostgresEventStore(db), PostgresStatsStore(db, SKILL_STATS), page=page)


def _version(db: Connection) -> str:
    [(version,)] = db.execute("SHOW server_version")
    return str(version)


# Boards


def board_of_a_week(setting: Setting) -> Iterator[Figure]:
    """A board of 200 over 7 days, against the same statement by hand."""
    skills = max(1, setting.events * 7 // 100)
    with _database() as conninfo, _connected(conninfo) as db:
        create_tables(db, SKILL_STATS)
        db.execute(
            "INSERT INTO skillstat.skill_stats_daily (day, skill_id, downloads, installs)"
            " SELECT date '2026-03-01' + day, 'publisher/skill-' || skill, random() * 100,"
            " random() * 5 FROM generate_series(0, 6) AS day, generate_series(1, %s) AS skill",
            (skills,),
        )
        db.execute("VACUUM ANALYZE skillstat.skill_stats_daily")
        stats = PostgresStatsStore(db, SKILL_STATS)
        board = partial(leaderboard, stats, "installs", "downloads", over=_WEEK, limit=_BOARD)
        by_hand = partial(_board_by_hand, db)
        if [(each.skill_id, *each.sums.values()) for each in board()] != by_hand():
            raise RuntimeError("the board and the statement by hand come to different numbers")
        times = race(setting.rounds, lambda: seconds(board), lambda: seconds(by_hand))
    yield Figure(
        name="board of 200 over 7 days / statement by hand, PostgreSQL",
        value=times.ratio,
        at_most=1.2,
        source=f"{times.first * 1e3:.0f} ms / {times.second * 1e3:.0f} ms; {7 * skills:,} rows",
    )


def _board_by_hand(db: Connection) -> list[tuple[Any, ...]]:
    return db.execute(
        "SELECT skill_id, sum(installs) AS i, sum(downloads) AS d FROM skillstat.skill_stats_daily"
        " WHERE day BETWEEN '2026-03-01' AND '2026-03-07'"
        " GROUP BY skill_id ORDER BY i DESC, d DESC, skill_id LIMIT 200"
    ).fetchall()

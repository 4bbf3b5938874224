"""What rebuild, verify and prune take, on SQLite: against a drain, a bare scan, and a writer."""

from __future__ import annotations

import itertools
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

from benchmarks.figures import Figure, Setting, race, seconds
from benchmarks.logs import INSERT, connect, fresh_copy, rows
from benchmarks.memory import peak_alone
from skillstat_agg import SKILL_STATS, Segment, drain, prune, rebuild, verify
from skillstat_agg.backends.sqlite import SQLiteEventStore, SQLiteStatsStore

LOOK_SECONDS = 0.1
"""How long SQLite waits, at most, before it looks again whether it can have the lock."""

# What verify must read, read by hand: the log once, and each table once.
_SUMS = (
    "SELECT count(*), sum(fingerprint) FROM skillstat_events",
    "SELECT sum(downloads), sum(stars), sum(installs_all_time), sum(installs_current)"
    " FROM skill_stats_totals",
    "SELECT sum(downloads), sum(installs) FROM skill_stats_daily",
)


def rebuilding(setting: Setting) -> Iterator[Figure]:
    """All events folded anew beside numbers that serve, against a drain of all of them."""
    drained = _drained(setting.log)
    times = race(
        setting.rounds,
        lambda: _on_copy(drained, _rebuild),
        lambda: _on_copy(setting.log, _drain),
    )
    yield Figure(
        name="rebuild / drain",
        value=times.ratio,
        at_most=1.0,
        source=f"{times.first:.2f} s / {times.second:.2f} s; {setting.events:,} events",
    )
    whole, tenth = (
        peak_alone(fresh_copy(log), rebuild_file) for log in (drained, _drained(setting.tenth))
    )
    yield Figure(
        name="peak memory of a rebuild, 10 times the events",
        value=whole / tenth,
        at_most=1.1,
        source=f"{whole / 1024:.1f} MiB / {tenth / 1024:.1f} MiB",
    )


def verifying(setting: Setting) -> Iterator[Figure]:
    """A cheap verify, against bare sums over the same rows."""
    with closing(connect(_drained(setting.log), "OFF")) as db:
        events, stats = SQLiteEventStore(db), SQLiteStatsStore(db, SKILL_STATS)
        if not verify(events, stats).is_ok:
            raise RuntimeError("verify finds what is not there")

        def sum_by_hand() -> None:
            for select in _SUMS:
                db.execute(select).fetchall()

        times = race(
            setting.rounds,
            lambda: seconds(partial(verify, events, stats)),
            lambda: seconds(sum_by_hand),
        )
    yield Figure(
        name="verify / bare sums over the same rows",
        value=times.ratio,
        at_most=2.0,
        source=f"{times.first:.2f} s / {times.second:.2f} s; {setting.events:,} events",
    )


def pruning(setting: Setting) -> Iterator[Figure]:
    """Prune of everything, beside a writer who appends one event after the other."""
    path = _drained(setting.log)
    before = _rows_of(path)
    segments: list[float] = []
    with closing(connect(path, "FULL")) as db:
        events, stats = SQLiteEventStore(db), SQLiteStatsStore(db, SKILL_STATS)
        waits: list[float] = []
        stop = threading.Event()
        writer = threading.Thread(target=_append_until, args=(path, stop, waits))
        writer.start()
        began = [time.perf_counter()]

        def note(_: Segment) -> None:
            segments.append(time.perf_counter() - began[0])

        def wait(rest: float) -> None:
            time.sleep(rest)
            began[0] = time.perf_counter()

        taken = seconds(lambda: prune(events, stats, before=None, on_segment=note, wait=wait))
        stop.set()
        writer.join()
        ok = verify(events, stats).is_ok
    if not ok:
        raise RuntimeError("verify finds a difference after a prune")
    yield Figure(
        name="prune: rows left",
        value=_rows_of(path) / before,
        source=f"{taken:.2f} s for {before:,} events",
    )
    yield Figure(
        name="prune: longest wait of a writer / longest segment and a look",
        value=max(waits) / (max(segments) + LOOK_SECONDS),
        at_most=1.0,
        source=f"{max(waits) * 1000:.0f} ms of {len(waits):,} appends /"
        f" {max(segments) * 1000:.0f} ms of {len(segments):,} segments",
    )


def _append_until(path: Path, stop: threading.Event, waits: list[float]) -> None:
    """Append one row after the other, a transaction each; note how long each took."""
    stream = itertools.cycle(rows(10_000))
    with closing(sqlite3.connect(path, isolation_level=None, timeout=60)) as db:
        while not stop.is_set():
            waits.append(seconds(partial(db.execute, INSERT, next(stream))))
            stop.wait(0.005)


def rebuild_file(path: Path) -> None:
    """Rebuild the numbers in a file."""
    with closing(connect(path, "OFF")) as db:
        _rebuild(db)


def _rebuild(db: sqlite3.Connection) -> None:
    rebuild(SQLiteEventStore(db), SQLiteStatsStore(db, SKILL_STATS))


def _drain(db: sqlite3.Connection) -> None:
    drain(SQLiteEventStore(db), SQLiteStatsStore(db, SKILL_STATS))


def _on_copy(log: Path, work: Callable[[sqlite3.Connection], None]) -> float:
    """Return the seconds that *work* takes on a copy of *log*."""
    with closing(connect(fresh_copy(log), "OFF")) as db:
        return seconds(lambda: work(db))


def _drained(log: Path) -> Path:
    """Return a copy of *log* in which everything is folded."""
    path = fresh_copy(log).rename(log.with_suffix(".drained.db"))
    with closing(connect(path, "OFF")) as db:
        _drain(db)
    return path


def _rows_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        [(count,)] = db.execute("SELECT count(*) FROM skillstat_events")
        return int(count)

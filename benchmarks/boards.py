"""What boards and series cost, next to the best statement by hand on the same tables."""

from __future__ import annotations

import random
import sqlite3
import statistics
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

from benchmarks.figures import Figure, Setting, race, seconds
from benchmarks.logs import SEED, connect
from skillstat_agg import SKILL_STATS, Buckets, Event, Granularity, drain, leaderboard, series
from skillstat_agg.backends.sqlite import SQLiteEventStore, SQLiteStatsStore, create_tables

LAST = datetime(2026, 3, 7, 12, tzinfo=timezone.utc)
WEEK, MONTH = (Buckets.last(days, Granularity.DAY, LAST) for days in (7, 30))
LIMIT, RESULTS, READS, BACKLOG = 200, 50, 200, 20_000

BY_HAND = """
    SELECT skill_id, sum(installs) AS i, sum(downloads) AS d FROM skill_stats_daily
    WHERE day BETWEEN '2026-03-01' AND '2026-03-07'
    GROUP BY skill_id ORDER BY i DESC, d DESC, skill_id LIMIT 200
"""
"""The quickest that was found; it is right only as long as no day is below 0."""

SERIES_BY_HAND = """
    SELECT skill_id, day, downloads, installs FROM skill_stats_daily
    WHERE day BETWEEN '2026-02-06' AND '2026-03-07' AND skill_id IN ({})
"""
INDEX = "CREATE INDEX by_skill ON skill_stats_daily (skill_id, day, downloads, installs)"


def skills_of(setting: Setting) -> list[str]:
    """Return the ids of 70,000 skills for a log of a million events."""
    draw = random.Random(SEED)
    count = max(RESULTS, setting.events * 7 // 100)
    skills = [f"publisher-{draw.randrange(5_000)}/skill-{number}" for number in range(count)]
    draw.shuffle(skills)
    return skills


def board_file(setting: Setting, days: Buckets = WEEK) -> Path:
    """Return a file whose skills have rows on seven of these days: on all, or on some."""
    path = setting.folder / f"boards-{len(days.numbers)}.db"
    if path.exists():
        return path
    draw = random.Random(SEED)
    skills = sorted(skills_of(setting))
    starts = [start.date().isoformat() for start in days.starts]
    rows = sorted((day, skill) for skill in skills for day in draw.sample(starts, 7))
    with closing(connect(path, "OFF")) as db:
        create_tables(db, SKILL_STATS)
        with db:
            db.executemany(
                "INSERT INTO skill_stats_totals (skill_id, downloads) VALUES (?, ?)",
                ((skill, draw.randrange(10_000)) for skill in skills),
            )
            db.executemany(
                "INSERT INTO skill_stats_daily (day, skill_id, downloads, installs)"
                " VALUES (?, ?, ?, ?)",
                ((*row, draw.randrange(100), draw.randrange(5)) for row in rows),
            )
    return path


def of_a_week(setting: Setting) -> Iterator[Figure]:
    """A board of 200 over 7 days, with and without an index of one's own; and a total."""
    path = board_file(setting)
    with closing(connect(path, "OFF")) as db:
        stats = SQLiteStatsStore(db, SKILL_STATS)
        ours = [
            (entry.skill_id, *entry.sums.values())
            for entry in leaderboard(stats, "installs", "downloads", over=WEEK, limit=LIMIT)
        ]
        if ours != db.execute(BY_HAND).fetchall():
            raise RuntimeError("the board and the statement by hand come to different numbers")
        board = partial(leaderboard, stats, "installs", "downloads", over=WEEK, limit=LIMIT)
        times = race(
            setting.rounds,
            lambda: seconds(board),
            lambda: seconds(lambda: db.execute(BY_HAND).fetchall()),
        )
        (rows,) = db.execute("SELECT count(*) FROM skill_stats_daily").fetchone()
        yield Figure(
            name="board of 200 over 7 days / statement by hand",
            value=times.ratio,
            at_most=1.2,
            source=f"{times.first * 1e3:.0f} ms / {times.second * 1e3:.0f} ms; {rows:,} rows",
        )
        total = partial(leaderboard, stats, "downloads", limit=LIMIT)
        taken = statistics.median(seconds(total) for _ in range(setting.rounds))
        yield Figure(
            name="board of 200 over all time",
            value=taken * 1e3,
            unit="ms",
            source=f"{len(skills_of(setting)):,} skills",
        )
    yield from _with_an_index(setting, path)


def _with_an_index(setting: Setting, path: Path) -> Iterator[Figure]:
    """What an index by skill gives a board, and takes from a drain."""
    draw = random.Random(SEED)
    chosen = draw.choices(skills_of(setting), k=min(BACKLOG, setting.events))
    events = [Event(skill_id=skill, kind="download", occurred_at=LAST) for skill in chosen]
    drains: list[float] = []
    boards: list[float] = []
    for index in ("", INDEX):
        copy = path.with_suffix(".copy")
        with closing(connect(copy, "OFF")) as db, closing(connect(path, "OFF")) as source:
            source.backup(db)
            if index:
                db.execute(index)
            log, stats = SQLiteEventStore(db), SQLiteStatsStore(db, SKILL_STATS)
            log.append(events)
            drains.append(seconds(partial(drain, log, stats)))
            board = partial(leaderboard, stats, "installs", "downloads", over=WEEK, limit=LIMIT)
            boards.append(min(seconds(board) for _ in range(setting.rounds)))
        copy.unlink()
    yield Figure(
        name="the same, with an index by skill / without",
        value=boards[1] / boards[0],
        source=f"{boards[1] * 1e3:.0f} ms / {boards[0] * 1e3:.0f} ms",
    )
    yield Figure(
        name="drain with that index / without",
        value=drains[1] / drains[0],
        source=f"{drains[1]:.2f} s / {drains[0]:.2f} s; {len(events):,} events",
    )


def of_a_page(setting: Setting) -> Iterator[Figure]:
    """What a page of 50 search results asks for: totals, and series of 30 days."""
    path = board_file(setting, MONTH)
    draw = random.Random(SEED)
    skills = skills_of(setting)
    with closing(connect(path, "OFF")) as db:
        stats = SQLiteStatsStore(db, SKILL_STATS)
        pages = [draw.sample(skills, RESULTS) for _ in range(READS)]
        totals = statistics.median(seconds(partial(stats.totals, page)) for page in pages)
        trends = statistics.median(seconds(partial(series, stats, page, MONTH)) for page in pages)
        by_hand = statistics.median(seconds(partial(_by_hand, db, page)) for page in pages)
    yield Figure(
        name="totals and series of 30 days, 50 skills",
        value=(totals + trends) * 1e3,
        unit="ms",
        at_most=5.0,
        source=f"{totals * 1e3:.2f} ms + {trends * 1e3:.2f} ms; by hand the series takes"
        f" {by_hand * 1e3:.2f} ms",
    )


def _by_hand(db: sqlite3.Connection, skills: list[str]) -> object:
    marks = ", ".join("?" * len(skills))
    return db.execute(SERIES_BY_HAND.format(marks), skills).fetchall()

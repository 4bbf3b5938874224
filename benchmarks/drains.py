"""How long a drain takes: against the yardstick, by backlog, by page, idle, without a tally."""

from __future__ import annotations

import sqlite3
import statistics
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

from benchmarks.figures import Figure, Race, Setting, race, seconds
from benchmarks.logs import SKILLS, Synchronous, connect, fresh_copy
from benchmarks.yardstick import GROUPS, create_yardstick_tables, drain_by_hand
from skillstat_agg import (
    DEFAULT_PAGE,
    SKILL_STATS,
    Commit,
    CommitResult,
    FoldReport,
    Granularity,
    Projection,
    drain,
)
from skillstat_agg.backends.sqlite import SQLiteEventStore, SQLiteStatsStore

PAGES = (500, 10_000, 20_000, 50_000, 100_000)
IDLE_DRAINS = 500
_OUR_NUMBERS = (
    "SELECT skill_id, downloads, stars, installs_all_time, installs_current"
    " FROM skill_stats_totals ORDER BY 1",
    "SELECT day, skill_id, downloads, installs FROM skill_stats_daily ORDER BY 1, 2",
)
_NUMBERS_BY_HAND = (
    "SELECT * FROM totals ORDER BY 1",
    "SELECT date(day * 86400, 'unixepoch'), skill, downloads, installs FROM daily ORDER BY 1, 2",
)


def against_yardstick(setting: Setting) -> Iterator[Figure]:
    """A whole backlog at the default page, against `drain_by_hand`."""
    modes: tuple[Synchronous, ...] = ("OFF", "FULL")
    for synchronous in modes:
        found: list[object] = []
        times = race(
            setting.rounds,
            partial(_ours, setting.log, synchronous, found),
            partial(_by_hand, setting.log, synchronous, found),
        )
        if any(numbers != found[0] for numbers in found):
            raise RuntimeError("drain and the yardstick come to different numbers")
        yield Figure(
            name=f"drain / yardstick, synchronous = {synchronous}",
            value=times.ratio,
            at_most=1.5,
            source=f"{times.first:.2f} s / {times.second:.2f} s",
        )


def by_backlog(setting: Setting) -> Iterator[Figure]:
    """All events in one drain, against ten drains of a tenth of them each."""
    times = race(
        setting.rounds,
        partial(_ours, setting.log, "OFF"),
        lambda: sum(_ours(setting.tenth, "OFF") for _ in range(10)),
    )
    yield Figure(
        name="time per event, 10 times the backlog",
        value=times.ratio,
        at_most=1.2,
        source=f"{times.first:.2f} s / {times.second:.2f} s",
    )


def by_page(setting: Setting) -> Iterator[Figure]:
    """A whole backlog in pages of some size, against the default; and what a commit takes."""
    commits: dict[int, list[float]] = {page: [] for page in (*PAGES, DEFAULT_PAGE)}
    turns = [
        {page: _in_pages(setting.log, page, commits[page]) for page in commits}
        for _ in range(setting.rounds)
    ]
    for page in PAGES:
        times = Race.of([(turn[page], turn[DEFAULT_PAGE]) for turn in turns])
        yield Figure(
            name=f"drain, pages of {page:,} / of {DEFAULT_PAGE:,}",
            value=times.ratio,
            source=f"{times.first:.2f} s / {times.second:.2f} s, synchronous = FULL",
        )
        yield Figure(
            name=f"commit of a page of {page:,}",
            value=statistics.median(commits[page]) * 1000,
            unit="ms",
            source=f"slowest of {len(commits[page]):,}: {max(commits[page]) * 1000:.0f} ms",
        )


def without_tally(setting: Setting) -> Iterator[Figure]:
    """A tenth of the backlog read event by event, against the store's own tally."""
    times = race(
        setting.rounds,
        partial(_ours, setting.tenth, "OFF", max_skills=SKILLS),
        partial(_ours, setting.tenth, "OFF"),
    )
    yield Figure(
        name="drain with plain reads / with own tallies",
        value=times.ratio,
        source=f"{times.first:.2f} s / {times.second:.2f} s",
    )


def tallying(setting: Setting) -> Iterator[Figure]:
    """The store's own tally, page after page, against a ``GROUP BY`` of the same pages."""
    times = race(setting.rounds, partial(_tally, setting.log), partial(_group_by, setting.log))
    yield Figure(
        name="tally while rows stream by / GROUP BY in SQL",
        value=times.ratio,
        source=f"{times.first:.2f} s / {times.second:.2f} s",
    )


def idle(setting: Setting) -> Iterator[Figure]:
    """A drain of a log of which everything is folded."""
    path = fresh_copy(setting.tenth)
    with closing(connect(path, "FULL")) as db, closing(sqlite3.connect(path)) as other:
        _drain(db)
        before = _traces(path, db, other)
        times = sorted(seconds(lambda: _drain(db)) for _ in range(IDLE_DRAINS))
        after = _traces(path, db, other)
    yield Figure(
        name="idle drain",
        value=statistics.median(times) * 1000,
        unit="ms",
        at_most=1.0,
        source=f"median of {IDLE_DRAINS}, slowest {times[-1] * 1000:.2f} ms",
    )
    yield Figure(
        name="idle drain: traces of a write",
        value=sum(old != new for old, new in zip(before, after, strict=True)),
        at_most=0,
        source="bytes and time of the file, data_version, total_changes",
    )


def _ours(
    log: Path,
    synchronous: Synchronous,
    found: list[object] | None = None,
    *,
    page: int = DEFAULT_PAGE,
    max_skills: int | None = None,
) -> float:
    """Return the seconds that draining a copy of *log* takes; add its numbers to *found*."""
    with closing(connect(fresh_copy(log), synchronous)) as db:
        taken = seconds(lambda: _drain(db, page=page, max_skills=max_skills))
        if found is not None:
            found.append([db.execute(select).fetchall() for select in _OUR_NUMBERS])
    return taken


def _in_pages(log: Path, page: int, commits: list[float]) -> float:
    """Return the seconds of a drain; add those of each of its commits to *commits*."""
    with closing(connect(fresh_copy(log), "FULL")) as db:
        stats = _TimedStats(db, SKILL_STATS)
        taken = seconds(lambda: drain(SQLiteEventStore(db), stats, page=page))
        commits += stats.commits
    return taken


class _TimedStats(SQLiteStatsStore):
    """Stats that note how long each commit takes: so long other writers wait."""

    def __init__(self, db: sqlite3.Connection, projection: Projection) -> None:
        super().__init__(db, projection)
        self.commits: list[float] = []

    def commit(self, commit: Commit, /) -> CommitResult:
        start = time.perf_counter()
        result = super().commit(commit)
        self.commits.append(time.perf_counter() - start)
        return result


def _by_hand(log: Path, synchronous: Synchronous, found: list[object]) -> float:
    """Return the seconds that the yardstick takes; add its numbers to *found*."""
    with closing(connect(fresh_copy(log), synchronous)) as db:
        create_yardstick_tables(db)
        taken = seconds(lambda: drain_by_hand(db, DEFAULT_PAGE))
        found.append([db.execute(select).fetchall() for select in _NUMBERS_BY_HAND])
    return taken


def _tally(log: Path) -> float:
    """Return the seconds that tallying all pages takes, each one whole."""
    with closing(connect(fresh_copy(log), "OFF")) as db:
        events = SQLiteEventStore(db)

        def tally_all() -> None:
            place, is_last = None, False
            while not is_last:
                page = events.tally(place, limit=DEFAULT_PAGE, granularity=Granularity.DAY)
                if page is None:
                    raise RuntimeError("the log holds what cannot be tallied")
                place, is_last = page.place, page.is_last

        return seconds(tally_all)


def _group_by(log: Path) -> float:
    """Return the seconds that grouping all pages in SQL takes, with nothing else done."""
    with closing(connect(fresh_copy(log), "OFF")) as db:
        (last,) = db.execute("SELECT max(position) FROM skillstat_events").fetchone()

        def group_all() -> None:
            for first in range(0, last, DEFAULT_PAGE):
                db.execute(GROUPS, (first, DEFAULT_PAGE)).fetchall()

        return seconds(group_all)


def _drain(
    db: sqlite3.Connection, *, page: int = DEFAULT_PAGE, max_skills: int | None = None
) -> FoldReport:
    events, stats = SQLiteEventStore(db), SQLiteStatsStore(db, SKILL_STATS)
    return drain(events, stats, page=page, max_skills=max_skills)


def _traces(path: Path, db: sqlite3.Connection, other: sqlite3.Connection) -> tuple[object, ...]:
    """Return what a write through *db* would change."""
    (version,) = other.execute("PRAGMA data_version").fetchone()
    return path.read_bytes(), path.stat().st_mtime_ns, version, db.total_changes

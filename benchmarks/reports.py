"""What a page for people costs: 10,000 skills, each with something on each of 30 days."""

from __future__ import annotations

import itertools
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

from benchmarks.figures import Figure, Setting, seconds
from benchmarks.logs import DAY_US, SKILLS, START_US, Row, connect, rows, write_log
from skillstat_agg import SKILL_STATS, drain
from skillstat_agg.backends.sqlite import SQLiteEventStore, SQLiteStatsStore

DAYS = 30
LAST = "2026-03-03"


def of_many_skills(setting: Setting) -> Iterator[Figure]:
    """The whole command, from its start to the file that is there."""
    path = write_log(
        setting.folder / "month.db", itertools.chain(rows(setting.events), every_day())
    )
    with closing(connect(path, "OFF")) as db:
        drain(SQLiteEventStore(db), SQLiteStatsStore(db, SKILL_STATS))
        (found,) = db.execute("SELECT count(*) FROM skill_stats_daily").fetchone()
    page = setting.folder / "report.html"
    command = (sys.executable, "-m", "skillstat_agg.cli", "report", "--db", str(path))

    def report() -> None:
        subprocess.run(
            (*command, "--days", str(DAYS), "--until", LAST, str(page)),
            check=True,
            stdout=subprocess.DEVNULL,
        )

    taken = [seconds(report) for _ in range(setting.rounds)]
    yield Figure(
        name=f"report of {SKILLS:,} skills and {DAYS} days",
        value=statistics.median(taken),
        unit="s",
        at_most=5.0,
        source=f"{setting.events + SKILLS * DAYS:,} events, {found:,} rows by day",
    )
    yield Figure(
        name="its size",
        value=page.stat().st_size / 1e6,
        unit="MB",
        at_most=3.0,
        source="not compressed",
    )


def every_day() -> Iterator[Row]:
    """Return the rows of a log in which every skill has one download on each day."""
    for day in range(DAYS):
        at = START_US - 1 - day * DAY_US
        for number in range(SKILLS):
            yield (
                f"skill-{number:05}",
                "download",
                at,
                None,
                None,
                None,
                START_US + DAY_US,
                day * SKILLS + number,
            )

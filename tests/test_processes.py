"""Real processes on one SQLite file, killed with no chance to clean up."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

from skillstat_agg import SKILL_STATS, drain
from skillstat_agg.backends.sqlite import SQLiteEventStore, SQLiteStatsStore, create_tables

WRITER = """
import sqlite3, sys
from datetime import datetime, timezone
from skillstat_agg import Event
from skillstat_agg.backends.sqlite import SQLiteEventStore

path, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
db = sqlite3.connect(path, timeout=60)
tied = datetime(2026, 3, 1, tzinfo=timezone.utc)
log = SQLiteEventStore(db, clock=lambda: tied)
for number in range(count):
    skill_id, event_id = f"skill {number % 5}", f"{name}-{number}"
    log.append([Event(skill_id=skill_id, kind="download", occurred_at=tied, event_id=event_id)])
    print(number, flush=True)
db.close()
"""
WORKER = """
import sqlite3, sys
from skillstat_agg import SKILL_STATS, drain
from skillstat_agg.backends.sqlite import SQLiteEventStore, SQLiteStatsStore

db = sqlite3.connect(sys.argv[1], timeout=60)
log, stats = SQLiteEventStore(db), SQLiteStatsStore(db, SKILL_STATS)
while True:
    drain(log, stats, page=3, on_commit=lambda changed: print("commit", flush=True))
    print("drained", flush=True)
"""


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )


def kill_after(process: subprocess.Popen[str], lines: int) -> None:
    """Kill a process once it has printed so many lines, or has ended before."""
    assert process.stdout is not None
    for _ in range(lines):
        if not process.stdout.readline():
            break
    process.kill()
    process.communicate()


def test_killed_writers_and_workers_lose_and_repeat_nothing(tmp_path: Path):
    """Writers retry from their start with the same ids, workers just start again."""
    path = tmp_path / "stats.db"
    with closing(sqlite3.connect(path, timeout=60)) as db:
        create_tables(db, SKILL_STATS)
        for round_ in range(1, 4):
            running = [start(WRITER, path, name, 40) for name in "ab"]
            workers = [start(WORKER, path) for _ in range(2)]
            for process in running:
                kill_after(process, 5 * round_)
            for process in workers:
                kill_after(process, round_)
        for name in "ab":
            assert start(WRITER, path, name, 40).communicate()[0].count("\n") == 40

        log, stats = SQLiteEventStore(db), SQLiteStatsStore(db, SKILL_STATS)
        drain(log, stats)

        events = log.read(None, limit=1_000).events
        assert len(events) == stats.cursor().count == 80
        assert sum(one.fingerprint for one in events) == stats.cursor().checksum
        assert {skill: row["downloads"] for skill, row in stats.totals().items()} == Counter(
            one.event.skill_id for one in events
        )

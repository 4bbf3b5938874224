"""The log that is measured, and the files it lies in."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeAlias

from skillstat_agg import SKILL_STATS
from skillstat_agg.backends.sqlite import create_tables

SEED = 2026
SKILLS = 10_000
PER_TICK = 7
DAY_US = 86_400_000_000
# 2026-03-04 00:00 UTC: what is recorded then occurred in the three days before.
START_US = 1_772_582_400_000_000
OTHER_KINDS = ("star", "unstar", "install_reactivate", "install_deactivate", "install_clear")
KINDS = dict.fromkeys(OTHER_KINDS, 0.07 / len(OTHER_KINDS)) | {
    "download": 0.85,
    "install_new": 0.08,
}

INSERT = """
    INSERT INTO skillstat_events (
        skill_id, kind, occurred_at_us, event_id, deltas, note, recorded_at_us, fingerprint
    ) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
Row: TypeAlias = tuple[str, str, int, None, str | None, None, int, int]
Journal: TypeAlias = Literal["DELETE", "WAL"]
Synchronous: TypeAlias = Literal["OFF", "NORMAL", "FULL"]


def rows(events: int) -> Iterator[Row]:
    """Return the rows of a log of that many events, without ids; always the same ones.

    A skill's weight is 1/rank; every skill gets one event more, at equal distances, so
    that each occurs. Seven events share a millisecond of ``recorded_at``.
    """
    draw = random.Random(SEED)
    skills = [f"skill-{number:05}" for number in range(SKILLS)]
    draw.shuffle(skills)
    weights = list(itertools.accumulate(1 / rank for rank in range(1, SKILLS + 1)))
    kinds, shares = list(KINDS), list(itertools.accumulate(KINDS.values()))
    distance = max(1, events // SKILLS)
    for first in range(0, events, SKILLS):
        count = min(SKILLS, events - first)
        drawn = zip(
            range(first, first + count),
            draw.choices(skills, cum_weights=weights, k=count),
            draw.choices(kinds, cum_weights=shares, k=count),
            strict=True,
        )
        for index, skill, kind in drawn:
            turn, is_between = divmod(index, distance)
            yield (
                skill if is_between else skills[turn % SKILLS],
                kind,
                START_US - 1 - int(draw.random() * 3 * DAY_US),
                None,
                _deltas(draw) if kind == "install_clear" else None,
                None,
                START_US + index // PER_TICK * 1000,
                draw.getrandbits(32),
            )


def _deltas(draw: random.Random) -> str:
    everything = draw.randint(1, 9)
    current = draw.randint(0, everything)
    return json.dumps({"all_time": -everything, "current": -current}, separators=(",", ":"))


def connect(
    path: Path, synchronous: Synchronous, journal: Journal = "DELETE"
) -> sqlite3.Connection:
    """Return a connection; DELETE and FULL are the defaults of SQLite."""
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA journal_mode = {journal}")
    db.execute(f"PRAGMA synchronous = {synchronous}")
    return db


def write_log(path: Path, events: Iterator[Row]) -> Path:
    """Make a file with a log of these events, of which nothing is folded; return *path*."""
    db = connect(path, "OFF")
    create_tables(db, SKILL_STATS)
    with db:
        db.executemany(INSERT, events)
    db.close()
    return path


def fresh_copy(log: Path) -> Path:
    """Return the path of a copy of that log, in the place of the copy before."""
    copy = log.with_suffix(".copy")
    shutil.copyfile(log, copy)
    with copy.open("rb+") as file:
        os.fsync(file)  # or else the first commit waits for the whole file
    return copy

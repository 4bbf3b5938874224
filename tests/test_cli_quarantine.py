"""``skillstat drain --park``, ``quarantine`` and ``expire``."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import attrs
import pytest

from skillstat_agg import SKILL_STATS, Effect, Event, Granularity, Projection
from skillstat_agg.backends.sqlite import SQLiteEventStore, SQLiteStatsStore, create_tables
from tests.command_line import fail, run, succeed
from tests.logs import NOON, download

HOURLY = Projection("hourly", SKILL_STATS.kinds, (Granularity.HOUR, Granularity.DAY))
WAVES = Projection(SKILL_STATS.name, {**SKILL_STATS.kinds, "wave": Effect(counters={"waves": 1})})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "stats.db"


@pytest.fixture
def db(path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path)) as db:
        create_tables(db, SKILL_STATS)
        yield db


def wave(skill_id: str = "a", event_id: str | None = None) -> Event:
    return Event(skill_id=skill_id, kind="wave", occurred_at=NOON, event_id=event_id)


# Quarantine


def test_what_cannot_be_counted_is_set_aside_and_shown(db, path):
    SQLiteEventStore(db).append([wave("a", "w-1"), download(), wave("b")])

    drained = succeed("drain", "--db", path, "--park")
    shown = json.loads(succeed("quarantine", "--db", path, "--json"))

    assert drained == (
        "3 events folded, 2 rows written, 2 parked, 0 dropped, 0 conflicts;"
        " the frontier is reached\n"
    )
    assert shown == {
        "projection": "skill_stats",
        "parked": 2,
        "events": [
            {
                "position": position,
                "skill_id": skill_id,
                "kind": "wave",
                "occurred_at": NOON.isoformat(),
                "event_id": event_id,
                "reason": "unknown kind 'wave'",
            }
            for position, skill_id, event_id in (("1", "a", "w-1"), ("3", "b", None))
        ],
    }


def test_the_table_says_how_many_more_there_are(db, path):
    SQLiteEventStore(db).append([wave("a"), wave("b")])
    succeed("drain", "--db", path, "--park")

    result = run("quarantine", "--db", path, "--limit", 1)

    assert result.stdout.splitlines() == [
        "position\tskill_id\tkind\toccurred_at\tevent_id\treason",
        f"1\ta\twave\t{NOON.isoformat()}\t\tunknown kind 'wave'",
    ]
    assert result.stderr == "1 of 2 events in quarantine; --limit shows more\n"


def test_an_empty_quarantine_is_said_to_be_empty(db, path):
    assert run("quarantine", "--db", path).stderr == "nothing lies in quarantine\n"


def test_a_database_that_is_taught_the_kind_counts_what_was_parked(db, path):
    SQLiteEventStore(db).append([wave(), download()])
    succeed("drain", "--db", path, "--park")

    create_tables(db, WAVES)

    assert '"waves": 1' in succeed("totals", "--db", path, "--json")
    assert json.loads(succeed("quarantine", "--db", path, "--json"))["parked"] == 0


def test_a_sum_that_leaves_its_range_is_told_with_its_place(db, path):
    clear = Event(
        skill_id="a",
        kind="install_clear",
        occurred_at=NOON,
        deltas={"all_time": 2**63 - 1, "current": 0},
    )
    SQLiteEventStore(db).append([download(), clear, clear])

    assert fail("drain", "--db", path) == (
        "projection 'skill_stats': installs_all_time of skill 'a' would leave the range of signed"
        " 64 bits with the event at position 3; everything before it is committed"
    )
    assert SQLiteStatsStore(db, SKILL_STATS).cursor().count == 2


# Expire


@pytest.fixture
def hourly(path) -> Iterator[SQLiteStatsStore]:
    with closing(sqlite3.connect(path)) as db:
        create_tables(db, HOURLY)
        hours = [NOON - timedelta(hours=ago) for ago in (30, 2, 1, 0)]
        SQLiteEventStore(db).append([attrs.evolve(download(), occurred_at=at) for at in hours])
        succeed("drain", "--db", path)
        yield SQLiteStatsStore(db, HOURLY)


def test_rollups_before_a_time_are_deleted(hourly, path):
    said = succeed("expire", "--db", path, "--granularity", "hour", "--before", "2026-03-01T11:30Z")

    assert said == ("2 rows deleted; rollups by hour are kept from 2026-03-01 11:00+00:00 on\n")
    assert len(hourly.rollups("a", Granularity.HOUR)) == 2
    assert len(hourly.rollups("a", Granularity.DAY)) == 2
    assert hourly.totals()["a"]["downloads"] == 4


def test_rollups_older_than_a_time_are_deleted(hourly, path):
    """All of them are, since they lie years before today, or years after it."""
    said = succeed("expire", "--db", path, "--granularity", "day", "--keep", "36500d")

    assert said.startswith("0 rows deleted; rollups by day are kept from ")
    assert len(hourly.rollups("a", Granularity.DAY)) == 2


def test_what_comes_late_is_reported_as_dropped(hourly, path):
    succeed("expire", "--db", path, "--granularity", "hour", "--before", "2026-03-01")
    late = attrs.evolve(download(), occurred_at=NOON - timedelta(days=1))
    with closing(sqlite3.connect(path)) as db:
        SQLiteEventStore(db).append([late])

    assert "1 dropped (1 expired)" in succeed("drain", "--db", path)
    assert hourly.cursor().dropped == {"expired": 1}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ((), "give either --keep or --before"),
        (("--keep", "1h", "--before", "2026-01-01"), "give either --keep or --before"),
        (("--before", "9999-01-01"), "--before lies in the future"),
        (("--before", "yesterday"), "'yesterday' is no time: give a day such as 2026-03-01"),
        (("--before", "2026-03-01T12:00"), "has no time zone: write 2026-03-01T12:00Z for UTC"),
        (("--keep", "soon"), "'soon' is no length of time"),
        (("--keep", "1h", "--limit", "0"), "0 is not in the range"),
    ],
)
def test_what_makes_no_sense_is_refused(hourly, path, options, sentence):
    result = run("expire", "--db", path, "--granularity", "hour", *options)

    assert result.exit_code == 2
    assert sentence in result.stderr
    assert len(hourly.rollups("a", Granularity.HOUR)) == 4


def test_rollups_that_there_are_not_cannot_expire(db, path):
    assert fail("expire", "--db", path, "--granularity", "hour", "--keep", "0d") == (
        "projection 'skill_stats' has no rollups by hour"
    )

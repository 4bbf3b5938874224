"""``status``, ``totals --fresh`` and ``daily --fresh``: what is not counted yet is shown."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import attrs
import pytest

from skillstat_agg import SKILL_STATS, Effect, Projection, drain, lag
from skillstat_agg.backends.sqlite import SQLiteEventStore, SQLiteStatsStore, create_tables
from skillstat_agg.cli import _status
from skillstat_agg.cli._database import named
from tests.command_line import run, succeed
from tests.logs import NOON, download

FETCHES = Projection("fetches", {"download": Effect(counters={"fetches": 1})})
LATE = Projection("late", {"download": Effect(counters={"fetches": 1})})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "stats.db"


@pytest.fixture
def db(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path)) as db:
        create_tables(db, SKILL_STATS, FETCHES, clock=lambda: NOON)
        yield db


def test_status_shows_every_projection_side_by_side(db, path):
    log = SQLiteEventStore(db, clock=lambda: NOON)
    log.append([download("a"), download("b"), download("b")])
    drain(log, SQLiteStatsStore(db, SKILL_STATS))
    drain(log, SQLiteStatsStore(db, FETCHES), max_events=1)

    lines = dict(line.split("\t", 1) for line in succeed("status", "--db", path).splitlines())
    facts = json.loads(succeed("status", "--db", path, "--json"))

    assert lines["projection"] == "fetches\tskill_stats"
    assert lines["count"] == "1\t3"
    assert lines["lag"] == "2\t0"
    assert lines["at frontier"] == "no\tyes"
    assert lines["age"].endswith("\tnone")
    assert lines["last error"] == "none\tnone"
    assert lines["dropped"] == "0\t0"
    assert lines["parked"] == "0\t0"
    assert [each["projection"] for each in facts] == ["fetches", "skill_stats"]
    assert [each["lag"] for each in facts] == [2, 0]


def test_where_nothing_was_read_yet_every_command_says_start(db, path):
    create_tables(db, LATE)
    SQLiteEventStore(db).register("late")

    status = dict(line.split("\t", 1) for line in succeed("status", "--db", path).splitlines())
    readers = succeed("readers", "--db", path)
    planned = succeed("prune", "--db", path, "--keep", "0d")

    assert status["position"].split("\t") == ["start"] * 3
    assert "late\tstart\t" in readers
    assert ", at start; no event was changed" in planned


def test_status_shows_one_projection_that_is_named(db, path):
    facts = json.loads(succeed("status", "--db", path, "--projection", "fetches", "--json"))

    assert facts["projection"] == "fetches"


def test_status_shows_the_last_error_and_what_was_dropped(db, path):
    log, stats = SQLiteEventStore(db), SQLiteStatsStore(db, FETCHES, clock=lambda: NOON)
    stats.forget("a")
    log.append([download("a"), download("b")])
    drain(log, stats)
    stats.note_error("the disk\nis full")

    lines = succeed("status", "--db", path, "--projection", "fetches").splitlines()
    facts = json.loads(succeed("status", "--db", path, "--projection", "fetches", "--json"))

    assert f"last error\t{NOON.isoformat()}: the disk\\nis full" in lines
    assert "dropped\t1 forgotten" in lines
    assert facts["last_error"] == {"at": NOON.isoformat(), "text": "the disk\nis full"}
    assert facts["dropped"] == {"forgotten": 1}


def test_a_lag_that_was_not_counted_to_its_end_says_so(db, path):
    log, stats = SQLiteEventStore(db, clock=lambda: NOON), SQLiteStatsStore(db, FETCHES)
    log.append([download()] * 3)
    found = lag(log, stats, limit=2)

    facts = _status._facts(found, None, NOON + timedelta(hours=26), None)
    names, rows = _status._table([facts])

    assert facts["is_capped"]
    assert names == ["projection", "fetches"]
    assert ["lag", "2 or more"] in rows
    assert ["age", "1 day, 2:00:00"] in rows


def test_fresh_totals_are_those_after_a_drain(db, path):
    log = SQLiteEventStore(db)
    log.append([download("a"), download("a"), download("b")])
    options = ("--db", path, "--projection", "skill_stats", "--json")

    fresh = json.loads(succeed("totals", *options, "--fresh"))
    days = json.loads(succeed("daily", *options, "--fresh", "a"))
    before = run("totals", *options)
    drain(log, SQLiteStatsStore(db, SKILL_STATS))

    assert json.loads(before.stdout) == {}
    assert fresh == json.loads(succeed("totals", *options))
    assert days == json.loads(succeed("daily", *options, "a"))
    assert days == {"2026-03-01": {"downloads": 2, "installs": 0}}


def test_fresh_numbers_that_are_not_complete_say_so(db, path):
    view = attrs.evolve(download("a"), kind="view")
    SQLiteEventStore(db).append([download("a"), view])
    options = ("--db", path, "--projection", "skill_stats", "--fresh")

    for command in (("totals",), ("daily", "a")):
        shown = run(*command, *options)

        assert shown.exit_code == 0
        assert shown.stderr.startswith("1 events that are not counted yet were added, and there")


def test_an_empty_log_has_no_fresh_numbers(db, path):
    assert succeed("totals", "--db", path, "--projection", "fetches", "--fresh", "--json") == "{}\n"


def test_a_file_has_nobody_who_holds_its_frontier_back(db, path):
    with named(str(path), None).opened() as opened:
        assert opened.holders() is None

"""``skillstat prune`` and ``skillstat readers``: what is said, and what stays the same."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from skillstat_agg import SKILL_STATS, Effect, Projection, drain
from skillstat_agg.backends.sqlite import SQLiteEventStore, SQLiteStatsStore, create_tables
from tests.command_line import fail, run, succeed
from tests.logs import NOON, download

LOG = "occurred_at,skill_id\n" + 3 * "2026-03-01T12:00:00Z,pdf\n" + "2026-03-02T12:00:00Z,mail\n"
LATER = Projection("later_stats", {"download": Effect(counters={"fetches": 1})})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file whose log is folded."""
    path = tmp_path / "stats.db"
    succeed("append", "--db", path, "--default-kind", "download", stdin=LOG)
    succeed("drain", "--db", path)
    return path


def old(path: Path, at: datetime) -> None:
    """Append two events that were recorded at a time, and fold them."""
    with closing(sqlite3.connect(path)) as db:
        create_tables(db, SKILL_STATS)
        log = SQLiteEventStore(db, clock=lambda: at)
        log.append([download("old", at), download("old", at)], max_ahead=timedelta.max)
        drain(log, SQLiteStatsStore(db, SKILL_STATS))


def test_nothing_is_changed_without_apply(path):
    totals = succeed("totals", "--db", path, "--json")

    said = [succeed("prune", "--db", path, "--keep", "0d") for _ in range(2)]

    sentence = (
        "4 events would become 2 compacted events, in 1 segments; the slowest reader is"
        " 'skill_stats', at 4; no event was changed, --apply does it\n"
    )
    assert said == [sentence, sentence]
    assert succeed("totals", "--db", path, "--json") == totals


def test_all_numbers_stay_when_events_are_made_small(path):
    numbers = [succeed(one, "--db", path, "--json") for one in ("totals", "status")]

    said = succeed("prune", "--db", path, "--keep", "0d", "--apply")
    again = succeed("prune", "--db", path, "--keep", "0d", "--apply")

    assert said == (
        "4 events became 2 compacted events, in 1 segments; the slowest reader is 'skill_stats',"
        " at 4\n"
    )
    assert again.startswith("0 events became 0 compacted events, in 0 segments")
    assert [succeed(one, "--db", path, "--json") for one in ("totals", "status")] == numbers
    assert succeed("drain", "--db", path).startswith("0 events folded")


def test_what_is_kept_is_young(tmp_path):
    """The age is that of the recording, and old events behind a young one stay."""
    path, now = tmp_path / "stats.db", datetime.now(timezone.utc)
    for days in (100, 95, 1, 99):
        old(path, now - timedelta(days=days))

    reports = [
        json.loads(succeed("prune", "--db", path, "--keep", keep, "--json"))
        for keep in ("90d", "98d", "2376h", "0d", "36500d")
    ]

    assert [report["events"] for report in reports] == [4, 2, 2, 8, 0]
    assert reports[0] == {
        "applied": False,
        "segments": 1,
        "events": 4,
        "compacted_events": 2,
        "last": "4",
        "slowest_reader": "skill_stats",
        "slowest_position": "8",
    }


def test_segments_are_bounded(path):
    said = succeed("prune", "--db", path, "--keep", "0d", "--limit", 2, "--max-segments", 1)

    assert said.startswith("2 events would become 1 compacted events, in 1 segments;")


def test_a_projection_that_is_not_drained_holds_a_prune_back(path):
    """It is registered by the prune itself, and is passed as soon as it is drained."""
    with closing(sqlite3.connect(path)) as db:
        create_tables(db, LATER)

    before = succeed("prune", "--db", path, "--keep", "0d", "--apply")
    succeed("drain", "--db", path, "--projection", "later_stats")
    after = succeed("prune", "--db", path, "--keep", "0d", "--apply")

    assert before.startswith("0 events became")
    assert "the slowest reader is 'later_stats', at start" in before
    assert after.startswith("4 events became 2 compacted events")


def test_a_later_projection_counts_what_was_made_small(path):
    succeed("prune", "--db", path, "--keep", "0d", "--apply")
    with closing(sqlite3.connect(path)) as db:
        create_tables(db, LATER)

    assert "4 events folded" in succeed("drain", "--db", path, "--projection", "later_stats")
    totals = json.loads(succeed("totals", "--db", path, "--projection", "later_stats", "--json"))
    assert totals == {"pdf": {"fetches": 3}, "mail": {"fetches": 1}}


def test_readers_are_shown_and_retired(path):
    """What was retired is not waited for; nobody can be retired twice."""
    with closing(sqlite3.connect(path)) as db:
        SQLiteEventStore(db, clock=lambda: NOON).register("gone_stats")

    shown = json.loads(succeed("readers", "--db", path, "--json"))
    table = succeed("readers", "--db", path)
    held = succeed("prune", "--db", path, "--keep", "0d")
    left = succeed("readers", "--db", path, "--retire", "gone_stats", "--json")

    assert shown["gone_stats"] == {"position": None, "reported_at": "2026-03-01T12:00:00+00:00"}
    assert shown["skill_stats"]["position"] == "4"
    assert table.splitlines()[:2] == [
        "reader\tposition\treported at",
        "gone_stats\tstart\t2026-03-01T12:00:00+00:00",
    ]
    assert held.startswith("0 events would become")
    assert json.loads(left).keys() == {"skill_stats"}
    assert succeed("prune", "--db", path, "--keep", "0d").startswith("4 events would become")
    assert fail("readers", "--db", path, "--retire", "gone_stats") == (
        "the log has no reader 'gone_stats'; skillstat readers shows them"
    )


def test_a_log_without_readers_is_refused(tmp_path):
    path = tmp_path / "log.db"
    with closing(sqlite3.connect(path)) as db:
        create_tables(db)
        SQLiteEventStore(db).append([download()])

    for option in ((), ("--apply",)):
        assert fail("prune", "--db", path, "--keep", "0d", *option) == (
            "no reader of this log is known, so nobody can say how much of it is folded: drain it"
            " once, or prune it together with the stats that are folded from it"
        )


@pytest.mark.parametrize("keep", ["", "90", "-1d", "1.5d", "36501d"])
def test_an_age_is_a_length_of_time(path, keep):
    result = run("prune", "--db", path, "--keep", keep)

    assert result.exit_code == 2
    assert "Invalid value for '--keep'" in result.stderr


def test_an_age_is_asked_for(path):
    result = run("prune", "--db", path)

    assert result.exit_code == 2
    assert "Missing option '--keep'" in result.stderr

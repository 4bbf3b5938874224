"""``verify`` and ``rebuild``: what differs is listed, with exit code 3, and made right."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from skillstat_agg import SKILL_STATS, Event, drain, verify_fully
from skillstat_agg.backends.sqlite import SQLiteEventStore, SQLiteStatsStore
from skillstat_agg.cli import _rebuild, _verify
from tests.command_line import fail, run, succeed
from tests.logs import NOON

LINES = "".join(
    json.dumps({"skill_id": skill, "kind": "download", "occurred_at": "2026-03-01T12:00:00Z"})
    + "\n"
    for skill in "aab"
)
FULL = ["--full"]
SAMPLE = ["--sample", "9"]
both = pytest.mark.parametrize("options", [[], FULL], ids=["cheap", "full"])
every = pytest.mark.parametrize("options", [[], FULL, SAMPLE], ids=["cheap", "full", "sample"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "stats.db"
    succeed("append", "--db", path, "--format", "jsonl", stdin=LINES)
    succeed("drain", "--db", path)
    return path


def change(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(statement)


@every
def test_what_is_right_is_said_to_be(path, options):
    assert succeed("verify", "--db", path, *options) == "3 events verified: no difference\n"


@every
def test_nothing_is_right_of_an_empty_log(tmp_path, options):
    path = tmp_path / "stats.db"
    succeed("init", "--db", path)

    assert succeed("verify", "--db", path, *options) == "0 events verified: no difference\n"
    assert "0 events counted anew" in succeed("rebuild", "--db", path)


def test_what_differs_is_listed_and_ends_with_3(path):
    change(path, "UPDATE skill_stats_totals SET downloads = 7 WHERE skill_id = 'a'")
    change(path, "DELETE FROM skill_stats_daily WHERE skill_id = 'b'")

    cheap, full = run("verify", "--db", path), run("verify", "--db", path, *FULL)

    assert (cheap.exit_code, full.exit_code) == (3, 3)
    assert cheap.stdout.splitlines() == [
        "what\tskill\tsince\texpected\tactual",
        "controls.downloads\t\t\t3\t8",
        "controls.day.downloads\t\t\t3\t2",
        "3 events verified: 2 differences",
    ]
    assert full.stdout.splitlines() == [
        "what\tskill\tsince\texpected\tactual",
        "downloads\ta\t\t2\t7",
        "day.downloads\tb\t2026-03-01 00:00\t1\tnone",
        "3 events verified: 2 differences",
    ]
    assert full.stderr == ""


def test_differences_as_json(path):
    change(path, "DELETE FROM skill_stats_daily WHERE skill_id = 'b'")

    result = run("verify", "--db", path, *FULL, "--json")

    assert result.exit_code == 3
    assert json.loads(result.stdout) == {
        "projection": "skill_stats",
        "count": 3,
        "position": "3",
        "differences": [
            {
                "name": "day.downloads",
                "skill_id": "b",
                "start": "2026-03-01T00:00:00+00:00",
                "expected": 1,
                "actual": None,
            }
        ],
        "is_complete": True,
    }


@both
def test_a_limit_lists_no_more_and_says_so(path, options):
    change(path, "UPDATE skill_stats_totals SET downloads = 7")
    change(path, "UPDATE skill_stats_daily SET downloads = 7")

    result = run("verify", "--db", path, *options, "--limit", 1)

    assert result.exit_code == 3
    assert len(result.stdout.splitlines()) == 3
    assert result.stdout.endswith("3 events verified: 1 difference\n")
    assert result.stderr == "there are more differences: raise --limit to list them\n"


def test_a_rebuild_makes_it_right(path):
    change(path, "UPDATE skill_stats_totals SET downloads = 7 WHERE skill_id = 'a'")

    said = succeed("rebuild", "--db", path, "--page", 2)

    assert said == "3 events counted anew; generation 2 is shown, with 3 events\n"
    assert succeed("verify", "--db", path, *FULL) == "3 events verified: no difference\n"
    assert json.loads(succeed("totals", "--db", path, "--json"))["a"]["downloads"] == 2


def test_a_rebuild_goes_on_where_it_was_interrupted(path):
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        log, stats = SQLiteEventStore(db), SQLiteStatsStore(db, SKILL_STATS)
        drain(log, stats.building("rebuild"), max_events=2)

    assert succeed("rebuild", "--db", path) == (
        "1 events counted anew (an earlier start had begun); generation 2 is shown, with 3 events\n"
    )


def test_an_event_that_cannot_be_counted_ends_a_rebuild_in_one_sentence(path):
    change(
        path,
        "INSERT INTO skillstat_events (skill_id, kind, occurred_at_us, recorded_at_us, fingerprint)"
        " VALUES ('a', 'unheard', 0, 0, 1)",
    )

    said = fail("rebuild", "--db", path)

    assert "unknown kind 'unheard'; what is shown is as it was" in said
    assert succeed("verify", "--db", path, *FULL) == "3 events verified: no difference\n"


@pytest.mark.parametrize(
    ("command", "module", "function", "sentence"),
    [
        (["rebuild"], _rebuild, "rebuild", "what is shown is as it was: run it again to go on"),
        (["verify", "--full"], _verify, "verify_fully", "interrupted"),
    ],
)
def test_ctrl_c_ends_in_one_sentence(path, monkeypatch, command, module, function, sentence):
    """Nothing that a verify has built is left."""
    real = getattr(module, function)

    def interrupted(log, stats, **options):
        def stop(_count: int) -> None:
            raise KeyboardInterrupt

        return real(log, stats, **{**options, "page": 1, "on_progress": stop})

    monkeypatch.setattr(module, function, interrupted)

    assert sentence in fail(command[0], "--db", path, *command[1:])
    with closing(sqlite3.connect(path)) as db:
        left = db.execute("SELECT building FROM skillstat_cursors").fetchall()
    assert [name for (name,) in left if name.startswith("verify")] == []


def test_a_sample_lists_what_differs(path):
    change(path, "UPDATE skill_stats_totals SET downloads = 7 WHERE skill_id = 'a'")

    result = run("verify", "--db", path, *SAMPLE)

    assert result.exit_code == 3
    assert "downloads\ta\t\t2\t7" in result.stdout


def test_a_sample_of_every_skill_is_wrong_usage(path):
    result = run("verify", "--db", path, *FULL, *SAMPLE)

    assert result.exit_code == 2
    assert "leave out --sample" in result.stderr


@pytest.mark.parametrize("command", ["verify", "rebuild"])
def test_help_shows_an_example(command):
    assert f"skillstat {command} --db stats.db" in succeed(command, "--help")


@pytest.mark.parametrize("arguments", [["verify", "--limit", 0], ["rebuild", "--page", 0]])
def test_bounds_of_0_are_wrong_usage(path, arguments):
    command, *options = arguments

    assert run(command, "--db", path, *options).exit_code == 2


def test_a_rebuild_parks_where_workers_do(path):
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        SQLiteEventStore(db).append([Event(skill_id="a", kind="wave", occurred_at=NOON)])
    succeed("drain", "--db", path, "--park")

    assert "'wave'" in fail("rebuild", "--db", path)
    assert "with 4 events" in succeed("rebuild", "--db", path, "--park")
    assert succeed("verify", "--db", path, *FULL) == "4 events verified: no difference\n"


def test_a_rebuild_that_was_struck_off_and_passed_begins_anew(path):
    """What it had built stands where a prune has left nothing."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        log, stats = SQLiteEventStore(db), SQLiteStatsStore(db, SKILL_STATS)
        drain(log, stats.building("rebuild"), max_events=1)
    succeed("readers", "--db", path, "--retire", "skill_stats/rebuild/2")
    succeed("prune", "--db", path, "--keep", "0d", "--apply")

    assert "3 events counted anew" in succeed("rebuild", "--db", path)
    assert succeed("verify", "--db", path, *FULL) == "3 events verified: no difference\n"


def test_a_full_verify_that_was_interrupted_holds_no_prune_back(path, monkeypatch):
    real = verify_fully

    def interrupted(log, stats, **options):
        def stop(_count: int) -> None:
            raise KeyboardInterrupt

        return real(log, stats, **{**options, "on_progress": stop})

    monkeypatch.setattr(_verify, "verify_fully", interrupted)

    assert "nothing was compared" in fail("verify", "--db", path, *FULL)
    assert "verify" not in succeed("readers", "--db", path)
    assert "3 events became 2" in succeed("prune", "--db", path, "--keep", "0d", "--apply")


def test_what_a_killed_verify_has_left_is_shown_and_dropped_with_its_numbers(path):
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        log, stats = SQLiteEventStore(db), SQLiteStatsStore(db, SKILL_STATS)
        drain(log, stats.building("verify-0badcafe"), max_events=1)

    shown = run("readers", "--db", path)
    retired = succeed("readers", "--db", path, "--retire", "skill_stats/verify-0badcafe/2")

    assert "skill_stats/verify-0badcafe/2" in shown.stdout
    assert shown.stderr == (
        "skill_stats/verify-0badcafe/2 is a full verify that runs, or was killed; --retire drops"
        " what one that was killed has left\n"
    )
    assert "verify" not in retired
    with closing(sqlite3.connect(path)) as db:
        assert not SQLiteStatsStore(db, SKILL_STATS).discard("verify-0badcafe")


def test_to_retire_a_rebuild_drops_none_of_its_numbers(path):
    """The next one finds out whether they are of use."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        log, stats = SQLiteEventStore(db), SQLiteStatsStore(db, SKILL_STATS)
        drain(log, stats.building("rebuild"), max_events=1)

    succeed("readers", "--db", path, "--retire", "skill_stats/rebuild/2")

    with closing(sqlite3.connect(path)) as db:
        assert SQLiteStatsStore(db, SKILL_STATS).discard("rebuild")


def test_a_verify_of_a_projection_that_is_not_there_is_only_struck_off(path):
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        SQLiteEventStore(db).register("gone_stats/verify-0badcafe/2")

    left = succeed("readers", "--db", path, "--retire", "gone_stats/verify-0badcafe/2")

    assert "verify" not in left

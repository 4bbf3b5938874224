"""``leaderboard`` and ``series``: tables for people, JSON and CSV for programs."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from rich.console import Console

from skillstat_agg import Effect, Projection
from skillstat_agg.backends.sqlite import create_tables
from skillstat_agg.cli._output import _table, bars
from tests.command_line import SKILLSTAT, fail, run, succeed

HOSTILE = "<script>alert('1')</script>,\"=cmd|' /C calc'!A0\" \x1b[31m'; DROP TABLE x; --"
LOG = [
    ("pdf", "download", "2026-03-07T10:00:00+00:00"),
    ("pdf", "install_new", "2026-03-05T10:00:00+00:00"),
    ("weather", "download", "2026-03-06T10:00:00+00:00"),
    ("weather", "download", "2026-03-06T11:00:00+00:00"),
    ("weather", "unstar", "2026-03-06T11:00:00+00:00"),
    (HOSTILE, "download", "2026-02-20T11:00:00+00:00"),
]


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a few events, counted."""
    path = tmp_path_factory.mktemp("boards") / "stats.db"
    lines = "".join(
        json.dumps({"skill_id": skill, "kind": kind, "occurred_at": at}) + "\n"
        for skill, kind, at in LOG
    )
    succeed("append", "--db", path, "--format", "jsonl", stdin=lines)
    succeed("drain", "--db", path)
    return path


WEEK = ("--days", 7, "--until", "2026-03-07")


def test_a_board_of_a_week(db):
    """The first score decides, then the second; columns are parted by tabs."""
    printed = succeed("leaderboard", "--db", db, "--by", "installs", "--by", "downloads", *WEEK)

    assert printed.splitlines() == [
        "rank\tskill_id\tinstalls\tdownloads",
        "1\tpdf\t1\t1",
        "2\tweather\t0\t2",
    ]


def test_a_board_by_weights_as_json(db):
    printed = succeed("leaderboard", "--db", db, "--by", "3*installs + downloads", *WEEK, "--json")

    assert json.loads(printed) == [
        {
            "rank": 1,
            "skill_id": "pdf",
            "scores": [4],
            "numbers": {"installs": 1, "downloads": 1},
        },
        {
            "rank": 2,
            "skill_id": "weather",
            "scores": [2],
            "numbers": {"installs": 0, "downloads": 2},
        },
    ]


def test_a_board_over_all_time_as_csv(db):
    """Ids come back from CSV as they are, whatever is in them."""
    printed = succeed("leaderboard", "--db", db, "--by", "2*downloads", "--csv")

    assert list(csv.reader(io.StringIO(printed))) == [
        ["rank", "skill_id", "score 1", "downloads"],
        ["1", "weather", "4", "2"],
        ["2", HOSTILE, "2", "1"],
        ["3", "pdf", "2", "1"],
    ]


def test_what_a_terminal_would_obey_is_escaped(db):
    printed = succeed("leaderboard", "--db", db, "--by", "downloads")

    assert "\x1b" not in printed
    assert r"\x1b[31m" in printed


def test_a_limit_of_a_million_is_fine(db):
    assert (
        len(
            json.loads(
                succeed(
                    "leaderboard", "--db", db, "--by", "downloads", "--json", "--limit", 1_000_000
                )
            )
        )
        == 3
    )


def test_sums_may_be_shown_as_they_are(db):
    by = ("--by", "downloads", "--by", "stars", "--limit", 1, "--csv")

    assert succeed("leaderboard", "--db", db, *by).splitlines()[-1] == "1,weather,2,0"
    assert succeed("leaderboard", "--db", db, *by, "--signed").splitlines()[-1] == "1,weather,2,-1"


def test_an_empty_board_says_so(db):
    result = run(
        "leaderboard", "--db", db, "--by", "downloads", "--days", 1, "--until", "2001-01-01"
    )

    assert (result.exit_code, result.stderr) == (0, "nobody has anything to show\n")
    assert result.stdout == "rank\tskill_id\tdownloads\n"
    assert succeed("leaderboard", "--db", db, "--by", "installs", "--days", 1, "--json") == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("--by", "hits"),
            "projection 'skill_stats' has no counter 'hits'; it has downloads, stars,"
            " installs_all_time, installs_current",
        ),
        (
            ("--by", "stars", "--days", 7),
            "projection 'skill_stats' has no rollup column 'stars'; it has downloads, installs",
        ),
        (
            ("--by", "downloads", "--hours", 24),
            "projection 'skill_stats' has no rollups by hour",
        ),
        (
            ("--by", "0*downloads"),
            "the weight of downloads must be a whole number other than 0, within signed 64 bits,"
            " not 0",
        ),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(db, arguments, sentence):
    assert fail("leaderboard", "--db", db, *arguments) == sentence


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (("leaderboard",), "Missing option '--by'"),
        (("leaderboard", "--by", "downloads", "--limit", "0"), "0 is not in the range"),
        (("leaderboard", "--by", "downloads", "--limit", "-1"), "-1 is not in the range"),
        (("leaderboard", "--by", "downloads", "--days", "99999"), "99999 is not in the range"),
        (("series", "pdf", "--days", "200000"), "200000 is not in the range"),
        (("leaderboard", "--by", "a*2"), "'a*2' is no score: give a name, or weights"),
        (("leaderboard", "--by", "a+a"), "'a+a' is no score"),
        (("leaderboard", "--by", ""), "'' is no score"),
        (("leaderboard", "--by", "a", "--days", 1, "--hours", 1), "not both"),
        (("leaderboard", "--by", "a", "--until", "2026-03-07"), "--until needs --days or --hours"),
        (("leaderboard", "--by", "a", "--days", 0), "0 is not in the range"),
        (("leaderboard", "--by", "a", "--days", 1, "--until", "soon"), "'soon' does not match"),
        (("series",), "Missing argument 'SKILL...'"),
        (("series", "pdf", "--hours", -1), "-1 is not in the range"),
    ],
)
def test_wrong_usage_is_told(db, command, sentence):
    name, *rest = command
    result = run(name, "--db", db, *rest)

    assert result.exit_code == 2
    assert sentence in result.stderr


def test_a_series_leaves_no_day_out(db):
    """Zeros are filled in; since when there is anything to know stands on stderr."""
    result = run("series", "--db", db, "weather", "--days", 3, "--until", "2026-03-07")

    assert result.stdout.splitlines() == [
        "day\tdownloads\tinstalls",
        "2026-03-05\t0\t0",
        "2026-03-06\t2\t0",
        "2026-03-07\t0\t0",
    ]
    assert result.stderr.startswith("there are rollups since 2026-02-20; counted last at 20")


def test_series_of_several_skills_name_them(db):
    result = run("series", "--db", db, "pdf", "nobody", "--days", 1, "--until", "2026-03-07")

    assert result.stdout.splitlines()[1:] == ["pdf\t2026-03-07\t1\t0", "nobody\t2026-03-07\t0\t0"]


def test_series_as_csv(db):
    printed = succeed("series", "--db", db, HOSTILE, "--days", 1, "--until", "2026-02-20", "--csv")

    assert list(csv.reader(io.StringIO(printed))) == [
        ["skill_id", "day", "downloads", "installs"],
        [HOSTILE, "2026-02-20", "1", "0"],
    ]


def test_series_as_json(db):
    printed = succeed("series", "--db", db, "pdf", "--days", 2, "--until", "2026-03-07", "--json")

    (found,) = json.loads(printed)
    assert found.pop("counted_at").endswith("+00:00")
    assert found == {
        "skill_id": "pdf",
        "first": "2026-02-20",
        "points": [
            {"day": "2026-03-06", "downloads": 0, "installs": 0},
            {"day": "2026-03-07", "downloads": 1, "installs": 0},
        ],
    }


def test_a_series_without_a_range_has_thirty_days(db):
    (found,) = json.loads(succeed("series", "--db", db, "pdf", "--json"))

    assert len(found["points"]) == 30


def test_a_series_of_nothing_says_so(tmp_path):
    path = tmp_path / "empty.db"
    succeed("init", "--db", path)

    assert run("series", "--db", path, "pdf").stderr.startswith("there are no rollups yet; ")


def test_unknown_columns_are_refused(db):
    assert fail("series", "--db", db, "pdf", "--bar", "stars") == (
        "there is no rollup column 'stars'; there are downloads, installs"
    )


def test_bars_are_as_long_as_their_numbers():
    """The largest number has the longest bar; whatever is above 0 has one."""
    lengths = [len(bar) for bar in bars([0, 1, 50, 100, -3])]

    assert lengths == [0, 1, 10, 20, 0]
    assert bars([]) == []


def test_a_terminal_is_shown_a_table_with_bars():
    """The bars have no name, and stand to the left."""
    console = Console(file=io.StringIO(), width=80)
    console.print(_table(["day", "downloads", ""], [["2026-03-07", 1_000, "##"]]))

    assert isinstance(console.file, io.StringIO)
    assert "│ 2026-03-07 │     1,000 │ ## │" in console.file.getvalue()


def test_nothing_is_coloured_in_a_pipe(db):
    done = subprocess.run(
        [*SKILLSTAT, "leaderboard", "--db", str(db), "--by", "downloads"],
        capture_output=True,
        check=True,
    )

    assert b"\x1b" not in done.stdout


def test_a_projection_without_rollups_has_no_series(tmp_path):
    """And one that knows no such bucket has no board of it."""
    path = tmp_path / "bare.db"
    with closing(sqlite3.connect(path)) as db:
        create_tables(db, Projection("bare", {"download": Effect(counters={"hits": 1})}, ()))

    assert fail("series", "--db", path, "pdf") == "projection 'bare' has no rollups"
    assert run("leaderboard", "--db", path, "--by", "hits").exit_code == 0
    assert fail("leaderboard", "--db", path, "--by", "hits", "--days", 1) == (
        "projection 'bare' has no rollups by day"
    )

"""``skillstat adopt``: counts from a file, taken over once."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from skillstat_agg import SKILL_STATS
from skillstat_agg.backends.sqlite import stored_projections
from tests.command_line import fail, run, succeed

LOG = "occurred_at,skill_id,kind\n2026-03-01T12:00:00Z,pdf,download\n"
TOTALS = {"pdf": {"downloads": 803, "stars": -2}, "maps": {"downloads": 0}}
DAYS = {"pdf": {"2026-02-28": {"downloads": 31}}}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a new database and files of counts."""
    monkeypatch.chdir(tmp_path)
    succeed("init", "--db", "stats.db")
    (tmp_path / "totals.json").write_text(json.dumps(TOTALS))
    (tmp_path / "days.json").write_text(json.dumps(DAYS))
    (tmp_path / "totals.csv").write_text("skill_id,downloads,stars\npdf,803,-2\nmaps,0,0\n")
    (tmp_path / "days.csv").write_text("day,skill_id,downloads\n2026-02-28,pdf,31\n")
    return tmp_path


def adopt(*files: str, name: str = "old") -> tuple[object, ...]:
    *days, totals = files
    daily = ("--daily", *days) if days else ()
    return ("adopt", "--db", "stats.db", "--name", name, *daily, totals)


@pytest.mark.parametrize("form", ["json", "csv"])
def test_counts_are_taken_over_and_counted_by_a_drain(folder, form):
    files = (f"days.{form}", f"totals.{form}")

    assert succeed(*adopt(*files)) == "5 events appended, 0 were there already\n"
    succeed("append", "--db", "stats.db", stdin=LOG)
    assert succeed(*adopt(*files)) == "0 events appended, 5 were there already\n"
    succeed("drain", "--db", "stats.db")

    totals = json.loads(succeed("totals", "--db", "stats.db", "--json", "--signed"))
    assert {skill: (row["downloads"], row["stars"]) for skill, row in totals.items()} == {
        "pdf": (804, -2),
        "maps": (0, 0),
    }
    days = json.loads(succeed("daily", "--db", "stats.db", "--json", "pdf"))
    assert {day: row["downloads"] for day, row in days.items()} == {
        "2026-02-28": 31,
        "2026-03-01": 1,
    }


def test_the_totals_of_one_database_open_another(folder):
    """What one prints the other reads."""
    succeed("append", "--db", "first.db", stdin=LOG)
    succeed("drain", "--db", "first.db")
    (folder / "first.json").write_text(succeed("totals", "--db", "first.db", "--json", "--signed"))

    succeed(*adopt("first.json"))
    succeed("drain", "--db", "stats.db")

    assert '"downloads": 1' in succeed("totals", "--db", "stats.db", "--json")


def test_other_counts_are_refused(folder):
    succeed(*adopt("totals.json"))

    assert "others were adopted before" in fail(*adopt("totals.json", name="new"))


def test_where_events_are_counted_already_it_is_refused(folder):
    succeed("append", "--db", "stats.db", stdin=LOG)

    assert "opening balances go before them" in fail(*adopt("totals.json"))


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("bad.json", "nonsense", "bad.json is no JSON"),
        ("bad.json", "[1]", "bad.json: an object is needed, not '[1]'"),
        ("bad.json", '{"a": 1}', "bad.json: an object is needed, not '1'"),
        ("bad.json", '{"a": {"stars": 1.5}}', "stars must be a whole number, not '1.5'"),
        ("bad.json", '{"a": {"stars": true}}', "stars must be a whole number, not 'True'"),
        ("bad.json", '{"a": {"views": 1}}', "has no kind 'open:skill_stats.views'"),
        ("bad.csv", "skill_id,stars\na,x\n", "stars must be a whole number, not 'x'"),
        ("bad.csv", "skill_id,stars\na,1,2\n", "row 2: it needs skill_id"),
        ("bad.csv", "name,stars\na,1\n", "row 2: it needs skill_id"),
        ("bad.csv", "skill_id,stars\na,1\na,2\n", "row 3: ('a',) is there twice"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(folder, file, text, said):
    (folder / file).write_text(text)

    assert said in fail(*adopt(file))
    assert json.loads(succeed("status", "--db", "stats.db", "--json"))["frontier"] is None


@pytest.mark.parametrize("days", ['{"a": {"March": {"downloads": 1}}}', '{"a": 1}'])
def test_days_that_cannot_be_meant_are_refused(folder, days):
    (folder / "bad.json").write_text(days)

    fail(*adopt("bad.json", "totals.json"))


def test_a_file_that_is_not_there_is_wrong_usage(folder):
    assert run(*adopt("nosuch.json")).exit_code == 2


def test_what_is_refused_changes_no_table(folder):
    """A program with the table as it was goes on."""
    (folder / "bogus.json").write_text('{"pdf": {"bogus": 3}}')
    fail(*adopt("bogus.json"))
    succeed("append", "--db", "stats.db", stdin=LOG)
    succeed("drain", "--db", "stats.db")
    fail(*adopt("totals.json"))

    with closing(sqlite3.connect("stats.db")) as db:
        assert stored_projections(db) == (SKILL_STATS,)


def test_a_database_that_has_adopted_opens_another(folder):
    """Its corrections are no count of a skill."""
    succeed(*adopt("totals.json"))
    succeed("drain", "--db", "stats.db")
    (folder / "again.json").write_text(succeed("totals", "--db", "stats.db", "--json", "--signed"))
    succeed("init", "--db", "other.db")

    succeed("adopt", "--db", "other.db", "--name", "moved", "again.json")
    succeed("drain", "--db", "other.db")

    one, other = (succeed("totals", "--db", name, "--json") for name in ("stats.db", "other.db"))
    assert one == other

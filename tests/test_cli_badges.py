"""``skillstat badges``: what is set is shown, on a file and on a server, for every hostile id."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from skillstat_agg.cli._badges import badges
from tests.command_line import fail, run, succeed
from tests.postgres_server import Server, fresh_database
from tests.test_cli_postgres import url_of

AT = "2026-03-01T12:00:00+00:00"
HOSTILE = (
    "<script>alert(1)</script>",
    "'; DROP TABLE skillstat_badges; --",
    "\x1b[31mred",
    "[bold]a",
    "=1+1",
)


@pytest.fixture(params=["file", "server"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """What names a database with tables: a file, then a URL."""
    if request.param == "file":
        yield str(tmp_path / "stats.db")
        return
    postgres: Server = request.getfixturevalue("postgres")
    with fresh_database(postgres) as conninfo:
        assert conninfo_to_dict(conninfo)
        yield url_of(conninfo)


def test_a_badge_is_set_shown_and_cleared(db):
    """The three commands one after the other; each says what it has found."""
    succeed("init", "--db", db)
    assert set_official(db, "pdf", "ann") == "pdf is official by ann\n"
    assert set_official(db, "pdf", "bob") == "pdf was already, and is official by bob\n"
    shown = succeed("badges", "show", "--db", db, "pdf")
    assert shown == f"skill_id\tkind\tby_user_id\tat\npdf\tofficial\tbob\t{AT}\n"
    assert succeed("badges", "clear", "--db", db, "pdf", "official") == (
        "pdf is no longer official\n"
    )
    assert succeed("badges", "clear", "--db", db, "pdf", "official") == "pdf was not official\n"
    result = run("badges", "show", "--db", db, "pdf")
    assert result.stderr == "'pdf' has no badges\n"


def set_official(db: str, skill_id: str, user: str) -> str:
    return succeed(
        "badges", "set", "--db", db, "--by", user, "--at", AT, "--", skill_id, "official"
    )


def test_skills_are_shown_in_the_order_asked(db):
    """As JSON each is there once, also where it has no badge."""
    succeed("init", "--db", db)
    set_official(db, "pdf", "ann")
    found = json.loads(succeed("badges", "show", "--db", db, "--json", "b", "pdf", "a", "b"))
    assert found == [
        {"skill_id": "b", "badges": {}},
        {"skill_id": "pdf", "badges": {"official": {"by_user_id": "ann", "at": AT}}},
        {"skill_id": "a", "badges": {}},
    ]


@pytest.mark.parametrize("skill_id", HOSTILE)
def test_a_hostile_id_is_only_a_text(skill_id, tmp_path):
    """Nothing in it is obeyed by the database, the terminal or the reader of CSV."""
    db = str(tmp_path / "stats.db")
    succeed("init", "--db", db)
    said = set_official(db, skill_id, skill_id)
    assert "\x1b" not in said
    assert "\x1b" not in succeed("badges", "show", "--db", db, "--", skill_id)
    [one] = json.loads(succeed("badges", "show", "--db", db, "--json", "--", skill_id))
    assert one["skill_id"] == one["badges"]["official"]["by_user_id"] == skill_id
    rows = list(
        csv.reader(io.StringIO(succeed("badges", "show", "--db", db, "--csv", "--", skill_id)))
    )
    assert rows == [["skill_id", "kind", "by_user_id", "at"], [skill_id, "official", skill_id, AT]]


@pytest.mark.parametrize(
    "arguments",
    [
        ("set", "pdf", "golden", "--by", "ann"),
        ("set", "pdf", "official"),
        ("set", "pdf", "official", "--by", "ann", "--at", "2026-03-01T12:00:00"),
        ("set", "pdf", "official", "--by", "ann", "--at", "yesterday"),
        ("set", "pdf", "official", "--by", "ann", "--at", "0001-01-01T00:00:00+14:00"),
        ("clear", "pdf", "golden"),
        ("show",),
        ("show", "--json", "--csv", "pdf"),
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2(arguments, tmp_path):
    """A kind that there is not, a time without a zone, no skill."""
    db = str(tmp_path / "stats.db")
    succeed("init", "--db", db)
    name, *others = arguments
    assert run("badges", name, "--db", db, *others).exit_code == 2


def test_what_cannot_be_set_is_said_in_a_sentence(tmp_path):
    """An empty id or user, and a file that is not there; it is not made either."""
    db = str(tmp_path / "stats.db")
    succeed("init", "--db", db)
    assert fail("badges", "set", "--db", db, "", "official", "--by", "ann").startswith("skill_id")
    assert fail("badges", "set", "--db", db, "a", "official", "--by", "").startswith("by_user_id")
    missing = str(tmp_path / "nosuch.db")
    assert "does not exist" in fail("badges", "show", "--db", missing, "a")
    assert not os.path.exists(missing)


@pytest.mark.parametrize("name", sorted(badges.commands))
def test_each_of_them_explains_itself(name):
    page = succeed("badges", name, "--help")
    assert f"skillstat badges {name} --db" in page

"""The command line on a PostgreSQL server: each command that takes a file takes a URL."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from urllib.parse import quote

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier

from skillstat_agg.cli import _database
from tests.command_line import fail, run, succeed
from tests.postgres_server import Server, fresh_database

LOG = "occurred_at,skill_id\n" + 3 * "2026-03-01T12:00:00Z,pdf\n" + "2026-03-02T12:00:00Z,mail\n"
SECRET = "to%p-s&cret"


@pytest.fixture
def conninfo(postgres: Server) -> Iterator[str]:
    """What connects to an empty database."""
    with fresh_database(postgres) as conninfo:
        yield conninfo


@pytest.fixture
def url(conninfo: str) -> str:
    """The URL of an empty database, with a password, which the server does not ask for."""
    return url_of(conninfo)


def url_of(conninfo: str, password: str = SECRET, **changes: str) -> str:
    parts = {**conninfo_to_dict(conninfo), **changes}
    where = f"{quote(str(parts['host']), safe='')}:{parts['port']}"
    user = f"{parts['user']}:{quote(password, safe='')}"
    return f"postgresql://{user}@{where}/{parts['dbname']}"


def append(url: str, *options: object, log: str = LOG) -> str:
    return succeed("append", "--db", url, "--default-kind", "download", *options, stdin=log)


def test_a_log_is_stored_counted_and_shown(url):
    """All commands one after the other, as on a file."""
    assert append(url) == "4 events appended, 0 were there already\n"
    assert "4 events folded" in succeed("drain", "--db", url)
    assert succeed("drain", "--db", url).startswith("0 events folded")
    totals = json.loads(succeed("totals", "--db", url, "--json"))
    assert {skill: row["downloads"] for skill, row in totals.items()} == {"pdf": 3, "mail": 1}
    daily = json.loads(succeed("daily", "--db", url, "--json", "pdf"))
    assert daily["2026-03-01"]["downloads"] == 3
    board = json.loads(succeed("leaderboard", "--db", url, "--by", "downloads", "--json"))
    assert [each["skill_id"] for each in board] == ["pdf", "mail"]
    day = ("--days", 1, "--until", "2026-03-01")
    (trend,) = json.loads(succeed("series", "--db", url, "pdf", *day, "--json"))
    assert trend["points"] == [{"day": "2026-03-01", "downloads": 3, "installs": 0}]
    status = json.loads(succeed("status", "--db", url, "--json"))
    assert (status["count"], status["at_frontier"]) == (4, True)
    assert (status["waiting"], status["held_back_by"]) == (0, [])


def test_no_output_holds_the_password(url, conninfo):
    """Neither what succeeds says it, nor what fails."""
    outputs = [run("init", "--db", url), run("status", "--db", url), run("totals", "--db", url)]
    missing = url_of(conninfo, dbname="not_there")
    outputs += [run(name, "--db", missing) for name in ("init", "drain", "status", "totals")]
    outputs.append(run("append", "--db", url, stdin="skill_id\nno time\n"))
    outputs.append(run("drain", "--db", url, "--schema", "not there"))

    assert [output.exit_code for output in outputs] == [0, 0, 0, 1, 1, 1, 1, 1, 1]
    for output in outputs:
        said = output.stdout + output.stderr
        assert SECRET not in said
        assert quote(SECRET, safe="") not in said
        assert "Traceback" not in said


@pytest.mark.parametrize(
    "bad",
    [
        "postgresql://me:Tru@b4dour@localhost/db",
        "postgresql://me:Tru/b4dour@localhost/db",
        "postgresql://me:Tru%b4dour@localhost/db",
        "postgresql://me:Tru?b4dour@localhost/db",
        "postgresql://me:Tru:b4dour:x@localhost:port/db",
        "postgresql://me:[Tru-b4dour@localhost/db",
        "postgresql://localhost/db?pasword=Trub4dour",
    ],
)
def test_a_url_that_cannot_be_read_is_not_repeated(bad):
    """What the client library says about such a URL may hold a part of the password."""
    output = run("status", "--db", bad)

    assert output.exit_code in (1, 2)
    assert "b4dour" not in output.stdout + output.stderr
    assert "Traceback" not in output.stderr
    assert len(output.stderr.strip().splitlines()) <= 5


def test_a_server_that_is_not_there_is_one_sentence():
    """The sentence names the database, and what went wrong."""
    said = fail("drain", "--db", "postgresql://me:b4dour@127.0.0.1:1/db")

    assert said.startswith("postgresql://me@127.0.0.1:1/db schema 'skillstat': ")
    assert "b4dour" not in said


@pytest.mark.parametrize("command", [("drain",), ("status",), ("totals",), ("daily", "pdf")])
def test_a_database_without_tables_says_what_makes_them(url, command):
    """Commands that read make nothing."""
    name, *arguments = command

    assert "skillstat init or skillstat append makes them" in fail(name, "--db", url, *arguments)


def test_a_schema_can_be_named(url):
    """Two schemas of one database know nothing of each other."""
    schema = 'it\'s "ours" 100%'
    assert "is ready for skill_stats" in succeed("init", "--db", url, "--schema", schema)
    append(url, "--schema", schema)
    append(url, log=LOG + "2026-03-01T12:00:00Z,pdf\n")

    assert "4 events folded" in succeed("drain", "--db", url, "--schema", schema)
    assert "5 events folded" in succeed("drain", "--db", url)


def test_a_schema_of_a_file_is_wrong_usage(tmp_path):
    """A file has no schemas."""
    output = run("init", "--db", tmp_path / "stats.db", "--schema", "mine")

    assert output.exit_code == 2
    assert "--schema goes with a postgresql:// URL" in output.stderr


def test_an_append_is_all_or_none(url):
    """A bad line takes back what stood before it, batches ago."""
    good = 2_500 * "2026-03-01T12:00:00Z,pdf\n"

    said = fail(
        *("append", "--db", url, "--default-kind", "download"),
        stdin=f"occurred_at,skill_id\n{good}never,pdf\n",
    )

    assert "nothing was stored" in said
    succeed("init", "--db", url)
    assert succeed("drain", "--db", url).startswith("0 events folded")
    assert append(url, log=f"occurred_at,skill_id\n{good}").startswith("2500 events appended")


def test_the_status_names_who_holds_the_frontier_back(url, conninfo):
    """An open transaction of another program, and what waits behind it."""
    append(url)
    with psycopg.connect(conninfo, application_name="a long import") as other:
        other.execute("SELECT pg_current_xact_id()")
        append(url)
        status = json.loads(succeed("status", "--db", url, "--json"))
        table = succeed("status", "--db", url)

    assert status["waiting"] == 4
    [holder] = status["held_back_by"]
    assert "'a long import', idle in transaction for" in holder
    assert "waiting\t4" in table
    assert "held back by\tprocess" in table


def test_a_role_without_the_right_is_told_so(url, conninfo, postgres):
    """The sentence says what to do."""
    succeed("init", "--db", url)
    role = conninfo_to_dict(conninfo)["dbname"]  # as unlike others as the database
    with psycopg.connect(conninfo, autocommit=True) as db:
        db.execute(SQL("CREATE ROLE {} LOGIN").format(Identifier(str(role))))
    try:
        said = fail("drain", "--db", url_of(conninfo, user=str(role)))
    finally:
        with psycopg.connect(conninfo, autocommit=True) as db:
            db.execute(SQL("DROP ROLE {}").format(Identifier(str(role))))

    assert "permission denied" in said
    assert "worker_grants_sql" in said


def test_without_the_driver_the_command_says_what_to_install(monkeypatch):
    """The extra is named."""

    def import_module(name: str) -> object:
        raise ModuleNotFoundError(name="psycopg")

    monkeypatch.setattr(importlib, "import_module", import_module)

    with pytest.raises(Exception, match=r"install skillstat-agg\[postgres\]"):
        _database.named("postgresql://localhost/db", None)

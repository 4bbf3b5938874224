"""``skillstat run``: one tick within this process, and whole programs that are told to stop."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import click
import psycopg
import pytest

from skillstat_agg import SKILL_STATS, Effect, Event, Projection
from skillstat_agg.backends.postgres import PostgresEventStore, PostgresStatsStore
from skillstat_agg.backends.postgres import create_tables as create_postgres_tables
from skillstat_agg.backends.sqlite import SQLiteEventStore, SQLiteStatsStore, create_tables
from skillstat_agg.cli import _file, main
from skillstat_agg.cli._database import named
from skillstat_agg.cli._run import Hindered, NeedsAPerson, Worker
from tests.command_line import run, start, succeed
from tests.logs import NOON, download
from tests.postgres_server import Server, fresh_database, running_server
from tests.test_cli_postgres import url_of

COMMENT = Effect(counters={"comments": 1})
COMMENTS = Projection("comments", {"comment": COMMENT, "download": Effect()})
WITH_COMMENTS = Projection("skill_stats", {**SKILL_STATS.kinds, "comment": COMMENT})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that holds nine downloads, not counted yet."""
    path = tmp_path / "stats.db"
    with opened(path) as db:
        create_tables(db, SKILL_STATS)
        SQLiteEventStore(db).append([download()] * 9)
    return path


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None, timeout=60)) as db:
        yield db


def append(path: Path, *events: Event) -> None:
    with opened(path) as db:
        SQLiteEventStore(db).append(events)


def counted(path: Path, projection: Projection = SKILL_STATS) -> int:
    """Return how many events a projection has counted."""
    with opened(path) as db:
        return SQLiteStatsStore(db, projection).cursor().count


def never(_seconds: float) -> bool:
    return False


def worker(target: object, *names: str, wait: Callable[[float], bool] = never, **bounds) -> Worker:
    return Worker(database=named(str(target), None), names=names, wait=wait, **bounds)


# One tick


def test_a_tick_drains_every_projection_and_says_what_it_folded(path, capsys):
    with opened(path) as db:
        create_tables(db, COMMENTS)

    worker(path).tick()
    worker(path).tick()

    assert capsys.readouterr().out.splitlines() == [
        "comments: 9 events folded, 1 rows written, 0 dropped, 0 conflicts;"
        " the frontier is reached",
        "skill_stats: 9 events folded, 2 rows written, 0 dropped, 0 conflicts;"
        " the frontier is reached",
    ]


def test_a_tick_drains_only_what_was_named(path):
    with opened(path) as db:
        create_tables(db, COMMENTS)

    worker(path, "comments").tick()

    assert (counted(path, COMMENTS), counted(path)) == (9, 0)


def test_a_tick_keeps_to_its_bound(path, capsys):
    worker(path, page=2, max_events=5).tick()

    assert counted(path) == 5
    assert capsys.readouterr().out.endswith("more events remain\n")


def test_a_tick_ends_within_one_page(path):
    answers = iter([False, False, True])

    worker(path, page=2, wait=lambda _seconds: next(answers)).tick()

    assert counted(path) == 4


def test_what_needs_a_person_stands_in_the_status(path):
    """Whoever looks later finds out why the numbers stand still."""
    append(path, Event(skill_id="a", kind="comment", occurred_at=NOON))

    with pytest.raises(NeedsAPerson):
        worker(path).tick()

    with opened(path) as db:
        noted = SQLiteStatsStore(db, SKILL_STATS).last_error()
    assert noted is not None
    assert "unknown kind 'comment'" in noted.text
    assert "unknown kind 'comment'" in succeed("status", "--db", str(path))


def test_an_event_that_cannot_be_counted_needs_a_person_and_stops_no_other_projection(path):
    """What stands before it is committed."""
    with opened(path) as db:
        create_tables(db, Projection("all", {**SKILL_STATS.kinds}), WITH_COMMENTS_TOO)
    append(path, Event(skill_id="a", kind="comment", occurred_at=NOON), download())

    with pytest.raises(NeedsAPerson) as caught:
        worker(path).tick()

    assert caught.value.exit_code == 4
    assert "unknown kind 'comment'" in caught.value.message
    assert caught.value.message.endswith("; everything before it is committed")
    assert (counted(path), counted(path, WITH_COMMENTS_TOO)) == (9, 11)


WITH_COMMENTS_TOO = Projection("with_comments", WITH_COMMENTS.kinds)


def test_an_event_that_cannot_be_counted_may_be_set_aside(path):
    append(path, Event(skill_id="a", kind="comment", occurred_at=NOON), download())

    with start("run", "--db", path, "--every", "1h", "--park", stdout=subprocess.PIPE) as process:
        lines = until_folded(process)
        process.send_signal(signal.SIGTERM)
        said_at_the_end(process)

    assert lines[1].startswith("skill_stats: 11 events folded")
    assert totals(path) == {"a": 10}


@pytest.mark.parametrize("looks", [1, 2, 5])
def test_a_tick_that_waits_for_the_lock_ends_when_it_is_told_to(path: Path, looks: int):
    """Whoever holds the lock never lets it go; that it was hindered is no failure then."""
    asked: list[float] = []

    def wait(seconds: float) -> bool:
        asked.append(seconds)
        return len(asked) >= looks

    with opened(path) as other:
        other.execute("BEGIN EXCLUSIVE")
        worker(path, wait=wait).tick()
        other.execute("ROLLBACK")

    assert asked == [0.0] * (looks + 1)
    assert totals(path) == {}


def test_a_changed_history_needs_a_person(path):
    worker(path).tick()
    with opened(path) as db:
        db.execute("UPDATE skillstat_cursors SET fingerprint = fingerprint + 1")

    with pytest.raises(NeedsAPerson, match="history changed"):
        worker(path).tick()


def test_a_newer_schema_needs_a_person(path):
    with opened(path) as db:
        db.execute("UPDATE skillstat_schema SET version = 99")

    with pytest.raises(NeedsAPerson, match="99"):
        worker(path).tick()


def test_a_file_that_is_held_by_another_program_may_be_free_later(path, monkeypatch):
    monkeypatch.setattr(_file, "BUSY_SECONDS", 0)
    with opened(path) as other:
        other.execute("BEGIN EXCLUSIVE")

        with pytest.raises(Hindered, match=r"stats\.db: the database is busy"):
            worker(path).tick()

        other.execute("ROLLBACK")
    worker(path).tick()
    assert counted(path) == 9


def test_a_table_that_is_taken_over_during_a_tick_is_read_anew_by_the_next(path):
    """The new program is deployed beside this one."""

    def deploy(_seconds: float) -> bool:
        with opened(path) as db:
            create_tables(db, WITH_COMMENTS)
        return False

    with pytest.raises(Hindered, match="the table of projection 'skill_stats' does not fit"):
        worker(path, wait=deploy).tick()

    append(path, Event(skill_id="a", kind="comment", occurred_at=NOON))
    worker(path).tick()

    assert counted(path, WITH_COMMENTS) == 10


@pytest.mark.parametrize(
    ("names", "sentence", "exit_code"),
    [
        ((), "the file holds no projection; skillstat init adds one", 1),
        (("nosuch",), "the file holds no projection; skillstat init adds one", 1),
    ],
)
def test_a_file_without_projections_is_said_to_be_one(tmp_path, names, sentence, exit_code):
    path = tmp_path / "log.db"
    with opened(path) as db:
        create_tables(db)

    with pytest.raises(click.ClickException) as caught:
        worker(path, *names).tick()

    assert (caught.value.message, caught.value.exit_code) == (sentence, exit_code)


# PostgreSQL


@contextmanager
def server_log(conninfo: str) -> Iterator[psycopg.Connection]:
    """Give a connection to a database with nine downloads."""
    with psycopg.connect(conninfo, autocommit=True) as db:
        create_postgres_tables(db, SKILL_STATS)
        PostgresEventStore(db).append([download()] * 9)
        yield db


def test_a_connection_that_breaks_is_made_anew_by_the_next_tick(postgres: Server):
    """What was committed before stays, and nothing is counted twice."""
    with fresh_database(postgres) as conninfo, server_log(conninfo) as db:
        stats = PostgresStatsStore(db, SKILL_STATS)

        def end_connections(_seconds: float) -> bool:
            if stats.cursor().count == 4:
                db.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            return False

        with pytest.raises(Hindered, match="terminating connection"):
            worker(url_of(conninfo), page=2, wait=end_connections).tick()
        assert stats.cursor().count == 4

        worker(url_of(conninfo)).tick()

        assert stats.totals()["a"]["downloads"] == stats.cursor().count == 9


def test_a_server_that_is_restarted_does_no_harm():
    """As long as it is away ticks fail, and may pass."""
    with running_server() as server:
        each = worker(url_of(server.conninfo()))
        with server_log(server.conninfo()):
            each.tick()
        server.stop()

        with pytest.raises(Hindered, match="cannot be used") as caught:
            each.tick()
        assert "to%p-s" not in str(caught.value)

        server.start()
        with psycopg.connect(server.conninfo(), autocommit=True) as db:
            PostgresEventStore(db).append([download()])
            each.tick()
            assert PostgresStatsStore(db, SKILL_STATS).cursor().count == 10


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda each: each.name)
def test_a_run_on_a_server_counts_until_it_is_told_to_stop(postgres: Server, number):
    with (
        fresh_database(postgres) as conninfo,
        server_log(conninfo) as db,
        start("run", "--db", url_of(conninfo), "--every", "6h", stdout=subprocess.PIPE) as process,
    ):
        lines = until_folded(process)
        process.send_signal(number)
        rest = said_at_the_end(process)

        assert lines[0] == f"every 6h on {named(url_of(conninfo), None)}"
        assert rest == f"stopped by {number.name}: 1 ticks, 0 of them failed\n"
        assert process.returncode == 0
        assert PostgresStatsStore(db, SKILL_STATS).cursor().count == 9


# Whole programs


def until_folded(process: subprocess.Popen[str]) -> list[str]:
    """Return what a run says up to the end of its first tick."""
    assert process.stdout is not None
    return [process.stdout.readline().rstrip("\n") for _ in range(2)]


def said_at_the_end(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate()
    return said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda each: each.name)
def test_a_run_that_waits_ends_at_once_when_told_to(path, number):
    """The next tick would be in a year."""
    with start("run", "--db", path, "--every", "366d", stdout=subprocess.PIPE) as process:
        lines = until_folded(process)
        process.send_signal(number)
        rest = said_at_the_end(process)

    assert lines == [
        f"every 366d on {path}",
        "skill_stats: 9 events folded, 2 rows written, 0 dropped, 0 conflicts;"
        " the frontier is reached",
    ]
    assert rest == f"stopped by {number.name}: 1 ticks, 0 of them failed\n"
    assert process.returncode == 0


SIGNALLED = """
import os, sqlite3, sys
from skillstat_agg.cli import main

number, commit = int(sys.argv.pop(1)), int(sys.argv.pop(1))
connect, begun = sqlite3.connect, 0

def watch(statement):
    global begun
    begun += statement.startswith("UPDATE main.skillstat_cursors")
    if begun == commit:
        os.kill(os.getpid(), number)

def watched(*arguments, **options):
    db = connect(*arguments, **options)
    db.set_trace_callback(watch)
    return db

sqlite3.connect = watched
main()
"""
"""A run that gets a signal in the middle of a commit, again and again from there on."""


def signalling(number: signal.Signals, commit: int, *arguments: object) -> subprocess.Popen[str]:
    """Start such a program."""
    return subprocess.Popen(
        [sys.executable, "-c", SIGNALLED, str(number.value), str(commit), *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
    )


def signalled(number: signal.Signals, commit: int, *arguments: object) -> tuple[int, str]:
    """Return the exit code of such a run, and what it said."""
    with signalling(number, commit, "run", *arguments) as process:
        said = said_at_the_end(process)
    return process.returncode, said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda each: each.name)
def test_a_signal_in_the_middle_of_a_commit_lets_it_land_and_begins_no_other(path, number):
    code, said = signalled(number, 2, "--db", path, "--every", "15m", "--page", 2)

    assert code == 0
    assert said.splitlines()[1:] == [
        "skill_stats: 4 events folded, 4 rows written, 0 dropped, 0 conflicts; more events remain",
        f"stopped by {number.name}: 1 ticks, 0 of them failed",
    ]
    assert counted(path) == 4


def test_a_run_that_is_killed_in_the_middle_of_a_commit_leaves_nothing_half_done(path):
    """It is just started again."""
    code, _ = signalled(signal.SIGKILL, 2, "--db", path, "--every", "15m", "--page", 2)

    assert code == -signal.SIGKILL
    assert counted(path) == 2
    with start("run", "--db", path, "--every", "15m", stdout=subprocess.PIPE) as process:
        until_folded(process)
        process.send_signal(signal.SIGTERM)
        said_at_the_end(process)
    assert totals(path) == {"a": 9}


def totals(path: Path) -> dict[str, int]:
    with opened(path) as db:
        rows = SQLiteStatsStore(db, SKILL_STATS).totals()
        return {skill: row["downloads"] for skill, row in rows.items()}


def test_two_runs_at_once_count_each_event_once(path):
    """They meet at one lock, and whoever says something has seen the frontier."""
    append(path, *[download("b")] * 100)
    ours, theirs = os.pipe()
    with (
        opened(path) as other,
        start("run", "--db", path, "--every", "1h", "--page", 3, stdout=theirs) as one,
        start("run", "--db", path, "--every", "1h", "--page", 3, stdout=theirs) as two,
        os.fdopen(ours, encoding="utf-8") as said,
    ):
        os.close(theirs)
        other.execute("BEGIN IMMEDIATE")
        begun = [next(said) for _ in range(2)]
        other.execute("ROLLBACK")
        folded = next(said)
        at_frontier = counted(path)
        for process in (one, two):
            process.send_signal(signal.SIGTERM)
        rest = list(said)

    assert {line.partition(" on ")[0] for line in begun} == {"every 1h"}
    assert folded.endswith("the frontier is reached\n")
    assert at_frontier == 109
    assert sum("stopped by SIGTERM" in line for line in rest) == 2
    assert [one.returncode, two.returncode] == [0, 0]
    reports = [int(n) for n in re.findall(r"(\d+) events folded", folded + "".join(rest))]
    assert sum(reports) == 109
    assert totals(path) == {"a": 9, "b": 100}


def test_a_run_takes_over_from_one_that_is_killed_in_a_commit(path):
    """The first one stands still in its second commit, and holds the lock, when it dies."""
    arguments = ("run", "--db", path, "--every", "1h", "--page", 2)
    with signalling(signal.SIGSTOP, 2, *arguments) as one:
        os.waitid(os.P_PID, one.pid, os.WSTOPPED)
        with start(*arguments, stdout=subprocess.PIPE) as two:
            assert two.stdout is not None
            two.stdout.readline()
            one.kill()
            folded = two.stdout.readline()
            two.send_signal(signal.SIGTERM)
            said_at_the_end(two)

    assert folded.startswith("skill_stats: 7 events folded")
    assert folded.endswith("the frontier is reached\n")
    assert totals(path) == {"a": 9}


def test_a_run_that_needs_a_person_ends_with_4_and_one_sentence(path):
    append(path, Event(skill_id="a", kind="comment", occurred_at=NOON))

    result = run("run", "--db", path, "--every", "15m")

    assert result.exit_code == 4
    assert result.stderr.startswith("Error: projection 'skill_stats' cannot count the event")
    assert result.stderr.count("\n") == 1
    assert counted(path) == 9


FREED = """
import sqlite3, sys
from skillstat_agg.cli import _file, main

_file.BUSY_SECONDS = 0
main()
"""


def test_a_run_that_was_hindered_says_so_and_tries_again(path):
    """It fails while the file is held, and counts when it is free."""
    with (
        opened(path) as other,
        subprocess.Popen(
            [sys.executable, "-c", FREED, "run", "--db", path, "--every", "1s"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        other.execute("BEGIN EXCLUSIVE")
        assert process.stderr is not None
        failed = process.stderr.readline()
        other.execute("ROLLBACK")
        until_folded(process)
        process.send_signal(signal.SIGTERM)
        rest = said_at_the_end(process)

    assert re.fullmatch(
        rf"failed: {path}: the database is busy: .*; again in [01]\.\ds \(1 in a row\)\n", failed
    )
    assert rest.startswith("stopped by SIGTERM: ")
    assert process.returncode == 0
    assert counted(path) == 9


# Wrong usage


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--every", "0"), "'0' is no length of time: give a whole number and s, m, h or d"),
        (("--every", "0s"), "0s is too short: give at least 1s"),
        (("--every", "-15m"), "'-15m' is no length of time"),
        (("--every", "900"), "'900' is no length of time"),
        (("--every", "367d"), "367d is too long: give at most 366d"),
        (("--every", "9999999d"), "9999999d is too long: give at most 36500d"),
        (("--every", "15m", "--jitter", "16m"), "give at most the time of --every"),
        ((), "Missing option '--every'"),
        (("--every", "15m", "--page", "0"), "0 is not in the range"),
        (("--every", "15m", "--projection", "nosuch"), "the file holds no projection 'nosuch'"),
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2_and_says_what_to_give(path, options, sentence):
    result = run("run", "--db", path, *options)

    assert result.exit_code == 2
    assert sentence in result.stderr
    assert counted(path) == 0


def test_a_file_that_is_not_there_ends_it_with_1(tmp_path):
    """Who makes it may be about to: to start the run again may help."""
    result = run("run", "--db", tmp_path / "nosuch.db", "--every", "15m")

    assert result.exit_code == 1
    assert "skillstat init or skillstat append creates it" in result.stderr


def test_a_tick_that_folds_nothing_is_silent(path):
    succeed("drain", "--db", path)
    with start("run", "--db", path, "--every", "1s", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        rest = said_at_the_end(process)

    assert re.fullmatch(r"stopped by SIGTERM: \d ticks, 0 of them failed\n", rest)


# The page about it

PAGE = (Path(__file__).parent.parent / "docs" / "schedule.md").read_text(encoding="utf-8")


def test_the_page_shows_what_a_run_says(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    [block] = re.findall(
        r"<!-- run-command -->\n```console\n\$ skillstat (.*)\n((?:.*\n)*?)```", PAGE
    )
    command, shown = block
    with start(*command.split(), stdout=subprocess.PIPE) as process:
        said = "\n".join([*until_folded(process), ""])
        process.send_signal(signal.SIGINT)
        said += said_at_the_end(process)

    assert said == shown.replace("^C", "")


def commands_on_the_page() -> list[list[str]]:
    """Return the arguments of every command of a shell, a unit, a table of cron or a pod."""
    texts = re.findall(r"(?:skillstat|bin/skillstat) ((?:run|drain) --.*?)(?: >.*)?$", PAGE, re.M)
    pods = re.findall(r"command: \[skillstat, (.*)\]", PAGE)
    return [text.split() for text in texts] + [pod.replace('"', "").split(", ") for pod in pods]


@pytest.mark.parametrize("arguments", commands_on_the_page(), ids=" ".join)
def test_a_command_on_the_page_is_understood(arguments):
    name, *options = arguments

    with main.commands[name].make_context(name, options) as context:
        assert context.params["target"]


def test_the_commands_on_the_page_are_found():
    assert len(commands_on_the_page()) == 6

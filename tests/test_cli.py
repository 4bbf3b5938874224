"""The command line as a whole: its help, its exit codes, and how it says what went wrong."""

from __future__ import annotations

import importlib.metadata
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from skillstat_agg import Carried, Effect, Event, Projection
from skillstat_agg.backends.sqlite import SQLiteEventStore, create_tables, stored_projections
from skillstat_agg.cli import _file, main
from skillstat_agg.cli._output import visible
from tests.command_line import SKILLSTAT, fail, run, start, succeed
from tests.logs import NOON, download

READERS = (("drain",), ("status",), ("totals",), ("daily", "pdf"))
LOG = "occurred_at,skill_id\n" + 3 * "2026-03-01T12:00:00Z,pdf\n"

each_reader = pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader[0])


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """A file that holds three downloads, not counted yet."""
    path = tmp_path / "stats.db"
    succeed("append", "--db", path, "--default-kind", "download", stdin=LOG)
    return path


def command(reader: tuple[str, ...], path: Path) -> tuple[object, ...]:
    name, *arguments = reader
    return name, "--db", path, *arguments


# Help and usage


@pytest.mark.parametrize("name", sorted(main.commands))
def test_every_command_explains_itself_with_an_example(name):
    page = succeed(name, "--help")

    assert f"Usage: skillstat {name}" in page or f"Usage: main {name}" in page
    assert f"Example:\n    skillstat {name}" in page


def test_the_group_lists_commands_and_exit_codes():
    page = succeed("--help")

    assert all(f"\n  {name} " in page for name in main.commands)
    assert all(f"\n    {code}  " in page for code in range(5))


def test_the_version_is_that_of_the_package():
    assert importlib.metadata.version("skillstat-agg") in succeed("--version")


@pytest.mark.parametrize(
    "arguments",
    [
        ("nosuch",),
        ("status",),
        ("status", "--nosuch"),
        ("daily", "--db", "stats.db"),
        ("drain", "--db", "stats.db", "--page", "0"),
        ("drain", "--db", "stats.db", "--max-events", "x"),
        ("append", "--db", "stats.db", "--format", "xml"),
        ("append", "--db", "stats.db", "--id-columns", "skill_id,"),
        ("init", "--db", "stats.db", "--projection", "no_colon"),
        ("init", "--db", "stats.db", "--projection", "nosuch_module:NAME"),
        ("init", "--db", "stats.db", "--projection", "json:NAME"),
        ("status", "--db", "."),
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2_and_makes_no_file(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    result = run(*arguments)

    assert result.exit_code == 2
    assert "\nError: " in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_module_runs_as_a_program(db):
    done = subprocess.run([*SKILLSTAT, "drain", "--db", db], capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("3 events folded")


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_its_extra_it_says_what_to_install(missing):
    program = f"import sys; sys.modules[{missing!r}] = None; import skillstat_agg.cli"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert done.returncode == 1
    assert done.stderr == (f"Error: the command line needs {missing}: install skillstat-agg[cli]\n")


# Files that cannot be used


@each_reader
def test_only_init_append_and_demo_make_a_file(reader, tmp_path):
    path = tmp_path / "nosuch.db"

    sentence = fail(*command(reader, path))

    assert sentence == f"{path} does not exist; skillstat init or skillstat append creates it"
    assert not path.exists()


every_command = pytest.mark.parametrize(
    "arguments", [*READERS, ("append",), ("init",)], ids=lambda arguments: arguments[0]
)


@every_command
def test_a_file_that_is_not_sqlite_is_refused(arguments, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to be taken for one" * 20)

    assert fail(*command(arguments, path), stdin=LOG).startswith(f"{path}: file is not a database")


@every_command
def test_a_newer_schema_is_refused(arguments, db):
    with closing(sqlite3.connect(db)) as theirs:
        theirs.execute("UPDATE skillstat_schema SET version = 99")
        theirs.commit()

    assert "the tables are of version 99" in fail(*command(arguments, db), stdin=LOG)


@pytest.mark.parametrize("arguments", [*READERS, ("append",)], ids=lambda arguments: arguments[0])
def test_a_database_of_somebody_else_is_left_alone(arguments, tmp_path):
    path = tmp_path / "theirs.db"
    with closing(sqlite3.connect(path)) as theirs:
        theirs.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()

    sentence = fail(*command(arguments, path), stdin=LOG)

    assert sentence.startswith(f"{path}: ")
    assert path.read_bytes() == before


@every_command
def test_a_file_that_another_program_holds_is_named(arguments, db, monkeypatch):
    monkeypatch.setattr(_file, "BUSY_SECONDS", 0)
    with closing(sqlite3.connect(db, isolation_level=None)) as theirs:
        theirs.execute("BEGIN EXCLUSIVE")

        sentence = fail(
            *command(arguments, db),
            *(("--default-kind", "download") if arguments[0] == "append" else ()),
            stdin=LOG,
        )

    assert sentence == f"{db}: the database is busy: database is locked"


def test_a_full_disk_stores_nothing(tmp_path):
    """The size of files is limited in a process of its own, as a full disk would."""
    path, log = tmp_path / "stats.db", tmp_path / "log.csv"
    log.write_text(LOG + 20_000 * "2026-03-01T12:00:00Z,pdf\n")
    succeed("init", "--db", path)
    program = (
        "import resource, skillstat_agg.cli as cli;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000)); cli.main()"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, "append", "--db", path, "--default-kind", "download", log],
        capture_output=True,
        text=True,
    )

    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: {path}: the database cannot be used: ")
    assert '"frontier": null' in succeed("status", "--db", path, "--json")


def test_a_file_that_may_only_be_read_can_be_read(db):
    db.chmod(0o400)
    if os.access(db, os.W_OK):
        pytest.skip("this user may write to every file")

    assert "readonly" in fail("append", "--db", db, "--default-kind", "download", stdin=LOG)
    assert succeed("status", "--db", db)


def test_names_of_files_may_hold_anything(tmp_path):
    path = tmp_path / "a?mode=memory#%20 \u202eb.db"

    succeed("init", "--db", path)

    assert succeed("status", "--db", path)
    assert path.is_file()
    assert "a?mode=memory#%20 \\u202eb.db" in fail("append", "--db", path, "nosuch" + path.name)


# Streams


def test_a_broken_pipe_ends_without_a_word(db):
    theirs, ours = os.pipe()
    os.close(theirs)

    with start("status", "--db", db, stdout=ours, stderr=subprocess.PIPE) as process:
        os.close(ours)
        _, errors = process.communicate()

    assert (process.returncode, errors) == (1, "")


def test_what_stdout_cannot_encode_is_shown_as_an_escape(tmp_path):
    path = tmp_path / "stats.db"
    row = '{"skill_id": "\u65e5", "occurred_at": "2026-03-01T12:00:00Z", "kind": "star"}'
    succeed("append", "--db", path, "--format", "jsonl", stdin=row)
    succeed("drain", "--db", path)

    done = subprocess.run(
        [*SKILLSTAT, "totals", "--db", path],
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        text=True,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1].startswith("\\u65e5\t")


def test_an_argument_that_is_no_text_is_refused(db):
    sentence = fail("daily", "--db", db, "\udcff")

    assert sentence == "skill_id holds half of a surrogate pair, which is no character"


def test_control_characters_become_visible():
    assert visible("red \x1b[31m\n\u202e\ud800 caf\u00e9 \\") == (
        "red \\x1b[31m\\n\\u202e\\ud800 caf\u00e9 \\"
    )


def test_an_interrupt_while_reading_stores_nothing(tmp_path):
    """The process says that it reads from the terminal; then it is interrupted."""
    path = tmp_path / "stats.db"
    ours, theirs = os.openpty()
    with start("append", "--db", path, stdin=theirs, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "reading events from standard input, up to its end\n"

        process.send_signal(signal.SIGINT)

        assert process.stderr.read() == "Error: interrupted; nothing was stored\n"
    os.close(ours)
    os.close(theirs)
    assert process.returncode == 1
    assert not path.exists()


def test_a_drain_that_is_interrupted_goes_on_when_run_again(db):
    """It is interrupted while it waits for the lock: the signal is there before the lock is."""
    ours, theirs = os.openpty()
    with (
        closing(sqlite3.connect(db, isolation_level=None)) as other,
        start("drain", "--db", db, "--page", 1, stderr=theirs) as process,
    ):
        os.close(theirs)
        other.execute("BEGIN IMMEDIATE")
        said = b""
        while b"draining" not in said:
            said += os.read(ours, 1_000)
        process.send_signal(signal.SIGINT)
        other.execute("ROLLBACK")
        said += rest_of(ours)
    os.close(ours)

    assert process.returncode == 1
    assert b"Error: interrupted; what is committed stays: run it again to go on" in said
    assert b"Traceback" not in said
    succeed("drain", "--db", db)
    assert '"downloads": 3' in succeed("totals", "--db", db, "--json")


def test_a_drain_that_waits_for_the_lock_can_be_interrupted(db):
    """Whoever holds the lock goes on holding it until the drain has ended."""
    ours, theirs = os.openpty()
    with (
        closing(sqlite3.connect(db, isolation_level=None)) as other,
        start("drain", "--db", db, stderr=theirs) as process,
    ):
        os.close(theirs)
        other.execute("BEGIN IMMEDIATE")
        said = b""
        while b"draining" not in said:
            said += os.read(ours, 1_000)
        process.send_signal(signal.SIGINT)
        said += rest_of(ours)
    os.close(ours)

    assert process.returncode == 1
    assert b"Error: interrupted; what is committed stays: run it again to go on" in said


STUB = """
import sys
from importlib.abc import MetaPathFinder

class Interrupts(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupts())
from skillstat_command import main
main()
"""


@pytest.mark.parametrize(
    "module", ["skillstat_agg", "attrs", "skillstat_agg.cli", "click", "skillstat_agg.cli._run"]
)
def test_ctrl_c_before_a_command_begins_ends_it_without_a_word(module):
    done = subprocess.run([sys.executable, "-c", STUB, module], capture_output=True, text=True)

    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def rest_of(terminal: int) -> bytes:
    """Return what is said on a terminal until its other end is closed."""
    said = b""
    try:
        while part := os.read(terminal, 1_000):
            said += part
    except OSError:  # how Linux says that it is closed
        pass
    return said


# Init

KINDS = """
from skillstat_agg import RETIRED, Effect, Projection

COMMENTS = Projection("comments", {"comment": Effect(counters={"comments": 1})})
MORE = Projection("comments", {"comment": Effect(counters={"comments": 1}), "wave": RETIRED})
OTHER = Projection("comments", {"comment": Effect(counters={"comments": 2})})
VISITS = Projection("visits", {"comment": RETIRED, "visit": Effect(counters={"visits": 1})})
"""


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    """The current folder, with a module of projections that is new to Python."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "kinds", raising=False)
    (tmp_path / "kinds.py").write_text(KINDS)
    return tmp_path


def test_init_is_for_skill_statistics_unless_told_otherwise(in_folder):
    assert succeed("init", "--db", "stats.db") == "stats.db is ready for skill_stats\n"
    assert succeed("init", "--db", "stats.db") == "stats.db is ready for skill_stats\n"


def test_init_takes_projections_from_the_current_folder(in_folder):
    path_before = list(sys.path)

    init = ("init", "--db", "stats.db", "--projection", "kinds:COMMENTS")
    assert succeed(*init) == "stats.db is ready for comments\n"
    assert succeed(*init, "--projection", "kinds:VISITS") == (
        "stats.db is ready for comments, visits\n"
    )
    assert succeed("init", "--db", "stats.db") == "stats.db is ready for comments, visits\n"
    assert sys.path == path_before


def test_init_refuses_another_table_of_the_same_name(in_folder):
    succeed("init", "--db", "stats.db", "--projection", "kinds:COMMENTS")

    sentence = fail("init", "--db", "stats.db", "--projection", "kinds:OTHER")

    assert "kind 'comment' has another effect" in sentence


def test_init_takes_a_table_over_that_only_adds_kinds(in_folder):
    succeed("init", "--db", "stats.db", "--projection", "kinds:COMMENTS")

    succeed("init", "--db", "stats.db", "--projection", "kinds:MORE")

    with closing(sqlite3.connect("stats.db")) as db:
        [stored] = stored_projections(db)
    assert stored.kinds.keys() > {"comment"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("(", "SyntaxError"),
    ],
)
def test_a_module_that_fails_is_wrong_usage(in_folder, monkeypatch, content, reason):
    monkeypatch.delitem(sys.modules, "broken", raising=False)
    (in_folder / "broken.py").write_text(content)

    result = run("init", "--db", "stats.db", "--projection", "broken:NAME")

    assert result.exit_code == 2
    assert f"broken cannot be imported: {reason}" in result.stderr


# Which projection


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A file with the projections ``comments`` and ``sizes``, and a comment in its log."""
    path = tmp_path / "two.db"
    comments = Projection("comments", {"comment": Effect(counters={"comments": 1})})
    sizes = Projection("sizes", {"comment": Effect(counters={"bytes": Carried("size")})})
    with closing(sqlite3.connect(path)) as db:
        create_tables(db, comments, sizes)
        SQLiteEventStore(db).append([Event(skill_id="a", kind="comment", occurred_at=NOON)])
    return path


@pytest.mark.parametrize(
    "reader",
    [reader for reader in READERS if reader[0] != "status"],
    ids=lambda reader: reader[0],
)
def test_several_projections_have_to_be_told_apart(reader, two):
    """But for the status, which is that of all of them."""
    result = run(*command(reader, two))

    assert result.exit_code == 2
    assert result.stderr.endswith(
        "Error: --projection is needed, since the file holds several: comments, sizes\n"
    )


def test_a_projection_is_chosen_by_its_name(two):
    succeed("drain", "--db", two, "--projection", "comments")

    assert succeed("totals", "--db", two, "--projection", "comments") == (
        "skill_id\tcomments\na\t1\n"
    )


@each_reader
def test_a_projection_that_is_not_there_is_wrong_usage(reader, two):
    result = run(*command(reader, two), "--projection", "nosuch")

    assert result.exit_code == 2
    assert result.stderr.endswith(
        "Error: the file holds no projection 'nosuch'; it holds comments, sizes\n"
    )


@each_reader
def test_a_log_without_projections_has_no_numbers(reader, tmp_path):
    path = tmp_path / "log.db"
    with closing(sqlite3.connect(path)) as db:
        create_tables(db)
        SQLiteEventStore(db).append([download()])

    assert fail(*command(reader, path)) == ("the file holds no projection; skillstat init adds one")


@pytest.mark.parametrize(
    "target",
    [
        "postgresql+psycopg://bob:s3cret@host/db",
        "POSTGRESQL://bob:s3cret@host/db",
        "host=host user=bob password=s3cret",
    ],
)
@pytest.mark.parametrize("command", ["status", "init", "run"])
def test_what_is_nearly_a_url_is_not_repeated(command, target, tmp_path, monkeypatch):
    """It may hold a password, and it is no name of a file."""
    monkeypatch.chdir(tmp_path)
    every = ["--every", "15m"] if command == "run" else []

    result = run(command, "--db", target, *every)

    assert result.exit_code == 2
    assert "postgresql://USER:PASSWORD@HOST/DATABASE" in result.output
    assert "s3cret" not in result.output
    assert list(tmp_path.iterdir()) == []

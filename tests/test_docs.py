"""What the README and the docs show is run, and what they name exists."""

from __future__ import annotations

import ast
import doctest
import os
import re
import shlex
import sqlite3
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout, suppress
from importlib import import_module
from io import StringIO
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier
from sybil import Document, Example, Sybil
from sybil.document import PythonDocStringDocument
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.myst import CodeBlockParser
from sybil.parsers.rest import DocTestParser

import skillstat_agg
from benchmarks.__main__ import BENCHMARKS
from skillstat_agg import SKILL_STATS, Carried, Effect
from skillstat_agg.cli import main
from skillstat_agg.testing import CHECKS
from skillstat_agg.testing._wiring import WIRING
from skillstat_agg.testing.checks.mixed import CHECKS as RANDOM
from tests.laws import PROTOCOLS, laws_of
from tests.pages import write_part
from tests.postgres_server import Server, fresh_database

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "examples" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
PACKAGE = Path(skillstat_agg.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
HELD = re.compile(r"^\*Held by:\*(\n\n- `tests/test_| No test of its own yet)", re.MULTILINE)
NOT_RUN = re.compile(r"<!-- (test|demo|run|install)-command -->\n\Z")


RUNS_THE_KIT = ("stamper.md", "write-a-store.md")

every_page = pytest.mark.parametrize(
    "path",
    [
        pytest.param(
            page,
            id=page.relative_to(ROOT).as_posix(),
            marks=pytest.mark.long if page.name in RUNS_THE_KIT else (),
        )
        for page in PAGES
    ],
)
every_module_with_examples = pytest.mark.parametrize(
    "path",
    [path for path in SOURCES if ">>> " in path.read_text(encoding="utf-8")],
    ids=lambda path: path.relative_to(PACKAGE).as_posix(),
)


LIBPQ = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE"}
OTHERS = """
SELECT 'DATABASE', datname FROM pg_database WHERE datname <> 'postgres' AND NOT datistemplate
UNION ALL SELECT 'ROLE', rolname FROM pg_roles WHERE rolname !~ '^(pg_|postgres$)'
"""


@pytest.fixture
def empty_database(postgres: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A database that libpq's variables name. What a page makes beside it goes in the end."""
    with psycopg.connect(postgres.conninfo(), autocommit=True) as db:
        there = db.execute(OTHERS).fetchall()
        with fresh_database(postgres) as conninfo:
            for name, value in conninfo_to_dict(conninfo).items():
                monkeypatch.setenv(LIBPQ[name], str(value))
            monkeypatch.setenv("PATH", f"{postgres.programs}{os.pathsep}{os.environ['PATH']}")
            yield
        for what, name in db.execute(OTHERS).fetchall():
            if (what, name) not in there:
                db.execute(SQL("DROP {} {}").format(SQL(what), Identifier(name)))


class Reader:
    """Follows a page: runs its blocks in a folder, and compares what they say.

    A ``python`` block may print; then a ``text`` block follows that says what. If its first line
    names a file, it is written there instead. A ``sh`` block succeeds in silence. In a
    ``console`` block commands follow ``$``, and the other lines are what they answer. ``...``
    stands for anything.
    """

    def __init__(self) -> None:
        self._printed = ""

    def python(self, example: Example) -> str | None:
        unread = self.unread()
        if write_part(example.parsed, Path()):
            return unread
        with redirect_stdout(StringIO()) as out:
            PythonEvaluator()(example)
        self._printed = out.getvalue()
        return unread

    def text(self, example: Example) -> str | None:
        said, self._printed = self._printed, ""
        return difference(example.parsed, said)

    def unread(self) -> str | None:
        """Return what was printed and stands nowhere, or None."""
        said, self._printed = self._printed, ""
        return f"the page does not show that this is printed:\n{said}" if said else None

    def sh(self, example: Example) -> str | None:
        return difference("", shell(example.parsed))

    def console(self, example: Example) -> str | None:
        if NOT_RUN.search(example.document.text[: example.start]):
            return None
        commands: list[str] = []
        answers: list[str] = []
        for line in example.parsed.splitlines():
            is_command = line.startswith("$ ") or (commands and commands[-1].endswith("\\"))
            (commands if is_command else answers).append(line.removeprefix("$ "))
        return difference("\n".join(answers), shell("\n".join(commands)))


def shell(script: str) -> str:
    """Return what *script* says on a plain terminal, where ``skillstat`` is installed."""
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    ours, theirs = os.openpty()
    with (
        open(ours, "rb", buffering=0) as terminal,
        subprocess.Popen(
            ["sh", "-c", script],
            env={**os.environ, "PATH": path, "COLUMNS": "80", "TERM": "dumb"},
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
        ),
    ):
        os.close(theirs)
        said = b""
        # Where the other end is closed Linux raises, and others return nothing.
        with suppress(OSError):
            while part := terminal.read(65_536):
                said += part
    return said.decode().replace("\r\n", "\n")


def difference(expected: str, said: str) -> str | None:
    """Return how the two differ, or None; blank lines and ends of lines do not matter."""
    want, got = (
        "".join(f"{line.rstrip()}\n" for line in text.splitlines() if line.strip())
        for text in (expected, said)
    )
    if doctest.OutputChecker().check_output(want, got, doctest.ELLIPSIS):
        return None
    return f"the page shows:\n{want}\nbut this was said:\n{got}"


@every_page
def test_every_block_of_a_page_runs_and_says_what_the_page_shows(
    path, tmp_path, monkeypatch, request
):
    """A reader who pastes block after block into an empty folder sees what is printed here."""
    monkeypatch.chdir(tmp_path)
    if path.name.startswith(("postgres", "django")):
        request.getfixturevalue("empty_database")
    reader = Reader()
    runs: dict[str, Callable[[Example], str | None]] = {
        "python": reader.python,
        "text": reader.text,
        "sh": reader.sh,
        "console": reader.console,
    }
    page = Sybil([CodeBlockParser(language, run) for language, run in runs.items()]).parse(path)

    try:
        for example in page.examples():
            example.evaluate()
        assert reader.unread() is None
    finally:
        close_connections(page)


def close_connections(page: Document) -> None:
    for value in page.namespace.values():
        if isinstance(value, (sqlite3.Connection, psycopg.Connection)):
            value.close()


@every_module_with_examples
def test_every_example_in_a_docstring_is_true(path):
    """The doctests, with the public names and those of their module at hand."""
    module = import_module(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))
    document = PythonDocStringDocument.parse(str(path), DocTestParser())

    document.namespace.update({**vars(skillstat_agg), **vars(module)})
    for example in document.examples():
        example.evaluate()


def test_the_tutorial_installs_as_the_readme_does():
    """Its commands are the beginning of the README's first one."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    tutorial = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    (install,) = re.findall(
        r"<!-- install-command -->\n```console\n(.*?)\n```", tutorial, re.DOTALL
    )
    one_line = " && ".join(install.splitlines())

    assert f"<!-- demo-command -->\n```console\n{one_line} && " in readme


@pytest.mark.parametrize("readme", [ROOT / "README.md", ROOT / "examples" / "README.md"])
def test_the_pages_that_a_readme_links_exist(readme):
    """Every relative link leads to a file of the repository."""
    text = readme.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", text)

    assert links
    assert [link for link in links if not (readme.parent / link).is_file()] == []


def test_the_front_page_leads_to_every_page():
    """By a link in its text: what a task is called is said there, not in the menu."""
    text = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"\]\((\S+?\.md)[#)]", text))

    assert linked == {page.name for page in PAGES} - {"README.md", "index.md"}


def test_every_law_stands_on_the_contract_page_with_its_tests():
    """A section for each law of the protocols, in their order, that says what holds it."""
    page = (ROOT / "docs" / "contract.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^### `(\w+)`\n(.*?)(?=^##|\Z)", page, re.MULTILINE | re.DOTALL))
    laws = [law for protocol in PROTOCOLS for law in laws_of(protocol)]

    assert list(sections) == laws
    assert [law for law, text in sections.items() if not HELD.search(text)] == []


def test_every_figure_about_speed_names_its_benchmark():
    """Each row of the tables of figures begins with a name that the command takes."""
    page = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    tables = re.findall(r"^\| benchmark .*\n\| --- .*\n((?:\|.*\n)+)", page, re.MULTILINE)
    rows = [row for table in tables for row in table.splitlines()]

    assert len(tables) == 4
    assert [row for row in rows if row.split("`")[1] not in BENCHMARKS] == []


@every_page
def test_every_check_that_a_page_names_exists(path):
    """Ids such as ``LATE-02`` are those of checks."""
    families = "|".join(sorted({check.family for check in (*CHECKS, *WIRING, *RANDOM)}))
    text = path.read_text(encoding="utf-8")
    named = set(re.findall(rf"\b(?:{families})-\d\d\b", text))

    assert named <= {check.id for check in (*CHECKS, *WIRING, *RANDOM)}


@every_page
def test_every_test_that_a_page_names_exists(path):
    """Names such as ``tests/test_append.py::test_...`` lead somewhere."""
    text = path.read_text(encoding="utf-8")
    missing = [
        f"{file}::{name}"
        for file, name in re.findall(r"`(tests/test_\w+\.py)::(test_\w+)`", text)
        if name not in names_of_tests(ROOT / file)
    ]

    assert missing == []


def names_of_tests(path: Path) -> set[str]:
    if not path.is_file():
        return set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def row_of(kind: str, effect: Effect) -> str:
    """Return the row of a kind in the table of the docs."""
    cells = []
    for amounts in (effect.counters, effect.rollups):
        parts = [
            f"`{name}` + its `{amount.name}`"
            if isinstance(amount, Carried)
            else f"`{name}` {amount:+d}"
            for name, amount in amounts.items()
        ]
        cells.append(", ".join(parts).replace("-", "\N{MINUS SIGN}") or "nothing")
    return f"| `{kind}` | {cells[0]} | {cells[1]} |"


def test_the_docs_say_of_each_kind_what_the_table_says():
    """The rows of the seven kinds are those of SKILL_STATS."""
    page = (ROOT / "docs" / "coming-from-clawhub.md").read_text(encoding="utf-8")
    rows = [row_of(kind, effect) for kind, effect in SKILL_STATS.kinds.items()]

    assert "\n".join(rows) in page


def lines_of_a_shell() -> list[str]:
    """Return what stands in the blocks that are not run: lines of cron, and what takes long."""
    blocks = [
        block
        for page in PAGES
        for block in re.findall(r"^```bash\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)
    ]
    return [line for block in blocks for line in block.splitlines()]


def test_what_is_not_run_names_commands_and_sessions_that_there_are():
    """A command is understood with its options, and a session stands in the noxfile."""
    text = "\n".join(lines_of_a_shell())
    commands = re.findall(r"(?:^|[\s/])skillstat (.+?)(?: >.*)?$", text, re.MULTILINE)
    sessions = re.findall(r"nox -s (\w+)", text)
    there = re.findall(r"^def (\w+)\(session", (ROOT / "noxfile.py").read_text("utf-8"), re.M)

    for name, *options in map(shlex.split, commands):
        main.commands[name].make_context(name, options).close()
    assert len(commands) == 4
    assert {*sessions} <= {*there}
    assert {*sessions} == {"bench", "mutants"}

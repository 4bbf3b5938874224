"""The three front ends of the kit: a line for pytest, a function, and a command."""

from __future__ import annotations

import json
import re
import shlex
import sqlite3
import subprocess
import sys
from io import StringIO
from pathlib import Path

import attrs
import pytest

from skillstat_agg import Page, Place
from skillstat_agg.backends.memory import MemoryEventStore
from skillstat_agg.testing import (
    CHECKS,
    CONTRACT,
    Level,
    Report,
    Result,
    Status,
    check_store,
    harnesses,
)
from skillstat_agg.testing._checks import AnyCase, Check, check
from skillstat_agg.testing._commands import main
from skillstat_agg.testing._progress import Progress
from skillstat_agg.testing._results import Failure
from skillstat_agg.testing._running import run_check
from skillstat_agg.testing._steps import Violation
from skillstat_agg.testing._texts import failure_text
from skillstat_agg.testing._wiring import declared
from skillstat_agg.testing.gallery._frame import broken, events_of

pytest_plugins = ["pytester"]

STORE = '''
from contextlib import contextmanager

import attrs

from skillstat_agg.testing import conformance_tests, harnesses

memory = harnesses.memory


class Blind:
    """Stats whose commit compares nothing."""

    def __init__(self, stats):
        self.stats = stats
        self.projection = stats.projection
        self.cursor, self.totals = stats.cursor, stats.totals
        self.rollups, self.forget = stats.rollups, stats.forget

    def commit(self, commit):
        return self.stats.commit(attrs.evolve(commit, expected=self.stats.cursor()))


@contextmanager
def blind(database, setting):
    with memory.client(database, setting) as client:
        yield attrs.evolve(client, stats=Blind(client.stats))


harness = attrs.evolve(memory, client=blind)
excused = attrs.evolve(
    harness,
    expected_failures={"FENCE-01": "it does not compare", "APPEND-01": "it was thought so"},
)
unknown = attrs.evolve(memory, expected_failures={"FENCE-99": "there is no such check"})


@contextmanager
def used():
    from skillstat_agg import Event
    from skillstat_agg.backends.memory import MemoryDatabase, MemoryEventStore
    from skillstat_agg.testing._cases import NOON

    database = MemoryDatabase()
    opened.append(database)
    MemoryEventStore(database).append([Event(skill_id="a", kind="star", occurred_at=NOON)])
    yield database


opened = []
miswired = attrs.evolve(memory, site=used)
number = 3
'''

TESTS = """
test_memory = conformance_tests(memory)
test_blind = conformance_tests(harness)
test_excused = conformance_tests(excused)
test_unknown = conformance_tests(unknown)
test_miswired = conformance_tests(miswired)
test_nameless = conformance_tests(attrs.evolve(harness))


def test_the_wiring_was_checked_once():
    assert len(opened) == 2  # a client could be opened, but not at an empty site
"""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of tests in the current directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    path = tmp_path / "test_store.py"
    path.write_text(STORE + TESTS, encoding="utf-8")
    return path


def commands_in(output: str) -> list[list[str]]:
    """Return the arguments of the replay commands that an output shows."""
    found = re.findall(r"replay     python -m skillstat_agg.testing (replay .*)", output)
    return [shlex.split(line) for line in found]


def made_of(check_id: str, witness: str = "something", since: int = CONTRACT, fails: str = "no"):
    """Return a check of our own."""

    @check(check_id, "exact", "a check of our own", witness=witness, since=since)
    def own(case: AnyCase) -> None:
        case.client("w").append(*case.downloads("a"))
        case.saw("something")
        if fails == "yes":
            raise Violation("this", "that")

    return own


# pytest


def outcomes(pytester: pytest.Pytester, store: Path, *arguments: str) -> tuple[dict[str, int], str]:
    result = pytester.runpytest_inprocess(str(store), "-p", "no:cacheprovider", "-rsxX", *arguments)
    return result.parseoutcomes(), result.stdout.str()


def test_each_check_is_a_test(pytester, store):
    """They are selected by id, passed where all is well, and skipped where it is not declared."""
    found, output = outcomes(
        pytester, store, "-v", "-k", "test_memory and (APPEND-01 or LATE-02 or LATE-07)"
    )

    assert found == {"passed": 2, "skipped": 1, "deselected": 6 * len(CHECKS) + 1 - 3}
    assert "test_store.py::test_memory[LATE-02] PASSED" in output
    assert "not declared: io" in output


def test_a_failure_shows_what_happened_and_no_code_of_ours(pytester, store):
    """The schedule, what was expected, and a command that plays the case again."""
    found, output = outcomes(pytester, store, "-k", "test_blind and FENCE-01")

    assert found["failed"] == 1
    assert "FENCE-01  two workers count each event once" in output
    assert "law        compare_and_set" in output
    assert "doubled: e2" in output
    assert "_pytest.py" not in output
    assert "hidden" not in output
    assert all(len(line) <= 100 for line in output.splitlines() if "  replay " not in line)


def test_the_replay_command_works_when_it_is_pasted(pytester, store, capsys):
    """It plays the same case to the same end."""
    _, output = outcomes(pytester, store, "-k", "test_blind and FENCE-01")
    [arguments] = commands_in(output)

    status = main(arguments)

    assert arguments[1] == "test_store.py:harness"
    assert status == 1
    shown = capsys.readouterr().out
    assert "f2.commit up to" in shown
    assert "doubled: e2" in shown


def test_the_replay_command_works_from_another_directory(pytester, store, monkeypatch, capsys):
    """The path in it is relative to where the tests were started."""
    (store.parent / "elsewhere").mkdir()
    monkeypatch.chdir(store.parent / "elsewhere")

    _, output = outcomes(pytester, store, "-k", "test_blind and FENCE-01")
    [arguments] = commands_in(output)

    assert arguments[1] == "../test_store.py:harness"
    assert main(arguments) == 1


def test_a_harness_without_a_name_is_told_how_to_get_one(pytester, store):
    """A command can only name what the module calls something."""
    _, output = outcomes(pytester, store, "-k", "test_nameless and FENCE-01")

    assert "replay FILE.py:NAME" in output


def test_an_expected_failure_must_fail(pytester, store):
    """It is strict in both directions."""
    found, output = outcomes(pytester, store, "-k", "test_excused and (FENCE-01 or APPEND-01)")

    assert found["xfailed"] == 1
    assert found["failed"] == 1
    assert "it does not compare" in output
    assert "take it out of expected_failures" in output
    assert "it was thought so" in output


def test_every_test_of_a_miswired_harness_says_so(pytester, store):
    """No law gets a verdict, and the wiring is checked once."""
    found, output = outcomes(pytester, store, "-k", "test_miswired or wiring")

    assert found["failed"] == len(CHECKS)
    assert found["passed"] == 1
    assert output.count("WIRE-01  not so: site() gives an empty site") == len(CHECKS)


def test_an_expected_failure_of_no_check_is_told(pytester, store):
    """A slip of the pen excuses nothing."""
    found, output = outcomes(pytester, store, "-k", "test_unknown and APPEND")

    assert set(found) == {"failed", "deselected"}
    assert "no check is called FENCE-99" in output


def test_one_test_alone_in_a_process_of_its_own(pytester, store):
    """Each process checks the wiring for itself, so tests may be spread over several."""
    result = pytester.runpytest_subprocess(f"{store}::test_memory[APPEND-01]", "-q")

    assert result.parseoutcomes() == {"passed": 1}


OWN = """
from skillstat_agg.testing import conformance_tests, harnesses
from tests.test_kit_front_ends import made_of

test_own = conformance_tests(harnesses.memory, checks=[
    made_of("OWN-01"),
    made_of("OWN-02", witness="nothing"),
    made_of("OWN-03", since=99, fails="yes"),
    made_of("OWN-04", fails="yes"),
])
"""


def test_vacuous_is_a_failure_and_advice_is_none(pytester, store):
    """A check that has not met its danger is red; one that is newer than what is required not."""
    store.write_text(OWN, encoding="utf-8")

    found, output = outcomes(pytester, store)

    assert found == {"passed": 1, "failed": 2, "xfailed": 1}
    assert "vacuous    no case has met this: nothing" in output
    assert "advice only" in output


def test_the_kit_can_be_imported_without_pytest_and_hypothesis(store):
    """A module of tests then still gives its harness to the command."""
    code = (
        "import sys; sys.modules['pytest'] = sys.modules['hypothesis'] = None\n"
        "from skillstat_agg.testing._commands import main\n"
        "status = main(['run', 'test_store.py:memory', '--only', 'APPEND-01'])\n"
        "assert status == 0, status\n"
        "assert main(['run', 'test_store.py:memory', '--only', 'TIE', '--random', '3']) == 2\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stderr == (
        "error: random schedules need Hypothesis: install skillstat-agg[testing]\n"
    )


# check_store


def test_a_report_counts_and_reads_itself():
    """Checks, cases, and what was not declared."""
    checks = [check for check in CHECKS if check.id in ("APPEND-01", "LATE-07")]

    report = check_store(harnesses.memory, checks=checks)

    assert report.ok
    assert report.counts()[Status.PASSED] == 1
    assert report.counts()[Status.NOT_DECLARED] == 1
    assert report.cases > 10
    assert report.cases_per_second > 0
    assert "1 passed, 0 failed, 0 vacuous, 0 expected failures, 1 not declared" in str(report)
    assert "without io: LATE-07" in str(report)
    assert "laws without a check that was tried: stable_prefix" in str(report)
    assert str(report).endswith("PASSED; not tried: 1 of 2 checks")


our_own = attrs.evolve(harnesses.memory, writers=harnesses.sqlite.writers)


def test_a_report_names_the_harness_as_its_module_does():
    """So its replay commands work when they are pasted, here too."""
    report = check_store(our_own, checks=[check for check in CHECKS if check.family == "MECH"])

    [result] = report.results
    assert result.status is Status.FAILED
    assert report.target is not None
    assert report.target.endswith("tests/test_kit_front_ends.py:our_own")
    assert f"replay {report.target} 'MECH-01/" in str(report)


def test_a_store_is_checked_further_at_the_full_level():
    """There are more cases, and their trails say so."""
    checks = [check for check in CHECKS if check.id == "LATE-02"]

    quick = check_store(harnesses.memory, checks=checks)
    full = check_store(harnesses.memory, checks=checks, level=Level.FULL)

    assert full.cases > quick.cases
    assert full.level == "full"


# What a failure looks like


def shown(failure: Failure, check: Check = CHECKS[0]) -> str:
    return failure_text(Result(check=check, status=Status.FAILED, failure=failure), "a.py:b")


def test_the_error_of_a_driver_is_told_what_it_should_be():
    """A store that is in the way says StoreBusyError, and nothing else does."""

    class Locked(MemoryEventStore):
        def read(self, after: Place | None, /, *, limit: int) -> Page:
            raise sqlite3.OperationalError("database is locked")

    (check_of_ties,) = (one for one in CHECKS if one.id == "TIE-01")
    harness = broken(events=events_of(Locked))
    failure = run_check(check_of_ties, harness, Level.QUICK, declared(harness)).failure

    assert failure is not None
    assert failure.expected == "no error; StoreBusyError if another client is in the way"
    assert failure.actual == "OperationalError: database is locked"


def test_a_long_schedule_is_shown_without_its_middle():
    """And in lines that fit."""
    steps = tuple(f"w{number}.append e{number} -> 1 new" for number in range(500))

    text = shown(Failure(trail="X-01/0", schedule=steps, expected="a" * 2_000, actual="b " * 99))

    assert "w0.append" in text
    assert "(440 more: replay shows them)" in text
    assert "w499.append" in text
    assert len(text.splitlines()) < 40
    assert all(len(line) <= 100 for line in text.splitlines() if "aaa" not in line)


def test_a_schedule_leaves_out_who_only_looked():
    """Unless that ends it: then it is what found the fault."""
    steps = ("w.append e1", "outside.totals", "w.append e2", "outside.totals", "outside.read")

    text = shown(Failure(trail="X-01/0", schedule=steps, expected="1", actual="2"))

    assert "w.append e1 · w.append e2 · outside.totals · outside.read" in text


def test_what_cannot_be_seen_is_shown_as_an_escape():
    """A terminal is not moved by a skill's id."""
    text = shown(
        Failure(trail="X-01/0", schedule=("w.totals a\x00\x1b[2J",), expected="\ud800", actual="")
    )

    assert "w.totals a\\x00\\x1b[2J" in text
    assert "expected   \\ud800" in text


def test_progress_is_written_over_on_a_terminal_only():
    """A file gets nothing."""

    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    terminal, file = Terminal(), StringIO()
    for out in (terminal, file):
        progress = Progress(out)
        progress.of("1/2  LATE-02")(1_000)
        progress.clear()

    assert terminal.getvalue().startswith("\r1/2  LATE-02\r1/2  LATE-02  1,000 cases\r")
    assert terminal.getvalue().endswith("\r")
    assert file.getvalue() == ""


# The command


def test_run_shows_a_table(store, capsys):
    """One row for each check, and the counts."""
    status = main(["run", "test_store.py:memory", "--only", "tie, LATE-07", "--only", "MECH"])

    out, err = capsys.readouterr()
    assert status == 0
    assert err == ""
    assert re.search(r"^TIE-01 +\d+ +\d\.\d\d s  total_order +passed$", out, re.MULTILINE)
    assert re.search(r"^LATE-07 +- +-  stable_prefix +not declared: io$", out, re.MULTILINE)
    assert "PASSED" in out.splitlines()[-1]


def test_run_says_little_if_it_is_to_be_quiet(store, capsys):
    """What is red, and the counts."""
    status = main(["run", "test_store.py:memory", "--only", "TIE", "--quiet"])

    assert status == 0
    assert "TIE-01" not in capsys.readouterr().out


def test_run_gives_json(store, capsys):
    """One object, with everything that the table says."""
    status = main(["run", "test_store.py:memory", "--only", "TIE-01", "--json"])

    report = json.loads(capsys.readouterr().out)
    assert status == 0
    assert report["ok"] is True
    assert report["contract"] == CONTRACT
    assert (report["level"], report["checks"], report["teeth"]) == ("quick", 1, None)
    assert report["counts"]["passed"] == 1
    assert report["counts"]["vacuous"] == 0
    assert report["cases"] == report["results"][0]["cases"] > 0
    assert report["cases_per_second"] > 0
    assert report["results"][0]["status"] == "passed"


def test_run_of_a_broken_store_fails(store, capsys):
    """Its report says how to play the case again, in text and in JSON."""
    status = main(["run", "test_store.py", "--only", "FENCE-01"])
    text = capsys.readouterr().out
    main(["run", "test_store.py", "--only", "FENCE-01", "--json"])
    report = json.loads(capsys.readouterr().out)

    assert status == 1
    assert text.endswith("FAILED: 1 of 1 checks are red\n")
    [arguments] = commands_in(text)
    assert arguments[1:] == ["test_store.py", report["results"][0]["failure"]["trail"]]


def test_run_of_a_miswired_harness_gives_no_verdict(store, capsys):
    """It says what is wrong, and that no law was checked."""
    status = main(["run", "test_store.py:miswired"])

    out = capsys.readouterr().out
    assert status == 1
    assert "WIRE-01  not so: site() gives an empty site" in out
    assert "these are there already" in out
    assert "MISWIRED: no law was checked" in out


def test_run_plays_random_schedules_too(store, capsys):
    """They are a check like the others."""
    status = main(["run", "test_store.py:memory", "--only", "TIE-01", "--random", "30"])

    assert status == 0
    assert re.search(r"^RANDOM-01 +30 ", capsys.readouterr().out, re.MULTILINE)


def test_run_proves_its_teeth(store, capsys):
    """A check that notices no saboteur is not enough."""
    status = main(["run", "test_store.py:memory", "--only", "IDLE-02", "--prove-teeth"])

    out = capsys.readouterr().out
    assert status == 1
    assert "compares blindly: NOT CAUGHT" in out


def test_run_does_not_break_what_is_broken(store, capsys):
    """Saboteurs come to stores that pass."""
    status = main(["run", "test_store.py", "--only", "FENCE-01", "--prove-teeth"])

    assert status == 1
    assert "the store itself has to pass first" in capsys.readouterr().out


def test_replay_shows_each_step(store, capsys):
    """One line each; then what came of it."""
    status = main(["replay", "test_store.py:memory", "late-02/0,0,1"])

    out = capsys.readouterr().out
    assert status == 0
    assert "   1  " in out
    assert "unused" not in out
    assert "PASSED" in out


def test_replay_plays_a_case_of_the_full_level(store, capsys):
    """The level is part of the trail."""
    assert main(["replay", "test_store.py:memory", "'LATE-02@full/0'"]) == 0


def test_replay_of_a_check_of_the_harness(store, capsys):
    """What is wrong with a harness is played again like anything else."""
    status = main(["replay", "test_store.py:miswired", "WIRE-01/-"])

    assert status == 1
    assert "these are there already: star of a" in capsys.readouterr().out


def test_replay_of_a_law_of_a_miswired_harness(store, capsys):
    """There is no verdict here either."""
    status = main(["replay", "test_store.py:miswired", "LATE-02/0"])

    assert status == 1
    assert "the harness is miswired" in capsys.readouterr().out


def test_replay_of_an_expected_failure(store, capsys):
    """It says that it was expected."""
    main(["run", "test_store.py", "--only", "FENCE-01"])
    [arguments] = commands_in(capsys.readouterr().out)

    main(["replay", "test_store.py:excused", arguments[2]])

    assert "FAILED, as expected: it does not compare" in capsys.readouterr().out


def test_replay_tells_choices_that_are_left_over(store, capsys):
    """A store that answers otherwise than before may come to an end sooner."""
    main(["replay", "test_store.py:memory", "TIE-01/0,0,0,0,0,0,0,0,0,0,0,0"])

    assert "of the trail are unused" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("trail", "says"),
    [
        ("LATE-02/9", "LATE-02/9 is no case of this store: choice 1 is 9, but there are"),
        ("LATE-02/x", "not a trail: 'x'; a trail looks like LATE-02/0,1,2"),
        ("LATE-02", "LATE-02 names no case: a trail looks like LATE-02/0,1,2; run --only"),
        ("LATE-99/0", "there is no check LATE-99"),
        ("LATE-02@deep/0", "there is no level deep; there are quick and full"),
        ("LATE-07/0", "LATE-07 needs what the harness does not declare: io"),
    ],
)
def test_a_trail_that_does_not_fit_is_told_in_a_sentence(store, capsys, trail, says):
    """And it is no verdict."""
    status = main(["replay", "test_store.py:memory", trail])

    out, err = capsys.readouterr()
    assert status == 2
    assert out == ""
    assert err.startswith("error: ")
    assert says in err
    assert err.count("\n") == 1


def test_diagnose_says_what_a_store_looks_like(store, capsys):
    """A store that compares nothing looks like the one of the gallery."""
    status = main(["diagnose", "test_store.py", "--only", "FENCE", "--only", "TIE"])

    out = capsys.readouterr().out
    assert status == 1
    assert "FENCE-01  two workers count each event once" in out
    assert "TIE" not in out
    assert 'looks like gallery "' in out or "no broken store" in out


def test_diagnose_of_a_store_that_passes(store, capsys):
    """There is nothing to say."""
    status = main(["diagnose", "test_store.py:memory", "--only", "TIE-01"])

    assert status == 0
    assert "PASSED" in capsys.readouterr().out


# What a target may be


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("nowhere.py:harness", "there is no file nowhere.py"),
        ("nowhere/store.py", "there is no file nowhere/store.py"),
        ("nowhere:harness", "there is no module nowhere"),
        ("test_store:memory_", "test_store has no 'memory_'; its harnesses: excused, harness,"),
        ("test_store.py:number", "'number' of test_store.py is no Harness but a int"),
        ("test_store.py:nothing", "test_store.py has no 'nothing'; its harnesses: excused, h"),
        ("empty.py", "empty.py has no 'harness'; there is no Harness in it"),
        ("empty", "empty has no 'harness'; there is no Harness in it"),
        ("failing.py:x", "failing.py cannot be imported: ZeroDivisionError: division by zero ("),
        ("failing:x", "failing cannot be imported: ZeroDivisionError: division by zero (fail"),
        ("wrong.py:x", "wrong.py cannot be imported: SyntaxError: '(' was never closed (wrong"),
        ("missing.py", "missing.py cannot be imported: ModuleNotFoundError: No module named '"),
        ("missing", "missing cannot be imported: ModuleNotFoundError: No module named 'no_su"),
        ("leaving.py", "leaving.py cannot be imported: SystemExit: 3 (leaving.py, line 2)"),
        ("store.txt/", "there is no file store.txt/"),
    ],
)
def test_a_target_that_leads_nowhere_is_told_in_a_sentence(store, capsys, target, says):
    """It says what is there instead, or where the error comes from."""
    for name, text in (
        ("empty", ""),
        ("failing", "def f():\n    return 1 / 0\nf()\n"),
        ("wrong", "x = (\n"),
        ("missing", "import no_such_module\n"),
        ("leaving", "import sys\nsys.exit(3)\n"),
    ):
        Path(f"{name}.py").write_text(text, encoding="utf-8")

    status = main(["run", target])

    out, err = capsys.readouterr()
    assert status == 2
    assert out == ""
    assert err.startswith(f"error: {says}")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "target",
    [
        "a_package/inner/of_tests.py:mine",
        "a_package/inner/of_tests.py",
        "a_package.inner.of_tests:mine",
        "queue.py",
        "skillstat_agg.testing.harnesses:memory",
    ],
)
def test_a_target_is_imported_as_its_package_means_it(store, capsys, target):
    """Relative imports work, and a file that is called like a module of Python, too."""
    folder = Path("a_package/inner")
    folder.mkdir(parents=True)
    for name in ("a_package/__init__.py", "a_package/inner/__init__.py"):
        Path(name).touch()
    Path("a_package/stores.py").write_text("from skillstat_agg.testing.harnesses import memory\n")
    of_tests = "from ..stores import memory as mine\nharness = mine\n"
    Path("a_package/inner/of_tests.py").write_text(of_tests)
    Path("queue.py").write_text("from skillstat_agg.testing.harnesses import memory as harness\n")

    status = main(["run", target, "--only", "TIE-01", "--quiet"])

    assert status == 0, capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "test_store.py:memory", "--only", "LATER"], "no check and no family LATER"),
        (["diagnose", "test_store.py:memory", "--only", "LATE-99"], "no family LATE-99"),
    ],
)
def test_a_check_that_does_not_exist_is_told(store, capsys, arguments, says):
    """With the families that there are."""
    status = main(arguments)

    err = capsys.readouterr().err
    assert status == 2
    assert says in err
    assert "LATE, FENCE" in err


@pytest.mark.parametrize(
    "arguments", [[], ["run"], ["run", "x", "--level", "deep"], ["run", "x", "--random", "0"]]
)
def test_a_command_that_makes_no_sense_is_told(arguments, capsys):
    """By argparse, which exits with 2."""
    with pytest.raises(SystemExit) as stopped:
        main(arguments)

    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("usage:")


def test_help_shows_how(capsys):
    """With examples, and what the exit status means."""
    with pytest.raises(SystemExit):
        main(["--help"])

    out = capsys.readouterr().out
    assert "replay tests/test_store.py 'LATE-02/0,1,2'" in out
    assert "130 interrupted" in out


def test_nobody_has_to_read_to_the_end(store):
    """Where the reader goes away there is no traceback."""
    command = f"{shlex.quote(sys.executable)} -m skillstat_agg.testing run test_store.py:memory"

    done = subprocess.run(
        f"{command} --only TIE | true",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stderr == ""


def test_a_report_of_nothing_is_a_report():
    """No checks, no cases, no division by zero."""
    report = Report(target=None, level="quick", results=())

    assert report.ok
    assert json.loads(report.as_json())["cases_per_second"] == 0

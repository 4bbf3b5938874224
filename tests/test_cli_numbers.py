"""``drain``, ``status``, ``totals`` and ``daily``: the numbers are those of a plain count."""

from __future__ import annotations

import io
import json
import random
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from rich.console import Console

from skillstat_agg import RETIRED, SKILL_STATS, Effect, Event, Granularity, Projection
from skillstat_agg.backends.sqlite import SQLiteEventStore, SQLiteStatsStore, create_tables
from skillstat_agg.cli._output import _table
from tests.command_line import fail, run, start, succeed
from tests.logs import NOON, download, event_logs
from tests.oracle import count_days, count_totals


def clamped(row: dict[str, int]) -> dict[str, int]:
    return {name: max(0, value) for name, value in row.items()}


def as_lines(log: Sequence[Event]) -> str:
    """Return a log as JSON Lines."""
    return "".join(
        json.dumps(
            {
                "skill_id": event.skill_id,
                "kind": event.kind,
                "occurred_at": event.occurred_at.isoformat(),
                "deltas": None if event.deltas is None else dict(event.deltas),
            }
        )
        + "\n"
        for event in log
    )


@given(log=event_logs())
@settings(max_examples=25)
def test_what_is_printed_is_what_a_plain_count_gives(log):
    """For any log: signed, clamped, by skill, and by skill and day."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "stats.db")
        succeed("append", "--db", path, "--format", "jsonl", stdin=as_lines(log))
        succeed("drain", "--db", path, "--page", 5)

        numbers = json.loads(run("totals", "--db", path, "--json").stdout)
        signed = json.loads(run("totals", "--db", path, "--json", "--signed").stdout)
        days = {
            skill: json.loads(run("daily", "--db", path, "--json", "--", skill).stdout)
            for skill in signed
        }

    totals = count_totals(log)
    assert signed == totals
    assert numbers == {skill: clamped(row) for skill, row in totals.items()}
    assert days == {
        skill: {str(day): row for day, row in sorted(count_days(log).get(skill, {}).items())}
        for skill in totals
    }


# A log of many ties, as a file


LOG_SIZE = 200


@pytest.fixture(scope="module")
def log(tmp_path_factory) -> tuple[Path, Counter[str], Counter[tuple[str, str]]]:
    """A table of downloads: few seconds, few skills; and a plain count of it."""
    draw = random.Random(2012)
    skills: Counter[str] = Counter()
    days: Counter[tuple[str, str]] = Counter()
    rows = ["occurred_at,skill_id"]
    for _ in range(LOG_SIZE):
        at = NOON + timedelta(hours=13 * draw.randrange(4), seconds=draw.randrange(5))
        skill = f"skill {draw.randrange(40)}"
        rows.append(f"{at.isoformat()},{skill}")
        skills[skill] += 1
        days[skill, at.date().isoformat()] += 1
    path = tmp_path_factory.mktemp("log") / "log.csv"
    path.write_text("\n".join(rows))
    return path, skills, days


@pytest.fixture
def path(tmp_path: Path, log: tuple[Path, object, object]) -> Path:
    """A file that holds the log, not counted yet."""
    path = tmp_path / "stats.db"
    succeed("append", "--db", path, "--default-kind", "download", log[0])
    return path


def assert_exact(path: Path, log: tuple[Path, Counter[str], Counter[tuple[str, str]]]) -> None:
    """Compare all numbers of a file with the plain count."""
    _, skills, days = log
    with closing(sqlite3.connect(path)) as db:
        stats = SQLiteStatsStore(db, SKILL_STATS)
        assert Counter({key: row["downloads"] for key, row in stats.totals().items()}) == skills
        assert days == Counter(
            {
                (skill, str(start.date())): row["downloads"]
                for skill in skills
                for start, row in stats.rollups(skill, Granularity.DAY).items()
            }
        )


@pytest.mark.parametrize("options", [("--page", 1), ("--page", 7), ("--page", 500), ()])
def test_a_drain_is_exact_with_any_page(path, log, options):
    said = succeed("drain", "--db", path, *options)

    assert said.startswith(f"{LOG_SIZE} events folded, ")
    assert said.endswith(" rows written, 0 dropped, 0 conflicts; the frontier is reached\n")
    assert_exact(path, log)
    assert succeed("drain", "--db", path) == (
        "0 events folded, 0 rows written, 0 dropped, 0 conflicts; the frontier is reached\n"
    )


def test_bounds_are_never_overshot(path, log):
    """A drain in steps ends where one without bounds does."""
    said = succeed("drain", "--db", path, "--max-events", 150, "--page", 60)
    assert said.startswith("150 events folded, ")
    assert said.endswith("more events remain\n")

    said = succeed("drain", "--db", path, "--max-skills", 1)
    assert said.startswith("50 events folded, ")
    assert_exact(path, log)


def test_two_drains_at_once_are_exact(path, log):
    processes = [
        start("drain", "--db", path, "--page", 20, stdout=subprocess.PIPE) for _ in range(2)
    ]

    said = [process.communicate()[0] for process in processes]

    assert sum(int(each.partition(" ")[0]) for each in said) == LOG_SIZE
    assert_exact(path, log)


def test_a_drain_that_is_killed_and_run_again_is_exact(path, log):
    """It is killed once the first of 200 commits is seen from outside."""
    with (
        closing(sqlite3.connect(path, timeout=60)) as db,
        start("drain", "--db", path, "--page", 1, stdout=subprocess.PIPE) as process,
    ):
        while SQLiteStatsStore(db, SKILL_STATS).cursor().count == 0:
            assert process.poll() is None
        process.kill()
    succeed("drain", "--db", path)
    assert_exact(path, log)


# Events that do not count


@pytest.fixture
def db(tmp_path: Path):
    """A connection to a new file for skill statistics."""
    with closing(sqlite3.connect(tmp_path / "stats.db")) as db:
        create_tables(db, SKILL_STATS)
        yield db


def test_an_event_that_cannot_be_counted_stops_a_drain_behind_the_others(db, tmp_path):
    view = Event(skill_id="b", kind="view", occurred_at=NOON)
    SQLiteEventStore(db).append([download(), view, download()])

    for _ in range(2):
        assert fail("drain", "--db", tmp_path / "stats.db") == (
            "projection 'skill_stats' cannot count the event of skill 'b' at position 2: unknown"
            " kind 'view'; everything before it is committed"
        )

    assert '"count": 1' in succeed("status", "--db", tmp_path / "stats.db", "--json")
    noted = SQLiteStatsStore(db, SKILL_STATS).last_error()
    assert noted is not None
    assert "unknown kind 'view'" in noted.text


def test_events_of_forgotten_skills_are_reported(db, tmp_path):
    SQLiteStatsStore(db, SKILL_STATS).forget("a")
    SQLiteEventStore(db).append([download("a"), download("a"), download("b")])

    assert succeed("drain", "--db", tmp_path / "stats.db") == (
        "3 events folded, 2 rows written, 2 dropped (2 forgotten), 0 conflicts;"
        " the frontier is reached\n"
    )


def test_a_log_that_was_exchanged_is_not_folded(db, tmp_path):
    SQLiteEventStore(db).append([download()])
    succeed("drain", "--db", tmp_path / "stats.db")
    db.execute("UPDATE skillstat_schema SET epoch = 'another'")
    db.commit()

    for command in ("drain", "status"):
        assert fail(command, "--db", tmp_path / "stats.db").startswith(
            "history changed under the cursor: "
        )


# Status


def test_status_says_how_far_the_counting_has_come(db, tmp_path):
    status = ("status", "--db", tmp_path / "stats.db")

    empty = json.loads(succeed(*status, "--json"))
    SQLiteEventStore(db).append([download(), download(), download()])
    succeed("drain", "--db", tmp_path / "stats.db", "--max-events", 2)
    halfway = json.loads(succeed(*status, "--json"))
    cursor = SQLiteStatsStore(db, SKILL_STATS).cursor()

    assert halfway == {
        "projection": "skill_stats",
        "count": 2,
        "position": "2",
        "frontier": "3",
        "at_frontier": False,
        "lag": 1,
        "waiting": 0,
        "is_capped": False,
        "age_seconds": halfway["age_seconds"],
        "updated_at": cursor.updated_at.isoformat(),
        "last_error": None,
        "dropped": {},
        "parked": 0,
        "checksum": f"{cursor.checksum:016x}",
    }
    assert halfway["age_seconds"] >= 0
    assert empty["position"] is empty["frontier"] is None
    assert (empty["count"], empty["at_frontier"]) == (0, True)
    assert empty["age_seconds"] is None
    assert succeed(*status).splitlines()[:7] == [
        "projection\tskill_stats",
        "count\t2",
        "position\t2",
        "frontier\t3",
        "at frontier\tno",
        "lag\t1",
        "waiting\t0",
    ]


# Totals and days


@pytest.fixture
def counted(db: sqlite3.Connection, tmp_path: Path) -> Path:
    """A file with numbers, one of them below 0, and skills with strange names."""
    unstar = Event(skill_id="pdf", kind="unstar", occurred_at=NOON)
    names = ["b", "a", "[red]x[/red]", "[red]x[/red]", "\x1b[31m\n\t\u202e", "pdf"]
    SQLiteEventStore(db).append([unstar, *map(download, names)])
    succeed("drain", "--db", tmp_path / "stats.db")
    return tmp_path / "stats.db"


def test_most_downloads_come_first_then_names_decide(counted):
    assert succeed("totals", "--db", counted).splitlines() == [
        "skill_id\tdownloads\tstars\tinstalls_all_time\tinstalls_current",
        "[red]x[/red]\t2\t0\t0\t0",
        "\\x1b[31m\\n\\t\\u202e\t1\t0\t0\t0",
        "a\t1\t0\t0\t0",
        "b\t1\t0\t0\t0",
        "pdf\t1\t0\t0\t0",
    ]
    assert list(json.loads(succeed("totals", "--db", counted, "--json"))) == [
        "[red]x[/red]",
        "\x1b[31m\n\t\u202e",
        "a",
        "b",
        "pdf",
    ]


def test_sums_are_clamped_unless_they_are_asked_for_as_stored(counted):
    assert succeed("totals", "--db", counted, "pdf").splitlines()[1] == "pdf\t1\t0\t0\t0"
    assert succeed("totals", "--db", counted, "--signed", "pdf").splitlines()[1] == (
        "pdf\t1\t-1\t0\t0"
    )


def test_a_skill_without_events_is_absent_and_said_so(counted):
    result = run("totals", "--db", counted, "--json", "nosuch\x1b", "pdf", "nosuch\x1b")

    assert result.exit_code == 0
    assert list(json.loads(result.stdout)) == ["pdf"]
    assert result.stderr == "no events of 'nosuch\\x1b' are counted\n"


def test_a_file_without_numbers_says_what_to_do(db, tmp_path):
    result = run("totals", "--db", tmp_path / "stats.db", "--json")

    assert (result.exit_code, result.stdout) == (0, "{}\n")
    assert result.stderr == "no events are counted yet; skillstat drain counts them\n"


def test_days_come_in_the_order_of_time(db, tmp_path):
    days = [timedelta(days=1), timedelta(days=-30_000), timedelta(0), timedelta(days=1)]
    SQLiteEventStore(db).append([download(at=NOON + each) for each in days])
    succeed("drain", "--db", tmp_path / "stats.db")

    assert succeed("daily", "--db", tmp_path / "stats.db", "a").splitlines() == [
        "day\tdownloads\tinstalls",
        "1944-01-11\t1\t0",
        "2026-03-01\t1\t0",
        "2026-03-02\t2\t0",
    ]


def test_a_skill_without_days_is_empty_and_said_so(counted):
    result = run("daily", "--db", counted, "--json", "nosuch")

    assert (result.exit_code, result.stdout) == (0, "{}\n")
    assert result.stderr == "'nosuch' has no rollups by day\n"


@pytest.mark.parametrize(
    ("rollups", "granularity", "reason"),
    [
        ({}, Granularity.DAY, "projection 'visits' has no rollups"),
        ({"visits": 1}, Granularity.HOUR, "projection 'visits' has no rollups by day"),
    ],
)
def test_a_projection_without_days_is_an_error(tmp_path, rollups, granularity, reason):
    path = tmp_path / "stats.db"
    kinds = {"visit": Effect(counters={"visits": 1}, rollups=rollups), "wave": RETIRED}
    with closing(sqlite3.connect(path)) as db:
        create_tables(db, Projection("visits", kinds, (granularity,)))

    assert fail("daily", "--db", path, "a") == reason


def test_a_table_on_a_terminal_takes_nothing_for_markup():
    """Names are whole, in however narrow a window, and numbers have separators."""
    screen = io.StringIO()

    Console(file=screen, width=30, force_terminal=True, color_system=None).print(
        _table(["skill_id", "n"], [("[red]x[/red]", 1_000), (40 * "long", 1), ("\x1b[31m", 2)])
    )

    text = screen.getvalue()
    assert "[red]x[/red]" in text
    assert "1,000" in text
    assert "\\x1b[31m" in text
    assert text.count("l") == 40 + "skill_id".count("l")

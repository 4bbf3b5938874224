"""``skillstat append``: what it reads, what it refuses, and that it stores all or nothing."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from sqlite3 import connect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skillstat_agg import Effect, Event, Projection
from skillstat_agg.backends.sqlite import SQLiteEventStore, create_tables
from skillstat_agg.cli._lines import MAX_LINE
from skillstat_agg.cli._rules import Rules
from tests.command_line import fail, run, start, succeed

NINE = datetime(2026, 3, 1, 9, tzinfo=timezone.utc)
TIME = "2026-03-01T09:00:00Z"
HEAD = "occurred_at,skill_id,kind\n"
GOOD = f"{TIME},pdf,download\n"


def event(skill_id: str = "pdf", kind: str = "download", **more: object) -> Event:
    return Event(skill_id=skill_id, kind=kind, occurred_at=NINE, **more)  # type: ignore[arg-type] # the tests say what


def stored(path: Path) -> list[Event]:
    """Return the events in a file."""
    with closing(connect(path)) as db:
        page = SQLiteEventStore(db).read(None, limit=100_000)
    return [recorded.event for recorded in page.events]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "stats.db"


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


# What it reads


def test_a_table_becomes_events_in_its_order(path):
    table = (
        "note,skill_id,extra,deltas,kind,event_id,occurred_at\n"
        f",pdf,x,,download,,{TIME}\n"
        f'why,mail,y,"{{""all_time"": -1, ""current"": 0}}",install_clear,id 7,'
        "2026-03-01T11:00:00+02:00\n"
    )

    assert succeed("append", "--db", path, stdin=table) == (
        "2 events appended, 0 were there already\n"
    )
    assert stored(path) == [
        event(),
        event(
            "mail",
            "install_clear",
            event_id="id 7",
            deltas={"all_time": -1, "current": 0},
            note="why",
        ),
    ]


def test_objects_become_events_in_their_order(path):
    first = {"skill_id": "pdf", "occurred_at": TIME, "kind": "download", "note": None, "more": [1]}
    second = {
        "skill_id": "mail",
        "occurred_at": TIME,
        "kind": "install_clear",
        "deltas": {"all_time": -1, "current": 2},
    }
    lines = f"{json.dumps(first)}\n\n  \n{json.dumps(second)}"

    succeed("append", "--db", path, "--format", "jsonl", stdin=lines)

    assert stored(path) == [
        event(),
        event("mail", "install_clear", deltas={"all_time": -1, "current": 2}),
    ]


def test_the_name_of_a_file_tells_its_format(path, in_folder):
    as_object = json.dumps({"skill_id": "json", "occurred_at": TIME, "kind": "download"})
    Path("a.csv").write_text(f"{HEAD}{TIME},table,download\n")
    Path("b.txt").write_text(f"{HEAD}{TIME},text,download\n")
    Path("c.jsonl").write_text(as_object)
    Path("d.ndjson.gz").write_bytes(gzip.compress(as_object.encode()))

    succeed("append", "--db", path, "a.csv", "b.txt", "c.jsonl", "d.ndjson.gz")

    assert [each.skill_id for each in stored(path)] == ["table", "text", "json", "json"]


def test_compressed_input_is_read_from_stdin_too(path):
    succeed("append", "--db", path, stdin=gzip.compress((HEAD + GOOD).encode()))

    assert stored(path) == [event()]


def test_files_and_stdin_are_read_in_the_order_they_are_named(path, in_folder):
    Path("a.csv").write_text(f"{HEAD}{TIME},a,download\n")

    succeed("append", "--db", path, "a.csv", "-", "a.csv", stdin=f"{HEAD}{TIME},b,download\n")

    assert [each.skill_id for each in stored(path)] == ["a", "b", "a"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_is_read_once(path, in_folder):
    os.mkfifo("pipe.csv")

    process = start("append", "--db", path, "pipe.csv", stdout=subprocess.PIPE)
    Path("pipe.csv").write_text(HEAD + GOOD)

    assert process.communicate()[0] == "1 events appended, 0 were there already\n"
    assert stored(path) == [event()]


@pytest.mark.parametrize(
    ("content", "skills"),
    [
        ("", []),
        ("\n\n", []),
        (HEAD, []),
        (HEAD.rstrip(), []),
        (f"\ufeff{HEAD}{GOOD}", ["pdf"]),
        (f"{HEAD}{GOOD}".replace("\n", "\r\n"), ["pdf"]),
        (f"{HEAD}{GOOD}".rstrip(), ["pdf"]),
        (f"\n{HEAD}\n{GOOD}\n\n{GOOD}", ["pdf", "pdf"]),
        (f'{HEAD}{TIME},"a\n""b"",\r\nc",download\n', ['a\n"b",\r\nc']),
        (f"{HEAD}{TIME}, p\x01df ,download\n", [" p\x01df "]),
    ],
)
def test_what_is_fine_in_a_table(path, content, skills):
    """Nothing, a mark of byte order, blank lines, any end of line, and any text in quotes."""
    succeed("append", "--db", path, stdin=content.encode())

    assert [each.skill_id for each in stored(path)] == skills


def test_the_default_kind_is_for_records_that_name_none(path):
    table = f"{HEAD}{TIME},a,star\n{TIME},b,\n"

    succeed("append", "--db", path, "--default-kind", "download", stdin=table)

    assert [each.kind for each in stored(path)] == ["star", "download"]


# Ids


def test_an_event_id_makes_a_second_run_harmless(path):
    table = f"occurred_at,skill_id,kind,event_id\n{TIME},a,star,1\n{TIME},a,star,2\n"

    succeed("append", "--db", path, stdin=table)

    assert succeed("append", "--db", path, stdin=table) == (
        "0 events appended, 2 were there already\n"
    )


@pytest.mark.parametrize("columns", ["user,skill_id,occurred_at", " occurred_at , skill_id,user"])
def test_columns_can_be_the_identity_of_an_event(path, columns):
    """Whatever their order; two lines that agree in them are one event."""
    table = (
        "occurred_at,skill_id,kind,user,trace\n"
        f"{TIME},pdf,download,ann,1\n"
        f"{TIME},pdf,download,ann,2\n"
        f"{TIME},pdf,download,,3\n"
    )
    append = ("append", "--db", path, "--id-columns")

    assert succeed(*append, "occurred_at,skill_id,user", stdin=table) == (
        "2 events appended, 1 were there already\n"
    )
    assert succeed(*append, columns, stdin=table) == "0 events appended, 3 were there already\n"


def test_the_same_log_in_another_format_has_the_same_ids(path):
    fields = {"skill_id": "p,df", "occurred_at": TIME, "kind": "download"}
    append = ("append", "--db", path, "--id-columns", "occurred_at,skill_id")

    succeed(*append, stdin=f'{HEAD}{TIME},"p,df",download\n')

    assert succeed(*append, "--format", "jsonl", stdin=json.dumps(fields)) == (
        "0 events appended, 1 were there already\n"
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text('a",:[]1\\', max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner),
)
identities = st.fixed_dictionaries({"x": json_values, "y": json_values})


@given(one=identities, other=identities)
def test_unlike_values_have_unlike_ids(one, other):
    """Ids are equal exactly where the values are, as JSON compares them."""
    rules = Rules("download", ("x", "y"))
    ids = [
        rules.event({"skill_id": "a", "occurred_at": TIME, **values}).event_id
        for values in (one, other)
    ]

    assert (ids[0] == ids[1]) == (
        json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    )


# Bad lines

DELTAS = "occurred_at,skill_id,kind,deltas\n"
BAD = [
    ("skill_id\nx\n", 1, "there is no column 'occurred_at' among skill_id"),
    (
        "occurred_at;skill_id\n",
        1,
        "there is no column 'skill_id' among occurred_at;skill_id",
    ),
    (
        "occurred_at,skill_id\n",
        1,
        "there is no column 'kind' among occurred_at, skill_id and no --default-kind",
    ),
    ("occurred_at,kind,skill_id,kind\n", 1, "there are two columns 'kind'"),
    ('occurred_at,"skill_id\n', 1, "this is not a row of CSV: unexpected end of data"),
    (f"{HEAD}{GOOD}{TIME},pdf\n", 3, "the number of fields is 2 instead of 3"),
    (f"{HEAD}{TIME},pdf,download,4\n", 2, "the number of fields is 4 instead of 3"),
    (
        f'{HEAD}"{TIME}\n,\n",pdf\n',
        2,
        "the number of fields is 2 instead of 3, in a row that ends in line 4",
    ),
    (f'{HEAD}"{TIME}"x,pdf,download\n', 2, "this is not a row of CSV: ',' expected after '\"'"),
    (f'{HEAD}{TIME},pdf,"download\n{GOOD}', 2, "this is not a row of CSV: unexpected end of data"),
    (
        f"{HEAD}{GOOD}".replace("\n", "\r"),
        1,
        "this is not a row of CSV: new-line character seen in unquoted field",
    ),
    (
        f"{HEAD}{TIME},{200_000 * 'x'},download\n",
        2,
        "this is not a row of CSV: field larger than field limit (131072)",
    ),
    (f"{HEAD}{TIME},{MAX_LINE * 'x'},star\n", 2, "the line is longer than 1,048,576 bytes"),
    (f"{HEAD}{TIME},,download\n", 2, "skill_id is missing"),
    (
        f"{HEAD}{TIME},{1_001 * 'x'},star\n",
        2,
        "skill_id must have 1 to 1,000 bytes in UTF-8, not 1,001",
    ),
    (f"{HEAD}{TIME},pdf,\n", 2, "kind is missing, and there is no --default-kind"),
    (f"{HEAD}{TIME},pdf,view\n", 2, "unknown kind 'view'"),
    (f"{HEAD},pdf,star\n", 2, "occurred_at is missing"),
    (f"{HEAD}noon,pdf,star\n", 2, "occurred_at is not a time in ISO 8601: 'noon'"),
    (
        f'{HEAD}{TIME},"a\nb",star\n2026-03-01T09:00:00,pdf,star\n',
        4,
        "occurred_at has no time zone: '2026-03-01T09:00:00'; add Z for UTC, or an offset such"
        " as +02:00",
    ),
    (
        f"{HEAD}0001-01-01T00:00:00+01:00,pdf,star\n",
        2,
        "occurred_at lies outside the years 1 to 9999 in UTC",
    ),
    (
        f"{HEAD}{TIME},pdf,install_clear\n",
        2,
        "kind 'install_clear' must carry exactly the deltas all_time, current",
    ),
    (f"{DELTAS}{TIME},pdf,star,{{\n", 2, "deltas is not JSON that can be read"),
    (f"{DELTAS}{TIME},pdf,star,5\n", 2, "deltas must be a JSON object, not int"),
    (f'{DELTAS}{TIME},pdf,star,"{{""a"": 1}}"\n', 2, "kind 'star' takes no deltas"),
    (
        f'{DELTAS}{TIME},pdf,install_clear,"{{""all_time"": true, ""current"": 1}}"\n',
        2,
        "delta 'all_time' must be a whole number, not bool",
    ),
]
BAD_JSON = [
    ("\n{\n", 2, "this is not JSON: "),
    ("[]\n", 1, "this is not a JSON object"),
    (100_000 * "[", 1, "this JSON is nested too deep or holds too long a number"),
    (f'{{"x": {5_000 * "1"}}}', 1, "this JSON is nested too deep or holds too long a number"),
    ("{}\n", 1, "kind is missing, and there is no --default-kind"),
    ('{"kind": "star"}\n', 1, "skill_id is missing"),
    ('{"kind": "star", "skill_id": 5}\n', 1, "skill_id must be a string, not int"),
    ('{"kind": false}\n', 1, "kind must be a string, not bool"),
    (
        f'{{"kind": "star", "skill_id": "\\ud800", "occurred_at": "{TIME}"}}',
        1,
        "skill_id holds half of a surrogate pair, which is no character",
    ),
    (
        '{"kind": "star", "skill_id": "a", "occurred_at": 1772355600}',
        1,
        "occurred_at must be a string, not int",
    ),
    (MAX_LINE * " " + "{}", 1, "the line is longer than 1,048,576 bytes"),
]


@pytest.mark.parametrize(
    ("name", "content", "line", "reason"),
    [
        pytest.param(name, *case, id=f"{name}-{number}")
        for name, cases in (("log.csv", BAD), ("log.jsonl", BAD_JSON))
        for number, case in enumerate(cases)
    ],
)
def test_a_bad_line_is_named_and_nothing_is_stored(path, in_folder, name, content, line, reason):
    Path(name).write_text(content, newline="")

    sentence = fail("append", "--db", path, name)

    assert sentence.startswith(f"{name}, line {line}: {reason}")
    assert sentence.endswith("; nothing was stored")
    assert not path.exists()


def test_an_event_of_the_far_future_is_named(path):
    sentence = fail("append", "--db", path, stdin=f"{HEAD}{GOOD}9999-12-31T00:00:00Z,pdf,star\n")

    assert sentence.startswith(
        "standard input, line 3: occurred_at 9999-12-31T00:00:00+00:00 lies too far after"
    )


def test_a_wrong_encoding_is_named_with_its_line(path):
    table = f"{HEAD}{GOOD}{TIME},caf\u00e9,star\n"

    assert fail("append", "--db", path, stdin=table.encode("latin-1")) == (
        "standard input, line 3: the line is not UTF-8 text; nothing was stored"
    )
    assert fail("append", "--db", path, stdin=table.encode("utf-16")) == (
        "standard input, line 1: the line is not UTF-8 text; nothing was stored"
    )


def test_a_missing_identity_is_named(path):
    append = ("append", "--db", path, "--id-columns", "user")
    fields = {"skill_id": "pdf", "occurred_at": TIME, "kind": "download"}

    assert "line 1: there is no column 'user' among" in fail(*append, stdin=HEAD)
    assert fail(*append, "--format", "jsonl", stdin=json.dumps(fields)) == (
        "standard input, line 1: user is missing, and --id-columns names it; nothing was stored"
    )


@pytest.mark.parametrize("cut", [20, -9, -1])
def test_compressed_data_that_is_cut_off_is_named(path, in_folder, cut):
    Path("log.csv.gz").write_bytes(gzip.compress((HEAD + 100 * GOOD).encode())[:cut])

    for skip in ((), ("--skip-bad",)):
        sentence = fail("append", "--db", path, *skip, "log.csv.gz")

        assert sentence.startswith("log.csv.gz: the compressed data is cut off or damaged after")
        assert not path.exists()


@pytest.mark.parametrize(
    ("name", "reason"), [("nosuch.csv", "No such file or directory"), (".", "Is a directory")]
)
def test_an_input_that_cannot_be_opened_is_named(path, in_folder, name, reason):
    assert fail("append", "--db", path, name) == f"{name}: {reason}"
    assert not path.exists()


def test_stdin_may_be_closed(path):
    program = "import sys; sys.stdin = None; from skillstat_agg.cli import main; main()"

    done = subprocess.run(
        [sys.executable, "-c", program, "append", "--db", path], capture_output=True, text=True
    )

    assert (done.returncode, done.stderr) == (1, "Error: standard input is closed\n")


def test_a_file_with_its_own_kinds_refuses_all_others(path):
    comments = Projection("comments", {"comment": Effect(counters={"comments": 1})})
    with closing(connect(path)) as db:
        create_tables(db, comments)

    assert fail("append", "--db", path, stdin=HEAD + GOOD) == (
        "standard input, line 2: unknown kind 'download'; nothing was stored"
    )
    succeed("append", "--db", path, stdin=f"{HEAD}{TIME},pdf,comment\n")


# All or nothing


def test_all_inputs_are_one(path, in_folder):
    """A bad line in the last input, far behind the first batch, leaves nothing of the others."""
    Path("good.csv").write_text(HEAD + 2_500 * GOOD)
    Path("bad.csv").write_text(f"{HEAD}{GOOD}bad\n")
    succeed("append", "--db", path, stdin=HEAD + GOOD)

    assert fail("append", "--db", path, "good.csv", "bad.csv").startswith("bad.csv, line 3: ")
    assert len(stored(path)) == 1
    assert succeed("append", "--db", path, "good.csv") == (
        "2500 events appended, 0 were there already\n"
    )


def with_ids(pairs: Sequence[tuple[str, str]]) -> str:
    """Return a table of downloads: skill and event id of each."""
    return "skill_id,event_id,occurred_at,kind\n" + "".join(
        f"{skill_id},{event_id},{TIME},download\n" for skill_id, event_id in pairs
    )


@pytest.mark.parametrize("before", [0, 1_500])
def test_an_id_of_two_facts_is_named_and_nothing_is_stored(path, before):
    """Also where thousands of events were stored before it in the same transaction."""
    succeed("append", "--db", path, stdin=with_ids([("a", "known")]))
    others = [("b", f"other {number}") for number in range(before)]

    for conflict in ([("b", "known")], [("b", "new"), ("c", "new")]):
        table = with_ids([*others, *conflict])

        assert fail("append", "--db", path, stdin=table) == (
            f"standard input, line {before + len(conflict) + 1}: event id {conflict[0][1]!r} stands"
            " for another skill, kind or deltas already; nothing was stored"
        )
        assert len(stored(path)) == 1


# --skip-bad


def test_the_rest_of_a_log_with_bad_lines_is_stored(path):
    table = f"{HEAD}{GOOD}bad\n{GOOD}{TIME},,star\n{TIME},pdf,view\n9999-12-31T00:00Z,pdf,star\n"

    result = run("append", "--db", path, "--skip-bad", stdin=table)

    assert result.exit_code == 0
    assert result.stdout == "2 events appended, 0 were there already, 4 skipped\n"
    assert [line.partition(": ")[0] for line in result.stderr.splitlines()] == [
        f"skipped standard input, line {number}" for number in (3, 5, 6, 7)
    ]
    assert stored(path) == [event(), event()]


def test_only_the_first_reasons_are_told(path):
    result = run("append", "--db", path, "--skip-bad", stdin=HEAD + 2_000 * "bad\n")

    assert result.stdout == "0 events appended, 0 were there already, 2000 skipped\n"
    assert len(result.stderr.splitlines()) == 6
    assert result.stderr.endswith("skipped 1995 more\n")


@pytest.mark.parametrize("between", [0, 999, 1_000, 1_500])
def test_of_two_facts_with_one_id_the_first_is_stored(path, between):
    """Wherever a batch ends; what comes again after the conflict is the first again."""
    others = [("z", f"other {number}") for number in range(between)]
    table = with_ids([("a", "1"), *others, ("b", "1"), ("a", "1"), ("c", "2")])

    result = run("append", "--db", path, "--skip-bad", stdin=table)

    assert result.stdout == f"{between + 2} events appended, 1 were there already, 1 skipped\n"
    assert result.stderr == (
        f"skipped standard input, line {between + 3}: event id '1' stands for another skill, kind"
        " or deltas already\n"
    )
    assert {each.skill_id for each in stored(path)} == {"a", "c"} | ({"z"} if between else set())


BAD_ROWS = {
    "a last quote that stays open": f'{TIME},pdf,"download\n',
    "a first quote that stays open": f'"{TIME},pdf,download\n',
    "something after a quote": f'{TIME},pdf,"download"x\n',
    "a long field": f"{TIME},{200_000 * 'x'},download\n",
    "a long field in quotes": f'{TIME},"{200_000 * "x"}",download\n',
    "a longer field of several lines": f'{TIME},"{MAX_LINE * "x"}\n{GOOD}{GOOD}",download\n',
    "another encoding": f"{TIME},\xff,download\n",
}


@pytest.mark.parametrize("bad", BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_bad_row_takes_no_good_line_along(path, bad):
    table = (HEAD + GOOD + bad + GOOD + GOOD).encode("latin-1")

    result = run("append", "--db", path, "--skip-bad", stdin=table)

    assert result.stdout == "3 events appended, 0 were there already, 1 skipped\n"


def test_what_stands_in_a_very_long_field_is_never_taken_for_rows(path):
    """A quote that is not closed for so long ends the command, also with --skip-bad."""
    table = f'{HEAD}{TIME},"{5_000 * GOOD}",download\n'

    for skip in ((), ("--skip-bad",)):
        assert fail("append", "--db", path, *skip, stdin=table) == (
            "standard input, line 2: a quote is not closed within 131,072 characters;"
            " nothing was stored"
        )


# Several at once, and what is left of a killed one


def test_two_appends_at_once_wait_for_each_other(path):
    table = with_ids([("a", str(number)) for number in range(3_000)])
    processes = [
        start("append", "--db", path, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(table)
        process.stdin.close()
        process.stdin = None
    said = sorted(process.communicate()[0] for process in processes)

    assert said == [
        "0 events appended, 3000 were there already\n",
        "0 events appended, 3000 were there already\n",
        "3000 events appended, 0 were there already\n",
    ]


def test_progress_is_shown_on_a_terminal_only(path, in_folder):
    Path("log.csv").write_text(HEAD + 2_500 * GOOD)
    ours, theirs = os.openpty()

    with start("append", "--db", path, "log.csv", stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        said = b""
        try:
            while part := os.read(ours, 1_000):
                said += part
        except OSError:  # how Linux says that it is closed
            os.close(ours)
        assert process.stdout is not None
        assert process.stdout.read() == "2500 events appended, 0 were there already\n"

    assert b"checking" in said
    assert b"storing" in said

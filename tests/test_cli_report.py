"""``skillstat report``: what its page says, and how the file is written."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import attrs
import psycopg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from skillstat_agg import (
    SKILL_STATS,
    Effect,
    Event,
    Granularity,
    Note,
    Projection,
    drain,
    rebuild,
)
from skillstat_agg.backends.sqlite import SQLiteEventStore, SQLiteStatsStore, create_tables
from skillstat_agg.cli._file import File
from skillstat_agg.cli._output import visible
from skillstat_agg.cli._report import _reading
from skillstat_agg.cli._report._charts import SPARK_HEIGHT, axis_top, brief, height, outline
from skillstat_agg.cli._report._page import packed
from skillstat_agg.cli._report._reading import Wanted, read_report
from skillstat_agg.cli._report._texts import id_parts, shown_id
from skillstat_agg.cli._report._values import LONG_WAIT
from skillstat_agg.cli._report._writing import write_whole
from tests.command_line import fail, run, succeed
from tests.logs import NOON, download
from tests.postgres_server import Server, fresh_database
from tests.test_cli_postgres import url_of

UNTIL = ("--until", "2026-03-01")
integers = st.one_of(st.integers(-3, 100), st.integers(-(2**70), 2**70))


INLINE = frozenset({"a", "abbr", "bdi", "code", "i", "span", "strong"})


class Read(HTMLParser):
    """What stands in a page: its text, the data of its script, and the names of its tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.data = ""
        self.feed(page)
        self.close()

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in INLINE:
            self.words.append(" ")

    def handle_data(self, data: str) -> None:
        tag, attributes = self.tags[-1] if self.tags else ("", {})
        if tag == "script" and attributes.get("type") == "application/json":
            self.data += data
        elif tag not in {"script", "style"}:
            self.words.append(data)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "stats.db"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "report.html"


@pytest.fixture
def db(path: Path) -> Iterator[sqlite3.Connection]:
    """A file for skill statistics with three downloads, counted."""
    with closing(sqlite3.connect(path)) as db:
        create_tables(db, SKILL_STATS)
        SQLiteEventStore(db).append([download("pdf"), download("pdf"), download("mail")])
        drain(SQLiteEventStore(db), SQLiteStatsStore(db, SKILL_STATS))
        yield db


def read(path: object, *options: object) -> Read:
    """Return the page that goes to stdout."""
    return Read(succeed("report", "--db", path, *UNTIL, *options, "-"))


# What it says


def test_the_page_holds_what_was_counted(db, path, out):
    said = succeed("report", "--db", path, *UNTIL, out)

    page = Read(out.read_text(encoding="utf-8"))
    data = json.loads(page.data)
    assert said == f"{out}: 2 skills, 0 events to fold, 0 events beyond the frontier\n"
    assert "Verified: no difference Every event is counted Quarantine is empty" in page.text
    assert "skills 2 downloads 3 stars 0" in page.text
    assert data["columns"] == ["downloads", "installs"]
    assert data["days"][::29] == ["2026-01-31", "2026-03-01"]
    assert [(skill, totals[0], days) for skill, totals, days in data["skills"]] == [
        ("mail", 1, [[[29], 1], [[30]]]),
        ("pdf", 2, [[[29], 2], [[30]]]),
    ]


def test_nothing_in_the_database_is_changed(db, path, out):
    """No byte of the file, and no row by another connection."""
    before = path.read_bytes()
    (version,) = db.execute("PRAGMA data_version").fetchone()

    succeed("report", "--db", path, out)

    assert path.read_bytes() == before
    assert db.execute("PRAGMA data_version").fetchone() == (version,)


def test_the_page_asks_for_nothing(db, path):
    """Its policy allows what stands in it, by digest, and no address leads out of it."""
    page = read(path)

    policies = [
        attributes["content"]
        for tag, attributes in page.tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert re.fullmatch(
        r"default-src 'none'; img-src data:; style-src 'sha256-[\w+/]{43}=';"
        r" script-src 'sha256-[\w+/]{43}='; base-uri 'none'; form-action 'none'",
        policies[0] or "",
    )
    links = {attributes.get(name) for _, attributes in page.tags for name in ("src", "href")}
    assert {link[0] if link else None for link in links} == {None, "#", "d"}
    assert "data:," in links
    assert not any(
        name == "style" or name.startswith("on")
        for _, attributes in page.tags
        for name in attributes
    )


def test_days_before_the_first_that_is_kept_are_not_known(db, path):
    """They are no zeros; nor are days to come."""
    assert "2026-02-28 \N{EN DASH} 2026-03-01 3" in read(path).text
    future = succeed("report", "--db", path, "--days", 2, "--until", "9999-12-31", "-")
    assert "9999-12-30 \N{EN DASH} 9999-12-31 \N{EN DASH}" in Read(future).text


def test_a_sum_below_zero_is_shown_as_zero(db, path):
    SQLiteEventStore(db).append([Event(skill_id="pdf", kind="unstar", occurred_at=NOON)])
    succeed("drain", "--db", path)

    assert '<dt>stars</dt><dd><abbr title="stored as -1">0</abbr></dd>' in succeed(
        "report", "--db", path, "-"
    )


def test_the_skills_with_the_most_of_the_first_counter_are_listed(db, path):
    page = read(path, "--limit", 1)

    assert [skill for skill, *_ in json.loads(page.data)["skills"]] == ["pdf"]
    assert "The 1 with the most downloads, of 2." in page.text
    assert "skills 2 downloads 3" in page.text
    assert len(json.loads(read(path, "--limit", 1_000_000).data)["skills"]) == 2


def test_skills_are_read_in_batches(db, path, monkeypatch):
    """Days are added up over all of them."""
    whole = read(path)
    monkeypatch.setattr(_reading, "_AT_ONCE", 1)

    assert read(path).data == whole.data
    assert "2026-03-01 3" in read(path).text


def test_boards_are_those_that_were_asked_for(db, path):
    page = read(path, "--board", "3*downloads+installs", "--board", "installs")

    assert "3*downloads+installs" in page.text
    assert "mail: 3*downloads+installs by day, 30 days, at most 3" in page.text
    assert fail("report", "--db", path, "--board", "stars", "-") == (
        "projection 'skill_stats' has no rollup column 'stars'; it has downloads, installs"
    )


def test_a_projection_without_days_has_a_page(path):
    kinds = {"download": Effect(counters={"visits": 1}), "wave": Effect(counters={"waves": 1})}
    with closing(sqlite3.connect(path)) as db:
        create_tables(db, Projection("visits", kinds))
        SQLiteEventStore(db).append([download()])
    succeed("drain", "--db", path)

    page = read(path)

    assert "This projection keeps no numbers by day." in page.text
    assert json.loads(page.data)["skills"] == [["a", [1, 0], []]]


def test_a_projection_that_keeps_hours_only_has_a_page(path):
    kinds = {"download": Effect(counters={"visits": 1}, rollups={"visits": 1})}
    with closing(sqlite3.connect(path)) as db:
        create_tables(db, Projection("visits", kinds, (Granularity.HOUR,)))

    assert "This projection keeps no numbers by day." in read(path).text


def test_a_projection_is_named_where_there_are_several(db, path):
    create_tables(db, attrs.evolve(SKILL_STATS, name="others"))

    result = run("report", "--db", path, "-")
    assert (result.exit_code, "--projection is needed" in result.stderr) == (2, True)
    assert "No event is counted yet." in read(path, "--projection", "others").text


def test_events_that_wait_are_said(db, path):
    yesterday = datetime.now(timezone.utc) - timedelta(days=1, minutes=1)
    SQLiteEventStore(db, clock=lambda: yesterday).append([download()])

    page = read(path)

    assert "1 event not counted yet" in page.text
    assert "1; the first waits for 1 day" in page.text


def test_a_worker_that_stopped_is_said_until_events_are_counted_again(db, path):
    stats = SQLiteStatsStore(db, SKILL_STATS)
    SQLiteEventStore(db).append([download()])
    stats.note_error("the disk is full \x1b[31m")

    assert "The counting has stopped." in read(path).text
    assert "the disk is full \\x1b[31m" in read(path).text
    drain(SQLiteEventStore(db), stats)
    assert "The counting has stopped." not in read(path).text
    assert "made up for since: the disk is full" in read(path).text


def test_a_rebuild_that_has_not_ended_is_said(db, path):
    """As it is while one runs, or after one that was killed."""

    class KilledError(Exception):
        pass

    def kill(_: int) -> None:
        raise KilledError

    assert "rebuild" not in read(path).text.lower()
    with pytest.raises(KilledError):
        rebuild(SQLiteEventStore(db), SQLiteStatsStore(db, SKILL_STATS), page=1, on_progress=kill)

    assert "A rebuild is under way" in read(path).text
    assert "Rebuild under way at the start; it said so at " in read(path).text


def test_what_lies_in_quarantine_is_listed(db, path, monkeypatch):
    waves = [Event(skill_id=each, kind="wave", occurred_at=NOON) for each in "xyz"]
    SQLiteEventStore(db).append(waves)
    succeed("drain", "--db", path, "--park")
    monkeypatch.setattr(_reading, "MOST_PARKED", 2)

    text = read(path).text

    assert "3 in quarantine" in text
    assert "3 events were set aside, since the projection cannot count them. The first 2 are:" in (
        text
    )
    assert "4 x wave 2026-03-01 12:00 UTC unknown kind 'wave' 5 y wave" in text


def test_a_difference_is_said_and_ends_with_three(db, path, out):
    with db:
        db.execute("UPDATE skill_stats_totals SET downloads = downloads + 1 WHERE skill_id = 'pdf'")

    result = run("report", "--db", path, out)

    assert result.exit_code == 3
    assert result.stderr == "the numbers differ from the log, and the page says where\n"
    text = Read(out.read_text(encoding="utf-8")).text
    assert "The numbers differ from the log in 1 place." in text
    assert "controls.downloads 3 4" in text


def test_numbers_of_one_snapshot_are_read_again_and_otherwise_said(db, path, monkeypatch):
    """A worker commits whenever somebody looks at the boards."""
    log, stats = SQLiteEventStore(db), SQLiteStatsStore(db, SKILL_STATS)
    commits = iter([1, 0, *[1] * 5])
    boards = _reading._boards

    def beside(*arguments):
        if next(commits):
            log.append([download()])
            drain(log, stats)
        return boards(*arguments)

    monkeypatch.setattr(_reading, "_boards", beside)

    assert "Workers counted while this page was read" not in read(path).text
    assert "Workers counted while this page was read" in read(path).text
    assert list(commits) == []


def test_it_is_the_same_on_a_server(postgres: Server, tmp_path):
    """Only what names its own place differs."""
    log = "occurred_at,skill_id\n" + 3 * "2026-03-01T12:00:00Z,p\u0434f\n"
    with fresh_database(postgres) as conninfo:
        targets = (url_of(conninfo), tmp_path / "stats.db")
        pages = []
        for target in targets:
            succeed("append", "--db", target, "--default-kind", "download", stdin=log)
            succeed("drain", "--db", target)
            pages.append(read(target))

    ours, theirs = pages
    assert ours.data == theirs.data
    assert ours.tags == theirs.tags
    assert "Verified: no difference Every event is counted" in ours.text


def test_events_that_wait_for_a_transaction_are_said_with_whom_they_wait_for(postgres: Server):
    log = "occurred_at,skill_id\n2026-03-01T12:00:00Z,pdf\n"
    with fresh_database(postgres) as conninfo:
        url = url_of(conninfo)
        succeed("init", "--db", url)
        with psycopg.connect(conninfo, application_name="<b>nightly") as holder:
            holder.execute("SELECT pg_current_xact_id()")
            succeed("append", "--db", url, "--default-kind", "download", stdin=log)
            succeed("drain", "--db", url)

            text = read(url).text

    assert "1 event held back" in text
    assert re.search(r"they wait for transactions that are still open: .*<b>nightly", text)


# What it takes


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--limit", 0), "0 is not in the range"),
        (("--limit", -1), "-1 is not in the range"),
        (("--limit", 1_000_001), "is not in the range"),
        (("--days", 0), "0 is not in the range"),
        (("--days", -30), "-30 is not in the range"),
        (("--days", 367), "367 is not in the range"),
        (("--until", "2026-02-30"), "does not match the format"),
        (("--board", "'; DROP"), "is no score"),
    ],
)
def test_wrong_usage_is_refused_before_anything_is_read(path, out, options, reason):
    result = run("report", "--db", path, *options, out)

    assert result.exit_code == 2
    assert reason in result.stderr
    assert not out.exists()


def test_days_before_the_calendar_begins_are_one_sentence(db, path):
    assert "small enough for the years 1 to 9999" in fail(
        "report", "--db", path, "--until", "0001-01-02", "-"
    )


# How it is written


def test_an_earlier_page_is_replaced_and_keeps_its_permissions(db, path, out):
    succeed("report", "--db", path, out)
    out.chmod(0o640)
    earlier = out.read_bytes()
    SQLiteEventStore(db).append([download("new")])
    succeed("drain", "--db", path)

    succeed("report", "--db", path, out)

    assert out.read_bytes() != earlier
    assert stat.S_IMODE(out.stat().st_mode) == 0o640
    assert sorted(os.listdir(out.parent)) == ["report.html", "stats.db"]


def test_a_link_stays_one(db, path, out):
    page = out.with_name("page.html")
    out.symlink_to(page)

    succeed("report", "--db", path, out)

    assert out.is_symlink()
    assert page.read_bytes().startswith(b"<!doctype html>")


def test_a_file_that_is_no_page_is_left_alone(db, path):
    """Above all not the database, should the names be mixed up."""
    before = path.read_bytes()

    assert fail("report", "--db", path, path) == (
        f"{path} is there, and is no HTML page; name another file, or remove it"
    )
    assert path.read_bytes() == before


def test_places_where_no_file_can_be(db, path, tmp_path):
    folder = run("report", "--db", path, tmp_path)
    assert (folder.exit_code, "is a directory" in folder.stderr) == (2, True)
    nowhere = tmp_path / "nowhere"
    assert fail("report", "--db", path, nowhere / "a.html") == (
        f"{nowhere / 'a.html'}: there is no folder '{nowhere}'"
    )
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert fail("report", "--db", path, pipe) == (
        f"{pipe} is no regular file; name one, or - for stdout"
    )
    long = tmp_path / ("x" * 300)
    assert fail("report", "--db", path, long).endswith("File name too long")


def test_a_folder_that_takes_no_file_is_one_sentence(db, path, tmp_path, monkeypatch):
    """The test may run as root, who can write everywhere: so it is the disk that refuses."""

    def refuse(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    out = tmp_path / "report.html"

    assert fail("report", "--db", path, out) == f"{out}: No space left on device"
    assert os.listdir(tmp_path) == ["stats.db"]


def test_what_interrupts_the_writing_leaves_the_former_page(db, path, out, monkeypatch):
    succeed("report", "--db", path, out)
    former = out.read_bytes()

    def interrupt(_descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)

    assert fail("report", "--db", path, "--days", 1, out) == "interrupted; no page was written"
    assert out.read_bytes() == former
    assert sorted(os.listdir(out.parent)) == ["report.html", "stats.db"]


def test_what_cannot_be_written_is_told_by_its_own_name(tmp_path):
    """Also where the draft beside it can be neither made nor removed."""
    (tmp_path / "file").touch()
    target = tmp_path / "file" / "report.html"

    with pytest.raises(NotADirectoryError) as raised:
        write_whole(target, b"")

    assert raised.value.filename == str(target)


# Pure parts


@given(values=st.lists(integers, max_size=40), top=st.integers(1, 2**70))
def test_heights_are_never_too_low_nor_out_of_the_chart(values, top):
    for value in values:
        found = height(min(value, top), top, SPARK_HEIGHT)
        assert 0 <= found <= SPARK_HEIGHT
        assert (found > 0) == (min(value, top) > 0)


@given(values=st.lists(integers, min_size=1, max_size=40))
def test_an_outline_has_a_step_for_each_value(values):
    steps = re.findall(r"V(\d+)H(\d+)", outline(values))

    assert [int(place) for _, place in steps] == list(range(1, len(values) + 1))
    assert min(int(level) for level, _ in steps) == (0 if max(values) > 0 else SPARK_HEIGHT)


@given(values=st.lists(integers, max_size=40))
def test_an_axis_ends_above_its_values_and_has_a_middle(values):
    top = axis_top(values)

    assert max(values, default=0) <= top
    assert top % 2 == 0
    assert top <= 10 or top < 10 * max(values)
    assert re.fullmatch(r"\d{1,3}(,\d{3})*[kMGTPEZYRQ]?", brief(top))


@given(skill_id=st.text(min_size=1))
@example(skill_id="\x1b")
@example(skill_id="</bdi>&\u202e<script>")
def test_an_id_is_text_and_escapes_and_nothing_else(skill_id):
    page = Read(str(shown_id(skill_id)))
    parts = id_parts(skill_id)

    assert "".join(page.words) == visible(skill_id)
    assert {tag for tag, _ in page.tags} <= {"bdi", "i"}
    assert visible(skill_id) == (parts if isinstance(parts, str) else "".join(parts))
    if not isinstance(parts, str):
        assert all(part.isprintable() for part in parts)
        assert all(part.startswith("\\") for part in parts[1::2])


@given(values=st.lists(st.one_of(st.just(0), integers)))
def test_packed_numbers_come_back_from_json_as_they_were(values):
    """Large ones are text, since a script would round them."""
    found = json.loads(json.dumps(packed(values)))

    unpacked = [[0] * each[0] if isinstance(each, list) else [int(each)] for each in found]
    assert [value for run in unpacked for value in run] == values
    assert all(abs(each) < 2**53 for each in found if isinstance(each, int))
    assert not any(isinstance(one, list) and two == 0 for one, two in pairwise(found))


def test_an_error_counts_only_while_something_is_left_to_do(db, path):
    """And an event may wait for an hour before anybody is alarmed."""
    wanted = Wanted(days=1, last=NOON, limit=1, boards=())
    with File(path).opened() as opened:
        report = read_report(opened, SKILL_STATS, wanted, at=NOON, on_progress=print)
    at = report.lag.cursor.updated_at
    behind = attrs.evolve(report.lag, backlog=attrs.evolve(report.lag.backlog, events=1, since=at))
    idle = attrs.evolve(report, made_at=at + LONG_WAIT, last_error=Note(at=at, text="x"))
    failing = attrs.evolve(idle, lag=behind)

    assert (idle.is_failing, idle.is_stale) == (False, False)
    assert (failing.is_failing, failing.is_stale) == (True, False)
    assert attrs.evolve(failing, made_at=at + LONG_WAIT + timedelta(seconds=1)).is_stale
    earlier = Note(at=at - timedelta(microseconds=1), text="x")
    assert not attrs.evolve(failing, last_error=earlier).is_failing

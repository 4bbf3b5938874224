"""What a store that fails looks like, and the two files that say so."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Collection, Iterable
from pathlib import Path

import attrs
import pytest

from skillstat_agg.testing import CHECKS, Check, Failure, Result, Status
from skillstat_agg.testing import _matrix as matrix_module
from skillstat_agg.testing._diagnosis import Row, looks_like, matrix
from skillstat_agg.testing._gallery_page import page
from skillstat_agg.testing._matrix import NEEDS, main, row_of, written
from skillstat_agg.testing.gallery import BROKEN_STORES, BrokenStore

PAGE = Path(__file__).parents[1] / "docs" / "gallery.md"
AGAIN = "run `nox -s gallery`, and look at what has changed"

ONE_OF = 60
"""Of so many checks of a store one is tried again here; ``nox -s gallery`` tries them all."""

LATE = next(store for store in BROKEN_STORES if store.name == "reads past open transactions")


def is_tried_again(store: BrokenStore, check: Check) -> bool:
    drawn = zlib.crc32(f"{store.name} {check.id}".encode()) % ONE_OF == 0
    return drawn or check.id == store.killer


def results(fails: Collection[str], without: Iterable[str] = ()) -> list[Result]:
    """Return what comes of all checks of a store that fails some."""
    failure = Failure(trail="", schedule=(), expected="", actual="")
    return [
        Result(check=check, status=Status.NOT_DECLARED)
        if not check.needs.isdisjoint(without)
        else Result(check=check, status=Status.FAILED, failure=failure)
        if check.id in fails
        else Result(check=check, status=Status.PASSED)
        for check in CHECKS
    ]


# The files


def test_every_broken_store_has_its_row():
    """And each row names checks that there are."""
    assert list(matrix()) == [store.name for store in BROKEN_STORES], AGAIN
    for row in matrix().values():
        assert set(row.fails) <= {check.id for check in CHECKS}, AGAIN
        assert set(row.without) <= set(NEEDS), AGAIN


def test_the_killer_of_each_store_is_among_what_fails():
    """Nor is any store without a check that fails."""
    assert [
        store.name for store in BROKEN_STORES if store.killer not in matrix()[store.name].fails
    ] == [], AGAIN


@pytest.mark.parametrize("store", BROKEN_STORES, ids=lambda store: store.name)
def test_what_is_written_down_is_so(store):
    """Of each store the killer, and some of the other checks, are tried again."""
    again = [check for check in CHECKS if is_tried_again(store, check)]
    wanted = matrix()[store.name]

    row = row_of(store, again)

    assert row.fails == tuple(each.id for each in again if each.id in wanted.fails), AGAIN
    assert row.without == wanted.without, AGAIN


def test_the_page_shows_what_is_written_down():
    assert PAGE.read_text(encoding="utf-8") == page(BROKEN_STORES, CHECKS, matrix()), AGAIN


def test_writing_is_the_inverse_of_reading():
    assert matrix_module.MATRIX.read_text(encoding="utf-8") == written(matrix())


def test_the_command_writes_both_files_and_says_whether_they_would_change(
    tmp_path, monkeypatch, capsys
):
    """Here without trying anything, and of one store alone."""
    monkeypatch.setattr(matrix_module, "BROKEN_STORES", (LATE,))
    monkeypatch.setattr(matrix_module, "MATRIX", tmp_path / "matrix.json")
    monkeypatch.setattr(matrix_module, "matrix", lambda: {LATE.name: matrix()[LATE.name]})

    def run(*arguments: str) -> int:
        to = ("--page-only", "--page", f"{tmp_path}/page.md")
        monkeypatch.setattr(sys, "argv", ["gallery", *arguments, *to])
        return main()

    assert [run("--check"), run(), run(), run("--check")] == [1, 0, 0, 0]
    assert written({LATE.name: matrix()[LATE.name]}) == (tmp_path / "matrix.json").read_text()
    assert "## The matrix" in (tmp_path / "page.md").read_text()
    assert capsys.readouterr().out.count("is written anew") == 2


# The page


def test_every_store_has_its_place_on_the_page():
    headings = PAGE.read_text(encoding="utf-8").lower().splitlines()

    assert [
        store.name for store in BROKEN_STORES if f"### {store.name.lower()}" not in headings
    ] == []


def test_the_page_says_all_of_a_store():
    text = page([LATE], CHECKS, {LATE.name: Row(("LATE-02", "LATE-03"), ())})

    for part in (
        LATE.mistake,
        LATE.remedy,
        *LATE.breaks,
        "LATE-02, ",
        "**Fails as well:** LATE-03",
    ):
        assert part in text


def test_reports_that_name_an_issue_are_links():
    store = attrs.evolve(LATE, reported=("commanded/eventstore#3", "a manual"))

    text = page([store], CHECKS, {LATE.name: Row((LATE.killer,), ())})

    link = "[commanded/eventstore#3](https://github.com/commanded/eventstore/issues/3)"
    assert f"**Reported:** {link}, a manual" in text


# Diagnosis


@pytest.mark.parametrize("store", BROKEN_STORES, ids=lambda store: store.name)
def test_a_broken_store_looks_like_itself(store):
    """Or like one before it that fails exactly the same."""
    row = matrix()[store.name]

    like = looks_like(results(row.fails, row.without))

    assert like is not None
    assert matrix()[like.name].fails == row.fails
    assert like.in_common == f"{len(row.fails)} of {len(row.fails)} checks that fail"


def test_what_was_not_tried_on_both_is_not_compared():
    """A store that cannot hold appends open fails less."""
    row = matrix()[LATE.name]

    like = looks_like(results(row.fails, {"copy", "raw"}))

    assert like is not None
    assert matrix()[like.name].fails == row.fails


def test_of_two_that_fail_alike_it_is_the_one_that_the_check_is_for():
    """Many broken stores fail one check of fencing, and one of them is about that."""
    like = looks_like(one for one in results({"FENCE-01"}) if one.check.id == "FENCE-01")

    assert like is not None
    assert like.name == "no compare"


@pytest.mark.parametrize("fails", [set(), {check.id for check in CHECKS}])
def test_what_is_like_nothing_is_told_so(fails):
    """A store that passes, and one that can do nothing."""
    assert looks_like(results(fails)) is None


def test_only_what_was_asked_for_is_tried_anew(monkeypatch):
    """The rest of a row stays as it was written down, right or not; a new store has no row."""
    known = Row(("TIE-01", "LATE-01"), ())
    index = BROKEN_STORES.index(LATE)
    monkeypatch.setattr(matrix_module, "matrix", lambda: {LATE.name: known})

    row = matrix_module._row_anew(("LATE-01", LATE.killer), index)

    assert LATE.killer in row.fails
    assert "TIE-01" in row.fails
    assert row.without == matrix()[LATE.name].without

"""The page of guarantees says what the tests try, and nothing that they do not."""

from __future__ import annotations

import attrs
import pytest

from skillstat_agg.testing import CHECKS, harnesses
from tests import guarantees, test_kit_postgres
from tests.guarantees import COLUMNS, LAWS, PAGE, Tried, column_of, page, tried
from tests.means import MEANS
from tests.postgres_server import fresh_database

AGAIN = "run `python -m tests.guarantees`, and look at what has changed"


@pytest.fixture
def there(postgres) -> Tried:
    with fresh_database(postgres) as place, test_kit_postgres.sites.at(place):
        return tried()


def test_the_page_is_what_the_tests_try(there):
    assert PAGE.read_text(encoding="utf-8") == page(there), AGAIN


def test_each_law_has_its_words():
    """And there are none about a law that is not there."""
    assert list(MEANS) == list(LAWS)


def test_every_check_is_tried_on_a_backend_for_services(there):
    """Also the random schedules are drawn for every column."""
    checks = {check.id for check in CHECKS}

    assert there.on["SQLite"] == checks
    assert there.on["PostgreSQL"] == checks
    assert all(there.random[column] for column in COLUMNS)


def test_every_check_can_fail(there):
    """For each there is a broken store."""
    _, checks = page(there).split("## The checks of each law")

    assert [line for line in checks.splitlines() if line.endswith("| none |")] == []


def test_a_law_without_a_check_shows(there, monkeypatch):
    others = [check for check in CHECKS if check.law != "signed"]
    monkeypatch.setattr(guarantees, "CHECKS", others)

    row = next(line for line in page(there).splitlines() if "(contract.md#signed)" in line)

    assert row.count("none") == len(COLUMNS)


def test_an_expected_failure_shows(there):
    text = page(attrs.evolve(there, expected=["LATE-02 on SQLite"]))

    assert "LATE-02 on SQLite" in text


def test_a_check_that_no_broken_store_fails_shows(there, monkeypatch):
    (signed,) = (check for check in CHECKS if check.law == "signed")
    harmless = attrs.evolve(signed, id="CUT-99")
    monkeypatch.setattr(guarantees, "CHECKS", [*CHECKS, harmless])

    assert f"| `CUT-99` | {harmless.title} | none | none |" in page(there)


def test_a_harness_without_a_column_is_refused():
    with pytest.raises(LookupError, match="no column"):
        column_of(attrs.evolve(harnesses.memory))

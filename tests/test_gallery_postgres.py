"""Logs that are broken under the transactions of a real server, and the checks that say so."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from skillstat_agg.testing import CHECKS, check_store
from skillstat_agg.testing._cases import Level
from skillstat_agg.testing._kit import wire
from skillstat_agg.testing.gallery import BROKEN_STORES, BrokenStore
from skillstat_agg.testing.gallery._postgres import stores_on
from tests.postgres_harness import Sites
from tests.postgres_server import Server, fresh_database

sites = Sites()
right = sites.harness()
STORES = stores_on(right)

CHECK = {check.id: check for check in CHECKS}
# LATE-04 polls, again and again, what LATE-02 polls once.
AROUND = [check for check in CHECKS if check.family in ("LATE", "HIST") and check.id != "LATE-04"]

each_store = pytest.mark.parametrize("store", STORES, ids=lambda store: store.name)


@pytest.fixture(scope="module", autouse=True)
def database(postgres: Server) -> Iterator[None]:
    with fresh_database(postgres) as conninfo, sites.at(conninfo):
        yield


@each_store
def test_a_broken_store_says_what_it_is(store: BrokenStore):
    """In sentences, with a report, laws that there are, and a name that no other has."""
    assert store.name not in {other.name for other in BROKEN_STORES}
    assert re.fullmatch(r"[a-z].*[^.]", store.name)
    assert re.fullmatch(r".*\.", store.mistake)
    assert re.fullmatch(r"[^A-Z].*[^.]", store.remedy)
    assert store.reported
    assert re.fullmatch(r"[A-Z]\d+", store.row)
    assert set(store.breaks) <= {check.law for check in CHECKS}
    assert CHECK[store.killer].law in store.breaks


@each_store
def test_its_killer_fails_each_time_in_the_same_case(store: BrokenStore):
    """It is the store that is broken, not the harness; and the lost event is named."""
    wired = wire(store.harness)

    assert wired.miswired is None
    first, second = (wired.run(CHECK[store.killer], Level.QUICK).failure for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.trail == second.trail
    assert first.events.startswith("lost: ")


@pytest.mark.parametrize(
    ("store", "failing"),
    [
        (STORES[0], {"LATE-06"}),
        (STORES[1], {"LATE-02", "LATE-03", "LATE-06", "LATE-07", "LATE-08"}),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_only_checks_of_the_law_that_it_breaks_fail(store: BrokenStore, failing: set[str]):
    """The horizon hides every late commit but one of a lower number."""
    report = check_store(store.harness, checks=AROUND)

    assert report.miswired is None
    assert {result.check.id for result in report.results if result.status.is_red} == failing
    assert {CHECK[one].law for one in failing} == set(store.breaks)


def test_the_right_store_passes_the_same_checks():
    """Nothing but the one mistake makes a broken log fail."""
    killers = {store.killer for store in STORES}
    report = check_store(right, checks=[CHECK[one] for one in sorted(killers)])

    assert report.ok, str(report)


def test_the_gallery_needs_no_psycopg():
    """It is there for those who have another database."""
    program = """
import sys
sys.modules["psycopg"] = None
from skillstat_agg.testing import gallery
assert gallery.BROKEN_STORES
"""
    subprocess.run([sys.executable, "-c", program], check=True)

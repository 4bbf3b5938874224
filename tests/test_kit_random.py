"""The second layer: schedules that Hypothesis draws, and that replay without it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import attrs
import pytest

from skillstat_agg.backends.memory import MemoryDatabase
from skillstat_agg.testing import Failure, Level, Setting, Status, harnesses
from skillstat_agg.testing._checks import AnyCase, check
from skillstat_agg.testing._random import run_random
from skillstat_agg.testing._running import replay
from skillstat_agg.testing._sabotage import sabotaged
from skillstat_agg.testing._saboteurs import SABOTEURS
from skillstat_agg.testing._steps import LATE, Violation
from skillstat_agg.testing._trails import Trail
from skillstat_agg.testing.checks.mixed import random_01
from skillstat_agg.testing.gallery import BROKEN_STORES

READS_PAST = next(one for one in BROKEN_STORES if one.name == "reads past open transactions")


def broken(name: str):
    """Return the stores in memory after this saboteur was there."""
    return sabotaged(harnesses.memory, next(one for one in SABOTEURS if one.name == name))


@pytest.mark.parametrize(
    ("name", "examples"),
    [("memory", 100), ("memory_async", 30), ("sqlite", 20), ("sqlite_async", 10)],
)
def test_our_own_stores_pass(name, examples):
    result = run_random(getattr(harnesses, name), examples=examples)

    assert result.status is Status.PASSED, result
    assert result.cases == examples


def test_a_late_commit_that_is_stepped_over_is_found():
    """The schedule says which event was lost, as one of the sweep does."""
    result = run_random(READS_PAST.harness, examples=300)

    assert result.status is Status.FAILED
    assert result.failure is not None
    assert "lost" in result.failure.events


@pytest.mark.parametrize(
    "name", ["parks nowhere", "prunes what is to be kept", "rebuild keeps the cursor"]
)
def test_what_operators_do_is_drawn_as_well(name):
    """Stores that go wrong only where something is parked, pruned or rebuilt."""
    store = next(one for one in BROKEN_STORES if one.name == name)

    assert run_random(store.harness, examples=200).status is Status.FAILED


def test_what_was_found_is_small_and_replays_without_hypothesis():
    """The trail of a failure belongs to the check, like one of the sweep."""
    harness = broken("repeats deltas")
    result = run_random(harness, examples=50)
    assert result.failure is not None
    name, _, trail = result.failure.trail.partition("/")

    again = replay(random_01, harness, Level.QUICK, Trail.parse(trail))

    assert name == random_01.id
    assert isinstance(again, Failure)
    assert (again.expected, again.schedule) == (result.failure.expected, result.failure.schedule)
    assert len(again.schedule) < 40


def test_the_same_seed_draws_the_same_schedules():
    """And another one draws others."""
    first, again, other = (
        run_random(broken("loses rollups"), examples=20, seed=seed) for seed in (1, 1, 2)
    )

    assert first.failure == again.failure
    assert first.cases == again.cases
    assert other.failure is not None


def test_a_check_that_has_not_met_its_danger_is_vacuous():
    """A few schedules may be too few."""

    @check("RANDOM-99", "atomic", "nothing", witness=LATE)
    def idle(case: AnyCase) -> None:
        case.pick(1, 2)

    assert run_random(harnesses.memory, examples=5, check=idle).status is Status.VACUOUS


def test_what_is_not_declared_is_not_drawn():
    @check("RANDOM-99", "atomic", "nothing", witness=LATE, needs=["tally"])
    def tallied(case: AnyCase) -> None:
        raise AssertionError

    result = run_random(harnesses.memory, examples=5, check=tallied)

    assert (result.status, result.reason) == (Status.NOT_DECLARED, "tally")


def test_a_failure_that_does_not_come_again_is_one():
    """Hypothesis calls it flaky; it is reported as it was."""
    times = iter([False] * 3 + [True])

    @check("RANDOM-99", "atomic", "nothing", witness=LATE)
    def flaky(case: AnyCase) -> None:
        case.pick(*range(50))
        case.pick(*range(50))
        if next(times, False):
            raise Violation("the same", "another thing")

    result = run_random(harnesses.memory, examples=30, check=flaky)

    assert result.status is Status.FAILED
    assert result.failure is not None
    assert result.failure.actual == "another thing"


def test_a_mistake_in_a_harness_is_told():
    """It is not taken for an answer of the store."""

    calls = iter([True])

    @contextmanager
    def sometimes(database: MemoryDatabase, setting: Setting) -> Iterator[Any]:
        opened = harnesses.memory.client(database, setting)
        assert isinstance(opened, AbstractContextManager)
        with opened as client:
            yield client if next(calls, False) else None

    @check("RANDOM-99", "atomic", "nothing", witness=LATE)
    def opens(case: AnyCase) -> None:
        case.client("one")
        case.client("two")

    harness = attrs.evolve(harnesses.memory, client=sometimes)

    result = run_random(harness, examples=5, check=opens)

    assert result.status is Status.MISWIRED


def test_a_store_that_hangs_is_reported_with_its_schedule():
    end = threading.Event()

    @check("RANDOM-99", "atomic", "nothing", witness=LATE)
    def waits(case: AnyCase) -> None:
        case.client("one").append(*case.downloads("a"))
        case.record.call("one", "read", None, end.wait)

    harness = attrs.evolve(harnesses.memory, hangs_after=timedelta(seconds=0.2))

    result = run_random(harness, examples=5, check=waits)
    end.set()

    assert result.status is Status.FAILED
    assert result.failure is not None
    assert any("append" in step for step in result.failure.schedule)


def test_without_hypothesis_the_extra_is_named():
    """Everything else of the kit is there."""
    program = """
import sys
sys.modules["hypothesis"] = None
from skillstat_agg.testing import check_store, gallery, harnesses
from skillstat_agg.testing._random import run_random
try:
    run_random(harnesses.memory, examples=1)
except ModuleNotFoundError as error:
    assert error.name == "hypothesis"
    assert "skillstat-agg[testing]" in str(error)
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    "harness",
    [
        attrs.evolve(
            harnesses.sqlite, client=partial(harnesses._sqlite_client, wait=0.01), blocks=True
        ),
        attrs.evolve(harnesses.sqlite_async, io=True),
    ],
    ids=["clients in threads", "clients on loops"],
)
def test_schedules_are_drawn_for_calls_in_other_threads_too(harness):
    """Hypothesis draws in one thread only, and moves are made in the middle of calls elsewhere."""
    result = run_random(harness, examples=20)

    assert result.status in (Status.PASSED, Status.VACUOUS), result.failure
    assert result.cases == 20

"""The third layer, on a small scale: real processes, killed with no chance to clean up."""

from __future__ import annotations

import multiprocessing
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import cast

import pytest

from skillstat_agg import SKILL_STATS
from skillstat_agg.backends.sqlite import SQLiteEventStore
from skillstat_agg.errors import InvalidBoundError
from skillstat_agg.testing import Harness, harnesses
from skillstat_agg.testing._sabotage import sabotaged
from skillstat_agg.testing._saboteurs import SABOTEURS
from skillstat_agg.testing._soak import LOOKS_EVERY, Soaked, soak
from skillstat_agg.testing._soak_plan import Way, batch, events_of
from skillstat_agg.testing._soak_troop import Role, Troop
from skillstat_agg.testing._targets import load

SQLITE = partial(load, "skillstat_agg.testing.harnesses:sqlite")


def after(saboteur: str) -> Harness[Path]:
    """Return the stores on SQLite after this saboteur was there."""
    return sabotaged(harnesses.sqlite, next(one for one in SABOTEURS if one.name == saboteur))


def failing_to_open() -> Harness[Path]:
    """Return a harness that works here, and nowhere else."""
    if multiprocessing.parent_process() is not None:
        raise LookupError("there is no such harness here")
    return harnesses.sqlite


def test_killed_processes_lose_and_repeat_nothing():
    """Every planned event counts once, also where somebody looks meanwhile."""
    seen: list[int] = []

    soaked = soak(SQLITE, kills=LOOKS_EVERY, appenders=2, workers=2, seed=1, on_kill=seen.append)

    assert soaked.ok, soaked
    assert seen == list(range(1, LOOKS_EVERY + 1))
    assert sum(soaked.kills.values()) == LOOKS_EVERY
    assert soaked.events >= soaked.batches > 0
    assert str(soaked).endswith("conflicts; each counted once")


@pytest.mark.parametrize(
    ("load", "fault"),
    [
        (partial(after, "repeats deltas"), "but: "),
        (partial(load, "skillstat_agg.testing.harnesses:memory"), "cannot be given"),
        (failing_to_open, "there is no such harness here"),
    ],
    ids=["a store that counts twice", "a place in memory", "a harness that is not there"],
)
def test_a_fault_is_told(load, fault):
    """And no process is left."""
    soaked = soak(load, kills=2, appenders=1, workers=1)

    assert not soaked.ok
    assert fault in soaked.fault
    assert f"FAILED\n{soaked.fault}" in str(soaked)
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("part", [slice(None), slice(-1)], ids=["whole", "but for one event"])
def test_a_batch_that_nobody_heard_of_is_in_the_log_as_a_whole(part, monkeypatch):
    """Its appender died before it could tell, and the retry was not answered before the end."""
    stop = Troop.stop

    def stopped_too_early(troop: Troop) -> None:
        stop(troop)
        (appender,) = (one for one in troop._members if one.role is Role.APPENDER)
        with closing(sqlite3.connect(cast("Path", troop._site))) as db:
            log = SQLiteEventStore(db)
            while len(events := batch(1, 0, appender.batches).events) == 1:
                log.append(events)
                appender.batches += 1
            log.append(events[part])

    monkeypatch.setattr(Troop, "stop", stopped_too_early)

    assert soak(SQLITE, kills=1, appenders=1, workers=1, seed=1).ok is (part == slice(None))


def test_an_interrupted_soak_leaves_no_process():
    def interrupted(number: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        soak(SQLITE, kills=3, appenders=1, workers=1, on_kill=interrupted)

    assert multiprocessing.active_children() == []


def test_the_numbers_must_make_sense():
    with pytest.raises(InvalidBoundError, match="appenders"):
        soak(SQLITE, appenders=0)


def test_the_plan_is_a_function_of_its_numbers():
    """All ways and kinds are in it, and no id twice."""
    events = list(events_of(7, [50, 50]))

    assert events == list(events_of(7, [50, 50]))
    assert events[: len(batch(7, 0, 0).events)] == list(batch(7, 0, 0).events)
    assert len({event.event_id for event in events}) == len(events)
    assert {event.kind for event in events} == set(SKILL_STATS.kinds)
    assert {batch(7, 0, number).way for number in range(50)} == set(Way)


def test_a_report_says_who_was_killed():
    soaked = Soaked(
        kills={Role.APPENDER: 3, Role.WORKER: 1}, events=1_000, batches=300, repeated=2, conflicts=4
    )

    assert str(soaked) == (
        "1,000 events in 300 appends, 2 of them repeated; killed: 3 of the appenders and 1 of the"
        " workers; 4 conflicts; each counted once"
    )

"""Years of operation in minutes: everything at once on one SQLite file, and everybody is killed.

Registries append, workers drain, an operator prunes, rebuilds, verifies and
forgets; a clock that only informs runs two days each second. The processes are killed at random
with no chance to clean up, and started again. In the end what is stored must be what a plain
count of the planned events comes to, and both verifies must find nothing.

``python -m tests.years_soak --minutes 20``
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from ctypes import c_double, c_int64
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, TypeAlias

import attrs

from skillstat_agg import (
    SKILL_STATS,
    Event,
    Granularity,
    Uncountable,
    bucket_start,
    drain,
    prune,
    rebuild,
    verify,
    verify_fully,
)
from skillstat_agg.backends.sqlite import SQLiteEventStore, SQLiteStatsStore, create_tables
from skillstat_agg.errors import StoreBusyError

BEGIN = datetime(2026, 1, 1, tzinfo=timezone.utc)
DAYS_A_SECOND = 2.0
KEEP = timedelta(days=90)
SKILLS = tuple(f"skill-{number:02}" for number in range(8))
FORGETTABLE = tuple(f"gone-{number:02}" for number in range(200))
BATCH = 20
APPENDERS, WORKERS, OPERATORS = 2, 2, 1
LONGEST_PAUSE_SECONDS = 1.0
APPEND_EVERY_SECONDS = 0.05
BUSY_SECONDS = 60.0
"""How long one waits for another: a lock may be held by a rebuild's swap."""

KINDS = ("download", "download", "download", "star", "unstar", "install_new", "install_clear")
NONSENSE = "wave"
"""A kind that the table does not know: it lies in quarantine."""


# The plan


def planned(seed: int, appender: int, number: int, now: datetime) -> tuple[Event, ...]:
    """Return a batch: its content is a function of the first three, so it can be tried again."""
    draw = random.Random(f"{seed} {appender} {number}")
    return tuple(_event(draw, f"{appender}-{number}-{index}", now) for index in range(BATCH))


def _event(draw: random.Random, event_id: str, now: datetime) -> Event:
    kind = NONSENSE if draw.random() < 0.002 else draw.choice(KINDS)
    carried = {"all_time": draw.randint(-3, 3), "current": draw.randint(-3, 3)}
    return Event(
        skill_id=draw.choice(FORGETTABLE if draw.random() < 0.05 else SKILLS),
        kind=kind,
        occurred_at=bucket_start(now, Granularity.DAY) - timedelta(days=draw.randint(0, 1)),
        event_id=event_id,
        deltas=carried if kind == "install_clear" else None,
    )


@attrs.frozen
class Shared:
    """What the processes share beside the file: numbers that only inform.

    Attributes:
        path: The file.
        seed: Of the plan.
        days: How many days of the simulated clock are over.
        batches: How many batches of each appender were answered.
        doing: How often each operation came to its end, by its place in `OPERATIONS`.
    """

    path: Path
    seed: int
    days: Any
    batches: Any
    doing: Any

    def now(self) -> datetime:
        """Return the simulated time."""
        return BEGIN + timedelta(days=self.days.value)

    def connect(self) -> sqlite3.Connection:
        """Return a connection of its own."""
        db = sqlite3.connect(self.path, isolation_level=None, timeout=BUSY_SECONDS)
        db.execute("PRAGMA synchronous = OFF")  # the machine goes on; the processes do not
        return db

    def stores(self, db: sqlite3.Connection) -> tuple[SQLiteEventStore, SQLiteStatsStore]:
        """Return the stores over a connection."""
        log = SQLiteEventStore(db, clock=self.now)
        return log, SQLiteStatsStore(db, SKILL_STATS, clock=self.now)


# The processes


def append(shared: Shared, appender: int) -> None:
    """Append one batch after the other; one that has no answer is tried again after a restart."""
    with closing(shared.connect()) as db:
        log, _ = shared.stores(db)
        while True:
            batch = planned(shared.seed, appender, shared.batches[appender], shared.now())
            with suppress(StoreBusyError):
                log.append(batch)
                shared.batches[appender] += 1
            time.sleep(APPEND_EVERY_SECONDS)


def work(shared: Shared, worker: int) -> None:
    """Drain, again and again."""
    with closing(shared.connect()) as db:
        log, stats = shared.stores(db)
        while True:
            with suppress(StoreBusyError):
                drain(log, stats, page=500, uncountable=Uncountable.PARK)
            time.sleep(0.05)


def operate(shared: Shared, _: int) -> None:
    """Do what an operator does in years, one thing after the other."""
    operations = list(OPERATIONS.values())
    with closing(shared.connect()) as db:
        log, stats = shared.stores(db)
        while True:
            number = random.randrange(len(operations))
            with suppress(StoreBusyError):
                operations[number](shared, log, stats)
                shared.doing[number] += 1


def _prune(shared: Shared, log: SQLiteEventStore, stats: SQLiteStatsStore) -> None:
    prune(log, stats, before=shared.now() - KEEP, limit=2_000)


def _prune_all(shared: Shared, log: SQLiteEventStore, stats: SQLiteStatsStore) -> None:
    prune(log, stats, before=None, limit=2_000)


def _rebuild(shared: Shared, log: SQLiteEventStore, stats: SQLiteStatsStore) -> None:
    rebuild(log, stats, uncountable=Uncountable.PARK)


def _verify(shared: Shared, log: SQLiteEventStore, stats: SQLiteStatsStore) -> None:
    _check_differences(verify(log, stats).differences)


def _verify_fully(shared: Shared, log: SQLiteEventStore, stats: SQLiteStatsStore) -> None:
    _check_differences(verify_fully(log, stats).differences)


def _forget(shared: Shared, log: SQLiteEventStore, stats: SQLiteStatsStore) -> None:
    stats.forget(random.choice(FORGETTABLE))


Operation: TypeAlias = Callable[[Shared, SQLiteEventStore, SQLiteStatsStore], None]
OPERATIONS: dict[str, Operation] = {
    "prunes": _prune,
    "prunes of everything": _prune_all,
    "rebuilds": _rebuild,
    "verifies": _verify,
    "full verifies": _verify_fully,
    "forgets": _forget,
}


def _check_differences(found: Sequence[object]) -> None:
    if found:
        raise AssertionError(f"verify has found {found[0]} and {len(found) - 1} more")


# Who starts and kills them


@attrs.frozen
class Role:
    """What some of the processes do.

    Attributes:
        work: What each of them does, until it is killed.
        many: How many of them there are.
        weight: How likely one of them is killed, next to the others: what an operator does
            takes longer.
    """

    work: Callable[[Shared, int], None]
    many: int
    weight: float


ROLES = (Role(append, APPENDERS, 1.0), Role(work, WORKERS, 1.0), Role(operate, OPERATORS, 0.3))


class Troop:
    """Processes, each of which is started again when it is dead."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._spawn = multiprocessing.get_context("spawn")
        self._processes: dict[tuple[int, int], Any] = {}
        self.kills = 0

    def keep_alive(self) -> None:
        """Start whoever is not there.

        Raises:
            AssertionError: If somebody has ended by itself: its traceback is on stderr.
        """
        for role, each in enumerate(ROLES):
            for number in range(each.many):
                there = self._processes.get((role, number))
                if there is not None and there.exitcode is not None:
                    raise AssertionError(f"{each.work.__name__} {number} has ended by itself")
                if there is None:
                    process = self._spawn.Process(
                        target=each.work, args=(self._shared, number), daemon=True
                    )
                    process.start()
                    self._processes[role, number] = process

    def kill_one(self, draw: random.Random) -> None:
        """Kill somebody, with no chance to clean up."""
        keys = sorted(self._processes)
        [key] = draw.choices(keys, [ROLES[role].weight for role, _ in keys])
        process = self._processes.pop(key)
        process.kill()
        process.join()
        if process.exitcode != -signal.SIGKILL:
            raise AssertionError(f"{ROLES[key[0]].work.__name__} {key[1]} has ended by itself")
        self.kills += 1

    def stop(self) -> None:
        """Kill everybody who is left."""
        for process in self._processes.values():
            process.kill()
            process.join()
        self._processes.clear()


@attrs.frozen(kw_only=True)
class Soaked:
    """What a soak came to, and that all of it was right.

    Attributes:
        days: Simulated days.
        events: Events that were appended and counted.
        rows: Rows that the log holds in their place.
        forgotten: Skills that were forgotten.
        kills: Processes that were killed.
        doing: How often each operation came to its end.
    """

    days: float
    events: int
    rows: int
    forgotten: int
    kills: int
    doing: dict[str, int]

    def __str__(self) -> str:
        done = ", ".join(f"{count:,} {name}" for name, count in self.doing.items())
        return (
            f"{self.days / 365:.1f} simulated years, {self.kills:,} processes killed; {done}\n"
            f"{self.events:,} events in {self.rows:,} rows; {self.forgotten} skills"
            " forgotten; each event counted once, verify is green"
        )


def soak(folder: Path, *, seconds: float, seed: int = 0) -> Soaked:
    """Run it for a while, then compare what is stored with a plain count of what was planned.

    Raises:
        AssertionError: If they differ, or somebody ended by itself.
    """
    spawn = multiprocessing.get_context("spawn")
    shared = Shared(
        path=folder / "years.db",
        seed=seed,
        days=spawn.Value(c_double, 0.0, lock=False),
        batches=spawn.Array(c_int64, APPENDERS, lock=False),
        doing=spawn.Array(c_int64, len(OPERATIONS), lock=False),
    )
    with closing(shared.connect()) as db:
        create_tables(db, SKILL_STATS, clock=shared.now)
        log, stats = shared.stores(db)
        drain(log, stats)
    draw, troop = random.Random(seed), Troop(shared)
    began = time.monotonic()
    try:
        while (elapsed := time.monotonic() - began) < seconds:
            shared.days.value = elapsed * DAYS_A_SECOND
            troop.keep_alive()
            time.sleep(draw.uniform(0.05, LONGEST_PAUSE_SECONDS))
            troop.kill_one(draw)
    finally:
        troop.stop()
    with closing(shared.connect()) as db:
        return _settled(shared, db, troop.kills)


def _settled(shared: Shared, db: sqlite3.Connection, kills: int) -> Soaked:
    """End what was begun, and compare everything with a plain count."""
    log, stats = shared.stores(db)
    for appender in range(APPENDERS):
        # The batch that nobody heard of: with its ids it is new, or it is there already.
        log.append(planned(shared.seed, appender, shared.batches[appender], shared.now()))
        shared.batches[appender] += 1
    drain(log, stats, uncountable=Uncountable.PARK)
    forgotten = {skill for (skill,) in db.execute("SELECT skill_id FROM skillstat_forgotten")}
    for again in (False, True):
        if again:
            prune(log, stats, before=None)
            rebuild(log, stats, uncountable=Uncountable.PARK)
        _compare(shared, stats, forgotten)
        _check_differences(verify(log, stats).differences)
        _check_differences(verify_fully(log, stats).differences)
    [(rows,)] = db.execute("SELECT count(*) FROM skillstat_events")
    return Soaked(
        days=shared.days.value,
        events=sum(shared.batches) * BATCH,
        rows=rows,
        forgotten=len(forgotten),
        kills=kills,
        doing=dict(zip(OPERATIONS, shared.doing, strict=True)),
    )


def _compare(shared: Shared, stats: SQLiteStatsStore, forgotten: set[str]) -> None:
    """Compare totals, quarantine and count with those of the plan."""
    totals: dict[str, Counter[str]] = {}
    parked = count = 0
    for event in _plan(shared):
        count += 1
        if event.skill_id in forgotten:
            continue
        effect = SKILL_STATS.kinds.get(event.kind)
        if effect is None:
            parked += 1
            continue
        sums = totals.setdefault(event.skill_id, Counter())
        for counter, amount in effect.counters.items():
            sums[counter] += (
                amount if isinstance(amount, int) else (event.deltas or {})[amount.name]
            )
    found = stats.totals()
    _check(found.cursor.count, count)
    _check(found.cursor.parked, parked)
    _check(sorted(found), sorted(totals))
    for skill, sums in totals.items():
        _check(found[skill], {counter: sums[counter] for counter in SKILL_STATS.counters})
        days = stats.rollups(skill, Granularity.DAY)
        _check(sum(day["downloads"] for day in days.values()), sums["downloads"])


def _plan(shared: Shared) -> Iterator[Event]:
    """Yield every event that was appended."""
    for appender, batches in enumerate(shared.batches):
        for number in range(batches):
            yield from planned(shared.seed, appender, number, BEGIN)


def _check(found: object, expected: object) -> None:
    if found != expected:
        raise AssertionError(f"{found} instead of {expected}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a soak and say what it came to."""
    parser = argparse.ArgumentParser(prog="python -m tests.years_soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        soaked = soak(Path(folder), seconds=options.minutes * 60, seed=options.seed)
    sys.stdout.write(f"{soaked}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

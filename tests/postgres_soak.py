"""Processes on a PostgreSQL server, killed at random: ``python -m tests.postgres_soak``.

Writers append as planned, workers drain. Single processes of the server are killed, the server
as a whole, writers and workers; everybody goes on. In the end the log must hold what was
acknowledged, once, and every other batch as a whole or not at all; and each event of the log must
be counted once.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from enum import Enum
from multiprocessing.connection import Connection as Line
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess

import attrs
import psutil  # type: ignore[import-untyped]  # it ships no types
import psycopg

from skillstat_agg import CHECKSUM_RANGE, SKILL_STATS, Event, drain
from skillstat_agg._buckets import from_microseconds
from skillstat_agg.backends.postgres import PostgresEventStore, PostgresStatsStore, create_tables
from skillstat_agg.backends.postgres._connections import Connection
from tests.oracle import COLUMNS, COUNTERS, count_days, count_totals
from tests.postgres_server import Server, fresh_database, running_server
from tests.postgres_soak_children import (
    Batch,
    Broken,
    Folded,
    Order,
    Said,
    State,
    Way,
    batch,
    end_prepared,
    prepared,
    run_worker,
    run_writer,
)

LONGEST_PAUSE_SECONDS = 1.5
SILENCE_SECONDS = 60
SETTLE_SECONDS = 60
MOST_FAULTS = 20

_OTHERS = """
    SELECT FROM pg_stat_activity WHERE datname = current_database()
    AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
_SPAWN = multiprocessing.get_context("spawn")


class Kill(Enum):
    """Who is killed."""

    BACKEND = "processes of the server"
    SERVER = "whole servers"
    WRITER = "writers"
    WORKER = "workers"


_WEIGHTS = dict(zip(Kill, (3, 2, 3, 2), strict=True))


class SoakError(Exception):
    """A process has met an error that no kill explains, or all of them hang."""


# What must be there, and what is


@attrs.frozen(kw_only=True)
class Found:
    """What a database holds in the end.

    Attributes:
        events: The log.
        fingerprints: Of the same events.
        totals: Counters by skill.
        days: Columns by skill and day.
        count: How many events the cursor has counted.
        checksum: What it has summed up.
    """

    events: Sequence[Event]
    fingerprints: Sequence[int]
    totals: Mapping[str, Mapping[str, int]]
    days: Mapping[str, Mapping[date, Mapping[str, int]]]
    count: int
    checksum: int


def look(db: Connection) -> Found:
    """Return what is there, read by plain statements."""
    rows = db.execute(
        "SELECT skill_id, kind, occurred_at_us, event_id, deltas, note, fingerprint"
        " FROM skillstat.skillstat_events ORDER BY xid, seq"
    ).fetchall()
    totals = db.execute(
        f"SELECT skill_id, {', '.join(COUNTERS)} FROM skillstat.skill_stats_totals"
    ).fetchall()
    days: dict[str, dict[date, dict[str, int]]] = {}
    for skill, day, *sums in db.execute(
        f"SELECT skill_id, day, {', '.join(COLUMNS)} FROM skillstat.skill_stats_daily"
    ):
        days.setdefault(skill, {})[day] = dict(zip(COLUMNS, sums, strict=True))
    [(count, checksum)] = db.execute("SELECT events, checksum FROM skillstat.skillstat_cursors")
    return Found(
        events=[
            Event(
                skill_id=skill,
                kind=kind,
                occurred_at=from_microseconds(at),
                event_id=event_id,
                deltas=deltas,
                note=note,
            )
            for skill, kind, at, event_id, deltas, note, _ in rows
        ],
        fingerprints=[row[-1] for row in rows],
        totals={skill: dict(zip(COUNTERS, sums, strict=True)) for skill, *sums in totals},
        days=days,
        count=count,
        checksum=checksum,
    )


def faults(batches: Iterable[tuple[Batch, State]], found: Found) -> list[str]:
    """Return what is wrong with what was found, as sentences; none: it is as planned.

    Args:
        batches: All batches that were begun, and what is known of each.
        found: What the database holds.
    """
    wrong = []
    there = Counter(found.events)
    for what, state in batches:
        copies = [there.pop(event, 0) for event in what.events]
        allowed = {
            State.IN: ({1},),
            State.OUT: ({0},),
            State.UNSURE: ({0}, {1}) if what.way.is_kept else ({0},),
        }[state]
        if set(copies) not in allowed:
            wrong.append(
                f"batch {what.events[0].note} ({what.way.value}; {state.value}):"
                f" its events are there {copies} times"
            )
    wrong += [f"nobody has appended {event}" for event in there]
    if found.count != len(found.events):
        wrong.append(f"{len(found.events)} events are there, the cursor counts {found.count}")
    if found.checksum != sum(found.fingerprints) % CHECKSUM_RANGE:
        wrong.append("the checksum is not that of the log")
    for name, counted, stored in (
        ("totals", count_totals(found.events), found.totals),
        ("days", count_days(found.events), found.days),
    ):
        wrong += [
            f"{name} of {skill} are {stored.get(skill)}, a plain count has {counted.get(skill)}"
            for skill in sorted({*counted, *stored})
            if counted.get(skill) != stored.get(skill)
        ]
    return wrong


def settled(conninfo: str) -> Found:
    """Drain what is there, when nobody else does anything any more, and return what was found."""
    with psycopg.connect(conninfo, autocommit=True) as db:
        drain(PostgresEventStore(db), PostgresStatsStore(db, SKILL_STATS))
        return look(db)


# The processes


@attrs.define(eq=False)
class _Member:
    """A writer or a worker, through all its lives."""

    kill: Kill
    number: int
    states: dict[int, State] = attrs.field(factory=dict)
    starts: int = 0
    is_over: bool = False
    process: SpawnProcess = attrs.field(init=False)
    line: Line = attrs.field(init=False)

    def __str__(self) -> str:
        return f"{self.kill.value.removesuffix('s')} {self.number}"

    def first(self, seed: int) -> int:
        """Return the batch to begin with: the last one again if it is unsure, and may be."""
        last = max(self.states, default=-1)
        is_unsure = self.states.get(last) is State.UNSURE
        return last if is_unsure and batch(seed, self.number, last).has_ids else last + 1


class Soak:
    """A soak under way; leaving the context ends its processes and transactions in any case.

    Attributes:
        kills: How many were killed, by kind.
        retries: How often a batch was tried again.
        drains: How many drains have ended.
        conflicts: How many commits lost a race.
    """

    def __init__(
        self, server: Server, conninfo: str, *, seed: int, writers: int, workers: int
    ) -> None:
        self._server = server
        self._conninfo = conninfo
        self._seed = seed
        self._draw = random.Random(f"{seed} kills")
        self._members = [
            *(_Member(Kill.WRITER, number) for number in range(writers)),
            *(_Member(Kill.WORKER, number) for number in range(workers)),
        ]
        self._is_stopping = False
        self._words = 0
        self.kills: Counter[Kill] = Counter()
        self.retries = 0
        self.drains = 0
        self.conflicts = 0

    @property
    def batches(self) -> list[tuple[Batch, State]]:
        """All batches that were begun, and what is known of each."""
        return [
            (batch(self._seed, member.number, number), state)
            for member in self._members
            for number, state in member.states.items()
        ]

    def __enter__(self) -> Soak:
        try:
            for member in self._members:
                self._start(member)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        started = [member for member in self._members if member.starts]
        for act in (SpawnProcess.kill, SpawnProcess.join, SpawnProcess.close):
            for member in started:
                with suppress(ValueError):  # it was closed, and not started again yet
                    act(member.process)
        for member in started:
            member.line.close()
        self._server.start()  # it may have been interrupted between its end and its start
        deadline = time.monotonic() + SETTLE_SECONDS
        with _connected(self._conninfo, deadline) as db:
            # A session whose client was killed ends when it sees that.
            while db.execute(_OTHERS).fetchall():
                _check(deadline, "sessions of processes that are gone do not end")
            for gid in prepared(db):
                end_prepared(db, self._seed, gid)

    def kill_one(self) -> None:
        """Kill somebody, after a while in which something has happened."""
        words = self._words + self._draw.randint(1, 100)
        self._listen_until(lambda: self._words >= words)
        until = time.monotonic() + self._draw.uniform(0, LONGEST_PAUSE_SECONDS)
        while (left := until - time.monotonic()) > 0:
            self._listen(left)
        [kind] = self._draw.choices(list(_WEIGHTS), list(_WEIGHTS.values()))
        if kind is Kill.SERVER:
            self._server.kill()
            self._listen(self._draw.uniform(0, 0.3))
            self._server.start()
        elif kind is Kill.BACKEND:
            with suppress(psutil.NoSuchProcess):
                self._draw.choice(_children(self._server)).kill()
        else:
            self._kill(self._draw.choice([one for one in self._members if one.kill is kind]))
        self.kills[kind] += 1

    def stop(self) -> None:
        """Tell everybody to stop, and wait until they have."""
        self._is_stopping = True
        for member in self._members:
            with suppress(OSError):
                member.line.send(None)
        self._listen_until(lambda: all(member.is_over for member in self._members))

    def _kill(self, member: _Member) -> None:
        member.process.kill()
        member.process.join()
        with suppress(EOFError, OSError):
            while True:
                self._hear(member, member.line.recv())
        member.process.close()
        member.line.close()
        self._start(member)

    def _start(self, member: _Member) -> None:
        order = Order(
            conninfo=self._conninfo,
            seed=self._seed,
            number=member.number,
            first=member.first(self._seed),
            start=member.starts,
        )
        run = run_writer if member.kill is Kill.WRITER else run_worker
        member.line, theirs = _SPAWN.Pipe()
        member.process = _SPAWN.Process(
            target=run, args=(order, theirs), name=str(member), daemon=True
        )
        with _uninterrupted():
            member.process.start()
            member.starts += 1
        theirs.close()

    def _listen_until(self, is_done: Callable[[], bool]) -> None:
        last = time.monotonic()
        while not is_done():
            if self._listen(1):
                last = time.monotonic()
            elif time.monotonic() - last > SILENCE_SECONDS:
                raise SoakError(f"nobody has said anything for {SILENCE_SECONDS} s: they hang")

    def _listen(self, seconds: float) -> bool:
        """Hear what is said within so many seconds; return whether anything was."""
        lines = {member.line: member for member in self._members if not member.is_over}
        said = wait(list(lines), timeout=seconds)
        for member in (lines[line] for line in lines if line in said):
            try:
                self._hear(member, member.line.recv())
            except (EOFError, OSError):
                member.is_over = True
                if not self._is_stopping:
                    raise SoakError(f"{member} has ended by itself") from None
        return bool(said)

    def _hear(self, member: _Member, word: object) -> None:
        self._words += 1
        if isinstance(word, Said):
            member.states[word.number] = word.state
            self.retries += max(0, word.tries - 1)
        elif isinstance(word, Folded):
            self.drains += 1
            self.conflicts += word.conflicts
        elif isinstance(word, Broken):
            raise SoakError(f"{member} has met an error:\n{word.traceback}")


def _children(server: Server) -> list[psutil.Process]:
    """Return the processes of a server, but for the one that watches over them."""
    pid = (server.folder / "data" / "postmaster.pid").read_text().split()[0]
    children: list[psutil.Process] = psutil.Process(int(pid)).children()
    return children


@contextmanager
def _connected(conninfo: str, deadline: float) -> Iterator[Connection]:
    """Give a connection, once the server takes one."""
    while True:
        try:
            db: Connection = psycopg.connect(conninfo, autocommit=True)
            break
        except psycopg.OperationalError:
            _check(deadline, "the server does not come up again")
    with db:
        yield db


def _check(deadline: float, fault: str) -> None:
    if time.monotonic() > deadline:
        raise SoakError(fault)
    time.sleep(0.05)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Keep Ctrl-C from whoever is started here: only this process answers it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# The whole


@attrs.frozen(kw_only=True)
class Soaked:
    """What came of a soak.

    Attributes:
        kills: How many were killed, by kind.
        events: How many events are in the log.
        batches: How many batches were begun, by way.
        unsure: How many of them nobody knows the end of.
        retries: How often a batch was tried again.
        drains: How many drains have ended.
        conflicts: How many commits lost a race.
        seconds: How long it took.
        faults: What is wrong; none: nothing.
    """

    kills: Mapping[Kill, int]
    events: int
    batches: Mapping[Way, int]
    unsure: int
    retries: int
    drains: int
    conflicts: int
    seconds: float
    faults: Sequence[str] = ()

    def __str__(self) -> str:
        kills = ", ".join(f"{self.kills.get(kind, 0)} {kind.value}" for kind in Kill)
        ways = ", ".join(f"{self.batches.get(way, 0):,} {way.value}" for way in Way)
        verdict = "each event counted once"
        if self.faults:
            more = len(self.faults) - MOST_FAULTS
            told = [*self.faults[:MOST_FAULTS], *([f"and {more} more"] if more > 0 else [])]
            verdict = "\n".join(("FAILED", *told))
        return (
            f"killed: {kills}\n{self.events:,} events in the log; transactions: {ways};"
            f" {self.unsure:,} unsure, {self.retries:,} tried again\n"
            f"{self.drains:,} drains, {self.conflicts:,} conflicts, {self.seconds:.0f} s\n{verdict}"
        )


def soak(
    server: Server,
    conninfo: str,
    *,
    kills: int,
    seed: int = 0,
    writers: int = 8,
    workers: int = 2,
    on_kill: Callable[[int], object] | None = None,
) -> Soaked:
    """Kill at random, and compare what is there in the end.

    Args:
        server: The server, which is killed too; it runs when this returns.
        conninfo: What connects to an empty database of it.
        kills: How many to kill.
        seed: Decides what is appended, and who is killed.
        writers: How many processes append at a time.
        workers: How many drain at a time.
        on_kill: Called after each kill, with the number of kills so far.

    Raises:
        SoakError: If a process has met an error that no kill explains, or all of them hang.
        KeyboardInterrupt: As always; none of the processes is left.
    """
    start = time.monotonic()
    with psycopg.connect(conninfo, autocommit=True) as db:
        create_tables(db, SKILL_STATS)
    with Soak(server, conninfo, seed=seed, writers=writers, workers=workers) as under_way:
        for number in range(1, kills + 1):
            under_way.kill_one()
            if on_kill is not None:
                on_kill(number)
        under_way.stop()
    found, batches = settled(conninfo), under_way.batches
    return Soaked(
        kills=under_way.kills,
        events=len(found.events),
        batches=Counter(what.way for what, _ in batches),
        unsure=sum(state is State.UNSURE for _, state in batches),
        retries=under_way.retries,
        drains=under_way.drains,
        conflicts=under_way.conflicts,
        seconds=time.monotonic() - start,
        faults=faults(batches, found),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the soak and print its figures; return 1 where something is lost or doubled."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.postgres_soak",
        description="Kill processes on a PostgreSQL server at random, and check the numbers.",
    )
    parser.add_argument("--kills", type=int, default=100, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    options = parser.parse_args(arguments)

    def tell(number: int) -> None:
        if sys.stdout.isatty():
            sys.stdout.write(f"\r{number} of {options.kills} kills")
            sys.stdout.flush()

    try:
        with running_server() as server, fresh_database(server) as conninfo:
            soaked = soak(server, conninfo, kills=options.kills, seed=options.seed, on_kill=tell)
    except SoakError as error:
        sys.stdout.write(f"\nFAILED (seed {options.seed})\n{error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stdout.write("\ninterrupted\n")
        return 130
    sys.stdout.write(f"\nseed {options.seed}; {soaked}\n")
    return 1 if soaked.faults else 0


if __name__ == "__main__":
    sys.exit(main())

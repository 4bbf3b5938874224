"""The processes of the demo: writers, workers, and a worker that is killed in a commit."""

from __future__ import annotations

import functools
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from multiprocessing.synchronize import Barrier, Semaphore
from pathlib import Path

import click

from skillstat_agg import SKILL_STATS, Event, drain
from skillstat_agg.backends.sqlite import SQLiteEventStore, SQLiteStatsStore
from skillstat_agg.cli._errors import failure, one_sentence
from skillstat_agg.cli._file import File

WRITERS = 8
APPENDS = 50
AT_ONCE = 25
"""Events of one append."""
TIED = WRITERS * AT_ONCE
"""Events that share one time: the n-th appends of all writers do."""
EVENTS = TIED * APPENDS
PAGE = 250

_SKILLS = ("pdf", "weather", "search", "mail", "calendar", "maps", "notes")
_START = datetime(2026, 3, 1, 23, 59, 58, tzinfo=timezone.utc)
_PATIENCE_SECONDS = 60


def downloads() -> Counter[str]:
    """Return how many events the writers append, by skill."""
    return Counter(
        skill
        for writer in range(WRITERS)
        for step in range(APPENDS)
        for skill in _skills(writer, step)
    )


def race(path: Path) -> None:
    """Let the writers append while two workers drain; kill one of these, and start a third.

    The first worker stops when it has folded half of the log, so that the second one is
    sure to come to the commit in which it is killed.
    """
    context = get_context("spawn")
    evidence, sender = context.Pipe()
    wakes = [context.Semaphore(0) for _ in range(3)]
    together = context.Barrier(WRITERS)
    process = functools.partial(context.Process, target=_run, daemon=True)
    writers = [process(args=(_write, path, n, together, wakes)) for n in range(WRITERS)]
    first = process(args=(_work, path, wakes[0], EVENTS // 2))
    second = process(args=(_work_until_killed, path, wakes[1], sender))
    third = process(args=(_work, path, wakes[2], EVENTS))
    with evidence, _none_left((*writers, first, second, third)):
        _start((first, second, *writers))
        sender.close()
        if not _came(evidence):
            raise failure("the worker that is to be killed did not come to a commit")
        second.kill()
        _start([third])
        for each in (*writers, first, third):
            each.join(_PATIENCE_SECONDS)
            if each.exitcode != 0:
                raise failure("a process of the demo did not come to its end")


def _came(evidence: Connection) -> bool:
    """Return whether the message came; not where its sender has ended without it."""
    try:
        return evidence.poll(_PATIENCE_SECONDS) and bool(evidence.recv())
    except EOFError:
        return False


def _start(processes: Sequence[SpawnProcess]) -> None:
    """Start *processes*, which leave the keyboard to this one."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for process in processes:
            process.start()
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _none_left(processes: Sequence[SpawnProcess]) -> Iterator[None]:
    """Kill what of *processes* still runs in the end."""
    try:
        yield
    finally:
        for process in processes:
            if process.pid is not None:
                process.kill()
                process.join()
                process.close()


def _run(task: Callable[..., None], *args: object) -> None:
    """Do *task* as the whole of a process, which ends with a sentence where it fails."""
    try:
        with one_sentence():
            task(*args)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)


def _skills(writer: int, step: int) -> Sequence[str]:
    """Return the skills of the events of one append."""
    return [_SKILLS[(writer + step * number) % len(_SKILLS)] for number in range(AT_ONCE)]


def _time_of(step: int) -> datetime:
    """Return the time that the events of one step share, created and occurred."""
    return _START + timedelta(milliseconds=100 * step)


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Give a connection that does not wait for the disk: here only processes die."""
    with File(path).opened() as opened:
        db = opened.db
        db.execute("PRAGMA synchronous = OFF")
        yield db


def _write(path: Path, writer: int, together: Barrier, wakes: Sequence[Semaphore]) -> None:
    """Append, and wake each worker after every append."""
    together.wait(_PATIENCE_SECONDS)
    with _opened(path) as db:
        for step in range(APPENDS):
            log = SQLiteEventStore(db, clock=functools.partial(_time_of, step))
            log.append(
                Event(skill_id=skill, kind="download", occurred_at=_time_of(step))
                for skill in _skills(writer, step)
            )
            for wake in wakes:
                wake.release()


def _work(path: Path, wake: Semaphore, bound: int) -> None:
    """Drain after every append, until *bound* events are folded or the log is."""
    with _opened(path) as db:
        events, stats = SQLiteEventStore(db), SQLiteStatsStore(db, SKILL_STATS)
        for _ in range(WRITERS * APPENDS):
            wake.acquire()
            if bound > 0:
                bound -= drain(events, stats, page=PAGE, max_events=bound).events


def _work_until_killed(path: Path, wake: Semaphore, sender: Connection) -> None:
    """Drain a quarter of the log, then stop for ever in the middle of a commit.

    All rows and the cursor are written then, the lock is held, and nothing is committed.
    """

    def stop(statement: str) -> None:
        if statement == "COMMIT":
            sender.send("in the middle of a commit")
            sender.recv()

    def stop_next_time(_changed: frozenset[str]) -> None:
        if stats.cursor().count >= EVENTS // 4:
            db.set_trace_callback(stop)

    with _opened(path) as db:
        events, stats = SQLiteEventStore(db), SQLiteStatsStore(db, SKILL_STATS)
        for _ in range(WRITERS * APPENDS):
            wake.acquire()
            drain(events, stats, page=PAGE, on_commit=stop_next_time)

"""The processes of a soak: they are started, listened to, killed, and started again."""

from __future__ import annotations

import multiprocessing
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

import attrs

from skillstat_agg.testing._harness import AnyHarness
from skillstat_agg.testing._soak_children import (
    Broken,
    Folded,
    Landed,
    Order,
    run_appender,
    run_worker,
)

SILENCE_SECONDS = 60
"""How long everybody may say nothing before the store is said to hang."""

LONGEST_PAUSE_SECONDS = 0.02
"""How long after its last word a process is killed, at most."""

_SPAWN = multiprocessing.get_context("spawn")


class Role(Enum):
    """What a process does."""

    APPENDER = "appender"
    WORKER = "worker"


class SoakError(Exception):
    """A process ended by itself, or all of them hang."""


@attrs.define(eq=False)
class _Member:
    """One of the troop, through all its lives."""

    role: Role
    number: int
    batches: int = 0
    starts: int = 0
    is_over: bool = False
    words: int = 0
    process: SpawnProcess = attrs.field(init=False)
    line: Connection = attrs.field(init=False)

    def __str__(self) -> str:
        return f"{self.role.value} {self.number + 1}"


class Troop:
    """All processes of a soak; leaving the context ends them, whatever happens.

    Attributes:
        kills: How many were killed, by role.
        repeated: How many appends were in the log already when they were tried again.
        conflicts: How many commits lost a race.
    """

    def __init__(
        self,
        load: Callable[[], AnyHarness],
        site: object,
        appenders: int,
        workers: int,
        seed: int,
    ) -> None:
        self._load = load
        self._site = site
        self._seed = seed
        self._draw = random.Random(f"{seed} kills")
        self._members = [
            *(_Member(Role.APPENDER, number) for number in range(appenders)),
            *(_Member(Role.WORKER, number) for number in range(workers)),
        ]
        self.kills: Counter[Role] = Counter()
        self.repeated = 0
        self.conflicts = 0
        self._is_stopping = False

    @property
    def batches(self) -> list[int]:
        """How many batches each appender has in the log."""
        return [member.batches for member in self._members if member.role is Role.APPENDER]

    def __enter__(self) -> Troop:
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
        for act in (SpawnProcess.kill, SpawnProcess.join, SpawnProcess.close):
            for member in self._members:
                # One that was killed, and not started again yet, is closed.
                with suppress(ValueError):
                    if member.starts:
                        act(member.process)
        for member in self._members:
            if member.starts:
                member.line.close()

    def kill_one(self) -> None:
        """Kill one of them, mostly after it has done something, and start it again."""
        member = self._draw.choice(self._members)
        if self._draw.random() < 0.9:
            words = member.words + self._draw.randint(1, 10)
            self._listen_until(lambda: member.words >= words)
        until = time.monotonic() + self._draw.uniform(0, LONGEST_PAUSE_SECONDS)
        while (left := until - time.monotonic()) > 0:
            self.listen(left)
        member.process.kill()
        member.process.join()
        self.kills[member.role] += 1
        with suppress(EOFError, OSError):
            while True:
                self._hear(member, member.line.recv())
        member.process.close()
        member.line.close()
        self._start(member)

    def stop(self) -> None:
        """Tell everybody to stop after what they are doing, and wait until they have."""
        self._is_stopping = True
        for member in self._members:
            with suppress(OSError):
                member.line.send(None)
        self._listen_until(lambda: all(member.is_over for member in self._members))

    def _start(self, member: _Member) -> None:
        order = Order(
            load=self._load,
            site=self._site,
            seed=self._seed,
            number=member.number,
            first=member.batches,
            start=member.starts,
        )
        run = run_appender if member.role is Role.APPENDER else run_worker
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
            if self.listen(1):
                last = time.monotonic()
            elif time.monotonic() - last > SILENCE_SECONDS:
                raise SoakError(f"nobody has said anything for {SILENCE_SECONDS} s: they hang")

    def listen(self, seconds: float) -> bool:
        """Hear what is said within so many seconds; return whether anything was."""
        lines = {member.line: member for member in self._members if not member.is_over}
        said = wait(list(lines), timeout=seconds)
        for member in (lines[line] for line in lines if line in said):
            try:
                self._hear(member, member.line.recv())
            except (EOFError, OSError):
                member.is_over = True
                if not self._is_stopping:
                    member.process.join()
                    raise SoakError(
                        f"{member} ended by itself, with code {member.process.exitcode}"
                    ) from None
        return bool(said)

    def _hear(self, member: _Member, word: object) -> None:
        member.words += 1
        if isinstance(word, Landed):
            member.batches = word.number + 1
            self.repeated += word.new == 0
        elif isinstance(word, Folded):
            self.conflicts += word.conflicts
        elif isinstance(word, Broken):
            raise SoakError(f"{member} has met an error:\n{word.traceback}")


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Keep Ctrl-C from whoever is started here: only this process answers it."""
    if not hasattr(signal, "pthread_sigmask"):  # pragma: no cover - Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

"""What the processes of a soak do until they are told to stop, or are killed."""

from __future__ import annotations

import random
import signal
import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from multiprocessing.connection import Connection

import attrs

from skillstat_agg._projections import SKILL_STATS
from skillstat_agg.errors import StoreBusyError
from skillstat_agg.testing._cases import NOON, Clock
from skillstat_agg.testing._doors import door_for
from skillstat_agg.testing._handles import Committed, Handle
from skillstat_agg.testing._harness import AnyHarness, Setting
from skillstat_agg.testing._soak_plan import Batch, Way, batch
from skillstat_agg.testing._steps import Record

ROUNDS = 30
"""How much is tried with one client before another is opened."""

LONGEST_PAUSE_SECONDS = 0.004
"""How long the others are given at most between two rounds; it only paces."""


@attrs.frozen(kw_only=True)
class Order:
    """What a process is to do.

    Attributes:
        load: Loads the harness; it is called in the process.
        site: The place.
        seed: The seed of the plan.
        number: Which appender, or which worker.
        first: The first batch of an appender that is not known to be in the log.
        start: How often one with this number was started before: another clock each time.
    """

    load: Callable[[], AnyHarness]
    site: object
    seed: int
    number: int
    first: int
    start: int


@attrs.frozen
class Ready:
    """The process has begun."""


@attrs.frozen
class Landed:
    """A batch is in the log; *new*: how many of its events were not there before."""

    number: int
    new: int


@attrs.frozen
class Folded:
    """A drain is over."""

    events: int
    conflicts: int


@attrs.frozen
class Broken:
    """The process has met an error that it cannot account for."""

    traceback: str


def run_appender(order: Order, line: Connection) -> None:
    """Append batch after batch, each until the store says that it is in the log."""
    _run(_Appender(order, line), line)


def run_worker(order: Order, line: Connection) -> None:
    """Drain again and again."""
    _run(_Worker(order, line), line)


class _Told(Exception):  # noqa: N818 - what somebody said, not an error
    """The process was told to stop."""


class _Process:
    """What both have in common: a line to the one who started them, and clients."""

    def __init__(self, order: Order, line: Connection) -> None:
        self._order = order
        self._line = line
        self._draw = random.Random(f"{order.seed} {order.number} {order.start} clocks and pauses")
        self._clock = Clock(NOON + timedelta(seconds=self._draw.randint(-3_600, 3_600)))

    def work(self) -> None:
        """Work with one client after the other until told to stop."""
        harness = self._order.load()
        self._line.send(Ready())
        while True:
            with suppress(StoreBusyError):
                self._work_with(_client(harness, self._order.site, self._clock))
            self._pause()

    def _work_with(self, client: Handle) -> None:
        try:
            for _ in range(ROUNDS):
                # Who is refused tries again in the next round.
                with suppress(StoreBusyError):
                    self._round(client)
                self._pause()
        finally:
            client.close()

    def _round(self, client: Handle) -> None:
        raise NotImplementedError

    def _pause(self) -> None:
        """Wait a little, and leave if somebody says so meanwhile."""
        if self._line.poll(self._draw.uniform(0, LONGEST_PAUSE_SECONDS)):
            raise _Told


class _Appender(_Process):
    def __init__(self, order: Order, line: Connection) -> None:
        super().__init__(order, line)
        self._number = order.first

    def _round(self, client: Handle) -> None:
        new = append(client, batch(self._order.seed, self._order.number, self._number))
        # Time to be killed in: what is in the log and not told is tried again.
        self._line.poll(self._draw.uniform(0, LONGEST_PAUSE_SECONDS))
        self._line.send(Landed(self._number, new))
        self._number += 1


class _Worker(_Process):
    def _round(self, client: Handle) -> None:
        page = self._draw.choice([1, 3, 20, 100])
        report = client.drain(page=page, max_events=2 * page + 50)
        self._line.send(Folded(report.events, report.conflicts))


def append(client: Handle, what: Batch) -> int:
    """Append a batch, and return how many of its events were new."""
    if what.way is Way.AT_ONCE or not client.can_begin:
        return client.append(*what.events).new
    held = client.begin()
    try:
        new = sum(held.append(event).new for event in what.events)
        if what.way is Way.HELD:
            held.commit()
            return new
    except StoreBusyError:
        held.rollback()
        raise
    held.rollback()
    return client.append(*what.events).new


def _client(harness: AnyHarness, site: object, clock: Clock) -> Handle:
    setting = Setting(projection=SKILL_STATS, clock=clock, io=_nothing)
    opened = harness.client(site, setting)
    return Handle("soak", opened, door_for(harness, opened), Record(), Committed())


def _nothing() -> None:
    """Pass an I/O point."""


def _run(process: _Process, line: Connection) -> None:
    # Who presses Ctrl-C means the one who started this process; that one ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Where the line is gone, nobody is at its other end: there is nothing to work for.
    with suppress(_Told, EOFError, ConnectionError):
        try:
            process.work()
        except (_Told, EOFError, ConnectionError):
            raise
        except Exception:  # noqa: BLE001 - it is told to the one who can
            line.send(Broken(traceback.format_exc()))

"""What the processes of the soak on PostgreSQL do: writers append as planned, workers drain.

A batch is a function of a seed and of numbers, and of nothing else. So whoever knows which
batches a writer has begun, and what it heard of each, can say what must be in the log.
"""

from __future__ import annotations

import random
import signal
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from enum import Enum
from multiprocessing.connection import Connection as Line

import attrs
import psycopg
from psycopg.sql import SQL, Literal

from skillstat_agg import SKILL_STATS, Event, drain
from skillstat_agg.backends.postgres import PostgresEventStore, PostgresStatsStore
from skillstat_agg.backends.postgres._connections import Connection, translated
from skillstat_agg.errors import SkillstatError, StoreBusyError, StoreUnavailableError
from tests.logs import NOON

KINDS = tuple(SKILL_STATS.kinds)
SKILLS = tuple(f"skill {letter}" for letter in "abcdefgh")
PAGES = (7, 50, 400, 10_000)
GID = "soak "
RECONNECT_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 0.01


# The plan


class Way(Enum):
    """How a batch is appended, and what becomes of it."""

    AT_ONCE = "at once"
    HELD = "held open"
    ROLLED_BACK = "rolled back"
    PREPARED = "prepared, then committed"
    PREPARED_IN_VAIN = "prepared, then rolled back"

    @property
    def is_prepared(self) -> bool:
        """Whether somebody else ends the transaction."""
        return self in {Way.PREPARED, Way.PREPARED_IN_VAIN}

    @property
    def is_kept(self) -> bool:
        """Whether its events get into the log."""
        return self not in {Way.ROLLED_BACK, Way.PREPARED_IN_VAIN}


_WEIGHTS = dict(zip(Way, (10, 5, 2, 2, 1), strict=True))


@attrs.frozen
class Batch:
    """Events that are in the log together, or not at all.

    Attributes:
        events: The events; the note of each is found nowhere else.
        way: How they get there.
        has_ids: Whether they have ids, and so may be tried again.
        seconds: How long the transaction is held open.
    """

    events: tuple[Event, ...]
    way: Way
    has_ids: bool
    seconds: float


def batch(seed: int, writer: int, number: int) -> Batch:
    """Return one batch of one writer."""
    draw = random.Random(f"{seed} {writer} {number}")
    [way] = draw.choices(list(_WEIGHTS), list(_WEIGHTS.values()))
    # The second try of a prepared one would wait for the first.
    has_ids = not way.is_prepared and draw.random() < 0.5
    size = draw.choice([1, 1, 2, 5, 20, 20, 20, 250])  # the largest goes by COPY, without ids
    seconds = draw.uniform(0, 2) if draw.random() < 0.1 else draw.uniform(0, 0.01)
    events = tuple(_event(draw, f"{writer}-{number}-{n}", has_ids=has_ids) for n in range(size))
    return Batch(events, way, has_ids, 0.0 if way is Way.AT_ONCE else seconds)


def _event(draw: random.Random, name: str, *, has_ids: bool) -> Event:
    kind = draw.choice(KINDS)
    effect = SKILL_STATS.kinds[kind]
    return Event(
        skill_id=draw.choice(SKILLS),
        kind=kind,
        occurred_at=NOON + timedelta(hours=draw.randint(-50, 10)),
        event_id=name if has_ids else None,
        deltas={name: draw.randint(-5, 5) for name in sorted(effect.carries)} or None,
        note=name,
    )


def end_prepared(db: Connection, seed: int, gid: str) -> None:
    """Commit a prepared transaction, or roll it back, as planned; somebody else may be quicker."""
    writer, number = map(int, gid.removeprefix(GID).split("-"))
    order = "COMMIT" if batch(seed, writer, number).way.is_kept else "ROLLBACK"
    with (
        translated(),
        suppress(psycopg.errors.UndefinedObject, psycopg.errors.ObjectNotInPrerequisiteState),
    ):
        db.execute(SQL(order + " PREPARED {}").format(Literal(gid)))


def prepared(db: Connection) -> list[str]:
    """Return the names of the transactions that wait for their end."""
    with translated():
        rows = db.execute("SELECT gid FROM pg_prepared_xacts WHERE database = current_database()")
        return [gid for (gid,) in rows]


# What the processes say


class State(Enum):
    """What is known of a batch."""

    UNSURE = "begun"
    IN = "in the log, or sure to get there"
    OUT = "not in the log, and never will be"


@attrs.frozen
class Said:
    """What has become of a batch; *tries*: how often it was tried so far."""

    number: int
    state: State
    tries: int = 0


@attrs.frozen
class Folded:
    """A drain is over."""

    events: int
    conflicts: int


@attrs.frozen
class Broken:
    """The process has met an error that no kill explains."""

    traceback: str


@attrs.frozen(kw_only=True)
class Order:
    """What a process is to do.

    Attributes:
        conninfo: What connects to the database.
        seed: The seed of the plan.
        number: Which writer, or which worker.
        first: The batch that a writer begins with.
        start: How often one with this number was started before.
    """

    conninfo: str
    seed: int
    number: int
    first: int
    start: int


class _Told(Exception):  # noqa: N818 - what somebody said, not an error
    """The process was told to stop."""


class _Process:
    """What both have in common: a line to the one who started them, and a connection."""

    def __init__(self, order: Order, line: Line) -> None:
        self._order = order
        self._line = line
        self._draw = random.Random(f"{order.seed} {order.number} {order.start} pauses")
        self._open: Connection | None = None

    def work(self) -> None:
        raise NotImplementedError

    def _connection(self) -> Connection:
        """Return the connection, opened anew where it was lost."""
        while self._open is None or self._open.closed:
            try:
                self._open = psycopg.connect(self._order.conninfo, autocommit=True)
            except psycopg.OperationalError:
                self._pause(RECONNECT_SECONDS)
        return self._open

    def _disconnect(self) -> None:
        if self._open is not None:
            self._open.close()

    def _pause(self, seconds: float) -> None:
        """Wait, and leave if somebody says so meanwhile."""
        if self._line.poll(seconds):
            raise _Told


class _Writer(_Process):
    def work(self) -> None:
        number = self._order.first
        while True:
            self._line.send(Said(number, State.UNSURE))
            self._append(number)
            number += 1
            self._pause(self._draw.uniform(0, LONGEST_PAUSE_SECONDS))
            self._end_one()

    def _append(self, number: int) -> None:
        """Append a batch, with ids until the store has answered; say what has become of it."""
        what = batch(self._order.seed, self._order.number, number)
        is_repeated = what.has_ids and what.way.is_kept
        tries, state = 0, State.UNSURE
        while tries == 0 or (is_repeated and state is not State.IN):
            tries += 1
            state = self._try(what, f"{GID}{self._order.number}-{number}")
        time.sleep(self._draw.uniform(0, LONGEST_PAUSE_SECONDS))  # to be killed in, untold
        self._line.send(Said(number, state, tries))

    def _try(self, what: Batch, gid: str) -> State:
        """Try to append a batch, and return what is known of it then."""
        may_be_in = what.way is Way.AT_ONCE
        try:
            db = self._connection()
            store = PostgresEventStore(db)
            if what.way is Way.AT_ONCE:
                store.append(what.events)
                return State.IN
            with translated():
                db.execute("BEGIN")
            half = len(what.events) // 2
            store.append(what.events[:half])
            time.sleep(what.seconds)
            store.append(what.events[half:])
            if what.way is Way.ROLLED_BACK:
                with translated():
                    db.execute("ROLLBACK")
                return State.OUT
            may_be_in = what.way.is_kept
            with translated():
                if what.way.is_prepared:
                    db.execute(SQL("PREPARE TRANSACTION {}").format(Literal(gid)))
                else:
                    db.execute("COMMIT")
            return State.IN if what.way.is_kept else State.OUT
        except SkillstatError as error:
            check_expected(error)
            self._disconnect()
            self._pause(RECONNECT_SECONDS)
            return State.UNSURE if may_be_in else State.OUT

    def _end_one(self) -> None:
        """End a prepared transaction, be it of another writer or from before a restart."""
        if self._draw.random() > 0.3:
            return
        try:
            db = self._connection()
            if waiting := prepared(db):
                end_prepared(db, self._order.seed, self._draw.choice(waiting))
        except SkillstatError as error:
            check_expected(error)
            self._disconnect()


class _Worker(_Process):
    def work(self) -> None:
        while True:
            try:
                db = self._connection()
                log, stats = PostgresEventStore(db), PostgresStatsStore(db, SKILL_STATS)
                page = self._draw.choice(PAGES)
                report = drain(log, stats, page=page, max_events=20 * page)
                self._line.send(Folded(report.events, report.conflicts))
            except SkillstatError as error:
                check_expected(error)
                self._disconnect()
            self._pause(self._draw.uniform(0, 10 * LONGEST_PAUSE_SECONDS))


def check_expected(error: SkillstatError) -> None:
    """Raise an error that no kill explains."""
    is_lost = isinstance(error, StoreUnavailableError) and isinstance(
        error.__cause__, psycopg.OperationalError | None
    )
    if not is_lost and not isinstance(error, StoreBusyError):
        raise error


def run_writer(order: Order, line: Line) -> None:
    """Append batch after batch until told to stop."""
    _run(_Writer, order, line)


def run_worker(order: Order, line: Line) -> None:
    """Drain again and again until told to stop."""
    _run(_Worker, order, line)


def _run(process: Callable[[Order, Line], _Process], order: Order, line: Line) -> None:
    # Who presses Ctrl-C means the one who started this process; that one ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Where the line is gone, nobody is at its other end: there is nothing to work for.
    with suppress(_Told, EOFError, ConnectionError):
        try:
            process(order, line).work()
        except (_Told, EOFError, ConnectionError):
            raise
        except Exception:  # noqa: BLE001 - it is told to the one who can
            line.send(Broken(traceback.format_exc()))

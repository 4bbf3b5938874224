"""The two passes of ``append`` over its inputs: check all of them, then store all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime, timezone
from itertools import islice
from typing import NamedTuple, NoReturn, TypeAlias

import attrs

from skillstat_agg import DAY_AHEAD, SKILL_STATS, Event, Projection
from skillstat_agg._appending import checked_events
from skillstat_agg.cli._database import Database
from skillstat_agg.cli._errors import failure, when_interrupted
from skillstat_agg.cli._inputs import Input
from skillstat_agg.cli._lines import read
from skillstat_agg.cli._output import note, progress
from skillstat_agg.cli._records import records
from skillstat_agg.cli._rules import Rules
from skillstat_agg.errors import EventIdConflictError, InvalidEventError, UncountableEventError

_BATCH = 1_000
_SHOWN = 5

BadLine: TypeAlias = Callable[[str, int, str], object]
"""Is told the name of the input, the number of the line and the reason; may raise."""

_Take: TypeAlias = Callable[[Sequence[Event]], int]
"""Takes a batch of events, all or none, and returns how many were new."""


class _Line(NamedTuple):
    source: str
    number: int
    event: Event


@attrs.frozen
class Counts:
    """How many events a pass took, and how many of them were new."""

    taken: int
    new: int


def refuse(source: str, number: int, reason: str) -> NoReturn:
    """End the command because of a bad line."""
    raise failure(f"{source}, line {number}: {reason}; nothing was stored")


class Skipped:
    """The bad lines that were left out, and the reasons of the first."""

    def __init__(self) -> None:
        self.count = 0
        self._first: list[str] = []

    def add(self, source: str, number: int, reason: str) -> None:
        """Leave out a line."""
        self.count += 1
        if self.count <= _SHOWN:
            self._first.append(f"skipped {source}, line {number}: {reason}")

    def report(self) -> None:
        """Print the reasons on stderr."""
        for sentence in self._first:
            note(sentence)
        if self.count > _SHOWN:
            note(f"skipped {self.count - _SHOWN} more")


def check(database: Database, sources: Sequence[Input], rules: Rules, bad_line: BadLine) -> None:
    """Read all inputs once, and store nothing."""
    now = datetime.now(timezone.utc)
    projections = _projections_of(database)

    def take(events: Sequence[Event]) -> int:
        return len(checked_events(events, now=now, max_ahead=DAY_AHEAD, projections=projections))

    _read_all("checking", sources, rules, take, bad_line)


def store(database: Database, sources: Sequence[Input], rules: Rules, bad_line: BadLine) -> Counts:
    """Read all inputs again, and store their events in one transaction."""
    is_new = database.is_new()
    with (
        database.created() as db,
        ExitStack() as transaction,
        when_interrupted("nothing was stored"),  # ends before the commit, after which it is not so
    ):
        if is_new:
            db.create(SKILL_STATS)
        log = db.events(*db.projections())
        transaction.enter_context(db.transaction())
        return _read_all("storing", sources, rules, lambda events: log.append(events).new, bad_line)


def _projections_of(database: Database) -> Sequence[Projection]:
    """Return the tables that must be able to count what is stored there."""
    if database.is_new():
        return (SKILL_STATS,)
    with database.opened() as db:
        return db.projections()


def _read_all(
    doing: str, sources: Sequence[Input], rules: Rules, take: _Take, bad_line: BadLine
) -> Counts:
    """Hand the events of all inputs to *take*, in batches."""
    taken = new = 0
    with progress(doing, total=sum(source.size for source in sources)) as show:
        lines = _lines(sources, rules, bad_line, show)
        while batch := list(islice(lines, _BATCH)):
            try:
                new += take([line.event for line in batch])
                taken += len(batch)
            except (InvalidEventError, UncountableEventError, EventIdConflictError):
                good = _one_by_one(batch, take, bad_line)
                new += good.new
                taken += good.taken
    return Counts(taken, new)


def _one_by_one(batch: Sequence[_Line], take: _Take, bad_line: BadLine) -> Counts:
    """Hand over one at a time the events of a batch that was refused, to find the bad ones.

    Of two events with one id and unlike content the first one stays, wherever a batch ends.
    """
    taken = new = 0
    for source, number, event in batch:
        try:
            new += take([event])
            taken += 1
        except (InvalidEventError, UncountableEventError) as error:
            bad_line(source, number, error.reason)
        except EventIdConflictError:
            reason = f"event id {event.event_id!r} stands for another skill, kind or deltas already"
            bad_line(source, number, reason)
    return Counts(taken, new)


def _lines(
    sources: Sequence[Input], rules: Rules, bad_line: BadLine, show: Callable[[int], None]
) -> Iterator[_Line]:
    """Return the events of all inputs, and where each stands."""
    done = 0
    for source in sources:
        with read(source) as lines:
            for count, record in enumerate(records(lines, source.format, rules)):
                if count % _BATCH == 0:
                    show(done + lines.bytes_read)
                if record.fault is not None:
                    bad_line(source.name, record.line, record.fault)
                    continue
                try:
                    event = rules.event(record.fields)
                except InvalidEventError as error:
                    bad_line(source.name, record.line, error.reason)
                else:
                    yield _Line(source.name, record.line, event)
        done += source.size

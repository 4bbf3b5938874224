"""What happened in a case: every call to a store with its answer, and in words if it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import attrs

from skillstat_agg._commits import Commit, Cursor
from skillstat_agg._compacting import Segment
from skillstat_agg._events import Event, Place
from skillstat_agg._generations import Comparison
from skillstat_agg._pages import Page, TalliedPage
from skillstat_agg._stores import Appended
from skillstat_agg.errors import CursorConflictError, StoreBusyError

T = TypeVar("T")

MOST_CALLS = 5_000
"""How many calls a case may make: a drain that makes more does not come to an end."""

MOST_LABELS = 20
"""How many events are named in one step."""

WRITES = ("forget", "expire", "building", "swap", "discard")
"""What changes stats beside a commit, or might."""

CONFLICT = "a commit lost the race"
REFUSED = "a call was refused, or had to wait, because another was not over"
LATE = "an append became visible after one that began later"
ROLLBACK = "an open append was rolled back"
DEATH = "a client died between two calls"
DEATH_INSIDE = "a client died inside a call"
MOVED_INSIDE = "another client moved inside a call"
FOLDED = "a page was folded"
FAULT = "an I/O point failed"
INTERRUPTED = "a call was interrupted, and its client went on"
IO = "an I/O point was passed"


class Violation(Exception):  # noqa: N818 - what a store did, not an error of a caller
    """A store did something else than its laws say.

    Attributes:
        expected: What the law asks for.
        actual: What was found.
        events: Which events were lost or doubled, in words; empty where that is not known.
    """

    def __init__(self, expected: str, actual: str, events: str = "") -> None:
        super().__init__(expected, actual, events)
        self.expected = expected
        self.actual = actual
        self.events = events


class Stopped(BaseException):
    """The kit was told to stop."""


class Fault(ConnectionError):  # noqa: N818 - what an author's driver would raise
    """What an I/O point that fails raises: a connection that is lost, as far as anyone knows."""


class Interrupted(BaseException):
    """What a task that is cancelled, or Ctrl-C, raises in the middle of a call: once."""


class Killed(BaseException):
    """A client is dead: whatever it still tries fails."""


class Hangs(BaseException):
    """A call does not come back. No store and no check shall take it for an answer.

    Attributes:
        stack: Where in the author's code it hangs, if that is known.
    """

    def __init__(self, stack: str = "") -> None:
        super().__init__(stack)
        self.stack = stack


class Waits:
    """What stands for an answer while a call waits for another client."""


@attrs.define
class Step:
    """One call to a store, or another thing that happened.

    Attributes:
        who: Name of the client.
        what: The method, or what happened.
        given: Its argument, if that tells something.
        answer: What it returned or raised; None: nothing worth telling.
    """

    who: str
    what: str
    given: object = None
    answer: object = None

    @property
    def has_failed(self) -> bool:
        """Whether it raised, or has no answer yet."""
        return isinstance(self.answer, BaseException | Waits)

    def __str__(self) -> str:
        answer = _answer(self.answer)
        return f"{self.who}.{self.what}{_given(self.given)}" + (f" -> {answer}" if answer else "")


@attrs.define
class Record:
    """The steps of a case so far, and which of the dangers it has met.

    Attributes:
        steps: What happened, in order.
        facts: What was met: the witnesses of the checks.
        pending: The call that is not over, if any.
        wrote_stats: Whether the stats may have changed since they were last looked at.
        is_stopped: Whether the next call shall raise `Stopped`.
        calls: How many calls were begun.
        waiting: The calls that wait for another client, by the name of their own.
        has_hung: Whether a call has not come back.
    """

    steps: list[Step] = attrs.field(factory=list)
    facts: set[str] = attrs.field(factory=set)
    pending: Step | None = None
    wrote_stats: bool = False
    is_stopped: bool = False
    calls: int = 0
    waiting: dict[str, Step] = attrs.field(factory=dict)
    has_hung: bool = False

    def do(self, who: str, what: str, function: Callable[[], T]) -> T:
        """Return what *function* does to a site or a client, and write it down if it goes wrong."""
        self.calls += 1
        step = Step(who, what)
        outer, self.pending = self.pending, step
        try:
            return function()
        except (Exception, Hangs) as error:
            self._failed(step, error)
            raise
        finally:
            if not self.is_stopped:
                self.pending = outer

    def call(self, who: str, what: str, given: object, function: Callable[[], T]) -> T:
        """Return what *function* returns, and write down what it did."""
        if self.is_stopped:
            raise Stopped
        self.calls += 1
        if self.calls > MOST_CALLS:
            raise Violation("an end", f"{MOST_CALLS:,} calls and no end")
        step = Step(who, what, given)
        outer, self.pending = self.pending, step
        try:
            result = step.answer = function()
        except Violation:
            raise  # somebody looked in the middle of the call: it is not the store's answer
        except (Exception, Interrupted, Killed, Hangs) as error:
            self._failed(step, error)
            raise
        finally:
            if not self.is_stopped:
                self.pending = outer
        self.steps.append(step)
        if what == "commit" and isinstance(given, Commit):
            self.facts.add(FOLDED)
            self.wrote_stats = True
        elif what in WRITES:
            self.wrote_stats = True
        return result

    def _failed(self, step: Step, error: BaseException) -> None:
        step.answer = error
        self.steps.append(step)
        if isinstance(error, CursorConflictError):
            self.facts.add(CONFLICT)
        elif isinstance(error, StoreBusyError):
            self.facts.add(REFUSED)
        elif isinstance(error, Hangs):
            self.has_hung = True

    def waits(self) -> None:
        """Write down that the call that was begun last waits for another client."""
        step = next(reversed(self.waiting.values()))
        self.steps.append(attrs.evolve(step, answer=Waits()))

    def hangs(self) -> None:
        """Write down that what waits, or is not over, never comes back."""
        self.has_hung = True
        for step in self.waiting.values():
            self.steps.append(attrs.evolve(step, answer=Hangs()))
        if self.pending is not None:
            self.steps.append(attrs.evolve(self.pending, answer=Hangs()))

    def note(self, who: str, what: str) -> None:
        """Write down what happened without a call."""
        self.steps.append(Step(who, what))


def label(event: Event) -> str:
    """Return what the kit calls an event: it stands in the note."""
    return event.note or f"{event.kind} of {event.skill_id}"


def labels(events: Iterable[Event]) -> str:
    """Return what the kit calls some events; of many the first and the last."""
    found = list(map(label, events))
    if len(found) > MOST_LABELS:
        return f"{found[0]} to {found[-1]}, {len(found):,} events"
    return ", ".join(found)


def _given(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, Commit):
        return " of what was parked" if value.place is None else f" up to {value.place.position}"
    if isinstance(value, Place):
        return f" after {value.position}"
    if isinstance(value, tuple):
        events = [one for one in value if isinstance(one, Event)]
        return f" {labels(events)}" if len(events) == len(value) else f" {len(value)} things"
    return f" {value}"


def _answer(value: object) -> str:
    """Return an answer in words; empty where the answer is what anybody expects."""
    if isinstance(value, Killed):
        return "dies inside"
    if isinstance(value, Waits):
        return "waits"
    if isinstance(value, Hangs):
        return "never comes back"
    if isinstance(value, Interrupted):
        return "is interrupted"
    if isinstance(value, Exception):
        return f"{type(value).__name__}: {value}" if str(value) else type(value).__name__
    if isinstance(value, Page):
        return f"[{labels(recorded.event for recorded in value.events)}]"
    if isinstance(value, TalliedPage):
        return f"[{value.count} events]"
    if isinstance(value, Cursor):
        return "at the start" if value.place is None else f"at {value.place.position}"
    if isinstance(value, Segment):
        return f"{value.events} events up to {value.last} made {value.records}"
    if isinstance(value, Appended):
        return f"{value.new} new"
    if isinstance(value, Comparison):
        return f"{len(value.differences)} differences"
    return str(value) if isinstance(value, str | int) else ""

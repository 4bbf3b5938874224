"""The scheduler: it decides who moves next, who dies, and what happens inside a call."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, wait
from typing import Any

import attrs

from skillstat_agg.testing._handles import Actor, Handle
from skillstat_agg.testing._steps import (
    DEATH,
    DEATH_INSIDE,
    FAULT,
    INTERRUPTED,
    MOVED_INSIDE,
    REFUSED,
    Fault,
    Hangs,
    Interrupted,
    Killed,
    Record,
)
from skillstat_agg.testing._trails import Trail


@attrs.define(eq=False)
class _Part:
    """An actor's part in a play."""

    actor: Actor[Any]
    answer: Future[object] | None = None
    is_inside: bool = False
    is_in_the_middle: bool = False
    has_failed: bool = False
    lock: threading.Lock = attrs.field(factory=threading.Lock)

    @property
    def can_move(self) -> bool:
        return not self.is_inside and (self.answer is None or self.answer.done())


class Play:
    """Actors on the way from their first call to their last.

    Args:
        actors: Who plays.
        trail: Makes the choices.
        record: Where they are noted.
        switches: How often an actor that could go on may be left for another.
        deaths: How many actors may die, before or after any call, or inside one.
        faults: How many I/O points may fail.
        interrupts: How many calls may be interrupted; their clients live on.
        inside: How often another may make a move inside a call.
        into: The methods inside which others may move, I/O may fail and clients may die.
        patience_seconds: How long a call is waited for before somebody else may move.
        hangs_after_seconds: How long everybody may wait for everybody.
        look: Called after each move, and wherever a call can be looked into.
    """

    def __init__(
        self,
        actors: Sequence[Actor[Any]],
        *,
        trail: Trail,
        record: Record,
        switches: int,
        deaths: int,
        faults: int,
        interrupts: int,
        inside: int,
        into: Collection[str],
        patience_seconds: float,
        hangs_after_seconds: float,
        look: Any,
    ) -> None:
        self._parts = [_Part(actor) for actor in actors]
        self._trail = trail
        self._record = record
        self._switches = switches
        self._deaths = deaths
        self._faults = faults
        self._interrupts = interrupts
        self._inside = inside
        self._into = into
        self._patience_seconds = patience_seconds
        self._hangs_after_seconds = hangs_after_seconds
        self._look = look
        self._error: Exception | None = None

    def run(self) -> None:
        """Let everybody play to the end."""
        current: _Part | None = None
        try:
            for part in list(self._parts):
                self._move(part)  # up to its first call: nothing has happened yet
            while self._parts and self._error is None:
                current = self._next(current)
                if current is not None:
                    self._move(current)
                    self._let_go()
                    self._look()
        except Exception as error:
            # A store inside whose call another failed may have made its own of that error.
            if self._error is not None and error is not self._error:
                raise self._error from error
            raise
        finally:
            for part in self._parts:
                part.actor.moves.close()
        if self._error is not None:
            raise self._error

    def _next(self, current: _Part | None) -> _Part | None:
        """Choose who moves; None: somebody died instead."""
        free = [part for part in self._parts if part.can_move]
        if not free:
            self._wait()
            return None
        goes_on = current in free
        ways = [current] if goes_on else []
        if not goes_on or self._switches > 0:
            ways += [part for part in free if part is not current]
        mortal = [part for part in ways if part is not None] if self._deaths > 0 else []
        choice = self._trail.choose(len(ways) + len(mortal))
        if choice >= len(ways):
            self._die(mortal[choice - len(ways)])
            return None
        self._switches -= goes_on and choice > 0
        return ways[choice]

    def _wait(self) -> None:
        """Wait until somebody who is waiting has an answer."""
        answers = [part.answer for part in self._parts if part.answer is not None]
        wait(answers, timeout=self._hangs_after_seconds, return_when="FIRST_COMPLETED")
        if not any(answer.done() for answer in answers):
            self._record.hangs()
            waiting = [part for part in self._parts if part.answer is not None]
            raise Hangs("".join(part.actor.handle.stack() for part in waiting))

    def _let_go(self) -> None:
        """Give those who wait time to notice that they need not wait any longer."""
        answers = [part.answer for part in self._parts if part.answer is not None]
        if answers:
            wait(answers, timeout=self._patience_seconds, return_when="FIRST_COMPLETED")

    def _move(self, part: _Part) -> None:
        """Let an actor move up to its next call."""
        part.is_inside = True
        try:
            part.answer = part.actor.moves.send(None)
            if part.answer is not None:
                if self._is_over(part, part.answer):
                    part.answer = part.actor.moves.send(None)
                elif self._patience_seconds >= self._hangs_after_seconds:
                    self._record.hangs()
                    raise Hangs(part.actor.handle.stack())
                else:
                    self._record.facts.add(REFUSED)
                    self._record.waits()
        except StopIteration:
            self._parts.remove(part)
        except Killed:
            self._record.facts.add(DEATH_INSIDE)
            self._parts.remove(part)
            part.actor.handle.close()
        except Exception as error:
            self._parts.remove(part)
            # What its I/O did to a call is its store's to say, and its caller's to live with.
            if not part.has_failed:
                self._error = self._error or error
                raise
        finally:
            part.is_inside = False

    def _is_over(self, part: _Part, answer: Future[object]) -> bool:
        """Return whether a call is over; if not, it waits for another client."""
        while True:
            wait([answer], timeout=self._patience_seconds)
            with part.lock:
                if answer.done():
                    return True
                if not part.is_in_the_middle:
                    part.is_inside = False
                    return False

    def _die(self, part: _Part) -> None:
        """Let an actor die before its next call, which is after its last."""
        self._deaths -= 1
        self._record.facts.add(DEATH)
        self._record.note(part.actor.handle.name, "dies")
        self._parts.remove(part)
        part.actor.moves.close()
        part.actor.handle.close()
        self._record.wrote_stats = True
        self._look()

    def at_io(self, handle: Handle) -> None:
        """Let others move, or let the client die, in the middle of its call."""
        part = next((part for part in self._parts if part.actor.handle is handle), None)
        if part is None or self._error is not None:
            return
        with part.lock:
            if not part.is_inside or self._pending(part) not in self._into:
                return
            part.is_in_the_middle = True
        try:
            self._in_the_middle(part)
        finally:
            part.is_in_the_middle = False

    def _in_the_middle(self, part: _Part) -> None:
        while True:
            others = [part for part in self._parts if part.can_move] if self._inside > 0 else []
            mishaps: list[Callable[[_Part], None]] = []
            mishaps += [self._die_inside] if self._deaths > 0 else []
            mishaps += [self._fail] if self._faults > 0 else []
            mishaps += [self._interrupt] if self._interrupts > 0 else []
            choice = self._trail.choose(1 + len(others) + len(mishaps))
            if choice == 0:
                return
            if choice > len(others):
                mishaps[choice - len(others) - 1](part)
            self._inside -= 1
            self._record.facts.add(MOVED_INSIDE)
            self._record.note(part.actor.handle.name, f"{self._pending(part)} is in the middle")
            self._move(others[choice - 1])
            self._look()

    def _die_inside(self, part: _Part) -> None:
        self._deaths -= 1
        part.actor.handle.is_dying = True
        self._record.wrote_stats = True
        raise Killed

    def _fail(self, part: _Part) -> None:
        self._faults -= 1
        self._record.wrote_stats = True
        self._record.facts.add(FAULT)
        self._record.note(part.actor.handle.name, f"I/O fails inside {self._pending(part)}")
        part.has_failed = True
        raise Fault("the connection was lost")

    def _interrupt(self, part: _Part) -> None:
        self._interrupts -= 1
        self._record.wrote_stats = True
        self._record.facts.add(INTERRUPTED)
        self._record.note(part.actor.handle.name, f"{self._pending(part)} is interrupted")
        raise Interrupted

    def _pending(self, part: _Part) -> str:
        """Return the method that a client is inside of."""
        pending = self._record.waiting.get(part.actor.handle.name, self._record.pending)
        return pending.what if pending is not None else "call"

"""The log: an event store in memory."""

from __future__ import annotations

import random
import threading
import uuid
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from skillstat_agg._appending import checked_events, content_digests, unseen_events
from skillstat_agg._buckets import microseconds
from skillstat_agg._events import (
    Event,
    Place,
    Position,
    RecordedEvent,
)
from skillstat_agg._pages import Page, check_bounds
from skillstat_agg._projections import Projection
from skillstat_agg._stores import DAY_AHEAD, Appended
from skillstat_agg.backends._clocks import Clock, utc_now
from skillstat_agg.errors import (
    HistoryChangedError,
    StoreBusyError,
    StoreUnavailableError,
)


class OpenAppend:
    """An append whose events have positions and are not visible yet.

    Made by ``MemoryEventStore.begin``; over with `commit` or `rollback`.
    """

    def __init__(self, log: MemoryEventStore) -> None:
        self._log = log
        self._events: list[RecordedEvent] = []
        self._digests: dict[str, bytes] = {}

    def append(self, events: Iterable[Event], /, *, max_ahead: timedelta = DAY_AHEAD) -> Appended:
        """Give *events* their positions; they stay unseen until `commit`.

        Raises:
            StoreBusyError: If an id is held by another append that is still open: its
                fate is not known, and this store does not wait.
            InvalidEventError, UncountableEventError, EventIdConflictError: As in
                ``EventStore.append``.
        """
        return self._log._allocate(self, events, max_ahead)

    def commit(self) -> None:
        """Make the events visible."""
        self._log._finish(self, self._events, self._digests)

    def rollback(self) -> None:
        """Drop the events; their positions are never given again."""
        self._log._finish(self, (), {})


def _position(recorded: RecordedEvent) -> Position:
    return recorded.position


class MemoryEventStore:
    """An event store in memory, for any number of threads.

    Positions are ``(max(last tick, clock in microseconds), tie)``: tied times are a real
    case, and a clock that steps back does no harm.

    Args:
        clock: Gives ``recorded_at`` and the tick.
        projections: The tables that must be able to count what is appended.
    """

    def __init__(self, *, clock: Clock = utc_now, projections: Iterable[Projection] = ()) -> None:
        self._clock = clock
        self._projections = tuple(projections)
        self._epoch = uuid.uuid4().hex
        self._random = random.SystemRandom()
        self._lock = threading.RLock()
        self._last = (0, -1)
        self._visible: list[RecordedEvent] = []
        self._digests: dict[str, bytes] = {}
        self._open: list[OpenAppend] = []

    def begin(self) -> OpenAppend:
        """Return an append that is held open until it is committed or rolled back."""
        with self._lock:
            self._open.append(OpenAppend(self))
            return self._open[-1]

    def append(self, events: Iterable[Event], /, *, max_ahead: timedelta = DAY_AHEAD) -> Appended:
        """Store *events*: see ``EventStore.append``."""
        given = tuple(events)
        with self._lock:
            opened = self.begin()
            try:
                appended = opened.append(given, max_ahead=max_ahead)
            except BaseException:
                opened.rollback()
                raise
            opened.commit()
            return appended

    def read(self, after: Place | None, /, *, limit: int) -> Page:
        """Return the page after *after*: see ``EventStore.read``."""
        check_bounds(limit=limit)
        with self._lock:
            self._check_same_log(after)
            start = 0 if after is None else self._index_after(after.position)
            end = self._end_of_prefix()
            events = tuple(self._visible[start : min(start + limit, end)])
            return Page(
                epoch=self._epoch,
                events=events,
                frontier=self._visible[end - 1].position if end else None,
                is_last=start + len(events) >= end,
            )

    def _index_after(self, position: Position) -> int:
        return bisect_right(self._visible, position, key=_position)

    def _end_of_prefix(self) -> int:
        """Return how many visible events lie before every open append."""
        firsts = [opened._events[0].position for opened in self._open if opened._events]
        if not firsts:
            return len(self._visible)
        return bisect_left(self._visible, min(firsts), key=_position)

    def _check_same_log(self, place: Place | None) -> None:
        if place is None:
            return
        if place.epoch != self._epoch:
            raise HistoryChangedError(f"epoch {self._epoch} instead of {place.epoch}")
        index = self._index_after(place.position) - 1
        found = self._visible[index] if index >= 0 else None
        if (
            found is None
            or found.position != place.position
            or found.fingerprint != place.fingerprint
        ):
            raise HistoryChangedError(f"another event, or none, stands at {place.position}")

    def _allocate(
        self, opened: OpenAppend, events: Iterable[Event], max_ahead: timedelta
    ) -> Appended:
        self._check_open(opened)
        now = self._clock()
        given = checked_events(events, now=now, max_ahead=max_ahead, projections=self._projections)
        with self._lock:
            ids = content_digests(given)
            for other in self._open:
                if other is not opened and not ids.keys().isdisjoint(other._digests):
                    raise StoreBusyError("an event id is held by an append that is still open")
            known = {
                key: digests_of[key]
                for digests_of in (self._digests, opened._digests)
                for key in ids.keys() & digests_of.keys()
            }
            fresh = unseen_events(given, ids, known)
            for event in fresh:
                opened._events.append(
                    RecordedEvent(
                        position=self._next_position(now),
                        event=event,
                        recorded_at=now,
                        fingerprint=self._random.getrandbits(32),
                    )
                )
            opened._digests.update(ids)
            return Appended(new=len(fresh), position=Position(self._last) if given else None)

    def _check_open(self, opened: OpenAppend) -> None:
        if opened not in self._open:
            raise StoreUnavailableError("this append is over: begin another one")

    def _next_position(self, now: datetime) -> Position:
        tick, tie = self._last
        time = microseconds(now)
        self._last = (time, 0) if time > tick else (tick, tie + 1)
        return Position(self._last)

    def _finish(
        self, opened: OpenAppend, events: Sequence[RecordedEvent], ids: Mapping[str, bytes]
    ) -> None:
        with self._lock:
            self._check_open(opened)
            self._open.remove(opened)
            if events:
                index = self._index_after(events[0].position)
                later = self._visible[index:]
                self._visible[index:] = sorted([*events, *later], key=_position)
            self._digests.update(ids)

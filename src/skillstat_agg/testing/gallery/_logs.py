"""The event store in memory, cut into the steps at which others went wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import attrs

from skillstat_agg._buckets import microseconds
from skillstat_agg._events import Event, Place, Position, RecordedEvent
from skillstat_agg._pages import Page, check_bounds
from skillstat_agg._stores import Appended
from skillstat_agg.backends.memory import MemoryEventStore
from skillstat_agg.backends.memory._database import Pending

MILLISECOND = 1_000


class Log(MemoryEventStore):
    """The event store in memory, with a read in three steps; by itself it keeps every law."""

    def read(self, after: Place | None, /, *, limit: int) -> Page:
        """Return the first *limit* of the rows that can be read and were not."""
        check_bounds(limit=limit)
        with self._database._lock:
            self._check_same_log(after)
            rows = self._readable(after)
            rest = self._after(rows, after)
            return self._page(rows, rest, limit)

    def _readable(self, after: Place | None) -> Sequence[RecordedEvent]:
        """Return what can be read, in order, at least from *after* on: up to the frontier."""
        return self._database._visible[: self._end_of_prefix()]

    def _after(self, rows: Sequence[RecordedEvent], after: Place | None) -> Sequence[RecordedEvent]:
        """Return those of *rows* that come after *after*."""
        return [row for row in rows if after is None or row.position > after.position]

    def _page(
        self, rows: Sequence[RecordedEvent], rest: Sequence[RecordedEvent], limit: int
    ) -> Page:
        """Return a page of *rest*, which is the end of *rows*."""
        return self._page_of(rows, rest[:limit], is_last=len(rest) <= limit)

    def _page_of(
        self, rows: Sequence[RecordedEvent], events: Sequence[RecordedEvent], *, is_last: bool
    ) -> Page:
        return Page(
            epoch=self._database._epoch,
            events=tuple(events),
            frontier=rows[-1].position if rows else None,
            is_last=is_last,
        )

    def _unseen(self) -> list[Position]:
        """Return the positions that appends which are open have been given."""
        return [row.position for pending in self._database._open for row in pending.events]


class NumberedLog(Log):
    """A log whose positions are the numbers of a sequence, ``0-0``, ``0-1``, ``0-2``."""

    def _next_position(self, now: datetime) -> Position:
        self._database._last = (0, self._database._last[1] + 1)
        return Position(self._database._last)


class TimedLog(Log):
    """A log whose positions are times in microseconds, with a number behind them.

    No two appends share a time. Of one append the first five rows take a millisecond each,
    and the others come in one moment: a store that takes the time for the place fails late.
    """

    SLOW_ROWS = 5
    APART = 0

    def _allocate(
        self, pending: Pending, events: Iterable[Event], max_ahead: timedelta
    ) -> Appended:
        now = max(self._database._last[0] + MILLISECOND, microseconds(self._clock()))
        self._database._last = (now // MILLISECOND * MILLISECOND, 0)
        return super()._allocate(pending, events, max_ahead)

    def _next_position(self, now: datetime) -> Position:
        time, rows = self._database._last
        apart = MILLISECOND if rows <= self.SLOW_ROWS else self.APART
        self._database._last = (time + apart, rows + 1)
        return Position(self._database._last)


class RewritingLog(Log):
    """A log that stores something else than it was given: see ``_rewritten``."""

    def _allocate(
        self, pending: Pending, events: Iterable[Event], max_ahead: timedelta
    ) -> Appended:
        appended = super()._allocate(pending, events, max_ahead)
        pending.events[:] = [
            attrs.evolve(row, event=self._rewritten(row.event, row.recorded_at))
            for row in pending.events
        ]
        return appended

    def _rewritten(self, event: Event, now: datetime) -> Event:
        raise NotImplementedError


def number(row: RecordedEvent) -> int:
    """Return the number of a row in a `NumberedLog`."""
    return row.position[1]


def time(row: RecordedEvent) -> int:
    """Return the time of a row in a `TimedLog`, in microseconds."""
    return row.position[0]


def known_in(events: Iterable[Event], known: Mapping[str, bytes]) -> list[tuple[str, Event]]:
    """Return those of *events* whose id is known, with it."""
    return [
        (event.event_id, event)
        for event in events
        if event.event_id is not None and event.event_id in known
    ]

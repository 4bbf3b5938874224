"""Event stores that are broken on purpose, each a documented anti-pattern.

`drain` runs over them unchanged and counts wrongly: a test that lets one of them pass would
let the same mistake pass in a real adapter. Each docstring names the anti-pattern, where it
comes from, and the laws of `EventStore` that it breaks.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from datetime import timedelta

import attrs

from skillstat_agg._appending import checked_events
from skillstat_agg._buckets import microseconds
from skillstat_agg._events import Event, Place, Position, RecordedEvent
from skillstat_agg._pages import Page
from skillstat_agg._stores import DAY_AHEAD, Appended
from skillstat_agg.backends._clocks import Clock, utc_now

_EPOCH = "times"


class TimestampAfter:
    """Reads what was created after the cursor's time: ``created > cursor``.

    The anti-pattern: a time is taken for a place. What shares its time with the last event
    of a page but did not fit into the page is never read; nor is what becomes visible after
    a later event was read.

    From: openclaw/clawhub, pull request 64, as it was merged (69e1e5c5).

    Breaks: total_order, since tied events share a place; stable_prefix, since a transaction
    that commits late appears before the cursor.

    Args:
        rows: What is visible, in any order; the ``recorded_at`` of a row, not before 1970,
            is its creation time, its position is ignored. The list may grow under the
            store, also by rows of an earlier time: commits that come late.
        clock: Gives the creation time of what is appended.
    """

    def __init__(self, rows: list[RecordedEvent], *, clock: Clock = utc_now) -> None:
        self._rows = rows
        self._clock = clock

    def append(self, events: Iterable[Event], /, *, max_ahead: timedelta = DAY_AHEAD) -> Appended:
        """Insert rows that are created now; event ids are not looked at."""
        return _insert(self._rows, events, self._clock, max_ahead)

    def read(self, after: Place | None, /, *, limit: int) -> Page:
        """Return the rows of later times; a short page is taken for the end."""
        since = -1 if after is None else after.position[0]
        rows = [row for row in _by_time(self._rows) if _tick(row) > since]
        return _page(
            [
                attrs.evolve(row, position=Position((_tick(row), index)))
                for index, row in enumerate(rows[:limit])
            ],
            limit,
        )


class TimestampFrom:
    """Reads from the cursor's time on: ``created >= cursor``, so that no tie is lost.

    The anti-pattern: a boundary that is read again is counted again. Each page, and each
    run over an idle log, repeats the last time; where as many events as fit a page share
    one time, every page is that page, for ever. Bound a `drain` over it by ``max_events``.

    From: the cure that a reviewer proposed in openclaw/clawhub, pull request 64.

    Breaks: total_order, since an event has a new position each time it is read; progress;
    stable_prefix, as in `TimestampAfter`.

    Args:
        rows: As in `TimestampAfter`.
        clock: As in `TimestampAfter`.
    """

    def __init__(self, rows: list[RecordedEvent], *, clock: Clock = utc_now) -> None:
        self._rows = rows
        self._clock = clock

    def append(self, events: Iterable[Event], /, *, max_ahead: timedelta = DAY_AHEAD) -> Appended:
        """Insert rows that are created now; event ids are not looked at."""
        return _insert(self._rows, events, self._clock, max_ahead)

    def read(self, after: Place | None, /, *, limit: int) -> Page:
        """Return the rows of the same and later times; a short page is taken for the end."""
        reads, since, _ = (0, -1, 0) if after is None else after.position
        rows = [row for row in _by_time(self._rows) if _tick(row) >= since]
        return _page(
            [
                attrs.evolve(row, position=Position((reads + 1, _tick(row), index)))
                for index, row in enumerate(rows[:limit])
            ],
            limit,
        )


def _by_time(rows: Iterable[RecordedEvent]) -> list[RecordedEvent]:
    """Return *rows* as an index on the creation time has them."""
    return sorted(rows, key=_tick)


def _tick(row: RecordedEvent) -> int:
    return microseconds(row.recorded_at)


def _page(rows: Sequence[RecordedEvent], limit: int) -> Page:
    return Page(
        epoch=_EPOCH,
        events=tuple(rows),
        frontier=rows[-1].position if rows else None,
        is_last=len(rows) < limit,
    )


def _insert(
    rows: list[RecordedEvent], events: Iterable[Event], clock: Clock, max_ahead: timedelta
) -> Appended:
    now = clock()
    given = checked_events(events, now=now, max_ahead=max_ahead)
    for event in given:
        rows.append(
            RecordedEvent(
                position=Position((len(rows),)),
                event=event,
                recorded_at=now,
                fingerprint=random.getrandbits(32),
            )
        )
    return Appended(new=len(given), position=rows[-1].position if given else None)

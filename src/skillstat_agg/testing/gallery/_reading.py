"""Reads that do not begin behind the place they are given, or do not say truly where they end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from skillstat_agg._events import Event, Place, Position, RecordedEvent
from skillstat_agg._pages import Page
from skillstat_agg._stores import Appended
from skillstat_agg.backends.memory._database import Pending
from skillstat_agg.testing.gallery._frame import BrokenStore, broken, events_of
from skillstat_agg.testing.gallery._logs import Log


class PartByPart(Log):
    """``WHERE time >= cursor.time AND number > cursor.number``."""

    def _after(self, rows: Sequence[RecordedEvent], after: Place | None) -> Sequence[RecordedEvent]:
        if after is None:
            return rows
        time, number = after.position
        return [row for row in rows if row.position[0] >= time and row.position[1] > number]


class FullIsNotLast(Log):
    """``is_last = len(events) < limit``."""

    def _page(
        self, rows: Sequence[RecordedEvent], rest: Sequence[RecordedEvent], limit: int
    ) -> Page:
        return self._page_of(rows, rest[:limit], is_last=len(rest) < limit)


class NamesTheAppend(Log):
    """``WHERE append > cursor.append``; where a page has cut one, the client knows where."""

    _end: Position = Position((0, 0))

    def _allocate(
        self, pending: Pending, events: Iterable[Event], max_ahead: timedelta
    ) -> Appended:
        append, _ = self._database._last
        self._database._last = (append + 1, 0)
        return super()._allocate(pending, events, max_ahead)

    def _next_position(self, now: datetime) -> Position:
        append, row = self._database._last
        self._database._last = (append, row + 1)
        return Position(self._database._last)

    def _after(self, rows: Sequence[RecordedEvent], after: Place | None) -> Sequence[RecordedEvent]:
        if after is None:
            return rows
        append = after.position[0]
        if self._end[0] == append:
            return [row for row in rows if row.position > self._end]
        return [row for row in rows if row.position[0] > append]

    def _page(
        self, rows: Sequence[RecordedEvent], rest: Sequence[RecordedEvent], limit: int
    ) -> Page:
        page = super()._page(rows, rest, limit)
        if page.events:
            self._end = page.events[-1].position
        return page


class GoesOn(Log):
    """Goes on behind what it has returned, where that is further than the place."""

    _returned: Position = Position((0,))

    def _after(self, rows: Sequence[RecordedEvent], after: Place | None) -> Sequence[RecordedEvent]:
        rest = super()._after(rows, after)
        return rest if after is None else [row for row in rest if row.position > self._returned]

    def _page(
        self, rows: Sequence[RecordedEvent], rest: Sequence[RecordedEvent], limit: int
    ) -> Page:
        page = super()._page(rows, rest, limit)
        if page.events:
            self._returned = page.events[-1].position
        return page


class LeavesResultOpen(Log):
    """Goes on with the rows of its last query, as long as there are any."""

    _left: Sequence[RecordedEvent] = ()

    def _after(self, rows: Sequence[RecordedEvent], after: Place | None) -> Sequence[RecordedEvent]:
        return self._left or super()._after(rows, after)

    def _page(
        self, rows: Sequence[RecordedEvent], rest: Sequence[RecordedEvent], limit: int
    ) -> Page:
        found, self._left = rest[:limit], rest[limit:]
        return self._page_of(rows, found, is_last=not found or found[-1] == rows[-1])


BEHIND_THE_PLACE = "begin behind the place that read() is given, each time"

STORES = (
    BrokenStore(
        name="position compared part by part",
        mistake="Compares time with time and number with number. Numbers begin anew with each"
        " time: what is later, and has a smaller number, is never read.",
        reported=("no public report was found",),
        row="P4",
        breaks=(
            "total_order",
            "immutable",
            "progress",
            "stable_prefix",
            "compare_and_set",
            "forgotten",
            "expired",
        ),
        killer="TIE-01",
        remedy="compare the position as a whole: (time, number) > (?, ?), or time > ? OR time = ?"
        " AND number > ?",
        harness=broken(events=events_of(PartByPart)),
    ),
    BrokenStore(
        name="a full page is not the last",
        mistake="Says that more follows wherever a page is full. A log that ends with a page is"
        " said to go on behind its frontier, and every reader comes once more.",
        reported=("Convex docs database/pagination.mdx",),
        row="B3",
        breaks=("progress", "total_order"),
        killer="TIE-04",
        remedy="ask for one event more than the limit: whether it is there says what follows",
        harness=broken(events=events_of(FullIsNotLast)),
    ),
    BrokenStore(
        name="a cursor that names an append",
        mistake="A place names an append, as all its events became visible together, and a client"
        " remembers how far into one its pages went. A reader that takes less than a page, or"
        " another one, goes on behind the append.",
        reported=("NuGet/NuGet.Services.Metadata#150",),
        row="O4",
        breaks=(
            "progress",
            "exact",
            "compare_and_set",
            "unknown_outcome",
            "atomic",
            "append_once",
            "same_log",
            "forgotten",
            "quarantined",
        ),
        killer="TIE-05",
        remedy="give every event a position of its own, and compare it as a whole",
        harness=broken(events=events_of(NamesTheAppend)),
    ),
    BrokenStore(
        name="goes on behind what it returned",
        mistake="What was returned is taken for folded. A worker that takes a part of a page, or"
        " loses a race, is not given the rest again.",
        reported=("no public report was found",),
        row="B10",
        breaks=(
            "exact",
            "progress",
            "immutable",
            "forgotten",
            "compare_and_set",
            "quarantined",
            "append_once",
        ),
        killer="CUT-03",
        remedy=BEHIND_THE_PLACE,
        harness=broken(events=events_of(GoesOn)),
    ),
    BrokenStore(
        name="result left open",
        mistake="Keeps the result of a query open, a server-side cursor, and takes the next page"
        " from it: the place is only looked at when it is empty. A page whose commit did not land"
        " is not read again.",
        reported=("no public report was found",),
        row="B10",
        breaks=(
            "unknown_outcome",
            "progress",
            "append_once",
            "exact",
            "immutable",
            "compare_and_set",
            "atomic",
            "forgotten",
        ),
        killer="UNKNOWN-02",
        remedy=BEHIND_THE_PLACE,
        harness=broken(events=events_of(LeavesResultOpen)),
    ),
)

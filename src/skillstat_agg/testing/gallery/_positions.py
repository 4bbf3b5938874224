"""Calculating with positions, and keeping them as something else than whole numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import attrs

from skillstat_agg._events import Event, Place, Position, RecordedEvent
from skillstat_agg._pages import Page
from skillstat_agg._stores import Appended
from skillstat_agg.backends.memory._database import Pending
from skillstat_agg.testing.gallery._frame import BrokenStore, broken, events_of
from skillstat_agg.testing.gallery._logs import NumberedLog, number


class TextCursor(NumberedLog):
    """``WHERE number > cursor``, and both are text of two digits, or of three one day."""

    def _after(self, rows: Sequence[RecordedEvent], after: Place | None) -> Sequence[RecordedEvent]:
        if after is None:
            return rows
        return [row for row in rows if f"{number(row):02}" > f"{after.position[1]:02}"]


class FloatCursor(NumberedLog):
    """The cursor went through a format whose only numbers are floats."""

    FIRST = 2**53 - 50

    def _next_position(self, now: datetime) -> Position:
        number = max(self.FIRST, self._database._last[1] + 1)
        self._database._last = (0, number)
        return Position(self._database._last)

    def _after(self, rows: Sequence[RecordedEvent], after: Place | None) -> Sequence[RecordedEvent]:
        return [
            row for row in rows if after is None or float(number(row)) > float(after.position[1])
        ]


class CountedPositions(NumberedLog):
    """The position of an event is that of the cursor, plus its place in the page."""

    def _after(self, rows: Sequence[RecordedEvent], after: Place | None) -> Sequence[RecordedEvent]:
        start = 0 if after is None else after.position[1] + 1
        return [
            attrs.evolve(row, position=Position((0, start + index)))
            for index, row in enumerate(super()._after(rows, after))
        ]


class ShortIsLast(NumberedLog):
    """``WHERE number > cursor AND number <= cursor + limit``; a short page is the last."""

    def _page(
        self, rows: Sequence[RecordedEvent], rest: Sequence[RecordedEvent], limit: int
    ) -> Page:
        cursor = number(rows[-len(rest) - 1]) if len(rest) < len(rows) else -1
        found = [row for row in rest if number(row) <= cursor + limit]
        return self._page_of(rows, found, is_last=len(found) < limit or found[-1] is rest[-1])


class EmptyIsEnd(NumberedLog):
    """The same; after an empty page it goes on from the newest event."""

    def _page(
        self, rows: Sequence[RecordedEvent], rest: Sequence[RecordedEvent], limit: int
    ) -> Page:
        cursor = number(rows[-len(rest) - 1]) if len(rest) < len(rows) else -1
        found = [row for row in rest if number(row) <= cursor + limit] or rest[-1:]
        return self._page_of(rows, found, is_last=found[-1:] == rest[-1:])


class LargestPlusOne(NumberedLog):
    """``INSERT ... SELECT max(number) + 1``."""

    def _allocate(
        self, pending: Pending, events: Iterable[Event], max_ahead: timedelta
    ) -> Appended:
        seen = [*self._database._visible, *pending.events]
        self._database._last = (0, max(map(number, seen), default=-1))
        return super()._allocate(pending, events, max_ahead)


NO_ARITHMETIC = "never calculate with positions: read what stands behind the cursor"

STORES = (
    BrokenStore(
        name="positions compared as text",
        mistake="Keeps positions as text, padded to a length that was enough. '99' comes after"
        " '100', so what follows is never read.",
        reported=("no public report was found",),
        row="P4",
        breaks=("total_order", "exact"),
        killer="TAIL-01",
        remedy="compare positions as numbers, each part for itself",
        harness=broken(events=events_of(TextCursor)),
    ),
    BrokenStore(
        name="positions as floats",
        mistake="Lets the cursor pass through JSON, or another format whose numbers are floats."
        " From 2^53 on two neighbours are one number.",
        reported=("enviodev/hyperindex#1031", "DonaldMurillo/gofastr#382"),
        row="N2",
        breaks=("total_order",),
        killer="TAIL-01",
        remedy="keep positions as integers end to end, and as text in JSON",
        harness=broken(events=events_of(FloatCursor)),
    ),
    BrokenStore(
        name="positions by counting",
        mistake="Takes the cursor plus the place in the page for an event's position. Over a"
        " hole the cursor falls behind what was read.",
        reported=("commanded/eventstore#297", "commanded/eventstore#238"),
        row="B9",
        breaks=("progress", "stable_prefix", "immutable"),
        killer="LATE-05",
        remedy=NO_ARITHMETIC,
        harness=broken(events=events_of(CountedPositions)),
    ),
    BrokenStore(
        name="a short page is the last",
        mistake="Takes the next numbers, as many as were asked for, and says that it was the"
        " last page if fewer are there. Behind a hole nothing is ever read.",
        reported=(
            "Convex docs database/pagination.mdx",
            "Eventuous/eventuous#554",
            "kurrent-io/KurrentDB#2001",
        ),
        row="B1, B3",
        breaks=("progress",),
        killer="LATE-05",
        remedy="ask for one event more than the limit: whether it is there says what follows",
        harness=broken(events=events_of(ShortIsLast)),
    ),
    BrokenStore(
        name="an empty page is the end",
        mistake="Takes the next numbers, as many as were asked for; if none of them is there, it"
        " goes on with the newest event.",
        reported=("kurrent-io/KurrentDB#4990", "kurrent-io/KurrentDB#4991"),
        row="B2",
        breaks=("progress", "stable_prefix"),
        killer="LATE-05",
        remedy="move only over what was read",
        harness=broken(events=events_of(EmptyIsEnd)),
    ),
    BrokenStore(
        name="largest number plus one",
        mistake="Gives the largest number that it can see, plus 1. Two appends that are open at"
        " the same time get the same one, and the second is never read.",
        reported=("no public report was found",),
        row="L12",
        breaks=("total_order", "stable_prefix"),
        killer="LATE-03",
        remedy="let the database give each number once: a sequence, AUTOINCREMENT, a counter row",
        harness=broken(events=events_of(LargestPlusOne)),
    ),
)

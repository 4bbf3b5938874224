"""Times taken for places: what shares its time with another event is lost, doubled or stuck."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from skillstat_agg._buckets import microseconds
from skillstat_agg._events import Place, Position, RecordedEvent
from skillstat_agg._pages import Page
from skillstat_agg.testing.gallery._frame import BrokenStore, broken, events_of
from skillstat_agg.testing.gallery._logs import MILLISECOND, Log, TimedLog, time


class LaterTimes(TimedLog):
    """``WHERE time > cursor.time``."""

    def _after(self, rows: Sequence[RecordedEvent], after: Place | None) -> Sequence[RecordedEvent]:
        return [row for row in rows if after is None or time(row) > after.position[0]]


class SameAndLaterTimes(TimedLog):
    """``WHERE time >= cursor.time``, where the page has cut a group of one time."""

    def _after(self, rows: Sequence[RecordedEvent], after: Place | None) -> Sequence[RecordedEvent]:
        rest = super()._after(rows, after)
        if after is not None and rest and time(rest[0]) == after.position[0]:
            return [row for row in rows if time(row) >= after.position[0]]
        return rest


class WholeGroups(TimedLog):
    """A page ends where a group of one time ends."""

    def _page(
        self, rows: Sequence[RecordedEvent], rest: Sequence[RecordedEvent], limit: int
    ) -> Page:
        page = super()._page(rows, rest, limit)
        if page.is_last:
            return page
        whole = [row for row in page.events if time(row) < time(rest[limit])]
        return self._page_of(rows, whole, is_last=False)


class TiesInAnyOrder(TimedLog):
    """``ORDER BY time LIMIT n``: of one time the database takes the rows that it finds first."""

    def _page(
        self, rows: Sequence[RecordedEvent], rest: Sequence[RecordedEvent], limit: int
    ) -> Page:
        if len(rest) > limit:
            rest = sorted(rest, key=lambda row: (time(row), -row.position[1]))
        return super()._page(rows, rest, limit)


class MillisecondCursor(TimedLog):
    """Rows are microseconds apart; the cursor went through a format with milliseconds."""

    APART = 1

    def _after(self, rows: Sequence[RecordedEvent], after: Place | None) -> Sequence[RecordedEvent]:
        if after is None:
            return rows
        cursor = after.position[0] // MILLISECOND
        return [row for row in rows if time(row) // MILLISECOND > cursor]


class ClockPositions(Log):
    """The position is the clock's time; steps back of up to an hour are bridged."""

    BRIDGED = 3_600_000_000

    def _next_position(self, now: datetime) -> Position:
        time, row = self._database._last
        clock = max(0, microseconds(now))
        if clock < time <= clock + self.BRIDGED:
            clock = time
        self._database._last = (clock, row + 1)
        return Position(self._database._last)


STORES = (
    BrokenStore(
        name="timestamp after",
        mistake="Reads what has a later time than the cursor. What shares the time of the last"
        " event of a page, but had no room in it, is never read.",
        reported=(
            "openclaw/clawhub#64",
            "logstash-plugins/logstash-input-jdbc#313",
            "airbytehq/airbyte#14732",
        ),
        row="O1",
        breaks=("total_order", "progress"),
        killer="TIE-03",
        remedy="give every event a position of its own, such as (time, number), and compare it"
        " as a whole",
        harness=broken(events=events_of(LaterTimes)),
    ),
    BrokenStore(
        name="timestamp from",
        mistake="Reads the cursor's own time again where the page has cut it, so that no tie is"
        " lost. What was folded is read twice; where one time fills a page, it is that page for"
        " ever.",
        reported=(
            "openclaw/clawhub#64",
            "logstash-plugins/logstash-input-jdbc#178",
            "twentyhq/twenty#21083",
        ),
        row="O2, O3",
        breaks=("total_order", "progress"),
        killer="TIE-03",
        remedy="give every event a position of its own: then the next page begins right behind"
        " the last event",
        harness=broken(events=events_of(SameAndLaterTimes)),
    ),
    BrokenStore(
        name="pages of whole groups",
        mistake="Ends a page where the time changes, so that a cursor which is a time can name"
        " its end. A group that is larger than a page is never read.",
        reported=("get-convex/batch-worker:README.md",),
        row="B4",
        breaks=("progress", "total_order"),
        killer="TIE-03",
        remedy="give every event a position of its own, so that a group can be cut anywhere",
        harness=broken(events=events_of(WholeGroups)),
    ),
    BrokenStore(
        name="ties in any order",
        mistake="Sorts by time only. The rows of one time come in another order than their"
        " positions, so the cursor steps over some of them.",
        reported=("airbytehq/airbyte#15535", "airbytehq/airbyte#25727"),
        row="O7",
        breaks=("total_order", "progress"),
        killer="TIE-03",
        remedy="sort by the whole position, in the query itself",
        harness=broken(events=events_of(TiesInAnyOrder)),
    ),
    BrokenStore(
        name="milliseconds for microseconds",
        mistake="The column holds microseconds, the cursor comes back with milliseconds. Rows"
        " of one millisecond cannot be told apart by it.",
        reported=("stella/stella#1763", "internxt/drive-server-wip#1167", "TanStack/db#913"),
        row="N1",
        breaks=("total_order", "progress"),
        killer="TIE-03",
        remedy="carry the stored value exactly, as an integer",
        harness=broken(events=events_of(MillisecondCursor)),
    ),
    BrokenStore(
        name="clock as position",
        mistake="Takes the time of the append for its place. After the clock was set back, new"
        " events stand before the cursor.",
        reported=("mobius-home/mobius#120", "akka/akka-persistence-r2dbc#75"),
        row="V13, V14",
        breaks=("stable_prefix", "total_order"),
        killer="TIE-02",
        remedy="let the database give the positions; or take the larger of the last position"
        " and the clock, under a lock",
        harness=broken(events=events_of(ClockPositions)),
    ),
)

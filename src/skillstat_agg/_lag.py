"""How far a projection is behind its log; import the names from `skillstat_agg` instead.

`skillstat_agg.aio._lag` is its twin for asynchronous stores.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs

from skillstat_agg._commits import Cursor
from skillstat_agg._pages import Backlog, check_bounds
from skillstat_agg._stores import LagStore, StatsStore
from skillstat_agg.errors import HistoryChangedError

MOST_COUNTED = 100_000
"""How far `lag` counts unless it is told."""


@attrs.frozen(kw_only=True)
class Lag:
    """How far a projection is behind its log.

    Attributes:
        cursor: Where the projection stands.
        backlog: How much of the log lies after it.
        limit: How far was counted: a number that is this may be larger in truth.
    """

    cursor: Cursor
    backlog: Backlog
    limit: int

    @property
    def events(self) -> int:
        """How many events can be folded, up to the limit."""
        return self.backlog.events

    @property
    def waiting(self) -> int:
        """How many wait beyond the frontier for appends that are still open, up to the limit."""
        return self.backlog.waiting

    @property
    def is_capped(self) -> bool:
        """Whether one of the two numbers may be larger in truth."""
        return self.limit in (self.events, self.waiting)

    def age(self, now: datetime) -> timedelta | None:
        """Return how long the first event that is not folded has been in the log.

        None: there is none. Never below zero, also where *now* and the clock of the log
        differ.

        Args:
            now: The time, as an aware datetime.
        """
        since = self.backlog.since
        return None if since is None else max(timedelta(0), now - since)

    def __str__(self) -> str:
        events = self._counted(self.events, "to fold")
        return f"{events}, {self._counted(self.waiting, 'beyond the frontier')}"

    def _counted(self, number: int, where: str) -> str:
        more = " or more" if number == self.limit else ""
        return f"{number:,}{more} event{'' if number == 1 and not more else 's'} {where}"


def lag(events: LagStore, stats: StatsStore, *, limit: int = MOST_COUNTED) -> Lag:
    """Return how far a projection is behind its log.

    The numbers are those of one snapshot of the log, for the cursor that comes with them.
    Counting is bounded, so that it is cheap to ask often, also after a long stop.

    Args:
        events: The log.
        stats: The stats of one projection.
        limit: How far to count at most.

    Raises:
        InvalidBoundError: If *limit* is below 1.
        HistoryChangedError: If the log is not the one that was folded so far.
        OpenTransactionError: If a connection is inside a transaction.
    """
    check_bounds(limit=limit)
    while True:
        cursor = stats.cursor()
        try:
            backlog = events.lag(cursor.place, limit=limit)
        except HistoryChangedError:
            # A place that a worker has left meanwhile may be gone: it was pruned.
            if stats.cursor().place == cursor.place:
                raise
        else:
            return Lag(cursor=cursor, backlog=backlog, limit=limit)

"""Waiting for what is not there yet: too short, in the wrong place, or for ever."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from skillstat_agg._events import Place, Position, RecordedEvent
from skillstat_agg.backends.memory import MemoryDatabase
from skillstat_agg.testing.gallery._frame import BrokenStore, broken, events_of
from skillstat_agg.testing.gallery._logs import Log, NumberedLog, number


class WaitsSomePolls(Log):
    """An open append is waited for, three polls long."""

    POLLS = 3

    def __init__(self, database: MemoryDatabase, *, clock: Callable[[], datetime]) -> None:
        super().__init__(database, clock=clock)
        self._polls: Counter[Position] = Counter()

    def _end_of_prefix(self) -> int:
        end, visible = super()._end_of_prefix(), self._database._visible
        if end == len(visible):
            return end
        hole = min(self._unseen())
        self._polls[hole] += 1
        return end if self._polls[hole] <= self.POLLS else len(visible)


class WaitsSomeSeconds(Log):
    """An open append is waited for, ten seconds long."""

    SECONDS = timedelta(seconds=10)

    def __init__(self, database: MemoryDatabase, *, clock: Callable[[], datetime]) -> None:
        super().__init__(database, clock=clock)
        self._since: dict[Position, datetime] = {}

    def _end_of_prefix(self) -> int:
        end, visible = super()._end_of_prefix(), self._database._visible
        if end == len(visible):
            return end
        since = self._since.setdefault(min(self._unseen()), self._clock())
        return end if self._clock() - since <= self.SECONDS else len(visible)


class HolesBetweenRows(Log):
    """The page ends at a hole between two of its rows."""

    def _readable(self, after: Place | None) -> Sequence[RecordedEvent]:
        rows = self._after(self._database._visible, after)
        for index, (one, two) in enumerate(pairwise(rows), start=1):
            if any(one.position < hole < two.position for hole in self._unseen()):
                return rows[:index]
        return rows


class NoHoles(NumberedLog):
    """The numbers must follow upon each other; one may be missing, since an insert may fail."""

    def _end_of_prefix(self) -> int:
        rows = self._database._visible[: super()._end_of_prefix()]
        for index, (one, two) in enumerate(pairwise(rows), start=1):
            if number(two) > number(one) + 2:
                return index
        return len(rows)


STORES = (
    BrokenStore(
        name="waits some polls",
        mistake="Waits for an append that is open, but only three polls long. A transaction"
        " that takes longer is stepped over.",
        reported=("akka/akka-persistence-jdbc#111", "JasperFx/marten#2370"),
        row="V3",
        breaks=("stable_prefix",),
        killer="LATE-04",
        remedy="wait for evidence that nobody can fill the hole any more, not for a while",
        harness=broken(events=events_of(WaitsSomePolls)),
    ),
    BrokenStore(
        name="waits some seconds",
        mistake="Waits for an append that is open, but only ten seconds long. A transaction"
        " that takes longer is stepped over.",
        reported=("AxonIQ/AxonFramework#2958", "JasperFx/marten#2189"),
        row="V3",
        breaks=("stable_prefix",),
        killer="LATE-04",
        remedy="wait for evidence that nobody can fill the hole any more, not for a while",
        harness=broken(events=events_of(WaitsSomeSeconds)),
    ),
    BrokenStore(
        name="looks for holes between rows",
        mistake="Stops at a hole between two rows of the page. The hole right behind the cursor"
        " lies between no two rows, and is stepped over.",
        reported=("JasperFx/marten#4964", "JasperFx/marten#4972"),
        row="V5",
        breaks=("stable_prefix",),
        killer="LATE-02",
        remedy="test from the cursor on, not from the first row of the page",
        harness=broken(events=events_of(HolesBetweenRows)),
    ),
    BrokenStore(
        name="never lets go of a hole",
        mistake="Waits until every number is there. A number that was rolled back never comes,"
        " and nothing behind it is read.",
        reported=("Eventuous/eventuous#588", "JasperFx/marten#2245", "JasperFx/marten#3503"),
        row="V4",
        breaks=("progress",),
        killer="LATE-05",
        remedy="stop only for appends that are open; holes need no filling",
        harness=broken(events=events_of(NoHoles)),
    ),
)

"""Appends that take a call for something else than its events."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import attrs

from skillstat_agg._appending import checked_events
from skillstat_agg._events import Event
from skillstat_agg._stores import DAY_AHEAD, Appended
from skillstat_agg.backends.memory._database import Pending
from skillstat_agg.testing.gallery._frame import BrokenStore, broken, events_of
from skillstat_agg.testing.gallery._logs import Log, known_in


class OneKnownIsARetry(Log):
    """A call with an id that is known is a retry of the whole call."""

    def _allocate(
        self, pending: Pending, events: Iterable[Event], max_ahead: timedelta
    ) -> Appended:
        given = tuple(events)
        retried = [event for _, event in known_in(given, self._database._digests)]
        return super()._allocate(pending, retried or given, max_ahead)


class FirstIdOnly(Log):
    """Whether a call is a retry is asked of its first event."""

    def _allocate(
        self, pending: Pending, events: Iterable[Event], max_ahead: timedelta
    ) -> Appended:
        given = tuple(events)
        known = self._database._digests
        if given and given[0].event_id not in known:
            for event_id, _ in known_in(given, known):
                del known[event_id]
        return super()._allocate(pending, given, max_ahead)


class OneByOne(Log):
    """Each event of a call is committed by itself."""

    def append(self, events: Iterable[Event], /, *, max_ahead: timedelta = DAY_AHEAD) -> Appended:
        """Append one event after the other."""
        whole = Appended(new=0, position=None)
        for event in checked_events(events, now=self._clock(), max_ahead=max_ahead):
            one = super().append([event], max_ahead=max_ahead)
            whole = Appended(new=whole.new + one.new, position=one.position)
        return whole


class CountsRetries(Log):
    """``new`` is the number of events of the call."""

    def _allocate(
        self, pending: Pending, events: Iterable[Event], max_ahead: timedelta
    ) -> Appended:
        given = tuple(events)
        return attrs.evolve(super()._allocate(pending, given, max_ahead), new=len(given))


class ReadsTwice(Log):
    """The events are counted first; a generator is empty afterwards."""

    def append(self, events: Iterable[Event], /, *, max_ahead: timedelta = DAY_AHEAD) -> Appended:
        """Append nothing where there is nothing."""
        if sum(1 for _ in events) == 0:
            return Appended(new=0, position=None)
        return super().append(events, max_ahead=max_ahead)


class IdsFirst(Log):
    """A call is two inserts: one of the events with ids, then one of the others."""

    def _allocate(
        self, pending: Pending, events: Iterable[Event], max_ahead: timedelta
    ) -> Appended:
        given = checked_events(events, now=self._clock(), max_ahead=max_ahead)
        return super()._allocate(pending, sorted(given, key=_has_no_id), max_ahead)


def _has_no_id(event: Event) -> bool:
    return event.event_id is None


class AnyTime(Log):
    """How far ahead an event may lie is not looked at."""

    def _allocate(
        self, pending: Pending, events: Iterable[Event], max_ahead: timedelta
    ) -> Appended:
        return super()._allocate(pending, events, timedelta.max)


STORES = (
    BrokenStore(
        name="one known id makes a retry",
        mistake="Takes a call for a retry if one of its ids is known. The new events beside it"
        " are lost.",
        reported=("sliceworkz/eventstore#166",),
        row="E5",
        breaks=("append_once",),
        killer="APPEND-05",
        remedy="decide for each event by itself",
        harness=broken(events=events_of(OneKnownIsARetry)),
    ),
    BrokenStore(
        name="only the first id of a call",
        mistake="Asks of the first event whether a call is a retry. Old events behind a new one"
        " are stored again.",
        reported=("sliceworkz/eventstore#166",),
        row="E5",
        breaks=("append_once",),
        killer="APPEND-05",
        remedy="decide for each event by itself",
        harness=broken(events=events_of(FirstIdOnly)),
    ),
    BrokenStore(
        name="events committed one by one",
        mistake="Commits each event of a call by itself. A call that is refused at its last event"
        " has stored the others.",
        reported=("NuGet/NuGet.Services.Metadata#150",),
        row="A5, E5",
        breaks=("append_once",),
        killer="APPEND-10",
        remedy="store all events of a call, or none, in one transaction",
        harness=broken(events=events_of(OneByOne)),
    ),
    BrokenStore(
        name="retries counted as new",
        mistake="Says that every event of a call was new.",
        reported=("no public report was found",),
        row="E5",
        breaks=("append_once",),
        killer="APPEND-09",
        remedy="count what was inserted",
        harness=broken(events=events_of(CountsRetries)),
    ),
    BrokenStore(
        name="events iterated over twice",
        mistake="Counts the events before it stores them. A generator is empty the second time,"
        " and nothing is stored.",
        reported=("no public report was found",),
        row="P1",
        breaks=("documented", "append_once"),
        killer="APPEND-14",
        remedy="make a tuple of the events first",
        harness=broken(events=events_of(ReadsTwice)),
    ),
    BrokenStore(
        name="events with ids first",
        mistake="Inserts the events of a call that have ids, since they need a look-up, and then"
        " the others. What happened first may be read last.",
        reported=("no public report was found",),
        row="P4",
        breaks=("immutable",),
        killer="APPEND-13",
        remedy="store the events of a call in their order",
        harness=broken(events=events_of(IdsFirst)),
    ),
    BrokenStore(
        name="any time is taken",
        mistake="Does not look how far ahead an event lies. A time in the wrong unit makes a"
        " bucket of the year 9000.",
        reported=("elastic/logstash#3429",),
        row="N7",
        breaks=("documented", "append_once"),
        killer="APPEND-12",
        remedy="refuse what lies further ahead than max_ahead",
        harness=broken(events=events_of(AnyTime)),
    ),
)

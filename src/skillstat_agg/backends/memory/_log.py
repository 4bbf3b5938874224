"""The log: an event store in memory."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from skillstat_agg._appending import (
    checked_events,
    content_digests,
    drawn_fingerprints,
    unseen_events,
)
from skillstat_agg._buckets import microseconds
from skillstat_agg._commits import CHECKSUM_RANGE
from skillstat_agg._compacting import (
    Reader,
    Segment,
    bound_of,
    check_before,
    check_reader,
    compacted,
    first_part,
)
from skillstat_agg._events import (
    Event,
    Place,
    Position,
    RecordedEvent,
)
from skillstat_agg._generations import Extent
from skillstat_agg._pages import Backlog, Page, check_bounds
from skillstat_agg._projections import Projection
from skillstat_agg._stores import DAY_AHEAD, Appended
from skillstat_agg.backends._clocks import Clock, utc_now
from skillstat_agg.backends.memory._database import MemoryDatabase, Pending
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
        self._pending = Pending()

    @property
    def is_open(self) -> bool:
        """Whether it is not over yet."""
        return self._pending in self._log._database._open

    def append(self, events: Iterable[Event], /, *, max_ahead: timedelta = DAY_AHEAD) -> Appended:
        """Give *events* their positions; they stay unseen until `commit`.

        Raises:
            StoreBusyError: If an id is held by another append that is still open: its
                fate is not known, and this store does not wait.
            InvalidEventError, UncountableEventError, EventIdConflictError: As in
                ``EventStore.append``.
        """
        return self._log._allocate(self._pending, events, max_ahead)

    def commit(self) -> None:
        """Make the events visible."""
        self._log._finish(self._pending, self._pending.events, self._pending.digests)

    def rollback(self) -> None:
        """Drop the events; their positions are never given again."""
        self._log._finish(self._pending, (), {})


def _position(recorded: RecordedEvent) -> Position:
    return recorded.position


class MemoryEventStore:
    """An event store in memory, for any number of threads.

    Positions are ``(max(last tick, clock in microseconds), tie)``: tied times are a real
    case, and a clock that steps back does no harm.

    Args:
        database: Where the log lives; None: alone in a new one.
        clock: Gives ``recorded_at`` and the tick.
        projections: The tables that must be able to count what is appended.
    """

    def __init__(
        self,
        database: MemoryDatabase | None = None,
        *,
        clock: Clock = utc_now,
        projections: Iterable[Projection] = (),
    ) -> None:
        self._database = MemoryDatabase() if database is None else database
        self._clock = clock
        self._projections = tuple(projections)

    def begin(self) -> OpenAppend:
        """Return an append that is held open until it is committed or rolled back."""
        opened = OpenAppend(self)
        with self._database._lock:
            self._database._open.append(opened._pending)
        return opened

    def append(self, events: Iterable[Event], /, *, max_ahead: timedelta = DAY_AHEAD) -> Appended:
        """Store *events*: see ``EventStore.append``."""
        given = tuple(events)
        with self._database._lock:
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
        with self._database._lock:
            self._check_same_log(after)
            start = 0 if after is None else self._index_after(after.position)
            end = self._end_of_prefix()
            events = tuple(self._database._visible[start : min(start + limit, end)])
            return Page(
                epoch=self._database._epoch,
                events=events,
                frontier=self._database._visible[end - 1].position if end else None,
                is_last=start + len(events) >= end,
            )

    def extent(self, upto: Place, /) -> Extent:
        """Return how much stands up to *upto*: see ``ExtentStore.extent``."""
        with self._database._lock:
            self._check_same_log(upto)
            count = self._index_after(upto.position)
            events = self._database._visible[:count]
            return Extent(
                count=sum(one.count for one in events),
                checksum=sum(one.checksum for one in events) % CHECKSUM_RANGE,
            )

    def register(self, reader: str, /) -> None:
        """Make a reader known that begins at the start: see ``PruneStore.register``."""
        check_reader(reader)
        with self._database._lock:
            known = self._database._readers.get(reader)
            if known is None or known.position is not None:
                self._put(reader, None)

    def report(self, reader: str, place: Place, /) -> None:
        """Say how far a reader has come: see ``PruneStore.report``."""
        check_reader(reader)
        with self._database._lock:
            self._check_same_log(place)
            known = self._database._readers.get(reader)
            if known is None or known.position is None or known.position < place.position:
                self._put(reader, place.position)

    def _put(self, reader: str, position: Position | None) -> None:
        self._database._readers[reader] = Reader(
            name=reader, position=position, reported_at=self._clock()
        )

    def retire(self, reader: str, /) -> bool:
        """Strike a reader off the list: see ``PruneStore.retire``."""
        check_reader(reader)
        with self._database._lock:
            return self._database._readers.pop(reader, None) is not None

    def readers(self) -> tuple[Reader, ...]:
        """Return who reads the log, by name: see ``PruneStore.readers``."""
        with self._database._lock:
            readers = self._database._readers
            return tuple(readers[name] for name in sorted(readers))

    def compactable(
        self,
        after: Position | None,
        /,
        *,
        before: datetime | None,
        limit: int,
        upto: Position | None = None,
        kept: Collection[Position] = (),
    ) -> Segment | None:
        """Return the next segment that could be made: see ``PruneStore.compactable``."""
        check_bounds(limit=limit)
        check_before(before)
        with self._database._lock:
            events = self._next_events(after, before, limit, upto, kept)
        return Segment.of(events, self._made_of(events)) if events else None

    def compact(
        self,
        *,
        before: datetime | None,
        limit: int,
        upto: Position | None = None,
        kept: Collection[Position] = (),
    ) -> Segment | None:
        """Make the next run of events small: see ``PruneStore.compact``."""
        check_bounds(limit=limit)
        check_before(before)
        with self._database._lock:
            events = self._next_events(None, before, limit, upto, kept)
            if not events:
                return None
            made = self._made_of(events)
            self._exchange(events, made)
            return Segment.of(events, made)

    def _next_events(
        self,
        after: Position | None,
        before: datetime | None,
        limit: int,
        upto: Position | None,
        kept: Collection[Position],
    ) -> Sequence[RecordedEvent]:
        """Return the events that the next segment shall stand for, at most *limit*."""
        bound = bound_of(self._database._readers.values(), upto)
        if bound is None:
            return ()
        begin = max(after or (), self._database._compacted_to or ())
        rest = self._database._visible[self._index_after(Position(begin)) if begin else 0 :]
        return first_part(rest, upto=bound, before=before, limit=limit, kept=kept)

    def _made_of(self, events: Sequence[RecordedEvent]) -> Sequence[RecordedEvent]:
        """Return the compacted events that stand for these."""
        return compacted(events, drawn_fingerprints(len(events)))

    def _exchange(self, events: Sequence[RecordedEvent], made: Sequence[RecordedEvent]) -> None:
        """Put compacted events in the place of those that they stand for."""
        first = self._index_after(events[0].position) - 1
        self._database._visible[first : first + len(events)] = made
        self._database._compacted_to = events[-1].position

    def lag(self, after: Place | None, /, *, limit: int) -> Backlog:
        """Return how much lies after *after*: see ``LagStore.lag``."""
        check_bounds(limit=limit)
        with self._database._lock:
            self._check_same_log(after)
            visible, end = self._database._visible, self._end_of_prefix()
            start = 0 if after is None else self._index_after(after.position)
            return Backlog(
                events=min(limit, max(0, end - start)),
                waiting=min(limit, len(visible) - max(start, end)),
                since=visible[start].recorded_at if start < len(visible) else None,
                frontier=visible[end - 1].position if end else None,
            )

    def _index_after(self, position: Position) -> int:
        return bisect_right(self._database._visible, position, key=_position)

    def _end_of_prefix(self) -> int:
        """Return how many visible events lie before every open append."""
        unseen = self._database._first_unseen()
        if not unseen:
            return len(self._database._visible)
        return bisect_left(self._database._visible, min(map(_position, unseen)), key=_position)

    def _check_same_log(self, place: Place | None) -> None:
        if place is None:
            return
        if place.epoch != self._database._epoch:
            raise HistoryChangedError(f"epoch {self._database._epoch} instead of {place.epoch}")
        index = self._index_after(place.position) - 1
        found = self._database._visible[index] if index >= 0 else None
        if (
            found is None
            or found.position != place.position
            or found.fingerprint != place.fingerprint
        ):
            raise HistoryChangedError(f"another event, or none, stands at {place.position}")

    def _allocate(
        self, pending: Pending, events: Iterable[Event], max_ahead: timedelta
    ) -> Appended:
        self._check_open(pending)
        now = self._clock()
        given = checked_events(events, now=now, max_ahead=max_ahead, projections=self._projections)
        with self._database._lock:
            ids = content_digests(given)
            for other in self._database._open:
                if other is not pending and not ids.keys().isdisjoint(other.digests):
                    raise StoreBusyError("an event id is held by an append that is still open")
            known = {
                key: digests_of[key]
                for digests_of in (self._database._digests, pending.digests)
                for key in ids.keys() & digests_of.keys()
            }
            fresh = unseen_events(given, ids, known)
            for event, fingerprint in zip(fresh, drawn_fingerprints(len(fresh)), strict=True):
                pending.events.append(
                    RecordedEvent(
                        position=self._next_position(now),
                        event=event,
                        recorded_at=now,
                        fingerprint=fingerprint,
                    )
                )
            pending.digests.update(ids)
            return Appended(
                new=len(fresh), position=Position(self._database._last) if given else None
            )

    def _check_open(self, pending: Pending) -> None:
        if pending not in self._database._open:
            raise StoreUnavailableError("this append is over: begin another one")

    def _next_position(self, now: datetime) -> Position:
        tick, tie = self._database._last
        time = microseconds(now)
        self._database._last = (time, 0) if time > tick else (tick, tie + 1)
        return Position(self._database._last)

    def _finish(
        self, pending: Pending, events: Sequence[RecordedEvent], ids: Mapping[str, bytes]
    ) -> None:
        with self._database._lock:
            self._check_open(pending)
            self._database._open.remove(pending)
            if events:
                index = self._index_after(events[0].position)
                later = self._database._visible[index:]
                self._database._visible[index:] = sorted([*events, *later], key=_position)
            self._database._digests.update(ids)

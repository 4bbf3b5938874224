"""Logs that lose, double or move something when old events are made small."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from itertools import groupby

import attrs

from skillstat_agg._buckets import Granularity, bucket_of
from skillstat_agg._commits import CHECKSUM_RANGE
from skillstat_agg._compacting import Reader, Segment
from skillstat_agg._events import Event, Place, Position, RecordedEvent
from skillstat_agg._generations import Extent
from skillstat_agg.backends.memory import MemoryEventStore
from skillstat_agg.testing.gallery._frame import BrokenStore, broken, events_of

_NONE = "no public report was found"


class _Changed(MemoryEventStore):
    """Makes something else of a run of events: see ``_changed``."""

    def _made_of(self, events: Sequence[RecordedEvent]) -> Sequence[RecordedEvent]:
        return [self._changed(one) for one in super()._made_of(events)]

    def _changed(self, one: RecordedEvent) -> RecordedEvent:
        raise NotImplementedError


class LosesCount(_Changed):
    """A compacted event is one event."""

    def _changed(self, one: RecordedEvent) -> RecordedEvent:
        return attrs.evolve(one, count=1)


class LosesChecksum(_Changed):
    """A compacted event has the checksum of one."""

    def _changed(self, one: RecordedEvent) -> RecordedEvent:
        return attrs.evolve(one, checksum=one.fingerprint)


class MultipliesDeltas(_Changed):
    """A compacted event carries its sums as often as it counts."""

    def _changed(self, one: RecordedEvent) -> RecordedEvent:
        if one.event.deltas is None:
            return one
        deltas = {name: amount * one.count for name, amount in one.event.deltas.items()}
        return attrs.evolve(one, event=attrs.evolve(one.event, deltas=deltas))


class SumsAsFloats(_Changed):
    """Adds up what events carry in double precision."""

    def _changed(self, one: RecordedEvent) -> RecordedEvent:
        if one.event.deltas is None:
            return one
        limit = 2**63 - 1024
        deltas = {
            name: max(-limit, min(limit, int(float(amount))))
            for name, amount in one.event.deltas.items()
        }
        return attrs.evolve(one, event=attrs.evolve(one.event, deltas=deltas))


class _Rewritten(MemoryEventStore):
    """Makes compacted events of other events than those that are there."""

    def _made_of(self, events: Sequence[RecordedEvent]) -> Sequence[RecordedEvent]:
        rewritten = [
            attrs.evolve(one, event=self._rewritten(one.event, one.recorded_at)) for one in events
        ]
        return super()._made_of(rewritten)

    def _rewritten(self, event: Event, at: datetime) -> Event:
        raise NotImplementedError


class ByTheDay(_Rewritten):
    """One compacted event a day."""

    def _rewritten(self, event: Event, at: datetime) -> Event:
        day = event.occurred_at.replace(hour=0, minute=0, second=0, microsecond=0)
        return attrs.evolve(event, occurred_at=day)


class ByRecording(_Rewritten):
    """Compacted events stand in the hour in which they were recorded."""

    def _rewritten(self, event: Event, at: datetime) -> Event:
        return attrs.evolve(event, occurred_at=at)


class InLowerCase(_Rewritten):
    """Groups by skills as a collation without case compares them."""

    def _rewritten(self, event: Event, at: datetime) -> Event:
        return attrs.evolve(event, skill_id=event.skill_id.lower())


class OneSetOfNames(_Rewritten):
    """A name that an event does not carry is taken for 0."""

    def _made_of(self, events: Sequence[RecordedEvent]) -> Sequence[RecordedEvent]:
        self._names = {name: 0 for one in events for name in one.event.deltas or {}}
        return super()._made_of(events)

    def _rewritten(self, event: Event, at: datetime) -> Event:
        if event.deltas is None:
            return event
        return attrs.evolve(event, deltas={**self._names, **event.deltas})


class KeepsFingerprints(MemoryEventStore):
    """Every compacted event keeps the fingerprint that stood at its position."""

    def _made_of(self, events: Sequence[RecordedEvent]) -> Sequence[RecordedEvent]:
        marks = {one.position: one.fingerprint for one in events}
        return [
            attrs.evolve(one, fingerprint=marks[one.position]) for one in super()._made_of(events)
        ]


class NewFingerprintAtTheEnd(MemoryEventStore):
    """Every compacted event gets a new fingerprint, the last one too."""

    def _made_of(self, events: Sequence[RecordedEvent]) -> Sequence[RecordedEvent]:
        made = list(super()._made_of(events))
        made[-1] = attrs.evolve(made[-1], fingerprint=made[-1].fingerprint ^ 1)
        return made


class AtTheFirstPosition(MemoryEventStore):
    """A compacted event stands where the first of its group stood."""

    def _made_of(self, events: Sequence[RecordedEvent]) -> Sequence[RecordedEvent]:
        begins = {_group(one): one for one in reversed(events)}
        made = [
            attrs.evolve(
                one,
                position=begins[_group(one)].position,
                fingerprint=begins[_group(one)].fingerprint,
            )
            for one in super()._made_of(events)
        ]
        return sorted(made, key=lambda one: one.position)


def _group(one: RecordedEvent) -> object:
    """Return what an event shares with those that become one with it."""
    event = one.event
    hour = bucket_of(event.occurred_at, Granularity.HOUR)
    return event.skill_id, event.kind, hour, tuple(event.deltas or ())


class MergesSegments(MemoryEventStore):
    """Begins with the last segment, to make it smaller still."""

    def _exchange(self, events: Sequence[RecordedEvent], made: Sequence[RecordedEvent]) -> None:
        last = self._database._compacted_to
        super()._exchange(events, made)
        rows = self._database._visible
        end = rows.index(made[-1]) + 1
        begin = end - len(made)
        if last is not None and begin and rows[begin - 1].position == last:
            begin -= min(begin, 2)
            rows[begin:end] = super()._made_of(rows[begin:end])


class PrunesIds(MemoryEventStore):
    """The ids of what is made small go, too."""

    def _exchange(self, events: Sequence[RecordedEvent], made: Sequence[RecordedEvent]) -> None:
        super()._exchange(events, made)
        for one in events:
            self._database._digests.pop(one.event.event_id or "", None)


class _Bounded(MemoryEventStore):
    """Looks at other readers than there are: see ``_looked_at``."""

    def _next_events(
        self,
        after: Position | None,
        before: datetime | None,
        limit: int,
        upto: Position | None,
        kept: Collection[Position],
    ) -> Sequence[RecordedEvent]:
        known = self._database._readers
        self._database._readers = {one.name: one for one in self._looked_at(list(known.values()))}
        try:
            return super()._next_events(after, before, limit, upto, kept)
        finally:
            self._database._readers = known

    def _looked_at(self, readers: Sequence[Reader]) -> Sequence[Reader]:
        raise NotImplementedError


class FastestReader(_Bounded):
    """Makes small what anybody has read."""

    def _looked_at(self, readers: Sequence[Reader]) -> Sequence[Reader]:
        return sorted(readers, key=lambda one: one.position or ())[-1:]


class SkipsBeginners(_Bounded):
    """Takes the lowest of the positions there are: one that is NULL is none."""

    def _looked_at(self, readers: Sequence[Reader]) -> Sequence[Reader]:
        return [one for one in readers if one.position is not None] or readers


class PassesBuilding(_Bounded):
    """Waits for the projections that serve, and not for what is built beside them."""

    def _looked_at(self, readers: Sequence[Reader]) -> Sequence[Reader]:
        return [one for one in readers if "/" not in one.name]


class NoReaderNoBound(_Bounded):
    """Without readers there is nothing to wait for."""

    def _looked_at(self, readers: Sequence[Reader]) -> Sequence[Reader]:
        if readers or not self._database._visible:
            return readers
        last = self._database._visible[-1].position
        return [Reader(name="nobody", position=last, reported_at=self._clock())]


class SlowestAndOneMore(MemoryEventStore):
    """Makes small what lies up to the first event that the slowest reader has not read."""

    def _next_events(
        self,
        after: Position | None,
        before: datetime | None,
        limit: int,
        upto: Position | None,
        kept: Collection[Position],
    ) -> Sequence[RecordedEvent]:
        events = super()._next_events(after, before, limit, upto, kept)
        rows = self._database._visible
        if not events or len(events) == limit:
            return events
        end = self._index_after(events[-1].position)
        return [*events, *(one for one in rows[end : end + 1] if one.position not in kept)]


class IgnoresKept(MemoryEventStore):
    """Makes everything small that is old."""

    def _next_events(
        self,
        after: Position | None,
        before: datetime | None,
        limit: int,
        upto: Position | None,
        kept: Collection[Position],
    ) -> Sequence[RecordedEvent]:
        return super()._next_events(after, before, limit, upto, ())


class SpansKept(MemoryEventStore):
    """Leaves kept events where they are, and makes one segment of what lies around them."""

    def _next_events(
        self,
        after: Position | None,
        before: datetime | None,
        limit: int,
        upto: Position | None,
        kept: Collection[Position],
    ) -> Sequence[RecordedEvent]:
        self._kept = kept
        return super()._next_events(after, before, limit, upto, ())

    def _made_of(self, events: Sequence[RecordedEvent]) -> Sequence[RecordedEvent]:
        small = [one for one in events if one.position not in self._kept]
        stay = [one for one in events if one.position in self._kept]
        made = super()._made_of(small) if small else ()
        return sorted([*made, *stay], key=lambda one: one.position)


class PassesTheBound(MemoryEventStore):
    """Makes small what is read by the time it looks, whatever bound the caller has given."""

    def _next_events(
        self,
        after: Position | None,
        before: datetime | None,
        limit: int,
        upto: Position | None,
        kept: Collection[Position],
    ) -> Sequence[RecordedEvent]:
        return super()._next_events(after, before, limit, None, kept)


class ByOccurrence(MemoryEventStore):
    """Compares the time at which events occurred with the age that was asked for."""

    def _next_events(
        self,
        after: Position | None,
        before: datetime | None,
        limit: int,
        upto: Position | None,
        kept: Collection[Position],
    ) -> Sequence[RecordedEvent]:
        events = super()._next_events(after, None, limit, upto, kept)
        if before is None:
            return events
        runs = groupby(events, key=lambda one: one.event.occurred_at < before)
        return next((list(run) for is_old, run in runs if is_old), [])


class PassesYoung(MemoryEventStore):
    """Leaves young events out of a segment, and goes on with the old ones behind them."""

    def _next_events(
        self,
        after: Position | None,
        before: datetime | None,
        limit: int,
        upto: Position | None,
        kept: Collection[Position],
    ) -> Sequence[RecordedEvent]:
        young = {
            one.position
            for one in self._database._visible
            if before is not None and one.recorded_at >= before
        }
        return super()._next_events(after, None, limit, upto, {*kept, *young})


class ReportsBackwards(MemoryEventStore):
    """The last report counts."""

    def report(self, reader: str, place: Place, /) -> None:
        super().report(reader, place)
        self._put(reader, place.position)


class ReportsUnseen(MemoryEventStore):
    """Believes whoever reports a place."""

    def report(self, reader: str, place: Place, /) -> None:
        self._put(reader, place.position)


class RegistersOnce(MemoryEventStore):
    """A reader that is known stays where it is, also when it begins anew."""

    def register(self, reader: str, /) -> None:
        if reader not in self._database._readers:
            super().register(reader)


class RetiresNobody(MemoryEventStore):
    """A reader that was retired is still waited for."""

    def retire(self, reader: str, /) -> bool:
        return reader in self._database._readers


class MeasuresRows(MemoryEventStore):
    """Says how many rows there are, and what their fingerprints come to."""

    def extent(self, upto: Place, /) -> Extent:
        rows = self._database._visible[: self._index_after(upto.position)]
        fingerprints = sum(one.fingerprint for one in rows)
        return Extent(count=len(rows), checksum=fingerprints % CHECKSUM_RANGE)


class PlansByDoing(MemoryEventStore):
    """A plan is a prune that is rolled back: but for the positions, which are drawn anew."""

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
        segment = super().compactable(after, before=before, limit=limit, upto=upto, kept=kept)
        if segment is not None:
            rows = self._database._visible
            rows[:] = [
                attrs.evolve(one, fingerprint=(one.fingerprint + 1) % 2**32)
                if segment.first <= one.position < segment.last
                else one
                for one in rows
            ]
        return segment


class PlansWithoutKept(MemoryEventStore):
    """A plan counts everything that is old."""

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
        return super().compactable(after, before=before, limit=limit, upto=upto)


class YoungerByAMinute(MemoryEventStore):
    """Rounds the bound up."""

    def compact(
        self,
        *,
        before: datetime | None,
        limit: int,
        upto: Position | None = None,
        kept: Collection[Position] = (),
    ) -> Segment | None:
        later = None if before is None else before + timedelta(microseconds=1)
        return super().compact(before=later, limit=limit, upto=upto, kept=kept)


def _store(
    name: str,
    mistake: str,
    kind: type[MemoryEventStore],
    breaks: tuple[str, ...],
    killer: str,
    remedy: str,
    *,
    reported: tuple[str, ...] = (_NONE,),
    row: str = "P17",
) -> BrokenStore:
    return BrokenStore(
        name=name,
        mistake=mistake,
        reported=reported,
        row=row,
        breaks=breaks,
        killer=killer,
        remedy=remedy,
        harness=broken(events=events_of(kind), prunes=True),
    )


STORES = (
    _store(
        "prunes to the fastest reader",
        "What one projection has folded is made small; another one stands in the middle of it.",
        FastestReader,
        ("slowest_reader",),
        "PRUNE-02",
        "take the lowest place of all readers, in the transaction that makes events small",
        reported=("openclaw/clawhub@731d1aa8", "apache/pinot#8717"),
        row="L3",
    ),
    _store(
        "prunes past those who begin",
        "The lowest of the readers' positions is the bound. A reader that has none yet is left"
        " out of a minimum in SQL.",
        SkipsBeginners,
        ("slowest_reader",),
        "PRUNE-08",
        "a reader without a position stands at the start: nothing may be made small",
        row="L3",
    ),
    _store(
        "prunes what nobody reads",
        "Where no reader is known nothing has to be waited for, so everything is made small.",
        NoReaderNoBound,
        ("slowest_reader",),
        "PRUNE-08",
        "refuse to prune a log whose readers are not known",
        row="L3",
    ),
    _store(
        "prunes one event too many",
        "The bound is the first event that was not read, and it is taken along.",
        SlowestAndOneMore,
        ("slowest_reader", "kept_events", "same_sums"),
        "PRUNE-02",
        "a segment ends with an event that every reader has read",
        row="L3",
    ),
    _store(
        "counts a compacted event once",
        "What was made small is one event. All totals that are made from now on are too low.",
        LosesCount,
        ("same_sums", "kept_events", "slowest_reader", "whole_segments", "quarantined"),
        "PRUNE-01",
        "store how many events each one stands for, and count so many",
    ),
    _store(
        "loses the sum of fingerprints",
        "A compacted event has a fingerprint of its own, and what it stands for has none. The"
        " checksum of a cursor fits no log any more.",
        LosesChecksum,
        ("same_sums", "kept_events", "slowest_reader", "whole_segments"),
        "PRUNE-01",
        "store the sum of the fingerprints beside the fingerprint",
    ),
    _store(
        "multiplies what was summed",
        "A compacted event counts as often as it says, and so does what it carries, which is a"
        " sum already.",
        MultipliesDeltas,
        ("same_sums",),
        "PRUNE-01",
        "multiply the effect of a kind by the count, and never the sums",
    ),
    _store(
        "sums what events carry as floats",
        "The sums of a group are made in double precision, and those beyond 64 bits are cut.",
        SumsAsFloats,
        ("same_sums",),
        "PRUNE-10",
        "sum in integers, and begin another compacted event where 64 bits would not do",
        row="N2",
    ),
    _store(
        "compacts by the day",
        "One compacted event a day is smaller than one an hour. A projection with rollups by"
        " the hour comes to other numbers.",
        ByTheDay,
        ("same_sums", "kept_events", "slowest_reader", "whole_segments", "quarantined"),
        "PRUNE-01",
        "group by the finest bucket that any projection may have",
    ),
    _store(
        "compacts by the time of recording",
        "Events are made small hour by hour as they came in, and not as they occurred.",
        ByRecording,
        ("same_sums", "whole_segments"),
        "PRUNE-01",
        "group by occurred_at, which chooses the bucket",
    ),
    _store(
        "compacts without case",
        "The database compares skills without case, and its GROUP BY does, too.",
        InLowerCase,
        ("same_sums",),
        "PRUNE-01",
        "group by the bytes of the skill's id",
    ),
    _store(
        "fills in what an event does not carry",
        "The events of a kind are summed under all names that one of them carries; what another"
        " lacks is taken for 0.",
        OneSetOfNames,
        ("same_sums",),
        "PRUNE-11",
        "group by the set of names as well",
    ),
    _store(
        "keeps fingerprints inside a segment",
        "Each compacted event keeps the fingerprint of the last one it stands for. A reader that"
        " stood there had read a part of another group, and reads it again as part of its sum.",
        KeepsFingerprints,
        ("whole_segments",),
        "PRUNE-03",
        "draw new fingerprints for all but the last event of a segment",
    ),
    _store(
        "draws a fingerprint for the end, too",
        "Every compacted event gets a new fingerprint. The reader who stands at the end of the"
        " segment, where all have to stand, is told that history has changed.",
        NewFingerprintAtTheEnd,
        ("whole_segments", "slowest_reader", "same_sums", "kept_events"),
        "PRUNE-03",
        "the last event of a segment keeps its fingerprint",
    ),
    _store(
        "compacts to the first position",
        "A compacted event stands where its group began, so the position at the end of the"
        " segment may be gone.",
        AtTheFirstPosition,
        ("whole_segments", "slowest_reader", "same_sums", "kept_events"),
        "PRUNE-03",
        "let it stand at the position of the last event of its group",
    ),
    _store(
        "merges segments",
        "Small segments are made one, later. A reader that has begun to read them in the"
        " meantime is lost.",
        MergesSegments,
        ("whole_segments", "slowest_reader", "same_sums", "kept_events"),
        "PRUNE-09",
        "never touch a segment again",
        reported=("JasperFx/fisher#199",),
        row="L13",
    ),
    _store(
        "prunes past what is built",
        "Readers are the projections. A rebuild that reads the log meanwhile, under a name of its"
        " own, finds its place gone, and begins anew each time.",
        PassesBuilding,
        ("slowest_reader",),
        "PRUNE-02",
        "wait for every reader of the list, whatever it is called",
    ),
    _store(
        "prunes event ids",
        "With an event goes its id. A producer that repeats an old append counts again.",
        PrunesIds,
        ("append_once",),
        "PRUNE-04",
        "keep ids in a table of their own, and drop them in an act of its own",
        reported=("akka/akka-persistence-r2dbc#245",),
        row="O10",
    ),
    _store(
        "prunes what is to be kept",
        "Everything that is old enough is made small. A parked event, which the table may learn"
        " to count tomorrow, is in a sum with others.",
        IgnoresKept,
        ("kept_events",),
        "PRUNE-05",
        "leave out the positions that the caller names",
    ),
    _store(
        "compacts around what is kept",
        "Kept events stay where they are, in the middle of a segment: a reader that stands at"
        " one has read a part of what stands for events on both sides of it.",
        SpansKept,
        ("kept_events",),
        "PRUNE-05",
        "end a segment before an event that is kept, and begin the next behind it",
    ),
    _store(
        "prunes beyond the bound",
        "What every reader has read by then is made small. A caller who has asked before what"
        " is to be kept does not know of that part.",
        PassesTheBound,
        ("kept_events",),
        "PRUNE-22",
        "end at the position that the caller gives, or at the slowest reader's, if that is lower",
    ),
    _store(
        "prunes by the time of occurrence",
        "Old is what occurred long ago, not what was recorded long ago. An import of old events"
        " is made small at once.",
        ByOccurrence,
        ("kept_events",),
        "PRUNE-06",
        "compare recorded_at",
        row="L3",
    ),
    _store(
        "goes on behind young events",
        "Of a clock that was set back come old times behind young ones. All old ones are made"
        " small, and the young ones stand in the middle of a segment.",
        PassesYoung,
        ("kept_events",),
        "PRUNE-06",
        "end the segment at the first event that is too young",
    ),
    _store(
        "takes the bound for old",
        "What was recorded at the bound itself is made small, too.",
        YoungerByAMinute,
        ("kept_events",),
        "PRUNE-06",
        "take only what was recorded before the bound",
    ),
    _store(
        "reports move a reader back",
        "The last report counts, also that of a slow worker whose commit came earlier.",
        ReportsBackwards,
        ("known_readers",),
        "PRUNE-07",
        "move a reader only forwards",
    ),
    _store(
        "believes any report",
        "A report is stored as it comes, be it of another log.",
        ReportsUnseen,
        ("known_readers", "whole_segments"),
        "PRUNE-07",
        "look whether the place is one of this log, as a read does",
    ),
    _store(
        "registers a reader once",
        "A reader that is known stays where it is. When its stats are made anew it begins at the"
        " start, and the log is made small in front of it.",
        RegistersOnce,
        ("known_readers", "slowest_reader"),
        "PRUNE-07",
        "register() puts a reader at the start, whether it is known or not",
    ),
    _store(
        "retires nobody",
        "A reader that will never come back is waited for for ever.",
        RetiresNobody,
        ("known_readers", "slowest_reader"),
        "PRUNE-07",
        "retire() strikes the reader off the list",
    ),
    BrokenStore(
        name="measures rows",
        mistake="How much stands up to a place is asked with count(*). Once a part of the log is"
        " small a verify finds events missing that are all there.",
        reported=(_NONE,),
        row="P17",
        breaks=("same_extent",),
        killer="PRUNE-24",
        remedy="add up how many events each row stands for, and the sums of their fingerprints",
        harness=broken(events=events_of(MeasuresRows), further=True, prunes=True),
    ),
    _store(
        "plans by doing",
        "A plan makes events small and puts them back. What was drawn at random is not the same.",
        PlansByDoing,
        ("kept_events",),
        "PRUNE-12",
        "a plan reads, and writes nothing",
    ),
    _store(
        "plans without what is kept",
        "A plan counts everything that is old, and so another number than the prune.",
        PlansWithoutKept,
        ("kept_events",),
        "PRUNE-12",
        "let plan and prune choose events by the same code",
    ),
)

"""How far a projection has come, and the step it takes: import from `skillstat_agg` instead."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from datetime import datetime
from operator import itemgetter

import attrs

from skillstat_agg._buckets import from_microseconds, microseconds
from skillstat_agg._deltas import Deltas
from skillstat_agg._events import Place, Position, RecordedEvent, events_in
from skillstat_agg._projections import Projection
from skillstat_agg.errors import InvalidProjectionError, TableChangedError

CHECKSUM_RANGE = 2**63
"""Checksums are sums of fingerprints modulo this number: they fit signed 64 bits."""


@attrs.frozen(kw_only=True)
class Cursor:
    """How far a projection has come, and what its stats must add up to.

    The whole record is compared by every commit, never the position alone.

    Attributes:
        projection: Name of the projection.
        building: Name of the set of numbers while it is built and nobody is shown it;
            empty: it serves.
        generation: Number of the set of numbers; the first is 1.
        place: Place of the last folded event; None before the first.
        count: Number of events up to there, whatever became of them.
        checksum: Sum of their fingerprints, modulo ``CHECKSUM_RANGE``.
        controls: The sum over all skills of each counter, and of each rollup column at
            each granularity (``day.downloads``); exact, of any size.
        parked: Number of events up to there that lie in quarantine; a compacted event counts
            as many as it stands for.
        dropped: Number of events up to there that were left out of something, by reason:
            ``"forgotten"`` (the skill was: they count nowhere), ``"expired"`` (a bucket
            was: they count in the totals). What was never met may be absent. Informs only.
        expired: By granularity (``"day"``), the number of the first bucket that is kept;
            the rollups before it are gone for good. Nothing has expired where it is absent.
        revision: Grows by one with every change of the projection's stats.
        table: The table the stats were made with: ``Projection.table``.
        updated_at: When the record was last written, by the clock of the store;
            informs only. UTC, to the microsecond.
    """

    projection: str
    building: str = ""
    generation: int
    place: Place | None
    count: int
    checksum: int
    controls: Mapping[str, int] = attrs.field(hash=False, repr=False)
    parked: int = 0
    dropped: Mapping[str, int] = attrs.field(factory=dict, hash=False)
    expired: Mapping[str, int] = attrs.field(factory=dict, hash=False)
    revision: int
    table: str = attrs.field(repr=False)
    updated_at: datetime

    @classmethod
    def start(cls, projection: Projection, at: datetime) -> Cursor:
        """Return the record of a projection that has folded nothing."""
        return cls(
            projection=projection.name,
            generation=1,
            place=None,
            count=0,
            checksum=0,
            controls=dict.fromkeys(projection.controls, 0),
            revision=0,
            table=projection.table,
            updated_at=at,
        )

    def to_json(self) -> str:
        """Return the record as one text, for a store that keeps it whole; see `from_json`."""
        place = self.place
        fields = {
            **attrs.asdict(self, recurse=False),
            "place": None
            if place is None
            else [place.epoch, str(place.position), place.fingerprint],
            "updated_at": microseconds(self.updated_at),
        }
        return json.dumps({name: _plain(value) for name, value in fields.items()})

    @classmethod
    def from_json(cls, text: str) -> Cursor:
        """Return the record that `to_json` made *text* from.

        Raises:
            ValueError: If it is not such a text.
        """
        try:
            fields = json.loads(text)
            if fields["place"] is not None:
                epoch, position, fingerprint = fields["place"]
                fields["place"] = Place(epoch, Position.parse(position), fingerprint)
            fields["updated_at"] = from_microseconds(fields["updated_at"])
            return cls(**fields)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            raise ValueError(f"not a cursor record: {error}") from error


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else value


@attrs.frozen(kw_only=True)
class Commit:
    """One step of a projection: deltas, and the cursor they lead to.

    Attributes:
        expected: The record that the page was read from.
        place: Place of the last event of the page; that of the record where there is none.
        count: Number of events of the page, whatever becomes of them; 0: nothing is new,
            and what lay in quarantine is counted.
        checksum: Sum of their fingerprints, modulo ``CHECKSUM_RANGE``.
        projection: The projection, whose table made the deltas and is stored.
        deltas: What to add.
        parked: Events of the page that the table cannot count, in their order: they go
            into quarantine.
        taught: Events that lie in quarantine and are in the deltas: they leave it.
        forgotten: Number of events that `without` has left out.
    """

    expected: Cursor
    place: Place | None
    count: int
    checksum: int
    projection: Projection
    deltas: Deltas
    parked: tuple[RecordedEvent, ...] = ()
    taught: tuple[RecordedEvent, ...] = ()
    forgotten: int = 0

    @property
    def skills(self) -> frozenset[str]:
        """The skills that a store looks up, in the commit's transaction: are they forgotten?"""
        return frozenset(self.deltas.totals).union(each.event.skill_id for each in self.parked)

    def without(self, forgotten: frozenset[str]) -> Commit:
        """Return the commit to apply: the same without what concerns forgotten skills.

        Args:
            forgotten: Those of `skills` that are forgotten.
        """
        if not forgotten:
            return self
        deltas = self.deltas.without(forgotten)
        parked = tuple(each for each in self.parked if each.event.skill_id not in forgotten)
        counted = sum(self.deltas.events.values()) - sum(deltas.events.values())
        set_aside = events_in(self.parked) - events_in(parked)
        return attrs.evolve(
            self,
            deltas=deltas,
            parked=parked,
            forgotten=self.forgotten + counted + set_aside,
        )

    def cursor(self, at: datetime) -> Cursor:
        """Return the record to store, once the rest of the commit is applied.

        Args:
            at: The store's clock.
        """
        before = self.expected
        return attrs.evolve(
            before,
            place=self.place,
            count=before.count + self.count,
            checksum=(before.checksum + self.checksum) % CHECKSUM_RANGE,
            controls=controls_after(before.controls, self.projection, self.deltas),
            parked=before.parked + events_in(self.parked) - events_in(self.taught),
            dropped=_more(
                before.dropped,
                forgotten=self.forgotten,
                expired=sum(self.deltas.expired.values()),
            ),
            revision=before.revision + 1,
            table=self.projection.table,
            updated_at=at,
        )


def _more(dropped: Mapping[str, int], **more: int) -> dict[str, int]:
    """Return the numbers of dropped events by reason, after more of them were dropped."""
    met = {reason: number for reason, number in more.items() if number}
    return {**dropped, **{reason: dropped.get(reason, 0) + met[reason] for reason in met}}


def controls_after(
    controls: Mapping[str, int], projection: Projection, deltas: Deltas
) -> dict[str, int]:
    """Return the control totals after *deltas* were added."""
    sums = {name: controls.get(name, 0) for name in projection.controls}
    for index, name in enumerate(projection.counters):
        sums[name] += sum(map(itemgetter(index), deltas.totals.values()))
    for granularity, rows in deltas.rollups.items():
        for index, name in enumerate(projection.columns):
            sums[f"{granularity.value}.{name}"] += sum(map(itemgetter(index), rows.values()))
    return sums


@attrs.frozen(kw_only=True)
class CommitResult:
    """What a commit did.

    Attributes:
        cursor: The record as it is stored now.
        rows: Number of rows of totals and rollups that were written.
        forgotten: Number of events that were dropped because their skill is forgotten,
            as in the commit that was applied.
        changed: The skills whose numbers changed, or appeared.
    """

    cursor: Cursor
    rows: int
    forgotten: int
    changed: frozenset[str]


def check_table(cursor: Cursor, projection: Projection) -> None:
    """Check that stats made with the cursor's table can be carried on with *projection*.

    Raises:
        TableChangedError: If they cannot.
    """
    if cursor.table != projection.table:
        difference = projection.difference_from(stored_projection(cursor))
        if difference is not None:
            raise TableChangedError(projection.name, difference)


def check_readable(cursor: Cursor, projection: Projection) -> Projection:
    """Return the stored projection, when numbers made with it can be read as *projection*.

    They can where one of the two extends the other.

    Raises:
        TableChangedError: If they cannot.
    """
    if cursor.table == projection.table:
        return projection
    stored = stored_projection(cursor)
    difference = projection.difference_from(stored)
    if difference is not None and stored.difference_from(projection) is not None:
        raise TableChangedError(projection.name, difference)
    return stored


def stored_projection(cursor: Cursor) -> Projection:
    """Return the projection that the stats were made with.

    Raises:
        TableChangedError: If the record holds no table.
    """
    try:
        return _projection_of(cursor.table)
    except InvalidProjectionError as error:
        raise TableChangedError(cursor.projection, str(error)) from error


@functools.lru_cache(maxsize=32)  # a program meets few tables, and meets them often
def _projection_of(table: str) -> Projection:
    return Projection.from_table(table)

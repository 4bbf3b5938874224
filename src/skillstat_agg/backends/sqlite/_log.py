"""The log: an event store on an SQLite database."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TypeAlias

from skillstat_agg._appending import (
    checked_events,
    content_digests,
    drawn_fingerprints,
    unseen_events,
)
from skillstat_agg._buckets import EPOCH, Granularity, from_microseconds, microseconds
from skillstat_agg._commits import CHECKSUM_RANGE
from skillstat_agg._compacting import Reader, Segment, check_before, check_reader
from skillstat_agg._events import MAX_INTEGER, Event, Place, Position
from skillstat_agg._generations import Extent
from skillstat_agg._pages import Backlog, Page, TalliedPage, check_bounds
from skillstat_agg._projections import Projection
from skillstat_agg._stores import DAY_AHEAD, Appended
from skillstat_agg._tallies import Tally
from skillstat_agg.backends._clocks import Clock, utc_now
from skillstat_agg.backends._records import events_before_nonsense
from skillstat_agg.backends.sqlite import _pruning
from skillstat_agg.backends.sqlite._lookups import rows_of
from skillstat_agg.backends.sqlite._rows import (
    READ,
    Row,
    decoded_deltas,
    encoded_deltas,
    position_text,
    recorded,
)
from skillstat_agg.backends.sqlite._schema import check_schema
from skillstat_agg.backends.sqlite._transactions import joining, reading, writing
from skillstat_agg.errors import HistoryChangedError, InvalidEventError

_INSERT = """
    INSERT INTO main.skillstat_events (
        skill_id, kind, occurred_at_us, event_id, deltas, note, recorded_at_us, fingerprint
    ) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_EXTENT = """
    SELECT count(*), sum(fingerprint), max(position) FROM (
        SELECT position, fingerprint FROM main.skillstat_events
        WHERE position > ? ORDER BY position LIMIT ?
    )
"""
_UP_TO = "SELECT count(*), sum(fingerprint) FROM main.skillstat_events WHERE position <= ?"
_MORE_UP_TO = """
    SELECT stands_for - 1, checksum - fingerprint FROM main.skillstat_events
    WHERE position <= ? AND stands_for IS NOT NULL
"""
_COUNT = """
    SELECT count(*) FROM (
        SELECT 1 FROM main.skillstat_events WHERE position > ? ORDER BY position LIMIT ?
    )
"""
_FIRST = """
    SELECT +recorded_at_us FROM main.skillstat_events
    WHERE position > ? ORDER BY position LIMIT 1
"""
# The year 1 in microseconds is added first, so that the division never rounds towards zero.
_PLAIN = """
    SELECT +skill_id, +kind, (occurred_at_us + ?) / ? - ? FROM main.skillstat_events
    WHERE position > ? AND position <= ? AND deltas IS NULL
"""
_CARRYING = """
    SELECT +skill_id, +kind, (occurred_at_us + ?) / ? - ?, +deltas FROM main.skillstat_events
    WHERE position > ? AND position <= ? AND deltas IS NOT NULL
"""
# A compacted event is counted once by those above; this is how many more it stands for.
_MORE = """
    SELECT +skill_id, +kind, (occurred_at_us + ?) / ? - ?, +deltas, stands_for - 1,
        checksum - fingerprint
    FROM main.skillstat_events WHERE position > ? AND position <= ? AND stands_for IS NOT NULL
"""
_BEFORE_EPOCH_DAYS = EPOCH.toordinal()
_More: TypeAlias = tuple[str, str, int, str | None, int, int]


class SQLiteEventStore:
    """An event store over a connection that its caller owns; one per thread.

    SQLite has one writer at a time, so positions are given in the order of commits and
    the frontier is the last committed event. ``append`` joins the caller's transaction
    (begin it with ``BEGIN IMMEDIATE``); the other methods refuse one.

    Args:
        db: The connection. `create_tables` has been called on its database.
        projections: The tables that must be able to count what is appended; none:
            a drain will find what cannot be counted.
        clock: Gives ``recorded_at``.
    """

    def __init__(
        self,
        db: sqlite3.Connection,
        *,
        projections: Iterable[Projection] = (),
        clock: Clock = utc_now,
    ) -> None:
        self._db = db
        self._projections = tuple(projections)
        self._clock = clock

    def append(self, events: Iterable[Event], /, *, max_ahead: timedelta = DAY_AHEAD) -> Appended:
        """Store *events*: see ``EventStore.append``.

        Raises:
            StoreBusyError: Also where the caller's transaction has read before another
                program committed: it cannot write any more and must be begun anew.
        """
        now = self._clock()
        given = checked_events(events, now=now, max_ahead=max_ahead, projections=self._projections)
        ids = content_digests(given)
        with joining(self._db, "append") as sql:
            check_schema(sql)
            fresh = unseen_events(given, ids, _known(sql, list(ids)))
            waiting = [event.event_id for event in fresh if event.event_id is not None]
            sql.executemany(
                "INSERT INTO main.skillstat_event_ids VALUES (?, ?)",
                [(event_id, ids[event_id]) for event_id in waiting],
            )
            sql.executemany(_INSERT, _rows(fresh, microseconds(now)))
            return Appended(new=len(fresh), position=_last(sql) if given else None)

    def read(self, after: Place | None, /, *, limit: int) -> Page:
        """Return the page after *after*: see ``EventStore.read``."""
        check_bounds(limit=limit)
        with reading(self._db, "read") as sql:
            epoch = check_schema(sql)
            start = _start(sql, after, epoch)
            rows = self._rows(sql, start, min(limit, MAX_INTEGER))
            frontier = _last(sql)
        events = events_before_nonsense(rows, recorded, position_text)
        return Page(
            epoch=epoch,
            events=events,
            frontier=frontier,
            is_last=not rows or events[-1].position == frontier,
        )

    def _rows(self, sql: sqlite3.Cursor, start: int, limit: int) -> list[Row]:
        """Return the rows of a page; text that is not UTF-8 comes as what no event can hold."""
        try:
            return sql.execute(READ, (start, limit)).fetchall()
        except sqlite3.OperationalError as error:
            if not _is_undecodable(error):
                raise
            self._db.text_factory = partial(str, encoding="utf-8", errors="surrogateescape")
            return sql.execute(READ, (start, limit)).fetchall()

    def tally(
        self, after: Place | None, /, *, limit: int, granularity: Granularity
    ) -> TalliedPage | None:
        """Return the tally of the page after *after*: see ``TallyStore.tally``.

        The rows are counted as they stream by, which is faster than a GROUP BY of three
        texts: the benchmark ``tally`` shows by how much.
        """
        check_bounds(limit=limit)
        with reading(self._db, "tally") as sql:
            epoch = check_schema(sql)
            start = _start(sql, after, epoch)
            count, checksum, last = sql.execute(
                _EXTENT, (start, min(limit, MAX_INTEGER))
            ).fetchone()
            frontier = _last(sql)
            counts: Counter[tuple[str, str, int]] = Counter()
            carrying: Counter[tuple[str, str, int, str]] = Counter()
            more: list[_More] = []
            place = None
            if count:
                before = _BEFORE_EPOCH_DAYS * timedelta(days=1) // granularity.length
                length = granularity.length_us
                part = (before * length, length, before, start, last)
                try:
                    counts.update(sql.execute(_PLAIN, part))
                    carrying.update(sql.execute(_CARRYING, part))
                    more = sql.execute(_MORE, part).fetchall()
                except sqlite3.OperationalError as error:
                    if _is_undecodable(error):
                        return None
                    raise
                place = Place(epoch, Position((last,)), _fingerprint_at(sql, last))
        tally = Tally(granularity, counts, {})
        try:
            if carrying:
                tally += Tally.of_groups(_decoded(carrying), granularity)
            if more:
                tally += Tally.of_compacted(map(_more, more), granularity)
        except InvalidEventError:
            return None
        return TalliedPage(
            tally=tally,
            count=count + sum(events for *_, events, _ in more),
            checksum=((checksum or 0) + sum(marks for *_, marks in more)) % CHECKSUM_RANGE,
            place=place,
            frontier=frontier,
            is_last=place is None or place.position == frontier,
            records=count,
        )

    def extent(self, upto: Place, /) -> Extent:
        """Return how much stands up to *upto*: see ``ExtentStore.extent``."""
        with reading(self._db, "extent") as sql:
            last = _start(sql, upto, check_schema(sql))
            count, checksum = sql.execute(_UP_TO, (last,)).fetchone()
            more = sql.execute(_MORE_UP_TO, (last,)).fetchall()
        return Extent(
            count=count + sum(events for events, _ in more),
            checksum=((checksum or 0) + sum(marks for _, marks in more)) % CHECKSUM_RANGE,
        )

    def register(self, reader: str, /) -> None:
        """Make a reader known that begins at the start: see ``PruneStore.register``."""
        check_reader(reader)
        with reading(self._db, "register") as sql:
            check_schema(sql)
            if _pruning.is_at_start(sql, reader):
                return
        with writing(self._db, "register") as sql:
            _pruning.register(sql, reader, microseconds(self._clock()))

    def report(self, reader: str, place: Place, /) -> None:
        """Say how far a reader has come: see ``PruneStore.report``."""
        check_reader(reader)
        with writing(self._db, "report") as sql:
            position = _start(sql, place, check_schema(sql))
            _pruning.report(sql, reader, position, microseconds(self._clock()))

    def retire(self, reader: str, /) -> bool:
        """Strike a reader off the list: see ``PruneStore.retire``."""
        check_reader(reader)
        with writing(self._db, "retire") as sql:
            check_schema(sql)
            return _pruning.retire(sql, reader)

    def readers(self) -> tuple[Reader, ...]:
        """Return who reads the log, by name: see ``PruneStore.readers``."""
        with reading(self._db, "readers") as sql:
            check_schema(sql)
            return _pruning.readers(sql)

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
        with reading(self._db, "compactable") as sql:
            check_schema(sql)
            events = _pruning.next_events(sql, self._rows, after, before, limit, upto, kept)
        return Segment.of(events, _pruning.made_of(events)) if events else None

    def compact(
        self,
        *,
        before: datetime | None,
        limit: int,
        upto: Position | None = None,
        kept: Collection[Position] = (),
    ) -> Segment | None:
        """Make the next run of events small: see ``PruneStore.compact``.

        The write lock is held meanwhile, so that nobody else writes, registers or reports.
        """
        check_bounds(limit=limit)
        check_before(before)
        with writing(self._db, "compact") as sql:
            check_schema(sql)
            events = _pruning.next_events(sql, self._rows, None, before, limit, upto, kept)
            if not events:
                return None
            made = _pruning.made_of(events)
            _pruning.exchange(sql, events, made)
        return Segment.of(events, made)

    def lag(self, after: Place | None, /, *, limit: int) -> Backlog:
        """Return how much lies after *after*; nothing ever waits: see ``LagStore.lag``."""
        check_bounds(limit=limit)
        with reading(self._db, "lag") as sql:
            start = _start(sql, after, check_schema(sql))
            (count,) = sql.execute(_COUNT, (start, min(limit, MAX_INTEGER))).fetchone()
            first = sql.execute(_FIRST, (start,)).fetchone()
            return Backlog(
                events=count,
                waiting=0,
                since=None if first is None else from_microseconds(first[0]),
                frontier=_last(sql),
            )


def _is_undecodable(error: sqlite3.OperationalError) -> bool:
    """Return whether text in the database is not UTF-8: the driver has no code for it."""
    return str(error).startswith("Could not decode to UTF-8")


def _start(sql: sqlite3.Cursor, after: Place | None, epoch: str) -> int:
    """Return the number to read after, when the log is still the one of that place."""
    if after is None:
        return 0
    if after.epoch != epoch:
        raise HistoryChangedError(f"this log has epoch {epoch}, the cursor's had {after.epoch}")
    [number, *others] = after.position
    if others or number > MAX_INTEGER or _fingerprint_at(sql, number) != after.fingerprint:
        raise HistoryChangedError(
            f"another event, or none, stands at position {after.position}, where the cursor stands"
        )
    return number


def _last(sql: sqlite3.Cursor) -> Position | None:
    """Return the position of the last event, up to which nothing can appear any more."""
    (last,) = sql.execute("SELECT max(position) FROM main.skillstat_events").fetchone()
    return None if last is None else Position((last,))


def _fingerprint_at(sql: sqlite3.Cursor, position: int) -> int:
    """Return the fingerprint of the event at *position*; -1 where there is none."""
    row = sql.execute(
        "SELECT +fingerprint FROM main.skillstat_events WHERE position = ?", (position,)
    ).fetchone()
    return -1 if row is None else int(row[0])


def _known(sql: sqlite3.Cursor, ids: Sequence[str]) -> dict[str, bytes]:
    """Return the digest by id of those ids that are in the log."""
    select = "SELECT +event_id, +digest FROM main.skillstat_event_ids WHERE event_id IN"
    return dict(rows_of(sql, select, ids))


def _rows(events: Sequence[Event], recorded_at_us: int) -> Iterator[tuple[object, ...]]:
    """Return the rows to insert; each with a fingerprint drawn for it."""
    return (
        (
            event.skill_id,
            event.kind,
            microseconds(event.occurred_at),
            event.event_id,
            None if event.deltas is None else encoded_deltas(event.deltas),
            event.note,
            recorded_at_us,
            fingerprint,
        )
        for event, fingerprint in zip(events, drawn_fingerprints(len(events)), strict=True)
    )


def _more(row: _More) -> tuple[str, str, int, Mapping[str, int] | None, int, int]:
    """Return how many more events a compacted one stands for; what it carries is counted."""
    skill_id, kind, bucket, deltas, count, _ = row
    return skill_id, kind, bucket, None if deltas is None else decoded_deltas(deltas), 0, count


def _decoded(
    groups: Mapping[tuple[str, str, int, str], int],
) -> Iterator[tuple[str, str, int, Mapping[str, int], int]]:
    for (skill_id, kind, bucket, deltas), count in groups.items():
        yield skill_id, kind, bucket, decoded_deltas(deltas), count

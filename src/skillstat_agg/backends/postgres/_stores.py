"""The stores over a psycopg connection."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta

from skillstat_agg._appending import checked_events
from skillstat_agg._badges import Badge, BadgeMap, check_badge, checked_kind
from skillstat_agg._boards import BoardRead, Publication
from skillstat_agg._buckets import Granularity, buckets_between, from_microseconds, microseconds
from skillstat_agg._commits import Commit, CommitResult, Cursor
from skillstat_agg._compacting import Reader, Segment, check_before, check_reader
from skillstat_agg._events import Event, Place, Position, check_skill_id, checked_skill_ids
from skillstat_agg._generations import Comparison, Extent, Sums, check_building
from skillstat_agg._leaderboards import Order, Ranked
from skillstat_agg._notes import Note
from skillstat_agg._pages import Backlog, Page, TalliedPage, check_bounds
from skillstat_agg._projections import Projection
from skillstat_agg._quarantine import Quarantine
from skillstat_agg._ranges import Buckets
from skillstat_agg._series import RollupsOf
from skillstat_agg._stores import DAY_AHEAD, Appended, Expired, Rollups, Totals
from skillstat_agg.backends._clocks import Clock, utc_now
from skillstat_agg.backends.postgres import (
    _badges,
    _creating,
    _expiring,
    _generations,
    _log,
    _moves,
    _pruning,
    _reading,
    _schema,
    _stalls,
    _stats,
)
from skillstat_agg.backends.postgres._committing import committing
from skillstat_agg.backends.postgres._connections import Connection, is_joining, is_open, is_unlike
from skillstat_agg.backends.postgres._names import Names
from skillstat_agg.backends.postgres._running import join, run
from skillstat_agg.backends.postgres._schema import SCHEMA
from skillstat_agg.backends.postgres._stalls import Stall
from skillstat_agg.errors import EventIdConflictError, SchemaError, StoreUnavailableError


def create_tables(
    db: Connection, *projections: Projection, schema: str = SCHEMA, clock: Clock = utc_now
) -> None:
    """Make the tables of the log, and those of each projection's stats, in a schema.

    One transaction, or within the caller's where one is open, as in a migration. What is there
    already stays as it is, so it may be called at every start. Stats whose table the projection
    extends are taken over in place, as by a commit: what lies in quarantine and can be counted
    now is, and workers with the older table are refused from then on. Log and stats may live in
    different databases: call it for both.

    Args:
        db: A connection of the role that shall own the tables.
        projections: The projections whose stats shall live here; none is fine.
        schema: Where the tables are; made if it is not there.
        clock: Gives ``updated_at`` of new cursors.

    Raises:
        SchemaError: If the schema holds tables of a newer version of this package, or the
            name cannot be one.
        TableChangedError: If stats are there that were made with a table which the
            projection does not extend.
    """
    now, joins = from_microseconds(microseconds(clock())), is_open(db)
    steps = _creating.creating(Names(schema), projections, now, is_joined=joins)
    if joins:
        join(db, steps)
    else:
        run(db, "create_tables", steps)


def new_epoch(db: Connection, *, schema: str = SCHEMA, clock: Clock = utc_now) -> str:
    """Go on with a log that was moved: restored from a dump, upgraded, or copied.

    Such a log is refused, since the numbers of transactions that its positions are made of mean
    nothing in another database. This call gives the events new positions in the same order,
    before all that will be appended, moves each cursor in the same schema along, and draws a
    new epoch, all in one transaction. Nobody may append to the old log any more: it is another
    one from now on.

    Args:
        db: A connection of the tables' owner that is not inside a transaction.
        schema: Where the tables are.
        clock: Gives ``updated_at`` of the cursors.

    Returns:
        The new epoch.

    Raises:
        HistoryChangedError: If a cursor stands where the log has another event, or none, since
            less of the log was restored than its stats have counted. Nothing was changed.
        OpenTransactionError: If the connection is inside a transaction.
    """
    now = from_microseconds(microseconds(clock()))
    return run(db, "new_epoch", _moves.renewing(Names(schema), now))


def stored_projections(db: Connection, *, schema: str = SCHEMA) -> tuple[Projection, ...]:
    """Return the projections whose stats live in a schema, by name.

    Args:
        db: A connection that is not inside a transaction.
        schema: Where the tables are.

    Raises:
        SchemaError: If there are no tables, or tables of another version.
        OpenTransactionError: If the connection is inside a transaction.
    """
    return run(db, "stored_projections", _schema.declared(Names(schema)))


class PostgresEventStore:
    """An event store over a connection that its caller owns; one per thread.

    Writers never wait for each other, except where they append the same event id, nor for a
    worker. Events are read once no transaction that began before theirs is still open, in the
    whole cluster. ``append`` joins the caller's transaction, at any isolation level; on a
    connection without autocommit that is always so, and the caller commits. The other methods
    refuse one.

    Args:
        db: The connection. `create_tables` has been called on its database.
        schema: Where the tables are.
        projections: The tables that must be able to count what is appended; none:
            a drain will find what cannot be counted.
        clock: Gives ``recorded_at``.
    """

    def __init__(
        self,
        db: Connection,
        *,
        schema: str = SCHEMA,
        projections: Iterable[Projection] = (),
        clock: Clock = utc_now,
    ) -> None:
        self._db = db
        self._names = Names(schema)
        self._projections = tuple(projections)
        self._clock = clock

    def append(self, events: Iterable[Event], /, *, max_ahead: timedelta = DAY_AHEAD) -> Appended:
        """Store *events*: see ``EventStore.append``.

        Raises:
            StoreBusyError: Also where the isolation level of the caller's transaction does not
                let it see that an event is in the log already: begin it anew.
        """
        now = self._clock()
        given = checked_events(events, now=now, max_ahead=max_ahead, projections=self._projections)
        joins = is_joining(self._db)
        steps = _log.appended(self._names, given, microseconds(now), is_joined=joins)
        try:
            return join(self._db, steps) if joins else run(self._db, "append", steps)
        except StoreUnavailableError as error:
            if not is_unlike(error):
                raise
            raise (self._conflict(given) or error) from error

    def _conflict(self, given: Sequence[Event]) -> EventIdConflictError | None:
        """Return the error that names the ids which stand for other content."""
        steps = _log.unlike(self._names, given)
        return join(self._db, steps) if is_open(self._db) else run(self._db, "append", steps)

    def read(self, after: Place | None, /, *, limit: int) -> Page:
        """Return the page after *after*: see ``EventStore.read``."""
        check_bounds(limit=limit)
        return run(self._db, "read", _log.reading(self._names, after, limit))

    def tally(
        self, after: Place | None, /, *, limit: int, granularity: Granularity
    ) -> TalliedPage | None:
        """Return the tally of the page after *after*: see ``TallyStore.tally``."""
        check_bounds(limit=limit)
        return run(self._db, "tally", _log.tallying(self._names, after, limit, granularity))

    def extent(self, upto: Place, /) -> Extent:
        """Return how much stands up to *upto*: see ``ExtentStore.extent``."""
        return run(self._db, "extent", _log.measuring(self._names, upto))

    def register(self, reader: str, /) -> None:
        """Make a reader known that begins at the start: see ``PruneStore.register``."""
        check_reader(reader)
        steps = _pruning.registering(self._names, reader, microseconds(self._clock()))
        run(self._db, "register", steps)

    def report(self, reader: str, place: Place, /) -> None:
        """Say how far a reader has come: see ``PruneStore.report``."""
        check_reader(reader)
        steps = _pruning.reporting(self._names, reader, place, microseconds(self._clock()))
        run(self._db, "report", steps)

    def retire(self, reader: str, /) -> bool:
        """Strike a reader off the list: see ``PruneStore.retire``."""
        check_reader(reader)
        return run(self._db, "retire", _pruning.retiring(self._names, reader))

    def readers(self) -> tuple[Reader, ...]:
        """Return who reads the log, by name: see ``PruneStore.readers``."""
        return run(self._db, "readers", _pruning.listing(self._names))

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
        steps = _pruning.planning(self._names, after, before, limit, upto, kept)
        return run(self._db, "compactable", steps)

    def compact(
        self,
        *,
        before: datetime | None,
        limit: int,
        upto: Position | None = None,
        kept: Collection[Position] = (),
    ) -> Segment | None:
        """Make the next run of events small: see ``PruneStore.compact``.

        Writers and workers do not wait for it, but until it is over readers see no event that
        was committed after it began.
        """
        check_bounds(limit=limit)
        check_before(before)
        steps = _pruning.compacting(self._names, before, limit, upto, kept)
        return run(self._db, "compact", steps)

    def lag(self, after: Place | None, /, *, limit: int) -> Backlog:
        """Return how much lies after *after*, and waits: see ``LagStore.lag``.

        `stall` says for whom it waits.
        """
        check_bounds(limit=limit)
        return run(self._db, "lag", _log.lagging(self._names, after, limit))

    def stall(self) -> Stall:
        """Return how many events wait for transactions that began before theirs, and for which.

        A transaction that writes anywhere in the same server, prepared ones included, holds the
        frontier back until it ends: nothing is skipped meanwhile. What sessions of other users
        do is shown to members of ``pg_monitor`` only. One statement.

        Raises:
            OpenTransactionError: If the connection is inside a transaction.
            HistoryChangedError: If the log was moved.
        """
        return run(self._db, "stall", _stalls.stalling(self._names))


class PostgresStatsStore:
    """A stats store over a connection that its caller owns; one per thread.

    The numbers stand in tables that are made to be joined: ``<projection>_totals``
    (``skill_id``, a column per counter) and ``<projection>_daily`` or ``_hourly``
    (``day`` as a date in UTC or ``hour`` as a time, ``skill_id``, a column per rollup column).
    They hold signed sums. No method joins a transaction.

    Args:
        db: The connection. `create_tables` has been called on its database with the
            projection.
        projection: The projection whose stats these are.
        schema: Where the tables are.
        clock: Gives ``updated_at``.
    """

    def __init__(
        self,
        db: Connection,
        projection: Projection,
        *,
        schema: str = SCHEMA,
        clock: Clock = utc_now,
    ) -> None:
        self._db = db
        self._names = Names(schema)
        self._projection = projection
        self._clock = clock

    @property
    def projection(self) -> Projection:
        """The projection whose stats these are."""
        return self._projection

    def cursor(self) -> Cursor:
        """Return the stored cursor record: see ``StatsStore.cursor``."""
        return run(self._db, "cursor", _stats.cursor(self._names, self._projection))

    def commit(self, commit: Commit, /) -> CommitResult:
        """Add the deltas and store the cursor: see ``StatsStore.commit``."""
        steps = committing(self._names, self._projection, commit, self._now())
        return run(self._db, "commit", steps)

    def totals(self, skill_ids: Iterable[str] | None = None, /) -> Totals:
        """Return the totals of these skills, or of all: see ``StatsStore.totals``."""
        wanted = None if skill_ids is None else checked_skill_ids(skill_ids)
        return run(self._db, "totals", _stats.totals(self._names, self._projection, wanted))

    def rollups(
        self,
        skill_id: str,
        granularity: Granularity,
        /,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Rollups:
        """Return the rollups of one skill: see ``StatsStore.rollups``."""
        check_skill_id(skill_id)
        self._projection.check_granularity(granularity)
        buckets = buckets_between(since, until, granularity)
        steps = _stats.rollups(self._names, self._projection, skill_id, granularity, buckets)
        try:
            return run(self._db, "rollups", steps)
        except SchemaError:
            # No such rollups are stored: then another table has made the numbers.
            run(self._db, "rollups", _stats.readable(self._names, self._projection))
            raise

    def quarantine(self, *, limit: int) -> Quarantine:
        """Return what the table cannot count: see ``StatsStore.quarantine``."""
        check_bounds(limit=limit)
        steps = _stats.quarantine(self._names, self._projection, limit)
        return run(self._db, "quarantine", steps)

    def expire(self, granularity: Granularity, first: int, /, *, limit: int) -> Expired:
        """Delete the rollups before a bucket: see ``RetentionStore.expire``."""
        check_bounds(limit=limit)
        self._projection.check_granularity(granularity)
        steps = _expiring.expiring(
            self._names, self._projection, granularity, first, limit, self._now()
        )
        return run(self._db, "expire", steps)

    def forget(self, skill_id: str, /) -> bool:
        """Drop a skill for good: see ``StatsStore.forget``."""
        check_skill_id(skill_id)
        steps = _stats.forgetting(self._names, self._projection, skill_id, self._now())
        return run(self._db, "forget", steps)

    def sums(self) -> Sums:
        """Return what the stored numbers add up to: see ``SumStore.sums``."""
        return run(self._db, "sums", _generations.summing(self._names, self._projection))

    def building(self, name: str, /) -> PostgresStatsStore:
        """Return what is built under a name: see ``GenerationStore.building``."""
        check_building(name)
        names = self._names.serving
        steps = _generations.beginning(names, self._projection, name, self._now())
        built = run(self._db, "building", steps)
        store = copy.copy(self)
        store._names = names.built(name, built.generation)
        return store

    def swap(self, name: str, /) -> Cursor:
        """Put what was built in the place of what serves: see ``GenerationStore.swap``."""
        check_building(name)
        names = self._names.serving
        steps = _generations.swapping(names, self._projection, name, self._now())
        return run(self._db, "swap", steps)

    def discard(self, name: str, /) -> bool:
        """Drop what is built: see ``GenerationStore.discard``."""
        check_building(name)
        steps = _generations.discarding(self._names.serving, self._projection, name)
        return run(self._db, "discard", steps)

    def differences(self, name: str, /, *, limit: int) -> Comparison:
        """Compare the serving numbers with what was built: see ``GenerationStore.differences``."""
        check_building(name)
        check_bounds(limit=limit)
        steps = _generations.comparing(self._names.serving, self._projection, name, limit)
        return run(self._db, "differences", steps)

    def rollups_of(self, skill_ids: Iterable[str], over: Buckets, /) -> RollupsOf:
        """Return the rollups of these skills: see ``SeriesStore.rollups_of``."""
        wanted = checked_skill_ids(skill_ids)
        self._projection.check_granularity(over.granularity)
        steps = _reading.rollups_of(self._names, self._projection, wanted, over)
        try:
            return run(self._db, "rollups_of", steps)
        except SchemaError:
            # No such rollups are stored: then another table has made the numbers.
            run(self._db, "rollups_of", _stats.readable(self._names, self._projection))
            raise

    def ranked(self, order: Order, /, *, limit: int) -> Ranked:
        """Return the first skills in an order: see ``RankStore.ranked``."""
        check_bounds(limit=limit)
        order.check(self._projection)
        steps = _reading.ranking(self._names, self._projection, order, limit)
        return run(self._db, "ranked", steps)

    def publish(self, publication: Publication, /) -> int:
        """Store the boards: see ``BoardStore.publish``."""
        publication.check(self._projection)
        steps = _reading.publishing(self._names.serving, self._projection, publication, self._now())
        return run(self._db, "publish", steps)

    def board(self, name: str, /, *, version: int | None, after: int, limit: int) -> BoardRead:
        """Return a part of a published board: see ``BoardStore.board``."""
        part = (version, after, limit)
        steps = _reading.part_of(self._names.serving, self._projection, name, part, self._now())
        return run(self._db, "board", steps)

    def forgotten(self, skill_ids: Iterable[str], /) -> frozenset[str]:
        """Return those of these skills that are forgotten: see ``StatsStore.forgotten``."""
        steps = _stats.forgotten(self._names, checked_skill_ids(skill_ids))
        return run(self._db, "forgotten", steps)

    def note_error(self, text: str, /) -> None:
        """Keep what went wrong last: see ``NoteStore.note_error``."""
        steps = _stats.noting(self._names, self._projection, text, self._now())
        run(self._db, "note_error", steps)

    def last_error(self) -> Note | None:
        """Return what went wrong last: see ``NoteStore.last_error``."""
        return run(self._db, "last_error", _stats.last_error(self._names, self._projection))

    def _now(self) -> datetime:
        return from_microseconds(microseconds(self._clock()))


class PostgresBadgeStore:
    """A store of badges over a connection that its caller owns; one per thread.

    They stand in the table ``skillstat_badges`` (``skill_id``, ``kind``, ``by_user_id``,
    ``at_us`` in microseconds since 1970), which is made to be joined. ``set`` and ``clear``
    join the caller's transaction; on a connection without autocommit that is always so, and
    the caller commits. ``badge_maps`` refuses one; it is one query.

    Args:
        db: The connection. `create_tables` has been called on its database.
        schema: Where the tables are.
    """

    def __init__(self, db: Connection, *, schema: str = SCHEMA) -> None:
        self._db = db
        self._names = Names(schema)

    def set(self, skill_id: str, kind: str, badge: Badge, /) -> bool:
        """Give a skill a badge: see ``BadgeStore.set``.

        Raises:
            StoreBusyError: Also where the isolation level of the caller's transaction does not
                let it change what another has changed: begin it anew.
        """
        check_skill_id(skill_id)
        check_badge(badge)
        steps = _badges.setting(self._names, skill_id, checked_kind(kind), badge)
        return join(self._db, steps) if is_joining(self._db) else run(self._db, "set", steps)

    def clear(self, skill_id: str, kind: str, /) -> bool:
        """Take a badge away: see ``BadgeStore.clear``.

        Raises:
            StoreBusyError: As in ``set``.
        """
        check_skill_id(skill_id)
        steps = _badges.clearing(self._names, skill_id, checked_kind(kind))
        return join(self._db, steps) if is_joining(self._db) else run(self._db, "clear", steps)

    def badge_maps(self, skill_ids: Iterable[str], /) -> list[tuple[str, BadgeMap]]:
        """Return each of the skills with its badges: see ``BadgeStore.badge_maps``."""
        wanted = checked_skill_ids(skill_ids)
        return run(self._db, "badge_maps", _badges.mapping(self._names, wanted))

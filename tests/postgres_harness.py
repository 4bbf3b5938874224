"""How the kit reaches the stores on PostgreSQL: a schema for each site, connections that last.

To make a schema takes longer than a case. So one that has served is emptied, to the state of a
new one, and serves again; and the connection of a client that was closed is taken by the next.
"""

from __future__ import annotations

import asyncio
import atexit
import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from datetime import datetime, timedelta, timezone
from typing import Any

import attrs
import psycopg
from psycopg.sql import Literal

from skillstat_agg import Appended, Event, Projection
from skillstat_agg.backends.postgres import (
    PostgresBadgeStore,
    PostgresEventStore,
    PostgresStatsStore,
    aio,
    create_tables,
)
from skillstat_agg.backends.postgres._connections import translated
from skillstat_agg.backends.postgres._names import Names
from skillstat_agg.backends.postgres._schema import stats_tables
from skillstat_agg.errors import TableChangedError
from skillstat_agg.testing import AsyncClient, Client, Harness, JoinedAppend, Setting, Writers
from skillstat_agg.testing._harness import AnyHarness
from tests.postgres_server import fresh_database, running_server
from tests.postgres_spies import (
    AsyncSpiedConnection,
    AsyncSpiedCursor,
    Prepared,
    SpiedConnection,
    SpiedCursor,
    no_io,
)

CLEARED = (
    "skillstat_events",
    "skillstat_event_ids",
    "skillstat_readers",
    "skillstat_cursors",
    "skillstat_forgotten",
    "skillstat_parked",
    "skillstat_boards",
    "skillstat_board_entries",
    "skillstat_errors",
    "skillstat_badges",
)
SEQUENCE = "skillstat_events_seq_seq"

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)

SOON = "-c synchronous_commit=off -c plan_cache_mode=force_generic_plan"


@attrs.frozen
class AsyncJoinedAppend:
    """An open append that joins the transaction of an asynchronous connection."""

    connection: AsyncSpiedConnection
    events: aio.PostgresEventStore

    async def append(self, events: Iterable[Event], /) -> Appended:
        return await self.events.append(events)

    async def commit(self) -> None:
        with translated():
            await self.connection.commit()

    async def rollback(self) -> None:
        with translated():
            await self.connection.rollback()


# Sites


@attrs.define(eq=False)
class Site:
    """A schema that serves as a site.

    Attributes:
        number: Which one it is.
        spare: Projections, by name, whose tables are left from another time: empty, and
            without a cursor record.
        declared: Projections that clients have declared here, by name.
    """

    number: int
    spare: dict[str, Projection] = attrs.field(factory=dict)
    declared: dict[str, list[Projection]] = attrs.field(factory=dict)

    @property
    def schema(self) -> str:
        """The name of the schema: one that is not easy to quote."""
        return f'it\'s "site" {self.number} 100%'

    def name(self, table: str) -> str:
        """Return the name of a table as it stands in a statement without parameters."""
        return Names(self.schema)[table].replace("%%", "%")

    def tables(self, projections: Iterable[Projection]) -> list[str]:
        """Return the tables of projections, as they stand in a statement without parameters."""
        names, tables = Names(self.schema), set[str]()
        for projection in projections:
            tables.add(names.totals(projection.name))
            tables |= {names.rollups(projection.name, each) for each in projection.granularities}
        return sorted(table.replace("%%", "%") for table in tables)

    def note(self, projection: Projection) -> None:
        """Note that a projection was declared."""
        known = self.declared.setdefault(projection.name, [])
        if projection not in known:
            known.append(projection)


@attrs.define(eq=False)
class Sites:
    """A database in which each site is a schema of its own.

    Attributes:
        conninfo: How to reach the database; None: the first site starts a server for it.
    """

    conninfo: str | None = None
    _free: list[Site] = attrs.field(factory=list)
    _idle: dict[object, list[Any]] = attrs.field(factory=dict)
    _numbers: Iterator[int] = attrs.field(factory=itertools.count)
    _keeper: psycopg.Connection[Any] | None = None

    @contextmanager
    def at(self, conninfo: str) -> Iterator[None]:
        """Have the sites in this database, as long as it is there."""
        self.conninfo = conninfo
        try:
            yield
        finally:
            for db in itertools.chain(*self._idle.values(), [self._keeper]):
                if db is not None:
                    db.pgconn.finish()
            self.conninfo, self._keeper = None, None
            self._idle.clear()
            self._free.clear()

    def place(self) -> str:
        """Return how to reach the database."""
        if self.conninfo is None:  # somebody replays a case
            stack = ExitStack()
            server = stack.enter_context(running_server())
            self.conninfo = stack.enter_context(fresh_database(server))
            atexit.register(stack.close)
        return self.conninfo

    @property
    def keeper(self) -> psycopg.Connection[Any]:
        """What works behind the stores' backs: no trigger of theirs is in its way."""
        if self._keeper is None:
            options = f"{SOON} -c session_replication_role=replica -c lock_timeout=1000"
            self._keeper = psycopg.connect(self.place(), autocommit=True, options=options)
            self._keeper._prepared = Prepared()
        return self._keeper

    def execute(self, text: str, *values: object) -> psycopg.Cursor[Any]:
        """Run a statement behind the stores' backs."""
        literal: Any = text
        return self.keeper.execute(literal, values or None)

    @contextmanager
    def site(self) -> Iterator[Site]:
        """Give an empty site: one that was made now, or emptied."""
        site = self._free.pop() if self._free else self._made()
        yield site
        self._empty(site)
        self._free.append(site)

    def _made(self) -> Site:
        site = Site(next(self._numbers))
        create_tables(self.keeper, schema=site.schema)
        deletes = "".join(f" DELETE FROM {site.name(table)};" for table in CLEARED)
        sequence, schema = (
            Literal(text).as_string() for text in (site.name(SEQUENCE), site.schema)
        )
        self.execute(
            f"CREATE FUNCTION emptied_{site.number}() RETURNS void LANGUAGE plpgsql AS $$"
            " DECLARE built record; BEGIN FOR built IN SELECT schemaname, tablename FROM pg_tables"
            f" JOIN {site.name('skillstat_cursors')} ON building <> '' AND schemaname = {schema}"
            " AND starts_with(tablename, format('skillstat_g%s_%s_', generation, projection))"
            " LOOP EXECUTE format('DROP TABLE IF EXISTS %I.%I', built.schemaname, built.tablename);"
            f" END LOOP;{deletes}"
            f" UPDATE {site.name('skillstat_schema')} SET epoch = gen_random_uuid()::text;"
            f" PERFORM setval({sequence}, 1, false); END $$"
        )
        return site

    def _empty(self, site: Site) -> None:
        """Put a site back to the state of a new one, but for tables that nobody has declared."""
        for name, projections in site.declared.items():
            if len(projections) == 1:
                (site.spare[name],) = projections
            else:  # one may have taken over from another, and have columns of both
                self._drop(site, projections)
        used = [site.spare[name] for name in site.declared if name in site.spare]
        deletes = "".join(
            f"_{number} AS (DELETE FROM {table}), "
            for number, table in enumerate(site.tables(used))
        )
        self.execute(f"WITH {deletes}_ AS (SELECT 1) SELECT emptied_{site.number}()")
        site.declared.clear()

    def _drop(self, site: Site, projections: Iterable[Projection]) -> None:
        self.execute(f"DROP TABLE IF EXISTS {', '.join(site.tables(projections))}")

    def is_declared(self, site: Site, setting: Setting) -> bool:
        """Return whether a projection is declared: where its tables are there, it is now."""
        projection = setting.projection
        if site.declared.get(projection.name) == [projection]:
            return True
        spare = site.spare.pop(projection.name, None)
        if spare != projection:
            if spare is not None:
                self._drop(site, [spare])
            return False
        *_, record = stats_tables(Names(site.schema), projection, setting.clock())
        self.execute(record.replace("%%", "%"))
        site.note(projection)
        return True

    @contextmanager
    def copy(self, site: Site) -> Iterator[Site]:
        """Give another site with the same rows, as a restored backup has them."""
        with self.site() as there:
            with self.keeper.transaction():
                self._copy(site, there)
            yield there

    def _copy(self, site: Site, there: Site) -> None:
        for table in self._column(
            f"SELECT declared FROM {site.name('skillstat_cursors')} WHERE building = ''"
        ):
            projection = Projection.from_table(table)
            self._drop(there, [there.spare.pop(projection.name, projection)])
            for statement in stats_tables(Names(there.schema), projection, NOON):
                self.execute(statement.replace("%%", "%"))
            there.note(projection)
        for table in self._tables(site):
            columns = ", ".join(
                self._column(
                    "SELECT quote_ident(attname) FROM pg_attribute"
                    " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
                    site.name(table),
                )
            )
            self.execute(f"DELETE FROM {there.name(table)}")
            self.execute(
                f"INSERT INTO {there.name(table)} ({columns}) OVERRIDING SYSTEM VALUE"
                f" SELECT {columns} FROM {site.name(table)}"
            )
        for name in (SEQUENCE, "skillstat_parked_number_seq"):
            sequence = Literal(there.name(name)).as_string()
            self.execute(f"SELECT setval({sequence}, last_value, is_called) FROM {site.name(name)}")

    def raw(self, site: Site) -> object:
        """Return every row of every table of a site."""
        return {
            table: sorted(
                self._column(f"SELECT row_to_json(_row)::text FROM {site.name(table)} AS _row")
            )
            for table in self._tables(site)
        }

    def _tables(self, site: Site) -> list[str]:
        """Return the tables of a site, without the spare ones."""
        there = self._column("SELECT tablename FROM pg_tables WHERE schemaname = %s", site.schema)
        spare = site.tables(site.spare.values())
        return [table for table in there if site.name(table) not in spare]

    def _column(self, query: str, *values: object) -> list[str]:
        return [text for (text,) in self.execute(query, *values)]

    # Clients

    @contextmanager
    def client(self, site: Site, setting: Setting, *, options: str) -> Iterator[Client]:
        """Open a client, over a connection that somebody may have used before."""
        with self._connection(options) as db:
            where: Any = {"schema": site.schema, "clock": setting.clock}
            if not self.is_declared(site, setting):
                with suppress(TableChangedError):  # refused until a rebuild
                    create_tables(db, setting.projection, **where)
                site.note(setting.projection)
            events = PostgresEventStore(db, **where)
            stats = PostgresStatsStore(db, setting.projection, **where)

            def begin() -> JoinedAppend:
                with translated():
                    db.execute("BEGIN")
                return JoinedAppend(db, events, translated)

            db.io = setting.io
            badges = PostgresBadgeStore(db, schema=site.schema)
            yield Client(events=events, stats=stats, begin=begin, badges=badges)

    @contextmanager
    def _connection(self, options: str) -> Iterator[SpiedConnection]:
        idle = self._idle.setdefault(options, [])
        db = idle.pop() if idle else self._connected(options)
        try:
            yield db
        finally:
            db.io = no_io
            with suppress(psycopg.Error):
                db.rollback()
                db.set_autocommit(True)
                idle.append(db)

    def _connected(self, options: str) -> SpiedConnection:
        db = SpiedConnection.connect(
            self.place(), autocommit=True, options=options, cursor_factory=SpiedCursor
        )
        db._prepared = Prepared()
        return db

    @asynccontextmanager
    async def async_client(
        self, site: Site, setting: Setting, *, options: str
    ) -> AsyncIterator[AsyncClient]:
        """Open an asynchronous client; its connection may have been used on another loop."""
        async with self._async_connection(options) as db:
            where: Any = {"schema": site.schema, "clock": setting.clock}
            if not self.is_declared(site, setting):
                with suppress(TableChangedError):  # refused until a rebuild
                    await aio.create_tables(db, setting.projection, **where)
                site.note(setting.projection)
            events = aio.PostgresEventStore(db, **where)
            stats = aio.PostgresStatsStore(db, setting.projection, **where)

            async def begin() -> AsyncJoinedAppend:
                with translated():
                    await db.execute("BEGIN")
                return AsyncJoinedAppend(db, events)

            db.io = setting.io
            badges = aio.PostgresBadgeStore(db, schema=site.schema)
            yield AsyncClient(events=events, stats=stats, begin=begin, badges=badges)

    @asynccontextmanager
    async def _async_connection(self, options: str) -> AsyncIterator[AsyncSpiedConnection]:
        idle = self._idle.setdefault(f"async {options}", [])
        db = idle.pop() if idle else await self._async_connected(options)
        db.lock = asyncio.Lock()  # the one it had may belong to the loop that it was used on
        try:
            yield db
        finally:
            db.io = no_io
            with suppress(psycopg.Error):
                await db.rollback()
                await db.set_autocommit(True)
                idle.append(db)

    async def _async_connected(self, options: str) -> AsyncSpiedConnection:
        db = await AsyncSpiedConnection.connect(
            self.place(), autocommit=True, options=options, cursor_factory=AsyncSpiedCursor
        )
        db._prepared = Prepared()
        return db

    def harness(
        self, *, is_async: bool = False, waits: bool = False, io: bool = True
    ) -> AnyHarness:
        """Return a harness of the stores in this database.

        Args:
            is_async: Whether they are the asynchronous ones.
            waits: Whether clients wait for each other's locks; if not, they are soon refused.
            io: Whether others may move, and faults happen, at the statements.
        """
        options = f"{SOON} -c lock_timeout={1_000 if waits else 1}"
        opened: Callable[..., Any] = self.async_client if is_async else self.client

        def client(site: Site, setting: Setting) -> Any:
            told = setting if io else attrs.evolve(setting, io=no_io)
            return opened(site, told, options=options)

        return Harness(
            site=self.site,
            client=client,
            writers=Writers.HORIZON,
            io=io,
            blocks=waits,
            any_thread=True,
            copy=self.copy,
            raw=self.raw,
            waits_after=timedelta(seconds=0.01),
        )

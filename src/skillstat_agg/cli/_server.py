"""A database on a PostgreSQL server, by its URL. No password gets into what is printed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import psycopg
from psycopg.conninfo import conninfo_to_dict

from skillstat_agg import Projection
from skillstat_agg.backends.postgres import (
    PostgresBadgeStore,
    PostgresEventStore,
    PostgresStatsStore,
    create_tables,
    stored_projections,
)
from skillstat_agg.backends.postgres._connections import translated
from skillstat_agg.backends.postgres._names import Names
from skillstat_agg.backends.postgres._running import run
from skillstat_agg.backends.postgres._schema import SCHEMA, has_tables
from skillstat_agg.cli._errors import failure
from skillstat_agg.cli._patience import never
from skillstat_agg.errors import (
    HistoryChangedError,
    SchemaError,
    StoreBusyError,
    StoreUnavailableError,
)

UNREADABLE = (
    "the URL cannot be read; it has the form postgresql://USER:PASSWORD@HOST:PORT/DATABASE, and"
    " what is special in a part of it is written as in every URL: @ is %40, / is %2F, : is %3A"
)
APPLICATION = "skillstat"


@attrs.frozen
class OpenedServer:
    """A schema with a connection to its database: see `Opened`."""

    db: psycopg.Connection[Any]
    schema: str

    def events(self, *projections: Projection) -> PostgresEventStore:
        """Return its log."""
        return PostgresEventStore(self.db, schema=self.schema, projections=projections)

    def stats(self, projection: Projection) -> PostgresStatsStore:
        """Return the stats of a projection."""
        return PostgresStatsStore(self.db, projection, schema=self.schema)

    def badges(self) -> PostgresBadgeStore:
        """Return its badges."""
        return PostgresBadgeStore(self.db, schema=self.schema)

    def projections(self) -> tuple[Projection, ...]:
        """Return the projections that it holds."""
        return stored_projections(self.db, schema=self.schema)

    def create(self, *projections: Projection) -> None:
        """Make the tables that are not there yet."""
        create_tables(self.db, *projections, schema=self.schema)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit everything that is done inside, or nothing."""
        with translated(), self.db.transaction():
            yield

    def holders(self) -> list[str]:
        """Return for which transactions events wait."""
        return [str(each) for each in self.events().stall().holders]


@attrs.frozen
class Server:
    """A database that a command was given by its URL: see `Database`.

    Attributes:
        url: The URL, with a password perhaps.
        schema: Where the tables are.
    """

    url: str = attrs.field(repr=False)
    schema: str
    what = "schema"

    def __str__(self) -> str:
        parts = conninfo_to_dict(self.url)
        user = f"{parts['user']}@" if "user" in parts else ""
        port = f":{parts['port']}" if "port" in parts else ""
        place = f"{user}{parts.get('host', '')}{port}/{parts.get('dbname', '')}"
        return f"postgresql://{place} schema {self.schema!r}"

    @contextmanager
    def opened(
        self,
        *,
        is_enough: Callable[[], bool] = never,  # noqa: ARG002 - waits are for one commit, or segment
    ) -> Iterator[OpenedServer]:
        """Give a connection to a schema that has tables of ours."""
        with self.created() as opened:
            if not _has_tables(opened):
                raise failure(
                    f"{self}: there are no tables; skillstat init or skillstat append makes them"
                )
            yield opened

    @contextmanager
    def created(self) -> Iterator[OpenedServer]:
        """Give a connection to the database."""
        try:
            with translated():
                db = psycopg.connect(
                    self.url, autocommit=True, fallback_application_name=APPLICATION
                )
            with db:
                yield OpenedServer(db, self.schema)
        except (
            HistoryChangedError,
            SchemaError,
            StoreBusyError,
            StoreUnavailableError,
            psycopg.Error,
        ) as error:
            raise failure(f"{self}: {error}") from error

    def is_new(self) -> bool:
        """Return whether the schema has no tables of ours yet."""
        with self.created() as opened:
            return not _has_tables(opened)


def _has_tables(opened: OpenedServer) -> bool:
    """Return whether tables of ours are there."""
    return run(opened.db, "has_tables", has_tables(Names(opened.schema)))


def server(url: str, schema: str | None) -> Server:
    """Return the database that a URL names.

    Raises:
        ValueError: If it cannot be read. What the client library says about that may hold a
            part of the password, and is not told.
    """
    try:
        parts = conninfo_to_dict(url)
    except psycopg.Error:
        raise ValueError(UNREADABLE) from None
    ports = str(parts.get("port", "0")).split(",")
    if "@" in str(parts.get("host", "")) + str(parts.get("dbname", "")) or not all(
        port == "" or port.isdecimal() for port in ports
    ):
        raise ValueError(UNREADABLE)
    return Server(url, SCHEMA if schema is None else schema)

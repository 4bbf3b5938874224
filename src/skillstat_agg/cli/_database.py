"""What a command works on: an SQLite file, or a schema of a PostgreSQL database."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import click
from typing_extensions import Protocol

from skillstat_agg import (
    BadgeStore,
    BoardStore,
    ExtentStore,
    FreshLog,
    GenerationStore,
    NoteStore,
    Projection,
    RankStore,
    RetentionStore,
    SeriesStore,
    StatsStore,
    SumStore,
)
from skillstat_agg.cli._errors import failure
from skillstat_agg.cli._file import File

SCHEMES = ("postgresql://", "postgres://")
_SERVER = re.compile(r"://|\b(password|host|dbname)\s*=", re.IGNORECASE)


class Log(FreshLog, ExtentStore, Protocol):
    """What commands need of a log."""


class Numbers(
    StatsStore,
    SumStore,
    GenerationStore,
    RetentionStore,
    SeriesStore,
    RankStore,
    BoardStore,
    NoteStore,
    Protocol,
):
    """What commands need of the stats of a projection."""


class Opened(Protocol):
    """A database with a connection to it."""

    def events(self, *projections: Projection) -> Log:
        """Return its log; it takes what these projections can count."""
        ...

    def stats(self, projection: Projection) -> Numbers:
        """Return the stats of a projection that it holds."""
        ...

    def badges(self) -> BadgeStore:
        """Return its badges."""
        ...

    def projections(self) -> tuple[Projection, ...]:
        """Return the projections that it holds, by name."""
        ...

    def create(self, *projections: Projection) -> None:
        """Make the tables that are not there yet."""
        ...

    def transaction(self) -> AbstractContextManager[None]:
        """Commit everything that is done inside, or nothing."""
        ...

    def holders(self) -> list[str] | None:
        """Return whom events wait for that cannot be read yet; None: none ever waits."""
        ...


class Database(Protocol):
    """A database that a command was given. Its ``str`` names it, without a password."""

    @property
    def what(self) -> str:
        """What it is, in a word."""
        ...

    def opened(self, *, is_enough: Callable[[], bool] = ...) -> AbstractContextManager[Opened]:
        """Give a connection to one that is there, and name it in what goes wrong.

        Args:
            is_enough: Says that this program waits no longer for others, where it would not be
                interrupted. By default it never is.
        """
        ...

    def created(self) -> AbstractContextManager[Opened]:
        """Give a connection to one that is made where it is missing."""
        ...

    def is_new(self) -> bool:
        """Return whether it has no tables of ours yet."""
        ...


def named(target: str, schema: str | None) -> Database:
    """Return the database that a command was given.

    Args:
        target: A path, or a URL.
        schema: The schema in a database on a server; None: the usual one.
    """
    if target.startswith(SCHEMES):
        try:
            # Not with the other imports: who works on files needs no driver, nor the time it takes.
            server = importlib.import_module("skillstat_agg.cli._server")
        except ModuleNotFoundError as error:
            raise failure(
                "a postgresql:// URL needs psycopg: install skillstat-agg[postgres]"
            ) from error
        try:
            database: Database = server.server(target, schema)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="'--db'") from None
        return database
    if _SERVER.search(target):
        raise click.BadParameter(  # it may hold a password, so it is not repeated
            "name a server as postgresql://USER:PASSWORD@HOST/DATABASE, or give the path of a file",
            param_hint="'--db'",
        )
    if schema is not None:
        raise click.UsageError("--schema goes with a postgresql:// URL; a file has no schemas")
    try:
        path = click.Path(dir_okay=False, path_type=Path).convert(target, None, None)
    except click.BadParameter as error:
        raise click.BadParameter(error.message, param_hint="'--db'") from error
    return File(Path(path))


def chosen_projection(db: Opened, what: str, name: str | None) -> Projection:
    """Return the projection that the database holds, or the one of that name."""
    chosen = chosen_projections(db, what, name)
    if len(chosen) > 1:
        names = ", ".join(projection.name for projection in chosen)
        raise click.UsageError(f"--projection is needed, since the {what} holds several: {names}")
    return chosen[0]


def chosen_projections(db: Opened, what: str, name: str | None) -> Sequence[Projection]:
    """Return the projections that the database holds, by name, or the one of that name."""
    stored = {projection.name: projection for projection in db.projections()}
    if not stored:
        raise failure(f"the {what} holds no projection; skillstat init adds one")
    if name is None:
        return tuple(stored.values())
    if name not in stored:
        names = ", ".join(stored)
        raise click.UsageError(f"the {what} holds no projection {name!r}; it holds {names}")
    return (stored[name],)

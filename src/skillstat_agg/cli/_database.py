"""The SQLite file that a command works on."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import click

from skillstat_agg import Projection
from skillstat_agg.backends.sqlite import stored_projections
from skillstat_agg.cli._errors import failure
from skillstat_agg.errors import SchemaError, StoreBusyError, StoreUnavailableError

BUSY_SECONDS = 60.0
"""How long SQLite waits for another program: one that appends a large log may take a while."""


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Give a connection to a file that is there."""
    if not path.exists():
        raise failure(f"{path} does not exist; skillstat init or skillstat append creates it")
    with _connected(path, "rw") as db:
        yield db


@contextmanager
def created(path: Path) -> Iterator[sqlite3.Connection]:
    """Give a connection to a file that is made where it is missing."""
    with _connected(path, "rwc") as db:
        yield db


@contextmanager
def _connected(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    """Give a connection, and name the file in what goes wrong with it."""
    try:
        with closing(
            sqlite3.connect(
                f"{path.absolute().as_uri()}?mode={mode}",
                uri=True,
                isolation_level=None,
                timeout=BUSY_SECONDS,
            )
        ) as db:
            yield db
    except (SchemaError, StoreBusyError, StoreUnavailableError, sqlite3.Error) as error:
        raise failure(f"{path}: {error}") from error


def is_new(path: Path) -> bool:
    """Return whether nobody has written to the file yet."""
    return not path.exists() or path.stat().st_size == 0


def chosen_projection(db: sqlite3.Connection, name: str | None) -> Projection:
    """Return the projection that the file holds, or the one of that name."""
    stored = {projection.name: projection for projection in stored_projections(db)}
    names = ", ".join(stored)
    if not stored:
        raise failure("the file holds no projection; skillstat init adds one")
    if name is None and len(stored) > 1:
        raise click.UsageError(f"--projection is needed, since the file holds several: {names}")
    if name is not None and name not in stored:
        raise click.UsageError(f"the file holds no projection {name!r}; it holds {names}")
    return stored[name] if name is not None else next(iter(stored.values()))

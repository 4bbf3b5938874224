"""Connections over psycopg that tell the kit when they do something, and prepare all they do."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Generator
from enum import Enum
from typing import Any, TypeAlias, TypeVar

import psycopg
from psycopg._preparing import Prepare, PrepareManager
from psycopg.pq import Format, TransactionStatus

T = TypeVar("T")

Steps: TypeAlias = Generator[Any, Any, T]
"""What a driver does at its socket."""

PLANNED = (b"SELECT", b"WITH", b"INSERT", b"UPDATE", b"DELETE")


class Kind(Enum):
    """What a statement does, as far as I/O points go."""

    READS = "one point before it"
    WRITES = "one before it, and one behind it if it has landed"
    SILENT = "none"


def no_io() -> None:
    """Pass an I/O point."""


def spied(db: Any, query: str | bytes, steps: Steps[T]) -> Steps[T]:
    """Pass an I/O point before a statement, and one after what has landed: an answer may be lost.

    None for a rollback: a database does that by itself, once a connection is lost. None for a
    savepoint: the one before the statement behind it is as good.
    """
    kind = kind_of(query)
    if kind is Kind.SILENT:
        return (yield from steps)
    db.io()
    answer = yield from steps
    if kind is Kind.WRITES and db.pgconn.transaction_status == TransactionStatus.IDLE:
        db.io()
    return answer


@functools.lru_cache(maxsize=10_000)
def kind_of(query: str | bytes) -> Kind:
    """Return what a statement does, as far as I/O points go."""
    text = query if isinstance(query, str) else query.decode()
    if text.startswith(("ROLLBACK", "SAVEPOINT")):
        return Kind.SILENT
    return Kind.WRITES if re.search(r"\b(COMMIT|INSERT|UPDATE|DELETE)\b", text) else Kind.READS


class SpiedCursor(psycopg.Cursor[Any]):
    """A cursor whose statements are I/O points."""

    def _execute_gen(self, query: Any, *given: Any, **named: Any) -> Steps[None]:
        return spied(self._conn, query, super()._execute_gen(query, *given, **named))

    def _start_copy_gen(self, statement: Any, params: Any = None) -> Steps[None]:
        return spied(self._conn, statement, super()._start_copy_gen(statement, params))


class AsyncSpiedCursor(psycopg.AsyncCursor[Any]):
    """A cursor whose statements are I/O points."""

    def _execute_gen(self, query: Any, *given: Any, **named: Any) -> Steps[None]:
        return spied(self._conn, query, super()._execute_gen(query, *given, **named))

    def _start_copy_gen(self, statement: Any, params: Any = None) -> Steps[None]:
        return spied(self._conn, statement, super()._start_copy_gen(statement, params))


class SpiedConnection(psycopg.Connection[Any]):
    """A connection whose savepoints and commits are I/O points, too."""

    io: Callable[[], None] = staticmethod(no_io)

    def _exec_command(self, command: Any, result_format: Any = Format.TEXT) -> Steps[Any]:
        return spied(self, command, super()._exec_command(command, result_format))


class AsyncSpiedConnection(psycopg.AsyncConnection[Any]):
    """A connection whose savepoints and commits are I/O points, too."""

    io: Callable[[], None] = staticmethod(no_io)

    def _exec_command(self, command: Any, result_format: Any = Format.TEXT) -> Steps[Any]:
        return spied(self, command, super()._exec_command(command, result_format))


class Prepared(PrepareManager):
    """Has every statement prepared, and for good: most of what a small one costs is its plan.

    The server makes a plan anew by itself once a table has changed.
    """

    prepared_max = 2_000

    def get(self, query: Any, prepare: bool | None = None) -> tuple[Prepare, bytes]:
        # The stores say no, since a pooler may stand between.
        return super().get(query, query.query.lstrip().startswith(PLANNED))

    def clear(self) -> bool:
        return False

    def _should_discard(self, *given: Any, **named: Any) -> bool:
        return False

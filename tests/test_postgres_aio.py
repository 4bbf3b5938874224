"""The asynchronous stores on PostgreSQL are the synchronous ones, down to the text."""

from __future__ import annotations

import ast
import asyncio
import inspect
from types import ModuleType

import psycopg
import pytest

from skillstat_agg import SKILL_STATS
from skillstat_agg import aio as core_aio
from skillstat_agg.backends.postgres import (
    _running,
    _running_async,
    _stores,
    aio,
    stored_projections,
)
from skillstat_agg.errors import EventIdConflictError, OpenTransactionError
from tests.logs import download
from tests.postgres_server import Server, fresh_database
from tests.test_aio import TakeAway

OTHER_NAMES = {
    "AsyncConnection": "Connection",
    "AsyncCursor": "Cursor",
    "AsyncIterator": "Iterator",
    "asynccontextmanager": "contextmanager",
    "skillstat_agg.backends.postgres._running_async": "skillstat_agg.backends.postgres._running",
}


class Synchronous(TakeAway):
    """Takes what is asynchronous out of a whole module, with the names that go with it."""

    def visit_AsyncWith(self, node: ast.AsyncWith) -> ast.AST:  # noqa: N802
        self.generic_visit(node)
        return ast.With(items=node.items, body=node.body)

    def visit_Name(self, node: ast.Name) -> ast.AST:  # noqa: N802
        return ast.Name(id=OTHER_NAMES.get(node.id, node.id), ctx=node.ctx)

    def visit_alias(self, node: ast.alias) -> ast.AST:
        return ast.alias(name=OTHER_NAMES.get(node.name, node.name), asname=node.asname)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:  # noqa: N802
        self.generic_visit(node)
        module = OTHER_NAMES.get(node.module or "", node.module)
        return ast.ImportFrom(module=module, names=node.names, level=node.level)


def without_docstring(source: str) -> ast.Module:
    module = ast.parse(source)
    return ast.Module(body=module.body[1:], type_ignores=[])


def is_twin(synchronous: str, asynchronous: str) -> bool:
    """Return whether two modules differ in nothing but being awaited."""
    other = Synchronous().visit(without_docstring(asynchronous))
    return ast.dump(without_docstring(synchronous)) == ast.dump(other)


@pytest.mark.parametrize(
    ("one", "other"), [(_stores, aio), (_running, _running_async)], ids=["stores", "running"]
)
def test_the_two_texts_are_equal(one: ModuleType, other: ModuleType) -> None:
    """Each module is the other one, down to its docstrings."""
    source = inspect.getsource(other)

    assert is_twin(inspect.getsource(one), source)
    assert not is_twin(inspect.getsource(one), source.replace("db", "self", 1))
    assert "await" in source


def test_a_service_appends_and_drains(postgres: Server) -> None:
    """The ten lines that a service would write."""
    with fresh_database(postgres) as conninfo:
        asyncio.run(_serve(conninfo))
        with psycopg.connect(conninfo) as db:
            assert stored_projections(db) == (SKILL_STATS,)


async def _serve(conninfo: str) -> None:
    async with await psycopg.AsyncConnection.connect(conninfo) as db:
        await aio.create_tables(db, SKILL_STATS)
        log, stats = aio.PostgresEventStore(db), aio.PostgresStatsStore(db, SKILL_STATS)
        async with db.transaction():
            await log.append([download("a", event_id="one")])
            with pytest.raises(OpenTransactionError):
                await stats.cursor()
            with pytest.raises(EventIdConflictError, match="one"):
                await log.append([download("b", event_id="one")])
        await log.append([download("b")] * 300)
        await db.commit()
        report = await core_aio.drain(log, stats)

        assert (report.events, report.at_frontier) == (301, True)
        assert {skill: row["downloads"] for skill, row in (await stats.totals()).items()} == {
            "a": 1,
            "b": 300,
        }
        assert (await log.stall()).waiting == 0
        assert await aio.new_epoch(db)
        assert (await core_aio.drain(log, stats)).events == 0
        assert await stats.forget("b")
        assert await aio.stored_projections(db) == (SKILL_STATS,)
        assert not db.autocommit

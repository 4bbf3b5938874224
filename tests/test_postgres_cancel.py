"""A call that is cancelled at any of its awaits has done all or nothing, and can be made again."""

from __future__ import annotations

import asyncio
import itertools
import select
import types
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

import attrs
import psycopg
import pytest
from psycopg.pq import TransactionStatus

from skillstat_agg import SKILL_STATS, Event, Granularity, drain
from skillstat_agg import aio as core
from skillstat_agg._folding import commit_of
from skillstat_agg._pages import Portion
from skillstat_agg.backends.postgres import PostgresEventStore, _log, aio
from skillstat_agg.errors import EventIdConflictError
from skillstat_agg.testing import Client, Setting
from tests.logs import NOON, download
from tests.postgres_harness import Sites
from tests.postgres_server import Server, fresh_database

T = TypeVar("T")

sites = Sites()


@pytest.fixture(scope="module", autouse=True)
def database(postgres: Server) -> Iterator[None]:
    with fresh_database(postgres) as conninfo, sites.at(conninfo):
        yield


@pytest.fixture(autouse=True)
def many_awaits(monkeypatch):
    """The driver gives way at every call, and not only where it has been busy for a while."""
    monkeypatch.setattr("psycopg.waiting.MAX_BUSY_TIME", 0)
    monkeypatch.setattr(_log, "MANY", 4)


# Cancelling


@attrs.define
class Moment:
    """When a call is cancelled: at one of its awaits.

    Attributes:
        number: Which one, from 1 on.
        is_answered: Whether the server has answered by then, and nobody has read it; if not,
            the call is cancelled at once.
        has_come: Whether the call was cancelled.
    """

    number: int
    is_answered: bool
    has_come: bool = False

    async def cancel(self, call: Coroutine[Any, Any, T], db: Connection) -> T:
        """Return what *call* returns, if it does so before the moment has come."""
        return await self._stepped(call, db)

    @types.coroutine
    def _stepped(self, call: Coroutine[Any, Any, T], db: Connection) -> Generator[Any, Any, T]:
        error: BaseException | None = None
        for number in itertools.count(1):
            try:
                awaited = call.send(None) if error is None else call.throw(error)
            except StopIteration as end:
                result: T = end.value
                return result
            if number == self.number:
                self._come(db, is_waiting=awaited is not None)
            error = None
            try:
                yield awaited
            except BaseException as found:  # noqa: BLE001 - it is meant for the call
                error = found
        raise AssertionError

    def _come(self, db: Connection, *, is_waiting: bool) -> None:
        is_active = db.info.transaction_status == TransactionStatus.ACTIVE
        if self.is_answered and is_waiting and is_active:
            assert select.select([db.fileno()], [], [], 10) != ([], [], [])
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        self.has_come = True


# What is called


Connection: TypeAlias = psycopg.AsyncConnection[Any]


@attrs.frozen
class Stores:
    """The stores of one connection, and what stands in them, seen from outside."""

    db: Connection
    schema: str
    outside: Client

    @property
    def events(self) -> aio.PostgresEventStore:
        return aio.PostgresEventStore(self.db, schema=self.schema, clock=lambda: NOON)

    @property
    def stats(self) -> aio.PostgresStatsStore:
        return aio.PostgresStatsStore(self.db, SKILL_STATS, schema=self.schema, clock=lambda: NOON)

    def over(self, db: Connection) -> Stores:
        """Return the same stores over another connection."""
        return attrs.evolve(self, db=db)

    def log(self) -> list[str]:
        """Return the skills of all events, in order."""
        page = self.outside.events.read(None, limit=1_000)
        return [recorded.event.skill_id for recorded in page.events]

    def counted(self) -> dict[str, int]:
        """Return the downloads of each skill."""
        return {skill: row["downloads"] for skill, row in self.outside.stats.totals().items()}


@contextmanager
def opened(db: Connection) -> Iterator[Stores]:
    """Give stores with four events, two of which are counted."""
    setting = Setting(projection=SKILL_STATS, clock=lambda: NOON, io=lambda: None)
    with sites.site() as site, sites.client(site, setting, options="") as outside:
        outside.events.append([download(skill, event_id=skill) for skill in "abcd"])
        drain(outside.events, outside.stats, page=2, max_events=2)
        yield Stores(db, site.schema, outside)


Call: TypeAlias = Callable[[Stores], Coroutine[Any, Any, object]]

BASE = ["a", "b", "c", "d"]
NEW = [download("x", event_id="1"), download("y", event_id="2"), download("x", event_id="3")]
PLAIN = [download(skill) for skill in "xyxz"]


def appending(*events: Event) -> Call:
    return lambda stores: stores.events.append(events)


async def conflicting(stores: Stores) -> None:
    """Append what is refused: the driver closes a connection whose call ends so once cancelled."""
    with pytest.raises(EventIdConflictError):
        await stores.events.append([NEW[0], download("other", event_id="a")])


async def committing(stores: Stores) -> None:
    outside = stores.outside
    assert isinstance(outside.events, PostgresEventStore)
    cursor = outside.stats.cursor()
    page = outside.events.tally(cursor.place, limit=10, granularity=Granularity.DAY)
    if page is not None and page.place is not None:  # it has not landed yet
        await stores.stats.commit(commit_of(cursor, Portion(page=page), (), SKILL_STATS))


APPENDS: dict[str, tuple[Call, list[str]]] = {
    "append": (appending(*NEW), ["x", "y", "x"]),
    "append one": (appending(download("x", event_id="1")), ["x"]),
    "append known": (appending(*NEW[:2], download("a", event_id="a")), ["x", "y"]),
    "append many": (appending(*PLAIN), ["x", "y", "x", "z"]),
    "append other content": (conflicting, []),
}
OTHERS: dict[str, Call] = {
    "read": lambda stores: stores.events.read(None, limit=3),
    "tally": lambda stores: stores.events.tally(None, limit=3, granularity=Granularity.DAY),
    "cursor": lambda stores: stores.stats.cursor(),
    "totals": lambda stores: stores.stats.totals(),
    "rollups": lambda stores: stores.stats.rollups("a", Granularity.DAY),
    "commit": committing,
    "forget": lambda stores: stores.stats.forget("a"),
    "drain": lambda stores: core.drain(stores.events, stores.stats, page=1),
}


async def connected(*, autocommit: bool) -> Connection:
    return await psycopg.AsyncConnection.connect(sites.place(), autocommit=autocommit)


async def cancelled(call: Coroutine[Any, Any, object], moment: Moment, db: Connection) -> bool:
    """Return whether a call was cancelled, and has said so."""
    try:
        await moment.cancel(call, db)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        assert task is not None
        task.uncancel()
        return True
    return False


each_kind_of_connection = pytest.mark.parametrize(
    "autocommit", [True, False], ids=["auto", "plain"]
)
each_time = pytest.mark.parametrize("is_answered", [False, True], ids=["at once", "answered"])


@each_time
@each_kind_of_connection
@pytest.mark.parametrize("name", APPENDS)
def test_an_append_that_is_cancelled_is_in_the_log_as_a_whole_or_not(name, autocommit, is_answered):
    """Made again where it is not there, it counts once."""
    call, added = APPENDS[name]

    async def check() -> None:
        db = await connected(autocommit=autocommit)
        number = 0
        for number in itertools.count(1):
            with opened(db) as stores:
                moment = Moment(number, is_answered)
                was_cancelled = await cancelled(call(stores), moment, db)
                if call is conflicting and db.closed:
                    db = await connected(autocommit=autocommit)
                    stores = stores.over(db)
                expect_usable(db, autocommit=autocommit, is_idle=autocommit or was_cancelled)
                if not was_cancelled:
                    await db.commit()
                there = stores.log()
                assert there == BASE + added or (was_cancelled and there == BASE)
                if there == BASE:
                    await call(stores)
                    await db.commit()
                await core.drain(stores.events, stores.stats)

                assert stores.log() == BASE + added
                assert stores.counted() == Counter(BASE + added)
            if not moment.has_come:
                break
        assert number > 1
        await db.close()

    asyncio.run(check())


def expect_usable(db: Connection, *, autocommit: bool, is_idle: bool = True) -> None:
    """Check that a connection is as it was."""
    assert not db.closed
    assert db.autocommit is autocommit
    assert not is_idle or db.info.transaction_status == TransactionStatus.IDLE


@each_time
@each_kind_of_connection
@pytest.mark.parametrize("name", OTHERS)
def test_any_other_call_that_is_cancelled_leaves_the_stats_exact(name, autocommit, is_answered):
    """And the next one, on the same connection, does what it would have done."""
    call = OTHERS[name]

    async def check() -> None:
        async with await connected(autocommit=autocommit) as db:
            number = 0
            for number in itertools.count(1):
                with opened(db) as stores:
                    moment = Moment(number, is_answered)
                    was_cancelled = await cancelled(call(stores), moment, db)
                    expect_usable(db, autocommit=autocommit)
                    expect_exact(stores, may_have_forgotten=name == "forget")
                    await call(stores)
                    if name == "forget":
                        assert not await stores.stats.forget("a")
                    await core.drain(stores.events, stores.stats)

                    kept = BASE[1:] if name == "forget" else BASE
                    assert stores.counted() == Counter(kept)
                    assert stores.outside.stats.cursor().controls["downloads"] == len(kept)
                if not moment.has_come:
                    assert not was_cancelled
                    break
            assert number > 1

    asyncio.run(check())


def expect_exact(stores: Stores, *, may_have_forgotten: bool) -> None:
    """Check that the stats are those of the events up to the cursor."""
    cursor = stores.outside.stats.cursor()
    counted, folded = stores.counted(), stores.log()[: cursor.count]
    assert counted in [Counter(folded), *([Counter(folded[1:])] * may_have_forgotten)]
    assert cursor.controls["downloads"] == sum(counted.values())


# Within a transaction of the caller


async def block(db: Connection, *work: Callable[[], Awaitable[object]]) -> None:
    """Do something in a transaction, as psycopg has it."""
    async with db.transaction():
        for one in work:
            await one()


async def by_hand(db: Connection, *work: Callable[[], Awaitable[object]]) -> None:
    """Do something in a transaction that is begun, committed and rolled back by hand."""
    try:
        await db.execute("BEGIN")
        for one in work:
            await one()
        await db.execute("COMMIT")
    except asyncio.CancelledError:
        await db.rollback()
        raise


async def by_itself(db: Connection, *work: Callable[[], Awaitable[object]]) -> None:
    """Do something in a transaction that a connection without autocommit begins by itself."""
    try:
        for one in work:
            await one()
        await db.commit()
    except asyncio.CancelledError:
        await db.rollback()
        raise


ORDER = "INSERT INTO orders VALUES (1)"


@pytest.fixture
def orders(database):
    """The table of the caller."""
    sites.execute("CREATE TABLE orders (number integer)")
    yield
    sites.execute("DROP TABLE orders")


def taken_orders() -> int:
    """Return how many orders there are, and take them away."""
    return sites.execute("DELETE FROM orders").rowcount


@each_time
@pytest.mark.parametrize("name", [name for name in APPENDS if name != "append other content"])
@pytest.mark.parametrize(
    ("within", "autocommit"),
    [(block, True), (block, False), (by_hand, True), (by_itself, False)],
    ids=["block", "plain block", "by hand", "by itself"],
)
def test_what_is_cancelled_with_the_callers_own_rows_is_there_with_them_or_not(
    within, autocommit, name, is_answered, orders
):
    """The append joins: order and events come together, wherever the whole is cancelled."""
    call, added = APPENDS[name]

    async def check() -> None:
        async with await connected(autocommit=autocommit) as db:
            number = 0
            for number in itertools.count(1):
                with opened(db) as stores:
                    moment = Moment(number, is_answered)
                    whole = within(db, lambda: db.execute(ORDER), lambda: call(stores))
                    was_cancelled = await cancelled(whole, moment, db)
                    expect_usable(db, autocommit=autocommit)
                    there = stores.log()
                    assert there == BASE + added or (was_cancelled and there == BASE)
                    assert taken_orders() == (there != BASE)
                    await core.drain(stores.events, stores.stats)

                    assert stores.counted() == Counter(there)
                if not moment.has_come:
                    break
            assert number > 3

    asyncio.run(check())


@each_time
@pytest.mark.parametrize("goes_on", [True, False], ids=["goes on", "rolls back"])
@pytest.mark.parametrize("autocommit", [True, False], ids=["begun", "plain"])
@pytest.mark.parametrize("name", APPENDS)
def test_a_transaction_whose_append_was_cancelled_can_be_used_or_has_clearly_failed(
    name, autocommit, goes_on, is_answered, orders
):
    """Rolled back it leaves nothing; who can go on keeps his own rows, and whole appends."""
    call, added = APPENDS[name]

    async def check() -> None:
        db = await connected(autocommit=autocommit)
        number = 0
        for number in itertools.count(1):
            with opened(db) as stores:
                if autocommit:
                    await db.execute("BEGIN")
                await db.execute(ORDER)
                moment = Moment(number, is_answered)
                was_cancelled = await cancelled(call(stores), moment, db)
                status = db.info.transaction_status
                if goes_on and status == TransactionStatus.INTRANS:
                    await db.execute(ORDER)
                    await db.commit()
                    there = stores.log()
                    assert there == BASE + added or (was_cancelled and there == BASE)
                    assert taken_orders() == 2
                else:
                    assert not goes_on or db.closed or status == TransactionStatus.INERROR
                    if db.closed:
                        db = await connected(autocommit=autocommit)
                        stores = stores.over(db)
                    await db.rollback()
                    assert stores.log() == BASE
                    assert taken_orders() == 0
                expect_usable(db, autocommit=autocommit)
                await core.drain(stores.events, stores.stats)

                assert stores.counted() == Counter(stores.log())
            if not moment.has_come:
                break
        assert number > 1
        await db.close()

    asyncio.run(check())

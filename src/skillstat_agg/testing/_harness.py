"""What an adapter's author tells the kit: how to open sites, and clients of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Generic, TypeAlias, TypeVar

import attrs
from attrs.validators import gt, instance_of, is_callable, optional
from typing_extensions import Protocol

from skillstat_agg import aio
from skillstat_agg._badges import BadgeStore
from skillstat_agg._events import Event
from skillstat_agg._projections import Projection
from skillstat_agg._stores import Appended, EventStore, StatsStore

S = TypeVar("S")


class Writers(Enum):
    """How a log orders appends that are open at the same time. It is checked both ways."""

    SERIALISED = "one writer at a time: a second is refused, or waits"
    HORIZON = "readers stop below the oldest append that is still open"
    COMMIT_ORDER = "positions are given in the order of commits"


class OpenAppend(Protocol):
    """An append that is not over yet."""

    def append(self, events: Iterable[Event], /) -> Appended:
        """Store *events*, unseen by others until `commit`."""
        ...

    def commit(self) -> object:
        """Make them visible and durable."""
        ...

    def rollback(self) -> object:
        """Take them back."""
        ...


class AsyncOpenAppend(Protocol):
    """An append that is not over yet, of an asynchronous store."""

    async def append(self, events: Iterable[Event], /) -> Appended:
        """Store *events*, unseen by others until `commit`."""
        ...

    async def commit(self) -> object:
        """Make them visible and durable."""
        ...

    async def rollback(self) -> object:
        """Take them back."""
        ...


class Connection(Protocol):
    """A connection with the two methods of PEP 249 that end a transaction."""

    def commit(self) -> object:
        """End the transaction, keeping what it did."""
        ...

    def rollback(self) -> object:
        """End the transaction, undoing what it did."""
        ...


@attrs.frozen
class JoinedAppend:
    """An open append of a store that joins the transaction of its connection.

    With a driver that follows PEP 249 this is all that ``Client.begin`` has to return, once
    the connection is inside a transaction.

    Args:
        connection: The connection.
        events: The event store over it.
        translated: Opens a context that turns the driver's errors into ours: what it
            raises where another client is in the way must become `StoreBusyError`.
    """

    connection: Connection
    events: EventStore
    translated: Callable[[], AbstractContextManager[object]] = nullcontext

    def append(self, events: Iterable[Event], /) -> Appended:
        """Store *events* within the transaction."""
        return self.events.append(events)

    def commit(self) -> None:
        """Commit the connection's transaction."""
        with self.translated():
            self.connection.commit()

    def rollback(self) -> None:
        """Roll the connection's transaction back."""
        with self.translated():
            self.connection.rollback()


@attrs.frozen(kw_only=True)
class Client:
    """Stores over one connection of their own.

    Attributes:
        events: The event store.
        stats: The stats store, of the projection that the kit asked for.
        begin: Begins an append and holds it open; None: the store cannot do that.
        badges: The store of badges, over the same connection; None: there is none.
    """

    events: EventStore
    stats: StatsStore
    begin: Callable[[], OpenAppend] | None = None
    badges: BadgeStore | None = None


@attrs.frozen(kw_only=True)
class AsyncClient:
    """Asynchronous stores over one connection of their own; the fields of `Client`."""

    events: aio.EventStore
    stats: aio.StatsStore
    begin: Callable[[], Awaitable[AsyncOpenAppend]] | None = None
    badges: aio.BadgeStore | None = None


@attrs.frozen(kw_only=True)
class Setting:
    """What the kit decides for a client.

    Attributes:
        projection: The projection of its stats.
        clock: The clock to give to its stores.
        io: To be called where the stores do I/O, if the harness says so: a case may let
            others move there, let the I/O fail (it raises a ``ConnectionError`` then), or let
            the client die (it raises what is no ``Exception`` then, again and again).
    """

    projection: Projection
    clock: Callable[[], datetime]
    io: Callable[[], None]


OpenedClient: TypeAlias = AbstractContextManager[Client] | AbstractAsyncContextManager[AsyncClient]


@attrs.frozen(kw_only=True)
class Harness(Generic[S]):
    """How to reach a store: all that the kit needs to know.

    Attributes:
        site: Opens an empty, isolated site; gives what its clients need to find
            it (a path, an address), and removes it at the end.
        client: Opens a client of a site, with the projection declared there: a connection
            of its own, which is closed at the end, as a program that ends would leave it.
            An asynchronous context manager for asynchronous stores. Where stats can be
            rebuilt, a client with a table that changes what was counted is opened, too: a
            rebuild is how such a table is accepted.
        writers: How the log orders open appends.
        io: Whether the stores call ``Setting.io``.
        keeps_time: Whether the stores take their times from ``Setting.clock``. A store
            that has only its database's clock says False.
        joins: Whether ``begin`` begins a transaction on the connection of the client's
            own stores. False: an open append is an object of its own.
        blocks: Whether a call may wait for another client: each client gets a thread.
        any_thread: Whether asynchronous stores may be called in any thread, one call at a time,
            as those of most drivers may: else each client gets one where there is ``io``, which
            takes longer.
        copy: Makes a copy of a site, as a backup would, and removes it at the end.
        raw: Returns all that is stored at a site, read behind the stores' backs: any
            value that compares equal while nothing is written. Reading writes nothing.
        expected_failures: Why a check fails, by its id. It must fail then.
        waits_after: Where calls may wait: after what time one is taken for waiting, and
            others move.
        hangs_after: How long one call may take before it is reported as hanging.
    """

    site: Callable[[], AbstractContextManager[S]] = attrs.field(validator=is_callable())
    client: Callable[[S, Setting], OpenedClient] = attrs.field(validator=is_callable())
    writers: Writers = attrs.field(validator=instance_of(Writers))
    io: bool = False
    keeps_time: bool = True
    joins: bool = True
    blocks: bool = False
    any_thread: bool = False
    copy: Callable[[S], AbstractContextManager[S]] | None = attrs.field(
        default=None, validator=optional(is_callable())
    )
    raw: Callable[[S], object] | None = attrs.field(default=None, validator=optional(is_callable()))
    expected_failures: Mapping[str, str] = attrs.field(factory=dict)
    waits_after: timedelta = attrs.field(
        default=timedelta(seconds=0.05), validator=[instance_of(timedelta), gt(timedelta(0))]
    )
    hangs_after: timedelta = attrs.field(
        default=timedelta(seconds=10), validator=[instance_of(timedelta), gt(timedelta(0))]
    )


AnyHarness: TypeAlias = Harness[Any]

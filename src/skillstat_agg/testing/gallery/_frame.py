"""What a broken store is, and how the kit reaches one: a harness over memory.

Each module beside this one has a tuple ``STORES``. A store is the one in memory with a single
thing changed; what it has to remember lives in a database of its own kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import attrs
from typing_extensions import Protocol

from skillstat_agg._badges import BadgeStore
from skillstat_agg._stores import EventStore, StatsStore
from skillstat_agg.backends.memory import MemoryDatabase, MemoryEventStore, MemoryStatsStore
from skillstat_agg.errors import StoreUnavailableError
from skillstat_agg.testing._clients import PRUNING
from skillstat_agg.testing._harness import (
    AnyHarness,
    Client,
    Harness,
    OpenAppend,
    Setting,
    Writers,
)


@attrs.frozen(kw_only=True)
class BrokenStore:
    """A store with one mistake in it, as it was made elsewhere.

    Attributes:
        name: What the mistake is called, such as ``"reads past open transactions"``.
        mistake: What the store does, and why it looks right.
        reported: Public reports of it, such as ``"commanded/eventstore#3"``.
        row: Which rows of the catalogue of failures it stands for, such as ``"V1"``; the
            property there, such as ``"P4"``, where no row does.
        breaks: The laws it breaks; the first is the one that the mistake is about.
        killer: The id of the check that must fail.
        remedy: What to do instead; it stands behind a colon.
        harness: How to reach it.
    """

    name: str
    mistake: str
    reported: tuple[str, ...]
    row: str
    breaks: tuple[str, ...]
    killer: str
    remedy: str
    harness: AnyHarness = attrs.field(repr=False)


class OpeningStore(EventStore, Protocol):
    """An event store whose appends can be held open."""

    def begin(self) -> OpenAppend:
        """Begin an append that is held open."""
        ...


FURTHER = frozenset({"extent", "sums", "building", "swap", "discard", "differences"})
"""What the stores in memory can do beyond the two protocols, beside making events small."""

BOARDS = frozenset({"rollups_of", "ranked", "publish", "board"})
"""What they can do for pages that show many skills."""


class Plain:
    """A store without its further abilities.

    A broken store has them from the one in memory, where they keep the laws that it breaks: they
    would fail checks that are not about its mistake.

    Args:
        store: The store.
        hidden: What it does not show.
    """

    def __init__(self, store: object, hidden: frozenset[str] = FURTHER | PRUNING) -> None:
        self._store = store
        self._hidden = hidden

    def __getattr__(self, name: str) -> Any:
        """Return what the store has of this name."""
        if name in self._hidden:
            raise AttributeError(name)
        return getattr(self._store, name)


def events_of(
    kind: type[MemoryEventStore],
) -> Callable[[MemoryDatabase, Setting], MemoryEventStore]:
    """Return how a client makes its event store of this class."""
    return lambda database, setting: kind(database, clock=setting.clock)


def stats_of(
    kind: type[MemoryStatsStore],
) -> Callable[[MemoryDatabase, Setting], MemoryStatsStore]:
    """Return how a client makes its stats store of this class."""
    return lambda database, setting: kind(setting.projection, database, clock=setting.clock)


MEMORY_EVENTS = events_of(MemoryEventStore)
MEMORY_STATS = stats_of(MemoryStatsStore)


def broken(
    *,
    database: Callable[[], MemoryDatabase] = MemoryDatabase,
    events: Callable[[Any, Setting], OpeningStore] = MEMORY_EVENTS,
    stats: Callable[[Any, Setting], StatsStore] = MEMORY_STATS,
    badges: Callable[[Any, Setting], BadgeStore] | None = None,
    writers: Writers = Writers.HORIZON,
    io: bool = False,
    further: bool = False,
    boards: bool = False,
    prunes: bool = False,
    counts: bool = False,
) -> AnyHarness:
    """Return a harness of stores over a database in memory; what is not given keeps every law.

    Args:
        database: Makes an empty database.
        events: Makes a client's event store, from the database and what the kit decided.
        stats: Makes a client's stats store.
        badges: Makes a client's store of badges; None: it has none.
        writers: How the log claims to order open appends.
        io: Whether one of the stores calls ``Setting.io``.
        further: Whether the stores show what they can do beyond the two protocols.
        boards: Whether the stats store shows series, ranks and boards.
        prunes: Whether the event store shows how it makes events small.
        counts: Whether a log that is not the one in memory says how much lies after a place.
            By itself it would say that of the log that it is made of.
    """

    @contextmanager
    def site() -> Iterator[MemoryDatabase]:
        yield database()

    @contextmanager
    def client(there: MemoryDatabase, setting: Setting) -> Iterator[Client]:
        log = events(there, setting)
        begun: list[OpenAppend] = []

        def begin() -> OpenAppend:
            begun.append(log.begin())
            return begun[-1]

        try:
            numbers = stats(there, setting)
            hidden = frozenset() if further else FURTHER
            of_log = hidden if prunes else hidden | PRUNING
            if not counts and events is not MEMORY_EVENTS:
                of_log |= {"lag"}
            of_stats = hidden if further or boards else hidden | BOARDS
            shown: tuple[Any, Any] = (Plain(log, of_log), Plain(numbers, of_stats))
            yield Client(
                events=shown[0],
                stats=shown[1],
                begin=begin,
                badges=None if badges is None else badges(there, setting),
            )
        finally:
            for opened in begun:
                with suppress(StoreUnavailableError):  # it is over
                    opened.rollback()

    def raw(there: MemoryDatabase) -> object:
        return there.state()

    @contextmanager
    def copy(there: MemoryDatabase) -> Iterator[MemoryDatabase]:
        yield there.copy()

    return Harness(
        site=site,
        client=client,
        writers=writers,
        io=io,
        joins=False,
        copy=copy,
        raw=raw,
    )

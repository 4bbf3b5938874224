"""A harness that is wired wrongly, or a store that hangs, is told so: it is no verdict on a law."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, nullcontext
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any, cast

import attrs
import pytest

from skillstat_agg import (
    SKILL_STATS,
    Appended,
    Effect,
    Event,
    EventStore,
    Projection,
    Quarantine,
    StatsStore,
)
from skillstat_agg.backends.sqlite import SQLiteEventStore, SQLiteStatsStore, create_tables
from skillstat_agg.errors import StoreBusyError
from skillstat_agg.testing import (
    CHECKS,
    AsyncClient,
    Client,
    Harness,
    JoinedAppend,
    Report,
    Setting,
    Status,
    Writers,
    check_store,
    harnesses,
)
from skillstat_agg.testing._doors import HereOnLoop

SOME = [check for check in CHECKS if check.id in ("LATE-02", "FENCE-01")]
SOON = timedelta(seconds=0.2)
OTHER = Projection("other", {"download": Effect(counters={"fetches": 1})})


# A harness that is right, to be made wrong in one thing


@contextmanager
def site() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder, "stats.db")


def connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA synchronous = OFF")
    return db


@contextmanager
def translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise StoreBusyError(str(error)) from error


def begin(db: sqlite3.Connection, events: EventStore) -> JoinedAppend:
    with translated():
        db.execute("BEGIN IMMEDIATE")
    return JoinedAppend(db, events, translated)


def over(db: sqlite3.Connection, setting: Setting) -> Client:
    create_tables(db, setting.projection, clock=setting.clock)
    events = SQLiteEventStore(db, clock=setting.clock)
    stats = SQLiteStatsStore(db, setting.projection, clock=setting.clock)
    return Client(events=events, stats=stats, begin=lambda: begin(db, events))


@contextmanager
def client(path: Path, setting: Setting) -> Iterator[Client]:
    with closing(connect(path)) as db:
        yield over(db, setting)


right: Harness[Any] = Harness(site=site, client=client, writers=Writers.SERIALISED)


def with_client(
    change: Callable[[Client], Client], opened: Callable[..., Any] = client
) -> Callable[..., Any]:
    """Return how to open the same client, but for one thing."""

    @contextmanager
    def changed(path: Path, setting: Setting) -> Iterator[Client]:
        with opened(path, setting) as one:
            yield change(one)

    return changed


def reported(harness: Harness[Any]) -> Report:
    return check_store(harness, checks=SOME)


def test_a_harness_that_is_right_is_not_told_anything():
    """Every harness below differs from this one in one thing."""
    report = reported(right)

    assert report.miswired is None
    assert report.ok


# Wired wrongly


@contextmanager
def one_connection() -> Iterator[sqlite3.Connection]:
    with site() as path, closing(connect(path)) as db:
        yield db


@contextmanager
def shared(db: sqlite3.Connection, setting: Setting) -> Iterator[Client]:
    yield over(db, setting)


@contextmanager
def shared_and_closed(db: sqlite3.Connection, setting: Setting) -> Iterator[Client]:
    with closing(db):
        yield attrs.evolve(over(db, setting), begin=None)


def in_autocommit(one: Client) -> Client:
    events: Any = one.events
    return attrs.evolve(one, begin=lambda: JoinedAppend(events._db, events))


@attrs.frozen
class Hasty:
    """An open append that commits at once."""

    events: EventStore

    def append(self, events: Iterable[Event], /) -> Appended:
        return self.events.append(events)

    def commit(self) -> None: ...

    def rollback(self) -> None: ...


def hasty(one: Client) -> Client:
    return attrs.evolve(one, begin=lambda: Hasty(one.events))


@contextmanager
def used_site() -> Iterator[Path]:
    with site() as path:
        with closing(connect(path)) as db:
            create_tables(db, SKILL_STATS)
            at = datetime(2026, 1, 1, tzinfo=timezone.utc)
            SQLiteEventStore(db).append([Event(skill_id="a", kind="star", occurred_at=at)])
        yield path


class SharedSite:
    """Gives the same place again and again."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._opened = 0

    @contextmanager
    def __call__(self) -> Iterator[Path]:
        # Each case of the wiring has a new file; two that are open at once have the same.
        self._opened += 1
        path = Path(self._folder.name, "stats.db")
        yield path
        self._opened -= 1
        if not self._opened:
            path.unlink(missing_ok=True)


@contextmanager
def to_itself(_path: Path, setting: Setting) -> Iterator[Client]:
    with closing(connect(Path(":memory:"))) as db:
        yield over(db, setting)


class LeftOpen:
    """Never closes a connection."""

    def __init__(self) -> None:
        self.connections: list[sqlite3.Connection] = []

    @contextmanager
    def __call__(self, path: Path, setting: Setting) -> Iterator[Client]:
        db = connect(path)
        self.connections.append(db)
        yield over(db, setting)


def without_clock(path: Path, setting: Setting) -> Any:
    clock = lambda: datetime(2026, 3, 1, 12, tzinfo=timezone.utc)  # noqa: E731
    return client(path, attrs.evolve(setting, clock=clock))


def without_projection(path: Path, setting: Setting) -> Any:
    return client(path, attrs.evolve(setting, projection=OTHER))


@contextmanager
def begun_elsewhere(path: Path, setting: Setting) -> Iterator[Client]:
    with client(path, setting) as one, client(path, setting) as two:
        yield attrs.evolve(one, begin=two.begin)


@contextmanager
def same_place(path: Path) -> Iterator[Path]:
    yield path


@contextmanager
def empty_place(_path: Path) -> Iterator[Path]:
    with site() as there:
        yield there


@pytest.mark.parametrize(
    ("changes", "told", "says"),
    [
        ({"site": one_connection, "client": shared}, "WIRE-05", "share a connection"),
        ({"site": one_connection, "client": shared_and_closed}, "WIRE-15", "share a connection"),
        ({"client": with_client(in_autocommit)}, "WIRE-04", "autocommit"),
        ({"client": with_client(hasty)}, "WIRE-04", "commits at once"),
        ({"site": used_site}, "WIRE-01", "these are there already"),
        ({"site": SharedSite()}, "WIRE-02", "shows the events of the first"),
        ({"client": to_itself}, "WIRE-03", "does not see what one appends"),
        ({"client": LeftOpen()}, "WIRE-07", "does not close its connection"),
        ({"client": without_clock}, "WIRE-10", "keeps_time=False"),
        ({"client": without_projection}, "WIRE-09", "stats of other"),
        ({"io": True}, "WIRE-11", "Setting.io"),
        ({"client": begun_elsewhere}, "WIRE-06", "joins=False"),
        ({"copy": same_place}, "WIRE-12", "1"),
        ({"copy": empty_place}, "WIRE-12", "the copy's log"),
        ({"raw": lambda path: None}, "WIRE-13", "does it read this site"),
        ({"raw": lambda path: object()}, "WIRE-13", "does it read this site"),
        ({"expected_failures": {"LATE-99": "why"}}, "WIRE-14", "no check is called LATE-99"),
        ({"expected_failures": {"LATE-02": " "}}, "WIRE-14", "a reason why LATE-02 fails"),
    ],
)
def test_what_is_wired_wrongly_is_told_by_name(changes, told, says):
    """No law is checked then, since the verdict would be wrong."""
    report = reported(attrs.evolve(right, **changes))

    assert report.miswired is not None
    assert report.miswired.status is Status.MISWIRED
    assert report.miswired.check.id == told
    assert report.miswired.check.title in str(report)
    assert says in str(report)
    assert not report.results
    assert not report.ok


def test_a_memory_store_that_is_wired_right_is_not_told_anything():
    """The checks of the wiring ask nothing of a store that has no connection or file."""
    assert reported(harnesses.memory).miswired is None


# Functions that give something else


def raising(*_given: object) -> Any:
    raise FileNotFoundError("no such server")


@contextmanager
def raising_inside(*given: object) -> Iterator[Any]:
    raising(*given)
    yield


async def coroutine(*_given: object) -> Client:
    raise AssertionError


def generator(*_given: object) -> Iterator[int]:
    yield 1


async def async_generator(*_given: object) -> AsyncIterator[int]:
    yield 1


@asynccontextmanager
async def async_client(path: Path, setting: Setting) -> AsyncIterator[Client]:
    with client(path, setting) as one:
        yield one


def to_async(one: Client) -> Any:
    events: Any = one.events
    stats: Any = one.stats
    return AsyncClient(events=events, stats=stats)


class Coroutines:
    """Stores of an asynchronous client, in the wrong one."""

    async def append(self, *_given: object) -> None: ...
    async def read(self, *_given: object) -> None: ...


def with_events(events: Any) -> Callable[..., Any]:
    return with_client(lambda one: attrs.evolve(one, events=events))


def with_begin(begins: Any) -> Callable[..., Any]:
    return with_client(lambda one: attrs.evolve(one, begin=begins))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"site": raising}, "FileNotFoundError: no such server"),
        ({"site": raising_inside}, "FileNotFoundError: no such server"),
        ({"client": raising}, "FileNotFoundError: no such server"),
        ({"client": raising_inside}, "FileNotFoundError: no such server"),
        ({"client": lambda path: None}, "takes 1 positional argument but 2 were given"),
        ({"site": lambda: None}, "site() gives None, not a context manager"),
        ({"site": generator}, "site() gives a generator, not a context manager: is @cont"),
        ({"site": lambda: async_client(Path(), None)}, "only client() may"),  # type: ignore[arg-type]
        ({"client": generator}, "gives a generator, not a context manager: is @contextm"),
        ({"client": async_generator}, "not a context manager: is @asynccontextmanager miss"),
        ({"client": coroutine}, "not a context manager: write a generator under @asyncc"),
        ({"client": lambda *_: nullcontext(3)}, "client() yields an int, not a Client"),
        ({"client": lambda *_: nullcontext()}, "client() yields None, not a Client"),
        ({"client": async_client}, "yields a Client from an asynchronous context manager"),
        ({"client": with_client(to_async)}, "yields an AsyncClient from a plain context ma"),
        ({"client": with_events(3)}, "Client.events is an int, which has no append and no read"),
        ({"client": with_events(Coroutines())}, "Client.events has coroutines for methods"),
        ({"client": with_begin(3)}, "Client.begin is an int, which cannot be called"),
        ({"client": with_begin(lambda: 3)}, "Client.begin() gives an int, which has no app"),
        ({"copy": str}, "copy(site) gives a str, not a context manager"),
        ({"raw": raising}, "FileNotFoundError: no such server"),
    ],
)
def test_a_function_that_gives_something_else_is_told_in_a_sentence(changes, says):
    """Whatever it is, it is no verdict on a law."""
    report = reported(attrs.evolve(right, **changes))

    assert report.miswired is not None
    assert says in " ".join(str(report).split())
    assert not report.results


@pytest.mark.parametrize(
    "changes",
    [
        {"site": None},
        {"client": 3},
        {"writers": "serialised"},
        {"hangs_after": timedelta(0)},
        {"hangs_after": 3},
    ],
)
def test_a_harness_with_values_that_cannot_be_is_never_built(changes):
    """It is told where it is written."""
    with pytest.raises((TypeError, ValueError)):
        attrs.evolve(right, **changes)


def test_a_client_that_is_wrong_later_is_no_verdict_either():
    """A check that meets what the wiring did not is miswired, not failed."""

    def counted(path: Path, setting: Setting) -> Any:
        opened.append(path)
        return client(path, setting) if len(opened) < right_for else nullcontext()

    opened: list[Path] = []
    right_for = 1_000
    check_store(attrs.evolve(right, client=counted), checks=())
    right_for = 2 * len(opened) + 5

    report = reported(attrs.evolve(right, client=counted))

    assert report.miswired is None
    assert {result.status for result in report.results} == {Status.MISWIRED}
    assert "client() yields None, not a Client" in str(report)


# Stores that hang


class Stuck:
    """Waits until the test is over."""

    def __init__(self) -> None:
        self.event = threading.Event()

    def __call__(self, *_given: object, **_named: object) -> Any:
        self.event.wait()
        raise RuntimeError("the test is over")


@pytest.fixture
def stuck() -> Iterator[Stuck]:
    one = Stuck()
    before = set(threading.enumerate())
    yield one
    one.event.set()
    for thread in set(threading.enumerate()) - before:
        thread.join()


@attrs.frozen
class Events:
    """An event store of which one method was exchanged."""

    store: EventStore
    append: Callable[..., Any]
    read: Callable[..., Any]


def with_read(read: Callable[..., Any]) -> Callable[[Client], Client]:
    return lambda one: attrs.evolve(one, events=Events(one.events, one.events.append, read))


def soon(**changes: Any) -> Harness[Any]:
    return attrs.evolve(right, hangs_after=SOON, **changes)


@pytest.mark.parametrize("blocks", [False, True])
def test_a_read_that_never_returns_is_reported_with_its_schedule(stuck, blocks):
    """It is not waited for, and not taken for a verdict."""
    report = reported(soon(client=with_client(with_read(stuck)), blocks=blocks))

    assert report.miswired is not None
    assert "could not be asked" in str(report)
    assert "first.read -> never comes back" in str(report)
    assert "none came in time" in str(report)
    assert "self.event.wait()" in str(report)  # where it hangs


@pytest.mark.parametrize("name", ["site", "client"])
def test_a_harness_function_that_never_returns_is_reported(stuck, name):
    """The schedule says what is being opened."""
    report = reported(soon(**{name: stuck}))

    shown = {"site": "harness.site -> never comes back", "client": "first.open -> never"}
    assert report.miswired is not None
    assert shown[name] in str(report)


@pytest.mark.parametrize("opens", [3, 8, 13, 17])
def test_a_client_that_hangs_later_is_reported(stuck, opens):
    """Opening hangs in whatever comes first then, be it between two checks."""

    def hangs_then(path: Path, setting: Setting) -> Any:
        opened.append(path)
        return client(path, setting) if len(opened) < opens else stuck()

    opened: list[Path] = []

    report = reported(soon(client=hangs_then))

    assert report.miswired is not None
    assert ".open -> never comes back" in str(report)


@contextmanager
def hanging_at_the_end(hang: Stuck, path: Path, setting: Setting) -> Iterator[Client]:
    with client(path, setting) as one:
        yield one
    hang()


@pytest.mark.parametrize("blocks", [False, True])
def test_a_client_that_cannot_be_closed_is_reported(stuck, blocks):
    """The schedule says that it is being closed."""
    report = reported(soon(client=partial(hanging_at_the_end, stuck), blocks=blocks))

    assert report.miswired is not None
    assert "first.close -> never comes back" in str(report)


class Lock:
    """A lock that is waited for until the test is over."""

    def __init__(self, over: threading.Event) -> None:
        self._lock = threading.Lock()
        self._over = over

    def __enter__(self) -> None:
        while not self._lock.acquire(timeout=0.05):
            if self._over.is_set():
                raise RuntimeError("the test is over")

    def __exit__(self, *_error: object) -> None:
        self._lock.release()


@attrs.frozen
class Locked:
    """A place with a lock of the log, which an open append holds, and one of the stats."""

    path: Path
    log: Lock
    stats: Lock


@attrs.define
class LockedAppend:
    """An open append that takes the lock of the stats inside the lock of the log."""

    opened: JoinedAppend
    place: Locked
    is_open: bool = True

    def append(self, events: Iterable[Event], /) -> Appended:
        with self.place.stats:
            return self.opened.append(events)

    def commit(self) -> None:
        self.is_open = False
        self.opened.commit()
        self.place.log.__exit__()

    def rollback(self) -> None:
        self.is_open = False
        self.opened.rollback()
        self.place.log.__exit__()


@attrs.frozen
class Deadlocking:
    """Stats that take the lock of the log inside the lock of the stats."""

    stats: StatsStore
    place: Locked

    @property
    def projection(self) -> Projection:
        return self.stats.projection

    def cursor(self) -> Any:
        return self.stats.cursor()

    def totals(self, *given: Any) -> Any:
        return self.stats.totals(*given)

    def rollups(self, *given: Any, **named: Any) -> Any:
        return self.stats.rollups(*given, **named)

    def quarantine(self, *, limit: int) -> Quarantine:
        return self.stats.quarantine(limit=limit)

    def forget(self, skill_id: str, /) -> bool:
        return self.stats.forget(skill_id)

    def forgotten(self, *given: Any) -> Any:
        return self.stats.forgotten(*given)

    def commit(self, commit: Any, /) -> Any:
        with self.place.stats, self.place.log:
            return self.stats.commit(commit)


def locking(stuck: Stuck, **changes: Any) -> Harness[Any]:
    """Return a harness of stores whose second writer waits, and which may lock each other."""

    @contextmanager
    def place() -> Iterator[Locked]:
        with site() as path:
            yield Locked(path, Lock(stuck.event), Lock(stuck.event))

    @contextmanager
    def opened(place: Locked, setting: Setting) -> Iterator[Client]:
        with client(place.path, setting) as one:

            def append(events: Iterable[Event], /, **named: Any) -> Appended:
                with place.log:
                    return one.events.append(events, **named)

            def begins() -> LockedAppend:
                place.log.__enter__()
                assert one.begin is not None
                begun: Any = one.begin()
                held.append(LockedAppend(begun, place))
                return held[-1]

            held: list[LockedAppend] = []
            yield Client(
                events=Events(one.events, append, one.events.read),
                stats=Deadlocking(one.stats, place),
                begin=begins,
            )
            for one_held in held:
                if one_held.is_open:
                    one_held.rollback()

    return soon(site=place, client=opened, joins=False, **changes)


def test_stores_that_lock_each_other_are_reported_with_their_schedule(stuck):
    """The schedule says who waits; nobody waits for them."""
    harness = locking(stuck, blocks=True)

    with_let_go = [check for check in SOME if check.id == "LATE-02"]
    report = check_store(harness, checks=with_let_go)

    assert report.miswired is None, str(report)
    [result] = report.results
    assert result.status is Status.FAILED
    assert "w1.append e1 -> waits" in str(report) or "fold.commit up to" in str(report)
    assert "-> never comes back" in str(report)


def test_a_store_that_waits_without_saying_so_is_reported(stuck):
    """A store whose calls wait needs a thread for each client; the report says how to ask."""
    report = check_store(locking(stuck, blocks=False), checks=SOME)

    assert report.miswired is not None
    assert "say blocks=True" in str(report)


def slow(one: Client) -> Client:
    """Return a client whose log takes its time."""

    def append(events: Iterable[Event], /, **named: Any) -> Appended:
        time.sleep(0.005)
        return one.events.append(events, **named)

    def read(*given: Any, **named: Any) -> Any:
        time.sleep(0.005)
        return one.events.read(*given, **named)

    return attrs.evolve(one, events=Events(one.events, append, read))


@pytest.mark.parametrize("name", ["MECH-01", "DEPLOY-01"])
def test_a_slow_store_is_not_a_broken_one(name):
    """A call that is taken for waiting may be one of another client than its actor's."""
    harness = attrs.evolve(
        harnesses.memory,
        client=with_client(slow, harnesses.memory.client),
        blocks=True,
        waits_after=timedelta(seconds=0.001),
    )

    report = check_store(harness, checks=[check for check in CHECKS if check.id == name])

    assert report.miswired is None, str(report)
    [result] = report.results
    assert result.status is Status.PASSED, str(report)


def test_a_second_writer_that_waits_is_seen_where_none_was_declared(stuck):
    harness = locking(stuck, blocks=True, writers=Writers.HORIZON)

    report = check_store(harness, checks=[check for check in CHECKS if check.id == "MECH-01"])

    assert Writers.SERIALISED.value in str(report)


@attrs.frozen
class AsyncEvents:
    """An asynchronous event store of which one method was exchanged."""

    append: Callable[..., Any]
    read: Callable[..., Any]


@pytest.mark.parametrize("blocks", [False, True])
@pytest.mark.parametrize("hangs", ["in the loop", "in a thread"])
def test_a_coroutine_that_never_returns_is_reported(stuck, hangs, blocks):
    """Wherever it waits: the report says where."""

    @asynccontextmanager
    async def opened(database: Any, setting: Setting) -> AsyncIterator[AsyncClient]:
        connected: Any = harnesses.memory_async.client(database, setting)
        async with connected as one:
            yield attrs.evolve(one, events=AsyncEvents(one.events.append, read))

    async def read(*_given: object, **_named: object) -> Any:
        if hangs == "in a thread":
            return await asyncio.to_thread(stuck)
        return await asyncio.Event().wait()

    harness = attrs.evolve(harnesses.memory_async, client=opened, hangs_after=SOON, blocks=blocks)

    report = reported(harness)

    assert report.miswired is not None
    assert "first.read -> never comes back" in str(report)
    assert blocks or "in read" in str(report)


def test_a_coroutine_may_be_called_inside_the_call_of_another():
    """In another thread, since no event loop runs inside of one that is running."""
    one, two = HereOnLoop(60), HereOnLoop(60)

    async def inner() -> threading.Thread:
        await asyncio.sleep(0)
        return threading.current_thread()

    async def outer() -> tuple[object, object]:
        await asyncio.sleep(0)
        return two.now(inner), threading.current_thread()

    assert two.now(inner) is threading.current_thread()
    inside, outside = cast(Any, one.now(outer))
    assert outside is threading.current_thread()
    assert inside is not outside
    for door in (one, two):
        door.close()


# Interrupted


@pytest.mark.parametrize("harness", [harnesses.sqlite, harnesses.sqlite_async])
@pytest.mark.parametrize("blocks", [False, True])
def test_an_interrupt_leaves_nothing_behind(harness, blocks, tmp_path, monkeypatch):
    """Neither threads nor files, wherever it comes."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    opened: list[object] = []

    def interrupting(path: Path, setting: Setting) -> Any:
        opened.append(path)
        if len(opened) == 150:
            signal.raise_signal(signal.SIGINT)
        return harness.client(path, setting)

    before = threading.enumerate()

    with pytest.raises(KeyboardInterrupt):
        check_store(attrs.evolve(harness, client=interrupting, blocks=blocks))

    assert threading.enumerate() == before
    assert list(tmp_path.iterdir()) == []


FILE = """
import sys
from skillstat_agg.testing import conformance_tests, harnesses
import attrs

opened = []

def client(path, setting):
    opened.append(path)
    if len(opened) == 300:
        print("now", flush=True)
    return harnesses.sqlite.client(path, setting)

harness = attrs.evolve(harnesses.sqlite, client=client)
"""


def test_an_interrupted_command_ends_with_one_line(tmp_path):
    """Its exit status is 130, and no file is left."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    path = tmp_path / "store.py"
    path.write_text(FILE)
    command = [sys.executable, "-m", "skillstat_agg.testing", "run", str(path)]

    with subprocess.Popen(
        command,
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "now\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)

    assert process.returncode == 130
    assert (out, err) == ("", "interrupted: there is no verdict\n")
    assert list(folder.iterdir()) == []


HANGING = """
import asyncio, threading
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
import attrs
from skillstat_agg.testing import conformance_tests, harnesses

class Events:
    def __init__(self, store): self.append = store.append
    def read(self, *given, **named): threading.Event().wait()

class AsyncEvents:
    def __init__(self, store): self.append = store.append
    async def read(self, *given, **named): await asyncio.to_thread(threading.Event().wait)

@contextmanager
def client(database, setting):
    with harnesses.memory.client(database, setting) as one:
        yield attrs.evolve(one, events=Events(one.events))

@asynccontextmanager
async def async_client(database, setting):
    async with harnesses.memory_async.client(database, setting) as one:
        yield attrs.evolve(one, events=AsyncEvents(one.events))

harness = attrs.evolve(harnesses.memory, client=client, hangs_after=timedelta(seconds=0.2))
blocking = attrs.evolve(harness, blocks=True)
asynchronous = attrs.evolve(harness, client=async_client)
test_it = conformance_tests(harness)
test_blocking = conformance_tests(blocking)
test_async = conformance_tests(asynchronous)
"""


def test_a_hanging_store_keeps_no_test_run_from_ending(tmp_path):
    """Every test fails and says so; pytest and the interpreter come to their end."""
    path = tmp_path / "test_hanging.py"
    path.write_text(HANGING)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "LATE", path]

    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 1
    assert "first.read -> never comes back" in done.stdout
    assert "27 failed" in done.stdout

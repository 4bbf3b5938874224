"""The promise: each committed event counts once, whatever happens to the workers."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from copy import copy
from datetime import datetime, timedelta
from functools import partial
from typing import TypedDict

import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st

from skillstat_agg import (
    CHECKSUM_RANGE,
    SKILL_STATS,
    Event,
    FoldReport,
    Granularity,
    Projection,
    RecordedEvent,
    aio,
    drain,
    fold_page,
)
from skillstat_agg.backends.memory import MemoryDatabase, MemoryStatsStore
from skillstat_agg.errors import StoreBusyError
from skillstat_agg.testing.gallery import TimestampAfter, TimestampFrom
from tests.logs import NOON, download, event_logs
from tests.oracle import count_days, count_totals
from tests.sites import SITES, Client, HeldAppend, Site, memory_site, sqlite_site
from tests.stepping import Actor, SteppedStats, pause, play_every_schedule, stepped

EVERYTHING = 10**6

in_every_site = pytest.mark.parametrize("site_of", SITES.values(), ids=SITES)
few = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])


class Bounds(TypedDict):
    """The bounds of a fold."""

    page: int
    max_skills: int | None


bounds: st.SearchStrategy[Bounds] = st.builds(
    Bounds, page=st.integers(1, 5), max_skills=st.none() | st.integers(1, 3)
)


class TickingClock:
    """A clock that shows what it is told to: it stands still, jumps and steps back."""

    def __init__(self, steps: Sequence[int]) -> None:
        self._steps = list(steps)
        self._now = NOON

    def __call__(self) -> datetime:
        step, *self._steps = [*self._steps, 0]
        self._now += timedelta(milliseconds=step)
        return self._now


clocks = st.lists(st.sampled_from([0, 0, 0, 1, -5, 60_000]), max_size=8).map(TickingClock)


def folded_part(client: Client) -> list[RecordedEvent]:
    """Return what stands in the log up to the cursor."""
    log = client.events.read(None, limit=EVERYTHING).events
    place = client.stats.cursor().place
    return [
        recorded for recorded in log if place is not None and recorded.position <= place.position
    ]


def assert_invariant(client: Client) -> None:
    """Check that the stats are the table applied to all events up to the cursor."""
    recorded = folded_part(client)
    events = [one.event for one in recorded]
    cursor = client.stats.cursor()
    totals = {skill: dict(row) for skill, row in client.stats.totals().items()}
    days = {
        skill: {start.date(): dict(row) for start, row in rollups.items()}
        for skill in totals
        if (rollups := client.stats.rollups(skill, Granularity.DAY))
    }

    assert totals == count_totals(events)
    assert days == count_days(events)
    assert cursor.count == len(events)
    assert cursor.checksum == sum(one.fingerprint for one in recorded) % CHECKSUM_RANGE
    for counter in client.stats.projection.counters:
        assert cursor.controls[counter] == sum(row[counter] for row in totals.values())
    for column in client.stats.projection.columns:
        assert cursor.controls[f"day.{column}"] == sum(
            row[column] for by_day in days.values() for row in by_day.values()
        )


def assert_all_counted(client: Client, committed: Sequence[Event]) -> None:
    """Check that every event that was ever committed is in the stats, once."""
    recorded = folded_part(client)

    assert sorted(map(repr, committed)) == sorted(repr(one.event) for one in recorded)
    assert_invariant(client)


@in_every_site
@few
@given(log=event_logs(), clock=clocks, data=st.data())
def test_neither_batches_nor_bounds_matter(site_of, log, clock, data):
    """Any partition into appends, pages and bounds gives what one count of all events gives."""
    with site_of(clock) as site:
        client = site.client()
        rest = list(log)
        while rest:
            size = data.draw(st.integers(1, len(rest)), label="append")
            client.events.append(rest[:size])
            rest = rest[size:]
            if data.draw(st.booleans(), label="fold in between"):
                fold_page(client.events, client.stats, **data.draw(bounds))
        folded = client.stats.cursor().count

        report = drain(client.events, client.stats, **data.draw(bounds))

        assert report.at_frontier
        assert report.events == len(log) - folded
        assert_all_counted(client, log)


@in_every_site
@few
@given(log=event_logs(min_size=1), limit=st.integers(1, 12), options=bounds)
def test_a_bound_on_events_is_never_overshot(site_of, log, limit, options):
    """A drain of at most n events folds n, or all there are."""
    with site_of() as site:
        client = site.client()
        client.events.append(log)

        report = drain(client.events, client.stats, max_events=limit, **options)

        assert report.events == min(limit, len(log))
        assert client.stats.cursor().count == report.events
        assert_invariant(client)


async def drain_by_ones(client: Client) -> None:
    """Drain with a page of one event, so that each event is a race of its own."""
    await aio.drain(stepped(client.events), SteppedStats(client.stats), page=1)


async def append_late(client: Client, events: list[Event], committed: list[Event]) -> None:
    """Append and hold the append open, then commit it."""
    await pause()
    held = client.begin()
    held.append(events)
    await pause()
    held.commit()
    committed += events


async def append_and_roll_back(client: Client, events: list[Event]) -> None:
    """Append and hold the append open, then take it back."""
    await pause()
    held = client.begin()
    held.append(events)
    await pause()
    held.rollback()


@pytest.mark.parametrize(("site_of", "switches"), [(memory_site, 6), (sqlite_site, 4)])
def test_every_race_of_two_workers_has_one_winner(site_of, switches):
    """Two drains of tied events, in every order of their store calls, count each once."""
    log = [download("a"), download("b")]

    with ExitStack() as stack:

        def start() -> tuple[Sequence[Actor], Callable[[], None]]:
            stack.close()
            site = stack.enter_context(site_of())
            one, two = site.client(), site.client()
            one.events.append(log)
            return [drain_by_ones(one), drain_by_ones(two)], lambda: assert_all_counted(one, log)

        assert play_every_schedule(start, max_switches=switches) > 100


@pytest.mark.parametrize(("site_of", "switches"), [(memory_site, 4), (sqlite_site, 2)])
def test_no_late_commit_is_stepped_over(site_of, switches):
    """An append held open while others commit and a worker folds is counted all the same.

    A store that lets only one writer in refuses the second, which then has not committed.
    """
    with ExitStack() as stack:

        def start() -> tuple[Sequence[Actor], Callable[[], None]]:
            stack.close()
            site = stack.enter_context(site_of())
            worker, committed = site.client(), list[Event]()

            def check() -> None:
                drain(worker.events, worker.stats)
                assert_all_counted(worker, committed)

            return [
                drain_by_ones(worker),
                append_late(site.client(), [download("a")], committed),
                append_late(site.client(), [download("b")], committed),
                append_and_roll_back(site.client(), [download("c")]),
            ], check

        assert play_every_schedule(start, max_switches=switches) > 100


@in_every_site
def test_a_death_at_any_store_call_loses_and_repeats_nothing(site_of):
    """A drain that dies before or after any of its store calls is just started again."""
    log = [download("a"), download("b"), download("a")]
    deaths = 0
    finished = False
    while not finished:
        with site_of() as site:
            client = site.client()
            client.events.append(log)
            worker = drain_by_ones(client)
            try:
                for _ in range(deaths + 1):
                    worker.send(None)
            except StopIteration:
                finished = True
            worker.close()
            assert_invariant(client)

            drain(client.events, client.stats)

            assert_all_counted(client, log)
        deaths += 1

    assert deaths > 2 * len(log)


class Worker:
    """A drain that is stepped from store call to store call, killed, and started again."""

    def __init__(self, client: Client, options: Bounds) -> None:
        self._client = client
        self._options = options
        self._drain: Coroutine[None, None, FoldReport] | None = None

    def step(self) -> None:
        """Go on to the next store call; a worker that is done begins anew."""
        if self._drain is None:
            self._drain = aio.drain(
                stepped(self._client.events), SteppedStats(self._client.stats), **self._options
            )
        try:
            self._drain.send(None)
        except (StopIteration, StoreBusyError):
            self._drain = None

    def kill(self) -> None:
        """Die before or after the store call that was to come or was made."""
        if self._drain is not None:
            self._drain.close()
            self._drain = None


class Writer:
    """Appends that are held open over other people's steps, then committed or rolled back."""

    def __init__(self, client: Client, appends: Sequence[tuple[list[Event], bool]]) -> None:
        self._client = client
        self._appends = list(appends)
        self._held: tuple[HeldAppend, list[Event], bool] | None = None
        self.committed: list[Event] = []

    def step(self) -> None:
        if self._held is not None:
            held, events, commits = self._held
            if commits:
                held.commit()
                self.committed += events
            else:
                held.rollback()
            self._held = None
        elif self._appends:
            events, commits = self._appends[-1]
            held = self._client.begin()
            with suppress(StoreBusyError):
                held.append(events)
                self._held = held, events, commits
                self._appends.pop()

    @property
    def is_holding(self) -> bool:
        return self._held is not None

    @property
    def is_done(self) -> bool:
        return not self._appends and self._held is None


def play(site: Site, data: st.DataObject) -> None:
    """Let two workers and two writers step in any order, and look on from outside."""
    appends = st.lists(st.tuples(event_logs(min_size=1, max_size=4), st.booleans()), max_size=3)
    workers = [Worker(site.client(), data.draw(bounds)) for _ in range(2)]
    writers = [Writer(site.client(), data.draw(appends)) for _ in range(2)]
    outside = site.client()
    steps = [one.step for one in workers] + [one.step for one in writers]
    steps += [one.kill for one in workers]
    schedule = st.lists(st.sampled_from(range(len(steps))), min_size=20, max_size=60)
    try:
        for step in data.draw(schedule, label="schedule"):
            # SQLite refuses a second writer at once here, since nobody waits for a lock.
            with suppress(StoreBusyError):
                steps[step]()
            assert_invariant(outside)
        for writer in sorted(writers, key=lambda writer: not writer.is_holding):
            while not writer.is_done:
                writer.step()
    finally:
        for worker in workers:
            worker.kill()

    drain(outside.events, outside.stats)

    assert_all_counted(outside, [event for writer in writers for event in writer.committed])


@in_every_site
@settings(few, max_examples=150)
@given(clock=clocks, data=st.data())
def test_no_schedule_loses_or_doubles(site_of, clock, data):
    """Ties, late commits, overlapping workers and deaths between any two calls do no harm."""
    with site_of(clock) as site:
        play(site, data)


@contextmanager
def original_site(
    store: type[TimestampAfter | TimestampFrom], clock: TickingClock
) -> Iterator[Site]:
    """A place whose log is read by creation time, and whose stats are sound."""

    class Original:
        def __init__(self) -> None:
            self.log = store([], clock=clock)
            self.database = MemoryDatabase()

        def client(self, projection: Projection = SKILL_STATS) -> Client:
            return Client(self.log, MemoryStatsStore(projection, self.database), self.hold)

        def hold(self) -> HeldAppend:
            raise NotImplementedError

    yield Original()


appends_and_page = st.tuples(event_logs(), clocks, st.integers(1, 4))


def counts_each_once(
    site_of: Callable[[TickingClock], AbstractContextManager[Site]],
    case: tuple[list[Event], TickingClock, int],
) -> bool:
    """Append one by one, fold in pages, twice, and compare with a plain count."""
    log, clock, page = case
    with site_of(copy(clock)) as site:
        client = site.client()
        for event in log:
            client.events.append([event])
        for _ in range(2):
            # The bound is for stores that never come to an end.
            drain(client.events, client.stats, page=page, max_events=len(log) + 1)
        return client.stats.totals() == count_totals(log)


@in_every_site
@few
@given(case=appends_and_page)
def test_our_stores_count_each_event_once(site_of, case):
    """The property by which the cursors of the original are caught below."""
    assert counts_each_once(site_of, case)


@pytest.mark.parametrize(
    ("store", "events", "distinct_times"),
    [(TimestampAfter, 2, False), (TimestampFrom, 1, True)],
)
def test_the_cursors_of_the_original_are_caught(store, events, distinct_times):
    """``>`` loses one of two tied events; ``>=`` counts a single event twice."""
    original = partial(original_site, store)

    log, _, page = find(
        appends_and_page,
        lambda case: not counts_each_once(original, case),
        settings=settings(derandomize=True, database=None, max_examples=500),
    )

    assert (len(log), page) == (events, 1)
    if not distinct_times:
        apart = TickingClock([1] * len(log))
        assert counts_each_once(original, (log, apart, page))

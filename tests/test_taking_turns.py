"""Drains that are told to stop, and several workers at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skillstat_agg import (
    SKILL_STATS,
    Commit,
    CommitResult,
    Effect,
    FoldReport,
    Projection,
    RunReport,
    SkillstatError,
    StatsStore,
    aio,
    drain,
)
from skillstat_agg._folding import LOOK_SECONDS
from skillstat_agg.errors import TableChangedError, UncountableEventError
from skillstat_agg.testing._twins import AsyncStats, behind_coroutines
from tests.logs import download
from tests.sites import SITES, Client
from tests.stepping import run

in_every_site = pytest.mark.parametrize("site_of", SITES.values(), ids=SITES)


@attrs.define
class Waiting:
    """A wait that says after so many questions that the program is to stop.

    Attributes:
        questions: How often it says no.
        during: What others do while one waits.
        waited: The waits, in seconds.
    """

    questions: int = 1_000
    during: Callable[[], object] = lambda: None
    waited: list[float] = attrs.field(factory=list)

    def wait(self, seconds: float) -> bool:
        if len(self.waited) == self.questions:
            return True
        self.waited.append(seconds)
        if seconds:
            self.during()
        return False


def drained(client: Client, waiting: Waiting, **options) -> FoldReport:
    return drain(client.events, client.stats, wait=waiting.wait, **options)


def drained_by_twin(client: Client, waiting: Waiting, **options) -> FoldReport:
    async def wait(seconds: float) -> bool:
        return waiting.wait(seconds)

    events, stats = behind_coroutines(client.events), AsyncStats(client.stats)
    return run(aio.drain(events, stats, wait=wait, **options))


both = pytest.mark.parametrize("drain_it", [drained, drained_by_twin], ids=["sync", "twin"])


@in_every_site
@both
@given(questions=st.integers(0, 6), page=st.integers(1, 4))
def test_a_drain_that_is_told_to_stop_ends_within_one_page(site_of, drain_it, questions, page):
    """It is asked before each page, and the pages before stay."""
    with site_of() as site:
        client = site.client()
        client.events.append([download()] * 9)

        report = drain_it(client, Waiting(questions), page=page)

        assert report.events == min(questions * page, 9)
        assert report.at_frontier == (questions * page >= 9)
        assert client.stats.cursor().count == report.events
        assert drain(client.events, client.stats).events == 9 - report.events


@in_every_site
@both
def test_nobody_waits_where_nobody_else_works(site_of, drain_it):
    with site_of() as site:
        client, waiting = site.client(), Waiting()
        client.events.append([download()] * 5)

        drain_it(client, waiting, page=2)

        assert waiting.waited == [0, 0, 0]


class Beaten:
    """Stats on which another worker always commits first, so many times."""

    def __init__(self, store: StatsStore, win: Callable[[], object], times: int) -> None:
        self._store = store
        self._win = win
        self._times = times
        self.commits = 0

    def __getattr__(self, name: str):
        return getattr(self._store, name)

    def commit(self, commit: Commit, /) -> CommitResult:
        self.commits += 1
        if self.commits <= self._times:
            self._win()
        return self._store.commit(commit)


@in_every_site
@both
def test_who_lost_a_page_only_looks_at_the_cursor_while_it_moves(site_of, drain_it):
    """The other worker does all the rest: the loser tallies one page in vain, and no more."""
    with site_of() as site:
        client, other = site.client(), site.client()
        client.events.append([download()] * 10)

        def win() -> None:
            drain(other.events, other.stats, page=2, max_events=2)

        beaten = Beaten(client.stats, win, times=1)
        waiting = Waiting(during=win)

        report = drain_it(attrs.evolve(client, stats=beaten), waiting, page=2)

        assert beaten.commits == 1
        assert waiting.waited == [0, *5 * [LOOK_SECONDS], 0]  # four pages, and a look at rest
        assert (report.events, report.conflicts, report.at_frontier) == (0, 1, True)
        assert client.stats.totals()["a"]["downloads"] == 10


@in_every_site
@both
def test_who_lost_a_page_goes_on_where_the_winner_stopped(site_of, drain_it):
    """It may have died, or reached its bound."""
    with site_of() as site:
        client, other = site.client(), site.client()
        client.events.append([download()] * 10)

        def win() -> None:
            drain(other.events, other.stats, page=2, max_events=2)

        beaten, waiting = Beaten(client.stats, win, times=2), Waiting()

        report = drain_it(attrs.evolve(client, stats=beaten), waiting, page=2)

        assert waiting.waited == [0, LOOK_SECONDS, 0, LOOK_SECONDS, 0, 0, 0]
        assert (report.events, report.conflicts, report.at_frontier) == (6, 2, True)
        assert client.stats.totals()["a"]["downloads"] == 10


@in_every_site
@both
def test_who_stands_back_is_told_to_stop_as_well(site_of, drain_it):
    with site_of() as site:
        client, other = site.client(), site.client()
        client.events.append([download()] * 10)

        def win() -> None:
            drain(other.events, other.stats, page=2, max_events=2)

        beaten = Beaten(client.stats, win, times=1)
        waiting = Waiting(questions=3, during=win)

        report = drain_it(attrs.evolve(client, stats=beaten), waiting, page=2)

        assert waiting.waited == [0, LOOK_SECONDS, LOOK_SECONDS]
        assert (report.events, report.conflicts, report.at_frontier) == (0, 1, False)
        assert report.after == client.stats.cursor()


# Several workers that run at regular times


COMMENT = Effect(counters={"comments": 1})
NEWER = Projection("skill_stats", {**SKILL_STATS.kinds, "comment": COMMENT})


def working(client: Client, ticks: int) -> Coroutine[None, None, RunReport]:
    """Return a worker, to be stepped; between two ticks it waits for one step."""
    done = 0

    async def wait(seconds: float) -> bool:
        if seconds:
            await asyncio.sleep(0)
        return done == ticks

    async def tick() -> FoldReport:
        nonlocal done
        done += 1
        events, stats = behind_coroutines(client.events), AsyncStats(client.stats)
        return await aio.drain(events, stats, page=2, wait=told)

    async def told(seconds: float) -> bool:
        if seconds:
            await asyncio.sleep(0)
        return False

    return aio.run_every(timedelta(minutes=15), tick, wait=wait, draw=lambda: 0.0)


class Workers:
    """Workers that advance one call of a store at a time, as somebody chooses.

    Attributes:
        ends: How each that has ended did: what it returned, or the error that it raised.
    """

    def __init__(self) -> None:
        self._running: list[Coroutine[None, None, RunReport]] = []
        self.ends: list[RunReport | SkillstatError] = []

    def start(self, *workers: Coroutine[None, None, RunReport]) -> None:
        self._running += workers

    def step(self, number: int) -> None:
        """Let one of them advance."""
        if not self._running:
            return
        worker = self._running[number % len(self._running)]
        try:
            worker.send(None)
        except StopIteration as end:
            self._end(worker, end.value)
        except SkillstatError as error:
            self._end(worker, error)

    def kill(self, number: int) -> None:
        """End one of them where it stands."""
        if self._running:
            self._running.pop(number % len(self._running)).close()

    def finish(self) -> None:
        while self._running:
            self.step(0)

    def _end(self, worker: Coroutine[None, None, RunReport], end: Any) -> None:
        self._running.remove(worker)
        self.ends.append(end)


moves = st.lists(
    st.tuples(st.sampled_from(["step", "step", "step", "append", "kill"]), st.integers(0, 5)),
    max_size=60,
)


@in_every_site
@settings(max_examples=60)
@given(moves=moves, count=st.integers(2, 3))
def test_workers_at_regular_times_count_each_event_once(site_of, moves, count):
    """In every order of their calls, and whoever of them is killed."""
    with site_of() as site:
        clients = [site.client() for _ in range(count)]
        workers, appended = Workers(), 6
        clients[0].events.append([download()] * 6)
        workers.start(*(working(each, ticks=3) for each in clients))

        for move, number in moves:
            if move == "step":
                workers.step(number)
            elif move == "kill":
                workers.kill(number)
            else:
                clients[0].events.append([download()])
                appended += 1
            cursor, totals = clients[0].stats.cursor(), clients[0].stats.totals()
            assert totals.get("a", {"downloads": 0})["downloads"] == cursor.count
        workers.finish()
        drain(clients[0].events, clients[0].stats)

        assert clients[0].stats.totals()["a"]["downloads"] == appended
        assert all(isinstance(end, RunReport) for end in workers.ends)


@in_every_site
@settings(max_examples=60)
@given(before=moves, after=moves)
def test_old_workers_end_and_new_ones_go_on_during_a_deployment(site_of, before, after):
    """The old ones count until the new table is there, and none of its events after that."""
    with site_of() as site:
        old = [site.client() for _ in range(2)]
        workers, appended, comments = Workers(), 6, 0
        old[0].events.append([download()] * 6)
        workers.start(*(working(each, ticks=50) for each in old))
        for move, number in before:
            if move == "append":
                old[0].events.append([download()])
                appended += 1
            else:
                workers.step(number)

        new = site.client(NEWER)
        workers.start(working(new, ticks=50))
        for move, number in after:
            if move == "append":
                new.events.append([attrs.evolve(download(), kind="comment")])
                comments += 1
            else:
                workers.step(number)
        new.events.append([attrs.evolve(download(), kind="comment")])
        workers.finish()
        drain(new.events, new.stats)

        refusals = [end for end in workers.ends if isinstance(end, SkillstatError)]
        assert len(refusals) == 2
        assert all(isinstance(e, TableChangedError | UncountableEventError) for e in refusals)
        totals = new.stats.totals()["a"]
        assert (totals["downloads"], totals["comments"]) == (appended, comments + 1)
        assert new.stats.cursor().count == appended + comments + 1

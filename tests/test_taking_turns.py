"""Drains that are told to stop, and several workers at once."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skillstat_agg import Commit, CommitResult, FoldReport, StatsStore, aio, drain
from skillstat_agg._folding import LOOK_SECONDS
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

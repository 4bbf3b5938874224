"""The asynchronous twin is the synchronous text with ``async`` and ``await``."""

from __future__ import annotations

import ast
import asyncio
import importlib
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import skillstat_agg
from skillstat_agg import FoldReport, aio, drain, fold_page
from skillstat_agg.errors import (
    CursorConflictError,
    InvalidBoundError,
    UncountableEventError,
)
from skillstat_agg.testing._twins import AsyncStats, behind_coroutines
from tests.logs import NOON, download, event_logs
from tests.sites import SITES, Client
from tests.stepping import run

T = TypeVar("T")

# Each module whose functions call stores, with its twin: what calls none stands in the first.
MODULES = {
    "_folding": [
        *("fold_page", "drain", "_fold", "_teach", "_at_rest", "read_portion"),
        *("_register", "_report", "retire_reader"),
    ],
    "_pruning": ["plan_prune", "prune", "_tell", "_parked"],
    "_rebuilding": ["rebuild", "check_same_log", "_begin"],
    "_retention": ["expire"],
    "_sampling": ["verify_sample", "_scanned"],
    "_scheduling": ["run_every"],
    "_verifying": ["verify", "verify_fully", "_drop", "_caught_up"],
    "_series": ["series"],
    "_leaderboards": ["leaderboard"],
    "_boards": ["publish", "read_board", "read_on"],
    "_owners": ["owner_totals"],
    "_lag": ["lag"],
    "_fresh": ["fresh_totals", "fresh_rollups", "_tail", "wait_until_folded"],
    "_adopting": ["adopt", "check_adoptable"],
    "_correcting": ["reconcile", "_numbers", "_moved"],
    "_hydrating": ["hydrate"],
}
TWINS = [(module, name) for module, names in MODULES.items() for name in names]
PROTOCOLS = [
    "EventStore",
    "TallyStore",
    "PruneStore",
    "ExtentStore",
    "StatsStore",
    "RetentionStore",
    "SumStore",
    "GenerationStore",
    "SeriesStore",
    "RankStore",
    "BoardStore",
    "LagStore",
    "NoteStore",
    "BadgeStore",
    "HydratingStore",
]

in_every_site = pytest.mark.parametrize("site_of", SITES.values(), ids=SITES)
both_ways = pytest.mark.parametrize("run_it", [asyncio.run, run], ids=["asyncio", "by hand"])
bounds = st.fixed_dictionaries(
    {
        "page": st.integers(1, 5),
        "max_skills": st.none() | st.integers(1, 3),
        "max_events": st.none() | st.integers(1, 8),
    }
)


# The texts


class TakeAway(ast.NodeTransformer):
    """Takes ``async``, ``await`` and ``Awaitable[...]`` out of a syntax tree."""

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        self.generic_visit(node)
        return ast.FunctionDef(**dict(ast.iter_fields(node)))

    def visit_Await(self, node: ast.Await) -> ast.AST:
        awaited: ast.AST = self.visit(node.value)
        return awaited

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        if isinstance(node.value, ast.Name) and node.value.id == "Awaitable":
            result: ast.AST = self.visit(node.slice)
            return result
        return self.generic_visit(node)


def functions(source: str) -> dict[str, ast.AST]:
    """Return the functions at the top of *source*, by name."""
    return {
        node.name: node
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def are_twins(name: str, synchronous: str, asynchronous: str) -> bool:
    """Return whether a function is the same in both sources, but for being awaited."""
    one, other = functions(synchronous)[name], functions(asynchronous)[name]
    return isinstance(other, ast.AsyncFunctionDef) and ast.dump(one) == ast.dump(
        TakeAway().visit(other)
    )


def texts(module: str) -> tuple[str, str]:
    """Return the source of a module, and that of its twin."""
    one, other = (
        importlib.import_module(f"{package}.{module}")
        for package in ("skillstat_agg", "skillstat_agg.aio")
    )
    return inspect.getsource(one), inspect.getsource(other)


@pytest.mark.parametrize(("module", "name"), TWINS)
def test_the_two_texts_are_equal(module, name):
    """Each function of the twin is the synchronous one, down to its docstring."""
    assert are_twins(name, *texts(module))


def test_every_module_of_the_twin_is_compared():
    names = {path.stem for path in Path(aio.__file__).parent.glob("*.py")}

    assert names == {"__init__", "_badges", "_stores", *MODULES}


@pytest.mark.parametrize("module", MODULES)
def test_the_twin_holds_no_other_functions(module):
    """Whatever calls a store stands in both texts; what calls none stands in one."""
    assert sorted(functions(texts(module)[1])) == sorted(MODULES[module])


SYNCHRONOUS = '''
def f(call: Callable[[int], None]) -> int:
    """Return it."""
    return g(h(1))
'''
ASYNCHRONOUS = '''
async def f(call: Callable[[int], Awaitable[None]]) -> int:
    """Return it."""
    return await g(await h(1))
'''


@pytest.mark.parametrize(
    ("before", "after", "are_equal"),
    [
        ("g", "g", True),
        ("h(1)", "h(2)", False),
        ("await g", "g", True),  # who forgets to await is found by the type checker
        ("Return it.", "Return it!", False),
        ("async def", "def", False),
        ("-> int", "-> str", False),
        ("f(call", "f(calls", False),
        ("Awaitable[None]", "Awaitable[int]", False),
        ("Awaitable[None]", "None", True),
        ("    return await g", "    log()\n    return await g", False),
    ],
)
def test_a_difference_between_the_texts_is_seen(before, after, are_equal):
    """The comparison that holds the texts equal can fail."""
    assert before in ASYNCHRONOUS
    assert are_twins("f", SYNCHRONOUS, ASYNCHRONOUS.replace(before, after)) == are_equal


def methods(module: ModuleType, protocol: str) -> dict[str, object]:
    """Return the public members that a protocol declares."""
    members = vars(getattr(module, protocol))
    return {name: member for name, member in members.items() if not name.startswith("_")}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_protocols_ask_for_the_same(protocol):
    """The asynchronous protocols have the same methods with the same signatures."""
    there, here = methods(skillstat_agg, protocol), methods(aio, protocol)

    assert there.keys() == here.keys()
    for name, member in there.items():
        twin = here[name]
        assert twin.__doc__
        if isinstance(member, property):
            assert isinstance(twin, property)
            assert member.fget is not None
            assert twin.fget is not None
            member, twin = member.fget, twin.fget
        else:
            assert inspect.iscoroutinefunction(twin)
        assert callable(member)
        assert callable(twin)
        assert inspect.signature(member) == inspect.signature(twin)


# What they do


def stepped_drain(client: Client, **options) -> Coroutine[None, None, FoldReport]:
    return aio.drain(behind_coroutines(client.events), AsyncStats(client.stats), **options)


def plain(report: FoldReport) -> dict[str, object]:
    """Return a report without what is drawn anew for each log."""
    numbers = attrs.asdict(report, recurse=False)
    for name in ("before", "after"):
        cursor = numbers[name]
        place = None if cursor.place is None else cursor.place.position
        numbers[name] = attrs.evolve(cursor, place=None, checksum=0), place
    return numbers


@in_every_site
@both_ways
@settings(max_examples=30)
@given(log=event_logs(), options=bounds)
def test_the_twin_drains_as_drain_does(site_of, run_it, log, options):
    """The same log and bounds give the same report, the same calls and the same numbers."""
    changed: list[frozenset[str]] = []
    changed_by_twin: list[frozenset[str]] = []

    async def on_commit(skills: frozenset[str]) -> None:
        changed_by_twin.append(skills)

    with site_of() as site, site_of() as twin_site:
        client, twin = site.client(), twin_site.client()
        client.events.append(log)
        twin.events.append(log)

        report = drain(client.events, client.stats, **options, on_commit=changed.append)
        twin_report = run_it(stepped_drain(twin, **options, on_commit=on_commit))

        assert plain(twin_report) == plain(report)
        assert changed_by_twin == changed
        assert dict(twin.stats.totals()) == dict(client.stats.totals())


@in_every_site
@both_ways
def test_the_twin_folds_one_page(site_of, run_it):
    """``aio.fold_page`` folds one page in one commit."""
    with site_of() as site:
        client = site.client()
        client.events.append([download()] * 3)

        report = run_it(
            aio.fold_page(behind_coroutines(client.events), AsyncStats(client.stats), page=2)
        )

        assert (report.events, report.at_frontier) == (2, False)
        assert client.stats.totals()["a"]["downloads"] == 2


@in_every_site
@both_ways
def test_the_twin_stops_at_an_event_it_cannot_count(site_of, run_it):
    """What stands before it is committed, then the same error is raised."""
    with site_of() as site:
        client = site.client()
        unknown = attrs.evolve(download(), kind="comment", occurred_at=NOON)
        client.events.append([download(), unknown, download()])

        with pytest.raises(UncountableEventError, match="unknown kind 'comment'"):
            run_it(stepped_drain(client))

        assert client.stats.cursor().count == 1


@pytest.mark.parametrize("name", ["page", "max_events", "max_skills"])
def test_the_twin_checks_its_bounds(name):
    """A bound below 1 is refused before a store is called."""
    with SITES["memory"]() as site:
        client = site.client()

        with pytest.raises(InvalidBoundError) as caught:
            run(stepped_drain(client, **{name: 0}))

    assert caught.value.name == name


def wins_in_between(client: Client, drain_it: Callable[[], FoldReport]) -> Awaitable[FoldReport]:
    """Return a fold of the twin in whose middle another worker drains the log."""

    class Overtaken(AsyncStats):
        async def commit(self, commit, /):
            drain_it()
            return await super().commit(commit)

    return aio.fold_page(behind_coroutines(client.events), Overtaken(client.stats))


@in_every_site
@both_ways
def test_the_twin_loses_a_race_quietly(site_of, run_it):
    """A lost race is an ordinary outcome: a conflict, and nothing written."""
    with site_of() as site:
        client, other = site.client(), site.client()
        client.events.append([download()] * 2)

        report = run_it(wins_in_between(client, lambda: fold_page(other.events, other.stats)))

        assert (report.events, report.rows, report.conflicts) == (0, 0, 1)
        assert report.after == client.stats.cursor()
        assert client.stats.totals()["a"]["downloads"] == 2


@in_every_site
def test_many_drains_at_once_count_each_event_once(site_of):
    """Tasks of one loop may drain the same log together."""
    with site_of() as site:
        clients = [site.client() for _ in range(3)]
        clients[0].events.append([download()] * 20)

        async def drain_together() -> list[FoldReport]:
            return await asyncio.gather(*(stepped_drain(each, page=3) for each in clients))

        reports = asyncio.run(drain_together())

        assert sum(report.events for report in reports) == 20
        assert clients[0].stats.totals()["a"]["downloads"] == 20


def test_a_conflict_that_nobody_caused_is_no_lost_race():
    """A store that refuses a commit from its own record breaks its contract, here as there."""

    class Stubborn(AsyncStats):
        async def commit(self, commit, /):
            raise CursorConflictError(commit.expected.projection)

    with SITES["memory"]() as site:
        client = site.client()
        client.events.append([download()])

        with pytest.raises(skillstat_agg.SkillstatError, match="compare_and_set"):
            run(aio.drain(behind_coroutines(client.events), Stubborn(client.stats)))

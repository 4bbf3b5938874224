"""Forgetting beside others: workers, other forgets, deaths and failures in the middle of it."""

from __future__ import annotations

from skillstat_agg._projections import SKILL_STATS
from skillstat_agg.testing._checks import AnyCase, check
from skillstat_agg.testing._steps import CONFLICT, DEATH_INSIDE, FAULT, MOVED_INSIDE
from skillstat_agg.testing.checks.forgetting import FETCHES


@check(
    "FORGET-03",
    "forgotten",
    "no commit in flight revives a forgotten skill",
    witness=CONFLICT,
)
def forget_03(case: AnyCase) -> None:
    """A skill is forgotten beside a worker, in every order of their calls."""
    worker = case.client("fold")
    worker.append(*case.downloads("aba"))
    if case.maybe():
        worker.drain(page=1, max_events=1)
    beside = [case.client("w").appending(case.downloads(skills)) for skills in case.scope("", "a")]
    case.play(
        worker.draining(page=case.pick(1, 2)),
        case.client("f").forgetting("a"),
        *beside,
        switches=2,
    )
    worker.append(*case.downloads("ab"))
    case.settle()


@check(
    "FORGET-07",
    "forgotten",
    "a forget that dies was done, or was not, and can be repeated",
    witness=DEATH_INSIDE,
    needs=["io"],
)
def forget_07(case: AnyCase) -> None:
    """The client dies at any point of its forget; others go on, and one of them repeats it."""
    worker, two = case.client("fold"), case.client("fetches", FETCHES)
    worker.append(*case.downloads("aba"))
    worker.drain(page=1, max_events=case.pick(*case.scope((1,), (None, 1))))
    two.drain()
    case.play(
        case.client("f").forgetting("a"),
        switches=0,
        deaths=1,
        into=("forget",),
        look=False,
    )
    worker.append(*case.downloads("ab"))
    for client in (worker, two):
        case.observe(client.stats.projection)
        client.drain()
        case.observe(client.stats.projection)
    case.client("again").forget("a")
    for projection in (SKILL_STATS, FETCHES):
        case.observe(projection)
        case.settle(projection)


@check(
    "FORGET-09",
    "forgotten",
    "what lands in the middle of a forget stays",
    witness=MOVED_INSIDE,
    needs=["io"],
)
def forget_09(case: AnyCase) -> None:
    """A commit, or the forget of another skill, lands at any point of a forget."""
    worker = case.client("fold")
    worker.append(*case.downloads("ab"))
    worker.drain(page=1, max_events=1)
    other = case.client("g").forgetting("b") if case.maybe() else worker.draining()
    case.play(
        case.client("f").forgetting("a"),
        other,
        switches=case.scope(0, 1),
        inside=1,
        into=("forget",),
        look=False,
    )
    case.observe()
    worker.append(*case.downloads("ab"))
    case.settle()


@check(
    "FORGET-10",
    "forgotten",
    "a forget whose I/O fails has done all or nothing, and can be repeated",
    witness=FAULT,
    needs=["io"],
)
def forget_10(case: AnyCase) -> None:
    """I/O fails in the middle of a forget, and the same client forgets again."""
    worker, keeper = case.client("fold"), case.client("f")
    worker.append(*case.downloads("aba"))
    worker.drain()
    case.play(keeper.forgetting("a"), switches=0, faults=1, into=("forget",), look=False)
    case.observe()
    keeper.forget("a")
    worker.append(*case.downloads("a"))
    case.settle()


CHECKS = (
    forget_03,
    forget_07,
    forget_09,
    forget_10,
)

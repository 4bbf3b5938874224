"""Corrections: a counter is held against its source while others move, and never twice."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping

from skillstat_agg import aio
from skillstat_agg._adjusting import correctable
from skillstat_agg._correcting import LeftAlone, Reconciliation, reconcile
from skillstat_agg._projections import SKILL_STATS
from skillstat_agg.errors import StoreBusyError
from skillstat_agg.testing._cases import NOON
from skillstat_agg.testing._checks import AnyCase, check
from skillstat_agg.testing._clients import SteppedEvents, SteppedStats
from skillstat_agg.testing._handles import Actor, Handle

CORRECTED = "a difference was corrected"
MOVED = "a skill was left alone, since an event came while the source was read"
WAITED = "a skill was left alone, since events waited beyond the frontier"
BOTH = "two corrected the same difference"

TABLE = correctable(SKILL_STATS)


def _stars(case: AnyCase) -> Mapping[str, int]:
    """Return the rows of a service, as the stars that are committed made them, and one more."""
    rows: Counter[str] = Counter()
    for event in case.committed.events:
        rows[event.skill_id] += {"star": 1, "unstar": -1}.get(event.kind, 0)
    return {**rows, "a": rows["a"] + 1}


def _reconciling(case: AnyCase, client: Handle, found: list[Reconciliation]) -> Actor[None]:
    """Return an actor that holds the stars against the rows."""

    async def source() -> Mapping[str, int]:
        return _stars(case)

    async def steps(events: SteppedEvents, stats: SteppedStats) -> None:
        try:
            found.append(await aio.reconcile(events, stats, "stars", source, at=NOON))
        except StoreBusyError:
            return

    return client.doing(steps)


def _check_in_the_end(case: AnyCase) -> None:
    """Check that once nobody moves the numbers are those of the source, and stay so."""
    client = case.client("after", TABLE)
    for is_again in (False, True):
        outcome = reconcile(client.events, client.stats, "stars", lambda: _stars(case), at=NOON)
        case.expect("what is left alone when nobody moves", {}, dict(outcome.left_alone))
        client.drain()
        stars = {skill: row["stars"] for skill, row in client.stats.totals().items()}
        wanted = {skill: number for skill, number in _stars(case).items() if number}
        case.expect("stars when they are reconciled", wanted, {k: n for k, n in stars.items() if n})
        if is_again:
            case.expect("whether the second time finds nothing", True, outcome.is_in_sync)


@check(
    "CORRECT-01",
    "nothing_hidden",
    "a counter is corrected by what its source has more, and by nothing that is on its way",
    witness=(CORRECTED,),
    needs=["lag", "begin"],
)
def correct_01(case: AnyCase) -> None:
    """An append is held open, another commits behind it or before, and a worker folds."""
    worker, keeper = case.client("fold", TABLE), case.client("keeper", TABLE)
    worker.append(case.event("a", "star"), case.event("b", "star"))
    every = itertools.product((True, False), "ab")
    is_held, skill = case.pick(*case.scope(((True, "b"), (False, "a")), tuple(every)))
    other = (
        case.client("w1", TABLE).holding((case.event("c", "star"),))
        if is_held
        else worker.draining(page=1)
    )
    found: list[Reconciliation] = []
    case.play(
        other,
        case.client("w2", TABLE).appending((case.event(skill, "unstar"),)),
        _reconciling(case, keeper, found),
        switches=case.scope(1, 3),
        look=False,
    )
    for outcome in found:
        if outcome.corrected:
            case.saw(CORRECTED)
        for reason, fact in ((LeftAlone.MOVED, MOVED), (LeftAlone.WAITING, WAITED)):
            if reason in outcome.left_alone.values():
                case.saw(fact)
        wrong = {one: by for one, by in outcome.corrected.items() if (one, by) != ("a", 1)}
        case.expect("corrections of what needs none", {}, wrong)
    _check_in_the_end(case)


@check(
    "CORRECT-02",
    "append_once",
    "two who correct one difference, or one who is killed and starts again, correct it once",
    witness=BOTH,
    needs=["lag"],
)
def correct_02(case: AnyCase) -> None:
    """Two reconcile at once, in every order, and one of them may die."""
    one, two = case.client("k1", TABLE), case.client("k2", TABLE)
    one.append(case.event("a", "star"), case.event("b", "star"))
    if case.pick(*case.scope((False,), (False, True))):
        one.drain()
    found: list[Reconciliation] = []
    switches, deaths = case.pick(*case.scope(((1, 0), (0, 1)), ((3, 1),)))
    case.play(
        _reconciling(case, one, found),
        _reconciling(case, two, found),
        switches=switches,
        deaths=deaths,
        look=False,
    )
    if sum(bool(outcome.corrected) for outcome in found) == 2:
        case.saw(BOTH)
    after = case.client("later", TABLE)
    after.drain()
    stars = after.stats.totals(["a"])["a"]["stars"]
    case.expect("stars of 'a' beyond those of its source", 0, max(0, stars - _stars(case)["a"]))
    _check_in_the_end(case)


CHECKS = (correct_01, correct_02)

"""Projections: each has numbers and a cursor of its own, over one log."""

from __future__ import annotations

from skillstat_agg._buckets import Granularity
from skillstat_agg._effects import RETIRED, Effect
from skillstat_agg._projections import SKILL_STATS, Projection
from skillstat_agg.testing._checks import AnyCase, check

TWO = "two projections stood at different places"

HOURS = Projection(
    "hours",
    {
        "download": Effect(counters={"downloads": 2}, rollups={"downloads": 1}),
        "star": RETIRED,
    },
    granularities=(Granularity.HOUR, Granularity.DAY),
)


def _note_places(case: AnyCase) -> None:
    """Note whether the two projections stand at different places."""
    places = {case.observer(projection).stats.cursor().place for projection in (SKILL_STATS, HOURS)}
    if len(places) > 1:
        case.saw(TWO)


@check(
    "PROJ-01",
    "atomic",
    "projections of one database are folded apart",
    witness=TWO,
)
def proj_01(case: AnyCase) -> None:
    """Two projections are folded by turns, with pages of their own."""
    stats, hours = case.client("stats"), case.client("hours", HOURS)
    for skill_id in case.scope("ab", "aba"):
        stats.append(case.event(skill_id), case.event(skill_id, "star"))
        for worker, projection in ((stats, SKILL_STATS), (hours, HOURS)):
            worker.drain(page=1, max_events=case.vary(1, 2))
            case.observe(projection)
            _note_places(case)
    case.settle()
    case.settle(HOURS)


@check(
    "PROJ-02",
    "atomic",
    "two projections that are folded at once do not meet",
    witness=TWO,
)
def proj_02(case: AnyCase) -> None:
    """A worker for each of two projections, in every order of their calls."""
    stats, hours = case.client("stats"), case.client("hours", HOURS)
    stats.append(*case.downloads("ab"))
    case.play(
        stats.draining(page=1),
        hours.draining(page=2),
        switches=case.scope(1, 3),
        look=False,
    )
    case.settle(HOURS)
    stats.append(*case.downloads("c"))
    stats.drain()
    _note_places(case)
    case.observe(HOURS)
    case.settle()
    case.settle(HOURS)


@check(
    "PROJ-03",
    "atomic",
    "a projection that is declared later counts all history",
    witness=TWO,
)
def proj_03(case: AnyCase) -> None:
    """A second projection is declared after the first has folded, and changes nothing there."""
    stats = case.client("stats")
    stats.append(*case.downloads("abc"))
    before = stats.drain(page=case.pick(1, 10)).after
    hours = case.client("hours", HOURS)
    _note_places(case)
    case.expect("the first projection's cursor", before, stats.stats.cursor())
    hours.drain(page=case.pick(1, 2, 10))
    case.expect("the first projection's cursor", before, stats.stats.cursor())
    case.settle(HOURS)
    case.settle()


CHECKS = (proj_01, proj_02, proj_03)

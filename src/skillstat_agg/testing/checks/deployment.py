"""Deployment: an old and a new program meet at one set of stats, each with a table of its own."""

from __future__ import annotations

from functools import partial

from skillstat_agg import aio
from skillstat_agg._buckets import Granularity
from skillstat_agg._effects import Effect
from skillstat_agg._projections import SKILL_STATS, Projection
from skillstat_agg.errors import StoreBusyError, TableChangedError, UncountableEventError
from skillstat_agg.testing._cases import NOON
from skillstat_agg.testing._checks import AnyCase, check
from skillstat_agg.testing._clients import SteppedEvents, SteppedStats, give_way
from skillstat_agg.testing._handles import Actor
from skillstat_agg.testing._steps import Violation

TAKEN_OVER = "a worker with an older table met stats that a newer one had taken over"
CHANGED = "a program came with a table that changes what was counted"
ACROSS = "numbers were read with the other of two tables"

COMMENTS = Effect(counters={"comments": 1}, rollups={"comments": 1})
NEW = Projection("skill_stats", {**SKILL_STATS.kinds, "comment": COMMENTS})
DOUBLED = Projection(
    "skill_stats",
    {
        **SKILL_STATS.kinds,
        "download": Effect(counters={"downloads": 2}, rollups={"downloads": 2}),
    },
)
BY_HOUR = Projection("skill_stats", SKILL_STATS.kinds, (Granularity.HOUR,))
OLDER = Projection(
    "skill_stats",
    {kind: effect for kind, effect in SKILL_STATS.kinds.items() if kind != "unstar"},
)


@check(
    "DEPLOY-01",
    "compare_and_set",
    "a table that extends the old one takes over, and the old worker is refused",
    witness=TAKEN_OVER,
)
def deploy_01(case: AnyCase) -> None:
    """The new program starts and drains beside the old one, in every order of their calls."""
    old = case.client("old")
    case.observer()
    old.append(*case.downloads("ab"))
    if not case.maybe():
        old.append(case.event("a", "comment"))
    case.play(
        old.doing(partial(_drain_old, case)),
        Actor(case.observer(), _deploy(case)),
        switches=case.scope(1, 2),
    )
    new = case.client("new again", NEW)
    new.append(case.event("c"), case.event("b", "comment", at=NOON.replace(day=2)))
    new.drain(page=case.pick(*case.scope((10,), (1, 10))))
    new.append(*case.downloads("a"))
    cursor = new.stats.cursor()
    case.expect("the table of the cursor record", NEW.table, cursor.table)
    case.saw(TAKEN_OVER)
    case.raises(TableChangedError, old.drain, "a drain with the older table")
    case.expect("the cursor after it", cursor, new.stats.cursor())
    for projection in (SKILL_STATS, NEW):
        case.observe(projection)
    case.settle(NEW)


async def _drain_old(case: AnyCase, events: SteppedEvents, stats: SteppedStats) -> None:
    """Drain with the old table, until the new one is met or needed."""
    try:
        await aio.drain(events, stats, page=1)
    except TableChangedError:
        case.saw(TAKEN_OVER)
    except (StoreBusyError, UncountableEventError):
        return


async def _deploy(case: AnyCase) -> None:
    """Start the new program: its stores may take the stats over when they are opened."""
    await give_way()
    await case.client("new", NEW).draining(page=2).moves


@check(
    "DEPLOY-02",
    "documented",
    "a table that changes what was counted is refused, and nothing is written",
    witness=CHANGED,
)
def deploy_02(case: AnyCase) -> None:
    """A program with such a table is refused when it starts, when it drains, and when it reads."""
    worker = case.client("w")
    worker.append(case.event("a"), case.event("a", "star"), case.event("b"))
    worker.drain()
    if not case.maybe():
        worker.append(*case.downloads("a"))
    before, raw = worker.stats.totals(), case.raw()
    table = case.pick(DOUBLED, BY_HOUR, OLDER)
    case.saw(CHANGED)
    try:
        other = case.client("changed", table)
    except TableChangedError:
        other = None
        if case.raw() != raw:
            raise Violation("a refusal to write nothing", "what is stored has changed") from None
    if other is not None:
        case.raises(TableChangedError, other.drain, "a drain with a changed table")
        granularity = table.granularities[0]
        if table is not OLDER:
            case.raises(TableChangedError, other.stats.totals, "totals() with a changed table")
            case.raises(
                TableChangedError,
                lambda: other.stats.rollups("a", granularity),
                "rollups() with a changed table",
            )
    after = worker.stats.totals()
    case.expect("the totals after it", dict(before), dict(after))
    case.expect("the cursor after it", before.cursor, after.cursor)
    case.settle()


@check(
    "DEPLOY-03",
    "one_snapshot",
    "numbers read with the other of two tables: what it does not count is 0",
    witness=ACROSS,
)
def deploy_03(case: AnyCase) -> None:
    """The new program reads what the old one counted, or the old one what the new one counted."""
    old = case.client("old")
    case.observer()
    old.append(case.event("a"), case.event("b", "install_new"), case.event("b", "star"))
    old.drain()
    new = case.client("new", NEW)
    reader = new
    if case.maybe():
        reader = old
        new.append(
            case.event("a", "comment", at=NOON.replace(day=2)),
            case.event("b"),
            case.event("c", "comment"),
        )
        new.drain(page=case.pick(1, 10))
    case.saw(ACROSS)
    counters, columns = reader.stats.projection.counters, reader.stats.projection.columns
    for skills in (None, ["a", "b"]):
        totals = reader.stats.totals(skills)
        for skill, row in totals.items():
            case.expect(f"the counters of {skill!r}", sorted(counters), sorted(row))
    for skill in "abc":
        for start, row in reader.stats.rollups(skill, Granularity.DAY).items():
            day = f"{start:%Y-%m-%d}"
            case.expect(f"the columns of {skill!r} on {day}", sorted(columns), sorted(row))
    for projection in (SKILL_STATS, NEW):
        case.observe(projection)
    case.settle(NEW)


CHECKS = (deploy_01, deploy_02, deploy_03)

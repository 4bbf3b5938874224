"""Rebuilds, and what lies in quarantine or has expired: it comes to the same."""

from __future__ import annotations

from datetime import timedelta

from skillstat_agg._buckets import Granularity
from skillstat_agg._folding import drain
from skillstat_agg._quarantine import Uncountable
from skillstat_agg._rebuilding import REBUILD
from skillstat_agg.testing._cases import NOON
from skillstat_agg.testing._checks import AnyCase, check
from skillstat_agg.testing.checks.deployment import NEW
from skillstat_agg.testing.checks.forgetting import HOURLY
from skillstat_agg.testing.checks.rebuilding import nothing_built

PARKED = "numbers with events in quarantine were rebuilt"
TAUGHT = "a rebuild has counted what lay in quarantine"
EXPIRED = "rollups expired between the begin and the end of a rebuild"

PARK = Uncountable.PARK


@check(
    "REBUILD-17",
    "swap",
    "what lies in quarantine is the same after a rebuild, and is counted where the table can",
    witness=(PARKED, TAUGHT),
    needs=["generations"],
)
def rebuild_17(case: AnyCase) -> None:
    """Events of an unknown kind, parked before, or by the rebuild; one is forgotten, or taught."""
    worker, builder = case.client("fold"), case.client("r")
    worker.append(case.event("a"), case.event("a", "comment"), case.event("b", "comment"))
    worker.drain(page=case.pick(1, 10), uncountable=PARK)
    worker.append(case.event("c", "comment"), case.event("a"))
    if case.maybe():
        drain(builder.events, builder.stats.building(REBUILD), page=2, uncountable=PARK)
        worker.forget("b")
    report = worker.verify_fully()
    case.expect("differences", (), report.differences)
    projection = worker.stats.projection
    if case.maybe():
        case.saw(TAUGHT)
        builder, projection = case.client("new", NEW), NEW
    report_of_rebuild = builder.rebuild(page=2, uncountable=PARK)
    case.saw(PARKED)
    case.expect("events that the new numbers cover", 5, report_of_rebuild.after.count)
    nothing_built(case, builder)
    case.observe(projection)
    case.settle(projection)


@check(
    "REBUILD-18",
    "building",
    "rollups that expire during a rebuild stay expired",
    witness=EXPIRED,
    needs=["generations", "expire"],
)
def rebuild_18(case: AnyCase) -> None:
    """Old days expire before, beside and after the begin of a rebuild; later events come, too."""
    worker, builder, keeper = (case.client(name, HOURLY) for name in ("fold", "r", "k"))
    old = NOON - timedelta(days=3)
    worker.append(case.event("a", at=old), case.event("a"), case.event("b", at=old))
    worker.drain(page=2, max_events=2)
    before = NOON - timedelta(days=1)
    granularity = case.pick(*case.scope((Granularity.DAY,), HOURLY.granularities))
    if case.vary(True, False):
        keeper.expire(NOON - timedelta(days=2), Granularity.DAY)
    if case.vary(True, False):
        drain(builder.events, builder.stats.building(REBUILD), page=1, max_events=1)
    case.play(
        builder.rebuilding(page=2),
        keeper.expiring(before, granularity),
        switches=1,
        look=False,
    )
    case.saw(EXPIRED)
    case.observe(HOURLY)
    worker.append(case.event("b", at=old), case.event("b"))
    worker.drain()
    case.observe(HOURLY)
    case.expect("differences", (), worker.verify_fully().differences)
    case.settle(HOURLY)


CHECKS = (rebuild_17, rebuild_18)

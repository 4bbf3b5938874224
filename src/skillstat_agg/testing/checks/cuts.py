"""Cuts: where appends, pages and runs end makes no difference to the numbers."""

from __future__ import annotations

from skillstat_agg._effects import RETIRED, Effect
from skillstat_agg._events import Event
from skillstat_agg._projections import Projection
from skillstat_agg.testing._checks import AnyCase, check
from skillstat_agg.testing._steps import FOLDED

NET_ZERO = "a page was folded whose sums are zero"
NEGATIVE = "a sum went below zero"
RETIRED_PAGE = "a page was folded that counts nothing"

QUIET = Projection("quiet_stats", {"download": Effect(counters={"downloads": 1}), "view": RETIRED})


def _parts(case: AnyCase, events: tuple[Event, ...]) -> list[tuple[Event, ...]]:
    """Return *events* cut in one of all ways."""
    parts = [events[:1]]
    for event in events[1:]:
        if case.maybe():
            parts.append(())
        parts[-1] += (event,)
    return parts


@check("CUT-01", "exact", "one log gives one result, however it is cut", witness=FOLDED)
def cut_01(case: AnyCase) -> None:
    """Some events in every number of appends, folded at every point, with several pages."""
    client, page = case.client("w"), case.pick(*case.scope((1, 10), (1, 2, 3, 10)))
    for part in _parts(case, case.downloads(case.scope("aba", "abac"))):
        client.append(*part)
        if not case.maybe():
            client.drain(page=page)
    case.settle(page=page)


@check("CUT-02", "exact", "a page whose sums are zero moves the cursor", witness=NET_ZERO)
def cut_02(case: AnyCase) -> None:
    """A star and its retraction, in one page and in two, alone and among others."""
    client = case.client("w")
    kinds = case.pick(("star", "unstar"), ("unstar", "star"), ("star", "unstar") * 3)
    client.append(*(case.event("a", kind) for kind in kinds))
    client.append(*case.downloads("b" * case.pick(0, 1)))
    report = client.drain(page=case.pick(1, 2, 10))
    case.saw(NET_ZERO)
    case.expect("events folded", len(case.committed.events), report.events)
    case.expect("events of a second drain", 0, client.drain().events)
    case.settle()


@check(
    "CUT-03",
    "exact",
    "a bound on events or skills leaves nothing out",
    witness=FOLDED,
)
def cut_03(case: AnyCase) -> None:
    """Drains with bounds, one after the other, until nothing is left."""
    client = case.client("w")
    client.append(*case.downloads("aabbca"))
    events, skills, page = case.pick(None, 1, 4), case.pick(None, 1, 2), case.pick(1, 3, 10)
    for _ in range(len(case.committed.events)):
        if client.drain(page=page, max_events=events, max_skills=skills).at_frontier:
            break
        case.observe()
    case.settle()


@check("CUT-04", "signed", "sums are stored as they are, also below zero", witness=NEGATIVE)
def cut_04(case: AnyCase) -> None:
    """Retractions arrive before what they retract; every cut gives the same sums."""
    client = case.client("w")
    events = tuple(case.event("a", kind) for kind in ("unstar", "unstar", "star", "star", "star"))
    for part in _parts(case, events):
        client.append(*part)
        client.drain()
        if client.stats.totals()["a"]["stars"] < 0:
            case.saw(NEGATIVE)
        case.observe()
    case.settle()


@check(
    "CUT-05",
    "exact",
    "a page of events that count nothing moves the cursor",
    witness=RETIRED_PAGE,
)
def cut_05(case: AnyCase) -> None:
    """Kinds that are declared as counting nothing are folded, alone and among others."""
    client = case.client("w", QUIET)
    client.append(*(case.event("a", "view") for _ in range(case.pick(1, 3))))
    page = case.pick(1, 2)
    case.expect("events folded", len(case.committed.events), client.drain(page=page).events)
    case.saw(RETIRED_PAGE)
    case.observe(QUIET)
    client.append(*case.downloads("b"), case.event("c", "view"))
    client.drain(page=page)
    case.settle(QUIET)


CHECKS = (cut_01, cut_02, cut_03, cut_04, cut_05)

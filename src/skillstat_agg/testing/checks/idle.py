"""Idle rounds and small changes: what does not change is not written, and reports are true."""

from __future__ import annotations

from collections.abc import Mapping

from skillstat_agg._effects import Effect
from skillstat_agg._folding import drain, fold_page
from skillstat_agg._projections import Projection
from skillstat_agg.testing._cases import NOON
from skillstat_agg.testing._checks import AnyCase, check
from skillstat_agg.testing._handles import Handle
from skillstat_agg.testing._numbers import without_zeros
from skillstat_agg.testing._steps import Violation

BALANCE = Projection(
    "balance",
    {
        "rise": Effect(counters={"up": 1}, rollups={"up": 1}),
        "fall": Effect(counters={"down": -1}, rollups={"down": -1}),
        "back": Effect(counters={"up": -1}, rollups={"up": -1}),
    },
)
"""A table whose changes can cancel each other out: in one row, or over two days."""

ROUNDS = 100
IDLE = "a worker came to a log that has nothing new"
EMPTY = "a worker came to an empty log"
UNCHANGED = "a page held a skill whose numbers it does not change"
CANCELLED = "the changes of a row added up to 0"
ALL_ZERO = "a skill had its first events, and its numbers are 0"


@check(
    "IDLE-01",
    "only_real_changes",
    "a hundred rounds without anything new change nothing",
    witness=IDLE,
)
def idle_01(case: AnyCase) -> None:
    """Time goes by, workers come round, readers read, and nothing is written."""
    writer, worker, other = case.client("w"), case.client("fold"), case.client("late fold")
    log = case.vary(("download", "star", "unstar"), ("download",), ("unstar", "star"))
    writer.append(*(case.event("a", kind) for kind in log))
    worker.drain()
    cursor, raw = worker.stats.cursor(), case.raw()
    page, called = case.vary(1, 10_000), list[frozenset[str]]()
    for number in range(case.scope(20, ROUNDS)):
        case.clock.go(hours=1)
        one = other if number % 10 == 9 else worker
        report = drain(one.events, one.stats, page=page, on_commit=called.append)
        case.saw(IDLE)
        after = f"after {number + 1} idle rounds"
        case.expect(f"events folded {after}", 0, report.events)
        case.expect(f"rows written {after}", 0, report.rows)
        case.expect(f"calls of on_commit {after}", [], called)
        case.expect(f"the cursor with the totals {after}", cursor, one.stats.totals().cursor)
        case.expect(f"the cursor {after}", cursor, one.stats.cursor())
    if case.raw() != raw:
        raise Violation(
            "nothing to be written while nothing is new",
            "what is stored has changed, though the cursor record is the same",
        )
    case.settle()


@check("IDLE-02", "progress", "an empty log has an end, and a beginning later", witness=EMPTY)
def idle_02(case: AnyCase) -> None:
    """A drain of a log that never had an event, or none that was committed."""
    writer, worker = case.client("w"), case.client("fold")
    before = case.pick("nothing", "an append of nothing", "a rollback")
    if before == "an append of nothing":
        case.expect("events that are new", 0, writer.append().new)
    if before == "a rollback" and writer.can_begin:
        held = writer.begin()
        held.append(*case.downloads("a"))
        held.rollback()
    limit = case.pick(1, 2, 10_000)
    page = worker.events.read(None, limit=limit)
    case.saw(EMPTY)
    case.expect("events of an empty log", (), page.events)
    case.expect("is_last of a page of an empty log", True, page.is_last)
    report = worker.drain(page=limit)
    case.expect("events folded", 0, report.events)
    case.expect("at_frontier of a drain of an empty log", True, report.at_frontier)
    case.expect("the place of its cursor", None, worker.stats.cursor().place)
    writer.append(*case.downloads("b"))
    case.expect("events folded, now that there is one", 1, worker.drain(page=limit).events)
    case.settle()


@check(
    "IDLE-03",
    "only_real_changes",
    "a commit writes, and names, what changes and nothing else",
    witness=UNCHANGED,
)
def idle_03(case: AnyCase) -> None:
    """What each commit reports is compared with the numbers before and after it."""
    worker = case.client("fold")
    worker.append(case.event("a"), case.event("a", "star"), case.event("c", "star"))
    worker.drain()
    skill_id, page = case.vary("a", "b"), case.vary(1, 2, 10)
    for kind in case.pick(*_CHANGES):
        deltas = {"all_time": 0, "current": 0} if kind == "install_clear" else None
        worker.append(case.event(skill_id, kind, deltas=deltas))
    if case.vary(False, True):
        worker.append(*case.downloads("c"))
    at_frontier = False
    while not at_frontier:
        named: list[frozenset[str]] = []
        before = _numbers(worker, "abc")
        report = fold_page(worker.events, worker.stats, page=page, on_commit=named.append)
        at_frontier = report.at_frontier
        after = _numbers(worker, "abc")
        rows = {key for key in {*before, *after} if before.get(key) != after.get(key)}
        touched = {skill for _, skill, _ in rows}
        if rows != after.keys() and report.events:
            case.saw(UNCHANGED)
        for skills in named:
            case.expect("CommitResult.changed", sorted(touched), sorted(skills))
        case.expect("CommitResult.rows", len(rows), report.rows)
    case.settle()


_CHANGES = (
    ("download",),
    ("star", "unstar"),
    ("unstar", "star", "download"),
    ("install_new", "install_deactivate"),
    ("install_clear",),
)


def _numbers(client: Handle, skills: str) -> Mapping[tuple[str, str, str], object]:
    """Return every row that a reader can see; a row of a rollup that is all zero is none."""
    found: dict[tuple[str, str, str], object] = {
        ("totals", skill, ""): dict(row) for skill, row in client.stats.totals().items()
    }
    for granularity in client.stats.projection.granularities:
        for skill in skills:
            rollups = client.stats.rollups(skill, granularity)
            rows = without_zeros({start: dict(row) for start, row in rollups.items()})
            found |= {(granularity.value, skill, str(start)): row for start, row in rows.items()}
    return found


@check(
    "IDLE-04",
    "only_real_changes",
    "a skill has totals from its first event on, also where they are 0",
    witness=ALL_ZERO,
)
def idle_04(case: AnyCase) -> None:
    """A skill whose events come to nothing is known; one without events is not."""
    worker, reader = case.client("fold"), case.client("reader")
    zero = {"all_time": 0, "current": 0}
    worker.append(
        *case.pick(
            (case.event("a", "star"), case.event("a", "unstar")),
            (case.event("a", "install_clear", deltas=zero),),
            (case.event("a", "unstar", at=NOON.replace(day=2)), case.event("a", "star")),
        )
    )
    worker.append(*case.downloads("b" * case.pick(0, 1)))
    case.expect("totals of 'a' before its events are folded", None, reader.stats.totals().get("a"))
    page = case.pick(1, 2, 10)
    worker.drain(page=page)
    case.saw(ALL_ZERO)
    zeros = dict.fromkeys(worker.stats.projection.counters, 0)
    for asked, totals in (
        ("totals()", reader.stats.totals()),
        ("totals(['a', 'c'])", reader.stats.totals(["a", "c"])),
    ):
        case.expect(f"{asked}, of 'a'", zeros, dict(totals["a"]) if "a" in totals else "absent")
        case.expect(f"{asked}, of 'c', which has no event", None, totals.get("c"))
    case.settle(page=page)


@check("IDLE-05", "exact", "a row whose changes cancel each other out changes", witness=CANCELLED)
def idle_05(case: AnyCase) -> None:
    """A rise and a fall: 1 and -1 in one row, which is new or was there before."""
    worker = case.client("fold", BALANCE)
    worker.append(*(case.event("a", "rise") for _ in range(case.pick(0, 1))))
    worker.drain()
    worker.append(case.event("a", "rise"), case.event("a", "fall"))
    worker.drain()
    case.saw(CANCELLED)
    case.observe(BALANCE)
    worker.append(case.event("a", "rise"))
    case.settle(BALANCE)


@check(
    "IDLE-06",
    "only_real_changes",
    "a skill has changed if its rollups have, though its totals have not",
    witness=UNCHANGED,
)
def idle_06(case: AnyCase) -> None:
    """A rise on one day and a step back on another: the totals stay as they are."""
    worker = case.client("fold", BALANCE)
    worker.append(case.event("a", "rise"), case.event("b", "rise"))
    worker.drain()
    worker.append(case.event("a", "rise"), case.event("a", "back", at=NOON.replace(day=2)))
    named: list[frozenset[str]] = []
    report = drain(worker.events, worker.stats, on_commit=named.append)
    case.saw(UNCHANGED)
    case.expect("CommitResult.changed", [frozenset({"a"})], named)
    case.expect("CommitResult.rows", 2, report.rows)
    case.settle(BALANCE)


CHECKS = (idle_01, idle_02, idle_03, idle_04, idle_05, idle_06)

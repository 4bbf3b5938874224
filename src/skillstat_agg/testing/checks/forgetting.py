"""Forgotten skills: their numbers go for good, in every projection and in every table."""

from __future__ import annotations

import attrs

from skillstat_agg._buckets import Granularity
from skillstat_agg._effects import Effect
from skillstat_agg._folding import drain
from skillstat_agg._projections import SKILL_STATS, Projection
from skillstat_agg.testing._cases import NOON
from skillstat_agg.testing._checks import AnyCase, check
from skillstat_agg.testing._handles import Handle
from skillstat_agg.testing._steps import Violation

FORGOTTEN = "a skill that had numbers was forgotten"
DROPPED = "events of a forgotten skill were folded"
TWICE = "a skill was forgotten that was forgotten already"
SEVERAL = "a page held events of several forgotten skills"
ALIKE = "a skill was forgotten beside skills with ids that are nearly the same"

HOURLY = Projection("hourly_stats", SKILL_STATS.kinds, (Granularity.HOUR, Granularity.DAY))
FETCHES = Projection(
    "fetch_stats", {"download": Effect(counters={"fetches": 1}, rollups={"fetches": 1})}
)
LATER = Projection("later_stats", {"download": Effect(counters={"later": 1})})

REMARKED = Projection(
    SKILL_STATS.name,
    {**SKILL_STATS.kinds, "remark": Effect(counters={"remarks": 1}, rollups={"remarks": 1})},
)
"""The table of a newer program."""

ALIKE_IDS = ("a", "A", "a ", "aa", "_", "%", "\u00e4", "a\u0308", "\u00e4".upper())
PATTERNS = ("a*", "a?", "[a]", "x:a", "a:x", "x/a", "abc")


@check(
    "FORGET-01",
    "forgotten",
    "the numbers of a forgotten skill go, and the control totals with them",
    witness=FORGOTTEN,
)
def forget_01(case: AnyCase) -> None:
    """Totals, rollups of every granularity and controls; the others' numbers stay."""
    projection = case.pick(SKILL_STATS, HOURLY)
    worker = case.client("fold", projection)
    kinds = case.pick(("download", "download"), ("unstar", "unstar"), ("star", "unstar"), ())
    for number, kind in enumerate(kinds):
        worker.append(case.event("a", kind, at=NOON.replace(day=1 + number)))
    worker.append(case.event("a", "install_clear", deltas={"all_time": 7, "current": -3}))
    worker.append(case.event("b"), case.event("b", "install_new"))
    worker.drain(page=case.pick(2, 100))
    before = worker.stats.cursor()
    case.client("f", projection).forget("a")
    case.saw(FORGOTTEN)
    after = worker.stats.cursor()
    case.expect("the revision after forget", before.revision + 1, after.revision)
    case.observe(projection)
    same = attrs.evolve(
        before,
        controls=after.controls,
        revision=after.revision,
        updated_at=after.updated_at,
    )
    case.expect("the rest of the cursor record", same, after)
    case.expect("totals(['a'])", {}, dict(worker.stats.totals(["a"])))
    case.settle(projection)


@check(
    "FORGET-02",
    "forgotten",
    "later events of a forgotten skill are dropped, and counted as dropped",
    witness=DROPPED,
)
def forget_02(case: AnyCase) -> None:
    """Events that were in the backlog, and events that are appended afterwards."""
    worker = case.client("fold")
    worker.append(*case.downloads("abab"))
    folded = case.pick(0, 1, 2, 3, 4)
    if folded:
        worker.drain(page=1, max_events=folded)
    case.client("f").forget("a")
    worker.append(*case.downloads(case.vary("aba", "a", "")))
    dropped = [event for event in case.committed.events[folded:] if event.skill_id == "a"]
    changed: set[str] = set()
    page = case.vary(1, 2, 100)
    report = drain(worker.events, worker.stats, page=page, on_commit=changed.update)
    if dropped:
        case.saw(DROPPED)
    case.expect("events dropped", len(dropped), report.dropped["forgotten"])
    case.expect("events folded", len(case.committed.events) - folded, report.events)
    if "a" in changed:
        raise Violation("no change of the forgotten skill", f"commits changed {sorted(changed)}")
    case.settle()


@check(
    "FORGET-04",
    "forgotten",
    "a skill is forgotten in every projection of the database",
    witness=FORGOTTEN,
)
def forget_04(case: AnyCase) -> None:
    """Two projections, one of which may lag behind, and one that is declared afterwards."""
    one, two = case.client("fold"), case.client("fetches", FETCHES)
    one.append(*case.downloads("abab"))
    one.drain()
    folded = case.pick(0, 2, 4)
    if folded:
        two.drain(page=1, max_events=folded)
    before = [client.stats.cursor() for client in (one, two)]
    case.pick(one, two).forget("a")
    case.saw(FORGOTTEN)
    for client, cursor in zip((one, two), before, strict=True):
        projection = client.stats.projection
        revision = client.stats.cursor().revision
        case.expect(f"the revision of {projection.name}", cursor.revision + 1, revision)
        case.observe(projection)
    one.append(*case.downloads("a"))
    for projection in (SKILL_STATS, FETCHES, LATER):
        case.settle(projection)


@check("FORGET-05", "forgotten", "forgetting is final, also of what is unknown", witness=TWICE)
def forget_05(case: AnyCase) -> None:
    """The first time says True, every other time says False and changes nothing."""
    one, two = case.client("f1"), case.client("f2")
    one.append(*case.downloads("ab"))
    if not case.maybe():
        one.drain()
    skill_id = case.pick("a", "unknown")
    first = case.client("first")
    case.expect(f"forget({skill_id!r}), the first time", True, first.forget(skill_id))
    cursor, raw = one.stats.cursor(), case.raw()
    case.clock.go(days=case.vary(1_000, 0))
    again = case.vary(two, first)
    case.saw(TWICE)
    case.expect(f"forget({skill_id!r}), the second time", False, again.forget(skill_id))
    case.expect("the cursor after it", cursor, one.stats.cursor())
    if case.raw() != raw:
        raise Violation("forgetting again to write nothing", "what is stored has changed")
    for client in (one, two, first):
        client.close()
    three = case.client("f3")
    three.append(*case.downloads([skill_id, skill_id, "b"]))
    three.drain(page=case.vary(1, 100))
    case.expect(f"totals([{skill_id!r}])", {}, dict(three.stats.totals([skill_id])))
    case.settle()


@check("FORGET-06", "forgotten", "a skill with nearly the same id stays", witness=ALIKE)
def forget_06(case: AnyCase) -> None:
    """Ids that differ in case, in a space, in Unicode form, or are patterns elsewhere."""
    worker = case.client("fold")
    skill_ids = (*ALIKE_IDS, *PATTERNS)
    worker.append(*case.downloads(skill_ids))
    worker.drain()
    skill_id = case.pick(*skill_ids)
    worker.forget(skill_id)
    case.saw(ALIKE)
    _check_known(case, worker, {*skill_ids} - {skill_id})
    worker.append(*case.downloads(skill_ids))
    case.settle()


def _check_known(case: AnyCase, client: Handle, skills: set[str]) -> None:
    found = {*client.stats.totals()}
    if found != skills:
        raise Violation(
            f"numbers of {_names(skills)}",
            f"missing: {_names(skills - found)}; still there: {_names(found - skills)}",
        )
    case.observe()


def _names(skills: set[str]) -> str:
    return ", ".join(sorted(map(ascii, skills))) or "none"


@check(
    "FORGET-08",
    "forgotten",
    "several forgotten skills in one page are all dropped",
    witness=SEVERAL,
)
def forget_08(case: AnyCase) -> None:
    """Two or three of four skills are forgotten, and one page holds events of them all."""
    worker, keeper = case.client("fold"), case.client("f")
    gone = case.pick("ab", "dc", "acd")
    if case.maybe():
        worker.append(*case.downloads("abcd"))
    for skill_id in gone:
        keeper.forget(skill_id)
    worker.append(*case.downloads("abcdabcd"))
    dropped = sum(event.skill_id in gone for event in case.committed.events)
    report = worker.drain()
    case.saw(SEVERAL)
    case.expect("events dropped", dropped, report.dropped["forgotten"])
    case.settle()


@check(
    "FORGET-11",
    "forgotten",
    "a program with an older table forgets what the newer one counted, too",
    witness=FORGOTTEN,
)
def forget_11(case: AnyCase) -> None:
    """The newer table has taken the stats over; the older or the newer program forgets."""
    old, new = case.client("old"), case.client("new", REMARKED)
    new.append(case.event("a"), case.event("a", "remark"), case.event("b", "remark"))
    new.drain()
    case.pick(old, new).forget("a")
    case.saw(FORGOTTEN)
    case.observe(REMARKED)
    case.settle(REMARKED)


CHECKS = (
    forget_01,
    forget_02,
    forget_04,
    forget_05,
    forget_06,
    forget_08,
    forget_11,
)

"""Sizes: what no statement, batch or page of a driver holds at once is whole all the same."""

from __future__ import annotations

from datetime import timedelta

from skillstat_agg._buckets import Granularity
from skillstat_agg.testing._cases import LOOKED_INSIDE, NOON
from skillstat_agg.testing._checks import AnyCase, check
from skillstat_agg.testing._steps import REFUSED, Violation
from skillstat_agg.testing.checks.fencing import prepared

MANY = "there was more than a statement, a batch or a page of a driver holds"

_MOST = 1_201
"""More than the parameters of a statement, or the rows of an answer: 500, 900, 999, 1,000."""

_BATCHES = 301
"""More than the items of a batch, or of a transaction: 25, 100."""


@check(
    "SIZE-01",
    "exact",
    "very many skills in one commit, and in one answer, are all there",
    witness=MANY,
)
def size_01(case: AnyCase) -> None:
    """One page touches them all; three are forgotten, before the first commit or after it."""
    worker = case.client("fold")
    skills = [f"skill {number:04}" for number in range(_MOST)]
    gone = {skills[0], skills[_MOST // 2], skills[-1]}
    is_before = case.maybe()
    if not is_before:
        worker.append(*case.downloads(skills))
        worker.drain()
    for skill_id in sorted(gone):
        worker.forget(skill_id)
    worker.append(*case.downloads(skills))
    worker.drain()
    case.saw(MANY)
    downloads = {skill: 1 + (not is_before) for skill in skills if skill not in gone}
    for asked, totals in (
        ("totals()", worker.stats.totals()),
        ("totals(every skill)", worker.stats.totals(skills)),
    ):
        case.expect(f"the number of skills in {asked}", len(downloads), len(totals))
        found = {skill: row["downloads"] for skill, row in totals.items()}
        unlike = sorted(skill for skill in downloads if downloads[skill] != found.get(skill))
        case.expect(f"the skills with other downloads in {asked}", [], unlike)
    controls = worker.stats.cursor().controls
    case.expect("the control total", sum(downloads.values()), controls["downloads"])


@check(
    "SIZE-02",
    "forgotten",
    "a skill with very many buckets is read whole, and forgotten whole",
    witness=MANY,
)
def size_02(case: AnyCase) -> None:
    """A download on each of very many days; another skill has two of them."""
    worker = case.client("fold")
    days = [NOON - timedelta(days=number) for number in range(_MOST)]
    worker.append(*(case.event("a", at=day) for day in days))
    worker.append(*(case.event("b", at=day) for day in days[:2]))
    worker.drain()
    case.saw(MANY)
    stats = worker.stats
    case.expect("the number of days", _MOST, len(stats.rollups("a", Granularity.DAY)))
    worker.forget("a")
    case.expect("the number of days after forget", 0, len(stats.rollups("a", Granularity.DAY)))
    case.expect("that of another skill", 2, len(stats.rollups("b", Granularity.DAY)))


@check(
    "SIZE-03",
    "atomic",
    "nobody sees a part of a commit of many rows",
    witness=(LOOKED_INSIDE, REFUSED),
    needs=["io"],
)
def size_03(case: AnyCase) -> None:
    """Somebody looks at I/O points of a commit that writes more than a batch holds."""
    worker, outside = case.client("f1"), case.observer()
    worker.append(*case.downloads(f"skill {number:03}" for number in range(_BATCHES)))
    commit = prepared(worker, page=_BATCHES)

    def look() -> None:
        outside.stats.cursor()  # refused here, where observe() would pass over it
        case.observe()

    with case.watching(worker, look):
        worker.stats.commit(commit)
    case.expect("the count", _BATCHES, outside.stats.cursor().count)
    case.settle()


@check(
    "SIZE-04",
    "append_once",
    "nobody sees a part of an append of many events",
    witness=(LOOKED_INSIDE, REFUSED),
    needs=["io"],
)
def size_04(case: AnyCase) -> None:
    """Somebody looks at I/O points of an append of more than a batch holds."""
    writer, outside = case.client("w"), case.client("outside")
    found: set[int] = set()

    def look() -> None:
        found.add(len(case.log_of(outside)))

    with case.watching(writer, look):
        writer.append(*case.downloads(f"skill {number:04}" for number in range(_MOST)))
    if not found <= {0, _MOST}:
        raise Violation(f"a log of 0 or of {_MOST:,} events", f"one of {sorted(found)}")
    case.expect("the number of events", _MOST, len(case.log_of(outside)))


CHECKS = (size_01, size_02, size_03, size_04)

"""Snapshots: what one call returns is of one moment, whatever is committed in the middle of it."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from contextlib import suppress
from typing import TypeVar

from skillstat_agg._buckets import Granularity
from skillstat_agg._commits import Cursor
from skillstat_agg._events import Event, Position
from skillstat_agg._projections import SKILL_STATS
from skillstat_agg._stores import Rollups, Totals
from skillstat_agg.errors import StoreBusyError
from skillstat_agg.testing._checks import AnyCase, check
from skillstat_agg.testing._clients import SteppedEvents, SteppedStats, SteppedTallies, Waiting
from skillstat_agg.testing._handles import Actor, Handle
from skillstat_agg.testing._looking import was_moved_in
from skillstat_agg.testing._numbers import Numbers, count, difference, without_zeros
from skillstat_agg.testing._steps import REFUSED, Violation
from skillstat_agg.testing.checks.fencing import prepared
from skillstat_agg.testing.checks.unknown import landing

T = TypeVar("T")

INSIDE = "something was committed in the middle of a call that reads"
LOOKED_TWICE = "a reader looked before and after a change that another client made"

_MANY = 301
"""More skills than are looked up at a time where that is done in parts."""


async def _looking(case: AnyCase, answers: list[T], call: Coroutine[Waiting, None, T]) -> None:
    """Add the answer of a call, and see whether anything was committed in the middle of it."""
    with suppress(StoreBusyError):
        answers.append(await call)
        if was_moved_in(case):
            case.saw(INSIDE)


def _numbers_at(case: AnyCase, client: Handle, cursor: Cursor) -> tuple[str, Numbers]:
    """Return where a cursor stands, and what the numbers are there."""
    folded: Iterable[Event] = ()
    if cursor.place is not None:
        end = cursor.place.position
        log = case.log_of(client)
        folded = [recorded.event for recorded in log if recorded.position <= end]
    where = "the start" if cursor.place is None else str(cursor.place.position)
    return where, count(SKILL_STATS, folded)


def _backlog(case: AnyCase) -> tuple[Handle, Handle]:
    """Return a worker with a backlog, and a reader."""
    worker, reader = case.client("fold"), case.client("reader")
    worker.append(*case.downloads("aab"))
    worker.drain(page=1, max_events=case.pick(*case.scope((1,), (1, 2))))
    return worker, reader


@check(
    "SNAP-01",
    "one_snapshot",
    "totals come with the cursor of their snapshot",
    witness=(INSIDE, REFUSED),
    needs=["io"],
)
def snap_01(case: AnyCase) -> None:
    """A worker commits in the middle of totals()."""
    worker, reader = _backlog(case)
    skills, found = case.pick(None, ["a", "b"]), list[Totals]()

    async def look(_events: SteppedEvents, stats: SteppedStats) -> None:
        await _looking(case, found, stats.totals(skills))

    case.play(
        worker.draining(page=1),
        reader.doing(look),
        switches=1,
        inside=case.scope(1, 2),
        into=("totals",),
        look=False,
    )
    for totals in found:
        where, numbers = _numbers_at(case, reader, totals.cursor)
        rows = {skill: dict(row) for skill, row in totals.items()}
        unlike = difference(numbers.totals, rows, SKILL_STATS, case.committed.events, [])
        if unlike is not None:
            raise Violation(
                f"totals that come with a cursor at {where}: {unlike.expected}", unlike.actual
            )
    case.settle()


@check(
    "SNAP-02",
    "one_snapshot",
    "rollups come with the cursor of their snapshot",
    witness=(INSIDE, REFUSED),
    needs=["io"],
)
def snap_02(case: AnyCase) -> None:
    """A worker commits in the middle of rollups()."""
    worker, reader = _backlog(case)
    found: list[Rollups] = []

    async def look(_events: SteppedEvents, stats: SteppedStats) -> None:
        await _looking(case, found, stats.rollups("a", Granularity.DAY))

    case.play(
        worker.draining(page=1),
        reader.doing(look),
        switches=1,
        inside=case.scope(1, 2),
        into=("rollups",),
        look=False,
    )
    for rollups in found:
        where, numbers = _numbers_at(case, reader, rollups.cursor)
        rows = without_zeros({start: dict(row) for start, row in rollups.items()})
        wanted = numbers.rollups[Granularity.DAY].get("a", {})
        case.expect(f"rollups of 'a' that come with a cursor at {where}", wanted, rows)
    case.settle()


@check(
    "SNAP-03",
    "stable_prefix",
    "the page and the frontier of one read are of one snapshot",
    witness=(INSIDE, REFUSED),
    needs=["io"],
)
def snap_03(case: AnyCase) -> None:
    """Others append in the middle of a read, or of a tally."""
    writer, reader = case.client("w"), case.client("reader")
    writer.append(*case.downloads("a" * case.pick(*case.scope((1,), (0, 1, 2)))))
    limit = case.pick(2, 10)
    method = case.pick("read", "tally") if reader.has_tally else "read"
    pages: list[tuple[int, Position | None, bool]] = []

    async def look(events: SteppedEvents, _stats: SteppedStats) -> None:
        if method == "tally" and isinstance(events, SteppedTallies):
            await _looking(case, pages, _tally(events, limit))
        else:
            await _looking(case, pages, _read(events, limit))

    case.play(
        reader.doing(look),
        writer.appending(case.downloads("b"), case.downloads("c")),
        switches=1,
        inside=case.scope(1, 2),
        into=(method,),
        look=False,
    )
    positions = [recorded.position for recorded in case.log_of(reader)]
    for number, frontier, is_last in pages:
        there = sum(frontier is not None and position <= frontier for position in positions)
        what = f"of a {method} up to {limit} events, whose frontier is {frontier}"
        case.expect(f"the number of events {what}", min(limit, there), number)
        case.expect(f"is_last {what}", number == there, is_last)
    case.settle()


async def _read(events: SteppedEvents, limit: int) -> tuple[int, Position | None, bool]:
    """Return how many events a page has, its frontier, and whether it is the last."""
    page = await events.read(None, limit=limit)
    return len(page.events), page.frontier, page.is_last


async def _tally(events: SteppedTallies, limit: int) -> tuple[int, Position | None, bool]:
    """Return the same of a tallied page."""
    page = await events.tally(None, limit=limit, granularity=Granularity.DAY)
    if page is None:
        return await _read(events, limit)
    return page.count, page.frontier, page.is_last


@check(
    "SNAP-04",
    "one_snapshot",
    "totals of many skills are of one snapshot",
    witness=(INSIDE, REFUSED),
    needs=["io"],
)
def snap_04(case: AnyCase) -> None:
    """A commit that touches them all lands in the middle of totals()."""
    worker, reader = case.client("fold"), case.client("reader")
    skills = [f"{'az'[number % 2]} {number:03}" for number in range(_MANY)]
    worker.append(*case.downloads(skills))
    found: list[Totals] = []

    # What is asked for and not there lies between what is, sorted or not.
    asked = [*skills[::2], *(f"m {number:04}" for number in range(1_000)), *skills[1::2]]

    async def look(_events: SteppedEvents, stats: SteppedStats) -> None:
        await _looking(case, found, stats.totals(asked))

    case.play(
        reader.doing(look),
        Actor(worker, landing(worker, prepared(worker, page=_MANY))),
        switches=0,
        inside=1,
        into=("totals",),
        look=False,
    )
    for totals in found:
        case.expect(
            "downloads of all skills, of totals whose cursor comes with this control total",
            totals.cursor.controls["downloads"],
            sum(row["downloads"] for row in totals.values()),
        )


@check(
    "SNAP-05",
    "one_snapshot",
    "who has looked before sees what others did since",
    witness=LOOKED_TWICE,
)
def snap_05(case: AnyCase) -> None:
    """A reader looks, another client commits or forgets, and the reader looks again."""
    worker, reader = case.client("fold"), case.client("reader")
    worker.append(*case.downloads("aab"))
    worker.drain(page=1, max_events=1)
    answers = _answers(reader)
    before = _seen(*answers)
    changes = case.pick(reader, worker)
    if case.maybe():
        changes.forget("a")
    else:
        changes.drain()
    case.saw(LOOKED_TWICE)
    held, now = _seen(*answers), _seen(*_answers(case.client("later")))
    again = _seen(*_answers(reader))
    for what, wanted in now.items():
        case.expect(f"{what}, as they were answered before that", before[what], held[what])
        case.expect(f"{what} of a reader that has looked before", wanted, again[what])


def _answers(client: Handle) -> tuple[Cursor, Totals, Totals, Rollups]:
    """Return what a client is answered."""
    stats = client.stats
    days = stats.rollups("a", Granularity.DAY)
    return stats.cursor(), stats.totals(), stats.totals(["a"]), days


def _seen(cursor: Cursor, totals: Totals, some: Totals, days: Rollups) -> dict[str, object]:
    """Return copies of what was answered, by what was asked."""
    return {
        "the cursor": cursor,
        "the cursor of totals()": totals.cursor,
        "the cursor of totals(['a'])": some.cursor,
        "the cursor of rollups": days.cursor,
        "totals()": {skill: dict(row) for skill, row in totals.items()},
        "totals(['a'])": {skill: dict(row) for skill, row in some.items()},
        "rollups": without_zeros({start: dict(row) for start, row in days.items()}),
    }


CHECKS = (snap_01, snap_02, snap_03, snap_04, snap_05)

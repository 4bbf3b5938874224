"""Pruning beside others: workers, new readers, deaths and failures in the middle of it."""

from __future__ import annotations

from contextlib import suppress

from skillstat_agg._compacting import Segment
from skillstat_agg._events import Place
from skillstat_agg.errors import HistoryChangedError, StoreBusyError
from skillstat_agg.testing._checks import AnyCase, check
from skillstat_agg.testing._clients import SteppedEvents, SteppedStats, give_way
from skillstat_agg.testing._comparing import cells_of
from skillstat_agg.testing._handles import Actor
from skillstat_agg.testing._steps import DEATH, DEATH_INSIDE, FAULT, MOVED_INSIDE
from skillstat_agg.testing.checks.pruning import HOURLY

BESIDE = "a worker drained a log while it was pruned"
BEGAN = "a reader began while the log was pruned"

ALL = frozenset[str]()
"""An actor stops before every call."""


@check(
    "PRUNE-15",
    "slowest_reader",
    "a log can be pruned beside its workers and writers",
    witness=BESIDE,
    needs=["prune"],
)
def prune_15(case: AnyCase) -> None:
    """A prune, a drain and an append, in every order of their calls."""
    worker = case.client("fold")
    worker.append(*case.downloads("aabab"))
    worker.drain(page=2, max_events=2)
    case.play(
        worker.draining(page=2, quiet=ALL),
        case.client("p").pruning(limit=case.pick(*case.scope((2,), (2, 100)))),
        case.client("w").appending(case.downloads("a")),
        switches=case.scope(1, 2),
    )
    case.saw(BESIDE)
    case.observe()
    case.settle()
    case.settle(HOURLY)


@check(
    "PRUNE-16",
    "whole_segments",
    "a prune may die before or after any call, and is just started again",
    witness=DEATH,
    needs=["prune"],
)
def prune_16(case: AnyCase) -> None:
    """One of a drain and a prune dies, and the log is pruned again."""
    worker = case.client("fold")
    worker.append(*case.downloads("aaba"))
    worker.drain(page=2, max_events=2)
    switches, deaths = case.pick(*case.scope(((1, 0), (0, 1)), ((2, 1),)))
    case.play(
        case.client("p").pruning(limit=2),
        case.client("f").draining(page=2, quiet=ALL),
        switches=switches,
        deaths=deaths,
    )
    case.observe()
    again = case.client("again")
    again.drain()
    again.prune(limit=case.pick(*case.scope((100,), (2, 100))))
    case.expect("what is left to prune", 0, again.prune().events)
    case.settle()
    case.settle(HOURLY)


@check(
    "PRUNE-17",
    "slowest_reader",
    "a reader that begins while a log is pruned reads it once, and whole",
    witness=BEGAN,
    needs=["prune"],
)
def prune_17(case: AnyCase) -> None:
    """A projection begins beside a prune and another prune, in every order of their calls."""
    worker = case.client("fold")
    worker.append(*case.downloads("aabab"))
    worker.drain()
    case.play(
        case.client("late", HOURLY).draining(page=case.pick(*case.scope((2,), (1, 2))), quiet=ALL),
        case.client("p").pruning(limit=2),
        switches=case.scope(1, 3),
        look=False,
    )
    case.saw(BEGAN)
    case.observe(HOURLY)
    case.settle(HOURLY)
    case.settle()


@check(
    "PRUNE-18",
    "slowest_reader",
    "a reader that begins in the middle of a compaction is there before it, or after it",
    witness=MOVED_INSIDE,
    needs=["prune", "io"],
)
def prune_18(case: AnyCase) -> None:
    """A reader begins, and reads its first page, at any point of a compaction."""
    worker = case.client("fold")
    worker.append(*case.downloads("aabab"))
    worker.drain()
    case.play(
        case.client("p").pruning(limit=4),
        case.client("late", HOURLY).draining(page=1, max_events=1),
        switches=0,
        inside=2,
        into=("compact",),
        look=False,
    )
    case.client("again", HOURLY).drain(page=1)
    case.settle(HOURLY)
    case.settle()


@check(
    "PRUNE-19",
    "whole_segments",
    "a prune may die in the middle of any call",
    witness=DEATH_INSIDE,
    needs=["prune", "io"],
)
def prune_19(case: AnyCase) -> None:
    """A prune dies at an I/O point: the segment is there as a whole, or not at all."""
    worker = case.client("fold")
    worker.append(*case.downloads("aabab"))
    worker.drain()
    case.play(
        case.client("p").pruning(limit=case.pick(*case.scope((3,), (3, 100)))),
        switches=0,
        deaths=1,
        into=("compact", "report", "readers"),
        look=False,
    )
    case.observe()
    _expect_whole(case)
    case.client("again").prune()
    case.settle()
    case.settle(HOURLY)


def _expect_whole(case: AnyCase) -> None:
    """Check that the log stands for all events, as one that looks at it sees it."""
    log = case.log_of(case.observer())
    case.expect("what the log stands for", cells_of(case.committed.events), cells_of(log))
    fingerprints = sum(one.checksum for one in log)
    case.expect("its checksum", case.observer().stats.cursor().checksum, fingerprints)


@check(
    "PRUNE-20",
    "whole_segments",
    "nobody sees a part of a segment",
    witness=MOVED_INSIDE,
    needs=["prune", "io"],
)
def prune_20(case: AnyCase) -> None:
    """An outside reader looks at every I/O point of a compaction."""
    worker = case.client("fold")
    worker.append(*case.downloads("aabab"))
    worker.drain()
    looker = case.observer()

    async def look() -> None:
        await give_way()
        try:
            _expect_whole(case)
        except StoreBusyError:
            return

    case.play(
        case.client("p").pruning(limit=case.pick(3, 100)),
        Actor(looker, look()),
        switches=0,
        inside=1,
        into=("compact",),
        look=False,
    )
    case.settle()


@check(
    "PRUNE-21",
    "whole_segments",
    "a compaction whose I/O fails has made a whole segment or none, and its client can go on",
    witness=FAULT,
    needs=["prune", "io"],
)
def prune_21(case: AnyCase) -> None:
    """I/O fails in the middle of a compaction, and the same client prunes again."""
    worker, pruner = case.client("fold"), case.client("p")
    worker.append(*case.downloads("aabab"))
    worker.drain()
    made: list[Segment | None] = []

    async def compact(log: SteppedEvents, _stats: SteppedStats) -> None:
        made.append(await log.compact(before=None, limit=3))

    case.committed.is_pruned = True
    case.play(pruner.doing(compact), switches=0, faults=1, into=("compact",), look=False)
    _expect_whole(case)
    log = case.log_of(case.observer())
    if made:
        case.expect("records in the log", 4, len(log))
    pruner.prune()
    case.expect("what is left to prune", 0, pruner.prune().events)
    plain = [one.event for one in case.log_of(pruner) if one.event.note is not None]
    case.expect("events that are still as they were", [], plain)
    case.settle()
    case.settle(HOURLY)


@check(
    "PRUNE-25",
    "slowest_reader",
    "a reader that only reports in the middle of a compaction is not passed by it",
    witness=MOVED_INSIDE,
    needs=["prune", "io"],
)
def prune_25(case: AnyCase) -> None:
    """A reader that is not known reports a place at any point of a compaction, or is refused."""
    worker, late = case.client("fold"), case.client("late")
    worker.append(*case.downloads("aabab"))
    worker.drain(page=3, max_events=3)
    place = worker.stats.cursor().place
    assert place is not None
    worker.drain()
    reported: list[Place] = []

    async def report(log: SteppedEvents, _stats: SteppedStats) -> None:
        await give_way()
        with suppress(StoreBusyError, HistoryChangedError):
            await log.report("late", place)
            reported.append(place)

    case.play(
        case.client("p").pruning(limit=100),
        late.doing(report),
        switches=0,
        inside=1,
        into=("compact",),
        look=False,
    )
    for one in reported:
        page = worker.events.read(one, limit=1)
        case.expect(f"events that are read after {one.position}", 1, len(page.events))
    case.settle()


CHECKS = (
    prune_15,
    prune_16,
    prune_17,
    prune_18,
    prune_19,
    prune_20,
    prune_21,
    prune_25,
)

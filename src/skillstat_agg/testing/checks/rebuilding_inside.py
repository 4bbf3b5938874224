"""Rebuilds that die, fail or are looked into in the middle of a call."""

from __future__ import annotations

from contextlib import suppress

from skillstat_agg import aio
from skillstat_agg._folding import drain
from skillstat_agg._rebuilding import REBUILD
from skillstat_agg.errors import GenerationBehindError, StoreBusyError
from skillstat_agg.testing._checks import AnyCase, check
from skillstat_agg.testing._clients import SteppedEvents, SteppedStats, give_way
from skillstat_agg.testing._handles import Actor, Handle
from skillstat_agg.testing._steps import DEATH_INSIDE, FAULT, MOVED_INSIDE
from skillstat_agg.testing.checks.rebuilding import nothing_built

INTO = ("building", "swap", "discard")


def _started(case: AnyCase) -> tuple[Handle, Handle]:
    """Return a worker, and a client that has built everything but the last event."""
    worker, builder = case.client("fold"), case.client("r")
    worker.append(*case.downloads("ab"))
    worker.drain(page=1, max_events=1)
    if case.maybe():
        drain(builder.events, builder.stats.building(REBUILD))
        worker.drain()
    return worker, builder


@check(
    "REBUILD-13",
    "swap",
    "a rebuild that dies in the middle of a call has swapped, or not, and can be started again",
    witness=DEATH_INSIDE,
    needs=["generations", "io"],
)
def rebuild_13(case: AnyCase) -> None:
    """The client dies at any point of a swap, or of the beginning; others go on."""
    worker, builder = _started(case)
    case.play(builder.rebuilding(), switches=0, deaths=1, into=INTO, look=False)
    case.observe()
    worker.append(*case.downloads("ac"))
    worker.drain()
    case.observe()
    case.client("again").rebuild()
    nothing_built(case, worker)
    case.observe()
    case.settle()


@check(
    "REBUILD-14",
    "swap",
    "nobody sees a part of a swap",
    witness=MOVED_INSIDE,
    needs=["generations", "io"],
)
def rebuild_14(case: AnyCase) -> None:
    """An outside reader looks, or a worker drains, at any point of a swap or a beginning."""
    worker, builder = case.client("fold"), case.client("r")
    worker.append(*case.downloads("ab"))
    worker.drain(page=1, max_events=1)
    looker = case.observer()

    async def look() -> None:
        await give_way()
        case.observe()

    other = worker.draining() if case.maybe() else Actor(looker, look())
    into = case.scope(("swap",), INTO)
    case.play(builder.rebuilding(), other, switches=case.scope(0, 1), inside=1, into=into)
    case.observe()
    worker.append(*case.downloads("a"))
    builder.rebuild()
    case.settle()


@check(
    "REBUILD-15",
    "swap",
    "a rebuild whose I/O fails has done all or nothing, and its client can start again",
    witness=FAULT,
    needs=["generations", "io"],
)
def rebuild_15(case: AnyCase) -> None:
    """I/O fails in the middle of a swap, or of the beginning, and the same client rebuilds."""
    worker, builder = case.client("fold"), case.client("r")
    worker.append(*case.downloads("ab"))
    worker.drain(page=1, max_events=1)
    case.play(builder.rebuilding(), switches=0, faults=1, into=INTO, look=False)
    case.observe()
    builder.rebuild()
    nothing_built(case, worker)
    case.observe()
    worker.append(*case.downloads("ac"))
    case.settle()


@check(
    "REBUILD-16",
    "swap",
    "a swap takes back nothing that a worker has folded in the middle of it",
    witness=MOVED_INSIDE,
    needs=["generations", "io"],
)
def rebuild_16(case: AnyCase) -> None:
    """A worker commits at any point of a swap of numbers that stand where it stood before."""
    worker, builder = case.client("fold"), case.client("r")
    worker.append(*case.downloads("ab"))
    worker.drain(page=1, max_events=1)
    drain(builder.events, builder.stats.building("x"), page=1, max_events=1)
    folded: list[int] = []

    async def fold(events: SteppedEvents, stats: SteppedStats) -> None:
        with suppress(StoreBusyError):
            folded.append((await aio.drain(events, stats)).after.count)

    async def swap(_events: SteppedEvents, stats: SteppedStats) -> None:
        with suppress(StoreBusyError, GenerationBehindError):
            await stats.swap("x")

    case.play(builder.doing(swap), worker.doing(fold), switches=1, inside=1, into=("swap",))
    if folded:
        count = worker.stats.cursor().count
        case.expect("events that serve, as it was told", folded[0], count)
    case.observe()
    case.settle()


CHECKS = (rebuild_13, rebuild_14, rebuild_15, rebuild_16)

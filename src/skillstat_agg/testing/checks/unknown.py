"""Unknown outcomes: the answer to a call is lost, and nobody knows what became of it."""

from __future__ import annotations

from contextlib import suppress

from skillstat_agg._commits import Commit, CommitResult
from skillstat_agg.errors import CursorConflictError, StoreBusyError
from skillstat_agg.testing._checks import AnyCase, check
from skillstat_agg.testing._clients import SteppedEvents, SteppedStats, give_way
from skillstat_agg.testing._handles import Actor, Handle
from skillstat_agg.testing._steps import CONFLICT, FAULT, Violation
from skillstat_agg.testing.checks.fencing import prepared

LOST = "the answer to a commit was lost"
RETRIED = "an append was repeated whose answer was lost"


@check(
    "UNKNOWN-01",
    "unknown_outcome",
    "a commit that landed although its answer was lost counts once",
    witness=LOST,
)
def unknown_01(case: AnyCase) -> None:
    """The worker does not hear that it committed, and just begins again."""
    worker, other = case.client("f1"), case.client("f2")
    worker.append(*case.downloads("ab"))
    worker.stats.commit(prepared(worker, page=case.pick(1, 2)))
    case.saw(LOST)
    case.play(
        worker.draining(page=1),
        other.draining(page=2),
        switches=case.scope(0, 2),
    )
    case.settle()


@check(
    "UNKNOWN-02",
    "unknown_outcome",
    "a commit that did not land is made again",
    witness=LOST,
)
def unknown_02(case: AnyCase) -> None:
    """The commit never reaches the store; the worker, or another, begins again."""
    worker = case.client("f1")
    worker.append(*case.downloads("ab"))
    prepared(worker, page=case.pick(1, 2))
    case.saw(LOST)
    case.pick(worker, case.client("f2")).drain(page=1)
    case.observe()
    case.settle()


@check(
    "UNKNOWN-03",
    "unknown_outcome",
    "a commit that lands later, when all believe it lost, counts once or not at all",
    witness=CONFLICT,
)
def unknown_03(case: AnyCase) -> None:
    """The commit is on its way while the worker begins again."""
    worker, ghost = case.client("f1"), case.client("on its way")
    worker.append(*case.downloads("ab"))
    commit = prepared(worker, page=case.pick(1, 2))
    case.play(
        worker.draining(page=case.pick(1, 2)),
        Actor(ghost, landing(ghost, commit)),
        switches=case.scope(1, 2),
    )
    case.settle()


async def landing(ghost: Handle, commit: Commit) -> None:
    """Let a commit land, or come too late."""
    await give_way()
    try:
        ghost.stats.commit(commit)
    except (CursorConflictError, StoreBusyError):
        return


@check(
    "UNKNOWN-04",
    "append_once",
    "an append whose answer was lost is repeated by its ids",
    witness=RETRIED,
)
def unknown_04(case: AnyCase) -> None:
    """The append landed, did not land, or lands after the retry."""
    events = tuple(case.event(skill, event_id=f"id of {skill}") for skill in "ab")
    writer, other = case.client("w1"), case.client("w2")
    for append in case.pick((writer, writer), (writer, other), (writer,), (other, writer, other)):
        append.append(*events)
        case.saw(RETRIED)
        append.drain(page=case.pick(1, 2))
    case.settle()


@check(
    "UNKNOWN-05",
    "compare_and_set",
    "of two commits from one record one returns, whatever became of the connection",
    witness=FAULT,
    needs=["io"],
)
def unknown_05(case: AnyCase) -> None:
    """I/O fails in a commit; another worker commits the same page, in its middle or afterwards."""
    one, two = case.client("f1"), case.client("f2")
    one.append(*case.downloads("ab"))
    results: list[CommitResult] = []

    def committing(worker: Handle) -> Actor[None]:
        commit = prepared(worker)

        async def land(_events: SteppedEvents, stats: SteppedStats) -> None:
            with suppress(CursorConflictError, StoreBusyError):
                results.append(await stats.commit(commit))

        return worker.doing(land)

    inside, faults = case.pick(*case.scope(((1, 0), (0, 1)), ((1, 1),)))
    case.play(
        committing(one),
        committing(two),
        switches=0,
        faults=faults,
        inside=inside,
        into=("commit",),
        look=False,
    )
    if len(results) > 1:
        raise Violation("one result of two commits from one record", "two")
    for result in results:
        case.expect("the stored record", result.cursor, case.observer().stats.cursor())
    case.settle()


CHECKS = (unknown_01, unknown_02, unknown_03, unknown_04, unknown_05)

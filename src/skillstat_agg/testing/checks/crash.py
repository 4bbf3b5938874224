"""Crashes: a client that dies at any point leaves all of what it did, or nothing."""

from __future__ import annotations

from contextlib import suppress

from skillstat_agg import aio
from skillstat_agg._commits import Commit, CommitResult
from skillstat_agg._events import Event
from skillstat_agg._stores import Appended
from skillstat_agg.errors import StoreBusyError
from skillstat_agg.testing._checks import AnyCase, check
from skillstat_agg.testing._clients import SteppedEvents, SteppedStats, give_way
from skillstat_agg.testing._handles import Actor
from skillstat_agg.testing._steps import (
    DEATH,
    DEATH_INSIDE,
    FAULT,
    INTERRUPTED,
    MOVED_INSIDE,
    Interrupted,
    Violation,
    label,
    labels,
)

RETURNED = "a call had returned when others looked"


def _with_ids(case: AnyCase, skill_ids: str) -> tuple[Event, ...]:
    """Return downloads that have ids."""
    return tuple(case.event(skill, event_id=f"id of {skill}") for skill in skill_ids)


@check(
    "CRASH-01",
    "atomic",
    "a worker may die before or after any call, and is just started again",
    witness=DEATH,
)
def crash_01(case: AnyCase) -> None:
    """One of two drains dies; the other goes on, and the site is drained again."""
    one = case.client("f1")
    one.append(*case.downloads("ab"))
    case.play(
        one.draining(page=1),
        case.client("f2").draining(page=2),
        switches=case.scope(1, 2),
        deaths=case.scope(1, 2),
    )
    case.settle()


@check(
    "CRASH-02",
    "append_once",
    "a writer may die before or after any call, and repeats its append by its ids",
    witness=DEATH,
)
def crash_02(case: AnyCase) -> None:
    """A writer dies, and another one appends the same events again."""
    first, second = _with_ids(case, "ab"), _with_ids(case, "c")
    case.play(
        case.client("w1").appending(first, second),
        case.client("fold").draining(page=1),
        switches=case.scope(1, 3),
        deaths=1,
    )
    again = case.client("w2")
    for part in (first, second):
        again.append(*part)
    case.settle()


@check(
    "CRASH-03",
    "atomic",
    "a worker may die in the middle of any call",
    witness=DEATH_INSIDE,
    needs=["io"],
)
def crash_03(case: AnyCase) -> None:
    """A drain dies at an I/O point; nothing of the call is there, or all of it."""
    worker = case.client("f1")
    worker.append(*case.downloads("ab"))
    worker.append(*(case.event("a", "star") for _ in range(case.pick(0, 1))))
    case.play(
        worker.draining(page=case.pick(2, 10)),
        switches=0,
        deaths=1,
        into=("cursor", "read", "tally", "commit"),
    )
    case.observe()
    case.settle()


@check(
    "CRASH-04",
    "append_once",
    "a writer may die in the middle of any call, and repeats its append by its ids",
    witness=DEATH_INSIDE,
    needs=["io"],
)
def crash_04(case: AnyCase) -> None:
    """An append dies at an I/O point; all of its events are in the log, or none."""
    events = _with_ids(case, "ab")
    writer = case.client("w1")
    if writer.can_begin and case.maybe():
        actor = writer.holding(events[:1], events[1:])
    else:
        actor = writer.appending(events)
    case.play(actor, switches=0, deaths=1, into=("append", "commit"))
    found = [recorded.event for recorded in case.log_of(case.client("outside"))]
    if found not in ([], list(events)):
        raise Violation("both events or none", f"{len(found)} of them")
    case.client("w2").append(*events)
    case.settle()


@check(
    "CRASH-05",
    "atomic",
    "nobody sees a part of a commit",
    witness=MOVED_INSIDE,
    needs=["io"],
)
def crash_05(case: AnyCase) -> None:
    """An outside reader looks at every I/O point of a commit."""
    worker = case.client("f1")
    worker.append(*case.downloads("ab"))
    if case.maybe():
        worker.drain()
        worker.append(*case.downloads("ac"))
    looker = case.observer()

    async def look() -> None:
        await give_way()
        case.observe()

    case.play(
        worker.draining(),
        Actor(looker, look()),
        switches=1,
        inside=1,
        into=("commit",),
    )
    case.settle()


@check(
    "CRASH-06",
    "atomic",
    "what a call did is there for others when it returns",
    witness=RETURNED,
)
def crash_06(case: AnyCase) -> None:
    """A client that was there before looks at once, and one that is opened later too."""
    worker, before = case.client("f1"), case.client("before")
    worker.append(*case.downloads("ab"))
    case.expect("the log", case.committed.events, [one.event for one in case.log_of(before)])
    before.stats.cursor()
    after = worker.drain(page=case.pick(1, 2)).after
    case.saw(RETURNED)
    clients = case.pick((before,), (before, case.client("later")))
    if case.maybe():
        worker.close()
    for client in clients:
        case.expect(f"the cursor that {client.name!r} sees", after, client.stats.cursor())
        case.expect(f"the skills that {client.name!r} sees", {"a", "b"}, {*client.stats.totals()})
    case.settle()


@check(
    "CRASH-07",
    "atomic",
    "a call whose I/O fails has done all or nothing, and its client can go on",
    witness=FAULT,
    needs=["io"],
)
def crash_07(case: AnyCase) -> None:
    """I/O fails in the middle of a drain, and the same client drains again."""
    worker = case.client("f1")
    worker.append(*case.downloads("ab"))
    case.play(
        worker.draining(page=case.pick(1, 2)),
        switches=0,
        faults=1,
        into=("cursor", "read", "tally", "commit"),
    )
    landed = sum(
        step.given.count
        for step in case.record.steps
        if isinstance(step.given, Commit) and isinstance(step.answer, CommitResult)
    )
    if _was_busy(case, "commit"):
        count = case.client("outside").stats.cursor().count
        case.expect("the cursor's count after StoreBusyError: nothing was written", landed, count)
    case.observe()
    worker.drain()
    case.settle()


def _was_busy(case: AnyCase, method: str) -> bool:
    """Return whether a call has said that it was refused, and so has done nothing."""
    return any(
        step.what == method and isinstance(step.answer, StoreBusyError)
        for step in case.record.steps
    )


@check(
    "CRASH-08",
    "append_once",
    "an append whose I/O fails has stored all or nothing, and its client can go on",
    witness=FAULT,
    needs=["io"],
)
def crash_08(case: AnyCase) -> None:
    """I/O fails in the middle of an append, and the same client appends again by the same ids."""
    events, writer = _with_ids(case, "ab"), case.client("w1")
    case.play(writer.appending(events), switches=0, faults=1, into=("append",))
    found = [recorded.event for recorded in case.log_of(case.client("outside"))]
    if found not in ([], list(events)):
        raise Violation("both events or none", f"{len(found)} of them")
    if found and _was_busy(case, "append"):
        raise Violation("no event after StoreBusyError: nothing was written", labels(found))
    case.committed.unsure.clear()
    writer.append(*events)
    case.settle()


@check(
    "CRASH-09",
    "append_once",
    "an append without ids is stored once or not at all, wherever its I/O fails",
    witness=FAULT,
    needs=["io"],
)
def crash_09(case: AnyCase) -> None:
    """If it returned it is there; if it raised it may be, and nobody has sent it again."""
    events, writer = case.downloads("ab"), case.client("w1")
    returned: list[Appended] = []

    async def send(log: SteppedEvents, _stats: SteppedStats) -> None:
        returned.append(await log.append(events))

    case.play(writer.doing(send), switches=0, faults=1, into=("append",), look=False)
    found = [recorded.event for recorded in case.log_of(case.client("outside"))]
    if found not in ([list(events)] if returned else [[], list(events)]):
        raise Violation(
            f"a log of {labels(events)}{'' if returned else ', or of nothing'}",
            labels(found) or "no event",
        )


@check(
    "CRASH-10",
    "append_once",
    "a call that is interrupted leaves nothing open on its connection",
    witness=INTERRUPTED,
    needs=["io"],
)
def crash_10(case: AnyCase) -> None:
    """A task is cancelled, or Ctrl-C is pressed, inside a call; its client goes on appending."""
    client, outside = case.client("w1"), case.client("outside")
    client.append(*case.downloads("ab"))
    method = case.pick("commit", "append", "read", "totals", "forget")
    cut_off = (case.event("c", event_id="one"),)

    async def work(log: SteppedEvents, stats: SteppedStats) -> None:
        with suppress(Interrupted, StoreBusyError):
            if method == "append":
                await log.append(cut_off)
            elif method == "totals":
                await stats.totals()
            elif method == "forget":
                await stats.forget("b")
            else:
                await aio.drain(log, stats)

    into = ("read", "tally") if method == "read" else (method,)
    case.play(client.doing(work), switches=0, interrupts=1, into=into, look=False)
    last = case.event("d")
    try:
        client.events.append((last,))
    except Exception:  # noqa: BLE001 - it may have lost its connection, and say so
        return
    found = [recorded.event for recorded in case.log_of(outside)]
    if last not in found:
        raise Violation(
            f"{label(last)} in the log, since its append has returned",
            labels(found) or "no event",
        )


CHECKS = (
    crash_01,
    crash_02,
    crash_03,
    crash_04,
    crash_05,
    crash_06,
    crash_07,
    crash_08,
    crash_09,
    crash_10,
)

"""Late commits: an append that was held open while others committed is never stepped over."""

from __future__ import annotations

from contextlib import suppress

from skillstat_agg.errors import StoreBusyError
from skillstat_agg.testing._cases import Level
from skillstat_agg.testing._checks import AnyCase, check
from skillstat_agg.testing._clients import give_way
from skillstat_agg.testing._handles import Actor, Handle
from skillstat_agg.testing._harness import Writers
from skillstat_agg.testing._steps import LATE, MOVED_INSIDE, REFUSED, ROLLBACK, Violation, labels

SECOND_WRITER = (LATE, REFUSED)
POLLS = "an append stayed open over every poll"
HOLES = "positions were left empty"
THREE = "three appends were open at once"
UNSEEN = "a reader looked while an append was open"


@check(
    "LATE-01",
    "stable_prefix",
    "an append that is rolled back leaves no trace and stops nobody",
    witness=ROLLBACK,
    needs=["begin"],
)
def late_01(case: AnyCase) -> None:
    """One append is rolled back beside another, and beside a fold."""
    case.play(
        case.client("fold").draining(page=1),
        case.client("w1").holding(case.downloads("a"), end="rollback"),
        case.client("w2").appending(case.downloads("b")),
        switches=case.scope(1, 3),
    )
    case.settle()


@check(
    "LATE-02",
    "stable_prefix",
    "a reader must not step over an append that is still uncommitted",
    witness=SECOND_WRITER,
    needs=["begin"],
)
def late_02(case: AnyCase) -> None:
    """One append held open, another one, and a fold, in every order."""
    fold = case.client("fold")
    case.play(
        fold.draining(
            page=1, plain=fold.has_tally and case.pick(*case.scope((False,), (False, True)))
        ),
        case.client("w1").holding(case.downloads("a")),
        case.client("w2").appending(case.downloads("b")),
        switches=case.scope(1, 4),
    )
    case.settle()


@check(
    "LATE-03",
    "stable_prefix",
    "appends that end in another order than they began are all counted",
    witness=SECOND_WRITER,
    needs=["begin"],
)
def late_03(case: AnyCase) -> None:
    """Two appends are held open at once, one inside the other or across."""
    case.play(
        case.client("w1").holding(case.downloads("a")),
        case.client("w2").holding(case.downloads("b")),
        case.client("fold").draining(page=2),
        switches=case.scope(1, 4),
    )
    case.settle()


@check(
    "LATE-04",
    "stable_prefix",
    "no number of polls and no length of time makes a reader step over an open append",
    witness=POLLS,
    needs=["begin"],
)
def late_04(case: AnyCase) -> None:
    """An append stays open while a worker polls again and again, for hours, beside others."""
    # Where calls wait for each other, each poll waits for as long as the store lets it.
    many = 4 if case.harness.blocks else case.scope(12, 40)
    hours, polls = case.pick(
        *case.scope(((1, many), (24 * 365, 3)), ((0, many), (1, many), (24, many), (24 * 365, 3)))
    )
    fold = case.client("fold")
    fold.append(*case.downloads("a"))
    case.play(
        case.client("w1").holding(case.downloads("b")),
        case.client("w2").appending(case.downloads("c")),
        Actor(fold, _polls(case, fold, hours, polls)),
        switches=case.scope(1, 2),
    )
    case.settle()


async def _polls(case: AnyCase, fold: Handle, hours: int, polls: int) -> None:
    """Poll, while time goes by."""
    await give_way()
    done = [f"{step.who}.{step.what}" for step in case.record.steps if not step.has_failed]
    if "w1.append" in done and "w1.commit" not in done:
        case.saw(POLLS)
    for _ in range(polls):
        with suppress(StoreBusyError):
            fold.drain(page=1)
        case.clock.go(hours=hours)


@check(
    "LATE-05",
    "progress",
    "positions that stay empty for ever stop nobody",
    witness=HOLES,
    needs=["begin"],
)
def late_05(case: AnyCase) -> None:
    """Appends are rolled back at the beginning, in the middle or at the end of the log."""
    writer, fold = case.client("w"), case.client("fold")
    holes, where, often = case.pick(1, 3, 20), case.pick(0, 1, 2), case.pick(True, False)
    for at, skill_id in enumerate("abc"):
        if at == where:
            for _ in range(holes):
                held = writer.begin()
                held.append(*case.downloads("xy"))
                held.rollback()
            case.saw(HOLES)
        writer.append(*case.downloads(skill_id))
        if often:
            report = fold.drain(page=1)
            case.expect("events that are folded at once", 1, report.events)
    if not often:
        report = fold.drain(page=1)
        case.expect("events that are folded in the end", 3, report.events)
    case.settle()


@check(
    "LATE-06",
    "stable_prefix",
    "transactions may number their rows in another order than they began or end",
    witness=SECOND_WRITER,
    needs=["begin"],
)
def late_06(case: AnyCase) -> None:
    """One append adds two events, and another one comes between them."""
    case.play(
        case.client("w1").holding(case.downloads("a"), case.downloads("b")),
        case.client("w2").holding(case.downloads("c")),
        case.client("fold").draining(page=3),
        switches=case.scope(2, 4),
    )
    case.settle()


@check(
    "LATE-07",
    "stable_prefix",
    "what is committed in the middle of a read is read whole, or later",
    witness=MOVED_INSIDE,
    needs=["begin", "io"],
)
def late_07(case: AnyCase) -> None:
    """Others append and commit between the statements of one read."""
    fold = case.client("fold")
    case.play(
        fold.draining(page=2, plain=fold.has_tally and case.level is Level.FULL and case.maybe()),
        case.client("w1").holding(case.downloads("a")),
        case.client("w2").appending(case.downloads("b")),
        switches=1,
        inside=case.scope(1, 2),
        into=("read", "tally"),
    )
    case.settle()


@check(
    "LATE-08",
    "stable_prefix",
    "of three appends that are open at once each counts when it is its turn",
    witness=(THREE, REFUSED),
    needs=["begin"],
)
def late_08(case: AnyCase) -> None:
    """They take their positions in any order, with others between them, and end in any order."""
    if case.harness.writers is Writers.SERIALISED:
        case.play(
            case.client("w1").holding(case.downloads("a")),
            case.client("w2").holding(case.downloads("b"), end=case.pick("commit", "rollback")),
            case.client("w3").holding(case.downloads("c")),
            switches=1,
        )
        case.settle()
        return
    fold, other = case.client("fold"), case.client("w0")
    opened = [case.client(name).begin() for name in ("w1", "w2", "w3")]
    waiting = list(opened)
    for skill_id in "abc":
        waiting.pop(case.vary(*range(len(waiting)))).append(*case.downloads(skill_id))
        other.append(*case.downloads("d"))
    case.saw(THREE)
    rolled_back = case.vary(None, *opened)
    while opened:
        held = opened.pop(case.pick(*range(len(opened))))
        if held is rolled_back:
            held.rollback()
        else:
            held.commit()
        fold.drain(page=1)
    case.settle()


@check(
    "LATE-09",
    "stable_prefix",
    "what is not committed is read by nobody",
    witness=UNSEEN,
    needs=["begin"],
)
def late_09(case: AnyCase) -> None:
    """A reader looks into the log while an append is open."""
    reader, writer = case.client("reader"), case.client("w1")
    reader.append(*case.downloads("a" * case.pick(0, 1)))
    held = writer.begin()
    held.append(*case.downloads("b"))
    found = [recorded.event for recorded in case.log_of(reader)]
    case.saw(UNSEEN)
    if found != case.committed.events:
        raise Violation(
            f"what is committed: {labels(case.committed.events) or 'nothing'}", labels(found)
        )
    held.commit()
    case.settle()


CHECKS = (late_01, late_02, late_03, late_04, late_05, late_06, late_07, late_08, late_09)

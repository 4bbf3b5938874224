"""Notes: what went wrong last is kept, one note for each projection, and changes nothing else."""

from __future__ import annotations

from skillstat_agg.testing._checks import AnyCase, check
from skillstat_agg.testing.checks.fencing import prepared
from skillstat_agg.testing.checks.forgetting import FETCHES

NOTED = "something was noted"
AGAIN = "something was noted where a note was already"
IN_FLIGHT = "something was noted while a commit was under way"


@check(
    "NOTE-01",
    "noted",
    "the last note of a projection is kept, with its time, and those of others stay",
    witness=AGAIN,
    needs=["notes"],
)
def note_01(case: AnyCase) -> None:
    """Two projections, notes of any text, a clock that steps back, and other clients."""
    one, two = case.client("fold"), case.client("fetches", FETCHES)
    case.expect("the note at the beginning", None, one.stats.last_error())
    two.stats.note_error("of the other")
    other = two.stats.last_error()
    for text in ("the first", case.pick("the second", "", "x\n\u00e9\U0001f600'\"%s", "first")):
        case.clock.go(hours=case.pick(1, -1))
        one.stats.note_error(text)
        for client in (one, case.client("later")):
            note = client.stats.last_error()
            case.expect("the text of the last note", text, note and note.text)
            if case.harness.keeps_time:
                case.expect("its time", case.clock.now, note and note.at)
    case.saw(AGAIN)
    case.expect("the note of another projection", other, two.stats.last_error())


@check(
    "NOTE-02",
    "noted",
    "any text can be noted: what cannot be stored is escaped, and what is too long is cut",
    witness=NOTED,
    needs=["notes"],
)
def note_02(case: AnyCase) -> None:
    """A NUL, half of a surrogate pair, and a text that is very long."""
    client = case.client("fold")
    text, begins = case.pick(
        ("before\0after", "before"), ("before\ud800after", "before"), ("x" * 100_000, "x" * 900)
    )
    client.stats.note_error(text)
    case.saw(NOTED)
    note = client.stats.last_error()
    case.expect("the beginning of the note", begins, note and note.text[: len(begins)])
    case.expect("at most 1,000 characters", True, note is not None and len(note.text) <= 1_000)


@check(
    "NOTE-03",
    "noted",
    "a note changes no number and no cursor record, nor is one changed by them",
    witness=IN_FLIGHT,
    needs=["notes"],
)
def note_03(case: AnyCase) -> None:
    """It is written before a drain, or between the read and the commit of one."""
    worker, other = case.client("fold"), case.client("other")
    worker.append(*case.downloads("ab"))
    commit = prepared(worker, page=1)
    before = worker.stats.cursor()
    case.pick(worker, other).stats.note_error("it went wrong")
    case.saw(IN_FLIGHT)
    case.expect("the cursor after a note", before, worker.stats.cursor())
    worker.stats.commit(commit)
    note = other.stats.last_error()
    case.expect("the note after a commit", "it went wrong", note and note.text)


CHECKS = (note_01, note_02, note_03)

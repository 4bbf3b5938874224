"""Fencing: of several workers that read one cursor, one commit is applied."""

from __future__ import annotations

from datetime import timedelta

import attrs

from skillstat_agg._commits import Commit
from skillstat_agg._effects import Effect
from skillstat_agg._folding import commit_of
from skillstat_agg._pages import countable_part
from skillstat_agg._projections import Projection
from skillstat_agg._quarantine import Uncountable
from skillstat_agg.errors import CursorConflictError
from skillstat_agg.testing._checks import AnyCase, check
from skillstat_agg.testing._handles import Handle
from skillstat_agg.testing._steps import CONFLICT, MOVED_INSIDE, Violation

_OTHER_TABLE = Projection("skill_stats", {"download": Effect(counters={"downloads": 2})}).table

STALE = "a commit was tried from a record that is not the stored one"


def prepared(client: Handle, *, page: int = 10) -> Commit:
    """Return the commit that a worker is about to make: it has read, and is paused there."""
    cursor, projection = client.stats.cursor(), client.stats.projection
    read = client.events.read(cursor.place, limit=page)
    portion = countable_part(read, cursor, page, projection, None, Uncountable.PARK)
    assert portion.page.place is not None, "there is nothing to fold"
    return commit_of(cursor, portion, (), projection)


def refused(case: AnyCase, client: Handle, commit: Commit, why: str) -> None:
    """Check that a commit is refused, and changes nothing."""
    before, raw = client.stats.totals(), case.raw()
    case.saw(STALE)
    case.raises(CursorConflictError, lambda: client.stats.commit(commit), f"a commit {why}")
    if case.raw() != raw:
        raise Violation(f"a commit {why} to write nothing", "what is stored has changed")
    after = client.stats.totals()
    case.expect("the totals after it", dict(before), dict(after))
    case.expect("the cursor after it", before.cursor, after.cursor)


@check(
    "FENCE-01",
    "compare_and_set",
    "two workers count each event once",
    witness=CONFLICT,
)
def fence_01(case: AnyCase) -> None:
    """Two drains of the same events, in every order of their calls."""
    one, two = case.client("f1"), case.client("f2")
    one.append(*case.downloads("ab"))
    case.play(
        one.draining(
            page=1, plain=one.has_tally and case.pick(*case.scope((False,), (False, True)))
        ),
        two.draining(page=1),
        switches=case.scope(2, 4),
    )
    case.settle()


@check(
    "FENCE-02",
    "compare_and_set",
    "three workers with unequal pages count each event once",
    witness=CONFLICT,
)
def fence_02(case: AnyCase) -> None:
    """Three drains with pages of one, two and ten."""
    one, two, three = case.client("f1"), case.client("f2"), case.client("f3")
    one.append(*case.downloads("abc"))
    case.play(
        one.draining(page=1, plain=one.has_tally),
        two.draining(page=2),
        three.draining(page=10),
        switches=case.scope(1, 2),
    )
    case.settle()


@check(
    "FENCE-03",
    "compare_and_set",
    "a worker that was paused comes too late, whatever others did meanwhile",
    witness=STALE,
)
def fence_03(case: AnyCase) -> None:
    """A worker stops before its commit; others fold less, as much, or more; it goes on."""
    one, two = case.client("f1"), case.client("f2")
    one.append(*case.downloads("abc"))
    commit = prepared(one, page=case.pick(1, 2, 3))
    ahead = case.pick(1, 2, 3)
    two.drain(page=1, max_events=ahead)
    if case.maybe():
        case.clock.go(hours=case.pick(-1, 1))
        two.append(*case.downloads("d"))
        two.drain()
    refused(case, one, commit, f"after {ahead} events were folded by another")
    case.observe()
    case.settle()


@check(
    "FENCE-04",
    "compare_and_set",
    "what changes the stats between read and commit makes the commit come too late",
    witness=STALE,
)
def fence_04(case: AnyCase) -> None:
    """A skill is forgotten between read and commit: the position is the same, the stats are not."""
    one, two = case.client("f1"), case.client("f2")
    one.append(*case.downloads("a"))
    one.drain()
    one.append(*case.downloads("ab"))
    commit = prepared(one, page=case.pick(1, 2))
    skill_id = case.pick("a", "b", "c")
    two.stats.forget(skill_id)
    case.forgotten.add(skill_id)
    refused(case, one, commit, f"from before {skill_id!r} was forgotten")
    case.observe()
    case.settle()


@check(
    "FENCE-05",
    "compare_and_set",
    "a commit compares the whole record",
    witness=STALE,
)
def fence_05(case: AnyCase) -> None:
    """A commit whose expected record differs in one field only is refused."""
    client = case.client("f1")
    client.append(*case.downloads("a"))
    client.drain()
    client.append(*case.downloads("b"))
    commit = prepared(client)
    cursor, place = commit.expected, commit.expected.place
    assert place is not None
    other = case.pick(
        attrs.evolve(cursor, revision=cursor.revision + 1),
        attrs.evolve(cursor, revision=cursor.revision - 1),
        attrs.evolve(cursor, generation=cursor.generation + 1),
        attrs.evolve(cursor, count=cursor.count + 1),
        attrs.evolve(cursor, checksum=cursor.checksum + 1),
        attrs.evolve(cursor, controls={**cursor.controls, "downloads": 7}),
        attrs.evolve(cursor, updated_at=cursor.updated_at + timedelta(microseconds=1)),
        attrs.evolve(cursor, place=attrs.evolve(place, fingerprint=place.fingerprint ^ 1)),
        attrs.evolve(cursor, place=attrs.evolve(place, epoch=f"{place.epoch}x")),
        attrs.evolve(cursor, place=None),
        attrs.evolve(cursor, table=_OTHER_TABLE),
    )
    names = [
        name
        for name in attrs.asdict(cursor, recurse=False)
        if getattr(other, name) != getattr(cursor, name)
    ]
    refused(case, client, attrs.evolve(commit, expected=other), f"with another {names[0]}")
    case.settle()


@check(
    "FENCE-06",
    "compare_and_set",
    "nobody gets between the comparison and the write",
    witness=MOVED_INSIDE,
    needs=["io"],
)
def fence_06(case: AnyCase) -> None:
    """A second worker commits a larger page in the middle of the first one's commit."""
    one, two = case.client("f1"), case.client("f2")
    one.append(*case.downloads("ab"))
    case.play(
        one.draining(page=1, max_events=case.scope(1, None)),
        two.draining(),
        switches=case.scope(1, 2),
        inside=1,
        into=("commit",),
    )
    case.settle()


@check(
    "FENCE-07",
    "unknown_outcome",
    "a commit that is repeated is not applied again",
    witness=STALE,
)
def fence_07(case: AnyCase) -> None:
    """The same commit is made again at once, and by another client."""
    one, two = case.client("f1"), case.client("f2")
    one.append(*case.downloads("ab"))
    commit = prepared(one, page=case.pick(1, 2))
    one.stats.commit(commit)
    for client in case.pick((one,), (two,), (two, one)):
        refused(case, client, commit, "that was made already")
    case.observe()
    case.settle()


@check(
    "FENCE-08",
    "compare_and_set",
    "the first commit of all is fenced like the others",
    witness=CONFLICT,
)
def fence_08(case: AnyCase) -> None:
    """Two clients open an empty site and fold its first event."""
    one = case.client("f1")
    one.append(*case.downloads("a"))
    case.play(
        case.client("f2").draining(),
        one.draining(),
        switches=case.scope(2, 4),
    )
    case.settle()


@check(
    "FENCE-09",
    "compare_and_set",
    "nobody forgets a skill between the comparison and the write",
    witness=MOVED_INSIDE,
    needs=["io"],
)
def fence_09(case: AnyCase) -> None:
    """A skill is forgotten in the middle of a commit that counts its events."""
    worker = case.client("f1")
    worker.append(*case.downloads("a"))
    worker.drain()
    worker.append(*case.downloads("ab"))
    case.play(
        worker.draining(),
        case.client("f2").forgetting("a"),
        switches=case.scope(0, 1),
        inside=1,
        into=("commit",),
    )
    case.settle()


CHECKS = (
    fence_01,
    fence_02,
    fence_03,
    fence_04,
    fence_05,
    fence_06,
    fence_07,
    fence_08,
    fence_09,
)

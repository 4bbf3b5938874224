"""Rebuild: numbers are made anew beside those that serve, and take their place at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TypeAlias

import attrs

from skillstat_agg import aio
from skillstat_agg._buckets import Granularity
from skillstat_agg._commits import Commit, CommitResult, Cursor
from skillstat_agg._deltas import Deltas
from skillstat_agg._effects import RETIRED, Effect
from skillstat_agg._folding import drain
from skillstat_agg._projections import SKILL_STATS, Projection
from skillstat_agg._rebuilding import REBUILD, RebuildReport
from skillstat_agg.errors import (
    CursorConflictError,
    GenerationBehindError,
    InvalidBoundError,
    NotBuildingError,
    StoreBusyError,
    TableChangedError,
    UncountableEventError,
)
from skillstat_agg.testing._checks import AnyCase, check
from skillstat_agg.testing._clients import Stats, SteppedEvents, SteppedStats
from skillstat_agg.testing._handles import Handle
from skillstat_agg.testing._steps import CONFLICT, DEATH, Violation
from skillstat_agg.testing.checks.deployment import BY_HOUR, DOUBLED, NEW, OLDER
from skillstat_agg.testing.checks.fencing import prepared
from skillstat_agg.testing.checks.forgetting import FETCHES, HOURLY

WRONG = "numbers that were wrong were rebuilt"
BESIDE = "a worker has folded between the begin and the end of a rebuild"
JOINED = "a rebuild went on with what another start had built"
TOLD = "a rebuild was told that another start had finished it"
ACCEPTED = "a table that changes what was counted was accepted by a rebuild"
BACK = "a swap would have gone back"
FORGOTTEN_BESIDE = "a skill was forgotten between the begin and the end of a rebuild"
GONE = "what was built was asked for when it was gone"
STALE = "a commit was tried that was prepared before a swap"
TWO = "numbers of two names, or of two projections, were built at once"

NO_ROLLUPS = Projection(
    "skill_stats",
    {
        **SKILL_STATS.kinds,
        "download": Effect(counters={"fetched": 1}),
        "star": RETIRED,
        "install_new": RETIRED,
    },
    (),
)
"""A table without the counters, columns and granularities that were there."""


Rows: TypeAlias = Mapping[tuple[int, str], tuple[int, ...]]

# Numbers that are wrong


def lie(case: AnyCase, client: Handle, lies: Callable[[Commit], Commit]) -> Commit:
    """Fold the next page with a commit that is wrong, and return it."""
    commit = lies(prepared(client))
    client.stats.commit(commit)
    case.record.wrote_stats = False  # nobody may look on: the numbers are wrong
    return commit


def lost(commit: Commit) -> Commit:
    """Return a commit that leaves a skill out."""
    return attrs.evolve(commit, deltas=commit.deltas.without(frozenset("a")))


def doubled(commit: Commit) -> Commit:
    """Return a commit that adds everything twice."""
    return _with(commit, lambda row: tuple(2 * amount for amount in row))


def shifted(commit: Commit) -> Commit:
    """Return a commit whose rollups stand in other buckets."""
    deltas = commit.deltas
    rollups = {
        each: {(bucket - 1, skill): row for (bucket, skill), row in rows.items()}
        for each, rows in deltas.rollups.items()
    }
    return attrs.evolve(commit, deltas=attrs.evolve(deltas, rollups=rollups))


def invented(commit: Commit) -> Commit:
    """Return a commit that counts for a skill that the log does not have."""
    deltas = commit.deltas
    return attrs.evolve(
        commit,
        deltas=Deltas(
            {**deltas.events, "x": 1},
            {**deltas.totals, "x": deltas.totals["a"]},
            {each: _and_x(rows) for each, rows in deltas.rollups.items()},
        ),
    )


def _and_x(rows: Rows) -> Rows:
    """Return rows with those of a skill once more, for another one."""
    return {**rows, **{(bucket, "x"): row for (bucket, skill), row in rows.items() if skill == "a"}}


def miscounted(commit: Commit) -> Commit:
    """Return a commit that moves the cursor over one event more than there is."""
    return attrs.evolve(commit, count=commit.count + 1)


def _with(commit: Commit, change: Callable[[tuple[int, ...]], tuple[int, ...]]) -> Commit:
    deltas = commit.deltas
    return attrs.evolve(
        commit,
        deltas=attrs.evolve(
            deltas,
            totals={skill: change(row) for skill, row in deltas.totals.items()},
            rollups={
                each: {key: change(row) for key, row in rows.items()}
                for each, rows in deltas.rollups.items()
            },
        ),
    )


LIES = (lost, doubled, shifted, invented, miscounted)


def nothing_built(case: AnyCase, client: Handle) -> None:
    """Check that a rebuild has left nothing behind."""
    case.expect("discard() after a rebuild", False, client.stats.discard(REBUILD))


@check(
    "REBUILD-01",
    "swap",
    "a rebuild leaves what the log makes, whatever was stored",
    witness=WRONG,
    needs=["generations"],
)
def rebuild_01(case: AnyCase) -> None:
    """Rows that are wrong, missing or too many; right ones, which stay; a backlog or none."""
    projection = case.vary(SKILL_STATS, HOURLY)
    worker = case.client("fold", projection)
    worker.append(*case.downloads("abc"), case.event("c", "star"))
    worker.drain()
    worker.append(*case.downloads("abd"))
    lie(case, worker, case.pick(*LIES))
    case.saw(WRONG)
    if case.vary(True, False):
        worker.append(*case.downloads("ae"))
    before = worker.stats.cursor()
    report = case.client("r", projection).rebuild(page=case.vary(2, 100))
    case.expect("the record after it", report.after, worker.stats.cursor())
    case.expect("who finished", "this", report.finished_by)
    case.expect("events folded anew", len(case.committed.events), report.events)
    case.expect("the record before it", before, report.before)
    nothing_built(case, worker)
    case.observe(projection)
    case.settle(projection)


@check(
    "REBUILD-02",
    "building",
    "the numbers that serve go on serving and advancing while others are built",
    witness=BESIDE,
    needs=["generations"],
)
def rebuild_02(case: AnyCase) -> None:
    """A rebuild, a worker and a writer, in every order of their calls; somebody looks on."""
    worker, builder = case.client("fold"), case.client("r")
    worker.append(*case.downloads("ab"))
    worker.drain(page=1, max_events=1)
    beside = [case.client("w").appending(case.downloads("a")) for _ in case.scope("", "w")]
    case.play(
        builder.rebuilding(page=case.vary(1, 2)),
        worker.draining(page=1),
        *beside,
        switches=case.scope(1, 2),
    )
    if _is_between(case, "building", "commit", "swap"):
        case.saw(BESIDE)
    worker.append(*case.downloads("a"))
    worker.drain()
    case.observe()
    builder.rebuild()
    nothing_built(case, worker)
    case.settle()


def _is_between(case: AnyCase, first: str, what: str, last: str) -> bool:
    """Return whether a step was made by another client between two of a client."""
    steps = case.record.steps
    begun = next((n for n, step in enumerate(steps) if step.what == first), None)
    ended = next((n for n, step in enumerate(steps) if step.what == last), None)
    if begun is None or ended is None:
        return False
    who = steps[begun].who
    return any(
        step.what == what and step.who != who and not step.has_failed for step in steps[begun:ended]
    )


@check(
    "REBUILD-03",
    "building",
    "a rebuild may die before or after any call, and a second start goes on where it was",
    witness=DEATH,
    needs=["generations"],
)
def rebuild_03(case: AnyCase) -> None:
    """A rebuild dies beside a worker; what it had folded is not folded again."""
    worker = case.client("fold")
    worker.append(*case.downloads("abc"))
    worker.drain(page=1, max_events=case.pick(*case.scope((1,), (None, 1))))
    case.play(
        case.client("r").rebuilding(page=1),
        worker.draining(page=2),
        switches=case.scope(0, 1),
        deaths=1,
    )
    built = _built(case)
    again = case.client("again")
    has_swapped = again.stats.cursor().generation > 1
    report = again.rebuild(page=2)
    if not has_swapped:
        case.expect("events folded by the second start", 3 - built, report.events)
        case.expect("whether it has joined the first", built > 0, report.joined)
    if report.joined:
        case.saw(JOINED)
    nothing_built(case, again)
    case.settle()


def _built(case: AnyCase) -> int:
    """Return how many events were folded into numbers that are built."""
    return sum(
        step.given.count
        for step in case.record.steps
        if isinstance(step.given, Commit)
        and step.given.expected.building
        and isinstance(step.answer, CommitResult)
    )


@check(
    "REBUILD-04",
    "building",
    "two rebuilds at once share the work, and each is told how it ended",
    witness=TOLD,
    needs=["generations"],
)
def rebuild_04(case: AnyCase) -> None:
    """Two starts of the same table, in every order of their calls."""
    one, two = case.client("r1"), case.client("r2")
    one.append(*case.downloads("ab"))
    if case.vary(True, False):
        one.drain()
    reports: list[RebuildReport] = []

    async def start(events: SteppedEvents, stats: SteppedStats) -> None:
        with suppress(StoreBusyError):
            reports.append(await aio.rebuild(events, stats, page=case.scope(2, 1)))

    case.play(one.doing(start), two.doing(start), switches=case.scope(1, 2))
    swaps = sum(report.finished_by == "this" for report in reports)
    if swaps < len(reports):
        case.saw(TOLD)
    cursor = one.stats.cursor()
    case.expect("the generation after so many swaps", 1 + swaps, cursor.generation)
    events = sum(report.events for report in reports)
    case.expect("events folded by both", len(case.committed.events) * swaps, events)
    for report in reports:
        case.expect("events that the new numbers count", 2, report.after.count)
    nothing_built(case, one)
    case.observe()
    case.settle()


@check(
    "REBUILD-05",
    "swap",
    "a table that changes what was counted is accepted by a rebuild, and by nothing else",
    witness=ACCEPTED,
    needs=["generations"],
)
def rebuild_05(case: AnyCase) -> None:
    """The new program rebuilds beside the old one, which is refused afterwards."""
    old = case.client("old")
    old.append(case.event("a"), case.event("a", "star"), case.event("b", "install_new"))
    old.drain()
    table = case.pick(DOUBLED, BY_HOUR, NO_ROLLUPS, OLDER, NEW)
    old.append(case.event("c"))
    if table is NEW:
        old.append(case.event("c", "comment"))
    try:
        new = case.client("new", table)
    except TableChangedError:
        return  # then the check is vacuous: see Harness.client
    stale = prepared(old)
    case.play(
        new.rebuilding(page=case.scope(10, 2)),
        old.doing(_drain_old),
        switches=case.scope(int(table is DOUBLED), 2),
        look=False,
    )
    new.rebuild()
    case.saw(ACCEPTED)
    cursor = new.stats.cursor()
    case.expect("the table of the record", table.table, cursor.table)
    case.observe(table)
    case.raises(CursorConflictError, lambda: old.stats.commit(stale), "a commit from before it")
    if table is not OLDER:  # which the old one extends
        case.raises(TableChangedError, old.drain, "a drain with the older table")
        case.expect("the record after it", cursor, old.stats.cursor())
    if table not in (OLDER, NEW):
        case.raises(TableChangedError, old.stats.totals, "totals() with the older table")
    new.append(case.event("a"))
    new.drain()
    case.observe(table)
    case.settle(table)


async def _drain_old(events: SteppedEvents, stats: SteppedStats) -> None:
    """Drain with the old table, until the new one is met or needed."""
    try:
        await aio.drain(events, stats, page=1)
    except (StoreBusyError, TableChangedError, UncountableEventError):
        return


@check(
    "REBUILD-06",
    "swap",
    "a swap that would go back is refused, and changes nothing",
    witness=BACK,
    needs=["generations"],
)
def rebuild_06(case: AnyCase) -> None:
    """What was built stands at the start or behind what serves; then beside it, or before it."""
    worker, builder = case.client("fold"), case.client("r")
    worker.append(*case.downloads("abab"))
    served, built = case.pick((4, 3), (4, 0), (2, 1), (3, 3), (1, 4), (0, 0), (0, 2))
    if served:
        worker.drain(page=1, max_events=served)
    numbers = builder.stats.building("x")
    if built:
        drain(builder.events, numbers, page=1, max_events=built)
    before = worker.stats.totals()
    there = numbers.cursor()
    if built < served:
        case.saw(BACK)
        case.raises(GenerationBehindError, lambda: builder.stats.swap("x"), "a swap that goes back")
        after = worker.stats.totals()
        case.expect("the totals after it", dict(before), dict(after))
        case.expect("the record after it", before.cursor, after.cursor)
        case.expect("the record of what was built", there, numbers.cursor())
        drain(builder.events, numbers)
        there = numbers.cursor()
    swapped = builder.stats.swap("x")
    case.expect("the record that serves now", swapped, worker.stats.cursor())
    _check_swapped(case, before.cursor, there, swapped)
    case.observe()
    case.settle()


def _check_swapped(case: AnyCase, before: Cursor, built: Cursor, after: Cursor) -> None:
    """Check that a record is what a swap makes of two."""
    wanted = attrs.evolve(
        built, building="", revision=before.revision + 1, updated_at=after.updated_at
    )
    case.expect("the record that serves now", wanted, after)
    if after.generation <= before.generation:
        raise Violation(f"a generation above {before.generation}", str(after.generation))


@check(
    "REBUILD-07",
    "building",
    "a skill that is forgotten during a rebuild stays forgotten",
    witness=FORGOTTEN_BESIDE,
    needs=["generations"],
)
def rebuild_07(case: AnyCase) -> None:
    """A rebuild, a forget and a worker, in every order of their calls; somebody looks on."""
    worker, builder, keeper = case.client("fold"), case.client("r"), case.client("f")
    worker.append(*case.downloads("aba"))
    worker.drain(page=1, max_events=1)
    if case.maybe():
        drain(builder.events, builder.stats.building(REBUILD), page=1, max_events=2)
    beside = [worker.draining(page=2) for _ in case.scope("", "w")]
    case.play(
        builder.rebuilding(page=2),
        keeper.forgetting("a"),
        *beside,
        switches=2,
    )
    if _is_between(case, "building", "forget", "swap"):
        case.saw(FORGOTTEN_BESIDE)
    builder.rebuild()
    case.expect("totals(['a'])", {}, dict(worker.stats.totals(["a"])))
    case.observe()
    case.settle()


@check(
    "REBUILD-08",
    "building",
    "what is built is found again as it is, under its name, and is gone when it is discarded",
    witness=GONE,
    needs=["generations"],
)
def rebuild_08(case: AnyCase) -> None:
    """Its record at the start; a second client that joins; swap and discard, and what is left."""
    one, two = case.client("r1"), case.client("r2")
    one.append(*case.downloads("ab"))
    one.drain(page=1, max_events=1)
    serving = one.stats.totals()
    numbers = one.stats.building("x")
    first = numbers.cursor()
    start = Cursor.start(SKILL_STATS, first.updated_at)
    wanted = attrs.evolve(start, building="x", generation=first.generation, revision=first.revision)
    case.expect("the first record", wanted, first)
    if first.generation <= serving.cursor.generation:
        raise Violation("a generation above the one that serves", str(first.generation))
    drain(one.events, numbers, page=1, max_events=1)
    joined = two.stats.building("x")
    case.expect("the record that a second start finds", numbers.cursor(), joined.cursor())
    drain(two.events, joined)
    case.expect("the totals of both", dict(numbers.totals()), dict(joined.totals()))
    case.expect("what is built counts", {"a", "b"}, {*joined.totals()})
    now = two.stats.totals()
    case.expect("what serves", (serving.cursor, dict(serving)), (now.cursor, dict(now)))
    day = two.stats.rollups("b", Granularity.DAY)
    case.expect("rollups of 'b' that serve", (serving.cursor, {}), (day.cursor, dict(day)))
    stale = attrs.evolve(prepared(one), expected=joined.cursor())
    end = case.pick(one.stats.discard, two.stats.swap)
    end("x")
    case.saw(GONE)
    for store in (numbers, joined):
        case.raises(NotBuildingError, store.cursor, "cursor() of what is gone")
    case.raises(NotBuildingError, lambda: joined.commit(stale), "a commit to what is gone")
    for name in ("x", "y"):
        case.raises(NotBuildingError, partial(two.stats.swap, name), f"swap({name!r})")
        asked = partial(two.stats.differences, name, limit=1)
        case.raises(NotBuildingError, asked, f"differences({name!r})")
        case.expect(f"discard({name!r}) of nothing", False, two.stats.discard(name))
    again = two.stats.building("x")
    case.expect("where it begins anew", (None, 0), (again.cursor().place, again.cursor().count))
    case.expect("its totals", {}, dict(again.totals()))
    if again.cursor() == first:
        raise Violation("another first record than that of the numbers before", "the same one")
    case.observe()
    case.settle()


@check(
    "REBUILD-09",
    "swap",
    "a commit from before a swap is refused, to what serves and to what was built",
    witness=STALE,
    needs=["generations"],
)
def rebuild_09(case: AnyCase) -> None:
    """A worker is paused with its commit; meanwhile the numbers are swapped, and it resumes."""
    worker, builder = case.client("fold"), case.client("r")
    worker.append(*case.downloads("ab"))
    worker.drain(page=1, max_events=1)
    numbers = builder.stats.building(REBUILD)
    drain(builder.events, numbers, page=1, max_events=1)
    stale = prepared(worker)
    built = attrs.evolve(stale, expected=numbers.cursor())
    builder.stats.swap(REBUILD)
    if case.maybe():
        builder.stats.building(REBUILD)
    case.saw(STALE)
    error = CursorConflictError
    case.raises(error, lambda: worker.stats.commit(stale), "a commit from before the swap")
    try:
        numbers.commit(built)
    except (CursorConflictError, NotBuildingError):
        pass
    else:
        raise Violation("a commit to what was built before to be refused", "it returned")
    case.observe()
    case.settle()


@check(
    "REBUILD-10",
    "building",
    "numbers of several names, and of several projections, are apart",
    witness=TWO,
    needs=["generations"],
)
def rebuild_10(case: AnyCase) -> None:
    """Two names at once; one is discarded or swapped, and nothing else moves."""
    one, two = case.client("r1"), case.client("r2", FETCHES)
    one.append(*case.downloads("aab"))
    two.drain(page=1, max_events=1)
    built: list[Stats] = [one.stats.building("x"), one.stats.building("y"), two.stats.building("x")]
    for number, numbers in enumerate(built):
        drain(one.events, numbers, page=1, max_events=1 + number)
    case.saw(TWO)
    generations = {built[0].cursor().generation, built[1].cursor().generation}
    case.expect("generations of one projection", 2, len(generations))
    before = [numbers.totals() for numbers in (*built[1:], two.stats)]
    case.pick(one.stats.swap, one.stats.discard)("x")
    for numbers, was in zip((*built[1:], two.stats), before, strict=True):
        now = numbers.totals()
        case.expect("the totals of others", dict(was), dict(now))
        case.expect("the record of others", was.cursor, now.cursor)
    for numbers in built[1:]:
        drain(one.events, numbers)
    one.stats.swap("y")
    two.stats.swap("x")
    for projection in (SKILL_STATS, FETCHES):
        case.observe(projection)
        case.settle(projection)


@check(
    "REBUILD-11",
    "documented",
    "a name that is none is refused",
    witness=GONE,
    needs=["generations"],
)
def rebuild_11(case: AnyCase) -> None:
    """The name of the serving numbers, and what is no text that a database can hold."""
    client = case.client("r")
    client.append(*case.downloads("a"))
    client.drain()
    before = client.stats.cursor()
    name = case.pick("", "x" * 1_001, "\0", "\ud800")
    ways: tuple[Callable[[str], object], ...] = (
        client.stats.building,
        client.stats.swap,
        client.stats.discard,
        partial(client.stats.differences, limit=1),
    )
    asked = case.pick(*ways)
    case.saw(GONE)
    case.raises(InvalidBoundError, partial(asked, name), f"the name {name[:9]!r}")
    case.expect("the record after it", before, client.stats.cursor())
    client.stats.building("x")
    for limit in (0, -1):
        compare = partial(client.stats.differences, "x", limit=limit)
        case.raises(InvalidBoundError, compare, f"differences() with a limit of {limit}")
    case.settle()


@check(
    "REBUILD-12",
    "building",
    "what is built is a stats store with every law of one",
    witness=CONFLICT,
    needs=["generations"],
)
def rebuild_12(case: AnyCase) -> None:
    """Two workers fold into it at once, one of them dies; its rollups are read, too."""
    one, two = case.client("r1"), case.client("r2")
    one.append(*case.downloads("aba"), case.event("b", "unstar"))
    one.stats.building("x")

    async def fold(events: SteppedEvents, stats: SteppedStats) -> None:
        with suppress(StoreBusyError):
            await aio.drain(events, await stats.building("x"), page=2)

    case.play(one.doing(fold), two.doing(fold), switches=case.scope(1, 2), deaths=case.scope(0, 1))
    three = case.client("r3")
    numbers = three.stats.building("x")
    drain(three.events, numbers)
    wanted = {"downloads": 2, "stars": 0, "installs_all_time": 0, "installs_current": 0}
    case.expect("totals(['a'])", {"a": wanted}, {**numbers.totals(["a"])})
    case.expect("stars of 'b'", -1, numbers.totals()["b"]["stars"])
    downloads = [row["downloads"] for row in numbers.rollups("a", Granularity.DAY).values()]
    case.expect("rollups of 'a'", [2], downloads)
    case.expect("what serves", {}, dict(three.stats.totals()))
    three.stats.swap("x")
    case.observe()
    case.settle()


CHECKS = (
    rebuild_01,
    rebuild_02,
    rebuild_03,
    rebuild_04,
    rebuild_05,
    rebuild_06,
    rebuild_07,
    rebuild_08,
    rebuild_09,
    rebuild_10,
    rebuild_11,
    rebuild_12,
)

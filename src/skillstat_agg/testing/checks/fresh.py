"""Fresh reads: stored plus pending is what a fold would come to, whatever happens meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import attrs

from skillstat_agg import aio
from skillstat_agg._buckets import Granularity
from skillstat_agg._events import Event, Place
from skillstat_agg._fresh import FreshRollups, FreshTotals, fresh_rollups, fresh_totals
from skillstat_agg._projections import SKILL_STATS
from skillstat_agg.errors import StoreBusyError, UncountableEventError
from skillstat_agg.testing._cases import NOON
from skillstat_agg.testing._checks import AnyCase, check
from skillstat_agg.testing._clients import SteppedEvents, SteppedStats
from skillstat_agg.testing._comparing import EVERYTHING
from skillstat_agg.testing._handles import Actor, Handle
from skillstat_agg.testing._looking import places_of
from skillstat_agg.testing._numbers import count, difference, without_zeros
from skillstat_agg.testing._steps import REFUSED, Violation
from skillstat_agg.testing.checks.fencing import prepared
from skillstat_agg.testing.checks.forgetting import ALIKE_IDS, PATTERNS
from skillstat_agg.testing.checks.unknown import landing

BETWEEN = "a worker folded between the calls of a fresh read"
REVIVED = "events of a forgotten skill were pending in a fresh read"
STOPPED = "an event that the table cannot count was pending in a fresh read"
KEPT_OUT = "an event that the table cannot count was refused at append"
WAITS = "committed events waited beyond the frontier of a fresh read"
BOUNDED = "more events were pending than a fresh read may add"
ASKED = "it was asked which skills are forgotten"


@attrs.define
class _Watched:
    """The stats of a reader, which note how many events were committed when numbers were read."""

    stats: Any
    case: AnyCase
    committed: list[int] = attrs.field(factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stats, name)

    async def totals(self, *given: Any) -> Any:
        return self._noting(await self.stats.totals(*given))

    async def rollups(self, *given: Any, **named: Any) -> Any:
        return self._noting(await self.stats.rollups(*given, **named))

    def _noting(self, answer: Any) -> Any:
        self.committed.append(len(self.case.committed.events))
        return answer


@attrs.define
class _Reader:
    """What an actor that reads afresh has found.

    Attributes:
        totals: Totals, and how many events were committed when the stored ones were read.
        rollups: Rollups of ``"a"`` by day, likewise.
    """

    totals: list[tuple[FreshTotals, int]] = attrs.field(factory=list)
    rollups: list[tuple[FreshRollups, int]] = attrs.field(factory=list)

    def actor(
        self, case: AnyCase, client: Handle, skills: Sequence[str] | None, *, by_day: bool
    ) -> Actor[None]:
        """Return an actor that reads totals of these skills, or the days of ``"a"``."""

        async def look(events: SteppedEvents, stats: SteppedStats) -> None:
            watched: Any = _Watched(stats, case)
            try:
                if by_day:
                    days = await aio.fresh_rollups(events, watched, "a", Granularity.DAY)
                    self.rollups.append((days, watched.committed[-1]))
                else:
                    totals = await aio.fresh_totals(events, watched, skills)
                    self.totals.append((totals, watched.committed[-1]))
            except StoreBusyError:
                return

        return client.doing(look)


def _play(case: AnyCase, worker: Handle, reader: Actor[None], *later: Event) -> None:
    """Let a worker fold, and a writer append, between the calls of a reader; or commit inside."""
    if case.harness.io and case.maybe():
        commits = Actor(worker, landing(worker, prepared(worker, page=1)))
        case.play(reader, commits, switches=0, inside=1, into=("totals", "rollups"), look=False)
    else:
        appends = case.client("w").appending(later)
        case.play(worker.draining(page=1), reader, appends, switches=case.scope(1, 3), look=False)


def _events_to(case: AnyCase, client: Handle, place: Place | None) -> list[Event]:
    """Return the events of the log up to a place."""
    log = case.log_of(client)
    return [one.event for one in log if place is not None and one.position <= place.position]


def _check_totals(
    case: AnyCase,
    client: Handle,
    found: FreshTotals,
    skills: Sequence[str] | None = None,
) -> list[Event]:
    """Check that totals are those of all events up to where they say; return these."""
    folded = _events_to(case, client, found.freshness.place)
    wanted = count(SKILL_STATS, folded).totals
    if skills is not None:
        wanted = {skill: row for skill, row in wanted.items() if skill in skills}
    rows = {skill: dict(row) for skill, row in found.items()}
    unlike = difference(wanted, rows, SKILL_STATS, case.committed.events, folded)
    if unlike is not None:
        raise Violation(f"fresh totals: {unlike.expected}", unlike.actual, unlike.events)
    return folded


def _check_complete(folded: Sequence[Event], committed: int, *, says_so: bool) -> None:
    if says_so and len(folded) < committed:
        raise Violation(
            f"numbers of at least {committed} events, or is_complete=False",
            f"is_complete=True with {len(folded)} events",
        )


@check(
    "FRESH-01",
    "one_snapshot",
    "fresh totals are stored plus pending, whatever a worker does between the two",
    witness=BETWEEN,
    needs=["lag"],
)
def fresh_01(case: AnyCase) -> None:
    """A worker folds, and a writer appends, between the calls of a reader."""
    worker, reader, found = case.client("fold"), case.client("reader"), _Reader()
    worker.append(*case.downloads("ab"), case.event("a", "star"), case.event("b", "install_new"))
    skills = case.pick(*case.scope((None,), (None, ["a", "x"])))
    actor = found.actor(case, reader, skills, by_day=False)
    _play(case, worker, actor, case.event("c"), case.event("b", "star"))
    for totals, committed in found.totals:
        if totals.freshness.pending and totals.freshness.cursor.count:
            case.saw(BETWEEN)
        folded = _check_totals(case, reader, totals, skills)
        _check_complete(folded, committed, says_so=totals.freshness.is_complete)
        pending = len(folded) - totals.freshness.cursor.count
        case.expect("pending events", pending, totals.freshness.pending)


@check(
    "FRESH-02",
    "one_snapshot",
    "fresh rollups are stored plus pending, whatever a worker does between the two",
    witness=BETWEEN,
    needs=["lag"],
)
def fresh_02(case: AnyCase) -> None:
    """Two days, one of which is stored and gets more."""
    worker, reader, found = case.client("fold"), case.client("reader"), _Reader()
    later = NOON + timedelta(hours=20)
    worker.append(case.event("a"), case.event("b"), case.event("a", "install_new", at=later))
    actor = found.actor(case, reader, None, by_day=True)
    _play(case, worker, actor, case.event("b", "install_new", at=later))
    for days, committed in found.rollups:
        if days.freshness.pending and days.freshness.cursor.count:
            case.saw(BETWEEN)
        folded = _events_to(case, reader, days.freshness.place)
        wanted = count(SKILL_STATS, folded).rollups[Granularity.DAY].get("a", {})
        rows = without_zeros({start: dict(row) for start, row in days.items()})
        case.expect("fresh rollups of 'a' by day", wanted, rows)
        case.expect("their order", sorted(days), list(days))
        _check_complete(folded, committed, says_so=days.freshness.is_complete)


@check(
    "FRESH-03",
    "forgotten",
    "a forgotten skill does not come back with its pending events",
    witness=REVIVED,
    needs=["lag"],
)
def fresh_03(case: AnyCase) -> None:
    """It is forgotten before the read, or between its calls; a worker folds or does not."""
    worker, reader, keeper = case.client("fold"), case.client("reader"), case.client("f")
    worker.append(*case.downloads("ab"))
    worker.drain()
    worker.append(*case.downloads("abb"))
    found = _Reader()
    case.play(
        found.actor(case, reader, None, by_day=case.vary(False, True)),
        keeper.forgetting("a"),
        worker.draining(page=2),
        switches=case.scope(1, 3),
        look=False,
    )
    # A call that had to wait stands there twice; what it answers may be from its beginning.
    calls = [(step.who, step.what) for step in case.record.steps]
    asked = ("reader", "forgotten")
    is_gone = asked in calls and calls.index(("f", "forget")) < calls.index(asked)
    for totals, _ in found.totals:
        folded = _events_to(case, reader, totals.freshness.place)
        if is_gone and "a" in {event.skill_id for event in folded[totals.freshness.cursor.count :]}:
            case.saw(REVIVED)
            case.expect("fresh totals of the forgotten skill", None, totals.get("a"))
    for days, _ in found.rollups:
        if is_gone and days.freshness.cursor.count == 2 and days.freshness.pending:
            case.expect("fresh rollups of the forgotten skill", {}, dict(days))


@check(
    "FRESH-04",
    "forgotten",
    "forgotten() names those that are, and no others",
    witness=ASKED,
)
def fresh_04(case: AnyCase) -> None:
    """Several that are forgotten, also unknown ones, among ids that are nearly the same."""
    worker, keeper = case.client("fold"), case.client("f")
    ids = (*ALIKE_IDS, *PATTERNS)
    if case.vary(True, False):
        worker.append(*case.downloads(ids))
        worker.drain()
    gone = case.vary(ids[::3], (), ids[:1], ids[1:2], ids[1::2], ids)
    for skill_id in gone:
        keeper.forget(skill_id)
    many = tuple(f"m {n:04}" for n in range(1_000))
    asked = case.vary(ids, (), ids[:1], (*ids, *ids), (*many, *ids))
    case.saw(ASKED)
    client = case.vary(case.client("later"), keeper)
    answer = client.stats.forgotten(iter(asked))
    case.expect("those that are forgotten", sorted({*gone} & {*asked}), sorted(answer))


@check(
    "FRESH-05",
    "progress",
    "an event that the table cannot count makes fresh numbers incomplete, never wrong",
    witness=(STOPPED, KEPT_OUT),
    needs=["lag"],
)
def fresh_05(case: AnyCase) -> None:
    """A kind that nobody knows, among events that count."""
    client = case.client("w")
    client.append(*case.downloads("ab"))
    if case.maybe():
        client.drain()
    bad = case.event("a", case.pick("wave", "Download"))
    good, number = case.downloads("ab"), case.pick(0, 1, 2)
    try:
        client.append(*good[:number], bad, *good[number:])
    except UncountableEventError:
        case.saw(KEPT_OUT)
        return
    case.saw(STOPPED)
    totals = fresh_totals(client.events, client.stats)
    case.expect("is_complete", False, totals.freshness.is_complete)
    folded = _check_totals(case, client, totals)
    case.expect("the number of events before it", 2 + number, len(folded))
    rollups = fresh_rollups(client.events, client.stats, "b", Granularity.DAY)
    case.expect("is_complete of rollups", False, rollups.freshness.is_complete)


@check(
    "FRESH-06",
    "nothing_hidden",
    "events that wait beyond the frontier make fresh numbers incomplete",
    witness=(WAITS, REFUSED),
    needs=["lag", "begin"],
)
def fresh_06(case: AnyCase) -> None:
    """One append is held open, another one is committed behind it."""
    reader, holder, writer = case.client("reader"), case.client("w1"), case.client("w2")
    writer.append(*case.downloads("ab"))
    held = holder.begin()
    try:
        held.append(*case.downloads("x"))
        writer.append(*case.downloads("c"))
    except StoreBusyError:
        held.rollback()
        return
    if case.maybe():
        reader.drain()
    totals = fresh_totals(reader.events, reader.stats)
    folded = _check_totals(case, reader, totals)
    if len(folded) < 3:
        case.saw(WAITS)
    case.expect("is_complete", len(folded) == 3, totals.freshness.is_complete)
    held.rollback()
    totals = fresh_totals(reader.events, reader.stats)
    case.expect("is_complete, when nothing waits", True, totals.freshness.is_complete)
    _check_totals(case, reader, totals)


@check(
    "FRESH-07",
    "same_backlog",
    "a fresh read adds no more events than it is told, and says whether that was all",
    witness=BOUNDED,
    needs=["lag"],
)
def fresh_07(case: AnyCase) -> None:
    """Limits below, at and above what is pending, from every cursor."""
    client = case.client("w")
    client.append(*case.downloads("abcd"))
    folded = case.pick(*range(len(places_of(client))))
    if folded:
        client.drain(page=1, max_events=folded)
    limit = case.pick(1, 2, 3, 4, EVERYTHING)
    pending = 4 - folded
    if pending > limit:
        case.saw(BOUNDED)
    totals = fresh_totals(client.events, client.stats, limit=limit)
    case.expect("pending events", min(limit, pending), totals.freshness.pending)
    case.expect("is_complete", pending <= limit, totals.freshness.is_complete)
    _check_totals(case, client, totals)


CHECKS = (fresh_01, fresh_02, fresh_03, fresh_04, fresh_05, fresh_06, fresh_07)

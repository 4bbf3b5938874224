"""Quarantine: what a table cannot count is set aside, and counts once it is taught."""

from __future__ import annotations

from contextlib import suppress

import attrs

from skillstat_agg import aio
from skillstat_agg._effects import RETIRED, Effect
from skillstat_agg._events import Event
from skillstat_agg._projections import SKILL_STATS, Projection
from skillstat_agg._quarantine import Quarantine, Uncountable
from skillstat_agg.errors import (
    InvalidBoundError,
    StoreBusyError,
    TableChangedError,
    UncountableEventError,
)
from skillstat_agg.testing._cases import NOON
from skillstat_agg.testing._checks import AnyCase, check
from skillstat_agg.testing._clients import SteppedEvents, SteppedStats, give_way
from skillstat_agg.testing._handles import Actor, Handle
from skillstat_agg.testing._steps import MOVED_INSIDE, REFUSED, Violation, labels

PARKED = "an event was parked"
TAUGHT = "an event that lay in quarantine was counted"
LEFT = "an event stayed in quarantine when others were counted"
FORGOTTEN = "a skill was forgotten that had, or got, something to park"
STANDS_FOR_MORE = "a compacted event was parked that stands for several"

PARK = Uncountable.PARK

WRITERS = Projection(
    "writers_stats",
    {
        **dict.fromkeys((*SKILL_STATS.kinds, "wave", "blink"), RETIRED),
        "entry": Effect(counters={"entries": 1}),
    },
)
"""The table of those who append: another projection's, which takes events of every kind."""

WAVES = Projection(
    "skill_stats",
    {**SKILL_STATS.kinds, "wave": Effect(counters={"waves": 1}, rollups={"waves": 1})},
)
"""The default table, with one kind more."""

QUIET_WAVES = Projection("skill_stats", {**SKILL_STATS.kinds, "wave": RETIRED})
"""The default table, with one kind more that counts nothing."""

WITH_DELTAS = {"all_time": 1, "current": -1}


def odd_event(case: AnyCase, skill_id: str = "a") -> Event:
    """Return an event that the default table cannot count: each way gets a case of its own."""
    kind, deltas = case.pick(
        *case.scope(
            (("wave", None), ("install_clear", None)),
            (
                ("wave", None),
                ("wave", {"n": 1}),
                ("install_clear", None),
                ("install_clear", {"all_time": 1}),
                ("download", {"n": 0}),
            ),
        )
    )
    return case.event(skill_id, kind, deltas=deltas)


@check(
    "QUARANTINE-01",
    "quarantined",
    "what the table cannot count is parked with its page, and the rest counts",
    witness=PARKED,
)
def quarantine_01(case: AnyCase) -> None:
    """It stands first, in the middle or last, alone or beside another one."""
    writer, worker = case.client("w", WRITERS), case.client("fold")
    before, after = case.pick(
        *case.scope(((0, 1), (2, 1), (2, 0)), ((0, 0), (0, 1), (1, 1), (2, 0)))
    )
    odd = [odd_event(case) for _ in range(case.vary(1, 2))]
    writer.append(*case.downloads("ab"[:before]), *odd, *case.downloads("c" * after))
    page = case.vary(1, *case.scope((10,), (2, 3, 10)))
    if case.vary(True, False):
        case.play(worker.draining(page=page, uncountable=PARK), switches=0)
    else:
        report = worker.drain(page=page, uncountable=PARK)
        case.expect("events folded", len(case.committed.events), report.events)
        case.expect("events parked", len(odd), report.parked)
    case.saw(PARKED)
    case.observe()
    writer.append(*case.downloads("a"))
    case.settle()


@check(
    "QUARANTINE-02",
    "quarantined",
    "a fold that was stopped goes on where it may park, and so do others",
    witness=PARKED,
)
def quarantine_02(case: AnyCase) -> None:
    """Workers that halt and workers that park take turns."""
    writer, worker = case.client("w", WRITERS), case.client("fold")
    writer.append(*case.downloads("a" * case.pick(0, 1)), odd_event(case))
    case.raises(UncountableEventError, worker.drain, "a fold that must not park")
    case.observe()
    worker.drain(uncountable=PARK)
    case.saw(PARKED)
    writer.append(*case.downloads("a"))
    case.client("halting").drain()
    case.observe()
    writer.append(case.event("b", "blink"))
    case.raises(UncountableEventError, worker.drain, "a fold that must not park")
    case.observe()
    case.settle()


@check(
    "QUARANTINE-03",
    "atomic",
    "workers that park may die before or after any call",
    witness=PARKED,
)
def quarantine_03(case: AnyCase) -> None:
    """Two workers park what they meet, and one of them dies."""
    writer, one = case.client("w", WRITERS), case.client("f1")
    writer.append(*case.downloads("a"), case.event("a", "wave"), case.event("b", "wave"))
    switches, deaths = case.pick(*case.scope(((1, 0), (0, 1)), ((2, 1),)))
    case.play(
        one.draining(page=case.pick(*case.scope((2,), (1, 2))), uncountable=PARK),
        case.client("f2").draining(page=3, uncountable=PARK),
        switches=switches,
        deaths=deaths,
    )
    case.settle()
    case.saw(PARKED)


@check(
    "QUARANTINE-04",
    "atomic",
    "what is parked and the cursor are there together or not at all",
    witness=PARKED,
    needs=["io"],
)
def quarantine_04(case: AnyCase) -> None:
    """A worker dies, or its I/O fails, in the middle of a commit that parks."""
    writer, worker = case.client("w", WRITERS), case.client("f1")
    writer.append(*case.downloads("a"), odd_event(case), *case.downloads("b"))
    dies = case.maybe()
    case.play(
        worker.draining(page=case.pick(*case.scope((10,), (2, 10))), uncountable=PARK),
        switches=0,
        deaths=int(dies),
        faults=int(not dies),
        into=("commit",),
    )
    case.observe()
    case.settle()
    case.saw(PARKED)


@check(
    "QUARANTINE-05",
    "compare_and_set",
    "of two workers that meet it one parks an event, and it lies there once",
    witness=PARKED,
)
def quarantine_05(case: AnyCase) -> None:
    """Two workers, one of which may halt, in every order of their calls."""
    writer, one = case.client("w", WRITERS), case.client("f1")
    writer.append(case.event("a", "wave"), *case.downloads("a"), case.event("a", "wave"))
    case.play(
        one.draining(page=case.pick(*case.scope((1,), (1, 3))), uncountable=PARK),
        case.client("f2").draining(page=2, uncountable=PARK),
        switches=case.scope(1, 3),
    )
    case.saw(PARKED)
    case.settle()


def _with_waves(case: AnyCase) -> tuple[Handle, Handle]:
    """Return a writer, and a worker that has parked a wave, and perhaps something else."""
    writer, old = case.client("w", WRITERS), case.client("old")
    case.observer()
    writer.append(
        *case.downloads("a"),
        case.event("a", "wave"),
        case.event("b", "wave", at=NOON.replace(day=2)),
    )
    if case.maybe():
        writer.append(case.event("a", "blink"), case.event("c", "wave", deltas={"n": 1}))
    old.drain(uncountable=PARK)
    case.saw(PARKED)
    return writer, old


@check(
    "QUARANTINE-06",
    "quarantined",
    "who teaches the table a kind counts what was parked of it, once",
    witness=TAUGHT,
)
def quarantine_06(case: AnyCase) -> None:
    """A larger table comes, with new events or without; the kind counts, or counts nothing."""
    writer, _ = _with_waves(case)
    table = case.vary(WAVES, QUIET_WAVES)
    writer.append(*case.vary((), (*case.downloads("a"), case.event("b", "wave"))))
    left = [
        one for one in case.committed.events if one.kind == "blink" or "n" in (one.deltas or ())
    ]
    if table is QUIET_WAVES:
        left = [one for one in left if one.kind == "blink"]  # retired kinds carry anything
    new = case.client("new", table)
    case.observe()
    page = case.vary(1, 10)
    new.drain(page=page, uncountable=PARK)
    case.saw(TAUGHT)
    quarantine = new.stats.quarantine(limit=100)
    found = labels(one.event for one in quarantine.events)
    case.expect("what is left in quarantine", labels(left), found)
    case.expect("the table of the cursor record", table.table, quarantine.cursor.table)
    for projection in (SKILL_STATS, table):
        case.observe(projection)
    report = new.drain(uncountable=PARK)
    case.expect("events taught by a second drain", 0, report.taught)
    case.settle(table)


@check(
    "QUARANTINE-07",
    "compare_and_set",
    "old and new workers side by side: what the old one parks counts once",
    witness=TAUGHT,
)
def quarantine_07(case: AnyCase) -> None:
    """The new program starts and drains beside the old one, in every order of their calls."""
    writer, old = _with_waves(case)
    writer.append(*case.downloads("a"), case.event("a", "wave"))
    beside = case.client("new too", WAVES) if case.maybe() else old
    case.play(
        beside.doing(_drain_old),
        Actor(case.observer(), _deploy(case)),
        switches=case.scope(1, 2),
        deaths=case.scope(0, 1),
    )
    case.saw(TAUGHT)
    case.settle(WAVES)


async def _drain_old(events: SteppedEvents, stats: SteppedStats) -> None:
    """Drain, until a newer table is met."""
    with suppress(TableChangedError, StoreBusyError):
        await aio.drain(events, stats, page=1, uncountable=PARK)


async def _deploy(case: AnyCase) -> None:
    """Start the new program: its stores may take the stats over when they are opened."""
    await give_way()
    with suppress(StoreBusyError):
        await case.client("new", WAVES).draining(page=2, uncountable=PARK).moves


@check(
    "QUARANTINE-08",
    "atomic",
    "taking a larger table over and counting what it teaches is one step",
    witness=TAUGHT,
    needs=["io"],
)
def quarantine_08(case: AnyCase) -> None:
    """The new worker dies, or its I/O fails, in the middle of the commit that takes over."""
    writer, _ = _with_waves(case)
    writer.append(*case.downloads("a" * case.pick(*case.scope((1,), (0, 1)))))
    dies = case.maybe()
    case.play(
        case.client("new", WAVES).draining(uncountable=PARK),
        switches=0,
        deaths=int(dies),
        faults=int(not dies),
        into=("quarantine", "commit"),
    )
    for projection in (SKILL_STATS, WAVES):
        case.observe(projection)
    case.settle(WAVES)
    case.saw(TAUGHT)


@check(
    "QUARANTINE-09",
    "forgotten",
    "a forgotten skill has nothing in quarantine, and never gets anything there",
    witness=FORGOTTEN,
)
def quarantine_09(case: AnyCase) -> None:
    """A skill is forgotten before, between or after what is parked; then the table is taught."""
    writer, worker = case.client("w", WRITERS), case.client("fold")
    case.observer()
    waves = [case.event(skill_id, "wave") for skill_id in "aba"]
    forget_at = case.pick(0, 1, 2, 3)
    dropped = 0
    for number, event in enumerate(waves):
        if number == forget_at:
            worker.forget("a")
        writer.append(event)
        if case.vary(False, True):
            dropped += worker.drain(uncountable=PARK).dropped["forgotten"]
            case.observe()
    dropped += worker.drain(uncountable=PARK).dropped["forgotten"]
    late = sum(event.skill_id == "a" for event in waves[forget_at:])
    if forget_at == len(waves):
        before = worker.stats.cursor()
        worker.forget("a")
        case.expect("the revision", before.revision + 1, worker.stats.cursor().revision)
    case.saw(FORGOTTEN)
    if forget_at in (0, len(waves)):
        case.expect("events dropped", late, dropped)
        recorded = worker.stats.cursor().dropped.get("forgotten", 0)
        case.expect("events dropped, by the cursor record", late, recorded)
    case.observe()
    case.settle(case.pick(*case.scope((WAVES,), (SKILL_STATS, WAVES))))


@check(
    "QUARANTINE-10",
    "quarantined",
    "what lies in quarantine comes back whole, in the order of positions",
    witness=PARKED,
)
def quarantine_10(case: AnyCase) -> None:
    """More than ten events, with all that an event can have; a limit leaves the later ones out."""
    writer, worker = case.client("w", WRITERS), case.client("fold")
    odd = (
        case.event("a", "wave", event_id="id of a", deltas={"n": -(2**63), "\u00e4": 2**63 - 1}),
        case.event(" A\u00e4\n'", "wave", at=NOON.replace(year=1, microsecond=1)),
        attrs.evolve(case.event("b", "blink"), note=None),
        *(case.event("c", "wave") for _ in range(10)),
    )
    for event in odd:
        writer.append(event)
    worker.drain(page=case.pick(1, 5, 100), uncountable=PARK)
    case.saw(PARKED)
    log = case.log_of(worker)
    for limit in (1, 12, len(odd), 100, 2**70):
        quarantine = case.client("reader").stats.quarantine(limit=limit)
        case.expect(f"quarantine(limit={limit})", tuple(log[:limit]), quarantine.events)
        case.expect("the cursor that comes with it", worker.stats.cursor(), quarantine.cursor)
    case.raises(InvalidBoundError, lambda: worker.stats.quarantine(limit=0), "quarantine(limit=0)")
    case.settle()


@check(
    "QUARANTINE-11",
    "forgotten",
    "no commit in flight parks something of a forgotten skill",
    witness=FORGOTTEN,
)
def quarantine_11(case: AnyCase) -> None:
    """A skill is forgotten beside a worker that parks, in every order of their calls."""
    writer, worker = case.client("w", WRITERS), case.client("fold")
    writer.append(case.event("a", "wave"), *case.downloads("b"), case.event("a", "wave"))
    if case.vary(False, True):
        worker.drain(page=1, max_events=1, uncountable=PARK)
    case.play(
        worker.draining(page=case.vary(1, 3), uncountable=PARK),
        case.client("f").forgetting("a"),
        switches=2,
    )
    case.saw(FORGOTTEN)
    writer.append(case.event("a", "wave"), case.event("b", "wave"))
    case.settle(case.vary(WAVES, SKILL_STATS))


@check(
    "QUARANTINE-12",
    "quarantined",
    "each projection has a quarantine of its own",
    witness=LEFT,
)
def quarantine_12(case: AnyCase) -> None:
    """Two projections park one event, and one of them is taught the kind."""
    stars = Projection("star_stats", {"star": Effect(counters={"stars": 1}), "download": RETIRED})
    writer, one, two = case.client("w", WRITERS), case.client("one"), case.client("two", stars)
    case.observer()
    writer.append(*case.downloads("a"), case.event("a", "wave"), case.event("b", "wave"))
    for client in (one, two):
        client.drain(page=case.pick(1, 10), uncountable=PARK)
    case.observe(stars)
    if case.maybe():
        case.client("new", WAVES).drain(uncountable=PARK)
    case.saw(LEFT)
    for projection in (SKILL_STATS, stars):
        case.observe(projection)
    case.settle(WAVES)
    case.settle(stars)


@check(
    "QUARANTINE-13",
    "only_real_changes",
    "an idle drain writes nothing, whatever lies in quarantine",
    witness=PARKED,
)
def quarantine_13(case: AnyCase) -> None:
    """What lies there cannot be counted by the old table, nor by a new one that knows another."""
    writer, worker = case.client("w", WRITERS), case.client("fold")
    writer.append(*case.downloads("a"), case.event("a", "blink"))
    worker.drain(uncountable=PARK)
    case.saw(PARKED)
    drains = case.client("new", WAVES) if case.maybe() else worker
    cursor, raw = worker.stats.cursor(), case.raw()
    for _ in range(2):
        drains.drain(uncountable=case.pick(PARK, Uncountable.HALT))
    case.expect("the cursor after idle drains", cursor, worker.stats.cursor())
    if case.raw() != raw:
        raise Violation("an idle drain to write nothing", "what is stored has changed")
    case.settle(drains.stats.projection)


@check(
    "QUARANTINE-14",
    "one_snapshot",
    "what lies in quarantine comes with the cursor of its snapshot",
    witness=(MOVED_INSIDE, REFUSED),
    needs=["io"],
)
def quarantine_14(case: AnyCase) -> None:
    """A commit that parks, or one that teaches, lands in the middle of quarantine()."""
    writer, reader = _with_waves(case)
    writer.append(case.event("c", "wave"))
    worker = case.client("new", WAVES) if case.maybe() else case.client("fold")
    log = case.log_of(reader)
    seen: list[Quarantine] = []

    async def look(_events: SteppedEvents, stats: SteppedStats) -> None:
        with suppress(StoreBusyError):
            seen.append(await stats.quarantine(limit=100))

    case.play(
        worker.draining(uncountable=PARK),
        reader.doing(look),
        switches=1,
        inside=1,
        into=("quarantine",),
        look=False,
    )
    for quarantine in seen:
        cursor = quarantine.cursor
        assert cursor.place is not None
        stored = Projection.from_table(cursor.table)
        wanted = [
            one
            for one in log
            if one.position <= cursor.place.position
            and stored.fault_in(one.event.kind, one.event.deltas) is not None
        ]
        found = labels(one.event for one in quarantine.events)
        case.expect("the quarantine at its cursor", labels(one.event for one in wanted), found)
    case.settle(WAVES)


@check(
    "QUARANTINE-15",
    "forgotten",
    "a skill is forgotten in the quarantine of every projection",
    witness=FORGOTTEN,
)
def quarantine_15(case: AnyCase) -> None:
    """Two projections have parked events of it, and one of them, or neither, is asked."""
    waves = Projection("wave_stats", {"wave": Effect(counters={"waves": 1}), "download": RETIRED})
    writer, one, two = case.client("w", WRITERS), case.client("one"), case.client("two", waves)
    writer.append(*(case.event(skill_id, kind) for skill_id in "ab" for kind in ("wave", "blink")))
    for client in (one, two):
        client.drain(uncountable=PARK)
    case.pick(one, two, writer).forget("a")
    case.saw(FORGOTTEN)
    for projection in (SKILL_STATS, waves):
        case.observe(projection)
        case.settle(projection)


LATER = Projection("later_stats", SKILL_STATS.kinds)
LATER_WAVES = Projection("later_stats", WAVES.kinds)
"""The table of a projection that is declared later, and of the newer program."""


@check(
    "QUARANTINE-16",
    "quarantined",
    "what lies in quarantine is as many events as it stands for",
    witness=STANDS_FOR_MORE,
    needs=["prune"],
)
def quarantine_16(case: AnyCase) -> None:
    """Parked events are made small without their quarantine; a later projection parks sums."""
    writer, old = case.client("w", WRITERS), case.client("old")
    writer.append(*(case.event(skill_id, "wave") for skill_id in "aab"), *case.downloads("a"))
    old.drain(uncountable=PARK)
    old.prunes()
    old.log.compact(before=None, limit=100)
    later = case.client("later", LATER)
    later.drain(page=case.pick(1, 10), uncountable=PARK)
    case.saw(STANDS_FOR_MORE)
    case.observe(LATER)
    if old.has_generations:
        case.expect("differences", (), old.verify_fully().differences)
    if later.has_sums:
        case.expect("events in quarantine, by their sum", 3, later.stats.sums().parked)
    if case.maybe():
        case.pick(later, old).forget("a")
        case.observe(LATER)
    case.settle(case.pick(LATER, LATER_WAVES))


CHECKS = (
    quarantine_01,
    quarantine_02,
    quarantine_03,
    quarantine_04,
    quarantine_05,
    quarantine_06,
    quarantine_07,
    quarantine_08,
    quarantine_09,
    quarantine_10,
    quarantine_11,
    quarantine_12,
    quarantine_13,
    quarantine_14,
    quarantine_15,
    quarantine_16,
)

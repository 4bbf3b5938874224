"""Pruning: old events are made small, and every number that is made of them stays."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial

import attrs

from skillstat_agg._buckets import Granularity
from skillstat_agg._compacting import Segment
from skillstat_agg._effects import RETIRED, Carried, Effect
from skillstat_agg._events import MAX_INTEGER, MIN_INTEGER, Event, Place, Position, RecordedEvent
from skillstat_agg._projections import SKILL_STATS, Projection
from skillstat_agg._pruning import plan_prune, prune
from skillstat_agg._quarantine import Uncountable
from skillstat_agg.errors import (
    EventIdConflictError,
    HistoryChangedError,
    InvalidBoundError,
    NoReadersError,
)
from skillstat_agg.testing._cases import NOON
from skillstat_agg.testing._checks import AnyCase, check
from skillstat_agg.testing._comparing import EVERYTHING, cells_of
from skillstat_agg.testing._handles import Handle

SMALL = "events were made small"
LATE_READER = "a reader began when events had been made small"
HELD_BACK = "a reader had not come as far as another"
INSIDE = "a reader stood inside of a segment"
RETRIED = "an event that was made small was appended again"
KEPT = "an event was kept among others that were made small"
YOUNG = "an event was too young among others that were made small"
TOLD = "readers told the log where they are"
NOBODY = "a log without readers was to be pruned"
AGAIN = "a log was pruned more than once"
BEYOND = "the sum of what a group carries was beyond 64 bits"

HOURLY = Projection(
    "hourly_stats",
    {
        **SKILL_STATS.kinds,
        "gift": RETIRED,
        "install_clear": Effect(
            counters={"cleared": Carried("all_time"), "current": Carried("current"), "clears": 1},
            rollups={"cleared": Carried("all_time"), "clears": 1},
        ),
    },
    (Granularity.HOUR, Granularity.DAY),
)
"""A projection that was declared later: by the hour, and with counters of its own."""

REMARKED, HOURLY_REMARKED = (
    Projection(
        name,
        {**SKILL_STATS.kinds, "remark": Effect(counters={"remarks": 1}, rollups={"remarks": 1})},
    )
    for name in (SKILL_STATS.name, "later_stats")
)
"""The table of a newer program, and of one that is newer still."""

ONCE = Projection(
    "clear_stats",
    {
        "install_clear": Effect(
            counters={"all": Carried("all_time"), "now": Carried("current"), "clears": 1}
        ),
        "download": Effect(counters={"fetches": 1}),
    },
)
"""A projection of what events carry."""


def _mixed(case: AnyCase) -> tuple[Event, ...]:
    """Return events of which some share skill, kind and hour, and none shares everything."""
    half = timedelta(minutes=30)
    clear = {"all_time": 5, "current": -2}
    return (
        case.event("a", event_id="one"),
        case.event("a", at=NOON + half),
        case.event("b", at=NOON - timedelta(microseconds=1)),
        case.event("a", at=NOON + timedelta(hours=1)),
        case.event("a", "install_clear", deltas=clear, event_id="two"),
        case.event("a", "star"),
        case.event("a", at=NOON - timedelta(days=1)),
        case.event("a", "install_clear", at=NOON + half, deltas=clear),
        case.event("A", at=NOON + half),
        case.event("a", at=NOON + half),
    )


def _places(client: Handle) -> list[Place]:
    """Return the places of all events of the log."""
    page = client.events.read(None, limit=EVERYTHING)
    return [Place(page.epoch, one.position, one.fingerprint) for one in page.events]


@check(
    "PRUNE-01",
    "same_sums",
    "what was made small stands for the same events, for readers old and new",
    witness=SMALL,
    needs=["prune"],
)
def prune_01(case: AnyCase) -> None:
    """A log that mixes everything is pruned; a projection by the hour is declared afterwards."""
    worker = case.client("fold")
    events = _mixed(case)
    worker.append(*events)
    worker.drain(page=case.vary(1, 100))
    before = worker.stats.cursor()
    report = worker.prune(limit=case.vary(3, 1, 2, 100))
    case.saw(SMALL)
    case.expect("events made small", len(events), report.events)
    case.expect("records in the log", report.records, len(case.log_of(worker)))
    case.expect("the cursor after a prune", before, worker.stats.cursor())
    case.observe()
    worker.append(case.event("b"), case.event("a", "unstar"))
    if case.vary(False, True):
        worker.forget("a")
    case.settle()
    case.settle(HOURLY, page=case.vary(2, 1, 100))


@check(
    "PRUNE-02",
    "slowest_reader",
    "nothing after the place of the slowest reader is made small",
    witness=HELD_BACK,
    needs=["prune"],
)
def prune_02(case: AnyCase) -> None:
    """Two projections have come to unequal places, one of which may be the start."""
    fast, slow = case.client("fast"), case.client("slow", HOURLY)
    fast.append(*case.downloads("aabaababaa"))
    fast.drain(page=3)
    folded = case.pick(0, 1, 2, 3, 9, 10)
    if folded:
        slow.drain(page=4, max_events=folded)
    else:
        slow.log.register(case.pick(HOURLY.name, f"{HOURLY.name}/rebuild/2"))
    before = case.log_of(fast)
    pruner, limit = case.vary(fast, slow), case.vary(2, 100)
    segments = _pruned(pruner, limit=limit)
    after, records = case.log_of(fast), sum(one.records for one in segments)
    case.saw(HELD_BACK)
    case.expect("events made small", folded, sum(one.events for one in segments))
    case.expect("the events after the slowest reader", before[folded:], after[records:])
    for projection in (SKILL_STATS, HOURLY):
        case.observe(projection)
    for projection in (SKILL_STATS, HOURLY):
        case.settle(projection, page=case.vary(1, 100))


@check(
    "PRUNE-03",
    "whole_segments",
    "a place inside of what was made small is refused; the place at its end stands",
    witness=INSIDE,
    needs=["prune"],
)
def prune_03(case: AnyCase) -> None:
    """Every place that a reader could have had before is tried afterwards."""
    worker = case.client("fold")
    worker.append(*_mixed(case))
    worker.drain()
    places = _places(worker)
    place, ends = case.pick(*places), set[Position]()
    worker.prune(limit=case.pick(1, 4, 100), on_segment=lambda one: ends.add(one.last))
    rest = [one for one in case.log_of(worker) if one.position > place.position]
    if place.position in ends:
        page = worker.events.read(place, limit=EVERYTHING)
        case.expect(f"the events after {place.position}", rest, list(page.events))
        return
    case.saw(INSIDE)
    what = f"after {place.position}, inside of a segment,"
    case.raises(HistoryChangedError, lambda: worker.events.read(place, limit=1), f"a read {what}")
    case.raises(
        HistoryChangedError, lambda: worker.log.report("late", place), f"a report of a place {what}"
    )


@check(
    "PRUNE-04",
    "append_once",
    "the id of an event that was made small still names it",
    witness=RETRIED,
    needs=["prune"],
)
def prune_04(case: AnyCase) -> None:
    """A retry is the same event, and other content under the id is refused."""
    worker = case.client("fold")
    worker.append(*_mixed(case), case.event("c", event_id="three"))
    worker.drain(page=case.pick(1, 100))
    worker.prune(limit=case.pick(1, 100))
    clear = {"all_time": 5, "current": -2}
    again = case.pick(
        case.event("a", event_id="one"),
        case.event("a", "install_clear", deltas=clear, event_id="two", at=NOON + timedelta(1)),
        case.event("c", event_id="three"),
    )
    case.saw(RETRIED)
    log = case.log_of(worker)
    case.expect("events that are new", 0, worker.append(again).new)
    other = attrs.evolve(again, skill_id="another")
    case.raises(
        EventIdConflictError,
        lambda: worker.events.append((other,)),
        "an append of the id with other content",
    )
    case.expect("the log", log, case.log_of(worker))


@check(
    "PRUNE-05",
    "kept_events",
    "events that are kept stay as they are, and part what is made small",
    witness=KEPT,
    needs=["prune"],
)
def prune_05(case: AnyCase) -> None:
    """One or several are kept; those between them are made small by themselves."""
    worker = case.client("fold")
    worker.append(*case.downloads("aabaaab"))
    worker.drain()
    log = case.log_of(worker)
    numbers = case.vary((1, 5), (0,), (2,), (6,), (2, 3), (0, 1, 2), (0, 6), tuple(range(7)))
    kept = [log[number].position for number in numbers]
    report = worker.prune(limit=case.vary(2, 1, 100), kept=kept)
    case.saw(KEPT)
    case.expect("events made small", len(log) - len(kept), report.events)
    case.expect("all runs between kept events", _runs(log, kept), _runs(case.log_of(worker), kept))
    again = worker.prune(limit=100, kept=kept)
    case.expect("what is left to prune", 0, again.events)
    case.settle()
    case.settle(HOURLY, page=case.vary(1, 100))


def _runs(log: Sequence[RecordedEvent], kept: Sequence[Position]) -> list[object]:
    """Return the kept events of a log, and what the events between them come to."""
    runs: list[object] = []
    part: list[RecordedEvent] = []
    for one in log:
        if one.position in kept:
            runs += [cells_of(part), one]
            part = []
        else:
            part.append(one)
    return [*runs, cells_of(part)]


@check(
    "PRUNE-06",
    "kept_events",
    "events that are not old enough stay, and so do all that come after one",
    witness=YOUNG,
    needs=["prune", "keeps_time"],
)
def prune_06(case: AnyCase) -> None:
    """Times of recording that rise, are tied, or step back."""
    worker = case.client("fold")
    minutes = case.vary((0, 1, 2, 3), (0, 0, 2, 2), (1, 3, 0, 2), (0, 2, 1, 1))
    for minute in minutes:
        case.clock.now = NOON + timedelta(minutes=minute)
        worker.append(*case.downloads("aa"))
    worker.drain()
    bound = case.pick(0, 1, 2, 3, 4)
    log = case.log_of(worker)
    old = next((2 * n for n, minute in enumerate(minutes) if minute >= bound), len(log))
    report = worker.prune(before=NOON + timedelta(minutes=bound), limit=case.vary(3, 1, 100))
    if 0 < old < len(log):
        case.saw(YOUNG)
    case.expect("events made small", old, report.events)
    case.expect("the events that stay", log[old:], case.log_of(worker)[report.records :])
    case.settle()


@check(
    "PRUNE-07",
    "known_readers",
    "the log knows who reads it, from register to retire, and how far each has come",
    witness=TOLD,
    needs=["prune"],
)
def prune_07(case: AnyCase) -> None:
    """Each call is asked what it changes of the list."""
    client, other = case.client("one"), case.client("other")
    client.append(*case.downloads("abc"))
    first, second, third = _places(client)
    _expect_readers(case, other, {})
    client.log.register("r")
    client.log.register("s/rebuild")
    _expect_readers(case, other, {"r": None, "s/rebuild": None})
    client.log.report("r", second)
    client.log.report("t", first)
    places: dict[str, Position | None] = {"r": second.position, "s/rebuild": None}
    places["t"] = first.position
    _expect_readers(case, other, places)
    case.saw(TOLD)
    match case.pick("back", "on", "again", "retire", "elsewhere", "nonsense", "drain"):
        case "back":
            other.log.report("r", first)
        case "on":
            other.log.report("r", third)
            places["r"] = third.position
        case "again":
            other.log.register("r")
            places["r"] = None
        case "retire":
            case.expect("retire() of a reader", True, other.log.retire("r"))
            case.expect("retire() of no reader", False, other.log.retire("r"))
            del places["r"]
        case "elsewhere":
            for wrong in (
                attrs.evolve(third, epoch="another"),
                attrs.evolve(third, fingerprint=third.fingerprint ^ 1),
                attrs.evolve(third, position=Position((*third.position, 0))),
            ):
                case.raises(
                    HistoryChangedError,
                    partial(other.log.report, "r", wrong),
                    "a report of a place of another log",
                )
        case "nonsense":
            for name in ("", "\0", "r" * 1_001):
                case.raises(
                    InvalidBoundError,
                    partial(other.log.register, name),
                    f"register() of {name[:9]!r}",
                )
        case _:
            other.drain(page=2)
            places[SKILL_STATS.name] = third.position
    _expect_readers(case, client, places)


def _expect_readers(case: AnyCase, client: Handle, places: dict[str, Position | None]) -> None:
    found = {reader.name: reader.position for reader in client.log.readers()}
    case.expect("readers()", dict(sorted(places.items())), found)
    case.expect("the order of readers()", sorted(found), list(found))


@check(
    "PRUNE-08",
    "slowest_reader",
    "a log that nobody reads, or that one has yet to read, is left as it is",
    witness=NOBODY,
    needs=["prune"],
)
def prune_08(case: AnyCase) -> None:
    """No reader was ever there, the last one was retired, or one begins."""
    client = case.client("one")
    client.append(*case.downloads("abc"))
    what = case.pick("none", "retired", "begins")
    if what == "retired":
        client.drain()
        client.log.retire(SKILL_STATS.name)
    if what == "begins":
        client.drain()
        client.log.register("another")
    log = case.log_of(client)
    for compact in (
        partial(client.log.compact, before=None, limit=2),
        partial(client.log.compactable, None, before=None, limit=2),
    ):
        if what == "begins":
            case.expect("a segment", None, compact())
        else:
            case.raises(NoReadersError, compact, "a compaction without readers")
    case.saw(NOBODY)
    case.expect("the log", log, case.log_of(client))
    case.settle()


@check(
    "PRUNE-09",
    "whole_segments",
    "what was made small stays as it is, however often the log is pruned",
    witness=AGAIN,
    needs=["prune"],
)
def prune_09(case: AnyCase) -> None:
    """A log grows, is folded and pruned, again and again; a reader of its records keeps up."""
    worker, late = case.client("fold"), case.client("late", HOURLY)
    limit, page = case.vary(2, 100), case.vary(1, 2, 100)
    small: list[RecordedEvent] = []
    for number in range(case.scope(7, 13)):
        worker.append(*case.downloads("aab"), case.event("a", at=NOON - timedelta(hours=number)))
        worker.drain()
        report = worker.prune(limit=limit)
        log = case.log_of(worker)
        case.expect("what was made small before", small, log[: len(small)])
        case.expect("events made small", 4, report.events)
        small = log
    case.saw(AGAIN)
    late.drain(page=page, max_events=1)
    worker.append(*case.downloads("c"))
    worker.drain()
    case.expect("events made small beyond the slowest reader", 0, worker.prune().events)
    case.observe(HOURLY)
    for projection in (SKILL_STATS, HOURLY):
        case.settle(projection, page=page)


@check(
    "PRUNE-10",
    "same_sums",
    "what events carry is summed exactly, by the names that each has",
    witness=(SMALL, BEYOND),
    needs=["prune"],
)
def prune_10(case: AnyCase) -> None:
    """Sums beyond 64 bits on the way or in the end, large odd numbers, and unlike names."""
    worker = case.client("fold", ONCE)
    amounts = case.pick(
        (MAX_INTEGER, MAX_INTEGER, 1),
        (MIN_INTEGER, -1, MAX_INTEGER),
        (MAX_INTEGER, MIN_INTEGER, MAX_INTEGER),
        (2**53 + 1, 2**53 + 1, 1),
        (0, 0, 0),
        (7, 7, 7),
    )
    events = [
        case.event("a", "install_clear", deltas={"all_time": amount, "current": -1})
        for amount in amounts
    ]
    worker.append(*events)
    worker.log.report("somebody", _places(worker)[-1])
    segments = _pruned(worker, limit=case.pick(2, 3, 100))
    if any(abs(sum(part)) > MAX_INTEGER for part in (amounts, amounts[:2], amounts[1:])):
        case.saw(BEYOND)
    case.saw(SMALL)
    case.expect("events made small", len(events), sum(one.events for one in segments))
    found, wanted = cells_of(case.log_of(worker)), cells_of(events)
    case.expect("what the events carry", wanted, found)


def _pruned(client: Handle, limit: int, upto: Position | None = None) -> list[Segment]:
    """Make all small that is read, without the stats, and return the segments."""
    client.prunes()
    found: list[Segment] = []
    while (segment := client.log.compact(before=None, limit=limit, upto=upto)) is not None:
        found.append(segment)
    return found


@check(
    "PRUNE-11",
    "same_sums",
    "events that carry unlike numbers do not stand for each other",
    witness=SMALL,
    needs=["prune"],
)
def prune_11(case: AnyCase) -> None:
    """Events of a retired kind, with deltas under one name, under two, and without any."""
    worker = case.client("fold", HOURLY)
    for deltas in case.pick(
        ({"x": 1}, {"x": 1, "y": 2}, None),
        (None, {"x": 1}, None, {"x": 2}),
        ({"x": 0}, {"y": 0}, {"x": 0}),
    ):
        worker.append(case.event("a", "gift", deltas=deltas))
    worker.drain()
    worker.prune(limit=case.pick(2, 100))
    case.saw(SMALL)
    case.settle(HOURLY)


@check(
    "PRUNE-12",
    "kept_events",
    "a plan says what a prune would do, and changes no event",
    witness=SMALL,
    needs=["prune"],
)
def prune_12(case: AnyCase) -> None:
    """A plan is made twice, then the prune; a part of the log is small before."""
    worker = case.client("fold")
    worker.append(*case.downloads("aab"))
    worker.drain()
    if case.maybe():
        worker.prune(limit=2)
    worker.append(*_mixed(case))
    worker.drain()
    log = case.log_of(worker)
    limit, kept = case.pick(1, 3, 100), case.pick((), (log[-3].position,))
    plans = [
        plan_prune(worker.log, worker.stats, before=None, limit=limit, kept=kept) for _ in range(2)
    ]
    case.expect("the log after a plan", log, case.log_of(worker))
    report = worker.prune(limit=limit, kept=kept)
    case.saw(SMALL)
    case.expect("a plan", report, plans[0])
    case.expect("a second plan", report, plans[1])


@check(
    "PRUNE-13",
    "slowest_reader",
    "stats that stand before the place they once reported are not passed",
    witness=HELD_BACK,
    needs=["prune", "copy"],
)
def prune_13(case: AnyCase) -> None:
    """The stats are those of a backup, and the log is not: it is pruned with the stats."""
    worker = case.client("fold")
    worker.append(*case.downloads("abc"))
    if case.maybe():
        worker.drain(page=1, max_events=2)
    copy = case.client("copy", site=case.copy())
    worker.drain()
    before = case.log_of(worker)
    report = prune(worker.log, copy.stats, before=None)
    case.saw(HELD_BACK)
    folded = copy.stats.cursor().count
    case.expect("events made small", folded, report.events)
    case.expect("the rest of the log", before[folded:], case.log_of(worker)[report.records :])


@check(
    "PRUNE-14",
    "same_sums",
    "a log that was made small has one beginning for every reader that comes later",
    witness=LATE_READER,
    needs=["prune"],
)
def prune_14(case: AnyCase) -> None:
    """A reader begins in a log of which a part is small, and the next prune waits for it."""
    worker, late = case.client("fold"), case.client("late", HOURLY)
    worker.append(*_mixed(case))
    worker.drain(page=3, max_events=case.vary(6, 3, 10))
    worker.prune(limit=case.vary(2, 100))
    page = case.vary(2, 1, 100)
    late.drain(page=page, max_events=case.vary(1, 3))
    case.saw(LATE_READER)
    worker.drain()
    worker.prune()
    case.observe(HOURLY)
    worker.append(*case.downloads("ab"))
    for projection in (HOURLY, SKILL_STATS):
        case.settle(projection, page=page)


@check(
    "PRUNE-22",
    "kept_events",
    "events after the bound that the caller gives stay as they are",
    witness=KEPT,
    needs=["prune"],
)
def prune_22(case: AnyCase) -> None:
    """The bound is any position, while the only reader has come to the end or not."""
    worker = case.client("fold")
    worker.append(*case.downloads("aabaaab"))
    worker.drain(page=3, max_events=case.vary(3, 7))
    read = worker.stats.cursor().count
    log = case.log_of(worker)
    number, limit = case.pick(*range(len(log))), case.vary(2, 1, 100)
    upto = log[number].position
    planned = worker.log.compactable(None, before=None, limit=limit, upto=upto)
    small = min(read, number + 1)
    case.expect("events in the first segment of a plan", min(small, limit), _events(planned))
    segments = _pruned(worker, limit=limit, upto=upto)
    case.saw(KEPT)
    case.expect("events made small", small, sum(one.events for one in segments))
    records = sum(one.records for one in segments)
    case.expect("the events after the bound", log[small:], case.log_of(worker)[records:])


def _events(segment: Segment | None) -> int:
    return 0 if segment is None else segment.events


@check(
    "PRUNE-23",
    "kept_events",
    "what lies in a quarantine stays in the log as it is",
    witness=KEPT,
    needs=["prune"],
)
def prune_23(case: AnyCase) -> None:
    """Events that a table cannot count are parked, among others and by themselves."""
    old = case.client("old")
    kinds = case.pick(("download", "remark", "download"), ("remark",), ("remark", "download") * 2)
    events = [case.event("a", kind) for kind in kinds]
    old.append(*events)
    old.drain(page=case.pick(1, 100), uncountable=Uncountable.PARK)
    old.prune(limit=case.pick(1, 100))
    parked = [event for event in events if event.kind == "remark"]
    found = [one.event for one in case.log_of(old) if one.event.kind == "remark"]
    case.saw(KEPT)
    case.expect("events of the log that lie in quarantine", parked, found)
    case.observe()
    new = case.client("new", REMARKED)
    new.drain()
    case.expect("what lies in quarantine now", 0, new.stats.cursor().parked)
    new.prune()
    case.settle(REMARKED)
    case.settle(HOURLY_REMARKED)


@check(
    "PRUNE-24",
    "same_extent",
    "a log that was made small is measured, verified and rebuilt as before",
    witness=SMALL,
    needs=["prune", "extent", "sums", "generations"],
)
def prune_24(case: AnyCase) -> None:
    """A part is small; what was built meanwhile is no reader of the log any more."""
    worker = case.client("fold")
    worker.append(*_mixed(case))
    worker.drain(page=3, max_events=case.pick(3, 10))
    worker.prune(limit=case.pick(2, 100))
    case.saw(SMALL)
    worker.drain()
    before = worker.stats.totals()
    for found in (worker.verify(), worker.verify_fully(page=case.pick(1, 100))):
        case.expect("differences", (), found.differences)
    after = worker.rebuild(page=2).after
    case.expect("the count of the rebuilt cursor", before.cursor.count, after.count)
    case.expect("its checksum", before.cursor.checksum, after.checksum)
    case.expect("the totals", before, worker.stats.totals())
    names = [reader.name for reader in worker.log.readers()]
    case.expect("readers()", [SKILL_STATS.name], names)
    worker.prune()
    case.expect("differences after another prune", (), worker.verify().differences)
    case.settle()


CHECKS = (
    prune_01,
    prune_02,
    prune_03,
    prune_04,
    prune_05,
    prune_06,
    prune_07,
    prune_08,
    prune_09,
    prune_10,
    prune_11,
    prune_12,
    prune_13,
    prune_14,
    prune_22,
    prune_23,
    prune_24,
)

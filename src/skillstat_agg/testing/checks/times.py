"""Times: the time of occurrence chooses the bucket and nothing else; no clock orders anything."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

from skillstat_agg._buckets import Granularity
from skillstat_agg._effects import Effect
from skillstat_agg._events import Event
from skillstat_agg._projections import Projection
from skillstat_agg.testing._cases import NOON, Clock
from skillstat_agg.testing._checks import AnyCase, check
from skillstat_agg.testing._handles import Handle
from skillstat_agg.testing._numbers import bucket
from skillstat_agg.testing._steps import Violation

AT_AN_EDGE = "an event at the edge of a bucket was counted"
FAR_AWAY = "an event of long ago, or of a far future, was counted"
ANOTHER_DAY = "an event was recorded on another day than it happened"
BACKWARDS = "an event was recorded at an earlier time than the one before it"
CUT_OUT = "a part of the rollups was read"
FRACTION = "the cursor was stored at a fraction of a second"

MOMENT = timedelta(microseconds=1)

HOURLY = Projection(
    "hourly",
    {"download": Effect(counters={"downloads": 1}, rollups={"downloads": 1})},
    (Granularity.HOUR, Granularity.DAY),
)
"""Downloads by hour and by day."""


def _utc(year: int, month: int = 1, day: int = 1, hour: int = 0) -> datetime:
    return datetime(year, month, day, hour, tzinfo=timezone.utc)


FIRST, LAST = _utc(1), datetime.max.replace(tzinfo=timezone.utc)

# An hour, a day, a month, a leap day, a year, and hours at which summer time begins and ends.
EDGES = (
    _utc(2026, 3, 1, 11),
    _utc(2026, 2, 27),
    _utc(2026, 2, 1),
    _utc(2024, 2, 29),
    _utc(2024, 3, 1),
    _utc(2026, 1, 1),
    _utc(2025, 3, 30, 1),
    _utc(2025, 10, 26, 1),
    _utc(2025, 11, 2, 6),
)

FAR = (
    _utc(1970),
    _utc(1969, 12, 31, 23),
    _utc(1969, 12, 31),
    _utc(1969, 12, 30),
    _utc(1900, 2, 28, 23),
    _utc(1582, 10, 10),
    FIRST,
    _utc(1, 1, 1, 1),
    _utc(1, 1, 2),
    _utc(2038, 1, 19, 3),
    _utc(2262, 4, 12),
    _utc(9999, 12, 31, 23),
    LAST,
)


def _append(case: AnyCase, client: Handle, *events: Event) -> None:
    """Append events of whatever time, and remember them."""
    number = case.committed.begin()
    client.events.append(events, max_ahead=timedelta.max)
    case.committed.add(events, number)


@check("TIME-01", "exact", "buckets are half-open, in UTC", witness=AT_AN_EDGE)
def time_01(case: AnyCase) -> None:
    """An event happens at an edge, or a microsecond to one side; another one at the edge."""
    edge = case.pick(*EDGES)
    at = edge + case.pick(-MOMENT, timedelta(0), MOMENT)
    with _summer_time():
        _append(case, case.client("w", HOURLY), case.event("a", at=at), case.event("b", at=edge))
        _check_times(case, at, edge)
        case.settle(HOURLY, page=1)
    case.saw(AT_AN_EDGE)


def _check_times(case: AnyCase, *wanted: datetime) -> None:
    """Check that events come back with the times of occurrence that they were given."""
    found = [recorded.event.occurred_at for recorded in case.log_of(case.observer(HOURLY))]
    case.expect("occurred_at", list(map(str, wanted)), list(map(str, found)))


@contextmanager
def _summer_time() -> Iterator[None]:
    """Let this machine keep a time with a summer time, where that can be told it."""
    if not hasattr(time, "tzset"):  # pragma: no cover - Windows
        yield
        return
    before = os.environ.get("TZ")
    os.environ["TZ"] = "CET-1CEST,M3.5.0,M10.5.0/3"
    time.tzset()
    try:
        yield
    finally:
        del os.environ["TZ"]
        os.environ |= {} if before is None else {"TZ": before}
        time.tzset()


@check(
    "TIME-02",
    "exact",
    "buckets before 1970 are as long as others, and every year from 1 to 9999 counts",
    witness=FAR_AWAY,
)
def time_02(case: AnyCase) -> None:
    """An event happens at a time that some clock cannot show, or a microsecond to one side."""
    at = case.pick(*FAR)
    if at != FIRST and case.maybe():
        at -= MOMENT
    elif at != LAST and case.maybe():
        at += MOMENT
    _append(case, case.client("w", HOURLY), case.event("a", at=at), case.event("a", at=NOON))
    _check_times(case, at, NOON)
    case.settle(HOURLY)
    case.saw(FAR_AWAY)


@check(
    "TIME-03",
    "exact",
    "the bucket is that of the occurrence, whenever it is recorded and folded",
    witness=ANOTHER_DAY,
)
def time_03(case: AnyCase) -> None:
    """An event is recorded late, or ahead of its time, and folded later."""
    writer, worker = case.client("w", HOURLY), case.client("fold", HOURLY)
    minutes, hours = case.pick(0, 1, 60, 60 * 24 * 40, -60 * 23), case.pick(0, 1, 24, 24 * 400)
    at = _utc(2026, 3, 1, 23) + timedelta(minutes=59)
    case.clock.now = at + timedelta(minutes=minutes)
    writer.append(case.event("a", at=at))
    case.clock.go(hours=hours)
    worker.drain()
    (recorded,) = case.log_of(worker)
    case.expect("occurred_at", str(at), str(recorded.event.occurred_at))
    if recorded.recorded_at.date() != at.date():
        case.saw(ANOTHER_DAY)
    case.settle(HOURLY)


@check(
    "TIME-04",
    "stable_prefix",
    "clocks that go back, stand still, jump or disagree lose nothing",
    witness=BACKWARDS,
    needs=["keeps_time"],
)
def time_04(case: AnyCase) -> None:
    """Two writers with clocks of their own append in turn, and a worker folds after each."""
    apart = case.vary(timedelta(days=-1), timedelta(0), MOMENT, timedelta(hours=1))
    step = case.vary(-MOMENT, timedelta(0), timedelta(hours=-1), timedelta(days=400))
    begins = NOON, _utc(1969, 12, 31, 12), _utc(1970)
    begin = case.vary(*begins)
    clocks = Clock(begin), Clock(begin + apart)
    writers = [
        case.client(f"w{number}", clock=clock) for number, clock in enumerate(clocks, start=1)
    ]
    worker = case.client("fold", clock=clocks[1])
    for turn, skill_id in enumerate("abcd"):
        writers[turn % 2].append(case.event(skill_id, at=_utc(1960)))
        worker.drain(page=1)
        for clock in clocks:
            clock.now += step
    times = [recorded.recorded_at for recorded in case.log_of(worker)]
    if times != sorted(times):
        case.saw(BACKWARDS)
    case.settle(page=1)


@check(
    "TIME-05",
    "documented",
    "since and until cut out half-open ranges of buckets, in the order of time",
    witness=CUT_OUT,
)
def time_05(case: AnyCase) -> None:
    """Rollups of three days and of three hours are read up to, and from, every kind of time.

    They lie where the number of the bucket gets another digit, or a sign, or nowhere special.
    """
    worker = case.client("fold", HOURLY)
    granularity = case.pick(*case.scope([Granularity.HOUR], list(Granularity)))
    length = granularity.length
    noon = case.pick(NOON, _utc(1970) + 100_000 * length, _utc(1970))
    middle = bucket(noon, granularity)
    starts = [middle - length, middle, middle + length]
    worker.append(*(case.event("a", at=at) for at in (noon, starts[0], middle + length - MOMENT)))
    _append(case, worker, case.event("a", at=starts[2]), case.event("b", at=starts[1]))
    worker.drain()
    ways = (None, middle - MOMENT, middle, middle + MOMENT, middle + length, FIRST, LAST)
    since, until = case.pick(*ways) if noon is NOON else None, case.pick(*ways)
    if noon is NOON and None not in (since, until) and {since, until}.isdisjoint({FIRST, LAST}):
        zone = timezone(timedelta(hours=case.pick(0, 5.5, -8)))
        since, until = (at and at.astimezone(zone) for at in (since, until))
    rollups = worker.stats.rollups("a", granularity, since=since, until=until)
    wanted = [
        start
        for start in starts
        if (since is None or start + length > since) and (until is None or start < until)
    ]
    what = f"the buckets of {granularity.value}s from {since} until {until}"
    case.expect(what, [str(start) for start in wanted], [str(start) for start in rollups])
    case.expect("the cursor that comes with them", worker.stats.cursor(), rollups.cursor)
    if len(wanted) in (1, 2):
        case.saw(CUT_OUT)


@check(
    "TIME-06",
    "compare_and_set",
    "a cursor record comes back to the microsecond, and folding goes on from it",
    witness=FRACTION,
)
def time_06(case: AnyCase) -> None:
    """The clock shows a fraction of a second while a page is folded."""
    fraction = timedelta(microseconds=case.pick(1, 999, 1_000, 123_457, 500_000, 999_999))
    case.clock.now = case.pick(NOON, _utc(1969, 12, 31, 23)) + fraction
    worker, other = case.client("fold"), case.client("other")
    worker.append(case.event("a", at=_utc(1960, 1, 1)))
    report = worker.drain()
    cursor = other.stats.cursor()
    if case.harness.keeps_time:
        wanted, found = str(case.clock.now), str(cursor.updated_at)
        case.expect("updated_at of the stored cursor", wanted, found)
    if cursor.updated_at.microsecond:
        case.saw(FRACTION)
    for what, one in (("stored", cursor), ("read with totals", other.stats.totals().cursor)):
        if one != report.after:
            raise Violation(f"the cursor that commit returned: {report.after}", f"{what}: {one}")
    worker.append(case.event("a", at=_utc(1960, 1, 1)))
    after = other.drain()
    case.expect("conflicts of the next fold", 0, after.conflicts)
    case.settle()


CHECKS = (time_01, time_02, time_03, time_04, time_05, time_06)

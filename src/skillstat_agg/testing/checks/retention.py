"""Retention: rollups expire bucket by bucket, totals stay, and nothing brings a bucket back."""

from __future__ import annotations

from datetime import datetime, timedelta

from skillstat_agg._buckets import Granularity, bucket_of, start_of
from skillstat_agg._effects import RETIRED, Effect
from skillstat_agg._projections import SKILL_STATS, Projection
from skillstat_agg._stores import Expired
from skillstat_agg.errors import InvalidBoundError, InvalidProjectionError
from skillstat_agg.testing._cases import NOON
from skillstat_agg.testing._checks import AnyCase, check
from skillstat_agg.testing._clients import RetainingStats
from skillstat_agg.testing._handles import Handle
from skillstat_agg.testing._steps import (
    CONFLICT,
    DEATH_INSIDE,
    FAULT,
    MOVED_INSIDE,
    REFUSED,
    Violation,
)
from skillstat_agg.testing.checks.forgetting import REMARKED
from skillstat_agg.testing.checks.parking import PARK, WAVES, WRITERS

EXPIRED = "rollups have expired"
LATE = "an event was folded whose bucket has expired"
NOTHING_LEFT = "an expiry found nothing to do"
IN_STEPS = "an expiry took more than one step"

FETCHES = Projection(
    "fetch_stats",
    {
        **dict.fromkeys(SKILL_STATS.kinds, RETIRED),
        "download": Effect(counters={"fetches": 1}, rollups={"fetches": 1}),
    },
)
BARE = Projection(
    "bare_stats",
    {
        **dict.fromkeys(SKILL_STATS.kinds, RETIRED),
        "download": Effect(counters={"downloads": 1}),
    },
)
"""A table without rollups."""

HOURLY = Projection("hourly_stats", SKILL_STATS.kinds, (Granularity.HOUR, Granularity.DAY))

HOUR, DAY = Granularity.HOUR, Granularity.DAY


def _expire(client: Handle, granularity: Granularity, first: int, *, limit: int) -> Expired:
    """Do one step of an expiry, past what the kit remembers."""
    assert isinstance(client.stats, RetainingStats), "the store has no expire"
    return client.stats.expire(granularity, first, limit=limit)


def _filled(case: AnyCase, projection: Projection = HOURLY, *, skills: str = "ab") -> Handle:
    """Return a worker that has counted downloads of several skills, days and hours."""
    worker = case.client("fold", projection)
    for hours in (-25, -24, -1, 0, 1):
        at = NOON + timedelta(hours=hours)
        worker.append(*(case.event(skill_id, at=at) for skill_id in skills))
    worker.append(case.event("a", "star", at=NOON - timedelta(days=9)))
    worker.drain()
    return worker


def _at_boundaries(case: AnyCase, granularity: Granularity) -> datetime:
    """Return a time at the start of a bucket, inside it, or just before its end."""
    start = start_of(bucket_of(NOON, granularity), granularity)
    inside = case.pick(
        timedelta(0), timedelta(minutes=7), granularity.length - timedelta.resolution
    )
    return start + inside


@check(
    "RETENTION-01",
    "expired",
    "rollups of the buckets before a time go, and nothing else does",
    witness=EXPIRED,
    needs=["expire"],
)
def retention_01(case: AnyCase) -> None:
    """By hour or by day, at the borders of a bucket, in one step or in several."""
    worker = _filled(case)
    case.observer(HOURLY)
    granularity = case.pick(HOUR, DAY)
    before = _at_boundaries(case, granularity)
    cursor = worker.stats.cursor()
    limit = case.vary(100, 1, 2, 3)
    keeper = case.client("k", HOURLY)
    if case.vary(True, False):
        case.play(keeper.expiring(before, granularity, limit=limit), switches=0)
    else:
        done = keeper.expire(before, granularity, limit=limit)
        case.expect("the rows that went", 6 if granularity is HOUR else 2, done.rows)
        case.expect("the record that the last step returns", worker.stats.cursor(), done.cursor)
    case.saw(EXPIRED)
    after = worker.stats.cursor()
    if after.revision <= cursor.revision:
        raise Violation(f"a revision above {cursor.revision}", str(after.revision))
    case.expect("the place after it", cursor.place, after.place)
    case.expect(
        "the first bucket that is kept",
        {granularity.value: bucket_of(before, granularity)},
        dict(after.expired),
    )
    case.observe(HOURLY)
    case.settle(HOURLY)


@check(
    "RETENTION-02",
    "expired",
    "a later event of an expired bucket counts in the totals, and as dropped",
    witness=LATE,
    needs=["expire"],
)
def retention_02(case: AnyCase) -> None:
    """Just before the first bucket that is kept, at its start, and of kinds without rollups."""
    worker = _filled(case)
    granularity = case.pick(HOUR, DAY)
    case.client("k", HOURLY).expire(NOON, granularity)
    start = start_of(bucket_of(NOON, granularity), granularity)
    late = start - case.vary(timedelta.resolution, timedelta(days=3))
    worker.append(
        case.event("a", at=late),
        case.event("new", at=late),
        case.event("a", "star", at=late),
        case.event("a", at=start),
    )
    dropped = 0
    for _ in range(2):
        report = worker.drain(page=case.vary(1, 10))
        dropped += report.dropped["expired"]
    case.saw(LATE)
    case.expect("events dropped", 2, dropped)
    recorded = worker.stats.cursor().dropped.get("expired", 0)
    case.expect("events dropped, by the cursor record", 2, recorded)
    case.observe(HOURLY)
    case.settle(HOURLY)


@check(
    "RETENTION-03",
    "compare_and_set",
    "no commit in flight revives a bucket that expires",
    witness=CONFLICT,
    needs=["expire"],
)
def retention_03(case: AnyCase) -> None:
    """Rollups expire beside a worker, in every order of their calls."""
    worker = case.client("fold")
    old = NOON - timedelta(days=2)
    worker.append(case.event("a", at=old), case.event("b"), case.event("a", at=old))
    worker.drain(page=1, max_events=1)
    case.play(
        worker.draining(page=case.pick(1, 2)),
        case.client("k").expiring(NOON, limit=1),
        switches=2,
    )
    worker.append(case.event("a", at=old), *case.downloads("a"))
    case.settle()


@check(
    "RETENTION-04",
    "expired",
    "an expiry that dies has done some of its steps, each of them whole",
    witness=(DEATH_INSIDE, FAULT),
    needs=["expire", "io"],
)
def retention_04(case: AnyCase) -> None:
    """The client dies, or its I/O fails, at any point of a step; it is repeated later."""
    worker = case.client("fold")
    old = [NOON - timedelta(days=days) for days in (3, 2)]
    worker.append(*(case.event("a", at=at) for at in (*old, NOON)))
    worker.drain()
    dies = case.maybe()
    case.play(
        case.client("k").expiring(NOON, limit=1),
        switches=0,
        deaths=int(dies),
        faults=int(not dies),
        into=("expire",),
    )
    case.observe()
    worker.append(case.event("a", at=old[0]), case.event("b"))
    worker.drain()
    case.observe()
    case.client("again").expire(NOON)
    case.settle()


@check(
    "RETENTION-05",
    "expired",
    "an expiry that finds nothing to do writes nothing, and never goes back",
    witness=NOTHING_LEFT,
    needs=["expire"],
)
def retention_05(case: AnyCase) -> None:
    """The same time comes again, or an earlier one."""
    worker = _filled(case, SKILL_STATS)
    worker.expire(NOON)
    cursor, raw = worker.stats.cursor(), case.raw()
    case.clock.go(days=1)
    earlier = case.pick(timedelta(0), timedelta(days=1), timedelta(days=400))
    again = case.pick(worker, case.client("k"))
    done = again.expire(NOON - earlier)
    case.saw(NOTHING_LEFT)
    case.expect("what it did", Expired(cursor=cursor, rows=0, is_last=True), done)
    case.expect("the cursor after it", cursor, worker.stats.cursor())
    if case.raw() != raw:
        raise Violation("an expiry that finds nothing to write nothing", "what is stored changed")
    worker.append(case.event("a", at=NOON - timedelta(days=1)))
    case.settle()


@check(
    "RETENTION-06",
    "expired",
    "a step deletes whole buckets, the oldest first, and no more rows than it was told",
    witness=IN_STEPS,
    needs=["expire"],
)
def retention_06(case: AnyCase) -> None:
    """Buckets of one, two and three rows; the record says after each step where it has come to."""
    worker = case.client("fold")
    days = {5: "a", 4: "ab", 3: "abc", 1: "a", 0: "ab"}
    for ago, skills in days.items():
        at = NOON - timedelta(days=ago)
        worker.append(*(case.event(skill_id, at=at) for skill_id in skills))
    worker.drain()
    today = bucket_of(NOON, DAY)
    limit = case.pick(1, 2, 3, 4, 6, 7, 100)
    left = {today - ago: len(skills) for ago, skills in days.items() if ago}
    for _ in range(len(days)):
        # As many of the oldest buckets as fit, and one at least.
        wanted, end = 0, today
        for bucket in sorted(left):
            if wanted and wanted + left[bucket] > limit:
                end = bucket
                break
            wanted += left.pop(bucket)
        cursor = worker.stats.cursor()
        done = _expire(worker, DAY, today, limit=limit)
        case.expect("the rows of a step", wanted, done.rows)
        case.expect("whether it was the last", not left, done.is_last)
        case.expect("its revision", cursor.revision + 1, done.cursor.revision)
        case.expect("the record that it returns", worker.stats.cursor(), done.cursor)
        first = done.cursor.expired["day"]
        case.committed.expired["skill_stats", "day"] = first
        if not (first == today if not left else today - 5 < first <= end):
            raise Violation(f"the first day that is kept = {end}", str(first))
        case.observe()
        if not left:
            break
        case.saw(IN_STEPS)
    case.settle()


@check(
    "RETENTION-07",
    "expired",
    "nobody sees a part of a step, and what lands in the middle of it stays",
    witness=(MOVED_INSIDE, REFUSED),
    needs=["expire", "io"],
)
def retention_07(case: AnyCase) -> None:
    """A commit, a forget, or somebody who looks, comes in the middle of a step."""
    worker = case.client("fold")
    old = NOON - timedelta(days=2)
    worker.append(case.event("a", at=old), case.event("b", at=old), case.event("a"))
    worker.drain(max_events=2, page=2)
    other = case.client("f").forgetting("a") if case.maybe() else worker.draining()
    case.play(
        case.client("k").expiring(NOON),
        other,
        switches=1,
        inside=1,
        into=("expire",),
    )
    case.observe()
    worker.append(case.event("a", at=old), case.event("b"))
    case.settle()


@check(
    "RETENTION-08",
    "expired",
    "rollups expire in one projection, and the others keep theirs",
    witness=EXPIRED,
    needs=["expire"],
)
def retention_08(case: AnyCase) -> None:
    """Another projection has counted the same events, and goes on counting."""
    worker = _filled(case, SKILL_STATS)
    two = case.client("fetches", FETCHES)
    two.drain()
    before = two.stats.cursor()
    worker.expire(NOON, limit=case.pick(1, 100))
    case.saw(EXPIRED)
    case.expect("the cursor of the other projection", before, two.stats.cursor())
    worker.append(case.event("a", at=NOON - timedelta(days=1)))
    for projection in (SKILL_STATS, FETCHES):
        case.observe(projection)
        case.settle(projection)


@check(
    "RETENTION-12",
    "forgotten",
    "a skill is forgotten before or after its rollups expire",
    witness=EXPIRED,
    needs=["expire"],
)
def retention_12(case: AnyCase) -> None:
    """The control totals come right, and a late event is dropped for one reason."""
    worker = _filled(case, SKILL_STATS)
    forgets = case.pick("before", "after", "never")
    if forgets == "before":
        worker.forget("a")
    worker.expire(NOON, limit=case.pick(1, 100))
    case.saw(EXPIRED)
    if forgets == "after":
        worker.forget("a")
    late = NOON - timedelta(days=1)
    worker.append(case.event("a", at=late), case.event("b", at=late))
    case.observe()
    case.settle()
    dropped = worker.stats.cursor().dropped
    wanted = {"expired": 2} if forgets == "never" else {"forgotten": 1, "expired": 1}
    case.expect("events dropped, by reason", wanted, dict(dropped))


@check(
    "RETENTION-09",
    "expired",
    "what was parked and is taught later does not revive a bucket",
    witness=LATE,
    needs=["expire"],
)
def retention_09(case: AnyCase) -> None:
    """A wave of an expired day counts in the totals, and as dropped."""
    writer, worker = case.client("w", WRITERS), case.client("fold")
    case.observer()
    old = NOON - timedelta(days=2)
    writer.append(case.event("a", "wave", at=old), case.event("a", "wave"))
    worker.drain(uncountable=PARK)
    worker.expire(NOON)
    writer.append(*case.downloads("a" * case.pick(0, 1)))
    new = case.client("new", WAVES)
    new.drain(uncountable=PARK)
    case.saw(LATE)
    case.expect("events dropped", 1, new.stats.cursor().dropped.get("expired", 0))
    for projection in (SKILL_STATS, WAVES):
        case.observe(projection)
    case.settle(WAVES)


@check(
    "RETENTION-10",
    "expired",
    "a program with an older table expires what the newer one counted, too",
    witness=EXPIRED,
    needs=["expire"],
)
def retention_10(case: AnyCase) -> None:
    """The newer table has taken the stats over; the older or the newer program expires."""
    old, new = case.client("old"), case.client("new", REMARKED)
    ago = NOON - timedelta(days=2)
    new.append(
        case.event("a", at=ago), case.event("a", "remark", at=ago), case.event("b", "remark")
    )
    new.drain()
    case.pick(old, new).expire(NOON)
    case.saw(EXPIRED)
    case.observe(REMARKED)
    case.settle(REMARKED)


@check(
    "RETENTION-11",
    "documented",
    "what cannot expire is refused, and nothing is written",
    witness=EXPIRED,
    needs=["expire"],
)
def retention_11(case: AnyCase) -> None:
    """A granularity that the projection has not, a limit below 1; a table without rollups."""
    worker = _filled(case, SKILL_STATS)
    cursor, raw, today = worker.stats.cursor(), case.raw(), bucket_of(NOON, DAY)
    case.raises(InvalidProjectionError, lambda: _expire(worker, HOUR, today, limit=1), "by hour")
    case.raises(InvalidBoundError, lambda: _expire(worker, DAY, today, limit=0), "limit=0")
    if case.raw() != raw:
        raise Violation("a refusal to write nothing", "what is stored has changed")
    case.expect("the cursor after it", cursor, worker.stats.cursor())
    none = case.client("bare", BARE)
    none.drain()
    done = none.expire(NOON)
    case.saw(EXPIRED)
    case.expect("the rows of a table without rollups", (0, True), (done.rows, done.is_last))


CHECKS = (
    retention_01,
    retention_02,
    retention_03,
    retention_04,
    retention_05,
    retention_06,
    retention_07,
    retention_08,
    retention_09,
    retention_10,
    retention_11,
    retention_12,
)

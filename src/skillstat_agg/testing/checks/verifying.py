"""Verify: it finds each number that is wrong, none where none is, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import attrs

from skillstat_agg import aio
from skillstat_agg._buckets import Granularity
from skillstat_agg._commits import CHECKSUM_RANGE, Commit
from skillstat_agg._effects import Effect
from skillstat_agg._events import MAX_INTEGER, MIN_INTEGER, Place, Position
from skillstat_agg._folding import drain
from skillstat_agg._generations import Difference
from skillstat_agg._projections import SKILL_STATS, Projection
from skillstat_agg._verifying import VerifyReport
from skillstat_agg.errors import (
    GenerationBehindError,
    HistoryChangedError,
    NotBuildingError,
    StoreBusyError,
)
from skillstat_agg.testing._cases import NOON
from skillstat_agg.testing._checks import AnyCase, check
from skillstat_agg.testing._clients import SteppedEvents, SteppedStats
from skillstat_agg.testing._comparing import EVERYTHING
from skillstat_agg.testing._handles import Actor, Handle
from skillstat_agg.testing._numbers import bucket
from skillstat_agg.testing._steps import DEATH, DEATH_INSIDE, MOVED_INSIDE, Violation
from skillstat_agg.testing.checks.forgetting import HOURLY
from skillstat_agg.testing.checks.rebuilding import (
    doubled,
    invented,
    lie,
    lost,
    miscounted,
    shifted,
)

MEASURED = "a log was measured up to a place"
REFUSED = "a log was not measured, since it is another one"
ADDED = "rows were added up"
FOUND = "numbers that are wrong were verified"
RIGHT = "numbers that are right were verified"
BESIDE = "a worker has folded while numbers were verified"
LEFT_OUT = "there were more differences than were asked for"

RETRACTED = Projection(
    "retracted_stats",
    {
        "download": Effect(counters={"downloads": 1}, rollups={"downloads": 1}),
        "star": Effect(counters={"stars": 1}),
        "unstar": Effect(counters={"downloads": -1}, rollups={"downloads": -1}),
    },
    (Granularity.HOUR, Granularity.DAY),
)
"""A table whose rollups come back to zero."""

DAY = bucket(NOON, Granularity.DAY)


def mismarked(commit: Commit) -> Commit:
    """Return a commit with another checksum than that of its events."""
    return attrs.evolve(commit, checksum=(commit.checksum + 1) % CHECKSUM_RANGE)


def _places(client: Handle) -> list[Place]:
    page = client.events.read(None, limit=EVERYTHING)
    return [Place(page.epoch, one.position, one.fingerprint) for one in page.events]


@check(
    "VERIFY-01",
    "same_extent",
    "count and checksum up to a place are those of the events that are read up to it",
    witness=MEASURED,
    needs=["extent"],
)
def verify_01(case: AnyCase) -> None:
    """At every place, with later events behind it, and with appends held open."""
    client = case.client("w")
    client.append(*case.downloads("abcab"))
    if client.can_begin and case.maybe():
        client.append(*case.downloads("a"))
        case.client("w2").begin()
    log = case.log_of(client)
    number = case.pick(*range(len(log)))
    extent = client.events.extent(_places(client)[number])
    case.saw(MEASURED)
    marks = [recorded.fingerprint for recorded in log[: number + 1]]
    case.expect("the count", len(marks), extent.count)
    case.expect("the checksum", sum(marks) % CHECKSUM_RANGE, extent.checksum)


@check(
    "VERIFY-02",
    "same_extent",
    "a log is not measured up to a place of another history",
    witness=REFUSED,
    needs=["extent"],
)
def verify_02(case: AnyCase) -> None:
    """Another epoch, another fingerprint, and a place where no event stands."""
    client = case.client("w")
    client.append(*case.downloads("abc"))
    place = _places(client)[case.pick(0, 2)]
    what, other = case.pick(
        ("another epoch", attrs.evolve(place, epoch="another")),
        ("another fingerprint", attrs.evolve(place, fingerprint=place.fingerprint ^ 1)),
        ("no event there", attrs.evolve(place, position=Position((*place.position, 0)))),
    )
    case.saw(REFUSED)
    case.raises(HistoryChangedError, lambda: client.events.extent(other), f"extent() with {what}")


@check(
    "VERIFY-03",
    "true_sums",
    "sums are those of the rows, with the record of the same moment",
    witness=ADDED,
    needs=["sums"],
)
def verify_03(case: AnyCase) -> None:
    """No row, several rows, negative sums, and sums beyond 64 bits; every granularity."""
    projection = case.pick(SKILL_STATS, HOURLY)
    client = case.client("w", projection)
    client.append(*case.downloads("abca"), case.event("b", "unstar"))
    most = case.pick(0, MAX_INTEGER, MIN_INTEGER, 2**53 + 1)
    for skill in "abcd" if most else "":
        deltas = {"all_time": most, "current": -1}
        client.append(case.event(skill, "install_clear", deltas=deltas))
    if not case.maybe():
        client.drain()
    sums = client.stats.sums()
    case.saw(ADDED)
    case.expect("the record", client.stats.cursor(), sums.cursor)
    case.expect("the sums", _added_up(client), dict(sums.controls))


def _added_up(client: Handle) -> dict[str, int]:
    """Return the sums of all rows that a client is shown."""
    projection, totals = client.stats.projection, client.stats.totals()
    sums = dict.fromkeys(projection.controls, 0)
    for skill, row in totals.items():
        for name, value in row.items():
            sums[name] += value
        for each in projection.granularities:
            for cells in client.stats.rollups(skill, each).values():
                for name, value in cells.items():
                    sums[f"{each.value}.{name}"] += value
    return sums


@check(
    "VERIFY-04",
    "same_extent",
    "a verify finds a cursor that does not fit its log, and nothing where it does",
    witness=(FOUND, RIGHT),
    needs=["extent", "sums"],
)
def verify_04(case: AnyCase) -> None:
    """A count or a checksum that is wrong; a cursor at the start, in the middle, at the end."""
    client = case.client("w")
    client.append(*case.downloads("abab"))
    folded = case.pick(4, 2, 0)
    if folded:
        client.drain(page=2, max_events=folded)
    report = client.verify()
    case.saw(RIGHT)
    case.expect("differences", (), report.differences)
    case.expect("the record", client.stats.cursor(), report.cursor)
    client.append(*case.downloads("a"))
    lie(case, client, case.pick(miscounted, mismarked))
    case.saw(FOUND)
    log = case.log_of(client)
    checksum = sum(one.fingerprint for one in log) % CHECKSUM_RANGE
    stored = client.stats.cursor()
    wanted = [
        Difference(name=name, expected=expected, actual=actual)
        for name, expected, actual in (
            ("cursor.count", len(log), stored.count),
            ("cursor.checksum", checksum, stored.checksum),
        )
        if expected != actual
    ]
    case.expect("the number of lies", 1, len(wanted))
    case.expect("differences", tuple(wanted), client.verify().differences)


WRONG: tuple[tuple[Callable[[Commit], Commit], frozenset[str]], ...] = (
    (lost, frozenset({"controls.downloads", "controls.day.downloads", "downloads a", "day a"})),
    (
        doubled,
        frozenset(
            {
                "controls.downloads",
                "controls.day.downloads",
                "downloads a",
                "downloads b",
                "day a",
                "day b",
            }
        ),
    ),
    (shifted, frozenset({"day a", "day b", "day a before", "day b before"})),
    (invented, frozenset({"controls.downloads", "controls.day.downloads", "downloads x", "day x"})),
    (miscounted, frozenset({"cursor.count"})),
    (mismarked, frozenset({"cursor.checksum"})),
)
"""Ways to be wrong, each with what must be found of it."""


def _named(one: Difference) -> str:
    """Return what a difference is called here."""
    if one.skill_id is None:
        return one.name
    if one.start is None:
        return f"{one.name} {one.skill_id}"
    when = "" if one.start == DAY else " before" if one.start < DAY else " after"
    return f"{one.name.partition('.')[0]} {one.skill_id}{when}"


@check(
    "VERIFY-05",
    "differences",
    "a full verify finds each number that is wrong, names it, and changes nothing",
    witness=FOUND,
    needs=["generations"],
)
def verify_05(case: AnyCase) -> None:
    """Skills that were left out, doubled or invented, rows in other buckets, wrong records."""
    client = case.client("w")
    client.append(*case.downloads("b"))
    if case.vary(True, False):
        client.drain()
    client.append(*case.downloads("aab"))
    lies, names = case.pick(*WRONG)
    lie(case, client, lies)
    client.append(*case.downloads("a"))
    before = client.stats.totals()
    report = client.verify_fully(page=case.vary(1, 100))
    case.saw(FOUND)
    case.expect("what differs", sorted(names), sorted(map(_named, report.differences)))
    _check_values(case, client, report)
    case.expect("whether that is all", True, report.is_complete)
    case.expect("the record that was verified", before.cursor, report.cursor)
    _check_untouched(case, client, before)


def _check_values(case: AnyCase, client: Handle, report: VerifyReport) -> None:
    """Check that each difference of a skill tells what is stored, and what is in the log."""
    place = report.cursor.place
    assert place is not None
    log = [one.event for one in case.log_of(client) if one.position <= place.position]
    totals = client.stats.totals()
    for one in report.differences:
        if one.skill_id is None:
            continue
        skill = one.skill_id
        right = sum(event.skill_id == skill for event in log)
        if one.start is None:
            stored = totals.get(skill)
            actual = None if stored is None else stored["downloads"]
            expected = right or None
        else:
            stored = client.stats.rollups(skill, Granularity.DAY).get(one.start)
            actual = 0 if stored is None else stored["downloads"]
            expected = right if one.start == DAY else 0
        found = one.expected, one.actual
        if one.start is not None:  # a row of zeros may be absent
            found = one.expected or 0, one.actual or 0
        case.expect(f"{_named(one)}: expected, actual", (expected, actual), found)


def _check_untouched(case: AnyCase, client: Handle, before: object) -> None:
    """Check that a verify has changed nothing, and left nothing behind."""
    after = client.stats.totals()
    case.expect("the totals after it", before, after)
    case.expect("the record after it", getattr(before, "cursor", None), after.cursor)
    _check_nothing_left(case, client, _built(case))


def _built(case: AnyCase) -> set[str]:
    """Return the names of all numbers that were begun to be built."""
    return {str(step.given) for step in case.record.steps if step.what == "building"}


def _check_nothing_left(case: AnyCase, client: Handle, names: Iterable[str]) -> None:
    """Check that what verifies have built under these names was dropped."""
    for name in names:
        case.expect("discard() after a verify", False, client.stats.discard(name))


@check(
    "VERIFY-06",
    "differences",
    "a full verify finds nothing where nothing is wrong",
    witness=RIGHT,
    needs=["generations"],
)
def verify_06(case: AnyCase) -> None:
    """Rows of zeros, negative sums, forgotten skills, every granularity; a part is folded."""
    projection = case.vary(SKILL_STATS, HOURLY, RETRACTED)
    client = case.client("w", projection)
    taken_back = "unstar" if projection is RETRACTED else "download"
    client.append(
        *case.downloads("aba"),
        case.event("b", taken_back),
        case.event("c", "star"),
        case.event("c", "unstar"),
        case.event("d", "unstar", at=NOON.replace(hour=23, day=28, month=2)),
    )
    folded = case.vary(None, 0, 3)
    if folded != 0:
        client.drain(page=1, max_events=folded)
    if case.vary(False, True):
        client.forget("a")
        client.append(*case.downloads("ab"))
        client.drain()
    before = client.stats.totals()
    report = client.verify_fully(page=case.vary(100, 1))
    case.saw(RIGHT)
    case.expect("differences", (), report.differences)
    case.expect("the record that was verified", before.cursor, report.cursor)
    _check_untouched(case, client, before)
    case.settle(projection)


@check(
    "VERIFY-07",
    "differences",
    "no more differences are listed than were asked for, and that is said",
    witness=LEFT_OUT,
    needs=["generations"],
)
def verify_07(case: AnyCase) -> None:
    """Every limit around the number of differences in the rows."""
    client = case.client("w")
    client.append(*case.downloads("aabc"))
    client.append(*case.downloads("b"))
    lie(case, client, doubled)
    numbers = client.stats.building("x")
    drain(client.events, numbers)
    every = client.stats.differences("x", limit=1_000)
    case.expect("differences", 6, len(every.differences))
    case.expect("whether that is all", True, every.is_complete)
    limit = case.pick(*range(1, 8))
    some = client.stats.differences("x", limit=limit)
    if limit < 6:
        case.saw(LEFT_OUT)
    case.expect("differences", every.differences[:limit], some.differences)
    case.expect("whether that is all", limit >= 6, some.is_complete)
    records = (client.stats.cursor(), numbers.cursor())
    case.expect("the records", records, (some.serving, some.building))


@check(
    "VERIFY-08",
    "differences",
    "a full verify beside workers and writers finds nothing that is not there",
    witness=BESIDE,
    needs=["generations"],
)
def verify_08(case: AnyCase) -> None:
    """A verify, a worker and somebody who forgets, in every order of their calls."""
    worker, verifier = case.client("fold"), case.client("v")
    worker.append(*case.downloads("aba"))
    worker.drain(page=1, max_events=1)
    reports: list[VerifyReport] = []
    others: tuple[Actor[Any], ...] = (
        worker.draining(page=1),
        case.client("f").forgetting("a"),
        case.client("v2").doing(_verify),
    )
    beside = case.pick(*case.scope(others[:2], others))

    async def keep(events: SteppedEvents, stats: SteppedStats) -> None:
        reports.extend(await _verify(events, stats))

    case.play(verifier.doing(keep), beside, switches=case.scope(1, 2))
    if any(report.cursor.count > 1 for report in reports):
        case.saw(BESIDE)
    for report in reports:
        case.expect("differences", (), report.differences)
    case.observe()
    case.settle()


async def _verify(events: SteppedEvents, stats: SteppedStats) -> list[VerifyReport]:
    """Return the report of a full verify; none where others were in the way."""
    try:
        return [await aio.verify_fully(events, stats, page=2)]
    except (StoreBusyError, NotBuildingError, GenerationBehindError):
        return []


@check(
    "VERIFY-09",
    "building",
    "a full verify that dies leaves the serving numbers alone, and the next one minds it not",
    witness=DEATH,
    needs=["generations"],
)
def verify_09(case: AnyCase) -> None:
    """The client dies before or after any call; the numbers were right, or wrong."""
    worker = case.client("fold")
    worker.append(*case.downloads("ab"))
    worker.drain()
    worker.append(*case.downloads("a"))
    is_wrong = case.maybe()
    if is_wrong:
        lie(case, worker, doubled)
    before = worker.stats.totals()
    case.play(case.client("v").doing(_verify), switches=0, deaths=1, look=False)
    case.record.wrote_stats = False
    after = worker.stats.totals()
    case.expect("the totals after it", dict(before), dict(after))
    case.expect("the record after it", before.cursor, after.cursor)
    left = _built(case)
    report = worker.verify_fully()
    case.expect("whether nothing differs", not is_wrong, report.is_ok)
    _check_nothing_left(case, worker, _built(case) - left)
    for name in left:
        worker.stats.discard(name)
    _check_nothing_left(case, worker, left)


@check(
    "VERIFY-10",
    "differences",
    "numbers and records that are compared are those of one moment",
    witness=MOVED_INSIDE,
    needs=["generations", "io"],
)
def verify_10(case: AnyCase) -> None:
    """A worker folds at any point of a comparison, or of the sums of a verify."""
    worker, verifier = case.client("fold"), case.client("v")
    worker.append(*case.downloads("ab"))
    worker.drain(page=1, max_events=1)
    drain(verifier.events, verifier.stats.building("x"), page=1, max_events=1)

    async def compare(_events: SteppedEvents, stats: SteppedStats) -> None:
        try:
            found = await stats.differences("x", limit=10)
        except StoreBusyError:
            return
        if found.serving.place == found.building.place:
            case.expect("differences at one place", (), found.differences)
        elif not found.differences:
            raise Violation("differences between unlike places", "none")

    case.play(
        verifier.doing(compare),
        worker.draining(),
        switches=1,
        inside=1,
        into=("differences",),
        look=False,
    )
    case.settle()


@check(
    "VERIFY-11",
    "true_sums",
    "sums and the record that comes with them are of one moment",
    witness=MOVED_INSIDE,
    needs=["sums", "io"],
)
def verify_11(case: AnyCase) -> None:
    """A worker folds at any point of an addition."""
    worker, verifier = case.client("fold"), case.client("v")
    worker.append(*case.downloads("ab"))
    worker.drain(page=1, max_events=1)

    async def add(_events: SteppedEvents, stats: SteppedStats) -> None:
        try:
            sums = await stats.sums()
        except StoreBusyError:
            return
        case.expect("the sums", dict(sums.cursor.controls), dict(sums.controls))

    case.play(
        verifier.doing(add),
        worker.draining(),
        switches=1,
        inside=1,
        into=("sums",),
        look=False,
    )
    case.settle()


@check(
    "VERIFY-12",
    "building",
    "a full verify that dies in the middle of a call leaves the serving numbers alone",
    witness=DEATH_INSIDE,
    needs=["generations", "io"],
)
def verify_12(case: AnyCase) -> None:
    """The client dies at any point of the beginning, the comparison or the end."""
    worker = case.client("fold")
    worker.append(*case.downloads("ab"))
    worker.drain()
    into = ("building", "differences", "discard")
    case.play(case.client("v").doing(_verify), switches=0, deaths=1, into=into, look=False)
    case.observe()
    left = _built(case)
    report = case.client("v2").verify_fully()
    case.expect("differences", (), report.differences)
    _check_nothing_left(case, worker, _built(case) - left)
    for name in left:
        worker.stats.discard(name)
        anew = worker.stats.building(name)
        drain(worker.events, anew)
        case.expect("what is built anew under that name", worker.stats.totals(), anew.totals())
        worker.stats.discard(name)
    case.settle()


CHECKS = (
    verify_01,
    verify_02,
    verify_03,
    verify_04,
    verify_05,
    verify_06,
    verify_07,
    verify_08,
    verify_09,
    verify_10,
    verify_11,
    verify_12,
)

"""Compaction as pure functions, and pruning over each store: numbers stay, whatever is cut."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from itertools import pairwise

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from skillstat_agg import (
    CHECKSUM_RANGE,
    SKILL_STATS,
    Effect,
    Event,
    Granularity,
    Place,
    Position,
    Projection,
    PruneReport,
    PruneStore,
    Quarantine,
    Reader,
    RecordedEvent,
    Segment,
    Tally,
    Uncountable,
    compacted,
    drain,
    first_part,
    fold_page,
    plan_prune,
    prune,
    rebuild,
    shown,
    slowest,
    verify,
    verify_fully,
)
from skillstat_agg._compacting import bound_of
from skillstat_agg._events import MAX_INTEGER, MIN_INTEGER
from skillstat_agg.backends.memory import MemoryDatabase, MemoryEventStore, MemoryStatsStore
from skillstat_agg.errors import (
    HistoryChangedError,
    InvalidBoundError,
    NoReadersError,
    StoreBusyError,
    StoreContractError,
)
from tests.logs import NOON, download, event_logs
from tests.sites import SITES

LATER = Projection(
    "later_stats",
    {"download": Effect(counters={"fetches": 1}, rollups={"fetches": 1})},
    (Granularity.HOUR,),
)

REMARKED = Projection(
    SKILL_STATS.name, {**SKILL_STATS.kinds, "remark": Effect(counters={"remarks": 1})}
)
LATER_PARKED = Projection("later_stats", SKILL_STATS.kinds)

in_every_site = pytest.mark.parametrize("site_of", SITES.values(), ids=SITES)


def recorded(log: Sequence[Event]) -> list[RecordedEvent]:
    """Return a log as a store would hold it."""
    return [
        RecordedEvent(
            position=Position((number,)),
            event=event,
            recorded_at=NOON + timedelta(seconds=-number if number % 3 else number),
            fingerprint=(number * 2_654_435_761) % 2**32,
        )
        for number, event in enumerate(log, start=1)
    ]


def clear(amount: int) -> Event:
    deltas = {"all_time": amount, "current": -1}
    return Event(skill_id="a", kind="install_clear", occurred_at=NOON, deltas=deltas)


def remark(skill_id: str = "a") -> Event:
    return Event(skill_id=skill_id, kind="remark", occurred_at=NOON)


# What stands for events


@given(log=event_logs(min_size=1), marks=st.integers(0, 2**32 - 1))
@example(log=[clear(MAX_INTEGER), clear(1), clear(MIN_INTEGER), clear(MIN_INTEGER)], marks=0)
def test_compacted_events_stand_for_what_they_replace(log, marks):
    """For any log: the tallies, the number, the fingerprints and the end are the same."""
    events = recorded(log)

    made = compacted(events, [marks] * len(events))

    for granularity in Granularity:
        assert Tally.of_recorded(made, granularity) == Tally.of(log, granularity)
    assert sum(one.count for one in made) == len(log)
    assert sum(one.checksum for one in made) % CHECKSUM_RANGE == (
        sum(one.fingerprint for one in events) % CHECKSUM_RANGE
    )
    assert (made[-1].position, made[-1].fingerprint) == (
        events[-1].position,
        events[-1].fingerprint,
    )
    assert max(one.recorded_at for one in made) == max(one.recorded_at for one in events)


@given(log=event_logs(min_size=1), marks=st.integers(0, 2**32 - 1))
def test_no_place_inside_of_a_segment_stays(log, marks):
    """Each is at another position, or has another fingerprint, also if that is drawn again."""
    events = recorded(log)
    before = {one.position: one.fingerprint for one in events}

    made = compacted(events, [marks] * len(events))

    assert all(one.position < other.position for one, other in pairwise(made))
    assert all(one.fingerprint != before[one.position] for one in made[:-1])
    assert all(0 <= one.fingerprint < 2**32 for one in made)


@given(log=event_logs(min_size=1))
def test_a_group_is_one_event(log):
    """As long as its sums fit, which these do."""
    made = compacted(recorded(log), range(len(log)))

    groups = {
        (event.skill_id, event.kind, event.occurred_at.replace(minute=0, second=0, microsecond=0))
        for event in log
    }
    assert {(one.event.skill_id, one.event.kind, one.event.occurred_at) for one in made} == groups
    assert len(made) == len(groups)


def test_sums_beyond_64_bits_are_cut():
    """No event that a store could not hold is made."""
    log = [clear(MAX_INTEGER), clear(1), clear(-5), clear(MAX_INTEGER)]

    made = compacted(recorded(log), [7] * len(log))

    assert [one.event.deltas for one in made] == [
        {"all_time": MAX_INTEGER, "current": -1},
        {"all_time": MAX_INTEGER - 4, "current": -3},
    ]
    assert [(one.position, one.count) for one in made] == [((1,), 1), ((4,), 3)]


@given(
    log=event_logs(),
    upto=st.integers(0, 13),
    young=st.none() | st.integers(-13, 13),
    limit=st.integers(1, 13),
    kept=st.sets(st.integers(1, 12)),
)
def test_a_part_has_no_hole(log, upto, young, limit, kept):
    """It is the longest run from the first event that is not kept."""
    events = recorded(log)
    before = None if young is None else NOON + timedelta(seconds=young)
    positions = {Position((number,)) for number in kept}

    part = first_part(events, upto=Position((upto,)), before=before, limit=limit, kept=positions)

    wanted: list[RecordedEvent] = []
    for one in events:
        if one.position in positions and not wanted:
            continue
        is_young = before is not None and one.recorded_at >= before
        if one.position in positions or is_young or one.position > (upto,) or len(wanted) == limit:
            break
        wanted.append(one)
    assert list(part) == wanted


def test_the_slowest_reader_is_the_bound():
    readers = [
        Reader(name=name, position=position, reported_at=NOON)
        for name, position in (("b", Position((2,))), ("a", Position((10,))), ("c", None))
    ]

    assert slowest(readers).name == "c"
    assert slowest(readers[:2]).name == "b"
    assert bound_of(readers, Position((1,))) is None
    assert bound_of(readers[:2], None) == Position((2,))
    assert bound_of(readers[:2], Position((1,))) == Position((1,))
    assert bound_of(readers[:2], Position((3,))) == Position((2,))
    with pytest.raises(NoReadersError):
        slowest([])


def test_a_compacted_event_is_kept_as_one_text():
    (one,) = compacted(recorded([clear(1), clear(2)]), [5, 5])

    assert RecordedEvent.from_json(one.to_json()) == one
    assert "count" not in recorded([download()])[0].to_json()


# Over stores


def log_of(client) -> PruneStore:
    assert isinstance(client.events, PruneStore)
    return client.events


@in_every_site
def test_a_log_as_it_comes_is_pruned_and_counted_anew(site_of):
    """Ten days of downloads with ties: prune, append more, prune again, and count from scratch."""
    rnd = random.Random(11)
    start = datetime(2026, 2, 20, tzinfo=timezone.utc)

    def some(days: range) -> list[Event]:
        return [
            download(
                f"package {int(rnd.paretovariate(1)) % 30}",
                start + timedelta(days=rnd.choice(days), seconds=rnd.randrange(86_400) // 60 * 60),
            )
            for _ in range(700)
        ]

    with site_of(lambda: NOON) as site:
        client = site.client()
        parts = [some(range(5)), some(range(3, 8)), some(range(7, 10))]
        reports = []
        for part in parts:
            client.events.append(part)
            drain(client.events, client.stats, page=100)
            reports.append(prune(log_of(client), client.stats, before=None, limit=250))
        late = site.client(LATER)
        drain(late.events, late.stats, page=37)
        rest = late.events.read(None, limit=10_000).events

        wanted = Counter(event.skill_id for part in parts for event in part)
        hours = Counter(
            (event.skill_id, event.occurred_at.replace(minute=0))
            for part in parts
            for event in part
        )
        totals = late.stats.totals()
        assert {skill: row["fetches"] for skill, row in totals.items()} == wanted
        assert {skill: row["downloads"] for skill, row in client.stats.totals().items()} == wanted
        assert {
            (skill, hour): row["fetches"]
            for skill in wanted
            for hour, row in late.stats.rollups(skill, Granularity.HOUR).items()
        } == hours
        assert [report.segments for report in reports] == [3, 3, 3]
        assert [report.events for report in reports] == [700, 700, 700]
        assert len(rest) == sum(report.records for report in reports) < 2_100
        assert late.stats.cursor().count == client.stats.cursor().count == 2_100
        assert late.stats.cursor().checksum == client.stats.cursor().checksum


@in_every_site
def test_a_bound_on_events_counts_a_compacted_one_as_one(site_of):
    with site_of() as site:
        client = site.client()
        client.events.append([download(skill) for skill in "aaabbc"])
        drain(client.events, client.stats)
        prune(log_of(client), client.stats, before=None)
        late = site.client(LATER)

        reports = [drain(late.events, late.stats, max_events=2) for _ in range(2)]

        assert [(one.events, one.records) for one in reports] == [(5, 2), (1, 1)]
        assert shown(late.stats.totals()["a"]) == {"fetches": 3}


@in_every_site
def test_a_fold_registers_and_reports(site_of):
    """Before its first read and after its commit, under the name of the projection."""
    with site_of() as site:
        client = site.client()
        log = log_of(client)

        fold_page(client.events, client.stats)
        assert [(one.name, one.position) for one in log.readers()] == [("skill_stats", None)]
        client.events.append([download("a"), download("b")])
        fold_page(client.events, client.stats, page=1)
        place = client.stats.cursor().place

        assert place is not None
        assert [one.position for one in log.readers()] == [place.position]


class Busy(MemoryEventStore):
    """A log that is busy whenever somebody reports."""

    def report(self, reader: str, place: Place, /) -> None:
        raise StoreBusyError("locked")


def test_a_report_that_is_refused_does_no_harm():
    """The commit is made, and the place that is known is too low, which is safe."""
    log, stats = Busy(), MemoryStatsStore(SKILL_STATS)
    log.append([download()])

    assert drain(log, stats).events == 1
    assert [reader.position for reader in log.readers()] == [None]


def test_a_prune_tells_the_log_what_a_worker_could_not():
    database = MemoryDatabase()
    log, stats = MemoryEventStore(database), MemoryStatsStore(SKILL_STATS, database)
    log.append([download("a"), download("a")])
    drain(Busy(database), stats)

    report = prune(log, stats, before=None)

    assert (report.events, report.records, report.is_over) == (2, 1, True)
    assert str(report) == (
        f"2 events in 1 segments -> 1 compacted events; the slowest reader is 'skill_stats', at"
        f" {report.last}"
    )


@in_every_site
def test_what_was_parked_before_a_prune_is_as_many_events_as_what_is_parked_after_it(site_of):
    """The prune was not given the stats, so a verify meets a sum where they have single events."""
    with site_of() as site:
        client, later = site.client(), site.client(LATER_PARKED)
        client.events.append([remark(), remark(), download()])
        drain(client.events, client.stats, uncountable=Uncountable.PARK)
        log_of(client).compact(before=None, limit=10)

        report = drain(later.events, later.stats, uncountable=Uncountable.PARK)

        assert (report.parked, later.stats.cursor().parked) == (2, 2)
        assert verify_fully(client.events, client.stats).differences == ()
        rebuilt = rebuild(client.events, client.stats, uncountable=Uncountable.PARK).after
        assert rebuilt.parked == 2
        assert verify(client.events, client.stats).differences == ()
        later.stats.forget("a")
        assert (client.stats.cursor().parked, later.stats.cursor().parked) == (0, 0)


def test_a_fold_says_how_many_events_of_a_sum_it_counts_at_last():
    database = MemoryDatabase()
    events, stats = MemoryEventStore(database), MemoryStatsStore(SKILL_STATS, database)
    events.append([remark(), remark()])
    page = events.read(None, limit=10)
    last = page.events[-1]
    events.report("somebody", Place(page.epoch, last.position, last.fingerprint))
    events.compact(before=None, limit=10)
    drain(events, stats, uncountable=Uncountable.PARK)

    report = drain(events, MemoryStatsStore(REMARKED, database))

    assert (report.taught, report.parked, report.after.parked) == (2, 0, 0)
    assert shown(MemoryStatsStore(REMARKED, database).totals()["a"])["remarks"] == 2


class LosesARow(MemoryStatsStore):
    """A store whose quarantine lacks an event that its cursor counts."""

    def quarantine(self, *, limit: int) -> Quarantine:
        found = super().quarantine(limit=limit)
        return attrs.evolve(found, events=found.events[1:])


class ParksMeanwhile(MemoryStatsStore):
    """A store that another worker parks in, whenever somebody has looked at the cursor."""

    def __init__(self, projection: Projection, database: MemoryDatabase) -> None:
        super().__init__(projection, database)
        self._events = MemoryEventStore(database)

    def quarantine(self, *, limit: int) -> Quarantine:
        stats = MemoryStatsStore(SKILL_STATS, self._database)
        drain(self._events, stats, page=1, max_events=1, uncountable=Uncountable.PARK)
        return super().quarantine(limit=limit)


@pytest.mark.parametrize("operation", [prune, plan_prune])
def test_a_quarantine_that_is_not_what_its_cursor_says_is_refused(operation):
    """What it does not name would be made small."""
    database = MemoryDatabase()
    events, stats = MemoryEventStore(database), LosesARow(SKILL_STATS, database)
    events.append([remark(), remark()])
    drain(events, stats, uncountable=Uncountable.PARK)

    with pytest.raises(StoreContractError, match=r"holds 1 events.* says 2"):
        operation(events, stats, before=None)
    assert len(events.read(None, limit=10).events) == 2


def test_what_is_parked_while_a_prune_looks_is_no_breach():
    database = MemoryDatabase()
    events, stats = MemoryEventStore(database), ParksMeanwhile(SKILL_STATS, database)
    events.append([download(), *(remark() for _ in range(4))])
    drain(events, stats, max_events=2, uncountable=Uncountable.PARK)

    report = prune(events, stats, before=None)

    assert (report.events, stats.cursor().parked) == (1, 4)


def test_stats_of_another_log_are_refused():
    log, stats, other = MemoryEventStore(), MemoryStatsStore(SKILL_STATS), MemoryEventStore()
    for each in (log, other):
        each.append([download()])
    drain(other, stats)

    for operation in (prune, plan_prune):
        with pytest.raises(HistoryChangedError):
            operation(log, stats, before=None)


@pytest.mark.parametrize("operation", [prune, plan_prune])
@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        ("limit", {"limit": 0}),
        ("limit", {"limit": True}),
        ("max_segments", {"max_segments": 0}),
        ("before", {"before": datetime(2026, 3, 1)}),  # noqa: DTZ001 - which is the point
    ],
)
def test_bounds_are_checked(operation, name, bounds):
    log, stats = MemoryEventStore(), MemoryStatsStore(SKILL_STATS)
    log.append([download()])
    drain(log, stats)

    with pytest.raises(InvalidBoundError, match=f"^{name} must be"):
        operation(log, stats, **{"before": None, **bounds})


def test_segments_are_told_one_by_one_and_bounded():
    log, stats = MemoryEventStore(), MemoryStatsStore(SKILL_STATS)
    log.append([download()] * 5)
    drain(log, stats)
    planned: list[Segment] = []
    made: list[Segment] = []

    plan = plan_prune(log, stats, before=None, limit=2, max_segments=2, on_segment=planned.append)
    report = prune(log, stats, before=None, limit=2, max_segments=2, on_segment=made.append)

    assert plan == report
    assert planned == made
    assert [segment.events for segment in made] == [2, 2]
    assert not report.is_over


def test_a_store_that_goes_back_is_noticed():
    """Else a prune might never end."""
    reader = Reader(name="r", position=Position((9,)), reported_at=NOON)
    report = PruneReport(segments=0, events=0, records=0, last=None, slowest=reader)
    segment = Segment(first=Position((1,)), last=Position((3,)), events=3, records=1)
    once = report.then(segment)

    assert once.then(attrs.evolve(segment, first=Position((4,)), last=Position((4,)))).events == 6
    with pytest.raises(StoreContractError, match="whole_segments"):
        once.then(segment)
    with pytest.raises(StoreContractError, match="whole_segments"):
        once.then(attrs.evolve(segment, first=Position((5,)), last=Position((4,))))


def test_a_report_says_who_has_not_begun():
    log = MemoryEventStore()
    log.append([download()])
    log.register("late")

    report = prune(log, before=None)

    assert (report.events, report.is_over) == (0, True)
    assert str(report).endswith("the slowest reader is 'late', at start")

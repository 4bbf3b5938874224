"""The broken stores lose and double exactly as their originals did, and checks say so."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

import attrs
import pytest

from skillstat_agg import (
    SKILL_STATS,
    BadgeStore,
    BoardStore,
    Event,
    EventStore,
    ExtentStore,
    GenerationStore,
    LagStore,
    NoteStore,
    Position,
    PruneStore,
    RankStore,
    RecordedEvent,
    RetentionStore,
    SeriesStore,
    StatsStore,
    SumStore,
    TallyStore,
    drain,
)
from skillstat_agg.backends.memory import MemoryStatsStore
from skillstat_agg.errors import InvalidEventError
from skillstat_agg.testing import CHECKS, check_store
from skillstat_agg.testing._cases import Level
from skillstat_agg.testing._checks import Check
from skillstat_agg.testing._diagnosis import matrix
from skillstat_agg.testing._kit import wire
from skillstat_agg.testing.gallery import (
    BROKEN_STORES,
    BrokenStore,
    TimestampAfter,
    TimestampFrom,
)
from skillstat_agg.testing.gallery._frame import broken, events_of
from skillstat_agg.testing.gallery._logs import Log, NumberedLog, TimedLog
from tests.logs import NOON, download

ORIGIN = datetime(1970, 1, 1, tzinfo=timezone.utc)

CHECK = {check.id: check for check in CHECKS}
AGAIN = "run `nox -s gallery`, and look at what has changed"

each_store = pytest.mark.parametrize("store", [TimestampAfter, TimestampFrom])
each_broken_store = pytest.mark.parametrize("store", BROKEN_STORES, ids=lambda store: store.name)


def rows(times: Sequence[int]) -> list[RecordedEvent]:
    """Return downloads of one skill, created at these times in seconds."""
    return [
        RecordedEvent(
            position=Position((number,)),
            event=download(),
            recorded_at=ORIGIN + timedelta(seconds=time),
            fingerprint=number,
        )
        for number, time in enumerate(times)
    ]


def counted(stats: MemoryStatsStore) -> int:
    return stats.totals()["a"]["downloads"]


def runs(store: EventStore, *, page: int, number: int = 1, bound: int = 100) -> list[int]:
    """Return what is counted after each run."""
    stats = MemoryStatsStore(SKILL_STATS)
    after: list[int] = []
    for _ in range(number):
        drain(store, stats, page=page, max_events=bound)
        after.append(counted(stats))
    return after


@pytest.mark.parametrize(
    ("times", "page", "lost"),
    [
        ([1, 2, 2, 3], 2, 1),
        ([3, 2, 1, 2], 2, 1),
        ([5, 5, 5], 2, 1),
        ([5, 5, 5], 1, 2),
        ([1, 2, 3], 1, 0),
        ([5, 5, 5], 3, 0),
    ],
)
def test_after_loses_what_a_page_has_no_room_for(times, page, lost):
    """The rest of a tie at the end of a page; nothing where no tie is cut."""
    assert runs(TimestampAfter(rows(times)), page=page) == [len(times) - lost]


@pytest.mark.parametrize(("first", "late"), [(5, 5), (11, 10)])
def test_after_loses_what_becomes_visible_late(first, late):
    """An event at or before the cursor's time that the first run could not see."""
    visible = rows([first])
    store, stats = TimestampAfter(visible), MemoryStatsStore(SKILL_STATS)

    drain(store, stats)
    visible += rows([late])
    drain(store, stats)

    assert counted(stats) == 1


@pytest.mark.parametrize(
    ("times", "page", "counts"),
    [
        ([1, 2, 3], 2, [5, 6, 7]),
        ([1, 2, 3], 500, [3, 4, 5]),
        ([1, 2, 2], 500, [3, 5, 7]),
        ([7], 2, [1, 2, 3]),
    ],
)
def test_from_counts_the_last_time_again_with_every_page_and_run(times, page, counts):
    assert runs(TimestampFrom(rows(times)), page=page, number=3) == counts


@pytest.mark.parametrize(("times", "page"), [([5, 5], 2), ([4, 5, 5, 6], 2), ([1, 2], 1)])
def test_from_never_comes_to_an_end_where_ties_fill_a_page(times, page):
    """Only the bound ends it, however high it is."""
    for bound in (10, 1_000):
        assert runs(TimestampFrom(rows(times)), page=page, bound=bound) == [bound]


@each_store
def test_an_empty_log_is_no_case(store):
    page = store([]).read(None, limit=1)

    assert (page.events, page.is_last) == ((), True)


@each_store
def test_what_is_appended_is_created_now(store):
    """A retry is a new event: ids are not looked at."""
    visible: list[RecordedEvent] = []
    log = store(visible, clock=lambda: NOON)

    appended = log.append([download(event_id="1"), download(event_id="1")])

    assert appended.new == 2
    assert [row.recorded_at for row in visible] == [NOON, NOON]
    assert log.append([]).position is None
    with pytest.raises(InvalidEventError):
        log.append([attrs.evolve(download(), occurred_at=NOON + timedelta(days=2))])
    assert isinstance(visible[0].event, Event)


# The collection


def laws_of(protocol: type) -> set[str]:
    """Return the names of the laws in the docstring of a protocol."""
    _, _, laws = (inspect.getdoc(protocol) or "").partition("Laws:\n")
    return set(re.findall(r"^    (\w+): ", laws, re.MULTILINE))


def test_there_are_many_broken_stores_and_each_has_a_name():
    names = [store.name for store in BROKEN_STORES]

    assert len(BROKEN_STORES) >= 40
    assert len(set(names)) == len(names)


def test_every_law_is_broken_by_a_store():
    """None of the laws in the protocols' docstrings is idle."""
    protocols = (
        *(EventStore, StatsStore, TallyStore, PruneStore),
        *(RetentionStore, ExtentStore, SumStore, GenerationStore),
        *(SeriesStore, RankStore, BoardStore, LagStore, NoteStore, BadgeStore),
    )
    laws = set().union(*map(laws_of, protocols))

    assert len(laws) >= 15
    assert laws <= {law for store in BROKEN_STORES for law in store.breaks}


@each_broken_store
def test_a_broken_store_says_what_it_is(store: BrokenStore):
    """In sentences, with a report, laws that there are, and a check that there is."""
    assert re.fullmatch(r"[a-z].*[^.]", store.name)
    assert re.fullmatch(r".*\.", store.mistake)
    assert re.fullmatch(r"[^A-Z].*[^.]", store.remedy)
    assert store.reported
    assert all(re.fullmatch(r"[A-Z]\d+", row) for row in store.row.split(", "))
    assert set(store.breaks) <= {check.law for check in CHECKS}
    assert CHECK[store.killer].law in store.breaks


@each_broken_store
def test_its_killer_fails_each_time_in_the_same_case(store: BrokenStore):
    """It is the store that is broken, not the harness; and what went wrong is said."""
    wired = wire(store.harness)

    assert wired.miswired is None
    first, second = (wired.run(CHECK[store.killer], Level.QUICK).failure for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.trail == second.trail
    assert first.expected
    assert first.actual


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.id)
def test_every_check_fails_for_a_broken_store(check: Check):
    """A check that no store can fail is worth nothing."""
    rows = matrix()
    store = next((one for one in BROKEN_STORES if check.id in rows[one.name].fails), None)

    assert store is not None
    assert wire(store.harness).run(check, Level.QUICK).failure is not None, AGAIN


@each_broken_store
def test_only_checks_of_the_laws_that_it_breaks_fail(store: BrokenStore):
    """What fails is written down; ``nox -s gallery -- --check`` tries it all again."""
    laws = {check_id: CHECK[check_id].law for check_id in matrix()[store.name].fails}

    assert {one: law for one, law in laws.items() if law not in store.breaks} == {}, AGAIN


@pytest.mark.parametrize("log", [Log, NumberedLog, TimedLog])
def test_what_the_broken_logs_are_made_of_breaks_no_law(log):
    """Nothing but the one mistake makes a broken event store fail."""
    report = check_store(broken(events=events_of(log)))

    assert report.ok, str(report)

"""Corrections are events; a counter is held against its source without counting anything twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skillstat_agg import (
    CORRECTIONS,
    RETIRED,
    SKILL_STATS,
    Carried,
    Effect,
    Event,
    Granularity,
    LeftAlone,
    Projection,
    Uncountable,
    adjusting_kinds,
    aio,
    correctable,
    correction,
    drain,
    fresh_totals,
    reconcile,
    rollup_correction,
)
from skillstat_agg.backends.memory import MemoryDatabase, MemoryEventStore, MemoryStatsStore
from skillstat_agg.errors import (
    EventIdConflictError,
    HistoryChangedError,
    InvalidBoundError,
    InvalidEventError,
    InvalidProjectionError,
)
from skillstat_agg.testing._twins import AsyncStats, behind_coroutines
from tests.logs import NOON, download
from tests.sites import SITES
from tests.stepping import run

TABLE = correctable(SKILL_STATS)

in_every_site = pytest.mark.parametrize("site_of", SITES.values(), ids=SITES)


def star(skill_id: str = "a") -> Event:
    return Event(skill_id=skill_id, kind="star", occurred_at=NOON)


class Bench:
    """A log and stats in memory, and a source."""

    def __init__(self, *events: Event, **source: int) -> None:
        self.database = MemoryDatabase()
        self.log = MemoryEventStore(self.database)
        self.stats = MemoryStatsStore(TABLE, self.database)
        self.log.append(events)
        self.rows = source

    def reconcile(self, before: Callable[[], object] = lambda: None, **options):
        """Reconcile; *before* happens while the source is read."""

        def source() -> Mapping[str, int]:
            before()
            return self.rows

        return reconcile(self.log, self.stats, "stars", source, at=NOON, **options)

    @property
    def stars(self) -> dict[str, int]:
        return {skill: row["stars"] for skill, row in fresh_totals(self.log, self.stats).items()}

    @property
    def size(self) -> int:
        return len(self.log.read(None, limit=1_000).events)


# The table


def test_a_correctable_table_extends_the_one_it_is_made_of():
    assert TABLE.difference_from(SKILL_STATS) is None
    assert correctable(TABLE) == TABLE
    assert TABLE.counters == (*SKILL_STATS.counters, CORRECTIONS)
    assert TABLE.columns == SKILL_STATS.columns


def test_a_table_that_grows_stays_correctable():
    """The kinds that were there keep their effects, so it is taken over in place."""
    grown = Projection("skill_stats", {**TABLE.kinds, "view": Effect(counters={"views": 1})})

    assert correctable(grown).difference_from(TABLE) is None


def test_another_projection_over_the_log_declares_corrections_as_counting_nothing():
    other = Projection(
        "other",
        {
            **SKILL_STATS.kinds,
            **dict.fromkeys(adjusting_kinds(SKILL_STATS), RETIRED),
        },
    )
    database = MemoryDatabase()
    log, stats = MemoryEventStore(database), MemoryStatsStore(other, database)
    log.append([star(), correction(TABLE, "a", "stars", 5, at=NOON, note="lost in May")])

    drain(log, stats)

    assert stats.totals()["a"]["stars"] == 1


def test_a_counter_of_the_same_name_is_refused():
    table = Projection("x", {"fix": Effect(counters={"corrections": 1})})

    with pytest.raises(InvalidProjectionError, match="feeds a counter 'corrections'"):
        correctable(table)


@in_every_site
def test_corrections_count_in_the_counter_or_the_bucket_that_they_name(site_of):
    with site_of() as site:
        client = site.client(TABLE)
        client.events.append(
            [
                download(),
                correction(TABLE, "a", "downloads", -3, at=NOON, note="a loop of ours"),
                rollup_correction(TABLE, "a", "downloads", -2, at=NOON, note="a loop of ours"),
            ]
        )

        drain(client.events, client.stats)

        row = client.stats.totals()["a"]
        assert (row["downloads"], row["corrections"]) == (-2, 2)
        (day,) = client.stats.rollups("a", Granularity.DAY).values()
        assert day == {"downloads": -1, "installs": 0}


@pytest.mark.parametrize("make", [correction, rollup_correction])
def test_what_has_no_correction_is_refused(make):
    with pytest.raises(InvalidProjectionError, match="declare it with correctable"):
        make(TABLE, "a", "views", 1, at=NOON, note="x")
    with pytest.raises(InvalidProjectionError):
        make(SKILL_STATS, "a", "downloads", 1, at=NOON, note="x")


# Reconcile


def test_in_sync_nothing_is_written():
    bench = Bench(star(), star(), star("b"), a=2, b=1)

    outcome = bench.reconcile()

    assert outcome.is_in_sync
    assert (outcome.checked, outcome.corrected, outcome.left_alone) == (2, {}, {})
    assert bench.size == 3


@pytest.mark.parametrize("folded", [0, 1, 3])
def test_the_difference_is_appended_wherever_the_cursor_stands(folded):
    """What is pending is neither missing nor counted twice."""
    bench = Bench(star(), star(), star("b"), a=5, c=2)
    if folded:
        drain(bench.log, bench.stats, max_events=folded)

    outcome = bench.reconcile(note="recounted in May")

    assert outcome.corrected == {"a": 3, "b": -1, "c": 2}
    assert bench.stars == {"a": 5, "b": 0, "c": 2}
    notes = {row.event.note for row in bench.log.read(None, limit=9).events[3:]}
    assert notes == {"recounted in May"}
    assert bench.reconcile().is_in_sync


def test_only_the_skills_that_are_named_are_compared():
    bench = Bench(star(), star("b"), a=3)

    outcome = bench.reconcile(skill_ids=["a", "x"])

    assert outcome.checked == 2
    assert bench.stars == {"a": 3, "b": 1}


def test_a_skill_that_moves_while_the_source_is_read_is_left_alone():
    bench = Bench(star(), star("b"), a=5, b=5)

    outcome = bench.reconcile(lambda: bench.log.append([star("b"), download()]))

    assert outcome.corrected == {"a": 4}
    assert outcome.left_alone == {"b": LeftAlone.MOVED}
    assert bench.reconcile().corrected == {"b": 3}


def test_an_event_of_unknown_kind_may_be_one_of_the_counter():
    bench = Bench(star(), a=2)

    outcome = bench.reconcile(lambda: bench.log.append([attrs.evolve(star(), kind="fave")]))

    assert outcome.left_alone == {"a": LeftAlone.MOVED}


def test_what_waits_beyond_the_frontier_is_waited_for():
    """The row of an event that cannot be read yet is in the source: that is no difference."""
    bench = Bench(star(), a=1)
    held = bench.log.begin()
    held.append([download("x")])
    bench.log.append([star()])
    bench.rows = {"a": 2}

    assert bench.reconcile().left_alone == {"a": LeftAlone.WAITING}
    assert bench.size == 1
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            held.commit()

    outcome = bench.reconcile(
        timeout=timedelta(seconds=9),
        every=timedelta(seconds=2),
        clock=lambda: 2.0 * len(slept),
        sleep=sleep,
    )
    assert slept == [2, 2]
    assert outcome.left_alone == {"a": LeftAlone.MOVED}
    assert bench.reconcile().is_in_sync


def test_at_the_deadline_what_waits_is_left_alone():
    bench = Bench(star(), a=1)
    held = bench.log.begin()
    held.append([download("x")])
    bench.log.append([star()])
    slept: list[float] = []

    outcome = bench.reconcile(
        lambda: bench.rows.update(a=2),
        timeout=timedelta(seconds=5),
        every=timedelta(seconds=2),
        clock=lambda: sum(slept),
        sleep=slept.append,
    )

    assert slept == [2, 2, 1]
    assert outcome.left_alone == {"a": LeftAlone.WAITING}


def test_more_events_than_the_limit_leave_everything_alone():
    bench = Bench(star(), a=5)

    outcome = bench.reconcile(lambda: bench.log.append([download("b")] * 3), limit=3)

    assert outcome.left_alone == {"a": LeftAlone.WAITING}


def test_a_skill_that_has_an_event_in_quarantine_is_left_alone():
    """Once the table is taught the event counts, and would count a second time."""
    bench = Bench(star(), attrs.evolve(star(), kind="fave"), star("b"), a=2, b=2)
    drain(bench.log, bench.stats, uncountable=Uncountable.PARK)

    outcome = bench.reconcile()

    assert outcome.corrected == {"b": 1}
    assert outcome.left_alone == {"a": LeftAlone.PARKED}


def test_a_forgotten_skill_is_left_alone():
    bench = Bench(star(), a=2)
    bench.stats.forget("a")

    assert bench.reconcile().left_alone == {"a": LeftAlone.FORGOTTEN}
    assert bench.size == 1


def test_a_difference_beyond_64_bits_is_left_alone():
    bench = Bench(correction(TABLE, "a", "stars", -(2**63), at=NOON, note="x"), a=1)

    assert bench.reconcile().left_alone == {"a": LeftAlone.TOO_LARGE}


def test_who_comes_second_corrects_nothing():
    """Another run has seen the same numbers, and appended while the source was read."""
    bench = Bench(star(), star("b"), a=2, b=2)

    def other_counter() -> None:
        reconcile(bench.log, bench.stats, "downloads", lambda: {"a": 7}, at=NOON)

    outcome = bench.reconcile(other_counter)

    assert outcome.left_alone == {"a": LeftAlone.RACED}
    assert outcome.corrected == {"b": 1}
    assert bench.reconcile().corrected == {"a": 1}
    assert bench.stars == {"a": 2, "b": 2}


def test_the_same_difference_again_later_is_another_one():
    """The counter of corrections tells them apart."""
    bench = Bench(star(), a=2)
    bench.reconcile()
    bench.log.append([Event(skill_id="a", kind="unstar", occurred_at=NOON)])

    assert bench.reconcile().corrected == {"a": 1}
    assert fresh_totals(bench.log, bench.stats)["a"]["corrections"] == 2


def test_an_append_whose_answer_was_lost_is_not_repeated():
    bench = Bench(star(), a=2)

    class Lost(MemoryEventStore):
        def append(self, events, /, **options):
            super().append(events, **options)
            raise ConnectionError("the answer was lost")

    with pytest.raises(ConnectionError):
        reconcile(Lost(bench.database), bench.stats, "stars", lambda: bench.rows, at=NOON)

    assert bench.reconcile().is_in_sync
    assert bench.stars == {"a": 2}


def test_a_place_that_was_pruned_meanwhile_leaves_everything_alone():
    bench = Bench(star(), a=2)

    class Pruned(MemoryEventStore):
        asked = 0

        def lag(self, after, /, *, limit):
            self.asked += 1
            if self.asked > 1:
                raise HistoryChangedError("it was pruned")
            return super().lag(after, limit=limit)

    outcome = reconcile(Pruned(bench.database), bench.stats, "stars", lambda: bench.rows, at=NOON)

    assert outcome.left_alone == {"a": LeftAlone.WAITING}


@pytest.mark.parametrize("numbers", [{"a": 1.0}, {"a": True}, {"": 1}, {"a": None}])
def test_a_source_that_gives_no_numbers_is_refused(numbers):
    bench = Bench(star())
    bench.rows = numbers

    with pytest.raises(InvalidEventError):
        bench.reconcile()
    assert bench.size == 1


def test_what_cannot_be_meant_is_refused():
    bench = Bench()
    plain = MemoryStatsStore(SKILL_STATS)

    with pytest.raises(InvalidProjectionError, match="correctable"):
        reconcile(bench.log, plain, "stars", dict, at=NOON)
    with pytest.raises(InvalidProjectionError):
        reconcile(bench.log, bench.stats, "views", dict, at=NOON)
    with pytest.raises(InvalidBoundError):
        bench.reconcile(limit=0)
    with pytest.raises(InvalidBoundError):
        bench.reconcile(timeout=timedelta(seconds=-1))


@in_every_site
def test_the_twin_reconciles_the_same(site_of):
    async def source() -> Mapping[str, int]:
        return {"a": 3}

    with site_of() as site:
        client = site.client(TABLE)
        client.events.append([star(), star("b")])

        outcome = run(
            aio.reconcile(
                behind_coroutines(client.events), AsyncStats(client.stats), "stars", source, at=NOON
            )
        )

        assert outcome.corrected == {"a": 2, "b": -1}
        drain(client.events, client.stats)
        assert client.stats.totals()["a"]["stars"] == 3


@given(
    stored=st.dictionaries(st.sampled_from("abc"), st.integers(-3, 3)),
    rows=st.dictionaries(st.sampled_from("abcd"), st.integers(-3, 3)),
)
def test_after_it_the_numbers_are_those_of_the_source(stored, rows):
    bench = Bench(
        *(correction(TABLE, skill, "stars", by, at=NOON, note="x") for skill, by in stored.items()),
        **rows,
    )

    bench.reconcile()

    assert {skill: n for skill, n in bench.stars.items() if n} == {
        skill: n for skill, n in rows.items() if n
    }
    assert bench.reconcile().is_in_sync


def test_a_conflict_that_is_not_about_corrections_is_no_lost_race():
    """Ids of corrections are known by their name; another id in conflict goes up."""
    bench = Bench(star(), a=2)

    class Strange(MemoryEventStore):
        def append(self, events, /, **options):
            raise EventIdConflictError(("somebody else's",))

    with pytest.raises(EventIdConflictError):
        reconcile(Strange(bench.database), bench.stats, "stars", lambda: bench.rows, at=NOON)


def test_a_kind_that_carries_more_can_be_declared_beside_it():
    table = Projection("x", {"sum": Effect(counters={"bytes": Carried("size")})})

    assert "correct:x.bytes" in correctable(table).kinds

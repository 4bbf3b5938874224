"""Quarantine: what a table cannot count is kept whole, and counts when it is taught."""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skillstat_agg import (
    RETIRED,
    SKILL_STATS,
    Carried,
    Commit,
    CommitResult,
    Cursor,
    Effect,
    Event,
    Position,
    Projection,
    Quarantine,
    RecordedEvent,
    Uncountable,
    drain,
    fold_page,
)
from skillstat_agg._events import MAX_INTEGER
from skillstat_agg._quarantine import blaming, taking_over, taught_by
from skillstat_agg.backends.memory import MemoryDatabase, MemoryEventStore, MemoryStatsStore
from skillstat_agg.backends.sqlite import SQLiteStatsStore
from skillstat_agg.errors import (
    InvalidBoundError,
    OutOfRangeError,
    SchemaError,
    StoreContractError,
    UncountableEventError,
)
from tests.logs import NOON, download, event_logs
from tests.sites import SITES, sqlite_site

WAVES = Projection(
    SKILL_STATS.name,
    {**SKILL_STATS.kinds, "wave": Effect(counters={"waves": 1}, rollups={"waves": 1})},
)
PARK = Uncountable.PARK

in_every_site = pytest.mark.parametrize("site_of", SITES.values(), ids=SITES)


def wave(skill_id: str = "a") -> Event:
    return Event(skill_id=skill_id, kind="wave", occurred_at=NOON)


def recorded(event: Event, number: int = 1) -> RecordedEvent:
    return RecordedEvent(
        position=Position((number, 2)), event=event, recorded_at=NOON, fingerprint=2**32 - 1
    )


@given(log=event_logs(), numbers=st.lists(st.integers(0, 2**70), min_size=1, max_size=3))
def test_a_recorded_event_comes_back_from_its_text(log, numbers):
    """Whatever an event holds, and however large a position is."""
    events = [*log, attrs.evolve(download(), note="\u00e4\U0001f600", event_id="'")]
    for event in events:
        one = attrs.evolve(recorded(event), position=Position(numbers))

        assert RecordedEvent.from_json(one.to_json()) == one


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "null", "1", '{"position": "1"}', recorded(wave()).to_json()[:-1]]
)
def test_another_text_is_no_recorded_event(text):
    with pytest.raises(ValueError, match="not a recorded event"):
        RecordedEvent.from_json(text)


@in_every_site
def test_parked_events_are_folded_and_said_to_be_parked(site_of):
    """They are part of the page, and of no number."""
    with site_of() as site:
        client = site.client()
        client.events.append([wave(), download(), wave("b")])

        report = drain(client.events, client.stats, uncountable=PARK)

        assert (report.events, report.parked, report.taught) == (3, 2, 0)
        assert str(report).startswith("3 events folded, 2 rows written, 2 parked, 0 dropped")
        assert client.stats.totals().keys() == {"a"}
        quarantine = client.stats.quarantine(limit=1)
        assert quarantine.cursor == client.stats.cursor() == report.after
        assert [parked.reason for parked in quarantine.parked] == ["unknown kind 'wave'"]
        assert quarantine.parked[0].recorded == client.events.read(None, limit=1).events[0]


@in_every_site
def test_a_fold_halts_unless_it_is_told_to_park(site_of):
    """Also where a bound on skills makes it read plainly: what is parked is no skill of it."""
    with site_of() as site:
        client = site.client()
        client.events.append([wave("b"), wave("c"), download()])

        with pytest.raises(UncountableEventError, match="unknown kind 'wave'"):
            fold_page(client.events, client.stats)
        report = fold_page(client.events, client.stats, max_skills=1, uncountable=PARK)

        assert (report.events, report.parked) == (3, 2)


@in_every_site
def test_a_larger_table_counts_what_was_parked(site_of):
    """With no new event it is a commit of its own, or was done when the tables were made."""
    with site_of() as site:
        old = site.client()
        old.events.append([wave(), download(), wave("b")])
        drain(old.events, old.stats, uncountable=PARK)
        before = old.stats.cursor()
        new = site.client(WAVES)

        drain(new.events, new.stats)

        after = new.stats.cursor()
        assert (after.parked, after.count, after.place) == (0, before.count, before.place)
        assert after.revision == before.revision + 1
        assert after.controls["waves"] == after.controls["day.waves"] == 2
        assert new.stats.totals()["b"]["waves"] == 1
        assert new.stats.quarantine(limit=1).events == ()


def test_a_commit_takes_over_where_nobody_made_tables_for_it():
    """A program with a larger table may come without calling ``create_tables`` again."""
    with sqlite_site() as site:
        old = site.client()
        old.events.append([wave(), download(), attrs.evolve(wave(), kind="blink")])
        drain(old.events, old.stats, uncountable=PARK)
        new = SQLiteStatsStore(site.connect(), WAVES)

        report = drain(old.events, new)

        assert (report.events, report.taught, report.at_frontier) == (0, 1, True)
        assert new.totals()["a"]["waves"] == new.cursor().controls["day.waves"] == 1
        assert [one.event.kind for one in new.quarantine(limit=9).events] == ["blink"]
        assert drain(old.events, new).after == report.after


def gifts(effect: Effect) -> Projection:
    return Projection(SKILL_STATS.name, {**SKILL_STATS.kinds, "gift": effect})


GIFTS = gifts(Effect(counters={"installs_all_time": Carried("by")}))


def gift(by: int, skill_id: str = "a", at: datetime = NOON) -> Event:
    return Event(skill_id=skill_id, kind="gift", occurred_at=at, deltas={"by": by})


@pytest.mark.parametrize(
    ("effect", "counter", "number"),
    [
        (Effect(counters={"installs_all_time": Carried("by")}), "installs_all_time", 3),
        (Effect(rollups={"installs": Carried("by")}), "day.installs", 4),
    ],
)
@pytest.mark.parametrize("page", [1, 10])
def test_an_overflow_of_what_is_taught_names_the_event_in_quarantine(effect, counter, number, page):
    """Not the first of the page, which may count."""
    database = MemoryDatabase()
    events, old = MemoryEventStore(database), MemoryStatsStore(SKILL_STATS, database)
    first = gift(MAX_INTEGER - 1)
    events.append([gift(MAX_INTEGER, "b"), first, gift(1, at=NOON - timedelta(9))])
    events.append([gift(1), gift(1), gift(1)])
    drain(events, old, uncountable=PARK)
    events.append([download("b"), download("b")])
    stats = MemoryStatsStore(gifts(effect), database)

    with pytest.raises(OutOfRangeError) as caught:
        drain(events, stats, page=page)

    assert (caught.value.skill_id, caught.value.counter) == ("a", counter)
    guilty = events.read(None, limit=10).events[number]
    assert caught.value.position == str(guilty.position)
    assert stats.cursor() == old.cursor()


def test_what_is_taught_counts_where_only_the_next_event_leaves_the_range():
    database = MemoryDatabase()
    events, old = MemoryEventStore(database), MemoryStatsStore(SKILL_STATS, database)
    events.append([gift(MAX_INTEGER)])
    drain(events, old, uncountable=PARK)
    events.append([gift(1), download()])
    stats = MemoryStatsStore(GIFTS, database)
    told: list[frozenset[str]] = []

    with pytest.raises(OutOfRangeError) as caught:
        drain(events, stats, on_commit=told.append)

    assert caught.value.position == str(events.read(None, limit=3).events[1].position)
    assert stats.totals()["a"]["installs_all_time"] == MAX_INTEGER
    assert (stats.cursor().parked, stats.cursor().count, told) == (0, 1, [frozenset("a")])


def test_a_worker_that_is_overtaken_while_it_teaches_has_lost_a_race():
    class Overtaken(MemoryStatsStore):
        """Stats that another worker teaches, once a commit was refused."""

        def commit(self, commit: Commit, /) -> CommitResult:
            if not commit.count:
                fold_page(events, MemoryStatsStore(GIFTS, database), page=1)
            return super().commit(commit)

    database = MemoryDatabase()
    events, old = MemoryEventStore(database), MemoryStatsStore(SKILL_STATS, database)
    events.append([gift(MAX_INTEGER)])
    drain(events, old, uncountable=PARK)
    events.append([gift(1)])

    report = fold_page(events, Overtaken(GIFTS, database), page=1)

    assert (report.conflicts, report.events) == (1, 0)


def test_an_overflow_is_blamed_on_nobody_where_the_numbers_have_moved():
    error = OutOfRangeError("skill_stats", "a", "waves")

    assert blaming(error, [recorded(wave())], WAVES, {}, {}, None) == error


@in_every_site
def test_a_kind_that_is_declared_to_count_nothing_leaves_quarantine(site_of):
    with site_of() as site:
        old = site.client()
        old.events.append([wave()])
        drain(old.events, old.stats, uncountable=PARK)
        new = site.client(Projection(SKILL_STATS.name, {**SKILL_STATS.kinds, "wave": RETIRED}))

        drain(new.events, new.stats)

        assert new.stats.cursor().parked == 0
        assert not any(new.stats.totals()["a"].values())


@in_every_site
def test_a_quarantine_is_read_up_to_a_limit_of_at_least_one(site_of):
    with site_of() as site, pytest.raises(InvalidBoundError):
        site.client().stats.quarantine(limit=0)


def test_a_quarantine_that_holds_less_than_its_cursor_says_is_found_out():
    """Else a commit would teach a part of it, and nobody would ever look for the rest."""
    cursor = attrs.evolve(Cursor.start(SKILL_STATS, NOON), parked=2)

    with pytest.raises(StoreContractError, match="holds 1 events, and its cursor says 2"):
        taught_by(WAVES, Quarantine(cursor=cursor, events=(recorded(wave()),)))


def test_taking_over_counts_what_the_table_teaches_and_leaves_the_rest():
    blink = attrs.evolve(wave(), kind="blink")
    cursor = attrs.evolve(Cursor.start(SKILL_STATS, NOON), parked=2)

    commit = taking_over(cursor, [recorded(wave()), recorded(blink, 2)], WAVES)
    after = commit.cursor(NOON + timedelta(hours=1))

    assert [one.event for one in commit.taught] == [wave()]
    assert (commit.count, commit.place, after.parked, after.count) == (0, None, 1, 0)
    assert after.controls["waves"] == 1


def test_a_commit_parks_nothing_of_forgotten_skills():
    """They are dropped, and counted as dropped."""
    cursor = Cursor.start(SKILL_STATS, NOON)
    commit = attrs.evolve(
        taking_over(cursor, (), SKILL_STATS),
        count=2,
        parked=(recorded(wave("a")), recorded(wave("b"), 2)),
    )

    kept = commit.without(commit.skills & {"a", "c"})

    assert (kept.cursor(NOON).parked, kept.cursor(NOON).dropped) == (1, {"forgotten": 1})
    assert commit.without(frozenset()) is commit


def test_what_other_hands_made_of_a_parked_event_is_refused():
    with sqlite_site() as site:
        client = site.client()
        client.events.append([wave()])
        drain(client.events, client.stats, uncountable=PARK)
        db = site.connect()
        db.execute("UPDATE skillstat_parked SET recorded = '{}'")
        db.commit()

        with pytest.raises(SchemaError, match="quarantine of projection 'skill_stats' was changed"):
            client.stats.quarantine(limit=1)

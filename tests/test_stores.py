"""The values that pass between stores and folds."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from skillstat_agg import (
    CHECKSUM_RANGE,
    RETIRED,
    SKILL_STATS,
    Appended,
    Commit,
    CommitResult,
    Cursor,
    Deltas,
    Effect,
    Event,
    Granularity,
    Page,
    Place,
    Position,
    Projection,
    RecordedEvent,
    Rollups,
    TalliedPage,
    Tally,
    Totals,
    shown,
)
from skillstat_agg._commits import controls_after
from skillstat_agg._deltas import deltas_of
from tests.logs import NOON, download, event_logs, skill_ids

HOUR, DAY = Granularity
PLACE = Place("log", Position((2,)), 7)
WITH_HOURS = Projection("skill_stats", SKILL_STATS.kinds, (HOUR, DAY))


def added_by(log: list[Event], projection: Projection = WITH_HOURS) -> Deltas:
    return deltas_of(projection, Tally.of(log, projection.finest))


def commit_from(cursor: Cursor, log: list[Event], checksum: int = 7) -> Commit:
    """Return the commit of a page that holds *log*."""
    return Commit(
        expected=cursor,
        place=PLACE,
        count=len(log),
        checksum=checksum,
        projection=WITH_HOURS,
        deltas=added_by(log),
    )


def control_sums(deltas: Deltas) -> Mapping[str, int]:
    """Return what the control totals must be once *deltas* were added to nothing."""
    sums = dict.fromkeys(WITH_HOURS.controls, 0)
    for row in deltas.totals.values():
        for name, amount in zip(WITH_HOURS.counters, row, strict=True):
            sums[name] += amount
    for granularity, rows in deltas.rollups.items():
        for row in rows.values():
            for name, amount in zip(WITH_HOURS.columns, row, strict=True):
                sums[f"{granularity.value}.{name}"] += amount
    return sums


def test_a_new_cursor_has_folded_nothing():
    """The first record stands before the first event, and its controls are all zero."""
    cursor = Cursor.start(SKILL_STATS, NOON)

    assert cursor == Cursor(
        projection="skill_stats",
        generation=1,
        place=None,
        count=0,
        checksum=0,
        controls={
            "downloads": 0,
            "stars": 0,
            "installs_all_time": 0,
            "installs_current": 0,
            "day.downloads": 0,
            "day.installs": 0,
        },
        revision=0,
        table=SKILL_STATS.table,
        updated_at=NOON,
    )


def test_a_commit_leads_to_the_next_cursor():
    """Place and time are those of the step; count, checksum and revision go on."""
    before = Cursor.start(WITH_HOURS, NOON)
    commit = commit_from(before, [download(), download("b")], checksum=5)
    later = NOON + timedelta(hours=1)

    after = commit.cursor(later)
    again = commit_from(after, [download()], checksum=6).cursor(later)

    assert (after.projection, after.generation, after.place) == ("skill_stats", 1, PLACE)
    assert (after.count, after.checksum, after.revision, after.updated_at) == (2, 5, 1, later)
    assert (again.count, again.checksum, again.revision) == (3, 11, 2)
    assert after.controls["downloads"] == after.controls["hour.downloads"] == 2
    assert again.controls["day.downloads"] == 3


@given(checksums=st.lists(st.integers(0, CHECKSUM_RANGE - 1), max_size=5))
@example(checksums=[CHECKSUM_RANGE - 1, 1])
def test_checksums_stay_within_64_bits(checksums):
    """Checksums are added modulo ``CHECKSUM_RANGE``."""
    cursor = Cursor.start(WITH_HOURS, NOON)

    for checksum in checksums:
        cursor = commit_from(cursor, [], checksum).cursor(NOON)

    assert cursor.checksum == sum(checksums) % CHECKSUM_RANGE


def test_a_commit_stores_the_table_that_made_its_deltas():
    """A table that has grown takes the place of the one the record was made with."""
    grown = Projection("skill_stats", {**WITH_HOURS.kinds, "wave": RETIRED}, (HOUR, DAY))
    commit = attrs.evolve(commit_from(Cursor.start(WITH_HOURS, NOON), []), projection=grown)

    after = commit.cursor(NOON)

    assert after.table == grown.table


@given(log=event_logs(), forgotten=st.frozensets(skill_ids))
def test_a_cursor_counts_dropped_events_and_leaves_their_numbers_out(log, forgotten):
    """The controls follow what is applied; the count covers every event."""
    commit = commit_from(Cursor.start(WITH_HOURS, NOON), log)
    kept = commit.without(forgotten & commit.skills)
    dropped = sum(event.skill_id in forgotten for event in log)

    after = kept.cursor(NOON)

    assert after.count == len(log)
    assert after.controls == control_sums(commit.deltas.without(forgotten))
    assert kept.forgotten == after.dropped.get("forgotten", 0) == dropped


@given(logs=st.lists(event_logs(), max_size=4))
def test_controls_are_the_sums_over_all_skills(logs):
    """However the events are cut into commits, the controls come to the same."""
    controls: Mapping[str, int] = dict.fromkeys(WITH_HOURS.controls, 0)

    for log in logs:
        controls = controls_after(controls, WITH_HOURS, added_by(log))

    assert controls == control_sums(added_by([event for log in logs for event in log]))


def test_controls_of_a_grown_table_begin_at_zero():
    """A counter that the table has only now joins the controls with its first commit."""
    grown = Projection(
        "skill_stats",
        {**SKILL_STATS.kinds, "comment": Effect(counters={"comments": 1}, rollups={"comments": 1})},
    )
    before = controls_after(
        dict.fromkeys(SKILL_STATS.controls, 0), SKILL_STATS, added_by([download()], SKILL_STATS)
    )
    comment = Event(skill_id="a", kind="comment", occurred_at=NOON)

    after = controls_after(before, grown, added_by([comment], grown))

    assert list(after) == list(grown.controls)
    assert after == {
        **before,
        "comments": 1,
        "day.comments": 1,
    }


def test_controls_are_never_changed_in_place():
    """The record a commit expects stays what it was."""
    before = Cursor.start(WITH_HOURS, NOON)

    controls_after(before.controls, WITH_HOURS, added_by([download()]))

    assert set(before.controls.values()) == {0}


def test_the_whole_cursor_record_is_compared():
    """No field of the record is left out of a comparison."""
    fields: dict[str, Any] = {
        "projection": "p",
        "generation": 1,
        "place": PLACE,
        "count": 1,
        "checksum": 1,
        "controls": {"n": 1},
        "revision": 1,
        "table": "t",
        "updated_at": NOON,
    }
    others: dict[str, Any] = {
        "projection": "q",
        "building": "b",
        "generation": 2,
        "place": Place("log", Position((2,)), 8),
        "count": 2,
        "checksum": 2,
        "controls": {"n": 2},
        "parked": 2,
        "dropped": {"forgotten": 2},
        "expired": {"day": 2},
        "revision": 2,
        "table": "u",
        "updated_at": NOON + timedelta(microseconds=1),
    }

    cursor = Cursor(**fields)

    assert cursor == Cursor(**fields)
    assert hash(cursor) == hash(Cursor(**fields))
    for name, other in others.items():
        assert cursor != Cursor(**{**fields, name: other})


@pytest.mark.parametrize("place", [None, PLACE, Place("log", Position((2**70, 0)), 2**32 - 1)])
def test_a_record_comes_back_from_its_text(place):
    """Whatever its size, and to the microsecond."""
    cursor = attrs.evolve(
        Cursor.start(SKILL_STATS, NOON + timedelta(microseconds=1)),
        building="b",
        place=place,
        controls={"downloads": -(2**70)},
        parked=3,
        dropped={"forgotten": 1},
        expired={"day": -4},
    )

    assert Cursor.from_json(cursor.to_json()) == cursor


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"place": 1}', "[" * 100_000])
def test_another_text_is_no_record(text):
    with pytest.raises(ValueError, match="not a cursor record"):
        Cursor.from_json(text)


def test_totals_are_a_mapping_with_a_cursor():
    """A skill without events is absent, and the rest works as in a dictionary."""
    cursor = Cursor.start(SKILL_STATS, NOON)

    totals = Totals(cursor, {"a": {"stars": -1}, "b": {"stars": 2}})

    assert totals["a"] == {"stars": -1}
    assert totals.get("c") is None
    assert "c" not in totals
    assert (list(totals), len(totals)) == (["a", "b"], 2)
    assert dict(totals) == totals.by_skill
    assert totals.cursor is cursor
    assert not Totals(cursor, {})
    with pytest.raises(KeyError):
        totals["c"]


def test_totals_and_rollups_equal_what_holds_the_same_sums():
    """They are compared as mappings are: the cursor informs, it is no part of the sums."""
    cursor, other = Cursor.start(SKILL_STATS, NOON), Cursor.start(WITH_HOURS, NOON)
    sums, rows = {"a": {"stars": 1}}, {NOON: {"downloads": 1}}

    assert Totals(cursor, sums) == Totals(other, dict(sums)) == sums
    assert Rollups(cursor, rows) == Rollups(other, dict(rows)) == rows
    assert Totals(cursor, sums) != {"a": {"stars": 2}}
    assert Rollups(cursor, rows) != {}


def test_rollups_are_a_mapping_with_a_cursor():
    """A bucket that is not there is absent, and the rest works as in a dictionary."""
    cursor = Cursor.start(SKILL_STATS, NOON)
    day = NOON.replace(hour=0)

    rollups = Rollups(cursor, {day: {"downloads": 1}, day + timedelta(days=1): {"downloads": 2}})

    assert rollups[day] == {"downloads": 1}
    assert rollups.get(NOON) is None
    assert (list(rollups), len(rollups)) == ([day, day + timedelta(days=1)], 2)
    assert dict(rollups) == rollups.by_start
    assert rollups.cursor is cursor
    with pytest.raises(KeyError):
        rollups[NOON]


@given(sums=st.dictionaries(st.text(max_size=3), st.integers()))
def test_people_never_see_less_than_nothing(sums):
    """What is shown is never below 0, and otherwise the sum."""
    seen = shown(sums)

    assert seen.keys() == sums.keys()
    assert all(seen[name] == max(0, value) for name, value in sums.items())


def test_values_are_frozen_and_survive_a_pickle():
    """What stores return may travel to another process, and is the same there."""
    recorded = RecordedEvent(
        position=Position((2,)), event=download(), recorded_at=NOON, fingerprint=7
    )
    cursor = Cursor.start(WITH_HOURS, NOON)
    commit = commit_from(cursor, [download()])
    values: list[Any] = [
        Appended(new=1, position=Position((2,))),
        Page(epoch="log", events=(recorded,), frontier=Position((2,)), is_last=True),
        TalliedPage(
            tally=Tally.of([download()], HOUR),
            count=1,
            checksum=7,
            place=PLACE,
            frontier=Position((2,)),
            is_last=True,
        ),
        cursor,
        commit,
        commit.deltas,
        CommitResult(cursor=cursor, rows=3, forgotten=0, changed=frozenset("a")),
        Totals(cursor, {"a": {"downloads": 1}}),
        Rollups(cursor, {NOON: {"downloads": 1}}),
    ]

    for value in values:
        for twin in (pickle.loads(pickle.dumps(value)), copy.deepcopy(value)):
            assert twin == value
            assert repr(twin) == repr(value)
        with pytest.raises(AttributeError):
            value.cursor = None

"""One table says what each kind does; everything reads that table."""

from __future__ import annotations

import enum
import json
import pickle
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import attrs
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from skillstat_agg import (
    RETIRED,
    SKILL_STATS,
    Carried,
    Deltas,
    Effect,
    Event,
    Granularity,
    Projection,
    Tally,
    drain,
)
from skillstat_agg._buckets import bucket_of, start_of
from skillstat_agg._deltas import can_count, deltas_of
from skillstat_agg.backends.sqlite import SQLiteEventStore, SQLiteStatsStore, create_tables
from skillstat_agg.errors import InvalidProjectionError, UncountableEventError
from tests.logs import NOON, event_logs, occurrences, skill_ids
from tests.oracle import COLUMNS, COUNTERS, count_days, count_totals

HOUR, DAY = Granularity
ONE = Effect(counters={"n": 1})

names = st.sampled_from(["n", "m", "total_2", "select", "order", "x" * 40])
kinds = st.sampled_from(["k", "download", "K", "ä", "\x01", "x" * 1_000, '"]}'])
delta_names = st.sampled_from(["all_time", "current", "ä", '"'])
amounts = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([2**63 - 1, -(2**63)]),
    delta_names.map(Carried),
)
effects = st.builds(
    Effect,
    counters=st.dictionaries(names, amounts, max_size=3),
    rollups=st.dictionaries(names, amounts, max_size=2),
)
granularity_sets = st.sampled_from([(HOUR,), (DAY,), (HOUR, DAY), (DAY, HOUR)])


@st.composite
def projections(draw: st.DrawFn) -> Projection:
    """Any projection with rollup buckets."""
    table = draw(st.dictionaries(kinds, effects, min_size=1, max_size=4))
    assume(any(effect.counters for effect in table.values()))
    return Projection(draw(names), table, draw(granularity_sets))


@st.composite
def events_for(draw: st.DrawFn, projection: Projection) -> Event:
    """Events that often, but not always, are ones that the projection can count."""
    kind = draw(st.sampled_from([*projection.kinds, *projection.kinds, "unknown"]))
    wanted = projection.kinds.get(kind, RETIRED).carries
    carried = draw(st.just(sorted(wanted)) | st.lists(delta_names, unique=True))
    amount = st.integers(-(2**63), 2**63 - 1)
    deltas = {name: draw(amount) for name in carried} or None
    return Event(skill_id=draw(skill_ids), kind=kind, occurred_at=draw(occurrences), deltas=deltas)


def logs_for(projection: Projection) -> st.SearchStrategy[list[Event]]:
    return st.lists(events_for(projection), max_size=8)


def countable_logs_for(projection: Projection) -> st.SearchStrategy[list[Event]]:
    is_fine = events_for(projection).filter(
        lambda event: projection.fault_in(event.kind, event.deltas) is None
    )
    return st.lists(is_fine, max_size=8)


def added_by(projection: Projection, log: Sequence[Event]) -> Deltas:
    return deltas_of(projection, Tally.of(log, projection.finest))


def named(names_: Sequence[str], row: Sequence[int]) -> dict[str, int]:
    return dict(zip(names_, row, strict=True))


def row_of(
    names_: Sequence[str], effect: Mapping[str, int | Carried], event: Event
) -> tuple[int, ...]:
    """Return what one event adds to each name."""
    carried = event.deltas or {}
    amounts_ = {
        name: carried[amount.name] if isinstance(amount, Carried) else amount
        for name, amount in effect.items()
    }
    return tuple(amounts_.get(name, 0) for name in names_)


def added(rows: Sequence[Mapping[Any, tuple[int, ...]]]) -> dict[Any, tuple[int, ...]]:
    """Return the sum of tables of rows."""
    sums: dict[Any, tuple[int, ...]] = {}
    for table in rows:
        for key, row in table.items():
            before = sums.get(key, (0,) * len(row))
            sums[key] = tuple(a + b for a, b in zip(before, row, strict=True))
    return sums


def without_zeros(rows: Mapping[Any, tuple[int, ...]]) -> dict[Any, tuple[int, ...]]:
    return {key: row for key, row in rows.items() if any(row)}


# The default table


@given(log=event_logs())
def test_the_seven_kinds_count_as_the_oracle_does(log):
    """The default table gives the totals and days of a plain count."""
    deltas = added_by(SKILL_STATS, log)

    days: dict[str, Any] = {}
    for (bucket, skill), row in deltas.rollups[DAY].items():
        days.setdefault(skill, {})[start_of(bucket, DAY).date()] = named(COLUMNS, row)
    assert {skill: named(COUNTERS, row) for skill, row in deltas.totals.items()} == count_totals(
        log
    )
    assert days == count_days(log)
    assert sum(deltas.events.values()) == len(log)


def test_the_default_table_names_what_people_know():
    """The names of ``SKILL_STATS`` are public: they are columns of other people's joins."""
    assert SKILL_STATS.name == "skill_stats"
    assert tuple(SKILL_STATS.kinds) == (
        "download",
        "star",
        "unstar",
        "install_new",
        "install_reactivate",
        "install_deactivate",
        "install_clear",
    )
    assert SKILL_STATS.counters == COUNTERS
    assert SKILL_STATS.columns == COLUMNS
    assert SKILL_STATS.granularities == (DAY,)
    assert SKILL_STATS.controls == (*COUNTERS, "day.downloads", "day.installs")


# From tally to deltas


@given(data=st.data(), projection=projections())
def test_deltas_are_linear(data, projection):
    """The deltas of a sum of tallies are the sums of their deltas."""
    one, other = (
        data.draw(countable_logs_for(projection)),
        data.draw(countable_logs_for(projection)),
    )

    whole = added_by(projection, one + other)

    parts = [added_by(projection, log) for log in (one, other)]
    assert whole.totals == added([part.totals for part in parts])
    for each in projection.granularities:
        assert whole.rollups[each] == without_zeros(added([part.rollups[each] for part in parts]))
    assert whole.events == {
        skill: sum(part.events.get(skill, 0) for part in parts) for skill in whole.totals
    }


@given(data=st.data(), projection=projections())
def test_deltas_are_what_the_table_says_event_by_event(data, projection):
    """Counting the tally gives what adding up the effects of the single events gives."""
    log = data.draw(countable_logs_for(projection))

    deltas = added_by(projection, log)

    totals, cells = [], []
    for event in log:
        effect = projection.kinds[event.kind]
        bucket = bucket_of(event.occurred_at, projection.finest)
        totals.append({event.skill_id: row_of(projection.counters, effect.counters, event)})
        cells.append({(bucket, event.skill_id): row_of(projection.columns, effect.rollups, event)})
    assert deltas.totals == added(totals)
    assert deltas.rollups[projection.finest] == without_zeros(added(cells))


@given(data=st.data(), projection=projections())
def test_days_are_the_sums_of_their_hours(data, projection):
    """Where there are both, they agree; each alone is what it is beside the other."""
    both = attrs.evolve(projection, granularities=(DAY, HOUR))
    log = data.draw(countable_logs_for(both))

    deltas = added_by(both, log)

    hours = deltas.rollups[HOUR]
    days = added([{(hour // 24, skill): row} for (hour, skill), row in hours.items()])
    assert deltas.rollups[DAY] == without_zeros(days)
    for alone in (HOUR, DAY):
        single = added_by(attrs.evolve(projection, granularities=(alone,)), log)
        assert single.rollups == {alone: deltas.rollups[alone]}
        assert single.totals == deltas.totals


@given(deltas=st.none() | st.dictionaries(delta_names, st.integers(-9, 9), min_size=1))
def test_a_retired_kind_counts_nothing(deltas):
    """Its events may carry anything; they are consumed, and give the skill its row."""
    projection = Projection("p", {"old": RETIRED, "new": Effect(counters={"n": 1})})
    event = Event(skill_id="a", kind="old", occurred_at=NOON, deltas=deltas)

    assert projection.fault_in("old", event.deltas) is None
    assert can_count(projection, Tally.of([event], DAY))
    assert added_by(projection, [event]) == Deltas({"a": 1}, {"a": (0,)}, {DAY: {}})


def test_a_projection_without_rollups_has_totals_only():
    """No columns and no granularities: totals are all there is."""
    projection = Projection("p", {"k": ONE}, ())
    event = Event(skill_id="a", kind="k", occurred_at=NOON)

    deltas = added_by(projection, [event] * 3)

    assert deltas == Deltas({"a": 3}, {"a": (3,)}, {})
    assert projection.controls == ("n",)


def test_huge_deltas_stay_exact():
    """The range of 64 bits is a matter of what is stored, not of a page."""
    effect = Effect(counters={"n": Carried("x")}, rollups={"n": 2**63 - 1})
    projection = Projection("p", {"k": effect})
    event = Event(skill_id="a", kind="k", occurred_at=NOON, deltas={"x": -(2**63)})

    deltas = added_by(projection, [event] * 5)

    assert deltas.totals == {"a": (-5 * 2**63,)}
    assert list(deltas.rollups[DAY].values()) == [(5 * (2**63 - 1),)]


def test_kinds_that_feed_one_number_add_up():
    """Fixed and carried amounts of several kinds meet in one row of one bucket."""
    projection = Projection(
        "p",
        {
            "one": Effect(counters={"n": 1}, rollups={"n": 1}),
            "five": Effect(counters={"n": 5}, rollups={"n": 5}),
            "some": Effect(counters={"n": Carried("x")}, rollups={"n": Carried("x")}),
            "more": Effect(counters={"n": Carried("y")}, rollups={"n": Carried("y")}),
        },
        (HOUR, DAY),
    )
    carried = {"some": {"x": 10}, "more": {"y": 100}}
    log = [
        Event(skill_id="a", kind=kind, occurred_at=NOON, deltas=carried.get(kind))
        for kind in projection.kinds
    ]

    deltas = added_by(projection, log * 2)

    assert deltas.totals == {"a": (232,)}
    for granularity in (HOUR, DAY):
        assert deltas.rollups[granularity] == {(bucket_of(NOON, granularity), "a"): (232,)}


def test_every_bucket_has_a_whole_number():
    """Stores put the numbers of buckets into keys: a float would equal them, and be none."""
    hourly = attrs.evolve(SKILL_STATS, granularities=(HOUR, DAY))
    event = Event(skill_id="a", kind="download", occurred_at=NOON)

    deltas = added_by(hourly, [event])

    assert {
        granularity: [type(bucket) for bucket, _ in rows]
        for granularity, rows in deltas.rollups.items()
    } == {HOUR: [int], DAY: [int]}


@given(data=st.data(), projection=projections())
def test_what_is_forgotten_is_left_out(data, projection):
    """Deltas without some skills are the deltas of the events of the others."""
    log = data.draw(countable_logs_for(projection))
    forgotten = frozenset(data.draw(st.lists(skill_ids)))

    deltas = added_by(projection, log).without(forgotten)

    assert deltas == added_by(
        projection, [event for event in log if event.skill_id not in forgotten]
    )


# What a table can count


@given(data=st.data(), projection=projections())
def test_a_page_can_be_counted_if_each_of_its_events_can(data, projection):
    """A tally shows every event that the table cannot count."""
    log = data.draw(logs_for(projection))
    faults = [projection.fault_in(event.kind, event.deltas) for event in log]

    countable = can_count(projection, Tally.of(log, projection.finest))

    assert countable == all(fault is None for fault in faults)


CLEAR = {"all_time": -1, "current": -1}


@pytest.mark.parametrize(
    ("kind", "deltas", "fault"),
    [
        ("comment", None, "unknown kind 'comment'"),
        ("Download", None, "unknown kind 'Download'"),
        ("download", {"n": 1}, "kind 'download' takes no deltas"),
        (
            "install_clear",
            None,
            "kind 'install_clear' must carry exactly the deltas all_time, current",
        ),
        (
            "install_clear",
            {"all_time": -1},
            "kind 'install_clear' must carry exactly the deltas all_time, current",
        ),
        (
            "install_clear",
            {**CLEAR, "more": 1},
            "kind 'install_clear' must carry exactly the deltas all_time, current",
        ),
        (
            "install_clear",
            {"all_time": -1, "Current": -1},
            "kind 'install_clear' must carry exactly the deltas all_time, current",
        ),
    ],
)
@pytest.mark.parametrize("before", [0, 2])
def test_what_cannot_be_counted_is_named(kind, deltas, fault, before):
    """An unknown kind and missing, surplus or wrongly named deltas are refused."""
    event = Event(skill_id="a", kind=kind, occurred_at=NOON, deltas=deltas, event_id="e")
    fine = Event(skill_id="a", kind="install_clear", occurred_at=NOON, deltas=CLEAR)

    with pytest.raises(UncountableEventError) as caught:
        SKILL_STATS.check(event)

    error = caught.value
    assert (error.reason, error.projection, error.skill_id) == (fault, "skill_stats", "a")
    assert (error.kind, error.event_id, error.position, error.index) == (kind, "e", None, None)
    assert SKILL_STATS.fault_in(kind, deltas) == fault
    assert can_count(SKILL_STATS, Tally.of([fine], DAY))
    assert not can_count(SKILL_STATS, Tally.of([fine] * before + [event], DAY))


def test_a_surplus_does_not_hide_a_lack():
    """Two faults that cancel out in a sum are still seen."""
    lacking = Event(skill_id="a", kind="install_clear", occurred_at=NOON, deltas={"all_time": 1})
    other = Event(skill_id="a", kind="install_clear", occurred_at=NOON, deltas={"current": 1})

    assert not can_count(SKILL_STATS, Tally.of([lacking, other], DAY))


# Bad tables


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "N",
        "nN",
        "1n",
        "_n",
        "a-b",
        "a b",
        "a.b",
        'a"b',
        "a'b",
        "ä",
        "a\n",
        "\x00",
        "x" * 41,
        "skill_id",
        "hour",
        "day",
        "rowid",
        "oid",
        5,
        None,
        b"n",
    ],
)
def test_a_bad_name_is_refused(bad):
    """Names become names of tables and columns: short, plain, and not taken."""
    rule = (
        "must be 1 to 40 lower-case letters, digits and '_', begin with a letter, and not be one of"
        f" day, hour, oid, rowid, skill_id: {bad!r}"
    )

    with pytest.raises(InvalidProjectionError) as of_table:
        Projection(bad, {"k": ONE})
    with pytest.raises(InvalidProjectionError) as of_counter:
        Effect(counters={bad: 1})
    with pytest.raises(InvalidProjectionError) as of_column:
        Effect(rollups={bad: 1})

    assert str(of_table.value) == f"the name of a projection {rule}"
    assert str(of_counter.value) == f"the name of a counter or rollup column {rule}"
    assert str(of_column.value) == f"the name of a counter or rollup column {rule}"


@pytest.mark.parametrize("bad", ["skillstat_events", "skillstat", "sqlite_master", "sqlite"])
def test_a_projection_cannot_take_the_name_of_other_tables(bad):
    """Tables that begin with our prefix or SQLite's have another owner."""
    with pytest.raises(InvalidProjectionError, match=f"the name '{bad}' is taken"):
        Projection(bad, {"k": ONE})


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        ("", "must have 1 to 1,000 bytes in UTF-8, not 0"),
        ("x" * 1_001, "must have 1 to 1,000 bytes in UTF-8, not 1,001"),
        (5, "must be a string, not int"),
        (None, "must be a string, not NoneType"),
        ("\ud800", "holds half of a surrogate pair, which is no character"),
    ],
)
def test_what_no_event_can_have_is_no_kind_and_no_delta(bad, complaint):
    """A kind, and the name of a delta, is a text as events have it."""
    with pytest.raises(InvalidProjectionError, match=f"^a kind {complaint}$"):
        Projection("p", {"k": ONE, bad: ONE})
    with pytest.raises(InvalidProjectionError, match=f"^the name of a delta {complaint}$"):
        Carried(bad)


@pytest.mark.parametrize("bad", [True, 1.0, "1", None, 2**63, -(2**63) - 1, [1], float("nan")])
@pytest.mark.parametrize("where", ["counters", "rollups"])
def test_a_bad_amount_is_refused(bad, where):
    """A table adds whole numbers within 64 bits, or what the event carries."""
    with pytest.raises(InvalidProjectionError, match="'n' must add a whole number"):
        Effect(**{where: {"n": bad}})


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ({}, "no kind of projection 'p' feeds a counter"),
        ({"k": RETIRED}, "no kind of projection 'p' feeds a counter"),
        ({"k": Effect(rollups={"n": 1})}, "no kind of projection 'p' feeds a counter"),
        ({"k": {"n": 1}}, "kind 'k' needs an Effect"),
        ({"k": None}, "kind 'k' needs an Effect"),
        ({"k": 1}, "kind 'k' needs an Effect"),
    ],
)
def test_a_table_that_counts_nothing_is_refused(table, complaint):
    """Each kind has an effect, and one at least feeds a counter."""
    with pytest.raises(InvalidProjectionError, match=complaint):
        Projection("p", table)


def test_granularities_are_given_once_and_where_they_are_needed():
    """Finest first, whatever the order; none only where there are no rollups."""
    with_rollups = {"k": Effect(counters={"n": 1}, rollups={"n": 1})}

    with pytest.raises(InvalidProjectionError, match=r"^a granularity is given twice$"):
        Projection("p", with_rollups, (DAY, DAY))
    with pytest.raises(InvalidProjectionError, match=r"^rollup columns need at least one"):
        Projection("p", with_rollups, ())
    assert Projection("p", with_rollups, (DAY, HOUR)).granularities == (HOUR, DAY)
    assert Projection("p", with_rollups, (DAY, HOUR)).finest is HOUR


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        (("day",), "not a Granularity: 'day'"),
        ((None,), "not a Granularity: None"),
        ((DAY, "hour"), "not a Granularity: 'hour'"),
        ((timedelta(days=1),), "not a Granularity: datetime.timedelta(days=1)"),
        ("day", "not a Granularity: 'd'"),
        (DAY, "not a tuple of Granularity: <Granularity.DAY: 'day'>"),
        (None, "not a tuple of Granularity: None"),
    ],
)
def test_what_is_no_granularity_is_refused(bad, complaint):
    """Granularities are members of `Granularity`, not their names."""
    with pytest.raises(InvalidProjectionError) as caught:
        Projection("p", {"k": ONE}, bad)

    assert str(caught.value) == complaint


def test_only_declared_granularities_are_there():
    """Asking for rollups that are not kept names the projection and what it lacks."""
    SKILL_STATS.check_granularity(DAY)

    with pytest.raises(InvalidProjectionError, match=r"'skill_stats' has no rollups by hour$"):
        SKILL_STATS.check_granularity(HOUR)
    with pytest.raises(InvalidProjectionError, match=r"'skill_stats' has no rollups by 'day'$"):
        SKILL_STATS.check_granularity("day")  # type: ignore[arg-type]  # that is the point


# The words of a query language are no bad names

SQL_WORDS = [
    "select", "table", "order", "group", "where", "index", "values", "null", "excluded", "start",
    "there", "min", "count", "key", "rank", "end", "position", "text", "integer", "x" * 40,
]  # fmt: skip


@pytest.mark.parametrize("word", SQL_WORDS)
@pytest.mark.parametrize("granularities", [(HOUR, DAY), (DAY,)])
def test_words_of_sql_are_good_names(word, granularities):
    """Every name is quoted in SQL, so a plain word is never refused for what it means there."""
    projection = Projection(
        word, {"k": Effect(counters={word: 1}, rollups={word: 1})}, granularities
    )
    db = sqlite3.connect(":memory:")
    create_tables(db, projection)
    log, stats = SQLiteEventStore(db), SQLiteStatsStore(db, projection)
    days = [NOON - timedelta(days=age) for age in (2, 1, 0)]
    log.append([Event(skill_id=skill, kind="k", occurred_at=at) for at in days for skill in "ab"])

    drain(log, stats, page=2)
    read = stats.rollups("a", DAY)
    stats.forget("b")

    db.close()
    assert dict(read) == {at.replace(hour=0): {word: 1} for at in days}


# Values


@given(projection=projections())
@example(projection=SKILL_STATS)
@example(projection=Projection("p", {"k": ONE}, ()))
def test_the_table_reads_back(projection):
    """A projection, its table and its pickle are one, in the same order of columns."""
    twins = [
        Projection.from_table(projection.table),
        pickle.loads(pickle.dumps(projection)),
        attrs.evolve(projection),
    ]

    assert projection.table.isascii()
    for twin in twins:
        assert twin == projection
        assert hash(twin) == hash(projection)
        assert twin.table == projection.table
        assert (twin.counters, twin.columns) == (projection.counters, projection.columns)
        assert twin.controls == projection.controls


@given(data=st.data(), projection=projections())
def test_the_order_of_kinds_does_not_matter(data, projection):
    """Projections are compared by content."""
    order = data.draw(st.permutations(list(projection.kinds)))

    twin = Projection(
        projection.name,
        {kind: projection.kinds[kind] for kind in order},
        tuple(reversed(projection.granularities)),
    )

    assert twin == projection
    assert hash(twin) == hash(projection)
    assert twin.difference_from(projection) is None
    assert set(twin.controls) == set(projection.controls)


class Name(str, enum.Enum):  # noqa: UP042 - that is the point
    """An enumeration that prints as its member."""

    N = "n"


def test_names_are_plain_whatever_their_strings_print():
    """A string of a subclass is the string it equals, wherever a table holds one."""
    amounts_: dict[str, int | Carried] = {Name.N: Carried(Name.N)}

    projection = Projection(Name.N, {Name.N: Effect(counters=amounts_, rollups=amounts_)})

    twin = Projection("n", {"n": Effect(counters={"n": Carried("n")}, rollups={"n": Carried("n")})})
    assert projection == twin
    assert repr(projection) == repr(twin)
    assert projection.table == twin.table


def test_equal_effects_are_one_key():
    """Effects are compared by content, and hashed although they hold mappings."""
    assert len({ONE, Effect(counters={"n": 1}), attrs.evolve(ONE)}) == 1
    assert ONE not in {RETIRED, Effect(rollups={"n": 1})}


def test_a_table_never_changes():
    """Kinds and amounts are read-only copies of what was given."""
    amounts_, table = {"n": 1}, {"k": ONE}
    effect, projection = Effect(counters=amounts_), Projection("p", table)

    amounts_["n"] = 2
    table["other"] = ONE

    assert (effect.counters, projection.kinds) == ({"n": 1}, {"k": ONE})
    for frozen in (effect.counters, effect.rollups, projection.kinds):
        with pytest.raises(TypeError):
            frozen["n"] = 2  # type: ignore[index]  # that is the point
    with pytest.raises(AttributeError):
        projection.name = "q"  # type: ignore[misc]  # that is the point
    assert pickle.loads(pickle.dumps(effect)) == effect


def test_the_table_is_plain_json():
    """What is stored says all there is, for other programs too."""
    projection = Projection(
        "p", {"ä": Effect(counters={"n": Carried("x")}, rollups={"m": -1}), "old": RETIRED}
    )

    assert json.loads(projection.table) == {
        "name": "p",
        "granularities": ["day"],
        "kinds": {
            "ä": {"counters": {"n": {"carried": "x"}}, "rollups": {"m": -1}},
            "old": {"counters": {}, "rollups": {}},
        },
    }


def test_the_text_of_a_table_never_changes_between_versions():
    """Tables are stored and compared as texts: this one may never come out otherwise."""
    projection = Projection("p", {"ä": Effect(counters={"n": Carried("x")}, rollups={"m": -1})})

    assert projection.table == (
        '{"name":"p","granularities":["day"],"kinds":{"\\u00e4":'
        '{"counters":{"n":{"carried":"x"}},"rollups":{"m":-1}}}}'
    )


def table_with(**parts: Any) -> str:
    return json.dumps({**json.loads(Projection("p", {"k": ONE}).table), **parts})


def table_with_amount(amount: Any) -> str:
    return table_with(kinds={"k": {"counters": {"n": amount}, "rollups": {}}})


@pytest.mark.parametrize(
    "garbage",
    [
        "",
        "nonsense",
        "null",
        "1",
        "[]",
        "{}",
        '"p"',
        "[" * 100_000,
        '{"name": "p"}',
        table_with(name=5),
        table_with(name="P"),
        table_with(kinds=None),
        table_with(kinds=[]),
        table_with(kinds={}),
        table_with(kinds={"k": None}),
        table_with(kinds={"k": {}}),
        table_with(kinds={"k": {"counters": [], "rollups": {}}}),
        table_with(granularities=None),
        table_with(granularities=["week"]),
        table_with(granularities=[["day"]]),
        table_with(granularities=["day", "day"]),
        table_with(granularities="day"),
        table_with_amount(amount=True),
        table_with_amount(1.5),
        table_with_amount(2**63),
        table_with_amount("1"),
        table_with_amount(None),
        table_with_amount([1]),
        table_with_amount({}),
        table_with_amount({"carried": 5}),
        table_with_amount({"carried": ""}),
    ],
)
def test_garbage_is_no_table(garbage):
    """A text that is not a table is refused in one way."""
    with pytest.raises(InvalidProjectionError, match="not the table of a projection"):
        Projection.from_table(garbage)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(projection=projections(), data=st.data())
def test_a_damaged_table_is_refused_or_is_one(projection, data):
    """Whatever stands in the parts of a table, reading it raises nothing else."""
    parts = json.loads(projection.table)
    part = data.draw(st.sampled_from([*parts]))
    parts[part] = data.draw(json_values)

    try:
        read = Projection.from_table(json.dumps(parts))
    except InvalidProjectionError:
        return

    assert Projection.from_table(read.table) == read


# Growing a table


@given(data=st.data(), projection=projections())
def test_a_table_may_grow(data, projection):
    """Kinds may be added, whatever they feed; then the old table is the older."""
    added_kinds = data.draw(st.dictionaries(st.sampled_from(["new", "newer"]), effects, min_size=1))

    grown = Projection(
        projection.name, {**projection.kinds, **added_kinds}, projection.granularities
    )

    assert grown.difference_from(projection) is None
    assert "may be the older" in (projection.difference_from(grown) or "")


@pytest.mark.parametrize(
    ("newer", "difference"),
    [
        (Projection("q", {"k": ONE, "l": ONE}), "they belong to projection 'p'"),
        (Projection("p", {"k": ONE, "l": ONE}, (HOUR,)), "the granularities differ"),
        (Projection("p", {"k": ONE, "l": ONE}, (HOUR, DAY)), "the granularities differ"),
        (Projection("p", {"k": ONE, "l": ONE}, ()), "the granularities differ"),
        (
            Projection("p", {"k": ONE, "m": ONE}),
            "kind 'l' is missing in this program's table, which may be the older",
        ),
        (Projection("p", {"k": ONE, "l": RETIRED}), "kind 'l' has another effect"),
        (
            Projection("p", {"k": ONE, "l": Effect(counters={"n": 2})}),
            "kind 'l' has another effect",
        ),
        (
            Projection("p", {"k": ONE, "l": Effect(counters={"n": Carried("n")})}),
            "kind 'l' has another effect",
        ),
        (
            Projection("p", {"k": ONE, "l": Effect(counters={"n": 1}, rollups={"n": 1})}),
            "kind 'l' has another effect",
        ),
        (Projection("p", {"l": ONE, "k": ONE}), None),
    ],
)
def test_any_other_change_of_a_table_is_named(newer, difference):
    """What was counted stays as it was counted."""
    older = Projection("p", {"k": ONE, "l": ONE})

    assert newer.difference_from(older) == difference

"""Events are checked at birth, never change, and keep their time to the microsecond."""

from __future__ import annotations

import copy
import enum
import pickle
from collections import UserDict
from collections.abc import Mapping
from datetime import date, datetime, timedelta, timezone, tzinfo
from typing import Any

import attrs
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from skillstat_agg import Event, Place, Position, RecordedEvent
from skillstat_agg._buckets import from_microseconds, microseconds
from skillstat_agg._events import MAX_DELTAS, MAX_TEXT, check_deltas, check_skill_id
from skillstat_agg.errors import InvalidEventError
from tests.logs import NOON
from tests.logs import events as clear_events

TEXTS = ["skill_id", "kind", "event_id", "note"]


def an_event(**fields: Any) -> Event:
    """Return a download with some other fields."""
    given: dict[str, Any] = {"skill_id": "a", "kind": "download", "occurred_at": NOON}
    return Event(**{**given, **fields})


def zone(hours: float) -> timezone:
    return timezone(timedelta(hours=hours))


class ShortNight(tzinfo):
    """Two hours ahead of UTC until October 25, 03:00, then one: 02:30 comes twice."""

    def utcoffset(self, at: datetime | None) -> timedelta:
        assert at is not None
        end = at.replace(month=10, day=25, hour=3, minute=0, second=0, microsecond=0)
        is_summer = at < end - timedelta(hours=1) or (at < end and not at.fold)
        return timedelta(hours=2 if is_summer else 1)

    def dst(self, at: datetime | None) -> timedelta:
        return self.utcoffset(at) - timedelta(hours=1)

    def tzname(self, at: datetime | None) -> str:
        return "summer" if self.dst(at) else "winter"


class ZoneWithoutOffset(tzinfo):
    """A zone that does not know how far from UTC it is: then a time is as good as naive."""

    def utcoffset(self, at: datetime | None) -> None:
        return None

    def dst(self, at: datetime | None) -> None:
        return None

    def tzname(self, at: datetime | None) -> str:
        return "nowhere"


class Stamp(datetime):
    """A datetime of somebody else's class."""


texts = st.text(min_size=1, max_size=20).filter(str.isprintable) | st.sampled_from(
    ["\x01", "a ", " a", "ä", "a\u0308", "\N{GRINNING FACE}", "x" * MAX_TEXT]
)
amounts = st.integers(-(2**63), 2**63 - 1)
delta_maps = st.dictionaries(texts, amounts, min_size=1, max_size=4)
aware_times = st.datetimes(
    timezones=st.integers(-14 * 60, 14 * 60).map(lambda minutes: zone(minutes / 60))
)


@st.composite
def any_events(draw: st.DrawFn) -> Event:
    """Events with all their fields, of any kind."""
    at = draw(aware_times)
    assume(timedelta(days=1) < at - datetime.min.replace(tzinfo=timezone.utc))
    assume(timedelta(days=1) < datetime.max.replace(tzinfo=timezone.utc) - at)
    return Event(
        skill_id=draw(texts),
        kind=draw(texts),
        occurred_at=at,
        event_id=draw(st.none() | texts),
        deltas=draw(st.none() | delta_maps),
        note=draw(st.none() | texts),
    )


# Texts


@pytest.mark.parametrize("field", TEXTS)
@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        ("", "must have 1 to 1,000 bytes in UTF-8, not 0"),
        ("x" * 1_001, "must have 1 to 1,000 bytes in UTF-8, not 1,001"),
        ("ä" * 500 + "x", "must have 1 to 1,000 bytes in UTF-8, not 1,001"),
        ("a\0", "holds a NUL character, which many databases cannot store"),
        (5, "must be a string, not int"),
        (b"a", "must be a string, not bytes"),
        (["a"], "must be a string, not list"),
        ("a\ud800", "holds half of a surrogate pair, which is no character"),
        ("\udfffä", "holds half of a surrogate pair, which is no character"),
    ],
)
def test_a_bad_text_is_refused_at_birth(field, bad, complaint):
    """A text is a string of 1 to 1,000 bytes, and the error says which one is not."""
    with pytest.raises(InvalidEventError) as caught:
        an_event(**{field: bad})

    assert str(caught.value) == f"{field} {complaint}"
    assert caught.value.index is None


@pytest.mark.parametrize("field", ["skill_id", "kind"])
def test_skill_and_kind_are_never_absent(field):
    """None is no skill and no kind."""
    with pytest.raises(InvalidEventError, match=f"{field} must be a string, not NoneType"):
        an_event(**{field: None})


@pytest.mark.parametrize("field", TEXTS)
@given(text=texts)
@example(text="x" * 1_000)
@example(text="\N{GRINNING FACE}" * 250)
@example(text="\x01")
@example(text="; DROP TABLE skillstat_events; --")
def test_any_other_text_is_kept_as_it_is(field, text):
    """Texts are opaque: not stripped, folded or normalised."""
    event = an_event(**{field: text})

    assert getattr(event, field) == text


def test_fields_have_names():
    """No field is given by its place alone."""
    with pytest.raises(TypeError):
        Event("a", "download", NOON)  # type: ignore[call-arg]  # that is the point


# Times

WITHOUT_ZONE = "must have a time zone; give an aware datetime such as one in UTC"


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        (datetime(2026, 3, 1), WITHOUT_ZONE),  # noqa: DTZ001 - that is the point
        (datetime(2026, 3, 1, tzinfo=ZoneWithoutOffset()), WITHOUT_ZONE),
        (date(2026, 3, 1), "must be a datetime, not date"),
        ("2026-03-01T12:00:00Z", "must be a datetime, not str"),
        (1_772_366_400, "must be a datetime, not int"),
        (float("nan"), "must be a datetime, not float"),
        (None, "must be a datetime, not NoneType"),
    ],
)
def test_a_bad_time_is_refused_at_birth(bad, complaint):
    """Only an aware datetime says when something happened."""
    with pytest.raises(InvalidEventError, match=f"^occurred_at {complaint}$"):
        an_event(occurred_at=bad)


@pytest.mark.parametrize(
    "beyond",
    [
        datetime(1, 1, 1, 0, 59, 59, 999_999, tzinfo=zone(1)),
        datetime(1, 1, 1, tzinfo=zone(14)),
        datetime(9999, 12, 31, 23, tzinfo=zone(-1)),
        datetime.max.replace(tzinfo=zone(-14)),
    ],
)
def test_a_time_outside_the_years_of_utc_is_refused(beyond):
    """A time whose year in UTC would be 0 or 10000 has no place."""
    complaint = "^occurred_at lies outside the years 1 to 9999 in UTC$"

    with pytest.raises(InvalidEventError, match=complaint):
        an_event(occurred_at=beyond)


@pytest.mark.parametrize(
    ("given_at", "kept"),
    [
        (datetime(1, 1, 1, 1, tzinfo=zone(1)), datetime(1, 1, 1, tzinfo=timezone.utc)),
        (datetime(1, 1, 1, tzinfo=zone(-14)), datetime(1, 1, 1, 14, tzinfo=timezone.utc)),
        (
            datetime(9999, 12, 31, 22, 59, 59, 999_999, tzinfo=zone(-1)),
            datetime.max.replace(tzinfo=timezone.utc),
        ),
        (
            datetime.max.replace(tzinfo=zone(14)),
            datetime(9999, 12, 31, 9, 59, 59, 999_999, tzinfo=timezone.utc),
        ),
        (
            datetime(1970, 1, 1, 0, 59, 59, 999_999, tzinfo=zone(1)),
            datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone.utc),
        ),
        (
            datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone.utc),
            datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone.utc),
        ),
        (datetime(2026, 3, 1, 17, 30, tzinfo=zone(5.5)), NOON),
    ],
)
def test_a_time_is_kept_in_utc(given_at, kept):
    """Any zone is fine, and so is any time of the years 1 to 9999, also before 1970."""
    event = an_event(occurred_at=given_at)

    assert event.occurred_at == kept
    assert event.occurred_at.tzinfo is timezone.utc


def test_the_hour_that_comes_twice_is_two_hours():
    """The two 02:30 of the night on which summer time ends are an hour apart."""
    first = datetime(2026, 10, 25, 2, 30, tzinfo=ShortNight())

    events = [an_event(occurred_at=first.replace(fold=fold)) for fold in (0, 1)]

    assert [event.occurred_at for event in events] == [
        datetime(2026, 10, 25, 0, 30, tzinfo=timezone.utc),
        datetime(2026, 10, 25, 1, 30, tzinfo=timezone.utc),
    ]


def test_equal_times_look_alike():
    """Which of two like hours it was says nothing in UTC, and is not kept."""
    event = an_event(occurred_at=NOON.replace(fold=1))

    assert repr(event) == repr(an_event())


def test_a_datetime_of_another_class_becomes_a_plain_one():
    """What is kept is a plain datetime, so that equal events look alike."""
    event = an_event(occurred_at=Stamp(2026, 3, 1, 12, tzinfo=timezone.utc))

    assert type(event.occurred_at) is datetime
    assert event == an_event()


@given(at=st.datetimes(timezones=st.just(timezone.utc)))
@example(at=datetime(1, 1, 1, tzinfo=timezone.utc))
@example(at=datetime.max.replace(tzinfo=timezone.utc))
@example(at=datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone.utc))
def test_microseconds_are_exact(at):
    """A time that went through its number of microseconds is the same time."""
    assert from_microseconds(microseconds(at)) == at
    assert an_event(occurred_at=at).occurred_at == at


# Deltas


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        ({}, r"deltas must hold 1 to 100 numbers \(or be None\), not 0"),
        ({f"n{i}": i for i in range(101)}, "deltas must hold 1 to 100 numbers"),
        ([("all_time", 1)], "deltas must map names to whole numbers, not be of type list"),
        ((), "deltas must map names to whole numbers, not be of type tuple"),
        ("all_time", "deltas must map names to whole numbers, not be of type str"),
        (0, "deltas must map names to whole numbers, not be of type int"),
        ({"n": True}, "delta 'n' must be a whole number, not bool"),
        ({"n": 1.0}, "delta 'n' must be a whole number, not float"),
        ({"n": float("nan")}, "delta 'n' must be a whole number, not float"),
        ({"n": "1"}, "delta 'n' must be a whole number, not str"),
        ({"n": None}, "delta 'n' must be a whole number, not NoneType"),
        ({"n": 2**63}, "delta 'n' must fit signed 64 bits"),
        ({"n": -(2**63) - 1}, "delta 'n' must fit signed 64 bits"),
        ({"a": 1, "n": 10**5_000}, "delta 'n' must fit signed 64 bits"),
        ({5: 1}, "the name of a delta must be a string, not int"),
        ({"a": 1, 5: 1}, "the name of a delta must be a string, not int"),
        ({None: 1}, "the name of a delta must be a string, not NoneType"),
        ({"": 1}, "the name of a delta must have 1 to 1,000 bytes in UTF-8"),
        ({"x" * 1_001: 1}, "the name of a delta must have 1 to 1,000 bytes in UTF-8"),
        ({"\ud800": 1}, "the name of a delta holds half of a surrogate pair"),
    ],
)
def test_bad_deltas_are_refused_at_birth(bad, complaint):
    """Deltas are 1 to 100 whole numbers within 64 bits by name; a bool is none."""
    with pytest.raises(InvalidEventError, match=complaint):
        an_event(deltas=bad)


@pytest.mark.parametrize("bad", [{}, {"n": True}, {"n": 2**63}, []])
def test_stored_deltas_are_checked_like_given_ones(bad):
    """What a database holds as deltas is judged by the same rule, in the same words."""
    with pytest.raises(InvalidEventError) as refused:
        an_event(deltas=bad)

    with pytest.raises(InvalidEventError) as caught:
        check_deltas(bad)

    assert str(caught.value) == str(refused.value)


def test_stored_deltas_are_never_none():
    """Where a database holds deltas, there are some."""
    with pytest.raises(InvalidEventError, match="not be of type NoneType"):
        check_deltas(None)  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize("bad", ["", "x" * 1_001, None, 5, "\ud800"])
def test_what_is_forgotten_must_be_a_skill(bad):
    """A skill to forget is checked as the skill of an event is."""
    with pytest.raises(InvalidEventError, match=r"^skill_id "):
        check_skill_id(bad)


@given(deltas=delta_maps)
@example(deltas={"least": -(2**63), "most": 2**63 - 1})
@example(deltas={f"n{i}": i for i in range(MAX_DELTAS)})
def test_deltas_are_kept_in_the_order_of_their_names(deltas):
    """Any mapping is fine, and equal deltas look alike."""
    event = an_event(deltas=UserDict(reversed(deltas.items())))

    assert event.deltas == deltas
    assert list(event.deltas or ()) == sorted(deltas)
    assert check_deltas(deltas) == deltas


# Values


@pytest.mark.parametrize("field", [field.name for field in attrs.fields(Event)])
def test_an_event_never_changes(field):
    """No field can be set or deleted."""
    event = an_event(deltas={"n": 1})

    with pytest.raises(AttributeError):
        setattr(event, field, None)
    with pytest.raises(AttributeError):
        delattr(event, field)


def test_deltas_never_change():
    """The deltas are read-only, and a copy of what was given."""
    given_deltas = {"n": 1}
    event = an_event(deltas=given_deltas)

    given_deltas["n"] = 2

    assert event.deltas == {"n": 1}
    with pytest.raises(TypeError):
        event.deltas["n"] = 3  # type: ignore[index]  # that is the point


@given(event=any_events() | clear_events())
@example(event=an_event(event_id="e", deltas={"n": 1}, note="n"))
def test_events_survive_pickle_and_copy(event):
    """A pickled or copied event is the same event, and still read-only."""
    twins = [
        copy.copy(event),
        copy.deepcopy(event),
        attrs.evolve(event),
        *(pickle.loads(pickle.dumps(event, protocol)) for protocol in range(6)),
    ]

    for twin in twins:
        assert twin == event
        assert hash(twin) == hash(event)
        assert repr(twin) == repr(event)
        assert twin.content_digest() == event.content_digest()


def test_a_pickle_is_checked_like_anything_else():
    """A pickle of what is no event does not load as one."""
    pickled = pickle.dumps(an_event(skill_id="mark"), protocol=2)

    with pytest.raises(InvalidEventError):
        pickle.loads(pickled.replace(b"X\x04\x00\x00\x00mark", b"X\x00\x00\x00\x00"))


@pytest.mark.parametrize(
    "other",
    [
        {"skill_id": "b"},
        {"kind": "star"},
        {"occurred_at": NOON + timedelta(microseconds=1)},
        {"event_id": "e"},
        {"deltas": {"n": 1}},
        {"note": "n"},
    ],
)
def test_events_are_compared_by_all_their_fields(other):
    """Two events are equal if every field is, whatever the zone of the time was."""
    twin = an_event(occurred_at=NOON.astimezone(zone(5.5)))

    assert twin == an_event()
    assert hash(twin) == hash(an_event())
    assert an_event(**other) != an_event()


def test_places_and_recorded_events_are_values():
    """They are compared by content, frozen, and survive a pickle."""
    place = Place("log", Position((1,)), 7)
    recorded = RecordedEvent(
        position=Position((1,)), event=an_event(), recorded_at=NOON, fingerprint=7
    )

    for value in (place, recorded):
        assert pickle.loads(pickle.dumps(value)) == value
        assert copy.deepcopy(value) == value
        assert len({value, copy.copy(value)}) == 1
        with pytest.raises(AttributeError):
            value.position = Position((2,))  # type: ignore[misc]  # that is the point


# Digests


def contents(event: Event) -> tuple[str, str, Mapping[str, int] | None]:
    return event.skill_id, event.kind, event.deltas


tricky = st.text(alphabet="1:a,-", min_size=1, max_size=6)
tricky_events = st.builds(
    Event,
    skill_id=tricky,
    kind=tricky,
    occurred_at=st.just(NOON),
    deltas=st.none() | st.dictionaries(tricky, st.integers(-11, 11), min_size=1, max_size=3),
)


@given(one=tricky_events, other=tricky_events)
@example(one=an_event(skill_id="a", kind="bc"), other=an_event(skill_id="ab", kind="c"))
@example(one=an_event(skill_id="1:a", kind="b"), other=an_event(skill_id="1", kind=":a1:b"))
@example(one=an_event(deltas={"a": 11}), other=an_event(deltas={"a": 1, "1": 1}))
@example(one=an_event(deltas={"a": 1, "b": 2}), other=an_event(deltas={"a": 2, "b": 1}))
@example(one=an_event(kind="k", deltas={"a": 1}), other=an_event(kind="k1:a1:1"))
@example(one=an_event(skill_id="ä"), other=an_event(skill_id="a\u0308"))
def test_unlike_contents_have_unlike_digests(one, other):
    """Two events share a digest exactly if they share skill, kind and deltas."""
    assert (one.content_digest() == other.content_digest()) == (contents(one) == contents(other))


@given(event=any_events(), at=aware_times, event_id=st.none() | texts, note=st.none() | texts)
def test_a_retry_with_a_fresh_clock_has_the_same_digest(event, at, event_id, note):
    """The time, the id and the note of an event are no part of its content."""
    assume(timedelta(days=1) < at - datetime.min.replace(tzinfo=timezone.utc))
    assume(timedelta(days=1) < datetime.max.replace(tzinfo=timezone.utc) - at)
    retry = attrs.evolve(event, occurred_at=at, event_id=event_id, note=note)

    assert retry.content_digest() == event.content_digest()


def test_a_digest_never_changes_between_versions():
    """Digests are stored for ever: this one may never come out otherwise."""
    event = an_event(skill_id="ä", kind="install_clear", deltas={"current": -1, "all_time": 2})

    digest = event.content_digest()

    assert digest.hex() == "15d2ad67e0a4189b8bc9b2e67d2048a6"


class Kind(str, enum.Enum):  # noqa: UP042 - that is the point
    """An enumeration that prints as its member, as producers have them."""

    DOWNLOAD = "download"


def test_equal_events_have_equal_digests_whatever_their_strings_print():
    """A string of a subclass is the string it equals, also in the digest."""
    pairs = [
        *((an_event(**{field: Kind.DOWNLOAD}), an_event(**{field: "download"})) for field in TEXTS),
        (an_event(deltas={Kind.DOWNLOAD: 1}), an_event(deltas={"download": 1})),
    ]

    for event, twin in pairs:
        assert event == twin
        assert repr(event) == repr(twin)
        assert event.content_digest() == twin.content_digest()


# Positions

numbers = st.lists(st.integers(0, 2**70), min_size=1, max_size=3).map(tuple)


@given(ones=st.lists(numbers, max_size=8))
def test_positions_are_ordered_like_their_numbers(ones):
    """Positions compare in lexicographic order."""
    positions = [Position(each) for each in ones]

    assert [tuple(position) for position in sorted(positions)] == sorted(ones)


@given(parts=numbers)
@example(parts=(812, 44))
def test_the_text_of_a_position_reads_back(parts):
    """A position, its text form and its pickle are one."""
    position = Position(parts)

    assert Position.parse(str(position)) == position
    assert pickle.loads(pickle.dumps(position)) == position
    assert copy.deepcopy(position) == position
    assert type(copy.copy(position)) is Position
    assert repr(position) == f"Position({parts!r})"


@pytest.mark.parametrize(
    "bad",
    ["", "-", "-1", "1-", "1--2", "+1", "01", "1_0", " 1", "1\n", "1.0", "a", "٣", "²", "1,2"],
)
def test_a_bad_text_is_no_position(bad):
    """Only what ``str`` makes is read: one text for one position."""
    with pytest.raises(ValueError, match=r"."):
        Position.parse(bad)


@pytest.mark.parametrize("bad", ["01", "+1", "1_0", " 1"])
def test_a_text_with_the_numbers_of_a_position_is_shown(bad):
    """A text that reads as numbers and is none of ours is named by the error."""
    with pytest.raises(ValueError, match="not the text form of a position") as caught:
        Position.parse(bad)

    assert str(caught.value) == f"not the text form of a position: {bad!r}"


@given(text=st.text(alphabet="0123456789-", max_size=8))
def test_a_text_is_refused_or_is_the_text_of_its_position(text):
    """No two texts name one position."""
    try:
        position = Position.parse(text)
    except ValueError:
        return

    assert str(position) == text


@pytest.mark.parametrize("bad", [(), (-1,), (1, -1), (1.0,), (True,), ("1",), (None,), [], ""])
def test_a_position_is_made_of_whole_numbers(bad):
    """A position holds at least one number; none is negative, and a bool is none."""
    with pytest.raises(ValueError, match="whole numbers of at least 0"):
        Position(bad)


def test_a_position_of_an_iterator_holds_its_numbers():
    """No way of giving the numbers leads to a position without any."""
    position = Position(iter((812, 44)))

    assert position == Position((812, 44))

"""What every append does with the events of one call, before it stores them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skillstat_agg import SKILL_STATS, Effect, Event, Projection
from skillstat_agg._appending import checked_events, content_digests, unseen_events
from skillstat_agg.errors import EventIdConflictError, InvalidEventError, UncountableEventError
from tests.logs import NOON, download, event_logs

DAY = timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)
LAST = datetime.max.replace(tzinfo=timezone.utc)

event_ids = st.none() | st.sampled_from(["e", "E", "f", "\x01"])


@st.composite
def logs_with_ids(draw: st.DrawFn, *, agree: bool = False) -> list[Event]:
    """Logs in which ids repeat; where they *agree*, an id always stands for one content."""
    log = [attrs.evolve(event, event_id=draw(event_ids)) for event in draw(event_logs())]
    if not agree:
        return log
    contents: dict[str, Event] = {}
    return [
        event
        if event.event_id is None
        else attrs.evolve(contents.setdefault(event.event_id, event), occurred_at=event.occurred_at)
        for event in log
    ]


def star(skill_id: str = "a", event_id: str | None = None) -> Event:
    return Event(skill_id=skill_id, kind="star", occurred_at=NOON, event_id=event_id)


# checked_events


@given(log=event_logs())
def test_events_that_may_be_appended_are_given_back(log):
    """Any iterable is read to its end, once, and comes back in its order."""
    given_events = checked_events(iter(log), now=NOON, max_ahead=DAY, projections=[SKILL_STATS])

    assert isinstance(given_events, Sequence)
    assert list(given_events) == log


@pytest.mark.parametrize("max_ahead", [DAY, timedelta(0), timedelta(hours=-1), MICROSECOND])
def test_an_event_may_lie_as_far_ahead_as_is_said(max_ahead):
    """The bound itself is fine; a microsecond more is refused, and the event is named."""
    fine, beyond = download(at=NOON + max_ahead), download(at=NOON + max_ahead + MICROSECOND)

    assert list(checked_events([fine], now=NOON, max_ahead=max_ahead)) == [fine]
    with pytest.raises(InvalidEventError, match="after the store's clock") as caught:
        checked_events([fine, fine, beyond, beyond], now=NOON, max_ahead=max_ahead)

    assert caught.value.index == 2
    assert str(caught.value).startswith("event 2: occurred_at 2026-")


def test_without_a_bound_any_time_is_fine():
    """``timedelta.max`` is no bound."""
    events = [download(at=LAST)]

    assert list(checked_events(events, now=NOON, max_ahead=timedelta.max)) == events


def test_a_clock_at_the_end_of_the_calendar_bounds_nothing():
    """A bound beyond the year 9999 is no error."""
    events = [download(at=LAST)]

    assert list(checked_events(events, now=LAST, max_ahead=DAY)) == events


@pytest.mark.parametrize("zone", [timezone(timedelta(hours=14)), timezone(timedelta(hours=-14))])
def test_the_zone_of_the_clock_does_not_matter(zone):
    """The store's clock may show any zone."""
    fine, beyond = download(at=NOON + DAY), download(at=NOON + DAY + MICROSECOND)

    assert list(checked_events([fine], now=NOON.astimezone(zone), max_ahead=DAY)) == [fine]
    with pytest.raises(InvalidEventError):
        checked_events([beyond], now=NOON.astimezone(zone), max_ahead=DAY)


@pytest.mark.parametrize(
    "bad", [None, "download", {"skill_id": "a"}, ("a", "download", NOON), Event]
)
def test_what_is_no_event_is_refused_and_named(bad):
    """Only events are appended."""
    with pytest.raises(InvalidEventError, match="an Event is needed, not") as caught:
        checked_events([download(), bad], now=NOON, max_ahead=DAY)

    assert caught.value.index == 1


def test_an_event_that_a_known_table_cannot_count_is_refused():
    """Each of the tables must be able to count each event; the error says which and where."""
    only_downloads = Projection("popular", {"download": Effect(counters={"downloads": 1})})
    events = [download(), star("b", "e")]

    assert (
        list(checked_events(events, now=NOON, max_ahead=DAY, projections=[SKILL_STATS])) == events
    )
    with pytest.raises(UncountableEventError) as caught:
        checked_events(events, now=NOON, max_ahead=DAY, projections=[SKILL_STATS, only_downloads])

    error = caught.value
    assert (error.projection, error.reason) == ("popular", "unknown kind 'star'")
    assert (error.skill_id, error.kind, error.event_id) == ("b", "star", "e")
    assert (error.index, error.position) == (1, None)


def test_the_first_fault_is_the_one_named():
    """Faults are found in the order of the events."""
    events = [star(), Event(skill_id="a", kind="comment", occurred_at=NOON), download(at=LAST)]

    with pytest.raises(UncountableEventError) as caught:
        checked_events(events, now=NOON, max_ahead=DAY, projections=[SKILL_STATS])

    assert caught.value.index == 1


def test_an_error_of_the_callers_iterator_is_the_callers():
    """What goes wrong while the events are made is not ours to name."""

    def events() -> Iterator[Event]:
        yield download()
        raise LookupError("the source is gone")

    with pytest.raises(LookupError, match="the source is gone"):
        checked_events(events(), now=NOON, max_ahead=DAY)


# digests


@given(log=logs_with_ids(agree=True))
def test_each_id_has_the_digest_of_its_content(log):
    """Events without an id have none; the others appear once, in order."""
    found = content_digests(log)

    ids = [event.event_id for event in log if event.event_id is not None]
    assert list(found) == list(dict.fromkeys(ids))
    assert all(
        found[event.event_id] == event.content_digest()
        for event in log
        if event.event_id is not None
    )


@given(log=logs_with_ids())
def test_one_id_with_two_contents_is_refused(log):
    """The ids in conflict are all named, once each, and no others."""
    contents: dict[str, set[bytes]] = {}
    for event in log:
        if event.event_id is not None:
            contents.setdefault(event.event_id, set()).add(event.content_digest())
    unlike = {event_id for event_id, found in contents.items() if len(found) > 1}

    if not unlike:
        assert {event_id: {digest} for event_id, digest in content_digests(log).items()} == contents
        return
    with pytest.raises(EventIdConflictError) as caught:
        content_digests(log)

    assert sorted(caught.value.event_ids) == sorted(unlike)


def test_a_retry_within_one_call_is_one_event():
    """The time of a retry is not compared, so a fresh clock is no conflict."""
    event, retry = download(event_id="e"), download(event_id="e", at=NOON + DAY)

    found = content_digests([event, retry])

    assert list(unseen_events([event, retry], found, {})) == [event]


# unseen_events


@given(log=logs_with_ids(agree=True), known=st.frozensets(st.sampled_from(["e", "f"])))
def test_what_is_new_is_stored_once_in_order(log, known):
    """Retries of known ids are left out, each new id stays once, and the rest is kept."""
    given_digests = content_digests(log)

    fresh = unseen_events(
        log, given_digests, {each: given_digests.get(each, b"") for each in known}
    )

    seen, wanted = set(known), []
    for event in log:
        if event.event_id not in seen:
            wanted.append(event)
        if event.event_id is not None:
            seen.add(event.event_id)
    assert list(fresh) == wanted


def test_a_known_id_with_other_content_is_refused():
    """Every id in conflict with the log is named, in the order of the events."""
    events = [star(event_id=each) for each in ("d", "e", "f", "g")]
    found = content_digests(events)
    known = {"g": b"other", "e": b"another", "d": found["d"]}

    with pytest.raises(EventIdConflictError) as caught:
        unseen_events(events, found, known)

    assert caught.value.event_ids == ("e", "g")


def test_without_ids_every_event_is_new():
    """The same event twice is two events."""
    events = [download(), download()]

    assert list(unseen_events(events, content_digests(events), {"e": b"known"})) == events


def test_what_is_known_of_others_does_not_matter():
    """Digests of ids that are not in the call say nothing about it."""
    event = download(event_id="e")

    assert list(unseen_events([event], content_digests([event]), {"f": b"known"})) == [event]

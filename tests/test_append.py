"""Appending, on both backends."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skillstat_agg import Event, drain
from skillstat_agg.errors import EventIdConflictError, InvalidEventError
from tests.logs import NOON, download, events
from tests.sites import SITES

in_every_site = pytest.mark.parametrize("site_of", SITES.values(), ids=SITES)


@in_every_site
def test_a_retry_is_quietly_the_same_event(site_of):
    """Old and new ids may be mixed in one call; each id counts once, the first time stays."""
    with site_of() as site:
        log = site.client().events
        first = log.append([download(event_id="1"), download(event_id="2")])

        again = log.append(
            [
                download(event_id="2", at=NOON - timedelta(hours=1)),
                download(event_id="3"),
                download(event_id="3"),
                download(),
            ]
        )

        stored = log.read(None, limit=10).events
        assert (first.new, again.new) == (2, 2)
        assert [one.event.event_id for one in stored] == ["1", "2", "3", None]
        assert {one.event.occurred_at for one in stored} == {NOON}
        assert again.position == stored[-1].position


@in_every_site
def test_only_retries_give_a_position_at_or_after_them(site_of):
    """Who waits until the cursor has come there has its events counted."""
    with site_of() as site:
        client = site.client()
        client.events.append([download(event_id="1")])

        again = client.events.append([download(event_id="1")])
        nothing = client.events.append([])

        drain(client.events, client.stats)
        place = client.stats.cursor().place
        assert (again.new, nothing.new, nothing.position) == (0, 0, None)
        assert place is not None
        assert again.position == place.position


@in_every_site
@pytest.mark.parametrize(
    "other",
    [
        Event(skill_id="b", kind="download", occurred_at=NOON, event_id="1"),
        Event(skill_id="a", kind="star", occurred_at=NOON, event_id="1"),
        Event(skill_id="a", kind="download", occurred_at=NOON, event_id="1", deltas={"n": 1}),
    ],
    ids=["skill", "kind", "deltas"],
)
def test_an_id_with_other_content_is_an_error(site_of, other):
    """Against the log and inside one call; nothing of the call is stored."""
    with site_of() as site:
        log = site.client().events
        with pytest.raises(EventIdConflictError):
            log.append([download(event_id="1"), other])
        log.append([download(event_id="1")])

        with pytest.raises(EventIdConflictError) as caught:
            log.append([download("new"), other])

        assert caught.value.event_ids == ("1",)
        assert len(log.read(None, limit=10).events) == 1


@in_every_site
@pytest.mark.parametrize("ids", [["a", "A"], ["a", "a "], ["ä", "a\u0308"], ["\1", "\1\1"]])
def test_ids_are_compared_as_they_are(site_of, ids):
    """Case, spaces, Unicode form and NUL make two ids, of events and of skills."""
    with site_of() as site:
        client = site.client()

        appended = client.events.append([download(one, event_id=one) for one in ids])
        drain(client.events, client.stats)

        assert appended.new == 2
        assert client.stats.totals().keys() == set(ids)
        assert all(client.stats.totals([one])[one]["downloads"] == 1 for one in ids)


@in_every_site
def test_the_future_is_refused_beyond_a_day_or_what_the_caller_says(site_of):
    """An event may occur a day after the store's clock; how far is an argument."""
    with site_of(lambda: NOON) as site:
        log = site.client().events
        tomorrow, later = NOON + timedelta(days=1), NOON + timedelta(days=1, microseconds=1)

        log.append([download(at=tomorrow)])
        log.append([download(at=later)], max_ahead=timedelta.max)
        with pytest.raises(InvalidEventError, match=r"event 1: .* after the store's clock"):
            log.append([download(), download(at=later)])
        with pytest.raises(InvalidEventError, match="after the store's clock"):
            log.append([download(at=NOON + timedelta(seconds=1))], max_ahead=timedelta(0))

        assert len(log.read(None, limit=10).events) == 2


@in_every_site
def test_what_is_no_event_is_refused(site_of):
    """A wrong object among the events is named by its place."""
    with site_of() as site:
        log = site.client().events

        with pytest.raises(InvalidEventError, match="event 1: an Event is needed, not dict"):
            log.append([download(), {"skill_id": "a"}])

        assert log.read(None, limit=1).events == ()


notes = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=5)


@in_every_site
@given(given_events=st.lists(events(), max_size=5), note=notes)
def test_events_come_back_as_they_were_appended(site_of, given_events, note):
    """Every character, microsecond and delta survives the log."""
    noted = [
        Event(
            skill_id=event.skill_id,
            kind=event.kind,
            occurred_at=event.occurred_at,
            event_id=f"{index}{note}",
            deltas=event.deltas,
            note=note,
        )
        for index, event in enumerate(given_events)
    ]
    with site_of() as site:
        log = site.client().events
        log.append(given_events)
        log.append(noted)

        stored = log.read(None, limit=100).events

        assert [one.event for one in stored] == given_events + noted
        assert all(0 <= one.fingerprint < 2**32 for one in stored)


@in_every_site
def test_more_ids_than_one_look_up_takes(site_of):
    """Retries are found, and skills are read, however many there are in one call."""
    with site_of() as site:
        client = site.client()
        log = [download(f"skill {number}", event_id=str(number)) for number in range(1_201)]
        client.events.append(log[::2])

        again = client.events.append(log)
        drain(client.events, client.stats)

        assert again.new == len(log[1::2])
        totals = client.stats.totals(event.skill_id for event in log)
        assert len(totals) == 1_201
        assert {row["downloads"] for row in totals.values()} == {1}

"""The promise: each committed event counts once, wherever appends, pages and folds end.

What may happen to workers meanwhile is for the conformance kit: see test_conformance.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TypedDict

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skillstat_agg import (
    CHECKSUM_RANGE,
    Event,
    Granularity,
    RecordedEvent,
    drain,
    fold_page,
)
from tests.logs import NOON, event_logs
from tests.oracle import count_days, count_totals
from tests.sites import SITES, Client

EVERYTHING = 10**6

in_every_site = pytest.mark.parametrize("site_of", SITES.values(), ids=SITES)
few = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])


class Bounds(TypedDict):
    """The bounds of a fold."""

    page: int
    max_skills: int | None


bounds: st.SearchStrategy[Bounds] = st.builds(
    Bounds, page=st.integers(1, 5), max_skills=st.none() | st.integers(1, 3)
)


class TickingClock:
    """A clock that shows what it is told to: it stands still, jumps and steps back."""

    def __init__(self, steps: Sequence[int]) -> None:
        self._steps = list(steps)
        self._now = NOON

    def __call__(self) -> datetime:
        step, *self._steps = [*self._steps, 0]
        self._now += timedelta(milliseconds=step)
        return self._now


clocks = st.lists(st.sampled_from([0, 0, 0, 1, -5, 60_000]), max_size=8).map(TickingClock)


def folded_part(client: Client) -> list[RecordedEvent]:
    """Return what stands in the log up to the cursor."""
    log = client.events.read(None, limit=EVERYTHING).events
    place = client.stats.cursor().place
    return [
        recorded for recorded in log if place is not None and recorded.position <= place.position
    ]


def assert_invariant(client: Client) -> None:
    """Check that the stats are the table applied to all events up to the cursor."""
    recorded = folded_part(client)
    events = [one.event for one in recorded]
    cursor = client.stats.cursor()
    totals = {skill: dict(row) for skill, row in client.stats.totals().items()}
    days = {
        skill: {start.date(): dict(row) for start, row in rollups.items()}
        for skill in totals
        if (rollups := client.stats.rollups(skill, Granularity.DAY))
    }

    assert totals == count_totals(events)
    assert days == count_days(events)
    assert cursor.count == len(events)
    assert cursor.checksum == sum(one.fingerprint for one in recorded) % CHECKSUM_RANGE
    for counter in client.stats.projection.counters:
        assert cursor.controls[counter] == sum(row[counter] for row in totals.values())
    for column in client.stats.projection.columns:
        assert cursor.controls[f"day.{column}"] == sum(
            row[column] for by_day in days.values() for row in by_day.values()
        )


def assert_all_counted(client: Client, committed: Sequence[Event]) -> None:
    """Check that every event that was ever committed is in the stats, once."""
    recorded = folded_part(client)

    assert sorted(map(repr, committed)) == sorted(repr(one.event) for one in recorded)
    assert_invariant(client)


@in_every_site
@few
@given(log=event_logs(), clock=clocks, data=st.data())
def test_neither_batches_nor_bounds_matter(site_of, log, clock, data):
    """Any partition into appends, pages and bounds gives what one count of all events gives."""
    with site_of(clock) as site:
        client = site.client()
        rest = list(log)
        while rest:
            size = data.draw(st.integers(1, len(rest)), label="append")
            client.events.append(rest[:size])
            rest = rest[size:]
            if data.draw(st.booleans(), label="fold in between"):
                fold_page(client.events, client.stats, **data.draw(bounds))
        folded = client.stats.cursor().count

        report = drain(client.events, client.stats, **data.draw(bounds))

        assert report.at_frontier
        assert report.events == len(log) - folded
        assert_all_counted(client, log)


@in_every_site
@few
@given(log=event_logs(min_size=1), limit=st.integers(1, 12), options=bounds)
def test_a_bound_on_events_is_never_overshot(site_of, log, limit, options):
    """A drain of at most n events folds n, or all there are."""
    with site_of() as site:
        client = site.client()
        client.events.append(log)

        report = drain(client.events, client.stats, max_events=limit, **options)

        assert report.events == min(limit, len(log))
        assert client.stats.cursor().count == report.events
        assert_invariant(client)

"""Buckets are half-open stretches of UTC time, counted from the epoch."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from skillstat_agg import Granularity, bucket_start
from skillstat_agg._buckets import (
    bucket_of,
    buckets_between,
    from_microseconds,
    microseconds,
    start_of,
)
from skillstat_agg.errors import InvalidBoundError
from tests.logs import NOON

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
FIRST = datetime.min.replace(tzinfo=timezone.utc)
LAST = datetime.max.replace(tzinfo=timezone.utc)
MICROSECOND = timedelta(microseconds=1)

times = st.datetimes(timezones=st.just(timezone.utc)) | st.sampled_from([FIRST, EPOCH, LAST])
granularities = st.sampled_from(Granularity)
everywhere = st.datetimes(
    timezones=st.integers(-14, 14).map(lambda hours: timezone(timedelta(hours=hours)))
)
by_each = pytest.mark.parametrize("granularity", Granularity)


@given(at=times, granularity=granularities)
@example(at=FIRST, granularity=Granularity.HOUR)
@example(at=LAST, granularity=Granularity.DAY)
def test_a_bucket_holds_its_time(at, granularity):
    """Each time is at or after the start of its bucket and before the start of the next."""
    bucket = bucket_of(at, granularity)

    start = start_of(bucket, granularity)

    assert start <= at
    assert at - start < granularity.length
    assert bucket_start(at, granularity) == start
    assert start.tzinfo is timezone.utc


@given(at=times, granularity=granularities)
def test_the_edge_belongs_to_the_later_bucket(at, granularity):
    """A start lies in its own bucket; the microsecond before it lies in the one before."""
    bucket = bucket_of(at, granularity)
    start = start_of(bucket, granularity)

    assert bucket_of(start, granularity) == bucket
    if start > FIRST:
        assert bucket_of(start - MICROSECOND, granularity) == bucket - 1


@given(at=times)
def test_a_bucket_is_a_calendar_day_or_hour_of_utc(at):
    """The numbers agree with the calendar."""
    midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)

    assert bucket_of(at, Granularity.DAY) == at.toordinal() - EPOCH.toordinal()
    assert bucket_start(at, Granularity.DAY) == midnight
    assert bucket_start(at, Granularity.HOUR) == midnight.replace(hour=at.hour)


@given(at=times)
def test_hours_nest_in_days(at):
    """Every hour lies in one day, which has 24 of them."""
    hour, day = bucket_of(at, Granularity.HOUR), bucket_of(at, Granularity.DAY)

    assert hour // 24 == day


@pytest.mark.parametrize(
    ("at_us", "hour", "day"),
    [
        (0, 0, 0),
        (-1, -1, -1),
        (-3_600_000_000, -1, -1),
        (-3_600_000_001, -2, -1),
        (-86_400_000_000, -24, -1),
        (-86_400_000_001, -25, -2),
        (86_399_999_999, 23, 0),
        (86_400_000_000, 24, 1),
    ],
)
def test_times_before_the_epoch_are_in_negative_buckets(at_us, hour, day):
    """Numbers are rounded down, never towards zero."""
    at = from_microseconds(at_us)

    assert bucket_of(at, Granularity.HOUR) == hour
    assert bucket_of(at, Granularity.DAY) == day


@by_each
def test_the_zone_of_a_time_chooses_no_bucket(granularity):
    """One instant is in one bucket, wherever it was written down."""
    at = datetime(2026, 3, 2, 2, 30, tzinfo=timezone(timedelta(hours=5.5)))

    assert bucket_start(at, granularity) == bucket_start(at.astimezone(timezone.utc), granularity)
    assert bucket_start(at, Granularity.DAY) == NOON.replace(hour=0)


@by_each
def test_a_time_without_a_zone_has_no_bucket(granularity):
    """A naive time is refused, not guessed."""
    naive = NOON.replace(tzinfo=None)

    with pytest.raises(TypeError):
        microseconds(naive)
    with pytest.raises(TypeError):
        bucket_of(naive, granularity)
    with pytest.raises(TypeError):
        bucket_start(naive, granularity)


@by_each
@pytest.mark.parametrize("bad", [NOON.replace(tzinfo=None), NOON.date(), "2026-03-01"])
def test_a_bad_end_of_a_range_is_shown(granularity, bad):
    """Which end it is, what it must be and what was given all stand in the error."""
    with pytest.raises(InvalidBoundError) as since:
        buckets_between(bad, None, granularity)
    with pytest.raises(InvalidBoundError) as until:
        buckets_between(None, bad, granularity)

    assert str(since.value) == f"since must be a datetime with a time zone, not {bad!r}"
    assert str(until.value) == f"until must be a datetime with a time zone, not {bad!r}"


@by_each
def test_a_length_is_one_number(granularity):
    """The two ways to ask for a length agree."""
    assert timedelta(microseconds=granularity.length_us) == granularity.length


@pytest.mark.parametrize("at_us", [microseconds(FIRST) - 1, microseconds(LAST) + 1, 2**63 - 1])
def test_there_is_no_time_outside_the_calendar(at_us):
    """Microseconds that lie outside the years 1 to 9999 are refused."""
    with pytest.raises(OverflowError):
        from_microseconds(at_us)


@given(since=times, until=times, at=times, granularity=granularities)
@example(since=NOON, until=NOON, at=NOON, granularity=Granularity.DAY)
@example(since=NOON, until=NOON + timedelta(hours=1), at=NOON, granularity=Granularity.HOUR)
def test_a_range_runs_from_the_bucket_of_its_start_to_before_its_end(since, until, at, granularity):
    """A bucket is in the range if it ends after *since* and begins before *until*."""
    bucket = bucket_of(at, granularity)

    is_there = bucket in buckets_between(since, until, granularity)

    start = start_of(bucket, granularity)
    assert is_there == (bucket_of(since, granularity) <= bucket and start < until)


@given(at=times, granularity=granularities)
@example(at=FIRST, granularity=Granularity.DAY)
@example(at=LAST, granularity=Granularity.HOUR)
def test_a_range_without_ends_holds_everything(at, granularity):
    """No bound leaves a bucket out, and every bucket of the range is one there can be."""
    everything = buckets_between(None, None, granularity)

    assert bucket_of(at, granularity) in everything
    assert start_of(everything[0], granularity) == FIRST
    assert start_of(everything[-1], granularity) == LAST - granularity.length + MICROSECOND


@by_each
def test_a_range_that_ends_before_it_begins_is_empty(granularity):
    """An empty range is no error."""
    later = NOON + timedelta(days=2)

    assert not buckets_between(later, NOON, granularity)
    assert not buckets_between(FIRST, FIRST, granularity)


@given(since=st.none() | everywhere, until=st.none() | everywhere, granularity=granularities)
@example(
    since=datetime.min.replace(tzinfo=timezone(timedelta(hours=14))),
    until=None,
    granularity=Granularity.DAY,
)
@example(
    since=None,
    until=datetime.max.replace(tzinfo=timezone(timedelta(hours=-14))),
    granularity=Granularity.DAY,
)
def test_every_bucket_of_a_range_has_a_start(since, until, granularity):
    """A bound that lies outside the calendar of UTC asks for nothing beyond it."""
    buckets = buckets_between(since, until, granularity)

    for bucket in (buckets[:1], buckets[-1:]):
        for each in bucket:
            assert FIRST <= start_of(each, granularity) <= LAST

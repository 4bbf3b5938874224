"""A range of buckets is what it says, and nothing else can be made one."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from skillstat_agg import Buckets, Granularity, start_of
from skillstat_agg.errors import InvalidBoundError, InvalidProjectionError
from tests.logs import NOON

DAY, HOUR = Granularity.DAY, Granularity.HOUR


def test_the_last_days_hold_today():
    week = Buckets.last(7, DAY, NOON)

    assert week.starts[-1] == NOON.replace(hour=0)
    assert week.starts[0] == NOON.replace(hour=0) - timedelta(days=6)


def test_the_end_is_no_part_of_a_range():
    """Until midnight means up to yesterday; a minute later, today is in it."""
    midnight = NOON.replace(hour=0)

    before = Buckets.between(DAY, since=midnight - timedelta(days=2), until=midnight)
    after = Buckets.between(DAY, since=midnight, until=midnight + timedelta(minutes=1))

    assert before.starts == (midnight - timedelta(days=2), midnight - timedelta(days=1))
    assert after.starts == (midnight,)


def test_a_range_may_be_empty_or_hold_everything():
    midnight = NOON.replace(hour=0)

    assert Buckets.between(HOUR, since=midnight, until=midnight).starts == ()
    everything = Buckets.between(DAY)
    assert start_of(everything.numbers[0], DAY).year == 1
    assert start_of(everything.numbers[-1], DAY).year == 9999


def test_ranges_are_compared_by_content():
    assert Buckets.last(2, DAY, NOON) == Buckets(DAY, Buckets.last(2, DAY, NOON).numbers)
    assert len({Buckets.last(2, DAY, NOON), Buckets.last(2, DAY, NOON)}) == 1


@pytest.mark.parametrize(
    ("since", "until"),
    [
        (NOON, NOON - timedelta(microseconds=1)),
        (datetime(2026, 3, 1), None),  # noqa: DTZ001
        (None, "today"),
    ],
)
def test_what_is_not_between_two_times_is_refused(since, until):
    """The range is reversed, or an end is no time."""
    with pytest.raises(InvalidBoundError):
        Buckets.between(DAY, since=since, until=until)


@pytest.mark.parametrize(
    ("count", "at"),
    [
        (0, NOON),
        (-1, NOON),
        (True, NOON),
        (2.0, NOON),
        (1, datetime(2026, 3, 1)),  # noqa: DTZ001
        (1, "today"),
        (10**9, NOON),
        (2, datetime(1, 1, 1, tzinfo=timezone.utc)),
    ],
)
def test_what_cannot_be_the_last_buckets_is_refused(count, at):
    with pytest.raises(InvalidBoundError):
        Buckets.last(count, DAY, at)


@pytest.mark.parametrize(
    "numbers", [range(0, 10, 2), [1, 2], range(10**9), range(10**30, 10**30 + 1), None]
)
def test_numbers_must_follow_each_other(numbers):
    with pytest.raises(InvalidBoundError):
        Buckets(DAY, numbers)


@pytest.mark.parametrize("length", ["day", None, 1])
def test_a_length_must_be_a_granularity(length):
    with pytest.raises(InvalidProjectionError, match="not a Granularity"):
        Buckets(length, range(1))
    with pytest.raises(InvalidProjectionError, match="not a Granularity"):
        Buckets.last(1, length, NOON)
    with pytest.raises(InvalidProjectionError, match="not a Granularity"):
        Buckets.between(length)

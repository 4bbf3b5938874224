"""UTC hours and days: import `Granularity` and `bucket_start` from `skillstat_agg` instead."""

from __future__ import annotations

import enum
import functools
from datetime import datetime, timedelta, timezone

from skillstat_agg.errors import InvalidBoundError

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)
_FIRST = datetime.min.replace(tzinfo=timezone.utc)
_LAST = datetime.max.replace(tzinfo=timezone.utc)


class Granularity(enum.Enum):
    """The length of a bucket. Every day is made of whole hours."""

    HOUR = "hour"
    DAY = "day"

    @functools.cached_property
    def length(self) -> timedelta:
        """How long one bucket is."""
        return timedelta(hours=1) if self is Granularity.HOUR else timedelta(days=1)

    @functools.cached_property
    def length_us(self) -> int:
        """How long one bucket is, in microseconds."""
        return self.length // _MICROSECOND


def microseconds(at: datetime) -> int:
    """Return the microseconds from the Unix epoch to *at*; negative before 1970.

    Exact: no float is involved.

    Raises:
        TypeError: If *at* has no time zone.
    """
    return (at - EPOCH) // _MICROSECOND


def from_microseconds(at_us: int) -> datetime:
    """Return the UTC time that lies *at_us* microseconds after the Unix epoch.

    Raises:
        OverflowError: If the year would not be in 1 to 9999.
    """
    return EPOCH + timedelta(microseconds=at_us)


def bucket_of(at: datetime, granularity: Granularity) -> int:
    """Return the number of the bucket that holds *at*.

    Bucket 0 begins at the Unix epoch; times before it are in negative buckets
    (rounded down, never towards zero). ClawHub: `toDayKey`.

    >>> bucket_of(datetime(1969, 12, 31, 23, tzinfo=timezone.utc), Granularity.DAY)
    -1

    Raises:
        TypeError: If *at* has no time zone.
    """
    return (at - EPOCH) // granularity.length


def start_of(bucket: int, granularity: Granularity) -> datetime:
    """Return the UTC time at which the bucket of that number begins.

    >>> start_of(-1, Granularity.DAY).isoformat()
    '1969-12-31T00:00:00+00:00'
    """
    return EPOCH + bucket * granularity.length


def bucket_start(at: datetime, granularity: Granularity) -> datetime:
    """Return the start of the bucket that holds *at*, in UTC.

    Buckets are half-open, ``[start, start + length)``, and count from the Unix
    epoch in UTC, so every backend agrees on them.

    >>> eve = datetime(2026, 3, 1, 23, 59, tzinfo=timezone.utc)
    >>> bucket_start(eve, Granularity.DAY).isoformat()
    '2026-03-01T00:00:00+00:00'

    Raises:
        TypeError: If *at* has no time zone.
    """
    return start_of(bucket_of(at, granularity), granularity)


def buckets_between(
    since: datetime | None, until: datetime | None, granularity: Granularity
) -> range:
    """Return the numbers of the buckets from the one that holds *since* to before *until*.

    Args:
        since: None: the first bucket there can be.
        until: The last bucket begins before this time. None: the last there can be.
        granularity: The length of the buckets.

    Raises:
        InvalidBoundError: If one is neither None nor a datetime with a time zone.
    """
    for name, at in (("since", since), ("until", until)):
        if at is not None and (not isinstance(at, datetime) or at.utcoffset() is None):
            raise InvalidBoundError(name, repr(at), "a datetime with a time zone")
    every = _buckets(granularity)
    first, end = every.start, every.stop
    if since is not None:
        first = max(first, bucket_of(since, granularity))
    if until is not None:
        end = min(end, -((EPOCH - until) // granularity.length))
    return range(first, end)


@functools.cache
def _buckets(granularity: Granularity) -> range:
    """Return the numbers of all buckets there can be."""
    return range(bucket_of(_FIRST, granularity), bucket_of(_LAST, granularity) + 1)

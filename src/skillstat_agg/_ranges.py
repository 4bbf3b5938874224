"""A range of buckets: import `Buckets` from `skillstat_agg` instead."""

from __future__ import annotations

from datetime import datetime
from typing import Self

import attrs

from skillstat_agg._buckets import Granularity, bucket_of, buckets_between, start_of
from skillstat_agg.errors import InvalidBoundError, InvalidProjectionError


@attrs.frozen
class Buckets:
    """A range of buckets of one length, without a gap; it may be empty.

    >>> from datetime import datetime, timezone
    >>> from skillstat_agg import Buckets, Granularity
    >>> noon = datetime(2026, 3, 7, 12, tzinfo=timezone.utc)
    >>> week = Buckets.last(7, Granularity.DAY, noon)
    >>> [start.day for start in week.starts]
    [1, 2, 3, 4, 5, 6, 7]

    Attributes:
        granularity: The length of the buckets.
        numbers: Their numbers, one after the other; see `bucket_of`.

    Raises:
        InvalidProjectionError: If *granularity* is none.
        InvalidBoundError: If *numbers* is no such range, or leaves the years 1 to 9999.
    """

    granularity: Granularity
    numbers: range

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.granularity, Granularity):
            raise InvalidProjectionError(f"not a Granularity: {self.granularity!r}")
        every = buckets_between(None, None, self.granularity)
        if (
            not isinstance(self.numbers, range)
            or self.numbers.step != 1
            or (self.numbers and (self.numbers[0] not in every or self.numbers[-1] not in every))
        ):
            raise InvalidBoundError(
                "numbers",
                repr(self.numbers),
                "a range of buckets one after the other, within the years 1 to 9999",
            )

    @classmethod
    def between(
        cls,
        granularity: Granularity,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Self:
        """Return the buckets from that which holds *since* to the last that begins before *until*.

        Args:
            granularity: The length of the buckets.
            since: None: from the first bucket there can be.
            until: None: to the last there can be.

        Raises:
            InvalidBoundError: If a time has no time zone, or *until* lies before *since*.
        """
        if not isinstance(granularity, Granularity):
            raise InvalidProjectionError(f"not a Granularity: {granularity!r}")
        numbers = buckets_between(since, until, granularity)
        if since is not None and until is not None and until < since:
            raise InvalidBoundError("until", until.isoformat(), f"{since.isoformat()} or later")
        return cls(granularity, numbers)

    @classmethod
    def last(cls, count: int, granularity: Granularity, at: datetime) -> Self:
        """Return the bucket that holds *at* and those before it, *count* in all.

        Raises:
            InvalidBoundError: If *count* is below 1 or reaches before the year 1, or *at* has
                no time zone.
        """
        if type(count) is not int or count < 1:
            raise InvalidBoundError("count", repr(count))
        if not isinstance(at, datetime) or at.utcoffset() is None:
            raise InvalidBoundError("at", repr(at), "a datetime with a time zone")
        if not isinstance(granularity, Granularity):
            raise InvalidProjectionError(f"not a Granularity: {granularity!r}")
        newest = bucket_of(at, granularity)
        if newest - count + 1 < buckets_between(None, None, granularity).start:
            raise InvalidBoundError("count", repr(count), "small enough for the years 1 to 9999")
        return cls(granularity, range(newest - count + 1, newest + 1))

    @property
    def starts(self) -> tuple[datetime, ...]:
        """The UTC times at which they begin, in order."""
        return tuple(start_of(number, self.granularity) for number in self.numbers)

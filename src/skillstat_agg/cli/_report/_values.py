"""What a report says: frozen values, and what follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import attrs

from skillstat_agg import (
    Cursor,
    Lag,
    Leaderboard,
    Note,
    Projection,
    Quarantine,
    Reader,
    VerifyReport,
)

LONG_WAIT = timedelta(hours=1)
"""How long an event may wait to be counted before the page says so in colour."""


@attrs.frozen(kw_only=True)
class Days:
    """The days of a report.

    Attributes:
        starts: When each begins, in UTC and in order; empty: the projection keeps no days.
        covered: The places among `starts` of the days of which something can be known.
        first: When the first day begins that is kept of any skill; None: none is kept.
    """

    starts: tuple[datetime, ...]
    covered: range
    first: datetime | None

    @property
    def names(self) -> tuple[str, ...]:
        """The days as people write them: ``2026-03-01``."""
        return tuple(start.date().isoformat() for start in self.starts)


NO_DAYS = Days(starts=(), covered=range(0), first=None)
"""The days of a projection that keeps none."""


@attrs.frozen(kw_only=True)
class SkillRow:
    """The numbers of one skill, all signed.

    Attributes:
        skill_id: The skill.
        totals: Its counters of all time, in the order of ``Projection.counters``.
        days: For each of ``Projection.columns`` one sum for each day.
    """

    skill_id: str
    totals: tuple[int, ...]
    days: tuple[tuple[int, ...], ...]


@attrs.frozen(kw_only=True)
class Numbers:
    """What was counted, all signed.

    Attributes:
        cursor: The cursor record that came with the totals.
        is_one_snapshot: Whether everything here is of that cursor. Where workers commit all the
            time it may not be; each part is exact for itself then.
        days: The days.
        skill_count: How many skills have numbers.
        totals: The sum of each counter over all skills.
        daily: For each rollup column, its sum over all skills for each day.
        skills: The skills that the page lists, in the order of their ids by code points.
        boards: The boards over these days, then those over all time.
        on_boards: The skills that stand on one of them, by id.
    """

    cursor: Cursor
    is_one_snapshot: bool
    days: Days
    skill_count: int
    totals: tuple[int, ...]
    daily: tuple[tuple[int, ...], ...]
    skills: tuple[SkillRow, ...] = attrs.field(repr=False)
    boards: tuple[Leaderboard, ...] = attrs.field(repr=False)
    on_boards: dict[str, SkillRow] = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Report:
    """All that a page shows of one projection.

    Attributes:
        projection: The projection.
        made_at: When it was read, in UTC.
        numbers: What was counted.
        lag: How far the counting is behind the log.
        last_error: What a worker noted last; None: nothing.
        holders: Whom events wait for that cannot be read yet; None: none ever waits.
        rebuilds: The rebuilds of the projection that have not ended, as readers of the log.
        verified: How the numbers compare with the log.
        quarantine: The first events that were set aside.
    """

    projection: Projection
    made_at: datetime
    numbers: Numbers
    lag: Lag
    last_error: Note | None
    holders: Sequence[str] | None
    rebuilds: tuple[Reader, ...]
    verified: VerifyReport
    quarantine: Quarantine

    @property
    def age(self) -> timedelta | None:
        """How long the first event that is not counted has waited; None: there is none."""
        return self.lag.age(self.made_at)

    @property
    def is_stale(self) -> bool:
        """Whether an event waits longer than `LONG_WAIT` to be counted."""
        return self.age is not None and self.age > LONG_WAIT

    @property
    def is_failing(self) -> bool:
        """Whether the last error is newer than the numbers, and something is left to count.

        By the clocks of those who wrote: it informs only.
        """
        behind = self.lag.events > 0 or self.lag.waiting > 0
        return (
            behind
            and self.last_error is not None
            and self.last_error.at >= self.lag.cursor.updated_at
        )

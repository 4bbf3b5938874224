"""Exactly-once counters from an event log."""

from skillstat_agg._buckets import Granularity, bucket_start
from skillstat_agg._events import Event, Place, Position, RecordedEvent
from skillstat_agg._folding import DEFAULT_PAGE, FoldReport, drain, fold_page
from skillstat_agg._projections import (
    RETIRED,
    SKILL_STATS,
    Carried,
    Deltas,
    Effect,
    Projection,
)
from skillstat_agg._stores import (
    CHECKSUM_RANGE,
    DAY_AHEAD,
    Appended,
    Commit,
    CommitResult,
    Counters,
    Cursor,
    EventStore,
    Page,
    Rollups,
    StatsStore,
    TalliedPage,
    TallyStore,
    Totals,
    shown,
)
from skillstat_agg._tallies import DeltaSum, Tally
from skillstat_agg.errors import SkillstatError

__all__ = [
    "CHECKSUM_RANGE",
    "DAY_AHEAD",
    "DEFAULT_PAGE",
    "RETIRED",
    "SKILL_STATS",
    "Appended",
    "Carried",
    "Commit",
    "CommitResult",
    "Counters",
    "Cursor",
    "DeltaSum",
    "Deltas",
    "Effect",
    "Event",
    "EventStore",
    "FoldReport",
    "Granularity",
    "Page",
    "Place",
    "Position",
    "Projection",
    "RecordedEvent",
    "Rollups",
    "SkillstatError",
    "StatsStore",
    "TalliedPage",
    "Tally",
    "TallyStore",
    "Totals",
    "bucket_start",
    "drain",
    "fold_page",
    "shown",
]

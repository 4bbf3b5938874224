"""Exactly-once counters from an event log."""

from skillstat_agg._appending import checked_events, content_digests, unseen_events
from skillstat_agg._buckets import Granularity, bucket_of, bucket_start, start_of
from skillstat_agg._commits import CHECKSUM_RANGE, Commit, CommitResult, Cursor
from skillstat_agg._compacting import Reader, Segment, compacted, first_part, slowest
from skillstat_agg._deltas import Deltas
from skillstat_agg._effects import RETIRED, Carried, Effect
from skillstat_agg._events import Event, Place, Position, RecordedEvent
from skillstat_agg._folding import DEFAULT_PAGE, FoldReport, drain, fold_page
from skillstat_agg._generations import (
    MOST_DIFFERENCES,
    Comparison,
    Difference,
    Extent,
    ExtentStore,
    GenerationStore,
    Sums,
    SumStore,
    begin_building,
    check_building,
    row_differences,
    swapped,
)
from skillstat_agg._pages import Page, TalliedPage
from skillstat_agg._projections import SKILL_STATS, Projection
from skillstat_agg._pruning import DEFAULT_SEGMENT, PruneReport, plan_prune, prune
from skillstat_agg._quarantine import ParkedEvent, Quarantine, Uncountable
from skillstat_agg._rebuilding import RebuildReport, rebuild
from skillstat_agg._retention import ROWS_PER_STEP, expire
from skillstat_agg._scheduling import (
    TRANSIENT,
    Failure,
    RunReport,
    run_every,
)
from skillstat_agg._signals import Stop, stop_on
from skillstat_agg._stores import (
    DAY_AHEAD,
    Appended,
    Counters,
    EventStore,
    Expired,
    PruneStore,
    RetentionStore,
    Rollups,
    StatsStore,
    TallyStore,
    Totals,
    shown,
)
from skillstat_agg._tallies import DeltaSum, Tally
from skillstat_agg._verifying import VerifyReport, verify, verify_fully
from skillstat_agg.errors import SkillstatError

__all__ = [
    "CHECKSUM_RANGE",
    "DAY_AHEAD",
    "DEFAULT_PAGE",
    "DEFAULT_SEGMENT",
    "MOST_DIFFERENCES",
    "RETIRED",
    "ROWS_PER_STEP",
    "SKILL_STATS",
    "TRANSIENT",
    "Appended",
    "Carried",
    "Commit",
    "CommitResult",
    "Comparison",
    "Counters",
    "Cursor",
    "DeltaSum",
    "Deltas",
    "Difference",
    "Effect",
    "Event",
    "EventStore",
    "Expired",
    "Extent",
    "ExtentStore",
    "Failure",
    "FoldReport",
    "GenerationStore",
    "Granularity",
    "Page",
    "ParkedEvent",
    "Place",
    "Position",
    "Projection",
    "PruneReport",
    "PruneStore",
    "Quarantine",
    "Reader",
    "RebuildReport",
    "RecordedEvent",
    "RetentionStore",
    "Rollups",
    "RunReport",
    "Segment",
    "SkillstatError",
    "StatsStore",
    "Stop",
    "SumStore",
    "Sums",
    "TalliedPage",
    "Tally",
    "TallyStore",
    "Totals",
    "Uncountable",
    "VerifyReport",
    "begin_building",
    "bucket_of",
    "bucket_start",
    "check_building",
    "checked_events",
    "compacted",
    "content_digests",
    "drain",
    "expire",
    "first_part",
    "fold_page",
    "plan_prune",
    "prune",
    "rebuild",
    "row_differences",
    "run_every",
    "shown",
    "slowest",
    "start_of",
    "stop_on",
    "swapped",
    "unseen_events",
    "verify",
    "verify_fully",
]

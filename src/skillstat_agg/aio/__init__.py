"""The asynchronous twin: the same functions over stores whose methods are coroutines.

The laws of the stores are those of the protocols of the same names in `skillstat_agg`; only the
calls are awaited. The text of the functions is that of the synchronous ones with ``async`` and
``await``, and a test holds the two equal, module by module.
"""

from skillstat_agg.aio._adopting import adopt, check_adoptable
from skillstat_agg.aio._badges import BadgeStore
from skillstat_agg.aio._boards import publish, read_board, read_on
from skillstat_agg.aio._correcting import reconcile
from skillstat_agg.aio._folding import drain, fold_page
from skillstat_agg.aio._fresh import FreshLog, fresh_rollups, fresh_totals, wait_until_folded
from skillstat_agg.aio._hydrating import HydratingStore, hydrate
from skillstat_agg.aio._lag import lag
from skillstat_agg.aio._leaderboards import leaderboard
from skillstat_agg.aio._owners import owner_totals
from skillstat_agg.aio._pruning import plan_prune, prune
from skillstat_agg.aio._rebuilding import rebuild
from skillstat_agg.aio._retention import expire
from skillstat_agg.aio._sampling import verify_sample
from skillstat_agg.aio._scheduling import run_every
from skillstat_agg.aio._series import series
from skillstat_agg.aio._stores import (
    BoardStore,
    EventStore,
    ExtentStore,
    GenerationStore,
    LagStore,
    NoteStore,
    PruneStore,
    RankStore,
    RetentionStore,
    SeriesStore,
    StatsStore,
    SumStore,
    TallyStore,
)
from skillstat_agg.aio._verifying import verify, verify_fully

__all__ = [
    "BadgeStore",
    "BoardStore",
    "EventStore",
    "ExtentStore",
    "FreshLog",
    "GenerationStore",
    "HydratingStore",
    "LagStore",
    "NoteStore",
    "PruneStore",
    "RankStore",
    "RetentionStore",
    "SeriesStore",
    "StatsStore",
    "SumStore",
    "TallyStore",
    "adopt",
    "check_adoptable",
    "drain",
    "expire",
    "fold_page",
    "fresh_rollups",
    "fresh_totals",
    "hydrate",
    "lag",
    "leaderboard",
    "owner_totals",
    "plan_prune",
    "prune",
    "publish",
    "read_board",
    "read_on",
    "rebuild",
    "reconcile",
    "run_every",
    "series",
    "verify",
    "verify_fully",
    "verify_sample",
    "wait_until_folded",
]

"""The asynchronous twin: the same functions over stores whose methods are coroutines.

The laws of the stores are those of `skillstat_agg.EventStore`, `StatsStore` and the further
abilities beside them; only the calls are awaited. The text of the functions is that of the
synchronous ones with ``async`` and ``await``, and a test holds the two equal, module by module.
"""

from skillstat_agg.aio._folding import drain, fold_page
from skillstat_agg.aio._pruning import plan_prune, prune
from skillstat_agg.aio._rebuilding import rebuild
from skillstat_agg.aio._retention import expire
from skillstat_agg.aio._scheduling import run_every
from skillstat_agg.aio._stores import (
    EventStore,
    ExtentStore,
    GenerationStore,
    PruneStore,
    RetentionStore,
    StatsStore,
    SumStore,
    TallyStore,
)
from skillstat_agg.aio._verifying import verify, verify_fully

__all__ = [
    "EventStore",
    "ExtentStore",
    "GenerationStore",
    "PruneStore",
    "RetentionStore",
    "StatsStore",
    "SumStore",
    "TallyStore",
    "drain",
    "expire",
    "fold_page",
    "plan_prune",
    "prune",
    "rebuild",
    "run_every",
    "verify",
    "verify_fully",
]

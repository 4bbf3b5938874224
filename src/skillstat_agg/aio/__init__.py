"""The asynchronous twin: the same functions over stores whose methods are coroutines.

The laws of the stores are those of `skillstat_agg.EventStore`, `TallyStore`, `StatsStore` and
`RetentionStore`; only the calls are awaited. The text of the functions is that of the
synchronous ones with ``async`` and ``await``, and a test holds the two equal, module by module.
"""

from skillstat_agg.aio._folding import drain, fold_page
from skillstat_agg.aio._retention import expire
from skillstat_agg.aio._scheduling import run_every
from skillstat_agg.aio._stores import EventStore, RetentionStore, StatsStore, TallyStore

__all__ = [
    "EventStore",
    "RetentionStore",
    "StatsStore",
    "TallyStore",
    "drain",
    "expire",
    "fold_page",
    "run_every",
]

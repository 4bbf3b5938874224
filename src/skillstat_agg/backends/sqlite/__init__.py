"""Log and stats on SQLite, over connections that the caller owns."""

from skillstat_agg.backends.sqlite._badges import SQLiteBadgeStore
from skillstat_agg.backends.sqlite._creating import create_tables
from skillstat_agg.backends.sqlite._log import SQLiteEventStore
from skillstat_agg.backends.sqlite._schema import stored_projections
from skillstat_agg.backends.sqlite._stats import SQLiteStatsStore

__all__ = [
    "SQLiteBadgeStore",
    "SQLiteEventStore",
    "SQLiteStatsStore",
    "create_tables",
    "stored_projections",
]

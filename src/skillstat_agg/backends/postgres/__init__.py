"""Log and stats on PostgreSQL, over psycopg connections that the caller owns.

`skillstat_agg.backends.postgres.aio` holds the same names for asynchronous connections.
"""

from skillstat_agg.backends.postgres._grants import (
    append_grants_sql,
    badge_grants_sql,
    prune_grants_sql,
    rebuild_grants_sql,
    worker_grants_sql,
)
from skillstat_agg.backends.postgres._schema import projection_sql, tables_sql
from skillstat_agg.backends.postgres._stalls import Holder, Stall
from skillstat_agg.backends.postgres._statements import Statement, append_statement
from skillstat_agg.backends.postgres._stores import (
    PostgresBadgeStore,
    PostgresEventStore,
    PostgresStatsStore,
    create_tables,
    new_epoch,
    stored_projections,
)

__all__ = [
    "Holder",
    "PostgresBadgeStore",
    "PostgresEventStore",
    "PostgresStatsStore",
    "Stall",
    "Statement",
    "append_grants_sql",
    "append_statement",
    "badge_grants_sql",
    "create_tables",
    "new_epoch",
    "projection_sql",
    "prune_grants_sql",
    "rebuild_grants_sql",
    "stored_projections",
    "tables_sql",
    "worker_grants_sql",
]

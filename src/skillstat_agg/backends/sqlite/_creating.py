"""The one call that makes the tables."""

from __future__ import annotations

import sqlite3
import uuid

from skillstat_agg._buckets import from_microseconds, microseconds
from skillstat_agg._commits import Cursor, check_table
from skillstat_agg._projections import Projection
from skillstat_agg._quarantine import taking_over
from skillstat_agg.backends._clocks import Clock, utc_now
from skillstat_agg.backends.sqlite._adding import apply
from skillstat_agg.backends.sqlite._parking import parked_events
from skillstat_agg.backends.sqlite._schema import (
    LOWEST_SQLITE,
    TABLES,
    VERSION,
    check_schema,
    find_cursor,
    make_stats,
    refuse_foreign,
    stats_tables,
)
from skillstat_agg.backends.sqlite._transactions import writing
from skillstat_agg.errors import SchemaError


def create_tables(db: sqlite3.Connection, *projections: Projection, clock: Clock = utc_now) -> None:
    """Make the tables of the log, and those of each projection's stats.

    One transaction; what is there already stays as it is, so it may be called at every
    start. Stats whose table the projection extends are taken over in place, as by a commit:
    what lies in quarantine and can be counted now is, and workers with the older table are
    refused from then on. Log and stats may live in
    different databases: call it for both.

    Args:
        db: A connection that is not inside a transaction.
        projections: The projections whose stats shall live here; none is fine.
        clock: Gives ``updated_at`` of new cursors.

    Raises:
        SchemaError: If SQLite is too old, or the database holds tables of a newer
            version of this package, or of others under the same names.
        TableChangedError: If stats are there that were made with a table which the
            projection does not extend.
        OpenTransactionError: If the connection is inside a transaction.
    """
    if sqlite3.sqlite_version_info < LOWEST_SQLITE:
        lowest = ".".join(map(str, LOWEST_SQLITE))
        raise SchemaError(f"SQLite {lowest} or newer is needed, not {sqlite3.sqlite_version}")
    with writing(db, "create_tables") as sql:
        there = {name for (name,) in sql.execute("SELECT lower(name) FROM main.sqlite_master")}
        if "skillstat_schema" in there:
            check_schema(sql)
        else:
            refuse_foreign(there.intersection(TABLES))
            for statement in TABLES.values():
                sql.execute(statement)
            sql.execute(
                "INSERT INTO main.skillstat_schema VALUES (?, ?)", (VERSION, uuid.uuid4().hex)
            )
        for projection in projections:
            stored = find_cursor(sql, projection.name)
            now = from_microseconds(microseconds(clock()))
            if stored is None:
                refuse_foreign(there.intersection(stats_tables(projection, projection.name)))
                make_stats(sql, projection, Cursor.start(projection, now))
            elif stored.table != projection.table:
                check_table(stored, projection)
                parked = parked_events(sql, projection.name, limit=stored.parked)
                apply(sql, taking_over(stored, parked, projection), now)

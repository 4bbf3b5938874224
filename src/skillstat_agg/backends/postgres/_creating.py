"""How the tables are made, where they are not there yet."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from skillstat_agg._commits import check_table
from skillstat_agg._projections import Projection
from skillstat_agg._quarantine import taking_over
from skillstat_agg.backends.postgres._committing import applying
from skillstat_agg.backends.postgres._names import Names, Query, quoted
from skillstat_agg.backends.postgres._parking import parked_events
from skillstat_agg.backends.postgres._schema import (
    BEGIN,
    COMMIT,
    Steps,
    checking,
    cursor_tables,
    finding,
    has_tables,
    log_tables,
    stats_tables,
)
from skillstat_agg.errors import SchemaError


def creating(
    names: Names, projections: Sequence[Projection], at: datetime, *, is_joined: bool
) -> Steps[None]:
    """Make what is not there yet: see `create_tables`.

    Args:
        names: The tables.
        projections: The projections.
        at: Time of the store.
        is_joined: Whether a transaction is open, which somebody else will end.
    """
    if not is_joined:
        yield BEGIN
    # One at a time: CREATE ... IF NOT EXISTS of two programs at once fails.
    yield Query(
        "SELECT 'null' FROM pg_advisory_xact_lock(hashtextextended(%s, 0))", (names.schema,)
    )
    encoding, has_schema = yield Query(
        "SELECT json_build_array(current_setting('server_encoding'),"
        " to_regnamespace(%s) IS NOT NULL)::text",
        (quoted(names.schema).replace("%%", "%"),),
    )
    if encoding != "UTF8":
        raise SchemaError(f"the database has the encoding {encoding}: make one that has UTF8")
    if not has_schema:
        yield Query(f"CREATE SCHEMA {quoted(names.schema)}")
    if (yield from has_tables(names)):
        yield from checking(names)
    else:
        for statement in (*log_tables(names), *cursor_tables(names)):
            yield Query(statement)
    for projection in projections:
        stored = yield from finding(names, projection.name, lock=True)
        if stored is None:
            for statement in stats_tables(names, projection, at):
                yield Query(statement)
        elif stored.table != projection.table:
            check_table(stored, projection)
            parked = yield from parked_events(names, projection.name, limit=stored.parked)
            yield from applying(names, taking_over(stored, parked, projection), at)
    if not is_joined:
        yield COMMIT

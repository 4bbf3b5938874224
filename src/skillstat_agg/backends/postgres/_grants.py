"""What roles need that only append, that fold, or that prune: as scripts in SQL."""

from __future__ import annotations

from typing import LiteralString

from skillstat_agg._projections import Projection
from skillstat_agg.backends.postgres._log import GIVEN, STORED
from skillstat_agg.backends.postgres._names import Names, quoted
from skillstat_agg.backends.postgres._schema import SCHEMA, script


def append_grants_sql(role: str, *, schema: str = SCHEMA) -> LiteralString:
    """Return the script that lets a role append events, and nothing else.

    It sees no stats, and of the events that are there only their positions, their ids and the
    digests that tell a retry from another event. It changes and deletes nothing.

    Args:
        role: Name of the role, which is there already.
        schema: Where the tables are.
    """
    names, to = Names(schema), quoted(role)
    return script(
        f"GRANT USAGE ON SCHEMA {quoted(schema)} TO {to}",
        f"GRANT SELECT ON {names['skillstat_schema']} TO {to}",
        f"GRANT INSERT ({GIVEN}), SELECT (xid, seq) ON {names['skillstat_events']} TO {to}",
        # The update never happens: it stands where an id has other content, and is refused.
        f"GRANT INSERT, SELECT, UPDATE (digest) ON {names['skillstat_event_ids']} TO {to}",
    )


def worker_grants_sql(role: str, *projections: Projection, schema: str = SCHEMA) -> LiteralString:
    """Return the script that lets a role fold, read, publish, verify and forget, but not append.

    A rebuild and a full verify make tables: `rebuild_grants_sql`.

    It reads badges, too, and sets none.

    Args:
        role: Name of the role, which is there already.
        projections: The projections it folds. To forget, it needs all that the schema holds.
        schema: Where the tables are.
    """
    names, to = Names(schema), quoted(role)
    tables = [
        table
        for each in projections
        for table in (
            names.totals(each.name),
            *(names.rollups(each.name, granularity) for granularity in each.granularities),
        )
    ]
    return script(
        f"GRANT USAGE ON SCHEMA {quoted(schema)} TO {to}",
        f"GRANT SELECT ON {names['skillstat_schema']}, {names['skillstat_events']} TO {to}",
        f"GRANT SELECT, INSERT, UPDATE ON {names['skillstat_readers']} TO {to}",
        f"GRANT SELECT, UPDATE ON {names['skillstat_cursors']} TO {to}",
        f"GRANT SELECT, INSERT ON {names['skillstat_forgotten']} TO {to}",
        f"GRANT SELECT, INSERT, DELETE ON {names['skillstat_boards']},"
        f" {names['skillstat_board_entries']} TO {to}",
        f"GRANT SELECT, INSERT, DELETE ON {names['skillstat_parked']} TO {to}",
        f"GRANT SELECT, INSERT, UPDATE ON {names['skillstat_errors']} TO {to}",
        f"GRANT SELECT, DELETE ON {names['skillstat_badges']} TO {to}",
        *(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {to}" for table in tables),
    )


def rebuild_grants_sql(role: str, *projections: Projection, schema: str = SCHEMA) -> LiteralString:
    """Return the script that lets a worker's role rebuild and verify fully, too.

    These make tables beside the serving ones and drop them in the end: run both with one role,
    since what one has left behind the next one drops. Where the table of a projection has
    changed, a rebuild may add columns: then it is the owner's to run.

    Args:
        role: Name of the role, which is there already.
        projections: The projections it rebuilds.
        schema: Where the tables are.
    """
    names, to = Names(schema), quoted(role)
    return worker_grants_sql(role, *projections, schema=schema) + script(
        f"GRANT CREATE ON SCHEMA {quoted(schema)} TO {to}",
        f"GRANT INSERT, DELETE ON {names['skillstat_cursors']} TO {to}",
        f"GRANT UPDATE ON {names['skillstat_parked']} TO {to}",
        f"GRANT DELETE ON {names['skillstat_readers']} TO {to}",
    )


def prune_grants_sql(role: str, *, schema: str = SCHEMA) -> LiteralString:
    """Return the script that lets a role prune the log, and retire its readers.

    It sees the log, the cursor records and the quarantines, and no numbers. The triggers of the log
    refuse what it would do by accident outside of a compaction; they do not keep it from anything
    that it does on purpose. So trust it as you trust the owner of the tables.

    Args:
        role: Name of the role, which is there already.
        schema: Where the tables are.
    """
    names, to = Names(schema), quoted(role)
    return script(
        f"GRANT USAGE ON SCHEMA {quoted(schema)} TO {to}",
        f"GRANT SELECT ON {names['skillstat_schema']}, {names['skillstat_cursors']},"
        f" {names['skillstat_parked']} TO {to}",
        f"GRANT SELECT, INSERT (xid, seq, {STORED}), DELETE ON {names['skillstat_events']} TO {to}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {names['skillstat_readers']} TO {to}",
    )


def badge_grants_sql(role: str, *, schema: str = SCHEMA) -> LiteralString:
    """Return the script that lets a role set, clear and read badges, and nothing else.

    Args:
        role: Name of the role, which is there already.
        schema: Where the tables are.
    """
    names, to = Names(schema), quoted(role)
    return script(
        f"GRANT USAGE ON SCHEMA {quoted(schema)} TO {to}",
        f"GRANT SELECT ON {names['skillstat_schema']}, {names['skillstat_forgotten']} TO {to}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {names['skillstat_badges']} TO {to}",
    )

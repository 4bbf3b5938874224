"""What a good engineer would write by hand on PostgreSQL, in the place of ``drain`` and ``append``.

It does less: it trusts its table to know every kind, its log to be the same as ever and its sums
to fit 64 bits; it keeps no checksum, compares nothing, and stores an id again where it is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

COLUMNS = "skill_id, kind, occurred_at_us, event_id, deltas, note, recorded_at_us, fingerprint"

_TABLES = """
    DROP SCHEMA IF EXISTS by_hand CASCADE;
    CREATE SCHEMA by_hand;
    CREATE TABLE by_hand.totals (
        skill text COLLATE "C" PRIMARY KEY, downloads bigint NOT NULL, stars bigint NOT NULL,
        installs_all_time bigint NOT NULL, installs_current bigint NOT NULL
    );
    CREATE TABLE by_hand.daily (
        day date, skill text COLLATE "C", downloads bigint NOT NULL, installs bigint NOT NULL,
        PRIMARY KEY (day, skill)
    );
    CREATE INDEX ON by_hand.daily (skill, day);
    CREATE TABLE by_hand.place (xid xid8, seq bigint);
    INSERT INTO by_hand.place VALUES ('0', 0);
"""
_AFTER = """
    FROM skillstat.skillstat_events WHERE (xid, seq) > (%(xid)s::text::xid8, %(seq)s)
    AND xid < pg_snapshot_xmin(pg_current_snapshot()) ORDER BY xid, seq
"""
# Tried as well, and slower: a materialized page, groups by kind first, rows added in order.
_FOLD = f"""
    WITH page AS (
        SELECT skill_id, kind, date '1970-01-01' + (occurred_at_us / 86400000000)::integer AS day,
            (deltas ->> 'all_time')::bigint AS all_time, (deltas ->> 'current')::bigint AS current
        {_AFTER} LIMIT %(page)s
    ), cells AS MATERIALIZED (
        SELECT day, skill_id AS skill,
            count(*) FILTER (WHERE kind = 'download') AS downloads,
            count(*) FILTER (WHERE kind = 'install_new') AS installs,
            sum(CASE kind WHEN 'star' THEN 1 WHEN 'unstar' THEN -1 ELSE 0 END) AS stars,
            count(*) FILTER (WHERE kind = 'install_new') + coalesce(sum(all_time), 0) AS all_time,
            sum(CASE kind WHEN 'install_new' THEN 1 WHEN 'install_reactivate' THEN 1
                WHEN 'install_deactivate' THEN -1 ELSE 0 END)
                + coalesce(sum(current), 0) AS current
        FROM page GROUP BY 1, 2
    ), totals AS (
        INSERT INTO by_hand.totals AS there
        SELECT skill, sum(downloads), sum(stars), sum(all_time), sum(current)
        FROM cells GROUP BY skill
        ON CONFLICT (skill) DO UPDATE SET
            downloads = there.downloads + excluded.downloads,
            stars = there.stars + excluded.stars,
            installs_all_time = there.installs_all_time + excluded.installs_all_time,
            installs_current = there.installs_current + excluded.installs_current
    ), daily AS (
        INSERT INTO by_hand.daily AS there
        SELECT day, skill, downloads, installs FROM cells WHERE downloads > 0 OR installs > 0
        ON CONFLICT (day, skill) DO UPDATE SET
            downloads = there.downloads + excluded.downloads,
            installs = there.installs + excluded.installs
    )
    UPDATE by_hand.place SET xid = ending.xid, seq = ending.seq FROM (
        (SELECT xid, seq {_AFTER} OFFSET %(page)s - 1 LIMIT 1)
        UNION ALL
        (SELECT xid, seq FROM skillstat.skillstat_events
            WHERE (xid, seq) > (%(xid)s::text::xid8, %(seq)s)
            AND xid < pg_snapshot_xmin(pg_current_snapshot()) ORDER BY xid DESC, seq DESC LIMIT 1)
        LIMIT 1
    ) AS ending
"""


def create_yardstick_tables(db: psycopg.Connection[Any]) -> None:
    """Make the tables that `drain_by_hand` writes, in the place of those that are there."""
    db.execute(_TABLES)


def drain_by_hand(db: psycopg.Connection[Any], page: int) -> None:
    """Fold the log into the tables, page after page, each in one transaction."""
    while _fold_by_hand(db, page):
        pass


def _fold_by_hand(db: psycopg.Connection[Any], page: int) -> bool:
    """Fold one page; return whether there was one."""
    with db.transaction(), db.cursor() as sql:
        [(xid, seq)] = sql.execute("SELECT xid::text, seq FROM by_hand.place FOR UPDATE")
        return sql.execute(_FOLD, {"xid": xid, "seq": seq, "page": page}).rowcount > 0


def copy_by_hand(
    db: psycopg.Connection[Any], schema: str, values: Sequence[Sequence[object]]
) -> None:
    """Append rows of `COLUMNS` by a bare ``COPY``."""
    statement = SQL("COPY {} ({}) FROM STDIN").format(
        Identifier(schema, "skillstat_events"), SQL(COLUMNS)
    )
    with db.cursor() as sql, sql.copy(statement) as copy:
        for row in values:
            copy.write_row(row)


def insert_by_hand(
    db: psycopg.Connection[Any], schema: str, columns: Sequence[Sequence[object]]
) -> None:
    """Append the columns of `COLUMNS`, and that of the digests, by one bare statement."""
    statement = SQL("""
        WITH given AS (
            SELECT * FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::text[], %s::text[],
                %s::text[], %s::bigint[], %s::bigint[], %s::bytea[]) AS given ({columns}, digest)
        ), ids AS (
            INSERT INTO {schema}.skillstat_event_ids SELECT event_id, digest FROM given
        )
        INSERT INTO {schema}.skillstat_events ({columns})
        SELECT skill_id, kind, occurred_at_us, event_id, deltas::jsonb, note, recorded_at_us,
            fingerprint FROM given
    """)
    db.execute(statement.format(columns=SQL(COLUMNS), schema=Identifier(schema)), columns)

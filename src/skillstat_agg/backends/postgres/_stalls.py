"""What holds the frontier of the log back, and how much waits behind it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs

from skillstat_agg._buckets import from_microseconds
from skillstat_agg.backends.postgres._names import Names, Query
from skillstat_agg.backends.postgres._schema import LOG, Steps, checked_log

MOST_WAITING = 1_000_000
"""How many waiting events are counted at most."""


@attrs.frozen(kw_only=True)
class Holder:
    """A transaction that has not ended, before which events wait that were committed later.

    Attributes:
        pid: The process of the server that runs it; None: it is prepared, and nobody runs it.
        prepared: The name it was prepared under, as for ``COMMIT PREPARED``; None: it is not.
        application: ``application_name`` of its connection; empty if there is none.
        user: Who began it.
        database: Where; it may be another one of the same server.
        state: What its connection does: ``active``, ``idle in transaction``, ``prepared``, ...;
            empty, as the application is, if this role may not know: grant it ``pg_monitor``.
        age: How long it has been open, or prepared, by the clock of the server; None: this role
            may not know.
    """

    pid: int | None
    prepared: str | None
    application: str
    user: str
    database: str
    state: str
    age: timedelta | None

    def __str__(self) -> str:
        where = f"database {self.database!r}, user {self.user!r}"
        if self.age is None:
            return f"process {self.pid} ({where}; grant pg_monitor to see more)"
        since = f"for {timedelta(seconds=int(self.age.total_seconds()))}"
        if self.prepared is not None:
            return f"transaction prepared as {self.prepared!r} {since} ({where})"
        return f"process {self.pid} of {self.application!r}, {self.state} {since} ({where})"


@attrs.frozen(kw_only=True)
class Stall:
    """Events that are committed and cannot be read yet, and why.

    Attributes:
        waiting: How many events wait; counted up to 1,000,000.
        since: When the first of them was recorded; None: none waits.
        holders: The transactions they wait for, the oldest first; none where the last of them
            has just ended.
    """

    waiting: int
    since: datetime | None
    holders: tuple[Holder, ...]

    def __str__(self) -> str:
        if not self.waiting:
            return "no event waits"
        more = " or more" if self.waiting == MOST_WAITING else ""
        whom = "; ".join(map(str, self.holders)) or "a transaction that has just ended"
        events = "1 event waits" if self.waiting == 1 else f"{self.waiting:,}{more} events wait"
        return f"{events} for {whom}"


def stalling(names: Names) -> Steps[Stall]:
    """Return what waits, and for whom: see ``PostgresEventStore.stall``."""
    events = names["skillstat_events"]
    # A session shows 32 bits of its number; the rest is that of the horizon, never far away.
    number = "(here.horizon::text::numeric + age(here.horizon::xid) - age({0}))"
    answer = yield Query(
        f"""
        WITH here AS MATERIALIZED (
            SELECT {LOG}, pg_snapshot_xmin(pg_current_snapshot()) AS horizon
            FROM {names["skillstat_schema"]}
        ), waiting AS MATERIALIZED (
            SELECT xid, recorded_at_us FROM {events}
            WHERE xid >= (SELECT horizon FROM here) ORDER BY xid, seq LIMIT {MOST_WAITING}
        ), writing AS (
            SELECT {number.format("backend_xid")} AS number, pid, NULL AS prepared,
                application_name, usename AS username, datname AS database, state,
                clock_timestamp() - xact_start AS age
            FROM here, pg_stat_activity
            WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()
            UNION ALL
            SELECT {number.format("transaction")}, NULL, gid, '', owner, database, 'prepared',
                clock_timestamp() - prepared
            FROM here, pg_prepared_xacts
        )
        SELECT json_build_object(
            'log', (SELECT row_to_json(here) FROM here),
            'waiting', (SELECT count(*) FROM waiting),
            'since', (SELECT recorded_at_us FROM waiting LIMIT 1),
            'holders', (
                SELECT coalesce(json_agg(json_build_array(pid, prepared, application_name,
                    username, database, state, extract(epoch FROM age)) ORDER BY number), '[]')
                FROM writing WHERE number < (SELECT max(xid::text::numeric) FROM waiting)
            )
        )::text
        """
    )
    checked_log(answer["log"])
    since = answer["since"]
    return Stall(
        waiting=answer["waiting"],
        since=None if since is None else from_microseconds(since),
        holders=tuple(map(_holder, answer["holders"])),
    )


def _holder(row: Sequence[Any]) -> Holder:
    pid, prepared, application, user, database, state, seconds = row
    return Holder(
        pid=pid,
        prepared=prepared,
        application=application or "",
        user=user or "",
        database=database or "",
        state=state or "",
        age=None if seconds is None else timedelta(seconds=float(seconds)),
    )

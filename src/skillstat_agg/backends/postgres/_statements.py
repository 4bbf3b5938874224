"""Append as a statement for whoever owns the transaction: SQLAlchemy, Django, asyncpg, ..."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Literal, LiteralString

import attrs

from skillstat_agg._appending import checked_events, content_digests, unseen_events
from skillstat_agg._buckets import microseconds
from skillstat_agg._events import Event
from skillstat_agg._projections import Projection
from skillstat_agg._stores import DAY_AHEAD
from skillstat_agg.backends._clocks import Clock, utc_now
from skillstat_agg.backends.postgres._log import appending
from skillstat_agg.backends.postgres._names import Names
from skillstat_agg.backends.postgres._schema import SCHEMA


@attrs.frozen
class Statement:
    """A statement and its parameters, for any driver.

    Attributes:
        text: The statement, with a place for each parameter. Nothing in it comes from an event,
            and the name of the schema is quoted.
        values: The parameters, in order: an integer, and lists of integers, of texts and of
            bytes, where None stands for NULL.
    """

    text: LiteralString  # else psycopg's types refuse it
    values: tuple[object, ...] = attrs.field(repr=False)


def append_statement(
    events: Iterable[Event],
    *,
    schema: str = SCHEMA,
    projections: Iterable[Projection] = (),
    paramstyle: Literal["format", "numeric_dollar"] = "format",
    max_ahead: timedelta = DAY_AHEAD,
    clock: Clock = utc_now,
) -> Statement:
    """Return the one statement that appends *events* within the transaction that runs it.

    It does what ``PostgresEventStore.append`` does: retries are recognised by their event id,
    and an id that stands for other content fails the statement with the SQLSTATE ``SK001``. It
    answers with one row of one column: JSON as text, ``[new, xid, seq]``, the number of events
    that were new and the position of the last of them (nulls where none was).

    Args:
        events: The events; no events give a statement that does nothing.
        schema: Where the tables are.
        projections: The tables that must be able to count each event.
        paramstyle: How the driver marks parameters: ``format`` is ``%s`` (psycopg, Django and
            SQLAlchemy over psycopg), ``numeric_dollar`` is ``$1`` (asyncpg).
        max_ahead: How far after the clock an event may have occurred.
        clock: Gives ``recorded_at``.

    Raises:
        InvalidEventError: If one is no `Event`, or lies too far ahead.
        UncountableEventError: If a table cannot count one.
        EventIdConflictError: If two of them have one id and unlike content.
        SchemaError: If *schema* cannot be the name of a schema.
    """
    now = clock()
    given = checked_events(events, now=now, max_ahead=max_ahead, projections=tuple(projections))
    fresh = unseen_events(given, content_digests(given), {})
    query = appending(Names(schema), fresh, microseconds(now))
    text: Any = query.text
    if paramstyle == "numeric_dollar":
        numbers = itertools.count(1)
        text = re.sub("%[s%]", lambda mark: f"${next(numbers)}" if mark[0] == "%s" else "%", text)
    return Statement(text, query.values)

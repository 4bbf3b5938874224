"""Logs on PostgreSQL that are broken in a way that only its transactions make visible.

They need a server: `stores_on` makes them of a harness of the right stores. `BROKEN_STORES`
does not hold them, and its package does not import this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any

import attrs

from skillstat_agg._events import MAX_INTEGER, Event, Place, Position, RecordedEvent
from skillstat_agg._pages import Page, check_bounds
from skillstat_agg._stores import DAY_AHEAD, Appended
from skillstat_agg.backends.postgres import PostgresEventStore
from skillstat_agg.backends.postgres._log import STORED, recorded
from skillstat_agg.backends.postgres._names import Query
from skillstat_agg.backends.postgres._running import run
from skillstat_agg.backends.postgres._schema import LOG, Steps, checked_log
from skillstat_agg.errors import HistoryChangedError
from skillstat_agg.testing._harness import AnyHarness, Client, JoinedAppend, Setting
from skillstat_agg.testing.gallery._frame import BrokenStore


class NumberUnderHorizon:
    """``WHERE xid < horizon AND seq > cursor ORDER BY seq``, over the real tables.

    Args:
        right: The right store, which appends.
    """

    readable = "xid < pg_snapshot_xmin(pg_current_snapshot())"

    def __init__(self, right: PostgresEventStore) -> None:
        self._right = right

    def append(self, events: Iterable[Event], /, *, max_ahead: timedelta = DAY_AHEAD) -> Appended:
        """Append, and return the number alone."""
        appended = self._right.append(events, max_ahead=max_ahead)
        last = appended.position
        return attrs.evolve(appended, position=None if last is None else Position(last[1:]))

    def read(self, after: Place | None, /, *, limit: int) -> Page:
        """Read on from the number."""
        check_bounds(limit=limit)
        return run(self._right._db, "read", self._reading(after, limit))

    def _reading(self, after: Place | None, limit: int) -> Steps[Page]:
        names = self._right._names
        log, schema = names["skillstat_events"], names["skillstat_schema"]
        seq = _number(after)
        answer = yield Query(
            f"""
            WITH readable AS MATERIALIZED (
                SELECT * FROM {log} WHERE {self.readable}
            ), page AS (
                SELECT * FROM readable WHERE seq > %s ORDER BY seq LIMIT %s
            )
            SELECT json_build_object(
                'log', (SELECT row_to_json(here) FROM (SELECT {LOG} FROM {schema}) AS here),
                'mark', (SELECT fingerprint FROM {log} WHERE seq = %s),
                'frontier', (SELECT max(seq) FROM readable),
                'events', (SELECT coalesce(json_agg(
                    json_build_array(xid::text, seq, {STORED}) ORDER BY seq), '[]') FROM page)
            )::text
            """,
            (seq, limit, seq),
        )
        return _page(answer, after)


class NumberAlone(NumberUnderHorizon):
    """``WHERE seq > cursor ORDER BY seq``: whatever is visible can be read."""

    readable = "true"


def _number(after: Place | None) -> int:
    if after is None:
        return 0
    if len(after.position) != 1 or after.position[0] > MAX_INTEGER:
        raise HistoryChangedError(f"no event of this log stands at position {after.position}")
    return after.position[0]


def _page(answer: Mapping[str, Any], after: Place | None) -> Page:
    epoch, mark, frontier = checked_log(answer["log"]), answer["mark"], answer["frontier"]
    if after is not None and (after.epoch, after.fingerprint) != (epoch, mark):
        raise HistoryChangedError("another event, or none, stands where the cursor stands")
    events = tuple(map(_numbered, answer["events"]))
    last = None if frontier is None else Position((frontier,))
    return Page(
        epoch=epoch,
        events=events,
        frontier=last,
        is_last=not events or events[-1].position == last,
    )


def _numbered(row: list[Any]) -> RecordedEvent:
    found = recorded(row)
    return attrs.evolve(found, position=Position(found.position[1:]))


def _on_postgres(right: AnyHarness, broken: type[NumberUnderHorizon]) -> AnyHarness:
    """Return a harness whose clients read and append through a broken event store."""

    @contextmanager
    def client(site: Any, setting: Setting) -> Iterator[Client]:
        opened = right.client(site, setting)
        assert isinstance(opened, AbstractContextManager)
        with opened as stores:
            assert isinstance(stores.events, PostgresEventStore)
            log = broken(stores.events)

            def begin() -> JoinedAppend:
                assert stores.begin is not None
                held = stores.begin()
                assert isinstance(held, JoinedAppend)
                return attrs.evolve(held, events=log)

            yield attrs.evolve(stores, events=log, begin=begin)

    return attrs.evolve(right, client=client)


def stores_on(right: AnyHarness) -> tuple[BrokenStore, ...]:
    """Return the broken stores that live in the tables of the right ones.

    Args:
        right: A harness of the synchronous stores on PostgreSQL, with appends that are joined.
    """
    return (
        BrokenStore(
            name="number under a horizon of PostgreSQL",
            mistake="Reads what transactions below pg_snapshot_xmin have written, and keeps the"
            " largest sequence number. A transaction with a later id may have drawn a lower one.",
            reported=("event-driven-io/emmett#336", "RailsEventStore/rails_event_store#106"),
            row="V1",
            breaks=("stable_prefix",),
            killer="LATE-06",
            remedy="let the position be (xid8, number), and order by both",
            harness=_on_postgres(right, NumberUnderHorizon),
        ),
        BrokenStore(
            name="number of a sequence",
            mistake="Reads all rows with a larger number of an identity column. The number is"
            " drawn at insert and seen at commit: a lower one can still appear.",
            reported=(
                "commanded/eventstore#3",
                "JasperFx/marten#1629",
                "SQLStreamStore/SQLStreamStore#121",
                "confluentinc/kafka-connect-jdbc#915",
            ),
            row="V1",
            breaks=("stable_prefix",),
            killer="LATE-02",
            remedy="read below pg_snapshot_xmin(pg_current_snapshot()), in the same statement",
            harness=_on_postgres(right, NumberAlone),
        ),
    )

"""The asynchronous twin of `skillstat_agg._adopting`; import from `skillstat_agg.aio` instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from skillstat_agg._adjusting import adopted_kind, check_correctable
from skillstat_agg._adopting import Adoption, Bucket, mark_id, opening_events
from skillstat_agg._events import Event, Place, Position
from skillstat_agg._folding import DEFAULT_PAGE
from skillstat_agg._stores import Counters
from skillstat_agg.aio._rebuilding import check_same_log
from skillstat_agg.aio._stores import EventStore, StatsStore
from skillstat_agg.errors import AdoptionRefusedError, EventIdConflictError


async def adopt(
    events: EventStore,
    stats: StatsStore,
    name: str,
    totals: Mapping[str, Counters],
    rollups: Mapping[Bucket, Counters] | None = None,
    queued: Sequence[Event] = (),
    /,
    *,
    at: datetime,
) -> Adoption:
    """Take over the counts of another mechanism, in one append; to repeat it does nothing.

    It is for a log and numbers whose transaction is nobody else's business. To switch over in
    a transaction of your own, call `check_adoptable` before it, and append `opening_events`
    and `queued_events` within.

    Args:
        events: The log.
        stats: The stats of one projection, which `correctable` has made.
        name: What the counts are taken over from.
        totals: As in `opening_events`.
        rollups: As in `opening_events`.
        queued: Rows that are not in the counts, as `queued_events` returns them.
        at: When it is taken over.

    Raises:
        AdoptionRefusedError: If the projection has counted events already, or other counts
            were adopted.
        InvalidProjectionError: As in `opening_events`.
        InvalidEventError: As in `opening_events`.
        EventIdConflictError: If a queued row was appended before with other content.
    """
    projection = stats.projection
    opened = opening_events(projection, name, totals, rollups, at=at)
    await check_adoptable(events, stats)
    try:
        appended = await events.append([*opened, *queued])
    except EventIdConflictError as error:
        if mark_id(projection) not in error.event_ids:
            raise
        raise AdoptionRefusedError(
            projection.name, "others were adopted before, and what is in the log stays"
        ) from error
    return Adoption(events=len(opened) + len(queued), new=appended.new)


async def check_adoptable(events: EventStore, stats: StatsStore) -> None:
    """Check that nothing is in the log that a projection counts, or that it has adopted.

    Where it has adopted, to adopt the same again does nothing, also where an event that it counts
    was committed first: then the adoption has lost that race, and is in nevertheless.

    Raises:
        AdoptionRefusedError: If there are events that it counts, and none says that it has
            adopted.
        InvalidProjectionError: If it knows no opening balances.
        HistoryChangedError: If the log is not the one that was folded so far.
        OpenTransactionError: If a connection is inside a transaction: check before it.
    """
    projection = stats.projection
    check_correctable(projection, projection.counters[0])
    await check_same_log(events, stats)
    place: Place | None = None
    first: Position | None = None
    while True:
        page = await events.read(place, limit=DEFAULT_PAGE)
        for one in page.events:
            kind = one.event.kind
            if kind == adopted_kind(projection):
                return
            is_counted = kind in projection.kinds and not projection.kinds[kind].is_retired
            if is_counted and first is None:
                first = one.position
        if page.is_last or not page.events:
            break
        last = page.events[-1]
        place = Place(page.epoch, last.position, last.fingerprint)
    if first is not None:
        raise AdoptionRefusedError(
            projection.name,
            f"the log holds events that it counts, the first at {first}, and opening balances go"
            " before them; correct its numbers instead, or adopt into a projection and a log that"
            " are new",
        )

"""What one read returns, and what of it one commit can take; import from `skillstat_agg`."""

from __future__ import annotations

import operator
from datetime import datetime

import attrs

from skillstat_agg._commits import CHECKSUM_RANGE, Cursor
from skillstat_agg._deltas import can_count
from skillstat_agg._events import Place, Position, RecordedEvent
from skillstat_agg._projections import Projection
from skillstat_agg._quarantine import Uncountable
from skillstat_agg._tallies import Tally
from skillstat_agg.errors import InvalidBoundError, StoreContractError, UncountableEventError


@attrs.frozen(kw_only=True)
class Page:
    """What one read of the log returns, from one snapshot of it.

    Attributes:
        epoch: Identity of the log.
        events: Events after the place that was asked for, without a hole in what is
            committed, in the order of their positions. They may be fewer than asked for.
            A compacted event is one of them.
        frontier: Up to here nothing can still appear; None in a log where nothing can
            be read yet. No event of the page lies after it.
        is_last: Whether the page reaches the frontier.
    """

    epoch: str
    events: tuple[RecordedEvent, ...]
    frontier: Position | None
    is_last: bool


@attrs.frozen(kw_only=True)
class TalliedPage:
    """A page that was tallied instead of listed.

    Attributes:
        tally: The tally of its events.
        count: Their number; a compacted event counts as many as it stands for.
        checksum: The sum of their fingerprints, or of what compacted events keep of
            them, modulo ``CHECKSUM_RANGE``.
        place: Place of the last of them; None where there are none.
        frontier: As in `Page`.
        is_last: As in `Page`.
        records: How many events `Page` would list, which is what a limit counts: a
            compacted event is one. By default it is *count*.
    """

    tally: Tally
    count: int
    checksum: int
    place: Place | None
    frontier: Position | None
    is_last: bool
    records: int = attrs.field(default=attrs.Factory(operator.attrgetter("count"), takes_self=True))


@attrs.frozen(kw_only=True)
class Portion:
    """What one commit takes of the log.

    Attributes:
        page: The tally of what is counted; its number, checksum and place cover what is
            parked, too.
        parked: The events that the table cannot count and that are set aside.
        fault: The error to raise after the commit; None: there is none.
    """

    page: TalliedPage
    parked: tuple[RecordedEvent, ...] = ()
    fault: UncountableEventError | None = None


def cut(page: Page, until: Position | None) -> Page:
    """Return a page as if nothing stood after *until*; None: there is no such end."""
    if until is None or page.frontier is None or page.frontier <= until:
        return page
    events = tuple(recorded for recorded in page.events if recorded.position <= until)
    is_last = len(events) < len(page.events) or (bool(events) and events[-1].position == until)
    return attrs.evolve(
        page,
        events=events,
        frontier=until,
        is_last=page.is_last or is_last,
    )


def cut_tally(page: TalliedPage | None, until: Position | None) -> TalliedPage | None:
    """Return a tallied page as if nothing stood after *until*; None: it has to be read plainly."""
    if page is None or until is None or page.place is None or page.place.position < until:
        return page
    return attrs.evolve(page, is_last=True) if page.place.position == until else None


@attrs.frozen(kw_only=True)
class Backlog:
    """How much of a log lies after a place, from one snapshot of it.

    Attributes:
        events: How many events ``read`` would return after the place, in pages up to the
            frontier; counted up to a limit.
        waiting: How many events are committed and lie beyond the frontier, where they wait
            for appends that began before theirs; counted up to the same limit.
        since: When the first event after the place was recorded, be it one that can be read
            or one that waits; None: there is none.
        frontier: As in `Page`.
    """

    events: int
    waiting: int
    since: datetime | None
    frontier: Position | None


def countable(
    page: TalliedPage | None, cursor: Cursor, limit: int, projection: Projection
) -> Portion | None:
    """Return a tallied page that can be committed; None where it has to be read plainly.

    Raises:
        StoreContractError: If the page breaks a law.
    """
    if page is None or not can_count(projection, page.tally):
        return None
    if page.tally.granularity is not projection.finest:
        raise StoreContractError("same_tally", f"a tally by {page.tally.granularity.value}")
    if sum(page.tally.counts.values()) != page.count or (page.count == 0) != (page.place is None):
        raise StoreContractError("same_tally", f"a tallied page counts {page.count} events")
    if page.records > page.count:
        raise StoreContractError(
            "same_tally", f"a tallied page of {page.records} records counts {page.count} events"
        )
    _check_size(page, page.records, limit)
    if page.place is not None:
        _check_after(page.place, cursor.place)
        _check_frontier(page.place.position, page.frontier)
    return Portion(page=page)


def countable_part(
    page: Page,
    cursor: Cursor,
    limit: int,
    projection: Projection,
    max_skills: int | None,
    uncountable: Uncountable,
) -> Portion:
    """Return what of a plain page can be committed, tallied, and why it ends there.

    It is the whole page, or what stands before an event that the table cannot count (then
    the error to raise after the commit comes with it) unless that is parked, or before one
    skill too many.

    Raises:
        StoreContractError: If the page breaks a law.
    """
    _check_order(page, cursor)
    _check_size(page, len(page.events), limit)
    taken: list[RecordedEvent] = []
    counted: list[RecordedEvent] = []
    parked: list[RecordedEvent] = []
    skills: set[str] = set()
    fault: UncountableEventError | None = None
    for recorded in page.events:
        try:
            projection.check(recorded.event)
        except UncountableEventError as error:
            if uncountable is Uncountable.HALT:
                fault = attrs.evolve(error, position=str(recorded.position))
                break
            parked.append(recorded)
        else:
            skills.add(recorded.event.skill_id)
            if max_skills is not None and len(skills) > max_skills:
                break
            counted.append(recorded)
        taken.append(recorded)
    tallied = TalliedPage(
        tally=Tally.of_recorded(counted, projection.finest),
        count=sum(recorded.count for recorded in taken),
        checksum=sum(recorded.checksum for recorded in taken) % CHECKSUM_RANGE,
        place=Place(page.epoch, taken[-1].position, taken[-1].fingerprint) if taken else None,
        frontier=page.frontier,
        is_last=page.is_last and len(taken) == len(page.events),
        records=len(taken),
    )
    return Portion(page=tallied, parked=tuple(parked), fault=fault)


def _check_order(page: Page, cursor: Cursor) -> None:
    """Check log and order of a plain page: they are never trusted."""
    last = None if cursor.place is None else cursor.place.position
    if cursor.place is not None and page.epoch != cursor.place.epoch:
        raise StoreContractError("same_log", f"read epoch {page.epoch} after {cursor.place.epoch}")
    for recorded in page.events:
        if last is not None and recorded.position <= last:
            raise StoreContractError(
                "total_order", f"position {recorded.position} comes after {last}"
            )
        last = recorded.position
    if page.events:
        _check_frontier(page.events[-1].position, page.frontier)


def _check_frontier(position: Position, frontier: Position | None) -> None:
    """Check that the last position of a page does not lie after the frontier."""
    if frontier is None or position > frontier:
        raise StoreContractError(
            "stable_prefix", f"position {position} lies after the frontier {frontier}"
        )


def _check_after(place: Place, after: Place | None) -> None:
    """Check that a tallied page ends after the place it was read from, in the same log."""
    if after is None:
        return
    if place.epoch != after.epoch:
        raise StoreContractError("same_log", f"read epoch {place.epoch} after {after.epoch}")
    if place.position <= after.position:
        raise StoreContractError(
            "total_order", f"a page after {after.position} ends at {place.position}"
        )


def _check_size(page: Page | TalliedPage, count: int, limit: int) -> None:
    """Check that a page holds at most what was asked for, and something if more follows."""
    if count > limit:
        raise StoreContractError("progress", f"{count} events for a limit of {limit}")
    if count == 0 and not page.is_last:
        raise StoreContractError("progress", "an empty page says that more follows")


def check_bounds(**bounds: int | None) -> None:
    """Check that each bound that is given is a whole number of at least 1.

    Raises:
        InvalidBoundError: If one is not.
    """
    for name, value in bounds.items():
        if value is not None and (type(value) is not int or value < 1):
            raise InvalidBoundError(name, repr(value))

"""Ties: events that share a time are places apart, whatever the size of a page."""

from __future__ import annotations

from skillstat_agg._events import Place, RecordedEvent
from skillstat_agg.testing._checks import AnyCase, check
from skillstat_agg.testing._handles import Handle
from skillstat_agg.testing._steps import Violation

TIED = "events shared a time"
BACKWARDS = "an event was recorded at an earlier time than one before it"
PAGES = "a log was read in several pages"


def _note_times(case: AnyCase, client: Handle) -> None:
    """Note whether recorded times were tied, or went backwards."""
    times = [recorded.recorded_at for recorded in case.log_of(client)]
    if len(set(times)) < len(times):
        case.saw(TIED)
    if times != sorted(times):
        case.saw(BACKWARDS)


@check(
    "TIE-01",
    "total_order",
    "events of one time are all folded, with any page",
    witness=TIED,
    needs=["keeps_time"],
)
def tie_01(case: AnyCase) -> None:
    """One to four events share a time, before and after an event of another time."""
    client, events = case.client("w"), case.downloads("abcd"[: case.pick(1, 2, 3, 4)])
    step = case.vary(1, len(events))
    for start in range(0, len(events), step):
        client.append(*events[start : start + step])
    if case.vary(True, False):
        case.clock.go(milliseconds=1)
        client.append(*case.downloads("z"))
    client.drain(page=case.vary(2, 1, 3))
    _note_times(case, client)
    case.settle()


@check(
    "TIE-02",
    "total_order",
    "an event that is recorded at an earlier time is folded all the same",
    witness=BACKWARDS,
    needs=["keeps_time"],
)
def tie_02(case: AnyCase) -> None:
    """The clock steps back after a fold, by a little or by a lot."""
    client, page = case.client("w"), case.vary(1, 2)
    client.append(*case.downloads("ab"))
    if case.vary(True, False):
        client.drain(page=page)
    case.clock.go(milliseconds=-case.vary(1, 60_000, 80_000_000))
    client.append(*case.downloads("c"))
    client.drain(page=page)
    case.clock.go(milliseconds=case.vary(0, 1, 60_001))
    client.append(*case.downloads("d"))
    client.drain(page=page)
    _note_times(case, client)
    case.settle()


@check(
    "TIE-03",
    "progress",
    "a group of one time may be smaller or larger than a page",
    witness=TIED,
    needs=["keeps_time"],
)
def tie_03(case: AnyCase) -> None:
    """Groups of limit - 1, limit, limit + 1 and 3 x limit, in one append and in several."""
    client, limit = case.client("w"), case.vary(2, 3)
    group = case.pick(limit - 1, limit, limit + 1, 3 * limit)
    events = case.downloads("abcdefghi"[:group])
    step = case.vary(len(events), 1, 2)
    for part in (events[start : start + step] for start in range(0, len(events), step)):
        client.append(*part)
    case.clock.go(microseconds=case.vary(1, 1_000))
    client.append(*case.downloads("z"))
    folded = client.drain(page=limit).events
    _note_times(case, client)
    case.expect("events folded by one drain", group + 1, folded)
    case.settle()


@check(
    "TIE-04",
    "total_order",
    "pages joined are the log, and positions grow",
    witness=PAGES,
)
def tie_04(case: AnyCase) -> None:
    """The log is read with every limit; each page says truly whether more follows."""
    client, limit = case.client("w"), case.pick(1, 2, 3, 4, 5, 6, 100)
    client.append(*case.downloads("ab"))
    client.append(*case.downloads("c"))
    case.clock.go(seconds=case.pick(0, 1))
    client.append(*case.downloads("de"))
    joined = _in_pages(client, limit)
    case.saw(PAGES)
    positions = [recorded.position for recorded in joined]
    if positions != sorted(set(positions)):
        raise Violation("positions that grow", ", ".join(map(str, positions)))
    case.expect("the log", case.log_of(client), joined)
    case.expect("its events", case.committed.events, [recorded.event for recorded in joined])


def _in_pages(client: Handle, limit: int) -> list[RecordedEvent]:
    """Return what a reader reads with pages of *limit*."""
    found: list[RecordedEvent] = []
    place: Place | None = None
    while True:
        page = client.events.read(place, limit=limit)
        if len(page.events) > limit:
            raise Violation(f"at most {limit} events", str(len(page.events)))
        found += page.events
        at_frontier = not found or page.frontier == found[-1].position
        if page.is_last != at_frontier:
            raise Violation(
                f"is_last = {at_frontier} at {found[-1].position if found else None}"
                f" with frontier {page.frontier}",
                str(page.is_last),
            )
        if page.is_last:
            return found
        if not page.events:
            raise Violation("an event, since more follows", "an empty page")
        place = Place(page.epoch, found[-1].position, found[-1].fingerprint)


@check(
    "TIE-05",
    "progress",
    "events of one time are reached one by one",
    witness=TIED,
    needs=["keeps_time"],
)
def tie_05(case: AnyCase) -> None:
    """A worker that may fold few events, or few skills, comes through a group of one time."""
    client = case.client("w")
    client.append(*case.downloads(case.pick("abc", "aab", "abab")))
    events, skills = case.pick((1, None), (None, 1), (2, 1))
    page, folded = case.pick(1, 2, 10), list[int]()
    while sum(folded) < len(case.committed.events):
        folded.append(client.drain(page=page, max_events=events, max_skills=skills).events)
        if folded[-1] == 0:
            raise Violation(
                "every drain to fold something, as long as there is something",
                f"drain {len(folded)} folded nothing of what is left",
            )
    _note_times(case, client)
    case.observe()
    case.settle()


CHECKS = (tie_01, tie_02, tie_03, tie_04, tie_05)

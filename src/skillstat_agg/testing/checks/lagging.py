"""Lag: how much lies after a place is counted exactly, and what waits is not hidden."""

from __future__ import annotations

from datetime import timedelta

from skillstat_agg import aio
from skillstat_agg._events import Place, Position
from skillstat_agg._lag import Lag
from skillstat_agg._pages import Backlog
from skillstat_agg.errors import SkillstatError, StoreBusyError
from skillstat_agg.testing._checks import AnyCase, check
from skillstat_agg.testing._clients import SteppedEvents, SteppedStats
from skillstat_agg.testing._comparing import EVERYTHING
from skillstat_agg.testing._handles import Handle
from skillstat_agg.testing._looking import places_of, was_moved_in
from skillstat_agg.testing._steps import REFUSED

COUNTED = "there was something to count after a place"
CAPPED = "more lay after a place than was to be counted"
REFUSES = "a read was refused that a backlog was asked for too"
WAITS = "committed events waited beyond the frontier"
BEHIND = "a projection was behind its log while a worker folded"
INSIDE = "something was committed in the middle of a call that counts"


@check(
    "LAG-01",
    "same_backlog",
    "the backlog is that of what a read returns, at every place and limit",
    witness=(COUNTED, CAPPED),
    needs=["lag"],
)
def lag_01(case: AnyCase) -> None:
    """Nothing, one event and several, of appends at unlike times, and a hole between them."""
    client = case.client("w")
    for number in range(case.pick(0, 1, 3)):
        case.clock.go(minutes=7)
        client.append(*case.downloads("ab"))
        if number == 1 and client.can_begin:
            held = client.begin()
            held.append(*case.downloads("xyz"))
            held.rollback()
    place, limit = case.pick(*places_of(client)), case.pick(1, 2, 5, EVERYTHING)
    page = client.events.read(place, limit=EVERYTHING)
    backlog = client.events.lag(place, limit=limit)
    if page.events:
        case.saw(CAPPED if len(page.events) > limit else COUNTED)
    after = "the beginning" if place is None else str(place.position)
    for what, expected, actual in (
        ("events", min(limit, len(page.events)), backlog.events),
        ("waiting", 0, backlog.waiting),
        ("since", page.events[0].recorded_at if page.events else None, backlog.since),
        ("frontier", page.frontier, backlog.frontier),
    ):
        case.expect(f"{what} of the backlog after {after}, up to {limit}", expected, actual)


@check(
    "LAG-02",
    "same_backlog",
    "a backlog is refused where a read is",
    witness=REFUSES,
    needs=["lag"],
)
def lag_02(case: AnyCase) -> None:
    """Places of another history."""
    client = case.client("w")
    client.append(*case.downloads("ab"))
    page = client.events.read(None, limit=1)
    place = Place(page.epoch, page.events[0].position, page.events[0].fingerprint)
    what, place = case.pick(
        ("another epoch", Place("another", place.position, place.fingerprint)),
        ("another fingerprint", Place(place.epoch, place.position, place.fingerprint ^ 1)),
        ("no event there", Place(place.epoch, Position((*place.position, 0)), 7)),
    )
    try:
        client.events.read(place, limit=1)
    except SkillstatError as error:
        case.saw(REFUSES)
        case.raises(
            type(error),
            lambda: client.events.lag(place, limit=1),
            f"lag() with {what}, as read() does,",
        )


@check(
    "LAG-03",
    "nothing_hidden",
    "what is committed and cannot be read yet is counted as waiting, and nothing else",
    witness=(WAITS, REFUSED),
    needs=["lag", "begin"],
)
def lag_03(case: AnyCase) -> None:
    """One append is held open; others commit behind it, and some stood before it."""
    client, holder, writer = case.client("reader"), case.client("w1"), case.client("w2")
    before = case.pick("", "ab")
    if before:
        writer.append(*case.downloads(before))
    held = holder.begin()
    behind = case.pick("", "c", "cde")
    try:
        held.append(*case.downloads("xy"))
        for skill in behind:
            case.clock.go(minutes=7)
            writer.append(*case.downloads(skill))
    except StoreBusyError:
        held.rollback()
        return
    limit = case.pick(2, EVERYTHING)
    page = client.events.read(None, limit=EVERYTHING)
    unread = len(before) + len(behind) - len(page.events)
    if unread:
        case.saw(WAITS)
    place = case.pick(*places_of(client))
    _check_waiting(case, client, place, limit, unread)
    held.rollback()
    _check_waiting(case, client, place, limit, 0)


def _check_waiting(
    case: AnyCase, client: Handle, place: Place | None, limit: int, unread: int
) -> None:
    """Check what is said of events that wait, and of those that do not."""
    backlog = client.events.lag(place, limit=limit)
    events = client.events.read(place, limit=EVERYTHING).events
    what = f"the number of events that wait, up to {limit}, of {unread}"
    case.expect(what, min(limit, unread), backlog.waiting)
    case.expect("whether there is a first one", bool(events or unread), backlog.since is not None)


@check(
    "LAG-04",
    "same_backlog",
    "the numbers of one backlog are of one snapshot",
    witness=(INSIDE, REFUSED),
    needs=["lag", "io"],
)
def lag_04(case: AnyCase) -> None:
    """Others append in the middle of a call that counts."""
    writer, reader = case.client("w"), case.client("reader")
    writer.append(*case.downloads("a" * case.pick(*case.scope((1,), (0, 1, 2)))))
    found: list[Backlog] = []

    async def look(events: SteppedEvents, _stats: SteppedStats) -> None:
        try:
            found.append(await events.lag(None, limit=10))
        except StoreBusyError:
            return
        if was_moved_in(case):
            case.saw(INSIDE)

    case.play(
        reader.doing(look),
        writer.appending(case.downloads("b"), case.downloads("c")),
        switches=1,
        inside=case.scope(1, 2),
        into=("lag",),
        look=False,
    )
    positions = [recorded.position for recorded in case.log_of(reader)]
    for backlog in found:
        frontier = backlog.frontier
        there = sum(frontier is not None and position <= frontier for position in positions)
        what = f"the number of events up to the frontier {frontier} that comes with it"
        case.expect(what, there, backlog.events)


@check(
    "LAG-05",
    "same_backlog",
    "the lag of a projection is what lies after the cursor that comes with it",
    witness=BEHIND,
    needs=["lag"],
)
def lag_05(case: AnyCase) -> None:
    """A worker folds, and a writer appends, between the calls of one who asks."""
    worker, reader = case.client("fold"), case.client("reader")
    worker.append(*case.downloads("abc"))
    found: list[tuple[Lag, int]] = []

    async def ask(events: SteppedEvents, stats: SteppedStats) -> None:
        answer = await aio.lag(events, stats)
        found.append((answer, len(case.log_of(reader))))

    case.play(
        worker.draining(page=1),
        reader.doing(ask),
        case.client("w").appending(case.downloads("d")),
        switches=case.scope(1, 3),
        look=False,
    )
    for answer, there in found:
        if answer.events:
            case.saw(BEHIND)
        case.expect("count of its cursor plus events", there, answer.cursor.count + answer.events)


@check(
    "LAG-06",
    "same_backlog",
    "each reader has a lag of its own, and at the end of the log it is nothing",
    witness=COUNTED,
    needs=["lag"],
)
def lag_06(case: AnyCase) -> None:
    """Readers at unlike places of one log ask one after the other, over one client or two."""
    writer, reader = case.client("w"), case.client("reader")
    for event in case.downloads("abcd"):
        writer.append(event)
        case.clock.go(minutes=7)
    places = places_of(reader)
    order = case.pick((0, 2, 4), (4, 1, 0), (2, 2, 3))
    for behind in order:
        client = case.pick(writer, reader)
        backlog, left = (
            client.events.lag(places[behind], limit=EVERYTHING),
            len(places) - 1 - behind,
        )
        if left:
            case.saw(COUNTED)
        case.expect(f"events after {behind} of 4", (left, 0), (backlog.events, backlog.waiting))
        if case.harness.keeps_time:
            since = case.clock.now - timedelta(minutes=7 * left) if left else None
            case.expect(f"when the first one after {behind} of 4 came", since, backlog.since)


CHECKS = (lag_01, lag_02, lag_03, lag_04, lag_05, lag_06)

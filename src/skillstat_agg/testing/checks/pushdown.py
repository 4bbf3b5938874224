"""Push-down: a page that the store tallies by itself is the page that it would have listed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import cast

from skillstat_agg._buckets import Granularity
from skillstat_agg._commits import CHECKSUM_RANGE
from skillstat_agg._effects import Carried, Effect
from skillstat_agg._events import MAX_INTEGER, MIN_INTEGER, Event, Place, Position
from skillstat_agg._pages import TalliedPage
from skillstat_agg._projections import SKILL_STATS, Projection
from skillstat_agg._tallies import Tally
from skillstat_agg.errors import SkillstatError, UncountableEventError
from skillstat_agg.testing._cases import NOON
from skillstat_agg.testing._checks import AnyCase, check
from skillstat_agg.testing._clients import TalliedEvents
from skillstat_agg.testing._comparing import EVERYTHING
from skillstat_agg.testing._handles import Handle

TALLIED = "a page was tallied"
LEFT = "a page was left to be read plainly"
REFUSES = "a read was refused that a tally was asked for too"
KEPT_OUT = "an event that the table cannot count was refused at append"

_MANY = 1_201
"""More events than the text of a group, or the list of one, may hold elsewhere."""

ODD_NAMES = ("n'\"$.[0]", "N", "n")
ODD = Projection(
    "odd_stats",
    {
        "carry": Effect(
            counters={name: Carried(odd) for name, odd in zip("abc", ODD_NAMES, strict=True)}
        )
    },
)


def _tally(
    client: Handle, place: Place | None, limit: int, granularity: Granularity
) -> TalliedPage | None:
    events = cast(TalliedEvents, client.events)
    return events.tally(place, limit=limit, granularity=granularity)


def _place(case: AnyCase, client: Handle) -> Place | None:
    """Return one of all places of the log, the beginning included."""
    page = client.events.read(None, limit=EVERYTHING)
    places = [Place(page.epoch, one.position, one.fingerprint) for one in page.events]
    return case.pick(None, *places)


def _check_same(
    case: AnyCase, client: Handle, place: Place | None, limit: int, granularity: Granularity
) -> None:
    """Check that the tallied page is the page, tallied; or was left to be read plainly."""
    page = client.events.read(place, limit=limit)
    tallied = _tally(client, place, limit, granularity)
    if tallied is None:
        case.saw(LEFT)
        return
    case.saw(TALLIED)
    last = page.events[-1] if page.events else None
    wanted = Tally.of_recorded(page.events, granularity)
    after = "the beginning" if place is None else str(place.position)
    for what, expected, actual in (
        ("count", sum(recorded.count for recorded in page.events), tallied.count),
        ("records", len(page.events), tallied.records),
        ("tally.granularity", granularity, tallied.tally.granularity),
        ("tally.counts", dict(wanted.counts), dict(tallied.tally.counts)),
        ("tally.carried", dict(wanted.carried), dict(tallied.tally.carried)),
        (
            "checksum",
            sum(recorded.checksum for recorded in page.events) % CHECKSUM_RANGE,
            tallied.checksum,
        ),
        (
            "place",
            None if last is None else Place(page.epoch, last.position, last.fingerprint),
            tallied.place,
        ),
        ("frontier", page.frontier, tallied.frontier),
        ("is_last", page.is_last, tallied.is_last),
    ):
        case.expect(f"{what} of up to {limit} events after {after}", expected, actual)


@check(
    "PUSH-01",
    "same_tally",
    "a tallied page is the tally of the page, at every place and limit",
    witness=TALLIED,
    needs=["tally"],
)
def push_01(case: AnyCase) -> None:
    """Several skills, kinds and buckets; the empty page at the end is one of the pages."""
    client = case.client("w")
    client.events.append(case.pick(*_logs(case)), max_ahead=timedelta.max)
    place = _place(case, client)
    limit, granularity = case.pick(1, 2, 4, 100), case.pick(*Granularity)
    _check_same(case, client, place, limit, granularity)


def _logs(case: AnyCase) -> list[tuple[Event, ...]]:
    """Return small logs: none, one that mixes everything, and one around the edges of time."""
    step = timedelta(microseconds=1)
    unix = datetime(1970, 1, 1, tzinfo=timezone.utc)
    midnight = NOON.replace(hour=0)
    first = datetime(1, 1, 1, tzinfo=timezone.utc)
    last = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone.utc)
    times = (midnight - step, midnight, unix - step, unix, first, last)
    return [
        (),
        (
            case.event("a"),
            case.event("a"),
            case.event("A"),
            case.event("a", "star"),
            case.event("b", at=NOON + timedelta(hours=1)),
            case.event("a", "install_clear", deltas={"all_time": 2, "current": -1}),
        ),
        tuple(case.event("a", at=at) for at in times),
    ]


@check(
    "PUSH-02",
    "same_tally",
    "carried deltas are summed exactly, whatever their size and names",
    witness=(TALLIED, LEFT),
    needs=["tally"],
)
def push_02(case: AnyCase) -> None:
    """Sums beyond 64 bits, on the way or in the end, and names that mean something elsewhere."""
    projection = case.pick(SKILL_STATS, ODD)
    client = case.client("w", projection)
    kind, names = (
        ("carry", ODD_NAMES) if projection is ODD else ("install_clear", ("all_time", "current"))
    )
    amounts = case.pick(
        (MAX_INTEGER, MAX_INTEGER, 1),
        (MIN_INTEGER, MIN_INTEGER, -1),
        (MAX_INTEGER, 1, MIN_INTEGER),
        (2**53 + 1, 2**53 + 1, 0),
        (0, 0, 0),
    )
    for amount in amounts:
        deltas = {name: amount if name == names[0] else number for number, name in enumerate(names)}
        client.append(case.event("a", kind, deltas=deltas))
    client.append(case.event("b", kind, deltas=dict.fromkeys(names, amounts[0])))
    limit, granularity = case.pick(2, 100), case.pick(*Granularity)
    _check_same(case, client, None, limit, granularity)


@check(
    "PUSH-03",
    "same_tally",
    "a tally is refused where a read is",
    witness=REFUSES,
    needs=["tally"],
)
def push_03(case: AnyCase) -> None:
    """Places of another history, limits below 1, and an open transaction."""
    client = case.client("w")
    client.append(*case.downloads("ab"))
    page = client.events.read(None, limit=1)
    place = Place(page.epoch, page.events[0].position, page.events[0].fingerprint)
    what, place, limit = case.pick(
        ("another epoch", Place("another", place.position, place.fingerprint), 1),
        ("another fingerprint", Place(place.epoch, place.position, place.fingerprint ^ 1), 1),
        ("no event there", Place(place.epoch, Position((*place.position, 0)), 7), 1),
        ("a limit of 0", place, 0),
        ("a limit of -1", place, -1),
        ("an open transaction", place, 1),
    )
    held = None
    if what == "an open transaction":
        if not (client.can_begin and case.harness.joins):
            return
        held = client.begin()
    try:
        client.events.read(place, limit=limit)
    except SkillstatError as error:
        case.saw(REFUSES)
        case.raises(
            type(error),
            lambda: _tally(client, place, limit, Granularity.DAY),
            f"tally() with {what}, as read() does,",
        )
    finally:
        if held is not None:
            held.rollback()


@check(
    "PUSH-04",
    "same_tally",
    "a page with an event that the table cannot count hides nothing",
    witness=(TALLIED, LEFT, KEPT_OUT),
    needs=["tally"],
)
def push_04(case: AnyCase) -> None:
    """A kind nobody knows, and deltas that are missing or too many, among events like them."""
    client = case.client("w")
    kind, deltas = case.pick(*_BAD)
    good = {"all_time": 1, "current": 1}
    bad = case.event("a", kind, deltas=deltas)
    clear = case.event("a", "install_clear", deltas=good)
    log = case.pick((bad,), (clear, bad), (bad, clear, case.event("a")), (case.event("a"), bad))
    try:
        client.append(*log)
    except UncountableEventError:
        case.saw(KEPT_OUT)
        return
    limit = case.pick(*case.scope((100,), (1, 2, 100)))
    _check_same(case, client, _place(case, client), limit, case.pick(*Granularity))


_BAD: tuple[tuple[str, Mapping[str, int] | None], ...] = (
    ("unheard_of", None),
    ("unheard_of", {"all_time": 1, "current": 1}),
    ("install_clear", None),
    ("install_clear", {"all_time": 1}),
    ("install_clear", {"all_time": 1, "current": 1, "more": 1}),
    ("download", {"all_time": 1}),
)


@check(
    "PUSH-05",
    "same_tally",
    "a group of very many events that carry something is tallied whole",
    witness=(TALLIED, LEFT),
    needs=["tally"],
)
def push_05(case: AnyCase) -> None:
    """One skill, one kind, one day; the numbers have many digits."""
    client = case.client("w")
    client.append(
        *(
            case.event("a", "install_clear", deltas={"all_time": 1_000_000 + n, "current": -n})
            for n in range(_MANY)
        )
    )
    _check_same(case, client, None, EVERYTHING, Granularity.DAY)


@check(
    "PUSH-06",
    "same_tally",
    "compacted events are tallied for all that they stand for",
    witness=TALLIED,
    needs=["tally", "prune"],
)
def push_06(case: AnyCase) -> None:
    """A part of a log is made small; pages begin and end inside of it, and behind it."""
    client = case.client("w")
    client.append(*case.vary(*_logs(case)[1:2], case.downloads("aabab")))
    clears = [{"all_time": amount, "current": -amount} for amount in (5, 7, 5)]
    client.append(*(case.event("a", "install_clear", deltas=deltas) for deltas in clears))
    client.drain()
    client.prune(limit=case.vary(3, 100))
    client.append(*case.downloads("ab"), case.event("a", "install_clear", deltas=clears[0]))
    place, limit = _place(case, client), case.vary(3, 1, 2, 100)
    _check_same(case, client, place, limit, case.vary(*Granularity))


CHECKS = (push_01, push_02, push_03, push_04, push_05, push_06)

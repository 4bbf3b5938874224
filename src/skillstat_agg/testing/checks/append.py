"""Appending: a fact is stored once, however often it is sent, and a call whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any

import attrs

from skillstat_agg._effects import Carried, Effect
from skillstat_agg._events import MAX_INTEGER, MIN_INTEGER, Event, Place, RecordedEvent
from skillstat_agg._projections import Projection
from skillstat_agg._stores import DAY_AHEAD, Appended
from skillstat_agg.errors import EventIdConflictError, InvalidEventError
from skillstat_agg.testing._cases import NOON
from skillstat_agg.testing._checks import AnyCase, check
from skillstat_agg.testing._handles import Actor, Handle
from skillstat_agg.testing._steps import REFUSED, Violation, label, labels

RETRIED = "an event was appended again under its id"
TWICE_IN_A_CALL = "one call, or one open append, held an id twice"
OTHER_CONTENT = "an id was appended again with other content"
AFTER_ROLLBACK = "an event was appended again after its first append had come to nothing"
MIXED = "one call held events that were in the log and events that were not"
EQUAL = "equal events without an id were appended"
OVERLAPPED = "two appends of one id were open at the same time"
FRESH_CLOCK = "an event was appended again with another time of occurrence"
ANSWERED = "an append said what it did"
BROKEN_OFF = "an append was refused although a part of it could have been stored"
LONG_AGO = "an event was appended again after many others, by another client"
AHEAD = "an event beyond the bound was refused, and one at the bound was taken"
READ_AGAIN = "events were read again after the log had grown"
ONE_SHOT = "what can be iterated over once was appended"

CLEAR = {"all_time": 3, "current": 2}

FACTS = Projection(
    "facts",
    {
        "download": Effect(counters={"downloads": 1}),
        "load": Effect(counters={"loads": 1}),
        "grant": Effect(counters={"granted": Carried("granted"), "used": Carried("used")}),
    },
)
"""A table for facts that differ in one thing."""

REMARKS = Projection(
    "remarks",
    {
        "download": Effect(counters={"downloads": 1}),
        "grant": Effect(counters={"granted": Carried('größe "x" $.a'), "used": Carried("a.b[0]")}),
    },
)
"""A table with names of deltas that are hard to store."""

_PER_CALL = 1_100
"""More than the thousand ids that a cache would hold, or a statement take."""


class Interrupted(Exception):  # noqa: N818 - what happened to a caller's iterator
    """What an iterator of events raises half-way."""


@check("APPEND-01", "append_once", "an event that is sent again counts once", witness=RETRIED)
def append_01(case: AnyCase) -> None:
    """One event is appended two or three times, with or without a fold in between."""
    writer = case.client("w")
    kind, deltas = case.pick(("download", None), ("install_clear", CLEAR))
    folds, is_reworded = case.maybe(), case.maybe()
    first = case.event("a", kind, event_id="one", deltas=deltas)
    writer.append(first)
    for _ in range(case.pick(1, 2)):
        if folds:
            writer.drain()
        again = case.event("a", kind, event_id="one", deltas=deltas)
        writer.append(again if is_reworded else first)
        case.saw(RETRIED)
    case.settle()


@check(
    "APPEND-02",
    "append_once",
    "an event that stands in one call twice counts once",
    witness=TWICE_IN_A_CALL,
)
def append_02(case: AnyCase) -> None:
    """One call, or the calls of one open append, hold an id two or three times."""
    writer = case.client("w")
    one, two = case.event("a", event_id="one"), case.event("b", event_id="two")
    events = case.pick((one, one), (one, two, one), (one, one, two, two, one))
    if writer.can_begin and case.maybe():
        held = writer.begin()
        for event in events:
            held.append(event)
        held.commit()
    else:
        writer.append(*events)
    case.saw(TWICE_IN_A_CALL)
    case.settle()


@check(
    "APPEND-03",
    "append_once",
    "an id with other content is refused, and nothing of the call is stored",
    witness=OTHER_CONTENT,
)
def append_03(case: AnyCase) -> None:
    """Two events of one id differ in skill, kind or deltas; they come in two calls or in one."""
    writer = case.client("w", FACTS)
    amounts = {"granted": 1, "used": 2}
    known, other = (
        case.event(skill, kind, event_id="one", deltas=deltas)
        for skill, kind, deltas in case.pick(
            (("a", "download", None), ("b", "download", None)),
            (("a", "download", None), ("a", "load", None)),
            (("a", "download", None), ("adown", "load", None)),
            (("a", "grant", amounts), ("a", "grant", {"granted": 2, "used": 1})),
            (("a", "grant", amounts), ("a", "grant", {"granted": 1, "used": 3})),
        )
    )
    new = case.event("c", event_id="two")
    if case.maybe():
        call = case.pick((known, other), (known, new, other))
    else:
        writer.append(known)
        call = case.pick((other,), (new, other), (other, new))
    append = partial(writer.events.append, call)
    error = case.raises(EventIdConflictError, append, "the append of an id with other content")
    case.saw(OTHER_CONTENT)
    case.expect("EventIdConflictError.event_ids", ("one",), error.event_ids)
    case.settle(FACTS)


@check(
    "APPEND-04",
    "append_once",
    "an event that is sent again after a rollback is new",
    witness=AFTER_ROLLBACK,
    needs=["begin"],
)
def append_04(case: AnyCase) -> None:
    """An append is rolled back, or its client ends, and the event is appended again."""
    writer, other = case.client("w1"), case.client("w2")
    event = case.event("a", event_id="one")
    held = writer.begin()
    held.append(event)
    if case.maybe():
        writer.close()
        again = other
    else:
        held.rollback()
        again = case.pick(writer, other)
    if case.maybe():
        held = again.begin()
        held.append(event)
        held.commit()
    else:
        again.append(event)
    case.saw(AFTER_ROLLBACK)
    case.settle()


@check(
    "APPEND-05",
    "append_once",
    "of old and new events in one call the new ones are stored",
    witness=MIXED,
)
def append_05(case: AnyCase) -> None:
    """A retry carries more than the first try did, in any order."""
    writer = case.client("w")
    old_1, old_2 = case.event("a", event_id="one"), case.event("b", event_id="two")
    new_1, new_2 = case.event("a", event_id="three"), case.event("c", event_id="four")
    plain = case.event("a")
    writer.append(old_1, old_2)
    if case.maybe():
        writer.drain()
    call = case.pick(
        (old_1, new_1),
        (new_1, old_1),
        (plain, old_1),
        (old_1, plain),
        (old_1, new_1, old_2, new_2),
        (new_1, old_2, old_1, plain, new_2),
    )
    writer.append(*call)
    case.saw(MIXED)
    case.settle()


@check("APPEND-06", "append_once", "without an id every event is new", witness=EQUAL)
def append_06(case: AnyCase) -> None:
    """Equal events come in one call, in several, from several clients, or beside one with an id."""
    one, two = case.client("w1"), case.client("w2")
    event = case.event("a")
    way = case.pick("one call", "two calls", "two clients", "beside an id")
    if way == "one call":
        one.append(event, event)
    elif way == "beside an id":
        one.append(attrs.evolve(event, event_id="one"), event)
        one.append(event)
    else:
        one.append(event)
        (one if way == "two calls" else two).append(event)
    case.saw(EQUAL)
    case.settle()


@check(
    "APPEND-07",
    "append_once",
    "of two appends of one id that are open at the same time one lands",
    witness=(OVERLAPPED, REFUSED),
    needs=["begin"],
)
def append_07(case: AnyCase) -> None:
    """Two clients append one id, in every order; the first may roll back."""
    one, two = case.client("w1"), case.client("w2")
    first = case.event("a", event_id="one")
    second = case.event(case.pick("a", "b"), event_id="one")
    holding = case.pick(
        partial(one.holding, (first,)), partial(one.holding, (first,), end="rollback")
    )
    case.play(
        _up_to_a_conflict(one, holding),
        _up_to_a_conflict(two, partial(case.pick(two.holding, two.appending), (second,))),
        switches=case.scope(2, 5),
        look=False,
    )
    if _have_overlapped(case):
        case.saw(OVERLAPPED)
    case.settle()


def _up_to_a_conflict(client: Handle, actor: Callable[[], Actor[None]]) -> Actor[None]:
    """Return the actor of a program that ends where an id stands for other content."""

    async def moves() -> None:
        try:
            await actor().moves
        except EventIdConflictError:
            client.close()

    return Actor(client, moves())


def _have_overlapped(case: AnyCase) -> bool:
    """Return whether both clients had appended before either was through."""
    steps = [(step.who, step.what) for step in case.record.steps]
    ends = [at for at, (_, what) in enumerate(steps) if what in ("commit", "rollback")]
    before = {who for who, what in steps[: min(ends, default=0)] if what == "append"}
    return before == {"w1", "w2"}


@check(
    "APPEND-08",
    "append_once",
    "the first time of occurrence stays when an event is sent again",
    witness=FRESH_CLOCK,
)
def append_08(case: AnyCase) -> None:
    """A retry carries a fresh clock: a moment, an hour or a day away."""
    writer = case.client("w")
    away = case.pick(
        timedelta(microseconds=1), timedelta(hours=1), timedelta(days=1), timedelta(days=-1)
    )
    first = case.event("a", event_id="one")
    again = case.event("a", event_id="one", at=NOON + away)
    if case.maybe():
        writer.append(first, again)
    else:
        writer.append(first)
        if case.maybe():
            writer.drain()
        writer.append(again)
    case.saw(FRESH_CLOCK)
    for recorded in case.log_of(writer):
        found = recorded.event.occurred_at
        case.expect("occurred_at after the retry", str(NOON), str(found))
    case.settle()


@check(
    "APPEND-09",
    "append_once",
    "an append says how many events were new, and a position at or after all of them",
    witness=ANSWERED,
)
def append_09(case: AnyCase) -> None:
    """Calls of no events, of new ones, of old ones and of both."""
    writer = case.client("w")
    old, plain = case.event("a", event_id="one"), case.event("b")
    new, other = case.event("a", event_id="two"), case.event("b")
    writer.append(old)
    writer.append(plain)
    call, wanted = case.pick(
        ((), 0),
        ((other,), 1),
        ((new,), 1),
        ((old,), 0),
        ((old, other), 1),
        ((new, new), 1),
        ((old, new, old, other, new), 2),
        ((plain, plain, other), 3),
    )
    appended = writer.append(*call)
    case.saw(ANSWERED)
    case.expect(f"Appended.new of {labels(call) or 'nothing'}", wanted, appended.new)
    _check_position(case.log_of(writer), call, appended)


def _check_position(log: list[RecordedEvent], call: tuple[Event, ...], appended: Appended) -> None:
    """Check that the position lies at or after all events of the call."""
    last = max((one.position for one in log if one.event in call), default=None)
    found = appended.position
    if last is None:
        if found is not None:
            raise Violation("Appended.position = None, where no event was given", str(found))
    elif found is None or found < last:
        raise Violation(f"Appended.position at or after {last}, where the last one is", str(found))


@check(
    "APPEND-10",
    "append_once",
    "a call that is refused leaves nothing behind, whichever event is the bad one",
    witness=BROKEN_OFF,
)
def append_10(case: AnyCase) -> None:
    """The bad event is the first, the second or the last; alone, or within an open append."""
    writer = case.client("w")
    writer.append(case.event("a", event_id="known"))
    good = (case.event("b", event_id="one"), case.event("c"))
    error, bad = case.pick(
        (InvalidEventError, case.event("b", at=NOON.replace(year=9000))),
        (InvalidEventError, "no event"),
        (EventIdConflictError, case.event("b", event_id="known")),
        (Interrupted, None),
    )
    at = case.pick(2, 1, 0)
    call: tuple[Any, ...] = (*good[:at], bad, *good[at:])
    what = "the append of " + (
        "an iterator that raises" if bad is None else f"{labels(good)} and a bad one"
    )
    if bad is not None and writer.can_begin and case.maybe():
        held = writer.begin()
        held.append(case.event("d"))
        case.raises(error, lambda: held.append(*call), what)
        held.commit()
    else:
        case.raises(error, lambda: writer.events.append(_given(call)), what)
    case.saw(BROKEN_OFF)
    found = labels(one.event for one in case.log_of(writer))
    case.expect("the log after a call that was refused", labels(case.committed.events), found)
    writer.append(*good)
    case.settle()


def _given(call: tuple[Any, ...]) -> Iterator[Event]:
    """Yield the events; raise in the place of None."""
    for event in call:
        if event is None:
            raise Interrupted
        yield event


@check(
    "APPEND-11",
    "append_once",
    "an id is remembered by the log, as long as there is the log",
    witness=LONG_AGO,
)
def append_11(case: AnyCase) -> None:
    """The retry comes from another client, years later, or after very many other ids."""
    first, other = case.client("w1"), case.client("w2")
    many = case.pick(0, 1, *case.scope([_PER_CALL], [_PER_CALL, 10_000]))
    years, folds = case.pick((0, False), (3, False), (3, True)) if many < 2 else (3, False)
    event = case.event("a", event_id="one")
    others = [case.event("b", event_id=f"other {number}") for number in range(many)]
    first.append(event)
    other.append(*others)
    if folds:
        first.drain()
    first.close()
    case.clock.go(days=365 * years)
    if case.maybe():
        other = case.client("w3")
    other.append(*others, event)
    case.saw(LONG_AGO)
    case.settle()


@check(
    "APPEND-12",
    "documented",
    "an event beyond max_ahead is refused, and named",
    witness=AHEAD,
)
def append_12(case: AnyCase) -> None:
    """Events at the bound, and one microsecond after it; also without a bound."""
    writer = case.client("w")
    moment, last = timedelta(microseconds=1), datetime.max.replace(tzinfo=timezone.utc)
    if case.harness.keeps_time:
        case.clock.go(days=case.pick(0, 100))
        bound = case.pick(None, timedelta(0), timedelta(hours=1), timedelta(days=400))
        latest = case.clock.now + (DAY_AHEAD if bound is None else bound)
        beyond = latest + moment
    else:
        bound, latest, beyond = case.pick(None, DAY_AHEAD), NOON, last
    good, bad = case.event("a", at=latest), case.event("a", at=beyond)
    append = partial(writer.events.append, max_ahead=bound)
    name = "one day, the default" if bound is None else str(bound)
    what = f"the append of {label(bad)}, which lies beyond max_ahead ({name}),"
    error = case.raises(InvalidEventError, lambda: append((good, bad)), what)
    case.expect("InvalidEventError.index", 1, error.index)
    case.expect("the number of events in the log", 0, len(case.log_of(writer)))
    append((good,))
    writer.events.append((case.event("a", at=last),), max_ahead=timedelta.max)
    case.saw(AHEAD)
    case.expect("the number of events in the log", 2, len(case.log_of(writer)))


@check(
    "APPEND-13",
    "immutable",
    "what is read is what was appended, now and ever after",
    witness=READ_AGAIN,
)
def append_13(case: AnyCase) -> None:
    """Every field of an event comes back, in whatever page, and also when the log has grown."""
    writer, reader = case.client("w", REMARKS), case.client("reader", REMARKS)
    note, microseconds = case.pick(
        (None, 0),
        ("e1 ", 1),
        ("e1\nline\t", 999),
        ("e1 \u2603 \U0001f600 A\u030a", 123_457),
        ("'e1' \"\\", 999_999),
        ("e1\0e1", 500_000),
        ("e" * 1_000, 1_000),
    )
    moment = timedelta(microseconds=microseconds)
    deltas = {'größe "x" $.a': case.pick(MAX_INTEGER, 2**53 + 1), "a.b[0]": MIN_INTEGER}
    events = (
        attrs.evolve(case.event("a", at=NOON - moment), note=note),
        case.event("b", "grant", event_id="One ", deltas=deltas),
        case.event("a", at=NOON - timedelta(days=9_999) + moment),
    )
    appended_at = case.clock.now
    writer.append(*events)
    first = case.log_of(writer)
    case.expect("the number of events", len(events), len(first))
    for event, recorded in zip(events, first, strict=True):
        _check_fields(event, recorded.event, label(event))
        if case.harness.keeps_time:
            case.expect("recorded_at", appended_at, recorded.recorded_at)
        if not 0 <= recorded.fingerprint < 2**32:
            raise Violation("a fingerprint of 32 bits", f"{recorded.fingerprint}")
    if len({recorded.fingerprint for recorded in first}) == 1:
        raise Violation("fingerprints that are drawn at random", "they are all the same")
    case.clock.go(hours=9)
    writer.append(case.event("a"))
    writer.drain(page=2)
    again = list(_one_by_one(reader))
    case.expect("the number of events", len(events) + 1, len(again))
    for before, after in zip(first, again, strict=False):
        _check_fields(before, after, f"{label(before.event)}, read again,")
    case.saw(READ_AGAIN)


def _check_fields(expected: Any, found: Any, what: str) -> None:
    """Check that two values have the same in every field."""
    for field in attrs.fields(type(expected)):
        want, got = getattr(expected, field.name), getattr(found, field.name)
        if want != got:
            raise Violation(f"{field.name} of {what} = {_shown(want)}", _shown(got))


def _shown(value: object) -> str:
    """Return a value as people read it."""
    if isinstance(value, Mapping):
        return repr(dict(value))
    return str(value) if isinstance(value, datetime) else repr(value)


def _one_by_one(reader: Handle) -> Iterator[RecordedEvent]:
    """Yield what a client reads, a page for each event."""
    place: Place | None = None
    while (page := reader.events.read(place, limit=1)).events:
        (recorded,) = page.events
        yield recorded
        place = Place(page.epoch, recorded.position, recorded.fingerprint)


@check(
    "APPEND-14",
    "documented",
    "an append takes whatever can be iterated over, and does so once",
    witness=ONE_SHOT,
)
def append_14(case: AnyCase) -> None:
    """The events come from a generator; some of them have ids."""
    writer = case.client("w")
    one, two = case.event("a", event_id="one"), case.event("b", event_id="two")
    call = case.pick((two,), (case.event("a"),), (one, two), (two, case.event("a"), one))
    given = case.pick(_given(call), iter(call), list(call), dict.fromkeys(call))
    number = case.committed.begin()
    appended = writer.events.append(given)
    case.committed.add(call, number)
    case.saw(ONE_SHOT)
    case.expect("Appended.new", len(call), appended.new)
    case.settle()


CHECKS = (
    append_01,
    append_02,
    append_03,
    append_04,
    append_05,
    append_06,
    append_07,
    append_08,
    append_09,
    append_10,
    append_11,
    append_12,
    append_13,
    append_14,
)

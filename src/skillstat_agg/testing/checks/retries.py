"""Retries: a fact is stored once, however often, by whom and beside what it is sent."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import attrs

from skillstat_agg._effects import Carried, Effect
from skillstat_agg._projections import Projection
from skillstat_agg.errors import EventIdConflictError
from skillstat_agg.testing._cases import NOON
from skillstat_agg.testing._checks import AnyCase, check
from skillstat_agg.testing._handles import Actor, Handle
from skillstat_agg.testing._steps import MOVED_INSIDE, REFUSED

RETRIED = "an event was appended again under its id"
TWICE_IN_A_CALL = "one call, or one open append, held an id twice"
OTHER_CONTENT = "an id was appended again with other content"
AFTER_ROLLBACK = "an event was appended again after its first append had come to nothing"
MIXED = "one call held events that were in the log and events that were not"
EQUAL = "equal events without an id were appended"
OVERLAPPED = "two appends of one id were open at the same time"
FRESH_CLOCK = "an event was appended again with another time of occurrence"
LONG_AGO = "an event was appended again after many others, by another client"
AFTER_FORGET = "an event was appended again after its skill had been forgotten"

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

_PER_CALL = 1_100
"""More than the thousand ids that a cache would hold, or a statement take."""

_WINDOW = 12_000
"""More than a cache of recent ids holds."""


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
    if writer.can_begin and case.maybe():
        held = writer.begin()
        held.append(old_1)
        held.append(old_2)
        held.commit()
    else:
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
    second = case.event(case.vary("a", "b"), event_id="one")
    holding = case.vary(
        partial(one.holding, (first,)), partial(one.holding, (first,), end="rollback")
    )
    case.play(
        _up_to_a_conflict(one, holding),
        _up_to_a_conflict(two, partial(case.vary(two.holding, two.appending), (second,))),
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
    "APPEND-11",
    "append_once",
    "an id is remembered by the log, as long as there is the log",
    witness=LONG_AGO,
)
def append_11(case: AnyCase) -> None:
    """The retry comes from another client, years later, or after very many other ids."""
    first, other = case.client("w1"), case.client("w2")
    many = case.pick(0, 1, _PER_CALL, _WINDOW)
    years, folds = case.pick((0, False), (3, False), (3, True)) if many < 2 else (3, False)
    event = case.event("a", event_id="one")
    others = [case.event("b", event_id=f"other {number}") for number in range(many)]
    first.append(event)
    other.append(*others)
    if folds:
        first.drain()
    first.close()
    case.clock.go(days=365 * years)
    if many < _WINDOW and case.maybe():
        other = case.client("w3")
    other.append(*others[:_PER_CALL], event)
    case.saw(LONG_AGO)
    case.settle()


@check(
    "APPEND-15",
    "append_once",
    "nobody gets between the look-up of an id and the insert",
    witness=MOVED_INSIDE,
    needs=["io"],
)
def append_15(case: AnyCase) -> None:
    """Another client appends the same event, or another one, in the middle of an append."""
    event = case.event("a", event_id="one")
    other = case.pick(event, case.event("b", event_id="two"), case.event("b"))
    case.play(
        case.client("w1").appending((event,)),
        case.client("w2").appending((other,)),
        switches=1,
        inside=1,
        into=("append",),
        look=False,
    )
    case.settle()


@check(
    "APPEND-18",
    "append_once",
    "the log forgets nothing: a retry after forget is still the same event",
    witness=AFTER_FORGET,
)
def append_18(case: AnyCase) -> None:
    """A skill is forgotten before or after its event was folded; then the event comes again."""
    writer = case.client("w")
    events = tuple(case.event(skill, event_id=f"id of {skill}") for skill in "ab")
    writer.append(*events)
    if case.maybe():
        writer.drain()
    case.client("f").forget("a")
    case.pick(writer, case.client("w2")).append(*events)
    case.saw(AFTER_FORGET)
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
    append_11,
    append_15,
    append_18,
)

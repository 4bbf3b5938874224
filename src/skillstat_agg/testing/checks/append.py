"""Appending: a call is stored whole or not at all, and what was given is what is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
from skillstat_agg.testing._clients import SteppedEvents, SteppedStats
from skillstat_agg.testing._handles import Handle
from skillstat_agg.testing._steps import FAULT, IO, Violation, label, labels

ANSWERED = "an append said what it did"
BROKEN_OFF = "an append was refused although a part of it could have been stored"
AHEAD = "an event beyond the bound was refused, and one at the bound was taken"
READ_AGAIN = "events were read again after the log had grown"
ONE_SHOT = "what can be iterated over once was appended"
WITHOUT_IO = "an open append took events without any I/O"
ALIKE = "equal events were appended in one call, in several, and to two logs"

REMARKS = Projection(
    "remarks",
    {
        "download": Effect(counters={"downloads": 1}),
        "grant": Effect(counters={"granted": Carried('größe "x" $.a'), "used": Carried("a.b[0]")}),
    },
)
"""A table with names of deltas that are hard to store."""


class Interrupted(Exception):  # noqa: N818 - what happened to a caller's iterator
    """What an iterator of events raises half-way."""


@check(
    "APPEND-09",
    "append_once",
    "an append says how many events were new, and a position at or after all of them",
    witness=ANSWERED,
)
def append_09(case: AnyCase) -> None:
    """Calls of no events, of new ones, of old ones and of both, by who wrote last, or first."""
    writer, other_writer = case.client("w"), case.client("earlier")
    other_writer.append(case.event("c"))
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
    appended = case.pick(writer, other_writer).append(*call)
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
        ("e1\1e1", 500_000),
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


@check(
    "APPEND-16",
    "append_once",
    "a call within an open append whose I/O fails has stored all or nothing there",
    witness=(FAULT, WITHOUT_IO),
    needs=["begin", "io"],
)
def append_16(case: AnyCase) -> None:
    """The program goes on in the same open append; what it does not know of it sends again."""
    writer, outside = case.client("w1"), case.client("outside")
    *events, good = (case.event(skill, event_id=f"id of {skill}") for skill in "abd")

    async def hold(_events: SteppedEvents, _stats: SteppedStats) -> None:
        held = writer.begin()
        case.record.facts.discard(IO)
        with _once_failing(case):
            await held.stepped_append(tuple(events))
        if IO not in case.record.facts:
            case.saw(WITHOUT_IO)
        for _ in range(2):
            with _once_failing(case):
                held.append(good)
        held.commit()

    case.play(writer.doing(hold), switches=0, faults=1, into=("append",), look=False)
    found = [recorded.event for recorded in case.log_of(outside)]
    if found not in ([good], [*events, good], []):
        raise Violation("all events of a call, or none of them", labels(found))
    writer.events.append((*events, good))
    ids = [recorded.event.event_id for recorded in case.log_of(outside)]
    case.expect("the ids in the log", ["id of a", "id of b", "id of d"], sorted(filter(None, ids)))


@contextmanager
def _once_failing(case: AnyCase) -> Iterator[None]:
    """Go on after an error, of whatever kind, if I/O has failed."""
    try:
        yield
    except Exception:
        if FAULT not in case.record.facts:
            raise


@check(
    "APPEND-17",
    "same_log",
    "fingerprints are drawn, and not made of what is appended",
    witness=ALIKE,
)
def append_17(case: AnyCase) -> None:
    """Equal events at one time, twice in one call, in two calls and in two logs."""
    event = case.event("a")
    marks: list[int] = []
    for writer in (case.client("w1"), case.client("w2", site=case.elsewhere())):
        writer.events.append((event, event))
        writer.events.append((event, event))
        marks += [recorded.fingerprint for recorded in case.log_of(writer)]
    case.saw(ALIKE)
    # Two of eight may be alike by chance, once in a hundred million times; four never are.
    if len(set(marks)) < len(marks) - 2:
        raise Violation("fingerprints that are drawn at random", ", ".join(map(str, marks)))


CHECKS = (
    append_09,
    append_10,
    append_12,
    append_13,
    append_14,
    append_16,
    append_17,
)

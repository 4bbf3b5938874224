"""Events and their places: import them from `skillstat_agg` instead."""

from __future__ import annotations

import functools
import json
import operator
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone
from hashlib import blake2b
from types import MappingProxyType
from typing import Self

import attrs

from skillstat_agg._buckets import from_microseconds, microseconds
from skillstat_agg.errors import InvalidEventError

MAX_TEXT = 1_000
MAX_DELTAS = 100
MIN_INTEGER, MAX_INTEGER = -(2**63), 2**63 - 1


class Position(tuple[int, ...]):
    """The place of an event in its log: whole numbers of at least 0, compared in order.

    Each log gives its positions a length of its own; only the order means anything,
    so there is no arithmetic on positions. The text form joins the numbers by ``-``.

    >>> Position((812, 44)) < Position((812, 45)) < Position((813, 0))
    True
    >>> str(Position((812, 44))), Position.parse("812-44") == Position((812, 44))
    ('812-44', True)

    Raises:
        ValueError: If there is no number, or one is negative or not an ``int``.
    """

    __slots__ = ()

    def __new__(cls, numbers: Iterable[int]) -> Self:
        numbers = tuple(numbers)
        if set(map(type, numbers)) != {int} or min(numbers) < 0:
            raise ValueError(f"a position is made of whole numbers of at least 0: {numbers!r}")
        return super().__new__(cls, numbers)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the position that ``str`` made *text* from.

        Raises:
            ValueError: If *text* is not such a text.
        """
        position = cls(tuple(int(number) for number in text.split("-")))
        if str(position) != text:
            raise ValueError(f"not the text form of a position: {text!r}")
        return position

    def __str__(self) -> str:
        return "-".join(map(str, self))

    def __repr__(self) -> str:
        return f"Position({tuple(self)!r})"


@attrs.frozen
class Place:
    """Where a cursor stands, and what stood there.

    Attributes:
        epoch: Identity of the log, drawn when the log was created.
        position: Position of the last event that was folded.
        fingerprint: Fingerprint of that event: a log that has other history at this
            position is not the log that was folded.
    """

    epoch: str
    position: Position
    fingerprint: int


def fault_in_text(name: str, text: object) -> str | None:
    """Return what is wrong with an identifier or note, or None."""
    if not isinstance(text, str):
        return f"{name} must be a string, not {type(text).__name__}"
    try:
        size = len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError:
        return f"{name} holds half of a surrogate pair, which is no character"
    if not 0 < size <= MAX_TEXT:
        return f"{name} must have 1 to {MAX_TEXT:,} bytes in UTF-8, not {size:,}"
    if "\0" in text:
        return f"{name} holds a NUL character, which many databases cannot store"
    return None


def _fault_in_deltas(deltas: object) -> str | None:
    """Return what is wrong with carried deltas, or None."""
    if not isinstance(deltas, Mapping):
        return f"deltas must map names to whole numbers, not be of type {type(deltas).__name__}"
    if not 0 < len(deltas) <= MAX_DELTAS:
        return f"deltas must hold 1 to {MAX_DELTAS} numbers (or be None), not {len(deltas)}"
    for name, amount in deltas.items():
        fault = fault_in_text("the name of a delta", name)
        if fault is not None:
            return fault
        if type(amount) is not int:
            return f"delta {name!r} must be a whole number, not {type(amount).__name__}"
        if not MIN_INTEGER <= amount <= MAX_INTEGER:
            return f"delta {name!r} must fit signed 64 bits"
    return None


def fault_in_time(name: str, at: object) -> str | None:
    """Return what is wrong with a time, or None."""
    if type(at) is datetime and at.tzinfo is timezone.utc:
        return None
    if not isinstance(at, datetime):
        return f"{name} must be a datetime, not {type(at).__name__}"
    if at.utcoffset() is None:
        return f"{name} must have a time zone; give an aware datetime such as one in UTC"
    try:
        from_microseconds(microseconds(at))
    except OverflowError:
        return f"{name} lies outside the years 1 to 9999 in UTC"
    return None


def _frozen_deltas(deltas: Mapping[str, int] | None) -> Mapping[str, int] | None:
    """Return a read-only copy in the order of the names; what is no mapping stays as it is."""
    if not isinstance(deltas, Mapping):
        return deltas
    try:
        return MappingProxyType({plain(name): deltas[name] for name in sorted(deltas)})
    except TypeError:
        return deltas


def plain(text: str) -> str:
    """Return *text* as an exact ``str``: members of a str enum format otherwise."""
    return str.__str__(text) if isinstance(text, str) else text


def _plain_or_none(text: str | None) -> str | None:
    return None if text is None else plain(text)


def in_utc(at: datetime) -> datetime:
    """Return the same instant as a plain datetime in UTC; what has no such form stays."""
    if type(at) is datetime and at.tzinfo is timezone.utc and not at.fold:
        return at
    return at if fault_in_time("", at) else from_microseconds(microseconds(at))


@attrs.frozen(kw_only=True)
class Event:
    """One thing that happened to one skill.

    Compared by content. Strings are opaque: they hold any characters but NUL, which
    databases cannot store, are 1 to 1,000 bytes long in UTF-8, which fits their keys, and
    are never folded, stripped or normalised.

    Attributes:
        skill_id: Identifier of the skill.
        kind: What happened, such as ``"download"``.
        occurred_at: When it happened; given as any aware datetime, kept in UTC to the
            microsecond. It chooses the bucket the event counts in, never its place in
            the log. A retraction carries the time of what it retracts.
        event_id: An id given by the producer, which makes a retried append harmless:
            one fact has one id for ever. Time-ordered ids (UUIDv7) are far cheaper to
            store than random ones. None: every append is a new event.
        deltas: Numbers that the event carries itself, by name, for kinds whose table
            says so; 1 to 100 of them, each within signed 64 bits. Read-only, in the
            order of the names.
        note: A remark for people. It counts nothing.

    Raises:
        InvalidEventError: If a string is empty, too long or not a string,
            *occurred_at* has no time zone or lies outside the years 1 to 9999 in UTC,
            or *deltas* is empty or holds something else than such numbers (a bool is
            none).
    """

    skill_id: str = attrs.field(converter=plain)
    kind: str = attrs.field(converter=plain)
    occurred_at: datetime = attrs.field(converter=in_utc)
    event_id: str | None = attrs.field(default=None, converter=_plain_or_none)
    deltas: Mapping[str, int] | None = attrs.field(
        default=None, converter=_frozen_deltas, hash=False
    )
    note: str | None = attrs.field(default=None, converter=_plain_or_none)

    def __attrs_post_init__(self) -> None:
        fault = (
            fault_in_text("skill_id", self.skill_id)
            or fault_in_text("kind", self.kind)
            or fault_in_time("occurred_at", self.occurred_at)
            or (self.event_id is not None and fault_in_text("event_id", self.event_id))
            or (self.deltas is not None and _fault_in_deltas(self.deltas))
            or (self.note is not None and fault_in_text("note", self.note))
        )
        if fault:
            raise InvalidEventError(fault)

    def content_digest(self) -> bytes:
        """Return 16 bytes that stand for what an event id is bound to.

        That is skill, kind and deltas. ``occurred_at`` and ``note`` are left out, since
        a retry may carry a fresh clock. BLAKE2b over lengths and texts.
        """
        text = f"{len(self.skill_id)}:{self.skill_id}{len(self.kind)}:{self.kind}"
        for name, amount in (self.deltas or {}).items():
            text += f"{len(name)}:{name}{len(str(amount))}:{amount}"
        return blake2b(text.encode(), digest_size=16).digest()

    def __reduce__(self) -> tuple[Callable[[], Event], tuple[()]]:
        """Pickle as a call that builds the event anew, with all its checks."""
        fields = attrs.asdict(self, recurse=False)
        fields["deltas"] = None if self.deltas is None else dict(self.deltas)
        return functools.partial(Event, **fields), ()


@attrs.frozen(kw_only=True)
class RecordedEvent:
    """An event as the log holds it; one may stand for many that were made small by ``prune``.

    A compacted event stands at the position of the last of those it stands for. Its event
    has their skill, kind and hour (its ``occurred_at`` is the start of it) and the sums of
    their deltas; it has no id and no note.

    Attributes:
        position: Its place in the log.
        event: What was appended, or the sum of it.
        recorded_at: When it was appended, the last of them, by the clock of the store;
            informs only.
        fingerprint: 32 random bits: 0 to 2**32 - 1. Drawn at append, and anew for a
            compacted event at which no reader may stand.
        count: How many events it stands for.
        checksum: The sum of the fingerprints that they were appended with, modulo
            ``CHECKSUM_RANGE``.
    """

    position: Position
    event: Event
    recorded_at: datetime
    fingerprint: int
    count: int = 1
    checksum: int = attrs.field(
        default=attrs.Factory(operator.attrgetter("fingerprint"), takes_self=True)
    )

    def to_json(self) -> str:
        """Return it as one text, for a store that keeps it whole; see `from_json`."""
        event = self.event
        fields = {
            **attrs.asdict(event, recurse=False),
            "occurred_at": microseconds(event.occurred_at),
            "deltas": None if event.deltas is None else dict(event.deltas),
            "position": str(self.position),
            "recorded_at": microseconds(self.recorded_at),
            "fingerprint": self.fingerprint,
        }
        if self.count != 1 or self.checksum != self.fingerprint:
            fields |= {"count": self.count, "checksum": self.checksum}
        return json.dumps({name: value for name, value in fields.items() if value is not None})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the event that `to_json` made *text* from.

        Raises:
            ValueError: If it is not such a text.
        """
        try:
            fields = json.loads(text)
            fingerprint = fields.pop("fingerprint")
            return cls(
                position=Position.parse(fields.pop("position")),
                recorded_at=from_microseconds(fields.pop("recorded_at")),
                fingerprint=fingerprint,
                count=fields.pop("count", 1),
                checksum=fields.pop("checksum", fingerprint),
                event=Event(**{**fields, "occurred_at": from_microseconds(fields["occurred_at"])}),
            )
        except (
            ValueError,
            TypeError,
            KeyError,
            AttributeError,
            OverflowError,
            RecursionError,
        ) as error:
            raise ValueError(f"not a recorded event: {error}") from error


def position_text(position: Position | None) -> str:
    """Return a position as people read it; where nothing was read yet it is ``start``."""
    return "start" if position is None else str(position)


def events_in(records: Iterable[RecordedEvent]) -> int:
    """Return how many events *records* are: a compacted one is as many as it stands for."""
    return sum(one.count for one in records)


def check_deltas(deltas: Mapping[str, int]) -> Mapping[str, int]:
    """Return *deltas* when they could be the deltas of an event.

    Raises:
        InvalidEventError: If they hold anything but 1 to 100 whole numbers by name.
    """
    fault = _fault_in_deltas(deltas)
    if fault is not None:
        raise InvalidEventError(fault)
    return deltas


def check_skill_id(skill_id: str) -> None:
    """Check that *skill_id* could be the id of a skill.

    Raises:
        InvalidEventError: If it is empty, too long or not a string.
    """
    fault = fault_in_text("skill_id", skill_id)
    if fault is not None:
        raise InvalidEventError(fault)


def checked_skill_ids(skill_ids: Iterable[str]) -> list[str]:
    """Return *skill_ids* in their order, each once, when all could be ids of skills.

    Raises:
        InvalidEventError: If one is empty, too long or not a string, or if a single
            string was given.
    """
    if isinstance(skill_ids, str):
        raise InvalidEventError(f"a list of skill ids is needed, not the one string {skill_ids!r}")
    distinct = list(dict.fromkeys(skill_ids))
    for skill_id in distinct:
        check_skill_id(skill_id)
    return distinct

"""How the fields of a record become an event."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import blake2b

import attrs

from skillstat_agg import Event
from skillstat_agg._events import check_deltas
from skillstat_agg.errors import InvalidEventError

_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


@attrs.frozen
class Rules:
    """How the fields of a record become an event.

    Attributes:
        default_kind: The kind of a record that names none; None: each must name one.
        id_columns: The columns that make the event id; none: ``event_id`` is it.
    """

    default_kind: str | None
    id_columns: Sequence[str]

    @property
    def needed(self) -> Sequence[str]:
        """The columns without which no row of a table is an event."""
        kind = ("kind",) if self.default_kind is None else ()
        return ("skill_id", "occurred_at", *kind, *self.id_columns)

    @property
    def optional(self) -> Sequence[str]:
        """The other columns that say something."""
        return ("kind", "event_id", "deltas", "note")

    def event(self, fields: Mapping[str, object]) -> Event:
        """Return the event that a record stands for; an empty field is a missing one.

        Raises:
            InvalidEventError: If it stands for none.
        """
        kind = _text(fields, "kind") or self.default_kind
        if kind is None:
            raise InvalidEventError("kind is missing, and there is no --default-kind")
        return Event(
            skill_id=_needed(fields, "skill_id"),
            kind=kind,
            occurred_at=_time(_needed(fields, "occurred_at")),
            event_id=(
                _digest(fields, self.id_columns) if self.id_columns else _text(fields, "event_id")
            ),
            deltas=_deltas(fields.get("deltas")),
            note=_text(fields, "note"),
        )


def _text(fields: Mapping[str, object], name: str) -> str | None:
    value = fields.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise InvalidEventError(f"{name} must be a string, not {type(value).__name__}")
    return value


def _needed(fields: Mapping[str, object], name: str) -> str:
    text = _text(fields, name)
    if text is None:
        raise InvalidEventError(f"{name} is missing")
    return text


def _time(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidEventError(f"occurred_at is not a time in ISO 8601: {text[:100]!r}") from error
    if at.utcoffset() is None:
        raise InvalidEventError(
            f"occurred_at has no time zone: {text!r}; add Z for UTC, or an offset such as +02:00"
        )
    return at


def _deltas(value: object) -> Mapping[str, int] | None:
    """Return the deltas of a JSON object, or of a text that holds one."""
    if isinstance(value, str):
        try:
            value = json.loads(value) if value else None
        except (ValueError, RecursionError) as error:
            raise InvalidEventError("deltas is not JSON that can be read") from error
    if value is None:
        return None
    if not isinstance(value, dict):
        raise InvalidEventError(f"deltas must be a JSON object, not {type(value).__name__}")
    return check_deltas(value)


def _digest(fields: Mapping[str, object], columns: Sequence[str]) -> str:
    """Return the event id that the values of *columns* make, whatever their order.

    It is a digest of their canonical JSON, from which names and values can be read back, so
    that unlike values do not share one.
    """
    for name in columns:
        if name not in fields:
            raise InvalidEventError(f"{name} is missing, and --id-columns names it")
    text = _canonical({name: fields[name] for name in columns})
    return blake2b(text.encode(), digest_size=16).hexdigest()

"""Badges of skills, and the protocol of what keeps them; import them from `skillstat_agg`."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TypeAlias

import attrs
from typing_extensions import Protocol

from skillstat_agg._events import fault_in_text, fault_in_time, in_utc, plain
from skillstat_agg.errors import InvalidBadgeError


class BadgeKind(enum.StrEnum):
    """What a badge says of a skill. Each is equal to its value, such as ``"official"``."""

    HIGHLIGHTED = "highlighted"
    OFFICIAL = "official"
    DEPRECATED = "deprecated"
    REDACTION_APPROVED = "redaction_approved"


@attrs.frozen(kw_only=True)
class Badge:
    """Who has given a badge, and when.

    Attributes:
        by_user_id: Identifier of the user who gave it; opaque, 1 to 1,000 bytes in UTF-8.
        at: When; given as any aware datetime, kept in UTC to the microsecond. It informs,
            and orders nothing.

    Raises:
        InvalidBadgeError: If *by_user_id* is empty, too long or not a string, or *at* has no
            time zone or lies outside the years 1 to 9999 in UTC.
    """

    by_user_id: str = attrs.field(converter=plain)
    at: datetime = attrs.field(converter=in_utc)

    def __attrs_post_init__(self) -> None:
        fault = fault_in_text("by_user_id", self.by_user_id) or fault_in_time("at", self.at)
        if fault:
            raise InvalidBadgeError(fault)


BadgeMap: TypeAlias = Mapping[BadgeKind, Badge]
"""The badges of one skill by their kind, in the order of `BadgeKind`."""


class BadgeStore(Protocol):
    """What people say of skills: that one is official, say.

    Badges come from no event and belong to no projection. A store of badges over the
    database of the stats knows which skills were forgotten there.

    Laws:
        last_set: A skill has at most one badge of a kind: the one that was set last, in the
            order of commits, unless it was cleared after that. The time of a badge orders
            nothing.
        joined: ``set`` and ``clear`` join the transaction of their caller, as ``append``
            does: what they change is there when, and only when, that transaction commits.
            Without one it is durable on return. A call that raises has changed nothing,
            and the caller's transaction can go on.
        as_asked: ``badge_maps`` answers for each skill once, at the place where it was asked
            for first, with an empty map where it has no badge or is not known; all of one
            snapshot, however many are asked for.
        as_given: What was set comes back as it was given: ids and users as they are, times
            to the microsecond. Setting what is there already, or clearing what is not,
            writes nothing.
        none_if_forgotten: A skill that was forgotten in the same database has no badges any
            more, and never gets any.
    """

    def set(self, skill_id: str, kind: str, badge: Badge, /) -> bool:
        """Give a skill a badge, in the place of the one of that kind it may have.

        Args:
            skill_id: The skill; it need not have any event.
            kind: A `BadgeKind`, or its value.
            badge: Who gives it, and when.

        Returns:
            Whether the skill had no badge of that kind before.

        Raises:
            InvalidEventError: If *skill_id* cannot be the id of a skill.
            InvalidBadgeError: If there is no such kind, or *badge* is no `Badge`.
            ForgottenSkillError: If the skill was forgotten in the same database.
        """
        ...

    def clear(self, skill_id: str, kind: str, /) -> bool:
        """Take a badge away.

        Returns:
            Whether the skill had one of that kind.

        Raises:
            InvalidEventError: If *skill_id* cannot be the id of a skill.
            InvalidBadgeError: If there is no such kind.
        """
        ...

    def badge_maps(self, skill_ids: Iterable[str], /) -> list[tuple[str, BadgeMap]]:
        """Return each of the skills with its badges.

        Begins and ends its own transaction, as everything does that reads.

        Args:
            skill_ids: The skills, in any number; of one that stands there twice the first
                place counts.

        Raises:
            InvalidEventError: If one cannot be the id of a skill, or a single string was
                given.
            OpenTransactionError: If the connection is inside a transaction.
        """
        ...


def checked_kind(kind: object) -> BadgeKind:
    """Return the kind that *kind* is, or is the value of.

    Raises:
        InvalidBadgeError: If there is none.
    """
    try:
        return BadgeKind(kind)  # type: ignore[arg-type]  # what has no value is refused below
    except ValueError:
        kinds = ", ".join(BadgeKind)
        raise InvalidBadgeError(f"there is no badge {kind!r}; there are {kinds}") from None


def check_badge(badge: object) -> None:
    """Check that *badge* is one.

    Raises:
        InvalidBadgeError: If it is not.
    """
    if not isinstance(badge, Badge):
        raise InvalidBadgeError(f"a Badge is needed, not {type(badge).__name__}")


def maps_in_order(
    skill_ids: Iterable[str], badges: Mapping[tuple[str, BadgeKind], Badge]
) -> list[tuple[str, BadgeMap]]:
    """Return each of the skills with those of the *badges* that are its own.

    >>> badge = Badge(by_user_id="ann", at=datetime.fromisoformat("2026-03-01T12:00Z"))
    >>> [(skill, [*badges]) for skill, badges in maps_in_order("ba", {("a", "official"): badge})]
    [('b', []), ('a', [<BadgeKind.OFFICIAL: 'official'>])]
    """
    return [
        (
            skill_id,
            {kind: badges[skill_id, kind] for kind in BadgeKind if (skill_id, kind) in badges},
        )
        for skill_id in skill_ids
    ]

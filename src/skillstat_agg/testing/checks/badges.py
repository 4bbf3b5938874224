"""Badges: one of a kind for each skill, set within the caller's transaction, read for a page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timezone
from typing import Any, TypeAlias

from skillstat_agg._badges import Badge, BadgeKind
from skillstat_agg.errors import (
    ForgottenSkillError,
    InvalidBadgeError,
    InvalidEventError,
)
from skillstat_agg.testing._badge_clients import Badges
from skillstat_agg.testing._cases import NOON
from skillstat_agg.testing._checks import AnyCase, check
from skillstat_agg.testing._handles import Handle
from skillstat_agg.testing._steps import Violation
from skillstat_agg.testing.checks.identity import ALIKE

ASKED = "the badges of some skills were read"
REPLACED = "a badge was set in the place of another, or was cleared"
JOINED = "a badge was changed inside an open transaction"
GIVEN = "badges were read whose skills, users or times are not easy to keep"
AGAIN = "a badge was set that was there, or cleared that was not"
FORGOTTEN = "a skill was forgotten that had badges, or was to get one"
NO_BADGE = "a badge was to be set that is none, or on what is no skill"
INSIDE = "badges were read inside an open transaction of their connection"

Found: TypeAlias = list[tuple[str, dict[BadgeKind, Badge]]]

OFFICIAL, HIGHLIGHTED, DEPRECATED = BadgeKind.OFFICIAL, BadgeKind.HIGHLIGHTED, BadgeKind.DEPRECATED

ANN, BOB = Badge(by_user_id="ann", at=NOON), Badge(by_user_id="bob", at=NOON.replace(hour=1))
"""Two badges; the time of the second one is before that of the first."""

TIMES = (
    datetime(2026, 3, 1, 12, 0, 0, 1, tzinfo=timezone.utc),
    datetime(2026, 3, 1, 12, 0, 0, 999_999, tzinfo=timezone.utc),
    datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone.utc),
    datetime(1, 1, 1, tzinfo=timezone.utc),
    datetime.max.replace(tzinfo=timezone.utc),
)

MANY = 2_500
"""More skills than one statement can name in several databases."""


def badges_of(client: Handle) -> Badges:
    """Return the store of badges of a client that has one."""
    assert client.badges is not None, "the client has no badges"
    return client.badges


def _found(client: Handle, skill_ids: Iterable[str]) -> Found:
    """Return what a client is told of the badges of some skills, in the order it is told."""
    return [
        (skill_id, dict(badges)) for skill_id, badges in badges_of(client).badge_maps(skill_ids)
    ]


def maps_of(client: Handle, skill_ids: Sequence[str]) -> list[dict[BadgeKind, Badge]]:
    """Return the badges of each of some skills, as a client sees them."""
    found = dict(_found(client, skill_ids))
    return [found.get(skill_id, {}) for skill_id in skill_ids]


def seen(case: AnyCase, skill_ids: Sequence[str]) -> list[dict[BadgeKind, Badge]]:
    """Return the badges of each of some skills, as somebody sees them who has just come."""
    return maps_of(case.client("outside"), skill_ids)


@check(
    "BADGE-01",
    "as_asked",
    "badges come in the order in which skills are asked for, each once, and none is left out",
    witness=ASKED,
    needs=["badges"],
)
def badge_01(case: AnyCase) -> None:
    """One, several, unknown ones, one that is asked for twice, none, very many."""
    client = case.client("w")
    there = {"a": {OFFICIAL: ANN, HIGHLIGHTED: BOB}, "c": {DEPRECATED: ANN}}
    for skill_id, badges in there.items():
        for kind, badge in badges.items():
            badges_of(client).set(skill_id, kind, badge)
    many = [f"other {number}" for number in range(MANY)]
    asked = case.pick(
        ["a"],
        ["c", "b", "a"],
        ["b", "a", "c"],
        ["a", "c", "a"],
        ["b", "a", "b", "a"],
        ["unknown"],
        [],
        ["c", *many, "a"],
    )
    given = case.pick(asked, tuple(asked), iter(asked))
    found = _found(client, given)
    case.saw(ASKED)
    wanted = [(skill_id, there.get(skill_id, {})) for skill_id in dict.fromkeys(asked)]
    if len(asked) > MANY:
        case.expect("the number of skills that are answered for", len(wanted), len(found))
        case.expect("the first of them, and its badges", wanted[0], found[0])
        case.expect("the last of them, and its badges", wanted[-1], found[-1])
    case.expect(f"badge_maps() of {len(asked)} skills, {asked[:4]} first", wanted, found)


@check(
    "BADGE-02",
    "last_set",
    "of several badges of a kind the one counts that was set last",
    witness=REPLACED,
    needs=["badges"],
)
def badge_02(case: AnyCase) -> None:
    """Two clients set and clear one badge, whose times go forth and back; others stay."""
    clients = [case.client("one"), case.client("two")]
    for skill_id, kind in (("a", DEPRECATED), ("b", OFFICIAL)):
        badges_of(clients[0]).set(skill_id, kind, ANN)
    now: Badge | None = None
    for number in range(case.scope(3, 4)):
        badge = case.pick(ANN, BOB, None)
        client = badges_of(clients[number % 2])
        if badge is None:
            case.expect("what clear() returns", now is not None, client.clear("a", OFFICIAL))
        else:
            case.expect("what set() returns", now is None, client.set("a", OFFICIAL, badge))
        if now is not None:
            case.saw(REPLACED)
        now = badge
        own = {DEPRECATED: ANN} if now is None else {OFFICIAL: now, DEPRECATED: ANN}
        for reader in clients:
            found = maps_of(reader, ["a", "b"])
            case.expect("the badges of 'a' and 'b'", [own, {OFFICIAL: ANN}], found)


@check(
    "BADGE-06",
    "as_given",
    "skills, users and times come back as they were given",
    witness=GIVEN,
    needs=["badges"],
)
def badge_06(case: AnyCase) -> None:
    """Ids that look alike, users that do, and times to the microsecond."""
    client = case.client("w")
    if case.maybe():
        at = case.pick(*TIMES)
        one = two = Badge(by_user_id="ann", at=at)
        skill_ids = ["a", "b"]
    else:
        alike = case.pick(*ALIKE)
        skill_ids = list(alike)
        one, two = (Badge(by_user_id=each, at=NOON) for each in alike)
    badges_of(client).set(skill_ids[0], OFFICIAL, one)
    case.expect("badges of one of two", [{OFFICIAL: one}, {}], maps_of(client, skill_ids))
    is_new = badges_of(client).set(skill_ids[1], OFFICIAL, two)
    case.saw(GIVEN)
    case.expect(f"set({skill_ids[1]!a}) beside {skill_ids[0]!a}", True, is_new)
    case.expect("the badges", [{OFFICIAL: one}, {OFFICIAL: two}], maps_of(client, skill_ids))
    badges_of(client).clear(skill_ids[0], OFFICIAL)
    case.expect("badges of the other one", [{}, {OFFICIAL: two}], maps_of(client, skill_ids))


@check(
    "BADGE-07",
    "as_given",
    "setting a badge that is there, or clearing one that is not, writes nothing",
    witness=AGAIN,
    needs=["badges", "raw"],
)
def badge_07(case: AnyCase) -> None:
    """The same badge again, by the same client or another; a badge that was never there."""
    one = case.client("one")
    badges_of(one).set("a", OFFICIAL, ANN)
    other = case.pick(one, case.client("two"))
    case.clock.go(hours=1)
    before = case.raw()
    if case.maybe():
        case.expect("set() again", False, badges_of(other).set("a", OFFICIAL, ANN))
    else:
        skill_id, kind = case.pick(("a", DEPRECATED), ("b", OFFICIAL))
        case.expect("clear() of no badge", False, badges_of(other).clear(skill_id, kind))
    case.saw(AGAIN)
    if case.raw() != before:
        raise Violation("nothing to be written", "what is stored has changed")


@check(
    "BADGE-08",
    "none_if_forgotten",
    "a forgotten skill has no badges, and gets none",
    witness=FORGOTTEN,
    needs=["badges"],
)
def badge_08(case: AnyCase) -> None:
    """With numbers or without; another skill, with nearly the same id, keeps its own."""
    worker, other = case.client("fold"), case.client("other")
    if case.maybe():
        worker.append(*case.downloads("aA"))
        worker.drain()
    for skill_id in case.pick(("a", "A"), ("A",)):
        badges_of(other).set(skill_id, OFFICIAL, ANN)
    worker.forget("a")
    case.saw(FORGOTTEN)
    wanted = [{}, {OFFICIAL: ANN}]
    case.expect("the badges of 'a' and 'A' after it", wanted, maps_of(other, ["a", "A"]))
    again = case.pick(worker, other)
    error = case.raises(
        ForgottenSkillError,
        lambda: badges_of(again).set("a", DEPRECATED, BOB),
        "set() of a forgotten skill",
    )
    case.expect("the skill that the error names", "a", error.skill_id)
    case.expect("clear() of a forgotten skill", False, badges_of(again).clear("a", OFFICIAL))
    case.expect("the badges in the end", wanted, seen(case, ["a", "A"]))
    case.settle()


@check(
    "BADGE-12",
    "documented",
    "a kind that there is not, what is no badge and what is no skill are refused",
    witness=NO_BADGE,
    needs=["badges"],
)
def badge_12(case: AnyCase) -> None:
    """Every method is given what it cannot take; then nothing has changed."""
    client = case.client("w")
    badges: Any = badges_of(client)
    badges.set("a", OFFICIAL, ANN)
    no_kind: Any = case.pick("golden", "Official", "official ", "", None, 1)
    no_skill: Any = case.pick("", "x" * 1_001, "\ud800", None)
    calls: list[tuple[type[Exception], str, Callable[[], object]]] = [
        (InvalidBadgeError, f"set(kind={no_kind!r})", lambda: badges.set("a", no_kind, BOB)),
        (InvalidBadgeError, f"clear(kind={no_kind!r})", lambda: badges.clear("a", no_kind)),
        (InvalidBadgeError, "set() of None", lambda: badges.set("a", OFFICIAL, None)),
        (InvalidEventError, "set() of no skill", lambda: badges.set(no_skill, OFFICIAL, BOB)),
        (InvalidEventError, "clear() of no skill", lambda: badges.clear(no_skill, OFFICIAL)),
        (InvalidEventError, "badge_maps() of no skill", lambda: badges.badge_maps(["a", no_skill])),
        (InvalidEventError, "badge_maps('ab')", lambda: badges.badge_maps("ab")),
    ]
    errors, name, call = case.pick(*calls)
    case.raises(errors, call, name)
    case.saw(NO_BADGE)
    case.expect("the badges after it", [{OFFICIAL: ANN}], seen(case, ["a"]))


CHECKS = (
    badge_01,
    badge_02,
    badge_06,
    badge_07,
    badge_08,
    badge_12,
)

"""Badges within transactions, beside others and beside a skill's end, and calls that die."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Literal

from skillstat_agg._badges import Badge
from skillstat_agg.errors import (
    ForgottenSkillError,
    InvalidBadgeError,
    OpenTransactionError,
    StoreBusyError,
)
from skillstat_agg.testing._badge_clients import Award, SteppedBadges, award
from skillstat_agg.testing._checks import AnyCase, check
from skillstat_agg.testing._clients import Waiting, give_way
from skillstat_agg.testing._handles import Actor, Handle
from skillstat_agg.testing._steps import DEATH_INSIDE, MOVED_INSIDE, REFUSED, Violation
from skillstat_agg.testing.checks.badges import (
    ANN,
    BOB,
    DEPRECATED,
    FORGOTTEN,
    MANY,
    OFFICIAL,
    badges_of,
    maps_of,
    seen,
)

JOINED = "a badge was changed inside an open transaction"
INSIDE = "badges were read inside an open transaction of their connection"


def _awarding(
    client: Handle, *awards: Award, landed: list[bool], joined: bool = False
) -> Actor[None]:
    """Return an actor that sets and clears badges."""

    def steps(badges: SteppedBadges) -> Coroutine[Waiting, None, None]:
        return award(badges, *awards, landed=landed, joined=joined)

    return client.badging(steps)


@check(
    "BADGE-03",
    "last_set",
    "badges that are set at the same time do not take each other away",
    witness=(MOVED_INSIDE, REFUSED),
    needs=["badges", "io"],
)
def badge_03(case: AnyCase) -> None:
    """Two clients set badges of one skill, of one kind or of two, in the middle of each other."""
    kinds = case.pick((OFFICIAL, OFFICIAL), (OFFICIAL, DEPRECATED))
    badges, landed = (ANN, BOB), (list[bool](), list[bool]())
    case.play(
        *(
            _awarding(case.client(badge.by_user_id), ("a", kind, badge), landed=answers)
            for kind, badge, answers in zip(kinds, badges, landed, strict=True)
        ),
        switches=1,
        inside=case.scope(1, 2),
        into=("set",),
        look=False,
    )
    [found] = seen(case, ["a"])
    for kind in dict.fromkeys(kinds):
        of_kind = [
            (badge, answers)
            for each, badge, answers in zip(kinds, badges, landed, strict=True)
            if each is kind and answers
        ]
        if not of_kind:
            case.expect(f"the badge {kind} that was refused", None, found.get(kind))
            continue
        if found.get(kind) not in [badge for badge, _ in of_kind]:
            raise Violation(f"a badge {kind}, which was set", repr(found.get(kind)))
        news = sum(answer for _, answers in of_kind for answer in answers)
        case.expect(f"how many were told that the badge {kind} is new", 1, news)


@check(
    "BADGE-04",
    "joined",
    "a badge is changed when, and only when, the caller's transaction commits",
    witness=JOINED,
    needs=["badges", "begin", "joins"],
)
def badge_04(case: AnyCase) -> None:
    """Set, set anew or clear a badge, beside an event perhaps; then commit or roll back."""
    client, outside = case.client("w"), case.client("outside")
    before: Badge | None = case.pick(None, ANN)
    if before is not None:
        badges_of(client).set("a", OFFICIAL, before)
    after: Badge | None = case.pick(BOB, None)
    held = client.begin()
    if case.maybe():
        held.append(*case.downloads("a"))
    _change(client, ("a", OFFICIAL, after))
    case.saw(JOINED)
    with suppress(StoreBusyError):
        _expect_official(case, "while the transaction is open", before, maps_of(outside, ["a"]))
    end: Literal["commit", "rollback"] = case.pick("commit", "rollback")
    getattr(held, end)()
    wanted = after if end == "commit" else before
    _expect_official(case, f"after the {end}", wanted, maps_of(outside, ["a"]))
    case.settle()


def _change(client: Handle, award: Award) -> None:
    skill_id, kind, badge = award
    if badge is None:
        badges_of(client).clear(skill_id, kind)
    else:
        badges_of(client).set(skill_id, kind, badge)


def _expect_official(case: AnyCase, when: str, badge: Badge | None, found: object) -> None:
    wanted = {} if badge is None else {OFFICIAL: badge}
    case.expect(f"the badges {when}", [wanted], found)


@check(
    "BADGE-05",
    "joined",
    "a transaction in which a badge was refused goes on, and commits",
    witness=JOINED,
    needs=["badges", "begin", "joins"],
)
def badge_05(case: AnyCase) -> None:
    """What was changed before and after the refusal is there."""
    client = case.client("w")
    client.append(*case.downloads("a"))
    client.forget("gone")
    held = client.begin()
    badges_of(client).set("a", OFFICIAL, ANN)
    errors, name, refused = case.pick(*_refused(client))
    case.raises(errors, refused, name)
    case.saw(JOINED)
    held.append(*case.downloads("b"))
    badges_of(client).set("b", OFFICIAL, BOB)
    held.commit()
    wanted = [{OFFICIAL: ANN}, {OFFICIAL: BOB}, {}]
    case.expect("the badges after the commit", wanted, seen(case, ["a", "b", "gone"]))
    case.settle()


def _refused(client: Handle) -> list[tuple[type[Exception], str, Callable[[], object]]]:
    """Return what is refused inside a transaction, and how."""
    badges = badges_of(client)
    return [
        (
            ForgottenSkillError,
            "set() of a forgotten skill",
            lambda: badges.set("gone", "official", ANN),
        ),
        (InvalidBadgeError, "set() of no kind", lambda: badges.set("a", "golden", ANN)),
    ]


@check(
    "BADGE-09",
    "none_if_forgotten",
    "no badge in flight comes back to a forgotten skill",
    witness=FORGOTTEN,
    needs=["badges", "begin", "joins"],
)
def badge_09(case: AnyCase) -> None:
    """A transaction that sets a badge is open while the skill is forgotten, in every order."""
    if case.maybe():
        badges_of(case.client("before")).set("a", OFFICIAL, ANN)
    keeper, landed = case.client("f"), list[bool]()
    case.play(
        _awarding(
            case.client("w"), ("a", OFFICIAL, BOB), ("b", OFFICIAL, BOB), landed=landed, joined=True
        ),
        keeper.forgetting("a"),
        switches=2,
    )
    if "a" not in case.forgotten:  # refused, since the other one was in the way
        keeper.forget("a")
    case.saw(FORGOTTEN)
    others = {OFFICIAL: BOB} if landed else {}
    case.expect("the badges of 'a' and 'b'", [{}, others], seen(case, ["a", "b"]))


@check(
    "BADGE-10",
    "joined",
    "a call that dies has changed its badge, or nothing, and can be repeated",
    witness=DEATH_INSIDE,
    needs=["badges", "io"],
)
def badge_10(case: AnyCase) -> None:
    """The client dies at any point of a set or a clear, by itself or inside a transaction."""
    first = case.client("first")
    before: Badge | None = case.pick(None, ANN)
    if before is not None:
        badges_of(first).set("a", OFFICIAL, before)
    after = case.pick(BOB, None)
    first.close()
    writer = case.client("w")
    joined = case.harness.joins and writer.can_begin and case.maybe()
    case.play(
        _awarding(writer, ("a", OFFICIAL, after), landed=[], joined=joined),
        switches=0,
        deaths=1,
        into=("set", "clear", "commit"),
        look=False,
    )
    ways = [[{} if badge is None else {OFFICIAL: badge}] for badge in (before, after)]
    found = maps_of(case.client("outside"), ["a"])
    if found not in ways:
        raise Violation(f"the badges before or after it: {ways}", repr(found))
    again = case.client("again")
    _change(again, ("a", OFFICIAL, after))
    case.expect("the badges after it was repeated", ways[1], maps_of(again, ["a"]))


@check(
    "BADGE-11",
    "as_asked",
    "the badges of many skills are of one snapshot",
    witness=(MOVED_INSIDE, REFUSED),
    needs=["badges", "begin", "joins", "io"],
)
def badge_11(case: AnyCase) -> None:
    """Two badges change in one transaction while very many are read, them among these."""
    first, last = "first", "last"
    setter, reader, found = case.client("w"), case.client("reader"), list[Any]()
    before: Badge | None = case.pick(None, ANN)
    if before is not None:
        for skill_id in (first, last):
            badges_of(setter).set(skill_id, OFFICIAL, before)
    asked = [first, *(f"other {number}" for number in range(MANY)), last]

    async def look(badges: SteppedBadges) -> None:
        with suppress(StoreBusyError):
            found.append(await badges.badge_maps(asked))

    async def change() -> None:
        await give_way()
        with suppress(StoreBusyError):
            held = setter.begin()
            try:
                for skill_id in (first, last):
                    badges_of(setter).set(skill_id, OFFICIAL, BOB)
                held.commit()
            except StoreBusyError:
                held.rollback()
                raise

    case.play(
        reader.badging(look),
        Actor(setter, change()),
        switches=1,
        inside=1,
        into=("badge_maps",),
        look=False,
    )
    for maps in found:
        ends = dict(maps)
        case.expect("the badges of the last and of the first", ends[last], ends[first])


@check(
    "BADGE-13",
    "documented",
    "badges are not read inside an open transaction",
    witness=INSIDE,
    needs=["badges", "begin", "joins"],
)
def badge_13(case: AnyCase) -> None:
    """In a transaction that is new, that has appended or that has set one; then it commits."""
    client = case.client("w")
    held = client.begin()
    what = case.pick("nothing", "an event", "a badge")
    if what == "an event":
        held.append(*case.downloads("a"))
    elif what == "a badge":
        badges_of(client).set("a", OFFICIAL, ANN)
    case.saw(INSIDE)
    case.raises(
        OpenTransactionError,
        lambda: badges_of(client).badge_maps(["a"]),
        "badge_maps() inside an open transaction",
    )
    held.commit()
    wanted = {OFFICIAL: ANN} if what == "a badge" else {}
    case.expect("the badges after the commit", [wanted], maps_of(client, ["a"]))
    case.settle()


CHECKS = (
    badge_03,
    badge_04,
    badge_05,
    badge_09,
    badge_10,
    badge_11,
    badge_13,
)

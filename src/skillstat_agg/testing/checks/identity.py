"""Identity: texts that look alike are unlike, in every place where they are a key."""

from __future__ import annotations

from collections.abc import Iterable

from skillstat_agg._buckets import Granularity
from skillstat_agg._effects import Effect
from skillstat_agg._projections import Projection
from skillstat_agg.testing._checks import AnyCase, check
from skillstat_agg.testing._steps import Violation

ALIKE_SKILLS = "the numbers of two skills with ids that look alike were read"
ALIKE_IDS = "two events with ids that look alike were appended"
ALIKE_KINDS = "events of two kinds that look alike were folded"

_LONG = "".join(chr(0x20000 + number * 2_654_435_761 % 40_000) for number in range(249))
"""249 characters of 4 bytes each that cannot be made much shorter."""

ALIKE = (
    # Case, and what is taken for case.
    ("skill", "Skill"),
    ("\xe4", "\xc4"),
    ("stra\xdfe", "strasse"),
    ("i", "\u0131"),
    ("\u03c3", "\u03c2"),
    # Spaces, and what is taken for them or for nothing.
    ("skill", "skill "),
    ("skill", " skill"),
    ("skill", "skill\n"),
    (" ", "  "),
    ("a b", "a\xa0b"),
    ("ab", "a\u200bb"),
    ("ab", "a\xadb"),
    ("a", "\ufeffa"),
    # Unicode forms, accents and widths.
    ("caf\xe9", "cafe\u0301"),
    ("caf\xe9", "cafe"),
    ("\ufb01t", "fit"),
    ("\u212b", "\xc5"),
    ("\uff41", "a"),
    ("\U0001f600", "\U0001f601"),
    # Length.
    ("x" * 999 + "y", "x" * 999 + "z"),
    ("x" * 999, "x" * 1_000),
    (_LONG + "\U00020000", _LONG + "\U00020001"),
    # Quotes, wild cards, separators and control characters.
    ("a", "a\1"),
    ("it's", "it''s"),
    ('"a"', "a"),
    ("`a`", "[a]"),
    ("a\\", "a\\\\"),
    ("a%", "ab"),
    ("a_b", "axb"),
    ("a*", "ab"),
    ("a/b", "a//b"),
    ("a:b", "a;b"),
    ("a,b", "a, b"),
    ("$.a", "a"),
    ("?1", ":a"),
    # Texts that are taken for numbers and for nothing.
    ("1", "01"),
    ("1", "1.0"),
    ("1e3", "1000"),
    ("9007199254740993", "9007199254740992"),
    ("null", "NULL"),
    ("None", "0"),
)


def _shown(text: str) -> str:
    """Return a text in ASCII, shortened in the middle, so that unlike texts look unlike."""
    if len(text) <= 20:
        return ascii(text)
    return f"{text[:2]!a}...{text[-2:]!a} ({len(text)} characters)"


def _check_texts(what: str, expected: Iterable[str], found: Iterable[str]) -> None:
    """Check that two collections hold the same texts, whatever their order."""
    want, got = sorted(expected), sorted(found)
    if want != got:
        raise Violation(f"{what}: {_listed(want)}", _listed(got))


def _listed(texts: Iterable[str]) -> str:
    return ", ".join(map(_shown, texts)) or "none"


@check(
    "IDENT-01",
    "exact",
    "skills whose ids look alike have numbers of their own",
    witness=ALIKE_SKILLS,
)
def ident_01(case: AnyCase) -> None:
    """One skill has a download; another one, with an id that looks alike, has two or none."""
    one, two = case.pick(*ALIKE)
    worker, twice = case.client("fold"), case.pick(2, 0)
    worker.append(*case.downloads([one, *[two] * twice]))
    worker.drain(page=case.pick(*case.scope([10], [10, 1])))
    for skill_id, number in ((one, 1), (two, twice)):
        what = f"of {_shown(skill_id)} (the ids are {_listed([one, two])})"
        totals = worker.stats.totals([skill_id])
        _check_texts(f"the skills in the totals {what}", [skill_id] if number else [], totals)
        found = totals[skill_id]["downloads"] if number else 0
        case.expect(f"the downloads {what}", number, found)
        rollups = worker.stats.rollups(skill_id, Granularity.DAY)
        found = sum(row["downloads"] for row in rollups.values())
        case.expect(f"the downloads by day {what}", number, found)
    case.saw(ALIKE_SKILLS)
    case.settle()


@check(
    "IDENT-02",
    "append_once",
    "events whose ids look alike are two events",
    witness=ALIKE_IDS,
)
def ident_02(case: AnyCase) -> None:
    """Two events that are equal but for their ids are appended, and appended again."""
    texts = case.pick(*ALIKE)
    one, two = (case.event("a", event_id=event_id) for event_id in texts)
    writer = case.client("w")
    if case.pick(*case.scope([False], [False, True])):
        writer.append(one, two)
    else:
        writer.append(one)
        writer.append(two)
    writer.append(two, one)
    case.saw(ALIKE_IDS)
    found = (str(recorded.event.event_id) for recorded in case.log_of(writer))
    _check_texts("the event ids in the log", texts, found)
    case.settle()


@check(
    "IDENT-03",
    "exact",
    "kinds whose names look alike count apart",
    witness=ALIKE_KINDS,
)
def ident_03(case: AnyCase) -> None:
    """One event of one kind, and two of another whose name looks alike."""
    one, two = case.pick(*ALIKE)
    kinds = Projection(
        "kinds", {one: Effect(counters={"ones": 1}), two: Effect(counters={"twos": 1})}
    )
    worker = case.client("fold", kinds)
    worker.append(case.event("a", one), case.event("a", two), case.event("a", two))
    found = (recorded.event.kind for recorded in case.log_of(worker))
    _check_texts("the kinds in the log", (one, two, two), found)
    worker.drain(page=case.pick(*case.scope([10], [10, 1])))
    case.saw(ALIKE_KINDS)
    case.settle(kinds)


CHECKS = (ident_01, ident_02, ident_03)

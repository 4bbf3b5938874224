"""Arguments: what cannot be meant is refused by name, and what can be meant is answered."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from skillstat_agg._buckets import Granularity
from skillstat_agg._events import Place
from skillstat_agg.errors import InvalidBoundError, InvalidEventError, InvalidProjectionError
from skillstat_agg.testing._cases import NOON
from skillstat_agg.testing._checks import AnyCase, check
from skillstat_agg.testing._clients import TalliedEvents
from skillstat_agg.testing._handles import Handle

NO_LIMIT = "a page of less than one event was asked for"
NO_ZONE = "rollups were asked for by a time without a zone, or by a granularity that is not there"
NO_SKILL = "numbers were asked for by what cannot be the id of a skill"
SOME = "the totals of some skills were read"

_MANY = 2_500
"""More skills than one statement can name in several databases."""


@check("ARGS-01", "documented", "a limit below 1 is refused", witness=NO_LIMIT)
def args_01(case: AnyCase) -> None:
    """A page is asked for with a limit of 0 or less, at the start and after an event."""
    client = case.client("reader")
    limit = case.pick(0, -1)
    place: Place | None = None
    if case.maybe():
        client.append(*case.downloads("ab"))
        first = client.events.read(None, limit=1)
        place = Place(first.epoch, first.events[0].position, first.events[0].fingerprint)
    events = client.events
    read: Callable[[], object] = partial(events.read, place, limit=limit)
    if isinstance(events, TalliedEvents) and case.maybe():
        read = partial(events.tally, place, limit=limit, granularity=Granularity.DAY)
    elif client.has_lag and case.maybe():
        read = partial(events.lag, place, limit=limit)
    error = case.raises(InvalidBoundError, read, f"a read with limit={limit}")
    case.saw(NO_LIMIT)
    case.expect("the argument that the error names", "limit", error.name)


@check(
    "ARGS-02",
    "documented",
    "a time without a zone, and a granularity that is not there, are refused",
    witness=NO_ZONE,
)
def args_02(case: AnyCase) -> None:
    """Rollups are asked for, of a skill that is there and of one that is not."""
    client = case.client("reader")
    client.append(*case.downloads("a"))
    client.drain()
    naive = NOON.replace(tzinfo=None)
    skill_id = case.pick("a", "b")
    bounds: dict[str, datetime] = case.pick(
        {"since": naive}, {"until": naive}, {"since": NOON, "until": naive}, {}
    )
    if bounds:
        error = case.raises(
            InvalidBoundError,
            lambda: client.stats.rollups(skill_id, Granularity.DAY, **bounds),
            f"rollups() with {', '.join(f'{name}={at}' for name, at in bounds.items())}",
        )
        case.expect("the argument that the error names", list(bounds)[-1], error.name)
    else:
        case.raises(
            InvalidProjectionError,
            lambda: client.stats.rollups(skill_id, Granularity.HOUR),
            "rollups() by hour of a projection by day",
        )
    case.saw(NO_ZONE)


@check(
    "ARGS-03",
    "documented",
    "what cannot be the id of a skill is refused, and a single string is not a list",
    witness=NO_SKILL,
)
def args_03(case: AnyCase) -> None:
    """Every method that takes ids is given an empty one, a long one, and others."""
    client = case.client("reader")
    client.append(*case.downloads("ab"))
    client.drain()
    before = client.stats.totals().cursor
    bad: Any = case.pick("", "x" * 1_001, "\ud800", None, 1, b"a")
    calls: dict[str, Callable[[], object]] = {
        "totals('ab')": lambda: client.stats.totals("ab"),
        "totals([id])": lambda: client.stats.totals([bad]),
        "totals(['a', id])": lambda: client.stats.totals(["a", bad]),
        "rollups(id)": lambda: client.stats.rollups(bad, Granularity.DAY),
        "forget(id)": lambda: client.stats.forget(bad),
        "forgotten('ab')": lambda: client.stats.forgotten("ab"),
        "forgotten(['a', id])": lambda: client.stats.forgotten(["a", bad]),
    }
    name = case.pick(*calls)
    case.raises(InvalidEventError, calls[name], f"{name}, where id = {str(bad)[:10]!a}")
    case.saw(NO_SKILL)
    case.expect("the cursor", before, client.stats.cursor())


@check(
    "ARGS-04",
    "documented",
    "totals are those of the skills that were asked for, and of all if none were named",
    witness=SOME,
)
def args_04(case: AnyCase) -> None:
    """Totals of one, of several, of unknown skills, of none, of very many, of all."""
    client = case.client("reader")
    client.append(*case.downloads("aabc"))
    client.drain()
    many = [f"other {number}" for number in range(_MANY)]
    asked, wanted = case.pick(
        (["a"], "a"),
        (["c", "a"], "ac"),
        (["a", "a"], "a"),
        (["unknown"], ""),
        (["unknown", "b"], "b"),
        ([], ""),
        (["a", *many, "c"], "ac"),
        (None, "abc"),
    )
    given = asked if asked is None else case.pick(asked, tuple(asked), iter(asked))
    totals = client.stats.totals(given)
    found = {skill: row["downloads"] for skill, row in totals.items()}
    numbers = {"a": 2, "b": 1, "c": 1}
    what = "all skills" if asked is None else f"{len(asked)} skills, {asked[:2]} first"
    case.expect(f"the downloads of {what}", {skill: numbers[skill] for skill in wanted}, found)
    case.expect("the cursor that comes with them", client.stats.cursor(), totals.cursor)
    if wanted not in ("", "abc"):
        case.saw(SOME)
    _check_unknown(case, client)


def _check_unknown(case: AnyCase, client: Handle) -> None:
    """Check that a skill that is not there has no rollups."""
    rollups = client.stats.rollups("unknown", Granularity.DAY)
    case.expect("rollups of an unknown skill", {}, dict(rollups))
    case.expect("the cursor that comes with them", client.stats.cursor(), rollups.cursor)


CHECKS = (args_01, args_02, args_03, args_04)

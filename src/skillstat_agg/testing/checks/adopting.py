"""Adoption: counts of another mechanism are taken over once, whole, and never beside others."""

from __future__ import annotations

from collections.abc import Mapping

from skillstat_agg import aio
from skillstat_agg._adjusting import correctable
from skillstat_agg._adopting import Adoption, adopt
from skillstat_agg._projections import SKILL_STATS
from skillstat_agg._stores import Counters
from skillstat_agg.errors import AdoptionRefusedError, StoreBusyError
from skillstat_agg.testing._cases import NOON
from skillstat_agg.testing._checks import AnyCase, check
from skillstat_agg.testing._clients import SteppedEvents, SteppedStats
from skillstat_agg.testing._handles import Actor, Handle
from skillstat_agg.testing._steps import DEATH, DEATH_INSIDE, FAULT

TWICE = "counts were adopted that were in the log already"
UNLIKE = "counts were to be adopted beside other ones"
BEHIND = "an event that counts was committed before an adoption"

TABLE = correctable(SKILL_STATS)

COUNTS: Mapping[str, Counters] = {"a": {"downloads": 7, "stars": 2}, "b": {"downloads": 5}}
"""What another mechanism has counted."""

OTHERS: Mapping[str, Counters] = {"a": {"downloads": 8}, "c": {"downloads": 1}}
"""What it says at another time."""


def _adopting(
    client: Handle, counts: Mapping[str, Counters], found: list[Adoption | None], name: str = "old"
) -> Actor[None]:
    """Return an actor that adopts; it notes None where it was refused, nothing where it waits."""

    async def steps(events: SteppedEvents, stats: SteppedStats) -> None:
        try:
            found.append(await aio.adopt(events, stats, name, counts, at=NOON))
        except AdoptionRefusedError:
            found.append(None)
        except StoreBusyError:
            return

    return client.doing(steps)


def _again(client: Handle, counts: Mapping[str, Counters], name: str = "old") -> Adoption | None:
    """Adopt now; None: it was refused."""
    try:
        return adopt(client.events, client.stats, name, counts, at=NOON)
    except AdoptionRefusedError:
        return None


def _check_downloads(case: AnyCase, client: Handle, *counts: Mapping[str, Counters]) -> None:
    """Check that what is counted in the end is the sum of these, and keeps the invariant."""
    client.drain()
    wanted: dict[str, int] = {}
    for each in counts:
        for skill, row in each.items():
            wanted[skill] = wanted.get(skill, 0) + row["downloads"]
    found = {skill: row["downloads"] for skill, row in client.stats.totals().items()}
    case.expect("downloads", wanted, found)
    case.observe(TABLE)


def _check_in_once(case: AnyCase, counts: Mapping[str, Counters]) -> None:
    """Adopt as somebody who starts again does, twice, and check that it is in the log once."""
    after = case.client("after", TABLE)
    first, second = _again(after, counts), _again(after, counts)
    case.expect("whether it was refused", (False, False), (first is None, second is None))
    case.expect("what is new of an adoption that is in", 0, second and second.new)
    case.saw(TWICE)
    _check_downloads(case, after, counts)
    case.expect("an adoption behind its fold", second, _again(after, counts))


@check(
    "ADOPT-01",
    "append_once",
    "an adoption may die before or after any call, and to repeat it does nothing more",
    witness=DEATH,
)
def adopt_01(case: AnyCase) -> None:
    """The adopter dies beside nobody, or beside a worker who drains."""
    case.observer(TABLE)
    adopter = _adopting(case.client("old", TABLE), COUNTS, [])
    worker = case.client("fold", TABLE)
    if case.maybe():
        case.play(adopter, worker.draining(), switches=1, deaths=1)
    else:
        case.play(adopter, switches=0, deaths=1)
    case.observe(TABLE)
    _check_in_once(case, COUNTS)


@check(
    "ADOPT-02",
    "append_once",
    "of two who adopt one is first: the same counts are the same events, others are refused",
    witness=(TWICE, UNLIKE),
)
def adopt_02(case: AnyCase) -> None:
    """Two adopt at once, in every order: the same, other counts, or from another name."""
    one, two = case.client("one", TABLE), case.client("two", TABLE)
    case.observer(TABLE)
    counts, name = case.pick((COUNTS, "old"), (OTHERS, "old"), (COUNTS, "new"))
    firsts: list[Adoption | None] = []
    seconds: list[Adoption | None] = []
    case.play(
        _adopting(one, COUNTS, firsts),
        _adopting(two, counts, seconds, name),
        switches=case.scope(1, 3),
    )
    first, second = (_is_in(each) for each in (firsts, seconds))
    if (counts, name) == (COUNTS, "old"):
        _check_in_once(case, COUNTS)
        return
    case.saw(UNLIKE)
    case.expect("whether both of two unlike adoptions are in", False, first and second)
    after = case.client("after", TABLE)
    won, lost = ((counts, name), (COUNTS, "old")) if second else ((COUNTS, "old"), (counts, name))
    if not first and not second:
        _again(after, *won)  # neither had its turn
    case.expect("the adoption that was second, again", None, _again(after, *lost))
    repeated = _again(after, *won)
    case.expect("what is new of the first, again", 0, repeated and repeated.new)
    _check_downloads(case, after, won[0])


def _is_in(found: list[Adoption | None]) -> bool:
    """Return whether an adoption is in: it was not refused, and had its turn."""
    return any(one is not None for one in found)


@check(
    "ADOPT-03",
    "append_once",
    "an adoption beside an event that counts is in or refused, and stays so when it is repeated",
    witness=(BEHIND, TWICE),
)
def adopt_03(case: AnyCase) -> None:
    """A writer appends, and a worker drains, beside an adoption, in every order."""
    client, worker = case.client("old", TABLE), case.client("fold", TABLE)
    case.observer(TABLE)
    found: list[Adoption | None] = []
    download = case.event("a")
    case.play(
        _adopting(client, COUNTS, found),
        case.client("w", TABLE).appending((download,)),
        worker.draining(),
        switches=case.scope(1, 2),
    )
    after = case.client("after", TABLE)
    log = case.log_of(after)
    appended = [{"a": {"downloads": 1}}] if download in case.committed.events else []
    if log and log[0].event.note == download.note:
        case.saw(BEHIND)
    is_in = any(one.event.note == "adopted from old" for one in log)
    for _ in range(2):
        again = _again(after, COUNTS)
        if is_in:
            case.expect("what is new of an adoption that is in", 0, again and again.new)
            case.saw(TWICE)
        elif appended:
            case.expect("an adoption behind an event that counts", None, again)
        else:
            is_in = True  # it had not had its turn
    _check_downloads(case, after, *([COUNTS] if is_in else []), *appended)


@check(
    "ADOPT-04",
    "append_once",
    "an adoption that dies or fails in the middle of its append is in as a whole, or not at all",
    witness=(DEATH_INSIDE, FAULT),
    needs=["io"],
)
def adopt_04(case: AnyCase) -> None:
    """The adopter dies, or its I/O fails, at any point of the append."""
    case.observer(TABLE)
    dies = case.maybe()
    case.play(
        _adopting(case.client("old", TABLE), COUNTS, []),
        switches=0,
        deaths=int(dies),
        faults=int(not dies),
        into=("append",),
    )
    log = case.log_of(case.observer(TABLE))
    case.expect("events of the adoption in the log, all or none", 4 if log else 0, len(log))
    case.observe(TABLE)
    _check_in_once(case, COUNTS)


CHECKS = (adopt_01, adopt_02, adopt_03, adopt_04)

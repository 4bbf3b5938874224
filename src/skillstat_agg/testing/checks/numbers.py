"""Numbers: sums are whole and exact over signed 64 bits, and never leave them unnoticed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial

import attrs

from skillstat_agg._buckets import Granularity
from skillstat_agg._effects import Carried, Effect
from skillstat_agg._events import MAX_INTEGER, MIN_INTEGER, Event
from skillstat_agg._projections import Projection
from skillstat_agg.errors import OutOfRangeError
from skillstat_agg.testing._cases import NOON
from skillstat_agg.testing._checks import AnyCase, check
from skillstat_agg.testing._handles import Handle
from skillstat_agg.testing._steps import Violation
from skillstat_agg.testing.checks.fencing import prepared

EDGE = "a sum was folded that lies where some kind of number ends"
OUT_OF_RANGE = "a sum would have left the range of signed 64 bits"
BEYOND = "the sum of a page was beyond signed 64 bits, and the stored sum was not"
LARGE_CONTROLS = "a control total was beyond signed 64 bits"

_NONE = timedelta(0)

VALUES = (
    0,
    1,
    -1,
    2**31 - 1,
    2**31,
    2**31 + 1,
    -(2**31),
    -(2**31) - 1,
    2**32,
    2**53 - 1,
    2**53,
    2**53 + 1,
    -(2**53) - 1,
    2**62 + 1,
    MAX_INTEGER - 1,
    MAX_INTEGER,
    MIN_INTEGER + 1,
    MIN_INTEGER,
)

CARRIED = Projection(
    "numbers",
    {"carry": Effect(counters={"total": Carried("n")}), "other": Effect(counters={"others": 1})},
)
"""A counter that takes what events carry, and another one."""

ROLLED = Projection(
    "numbers",
    {"carry": Effect(counters={"events": 1}, rollups={"total": Carried("n")})},
    (Granularity.HOUR, Granularity.DAY),
)
"""A rollup column that takes what events carry; the counter stays small."""


def fixed(amount: int) -> Projection:
    """Return a table in which one kind adds *amount*, and another what the event carries."""
    return Projection(
        "numbers",
        {
            "step": Effect(counters={"total": amount}),
            "carry": Effect(counters={"total": Carried("n")}),
        },
    )


def _carry(case: AnyCase, *amounts: int, skill_id: str = "a") -> Sequence[Event]:
    return [case.event(skill_id, "carry", deltas={"n": amount}) for amount in amounts]


@check("NUM-01", "exact", "sums are exact to the last digit", witness=EDGE)
def num_01(case: AnyCase) -> None:
    """A number at an edge comes from an event or from the table; then it moves by one."""
    value = case.pick(*VALUES)
    table = fixed(value)
    worker = case.client("fold", table)
    if case.maybe():
        worker.append(case.event("a", "step"))
    else:
        worker.append(*_carry(case, value))
    worker.drain()
    step = case.pick(*case.scope([1], [0, 1, -1]))
    if MIN_INTEGER <= value + step <= MAX_INTEGER:
        worker.append(*_carry(case, step))
        worker.drain()
    case.settle(table)
    case.saw(EDGE)


@check(
    "NUM-02",
    "exact",
    "a sum that would leave 64 bits is refused by name, and nothing changes",
    witness=OUT_OF_RANGE,
)
def num_02(case: AnyCase) -> None:
    """A sum would go beyond either end, at once or in steps, beside a skill that is well."""
    worker = case.client("fold", CARRIED)
    stored, amounts = case.pick(
        ((MAX_INTEGER,), (1,)),
        ((MIN_INTEGER,), (-1,)),
        ((MAX_INTEGER,), (MAX_INTEGER, MAX_INTEGER)),
        ((MIN_INTEGER,), (MIN_INTEGER, MIN_INTEGER)),
        ((), (MAX_INTEGER, 1)),
        ((), (MIN_INTEGER, -1)),
        ((), (2**62, 2**62)),
        ((), (MAX_INTEGER, MAX_INTEGER, 2)),
    )
    worker.append(*_carry(case, *stored), case.event("b", "other"))
    worker.drain()
    other, events = case.event("b", "other"), _carry(case, *amounts)
    worker.append(*case.pick((other, *events), (*events, other)))
    _check_refused(case, worker, "total")
    case.observe(CARRIED)


def _check_refused(case: AnyCase, worker: Handle, *counters: str) -> None:
    """Check that a commit is refused since a sum of skill ``a``, one of these, leaves the range."""
    numbers, commit = worker.stats.totals(), prepared(worker)
    before = case.raw()
    counter = counters[0]
    error = case.raises(
        OutOfRangeError,
        lambda: worker.stats.commit(commit),
        f"a commit that takes {counter} out of 64 bits",
    )
    case.saw(OUT_OF_RANGE)
    if case.raw() != before:
        raise Violation("nothing to be written before OutOfRangeError", "something was")
    if error.counter in counters:
        counter = error.counter
    named = (error.projection, error.skill_id, error.counter)
    case.expect("what OutOfRangeError names", ("numbers", "a", counter), named)
    case.expect("the cursor after OutOfRangeError", numbers.cursor, worker.stats.cursor())
    totals = {skill: dict(row) for skill, row in worker.stats.totals().items()}
    case.expect("the totals after OutOfRangeError", dict(numbers), totals)


_WITH_STEPS = (((), 3, (-MAX_INTEGER, -MAX_INTEGER)), ((MIN_INTEGER,), 2, (1,)))


@check(
    "NUM-03",
    "exact",
    "sums on the way may be larger than what is stored",
    witness=BEYOND,
)
def num_03(case: AnyCase) -> None:
    """The sum of a page, or of a part of it, is beyond 64 bits; with what is stored it is not."""
    table = case.pick(fixed(MAX_INTEGER), ROLLED)
    worker = case.client("fold", table)
    stored, steps, amounts = case.pick(
        ((), 0, (MAX_INTEGER, MAX_INTEGER, MIN_INTEGER)),
        ((), 0, (MIN_INTEGER, MIN_INTEGER, MAX_INTEGER, 1)),
        ((MAX_INTEGER,), 0, (1, -1)),
        ((MIN_INTEGER,), 0, (-1, 1)),
        ((MIN_INTEGER,), 0, (MAX_INTEGER, MAX_INTEGER, 1)),
        ((MAX_INTEGER,), 0, (MIN_INTEGER, MIN_INTEGER, 1)),
        *([] if table is ROLLED else _WITH_STEPS),
    )
    worker.append(*_carry(case, *stored))
    worker.drain()
    events = [*(case.event("a", "step") for _ in range(steps)), *_carry(case, *amounts)]
    worker.append(*case.pick(events, events[::-1]))
    worker.drain()
    case.settle(table)
    case.saw(BEYOND)


@check(
    "NUM-04",
    "exact",
    "control totals are exact beyond 64 bits",
    witness=LARGE_CONTROLS,
)
def num_04(case: AnyCase) -> None:
    """Several skills have the largest sum there is; then folding goes on, up or down."""
    worker = case.client("fold", CARRIED)
    end = case.pick(MAX_INTEGER, MIN_INTEGER)
    page = case.pick(10, 1)
    for skill_id in "abc":
        worker.append(*_carry(case, end, skill_id=skill_id))
    worker.drain(page=page)
    cursor = case.client("outside", CARRIED).stats.cursor()
    case.expect("the control total", 3 * end, cursor.controls["total"])
    case.saw(LARGE_CONTROLS)
    worker.append(*_carry(case, case.pick(1, -1, -end // 2), skill_id="d"))
    worker.drain(page=page)
    case.settle(CARRIED)


@check(
    "NUM-05",
    "exact",
    "rollups are exact to the last digit, and refused where they would leave 64 bits",
    witness=(EDGE, OUT_OF_RANGE),
)
def num_05(case: AnyCase) -> None:
    """A column is taken to an edge, then moved by one, in one bucket or in two."""
    worker = case.client("fold", ROLLED)
    value, step = case.pick(*((value, step) for value in VALUES for step in (1, -1)))
    way = "one hour"
    if case.scope(value in (MIN_INTEGER, MAX_INTEGER), True):
        way = case.pick(way, "two hours", "two days", "one hour of a day that is lower")
    at = NOON + {"two hours": timedelta(hours=1), "two days": -timedelta(days=1)}.get(way, _NONE)
    day, hour = (0 if way == "two days" else value), (0 if way.startswith("two") else value)
    worker.append(*_carry(case, value))
    if "lower" in way:
        lower = -10 if value > 0 else 10
        day += lower
        worker.append(case.event("a", "carry", at=NOON + timedelta(hours=1), deltas={"n": lower}))
    worker.drain()
    worker.append(case.event("a", "carry", at=at, deltas={"n": step}))
    beyond = [
        f"{name}.total"
        for name, before in (("day", day), ("hour", hour))
        if not MIN_INTEGER <= before + step <= MAX_INTEGER
    ]
    if beyond:
        _check_refused(case, worker, *beyond)
        case.observe(ROLLED)
    else:
        worker.drain()
        case.settle(ROLLED)
        case.saw(EDGE)


@check("NUM-06", "exact", "the cursor record of a long life comes back", witness=EDGE)
def num_06(case: AnyCase) -> None:
    """Count and checksum lie where some kind of number ends; the commit is made by hand."""
    worker = case.client("fold")
    worker.append(*case.downloads("a"))
    count = case.pick(2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**62)
    checksum = case.pick(2**31, 2**32 + 1, 2**53 + 1, 2**62 + 1, 2**63 - 1)
    commit = attrs.evolve(prepared(worker), count=count, checksum=checksum)
    result = worker.stats.commit(commit)
    case.saw(EDGE)
    for cursor in (result.cursor, worker.stats.cursor(), case.client("other").stats.cursor()):
        case.expect("the cursor's count", count, cursor.count)
        case.expect("the cursor's checksum", checksum, cursor.checksum)


@check(
    "NUM-07",
    "exact",
    "a commit that was refused leaves nothing to the next one",
    witness=OUT_OF_RANGE,
)
def num_07(case: AnyCase) -> None:
    """A page is refused since a sum would leave the range; smaller pages of the worker are not."""
    worker = case.client("fold", CARRIED)
    worker.append(*_carry(case, MAX_INTEGER))
    worker.drain()
    worker.append(case.event("b", "other"), *_carry(case, 1))
    case.raises(OutOfRangeError, worker.drain, "a fold that leaves 64 bits")
    case.saw(OUT_OF_RANGE)
    with suppress(OutOfRangeError):
        worker.drain(page=1)
    case.observe(CARRIED)
    worker.append(*_carry(case, -1))
    worker.drain()
    case.settle(CARRIED)


@check(
    "NUM-08",
    "exact",
    "one event that leaves the range stops a fold there, and a correction cures it",
    witness=OUT_OF_RANGE,
)
def num_08(case: AnyCase) -> None:
    """It stands first, in the middle or last; everything before it is committed."""
    worker, end = case.client("fold", CARRIED), case.pick(MAX_INTEGER, MIN_INTEGER)
    step = 1 if end > 0 else -1
    worker.append(*_carry(case, end))
    worker.drain()
    before = case.pick(0, 1, 5)
    worker.append(*(case.event("b", "other") for _ in range(before)))
    worker.append(*_carry(case, step))
    worker.append(*(case.event("c", "other") for _ in range(case.pick(0, 3))))
    position = str(case.log_of(worker)[1 + before].position)
    for page in (10, 2):
        error = case.raises(
            OutOfRangeError, partial(worker.drain, page=page), "a fold that leaves 64 bits"
        )
        case.saw(OUT_OF_RANGE)
        case.expect("the position that the error names", position, error.position)
        case.expect("the number of events before it", 1 + before, worker.stats.cursor().count)
    case.observe(CARRIED)
    worker.append(*_carry(case, -step))
    case.settle(CARRIED)


CHECKS = (num_01, num_02, num_03, num_04, num_05, num_06, num_07, num_08)

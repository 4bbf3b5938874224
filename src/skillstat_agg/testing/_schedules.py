"""The second layer: schedules that Hypothesis draws, where there are too many for a sweep.

It needs Hypothesis; who does not know whether it is there asks `_random`.

What Hypothesis draws are the answers of a case's trail. So it shrinks a schedule that fails,
and what is left is replayed like a case of the sweep, without Hypothesis.
"""

from __future__ import annotations

import functools
import itertools
import threading
import time
from collections.abc import Callable

import hypothesis
from hypothesis import HealthCheck, Phase, Verbosity, settings
from hypothesis import strategies as st

from skillstat_agg.testing._cases import Level
from skillstat_agg.testing._checks import Check
from skillstat_agg.testing._harness import AnyHarness
from skillstat_agg.testing._opening import HarnessError
from skillstat_agg.testing._results import Failure, Result, Status
from skillstat_agg.testing._running import Watch, failure_of, verdict
from skillstat_agg.testing._steps import Hangs, Record
from skillstat_agg.testing._trails import Trail
from skillstat_agg.testing._wiring import declared
from skillstat_agg.testing.checks.mixed import random_01

EXAMPLES = 300
"""How many schedules are played, unless somebody says otherwise."""

SHRINKS = 300
"""How many schedules are played at most to make one that fails smaller."""

INSIDE = 100
"""How many choices inside calls a schedule makes, where those have threads of their own."""

_MANY_WAYS = st.integers(0, 2**16 - 1)

CALMEST = 4
"""The calmest schedules take the first way in about three choices of four."""


def run_random(
    harness: AnyHarness, *, examples: int = EXAMPLES, seed: int = 0, check: Check = random_01
) -> Result:
    """Play schedules that are drawn, and return what came of them.

    The schedule of a failure is the smallest that was found to fail.

    Args:
        harness: How to reach the store.
        examples: How many schedules.
        seed: The same seed draws the same schedules.
        check: What is played.
    """
    missing = check.needs - declared(harness)
    if missing:
        return Result(check=check, status=Status.NOT_DECLARED, reason=", ".join(sorted(missing)))
    watch: Watch[None] = Watch(harness.hangs_after.total_seconds())
    facts: set[str] = set()
    failed: list[tuple[Trail, Record, BaseException]] = []
    cases, until = 0, 0

    @hypothesis.seed(seed)
    @settings(
        max_examples=examples,
        derandomize=False,  # the seed says which schedules
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        verbosity=Verbosity.quiet,
        report_multiple_bugs=False,
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.large_base_example,
        ],
    )
    @hypothesis.given(st.data())
    def play(data: st.DataObject) -> None:
        nonlocal cases, until
        if failed and cases == until:
            raise _Enough
        trail = Trail(further=_drawing(data, INSIDE if harness.io else 0))
        played = watch.play(check, harness, Level.QUICK, trail)
        cases += 1
        facts.update(played.record.facts)
        if played.error is not None:
            until = until or cases + SHRINKS
            failed.append((_without_zeros(trail), played.record, played.error))
            raise played.error

    def draw() -> None:
        try:
            play()
        except _Enough:
            pass
        except Exception:
            # What failed is in the list, also where it failed once only.
            if not failed:
                raise

    begun = time.perf_counter()
    try:
        watch.run(draw)
    except Hangs as error:
        case = watch.case
        record, trail = (Record(), Trail()) if case is None else (case.record, case.trail)
        failed = [(trail, record, error)]
    failure: Failure | None = None
    if failed:
        trail, record, cause = min(failed, key=lambda one: (len(one[0].taken), one[0].taken))
        failure = failure_of(check, Level.QUICK, trail, record, cause)
    if failed and isinstance(failed[-1][2], HarnessError):
        status, reason = Status.MISWIRED, str(failed[-1][2])
    else:
        status, reason = verdict(check, harness, failure, facts)
    return Result(
        check=check,
        status=status,
        cases=cases,
        seconds=time.perf_counter() - begun,
        reason=reason,
        failure=failure,
    )


class _Enough(BaseException):
    """A failure was made small for long enough."""


def _drawing(data: st.DataObject, inside: int) -> Callable[[int], int]:
    """Return what draws the answers of a trail.

    Some schedules go from one actor to the next with every call, others seldom leave one:
    either kind finds what the other does not.

    Args:
        data: What Hypothesis draws with, in this thread only.
        inside: How many answers to draw ahead, for calls that are made in other threads.
    """
    calm = data.draw(st.integers(1, CALMEST))
    numbers, thread = itertools.count(), threading.get_ident()
    ahead = iter(data.draw(st.tuples(*[_MANY_WAYS] * inside)))

    def draw(count: int) -> int:
        if threading.get_ident() == thread:
            _, choice = data.draw(_choices(next(numbers), calm * count))
        else:
            choice = next(ahead, 0) % (calm * count)
        return choice if choice < count else 0

    return draw


@functools.cache
def _choices(number: int, count: int) -> st.SearchStrategy[tuple[int, int]]:
    """Return what draws a choice, unlike what draws any other of the trail.

    Hypothesis makes most schedules from one that it has, by repeating a choice where another
    one like it was made. Where no two are alike every schedule is a new one, and about twice as
    many of them meet a late commit.
    """
    return st.sampled_from([(number, choice) for choice in range(count)])


def _without_zeros(trail: Trail) -> Trail:
    """Return the trail without the first ways at its end: a replay takes them by itself."""
    taken = list(trail.taken)
    while taken and taken[-1] == 0:
        taken.pop()
    shorter = Trail()
    shorter.taken += taken
    return shorter

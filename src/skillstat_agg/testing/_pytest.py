"""The pytest front end: one line makes a test of each check."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import pytest

from skillstat_agg.testing._cases import Level
from skillstat_agg.testing._checks import Check
from skillstat_agg.testing._harness import AnyHarness
from skillstat_agg.testing._kit import Wired, wire
from skillstat_agg.testing._results import Result, Status
from skillstat_agg.testing._targets import target_in
from skillstat_agg.testing._texts import failure_text
from skillstat_agg.testing.checks import CHECKS


def conformance_tests(
    harness: AnyHarness,
    *,
    level: Level | Literal["quick", "full"] = Level.QUICK,
    checks: Iterable[Check] = CHECKS,
) -> Callable[[Check], None]:
    """Return a pytest test that is parametrised over all checks.

    Bind it to a name that pytest collects: ``test_my_store = conformance_tests(harness)`` makes
    ``test_my_store[LATE-02]`` and so on. A check that needs what the harness does not declare
    is skipped, one that fails as expected, or is advice only, is an expected failure. If the
    harness is miswired, every test fails and says how.

    Args:
        harness: How to reach the store. Bind it to a name at the top of the module as
            well: replay commands call it so.
        level: How far the sweep goes: a level, or its value.
        checks: Which checks.
    """
    how_far = Level(level)
    caller = sys._getframe(1)
    names = caller.f_globals
    wired: list[Wired] = []

    @pytest.mark.parametrize("check", [pytest.param(check, id=check.id) for check in checks])
    def conformance(check: Check) -> None:
        if not wired:
            wired.append(wire(harness))
        _judge(wired[0].run(check, how_far), names, harness)

    # The test stands where its author wrote it: reports and editors lead there.
    conformance.__module__ = names.get("__name__", conformance.__module__)
    conformance.__code__ = conformance.__code__.replace(
        co_filename=caller.f_code.co_filename, co_firstlineno=caller.f_lineno
    )
    return conformance


def _judge(result: Result, names: Mapping[str, object], harness: AnyHarness) -> None:
    """Say to pytest what came of a check."""
    __tracebackhide__ = True
    target = target_in(names, harness)
    if result.status is Status.NOT_DECLARED:
        pytest.skip(f"not declared: {result.reason}")
    elif result.status is Status.EXPECTED:
        pytest.xfail(result.reason)
    elif result.status is Status.ADVICE:
        pytest.xfail(f"advice only, until the next release: {failure_text(result, target)}")
    elif result.status is Status.MISWIRED:
        pytest.fail(f"the harness is miswired\n{failure_text(result, target)}", pytrace=False)
    elif result.status.is_red:
        pytest.fail(failure_text(result, target), pytrace=False)

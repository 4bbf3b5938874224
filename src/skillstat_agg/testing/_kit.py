"""All checks of one store: the harness first, then the laws."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import attrs

from skillstat_agg.testing._cases import Level
from skillstat_agg.testing._checks import Check
from skillstat_agg.testing._diagnosis import looks_like
from skillstat_agg.testing._harness import AnyHarness
from skillstat_agg.testing._reports import Report
from skillstat_agg.testing._results import Result, Status
from skillstat_agg.testing._running import run_check
from skillstat_agg.testing._targets import target_of_caller
from skillstat_agg.testing._wiring import WIRING, abilities, having, opens
from skillstat_agg.testing.checks import CHECKS


@attrs.frozen
class Wired:
    """A harness whose wiring was checked.

    Attributes:
        harness: The harness.
        has: What it declares, of what checks may need.
        miswired: What is wrong with it; None: nothing is.
    """

    harness: AnyHarness
    has: frozenset[str]
    miswired: Result | None = None

    def run(
        self, check: Check, level: Level, *, on_look: Callable[[int], object] | None = None
    ) -> Result:
        """Return what comes of a check; of a miswired harness, what is wrong with that."""
        if self.miswired is not None:
            return self.miswired
        return run_check(check, self.harness, level, self.has, on_look=on_look)


def wire(harness: AnyHarness) -> Wired:
    """Check the wiring of a harness; the first thing that is wrong is the last asked."""
    able: dict[str, bool] = {}
    looks = attrs.evolve(opens, play=lambda case: able.update(abilities(case)))
    for check in WIRING:
        has = having(harness, able)
        result = run_check(looks if check is opens else check, harness, Level.QUICK, has)
        if result.status not in (Status.PASSED, Status.NOT_DECLARED):
            return Wired(harness, has, attrs.evolve(result, status=Status.MISWIRED))
    return Wired(harness, having(harness, able))


def check_store(
    harness: AnyHarness,
    *,
    level: Level | Literal["quick", "full"] = Level.QUICK,
    checks: Iterable[Check] = CHECKS,
    target: str | None = None,
) -> Report:
    """Check a store, and return what came of it: no law is checked of a miswired harness.

    Args:
        harness: How to reach the store.
        level: How far the sweep goes: a level, or its value.
        checks: Which checks.
        target: What replay commands call the harness, such as ``tests/test_store.py:harness``;
            None: its name in the module that calls this.
    """
    level = Level(level)
    if target is None:
        target = target_of_caller(harness)
    wired = wire(harness)
    results = () if wired.miswired else tuple(wired.run(check, level) for check in checks)
    return report_of(wired, results, target=target, level=level)


def report_of(
    wired: Wired, results: Sequence[Result], *, target: str | None, level: Level
) -> Report:
    """Return the report of these results."""
    return Report(
        target=target,
        level=level.value,
        results=tuple(results),
        miswired=wired.miswired,
        looks_like=looks_like(results) if any(each.status.is_red for each in results) else None,
    )

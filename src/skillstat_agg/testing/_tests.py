"""The door to pytest: without it, modules of tests can still be imported for their harness."""
# ruff: noqa: ARG001 - what stands in for the front end has its form

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

from skillstat_agg.testing._cases import Level
from skillstat_agg.testing._checks import Check
from skillstat_agg.testing._harness import AnyHarness
from skillstat_agg.testing.checks import CHECKS

try:
    from skillstat_agg.testing._pytest import conformance_tests
except ModuleNotFoundError as error:
    if error.name != "pytest":
        raise
    _missing = error

    def conformance_tests(
        harness: AnyHarness,
        *,
        level: Level | Literal["quick", "full"] = Level.QUICK,
        checks: Iterable[Check] = CHECKS,
    ) -> Callable[[Check], None]:
        """Return a test that says what is missing."""

        def conformance(check: Check) -> None:
            raise ModuleNotFoundError("conformance_tests needs pytest", name="pytest") from _missing

        return conformance


__all__ = ["conformance_tests"]

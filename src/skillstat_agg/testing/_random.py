"""The door to the second layer: without Hypothesis it says which extra is missing."""
# ruff: noqa: ARG001 - what says so has the form of what is missing

from __future__ import annotations

from skillstat_agg.testing._checks import Check
from skillstat_agg.testing._harness import AnyHarness
from skillstat_agg.testing._results import Result
from skillstat_agg.testing.checks.mixed import random_01

try:
    from skillstat_agg.testing._schedules import run_random
except ModuleNotFoundError as error:
    if error.name != "hypothesis":
        raise
    _missing = error

    def run_random(
        harness: AnyHarness,
        *,
        examples: int = 300,
        seed: int = 0,
        check: Check = random_01,
    ) -> Result:
        """Say what is missing.

        Raises:
            ModuleNotFoundError: Always.
        """
        raise ModuleNotFoundError(
            "random schedules need Hypothesis: install skillstat-agg[testing]", name="hypothesis"
        ) from _missing


__all__ = ["run_random"]

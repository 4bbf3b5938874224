"""The checks, one module per family, in the order in which they are tried.

A family is a module with a tuple ``CHECKS``. Families of operations that the contract does not
have yet (prune, rebuild, quarantine, retention) get modules of their own beside these.
"""

from __future__ import annotations

from skillstat_agg.testing._checks import Check
from skillstat_agg.testing.checks import (
    append,
    arguments,
    crash,
    cuts,
    deployment,
    fencing,
    forgetting,
    history,
    identity,
    idle,
    kinds,
    late,
    numbers,
    opened,
    projections,
    pushdown,
    snapshots,
    tail,
    ties,
    times,
    unknown,
    writers,
)

FAMILIES = (
    append,
    identity,
    ties,
    cuts,
    numbers,
    times,
    kinds,
    arguments,
    late,
    fencing,
    crash,
    unknown,
    projections,
    tail,
    idle,
    history,
    opened,
    forgetting,
    deployment,
    snapshots,
    pushdown,
    writers,
)

CHECKS: tuple[Check, ...] = tuple(check for family in FAMILIES for check in family.CHECKS)
"""Every check of a store."""

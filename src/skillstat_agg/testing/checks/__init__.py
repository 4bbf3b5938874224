"""The checks, in the order in which they are tried.

A module has a tuple ``CHECKS``, of one family or, where that is large, of a part of it. Families
"""

from __future__ import annotations

from skillstat_agg.testing._checks import Check
from skillstat_agg.testing.checks import (
    append,
    arguments,
    boards,
    crash,
    cuts,
    deployment,
    fencing,
    forgetting,
    forgetting_beside,
    history,
    identity,
    idle,
    kinds,
    late,
    numbers,
    opened,
    parking,
    projections,
    pruning,
    pruning_beside,
    pushdown,
    rebuilding,
    rebuilding_inside,
    rebuilding_rest,
    retention,
    retries,
    sizes,
    snapshots,
    tail,
    ties,
    times,
    unknown,
    verifying,
    writers,
)

FAMILIES = (
    retries,
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
    forgetting_beside,
    deployment,
    parking,
    retention,
    rebuilding,
    rebuilding_inside,
    rebuilding_rest,
    verifying,
    snapshots,
    pushdown,
    pruning,
    pruning_beside,
    sizes,
    writers,
    boards,
)

CHECKS: tuple[Check, ...] = tuple(check for family in FAMILIES for check in family.CHECKS)
"""Every check of a store."""

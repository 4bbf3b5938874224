"""Which broken store of the gallery fails like the one that was checked.

What each broken store fails stands in a file, which ``nox -s gallery`` writes anew.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from importlib import resources

import attrs

from skillstat_agg.testing._results import LooksLike, Result, Status
from skillstat_agg.testing.checks import CHECKS
from skillstat_agg.testing.gallery import BROKEN_STORES

MATRIX = resources.files("skillstat_agg.testing.gallery") / "matrix.json"

ALIKE = 1 / 2
"""What share of the checks that one of two stores fails both must fail, to be called alike."""


@attrs.frozen
class Row:
    """What came of the checks of one broken store.

    Attributes:
        fails: The ids of those that fail.
        without: What its harness does not declare: checks that need it were not tried.
    """

    fails: tuple[str, ...]
    without: tuple[str, ...]


@functools.cache
def matrix() -> Mapping[str, Row]:
    """Return what is written down of each broken store, by its name."""
    rows = json.loads(MATRIX.read_text(encoding="utf-8"))
    return {name: Row(tuple(row["fails"]), tuple(row["without"])) for name, row in rows.items()}


def looks_like(results: Iterable[Result]) -> LooksLike | None:
    """Return the broken store that fails most alike; None: none does, or nothing failed.

    Only checks that were tried on both stores are compared. Of several that fail alike it is
    one whose own check is among those that fail.

    Args:
        results: What came of the checks of a store.
    """
    known = {check.id: check.needs for check in CHECKS}
    tried = {
        result.check.id: result.failure is not None
        for result in results
        if result.check.id in known and result.status is not Status.NOT_DECLARED
    }
    best: LooksLike | None = None
    most = (ALIKE, 0, False)
    for store in BROKEN_STORES:
        row = matrix().get(store.name)
        if row is None:
            continue
        both = {check_id for check_id in tried if known[check_id].isdisjoint(row.without)}
        ours = {check_id for check_id in both if tried[check_id]}
        theirs = both.intersection(row.fails)
        common, either = len(ours & theirs), len(ours | theirs)
        alike = (common / max(either, 1), common, store.killer in ours)
        if common and alike > most:
            best = LooksLike(
                name=store.name,
                remedy=store.remedy,
                in_common=f"{common} of {either} checks that fail",
            )
            most = alike
    return best

"""Whether the checks bite: the author's own stores, broken by one saboteur after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import attrs

from skillstat_agg.testing._cases import Level
from skillstat_agg.testing._checks import Check
from skillstat_agg.testing._harness import AnyHarness
from skillstat_agg.testing._results import Result
from skillstat_agg.testing._running import run_check
from skillstat_agg.testing._sabotage import Saboteur, sabotaged
from skillstat_agg.testing._saboteurs import SABOTEURS
from skillstat_agg.testing._wiring import declared
from skillstat_agg.testing.checks import CHECKS


@attrs.frozen(kw_only=True)
class Bite:
    """What became of one saboteur.

    Attributes:
        saboteur: The saboteur.
        caught: The first check that failed for it; None: none did.
        tried: How many checks were tried.
        not_declared: What it needs and the harness does not declare; then none was tried.
    """

    saboteur: Saboteur
    caught: Result | None
    tried: int = 0
    not_declared: str = ""

    @property
    def is_red(self) -> bool:
        """Whether no check has noticed it."""
        return self.caught is None and not self.not_declared

    def __str__(self) -> str:
        if self.not_declared:
            return f"{self.saboteur.name}: not declared: {self.not_declared}"
        if self.caught is None:
            return f"{self.saboteur.name}: NOT CAUGHT by {self.tried} checks"
        return f"{self.saboteur.name}: caught by {self.caught.check.id}"


@attrs.frozen(kw_only=True)
class Teeth:
    """What became of all saboteurs."""

    bites: tuple[Bite, ...]

    @property
    def ok(self) -> bool:
        """Whether every saboteur was caught."""
        return not any(bite.is_red for bite in self.bites)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield from map(str, self.bites)
        caught = sum(bite.caught is not None for bite in self.bites)
        yield f"{caught} of {len(self.bites)} saboteurs caught"
        if not self.ok:
            yield (
                "The checks do not see what was broken, so they prove nothing: is the harness"
                " wired to the stores that it means?"
            )


def prove_teeth(
    harness: AnyHarness,
    *,
    saboteurs: Iterable[Saboteur] = SABOTEURS,
    checks: Iterable[Check] = CHECKS,
    level: Level = Level.QUICK,
    on_bite: Callable[[Bite], object] | None = None,
) -> Teeth:
    """Break the stores of a harness in one way after the other, and see what the checks say.

    The stores themselves must pass; checks that are expected to fail are left out.

    Args:
        harness: How to reach the stores.
        saboteurs: Who breaks them.
        checks: Which checks may notice.
        level: How far the sweep goes.
        on_bite: Called after each saboteur.
    """
    usable = [check for check in checks if check.id not in harness.expected_failures]
    bites: list[Bite] = []
    for saboteur in saboteurs:
        bites.append(_bite(saboteur, harness, usable, level))
        if on_bite is not None:
            on_bite(bites[-1])
    return Teeth(bites=tuple(bites))


def _bite(saboteur: Saboteur, harness: AnyHarness, checks: Sequence[Check], level: Level) -> Bite:
    """Try the checks, the likeliest first, until one fails."""
    missing = saboteur.needs - declared(harness)
    if missing:
        return Bite(saboteur=saboteur, caught=None, not_declared=", ".join(sorted(missing)))
    broken = sabotaged(harness, saboteur)
    has = declared(broken)
    tried = 0
    for check in sorted(checks, key=lambda check: _rank(check, saboteur)):
        result = run_check(check, broken, level, has)
        tried += 1
        if result.failure is not None:
            return Bite(saboteur=saboteur, caught=result, tried=tried)
    return Bite(saboteur=saboteur, caught=None, tried=tried)


def _rank(check: Check, saboteur: Saboteur) -> tuple[int, bool]:
    """Return how early to try a check: what is meant for it, then those of its law."""
    killers = saboteur.killers
    place = killers.index(check.id) if check.id in killers else len(killers)
    return place, check.law != saboteur.law

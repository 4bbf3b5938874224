"""What came of all checks of a store."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator

import attrs

from skillstat_agg.testing._checks import CONTRACT
from skillstat_agg.testing._results import LooksLike, Result, Status
from skillstat_agg.testing._texts import failure_text, likeness, table, wrapped


@attrs.frozen(kw_only=True)
class Report:
    """What came of all checks of a store; ``str`` of it is the report to read.

    Attributes:
        target: What the harness is called in commands; None: it has no name.
        level: How far the sweep went: ``"quick"`` or ``"full"``.
        results: What came of each check, in their order.
        miswired: What is wrong with the harness, if anything is; then no law was checked.
        looks_like: Which broken store of the gallery fails most alike, if a check failed.
    """

    target: str | None
    level: str
    results: tuple[Result, ...]
    miswired: Result | None = None
    looks_like: LooksLike | None = None

    @property
    def ok(self) -> bool:
        """Whether the store passed: the harness is right and no result is red."""
        return self.miswired is None and not any(result.status.is_red for result in self.results)

    @property
    def cases(self) -> int:
        """How many cases were played."""
        return sum(result.cases for result in self.results)

    @property
    def seconds(self) -> float:
        """How long they took."""
        return sum(result.seconds for result in self.results)

    @property
    def cases_per_second(self) -> float:
        """How many cases were played in a second."""
        return self.cases / self.seconds if self.seconds else 0.0

    def counts(self) -> dict[Status, int]:
        """Return the number of checks by status; every status is there."""
        found = Counter(result.status for result in self.results)
        return {status: found[status] for status in Status}

    def __str__(self) -> str:
        rows = [*table(self.results), ""] if self.results else []
        return "\n".join([*rows, self.summary()])

    def summary(self) -> str:
        """Return the report without the table: what is red, and the counts."""
        return "\n".join(self._summary())

    def _summary(self) -> Iterator[str]:
        if self.miswired is not None:
            yield failure_text(self.miswired, self.target)
            yield ""
            yield "MISWIRED: no law was checked, since a verdict on the store would be wrong"
            return
        for result in self.results:
            if result.status.is_red:
                yield failure_text(result, self.target)
                yield ""
        if self.looks_like is not None:
            yield likeness(self.looks_like)
            yield ""
        counts = self.counts()
        red = sum(number for status, number in counts.items() if status.is_red)
        yield (
            f"contract {CONTRACT}, level {self.level}: {len(self.results)} checks,"
            f" {self.cases:,} cases in {self.seconds:.1f} s"
            f" ({self.cases_per_second:,.0f} a second)"
        )
        yield ", ".join(
            f"{counts[status]} {name}"
            for status, name in _NAMES.items()
            if counts[status] or status in _ALWAYS
        )
        yield from self._untried()
        if not self.ok:
            yield f"FAILED: {red} of {len(self.results)} checks are red"
        elif untried := counts[Status.NOT_DECLARED]:
            yield f"PASSED; not tried: {untried} of {len(self.results)} checks"
        else:
            yield "PASSED"

    def _untried(self) -> Iterator[str]:
        """Yield what was not tried, and which laws have no check that was."""
        missing: defaultdict[str, list[str]] = defaultdict(list)
        for result in self.results:
            if result.status is Status.NOT_DECLARED:
                missing[result.reason].append(result.check.id)
        for what, ids in missing.items():
            yield from wrapped(f"without {what}: ", ", ".join(ids))
        tried = {each.check.law for each in self.results if each.cases}
        laws = dict.fromkeys(each.check.law for each in self.results if each.check.law not in tried)
        if laws:
            yield from wrapped("laws without a check that was tried: ", ", ".join(laws))

    def as_json(self) -> str:
        """Return the report as JSON: one object, with the counts and every result."""
        return json.dumps(self.as_object(), indent=2)

    def as_object(self) -> dict[str, object]:
        """Return what `as_json` writes."""
        return {
            "target": self.target,
            "contract": CONTRACT,
            "level": self.level,
            "ok": self.ok,
            "checks": len(self.results),
            "cases": self.cases,
            "seconds": round(self.seconds, 3),
            "cases_per_second": round(self.cases_per_second, 1),
            "counts": {status.name.lower(): n for status, n in self.counts().items()},
            "miswired": None if self.miswired is None else _as_object(self.miswired),
            "results": [_as_object(result) for result in self.results],
            "looks_like": None if self.looks_like is None else attrs.asdict(self.looks_like),
        }


_NAMES = {
    Status.PASSED: "passed",
    Status.FAILED: "failed",
    Status.VACUOUS: "vacuous",
    Status.EXPECTED: "expected failures",
    Status.UNEXPECTED: "passed though expected to fail",
    Status.ADVICE: "failed as advice",
    Status.NOT_DECLARED: "not declared",
    Status.MISWIRED: "miswired",
}
_ALWAYS = (Status.PASSED, Status.FAILED, Status.VACUOUS, Status.EXPECTED, Status.NOT_DECLARED)


def _as_object(result: Result) -> dict[str, object]:
    return {
        "id": result.check.id,
        "law": result.check.law,
        "title": result.check.title,
        "since": result.check.since,
        "status": result.status.name.lower(),
        "cases": result.cases,
        "seconds": round(result.seconds, 3),
        "reason": result.reason,
        "failure": None if result.failure is None else attrs.asdict(result.failure),
    }

"""The mechanism: how a log orders appends that are open at the same time, as declared."""

from __future__ import annotations

from skillstat_agg.testing._checks import AnyCase, check
from skillstat_agg.testing._clients import give_way
from skillstat_agg.testing._handles import Actor
from skillstat_agg.testing._harness import Writers
from skillstat_agg.testing._steps import REFUSED, Violation, label

OVERLAP = "an append ended, or was refused, while another was open"


@check(
    "MECH-01",
    "stable_prefix",
    "open appends are ordered as the harness declares",
    witness=OVERLAP,
    needs=["begin"],
)
def mech_01(case: AnyCase) -> None:
    """A second append comes while one is open, and a reader looks."""
    first, second = case.downloads("a"), case.downloads("b")
    reader = case.client("reader")
    found: list[Writers] = []

    async def look() -> None:
        await give_way()
        done = [f"{step.who}.{step.what}" for step in case.record.steps if not step.has_failed]
        writes = [what for what in done if what in ("w1.append", "w2.append", "w1.commit")]
        if writes == ["w1.append", "w2.append"]:
            read = [label(recorded.event) for recorded in case.log_of(reader)]
            is_seen = label(*second) in read
            found.append(Writers.COMMIT_ORDER if is_seen else Writers.HORIZON)

    case.play(
        case.client("w1").holding(first),
        case.client("w2").appending(second),
        Actor(reader, look()),
        switches=case.scope(1, 2),
        patient=case.harness.writers is not Writers.SERIALISED,
    )
    if REFUSED in case.record.facts:
        found.append(Writers.SERIALISED)
    for writers in found:
        case.saw(OVERLAP)
        if writers is not case.harness.writers:
            raise Violation(
                f"writers={case.harness.writers}: {case.harness.writers.value}",
                f"{writers}: {writers.value}",
            )
    case.settle()


CHECKS = (mech_01,)

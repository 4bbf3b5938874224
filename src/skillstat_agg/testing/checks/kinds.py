"""Kinds: an event that the table cannot count stops the fold before it, and is never passed."""

from __future__ import annotations

from collections.abc import Mapping

from skillstat_agg._effects import Effect
from skillstat_agg._events import Event
from skillstat_agg._projections import SKILL_STATS, Projection
from skillstat_agg.errors import UncountableEventError
from skillstat_agg.testing._checks import AnyCase, check
from skillstat_agg.testing._handles import Handle
from skillstat_agg.testing._steps import labels

STOPPED = "a fold was stopped by an event that its table cannot count"
REFUSED_AT_APPEND = "an event that the table cannot count was refused when it was appended"

TAUGHT = Projection(
    "skill_stats",
    {
        **SKILL_STATS.kinds,
        "wave": Effect(counters={"waves": 1}, rollups={"waves": 1}),
    },
)
"""The default table, with one kind more."""


@check(
    "KIND-01",
    "progress",
    "what lies before an event of unknown kind is committed, and the error names it",
    witness=(STOPPED, REFUSED_AT_APPEND),
)
def kind_01(case: AnyCase) -> None:
    """An unknown kind stands first, in the middle or at the end of a page."""
    _stop(case, case.pick("wave", "Download", "download ", "download\1"), None)


@check(
    "KIND-02",
    "immutable",
    "an event with a delta too few or too many counts nowhere, and the error names it",
    witness=(STOPPED, REFUSED_AT_APPEND),
)
def kind_02(case: AnyCase) -> None:
    """Deltas are missing, surplus or named otherwise than the table says."""
    kind, deltas = case.pick(
        ("install_clear", None),
        ("install_clear", {"all_time": 1}),
        ("install_clear", {"current": 0}),
        ("install_clear", {"all_time": 1, "current": 1, "more": 0}),
        ("install_clear", {"all_time": 1, "Current": 1}),
        ("download", {"downloads": 1}),
    )
    _stop(case, kind, deltas)


def _stop(case: AnyCase, kind: str, deltas: Mapping[str, int] | None) -> None:
    """Let a fold meet an event that the table cannot count, again and again."""
    writer, worker = case.client("w"), case.client("fold")
    before = case.pick(0, 1, 3)
    writer.append(*case.downloads("abc"[:before]))
    if not _append(case, writer, case.event("a", kind, deltas=deltas)):
        return
    writer.append(*case.downloads("d" * case.pick(*case.scope([1], [1, 0]))))
    page = case.pick(*case.scope([2], [2, 1, 10]))
    position = str(case.log_of(writer)[before].position)
    for _ in range(2):
        error = case.raises(
            UncountableEventError, lambda: worker.drain(page=page), f"a fold that meets {kind!r}"
        )
        case.saw(STOPPED)
        case.expect("the kind that the error names", kind, error.kind)
        case.expect("the position that the error names", position, error.position)
        case.expect("the number of events before it", before, worker.stats.cursor().count)
    case.observe()


def _append(case: AnyCase, writer: Handle, event: Event) -> bool:
    """Return whether a store took the event; one that knows its table may refuse it."""
    before = labels(case.committed.events)
    try:
        writer.append(event)
    except UncountableEventError as error:
        case.saw(REFUSED_AT_APPEND)
        case.expect("the index that the error names", 0, error.index)
        found = labels(recorded.event for recorded in case.log_of(writer))
        case.expect("the log after an append that was refused", before, found)
        return False
    return True


@check(
    "KIND-03",
    "progress",
    "nothing is skipped: taught the kind, a fold counts every event",
    witness=(STOPPED, REFUSED_AT_APPEND),
)
def kind_03(case: AnyCase) -> None:
    """A program with an older table comes first, once or twice; then one that knows the kind."""
    writer, old = case.client("w"), case.client("old")
    waves = [case.event(skill_id, "wave") for skill_id in "ab"]
    writer.append(*case.downloads("a" * case.pick(1, 0)))
    is_taken = _append(case, writer, waves[0])
    writer.append(*case.downloads("a"))
    if is_taken:
        for _ in range(case.pick(1, 2)):
            case.raises(UncountableEventError, old.drain, "a fold that meets 'wave'")
            case.saw(STOPPED)
    new = case.client("new", TAUGHT)
    new.append(waves[1], *([] if is_taken else waves[:1]))
    new.drain(page=case.pick(1, 10))
    case.settle(TAUGHT)


CHECKS = (kind_01, kind_02, kind_03)

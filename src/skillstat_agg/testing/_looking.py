"""What several families of checks ask of a log, and of what has happened in a case."""

from __future__ import annotations

from itertools import dropwhile

from skillstat_agg._events import Place
from skillstat_agg.testing._checks import AnyCase
from skillstat_agg.testing._comparing import EVERYTHING
from skillstat_agg.testing._handles import Handle
from skillstat_agg.testing._steps import Step


def places_of(client: Handle) -> list[Place | None]:
    """Return every place of the log that can be read, the beginning included."""
    page = client.events.read(None, limit=EVERYTHING)
    return [None, *(Place(page.epoch, one.position, one.fingerprint) for one in page.events)]


def was_moved_in(case: AnyCase) -> bool:
    """Return whether something was committed in the middle of the call that has just ended."""
    return any(map(_is_landed, dropwhile(_is_outside, case.record.steps[:-1])))


def _is_outside(step: Step) -> bool:
    return not step.what.endswith("is in the middle")


def _is_landed(step: Step) -> bool:
    return step.what in ("append", "commit") and not isinstance(step.answer, BaseException)

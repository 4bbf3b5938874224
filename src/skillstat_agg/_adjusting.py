"""Kinds of events that carry a number of their own: opening balances and corrections.

Import the names from `skillstat_agg` instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from hashlib import blake2b

from skillstat_agg._effects import RETIRED, Carried, Effect
from skillstat_agg._events import Event
from skillstat_agg._projections import Projection
from skillstat_agg.errors import InvalidProjectionError

CORRECTIONS = "corrections"
"""The counter of a skill that says how often it was corrected."""

BY = "by"
"""The name of the delta that an opening balance or a correction carries."""


def correctable(projection: Projection) -> Projection:
    """Return the projection with kinds for opening balances and corrections.

    For each counter and each rollup column there is one kind of either, so that a table that
    grows keeps those it has. One more counter, ``corrections``, says how often a skill was
    corrected. The table extends the one that is given, so it is taken over in place; a
    projection that has these kinds already comes back as it is.

    >>> from skillstat_agg import SKILL_STATS
    >>> "correct:skill_stats.stars" in correctable(SKILL_STATS).kinds
    True

    Raises:
        InvalidProjectionError: If another kind feeds a counter named ``corrections``.
    """
    kinds = adjusting_kinds(projection)
    for kind, effect in projection.kinds.items():
        if CORRECTIONS in effect.counters and kind not in kinds:
            raise InvalidProjectionError(
                f"kind {kind!r} feeds a counter {CORRECTIONS!r}: that name is needed to count"
                " corrections, so give it another one"
            )
    return Projection(projection.name, {**projection.kinds, **kinds}, projection.granularities)


def adjusting_kinds(projection: Projection) -> Mapping[str, Effect]:
    """Return the kinds that `correctable` adds, each with its effect.

    They name the projection. Another projection over the same log declares them as
    counting nothing: ``dict.fromkeys(adjusting_kinds(it), RETIRED)``.
    """
    kinds: dict[str, Effect] = {adopted_kind(projection): RETIRED}
    for counter in projection.counters:
        if counter != CORRECTIONS:
            kinds[opening_kind(projection, counter)] = Effect(counters={counter: Carried(BY)})
            kinds[correction_kind(projection, counter)] = Effect(
                counters={counter: Carried(BY), CORRECTIONS: 1}
            )
    for column in projection.columns:
        kinds[opening_rollup_kind(projection, column)] = Effect(rollups={column: Carried(BY)})
        kinds[rollup_correction_kind(projection, column)] = Effect(
            counters={CORRECTIONS: 1}, rollups={column: Carried(BY)}
        )
    return kinds


def adopted_kind(projection: Projection) -> str:
    """Return the kind of the one event that says that counts were adopted."""
    return f"adopted:{projection.name}"


def opening_kind(projection: Projection, counter: str) -> str:
    """Return the kind of the opening balance of a counter."""
    return f"open:{projection.name}.{counter}"


def opening_rollup_kind(projection: Projection, column: str) -> str:
    """Return the kind of the opening balance of a rollup column in one bucket."""
    return f"open-rollup:{projection.name}.{column}"


def correction_kind(projection: Projection, counter: str) -> str:
    """Return the kind of a correction of a counter."""
    return f"correct:{projection.name}.{counter}"


def rollup_correction_kind(projection: Projection, column: str) -> str:
    """Return the kind of a correction of a rollup column in one bucket."""
    return f"correct-rollup:{projection.name}.{column}"


def correction(
    projection: Projection,
    skill_id: str,
    counter: str,
    by: int,
    /,
    *,
    at: datetime,
    note: str,
    event_id: str | None = None,
) -> Event:
    """Return the event that corrects a counter of a skill: append it like any other.

    Args:
        projection: The projection, with what `correctable` adds.
        skill_id: The skill.
        counter: The counter.
        by: What to add; below zero where too much was counted.
        at: When it was corrected.
        note: Why.
        event_id: As for any event: makes a retry harmless.

    Raises:
        InvalidProjectionError: If the projection has no such correction.
        InvalidEventError: If something cannot be part of an event.
    """
    return Event(
        skill_id=skill_id,
        kind=known_kind(projection, counter, correction_kind(projection, counter)),
        occurred_at=at,
        event_id=event_id,
        deltas={BY: by},
        note=note,
    )


def rollup_correction(
    projection: Projection,
    skill_id: str,
    column: str,
    by: int,
    /,
    *,
    at: datetime,
    note: str,
    event_id: str | None = None,
) -> Event:
    """Return the event that corrects a rollup column in the buckets that hold *at*.

    Args and errors are those of `correction`. No counter but ``corrections`` moves.
    """
    return Event(
        skill_id=skill_id,
        kind=known_kind(projection, column, rollup_correction_kind(projection, column)),
        occurred_at=at,
        event_id=event_id,
        deltas={BY: by},
        note=note,
    )


def known_kind(projection: Projection, name: str, kind: str) -> str:
    """Return *kind* when the projection has it.

    Raises:
        InvalidProjectionError: If it has not.
    """
    if kind not in projection.kinds:
        raise InvalidProjectionError(
            f"projection {projection.name!r} has no kind {kind!r}: declare it with correctable(),"
            f" and name one of its counters or columns, not {name!r}"
        )
    return kind


def check_correctable(projection: Projection, counter: str) -> None:
    """Check that a projection knows corrections of a counter.

    Raises:
        InvalidProjectionError: If it does not.
    """
    known_kind(projection, counter, correction_kind(projection, counter))


def derived_id(what: str, *parts: str) -> str:
    """Return the event id that stands for some texts: the same for the same ones.

    Args:
        what: What stands in front, readable.
        parts: The texts; of any length.
    """
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return f"{what}/{blake2b(text.encode(), digest_size=16).hexdigest()}"

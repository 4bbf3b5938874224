"""What the appenders of a soak append: a function of a seed and of numbers, and of nothing else.

So whoever knows how far an appender has come can say what must be in the log.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from datetime import timedelta
from enum import Enum

import attrs

from skillstat_agg._events import Event
from skillstat_agg._projections import SKILL_STATS
from skillstat_agg.testing._cases import NOON

SKILLS = tuple(f"skill {letter}" for letter in "abcdefgh")
KINDS = tuple(SKILL_STATS.kinds)


class Way(Enum):
    """How a batch gets into the log."""

    AT_ONCE = "by one append"
    HELD = "by an open append of several calls"
    SECOND_TRY = "by an append, after an open one was rolled back"


@attrs.frozen
class Batch:
    """Events that are in the log together, or not at all.

    Attributes:
        events: The events; each has an id.
        way: How they get there.
    """

    events: tuple[Event, ...]
    way: Way


def batch(seed: int, appender: int, number: int) -> Batch:
    """Return one batch of one appender."""
    draw = random.Random(f"{seed} {appender} {number}")
    return Batch(
        tuple(_event(draw, f"{appender}-{number}-{index}") for index in range(draw.randint(1, 6))),
        draw.choice([Way.AT_ONCE, Way.AT_ONCE, Way.HELD, Way.SECOND_TRY]),
    )


def events_of(seed: int, batches: Iterable[int]) -> Iterator[Event]:
    """Yield every event of the plan.

    Args:
        seed: The seed.
        batches: How many batches each appender has appended.
    """
    for appender, count in enumerate(batches):
        for number in range(count):
            yield from batch(seed, appender, number).events


def _event(draw: random.Random, event_id: str) -> Event:
    kind = draw.choice(KINDS)
    effect = SKILL_STATS.kinds[kind]
    return Event(
        skill_id=draw.choice(SKILLS),
        kind=kind,
        occurred_at=NOON + timedelta(hours=draw.randint(-50, 10)),
        event_id=event_id,
        deltas={name: draw.randint(-5, 5) for name in sorted(effect.carries)} or None,
        note=event_id,
    )

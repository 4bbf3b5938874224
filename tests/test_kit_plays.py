"""The scheduler tells what really went wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import attrs
import pytest

from skillstat_agg import Place
from skillstat_agg.backends.memory import MemoryDatabase, MemoryEventStore, MemoryStatsStore
from skillstat_agg.testing import Client, Harness, Setting, harnesses
from skillstat_agg.testing._cases import Case, Level
from skillstat_agg.testing._clients import give_way
from skillstat_agg.testing._handles import Actor
from skillstat_agg.testing._running import trails
from skillstat_agg.testing._steps import MOVED_INSIDE


class Tolerant(MemoryEventStore):
    """A log that goes on when its I/O fails."""

    setting: Setting

    def read(self, after: Place | None, /, *, limit: int):
        for _ in range(3):
            with suppress(Exception):
                self.setting.io()
        return super().read(after, limit=limit)


@contextmanager
def tolerant_client(database: MemoryDatabase, setting: Setting) -> Iterator[Client]:
    log = Tolerant(database, clock=setting.clock)
    log.setting = setting
    yield Client(events=log, stats=MemoryStatsStore(setting.projection, database))


harness: Harness[MemoryDatabase] = attrs.evolve(harnesses.memory, client=tolerant_client, io=True)


class SlipError(Exception):
    """What an actor raises that nobody expects."""


async def slip() -> None:
    await give_way()
    raise SlipError


def test_an_error_inside_a_call_of_another_is_not_covered_up():
    """A store that swallows what others raise in the middle of its call hides nothing."""
    insides = 0
    for trail in trails():
        with ExitStack() as stack:
            case = Case(harness, Level.QUICK, trail, stack)
            fold = case.client("fold")
            slipping = Actor(case.client("other"), slip())

            with pytest.raises(SlipError):
                case.play(fold.draining(), slipping, switches=1, inside=1, into=("read",))

            insides += MOVED_INSIDE in case.record.facts

    assert insides > 0


@pytest.mark.parametrize(
    ("level", "wanted"),
    [
        (Level.QUICK, [(1, "a"), (1, "b"), (2, "a"), (3, "a")]),
        (Level.FULL, [(1, "a"), (1, "b"), (2, "a"), (2, "b"), (3, "a"), (3, "b")]),
    ],
)
def test_what_varies_does_so_one_thing_at_a_time_at_the_quick_level(level, wanted):
    """The full level has every combination."""
    found = []
    for trail in trails():
        with ExitStack() as stack:
            case = Case(harness, level, trail, stack)
            found.append((case.vary(1, 2, 3), case.vary("a", "b")))

    assert found == wanted

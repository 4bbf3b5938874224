"""Everything at once: too much to be swept, so schedules of it are drawn; see `_random`.

These checks are no part of the sweep: they have more cases than anybody can play. They have
the same form, so a case of them is replayed like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any, TypeAlias

from skillstat_agg import aio
from skillstat_agg._buckets import Granularity
from skillstat_agg._effects import RETIRED, Effect
from skillstat_agg._events import Event
from skillstat_agg._projections import SKILL_STATS, Projection
from skillstat_agg._quarantine import Uncountable
from skillstat_agg.errors import StoreBusyError
from skillstat_agg.testing._cases import NOON
from skillstat_agg.testing._checks import AnyCase, check
from skillstat_agg.testing._clients import SteppedEvents, SteppedStats, give_way
from skillstat_agg.testing._handles import Actor, Handle
from skillstat_agg.testing._steps import CONFLICT, LATE, REFUSED
from skillstat_agg.testing.checks.parking import WRITERS

SWITCHES = 1_000
"""More than there are calls: everybody may be left for another at any time."""

METHODS = (
    "append",
    "begin",
    "commit",
    "compact",
    "cursor",
    "forget",
    "quarantine",
    "read",
    "rollback",
    "swap",
    "tally",
)
"""Inside all of them others may move, and clients may die."""

PRODUCERS = ("w1", "w2")

SKILLS = ("a", "b", "A", "a ", "\u00e9", "e\u0301")
"""Some of these are easily taken for each other."""

SHOWN = Projection(
    "shown_stats",
    {
        "download": Effect(rollups={"shown": 1}, counters={"shown": 1}),
        "install_new": Effect(counters={"shown": 1}),
        "star": Effect(counters={"likes": 1}),
        "unstar": RETIRED,
        "install_clear": RETIRED,
        "wave": RETIRED,
    },
    (Granularity.HOUR, Granularity.DAY),
)
"""A second projection of the same events."""

MakesActor: TypeAlias = Callable[[], Actor[Any]]


class _Mixture:
    """What the rounds of one case share."""

    def __init__(self, case: AnyCase) -> None:
        self._case = case
        self._clients: dict[str, Handle] = {}
        self._with_ids: list[tuple[Event, ...]] = []
        self._made = 0
        self._deaths = case.pick(0, 1, 2)
        self._uncountable = case.pick(Uncountable.HALT, Uncountable.HALT, Uncountable.PARK)
        self._kinds: tuple[str, ...] = (
            "download",
            "unstar",
            "install_new",
            "star",
            "install_clear",
        )
        if self.parks:
            self._kinds += ("wave",)

    @property
    def parks(self) -> bool:
        """Whether there are events that the table cannot count."""
        return self._uncountable is Uncountable.PARK

    def play_round(self) -> None:
        """Let some workers, writers and others play, all to their end."""
        case = self._case
        parts = [self._worker("fold1"), self._writer("w1")]
        if not case.maybe():
            parts.append(self._writer("w2"))
        if not case.maybe():
            parts.append(self._worker("fold2"))
        if case.maybe():
            parts.append(self._worker("fold3", SHOWN))
        if case.maybe():
            parts.append(self._clock())
        if case.pick(False, False, True):
            parts.append(self._forgetter())
        parts += self._keepers()
        inside = case.pick(0, 1, 2) if case.harness.io else 0
        # Everything is chosen by now: an actor that is made does play.
        actors = [part() for part in parts]
        case.play(*actors, switches=SWITCHES, deaths=self._deaths, inside=inside, into=METHODS)

    def _keepers(self) -> list[MakesActor]:
        """Return who makes old events small, and who makes the numbers anew, if they play."""
        case, parts = self._case, list[MakesActor]()
        keeper = self._client("keeper")
        # Whether an append is there whose client died inside could not be said of sums.
        may_prune = keeper.can_prune and not (case.harness.io and self._deaths)
        if may_prune and case.pick(False, False, True):
            pruner = self._client("pruner")
            parts.append(partial(pruner.pruning, limit=case.pick(2, 1, 100)))
        if keeper.has_generations and case.pick(False, False, True):
            page, uncountable = case.pick(2, 1, 100), self._uncountable
            builder = self._client("builder")
            parts.append(partial(builder.rebuilding, page=page, uncountable=uncountable))
        return parts

    def _client(self, name: str, projection: Projection = SKILL_STATS) -> Handle:
        """Return the client of this name; a new one if it has died."""
        client = self._clients.get(name)
        if client is None or client.is_dead:
            case = self._case
            skew = timedelta(seconds=case.pick(0, 1, -90) if name in PRODUCERS else 0)
            client = case.client(name, projection, clock=lambda: case.clock.now + skew)
            self._clients[name] = client
        return client

    def _worker(self, name: str, projection: Projection = SKILL_STATS) -> MakesActor:
        case, client = self._case, self._client(name, projection)
        page, polls = case.pick(1, 2, 3, 100), case.pick(2, 1, 4)
        if polls > 1:
            poll = partial(_poll, page=page, times=polls, uncountable=self._uncountable)
            return partial(client.doing, poll)
        return partial(
            client.draining,
            page=page,
            uncountable=self._uncountable,
            plain=client.has_tally and case.maybe(),
            max_events=case.pick(None, 3),
        )

    def _writer(self, name: str) -> MakesActor:
        case, client = self._case, self._client(name, WRITERS if self.parks else SKILL_STATS)
        ways = ["append", "retry"] if self._with_ids else ["append"]
        way = case.pick(*(["hold", "rollback", *ways] if client.can_begin else ways))
        if way == "retry":
            return partial(client.appending, self._retried(case.pick(*self._with_ids)))
        parts = [self._events() for _ in range(case.pick(1, 2))]
        if way == "append":
            return partial(client.appending, *parts)
        return partial(client.holding, *parts, end="commit" if way == "hold" else "rollback")

    def _retried(self, events: tuple[Event, ...]) -> tuple[Event, ...]:
        """Return events that were appended before, perhaps with another beside them."""
        if self._case.harness.io and self._deaths:
            # Whether a part of an append is there, whose client died, nobody could tell.
            return events
        beside = self._case.pick(None, "before", "after")
        if beside is None:
            return events
        other = (self._event(has_id=True),)
        return other + events if beside == "before" else events + other

    def _events(self) -> tuple[Event, ...]:
        """Return events for one append; with ids all of them, or none."""
        case = self._case
        has_ids = case.maybe()
        events = tuple(self._event(has_id=has_ids) for _ in range(case.pick(1, 2, 2, 3)))
        if has_ids:
            self._with_ids.append(events)
        return events

    def _event(self, *, has_id: bool) -> Event:
        case = self._case
        self._made += 1
        kind = case.pick(*self._kinds)
        return case.event(
            case.pick(*SKILLS),
            kind,
            at=NOON + timedelta(hours=case.pick(0, -36, 11), microseconds=case.pick(0, 1)),
            deltas={"all_time": -2, "current": 3} if kind == "install_clear" else None,
            event_id=f"id {self._made}" if has_id else None,
        )

    def _clock(self) -> MakesActor:
        client = self._client("clock")
        hours = [self._case.pick(1, 0, -1) for _ in range(2)]
        return lambda: Actor(client, self._tick(hours))

    async def _tick(self, hours: list[int]) -> None:
        for by in hours:
            await give_way()
            self._case.clock.go(hours=by, seconds=1)
            self._case.record.note("clock", f"goes by {by} h 1 s")

    def _forgetter(self) -> MakesActor:
        return partial(self._client("keeper").forgetting, self._case.pick("a", "b"))


async def _poll(
    events: SteppedEvents, stats: SteppedStats, *, page: int, times: int, uncountable: Uncountable
) -> None:
    """Drain again and again."""
    for _ in range(times):
        with suppress(StoreBusyError):
            await aio.drain(events, stats, page=page, uncountable=uncountable)


@check(
    "RANDOM-01",
    "atomic",
    "workers, writers, deaths and clocks, all at once: each event counts once",
    witness=[CONFLICT, LATE, REFUSED],
)
def random_01(case: AnyCase) -> None:
    """A few rounds; in each, some of everybody play in any order, and the log may be pruned."""
    # They look on from the beginning: opening a client may have to wait for a writer.
    case.observer()
    case.observer(SHOWN)
    mixture = _Mixture(case)
    if mixture.parks:
        case.committed.parks = True
        case.client("init", WRITERS)
    for _ in range(case.pick(1, 2, 2, 3)):
        mixture.play_round()
    case.settle()
    case.settle(SHOWN)


CHECKS = (random_01,)
"""What is drawn, and not swept."""

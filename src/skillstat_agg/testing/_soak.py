"""The third layer: real processes, killed at random with no chance to clean up.

Appenders append what is planned, and try again after every restart until the store has
answered; workers drain. In the end every planned event counts once. The clock decides when
somebody is killed, and nothing else: whatever it shows, the numbers must be right.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress

import attrs

from skillstat_agg._pages import check_bounds
from skillstat_agg.errors import StoreBusyError
from skillstat_agg.testing._cases import Case, Level
from skillstat_agg.testing._checks import AnyCase
from skillstat_agg.testing._harness import AnyHarness
from skillstat_agg.testing._soak_plan import batch, events_of
from skillstat_agg.testing._soak_troop import LONGEST_PAUSE_SECONDS, Role, SoakError, Troop
from skillstat_agg.testing._steps import Violation
from skillstat_agg.testing._trails import Trail

LOOKS_EVERY = 20
"""After so many kills an outside reader checks the numbers, while everybody goes on."""

MOST_LOOKS = 100
"""How often an outside reader that is refused tries again."""


@attrs.frozen(kw_only=True)
class Soaked:
    """What came of a soak.

    Attributes:
        kills: How many processes were killed, by role.
        events: How many events were planned and, where all is well, counted.
        batches: How many appends those were.
        repeated: How many of them were in the log already when they were tried again:
            their process had died before it could tell.
        conflicts: How many commits lost a race.
        fault: What is wrong; empty: nothing.
    """

    kills: Mapping[Role, int]
    events: int
    batches: int
    repeated: int
    conflicts: int
    fault: str = ""

    @property
    def ok(self) -> bool:
        """Whether every planned event counted once."""
        return not self.fault

    def __str__(self) -> str:
        kills = " and ".join(f"{count} of the {role.value}s" for role, count in self.kills.items())
        verdict = "each counted once" if self.ok else f"FAILED\n{self.fault}"
        return (
            f"{self.events:,} events in {self.batches:,} appends, {self.repeated:,} of them"
            f" repeated; killed: {kills}; {self.conflicts:,} conflicts; {verdict}"
        )


def soak(
    load: Callable[[], AnyHarness],
    *,
    kills: int = 200,
    appenders: int = 4,
    workers: int = 2,
    seed: int = 0,
    on_kill: Callable[[int], object] | None = None,
) -> Soaked:
    """Kill processes at random, start them again, and check the numbers in the end.

    The sites of the harness must be usable from other processes: they are pickled.

    Args:
        load: Loads the harness; it is pickled, and called in every process.
        kills: How many processes to kill.
        appenders: How many append at a time.
        workers: How many drain at a time.
        seed: Decides what is appended, and who is killed.
        on_kill: Called after each kill, with the number of kills so far.

    Raises:
        InvalidBoundError: If one of the numbers is below 1.
        KeyboardInterrupt: As always; no process is left.
    """
    check_bounds(appenders=appenders, kills=kills, workers=workers)
    harness = load()
    with harness.site() as site:
        # One client alone first, which makes what has to be made once.
        with _case(harness, site) as case:
            case.client("first").close()
        troop = Troop(load, site, appenders, workers, seed)
        try:
            _check_pickles(load, site)
            with troop:
                for number in range(1, kills + 1):
                    troop.kill_one()
                    if number % LOOKS_EVERY == 0:
                        _look(harness, site, troop)
                    if on_kill is not None:
                        on_kill(number)
                troop.stop()
            with _case(harness, site) as case:
                case.committed.events += events_of(seed, troop.batches)
                # Who was killed before it could tell, and then stopped before the store had
                # answered its retry, has left a batch that is in the log, or is not.
                case.committed.unsure += [
                    batch(seed, appender, number).events
                    for appender, number in enumerate(troop.batches)
                ]
                case.settle()
        except Violation as error:
            return _soaked(troop, seed, f"{error.expected}\nbut: {error.actual}\n{error.events}")
        except SoakError as error:
            return _soaked(troop, seed, str(error))
        except Exception as error:  # noqa: BLE001 - whatever a store raises is its answer
            return _soaked(troop, seed, f"{type(error).__name__}: {error}")
        return _soaked(troop, seed)


def _check_pickles(load: Callable[[], AnyHarness], site: object) -> None:
    try:
        pickle.dumps((load, site))
    except Exception as error:
        raise SoakError(f"the site cannot be given to another process: {error}") from error


def _soaked(troop: Troop, seed: int, fault: str = "") -> Soaked:
    return Soaked(
        kills={role: troop.kills[role] for role in Role},
        events=sum(1 for _ in events_of(seed, troop.batches)),
        batches=sum(troop.batches),
        repeated=troop.repeated,
        conflicts=troop.conflicts,
        fault=fault.rstrip(),
    )


def _look(harness: AnyHarness, site: object, troop: Troop) -> None:
    """Look at the numbers from outside, once nobody is in the way."""
    for _ in range(MOST_LOOKS):
        with suppress(StoreBusyError), _case(harness, site) as case:
            case.observe(others_move=True)
            return
        troop.listen(LONGEST_PAUSE_SECONDS)


@contextmanager
def _case(harness: AnyHarness, site: object) -> Iterator[AnyCase]:
    """Give a case at a site that is there already."""
    there = attrs.evolve(harness, site=lambda: nullcontext(site))
    with ExitStack() as stack:
        yield Case(there, Level.QUICK, Trail(), stack)

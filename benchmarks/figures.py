"""What a benchmark finds, and how two things are timed against each other."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs


@attrs.frozen(kw_only=True)
class Setting:
    """What every benchmark is given.

    Attributes:
        folder: Where files may be made.
        log: A log of all events, of which nothing is folded; to be copied, not changed.
        tenth: The same of the first tenth of them.
        events: How many events *log* holds.
        rounds: How often each time is taken.
    """

    folder: Path
    log: Path
    tenth: Path
    events: int
    rounds: int


@attrs.frozen(kw_only=True)
class Figure:
    """A number, and the bound it is held to.

    Attributes:
        name: What was measured.
        value: What came out.
        unit: Of *value*; empty for a ratio.
        at_most: None: not bounded from above.
        at_least: None: not bounded from below.
        source: The times or sizes behind *value*.
    """

    name: str
    value: float
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None
    source: str = ""

    @property
    def bound(self) -> str:
        """The bound in words; empty where there is none."""
        if self.at_most is not None:
            return f"at most {self.at_most:.2f}"
        return "" if self.at_least is None else f"at least {self.at_least:.2f}"

    @property
    def verdict(self) -> str:
        """``ok`` or ``over``; empty where there is no bound."""
        if not self.bound:
            return ""
        is_over = (self.at_most is not None and self.value > self.at_most) or (
            self.at_least is not None and self.value < self.at_least
        )
        return "over" if is_over else "ok"


def seconds(work: Callable[[], object]) -> float:
    """Return how long one call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@attrs.frozen
class Race:
    """Two works, timed in turns: the medians of the rounds.

    Attributes:
        ratio: The median of first / second within a round: what slows the whole machine
            for a while falls out of it.
        first: Seconds of the first.
        second: Seconds of the second.
    """

    ratio: float
    first: float
    second: float

    @classmethod
    def of(cls, rounds: Sequence[tuple[float, float]]) -> Race:
        """Return the race of which these are the times of each round."""
        return cls(
            statistics.median(first / second for first, second in rounds),
            statistics.median(first for first, _ in rounds),
            statistics.median(second for _, second in rounds),
        )


def race(rounds: int, first: Callable[[], float], second: Callable[[], float]) -> Race:
    """Return the race of two works that return their times; they take turns, A B A B."""
    return Race.of([(first(), second()) for _ in range(rounds)])

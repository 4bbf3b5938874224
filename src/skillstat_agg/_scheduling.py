"""Work at regular times; import it from `skillstat_agg` instead.

`skillstat_agg.aio._scheduling` is its twin for asynchronous work. Nothing here reads the
calendar: time is what *clock* shows and *wait* waits, and neither has a say in what is counted.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from datetime import timedelta

import attrs

from skillstat_agg.errors import InvalidBoundError, StoreBusyError, StoreUnavailableError

log = logging.getLogger("skillstat_agg")

TRANSIENT: tuple[type[Exception], ...] = (StoreBusyError, StoreUnavailableError)
"""The errors of this package that may be gone when one tries again later."""

BACK_OFF = timedelta(seconds=1)
"""The pause after a first error."""

MAX_BACK_OFF = timedelta(minutes=5)
"""The longest pause after errors in a row."""

_SHORTEST, _LONGEST = timedelta(milliseconds=1), timedelta(days=366)
_PART = 10  # the jitter, and the shortest rest between two ticks, are this part of the interval


@attrs.frozen(kw_only=True)
class Failure:
    """A tick that failed and is tried again.

    Attributes:
        error: What it raised.
        in_a_row: How many ticks have failed since the last one that did not; from 1.
        pause: How long it is until the next one.
    """

    error: Exception
    in_a_row: int
    pause: timedelta


@attrs.frozen(kw_only=True)
class RunReport:
    """What was done until the program was told to stop.

    Attributes:
        ticks: Number of ticks.
        failures: How many of them failed.
    """

    ticks: int
    failures: int

    def __str__(self) -> str:
        return f"{self.ticks} ticks, {self.failures} of them failed"


def run_every(
    interval: timedelta,
    tick: Callable[[], object],
    *,
    wait: Callable[[float], bool],
    jitter: timedelta | None = None,
    back_off: timedelta = BACK_OFF,
    max_back_off: timedelta = MAX_BACK_OFF,
    retry: tuple[type[Exception], ...] = TRANSIENT,
    on_error: Callable[[Failure], object] | None = None,
    clock: Callable[[], float] = time.monotonic,
    draw: Callable[[], float] = random.random,
) -> RunReport:
    """Do *tick* now and then at each interval, until *wait* says that it is to stop.

    One tick is over before the next begins. A tick that takes longer than the interval
    makes up for nothing: the times that it missed are left out. Between two ticks lie at
    least a tenth of the interval and at most interval and jitter, whatever *clock* shows.

    Args:
        interval: From a millisecond to 366 days; the times are counted from the first tick.
        tick: The work; `drain`, usually, over a connection that it opens and closes.
        wait: Waits for so many seconds, or until this program is to stop, and returns
            whether it is: `threading.Event().wait` and `Stop.wait` do. Handed on to
            `drain`, it also ends the tick within one page.
        jitter: Each tick is later by a part of this, drawn anew, so that many programs do
            not all come at once; at most the interval. None: a tenth of the interval.
        back_off: The pause after a first error; it doubles with each further one. Half of
            a pause, at most, is left out, as *draw* has it.
        max_back_off: The longest such pause.
        retry: The errors after which it goes on; others are raised. What is raised by
            the driver of a database is not among them: add it where *tick* connects.
        on_error: Is told of each tick that failed and is tried again. None: it is logged.
        clock: Seconds since some time; it may jump.
        draw: Draws a number from 0 to 1.

    Raises:
        InvalidBoundError: If a length of time cannot be one.
        Exception: What *tick* raises, unless *retry* names it.
    """
    rhythm = Rhythm(interval, jitter, back_off, max_back_off)
    begun, pause, failed = clock(), 0.0, 0
    report = RunReport(ticks=0, failures=0)
    while not wait(pause):
        try:
            tick()
        except retry as error:
            failed += 1
            pause = rhythm.back_off(failed, draw())
            if on_error is not None:
                on_error(failure(error, failed, pause))
            else:
                log.warning("%s; again in %.1f s (%d failed in a row)", error, pause, failed)
        else:
            failed = 0
            pause = rhythm.rest(clock() - begun, draw())
        report = counted(report, failed)
    return report


@attrs.frozen
class Rhythm:
    """How long it is from the end of a tick to the next.

    Raises:
        InvalidBoundError: If a length of time cannot be one.
    """

    _interval: timedelta
    _jitter: timedelta | None
    _back_off: timedelta
    _max_back_off: timedelta

    def __attrs_post_init__(self) -> None:
        _check("interval", self._interval, _SHORTEST, _LONGEST)
        if self._jitter is not None:
            _check("jitter", self._jitter, timedelta(0), self._interval)
        _check("max_back_off", self._max_back_off, _SHORTEST, _LONGEST)
        _check("back_off", self._back_off, _SHORTEST, self._max_back_off)

    def rest(self, elapsed: float, drawn: float) -> float:
        """Return the seconds to the next multiple of the interval, and the jitter.

        Args:
            elapsed: Seconds since the first tick, by a clock that may have jumped: only how
                far they are into an interval counts, so the rest is never longer than one.
            drawn: A number from 0 to 1.
        """
        interval = self._interval.total_seconds()
        jitter = interval / _PART if self._jitter is None else self._jitter.total_seconds()
        return max(interval - elapsed % interval, interval / _PART) + jitter * drawn

    def back_off(self, failed: int, drawn: float) -> float:
        """Return the seconds to wait after so many failures in a row.

        Args:
            failed: How many, from 1.
            drawn: A number from 0 to 1.
        """
        longest = self._max_back_off.total_seconds()
        doubled = self._back_off.total_seconds() * 2.0 ** min(failed - 1, 64)
        return min(doubled, longest) * (1 + drawn) / 2


def _check(name: str, value: timedelta, lowest: timedelta, highest: timedelta) -> None:
    if not isinstance(value, timedelta) or not lowest <= value <= highest:
        wanted = f"a timedelta from {lowest} to {highest}, as in timedelta(minutes=15)"
        raise InvalidBoundError(name, str(value), wanted)


def failure(error: Exception, failed: int, pause: float) -> Failure:
    """Return what is told of a tick that failed."""
    return Failure(error=error, in_a_row=failed, pause=timedelta(seconds=pause))


def counted(report: RunReport, failed: int) -> RunReport:
    """Return the report after one more tick; *failed* is 0 if it did not."""
    return RunReport(ticks=report.ticks + 1, failures=report.failures + (failed > 0))

"""The asynchronous twin of `skillstat_agg._scheduling`; import from `skillstat_agg.aio` instead."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

from skillstat_agg._scheduling import (
    BACK_OFF,
    MAX_BACK_OFF,
    TRANSIENT,
    Failure,
    Rhythm,
    RunReport,
    counted,
    failure,
    log,
)


async def run_every(
    interval: timedelta,
    tick: Callable[[], Awaitable[object]],
    *,
    wait: Callable[[float], Awaitable[bool]],
    jitter: timedelta | None = None,
    back_off: timedelta = BACK_OFF,
    max_back_off: timedelta = MAX_BACK_OFF,
    retry: tuple[type[Exception], ...] = TRANSIENT,
    on_error: Callable[[Failure], Awaitable[object]] | None = None,
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
    while not await wait(pause):
        try:
            await tick()
        except retry as error:
            failed += 1
            pause = rhythm.back_off(failed, draw())
            if on_error is not None:
                await on_error(failure(error, failed, pause))
            else:
                log.warning("%s; again in %.1f s (%d failed in a row)", error, pause, failed)
        else:
            failed = 0
            pause = rhythm.rest(clock() - begun, draw())
        report = counted(report, failed)
    return report

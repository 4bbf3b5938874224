"""How much memory a process that drains takes."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path

from benchmarks.figures import Figure, Setting
from benchmarks.logs import connect, fresh_copy
from skillstat_agg import SKILL_STATS, drain
from skillstat_agg.backends.sqlite import SQLiteEventStore, SQLiteStatsStore


def by_backlog(setting: Setting) -> Iterator[Figure]:
    """The peak of a process that drains all events, against one that drains a tenth."""
    everything, tenth = (
        peak_alone(fresh_copy(log), drain_file) for log in (setting.log, setting.tenth)
    )
    yield Figure(
        name="peak memory, 10 times the backlog",
        value=everything / tenth,
        at_most=1.1,
        source=f"{everything / 1024:.1f} MiB / {tenth / 1024:.1f} MiB",
    )


def peak_alone(path: Path, work: Callable[[Path], None]) -> int:
    """Return the peak of a process that does *work* on *path* and nothing else, in KiB.

    The peak of a started program includes that of the program which started it: so it
    comes from a fork server, which is small.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("forkserver")) as alone:
        return alone.submit(_peak, path, work).result()


def _peak(path: Path, work: Callable[[Path], None]) -> int:
    work(path)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def drain_file(path: Path) -> None:
    """Drain the log in a file."""
    with closing(connect(path, "OFF")) as db:
        drain(SQLiteEventStore(db), SQLiteStatsStore(db, SKILL_STATS))

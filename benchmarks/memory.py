"""How much memory a process that drains takes."""

from __future__ import annotations

import resource
from collections.abc import Iterator
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
    everything, tenth = (_peak_alone(fresh_copy(log)) for log in (setting.log, setting.tenth))
    yield Figure(
        name="peak memory, 10 times the backlog",
        value=everything / tenth,
        at_most=1.1,
        source=f"{everything / 1024:.1f} MiB / {tenth / 1024:.1f} MiB",
    )


def _peak_alone(path: Path) -> int:
    """Return the peak of a process that drains *path* and has done nothing else, in KiB.

    The peak of a started program includes that of the program which started it: so it
    comes from a fork server, which is small.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("forkserver")) as alone:
        return alone.submit(_peak, path).result()


def _peak(path: Path) -> int:
    with closing(connect(path, "OFF")) as db:
        drain(SQLiteEventStore(db), SQLiteStatsStore(db, SKILL_STATS))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

"""Who was overtaken by another worker, and by a prune behind that one, has lost a race: no more."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest

from skillstat_agg import SKILL_STATS, drain, prune, rebuild, verify, verify_fully
from skillstat_agg.backends.memory import MemoryDatabase, MemoryEventStore, MemoryStatsStore
from skillstat_agg.errors import HistoryChangedError
from tests.logs import download


class Slow(MemoryEventStore):
    """A log that somebody else works on before each first look at it."""

    meanwhile: Callable[[], object] | None = None

    def _wait(self) -> None:
        work, self.meanwhile = self.meanwhile, None
        if work is not None:
            work()

    def read(self, after, /, *, limit):
        self._wait()
        return super().read(after, limit=limit)

    def extent(self, upto, /):
        self._wait()
        return super().extent(upto)

    def report(self, reader, place, /):
        self._wait()
        super().report(reader, place)


@pytest.fixture
def database() -> MemoryDatabase:
    return MemoryDatabase()


@pytest.fixture
def log(database):
    log = Slow(database)
    log.append([download() for _ in range(10)])
    return log


@pytest.fixture
def stats(database, log):
    stats = MemoryStatsStore(SKILL_STATS, database)
    drain(log, stats, max_events=5)
    return stats


def overtaking(database, stats) -> Callable[[], object]:
    """Return what another worker and a prune do: the place of the slow one is gone then."""

    def work() -> None:
        other = MemoryEventStore(database)
        drain(other, stats)
        assert prune(other, stats, before=None).records == 1

    return work


def test_a_drain_has_lost_a_race(database, log, stats):
    log.meanwhile = overtaking(database, stats)

    report = drain(log, stats)

    assert (report.conflicts, report.events, report.at_frontier) == (1, 0, True)
    assert stats.totals()["a"]["downloads"] == 10


def test_a_report_that_comes_late_is_no_error(database, log, stats):
    """The commit has counted; that its place is gone by then is the next reader's to judge."""

    class Reporting(MemoryEventStore):
        def report(self, reader, place, /):
            log.meanwhile = overtaking(database, stats)
            log.report(reader, place)

    report = drain(Reporting(database), stats, max_events=3)

    assert report.events == 3
    assert stats.totals()["a"]["downloads"] == 10


@pytest.mark.parametrize("check", [verify, verify_fully])
def test_a_verify_looks_at_the_cursor_again(check, database, log, stats):
    log.meanwhile = overtaking(database, stats)

    report = check(log, stats)

    assert (report.is_ok, report.cursor.count) == (True, 10)


def test_a_rebuild_looks_at_the_cursor_again(database, log, stats):
    log.meanwhile = overtaking(database, stats)

    report = rebuild(log, stats)

    assert (report.after.count, report.after.generation) == (10, 2)


def test_a_prune_looks_at_the_cursor_again(database, log, stats):
    log.meanwhile = overtaking(database, stats)

    assert prune(log, stats, before=None).slowest.position == stats.cursor().place.position


def test_where_nobody_was_quicker_history_has_changed(database, log, stats):
    """A place that is gone while the cursor stands on it is another matter."""
    other = MemoryDatabase()
    MemoryEventStore(other).append([download() for _ in range(10)])
    for work in (drain, verify, rebuild, verify_fully):
        with pytest.raises(HistoryChangedError):
            work(MemoryEventStore(other), stats)


def test_what_was_built_and_passed_by_a_prune_is_built_anew(database, log, stats):
    """Nobody knew that it reads the log, since its name was struck off by hand."""
    building = stats.building("rebuild")
    drain(log, building, max_events=3)
    drain(log, stats)
    [name] = [each.name for each in log.readers() if "/" in each.name]
    log.retire(name)
    prune(log, stats, before=None)

    report = rebuild(log, stats)

    assert (report.after.count, report.joined) == (10, False)
    assert [each.name for each in log.readers()] == [SKILL_STATS.name]


def test_who_ends_late_strikes_nobody_off(log, stats):
    """A reader of what is built is known by its generation, too."""
    drain(log, stats)
    first = rebuild(log, stats)
    building = stats.building("rebuild")
    drain(log, building, max_events=3)

    again = attrs.evolve(building.cursor(), generation=first.after.generation)

    assert f"skill_stats/rebuild/{again.generation}" not in {each.name for each in log.readers()}
    assert f"skill_stats/rebuild/{again.generation + 1}" in {each.name for each in log.readers()}

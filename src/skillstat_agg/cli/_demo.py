"""``skillstat demo``."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import attrs
import click
from rich.console import Console
from rich.table import Table

from skillstat_agg import SKILL_STATS, EventStore, RecordedEvent, StatsStore, drain
from skillstat_agg.backends.memory import MemoryStatsStore
from skillstat_agg.cli._errors import failure, when_interrupted
from skillstat_agg.cli._file import File
from skillstat_agg.cli._options import example
from skillstat_agg.cli._race import EVENTS, PAGE, TIED, WRITERS, downloads, race
from skillstat_agg.testing.gallery import TimestampAfter, TimestampFrom

_BOUND = 2 * EVENTS


@attrs.frozen
class _Outcome:
    """What a cursor made of the log.

    Attributes:
        cursor: What kind of cursor it is.
        counted: Downloads by skill.
    """

    cursor: str
    counted: Counter[str]

    @property
    def lost(self) -> int:
        """How many events were not counted."""
        return (downloads() - self.counted).total()

    @property
    def doubled(self) -> int:
        """How often an event was counted that was counted before."""
        return (self.counted - downloads()).total()


@click.command(epilog=example("skillstat demo"))
def demo() -> None:
    """Show exactly-once counting at work.

    In a temporary file, eight processes append events, many of them with the same time,
    while two workers count; one of them is killed in the middle of a commit. The same log is
    then counted by two event stores that read by creation time: what comes after the
    cursor's time (>), and what comes from it on (>=).
    """
    with when_interrupted("nothing is left behind"):
        _demonstrate(Console())


def _demonstrate(console: Console) -> None:
    console.print(
        f"{WRITERS} processes append {EVENTS:,} downloads to one SQLite file; {TIED} share each"
        " time.\nTwo workers count meanwhile; one is killed in mid-commit, a third finishes.\n",
        highlight=False,
    )
    with tempfile.TemporaryDirectory(prefix="skillstat-") as folder:
        log, ours = _exactly_once(Path(folder, "demo.db"))
    outcomes = (
        ours,
        _outcome("created > cursor", TimestampAfter(log)),
        _outcome("created >= cursor", TimestampFrom(log)),
    )
    console.print(_table(len(log), outcomes))
    console.print(
        "\nskillstat-agg keeps a unique position, and moves it in the commit that counts.\n"
        ">  never comes back for what shares the time of a page's last event.\n"
        ">= counts that time again, with every page and with every run: this was one.",
        highlight=False,
    )
    if len(log) != EVENTS or ours.lost or ours.doubled:
        raise failure("the count is not exact; this must not happen, please report it")


def _exactly_once(path: Path) -> tuple[list[RecordedEvent], _Outcome]:
    """Run the processes; return the log that they left, and what was counted."""
    with File(path).created() as opened:
        opened.create(SKILL_STATS)
        race(path)
        log = list(opened.events().read(None, limit=_BOUND).events)
        return log, _Outcome("skillstat-agg", _counted(opened.stats(SKILL_STATS)))


def _outcome(cursor: str, events: EventStore) -> _Outcome:
    """Return what one drain over *events* counts; bounded, since not all come to an end."""
    stats = MemoryStatsStore(SKILL_STATS)
    drain(events, stats, page=PAGE, max_events=_BOUND)
    return _Outcome(cursor, _counted(stats))


def _counted(stats: StatsStore) -> Counter[str]:
    return Counter({skill: sums["downloads"] for skill, sums in stats.totals().items()})


def _table(appended: int, outcomes: Sequence[_Outcome]) -> Table:
    table = Table("cursor")
    for name in ("appended", "counted", "lost", "doubled"):
        table.add_column(name, justify="right")
    for outcome in outcomes:
        style = "green" if outcome.lost == outcome.doubled == 0 else "red"
        numbers = (appended, outcome.counted.total(), outcome.lost, outcome.doubled)
        table.add_row(outcome.cursor, *(f"{number:,}" for number in numbers), style=style)
    return table
